"""A corpus tells by its spelling which words are names."""

from __future__ import annotations

import re

from openrealm.data.lexicon import LexiconBuilder, uppercase_class


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
