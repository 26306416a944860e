"""Documents out of files and folders, one after another; knows nothing of tokens or stores.

What cannot be used is reported as a `Problem` with its file and line, and skipped; no single bad
file stops the others. At any time one document is in memory.

The format of a file follows from its name; a file without a telling name is looked into. Every
reader of a format is a generator over one `Opened` file that yields `Located` documents and
`Problem`s. The formats that need a library are in `rich_formats`.

Document ids come from the file where it has them. Else an id is the path of the file, relative to
the source that was given (the file's own name where that is a file), and for one of several
documents in a file also its line: ``notes/lakes.md``, ``lakes.jsonl:17``. They depend neither on
the working directory nor on where the source lies, so that the same source gives the same ids.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from openrealm.corpus.files import (
    READ_ERRORS,
    TOO_LONG,
    Line,
    SourceFile,
    explain,
    find_files,
    open_stream,
    read_lines,
    read_whole,
)
from openrealm.corpus.records import Document, IdSet, Problem, duplicate
from openrealm.corpus.rich_formats import join_wrapped_lines
from openrealm.progress import Progress, Silent


def read_documents(
    sources: Sequence[Path],
    *,
    on_problem: Callable[[Problem], None],
    progress: Progress | None = None,
) -> Iterator[Document]:
    """The documents of files and folders, in the order given and, inside a folder, sorted by path.

    Args:
        sources: Files and folders; hidden files in folders are passed over.
        on_problem: Called for every file, line or document that cannot be used. What it raises
            ends the reading.
        progress: Told the bytes read, as they lie in the files.

    Raises:
        MissingDependencyError: A file needs a library that is not installed.
    """
    files = find_files(sources)
    total = sum(file.size_bytes for file in files if isinstance(file, SourceFile))
    seen = IdSet()
    with (progress or Silent()).task("reading", total=total, unit="B") as task:
        for file in files:
            if isinstance(file, Problem):
                on_problem(file)
                continue
            done = 0
            for entry in read_file(file):
                if isinstance(entry, Problem):
                    on_problem(entry)
                    continue
                task.advance(entry.position - done)
                done = entry.position
                document = entry.document
                if seen.add(document.id):
                    yield document
                else:
                    on_problem(Problem(file.shown, entry.line, duplicate(document.id)))
            task.advance(file.size_bytes - done)


_PEEK_BYTES = 1 << 13
_JSON_SUFFIXES = (".jsonl", ".ndjson")
_TEXT_SUFFIXES = (".txt", ".text", "")
_TEXT_FIELDS = ("text", "contents", "body")
_LINE_BREAKS = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_TO_NEWLINE = str.maketrans(dict.fromkeys(_LINE_BREAKS, "\n"))
_DOC_LINE = re.compile(r"<doc\s+(.*)>\s*\Z")
_ATTRIBUTE = re.compile(r'(\w+)="(.*?)"(?=\s+\w+="|\s*\Z)')
_MAX_DOC_LINE = 1 << 12
_DPR_HEADER = ["id", "text", "title"]


@dataclass(frozen=True, slots=True)
class Located:
    """A document, the line where it begins (None: the whole file), and the bytes read so far."""

    document: Document
    line: int | None
    position: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A file, its bytes without compression, and the file on disk whose position shows progress."""

    file: SourceFile
    stream: io.BufferedReader
    raw: IO[bytes]

    def lines(self) -> Iterator[Line]:
        """The file's lines; see `read_lines`."""
        return read_lines(self.stream, self.raw)

    def problem(self, line: int | None, reason: str) -> Problem:
        """A problem with this file."""
        return Problem(self.file.shown, line, reason)


Found = Located | Problem
Reader = Callable[[Opened], Iterator[Found]]


