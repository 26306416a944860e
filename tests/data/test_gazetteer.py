"""Titles of the corpus are found in texts, the longest first."""

from __future__ import annotations

from openrealm.data.gazetteer import Gazetteer
from openrealm.data.lexicon import Lexicon, words_of


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
