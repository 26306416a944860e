r"""Do cheaper refreshes pay? Each against full ones, at the same number of embedded chunks.

    python benchmarks/cheaper_refreshes.py WS --queries queries.jsonl --to OUT.json --ways ...

Trains the joint stage of a run anew from its warm-up, in one of these ways:

``full``        every ``--every`` steps the whole corpus, as openrealm does
``rare``        the same, ``--saving`` times as rarely: what the others have to beat
``written``     ``rare``, and the vectors that a step computes for its candidates go into the index
                (`refresh.write_back`)
``retrieved``   no whole refresh; instead, ``--saving`` times in the time of ``rare``, an equal part
                of the chunks, those that were candidates most often since they were last embedded
``moved``       the same with the chunks whose vectors moved most when they were last embedded

and reports, beside the chunks that were embedded for the index, how much of a
fresh index's candidates the live one finds, and recall of the held-out queries at the end.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import nn

from openrealm.answering.answerer import Answerer
from openrealm.evaluation import read_held_out, retrieval_values, summarise
from openrealm.index.mips import ExactIndex
from openrealm.retrieval.embedding import Order, embed_rows
from openrealm.retrieval.lexical import BM25, LexicalRetriever
from openrealm.retrieval.live_index import LiveIndex
from openrealm.retrieval.retriever import Retriever
from openrealm.runs.devices import pick_precision
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import LoadedModel, load_model
from openrealm.runs.masked_queries import masked_queries
from openrealm.terminal import make_progress
from openrealm.training.metrics_log import MetricsLog
from openrealm.training.objectives import JointStage
from openrealm.training.probe import index_recall
from openrealm.training.refresh import Swap
from openrealm.training.stage import Ingredients, StepResult
from openrealm.training.trainer import Trainer

WAYS = ("full", "rare", "written", "retrieved", "moved")


@dataclass
class Watched:
    """The joint stage, which counts how often each chunk is a candidate."""

    stage: JointStage
    counts: np.ndarray

    name = "realm"
    uses_index = moves_retriever = moves_chunks = True

    def __post_init__(self) -> None:
        self.steps, self.batch_size = self.stage.steps, self.stage.batch_size

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """What the joint stage trains."""
        return self.stage.trained()

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """A step, and its candidates counted."""
        result = self.stage.step(step, live)
        assert result.embedded is not None
        self.counts[np.unique(result.embedded.rows)] += 1
        return result


@dataclass
class Piecewise:
    """Embeds some chunks into the live index, as one of the ways says, and all for the first."""

    parts: Ingredients
    loaded: LoadedModel
    every: int
    choose: Callable[[], np.ndarray]
    embedded: int = 0
    moved: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.moved = np.full(len(self.parts.corpus), np.inf)

    ordered: Order | None = None

    def at_work(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Nothing runs beside the training."""
        return nullcontext()

    embedding = at_work

    def take_up(self, order: Order | None) -> None:
        """There are no orders."""

    def news(self) -> Sequence[Mapping[str, Any]]:
        """There is none."""
        return ()

    def prune(self, keep: set[int], ordered: set[int]) -> None:
        """Nothing is on the disk."""

    def first(self, total_step: int) -> LiveIndex:
        """An index of the present weights."""
        vectors = torch.from_numpy(self.vectors(np.arange(len(self.parts.corpus))))
        self.embedded = 0
        index = ExactIndex(vectors)
        retriever = Retriever(self.parts.corpus, index, self.loaded.settings.retrieval)
        return LiveIndex(retriever=retriever, index=index, generation=1, step=total_step)

    def reopened(self, generation: int) -> LiveIndex:
        """Not needed: nothing is resumed here."""
        raise NotImplementedError("nothing is saved here")

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Present vectors of some chunks; they are counted."""
        self.embedded += len(rows)
        return embed_rows(
            self.parts.corpus,
            rows,
            self.parts.model.embedder,
            self.parts.encoder.templates,
            autocast=self.parts.autocast,
        )

    def before_step(self, total_step: int, live: LiveIndex) -> Swap | None:
        """The chosen chunks' vectors are replaced in the live index."""
        if total_step - live.step < self.every:
            return None
        rows = self.choose()
        assert isinstance(live.index, ExactIndex)
        fresh = torch.from_numpy(self.vectors(rows))
        old = live.index.chunk_emb[rows]
        self.moved[rows] = (fresh - old).norm(dim=1).numpy()
        live.index.chunk_emb[rows] = fresh
        return Swap(replace(live, generation=live.generation + 1, step=total_step), {})


