"""The wordings of the second set of held-out queries, one entry for each relation asked for.

Data only; ``relations.py`` says what each field means. The words are neither the articles' nor
those of the first set, so that what was tuned on the first can be checked on the second.
"""

from __future__ import annotations

from collections.abc import Mapping

from generator.relations import Wordings

SECOND: Mapping[str, Wordings] = {
    # countries and states
    "region": Wordings(
        queries=(
            "Where would a cartographer situate {s}?",
            "To which broad zone do cartographers assign {s}?",
        ),
    ),
    "capital": Wordings(
        queries=(
            "From where is {s} administered?",
            "Which city of {s} outranks all others politically?",
        ),
        reverse_queries=(
            "Which country is administered from {o}?",
            "In which country is {o} the city that outranks all others politically?",
        ),
    ),
    "currency": Wordings(
        queries=(
            "In what are salaries in {s} denominated?",
            "Which banknotes and coins circulate in {s}?",
        ),
    ),
    "language": Wordings(
        queries=("What do bureaucrats in {s} speak?", "In what are statutes of {s} drafted?"),
    ),
    "largest city": Wordings(
        queries=("Which city of {s} has the most residents?", "Which city tops the census of {s}?"),
    ),
    "independence": Wordings(
        queries=(
            "When did {s} emancipate itself from foreign domination?",
            "When did outsiders relinquish control over {s}?",
        ),
    ),
    "state capital": Wordings(
        queries=(
            "From where is {s} administered?",
            "In which city do delegates chosen by voters of {s} convene?",
        ),
        reverse_queries=("What is administered from {o}?", "Whose delegates convene in {o}?"),
    ),
    "state largest city": Wordings(
        queries=("Which city of {s} has the most residents?", "Which city tops the census of {s}?"),
    ),
    "nickname": Wordings(
        queries=("What is {s} affectionately dubbed?", "Which epithet do residents bestow on {s}?"),
        reverse_queries=("What is affectionately dubbed {o}?",),
    ),
    "admission": Wordings(
        queries=(
            "When did {s} accede to the federation?",
            "In which year did {s} become a constituent of the federation?",
        ),
    ),
    # land and water
    "river mouth": Wordings(
        queries=("Where does {s} terminate?", "Into what does {s} spill?"),
    ),
    "river source": Wordings(
        queries=("In which country does {s} commence?", "Where are the headwaters of {s}?"),
    ),
    "river city": Wordings(
        reverse_queries=("What winds through {o}?", "What would a barge navigate to dock at {o}?"),
    ),
    "mountain country": Wordings(
        queries=(
            "Which country do trekkers roam to behold {s}?",
            "Which country grants trekkers permits for {s}?",
        ),
    ),
    "mountain range": Wordings(
        queries=(
            "Which cluster of pinnacles encompasses {s}?",
            "Which array of ridges encompasses {s}?",
        ),
    ),
    "mountain height": Wordings(
        queries=("What altitude does {s} attain?", "What altitude would trekkers atop {s} attain?"),
    ),
    "first ascent": Wordings(
        queries=(
            "When did humans originally surmount {s}?",
            "In which year did pioneering daredevils scramble atop {s}?",
        ),
    ),
    "volcano country": Wordings(
        queries=(
            "Which country employs seismologists to monitor {s}?",
            "In which country does {s} spew magma?",
        ),
    ),
    "eruption": Wordings(
        queries=("When did {s} devastate its surroundings?", "When did {s} wreak havoc?"),
    ),
    "lake country": Wordings(
        queries=(
            "In which country would canoeists paddle over {s}?",
            "In which country do herons wade through {s}?",
        ),
    ),
    "island country": Wordings(
        queries=(
            "Which country administers {s}?",
            "To which country do residents of {s} remit taxes?",
        ),
    ),
    "island sea": Wordings(
        queries=(
            "Which expanse do the beaches of {s} overlook?",
            "Which salty expanse encloses {s}?",
        ),
    ),
    # nature
    "element family": Wordings(
        queries=(
            "Into which category would a laboratory sort {s}?",
            "Under which heading do textbooks place {s}?",
        ),
    ),
    "element discoverer": Wordings(
        queries=("Who deserves acclaim for unearthing {s}?", "In whose laboratory did {s} emerge?"),
    ),
    "element year": Wordings(
        queries=(
            "When did {s} emerge in a laboratory?",
            "In which year did scholars become aware of {s}?",
        ),
    ),
    "planet of moon": Wordings(
        queries=("What does {s} swing around?", "Whose heavens does {s} adorn?"),
    ),
    "moon discoverer": Wordings(
        queries=("Who originally glimpsed {s}?", "Whose scrutiny of the heavens disclosed {s}?"),
    ),
    "moon year": Wordings(
        queries=(
            "When did anybody originally glimpse {s}?",
            "In which year did stargazers become aware of {s}?",
        ),
    ),
    "brightest star": Wordings(
        queries=("What is most dazzling within {s}?", "Which twinkling speck dominates {s}?"),
        reverse_queries=(
            "Which stellar pattern does {o} dominate?",
            "Where does {o} twinkle as the most dazzling speck?",
        ),
    ),
    "constellation meaning": Wordings(
        queries=("What does {s} portray?", "What did ancient stargazers perceive in {s}?"),
        reverse_queries=(
            "Which stellar pattern portrays {o}?",
            "Where did ancient stargazers perceive {o}?",
        ),
    ),
    # ideas
    "finder": Wordings(
        queries=(
            "Whose breakthrough acquainted humanity with {s}?",
            "Who deserves acclaim for the breakthrough concerning {s}?",
        ),
    ),
    "finding year": Wordings(
        queries=(
            "When did a breakthrough acquaint humanity with {s}?",
            "In which year did scholars become aware of {s}?",
        ),
    ),
    "inventor": Wordings(
        queries=("Which tinkerer conceived {s}?", "Whose ingenuity spawned {s}?"),
    ),
    "invention year": Wordings(
        queries=("When did a tinkerer conceive {s}?", "In which year was {s} conceived?"),
    ),
    "unit quantity": Wordings(
        queries=("What does {s} quantify?", "What do technicians quantify with {s}?"),
    ),
    "unit namesake": Wordings(
        queries=("Whose surname inspired {s}?", "To whom is {s} a tribute?"),
        reverse_queries=("What immortalises {o}?", "What is a tribute to {o}?"),
    ),
    "language designer": Wordings(
        queries=("Which hacker conceived {s}?", "Which hacker masterminded {s}?"),
    ),
    "language year": Wordings(
        queries=(
            "When did {s} become available to hackers?",
            "In which year did hackers originally tinker with {s}?",
        ),
    ),
    # people
    "birthplace": Wordings(
        queries=("Where did a midwife deliver {s}?", "In which place was {s} a newborn?"),
    ),
    "birth year": Wordings(
        queries=("When did a midwife deliver {s}?", "In which year was {s} a newborn?"),
    ),
    "death year": Wordings(
        queries=("When did {s} expire?", "In which year did obituaries eulogise {s}?"),
    ),
    # arts
    "author": Wordings(
        queries=(
            "Whose manuscript was {s}?",
            "Whose literary masterpiece is {s}?",
            "Which wordsmith conceived {s}?",
        ),
    ),
    "book year": Wordings(
        queries=(
            "When did librarians originally stock {s}?",
            "In which year did bibliophiles originally devour {s}?",
        ),
    ),
    "hero": Wordings(
        queries=("Whose exploits does {s} chronicle?", "On whom does the plot of {s} hinge?"),
        reverse_queries=("What chronicles the exploits of {o}?", "Which narrative hinges on {o}?"),
    ),
    "composer": Wordings(
        queries=("Whose melodies enliven {s}?", "Who notated the melodies of {s}?"),
    ),
    "premiere year": Wordings(
        queries=(
            "When did listeners originally applaud {s}?",
            "In which year did critics originally review {s}?",
        ),
    ),
    "premiere city": Wordings(
        queries=(
            "In which city did listeners originally applaud {s}?",
            "In which city did critics originally review {s}?",
        ),
    ),
    "painter": Wordings(
        queries=("Whose masterpiece is {s}?", "Whose palette yielded {s}?"),
    ),
    "museum": Wordings(
        queries=(
            "Which institution exhibits {s}?",
            "Which institution would a burglar target to steal {s}?",
        ),
    ),
    "painting city": Wordings(
        queries=(
            "Which city do connoisseurs roam to behold {s}?",
            "In which city would burglars steal {s}?",
        ),
    ),
    "film director": Wordings(
        queries=("Who helmed {s}?", "Whose vision pervades {s}?"),
    ),
    "film year": Wordings(
        queries=(
            "When did spectators originally queue for {s}?",
            "When did distributors launch {s}?",
        ),
    ),
    "film star": Wordings(
        queries=("Who headlines {s}?", "Whose acting dominates {s}?"),
    ),
    # culture
    "building city": Wordings(
        queries=(
            "In which city would a pedestrian locate {s}?",
            "Which city would a pedestrian explore to behold {s}?",
        ),
    ),
    "architect": Wordings(
        queries=("Who envisioned {s}?", "Whose sketches underlie {s}?"),
    ),
    "building year": Wordings(
        queries=(
            "When was construction of {s} concluded?",
            "When did scaffolding vanish from {s}?",
        ),
    ),
    "domain of god": Wordings(
        queries=("Over what does {s} preside?", "Over what does {s} wield authority?"),
    ),
    "roman name": Wordings(
        queries=(
            "Which Italic divinity corresponds to {s}?",
            "As whom did legionaries worship {s}?",
        ),
    ),
    "dish country": Wordings(
        queries=(
            "Whose culinary heritage encompasses {s}?",
            "Whose grandmothers habitually cook {s}?",
        ),
    ),
    "ingredient": Wordings(
        queries=(
            "Which foodstuff predominates in {s}?",
            "What is indispensable to a recipe for {s}?",
        ),
    ),
}
