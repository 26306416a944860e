"""Tests of joining wrapped lines."""

from __future__ import annotations

import textwrap

from openrealm.corpus.wrapping import heal_hyphens, join_wrapped_lines

PROSE = (
    "The river rises in the hills of the north and flows through three countries before it comes "
    "to the sea. Its water is used for fields, for mills and for the towns on its banks. In spring "
    "it floods the plain for several weeks, and the fields are green until the end of the summer."
)


def test_wrapped_prose_becomes_paragraphs() -> None:
    wrapped = "\n\n".join("\n".join(textwrap.wrap(PROSE, 60)) for _ in range(3))
    joined = join_wrapped_lines(wrapped)
    assert len(joined) == len(wrapped)
    assert "\n\n" in joined
    assert joined.count("\n") < wrapped.count("\n") / 2
    assert joined.split() == wrapped.split()


def test_a_paragraph_a_line_stays() -> None:
    text = "\n".join([PROSE, PROSE.upper(), PROSE])
    assert join_wrapped_lines(text) == text


def test_verse_stays() -> None:
    verse = "\n".join(
        [
            "Tall grew the reeds beside the winding stream,",
            "Where Herons stood as still as in a dream,",
            "And Morning laid her silver on the land,",
            "Till Noon had warmed the stones along the sand;",
        ]
    )
    assert join_wrapped_lines(verse) == verse


def test_a_list_stays() -> None:
    text = "\n".join(f"- item {n} of the list, which is rather a long one in all" for n in range(9))
    assert join_wrapped_lines(text) == text


def test_few_or_short_lines_stay() -> None:
    assert join_wrapped_lines("one\ntwo") == "one\ntwo"
    assert join_wrapped_lines("") == ""


def test_divided_words_are_healed_but_not_before_a_capital() -> None:
    text = "the explo-\nration, of Baden-\nBaden"
    assert heal_hyphens(text) == "the exploration,\nof Baden-\nBaden"
    assert heal_hyphens("pages 3-\n4") == "pages 3-\n4"