def read_file(file: SourceFile) -> Iterator[Found]:
    """The documents of one file and the problems with it.

    Raises:
        MissingDependencyError: The format needs a library that is not installed.
    """
    try:
        stream, raw = open_stream(file)
    except READ_ERRORS as error:
        yield Problem(file.shown, None, explain(error))
        return
    with closing(raw), closing(stream):
        opened = Opened(file, stream, raw)
        try:
            reader = _choose_reader(opened)
            if isinstance(reader, Problem):
                yield reader
            else:
                yield from reader(opened)
        except READ_ERRORS as error:
            yield opened.problem(None, explain(error))


def _choose_reader(opened: Opened) -> Reader | Problem:
    from openrealm.corpus.rich_formats import READERS

    suffix = opened.file.suffix
    if suffix in READERS:
        return _whole_file(READERS[suffix])
    if suffix not in (*_JSON_SUFFIXES, *_TEXT_SUFFIXES, ".tsv"):
        return opened.problem(None, f"'{suffix}' is not a known format")
    head = opened.stream.peek(_PEEK_BYTES)[:_PEEK_BYTES]
    if b"\0" in head:
        return opened.problem(None, "a binary file (it has NUL bytes)")
    if suffix in _JSON_SUFFIXES:
        return read_json_lines
    if suffix == ".tsv":
        return read_passage_table
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<doc "):
        return read_wiki_extractor
    if not suffix and head.startswith(b"{") and b'"text"' in head:
        return read_json_lines  # `wikiextractor --json` gives its files no suffix
    return read_plain_text


def tidy(text: str) -> str:
    r"""The text with every kind of line break as ``\n``."""
    if any(mark in text for mark in _LINE_BREAKS):
        text = text.replace("\r\n", "\n").translate(_TO_NEWLINE)
    return text


def fault_of(text: str) -> str:
    """Why this cannot be the text of a document; empty where it can."""
    if "\0" in text:
        return "the text has a NUL character"
    return "" if text and not text.isspace() else "the text is empty"


def read_plain_text(opened: Opened) -> Iterator[Found]:
    """One document with the file's name as its title."""
    yield from _whole_file(_plain_text)(opened)


def _plain_text(data: bytes, file: SourceFile) -> tuple[str, str]:
    return file.title, join_wrapped_lines(tidy(data.decode("utf-8")))


def _whole_file(convert: Callable[[bytes, SourceFile], tuple[str, str]]) -> Reader:
    """A reader of files that are one document; ``convert`` gives its title and text.

    ``convert`` raises ValueError with the reason where it cannot; UnicodeDecodeError is one.
    """

    def read(opened: Opened) -> Iterator[Found]:
        file = opened.file
        data = read_whole(opened.stream)
        if data is None:
            yield opened.problem(None, TOO_LONG.format(what="file"))
            return
        try:
            title, text = convert(data, file)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1 if error.object == data else None
            yield opened.problem(line, explain(error))
            return
        except ValueError as error:
            yield opened.problem(None, str(error))
            return
        text = tidy(text)
        if fault := fault_of(text):
            line = text.count("\n", 0, text.find("\0")) + 1 if "\0" in text else None
            yield opened.problem(line, fault)
            return
        document = Document(file.name, " ".join(title.split()), text, file.origin)
        yield Located(document, None, opened.raw.tell())

    return read


def read_json_lines(opened: Opened) -> Iterator[Found]:
    """One document a line: ``id`` or ``_id``; ``title``; ``text``, ``contents`` or ``body``."""
    for line in opened.lines():
        if line.text is None:
            yield opened.problem(line.number, line.fault)
        elif line.text and not line.text.isspace():
            try:
                document = _json_document(line, opened.file)
            except ValueError as error:
                yield opened.problem(line.number, str(error))
            else:
                yield Located(document, line.number, line.position)


def _json_document(line: Line, file: SourceFile) -> Document:
    assert line.text is not None
    values = _parse_json(line.text)
    text = tidy(_text_field(values))
    title = values.get("title")
    number = values.get("id", values.get("_id"))
    for name, value in (("title", title), ("id", number)):
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise ValueError(f"'{name}' is a {type(value).__name__}, not a string")
    if fault := fault_of(text):
        raise ValueError(fault)
    document_id = "" if number is None else str(number).strip()
    title = "" if title is None else " ".join(str(title).split())
    if "\\u" in line.text and not all(map(_is_unicode, (text, title, document_id))):
        raise ValueError("a string has half of a surrogate pair, which is no character")
    return Document(document_id or f"{file.name}:{line.number}", title, text, file.origin)


