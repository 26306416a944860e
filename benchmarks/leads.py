"""The beginnings of many articles instead of a few whole ones: a Wikipedia that two cores can do.

    python benchmarks/leads.py wiki/*.jsonl.zst --characters 600 --to leads.jsonl

Every article is cut at the last sentence that ends within so many characters (at the first one
where none does). What an article is about stands at its beginning, so that questions about any
subject keep a chance.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from openrealm.corpus.documents import read_documents
from openrealm.corpus.sentences import split_sentences


def lead(text: str, characters: int) -> str:
    """The first sentences of a text."""
    spans = split_sentences(text[: 4 * characters])
    stop = spans[0][1] if spans else 0
    for _, end in spans:
        if end <= characters:
            stop = end
    return text[:stop]


def main() -> None:
    """Writes one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--characters", type=int, default=600)
    parser.add_argument("--to", type=Path, required=True)
    arguments = parser.parse_args()
    num = 0
    with open(arguments.to, "w", encoding="utf-8") as target:
        for document in read_documents(arguments.sources, on_problem=print):
            text = lead(document.text, arguments.characters)
            record = {"id": document.id, "title": document.title, "text": text}
            target.write(json.dumps(record, ensure_ascii=False) + "\n")
            num += 1
    print(f"{num:,} articles, {arguments.to.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
