"""A corpus tells by its spelling which words are names; terms are specific phrases that occur in at
least two texts.
"""

from __future__ import annotations

import re

from openrealm.data.lexicon import LexiconBuilder, TermFinder, TermsBuilder, uppercase_class


def build(*texts: str, max_words: int = 1000) -> LexiconBuilder:
    builder = LexiconBuilder(max_words=max_words)
    for text in texts:
        builder.add(text)
    return builder


def test_a_word_capitalised_in_mid_sentence_is_proper() -> None:
    lexicon = build("Puyi lived. He met Puyi, and \u00c9mile too.").build()
    assert lexicon.proper == {"Puyi", "\u00c9mile"}


def test_a_word_capitalised_at_heads_only_is_proper_if_never_in_lower_case() -> None:
    text = "Gasoline burns. Gasoline smells. Gasoline is light. Puyi fell. Puyi rose. Puyi sat."
    assert build(text, "They burn gasoline.").build().proper == {"Puyi"}


def test_a_word_nearly_always_in_lower_case_is_common() -> None:
    lexicon = build("Critics say. " + "the critics say " * 16 + "the big Big bang big").build()
    assert lexicon.common == {"Critics"}
    assert lexicon.proper == set()


def test_function_words_are_neither() -> None:
    lexicon = build("Although it rains. In Although In, The the the the the").build()
    assert lexicon.proper == lexicon.common == set()


def test_counts_stay_within_their_bounds_and_keep_what_is_frequent() -> None:
    builder = LexiconBuilder(max_words=100)
    for number in range(1000):
        letters = "".join(chr(97 + int(digit)) for digit in str(number))
        builder.add(f"met Zorro and {letters} {letters}x and {letters.title()}y")
    assert builder.count("Zorro") == 1000
    assert (
        sum(builder.count(chr(97 + a) + chr(97 + b)) > 0 for a in range(9) for b in range(9)) < 81
    )
    assert "Zorro" in builder.build().proper


def test_capital_letters_of_all_scripts_are_known() -> None:
    capital = re.compile(f"[{uppercase_class()}]")
    assert all(capital.match(letter) for letter in "A\u00c9\u0100\u0391\u0416\u01c5")
    assert not any(capital.match(letter) for letter in "a\u00e9\u0101\u6771\u05d0_1]\\^-")


COMMON = "the results of the tests are given for several cases of the flow"


def weights(*texts: str, filler: int = 40) -> dict[str, float]:
    builder = TermsBuilder()
    for text in [*texts, *[COMMON] * filler]:
        builder.add(text)
    return builder.build()


def test_a_phrase_of_two_texts_is_a_term_and_one_of_a_single_or_of_all_is_not() -> None:
    found = weights(
        "the slip flow near flutter, flutter", "of slip flow, flutter of flutter", "vortex"
    )
    assert {"slip flow", "flutter"} <= set(found)
    assert not {"vortex", "results", "flow", "tests"} & set(found)


def test_edges_are_no_function_words_and_nothing_stands_between_the_words() -> None:
    text = "rate of growth, aspect ratio. wing"
    found = weights(text, text)
    assert "rate of growth" in found
    assert not {"rate of", "of growth", "growth aspect", "ratio wing"} & set(found)


def test_chance_company_is_no_term() -> None:
    texts = ["stable wing", "stable wing"] + ["stable x"] * 30 + ["wing y"] * 30
    assert "stable wing" not in weights(*texts, filler=1000)


def test_words_that_come_once_wherever_they_come_are_weaker_than_those_that_recur() -> None:
    found = weights("flutter flutter immediate", "flutter of flutter immediate")
    assert "immediate" not in found
    assert "flutter" in found


def test_inflected_single_words_are_no_terms() -> None:
    text = "rapidly rapidly measured measured running running stalled wing"
    assert not {"rapidly", "measured", "running"} & set(weights(text, text))


def test_the_most_specific_terms_of_a_sentence_are_taken_without_overlap() -> None:
    text = "Slip flow at the wing tip and flutter, slip flow"
    known = {"slip flow": 4.0, "slip": 3.0, "wing": 2.5, "flutter": 2.6, "tip": 1.0}
    found = [text[a:b] for a, b in TermFinder(known).find(text, limit=3)]
    assert found == ["Slip flow", "wing", "flutter"]
    assert [text[a:b] for a, b in TermFinder(known).find(text, limit=1)] == ["Slip flow"]
    assert TermFinder(known).find("nothing known", limit=3) == []


def test_counting_stops_after_its_sample_and_forgets_rare_phrases(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("openrealm.data.lexicon._SAMPLE_CHARACTERS", 100)
    assert weights(*["filler " * 20, "flutter flutter", "flutter flutter"]) == {}
    monkeypatch.setattr("openrealm.data.lexicon._SAMPLE_CHARACTERS", 10_000)
    monkeypatch.setattr("openrealm.data.lexicon._MAX_PHRASES", 3)
    found = weights("flutter flutter", "flutter flutter vortex", "alpha beta gamma", filler=0)
    assert set(found) == {"flutter flutter", "flutter"}
