"""Title and text out of one file: Markdown, HTML, PDF, DOCX, wrapped lines; knows nothing of ids.

Every converter takes a file's bytes and gives its title and its text, paragraphs as lines, or
raises ValueError with the reason. Headings, list items, rows of tables and lines of code become
lines.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from openrealm.corpus.files import SourceFile
from openrealm.errors import MissingDependencyError

if TYPE_CHECKING:
    from markdown_it.token import Token

Converter = Callable[[bytes, SourceFile], tuple[str, str]]

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(['\"]?)(.*?)\1[ \t]*\r?$", re.MULTILINE)
_TAG = re.compile(r"<!--.{0,10000}?-->|<[^<>]*>", re.DOTALL)
_CHARSET = re.compile(rb"charset=[\"']?([\w-]+)", re.IGNORECASE)
_CHARSET_BYTES = 2048
_PAGE_NUMBER = re.compile(
    r"[\W_]*(?:page\s+)?\d{1,4}(?:\s*(?:/|of)\s*\d{1,4})?[\W_]*", re.IGNORECASE
)
_CELL_GAP = " | "
# What trafilatura finds may be this much less than all the text of a page, and be all that matters.
_MIN_MAIN_SHARE = 0.1
_INVISIBLE = ("script", "style", "noscript", "template", "head", "svg")
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset"),
        *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"),
        *("hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"),
    )
)


def _missing(library: str, kind: str) -> MissingDependencyError:
    return MissingDependencyError(
        f'reading {kind} files needs the library {library}: pip install "openrealm[ingest]"'
    )


def read_markdown(data: bytes, file: SourceFile) -> tuple[str, str]:
    """Title and text of Markdown. The title is that of the front matter, else the first heading,
    which is then left out of the text.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise _missing("markdown-it-py", "Markdown") from error
    text = data.decode("utf-8")
    title = ""
    front = _FRONT_MATTER.match(text)
    if front is not None:
        text = text[front.end() :]
        named = _FRONT_TITLE.search(front.group(1))
        title = named.group(2).strip() if named else ""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    blocks = list(_markdown_blocks(tokens))
    heading = next((number for number, (kind, _) in enumerate(blocks) if kind == "heading"), None)
    if not title and heading is not None:
        title = blocks[heading][1]
        if heading == 0:
            del blocks[0]
    return title or file.title, "\n".join(block for _, block in blocks if block.strip())


def _markdown_blocks(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """Each block's kind (heading, row, text) and its text."""
    kind = "text"
    cells: list[str] = []
    for token in tokens:
        if token.type == "heading_open":
            kind = "heading"
        elif token.type == "tr_open":
            kind, cells = "row", []
        elif token.type == "tr_close":
            yield "row", _CELL_GAP.join(cell for cell in cells if cell)
            kind = "text"
        elif token.type == "inline":
            text = _inline_text(token.children or ())
            if kind == "row":
                cells.append(text.strip())
            else:
                yield kind, text.strip()
                kind = "text"
        elif token.type in ("fence", "code_block"):
            yield "text", token.content.rstrip("\n")
        elif token.type == "html_block":
            yield "text", _without_tags(token.content)


def _inline_text(tokens: Sequence[Token]) -> str:
    parts = []
    for token in tokens:
        if token.type in ("text", "code_inline", "image"):
            parts.append(token.content)
        elif token.type == "softbreak":
            parts.append(" ")
        elif token.type == "hardbreak":
            parts.append("\n")
    return "".join(parts)


def _without_tags(text: str) -> str:
    return "\n".join(line for line in html.unescape(_TAG.sub("", text)).split("\n") if line.strip())


def read_html(data: bytes, file: SourceFile) -> tuple[str, str]:
    """The main text of a page, without menus and the like, or all of it where none is found."""
    try:
        import lxml.html  # type: ignore[import-untyped]
        import trafilatura
    except ImportError as error:
        raise _missing("trafilatura", "HTML") from error
    page = _decode_html(data)
    if not page.strip():
        raise ValueError("the text is empty")
    try:
        parser = lxml.html.HTMLParser(encoding="utf-8")
        tree = lxml.html.document_fromstring(page.encode("utf-8"), parser)
        everything = _visible_text(tree)
        extracted = trafilatura.extract(
            page, include_comments=False, include_tables=True, favor_recall=True
        )
    except Exception as error:  # malformed pages raise whatever the parsers raise
        raise ValueError(f"not a readable HTML page ({_short(error)})") from error
    main = extracted or ""
    text = main if len(main) >= _MIN_MAIN_SHARE * len(everything) else everything
    return _html_title(tree) or file.title, text


def _decode_html(data: bytes) -> str:
    """The page as text: decoded as UTF-8, or else by the character set that the page declares."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        declared = _CHARSET.search(data[:_CHARSET_BYTES])
        try:
            if declared is not None:
                return data.decode(declared.group(1).decode("ascii"))
        except (LookupError, UnicodeDecodeError):
            pass
        raise


def _html_title(tree: Any) -> str:
    for path in ("//head/title", "//h1"):
        for element in tree.xpath(path):
            title = " ".join(str(element.text_content()).split())
            if title:
                return title
    return ""


def _visible_text(tree: Any) -> str:
    """All text outside of scripts and styles, a line for each block."""
    parts: list[str] = []

    def walk(element: Any) -> None:
        if not isinstance(element.tag, str) or element.tag in _INVISIBLE:
            return
        edge = "\n" if element.tag in _BLOCKS else ""
        parts.extend((edge, element.text or ""))
        for child in element:
            walk(child)
            parts.append(child.tail or "")
        parts.append(edge)

    walk(tree)
    lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def read_pdf(data: bytes, file: SourceFile) -> tuple[str, str]:
    """The text of all pages, words divided at line ends healed and page numbers left out."""
    try:
        import pypdf
    except ImportError as error:
        raise _missing("pypdf", "PDF") from error
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ValueError("the PDF is encrypted")
        pages = [page.extract_text() for page in reader.pages]
        title = str(reader.metadata.title or "") if reader.metadata else ""
    except ValueError:
        raise
    except Exception as error:  # damaged files raise whatever the parser raises
        raise ValueError(f"not a readable PDF ({_short(error)})") from error
    text = "\n".join(_page_text(page) for page in pages)
    if not text.strip():
        raise ValueError("a PDF without text (scanned pages?)")
    return title.strip() or file.title, join_wrapped_lines(heal_hyphens(text))


def _page_text(page: str) -> str:
    lines = [line.rstrip() for line in page.split("\n")]
    return "\n".join(line for line in lines if line and not _PAGE_NUMBER.fullmatch(line))


def read_docx(data: bytes, file: SourceFile) -> tuple[str, str]:
    """Paragraphs and tables; the title is the file's own, else that of a title or heading style."""
    try:
        import docx
        from docx.table import Table
    except ImportError as error:
        raise _missing("python-docx", "DOCX") from error
    try:
        document = docx.Document(io.BytesIO(data))
        title = (document.core_properties.title or "").strip()
        lines: list[str] = []
        for block in document.iter_inner_content():
            if isinstance(block, Table):
                lines.extend(_table_lines(block))
                continue
            style = block.style.name if block.style is not None else ""
            if not title and style in ("Title", "Heading 1") and block.text.strip():
                title = block.text.strip()
                if not lines:
                    continue
            lines.append(block.text)
    except Exception as error:  # damaged files raise whatever the parsers raise
        raise ValueError(f"not a readable DOCX file ({_short(error)})") from error
    return title or file.title, "\n".join(line for line in lines if line.strip())


def _table_lines(table: Any) -> Iterator[str]:
    for row in table.rows:
        # A merged cell is listed once for every column that it covers.
        cells = list(dict.fromkeys(cell._tc for cell in row.cells))
        texts = [" ".join(part.text or "" for part in cell.iter("{*}t")).strip() for cell in cells]
        yield _CELL_GAP.join(text for text in texts if text)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


READERS: dict[str, Converter] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
}


