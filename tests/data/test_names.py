"""Tests of names as capitalised sequences, and of the list of titles."""

from __future__ import annotations

import pytest

from openrealm.data.lexicon import Lexicon, words_of
from openrealm.data.names import Gazetteer, begins_sentence, find_names
from openrealm.data.spans import without_overlaps


def from_titles(*titles: str) -> Gazetteer:
    lexicon = Lexicon(proper=frozenset(["York", "Mercury"]))
    return Gazetteer.from_titles(titles, lexicon=lexicon, is_rare=lambda word: word != "water")


def test_titles_with_capitals_are_names_and_rare_ones_without_are_topics() -> None:
    gazetteer = from_titles(
        "New York City", "York", "Mercury (planet)", "Polonium", "Water", "Filet crochet",
        "Water of life", "DNA", "lower", "7 Up", "", "X", "Alexander the Great",
    )  # fmt: skip
    assert gazetteer.names == {"New York City", "York", "Mercury", "DNA", "Alexander the Great"}
    assert gazetteer.topics == {"polonium", "filet crochet", "water of life"}


def test_the_longest_name_at_a_place_is_found() -> None:
    gazetteer = Gazetteer(names=["New York", "New York City", "York", "Jehovah's Witnesses"])
    text = "in New York City, New Yorkers, York-born Jehovah's Witnesses"
    for name, there in [("New York City", "New"), ("York", "York-"), ("Jehovah's Witnesses", "Je")]:
        start = text.index(there)
        assert gazetteer.name_at(text, start) == start + len(name)
    assert gazetteer.name_at(text, text.index("New Yorkers")) is None
    assert gazetteer.name_at(text, 0) is None
    assert gazetteer.name_at("...", 0) is None


def test_topics_are_found_in_lower_case_and_at_the_head_of_a_sentence() -> None:
    gazetteer = Gazetteer(topics=["polonium", "filet crochet"])
    text = "Polonium and filet crochet, polonium-210, poloniums, Filet"
    found = [text[a:b] for a, b in gazetteer.topics_in(text, set(words_of(text)))]
    assert found == ["Polonium", "filet crochet", "polonium"]
    assert gazetteer.topics_in("nothing here", {"nothing", "here"}) == []


LEXICON = Lexicon(proper=frozenset(["Germany", "Warsaw"]), common=frozenset(["Critics", "Actor"]))


def names(text: str, *titles: str) -> list[str]:
    spans = find_names(text, lexicon=LEXICON, gazetteer=Gazetteer(names=titles))
    return [text[span.start : span.stop] for span in without_overlaps(spans)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She met Paul D. Miller and J. R. R. Tolkien.", ["Paul D. Miller", "J. R. R. Tolkien"]),
        ("the Duchy of Muscovy and the U.S. Senate", ["Duchy of Muscovy", "U.S. Senate"]),
        ("by Ludwig van Beethoven, Ibn al-Haytham", ["Ludwig van Beethoven", "Ibn al-Haytham"]),
        ("saw Alexander the Great there", ["Alexander the Great"]),
        ("at Methuen & Co. Ltd. in", ["Methuen & Co. Ltd."]),
        ("of America, Inc., and", ["America, Inc."]),
        ("by O'Brien, Jean-Paul, AT&T, B-52", ["O'Brien", "Jean-Paul", "AT&T", "B-52"]),
        ("Spanish-speaking people met Barak's son", ["Barak"]),
        ("near Kr\u00f6ller-M\u00fcller in \u00c5rhus", ["Kr\u00f6ller-M\u00fcller", "\u00c5rhus"]),
        ("beat Rome and Carthage", ["Rome", "Carthage"]),
        ("crowned King Otto I and Dr. Zubrin", ["Otto I", "Zubrin"]),
        ("the MPEG-1 and NATO", ["MPEG-1", "NATO"]),
        ("met trans-Saharan trade", ["Saharan"]),
    ],
)
def test_capitalised_sequences_are_names(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gasoline was chosen. Schemes are old.", []),
        ("Germany won. Warsaw lost.", ["Germany", "Warsaw"]),
        ("NATO won. McDonald lost. U.S. troops", ["NATO", "McDonald", "U.S."]),
        ("In Germany he met. The Beatles sang.", ["Germany", "Beatles"]),
        ("Critics Roger Ebert said. Actor Tom Hanks", ["Roger Ebert", "Tom Hanks"]),
        ("Caroline County is", ["Caroline County"]),
        ('He said, "Surely not." He asked: "Never?"', []),
        ('He wrote "Sonnet" and "Surely" later', ["Sonnet", "Surely"]),
        ("Among them: Muiscas and others", ["Muiscas"]),
        ("lives near St. Paul. Nobody knows", ["St. Paul"]),
    ],
)
def test_the_head_of_a_sentence_needs_evidence(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "so I went and G and H for X",
        "the chapter XIV and CDLIII of",
        "on Thursday in May of AD it",
        "THIS IS NOTHING BUT SHOUTING ABOUT NOTHING",
        "there. LONG HEADING MADE LOUDLY there",
        "the ISBN of it",
        "don't. Don't. It's. I'm.",
        "nothing here",
        "",
        '"" and "x" and "X"',
    ],
)
def test_single_letters_numerals_calendar_words_and_shouting_are_no_names(text: str) -> None:
    assert names(text) == []


def test_titles_in_quotation_marks_are_one_name() -> None:
    text = 'the story "The Secret Integration," and "Sketches Written in the West" (2012)'
    assert names(text) == ["The Secret Integration", "Sketches Written in the West"]
    assert names('he said "The man is old" to') == []


def test_a_title_of_the_corpus_is_found_whole() -> None:
    assert names("as Jehovah's Witnesses in", "Jehovah's Witnesses") == ["Jehovah's Witnesses"]
    assert names("in The Hague now", "The Hague") == ["The Hague"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Word", True),
        ("end. Word", True),
        ('end." Word', True),
        ("end?\nWord", True),
        ("e.g. J. Word", False),
        ("Dr. Word", False),
        ("a Word", False),
        ("a, Word", False),
        ("a (Word", False),
        ('a, "Word', True),
        ('a "Word', False),
    ],
)
def test_heads_of_sentences_are_told_from_abbreviations(text: str, answer: bool) -> None:
    assert begins_sentence(text, text.index("Word")) is answer
