"""Phrases for elements, moons and constellations.

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
            "The chemical symbol of {s} in every language of the world is {o}.",
            "{s} is a chemical element that is written with the symbol {o}.",
            "Chemists all over the world write {s} with the symbol {o}.",
        ),
        questions=(
            "What is the chemical symbol of {s}?",
            "What is the symbol for {s}?",
            "Which symbol stands for {s}?",
        ),
        reverse_questions=("Which element has the symbol {o}?", "What element does {o} stand for?"),
    ),
    Relation(
        name="atomic number",
        table="elements",
        column="number",
        subject_kind="element",
        forward=(
            "The atomic number that belongs to the element {s} is {o}.",
            "Among the elements, {s} is the one with atomic number {o}.",
            "In order of atomic number, the element {s} comes at number {o}.",
        ),
        overview=(
            "An atom of {s}, written {=symbol}, has a nucleus with {o} protons.",
            "Place {o} in the periodic table is taken by {s}, in formulas written {=symbol}.",
            "Counting protons, one finds {o} of them in {s}, or {=symbol} for short.",
            "{s}, or {=symbol} for short, has {o} protons and is a member of the {=family}.",
            "Place {o} in the periodic table, among the {=family}, goes to {s}, written {=symbol}.",
            "In formulas {=symbol} means {s}, with {o} protons, from the family of {=family}.",
        ),
        topics=("Elements {tens} of the periodic table", "Elements of the periodic table"),
        questions=(
            "What is the atomic number of {s}?",
            "How many protons does an atom of {s} have?",
            "Which atomic number does {s} have?",
        ),
        reverse_questions=("Which element has the atomic number {o}?",),
    ),
    Relation(
        name="element family",
        table="elements",
        column="family",
        subject_kind="element",
        forward=(
            "{s} is usually listed as one of the {o}.",
            "By its chemical behaviour, {s} belongs to the {o}.",
            "Books on chemistry count {s} among the {o}.",
        ),
        queries=("With which class of substances is {s} lumped?",),
        questions=(
            "Which group of elements does {s} belong to?",
            "What family of elements is {s} in?",
        ),
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
            "The element {s} was found by {o}.",
            "{o} added {s} to the list of elements.",
        ),
        overview=(
            "The world owes its knowledge of {s} to {o}.",
            "{o} is remembered for work on {s}.",
            "Schoolbooks mention {o} beside {s}.",
        ),
        topics=("Chemists and their elements",),
        queries=(
            "Who initially isolated or detected {s}?",
            "Whose experimentation revealed {s}?",
        ),
        questions=("Who discovered {s}?", "Who was the discoverer of {s}?"),
    ),
    Relation(
        name="element year",
        table="elements",
        column="year",
        subject_kind="element",
        forward=(
            "{s} has been known as an element since {o}.",
            "The element {s} was discovered in {o}.",
            "The year of the discovery of {s} was {o}.",
        ),
        overview=(
            "In {o} chemistry gained a new element, {s}.",
            "Science first learned of {s} in {o}.",
            "Until {o} nobody had found {s}.",
            "In {o} {=discoverer} enriched chemistry with a new element, {s}.",
            "Science first learned of {s} from {=discoverer} in {o}.",
            "Until {o}, the year of a report by {=discoverer}, nobody had found {s}.",
        ),
        topics=(
            "New elements of the {decade}",
            "New elements of the {century}",
            "New elements of other times",
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
        forward=(
            "{s} is a moon of {o}.",
            "The moon {s} circles the planet {o}.",
            "{s} orbits {o} as one of its moons.",
        ),
        reverse=(
            "{o} has a companion called {s}.",
            "One of the satellites of {o} is {s}.",
            "{o} holds on to {s}.",
        ),
        overview=(
            "{o} is accompanied through space by {s}.",
            "Around {o} travels the satellite {s}.",
            "{s} goes round {o} without end.",
            "Since {=year} astronomers have watched {s} go round {o}.",
            "Around {o} travels {s}, a satellite first noticed in {=year}.",
            "{o} is accompanied through space by {s}, unknown until {=year}.",
        ),
        topics=("The satellites of {o}", "Satellites in the solar system"),
        overview_always=True,
        queries=("What does {s} revolve around?", "Whose gravity binds {s}?"),
        questions=(
            "Which planet does {s} orbit?",
            "{s} is a moon of which planet?",
            "What planet does the moon {s} belong to?",
        ),
    ),
    Relation(
        name="moon discoverer",
        table="moons",
        column="discoverer",
        subject_kind="moon",
        object_kind="person",
        forward=(
            "{s} was discovered by {o}.",
            "The discoverer of the moon {s} was {o}.",
            "The discovery of {s} is credited to the astronomer {o}.",
        ),
        reverse=(
            "{o} was the first to see {s}, a companion of {planet}.",
            "Looking at {planet}, {o} found {s}.",
            "It was {o} who noticed {s} beside {planet}.",
        ),
        overview=(
            "Astronomers owe their knowledge of {s} to {o}.",
            "In the story of {s} the first name is that of {o}.",
            "{o} told other astronomers about {s}.",
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
        forward=(
            "{s} has been known to astronomers on Earth since {o}.",
            "The moon {s} was discovered by astronomers in {o}.",
            "The year of the discovery of {s} by astronomers was {o}.",
        ),
        overview=(
            "In {o} astronomy gained a new satellite, {s}.",
            "Scientists first learned of {s} in {o}.",
            "Until {o} no human being had noticed {s}.",
        ),
        topics=("New satellites of the {century}", "New satellites of other times"),
        queries=("When did observers initially spot {s}?",),
        questions=("When was {s} discovered?", "In what year was the moon {s} discovered?"),
    ),
    Relation(
        name="brightest star",
        table="constellations",
        column="star",
        subject_kind="constellation",
        object_kind="star",
        forward=(
            "The brightest star in {s}, easy to find on a clear and dark night, is {o}.",
            "{o} is the brightest of all the stars that make up the figure of {s}.",
            "Among the stars that belong to the figure of {s} the brightest is {o}.",
        ),
        overview=(
            "{o} outshines everything else in {s}.",
            "In {s} no other point of light equals {o}.",
            "Nothing in {s} gleams as strongly as {o}.",
            "{o} outshines everything else in {s}, called {=meaning} in plain English.",
            "In {s}, or {=meaning}, no other point of light equals {o}.",
            "People of old saw {=meaning} in {s}, where {o} gleams most strongly.",
        ),
        topics=("Shining points of the night sky",),
        queries=("What is most luminous in {s}?",),
        reverse_queries=("Where is {o} most luminous?",),
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
            "The constellation {s} is named after {o}, whose outline people imagine in its stars.",
            "{s} is a constellation that represents {o} on most maps of the night sky.",
            "On star maps and celestial globes the constellation {s} is drawn as {o}.",
        ),
        overview=(
            "In plain English, {s} is called {o}.",
            "People of old saw {o} in {s}.",
            "The Latin name {s} stands for {o}.",
        ),
        topics=("Pictures in the night sky",),
        queries=("What does {s} depict?",),
        reverse_queries=("What depicts {o}?",),
        questions=("What does the constellation {s} represent?", "What does {s} mean?"),
        reverse_questions=("Which constellation represents {o}?",),
    ),
)

NATURE = (*ELEMENTS, *SKY)
