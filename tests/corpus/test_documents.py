"""Tests of reading documents: the formats that need no library (plain text, JSON Lines, tables,
WikiExtractor), several sources in their order, problems that end the reading, progress, real data.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import zstandard

from openrealm.corpus import files
from openrealm.corpus.documents import read_documents
from openrealm.corpus.records import Document, Problem, ProblemLog
from openrealm.errors import InputError


class Watching:
    """Progress that adds up."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.steps: list[int] = []

    def task(self, label: str, *, total: int | None, unit: str = "", done: int = 0) -> Self:
        self.total = total
        return self

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        self.steps.append(amount)

    def say(self, text: str) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def test_sources_are_read_in_the_order_given(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.md", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Text.")
    sources = [tmp_path / "b", tmp_path / "a.txt"]
    ids = [d.id for d in read_documents(sources, on_problem=ProblemLog())]
    assert ids == ["1.md", "2.txt", "a.txt"]


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "text": "One."}\nbroken\n')
    log = ProblemLog()
    documents = read_documents([path], on_problem=log)
    assert next(documents).id == "1"
    assert log.num_problems == 0
    assert list(documents) == []
    assert log.num_problems == 1


def test_what_the_handler_of_problems_raises_ends_the_reading(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").write_text("B.")

    def strict(problem: Problem) -> None:
        raise InputError(str(problem))

    with pytest.raises(InputError, match=r"a\.txt: the file is empty"):
        list(read_documents([tmp_path], on_problem=strict))


def test_an_error_of_the_system_in_the_handler_is_not_taken_for_one_of_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jsonl").write_text("broken\n")

    def failing(problem: Problem) -> None:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="terminal"):
        list(read_documents([tmp_path], on_problem=failing))


@pytest.mark.parametrize("compressed", [False, True])
def test_progress_counts_the_bytes_on_disk_to_the_last(tmp_path: Path, compressed: bool) -> None:
    data = b"".join(b'{"id": %d, "text": "Text."}\n' % n for n in range(20_000)) + b"broken"
    path = tmp_path / ("a.jsonl.zst" if compressed else "a.jsonl")
    path.write_bytes(zstandard.compress(data) if compressed else data)
    (tmp_path / "b.txt").write_text("Text.")
    (tmp_path / "c.bin").write_bytes(b"1234")
    progress = Watching()
    list(read_documents([tmp_path], on_problem=ProblemLog(), progress=progress))
    assert sum(progress.steps) == progress.total == path.stat().st_size + 5 + 4
    assert min(progress.steps) >= 0


def test_a_log_counts_all_keeps_the_first_and_passes_all_on() -> None:
    passed: list[Problem] = []
    log = ProblemLog(passed.append, keep=2)
    for number in range(5):
        log(Problem("f", number, "why"))
    assert (log.num_problems, len(log.problems), len(passed)) == (5, 2, 5)


def test_a_problem_reads_as_place_and_reason() -> None:
    assert str(Problem("a.jsonl", 3, "no text")) == "a.jsonl:3: no text"
    assert str(Problem("a.txt", None, "no text")) == "a.txt: no text"


@pytest.mark.parametrize(("name", "count"), [("cranfield", 1398), ("cisi", 1460)])
def test_real_beir_folders_are_read_whole(shared_data: Path, name: str, count: int) -> None:
    log = ProblemLog()
    documents = list(read_documents([shared_data / "data" / "beir" / name], on_problem=log))
    assert len(documents) == count
    assert log.problems == []
    assert all(document.text for document in documents)


def read(*sources: Path) -> tuple[list[Document], list[Problem]]:
    problems: list[Problem] = []
    return list(read_documents(sources, on_problem=problems.append)), problems


def write(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def reasons(problems: list[Problem]) -> list[tuple[int | None, str]]:
    return [(problem.line, problem.reason) for problem in problems]


def test_plain_text_is_one_document_named_after_its_file(tmp_path: Path) -> None:
    write(tmp_path / "notes" / "my_lakes.txt", "\ufeffThe lake.\r\nIt is deep.\x0cNext.")
    assert read(tmp_path / "notes") == (
        [
            Document(
                "my_lakes.txt", "my lakes", "The lake.\nIt is deep.\nNext.", "notes/my_lakes.txt"
            )
        ],
        [],
    )


def test_a_text_without_suffix_is_read_and_other_suffixes_are_not(tmp_path: Path) -> None:
    write(tmp_path / "README", "Read me.")
    write(tmp_path / "image.png", b"\x89PNG\r\n\x1a\n\0\0")
    write(tmp_path / "table.csv", "a,b")
    documents, problems = read(tmp_path)
    assert [d.id for d in documents] == ["README"]
    assert [p.reason for p in problems] == [
        "'.png' is not a known format",
        "'.csv' is not a known format",
    ]


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"MZ\0\1binary", None, "a binary file (it has NUL bytes)"),
        (b"one\ntwo\xfc\n", 2, "not UTF-8 (byte 0xfc)"),
        ("wide".encode("utf-16"), None, "a binary file (it has NUL bytes)"),
        (b" \n\t\n", None, "the text is empty"),
        (b"\xef\xbb\xbf", None, "the text is empty"),
        (b"x" * 9000 + b"\n\0", 2, "the text has a NUL character"),
    ],
)
def test_text_that_cannot_be_used_is_a_problem(
    tmp_path: Path, data: bytes, line: int | None, reason: str
) -> None:
    path = write(tmp_path / "a.txt", data)
    assert read(path) == ([], [Problem(str(path), line, reason)])


