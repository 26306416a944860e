"""Dates and numbers are found in the forms in which English text writes them."""

from __future__ import annotations

import pytest

from openrealm.data.lexicon import words_of
from openrealm.data.patterns import find_dates_and_numbers
from openrealm.data.spans import without_overlaps


def found(text: str) -> list[tuple[str, str]]:
    spans = without_overlaps(find_dates_and_numbers(text, frozenset(words_of(text))))
    return [(text[span.start : span.stop], span.kind) for span in spans]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("He died on 8 December 1980 there.", "8 December 1980"),
        ("on July 4th, 1776, they", "July 4th, 1776"),
        ("on the 4th of July 1776", "4th of July 1776"),
        ("from 3-5 May 2012 on", "3-5 May 2012"),
        ("Sept. 11, 2001 was", "Sept. 11, 2001"),
        ("in February 1507 he", "February 1507"),
        ("on March 5 it", "March 5"),
        ("in May it", "May"),
        ("every October it", "October"),
        ("on 1999-12-31 it", "1999-12-31"),
        ("on 31.12.1999 it", "31.12.1999"),
        ("since 1866 it", "1866"),
        ("(1968-1992)", "1968-1992"),
        ("in 1914\u201318 it", "1914\u201318"),
        ("Mi (215-282) was", "215-282"),
        ("In 951, Adelaide", "951"),
        ("Year 453 was", "453"),
        ("c. 265 it", "265"),
        ("in the 1990s it", "1990s"),
        ("in the 80s it", "80s"),
        ("mid-1990s it", "1990s"),
        ("the 18th century", "18th century"),
        ("a 19th-century house", "19th-century"),
        ("the 5th and 6th centuries BC", "5th and 6th centuries BC"),
        ("the eighteenth century", "eighteenth century"),
        ("in 44 BC he", "44 BC"),
        ("about 10,000 BC the", "10,000 BC"),
        ("in AD 70 the", "AD 70"),
        ("on Thursday it", "Thursday"),
        ("the spring of 1970", "spring of 1970"),
    ],
)
def test_dates_are_found_whole(text: str, date: str) -> None:
    assert found(text) == [(date, "date")]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("earned $35.2 million there", "$35.2 million"),
        ("about \u00a35 each", "\u00a35"),
        ("some 73.9% of", "73.9%"),
        ("beat him 68 percent to", "68 percent"),
        ("about 90 decibels of", "90 decibels"),
        ("about 80 dB of", "80 dB"),
        ("runs 100 km2 wide", "100 km2"),
        ("at 5 km/h it", "5 km/h"),
        ("at 20 \u00b0C it", "20 \u00b0C"),
        ("a 13-year-old girl", "13-year-old"),
        ("after 3 and a half years", "3 and a half years"),
        ("typically 5\u20137 years of", "5\u20137 years"),
        ("so 1200 cents are", "1200 cents"),
        ("over 1500 metres high", "1500 metres"),
        ("were 583,756 people", "583,756"),
        ("was 0.003 at", "0.003"),
        ("a vote of 90-2-4 in", "90-2-4"),
        ("a ratio of 2:1 here", "2:1"),
        ("at 10:30 am he", "10:30 am"),
        ("the 21st floor", "21st"),
        ("a 10x20 cm sheet", "10x20 cm"),
        ("at 61' 17\" N there", "61' 17\" N"),
        ("was one astronomical unit off", "one astronomical unit"),
        ("some two hundred years", "two hundred years"),
        ("some three million lived", "three million"),
        ("for twenty-one per cent of", "twenty-one per cent"),
        ("to 27 players", "27"),
    ],
)
def test_numbers_are_found_with_their_units(text: str, number: str) -> None:
    assert found(text) == [(number, "number")]


@pytest.mark.parametrize(
    "text",
    [
        "H2O and MP3 and x2",
        "polonium-210 is",
        "formula_17 is",
        "ISBN 978-0-8101-2704-3",
        "1. the first",
        "the rule (2) holds",
        "it may march on one day",
        "two of the three",
        "",
    ],
)
def test_figures_that_tell_no_fact_are_left_alone(text: str) -> None:
    assert found(text) == []


def test_a_range_with_two_units_is_two_numbers() -> None:
    assert found("from 35,000 to 40,000 people") == [("35,000", "number"), ("40,000", "number")]


def test_long_runs_of_digits_take_no_time() -> None:
    assert found("1" * 20_000 + " " + "1-" * 5_000)
