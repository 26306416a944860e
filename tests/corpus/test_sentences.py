"""Tests of sentence splitting, against samples split by hand and against properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.corpus.sentences import split_sentences

# Each text with " | " where a reader would put a boundary.
SAMPLES = [
    "It rained. | Then it stopped! | Did it? | Yes.",
    "Dr. Smith met Mr. J. R. R. Tolkien on Jan. 5. | They spoke, e.g. of trees.",
    "It costs $3.50 or 3.5 million. | In 1999. | 20 people came.",
    "No. 5 is alive. | Is it? | No. | It is not. | See pp. 3-4 and Fig. 2. | Done.",
    "The U.S. Army left. | They live in the U.S. | The flag is red.",
    "He came at 5 p.m. Monday. | He left at 6 p.m. | The train was late.",
    "Acme Inc. was sold. | Smith et al. (1996) say so. | See Gregg v. Georgia, 428 U.S. 153.",
    "George W. Bush spoke. | This was plan B. | The rest followed. | Vitamin C. | It helps.",
    'He said "Go." | Then he left. | "Why?" he asked. | "No!" | Nobody moved.',
    "(See below.) | The end came. | He left (at last). | «Bonjour.» | Il part.",
    "Wait... what? | He paused... | Then silence. | So… | The end.",
    "What?! | Really?! | A word .... | Another.",
    "It was so.[1] | It was not.[23] | He noted it.:5–10 | He left.",
    "the flow is steady . | it is inviscid . | the number m . | heat, i . e . energy, is lost .",
    "all lower case. | here too. | e.g. this one. | no. 5 as well.",
    "これは文です。| 次の文！| 「はい。」| 終わり？| そう。",
    "नमस्ते। | यह एक वाक्य है। | end.",
    "هل هذا سؤال؟ | نعم.",
    "Élan vital. | Ça va. | ¿Qué? | ¡Hola!",
    "History.\n| He was born in Rome.\n\n| 1. Introduction\n| 2. The end. | Of it.",
    "no stop at the end",
    "J. S. Bach wrote it c. 1720. | Cf. the Ph.D. thesis of A.B. Smith.",
]


def parts(text: str) -> list[str]:
    return [text[start:stop] for start, stop in split_sentences(text)]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_split_as_by_hand(sample: str) -> None:
    text = sample.replace("| ", "").replace("|", "")
    wanted = [part.strip() for part in sample.split("|")]
    assert parts(text) == wanted


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\u3000\t \n"])
def test_white_space_has_no_sentences(text: str) -> None:
    assert split_sentences(text) == []


def test_a_newline_ends_a_sentence_even_in_its_middle() -> None:
    assert parts("one line\nand another") == ["one line", "and another"]


def test_a_form_feed_does_not_end_a_sentence_as_the_tokenizer_deletes_it() -> None:
    assert parts("One.\x0cTwo. Three.") == ["One.\x0cTwo.", "Three."]


PIECES = [
    "A",
    "b",
    "Dr",
    "U.S",
    "5",
    ".",
    "!",
    "?",
    "…",
    "。",
    " ",
    "\n",
    '"',
    ")",
    "[1]",
    "\u3000",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=60).map("".join))
def test_sentences_hold_all_but_white_space_in_order_and_are_trimmed(text: str) -> None:
    spans = split_sentences(text)
    last = 0
    for start, stop in spans:
        assert text[last:start].strip() == ""
        assert start < stop
        assert text[start] not in " \n\u3000"
        assert text[stop - 1] not in " \n\u3000"
        assert "\n" not in text[start:stop]
        last = stop
    assert text[last:].strip() == ""


def test_a_megabyte_of_sentences_is_split_into_all_of_them() -> None:
    sentence = "The river rises in the hills near St. Albans, flows 30 km south and meets the sea. "
    assert len(split_sentences((sentence * 20 + "\n") * 600)) == 12_000


@pytest.mark.parametrize(
    "piece", [".", ". ", '."', ".)", ".]]", ".[1]", "。", "。」", "!? ", "\n", "(", " "]
)
def test_long_rows_of_marks_come_to_an_end(piece: str) -> None:
    # Quadratic work would keep this busy for hours; a clock would also measure the machine.
    text = "A word" + piece * 100_000 + "x"
    spans = split_sentences(text)
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