def test_a_file_that_is_too_long_for_one_document_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 10)
    documents, problems = read(write(tmp_path / "a.txt", "x" * 11))
    assert documents == []
    assert "longer than" in problems[0].reason
    assert len(read(write(tmp_path / "a.txt", "x" * 10))[0]) == 1


def test_json_lines_are_read_with_all_the_names_of_fields(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "title": "A  title", "text": "Text.", "url": "x"},
        {"_id": 7, "title": None, "contents": "Seven."},
        {"body": "No id."},
        {"id": " ", "title": 1984, "text": "Blank id."},
    ]
    path = write(tmp_path / "x.jsonl", "\n\n".join(map(json.dumps, lines)))
    assert read(path)[0] == [
        Document("a", "A title", "Text.", "x.jsonl"),
        Document("7", "", "Seven.", "x.jsonl"),
        Document("x.jsonl:5", "", "No id.", "x.jsonl"),
        Document("x.jsonl:7", "1984", "Blank id.", "x.jsonl"),
    ]


BAD_LINES = [
    (b'{"id": 1, "text": "x"', "broken JSON"),
    (b"[1, 2]", "a JSON object is expected, not a list"),
    (b'{"id": 1}', "no text"),
    (b'{"id": 1, "text": ""}', "the text is empty"),
    (b'{"id": 1, "text": " \\n"}', "the text is empty"),
    (b'{"id": 1, "text": 5}', "'text' is a int, not a string"),
    (b'{"id": {"a": 1}, "text": "x"}', "'id' is a dict, not a string"),
    (b'{"id": true, "text": "x"}', "'id' is a bool, not a string"),
    (b'{"id": 1, "title": ["x"], "text": "x"}', "'title' is a list, not a string"),
    (b'{"id": 1, "text": "a\\u0000b"}', "the text has a NUL character"),
    (b'{"id": 1, "text": "a\\ud800b"}', "half of a surrogate pair"),
    (b'{"id": "\\udfff", "text": "x"}', "half of a surrogate pair"),
    (b'{"id": 1, "title": "\\ud83d", "text": "x"}', "half of a surrogate pair"),
    (b'{"id": 1, "text": "\xff"}', "not UTF-8"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"id": ' + b"9" * 5000 + b', "text": "x"}', "digits"),
    (b"\0", "broken JSON"),
    (b"not json", "broken JSON"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_line_is_one_problem_and_the_others_are_read(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    good = [b'{"id": "%d", "text": "Good."}' % n for n in range(300)]
    path = write(
        tmp_path / "x.jsonl", b"\n".join([*good, line, b'{"id": "last", "text": "Good."}'])
    )
    documents, problems = read(path)
    assert len(documents) == 301
    assert documents[-1].id == "last"
    assert [(p.source, p.line) for p in problems] == [(str(path), 301)]
    assert reason in problems[0].reason


def test_whole_surrogate_pairs_and_escapes_are_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", '{"id": "\\u00e4", "text": "\\ud83d\\ude00 \\u2028 x"}')
    (document,) = read(path)[0]
    assert (document.id, document.text) == ("ä", "\U0001f600 \n x")


def test_a_second_document_with_the_same_id_is_a_problem_with_its_line(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"id": 1, "text": "One."}\n{"id": "1", "text": "Two."}\n')
    write(tmp_path / "b.jsonl", '{"id": "1", "text": "Three."}\n')
    documents, problems = read(tmp_path)
    assert [d.text for d in documents] == ["One."]
    assert [(Path(p.source).name, p.line) for p in problems] == [("a.jsonl", 2), ("b.jsonl", 1)]
    assert problems[0].reason == "duplicate id: a document '1' came before"


def test_a_passage_table_is_read_with_csv_quoting(tmp_path: Path) -> None:
    path = write(
        tmp_path / "psgs_w100.tsv",
        'id\ttext\ttitle\n1\t"Aaron is ""a"" prophet\t, he is"\tAaron\n2\tPlain "text".\tB\n',
    )
    assert read(path) == (
        [
            Document("1", "Aaron", 'Aaron is "a" prophet\t, he is', "psgs_w100.tsv"),
            Document("2", "B", 'Plain "text".', "psgs_w100.tsv"),
        ],
        [],
    )


def test_bad_lines_of_a_passage_table_are_problems(tmp_path: Path) -> None:
    rows = ["id\ttext\ttitle", "1\tone\tA", "2\ttwo", "", '3\t"open\tC', "4\t\tD", "5\tfive\tE"]
    path = write(tmp_path / "p.tsv", "\n".join(rows).encode() + b"\n6\t\xff\tF\n" + b"7\tx\tG")
    documents, problems = read(path)
    assert [d.id for d in documents] == ["1", "5", "7"]
    assert reasons(problems) == [
        (3, "2 fields; a passage has 3"),
        (5, "2 fields; a passage has 3"),
        (6, "the text is empty"),
        (8, "not UTF-8 (byte 0xff)"),
    ]


def test_a_field_that_csv_refuses_is_a_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv", "id\ttext\ttitle\n1\t" + "x" * 200_000 + "\tA\n2\tb\tB\n")
    documents, problems = read(path)
    assert [d.id for d in documents] == ["2"]
    assert problems[0].line == 2


def test_another_table_is_one_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", "query-id\tcorpus-id\tscore\n1\t2\t3\n")
    assert reasons(read(path)[1]) == [(1, "not a passage table (first line: id, text, title)")]


WIKI = """<doc id="12" url="https://x/?a=1&amp;b" title="Anarchism &amp; &quot;Order&quot;">
Anarchism & "Order"

It is a theory &lt;of sorts&gt;.

History.
It began early.
</doc>
<doc id="13" url="y" title="Empty">
Empty

</doc>
<doc id="14" title="Last">
A text without the title.
</doc>
"""


def test_wiki_extractor_files_are_read_whatever_their_name(tmp_path: Path) -> None:
    text = "It is a theory <of sorts>.\nHistory.\nIt began early."
    for name in ("AA/wiki_00", "wiki.txt"):
        path = write(tmp_path / name, WIKI)
        documents, problems = read(path)
        assert documents == [
            Document("12", 'Anarchism & "Order"', text, path.name),
            Document("14", "Last", "A text without the title.", path.name),
        ]
        assert reasons(problems) == [(9, "the text is empty")]


def test_the_json_form_of_wiki_extractor_is_read_without_a_suffix(tmp_path: Path) -> None:
    line = json.dumps({"id": "12", "revid": "1", "url": "u", "title": "A", "text": "Text."})
    assert read(write(tmp_path / "wiki_00", line + "\n"))[0] == [
        Document("12", "A", "Text.", "wiki_00")
    ]


def test_broken_wiki_extractor_files_lose_only_what_is_broken(tmp_path: Path) -> None:
    data = (
        b'<doc id="1" title="A">\nOne.\n'  # no end
        b'<doc id="2" title="B">\nTwo.\n</doc>\n'
        b"stray\n"
        b'<doc id="3" title="C">\nThr\xffee.\n</doc>\n'
        b'<doc title="D">\nFour.\n</doc>\n'
        b'<doc id="5" title="E">\nFive.\n'
    )
    documents, problems = read(write(tmp_path / "wiki_00", data))
    assert [d.id for d in documents] == ["2", "wiki_00:10"]
    assert reasons(problems) == [
        (1, "a <doc> without </doc>"),
        (6, "text outside of <doc> ... </doc>"),
        (8, "not UTF-8 (byte 0xff)"),
        (13, "a <doc> without </doc>"),
    ]


def test_a_file_that_starts_like_json_but_is_text_stays_text(tmp_path: Path) -> None:
    (document,) = read(write(tmp_path / "note", "{curly} notes"))[0]
    assert document.text == "{curly} notes"


def test_an_unreadable_file_is_a_problem_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.txt", "A.")
    write(tmp_path / "b.txt", "B.")

    def deny(path: Path, *_: object) -> object:
        if Path(path).name == "a.txt":
            raise PermissionError(13, "Permission denied")
        return open(path, "rb")

    monkeypatch.setattr(files, "open", deny, raising=False)
    documents, problems = read(tmp_path)
    assert [d.id for d in documents] == ["b.txt"]
    assert reasons(problems) == [(None, "the file may not be read (permission denied)")]


def test_a_disk_error_while_reading_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.txt", "A.")

    class Failing(files.io.BufferedReader):
        def peek(self, _: int = 0) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.io, "BufferedReader", Failing)
    assert "Input/output error" in read(path)[1][0].reason
