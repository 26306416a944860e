"""From queries to chunks: embeddings of a whole corpus, dense candidates, BM25."""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.retrieval.lexical import BM25 as BM25
    from openrealm.retrieval.retriever import Retriever as Retriever

_HOMES = {
    "BM25": "lexical",
    "Retriever": "retriever",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
