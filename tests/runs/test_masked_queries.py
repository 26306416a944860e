"""Tests of the spans that are kept because another chunk tells them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import World

from openrealm.data.pretraining import SpanTable, kept_table
from openrealm.errors import InputError
from openrealm.progress import Silent
from openrealm.retrieval.lexical import BM25, LexicalRetriever
from openrealm.runs import masked_queries as masking
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.masked_queries import kept_tagger, masked_queries, supported_nearby
from openrealm.settings import RetrievalConfig, Settings


@pytest.fixture()
def lexical(world: World, monkeypatch: pytest.MonkeyPatch) -> LexicalRetriever:
    monkeypatch.setattr("openrealm.retrieval.retriever.NEAR_DUPLICATE", 1.01)
    return LexicalRetriever(world.store, BM25.build(world.store), RetrievalConfig())


def words_of(text: str) -> str:
    return f" {' '.join(re.findall('[a-z0-9]+', text.lower()))} "


def test_a_span_is_supported_nearby_where_a_resembling_chunk_holds_its_words(
    world: World, lexical: LexicalRetriever
) -> None:
    store, table = world.store, world.table
    supported = supported_nearby(table, store, store, lexical, within=3, progress=Silent())
    assert supported.any() and not supported.all()
    bm25 = BM25.build(store)
    for number, answer in enumerate(supported.tolist()):
        row, (start, stop) = int(table.rows[number]), table.sentences[number]
        sentence = store.tokenizer.decode(store.body_ids(row)[start:stop])
        span = world.tokenizer.decode(store.body_ids(row)[slice(*table.spans[number])])
        ranked = [r for r in bm25.search([sentence], 4)[1][0].tolist() if r != row][:3]
        # Nothing is a near duplicate here: of the best four only its own chunk is trivial.
        held = any(
            words_of(span) in words_of(world.tokenizer.decode(store.body_ids(r))) for r in ranked
        )
        assert answer == held


def test_looking_into_more_chunks_keeps_more_spans(world: World, lexical: LexicalRetriever) -> None:
    few, many = (
        supported_nearby(
            world.table, world.store, world.store, lexical, within=n, progress=Silent()
        )
        for n in (1, len(world.store))
    )
    assert (few <= many).all() and few.sum() < many.sum()


def test_what_is_kept_is_computed_once_and_said_where_nothing_is_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking.SpanTable, "cached", classmethod(lambda cls, *_, **__: world.table))
    calls = []

    def counted(table: SpanTable, *rest: object, within: int, **options: object) -> np.ndarray:
        calls.append(within)
        return np.arange(len(table.rows)) % 2 == (0 if within == 2 else 7)

    monkeypatch.setattr(masking, "supported_nearby", counted)
    place, settings = WorkspaceFolder(tmp_path), Settings()

    def queries(within: int) -> int:
        asked = replace(settings, salient=replace(settings.salient, supported_within=within))
        return len(
            masked_queries(place, asked, texts=world.store, corpus=world.store, progress=Silent())
        )

    assert 0 < queries(2) <= queries(0)
    assert queries(2) and calls == [2]
    with pytest.raises(InputError, match="said twice"):
        queries(3)


def test_a_kept_table_is_read_again(tmp_path: Path, world: World) -> None:
    half = world.table.where(np.arange(len(world.table.rows)) % 2 == 0)
    kept_table(tmp_path, "a key", lambda: half)

    def never() -> SpanTable:
        raise AssertionError("it is there")

    again = kept_table(tmp_path, "a key", never)
    np.testing.assert_array_equal(again.spans, half.spans)
    np.testing.assert_array_equal(again.rows, world.table.rows[::2])


def test_with_trivial_candidates_allowed_a_span_must_still_be_told_in_another_chunk(
    tmp_path: Path, world: World
) -> None:
    settings = Settings()
    settings = replace(settings, salient=replace(settings.salient, supported_within=2))
    tables = []
    for exclude in ("chunk", "nothing"):
        rule = replace(settings.retrieval, exclude=exclude)
        found = masked_queries(
            WorkspaceFolder(tmp_path / exclude),
            replace(settings, retrieval=rule),
            texts=world.store,
            corpus=world.store,
            progress=Silent(),
        )
        tables.append(found)
    assert 0 < len(tables[0]) == len(tables[1])


def test_what_rules_learn_of_the_texts_is_kept_and_made_again_where_it_is_damaged(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, settings = WorkspaceFolder(tmp_path / "ws"), Settings()
    place.directory.mkdir()
    first = kept_tagger(place, settings, world.store)
    (kept,) = place.cache.glob("tagger-*.json")
    with monkeypatch.context() as patch:
        patch.setattr(masking, "span_tagger", None)
        again = kept_tagger(place, settings, world.store)
        assert again.fingerprint == first.fingerprint
        text = next(iter(world.store.documents())).text
        assert again.tag([text]) == first.tag([text])
    whole = kept.read_bytes()
    for damaged in (whole[: len(whole) // 2], b'{"format": 99}', b"[]"):
        kept.write_bytes(damaged)
        assert kept_tagger(place, settings, world.store).fingerprint == first.fingerprint
        assert kept.read_bytes() == whole
    other = replace(settings, salient=replace(settings.salient, terms="never"))
    kept_tagger(place, other, world.store)
    assert len(list(place.cache.glob("tagger-*.json"))) == 2
