"""What a node of a cluster does: embed the shards of an ordered snapshot; knows no cluster.

An order holds names only, so that it can be sent anywhere. A `FolderOrder` is for nodes that have
the workspace's folder under the same name: they read corpus and weights there and write shards
into it. A `StoredOrder` is for nodes that share nothing but a storage: they copy the corpus once
and keep it among their temporary files. Names in a storage are written by one process each and
read by those that know the checksum, so that no lock is needed.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from openrealm.cluster.storage import Storage
from openrealm.corpus.manifest import MANIFEST, read_manifest
from openrealm.corpus.store import ChunkStore
from openrealm.errors import CheckpointError, SnapshotError, StorageError
from openrealm.files import checksum, held, staged_directory
from openrealm.index.snapshot import SnapshotKey
from openrealm.index.snapshot_writer import SnapshotWriter
from openrealm.models.embedder import Embedder
from openrealm.retrieval.embedding import (
    WORKER_THREADS,
    Order,
    TextEncoder,
    embed_block,
    fill_shard,
    groups_of,
    write_shard,
)
from openrealm.runs.folders import WorkspaceFolder, open_corpus
from openrealm.runs.loaded import empty_model
from openrealm.runs.parts import make_encoder
from openrealm.settings import Settings, read_settings
from openrealm.training.weights import (
    ORDER_FILE,
    is_ordered,
    load_ordered,
    order_folder,
    ordered_embedder,
)

_LOOK_AT_FOLDER_EVERY_S = 1.0
_LOOK_AT_STORAGE_EVERY_S = 5.0
_PATIENCE_S = 3600.0


class TakenBack(Exception):
    """The order that is being worked on does not stand any more."""


def standing(stands: Callable[[], bool], *, every_s: float) -> Callable[[], None]:
    """A function that raises once an order does not stand any more; it looks every so often."""
    looked = -every_s

    def look() -> None:
        nonlocal looked
        if time.monotonic() - looked < every_s:
            return
        looked = time.monotonic()
        if not stands():
            raise TakenBack

    return look


@dataclass(eq=False)
class Node:
    """A corpus and a model, whose weights change from order to order."""

    settings: Settings
    corpus: ChunkStore
    encoder: TextEncoder
    _loaded: str = field(default="", init=False)

    @classmethod
    def of(cls, settings: Settings, corpus: ChunkStore, *, on_gpu: bool) -> Node:
        """A node with an empty model of the shape in the settings; weights are loaded later."""
        device = torch.device("cuda" if on_gpu else "cpu")
        torch.set_num_threads(WORKER_THREADS)
        model = empty_model(settings, corpus.tokenizer, stage="realm")
        return cls(
            settings=settings,
            corpus=corpus,
            encoder=make_encoder(settings, corpus, model.embedder.to(device).eval()),
        )

    def loaded(self, wanted: str, load: Callable[[Embedder], object]) -> TextEncoder:
        """The encoder, with the weights of a fingerprint.

        Args:
            wanted: The fingerprint.
            load: Puts these weights into it, where it has others.
        """
        if wanted != self._loaded:
            self._loaded = ""  # in case that only half of them can be read
            load(self.encoder.embedder)
            self._loaded = wanted
        return self.encoder


@dataclass(frozen=True, kw_only=True)
class FolderOrder:
    """Embeds shards of an ordered snapshot; holds names only, so that it can be sent anywhere.

    Attributes:
        workspace: Its folder, under a name that means the same everywhere.
        run: Name of the run.
        weights: Folder that the order is in.
        order: The snapshot.
        dim: Its numbers per chunk.
        dtype: ``float32`` or ``float16``.
        shard_rows: Its chunks per file.
        on_gpu: Whether to compute on the GPU that Ray has given.
    """

    workspace: Path
    run: str
    weights: Path
    order: Order
    dim: int
    dtype: str
    shard_rows: int
    on_gpu: bool

    def __call__(self, shard: int) -> None:
        """Writes a shard, unless the shard exists or the order has been taken back.

        Raises:
            SnapshotError: The workspace is not on this machine.
        """
        if not self.workspace.is_dir():
            raise SnapshotError(
                f"node '{platform.node()}' has no folder '{self.workspace}'; a fleet needs the "
                "workspace on storage that all its machines have under the same name"
            )
        try:
            node = _node_of_folder(self.workspace, self.run, self.on_gpu)
            encoder = node.loaded(
                ordered_embedder(self.weights, self.order),
                lambda embedder: load_ordered(self.weights, self.order, embedder),
            )
            write_shard(
                self.writer(node.corpus),
                shard,
                node.corpus,
                encoder,
                tick=standing(self._stands, every_s=_LOOK_AT_FOLDER_EVERY_S),
            )
        except (TakenBack, CheckpointError, FileNotFoundError):
            if self._stands():
                raise

    def _stands(self) -> bool:
        return is_ordered(self.weights, self.order)

    def writer(self, corpus: ChunkStore) -> SnapshotWriter:
        """The snapshot.

        Raises:
            CheckpointError: The order does not stand any more.
        """
        return SnapshotWriter(
            WorkspaceFolder(self.workspace).run(self.run).snapshots,
            generation=self.order.generation,
            step=self.order.step,
            chunks=len(corpus),
            dim=self.dim,
            key=SnapshotKey(
                embedder=ordered_embedder(self.weights, self.order),
                corpus=corpus.fingerprint,
                tokenizer=corpus.tokenizer.fingerprint,
            ),
            dtype=self.dtype,
            shard_rows=self.shard_rows,
            groups=groups_of(corpus),
        )


@lru_cache(maxsize=1)
def _node_of_folder(workspace: Path, run: str, on_gpu: bool) -> Node:
    folder = WorkspaceFolder(workspace)
    settings = read_settings(folder.run(run).settings_file)
    return Node.of(settings, open_corpus(folder), on_gpu=on_gpu)


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
        node = _node_of_storage(self.storage, *self.corpus, self.settings, self.on_gpu)
        try:
            encoder = node.loaded(self.embedder, self._load)
            first = shard * self.shard_rows
            vectors = embed_block(
                range(first, min(self.num_chunks, first + self.shard_rows)),
                node.corpus,
                encoder,
                tick=standing(self._stands, every_s=_LOOK_AT_STORAGE_EVERY_S),
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


@lru_cache(maxsize=1)
def _node_of_storage(
    storage: Storage, corpus: str, sha256: str, settings: str, on_gpu: bool
) -> Node:
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
    """A temporary folder that only this user may write to, so that its contents are trusted."""
    folder = Path(tempfile.gettempdir()) / f"openrealm-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise StorageError(f"'{folder}' belongs to somebody else; set TMPDIR to another folder")
    return folder
