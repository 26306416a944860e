"""Speed of the salient-span taggers on a folder of text, and what they find of a marked sample.

    python benchmarks/salient.py SOURCE... [--sample tests/data/salient_sample.jsonl]

SOURCE is anything that `openrealm ingest` reads. Speeds are per second of processor time of one
process, on the first ``--megabytes`` of text, from which the rules also learn the corpus's names.
Precision and recall are of spans that equal a marked one; in brackets, of spans that share a
character with one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openrealm.corpus.documents import read_documents
from openrealm.corpus.sentences import split_sentences
from openrealm.data.salient import RandomTagger, RuleTagger
from openrealm.data.spans import SpanTagger

SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "salient_sample.jsonl"


def main() -> None:
    """Prints one line for building the rules and one for each tagger."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--sample", type=Path, default=SAMPLE)
    parser.add_argument("--megabytes", type=float, default=20.0, help="how much text to read")
    arguments = parser.parse_args()

    texts, titles = _read(arguments.source, int(arguments.megabytes * 1e6))
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts):,} documents, {size / 1e6:.1f} MB")
    start = time.process_time()
    rules = RuleTagger.from_texts(texts, titles)
    seconds = time.process_time() - start
    saved = len(json.dumps(rules.to_dict()))
    print(
        f"learned in {seconds:.1f} s, {size / 1e6 / seconds:.1f} MB/s; {saved / 1e6:.1f} MB saved"
    )

    with arguments.sample.open(encoding="utf-8") as file:
        sample = [json.loads(line) for line in file]
    state = rules.to_dict()
    taggers: dict[str, SpanTagger] = {
        "rules": rules,
        "rules, terms=never": RuleTagger.from_dict({**state, "terms": "never"}),
        "rules, no titles": RuleTagger.from_dict({**state, "terms": "never", "topics": []}),
        "rules, no corpus": RuleTagger(),
        "random tokens": RandomTagger("tokens", seed=0),
        "random spans": RandomTagger("spans", seed=0),
    }
    for name, tagger in taggers.items():
        print(f"{name:20s} {_speed(tagger, texts)}   {_agreement(tagger, sample)}")


def _read(sources: Sequence[Path], limit: int) -> tuple[list[str], list[str]]:
    texts, titles, size = [], [], 0
    for document in read_documents(sources, on_problem=lambda _: None):
        texts.append(document.text)
        titles.append(document.title)
        size += len(document.text)
        if size >= limit:
            break
    return texts, titles


def _speed(tagger: SpanTagger, texts: Sequence[str]) -> str:
    paragraphs = [line for text in texts for line in text.split("\n") if line]
    tagger.tag(paragraphs[:100])  # patterns are compiled on first use
    start = time.process_time()
    found = tagger.tag(paragraphs)
    seconds = time.process_time() - start
    size = sum(len(paragraph.encode()) for paragraph in paragraphs) / 1e6
    sentences = sum(len(split_sentences(paragraph)) for paragraph in paragraphs)
    spans = sum(map(len, found))
    return f"{size / seconds:5.2f} MB/s, {spans / sentences:.2f} spans a sentence"


def _agreement(tagger: SpanTagger, sample: Sequence[dict[str, Any]]) -> str:
    exact = touching = touched = predicted = marked = 0
    for record in sample:
        gold = {(start, stop) for start, stop, _ in record["spans"]}
        found = {(span.start, span.stop) for span in tagger.tag([record["text"]])[0]}
        predicted, marked, exact = (
            predicted + len(found),
            marked + len(gold),
            exact + len(found & gold),
        )
        touching += sum(any(a < d and c < b for c, d in gold) for a, b in found)
        touched += sum(any(a < d and c < b for c, d in found) for a, b in gold)
    figures = []
    for right, recalled in ((exact, exact), (touching, touched)):
        precision, recall = right / max(predicted, 1), recalled / marked
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        figures.append((precision, recall, f1))
    (p, r, f), (op, orr, of) = figures
    return f"P {p:.3f} ({op:.3f})  R {r:.3f} ({orr:.3f})  F1 {f:.3f} ({of:.3f})"


if __name__ == "__main__":
    main()
