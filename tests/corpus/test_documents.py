"""Tests of reading several sources: order, problems that end the reading, progress, real data."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import zstandard

from openrealm.corpus.documents import Problem, read_documents
from openrealm.corpus.records import ProblemLog
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
