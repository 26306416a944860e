"""Dates and numbers in English text, by regular expressions; knows no names and no corpus.

The paper found its dates with a regular expression too (section 3.4), which was not published.
Three searches share the work, told apart by the characters they start with, because that is what
makes them fast: figures, the names of months and the like, and numbers in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from functools import lru_cache

from openrealm.data.lexicon import word_set
from openrealm.data.spans import Span

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_SHORT_MONTHS = r"(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?"
_WEEKDAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_YEAR = r"(?:1\d{3}|20\d{2})"
_ERA = r"(?:BCE?\b|CE\b|AD\b|B\.C\.(?:E\.)?|A\.D\.)"
_DAY = r"(?:[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_MONTH = rf"(?:(?:{_MONTHS})\b|{_SHORT_MONTHS})"

# Possessive (++), here and below: a run of ten thousand digits must not be tried in every way.
_FIGURE = r"(?:\d{1,3}(?:,\d{3})++(?:\.\d++)?|\d++(?:\.\d++)?)"
_SCALE = r"(?:hundred|thousand|million|billion|trillion)\b"
_LONG_UNITS = (
    r"(?:square |cubic |nautical |metric |light[- ]|astronomical )?"
    r"(?:(?:year|month|week|day)s?[- ]old|years?|months?|weeks?|days?|hours?|minutes?|seconds?"
    r"|decades?|centuries|millenni(?:a|um)|(?:kilo|centi|milli|micro|nano)?met(?:re|er)s?|miles?"
    r"|f(?:oo|ee)t|inch(?:es)?|yards?|acres?|hectares?|units?|(?:kilo|milli)?grams?|tonn?es?|tons?"
    r"|pounds?|ounces?|(?:milli)?lit(?:re|er)s?|gallons?|barrels?|degrees?(?: Celsius| Fahrenheit)?"
    r"|kelvins?|decibels?|(?:kilo|mega|giga)?(?:hertz|watts?|volts?|bytes?|bits?|tons?|joules?)"
    r"|amperes?|amps?|ohms?|newtons?|pascals?|(?:kilo|electron)?calories|electronvolts?|moles?"
    r"|parsecs?|knots?|dollars?|cents|euros?|pence|francs?|marks|roubles?|rubles?|yen|rupees?"
    r"|horsepower|percentage points)\b"
)
_SHORT_UNITS = (
    r"(?:[kcmµμn]?m|[kmµμ]?g|lbs?|oz|ft|mi|yd|mph|kph|rpm|[kMG]?Hz|dB|[km]?V|[kMG]?W|k?J|[kMGT]?eV"
    r"|K|[kMG]?Pa|bar|mbar|[mMkc]?L|ml|ha|[kKMGT]i?[bB]|[kMG]?bit/s|AU|[kM]?pc|ly|kWh|mol|Mya|hp|cc)"
    r"(?:[²³]|[23]\b)?(?:/[a-zµ]{1,3}[²³23]?)?(?![\w²³])"
)
_COUNT_WORDS = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen"
    r"|sixteen|seventeen|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
    r"(?:-(?:one|two|three|four|five|six|seven|eight|nine))?)"
)
_ORDINAL_WORDS = (
    r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth"
    r"|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth"
    r"|twenty-first)"
)


# Without one of these words a text need not be searched.
_CALENDAR_WORDS = word_set(
    f"{_MONTHS} {_WEEKDAYS}".replace("|", " ")
    + " Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec AD D Spring Summer Autumn Fall Winter"
    " spring summer autumn fall winter"
)
_NUMBER_WORDS = word_set(
    """
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
    century centuries
    """
)


def find_dates_and_numbers(text: str, words: Set[str]) -> list[Span]:
    """All dates and numbers of a text; spans may overlap (``8`` ``December 1980``).

    Args:
        text: The text.
        words: Its words, which tell most texts without a month or a number word at once.
    """
    spans = list(_figures(text))
    if not _CALENDAR_WORDS.isdisjoint(words):
        spans += [Span(*match.span(), "date") for match in _month_pattern().finditer(text)]
    if not _NUMBER_WORDS.isdisjoint(words):
        for match in _word_pattern().finditer(text):
            spans.append(Span(*match.span(), match.lastgroup or "number"))
    return spans


def _figures(text: str) -> Iterator[Span]:
    for match in _figure_pattern().finditer(text):
        start, stop = match.span()
        if match.lastgroup == "bare" and _is_label(text, start, stop):
            continue
        yield Span(start, stop, "date" if match.lastgroup == "date" else "number")


def _is_label(text: str, start: int, stop: int) -> bool:
    """Whether a bare figure numbers a list, a book or a chemical rather than telling a fact."""
    before, after = text[max(0, start - 5) : start], text[stop : stop + 1]
    if before[-1:] == "-" and before[-2:-1].isalpha():  # polonium-210
        return True
    if before.endswith(("ISBN ", "ISSN ", "ISBN-")):
        return True
    bracketed = before.endswith("(") and after == ")"
    return stop - start <= 2 and (bracketed or (not before.strip() and after in (".", ")")))


@lru_cache(maxsize=1)
def _figure_pattern() -> re.Pattern[str]:
    day_month = rf"(?:{_DAY} ?(?:[-\u2013]|to|and|or) ?)?{_DAY}(?: of)? {_MONTH}"
    ordinal = r"\d{1,2}(?:st|nd|rd|th)"
    dates = [
        r"(?:1\d|20)\d\d-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])\b",
        r"\d{1,2}(?P<sep>[/.])\d{1,2}(?P=sep)(?:\d{4}|\d{2})\b",
        rf"{day_month}(?:,? \d{{3,4}}\b(?!,\d))?(?: {_ERA})?",
        rf"{ordinal}(?:(?:,| and| to| or|[-\u2013]) ?{ordinal})*"
        rf"[- ](?:centur(?:y|ies)|millennium)\b(?: {_ERA})?",
        rf"(?:\d{{1,2}},\d{{3}}|\d{{1,4}})(?:s|(?: ?[-\u2013] ?| to )\d{{1,4}})? {_ERA}",
        r"(?:1\d\d|20\d|[1-9]\d)0['\u2019]?s\b(?: (?:and|to|or) (?:\d\d)?\d0['\u2019]?s\b)?",
        r"(?:(?<=['\u2019])|(?<=[Tt]he ))[1-9]0s\b|(?<= ['\u2019])\d\d\b",
        rf"{_YEAR} ?[-\u2013/] ?(?:{_YEAR}|\d\d?)\b(?![-\u2013/\d])",
        r"(?<=\()\d{3} ?[-\u2013] ?\d{3}\b",
        rf"{_YEAR}\b(?!,\d|\.\d|[-\u2013:/]\d| ?[%°]"
        rf"|[- ]?(?:{_LONG_UNITS}|{_SHORT_UNITS}|{_SCALE}))",
        r"(?:(?<=\b[Ii]n )|(?<=\bof )|(?<=\bby ))\d{3}(?=[,;)]|\.(?:\s|$)|$)",
        r"(?:(?<=[Yy]ear )|(?<=\bc\. )|(?<=\bca\. )|(?<=\bcirca ))\d{3,4}\b",
    ]
    minutes = r"['\u2019\u2032] ?(?:\d++(?:\.\d++)?(?:''|[\"”″]) ?)?"
    place = rf"\d++(?:\.\d++)?(?:° ?(?:\d++{minutes})?|{minutes})[NSEW]\b"
    figures = rf"{_FIGURE}(?: ?[x\u00d7] ?{_FIGURE})*"
    joined = rf"(?: ?[-\u2013] ?| to | or | and |,000)?{_FIGURE}"
    unit = rf"(?: ?[%‰]| per ?cent\b| ?°[CF]?(?!\w)|[- ]{_LONG_UNITS}|[- ]?{_SHORT_UNITS})"
    quantity = (
        rf"{figures}(?:{joined})?(?: and a half| 1/2)?(?:[- ]{_SCALE}(?:{unit})?|{unit})"
        rf"(?:[- ]old\b)?"
    )
    bare = (
        rf"\d++(?:[-\u2013]\d++)++\b|\d++(?::\d++)++(?: ?[ap]\.?m\b\.?)?|\d++(?:st|nd|rd|th)\b"
        rf"|{figures}"
    )
    money = rf"[$€£¥₹] ?{_FIGURE}(?: ?[-\u2013] ?{_FIGURE})?(?:[ -]{_SCALE}|[mbk]n?\b)?"
    # Not inside a word, a formula or a longer figure.
    start = r"(?<![\w.$€£¥₹])(?<!\d[-\u2013,/:])"
    return re.compile(
        rf"(?P<number>{money})|(?=\d){start}(?:(?P<place>{place})|(?P<date>{'|'.join(dates)})"
        rf"|(?P<quantity>{quantity})|(?P<bare>{bare})(?![\w]))"
    )


@lru_cache(maxsize=1)
def _month_pattern() -> re.Pattern[str]:
    year = rf"\d{{3,4}}\b(?!,\d)(?: {_ERA})?"
    day = rf"{_DAY}(?!\d)(?: ?(?:[-\u2013]|to|and) ?{_DAY}(?!\d))?"
    # "May" and "March" alone are words as well.
    alone = "January|February|April|June|July|August|September|October|November|December"
    return re.compile(
        rf"\b(?:{_MONTH} (?:{day}(?:,? {year})?|(?:of )?{year})"
        rf"|(?:(?:{_MONTHS}) ?(?:[-\u2013]|to|and) ?)(?:{_MONTHS})\b(?: {year})?"
        rf"|(?:{alone})\b(?! [A-Z])|(?:(?<=in )|(?<=of )|(?<=by ))(?:March|May)\b(?! [A-Z])"
        rf"|(?:{_WEEKDAYS})\b"
        rf"|(?:[Ss]pring|[Ss]ummer|[Aa]utumn|[Ff]all|[Ww]inter) (?:of )?{_YEAR}\b"
        rf"|(?:AD|A\.D\.) ?\d{{1,4}}\b)"
    )


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    century = rf"{_ORDINAL_WORDS}(?: (?:and|to|or) {_ORDINAL_WORDS})?[- ]centur(?:y|ies)\b"
    count = rf"{_COUNT_WORDS}(?: (?:to|or) {_COUNT_WORDS})?"
    return re.compile(
        rf"\b(?:(?P<date>{century}(?: {_ERA})?)"
        rf"|(?P<number>{count}(?:[- ](?:and a half |{_SCALE} ?)+)?(?<=[- ]){_LONG_UNITS}"
        rf"|{count}(?: {_SCALE})+(?: {_LONG_UNITS})?"
        rf"|(?!one day){count}[- ](?:and a half )?(?:{_LONG_UNITS}|per ?cent\b)))"
    )
