"""Tests of texts and values as HTML."""

from __future__ import annotations

from openrealm.report.contents import Picture, Quote
from openrealm.report.sections import bar, figure, quoted, table, text

HOSTILE = "<script>alert(\"x\" + 'y')</script>&"
ESCAPED = "&lt;script&gt;alert(&quot;x&quot; + &#x27;y&#x27;)&lt;/script&gt;&amp;"


def test_no_text_is_taken_for_markup() -> None:
    assert text(HOSTILE) == ESCAPED
    shown = quoted(Quote(HOSTILE, HOSTILE, HOSTILE))
    assert shown == f"{ESCAPED}<mark>{ESCAPED}</mark>{ESCAPED}"
    assert ESCAPED in table(["a"], [["b"]], caption=HOSTILE)
    drawn = figure(Picture(name="p", png=b"x", alt=HOSTILE, caption=HOSTILE))
    assert drawn.count(ESCAPED) == 2 and "<script" not in drawn


def test_a_quote_without_a_mark_has_none() -> None:
    assert quoted(Quote("a", "", "b")) == "ab"


def test_bars_keep_within_their_bounds() -> None:
    assert "width:25.00%" in bar(0.25)
    assert "width:100.00%" in bar(1.5)
    assert "width:0.00%" in bar(-1.0)
