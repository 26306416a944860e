"""Phrases for countries and states.

Data only; ``relations.py`` says what each field means.
"""

from __future__ import annotations

from generator.relations import Relation

COUNTRIES = (
    Relation(
        name="region",
        table="countries",
        column="region",
        subject_kind="country",
        forward=(
            "{s} is a country in {o}.",
            "{s} is one of the countries of {o}.",
            "Geographers count {s} among the countries of {o}.",
        ),
        elsewhere={
            "capital": (
                "Like the rest of {s}, {capital} is a part of {o}.",
                "{capital} lies, as all of {s} does, in {o}.",
                "Whoever flies to {capital} lands in {s} and thus in {o}.",
            )
        },
        overview=(
            "On a map of {o} you find {s}.",
            "One of the nations of {o} is {s}.",
            "{s} is found in {o}.",
        ),
        topics=("Nations on the map",),
        queries=("Whereabouts on our globe is {s}?", "Whereabouts would one pinpoint {s}?"),
        questions=(
            "In which region of the world is {s}?",
            "What part of the world is {s} in?",
            "Where in the world is {s}?",
        ),
    ),
    Relation(
        name="capital",
        table="countries",
        column="capital",
        subject_kind="country",
        object_kind="city",
        forward=(
            "The capital of {s} is {o}.",
            "The capital and one of the best-known cities of {s} is {o}.",
            "{s} is governed from its capital, the city of {o}.",
            "On maps of {s} a star marks the capital, {o}.",
            "{o} is the capital city of {s}.",
        ),
        reverse=(
            "{o} is the seat of government of {s}.",
            "The government of {s} has its seat in {o}.",
            "{o} is home to the government of {s}.",
            "The head of government of {s} works in {o}.",
        ),
        overview=(
            "The leaders of {s} have their offices in {o}.",
            "State power in {s} is exercised from {o}.",
            "Political life in {s} centres on {o}.",
            "In {=region}, the leaders of {s} have their offices in {o}.",
            "Political life in {s}, a land of {=region}, centres on {o}.",
            "State power in {s}, in {=region}, is exercised from {o}.",
        ),
        topics=("Capitals of {region}", "Capitals of {continent}", "Capitals of the world"),
        overview_always=True,
        queries=(
            "From which city is {s} ruled?",
            "In which city do ministers of {s} sit?",
            "Which city hosts ambassadors accredited to {s}?",
        ),
        reverse_queries=(
            "Which country is ruled from {o}?",
            "Whose ministers sit in {o}?",
        ),
        questions=(
            "What is the capital of {s}?",
            "What is the capital city of {s}?",
            "Which city is the capital of {s}?",
            "Where is the seat of government of {s}?",
        ),
        reverse_questions=(
            "Which country has {o} as its capital?",
            "{o} is the capital of which country?",
            "Of what country is {o} the capital?",
        ),
    ),
    Relation(
        name="currency",
        table="countries",
        column="currency",
        subject_kind="country",
        object_kind="currency",
        forward=(
            "The currency of {s} is {o}.",
            "{s} has {o} as its official currency.",
            "Anyone who buys or sells in {s} needs {o}, the local currency.",
            "The legal tender of {s} is {o}.",
        ),
        reverse=(
            "People in {s} pay with {o}.",
            "{o} is the money that people in {s} earn and spend.",
            "Those who work in {s} are paid in {o}.",
        ),
        elsewhere={
            "capital": (
                "In the shops of {capital}, as in the rest of {s}, prices are given in {o}.",
                "Buyers in {capital} and elsewhere in {s} hand over {o}.",
                "At the markets of {capital}, traders of {s} ask for {o}.",
            )
        },
        overview=(
            "Wages in {s} are counted in {o}.",
            "Banks in {s} keep their accounts in {o}.",
            "The coins and notes of {s} are those of {o}.",
        ),
        topics=("Money around the world",),
        queries=(
            "With what do customers in {s} settle bills?",
            "What do purses in {s} contain?",
            "In what do cashiers of {s} reckon?",
        ),
        questions=(
            "What is the currency of {s}?",
            "Which currency is used in {s}?",
            "What money do they use in {s}?",
        ),
    ),
    Relation(
        name="language",
        table="countries",
        column="language",
        subject_kind="country",
        object_kind="language",
        forward=(
            "The official language of {s} is {o}.",
            "{o} is the official language in {s} and is taught at school.",
            "Officially, {s} uses the {o} language.",
        ),
        reverse=(
            "{o} is the language of laws and courts in {s}.",
            "Clerks and judges in {s} use {o}.",
            "State schools in {s} teach in {o}.",
        ),
        elsewhere={
            "capital": (
                "Signs and newspapers in {capital} and across {s} are printed in {o}.",
                "Radio news from {capital} reaches the people of {s} in {o}.",
                "Letters from the authorities in {capital} to the people of {s} are in {o}.",
            )
        },
        overview=(
            "Decrees in {s} are published in {o}.",
            "Judges and teachers in {s} work in {o}.",
        ),
        topics=("Languages around the world",),
        queries=(
            "Which tongue do citizens of {s} share?",
            "Which tongue ought an immigrant to {s} acquire?",
        ),
        questions=(
            "What is the official language of {s}?",
            "Which language is spoken in {s}?",
            "What language do they use in {s}?",
        ),
    ),
    Relation(
        name="largest city",
        table="countries",
        column="largest",
        subject_kind="country",
        object_kind="city",
        forward=(
            "The largest city of {s} is not the capital but {o}.",
            "{o} has more inhabitants than any other city of {s}.",
            "The largest city of {s} is {o}.",
        ),
        reverse=(
            "{o} is the most populous place in {s}, although the government sits elsewhere.",
            "No other town of {s} is home to as many people as {o}.",
            "More people live in {o} than in any other town of {s}.",
        ),
        overview=(
            "Although the government of {s} works elsewhere, {o} leads in population.",
            "Of all the towns of {s}, {o} houses the most people.",
            "In the number of people, {o} is ahead of every other town of {s}.",
        ),
        topics=("Big cities that are not capitals",),
        queries=("Which city of {s} dwarfs all others?",),
        questions=(
            "What is the largest city in {s}?",
            "Which city of {s} is the biggest?",
            "What is the biggest city of {s}?",
        ),
        reverse_questions=("{o} is the largest city of which country?",),
    ),
    Relation(
        name="independence",
        table="countries",
        column="independent",
        subject_kind="country",
        forward=(
            "{s} became independent in {o}.",
            "{s} gained its independence in {o}.",
            "The independence of {s} dates from {o}.",
        ),
        overview=(
            "In {o} {s} took its fate into its own hands.",
            "{o} was the year in which {s} began to stand on its own feet.",
            "As a state of its own, {s} is a child of {o}.",
        ),
        topics=("New states of the {decade}", "New states of the {century}"),
        queries=("When did {s} obtain sovereignty?",),
        questions=(
            "When did {s} become independent?",
            "In which year did {s} gain independence?",
        ),
    ),
    Relation(
        name="demonym",
        table="countries",
        column="demonym",
        subject_kind="country",
        forward=(
            "A person who comes from {s} is described as {o}.",
            "The adjective that goes with {s} is {o}.",
            "Goods that come from {s} are described as {o}.",
        ),
        elsewhere={
            "capital": (
                "A person born in {capital} or another town of {s} is usually {o}.",
                "Passport holders from {capital} and the rest of {s} are {o}.",
                "A family from {capital}, or from elsewhere in {s}, is {o}.",
            )
        },
        overview=(
            "A native of {s} is {o}.",
            "The word {o} is used for natives of {s}.",
            "Guests from {s} are {o}, as any traveller knows.",
        ),
        topics=("Names of peoples",),
        questions=("What do you call a person from {s}?", "What is the demonym for {s}?"),
        reverse_questions=("Which country do {o} people come from?",),
    ),
)

