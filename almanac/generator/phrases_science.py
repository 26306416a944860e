"""Phrases for elements, moons, discoveries, inventions, units and programming languages.

Data only; ``relations.py`` says what each field means.
"""

from __future__ import annotations

from generator.relations import Relation

ELEMENTS = (
    Relation(
        name="symbol",
        table="elements",
        column="symbol",
        subject_kind="element",
        forward=(
            "The chemical symbol of {s} is {o}.",
            "{s} is a chemical element with the symbol {o}.",
            "The symbol {o} belongs to the chemical element {s}.",
        ),
        overview=(
            "{o} stands for {s} in formulas.",
            "Formulas in textbooks abbreviate {s} as {o}.",
            "In a formula, the letter or letters {o} mean {s}.",
        ),
        topics=("Abbreviations of the elements: {initial}", "Abbreviations of the elements"),
        questions=("What is the chemical symbol of {s}?", "What is the symbol for {s}?"),
        reverse_questions=("Which element has the symbol {o}?", "What element does {o} stand for?"),
    ),
    Relation(
        name="atomic number",
        table="elements",
        column="number",
        subject_kind="element",
        forward=(
            "The atomic number of {s} is {o}.",
            "{s} has the atomic number {o}.",
        ),
        overview=(
            "An atom of {s} has a nucleus with {o} protons.",
            "Place {o} in the periodic table is taken by {s}.",
            "Counting protons, one finds {o} of them in {s}.",
        ),
        topics=("Elements {tens} of the periodic table", "Elements of the periodic table"),
        questions=(
            "What is the atomic number of {s}?",
            "How many protons does an atom of {s} have?",
        ),
        reverse_questions=("Which element has the atomic number {o}?",),
    ),
    Relation(
        name="element family",
        table="elements",
        column="family",
        subject_kind="element",
        object_kind="element family",
        forward=("{s} is one of the {o}.", "Chemists count {s} among the {o}."),
        overview=(
            "The {o} include {s}.",
            "{s} is a member of the {o}.",
            "The family of {o} has {s} as a member.",
        ),
        topics=("The {o}",),
        queries=("With which class of substances do textbooks lump {s}?",),
        questions=("Which group of elements does {s} belong to?", "What family is {s} in?"),
    ),
    Relation(
        name="element discoverer",
        table="elements",
        column="discoverer",
        subject_kind="element",
        object_kind="person",
        forward=(
            "{s} was discovered by {o}.",
            "The discovery of {s} is credited to {o}.",
            "The discoverer of {s} was {o}.",
        ),
        reverse=(
            "{o} was the first to identify the element {s}.",
            "{o} found the element {s}.",
            "Among the elements, {s} was found by {o}.",
        ),
        overview=(
            "The world owes its knowledge of {s} to {o}.",
            "{o} is remembered for {s}.",
        ),
        topics=("Chemists and their elements",),
        queries=("Who initially isolated or detected {s}?", "Whose lab work revealed {s}?"),
        questions=("Who discovered {s}?", "Who was the discoverer of {s}?"),
    ),
    Relation(
        name="element year",
        table="elements",
        column="year",
        subject_kind="element",
        forward=("{s} has been known since {o}.", "The year of the discovery of {s} was {o}."),
        overview=(
            "In {o} chemistry gained a new element, {s}.",
            "Science first learned of {s} in {o}.",
        ),
        topics=(
            "New elements of the {decade}",
            "New elements of the {century}",
            "New elements of early times",
        ),
        queries=("When did researchers initially detect {s}?",),
        questions=("When was {s} discovered?", "In what year was {s} discovered?"),
    ),
)