def _parse_json(text: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON ({error.msg} at column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("broken JSON (nested too deeply)") from error
    if not isinstance(values, dict):
        raise ValueError(f"a JSON object is expected, not a {type(values).__name__}")
    return values


def _text_field(values: Mapping[str, Any]) -> str:
    for name in _TEXT_FIELDS:
        value = values.get(name)
        if isinstance(value, str):
            return value
        if value is not None:
            raise ValueError(f"'{name}' is a {type(value).__name__}, not a string")
    raise ValueError("no text (a field 'text', 'contents' or 'body')")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_passage_table(opened: Opened) -> Iterator[Found]:
    """DPR's ``psgs_w100.tsv``: id, text and title with tabs between, quoted as in CSV."""
    for line in opened.lines():
        if line.text is None:
            yield opened.problem(line.number, line.fault)
            continue
        try:
            # A line at a time: one stray quotation mark must not swallow the rest of the file.
            fields = next(csv.reader([line.text], delimiter="\t"), [])
        except csv.Error as error:
            yield opened.problem(line.number, f"broken table line ({error})")
            continue
        if line.number == 1:
            if fields != _DPR_HEADER:
                yield opened.problem(1, "not a passage table (first line: id, text, title)")
                return
        elif fields:
            yield _passage(opened, line, fields)


def _passage(opened: Opened, line: Line, fields: list[str]) -> Found:
    if len(fields) != len(_DPR_HEADER):
        return opened.problem(line.number, f"{len(fields)} fields; a passage has 3")
    number, text, title = (field.strip() for field in fields)
    if fault := fault_of(text):
        return opened.problem(line.number, fault)
    file = opened.file
    document = Document(number or f"{file.name}:{line.number}", title, tidy(text), file.origin)
    return Located(document, line.number, line.position)


def read_wiki_extractor(opened: Opened) -> Iterator[Found]:
    """WikiExtractor's ``<doc id="..." title="..."> ... </doc>``.

    The first line inside repeats the title and is dropped. Entities (``&amp;``) are resolved.
    """
    start: Line | None = None
    attributes: dict[str, str] = {}
    body: list[str] = []
    fault = ""
    line = Line(0, "", 0)
    for line in opened.lines():
        text = line.text
        if start is None and text is not None and not text.strip():
            continue
        opening = _DOC_LINE.match(text) if text and len(text) < _MAX_DOC_LINE else None
        if opening:
            if start is not None:
                yield opened.problem(start.number, "a <doc> without </doc>")
            start, body, fault = line, [], ""
            attributes = {k: html.unescape(v) for k, v in _ATTRIBUTE.findall(opening.group(1))}
        elif start is None or text is None:
            yield opened.problem(line.number, line.fault or "text outside of <doc> ... </doc>")
            fault = "broken"
        elif text.strip() == "</doc>":
            if not fault:
                yield _article(opened, start, attributes, body, line.position)
            start = None
        else:
            body.append(text)
    if start is not None and not line.fault:
        yield opened.problem(start.number, "a <doc> without </doc>")


def _article(
    opened: Opened, start: Line, attributes: Mapping[str, str], body: list[str], position: int
) -> Found:
    title = " ".join(attributes.get("title", "").split())
    lines = [html.unescape(line) for line in body]
    if lines and lines[0].strip() == title:
        lines = lines[1:]
    text = tidy("\n".join(line for line in lines if line.strip()))
    if fault := fault_of(text):
        return opened.problem(start.number, fault)
    file = opened.file
    document_id = attributes.get("id", "").strip() or f"{file.name}:{start.number}"
    return Located(Document(document_id, title, text, file.origin), start.number, position)
