"""A corpus embedded by nodes that share nothing but a storage: what is put there for them, and what
they leave there.

::

    URL/corpus-HASH/          a chunk store, file by file; HASH is its manifest's
    URL/RUN-HASH/000003/      an order: its weights, and the shards until they are in the workspace

A node copies the corpus once and keeps it among its temporary files. Names in a storage are written
by one process each and read by those that were told the checksum, so that no lock is needed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openrealm.cluster.nodes import Node, TakenBack, standing
from openrealm.cluster.storage import Storage
from openrealm.corpus.manifest import MANIFEST, read_manifest
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, StorageError
from openrealm.files import checksum, held, staged_directory
from openrealm.index.snapshot import SnapshotWriter
from openrealm.models.embedder import Embedder
from openrealm.retrieval.embedding import embed_block, fill_shard
from openrealm.retrieval.snapshot_maker import Order
from openrealm.runs.folders import RunFolder
from openrealm.settings import Settings, read_settings, settings_text
from openrealm.training.weights import (
    ORDER_FILE,
    WEIGHTS_FILE,
    load_ordered,
    order_folder,
    ordered_embedder,
)

_LOOK_EVERY_S = 5.0
_PATIENCE_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class StoredOrder:
    """Embeds shards of an ordered snapshot and leaves them in a storage.

    It holds names only, so that it can be sent anywhere, to nodes that have nothing else.

    Attributes:
        storage: Where all of it is.
        settings: Of the run, as TOML.
        corpus: Name of the chunk store there, and checksum of its manifest.
        folder: Name of what belongs to the order there.
        order: The snapshot.
        embedder: Fingerprint of the weights.
        checksums: Of the files of the order.
        num_chunks: Rows of the snapshot.
        shard_rows: Its chunks per file.
        on_gpu: Whether to compute on the GPU that Ray has given.
    """

    storage: Storage
    settings: str
    corpus: tuple[str, str]
    folder: str
    order: Order
    embedder: str
    checksums: tuple[tuple[str, str], ...]
    num_chunks: int
    shard_rows: int
    on_gpu: bool

    def __call__(self, shard: int) -> str:
        """Embeds a shard and puts it into the storage, unless the order has been taken back.

        Returns:
            Checksum of what was put; empty where nothing was.

        Raises:
            StorageError: The storage cannot be read or written from here.
        """
        node = _node(self.storage, *self.corpus, self.settings, self.on_gpu)
        try:
            embedder = node.loaded(self.embedder, self._load)
            first = shard * self.shard_rows
            vectors = embed_block(
                range(first, min(self.num_chunks, first + self.shard_rows)),
                node.corpus,
                embedder,
                node.templates,
                batch_tokens=node.settings.refresh.batch_tokens,
                autocast=node.autocast,
                tick=standing(self._stands, every_s=_LOOK_EVERY_S),
            )
            with np.errstate(over="ignore"):  # found and named by whoever writes the snapshot
                return self._put(shard, vectors.astype(node.settings.refresh.dtype))
        except TakenBack:
            return ""
        except (StorageError, CheckpointError):
            if self._stands():
                raise
            return ""

    def _load(self, embedder: Embedder) -> None:
        with tempfile.TemporaryDirectory(prefix="openrealm-") as temporary:
            here = order_folder(Path(temporary), self.order)
            for name, sha256 in self.checksums:
                self.storage.get(f"{self.folder}/{name}", here / name, sha256=sha256)
            load_ordered(Path(temporary), self.order, embedder)

    def _stands(self) -> bool:
        return self.storage.holds(f"{self.folder}/{ORDER_FILE}")

    def _put(self, shard: int, vectors: npt.NDArray[np.floating]) -> str:
        with tempfile.TemporaryDirectory(prefix="openrealm-") as temporary:
            file = Path(temporary) / "shard.npy"
            np.save(file, vectors, allow_pickle=False)
            self.storage.put(file, self._name(shard))
            return checksum(file)

    def taken(
        self,
        shard: int,
        sha256: str,
        writer: SnapshotWriter,
        tick: Callable[[], None] | None = None,
    ) -> None:
        """Moves a shard into the workspace; called where the snapshot is written.

        Args:
            shard: Which.
            sha256: What the node said of it.
            writer: The snapshot.
            tick: Called while waiting for another writer; may raise to give up.

        Raises:
            StorageError: It is not there, or another one, or the node has not found the order.
        """
        if not sha256:
            raise StorageError(
                f"'{self.storage.url}/{self.folder}' has gone while nodes were at it; is a second "
                "process embedding for this run?"
            )

        def fetch(rows: range) -> npt.NDArray[np.floating]:
            with tempfile.TemporaryDirectory(prefix="openrealm-") as temporary:
                file = Path(temporary) / "shard.npy"
                self.storage.get(self._name(shard), file, sha256=sha256)
                vectors: npt.NDArray[np.floating] = np.load(file, allow_pickle=False)
                return vectors

        fill_shard(writer, shard, fetch, tick=tick)

    def _name(self, shard: int) -> str:
        return f"{self.folder}/shard-{shard:05d}.npy"


@contextmanager
def stored(
    storage: Storage,
    corpus: ChunkStore,
    run: RunFolder,
    settings: Settings,
    *,
    weights: Path,
    order: Order,
    shard_rows: int,
    on_gpu: bool,
    tick: Callable[[], None] | None = None,
) -> Iterator[StoredOrder]:
    """An order in a storage, for the time of the context; the corpus stays there.

    Args:
        storage: Where to.
        corpus: Put there where it is not yet.
        run: Whose order it is.
        settings: Of the run.
        weights: Folder that the order is in.
        order: The snapshot.
        shard_rows: Chunks per file of the snapshot.
        on_gpu: Whether nodes compute on GPUs.
        tick: Called between files of the corpus; may raise to give up.

    Raises:
        CheckpointError: The order does not stand any more.
        StorageError: The storage cannot be read or written from here.
    """
    place = hashlib.sha256(f"{platform.node()} {run.directory.absolute()}".encode())
    folder = f"{run.name}-{place.hexdigest()[:12]}"
    here = order_folder(weights, order)
    told = StoredOrder(
        storage=storage,
        settings=settings_text(settings),
        corpus=_offered(storage, corpus, tick or (lambda: None)),
        folder=f"{folder}/{here.name}",
        order=order,
        embedder=ordered_embedder(weights, order),
        checksums=tuple((name, _checksum(here / name)) for name in (WEIGHTS_FILE, ORDER_FILE)),
        num_chunks=len(corpus),
        shard_rows=shard_rows,
        on_gpu=on_gpu,
    )
    storage.remove(folder)  # what an earlier process could not
    try:
        for name, _ in told.checksums:
            storage.put(here / name, f"{told.folder}/{name}")
        yield told
    finally:
        storage.remove(folder)


def _checksum(path: Path) -> str:
    try:
        return checksum(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} has been taken back") from error


def _offered(storage: Storage, corpus: ChunkStore, tick: Callable[[], None]) -> tuple[str, str]:
    """Name of a chunk store in a storage, and checksum of its manifest, which is put last."""
    with tempfile.TemporaryDirectory(prefix="openrealm-") as temporary:
        corpus.manifest.write(Path(temporary))
        manifest = Path(temporary) / MANIFEST
        sha256 = checksum(manifest)
        name = f"corpus-{sha256[:16]}"
        if not storage.holds(f"{name}/{MANIFEST}"):
            for record in corpus.manifest.files():
                tick()
                storage.put(corpus.directory / record.path, f"{name}/{record.path}")
            storage.put(manifest, f"{name}/{MANIFEST}")
    return name, sha256


@lru_cache(maxsize=1)
def _node(storage: Storage, corpus: str, sha256: str, settings: str, on_gpu: bool) -> Node:
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(settings)
        file.flush()
        resolved = read_settings(Path(file.name))
    store = ChunkStore.open(_fetched(storage, corpus, sha256))
    return Node.of(resolved, store, on_gpu=on_gpu)


def _fetched(storage: Storage, corpus: str, sha256: str) -> Path:
    """Folder of a chunk store on this machine, copied by the first process that asks for it."""
    folder = _own_folder()
    final = folder / corpus
    with held(folder / f"{corpus}.lock", patience_s=_PATIENCE_S) as alone:
        if not alone:
            raise StorageError(
                f"another process has been copying '{storage.url}/{corpus}' to '{final}' for an "
                "hour; end it, and try again"
            )
        if not final.is_dir():
            with staged_directory(final) as staging:
                storage.get(f"{corpus}/{MANIFEST}", staging / MANIFEST, sha256=sha256)
                for record in read_manifest(staging).files():
                    storage.get(
                        f"{corpus}/{record.path}", staging / record.path, sha256=record.sha256
                    )
    return final


def _own_folder() -> Path:
    """Among the temporary files, of this user alone: what is in it is trusted."""
    folder = Path(tempfile.gettempdir()) / f"openrealm-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise StorageError(f"'{folder}' belongs to somebody else; set TMPDIR to another folder")
    return folder
