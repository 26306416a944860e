"""Articles and their passages; knows neither questions nor models."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import zstandard

from openrealm.corpus.sentences import split_sentences
from openrealm.data.matching import answer_words


@dataclass(frozen=True)
class Article:
    """A titled text."""

    title: str
    text: str

    def passages(self, *, max_words: int = 100) -> list[str]:
        """Runs of whole sentences of at most so many words, from one end to the other."""
        packed: list[list[int]] = []
        room = 0
        for start, stop in split_sentences(self.text):
            words = self.text.count(" ", start, stop) + 1
            if words > room or not packed:
                packed.append([start, stop])
                room = max_words
            packed[-1][1] = stop
            room -= words
        return [self.text[start:stop].strip() for start, stop in packed]


@dataclass(frozen=True)
class Passage:
    """A piece of an article with its words, which are made when first asked for."""

    text: str

    @cached_property
    def words(self) -> list[str]:
        """Its words in order, as answers are compared with them."""
        return answer_words(self.text)


def read_articles(paths: Iterable[Path], *, limit: int = 0) -> Iterator[Article]:
    """The articles of files of JSON lines under zstd, at most `limit` of each file."""
    for path in paths:
        with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as raw:
            for number, line in enumerate(io.TextIOWrapper(raw, encoding="utf-8")):
                if limit and number >= limit:
                    break
                record = json.loads(line)
                yield Article(record["title"], record["text"])