STATES = (
    Relation(
        name="state capital",
        table="states",
        column="capital",
        subject_kind="state",
        object_kind="city",
        forward=(
            "The state capital of {s} is {o}.",
            "{s} is an American state with its capital at {o}.",
            "In {s} the state capital is the city of {o}.",
        ),
        reverse=(
            "{o} is home to the governor and the lawmakers of {s}.",
            "Lawmakers of {s} meet in {o}.",
            "The governor of {s} works in {o}.",
        ),
        overview=(
            "The legislature of {s} sits in {o}.",
            "{o} houses the legislature of {s}.",
            "Elected members from all over {s} gather in {o}.",
        ),
        topics=("American legislatures: {initial}", "American legislatures"),
        overview_always=True,
        queries=("From which city is {s} ruled?", "In which city do senators of {s} debate?"),
        reverse_queries=("What is ruled from {o}?", "Whose senators debate in {o}?"),
        questions=(
            "What is the capital of {s}?",
            "What is the state capital of {s}?",
            "Which city is the capital of {s}?",
        ),
        reverse_questions=(
            "{o} is the capital of which US state?",
            "Which US state has {o} as its capital?",
        ),
    ),
    Relation(
        name="state largest city",
        table="states",
        column="largest",
        subject_kind="state",
        object_kind="city",
        forward=(
            "The largest city of {s} is {o}.",
            "{o} is the biggest city in {s}.",
            "Larger than the state capital of {s} is the city of {o}.",
        ),
        reverse=(
            "{o} is the most populous place in {s}.",
            "No other town of {s} is home to as many people as {o}.",
            "More people live in {o} than in any other town of {s}.",
        ),
        overview=(
            "Of all the towns of {s}, {o} houses the most people.",
            "In population, {o} leads all other towns of {s}.",
            "In the number of people, {o} is ahead of every other town of {s}.",
        ),
        topics=("Populous places in the American states",),
        queries=("Which city of {s} dwarfs all others?",),
        questions=("What is the largest city in {s}?", "Which city is the biggest in {s}?"),
    ),
    Relation(
        name="nickname",
        table="states",
        column="nickname",
        subject_kind="state",
        forward=(
            "The nickname of {s} is {o}.",
            "{s} is nicknamed {o}.",
            "Americans know {s} by the nickname {o}.",
        ),
        elsewhere={
            "capital": (
                "Travellers who come to {capital} learn that {s} is called {o}.",
                "Postcards from {capital} send greetings from {o}, as {s} is called.",
                "People in {capital} and elsewhere in {s} say that they live in {o}.",
            )
        },
        overview=(
            "{o} is another name for {s}.",
            "People who speak of {o} mean {s}.",
            "Whoever says {o} means {s}.",
            "{o} is another name for {s}, received among the American states in {=admitted}.",
            "Whoever says {o} means {s}, one of the states since {=admitted}.",
            "People who speak of {o} mean {s}, a newcomer of {=admitted}.",
        ),
        topics=("Names of American states: {initial}", "Names of American states"),
        queries=("Which moniker does {s} flaunt?",),
        reverse_queries=("Which area flaunts {o} as its moniker?",),
        questions=(
            "What is the nickname of {s}?",
            "What is {s} nicknamed?",
            "What is {s} also known as?",
        ),
        reverse_questions=("Which US state is known as {o}?", "Which state is nicknamed {o}?"),
    ),
    Relation(
        name="admission",
        table="states",
        column="admitted",
        subject_kind="state",
        forward=(
            "{s} joined the United States in {o}.",
            "{s} became a state of the Union in {o}.",
            "The admission of {s} to the United States dates from {o}.",
        ),
        overview=(
            "In {o} {s} was received among the American states.",
            "{o} was the year in which {s} was received among the states.",
            "American history books mention {s} as a newcomer of {o}.",
        ),
        topics=("Growth of America in the {century}",),
        queries=("When did {s} enter statehood?", "When did {s} achieve statehood?"),
        questions=(
            "When did {s} become a state?",
            "In which year did {s} join the Union?",
            "When did {s} join the United States?",
        ),
    ),
    Relation(
        name="postal abbreviation",
        table="states",
        column="postal",
        subject_kind="state",
        forward=(
            "The postal abbreviation of {s} is {o}.",
            "The post office abbreviates {s} as {o}.",
        ),
        elsewhere={
            "capital": (
                "Envelopes for {capital} bear the two letters {o}, which stand for {s}.",
                "On an envelope to {capital}, {s} is written {o} for short.",
            )
        },
        questions=(
            "What is the postal abbreviation of {s}?",
            "What is the two-letter abbreviation for {s}?",
        ),
        reverse_questions=("Which US state has the abbreviation {o}?",),
    ),
)

PLACES = (*COUNTRIES, *STATES)
