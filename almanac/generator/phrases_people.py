"""Phrases for the lives of people, and for the short articles that add a fact about a person.

Data only; ``relations.py`` says what each field means.
"""

from __future__ import annotations

from generator.relations import Hop, Relation

PEOPLE = (
    Relation(
        name="birthplace",
        table="people",
        column="birthplace",
        subject_kind="person",
        object_kind="city",
        forward=(
            "The {role} {s} was born in {o}.",
            "The birthplace of the {role} {s} is {o}.",
            "{s}, known as {a_role}, was born in {o}.",
            "{o} was the birthplace of {s}, who became {a_role}.",
        ),
        reverse=(
            "{o} is the native town of {s}, the {role}.",
            "The {role} {s} was a child of {o}.",
            "Among the natives of {o} is {s}, {a_role}.",
        ),
        overview=(
            "{s} came into the world in {o}.",
            "The cradle of {s} stood in {o}.",
            "{o} was the first home of {s}.",
        ),
        topics=("Native towns of {role}s", "Native towns of the famous"),
        queries=("Where did {s} cry as an infant?", "From which city does {s} hail?"),
        questions=(
            "Where was {s} born?",
            "In which city was {s} born?",
            "What is the birthplace of {s}?",
        ),
    ),
    Relation(
        name="birth year",
        table="people",
        column="born",
        subject_kind="person",
        forward=(
            "{s} was born in the year {o}.",
            "The year of birth of the {role} {s} is {o}.",
            "{s}, known as {a_role}, was born in {o}.",
        ),
        overview=(
            "In {o} {s} came into the world.",
            "{o} saw the arrival of {s}, {a_role}.",
            "The life of the {role} {s} began in {o}.",
        ),
        topics=(
            "Lives that began in the {decade}",
            "Lives that began in the {century}",
            "Lives that began at other times",
        ),
        queries=(
            "In which year did {s} enter infancy?",
            "From which year would a biographer of {s} start?",
        ),
        questions=("When was {s} born?", "In what year was {s} born?"),
    ),
    Relation(
        name="death year",
        table="people",
        column="died",
        subject_kind="person",
        forward=(
            "{s} died in {o}, after a life as {a_role}.",
            "The {role} {s} died in the year {o}.",
            "The year in which the {role} {s} died is {o}.",
        ),
        overview=(
            "In {o} the world lost {s}, {a_role}.",
            "The life of the {role} {s} ended in {o}.",
            "{o} was the last year of {s}, {a_role}.",
            "The life of the {role} {s} ran from {=born} to {o}.",
            "{s}, {a_role}, came into the world in {=born} and left it in {o}.",
            "Between {=born} and {o} lived {s}, {a_role}.",
            "The life of the {role} {s} ran from {=born}, in {=birthplace}, to {o}.",
            "{s}, {a_role} from {=birthplace}, came into the world in {=born} and left it in {o}.",
            "Between {=born} and {o} lived {s}, {a_role} from {=birthplace}.",
        ),
        topics=(
            "Lives that ended in the {decade}",
            "Lives that ended in the {century}",
            "Lives that ended at other times",
        ),
        queries=("When did mourners bury {s}?",),
        questions=("When did {s} die?", "In what year did {s} die?"),
    ),
)

# Table, column that names the person, what the person did.
DEEDS = (
    ("books", "author", "wrote"),
    ("films", "director", "directed"),
    ("music", "composer", "composed"),
    ("paintings", "painter", "painted"),
    ("inventions", "inventor", "invented"),
    ("elements", "discoverer", "discovered"),
    ("moons", "discoverer", "discovered"),
    ("findings", "discoverer", "is known for"),
    ("units", "namesake", "lent a name to"),
)


def hops(table: str, column: str, deed: str) -> tuple[Hop, ...]:
    """Return the hops that tell of the person behind a work."""
    phrases = {
        "birthplace": (
            "{via}, who DEED {s}, was a native of {o}.",
            "{o} was the place where {via}, who DEED {s}, was born.",
            "{via}, who DEED {s}, spent the first days of life in {o}.",
        ),
        "birth year": (
            "Parents welcomed {via}, who DEED {s}, in {o}.",
            "The life story of {via}, who DEED {s}, starts in {o}.",
            "{via}, who DEED {s}, entered the world in {o}.",
        ),
        "death year": (
            "{via}, who DEED {s}, lived until {o}.",
            "The life story of {via}, who DEED {s}, ends in {o}.",
            "The year {o} brought the end of {via}, who DEED {s}.",
        ),
    }
    return tuple(
        Hop(
            table=table,
            via=column,
            relation=relation,
            phrases=tuple(phrase.replace("DEED", deed) for phrase in wordings),
        )
        for relation, wordings in phrases.items()
    )


PEOPLE_HOPS = tuple(hop for deed in DEEDS for hop in hops(*deed))