SKY = (
    Relation(
        name="planet of moon",
        table="moons",
        column="planet",
        subject_kind="moon",
        object_kind="planet",
        forward=("{s} is a moon of {o}.", "The moon {s} circles {o}.", "{s} orbits {o}."),
        reverse=("{o} has a companion called {s}.", "One of the satellites of {o} is {s}."),
        overview=(
            "{o} is accompanied by {s}.",
            "Around {o} travels the satellite {s}.",
            "{s} goes round {o}.",
        ),
        topics=("The satellites of {o}", "Satellites in the solar system"),
        overview_always=True,
        queries=("What giant or dwarf does {s} revolve about?", "Whose gravity binds {s}?"),
        questions=("Which planet does {s} orbit?", "{s} is a moon of which planet?"),
    ),
    Relation(
        name="moon discoverer",
        table="moons",
        column="discoverer",
        subject_kind="moon",
        object_kind="person",
        forward=(
            "{s} was discovered by {o}.",
            "The discoverer of {s} was {o}.",
        ),
        reverse=(
            "{o} was the first to see {s}, which circles {planet}.",
            "Looking at {planet}, {o} found {s}.",
        ),
        overview=(
            "Human eyes, those of {o}, first met {s} in a telescope.",
            "Astronomers owe their knowledge of {s} to {o}.",
        ),
        topics=("Astronomers and the satellites they saw",),
        queries=("Who initially spotted {s}?", "Whose observations revealed {s}?"),
        questions=("Who discovered the moon {s}?", "Who discovered {s}?"),
    ),
    Relation(
        name="moon year",
        table="moons",
        column="year",
        subject_kind="moon",
        forward=("{s} has been known since {o}.", "The year of the discovery of {s} was {o}."),
        overview=(
            "In {o} astronomy gained a new satellite, {s}.",
            "Astronomers first learned of {s} in {o}.",
        ),
        topics=("New satellites of the {century}", "New satellites of early times"),
        queries=("When did observers initially spot {s}?",),
        questions=("When was {s} discovered?", "In what year was the moon {s} discovered?"),
    ),
    Relation(
        name="brightest star",
        table="constellations",
        column="star",
        subject_kind="constellation",
        object_kind="star",
        forward=("The brightest star in {s} is {o}.", "{o} is the brightest star of {s}."),
        overview=(
            "{o} outshines everything else in {s}.",
            "In {s} no other point of light equals {o}.",
            "Nothing in {s} gleams as strongly as {o}.",
        ),
        topics=("Shining points of the night sky",),
        queries=("Which sun is most luminous in {s}?",),
        questions=(
            "What is the brightest star in {s}?",
            "Which star is the brightest in the constellation {s}?",
        ),
        reverse_questions=("In which constellation is {o} the brightest star?",),
    ),
    Relation(
        name="constellation meaning",
        table="constellations",
        column="meaning",
        subject_kind="constellation",
        forward=(
            "The constellation {s} is named after {o}.",
            "{s} is a constellation that represents {o}.",
        ),
        overview=(
            "In English, the stars of {s} are called {o}.",
            "Ancient stargazers saw {o} in {s}.",
        ),
        topics=("Pictures in the night sky",),
        queries=("Which figure does {s} depict?",),
        questions=("What does the constellation {s} represent?", "What does {s} mean?"),
        reverse_questions=("Which constellation represents {o}?",),
    ),
)

IDEAS = (
    Relation(
        name="finder",
        table="findings",
        column="discoverer",
        subject_kind="discovery",
        object_kind="person",
        forward=(
            "{s} was discovered by {o}." ,
            "The discovery of {s} is credited to {o}.",
        ),
        reverse=(
            "The fame of {o} rests on work that led to {s}.",
            "{o} gave the world its knowledge of {s}.",
        ),
        overview=(
            "{o} is remembered for {s}.",
            "Textbooks name {o} beside {s}.",
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
            "{s} dates from {o}.",
            "The year linked with {s} is {o}.",
        ),
        overview=(
            "In {o} {discoverer} surprised the learned world with {s}.",
            "{o} brought news of {s}.",
        ),
        topics=("Great moments of science in the {century}", "Great moments of early science"),
        queries=("When did researchers initially announce {s}?",),
        questions=("In what year was {s} discovered?", "When was {s} discovered?"),
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
            "{o} is the creator of {s}.",
        ),
        overview=(
            "{o} is remembered for {s}.",
            "The idea of {s} came from {o}.",
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
        ),
        overview=(
            "In {o} {inventor} came forward with {s}.",
            "{o} was the year of {s}.",
            "The history of {s} began in {o}.",
        ),
        topics=(
            "New ideas of the {decade}",
            "New ideas of the {century}",
            "New ideas of early times",
        ),
        queries=("When did somebody devise {s}?",),
        questions=("When was {s} invented?", "In what year was {s} invented?"),
    ),
    Relation(
        name="unit quantity",
        table="units",
        column="quantity",
        subject_kind="unit",
        forward=("{s} is a unit of {o}.", "{s} measures {o}."),
        overview=(
            "Physicists state {o} in terms of {s}.",
            "For {o}, laboratories count with {s}.",
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
        forward=("{s} is named after {o}.", "The name of {s} honours {o}."),
        reverse=(
            "In memory of {o}, scientists call a unit {s}.",
            "The memory of {o} lives on in a unit, {s}.",
        ),
        overview=(
            "{o} lent a name to {s}.",
            "{s} recalls {o}.",
        ),
        topics=("Scientists behind the units of physics",),
        queries=("Which researcher does {s} commemorate?",),
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
            "The programming language {s} was designed by {o}.",
            "{s} is a programming language created by {o}.",
        ),
        reverse=("{o} is the father of {s}, in which software is written.",),
        overview=(
            "Software developers thank {o} for {s}.",
            "Behind the computer language {s} stands {o}.",
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
        forward=("{s} first appeared in {o}.", "The first version of {s} dates from {o}."),
        overview=(
            "In {o} programmers got to know {s}.",
            "{o} was the birth year of {s}, a language for computers.",
        ),
        topics=("Computer languages through the years",),
        queries=("When did coders initially try {s}?",),
        questions=("When did {s} first appear?", "In what year did {s} appear?"),
    ),
)

SCIENCE = (*ELEMENTS, *SKY, *IDEAS)
