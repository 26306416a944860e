"""Phrases for books, music, paintings and films.

Data only; ``relations.py`` says what each field means.
"""

from __future__ import annotations

from generator.relations import Relation

BOOKS = (
    Relation(
        name="author",
        table="books",
        column="author",
        subject_kind="book",
        object_kind="person",
        forward=(
            "The {form} {s} was written by {o}.",
            "The author of {s} is {o}.",
            "{s} is {a_form} by {o}.",
        ),
        reverse=(
            "{o} wrote the {form} {s}.",
            "{s} came from the pen of {o}.",
            "Readers of {o} know {s}.",
        ),
        overview=(
            "{o} signed the manuscript of {s}.",
            "It was {o} who first told the story of {s}.",
        ),
        topics=("Pens and their stories",),
        queries=("Who penned {s}?", "Whose imagination produced {s}?"),
        questions=("Who wrote {s}?", "Who is the author of {s}?", "{s} was written by whom?"),
    ),
    Relation(
        name="book year",
        table="books",
        column="year",
        subject_kind="book",
        forward=(
            "The {form} {s} was published in {o}.",
            "The year of publication of {s} was {o}.",
            "{s}, {a_form}, was first published in {o}.",
        ),
        overview=(
            "In {o} {=author} brought out {s}.",
            "{s} by {=author} appeared in {o}.",
            "{o} was the year of {s} by {=author}.",
            "Readers first met {s} by {=author} in {o}.",
            "In {o} {=author} brought out {s} and introduced the world to {=hero}.",
            "{s} by {=author} appeared in {o} and made {=hero} famous.",
            "Readers first met {=hero} in {o}, in {s} by {=author}.",
        ),
        topics=(
            "Literature of the {decade}",
            "Literature of the {century}",
            "Literature of other times",
        ),
        queries=("When did printers initially issue {s}?",),
        questions=(
            "When was {s} published?",
            "In what year was {s} first published?",
            "When did {s} come out?",
        ),
    ),
    Relation(
        name="hero",
        table="books",
        column="hero",
        subject_kind="book",
        forward=(
            "A main character of {s} is called {o}.",
            "The leading character in {s} is named {o}.",
            "Among the characters of {s}, the chief one is {o}.",
        ),
        overview=(
            "{=author} invented the figure of {o} for {s}.",
            "The adventures or troubles of {o} fill the pages of {s} by {=author}.",
            "In {s}, {=author} made {o} famous.",
        ),
        topics=("Figures of literature",),
        queries=("Which protagonist does {s} follow?",),
        reverse_queries=("Where is {o} the protagonist?",),
        questions=(
            "Who is the main character of {s}?",
            "What is the name of the main character in {s}?",
        ),
        reverse_questions=("In which work is {o} a main character?",),
    ),
)

MUSIC = (
    Relation(
        name="composer",
        table="music",
        column="composer",
        subject_kind="music",
        object_kind="person",
        forward=(
            "{o} is the composer of {s}, {a_form}.",
            "The composer of {s} is {o}.",
            "{s}, {a_form}, was composed by {o}.",
        ),
        reverse=(
            "{o} wrote the music of {s}.",
            "The music of {s} is the work of {o}.",
            "One of the works of {o} is {s}.",
        ),
        overview=(
            "{o} filled the score of {s} with melodies.",
            "The notes of {s} flowed from the pen of {o}.",
        ),
        topics=("Scores and melodies",),
        queries=(
            "Whose tunes do orchestras perform during {s}?",
            "Whose tunes resound during {s}?",
        ),
        questions=("Who composed {s}?", "Who is the composer of {s}?", "Who wrote {s}?"),
    ),
    Relation(
        name="premiere year",
        table="music",
        column="year",
        subject_kind="music",
        forward=(
            "{s} had its premiere in {o}.",
            "The premiere of {s} took place in {o}.",
            "The year of the premiere of {s} was {o}.",
        ),
        overview=(
            "In {o} audiences heard {s} by {=composer} for the first time.",
            "{s} by {=composer} was new in {o}.",
            "{o} was the year of {s} by {=composer}.",
            "In {o} audiences in {=city} heard {s} by {=composer} for the first time.",
            "{s} by {=composer} was new to the ears of {=city} in {o}.",
            "{=city} was the town and {o} the year of {s} by {=composer}.",
        ),
        topics=("Music of the {decade}", "Music of the {century}", "Music of other times"),
        queries=("When did {s} debut?",),
        questions=("When was {s} first performed?", "In what year was the premiere of {s}?"),
    ),
    Relation(
        name="premiere city",
        table="music",
        column="city",
        subject_kind="music",
        object_kind="city",
        forward=(
            "{s} was first performed in {o}.",
            "The first performance of {s} was given in {o}.",
            "{s} was performed for the first time in {o}.",
        ),
        reverse=(
            "Concertgoers of {o} were the earliest to hear {s}.",
            "Music lovers of {o} greeted {s} when it was new.",
            "Before the rest of the world, {o} heard {s}.",
        ),
        overview=(
            "The earliest audience of {s} gathered in {o}.",
            "{s} was heard in {o} before any other town.",
            "{s} began its life on a stage in {o}.",
        ),
        topics=("First nights in {o}", "First nights on many stages"),
        queries=("In which city did {s} debut?",),
        questions=("Where was {s} first performed?", "In which city was {s} first performed?"),
    ),
)

