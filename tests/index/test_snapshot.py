"""Tests of snapshots on disk: what is torn, changed or of another model is never searched; and of
rows found again in another corpus, against a dictionary of the groups.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrealm.errors import SnapshotError
from openrealm.index.snapshot import (
    Groups,
    Snapshot,
    SnapshotKey,
    find_snapshot,
    generations,
    prune,
    remove_superseded,
)
from openrealm.index.snapshot_writer import SnapshotWriter

KEY = SnapshotKey(embedder="e" * 64, corpus="c" * 64, tokenizer="t" * 64)
CHUNKS, DIM, ROWS = 10, 4, 4
VECTORS = np.random.default_rng(0).normal(size=(CHUNKS, DIM)).astype(np.float32)


def writer(
    directory: Path,
    *,
    generation: int = 1,
    key: SnapshotKey = KEY,
    dtype: str = "float32",
    chunks: int = CHUNKS,
    groups: Groups | None = None,
) -> SnapshotWriter:
    return SnapshotWriter(
        directory,
        generation=generation,
        step=7,
        chunks=chunks,
        dim=DIM,
        key=key,
        dtype=dtype,
        shard_rows=ROWS,
        groups=groups,
    )


def write_all(directory: Path, vectors: np.ndarray = VECTORS, **options: object) -> Snapshot:
    opened = writer(directory, **options)  # type: ignore[arg-type]
    for shard, rows in opened.missing_shards():
        opened.write(shard, vectors[rows.start : rows.stop])
    return opened.publish()


def test_what_was_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    written = write_all(tmp_path)
    opened = Snapshot.open(written.directory)
    np.testing.assert_array_equal(opened.read(), VECTORS)
    np.testing.assert_array_equal(np.concatenate(list(opened.shards())), VECTORS)
    opened.verify()
    manifest = opened.manifest
    assert (manifest.generation, manifest.step, manifest.chunks, manifest.dim) == (1, 7, 10, 4)
    assert manifest.key == KEY
    assert [len(shard) for shard in opened.shards()] == [4, 4, 2]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_read_by_their_numbers_whatever_their_shards(tmp_path: Path, dtype: str) -> None:
    rows = write_all(tmp_path, dtype=dtype).rows()
    asked = np.array([9, 0, 4, 3, 9, 7])
    found = rows[asked]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VECTORS.astype(dtype)[asked].astype(np.float32))
    assert rows[np.array([], dtype=np.int64)].shape == (0, DIM)


def test_half_precision_is_kept_as_half_precision(tmp_path: Path) -> None:
    opened = write_all(tmp_path, dtype="float16")
    assert opened.read().dtype == np.float16
    np.testing.assert_array_equal(opened.read(), VECTORS.astype(np.float16))


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2)])
def test_the_size_on_disk_is_that_of_the_vectors_and_little_more(
    tmp_path: Path, dtype: str, size: int
) -> None:
    chunks = 4000
    big = np.zeros((chunks, DIM), dtype=np.float32)
    opened = SnapshotWriter(
        tmp_path, generation=1, step=0, chunks=chunks, dim=DIM, key=KEY, dtype=dtype
    )
    # A slice of a larger array: its parent must not be stored with it.
    opened.write(0, np.concatenate([big, big, big])[:chunks])
    directory = opened.publish().directory
    on_disk = sum(path.stat().st_size for path in directory.iterdir())
    assert chunks * DIM * size <= on_disk < chunks * DIM * size + 2048


def test_nothing_is_visible_before_all_shards_are_there(tmp_path: Path) -> None:
    opened = writer(tmp_path)
    opened.write(0, VECTORS[:4])
    assert generations(tmp_path) == []
    with pytest.raises(SnapshotError, match="lacks 2 of 3 shards"):
        opened.publish()
    assert generations(tmp_path) == []


def test_a_writer_that_died_is_taken_up_at_its_last_whole_shard(tmp_path: Path) -> None:
    first = writer(tmp_path)
    first.write(1, VECTORS[4:8])
    # It dies in the middle of shard 0: half a file under a temporary name.
    (first.staging / "shard-00000.tmp").write_bytes(b"\x93NUMPY half")
    second = writer(tmp_path)
    assert second.missing_shards() == [(0, range(0, 4)), (2, range(8, 10))]
    for shard, rows in second.missing_shards():
        second.write(shard, VECTORS[rows.start : rows.stop])
    opened = second.publish()
    np.testing.assert_array_equal(opened.read(), VECTORS)
    assert sorted(p.name for p in opened.directory.iterdir()) == [
        "manifest.json",
        "shard-00000.npy",
        "shard-00001.npy",
        "shard-00002.npy",
    ]


def test_the_shards_of_another_embedder_are_not_taken_up(tmp_path: Path) -> None:
    writer(tmp_path).write(0, VECTORS[:4])
    moved = SnapshotKey(embedder="f" * 64, corpus=KEY.corpus, tokenizer=KEY.tokenizer)
    assert len(writer(tmp_path, key=moved).missing_shards()) == 3


def test_two_that_plan_the_same_generation_never_mix_their_shards(tmp_path: Path) -> None:
    moved = SnapshotKey(embedder="f" * 64, corpus=KEY.corpus, tokenizer=KEY.tokenizer)
    one, other = writer(tmp_path), writer(tmp_path, key=moved)
    for shard, rows in one.missing_shards():
        other.write(shard, VECTORS[rows.start : rows.stop] + 1)
        one.write(shard, VECTORS[rows.start : rows.stop])
    np.testing.assert_array_equal(one.publish().read(), VECTORS)
    opened = other.publish()
    np.testing.assert_array_equal(opened.read(), VECTORS + 1)
    assert opened.manifest.key == moved


def test_the_newest_whole_snapshot_of_a_key_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = SnapshotKey(embedder="f" * 64, corpus=KEY.corpus, tokenizer=KEY.tokenizer)
    for generation, key in enumerate((KEY, KEY, moved, KEY, KEY), start=1):
        write_all(tmp_path, generation=generation, key=key)
    (tmp_path / "000005" / "manifest.json").write_text("{")
    shard = tmp_path / "000004" / "shard-00001.npy"
    shard.write_bytes(shard.read_bytes()[:-8])
    found = find_snapshot(tmp_path, KEY)
    assert found is not None and found.manifest.generation == 2
    assert len(caplog.records) == 2
    shard = tmp_path / "000002" / "shard-00001.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")  # of the same length
    found = find_snapshot(tmp_path, KEY)
    assert found is not None and found.manifest.generation == 2
    found = find_snapshot(tmp_path, KEY, verify=True)
    assert found is not None and found.manifest.generation == 1
    assert find_snapshot(tmp_path / "nowhere", KEY) is None


def test_a_writer_that_died_before_its_plan_was_whole_begins_anew(tmp_path: Path) -> None:
    first = writer(tmp_path)
    first.write(0, VECTORS[:4])
    (first.staging / "plan.json").write_text('{"chunks":', encoding="utf-8")
    assert len(writer(tmp_path).missing_shards()) == 3


def test_a_generation_of_other_weights_replaces_the_one_that_was_there(tmp_path: Path) -> None:
    write_all(tmp_path)
    other = SnapshotKey(embedder="f" * 64, corpus=KEY.corpus, tokenizer=KEY.tokenizer)
    np.testing.assert_array_equal(write_all(tmp_path, VECTORS + 1, key=other).read(), VECTORS + 1)
    assert generations(tmp_path) == [1]


def test_a_snapshot_that_somebody_has_published_is_not_written_again(tmp_path: Path) -> None:
    late = writer(tmp_path)
    write_all(tmp_path)
    assert late.is_published and late.missing_shards() == []
    with late.claimed(0) as mine:
        assert not mine
    assert late.publish().directory == tmp_path / "000001"
    assert writer(tmp_path).missing_shards() == []


def test_two_writers_share_the_shards_and_a_claim_ends_with_its_holder(tmp_path: Path) -> None:
    one, two = writer(tmp_path), writer(tmp_path)
    with one.claimed(0) as mine, two.claimed(0) as too, two.claimed(1) as other:
        assert (mine, too, other) == (True, False, True)
        one.write(0, VECTORS[:4])
    with two.claimed(0) as mine:  # done already
        assert not mine
    with two.claimed(1) as mine:  # given up without a shard
        assert mine
        two.write(1, VECTORS[4:8])
    one.write(2, VECTORS[8:])
    assert two.publish().directory == one.publish().directory
    assert not list((tmp_path / "000001").glob("*.lock"))


def test_writing_a_shard_looks_at_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = writer(tmp_path)
    looked: list[str] = []
    is_file = Path.is_file

    def watched(path: Path) -> bool:
        looked.append(path.name)
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", watched)
    opened.write(1, VECTORS[4:8])
    assert {name for name in looked if name.startswith("shard-")} == {"shard-00001.npy"}


@pytest.mark.parametrize("shard", [-1, 1, 3])
def test_a_shard_that_is_not_there_or_written_already_is_refused(
    tmp_path: Path, shard: int
) -> None:
    opened = writer(tmp_path)
    opened.write(1, VECTORS[4:8])
    with pytest.raises(SnapshotError, match=f"shard {shard} of snapshot 1"):
        opened.write(shard, VECTORS[4:8])


def test_a_full_disk_leaves_no_half_shard_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    opened = writer(tmp_path)
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        opened.write(0, VECTORS[:4])
    assert sorted(p.name for p in opened.staging.iterdir()) == ["plan.json"]


@pytest.mark.parametrize("rows", [range(0, 3), range(2, 9), range(4, 8), range(9, 10), range(5, 5)])
def test_a_part_is_read_without_the_rest(tmp_path: Path, rows: range) -> None:
    written = write_all(tmp_path)
    np.testing.assert_array_equal(written.read(rows), VECTORS[rows.start : rows.stop])
    (written.directory / "shard-00000.npy").write_bytes(b"damaged")
    if rows.start >= ROWS:
        written.verify(rows)
    else:
        with pytest.raises(SnapshotError, match="shard-00000"):
            written.verify(rows)


def test_a_shard_of_another_shape_is_refused(tmp_path: Path) -> None:
    opened = writer(tmp_path)
    with pytest.raises(SnapshotError, match=r"shard 2 .* shape \(4, 4\), not \(2, 4\)"):
        opened.write(2, VECTORS[:4])
    with pytest.raises(SnapshotError, match="shard 9"):
        opened.write(9, VECTORS[:4])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    spoiled = VECTORS[:4].copy()
    spoiled[2, 1] = value
    with pytest.raises(SnapshotError, match="not finite in float32"):
        writer(tmp_path).write(0, spoiled)


def test_vectors_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="not finite in float16"):
        writer(tmp_path, dtype="float16").write(0, VECTORS[:4] * 1e6)


@pytest.mark.parametrize("part", ["embedder", "corpus", "tokenizer"])
def test_a_snapshot_of_another_model_or_corpus_is_refused_by_name(
    tmp_path: Path, part: str
) -> None:
    opened = write_all(tmp_path)
    parts = {"embedder": KEY.embedder, "corpus": KEY.corpus, "tokenizer": KEY.tokenizer}
    other = SnapshotKey(**(parts | {part: "0" * 64}))
    with pytest.raises(SnapshotError, match=f"another {part} .*000000000000"):
        opened.require(other)
    opened.require(KEY)


def test_a_stale_index_may_be_of_another_embedder(tmp_path: Path) -> None:
    newer = SnapshotKey(embedder="0" * 64, corpus=KEY.corpus, tokenizer=KEY.tokenizer)
    write_all(tmp_path).require(newer, parts=("tokenizer", "corpus"))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    opened = write_all(tmp_path)
    (opened.directory / "shard-00001.npy").unlink()
    with pytest.raises(SnapshotError, match=r"shard-00001\.npy is missing"):
        opened.verify()
    with pytest.raises(SnapshotError, match=r"shard-00001\.npy"):
        opened.read()


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    opened = write_all(tmp_path)
    path = opened.directory / "shard-00002.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SnapshotError, match=r"shard-00002\.npy is missing or damaged"):
        opened.verify()


@pytest.mark.parametrize("size", [0, 20, 140])
def test_a_torn_shard_is_found_by_reading_too(tmp_path: Path, size: int) -> None:
    opened = write_all(tmp_path)
    path = opened.directory / "shard-00000.npy"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(SnapshotError, match=r"shard-00000\.npy is damaged"):
        opened.read()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((3, DIM), dtype=np.float32),
        np.zeros((5, DIM), dtype=np.float32),
        np.zeros((4, DIM + 1), dtype=np.float32),
        np.zeros((4, DIM), dtype=np.float64),
        np.zeros(4 * DIM, dtype=np.float32),
    ],
)
def test_a_shard_of_another_shape_or_kind_is_found_by_reading(
    tmp_path: Path, wrong: np.ndarray
) -> None:
    opened = write_all(tmp_path)
    np.save(opened.directory / "shard-00001.npy", wrong)
    with pytest.raises(SnapshotError, match=r"shard-00001\.npy holds"):
        opened.read()


def test_a_shard_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    opened = write_all(tmp_path)
    np.save(opened.directory / "shard-00000.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(SnapshotError, match="damaged"):
        opened.read()


def test_a_manifest_that_lists_too_few_shards_is_refused(tmp_path: Path) -> None:
    opened = write_all(tmp_path)
    path = opened.directory / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["checksums"].pop()
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(SnapshotError, match="shards"):
        Snapshot.open(opened.directory).read()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 1}', '{"format": 1, "key": {}, "checksums": []}'],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    opened = write_all(tmp_path)
    (opened.directory / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(SnapshotError, match="no whole snapshot"):
        Snapshot.open(opened.directory)


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    opened = write_all(tmp_path)
    path = opened.directory / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) | {"format": 99}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(SnapshotError, match="format 99; this version reads 1"):
        Snapshot.open(opened.directory)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="embed the corpus again"):
        Snapshot.open(tmp_path / "000009")
    assert generations(tmp_path / "nowhere") == []


def test_pruning_keeps_what_is_asked_for_and_removes_what_dead_writers_left(
    tmp_path: Path,
) -> None:
    for generation in (1, 2, 3):
        write_all(tmp_path, generation=generation)
    other = SnapshotKey(embedder="f" * 64, corpus=KEY.corpus, tokenizer=KEY.tokenizer)
    dead = writer(tmp_path, generation=2, key=other)
    dead.write(0, VECTORS[:4])
    live = writer(tmp_path, generation=4)
    live.write(0, VECTORS[:4])
    prune(tmp_path, keep={1, 3})
    assert generations(tmp_path) == [1, 3]
    assert not dead.staging.exists()
    with pytest.raises(SnapshotError, match="was taken away while it was made"):
        dead.require_staging()
    live.require_staging()
    assert len(live.missing_shards()) == 2  # one that may still be written is left alone


def test_who_gives_up_at_the_last_moment_replaces_nothing(tmp_path: Path) -> None:
    """As a worker does whose order is taken back while it writes its last shard."""
    moved = SnapshotKey(embedder="f" * 64, corpus=KEY.corpus, tokenizer=KEY.tokenizer)
    late = writer(tmp_path, key=moved)
    for shard, rows in late.missing_shards():
        late.write(shard, VECTORS[rows.start : rows.stop] + 1)
    write_all(tmp_path)

    def taken_back() -> None:
        raise KeyError("taken back")

    with pytest.raises(KeyError):
        late.publish(taken_back)
    np.testing.assert_array_equal(Snapshot.open(tmp_path / "000001").read(), VECTORS)


GROUPS = Groups(
    np.arange(3 * 16, dtype=np.uint8).reshape(3, 16), np.array([4, 1, 5], dtype=np.int32)
)


def test_groups_of_rows_are_kept_with_them(tmp_path: Path) -> None:
    snapshot = write_all(tmp_path, groups=GROUPS)
    found = snapshot.groups()
    assert found is not None and found.checksum == GROUPS.checksum
    assert writer(tmp_path, groups=GROUPS).is_published
    assert not writer(tmp_path).is_published
    assert write_all(tmp_path / "without").groups() is None


def test_a_snapshot_from_before_there_were_groups_is_searched_and_lends_nothing(
    tmp_path: Path,
) -> None:
    manifest = write_all(tmp_path).directory / "manifest.json"
    raw = json.loads(manifest.read_text())
    del raw["groups"]
    manifest.write_text(json.dumps(raw))
    found = find_snapshot(tmp_path, KEY, verify=True)
    assert found is not None and found.groups() is None


@pytest.mark.parametrize("damage", ["missing", "cut short", "changed", "another header"])
def test_damaged_groups_are_found_with_the_rest(tmp_path: Path, damage: str) -> None:
    snapshot = write_all(tmp_path, groups=GROUPS)
    path = snapshot.directory / "groups.npy"
    data = bytearray(path.read_bytes())
    # (Of a header with this bit turned, numpy says that it is no Python.)
    data[30 if damage == "another header" else -1] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-7] if damage == "cut short" else data)
    with pytest.raises(SnapshotError, match=r"groups\.npy is missing or damaged"):
        snapshot.verify()
    assert find_snapshot(tmp_path, KEY, verify=True) is None


def test_a_snapshot_of_the_same_embedder_is_found_whatever_its_corpus(tmp_path: Path) -> None:
    write_all(tmp_path, generation=1)
    write_all(tmp_path, generation=2, key=replace(KEY, embedder="f" * 64))
    wanted = replace(KEY, corpus="d" * 64)
    assert find_snapshot(tmp_path, wanted) is None
    found = find_snapshot(tmp_path, wanted, parts=("embedder", "tokenizer"))
    assert found is not None and found.manifest.generation == 1


def test_what_was_superseded_is_removed_but_for_the_newest_of_it(tmp_path: Path) -> None:
    """Of the same embedder and an earlier corpus, unless a checkpoint needs it."""
    other_corpus = replace(KEY, corpus="d" * 64)
    for generation in (1, 2, 3):
        write_all(tmp_path, generation=generation, key=other_corpus)
    write_all(tmp_path, generation=4, key=replace(other_corpus, embedder="f" * 64))
    write_all(tmp_path, generation=5)
    (tmp_path / "000006").mkdir()  # damaged
    newest = write_all(tmp_path, generation=7)
    write_all(tmp_path, generation=8, key=other_corpus)
    remove_superseded(tmp_path, newest, keep={1})
    assert generations(tmp_path) == [1, 3, 4, 5, 6, 7, 8]


def test_a_snapshot_that_is_removed_while_it_is_looked_at_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all(tmp_path)

    def gone(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr("openrealm.index.snapshot.checksum", gone)
    assert find_snapshot(tmp_path, KEY, verify=True) is None


# A corpus: names of its groups in order, and how many rows each has.
CORPORA = st.dictionaries(st.integers(0, 12), st.integers(0, 4), max_size=9)


def groups(corpus: dict[int, int]) -> Groups:
    digests = [hashlib.blake2b(str(name).encode(), digest_size=16).digest() for name in corpus]
    data = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16)
    return Groups(data, np.array(list(corpus.values()), dtype=np.int32))


def numbered(corpus: dict[int, int]) -> dict[tuple[int, int], int]:
    rows = [(name, place) for name, size in corpus.items() for place in range(size)]
    return {row: number for number, row in enumerate(rows)}


@given(corpus=CORPORA, other=CORPORA)
def test_rows_are_found_by_group_and_place_in_it(
    corpus: dict[int, int], other: dict[int, int]
) -> None:
    # The same name with another size is another group to us, and never found.
    there = {
        (name, place): number
        for (name, place), number in numbered(other).items()
        if corpus.get(name) == other[name]
    }
    wanted = [there.get(row, -1) for row in numbered(corpus)]
    found = groups(corpus).rows_in(groups(other))
    assert found.dtype == np.int64
    assert found.tolist() == wanted


@given(corpus=CORPORA)
def test_what_was_written_is_read_back(corpus: dict[int, int]) -> None:
    before = groups(corpus)
    after = Groups.read(before.data)
    np.testing.assert_array_equal(after.digests, before.digests)
    np.testing.assert_array_equal(after.sizes, before.sizes)
    assert after.checksum == before.checksum


def test_another_array_is_no_file_of_groups() -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="groups"):
        Groups.read(file.getvalue())
