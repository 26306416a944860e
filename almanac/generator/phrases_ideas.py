"""Phrases for discoveries, inventions, units and programming languages.

Data only; ``relations.py`` says what each field means.
"""

from __future__ import annotations

from generator.relations import Relation

IDEAS = (
    Relation(
        name="finder",
        table="findings",
        column="discoverer",
        subject_kind="discovery",
        object_kind="person",
        forward=(
            "The discovery of {s} is credited to {o}.",
            "It was {o} whose work led to the discovery of {s}.",
            "The person behind the discovery of {s} was {o}.",
        ),
        reverse=(
            "The fame of {o} rests on {s}.",
            "{o} gave the world its knowledge of {s}.",
            "Lectures about {o} deal with {s}.",
        ),
        overview=(
            "{o} is remembered for {s}.",
            "Textbooks name {o} beside {s}.",
            "Without {o} we might know nothing of {s}.",
        ),
        topics=("Great names of science",),
        queries=("Whose research revealed {s}?",),
        questions=("Who discovered {s}?", "Who is credited with discovering {s}?"),
    ),
    Relation(
        name="finding year",
        table="findings",
        column="year",
        subject_kind="discovery",
        forward=(
            "The discovery of {s} belongs to the year {o}.",
            "The year that historians link with the discovery of {s} is {o}.",
            "For the discovery of {s}, books give the year {o}.",
        ),
        overview=(
            "In {o} {=discoverer} surprised the learned world with {s}.",
            "{o} brought news of {s} from {=discoverer}.",
            "The learned world heard of {s} from {=discoverer} in {o}.",
        ),
        topics=(
            "Great moments of science in the {century}",
            "Great moments of science at other times",
        ),
        queries=("When did researchers initially announce {s}?",),
        questions=(
            "What year is linked with the discovery of {s}?",
            "When was the discovery of {s}?",
        ),
    ),
    Relation(
        name="inventor",
        table="inventions",
        column="inventor",
        subject_kind="invention",
        object_kind="person",
        forward=(
            "{s} was invented by {o}.",
            "The inventor of {s} was {o}.",
            "The invention of {s} is credited to {o}.",
        ),
        reverse=(
            "{o} gave the world {s}.",
            "Without {o} there would have been no {bare_s}.",
            "{o} is known as the creator of {s}.",
        ),
        overview=(
            "{o} is remembered for {s}.",
            "The idea of {s} came from {o}.",
            "Encyclopedias mention {o} in their entry on {s}.",
        ),
        topics=("Clever minds and their ideas",),
        queries=("Who devised {s}?", "Whose brainchild was {s}?"),
        questions=("Who invented {s}?", "Who was the inventor of {s}?"),
    ),
    Relation(
        name="invention year",
        table="inventions",
        column="year",
        subject_kind="invention",
        forward=(
            "The invention of {s} dates from {o}.",
            "{s} was invented in {o}.",
            "The year of the invention of {s} is {o}.",
        ),
        overview=(
            "In {o} {=inventor} came forward with {s}.",
            "The history of {s} began in {o} with {=inventor}.",
            "Thanks to {=inventor}, {o} was the year of {s}.",
        ),
        topics=(
            "New ideas of the {decade}",
            "New ideas of the {century}",
            "New ideas of other times",
        ),
        queries=("When did an ingenious person devise {s}?",),
        questions=("When was {s} invented?", "In what year was {s} invented?"),
    ),
    Relation(
        name="unit quantity",
        table="units",
        column="quantity",
        subject_kind="unit",
        forward=(
            "{s} is a unit of {o}.",
            "The unit of {o} is {s}.",
            "As a unit, {s} measures {o}.",
        ),
        overview=(
            "Physicists state {o} in terms of {s}.",
            "For {o}, laboratories count with {s}.",
            "Numbers for {o} are often followed by the name of {s}.",
            "For {o}, physicists count with {s} and thus recall {=namesake}.",
            "Physicists state {o} in terms of {s}, a reminder of {=namesake}.",
            "Numbers for {o} are followed by {s}, which reminds us of {=namesake}.",
        ),
        topics=("Quantities in physics",),
        queries=("Which property is expressed through {s}?",),
        questions=("What does {s} measure?", "{s} is a unit of what?"),
    ),
    Relation(
        name="unit namesake",
        table="units",
        column="namesake",
        subject_kind="unit",
        object_kind="person",
        forward=(
            "The unit called {s} is named after {o}.",
            "The name of {s} honours the scientist {o}.",
            "{s} takes its name from {o}.",
        ),
        reverse=(
            "In memory of {o}, physicists call a unit {s}.",
            "The memory of {o} lives on in a unit, {s}.",
            "Physicists think of {o} when they use {s}.",
        ),
        overview=(
            "{o} lent a word to physics, {s}.",
            "Behind {s} stands the figure of {o}.",
            "Every mention of {s} recalls {o}.",
        ),
        topics=("Scientists behind the units of physics",),
        queries=("Which researcher does {s} commemorate?",),
        reverse_queries=("What commemorates {o}?",),
        questions=("Who is {s} named after?", "After whom is {s} named?"),
        reverse_questions=("Which unit is named after {o}?",),
    ),
    Relation(
        name="language designer",
        table="programming",
        column="designer",
        subject_kind="programming language",
        object_kind="person",
        forward=(
            "The programming language {s} was designed by {o} for all kinds of software.",
            "{s} is a programming language that was created by {o} and is used on many computers.",
            "The designer of the programming language {s}, used in many countries, is {o}.",
        ),
        reverse=(
            "{o} is the father of {s}, in which software is written.",
            "Software written in {s} owes much to {o}.",
        ),
        overview=(
            "Software developers thank {o} for {s}.",
            "Behind the computer language {s} stands {o}.",
            "The rules of {s} for computers were drawn up by {o}.",
        ),
        topics=("Computer languages and the people behind them",),
        queries=("Who devised {s}?",),
        questions=("Who designed {s}?", "Who created the programming language {s}?"),
    ),
    Relation(
        name="language year",
        table="programming",
        column="year",
        subject_kind="programming language",
        forward=(
            "The programming language {s} made its first appearance before the public in {o}.",
            "The first version of the programming language {s} was released to the public in {o}.",
            "Programmers have been able to write their software in {s} since {o}.",
        ),
        overview=(
            "In {o} developers got to know {s} by {=designer}.",
            "{o} was the year of {s}, a language for computers by {=designer}.",
            "Computers learned to understand {s} by {=designer} in {o}.",
        ),
        topics=("Computer languages through the years",),
        queries=("When did coders initially try {s}?",),
        questions=("When did {s} first appear?", "In what year did {s} appear?"),
    ),
)
