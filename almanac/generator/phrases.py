"""All relations of the almanac in the order in which an article tells them, and the hops."""

from __future__ import annotations

from generator.phrases_arts import ARTS
from generator.phrases_culture import CULTURE
from generator.phrases_ideas import IDEAS
from generator.phrases_land import LAND
from generator.phrases_nature import NATURE
from generator.phrases_people import PEOPLE, PEOPLE_HOPS
from generator.phrases_places import PLACES
from generator.relations import Hop, Relation

RELATIONS: tuple[Relation, ...] = (
    *PLACES,
    *LAND,
    *NATURE,
    *IDEAS,
    *PEOPLE,
    *ARTS,
    *CULTURE,
)

TRAVEL = {
    "currency": (
        "Tourists who come to see {s} and the rest of {via} pay in {o}.",
        "On a journey through {via} to {s}, meals and tickets are paid for in {o}.",
        "Before a visit to {s}, people change their money into {o}, as they do all over {via}.",
    ),
    "language": (
        "Notices about {s}, like others in {via}, are written in {o}.",
        "A phrase book of {o} helps visitors to {s} and to {via} in general.",
        "Local guides who show {s} and officials elsewhere in {via} use {o}.",
    ),
    "capital": (
        "Maps of {via} show {s} as well as the capital, {o}.",
        "Many trips through {via} to {s} begin in the capital, {o}.",
        "From the capital of {via}, {o}, one can set out for {s}.",
    ),
}
MEALS = {
    "currency": (
        "On menus in {via} the price of {s} is given in {o}.",
        "At a market stall in {via}, {s} is paid for in {o}.",
        "A waiter in {via} who brings {s} wants to be paid in {o}.",
    ),
    "capital": (
        "Restaurants serve {s} in {o}, the capital of {via}, and in many other towns.",
        "From {o}, the capital, to the villages, people of {via} eat {s}.",
        "In {o}, the capital of {via}, many menus list {s}.",
    ),
}

HOPS: tuple[Hop, ...] = (
    *(
        Hop(table=table, via="country", relation=relation, phrases=phrases)
        for table in ("lakes", "mountains", "volcanoes", "islands", "buildings")
        for relation, phrases in TRAVEL.items()
    ),
    *(
        Hop(table="dishes", via="country", relation=relation, phrases=phrases)
        for relation, phrases in MEALS.items()
    ),
    *PEOPLE_HOPS,
)
