"""Questions to answers with evidence."""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.answering.answer_spans import Answer as Answer
    from openrealm.answering.answer_spans import Evidence as Evidence
    from openrealm.answering.answerer import Answerer as Answerer
    from openrealm.answering.answerer import Answers as Answers
    from openrealm.answering.answerer import ChunkHit as ChunkHit
    from openrealm.answering.answerer import Filling as Filling
    from openrealm.answering.answerer import Fillings as Fillings
    from openrealm.answering.answerer import WeighedChunk as WeighedChunk

_HOMES = {
    "Answer": "answer_spans",
    "Answerer": "answerer",
    "Answers": "answerer",
    "ChunkHit": "answerer",
    "Evidence": "answer_spans",
    "Filling": "answerer",
    "Fillings": "answerer",
    "WeighedChunk": "answerer",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
