"""Write the almanac's data files from the fact tables: ``python almanac/build.py [--check]``.

Without an option the files under ``src/openrealm/almanac`` are rewritten, the same bytes on every
machine. With ``--check`` nothing is written and the exit status is 1 when a file is not what the
tables give.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from generator.articles import Facts, write_articles
from generator.asking import Query, ask, ask_again

TARGET = Path(__file__).resolve().parent.parent / "src" / "openrealm" / "almanac"


def render() -> dict[str, str]:
    """Return the content of every data file by its name."""
    facts = Facts()
    articles = write_articles(facts)
    queries, questions = ask(facts, articles)
    return {
        "articles.jsonl": lines({"id": a.id, "title": a.title, "text": a.text} for a in articles),
        "queries.jsonl": query_lines(queries, letter="q"),
        "queries.second.jsonl": query_lines(ask_again(facts, articles), letter="s"),
        **{
            f"questions.{part}.jsonl": lines(
                {"question": question.text, "answer": list(question.answers)}
                for question in questions
                if question.part == part
            )
            for part in ("train", "dev")
        },
    }


def query_lines(queries: Sequence[Query], *, letter: str) -> str:
    """Return held-out queries as JSON lines, with ids of a letter and a number."""
    return lines(
        {
            "id": f"{letter}{number:04}",
            "text": query.text,
            "relation": query.relation,
            "subject": query.named,
            "answers": list(query.answers),
            "gold": list(query.gold),
        }
        for number, query in enumerate(queries, start=1)
    )


def lines(records: Iterable[Mapping[str, object]]) -> str:
    """Return the records as JSON lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write(path: Path, content: str) -> None:
    """Replace a file in one step."""
    staged = path.with_name(path.name + ".new")
    staged.write_text(content, encoding="utf-8", newline="\n")
    os.replace(staged, path)


def stale_files(files: Mapping[str, str]) -> list[str]:
    """Return the names of the data files that are missing or differ from ``files``."""
    return [
        name
        for name, content in files.items()
        if not (TARGET / name).is_file() or (TARGET / name).read_bytes() != content.encode()
    ]


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the almanac from its fact tables.")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args().check
    files = render()
    stale = stale_files(files)
    if check:
        for name in stale:
            print(f"{name} is not what the tables give; run: python almanac/build.py")
        return 1 if stale else 0
    for name in stale:
        write(TARGET / name, files[name])
    print(*(f"{name}: {text.count(chr(10))} lines" for name, text in files.items()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
