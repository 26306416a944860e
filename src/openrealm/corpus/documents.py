"""Documents out of files and folders, one after another; knows nothing of tokens or stores.

What cannot be used is reported as a `Problem` with its file and line, and skipped; no single bad
file stops the others. At any time one document is in memory. The formats are in `formats`.

Document ids come from the file where it has them. Else an id is the path of the file, relative to
the source that was given (the file's own name where that is a file), and for one of several
documents in a file also its line: ``notes/lakes.md``, ``lakes.jsonl:17``. They depend neither on
the working directory nor on where the source lies, so that the same source gives the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from openrealm.corpus.files import SourceFile, find_files
from openrealm.corpus.formats import read_file
from openrealm.corpus.identity import IdSet
from openrealm.corpus.records import Document, Problem, duplicate
from openrealm.progress import Progress, Silent

__all__ = ["Document", "Problem", "read_documents"]


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
    found = find_files(sources)
    total = sum(item.size_bytes for item in found if isinstance(item, SourceFile))
    seen = IdSet()
    with (progress or Silent()).task("reading", total=total, unit="B") as task:
        for item in found:
            if isinstance(item, Problem):
                on_problem(item)
                continue
            done = 0
            for entry in read_file(item):
                if isinstance(entry, Problem):
                    on_problem(entry)
                    continue
                task.advance(entry.position - done)
                done = entry.position
                document = entry.document
                if seen.add(document.id):
                    yield document
                else:
                    on_problem(Problem(item.shown, entry.line, duplicate(document.id)))
            task.advance(item.size_bytes - done)