@dataclass
class AgainstFresh:
    """A probe that compares the live index with a fresh one."""

    parts: Ingredients
    loaded: LoadedModel
    queries: Any
    found: list[float] = field(default_factory=list)

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """What part of a fresh index's candidates the live one finds."""
        assert live is not None
        corpus, settings = self.parts.corpus, self.loaded.settings
        rows = np.arange(len(corpus))
        vectors = embed_rows(corpus, rows, self.parts.encoder)
        fresh = Retriever(corpus, ExactIndex(torch.from_numpy(vectors)), settings.retrieval)
        recall = index_recall(
            self.parts.model,
            self.queries,
            live.retriever,
            fresh,
            texts_are_corpus=True,
            texts=corpus,
            templates=self.parts.encoder.templates,
            k=settings.retrieval.k,
        )
        self.found.append(recall)
        return {"index/recall": recall}

    def recall_of(self, stale: LiveIndex, fresh: LiveIndex) -> Mapping[str, float]:
        """Nothing: the live index is one and the same."""
        return {}


def run(
    place: WorkspaceFolder, arguments: argparse.Namespace, way: str, seed: int
) -> dict[str, Any]:
    """One training of the joint stage, and what came of it."""
    progress = make_progress()
    loaded = load_model(place, name=arguments.run, stages=("warmup",))
    settings = replace(loaded.settings, seed=seed)
    joint = replace(settings.realm, steps=arguments.steps)
    corpus = loaded.corpus
    queries = masked_queries(place, settings, texts=corpus, corpus=corpus, progress=progress)
    parts = Ingredients(
        model=loaded.model,
        corpus=corpus,
        texts=corpus,
        templates=loaded.templates,
        seed=seed,
        groups=settings.length_groups,
        autocast=pick_precision(settings, torch.device("cpu")),
    )
    lexical = LexicalRetriever(corpus, BM25.build(corpus), settings.retrieval)
    num, counts = len(corpus), np.zeros(len(corpus))
    stage = Watched(
        JointStage(
            parts,
            joint,
            queries,
            k=settings.retrieval.k,
            lexical=lexical if joint.lexical else None,
        ),
        counts,
    )
    piece = -(-num // arguments.saving)
    rare = arguments.every * arguments.saving

    def most_retrieved() -> np.ndarray:
        rows = np.sort(np.argsort(-counts, kind="stable")[:piece])
        counts[rows] = 0
        return rows

    def most_moved() -> np.ndarray:
        rows = np.sort(np.argsort(-refresh.moved, kind="stable")[:piece])
        refresh.moved[rows] = 0.0  # until they are embedded, at the end of this
        return rows

    everything = np.arange(num)
    chosen: dict[str, tuple[int, Callable[[], np.ndarray]]] = {
        "full": (arguments.every, lambda: everything),
        "retrieved": (arguments.every, most_retrieved),
        "moved": (arguments.every, most_moved),
    }
    every, choose = chosen.get(way, (rare, lambda: everything))
    refresh = Piecewise(parts, loaded, every, choose)

    probe = AgainstFresh(parts, loaded, queries.probe()[:64])
    out = arguments.to.with_name(f"{arguments.to.stem}-{way}-{seed}")
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        parts=parts,
        optim=settings.optim,
        loop=replace(
            settings.loop, probe_every=arguments.every - 1, checkpoint_every=10**9, log_every=20
        ),
        maker=refresh,
        refresh=refresh,
        checkpoints=out / "checkpoints",
        log=MetricsLog(out / "metrics.jsonl", listener=None),
        probe=probe,
        progress=progress,
        write_back=way == "written",
    )
    began = time.perf_counter()
    trainer.run(stage)
    seconds = time.perf_counter() - began
    live = Piecewise(parts, loaded, 1, lambda: everything).first(0)
    answerer = Answerer(loaded.model, loaded.encoder, corpus, live.retriever)
    held_out = retrieval_values(corpus, read_held_out(arguments.queries), answerer.rank)
    return {
        "way": way,
        "seed": seed,
        "embedded": refresh.embedded,
        "corpora": refresh.embedded / num,
        "index_recall": fmean(probe.found[1:]),
        "seconds": seconds,
        **{name: interval.mean for name, interval in summarise(held_out).items()},
    }


def main() -> None:
    """Runs the ways that are asked for, each in turn, and adds them to the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--run", help="run whose warm-up training begins with; the newest")
    parser.add_argument("--queries", type=Path, required=True, help="held-out queries")
    parser.add_argument("--to", type=Path, required=True, help="JSON lines, one per training")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--saving", type=int, default=4)
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for way in arguments.ways:
            result = run(WorkspaceFolder(arguments.workspace), arguments, way, seed)
            with open(arguments.to, "a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result))


if __name__ == "__main__":
    main()
