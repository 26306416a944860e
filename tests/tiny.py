"""A world small enough for tests: forty documents, a vocabulary, a model of two layers.

Facts are told twice, in two documents of other words, so that a masked fact can be found elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.data.pretraining import MaskedQueries, MaskedQuery, SpanTable
from openrealm.data.qa import Question
from openrealm.data.spans import Span
from openrealm.index.mips import ExactIndex
from openrealm.models.inputs import Inputs, Templates
from openrealm.models.pretrained import build_model
from openrealm.models.realm import Realm
from openrealm.progress import Silent
from openrealm.retrieval import embedding
from openrealm.retrieval.embedding import TextEncoder, embed_rows
from openrealm.retrieval.lexical import BM25
from openrealm.retrieval.live_index import LiveIndex
from openrealm.retrieval.retriever import Lexical, Retriever
from openrealm.settings import (
    BertShape,
    ChunkingConfig,
    EmbedderConfig,
    ModelConfig,
    RetrievalConfig,
    SpanHeadConfig,
)
from openrealm.tokenizer import WordPiece
from openrealm.training.probe import HeldOutProbe
from openrealm.training.stage import Ingredients

CITIES = {
    "Aldera": ("Norland", "Tamsin", "1204"),
    "Bresk": ("Ostmark", "Velle", "1377"),
    "Cazimir": ("Palvia", "Orin", "1490"),
    "Dunmore": ("Quenta", "Sable", "1512"),
    "Elvast": ("Rhodia", "Mirn", "1633"),
    "Farholm": ("Sundra", "Kesh", "1701"),
    "Gildan": ("Tarvos", "Lune", "1745"),
    "Hathor": ("Ustria", "Pell", "1788"),
    "Ilmar": ("Vandia", "Ravel", "1802"),
    "Jorvik": ("Wessany", "Noor", "1819"),
    "Kestrel": ("Xandria", "Toma", "1850"),
    "Lorient": ("Yvaine", "Brand", "1866"),
}
QUERY_TOKENS, CHUNK_TOKENS = 24, 32


def documents() -> list[Document]:
    """Three documents for each city."""
    found = []
    for city, (country, river, year) in CITIES.items():
        found += [
            Document(
                id=f"city-{city}",
                title=city,
                text=f"{city} is the capital of {country}. The old town lies on the river "
                f"{river}. It was founded in {year} by a king of {country}. Many people visit "
                f"{city} in summer, when the river {river} is warm.",
                source="tiny",
            ),
            Document(
                id=f"country-{country}",
                title=country,
                text=f"The country of {country} is governed from {city}. Its longest river is "
                f"called {river}. Ships sail on the {river} as far as {city}.",
                source="tiny",
            ),
            Document(
                id=f"year-{year}",
                title=f"The year {year}",
                text=f"In {year} a king built the town of {city}. The people of {country} still "
                f"remember the year {year}.",
                source="tiny",
            ),
        ]
    return found


def tokenizer_of(texts: Sequence[str]) -> WordPiece:
    """A vocabulary in which every word of the world is one token."""
    return WordPiece.train(texts, vocab_size=400)


def make_store(
    directory: Path,
    found: Sequence[Document],
    tokenizer: WordPiece,
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    min_chunk_tokens: int = 4,
) -> ChunkStore:
    """A chunk store of the documents."""
    chunking = ChunkingConfig(chunk_tokens=chunk_tokens, min_chunk_tokens=min_chunk_tokens)
    update_store(directory, add=found, tokenizer=tokenizer, chunking=chunking)
    return ChunkStore.open(directory)


class NameTagger:
    """Tags the names and years of the world, and two phrases of two words."""

    name = "names"
    fingerprint = "names-1"

    def __init__(self) -> None:
        self.num_tagged = 0
        names = {n for city, rest in CITIES.items() for n in (city, *rest)}
        self._names = sorted(names | {"old town", "longest river"})

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        self.num_tagged += len(texts)
        return [self._spans(text) for text in texts]

    def _spans(self, text: str) -> list[Span]:
        found = []
        for name in self._names:
            at = text.find(name)
            while at >= 0:
                found.append(Span(at, at + len(name), "entity"))
                at = text.find(name, at + 1)
        return sorted(found, key=lambda span: span.start)


def model_config(*, dropout: float = 0.0, shared: bool = True, **embedder: object) -> ModelConfig:
    """A shape that computes in a millisecond."""
    return ModelConfig(
        query_tokens=QUERY_TOKENS,
        bert=BertShape(
            layers=1, hidden=16, heads=2, intermediate=32, max_positions=64, dropout=dropout
        ),
        embedder=EmbedderConfig(dim=8, shared=shared, **embedder),  # type: ignore[arg-type]
        span_head=SpanHeadConfig(hidden=8, max_width=4),
    )


def log_p_everywhere(model: Realm, inputs: Inputs) -> torch.Tensor:
    """Log-probabilities ``(seq, vocab)`` of the masked LM at every place of one unpadded input."""
    logits = model.reader.masked_lm(inputs.packed())
    return logits.double().log_softmax(dim=-1).detach()


def ask(text: str, *answers: str, **more: object) -> Question:
    """A question."""
    return Question(id=text, text=text, answers=answers, **more)  # type: ignore[arg-type]


CAPITALS = [
    ask(f"what is the capital of {country}?", city) for city, (country, *_) in CITIES.items()
]


@dataclass(frozen=True)
class World:
    """The store with what belongs to it."""

    store: ChunkStore
    templates: Templates
    table: SpanTable

    @property
    def tokenizer(self) -> WordPiece:
        return self.store.tokenizer

    def model(
        self,
        *,
        seed: int = 0,
        dropout: float = 0.0,
        shared: bool = True,
        lively: bool = False,
        lexical_weight: float = 0.0,
    ) -> Realm:
        """A model with random weights, its dropout off.

        Small weights, as training begins with, make all chunks alike; those of a ``lively`` model
        are so large that scores and predictions differ clearly from chunk to chunk.
        """
        config = replace(
            model_config(dropout=dropout, shared=shared), lexical_weight=lexical_weight
        )
        tokenizer = self.tokenizer
        model = build_model(
            config, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id, seed=seed
        )
        if lively:
            draw = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() > 1:
                        parameter.normal_(std=0.5, generator=draw)
        model.eval()
        return model

    def parts(self, model: Realm, *, seed: int = 0) -> Ingredients:
        return Ingredients(
            model=model,
            encoder=self.encoder(model),
            corpus=self.store,
            texts=self.store,
            seed=seed,
        )

    def encoder(self, model: Realm, **options: Any) -> TextEncoder:
        return TextEncoder(model.embedder, self.tokenizer, self.templates, **options)

    def probe(self, model: Realm, queries: Sequence[MaskedQuery], **options: Any) -> HeldOutProbe:
        """What asks a model some masked sentences of the world."""
        return HeldOutProbe(
            model=model,
            encoder=self.encoder(model),
            queries=queries,
            corpus=self.store,
            texts=self.store,
            **options,
        )

    def queries(self, *, seed: int = 0, num_probe: int = 4) -> MaskedQueries:
        return MaskedQueries(
            self.store,
            self.table,
            seed=seed,
            query_tokens=QUERY_TOKENS,
            num_probe=num_probe,
        )

    def live(self, model: Realm, config: RetrievalConfig | None = None) -> LiveIndex:
        """An index of the model's present embeddings."""
        vectors = embed_rows(self.store, np.arange(len(self.store)), self.encoder(model))
        index = ExactIndex(torch.from_numpy(vectors))
        lexical = None
        if (weight := model.lexical) is not None:
            lexical = Lexical(BM25.build(self.store), lambda: weight.value)
        retriever = Retriever(self.store, index, config or RetrievalConfig(), lexical=lexical)
        return LiveIndex(retriever=retriever, index=index, generation=1, step=0)

    def ids(self, text: str) -> np.ndarray:
        return self.tokenizer.encode(text).ids

    def row_of(self, words: str) -> int:
        """The first chunk whose text holds the words."""
        return next(r for r in range(len(self.store)) if words in self.store.chunk(r).text)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny world; nothing in it may be changed."""
    found = documents()
    tokenizer = tokenizer_of([f"{d.title} {d.text}" for d in found])
    store = make_store(tmp_path_factory.mktemp("world") / "corpus", found, tokenizer)
    table = SpanTable.build(store, NameTagger(), max_masks=4, progress=Silent())
    templates = Templates.of(tokenizer, query_tokens=QUERY_TOKENS, chunk_tokens=CHUNK_TOKENS)
    return World(store=store, templates=templates, table=table)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of all chunks that are embedded from here on for snapshots, in their order."""
    rows_of_all: list[int] = []
    original = embedding.embed_rows

    def noting(store: Any, rows: Any, *rest: Any, **options: Any) -> Any:
        rows_of_all.extend(int(row) for row in rows)
        return original(store, rows, *rest, **options)

    monkeypatch.setattr(embedding, "embed_rows", noting)
    return rows_of_all
