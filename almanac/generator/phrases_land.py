"""Phrases for rivers, mountains, lakes, islands and volcanoes.

Data only; ``relations.py`` says what each field means.
"""

from __future__ import annotations

from generator.relations import Relation

RIVERS = (
    Relation(
        name="river mouth",
        table="rivers",
        column="mouth",
        subject_kind="river",
        object_kind="water",
        forward=(
            "{s} is a river in {continent} that flows into {o}.",
            "The waters of {s}, a river in {continent}, empty into {o}.",
            "After crossing a part of {continent}, {s} flows into {o}.",
        ),
        reverse=(
            "{o} is fed by {s}.",
            "{o} receives {s} and everything it carries.",
            "Fresh water from {s} mixes with that of {o}.",
        ),
        overview=(
            "{s} ends its course in {o}.",
            "The course of {s} comes to an end in {o}.",
            "A leaf dropped into {s} may drift as far as {o}.",
            "{s} begins in {=source} and ends its course in {o}.",
            "The course of {s} starts in {=source} and comes to an end in {o}.",
            "A leaf dropped into {s} in {=source} may drift as far as {o}.",
        ),
        topics=("Rivers of {continent} and where they end", "Rivers and where they end"),
        overview_always=True,
        queries=("Where does {s} discharge?", "Into what does {s} drain?"),
        questions=(
            "Into which body of water does {s} flow?",
            "Where does {s} end?",
            "What does {s} flow into?",
        ),
    ),
    Relation(
        name="river source",
        table="rivers",
        column="source",
        subject_kind="river",
        object_kind="country",
        forward=(
            "The source of {s} is in {o}.",
            "{s} has its source in {o}.",
            "The upper course of {s} begins in {o}.",
        ),
        queries=("Where does {s} originate?",),
        questions=("In which country is the source of {s}?", "Where does {s} rise?"),
    ),
    Relation(
        name="river city",
        table="rivers",
        column="city",
        subject_kind="river",
        object_kind="city",
        forward=(
            "One of the cities that stand on {s} is {o}.",
            "{s} flows past the streets and squares of {o}.",
            "On its way {s} passes many houses and the city of {o}.",
        ),
        reverse=(
            "{o} stands on the banks of {s}.",
            "The river that people see in {o} is {s}.",
            "{o} was built beside {s}.",
        ),
        overview=(
            "Fishermen in {o} cast their lines into {s}.",
            "People in {o} stroll along {s}.",
            "Boats in {o} sail on {s}.",
        ),
        topics=("Riverside cities of {continent}", "Riverside cities"),
        reverse_queries=("What meanders alongside {o}?", "Whose ripples glitter in {o}?"),
        reverse_questions=(
            "Which river flows through {o}?",
            "On which river is the city of {o}?",
            "What river is {o} on?",
        ),
    ),
)

MOUNTAINS = (
    Relation(
        name="mountain country",
        table="mountains",
        column="country",
        subject_kind="mountain",
        object_kind="country",
        forward=(
            "{s} is a mountain in {o}.",
            "The mountain called {s} rises in {o}.",
            "Among the mountains of {o} is {s}.",
        ),
        overview=(
            "One of the peaks of {o} is {s}.",
            "Climbers who go to {o} may visit {s}.",
            "Hikers in {o} look up at {s}.",
        ),
        topics=("The landscape of {o}", "Peaks around the world"),
        queries=("In which country would alpinists scale {s}?",),
        questions=(
            "In which country is {s}?",
            "What country is {s} located in?",
            "Where is the mountain {s}?",
        ),
    ),
    Relation(
        name="mountain range",
        table="mountains",
        column="range",
        subject_kind="mountain",
        object_kind="mountain range",
        forward=(
            "{s} belongs to the mountain range called {o}.",
            "{s} is part of {o}, a range of mountains.",
            "{s} rises in {o}, a mountain range.",
        ),
        reverse=(
            "Climbers who travel to {o} can see {s}.",
            "Trails in {o} lead to {s}.",
            "A famous peak of {o} is {s}.",
        ),
        overview=(
            "Maps of {o} show the peak of {s}.",
            "One of the giants that stand in {o} is {s}.",
            "Guides from {o} lead climbers to {s}.",
        ),
        topics=("Peaks of {o}", "Mountain ranges and their peaks"),
        overview_always=True,
        queries=("Which massif or cordillera contains {s}?",),
        questions=(
            "Which mountain range is {s} in?",
            "What mountain range does {s} belong to?",
            "{s} is part of which mountain range?",
        ),
    ),
    Relation(
        name="mountain height",
        table="mountains",
        column="height",
        subject_kind="mountain",
        forward=(
            "{s} is {o} metres high, measured from sea level.",
            "The height of {s}, measured from sea level, is {o} metres.",
            "Surveyors give {s} a height of {o} metres.",
        ),
        overview=(
            "{s} reaches {o} metres above the sea.",
            "The summit of {s} stands {o} metres above sea level.",
            "Whoever reaches the top of {s} is {o} metres above the sea.",
            "Until {=year} nobody had stood on top of {s}, {o} metres above the sea.",
            "In {=year} people stood on {s}, {o} metres above the sea, for the first time.",
            "{s}, whose top is {o} metres above the sea, was conquered in {=year}.",
        ),
        topics=("Mountains by their elevation",),
        queries=("How tall is {s}?", "How lofty is {s}?"),
        questions=(
            "How high is {s}?",
            "What is the height of {s} in metres?",
            "How many metres high is {s}?",
        ),
    ),
    Relation(
        name="first ascent",
        table="mountains",
        column="year",
        subject_kind="mountain",
        forward=(
            "{s} was first climbed in {o}.",
            "The first ascent of {s} took place in {o}.",
            "The first climbers reached the summit of {s} in {o}.",
        ),
        overview=(
            "In {o} people stood on top of {s} for the first time.",
            "{o} was the year in which {s} was conquered.",
            "Until {o} nobody had stood on top of {s}.",
        ),
        topics=("Mountaineering in the {century}", "Mountaineering at other times"),
        queries=("When did alpinists initially vanquish {s}?",),
        questions=(
            "When was {s} first climbed?",
            "In what year was the first ascent of {s}?",
            "When did people first climb {s}?",
        ),
    ),
    Relation(
        name="volcano country",
        table="volcanoes",
        column="country",
        subject_kind="volcano",
        object_kind="country",
        forward=(
            "{s} is a volcano in {o}.",
            "The volcano called {s} stands in {o}.",
            "Among the volcanoes of {o} is {s}.",
        ),
        overview=(
            "Lava from {s} has flowed over the soil of {o}.",
            "The crater of {s} is in {o}.",
            "People in {o} keep a wary eye on {s}.",
        ),
        topics=("The landscape of {o}", "Craters around the world"),
        queries=("Which country would tremble if {s} exploded?",),
        questions=(
            "In which country is the volcano {s}?",
            "Where is the volcano {s}?",
            "{s} is a volcano in which country?",
        ),
    ),
    Relation(
        name="eruption",
        table="volcanoes",
        column="eruption",
        subject_kind="volcano",
        forward=(
            "{s} erupted violently in {o}.",
            "A great eruption of {s} took place in {o}.",
            "A famous eruption of {s} happened in {o}.",
        ),
        overview=(
            "In {o} ash and smoke rose from {s}.",
            "{o} was a year of fire for {s}.",
            "Ash from {s} darkened the sky in {o}.",
        ),
        topics=("Years of fire and ash",),
        queries=("When did {s} explode?",),
        questions=("When did {s} erupt?", "In what year was the great eruption of {s}?"),
    ),
)

