"""What a run makes of its held-out masked sentences, one by one, in the texts' own spelling."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from openrealm.corpus.store import Chunk, ChunkStore
from openrealm.data.matching import find_answer_spans
from openrealm.data.pretraining import MaskedQuery
from openrealm.errors import InputError
from openrealm.index.snapshot import Snapshot, generations, snapshot_folder
from openrealm.progress import Progress
from openrealm.report.contents import CandidateView, Example, Floats, Probed, Quote
from openrealm.retrieval.retriever import NO_CHUNK
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import LoadedRun, load_model, load_run, matching_snapshot
from openrealm.runs.masked_queries import HeldOut, held_out_of
from openrealm.runs.parts import make_loader
from openrealm.training.probe import Reading, probe_of

JOINT_STAGES = ("realm", "warmup")
_BATCH = 32  # sentences of one forward pass
_EXCERPT = 110  # characters shown on each side of what is marked


def probed(
    workspace: WorkspaceFolder,
    run: RunFolder,
    *,
    limit: int | None,
    num_examples: int,
    progress: Progress,
) -> Probed:
    """What the newest weights of joint training or warm-up make of the held-out sentences.

    Args:
        workspace: The workspace.
        run: The run.
        limit: Ask only the first so many sentences.
        num_examples: Sentences of highest utility to show, and as many of lowest.
        progress: Where to tell how far it is.

    Raises:
        OpenRealmError: There are no such weights or sentences, or they do not fit the corpus.
    """
    loaded, note = _loaded(workspace, run, progress)
    held_out = held_out_of(workspace, loaded, progress=progress)
    readings: list[Reading] = []
    queries, probe = held_out.queries[:limit], probe_of(loaded, held_out)
    with progress.task("reading held-out sentences", total=len(queries), unit="sentences") as task:
        for start in range(0, len(queries), _BATCH):
            part = replace(probe, queries=queries[start : start + _BATCH]).readings(
                loaded.live.retriever
            )
            readings += part
            task.advance(len(part))
    return _probed(readings, loaded, held_out, num_examples=num_examples, note=note)


def _loaded(
    workspace: WorkspaceFolder, run: RunFolder, progress: Progress
) -> tuple[LoadedRun, str]:
    """The run ready to be asked, and what is to be known about its index."""
    if not run.is_locked():
        return load_run(workspace, name=run.name, stages=JOINT_STAGES, progress=progress), ""
    # Whoever trains there numbers and removes the snapshots: none is added beside it.
    loaded = load_model(workspace, name=run.name, stages=JOINT_STAGES)
    snapshot, note = matching_snapshot(run, loaded.corpus, loaded.model), ""
    if snapshot is None:
        published = generations(run.snapshots)
        if not published:
            raise InputError(f"run '{run.name}' is in training and has no snapshot yet")
        snapshot = Snapshot.open(snapshot_folder(run.snapshots, published[-1]))
        note = (
            f"The run is in training: candidates were proposed by a snapshot of step "
            f"{snapshot.manifest.step}; p(z|x) is that of the weights."
        )
    load = make_loader(workspace, loaded.settings, loaded.corpus, loaded.model)
    return loaded.with_index(load(snapshot)), note


def _probed(
    readings: Sequence[Reading],
    loaded: LoadedRun,
    held_out: HeldOut,
    *,
    num_examples: int,
    note: str,
) -> Probed:
    by_utility = sorted(readings, key=lambda reading: -reading.utility)
    # None is shown twice, where there are few.
    num_worst = min(num_examples, len(by_utility) // 2)
    best = by_utility[: min(num_examples, len(by_utility) - num_worst)]
    worst = by_utility[: -num_worst - 1 : -1]
    views = [[_example(r, loaded.corpus, held_out.texts) for r in side] for side in (best, worst)]
    p_z = _by_rank(readings, loaded.settings.retrieval.k - 1)
    position = loaded.checkpoint.position
    return Probed(
        stage=position.stage,
        step=position.step,
        num=len(readings),
        p_null=np.array([math.exp(reading.log_p_z[0]) for reading in readings]),
        p_best=p_z[:, 0] if p_z.shape[1] else np.zeros(len(p_z)),
        p_by_rank=p_z.mean(axis=0),
        utility=np.array([reading.utility for reading in readings]),
        best=views[0],
        worst=views[1],
        note=note,
    )


def _by_rank(readings: Sequence[Reading], num_chunks: int) -> Floats:
    """``(queries, num_chunks)`` p(z|x) of the chunks, largest first, 0 where there is none."""
    table = np.zeros((len(readings), num_chunks))
    for line, reading in zip(table, readings, strict=True):
        p_z = np.sort(np.exp(reading.log_p_z[1:]))[::-1]
        line[: len(p_z)] = p_z
    return table


# In the texts' own spelling -----------------------------------------------------------------------


def _example(reading: Reading, corpus: ChunkStore, texts: ChunkStore) -> Example:
    query, null = reading.query, float(reading.log_p_y_given_z[0])
    return Example(
        sentence=_sentence(query, texts),
        num_masks=len(query.positions),
        p_y=math.exp(reading.log_p_y),
        p_y_without=math.exp(null),
        utility=reading.utility,
        candidates=[
            _candidate(
                int(row),
                corpus,
                query,
                p_z=math.exp(log_p_z),
                p_y_given_z=math.exp(log_p_y),
                utility=float(log_p_y) - null,
            )
            for row, log_p_z, log_p_y in zip(
                reading.rows, reading.log_p_z, reading.log_p_y_given_z, strict=True
            )
        ],
    )


def _candidate(
    row: int,
    corpus: ChunkStore,
    query: MaskedQuery,
    *,
    p_z: float,
    p_y_given_z: float,
    utility: float,
) -> CandidateView:
    chunk = None if row == NO_CHUNK else corpus.chunk(row)
    return CandidateView(
        title=chunk.title or chunk.document_id if chunk is not None else "null chunk",
        excerpt=_excerpt(chunk, corpus, query) if chunk is not None else None,
        p_z=p_z,
        p_y_given_z=p_y_given_z,
        utility=utility,
    )


def _sentence(query: MaskedQuery, texts: ChunkStore) -> Quote:
    """The sentence as it stands in its chunk, the masked words marked."""
    text = texts.chunk(query.row).text
    tokens = texts.tokenizer.encode(text)
    first, last = int(query.positions[0]), int(query.positions[-1])
    spans = find_answer_spans(tokens.ids, [query.original_ids.tolist()])
    if not len(spans):  # the text was cut where another tokenizer would not
        words = (query.original_ids[:first], query.targets, query.original_ids[last + 1 :])
        return Quote(*(texts.tokenizer.decode(ids) for ids in words))
    begin, end = (int(n) for n in spans[0])
    start, stop = tokens.offsets[begin + first, 0], tokens.offsets[begin + last, 1]
    return _quote(text, tokens.offsets[begin, 0], start, stop, tokens.offsets[end - 1, 1])


def _excerpt(chunk: Chunk, corpus: ChunkStore, query: MaskedQuery) -> Quote:
    """The text around the masked words, or its beginning where it does not hold them."""
    tokens, tokenizer = corpus.tokenizer.encode(chunk.text), corpus.tokenizer
    spans = find_answer_spans(
        tokens.ids, [query.targets.tolist()], is_continuation=tokenizer.is_continuation
    )
    whole = [span for span in spans if not tokenizer.is_continuation[tokens.ids[span[0]]]]
    if not whole:
        return Quote(textwrap.shorten(chunk.text, 2 * _EXCERPT, placeholder=" ..."), "", "")
    start, stop = tokens.offsets[whole[0][0], 0], tokens.offsets[whole[0][1] - 1, 1]
    around = _quote(chunk.text, start - _EXCERPT, start, stop, stop + _EXCERPT)
    # Cut between words.
    before, after = around.before, around.after
    if start > _EXCERPT:
        before = f"... {before.partition(' ')[2]}"
    if stop + _EXCERPT < len(chunk.text):
        after = f"{after.rpartition(' ')[0]} ..."
    return Quote(before, around.marked, after)


def _quote(text: str, begin: int, start: int, stop: int, end: int) -> Quote:
    return Quote(text[max(begin, 0) : start], text[start:stop], text[stop:end])