PAINTINGS = (
    Relation(
        name="painter",
        table="paintings",
        column="painter",
        subject_kind="painting",
        object_kind="person",
        forward=(
            "{s} was painted by {o}.",
            "{s} is a painting by {o}.",
            "The painter of {s} is {o}.",
        ),
        reverse=(
            "{o} created {s}.",
            "One of the pictures made by {o} is {s}.",
            "{s} came from the brush of {o}.",
        ),
        overview=(
            "{o} is the artist behind {s}.",
            "The artist who made {s} was {o}.",
            "Art historians study {o} because of {s}.",
        ),
        topics=("Artists and their pictures",),
        queries=("Whose canvas or fresco is {s}?",),
        questions=("Who painted {s}?", "Who is the painter of {s}?"),
    ),
    Relation(
        name="museum",
        table="paintings",
        column="museum",
        subject_kind="painting",
        object_kind="museum",
        forward=(
            "{s} is part of the collection of {o}.",
            "{s} is kept in {o}.",
            "The place where {s} is kept is {o}.",
        ),
        reverse=(
            "Visitors to {o} stop in front of {s}.",
            "A treasure of {o} is {s}.",
            "The catalogue of {o} lists {s}.",
        ),
        overview=(
            "To see {s} one has to go to {o}.",
            "On the walls of {o} hangs {s}.",
            "Art lovers visit {o} for {s}.",
        ),
        topics=("Pictures in {o}", "Pictures in great collections"),
        queries=("Where do curators guard {s}?", "Which curators guard {s}?"),
        questions=("Which museum has {s}?", "In which museum is {s}?"),
    ),
    Relation(
        name="painting city",
        table="paintings",
        column="city",
        subject_kind="painting",
        object_kind="city",
        forward=(
            "The home of {s} is the city of {o}.",
            "{s} can be seen in {o}.",
            "The city in which {s} can be seen is {o}.",
        ),
        reverse=(
            "One of the treasures of {o} is {s}.",
            "{o} is proud of {s}.",
            "Art lovers come to {o} for {s}.",
        ),
        overview=(
            "Tourists in {o} admire {s}.",
            "Art tours of {o} include {s}.",
            "Travellers go to {o} for a look at {s}.",
        ),
        topics=("Art in {o}", "Art in many towns"),
        queries=("In which city does {s} hang?",),
        questions=("In which city is {s}?", "Where can you see {s}?"),
    ),
)

FILMS = (
    Relation(
        name="film director",
        table="films",
        column="director",
        subject_kind="film",
        object_kind="person",
        forward=(
            "{s} is a film directed by {o}.",
            "The director of the film {s} was {o}.",
            "The film {s} was directed by {o}.",
        ),
        reverse=(
            "{o} made the movie {s}.",
            "One of the movies of {o} is {s}.",
            "Moviegoers know {o} for {s}.",
        ),
        overview=(
            "Behind the camera of {s} stood {o}.",
            "{o} shot {s} with a team of actors.",
            "It was {o} who told the actors of {s} what to do.",
        ),
        topics=("Behind the camera",),
        queries=("Which moviemaker supervised {s}?", "Which moviemaker shouted commands on {s}?"),
        questions=("Who directed {s}?", "Who was the director of {s}?"),
    ),
    Relation(
        name="film year",
        table="films",
        column="year",
        subject_kind="film",
        forward=(
            "The film {s} was released in {o}.",
            "The release of the film {s} came in {o}.",
            "The year in which {s} was released is {o}.",
        ),
        overview=(
            "{s} by {=director} reached the cinemas in {o}.",
            "In {o} cinemas showed {s} by {=director} for the first time.",
            "{o} was the year of {s} by {=director}.",
            "In {o} cinemas showed {s} by {=director}, with {=star} in the cast.",
            "{s} by {=director} reached the cinemas in {o} and added to the fame of {=star}.",
            "{o} was the year of {s}, made by {=director} with {=star}.",
        ),
        topics=("Cinema of the {decade}", "Cinema of the {century}", "Cinema of other years"),
        queries=("When did {s} debut on screens?",),
        questions=("When was {s} released?", "In what year did {s} come out?"),
    ),
    Relation(
        name="film star",
        table="films",
        column="star",
        subject_kind="film",
        object_kind="person",
        forward=(
            "A leading part in {s} is played by {o}.",
            "{o} plays a leading part in {s}.",
            "In {s} a leading part is played by {o}.",
        ),
        reverse=(
            "{o} acted in {s}.",
            "Fans of {o} watch {s}.",
            "On the screen {o} is remembered for {s}.",
        ),
        overview=(
            "The cast of {s} is headed by {o}.",
            "{o} belongs to the cast of {s}.",
            "Moviegoers watch {o} in {s}.",
        ),
        topics=("Faces of the cinema",),
        queries=("Which performer excels throughout {s}?",),
        questions=("Who stars in {s}?", "Who played a leading role in {s}?"),
    ),
)

ARTS = (*BOOKS, *MUSIC, *PAINTINGS, *FILMS)
