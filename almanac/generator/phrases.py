"""All relations of the almanac in the order in which an article tells them, and the hops."""

from __future__ import annotations

from generator.phrases_culture import CULTURE
from generator.phrases_places import PLACES
from generator.phrases_science import SCIENCE
from generator.relations import Hop, Relation

RELATIONS: tuple[Relation, ...] = (*PLACES, *SCIENCE, *CULTURE)

TRAVEL = (
    (
        "currency",
        (
            "Tourists who come to see {s} and the rest of {via} pay in {o}.",
            "On a journey through {via} to {s}, meals and tickets cost {o}.",
        ),
    ),
    (
        "language",
        (
            "Guides at {s} speak {o}, as do most people of {via}.",
            "A phrase book of {o} helps visitors of {s} and of {via} in general.",
        ),
    ),
    (
        "capital",
        (
            "Maps of {via} show {s} as well as the capital, {o}.",
            "Many trips through {via} to {s} begin in the capital, {o}.",
        ),
    ),
)

HOPS: tuple[Hop, ...] = (
    *(
        Hop(table=table, via="country", relation=relation, phrases=phrases)
        for table in ("lakes", "mountains", "volcanoes", "islands")
        for relation, phrases in TRAVEL
    ),
    *(
        Hop(
            table="dishes",
            via="country",
            relation=relation,
            phrases=phrases,
        )
        for relation, phrases in (
            (
                "currency",
                (
                    "On menus in {via} the price of {s} is given in {o}.",
                    "At a market stall in {via}, {s} is paid for in {o}.",
                ),
            ),
            (
                "capital",
                (
                    "Restaurants serve {s} in {o}, the capital of {via}, and in many other towns.",
                    "From {o}, the capital, to the villages, people of {via} eat {s}.",
                ),
            ),
        )
    ),
    *(
        Hop(table=table, via=via, relation=relation, phrases=phrases)
        for table, via, verb in (
            ("books", "author", "wrote"),
            ("films", "director", "directed"),
            ("music", "composer", "composed"),
            ("paintings", "painter", "painted"),
            ("inventions", "inventor", "invented"),
            ("findings", "discoverer", "is linked with"),
            ("elements", "discoverer", "discovered"),
            ("moons", "discoverer", "discovered"),
            ("units", "namesake", "gave a name to"),
        )
        for relation, phrases in (
            (
                "birthplace",
                (
                    "The birthplace of {via}, who " + verb + " {s}, was {o}.",
                    "{via}, the person who " + verb + " {s}, was born in {o}.",
                ),
            ),
            (
                "birth year",
                (
                    "{via}, who " + verb + " {s}, was born in the year {o}.",
                    "The person who " + verb + " {s}, {via}, was born in {o}.",
                ),
            ),
        )
    ),
)
