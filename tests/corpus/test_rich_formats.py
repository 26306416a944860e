"""Tests of Markdown, HTML, PDF and DOCX, with files made on the fly."""

from __future__ import annotations

import io
import sys
import textwrap
from pathlib import Path

import docx
import pypdf
import pytest

from openrealm.corpus.documents import read_documents
from openrealm.corpus.records import Document, Problem
from openrealm.corpus.rich_formats import heal_hyphens, join_wrapped_lines
from openrealm.errors import MissingDependencyError


def read(path: Path, data: str | bytes) -> tuple[list[Document], list[Problem]]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    problems: list[Problem] = []
    return list(read_documents([path], on_problem=problems.append)), problems


def title_and_text(path: Path, data: str | bytes) -> tuple[str, str]:
    (document,), problems = read(path, data)
    assert problems == []
    assert document.id == path.name
    return document.title, document.text


def reason(path: Path, data: str | bytes) -> str:
    documents, (problem,) = read(path, data)
    assert documents == []
    return problem.reason


# Markdown

MARKDOWN = """\
# The *Nile*

The river flows
north to the [sea](http://x) ![a map](map.png).\\
Next line with `code`.

## Length

- first item
- second item
  1. inner

| a | b |
|---|---|
| 1 | two words |

```python
print("x")
    indented
```

> A quote.

<div>Raw &amp; html</div>

Inline <b>bold</b> text.
"""


def test_markdown_becomes_lines_of_text(tmp_path: Path) -> None:
    title, text = title_and_text(tmp_path / "a.md", MARKDOWN)
    assert title == "The Nile"
    assert text.split("\n") == [
        "The river flows north to the sea a map.",
        "Next line with code.",
        "Length",
        "first item",
        "second item",
        "inner",
        "a | b",
        "1 | two words",
        'print("x")',
        "    indented",
        "A quote.",
        "Raw & html",
        "Inline bold text.",
    ]


def test_the_title_of_front_matter_comes_first(tmp_path: Path) -> None:
    data = '---\ntitle: "Lakes: a list"\ndate: 2020\n---\n# Heading\n\nText.\n'
    assert title_and_text(tmp_path / "a.md", data) == ("Lakes: a list", "Heading\nText.")


def test_a_heading_further_down_is_the_title_and_stays(tmp_path: Path) -> None:
    assert title_and_text(tmp_path / "a.md", "Text.\n\n# Later\n") == ("Later", "Text.\nLater")


def test_markdown_without_a_heading_is_named_after_its_file(tmp_path: Path) -> None:
    assert title_and_text(tmp_path / "the_lakes.md", "Text.") == ("the lakes", "Text.")


@pytest.mark.parametrize("data", ["# Only a title\n", "---\ntitle: x\n---\n", "\n\n"])
def test_markdown_without_text_is_a_problem(tmp_path: Path, data: str) -> None:
    assert reason(tmp_path / "a.md", data) == "the text is empty"


def test_markdown_that_is_not_utf8_is_a_problem_with_its_line(tmp_path: Path) -> None:
    _, (problem,) = read(tmp_path / "a.md", b"# A\n\nx\xff\n")
    assert (problem.line, problem.reason) == (3, "not UTF-8 (byte 0xff)")


# HTML

PARAGRAPHS = [
    f"This is paragraph number {n} about the long river and the towns that lie on its banks."
    for n in range(12)
]
PAGE = (
    "<html><head><title>The river</title><style>p {color: red}</style></head><body>"
    "<nav><ul><li><a href='/'>Home</a></li><li><a href='/x'>About us</a></li></ul></nav>"
    "<article><h1>The river</h1>"
    + "".join(f"<p>{p}</p>" for p in PARAGRAPHS)
    + "</article><script>alert(1)</script><footer>Imprint and privacy</footer></body></html>"
)


def test_the_main_text_of_a_page_is_taken_without_menus(tmp_path: Path) -> None:
    title, text = title_and_text(tmp_path / "a.html", PAGE)
    assert title == "The river"
    assert all(paragraph in text for paragraph in PARAGRAPHS)
    assert "alert" not in text
    assert "color" not in text
    assert "Home" not in text


def test_a_page_in_which_no_main_text_is_found_gives_all_of_its_text(tmp_path: Path) -> None:
    page = "<body>" + "<p>The same line about lakes.</p>" * 400 + "<script>x()</script></body>"
    title, text = title_and_text(tmp_path / "the_lakes.htm", page)
    assert title == "the lakes"
    assert text == "\n".join(["The same line about lakes."] * 400)


def test_a_fragment_of_html_is_read(tmp_path: Path) -> None:
    title, text = title_and_text(tmp_path / "a.html", "<h1>Lakes</h1>One<br>two &amp; three")
    assert title == "Lakes"
    assert "two & three" in text


def test_a_declared_character_set_is_respected(tmp_path: Path) -> None:
    page = '<meta charset="iso-8859-1"><title>Café</title><p>Ein schöner See im Süden.</p>'
    title, text = title_and_text(tmp_path / "a.html", page.encode("latin-1"))
    assert title == "Café"
    assert "schöner" in text


