"""Tests of what is learned from: an order that is a function of (seed, step), masks, removals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny import CITIES, NameTagger, World, make_store

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.data.pretraining import (
    ClozePairs,
    MaskedQueries,
    MaskedQuery,
    MaskedTexts,
    SpanTable,
    sentence_ranges,
)
from openrealm.data.spans import Span
from openrealm.errors import CorpusError, InputError
from openrealm.progress import Silent

SEED = 3


def same(left: MaskedQuery, right: MaskedQuery) -> bool:
    return left.row == right.row and all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("original_ids", "masked_ids", "positions", "targets")
    )


class PhraseTagger:
    """Tags every place of some phrases."""

    name = "phrases"

    def __init__(self, *phrases: str) -> None:
        self.phrases = phrases
        self.fingerprint = "phrases " + " ".join(phrases)
        self.num_tagged = 0

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        self.num_tagged += len(texts)
        return [
            [Span(t.find(p), t.find(p) + len(p), "term") for p in self.phrases if p in t]
            for t in texts
        ]


def one_document(world: World, directory: Path, text: str) -> ChunkStore:
    document = Document(id="d", title="", text=text, source="test")
    return make_store(directory / "corpus", [document], world.tokenizer, chunk_tokens=96)


def queries_of(
    store: ChunkStore, tagger: PhraseTagger, *, query_tokens: int = 24, max_masks: int = 4
) -> MaskedQueries:
    table = SpanTable.build(store, tagger, max_masks=max_masks, progress=Silent())
    return MaskedQueries(store, table, seed=SEED, query_tokens=query_tokens, num_probe=0)


# Salient spans ------------------------------------------------------------------------------------


def test_every_span_of_the_table_is_the_text_that_was_tagged(world: World) -> None:
    names = {n.lower() for city, rest in CITIES.items() for n in (city, *rest)}
    names |= {"old town", "longest river"}
    table, store = world.table, world.store
    assert len(table.rows) > 150 and bool((np.diff(table.rows) >= 0).all())
    for row, sentence, span in zip(table.rows, table.sentences, table.spans, strict=True):
        words = store.tokenizer.decode(store.body_ids(int(row))[span[0] : span[1]])
        assert words in names
        assert sentence[0] <= span[0] < span[1] <= sentence[1]
        around = store.tokenizer.decode(store.body_ids(int(row))[sentence[0] : sentence[1]])
        assert around.endswith(".") and around.count(".") == 1


def test_spans_that_cross_a_sentence_or_are_too_long_are_left_out(
    world: World, tmp_path: Path
) -> None:
    store = one_document(
        world, tmp_path, "The old town lies on the river. Ships sail on the river in summer."
    )
    tagger = PhraseTagger(
        "the river. Ships sail",
        "old town lies on the",
        "town lies on the",
        "river in summer",
        "old",
    )
    table = SpanTable.build(store, tagger, max_masks=4, progress=Silent())
    words = [store.tokenizer.decode(store.body_ids(0)[a:b]) for a, b in table.spans]
    assert words == ["old", "town lies on the", "river in summer"]


def test_a_span_inside_a_word_masks_nothing(world: World, tmp_path: Path) -> None:
    store = one_document(world, tmp_path, "Ships sail on the river.")
    with pytest.raises(InputError, match=r"salient\.terms=always"):
        queries_of(store, PhraseTagger("hip", "ive"))


def test_the_table_is_built_once_per_store_and_tagger(world: World, tmp_path: Path) -> None:
    tagger, store = NameTagger(), world.store
    options = {"max_masks": 4, "progress": Silent()}
    first = SpanTable.cached(tmp_path / "cache", store, tagger, **options)  # type: ignore[arg-type]
    assert tagger.num_tagged == len(store)
    second = SpanTable.cached(tmp_path / "cache", store, tagger, **options)  # type: ignore[arg-type]
    assert tagger.num_tagged == len(store)
    for name in ("rows", "sentences", "spans"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        np.testing.assert_array_equal(getattr(first, name), getattr(world.table, name))


def test_another_tagger_store_or_limit_does_not_get_the_kept_table(
    world: World, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    short = one_document(world, tmp_path, "The old town of Bresk lies on the river Velle.")
    wanted = [
        (world.store, PhraseTagger("river"), 4),
        (world.store, PhraseTagger("river", "town"), 4),  # the same name, other options
        (world.store, PhraseTagger("river"), 1),
        (short, PhraseTagger("river"), 4),
    ]
    for number, (store, tagger, max_masks) in enumerate(wanted, start=1):
        SpanTable.cached(cache, store, tagger, max_masks=max_masks, progress=Silent())
        assert tagger.num_tagged == len(store)
        assert len(list(cache.iterdir())) == number


@pytest.mark.parametrize("size", [0, 10, 300, -40])
def test_a_torn_cache_is_built_again(world: World, tmp_path: Path, size: int) -> None:
    options = {"max_masks": 4, "progress": Silent()}
    SpanTable.cached(tmp_path, world.store, NameTagger(), **options)  # type: ignore[arg-type]
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:size])
    again = SpanTable.cached(tmp_path, world.store, NameTagger(), **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.spans, world.table.spans)


# Masked queries -----------------------------------------------------------------------------------


def test_the_queries_of_a_step_are_a_function_of_seed_and_step(world: World) -> None:
    first = [q for step in range(30) for q in world.queries(seed=SEED).batch(step, 5)]
    late = world.queries(seed=SEED)  # a resumed run asks for a late step first
    again = [q for q in late.batch(17, 5)]
    assert all(same(a, b) for a, b in zip(first[85:90], again, strict=True))
    other = [q for step in range(30) for q in world.queries(seed=SEED + 1).batch(step, 5)]
    assert not all(same(a, b) for a, b in zip(first, other, strict=True))


def test_the_batch_size_does_not_change_the_order(world: World) -> None:
    queries = world.queries(seed=SEED)
    wide = queries.batch(0, 12)
    narrow = [q for step in range(4) for q in queries.batch(step, 3)]
    assert all(same(a, b) for a, b in zip(wide, narrow, strict=True))


def test_a_pass_shows_every_chunk_once_and_the_next_draws_spans_anew(world: World) -> None:
    queries = world.queries(seed=SEED)
    size = len(queries)
    passes = [queries.batch(epoch, size) for epoch in range(3)]
    for found in passes:
        assert len({q.row for q in found}) == size
    assert [q.row for q in passes[0]] != [q.row for q in passes[1]]
    spans = [{(q.row, *q.targets.tolist(), *q.positions.tolist()) for q in p} for p in passes]
    assert spans[0] != spans[1]


def test_spans_are_drawn_evenly(world: World, tmp_path: Path) -> None:
    store = one_document(world, tmp_path, "The old town of Bresk lies on the river Velle.")
    queries = queries_of(store, PhraseTagger("town", "Bresk", "river", "Velle"))
    counts = Counter(int(q.targets[0]) for q in queries.batch(0, 2000))
    assert len(counts) == 4 and all(abs(n - 500) < 100 for n in counts.values())


def test_the_mask_covers_exactly_the_span_and_nothing_is_lost(world: World) -> None:
    mask = world.tokenizer.mask_id
    for query in world.queries().batch(0, 80):
        places = np.flatnonzero(query.masked_ids == mask)
        np.testing.assert_array_equal(places, query.positions)
        np.testing.assert_array_equal(query.original_ids[places], query.targets)
        others = np.delete(query.masked_ids, places)
        np.testing.assert_array_equal(others, np.delete(query.original_ids, places))
        assert mask not in query.original_ids
        assert np.array_equal(np.diff(places), np.ones(len(places) - 1))


def test_a_query_is_the_sentence_alone_without_title_or_neighbours(world: World) -> None:
    for query in world.queries().batch(0, 40):
        words = world.tokenizer.decode(query.original_ids)
        assert words.count(".") == 1 and words.endswith(".")
        text = world.store.chunk(query.row).text.lower()
        assert words.replace(" .", ".").replace(" ,", ",") in text


@pytest.mark.parametrize("word", ["Bresk", "river", "summer", "visit"])
def test_a_sentence_too_long_is_cut_to_a_window_that_holds_the_span(
    world: World, tmp_path: Path, word: str
) -> None:
    text = "Bresk lies in the old country of Ostmark on the river of the king and people visit."
    text = text.replace("people visit", "many people of Rhodia in the warm summer visit")
    store = one_document(world, tmp_path, text)
    query = queries_of(store, PhraseTagger(word), query_tokens=10).batch(0, 1)[0]
    assert len(query.original_ids) == 8
    assert world.tokenizer.decode(query.targets) == word.lower()
    body = store.body_ids(0).tolist()
    start = next(n for n in range(len(body)) if body[n : n + 8] == query.original_ids.tolist())
    left, right = int(query.positions[0]), 7 - int(query.positions[-1])
    if 0 < start < len(body) - 8:
        assert abs(left - right) <= 1  # the span is in the middle


def test_a_span_longer_than_the_window_is_never_asked_for(world: World, tmp_path: Path) -> None:
    text = "The old country of Ostmark is governed from the town on the river Velle, and visited."
    store = one_document(world, tmp_path, text)
    tagger = PhraseTagger("country of Ostmark is governed from the town on the", "Velle")
    queries = queries_of(store, tagger, query_tokens=8, max_masks=10)
    for query in queries.batch(0, 50):
        assert len(query.original_ids) == 6
        assert query.positions.min() >= 0 and query.positions.max() < 6
        np.testing.assert_array_equal(query.original_ids[query.positions], query.targets)


def test_the_probe_is_disjoint_from_training_and_independent_of_the_seed(world: World) -> None:
    first, second = world.queries(seed=1), world.queries(seed=2)
    held_out = first.probe()
    assert len(held_out) == 4
    assert all(same(a, b) for a, b in zip(held_out, second.probe(), strict=True))
    rows = {q.row for q in held_out}
    for queries in (first, second):
        trained = {q.row for q in queries.batch(0, 3 * len(queries))}
        assert not rows & trained
        assert len(trained) == len(queries)


def test_the_probe_takes_a_tenth_at_most(world: World) -> None:
    queries = world.queries(num_probe=1000)
    assert len(queries.probe()) == 4 and len(queries) == 44


def test_texts_without_a_salient_span_are_refused_with_what_to_try(
    world: World, tmp_path: Path
) -> None:
    store = one_document(world, tmp_path, "Ships sail on the river.")
    with pytest.raises(InputError, match=r"no salient span .* salient\.kind=spans"):
        queries_of(store, PhraseTagger())


# Inverse cloze ------------------------------------------------------------------------------------


def test_a_removed_sentence_leaves_the_rest_of_its_chunk(world: World) -> None:
    pairs = ClozePairs(world.store, seed=SEED, removal=1.0).batch(0, 60)
    for pair in pairs:
        body = world.store.body_ids(pair.row).tolist()
        ranges = sentence_ranges(world.store, pair.row)
        assert pair.sentence_ids.tolist() in [body[a:b] for a, b in ranges]
        if len(ranges) == 1:
            assert pair.body_ids.tolist() == body  # nothing would be left
            continue
        assert len(pair.body_ids) + len(pair.sentence_ids) == len(body)
        place = next(
            n
            for n in range(len(body))
            if body[n : n + len(pair.sentence_ids)] == pair.sentence_ids.tolist()
        )
        rest = body[:place] + body[place + len(pair.sentence_ids) :]
        assert pair.body_ids.tolist() == rest


def test_without_removal_the_chunk_stays_whole(world: World) -> None:
    for pair in ClozePairs(world.store, seed=SEED, removal=0.0).batch(0, 30):
        np.testing.assert_array_equal(pair.body_ids, world.store.body_ids(pair.row))


def test_sentences_are_removed_with_the_probability_set(world: World) -> None:
    several = {r for r in range(len(world.store)) if len(sentence_ranges(world.store, r)) > 1}
    pairs = [
        p
        for p in ClozePairs(world.store, seed=SEED, removal=0.9).batch(0, 1500)
        if p.row in several
    ]
    removed = [len(p.body_ids) < len(world.store.body_ids(p.row)) for p in pairs]
    assert np.mean(removed) == pytest.approx(0.9, abs=0.03)


def test_cloze_pairs_are_a_function_of_seed_and_step_and_cover_every_chunk(world: World) -> None:
    pairs = ClozePairs(world.store, seed=SEED, removal=0.5)
    size = len(world.store)
    assert sorted(p.row for p in pairs.batch(0, size)) == list(range(size))
    again = ClozePairs(world.store, seed=SEED, removal=0.5).batch(7, 9)
    for left, right in zip(pairs.batch(7, 9), again, strict=True):
        assert left.row == right.row
        np.testing.assert_array_equal(left.sentence_ids, right.sentence_ids)
        np.testing.assert_array_equal(left.body_ids, right.body_ids)


def test_a_store_made_with_another_tokenizer_is_refused(world: World, tmp_path: Path) -> None:
    store = one_document(world, tmp_path, "Ships sail on the river. Many people visit Bresk.")

    class Other:
        """The store with the tokens of another row."""

        tokenizer, chunk = store.tokenizer, store.chunk

        @staticmethod
        def body_ids(row: int) -> np.ndarray:
            return store.body_ids(row)[:-1]

    with pytest.raises(CorpusError, match="made with another tokenizer"):
        sentence_ranges(Other, 0)  # type: ignore[arg-type]


# Plain masked LM ----------------------------------------------------------------------------------


def masked_texts(world: World, **options: object) -> MaskedTexts:
    settings = {"mask_rate": 0.15, "max_tokens": 50} | options
    return MaskedTexts(world.store, seed=SEED, **settings)  # type: ignore[arg-type]


def test_chosen_tokens_are_masked_replaced_or_kept_80_10_10(world: World) -> None:
    mask = world.tokenizer.mask_id
    fates: Counter[str] = Counter()
    chosen = total = 0
    for text in masked_texts(world, mask_rate=0.3).batch(0, 900):
        shown = text.masked_ids[text.positions]
        fates["masked"] += int((shown == mask).sum())
        fates["kept"] += int((shown == text.targets).sum())
        fates["other"] += int(((shown != mask) & (shown != text.targets)).sum())
        chosen += len(text.positions)
        total += len(text.masked_ids)
    assert chosen / total == pytest.approx(0.3, abs=0.01)
    assert fates["masked"] / chosen == pytest.approx(0.8, abs=0.015)
    assert fates["kept"] / chosen == pytest.approx(0.1, abs=0.015)
    assert fates["other"] / chosen == pytest.approx(0.1, abs=0.015)


def test_tokens_that_were_not_chosen_are_untouched(world: World) -> None:
    texts = masked_texts(world)
    for text in texts.batch(0, 60):
        restored = text.masked_ids.copy()
        restored[text.positions] = text.targets
        bodies = [world.store.body_ids(row).tolist() for row in range(len(world.store))]
        assert restored.tolist() in bodies


def test_words_are_masked_whole(world: World, tmp_path: Path) -> None:
    # None of these words is in the vocabulary: all are in pieces.
    document = Document(
        id="d", title="", text="rivered townish kingly summering peopled " * 6, source="test"
    )
    store = make_store(tmp_path / "corpus", [document], world.tokenizer, chunk_tokens=200)
    continues = world.tokenizer.is_continuation
    texts = MaskedTexts(store, seed=0, mask_rate=0.4, max_tokens=99)
    for text in texts.batch(0, 20):
        original = text.masked_ids.copy()
        original[text.positions] = text.targets
        words = np.cumsum(~continues[original])
        chosen = set(words[text.positions].tolist())
        assert text.positions.tolist() == [n for n, w in enumerate(words) if w in chosen]


def test_every_text_has_at_least_one_mask(world: World) -> None:
    for text in masked_texts(world, mask_rate=0.01).batch(0, 200):
        assert len(text.positions) >= 1


def test_texts_are_cut_at_the_longest_input(world: World) -> None:
    assert all(len(t.masked_ids) <= 7 for t in masked_texts(world, max_tokens=7).batch(0, 50))


def test_masked_texts_are_a_function_of_seed_and_step(world: World) -> None:
    left, right = masked_texts(world).batch(11, 4), masked_texts(world).batch(11, 4)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one.masked_ids, other.masked_ids)
        np.testing.assert_array_equal(one.positions, other.positions)


def test_added_documents_change_the_fingerprint_that_caches_depend_on(
    world: World, tmp_path: Path
) -> None:
    store = one_document(world, tmp_path, "Ships sail on the river.")
    before = store.fingerprint
    new = Document(id="e", title="", text="Many people visit Bresk.", source="test")
    update_store(tmp_path / "corpus", add=[new])
    assert ChunkStore.open(tmp_path / "corpus").fingerprint != before