# A line that was wrapped is about as long as the longest ones.
_FULL_SHARE = 0.7
_MIN_FULL_CHARS = 40
_MAX_FULL_CHARS = 120
_MIN_LINES = 3
# Of the breaks in the middle of a sentence, this share is followed by a lower-case letter in
# wrapped prose; in verse, lists and tables it is far less.
_LOWER_SHARE = 0.4
_SENTENCE_END = re.compile(r"[.!?:;…。！？][\"'”’»)\]]*\Z")
_HYPHEN_AT_END = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\n([a-zß-öø-ÿ]\S*) ?")


def join_wrapped_lines(text: str) -> str:
    r"""The text with a space for each newline inside a paragraph, if it looks wrapped.

    Text whose paragraphs are lines, verse, lists and tables stay as they are. Only single
    newlines are replaced, each by one character, so that offsets stay those of the file.
    """
    lines = text.split("\n")
    full = _full_width(lines)
    if full is None:
        return text
    joined = [lines[0]]
    for line, following in itertools.pairwise(lines):
        joined.append(" " if _goes_on(line, following, full) else "\n")
        joined.append(following)
    return "".join(joined)


def heal_hyphens(text: str) -> str:
    """Joins words that were divided at the end of a line.

    A hyphen before a lower-case letter is taken for a division, which is wrong for the few compound
    words that were divided at their own hyphen.
    """
    # The rest of the word moves up, so that the lines keep about the lengths that they had.
    return _HYPHEN_AT_END.sub(r"\1\n", text)


def _full_width(lines: Sequence[str]) -> float | None:
    """How long a line must be to have been wrapped; None if the text does not look wrapped."""
    lengths = sorted(len(line) for line in lines if line.strip())
    if len(lengths) < _MIN_LINES:
        return None
    # The longest ones may be headers or addresses that were never wrapped.
    width = lengths[int(0.9 * (len(lengths) - 1))]
    if not _MIN_FULL_CHARS <= width <= _MAX_FULL_CHARS:
        return None
    full = _FULL_SHARE * width
    starts = [
        following.lstrip()[:1]
        for line, following in itertools.pairwise(lines)
        if _goes_on(line, following, full)
    ]
    lower = sum(start.islower() for start in starts)
    return full if starts and lower >= _LOWER_SHARE * len(starts) else None


def _goes_on(line: str, following: str, full: float) -> bool:
    """Whether a paragraph goes on in the following line; one that ends a sentence may stay."""
    if len(line) < full or not following.strip() or following[0] in " \t-*•|":
        return False
    return _SENTENCE_END.search(line.rstrip()) is None
