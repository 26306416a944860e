"""Phrases for countries, cities, currencies, waters, mountains, islands and states.

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
        forward=("{s} is a country in {o}.", "{s} is a sovereign state of {o}."),
        elsewhere={
            "capital": (
                "Like the rest of {s}, {capital} belongs to {o}.",
                "{capital} lies, with all of {s}, in {o}.",
            )
        },
        overview=(
            "{s} lies in {o}.",
            "On a map of {o} you find {s}.",
            "One of the nations of {o} is {s}.",
        ),
        topics=("Countries of {o}",),
        queries=("In which part of our globe is {s}?", "Whereabouts on a globe is {s}?"),
        questions=("In which region of the world is {s}?", "What part of the world is {s} in?"),
    ),
    Relation(
        name="capital",
        table="countries",
        column="capital",
        subject_kind="country",
        object_kind="city",
        forward=(
            "The capital of {s} is {o}.",
            "{s} has {o} as its capital.",
            "{o} is the capital city of {s}.",
            "{s} is governed from its capital, {o}.",
        ),
        reverse=(
            "{o} is the seat of government of {s}.",
            "The government of {s} has its seat in {o}.",
            "{o} is home to the government of {s}.",
            "The government of {s} meets in {o}.",
        ),
        overview=(
            "State power in {s} is exercised from {o}.",
            "The leaders of {s} have their offices in {o}.",
            "{o} is where the leaders of {s} work.",
            "Political life in {s} centres on {o}.",
        ),
        topics=("Capitals of {region}", "Capitals of {continent}", "Capitals of the world"),
        overview_always=True,
        queries=(
            "From which city is {s} ruled?",
            "In which city do ministers of {s} sit?",
            "Which city hosts ambassadors sent to {s}?",
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
            "{s} uses {o} as its currency.",
            "The legal tender of {s} is {o}.",
        ),
        reverse=(
            "People in {s} pay with {o}.",
            "{o} is the money of {s}.",
            "{o} is the money that people in {s} earn and spend.",
        ),
        elsewhere={
            "capital": (
                "In the shops of {capital}, as in the rest of {s}, prices are given in {o}.",
                "Buyers in {capital} and elsewhere in {s} hand over {o}.",
                "A visitor to {capital} will find prices in {o}, as everywhere in {s}.",
            )
        },
        overview=(
            "Wages in {s} are counted in {o}.",
            "Banks in {s} keep their accounts in {o}.",
            "The coins and notes of {s} are those of {o}.",
        ),
        topics=("Money in {region}", "Money in {continent}", "Money around the world"),
        queries=(
            "With what do customers in {s} settle bills?",
            "What cash circulates in {s}?",
            "In what do cashiers of {s} give change?",
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
            "{o} is the official language in {s}.",
            "Officially, the language of {s} is {o}.",
        ),
        reverse=(
            "{o} is widely spoken in {s}.",
            "Many speakers of {o} live in {s}.",
            "People speak {o} in {s}.",
        ),
        elsewhere={
            "capital": (
                "Signs and newspapers in {capital} and across {s} are printed in {o}.",
                "Whoever reads the newspapers of {capital} or another town of {s} meets {o}.",
            )
        },
        overview=(
            "Laws and decrees in {s} are written in {o}.",
            "State schools in {s} teach in {o}.",
        ),
        topics=("Languages of {region}", "Languages of {continent}", "Languages around the world"),
        queries=(
            "Which tongue do citizens of {s} share?",
            "What tongue should one learn before moving to {s}?",
        ),
        questions=(
            "What is the official language of {s}?",
            "Which language is spoken in {s}?",
            "What language do people speak in {s}?",
        ),
    ),
    Relation(
        name="largest city",
        table="countries",
        column="largest",
        subject_kind="country",
        object_kind="city",
        forward=(
            "The largest city of {s} is {o}.",
            "{o} has more inhabitants than any other city of {s}.",
        ),
        reverse=(
            "{o} is the most populous place in {s}, although the government sits elsewhere.",
            "No other town of {s} is home to as many people as {o}.",
        ),
        overview=(
            "More people of {s} live in {o} than in any other town.",
            "Although not the capital, {o} leads {s} in population.",
        ),
        topics=("Big cities that are not capitals",),
        queries=("Which metropolis dwarfs all others in {s}?",),
        questions=("What is the largest city in {s}?", "Which city of {s} is the biggest?"),
        reverse_questions=("{o} is the largest city of which country?",),
    ),
    Relation(
        name="subunit",
        table="currencies",
        column="subunit",
        subject_kind="currency",
        forward=(
            "{s} is divided into {o}.",
            "Smaller amounts than one unit of {s} are given in {o}.",
        ),
        overview=(
            "Small change of {s} is counted in {o}.",
            "The fractions of {s} are called {o}.",
            "{o} are the fractional units of {s}.",
        ),
        topics=("Small coins called {o}", "Names of small coins: {initial}", "Names of small coins"),
        queries=("Into what does {s} break down?",),
        questions=("What is {s} divided into?", "What are the subunits of {s} called?"),
    ),
    Relation(
        name="currency code",
        table="currencies",
        column="code",
        subject_kind="currency",
        forward=(
            "Banks write {s} with the international code {o}.",
            "The international code of {s} is {o}.",
            "On lists of exchange rates {s} appears under the code {o}.",
        ),
        overview=(
            "{o} is the abbreviation of {s}.",
            "Traders abbreviate {s} as {o}.",
            "The three letters {o} stand for {s}.",
        ),
        topics=("Currency abbreviations: {initial}", "Other currency abbreviations"),
        questions=("What is the currency code of {s}?", "What is the ISO code of {s}?"),
        reverse_questions=("Which currency has the code {o}?", "What does the currency code {o} mean?"),
    ),
)

LAND = (
    Relation(
        name="river mouth",
        table="rivers",
        column="mouth",
        subject_kind="river",
        object_kind="water",
        forward=(
            "{s} flows into {o}.",
            "The waters of {s} empty into {o}.",
            "{s} runs down to its mouth in {o}.",
        ),
        reverse=(
            "{o} is fed by {s}.",
            "{o} receives the stream of {s}.",
        ),
        overview=(
            "{s} ends its course in {o}.",
            "The course of {s} comes to an end in {o}.",
            "{s} is a river that reaches {o}.",
        ),
        topics=("Rivers of {continent} and where they end", "Rivers and where they end"),
        queries=("Where does {s} discharge?", "Into what does {s} drain?"),
        questions=(
            "Into which body of water does {s} flow?",
            "Where does {s} end?",
            "What does {s} flow into?",
        ),
    ),
    Relation(
        name="river continent",
        table="rivers",
        column="continent",
        subject_kind="river",
        forward=("{s} is a river in {o}.", "{s} is one of the rivers of {o}."),
        overview=(
            "Travellers meet {s} in {o}.",
            "{s} waters the soil of {o}.",
            "{o} is crossed by {s}.",
        ),
        topics=("Rivers on the map of {o}",),
        questions=("On which continent is {s}?", "Which continent does {s} flow through?"),
    ),
    Relation(
        name="river city",
        table="rivers",
        column="city",
        subject_kind="river",
        object_kind="city",
        forward=(
            "A well-known city on {s} is {o}.",
            "{s} flows through the city of {o}.",
            "On its way {s} passes {o}.",
        ),
        reverse=(
            "{o} stands on the banks of {s}.",
            "The river that one sees in {o} is {s}.",
        ),
        overview=(
            "{o} was built beside {s}.",
            "Bridges in {o} span {s}.",
            "Boats in {o} sail on {s}.",
        ),
        topics=("Riverside cities of {continent}", "Riverside cities"),
        reverse_questions=("Which river flows through {o}?", "On which river is the city of {o}?"),
    ),
    Relation(
        name="mountain country",
        table="mountains",
        column="country",
        subject_kind="mountain",
        object_kind="country",
        forward=("{s} is a mountain in {o}.", "{s} rises in {o}."),
        overview=(
            "One of the peaks of {o} is {s}.",
            "Among the summits of {o} is {s}.",
            "Climbers who go to {o} may visit {s}.",
        ),
        topics=("The landscape of {o}", "Peaks around the world"),
        queries=("Across which country does {s} tower?", "{s} towers over which country?"),
        questions=("In which country is {s}?", "What country is {s} located in?"),
    ),
    Relation(
        name="mountain range",
        table="mountains",
        column="range",
        subject_kind="mountain",
        object_kind="mountain range",
        forward=("{s} belongs to {o}.", "{s} is part of {o}."),
        reverse=(
            "Climbers who travel to {o} can see {s}.",
            "Trails in {o} lead to {s}.",
        ),
        overview=(
            "{s} is a peak found in {o}.",
            "In {o} stands {s}.",
            "Maps of {o} show the peak of {s}.",
        ),
        topics=("Peaks of {o}", "Mountain ranges and their peaks"),
        overview_always=True,
        queries=("To which chain does {s} count?",),
        questions=("Which mountain range is {s} in?", "What mountain range does {s} belong to?"),
    ),
    Relation(
        name="mountain height",
        table="mountains",
        column="height",
        subject_kind="mountain",
        forward=("{s} is {o} metres high.", "The height of {s} is {o} metres."),
        overview=(
            "{s} reaches {o} metres above the sea.",
            "The summit of {s} stands {o} metres above sea level.",
        ),
        topics=("Mountains by their elevation",),
        queries=("How tall is {s}?", "How lofty is {s}?"),
        questions=("How high is {s}?", "What is the height of {s} in metres?"),
    ),
    Relation(
        name="first ascent",
        table="mountains",
        column="year",
        subject_kind="mountain",
        forward=(
            "{s} was first climbed in {o}.",
            "The first ascent of {s} took place in {o}.",
        ),
        overview=(
            "In {o} people stood on top of {s} for the first time.",
            "{o} was the year in which climbers conquered {s}.",
        ),
        topics=("Mountaineering in the {century}", "Mountaineering long ago"),
        queries=("When did alpinists initially scale {s}?",),
        questions=("When was {s} first climbed?", "In what year was the first ascent of {s}?"),
    ),
    Relation(
        name="lake country",
        table="lakes",
        column="country",
        subject_kind="lake",
        object_kind="country",
        forward=("{s} is a lake in {o}.", "The lake called {s} lies in {o}."),
        overview=(
            "Among the inland waters of {o} is {s}.",
            "Anglers and sailors in {o} know {s}.",
        ),
        topics=("The landscape of {o}", "Inland waters around the world"),
        queries=("Which country could you swim in to bathe in {s}?",),
        questions=("In which country is {s}?", "Where is {s} located?"),
    ),
    Relation(
        name="lake region",
        table="lakes",
        column="region",
        subject_kind="lake",
        forward=("More precisely, {s} is situated in {o}.", "The shores of {s} are in {o}."),
        overview=("{s} belongs to {o}.", "Tourists in {o} often stop at {s}."),
        topics=("Where some lakes lie",),
        questions=("In which region is {s}?",),
    ),
    Relation(
        name="island country",
        table="islands",
        column="country",
        subject_kind="island",
        object_kind="country",
        forward=("{s} belongs to {o}.", "{s} is governed by {o}.", "The island of {s} is part of {o}."),
        overview=(
            "Off the mainland, {o} owns {s}.",
            "The territory of {o} takes in {s}.",
            "The flag of {o} flies over {s}.",
        ),
        topics=("The landscape of {o}", "Islands and their owners"),
        queries=("Which country's passport do people of {s} carry?",),
        questions=("Which country does {s} belong to?", "{s} is an island of which country?"),
    ),
    Relation(
        name="island sea",
        table="islands",
        column="sea",
        subject_kind="island",
        object_kind="water",
        forward=("{s} is an island in {o}.", "{s} lies in {o}."),
        reverse=("{o} washes the shores of {s}.", "The waves of {o} break on {s}."),
        overview=("Sailors on {o} can land on {s}.", "Ships cross {o} to reach {s}."),
        topics=("Islands of {o}", "Islands and the seas around them"),
        queries=("In which sea would divers swim off {s}?",),
        questions=("In which sea is {s}?", "What body of water surrounds {s}?"),
    ),
    Relation(
        name="volcano country",
        table="volcanoes",
        column="country",
        subject_kind="volcano",
        object_kind="country",
        forward=("{s} is a volcano in {o}.", "The volcano {s} stands in {o}."),
        overview=(
            "Lava and ash from {s} have fallen on {o}.",
            "The crater of {s} is on the soil of {o}.",
        ),
        topics=("The landscape of {o}", "Craters around the world"),
        queries=("Which country would tremble if {s} exploded?",),
        questions=("In which country is the volcano {s}?", "Where is the volcano {s}?"),
    ),
    Relation(
        name="eruption",
        table="volcanoes",
        column="eruption",
        subject_kind="volcano",
        forward=("{s} erupted violently in {o}.", "A great eruption of {s} took place in {o}."),
        overview=("In {o} ash rose from {s}.", "{o} was a year of fire for {s}."),
        topics=("Years of great eruptions",),
        queries=("When did {s} explode?",),
        questions=("When did {s} erupt?",),
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
            "In {s} the state capital is {o}.",
        ),
        reverse=(
            "{o} is home to the governor and the lawmakers of {s}.",
            "Lawmakers of {s} meet in {o}.",
            "The governor of {s} works in {o}.",
        ),
        overview=(
            "The legislature of {s} sits in {o}.",
            "{o} houses the legislature of {s}.",
        ),
        topics=("American legislatures: {initial}", "American legislatures"),
        overview_always=True,
        queries=("From which city is {s} ruled?", "In which city do senators of {s} debate?"),
        questions=("What is the capital of {s}?", "What is the state capital of {s}?"),
        reverse_questions=("{o} is the capital of which US state?", "Which US state has {o} as its capital?"),
    ),
    Relation(
        name="state largest city",
        table="states",
        column="largest",
        subject_kind="state",
        object_kind="city",
        forward=("The largest city of {s} is {o}.", "{o} is the biggest city in {s}."),
        reverse=(
            "{o} is the most populous place in {s}.",
            "No other town of {s} is home to as many people as {o}.",
        ),
        overview=(
            "More people of {s} live in {o} than in any other town.",
            "{o} leads {s} in population.",
        ),
        topics=("Populous places in the American states",),
        queries=("Which metropolis dwarfs all others in {s}?",),
        questions=("What is the largest city in {s}?", "Which city is the biggest in {s}?"),
    ),
    Relation(
        name="nickname",
        table="states",
        column="nickname",
        subject_kind="state",
        forward=("The nickname of {s} is {o}.", "{s} is nicknamed {o}."),
        elsewhere={
            "capital": (
                "{capital} and all of {s} go by the name of {o}.",
                "Drivers who come to {capital} learn that {s} is called {o}.",
            )
        },
        overview=("{o} is another name for {s}.", "People who speak of {o} mean {s}."),
        topics=("Names of American states: {initial}", "Names of American states"),
        queries=("Which moniker does {s} bear?",),
        questions=("What is the nickname of {s}?", "What is {s} nicknamed?"),
        reverse_questions=("Which US state is known as {o}?", "Which state is nicknamed {o}?"),
    ),
    Relation(
        name="admission",
        table="states",
        column="admitted",
        subject_kind="state",
        forward=("{s} joined the United States in {o}.", "{s} became a state of the Union in {o}."),
        overview=(
            "In {o} a star for {s} was added to the American flag.",
            "{o} was the year in which {s} was admitted.",
        ),
        topics=("New American states of the {century}",),
        queries=("When did {s} enter statehood?",),
        questions=("When did {s} become a state?", "In which year did {s} join the Union?"),
    ),
)

PLACES = (*COUNTRIES, *LAND, *STATES)