@pytest.mark.parametrize("charset", ["", '<meta charset="nonsense">', '<meta charset="ascii">'])
def test_a_page_in_an_unknown_character_set_is_a_problem(tmp_path: Path, charset: str) -> None:
    data = charset.encode() + b"<p>caf\xe9</p>"
    assert reason(tmp_path / "a.html", data).startswith("not UTF-8 (byte 0xe9)")


@pytest.mark.parametrize("page", [" ", "<html><body><script>x</script></body></html>"])
def test_a_page_without_text_is_a_problem(tmp_path: Path, page: str) -> None:
    assert reason(tmp_path / "a.html", page) == "the text is empty"


def test_a_page_that_no_parser_accepts_is_a_problem(tmp_path: Path) -> None:
    documents, problems = read(tmp_path / "a.html", b"\x01\x02\x03")
    assert len(documents) + len(problems) == 1


# PDF


def pdf(*pages: list[str], title: str = "") -> bytes:
    """A PDF with the given lines on its pages, written out by hand."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for lines in pages:
        shown = " ".join(f"({line}) Tj T*" for line in lines)
        content = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET"
        number = len(objects) + 1
        kids.append(f"{number} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {number + 1} 0 R"
            " /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
            " >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(pages)} >>"
    objects.append(f"<< /Title ({title}) >>")
    out = "%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    out += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size"
        f" {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n"
    )
    return (out + f"startxref\n{out.index('xref')}\n%%EOF\n").encode("latin-1")


def test_the_pages_of_a_pdf_are_joined_and_divided_words_healed(tmp_path: Path) -> None:
    first = [
        "The river rises in the hills of the north and then flows through the explo-",
        "ration zone, where three countries have drawn their borders along the two",
        "banks of the water and built towns.",
        "12",
    ]
    data = pdf(first, ["The next page tells of the lakes.", "Page 2 of 2"], title="Of rivers")
    title, text = title_and_text(tmp_path / "a.pdf", data)
    assert title == "Of rivers"
    assert text == (
        "The river rises in the hills of the north and then flows through the exploration zone, "
        "where three countries have drawn their borders along the two banks of the water and "
        "built towns.\nThe next page tells of the lakes."
    )


def test_a_pdf_without_a_title_is_named_after_its_file(tmp_path: Path) -> None:
    assert title_and_text(tmp_path / "the_lakes.pdf", pdf(["Lakes."]))[0] == "the lakes"


def test_a_pdf_without_text_is_a_problem(tmp_path: Path) -> None:
    assert reason(tmp_path / "a.pdf", pdf([])) == "a PDF without text (scanned pages?)"


@pytest.mark.parametrize("data", [b"%PDF-1.4\nnonsense", b"not a PDF at all", pdf(["x"])[:200]])
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_pdf_is_a_problem(tmp_path: Path, data: bytes) -> None:
    assert "PDF" in reason(tmp_path / "a.pdf", data)


def test_an_encrypted_pdf_is_a_problem(tmp_path: Path) -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["Secret."])))
    writer.encrypt("password", algorithm="RC4-128")
    target = io.BytesIO()
    writer.write(target)
    assert reason(tmp_path / "a.pdf", target.getvalue()) == "the PDF is encrypted"


# DOCX


def word_file(title: str = "", heading: str = "", *, body: bool = True) -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    if heading:
        document.add_heading(heading, level=1)
    if body:
        document.add_paragraph("The river flows north.")
        document.add_paragraph("An item", style="List Bullet")
        table = document.add_table(rows=2, cols=3)
        for row, words in zip(table.rows, [("a", "b", "c"), ("1", "", "3")], strict=True):
            for cell, word in zip(row.cells, words, strict=True):
                cell.text = word
        table.rows[0].cells[0].merge(table.rows[0].cells[1])
        document.add_paragraph("The end.")
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def test_paragraphs_and_tables_of_a_docx_file_are_read_in_order(tmp_path: Path) -> None:
    title, text = title_and_text(tmp_path / "a.docx", word_file("Rivers"))
    assert title == "Rivers"
    assert text == "The river flows north.\nAn item\na b | c\n1 | 3\nThe end."


def test_the_first_heading_of_a_docx_file_is_its_title(tmp_path: Path) -> None:
    title, text = title_and_text(tmp_path / "a.docx", word_file(heading="Of lakes"))
    assert title == "Of lakes"
    assert text.startswith("The river")


def test_a_docx_file_without_either_is_named_after_its_file(tmp_path: Path) -> None:
    assert title_and_text(tmp_path / "the_lakes.docx", word_file())[0] == "the lakes"


def test_a_docx_file_without_text_is_a_problem(tmp_path: Path) -> None:
    assert reason(tmp_path / "a.docx", word_file(body=False)) == "the text is empty"


@pytest.mark.parametrize("data", [b"PK\x03\x04 broken", b"not a zip", word_file()[:500]])
def test_a_damaged_docx_file_is_a_problem(tmp_path: Path, data: bytes) -> None:
    assert reason(tmp_path / "a.docx", data).startswith("not a readable DOCX file")


# Libraries that are missing


@pytest.mark.parametrize(
    ("suffix", "module", "library"),
    [
        ("md", "markdown_it", "markdown-it-py"),
        ("html", "trafilatura", "trafilatura"),
        ("pdf", "pypdf", "pypdf"),
        ("docx", "docx", "python-docx"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, module: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"{library}.*openrealm\[ingest\]"):
        read(tmp_path / f"a.{suffix}", "x")


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
