"""The chunk store: documents, their chunks and the chunks' token ids, on disk, memory-mapped."""

from openrealm.corpus.reading import Chunk, ChunkStore
from openrealm.corpus.updating import IngestReport, ProblemLog, rechunk_store, update_store

__all__ = ["Chunk", "ChunkStore", "IngestReport", "ProblemLog", "rechunk_store", "update_store"]
