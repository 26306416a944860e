"""The knowledge corpus: documents out of files, chunks out of documents, chunks on disk."""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.corpus.documents import read_documents as read_documents
    from openrealm.corpus.records import Document as Document
    from openrealm.corpus.records import IngestReport as IngestReport
    from openrealm.corpus.records import Problem as Problem
    from openrealm.corpus.store import Chunk as Chunk
    from openrealm.corpus.store import ChunkStore as ChunkStore
    from openrealm.corpus.updating import update_store as update_store

_HOMES = {
    "Chunk": "store",
    "ChunkStore": "store",
    "Document": "records",
    "IngestReport": "records",
    "Problem": "records",
    "read_documents": "documents",
    "update_store": "updating",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
