"""Phrases for buildings, gods and dishes.

Data only; ``relations.py`` says what each field means.
"""

from __future__ import annotations

from generator.relations import Relation

BUILDINGS = (
    Relation(
        name="building city",
        table="buildings",
        column="city",
        subject_kind="building",
        object_kind="city",
        forward=(
            "{s} is a landmark of {o}.",
            "One of the landmarks of {o} is {s}.",
            "The city in which {s} was built is {o}.",
        ),
        reverse=(
            "Visitors to {o} photograph {s}.",
            "Sightseers in {o} go to {s}.",
            "On postcards from {o} one sees {s}.",
        ),
        overview=(
            "Walks through {o} lead to {s}, in {=country}.",
            "Guidebooks to {o}, a city of {=country}, describe {s}.",
            "Tourist maps of {o}, in {=country}, show {s}.",
            "Walks through {o}, in {=country}, lead to {s}, which builders left in {=year}.",
            "Guidebooks to {o}, a city of {=country}, describe {s}, finished in {=year}.",
            "Tourist maps of {o}, in {=country}, show {s}, a work of {=year}.",
        ),
        topics=("Sights of {o}", "Sights of many towns"),
        overview_always=True,
        queries=("In which city would a cab bring one to {s}?",),
        questions=("In which city is {s}?", "Where is {s} located?"),
    ),
    Relation(
        name="building country",
        table="buildings",
        column="country",
        subject_kind="building",
        object_kind="country",
        forward=(
            "{s} is one of the best-known works of architecture in {o}.",
            "Among the famous works of architecture in {o} is {s}.",
            "Many people who think of {o} think of {s}.",
        ),
        questions=("In which country is {s}?", "Which country is {s} in?"),
    ),
    Relation(
        name="architect",
        table="buildings",
        column="architect",
        subject_kind="building",
        object_kind="person",
        forward=(
            "{s} was designed by {o}.",
            "The design of {s} is by {o}.",
            "The designer of {s} was {o}.",
        ),
        reverse=(
            "{o} drew the plans of {s}.",
            "The plans of {s} were the work of {o}.",
        ),
        overview=(
            "{o} planned {s}.",
            "The plans of {s} were made by {o}.",
            "The name of {o} is linked with {s}.",
        ),
        topics=("Master builders",),
        queries=("Whose blueprints shaped {s}?",),
        questions=("Who designed {s}?", "Who was the designer of {s}?"),
    ),
    Relation(
        name="building year",
        table="buildings",
        column="year",
        subject_kind="building",
        forward=(
            "{s} was completed in {o}.",
            "The completion of {s} came in {o}.",
            "The year of completion of {s} is {o}.",
        ),
        overview=(
            "In {o} work on {s} came to an end.",
            "{o} was the year in which {s} was finished.",
            "Builders finished {s} in {o}.",
        ),
        topics=("Builders of the {century}", "Builders of other times"),
        queries=("When did contractors pronounce {s} ready?",),
        questions=("When was {s} completed?", "In what year was {s} finished?"),
    ),
)

GODS = (
    Relation(
        name="domain of god",
        table="gods",
        column="domain",
        subject_kind="god",
        forward=(
            "{s} is the Greek deity of {o}, as old poems tell.",
            "In Greek myth {s} is the deity of {o}.",
            "The Greek deity who looks after {o} is called {s}.",
        ),
        overview=(
            "Worshippers prayed to {s} in matters of {o}.",
            "People of old believed that {s} watched over {o}.",
            "Hymns to {s} speak of {o}.",
        ),
        topics=("Powers of the gods",),
        queries=("What is {s} responsible for?",),
        questions=("What is {s} the god of?", "What is {s} the deity of in Greek mythology?"),
        reverse_questions=("Who is the Greek deity of {o}?",),
    ),
    Relation(
        name="roman name",
        table="gods",
        column="roman",
        subject_kind="god",
        forward=(
            "The Roman counterpart of {s}, with much the same tasks, is {o}.",
            "{s} has a Roman counterpart of a similar kind in {o}.",
            "Roman myth tells of {o} what Greek myth tells of {s}.",
        ),
        overview=(
            "What {s} was to Greece, {o} was to Rome.",
            "People in Rome worshipped {o} much as people in Athens worshipped {s}.",
            "In Rome the temples of {o} took the place of those of {s}.",
            "In matters of {=domain}, what {s} was to Greece, {o} was to Rome.",
            "For help with {=domain}, people in Athens prayed to {s} and people in Rome to {o}.",
            "In Rome {o} watched over {=domain}, as {s} did in Athens.",
        ),
        topics=("Gods of Greece and Rome",),
        queries=("Under which Latin guise is {s} revered?",),
        questions=("What is the Roman name of {s}?", "Who is the Roman counterpart of {s}?"),
        reverse_questions=("Who is the Greek counterpart of {o}?",),
    ),
    Relation(
        name="attribute of god",
        table="gods",
        column="attribute",
        subject_kind="god",
        forward=(
            "In paintings and other works of art {s} is recognised by an attribute, {o}.",
            "The attribute of {s} in paintings and other works of art is {o}.",
            "Painters and sculptors give {s} an attribute, {o}.",
        ),
        overview=(
            "Whoever sees {o} in an old picture thinks of {s}.",
            "In old pictures {s} is shown with {o}.",
            "Where artists show {o}, they may mean {s}.",
        ),
        topics=("Signs of the gods",),
        questions=("What is the attribute of {s}?", "What does {s} carry in works of art?"),
    ),
)

FOOD = (
    Relation(
        name="dish country",
        table="dishes",
        column="country",
        subject_kind="dish",
        object_kind="country",
        forward=(
            "{s} is a traditional dish from {o}.",
            "The traditional dish called {s} comes from {o}.",
            "The home of the dish called {s} is {o}.",
        ),
        overview=(
            "Cooks in {o} prepare {s}.",
            "In the kitchens of {o} one smells {s}.",
            "Guests in {o} are offered {s}.",
            "Cooks in {o} buy {=main} to prepare {s}.",
            "In the kitchens of {o}, {=main} goes into {s}.",
            "Guests in {o} are offered {s} and taste {=main} in it.",
        ),
        topics=("At table in {o}", "At table around the world"),
        queries=(
            "Whose cuisine boasts {s}?",
            "To which country does a gourmet fly for {s}?",
        ),
        questions=("Which country does {s} come from?", "{s} is a dish from which country?"),
    ),
    Relation(
        name="ingredient",
        table="dishes",
        column="main",
        subject_kind="dish",
        forward=(
            "{s} is made with {o}.",
            "The main ingredient of {s} is {o}.",
            "One of the main ingredients of {s} is {o}.",
        ),
        overview=(
            "Whoever wants to cook {s} needs {o}.",
            "For a plate of {s} one has to buy {o}.",
            "Without {o} there is no {s}.",
        ),
        topics=("Shopping for the kitchen",),
        queries=("Of what does {s} chiefly consist?",),
        questions=("What is {s} made of?", "What is the main ingredient of {s}?"),
    ),
)

CULTURE = (*BUILDINGS, *GODS, *FOOD)
