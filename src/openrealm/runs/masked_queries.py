"""Texts to masked queries: spans are tagged, and those kept that another chunk seems to tell; and
to questions for spans that recur.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import holds
from openrealm.data.pretraining import MaskedQueries, MaskedQuery, SpanTable, kept_table
from openrealm.data.recurring_spans import RecurringSpans
from openrealm.data.salient import FORMAT, RuleTagger, make_tagger
from openrealm.data.spans import SpanTagger
from openrealm.errors import InputError
from openrealm.files import write_atomic
from openrealm.progress import Progress
from openrealm.retrieval.candidates import origin_of
from openrealm.retrieval.lexical import LexicalRetriever, stemming
from openrealm.retrieval.retriever import NEAR_DUPLICATE, NO_CHUNK
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import LoadedRun
from openrealm.runs.parts import bm25_of
from openrealm.settings import Settings

logger = logging.getLogger(__name__)

_MAX_MASKS = 10
_BLOCK = 512


def masked_queries(
    workspace: WorkspaceFolder,
    settings: Settings,
    *,
    texts: ChunkStore,
    corpus: ChunkStore,
    progress: Progress,
) -> MaskedQueries:
    """The masked queries that a run trains on and is probed with.

    Args:
        workspace: Where tables of spans are kept from run to run.
        settings: Of the run.
        texts: What is masked.
        corpus: What is retrieved from; may be the same object.
        progress: Where to tell how far it is.

    Raises:
        InputError: No span is left to mask.
    """
    tagger = kept_tagger(workspace, settings, texts)
    tagged = table = SpanTable.cached(
        workspace.cache, texts, tagger, max_masks=_MAX_MASKS, progress=progress
    )
    within = settings.salient.supported_within
    if within:
        rule = settings.retrieval
        if rule.exclude == "nothing":  # an ablation of training: "elsewhere" stays elsewhere
            rule = replace(rule, exclude="chunk")
        same = "same" if texts is corpus else corpus.fingerprint
        rules = f"{within} {rule.exclude} {NEAR_DUPLICATE} {stemming()}"
        key = f"{texts.fingerprint} {same} {tagger.fingerprint} {_MAX_MASKS} {rules}"

        def supported() -> SpanTable:
            lexical = LexicalRetriever(corpus, bm25_of(workspace, corpus, progress), rule)
            wanted = supported_nearby(
                tagged, texts, corpus, lexical, within=within, progress=progress
            )
            return tagged.where(wanted)

        num_spans, table = len(tagged.rows), kept_table(workspace.cache, key, supported)
        if num_spans and not len(table.rows):
            raise InputError(
                f"none of {num_spans:,} salient spans stands in one of the {within} chunks that "
                "resemble its sentence, so nothing here is said twice; "
                "raise salient.supported_within, or set it to 0 to mask what is said once too"
            )
        progress.say(f"{len(table.rows):,} of {num_spans:,} salient spans stand elsewhere too")
    return MaskedQueries(
        texts,
        table,
        seed=settings.seed,
        query_tokens=settings.model.query_tokens,
        num_probe=settings.loop.num_probe,
    )


def recurring_spans(
    workspace: WorkspaceFolder, settings: Settings, *, texts: ChunkStore, progress: Progress
) -> RecurringSpans:
    """The questions that the stage `reading` of a run asks of its training texts.

    Raises:
        InputError: No span recurs in them.
    """
    tagger = kept_tagger(workspace, settings, texts)
    table = SpanTable.cached(
        workspace.cache, texts, tagger, max_masks=_MAX_MASKS, progress=progress
    )
    return RecurringSpans(texts, table, seed=settings.seed, progress=progress)


def kept_tagger(workspace: WorkspaceFolder, settings: Settings, texts: ChunkStore) -> SpanTagger:
    """The tagger of the settings; what rules learn of the texts is kept from call to call."""
    if settings.salient.kind != "rules":
        return span_tagger(settings, texts)
    options = replace(settings.salient, supported_within=0)  # the rules know nothing of that
    key = hashlib.sha256(f"{FORMAT} {texts.fingerprint} {options}".encode()).hexdigest()
    kept = workspace.cache / f"tagger-{key[:16]}.json"
    try:
        return RuleTagger.from_dict(json.loads(kept.read_text(encoding="utf-8")))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, InputError) as error:
        logger.warning("%s is damaged (%s) and is made again", kept, error)
    tagger = span_tagger(settings, texts)
    assert isinstance(tagger, RuleTagger)
    try:
        kept.parent.mkdir(exist_ok=True)
        write_atomic(kept, json.dumps(tagger.to_dict()).encode())
    except OSError as error:  # a full disk; it can be made again
        logger.warning("%s was not kept (%s)", kept, error)
    return tagger


@dataclass(frozen=True)
class HeldOut:
    """The masked sentences that a run is probed with, and the texts that they are of."""

    texts: ChunkStore
    queries: list[MaskedQuery]


def held_out_of(workspace: WorkspaceFolder, loaded: LoadedRun, *, progress: Progress) -> HeldOut:
    """A run's own held-out masked sentences.

    Raises:
        InputError: There is none.
    """
    corpus = loaded.corpus
    texts = ChunkStore.open(loaded.run.texts) if loaded.run.texts.is_dir() else corpus
    queries = masked_queries(
        workspace, loaded.settings, texts=texts, corpus=corpus, progress=progress
    ).probe()
    if not queries:
        raise InputError("the training texts are too small for a probe; it holds out a tenth")
    return HeldOut(texts=texts, queries=queries)


def supported_nearby(
    table: SpanTable,
    texts: ChunkStore,
    corpus: ChunkStore,
    lexical: LexicalRetriever,
    *,
    within: int,
    progress: Progress,
) -> npt.NDArray[np.bool_]:
    """For each span ``(spans,)``, whether another chunk that resembles its sentence holds it.

    Args:
        table: Salient spans of the texts.
        texts: What is masked.
        corpus: What is retrieved from; may be the same object.
        lexical: Finds the chunks that share words with a whole sentence; trivial ones, such as its
            own, are passed over.
        within: How many of the best such chunks are looked into.
        progress: Where to tell how far it is.
    """
    is_supported = np.zeros(len(table.rows), dtype=np.bool_)
    where = np.stack([table.rows, table.sentences[:, 0], table.sentences[:, 1]], axis=1)
    sentences, which = np.unique(where, axis=0, return_inverse=True)
    which = which.reshape(-1)  # NumPy 2.0 keeps an axis
    spans_of = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])
    with progress.task(
        "looking spans up elsewhere", total=len(sentences), unit="sentences"
    ) as task:
        for start in range(0, len(sentences), _BLOCK):
            block = sentences[start : start + _BLOCK]
            rows_of_block = _resembling(block, texts, corpus, lexical, within)
            for rows, numbers in zip(rows_of_block, spans_of[start : start + _BLOCK], strict=True):
                for number in numbers.tolist():
                    ids = texts.body_ids(int(table.rows[number]))[slice(*table.spans[number])]
                    is_supported[number] = any(
                        row != NO_CHUNK and holds(corpus.body_ids(row), ids, corpus)
                        for row in rows.tolist()
                    )
            task.advance(len(block))
    return is_supported


def _resembling(
    sentences: npt.NDArray[np.int64],
    texts: ChunkStore,
    corpus: ChunkStore,
    lexical: LexicalRetriever,
    within: int,
) -> npt.NDArray[np.int64]:
    """Rows ``(sentences, within)`` of the chunks with the most words in common."""
    where = [
        origin_of(texts, corpus, row, texts.body_ids(row)[start:stop])
        for row, start, stop in sentences.tolist()
    ]
    words = [texts.tokenizer.decode(origin.sentence_ids) for origin in where]
    return lexical.candidates(words, within, origins=where)


def span_tagger(settings: Settings, texts: ChunkStore) -> SpanTagger:
    """The tagger of the settings, with the texts' own titles as its gazetteer."""
    return make_tagger(
        settings.salient,
        texts=(document.text for document in texts.documents()),
        titles=(document.title for document in texts.documents()),
        seed=settings.seed,
    )