WATERS = (
    Relation(
        name="lake country",
        table="lakes",
        column="country",
        subject_kind="lake",
        object_kind="country",
        forward=(
            "{s} is a lake in {o}.",
            "The lake called {s} lies in {o}.",
            "Among the lakes of {o} is {s}.",
        ),
        overview=(
            "Anglers and sailors in {o} know {s}.",
            "One of the inland waters of {o} is {s}.",
            "Holidaymakers in {o} row on {s}.",
        ),
        topics=("The landscape of {o}", "Inland waters around the world"),
        queries=("Which country could you swim in to bathe in {s}?",),
        questions=("In which country is {s}?", "Where is {s} located?", "Where is {s}?"),
    ),
    Relation(
        name="lake region",
        table="lakes",
        column="region",
        subject_kind="lake",
        forward=(
            "More precisely, {s} is situated in {o}.",
            "The shores of {s} are in {o}.",
            "{s} is found in {o}.",
        ),
        overview=(
            "Tourists in {o} often stop at {s}.",
            "Fishermen of {o} set out on {s}.",
            "Poems about {o} mention {s}.",
        ),
        topics=("Where some lakes lie",),
        questions=("In which region is {s}?", "In which part of the country is {s}?"),
    ),
    Relation(
        name="island country",
        table="islands",
        column="country",
        subject_kind="island",
        object_kind="country",
        forward=(
            "{s} is an island that belongs to {o}.",
            "The island of {s} is part of {o}.",
            "{s} is an island governed by {o}.",
        ),
        overview=(
            "The territory of {o} takes in {s}.",
            "The flag of {o} flies over {s}.",
            "Letters for {s} are sent by way of {o}.",
        ),
        topics=("The landscape of {o}", "Islands and their owners"),
        queries=("Which country issues passports to dwellers on {s}?",),
        questions=(
            "Which country does {s} belong to?",
            "{s} is an island of which country?",
            "What country owns {s}?",
        ),
    ),
    Relation(
        name="island sea",
        table="islands",
        column="sea",
        subject_kind="island",
        object_kind="water",
        forward=(
            "{s} is an island in {o}.",
            "The island of {s} lies in {o}.",
            "On all sides the island of {s} is surrounded by {o}.",
        ),
        reverse=(
            "{o} washes the shores of {s}.",
            "The waves of {o} break on {s}.",
            "Ferries on {o} call at {s}.",
        ),
        overview=(
            "Ships cross {o} to reach {s}.",
            "Sailors on {o} can land on {s}.",
            "Storms from {o} reach {s}.",
        ),
        topics=("Islands of {o}", "Islands and the seas around them"),
        queries=(
            "Where would divers swim around {s}?",
            "Into what would divers around {s} plunge?",
        ),
        questions=("In which sea is {s}?", "What body of water surrounds {s}?"),
    ),
)

LAND = (*RIVERS, *MOUNTAINS, *WATERS)
