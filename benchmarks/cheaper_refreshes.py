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
fresh index's candidates the live one finds, and recall of the held-out queries at the end. Both
towers are trained, whatever the run's `realm.towers` is.
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
import numpy.typing as npt
import torch
from torch import nn

from openrealm.answering.answerer import Answerer
from openrealm.corpus.store import ChunkStore
from openrealm.data.pretraining import MaskedQueries
from openrealm.evaluation import read_held_out, retrieval_values, summarise
from openrealm.index.mips import ExactIndex
from openrealm.processes import ALONE
from openrealm.progress import Progress
from openrealm.retrieval.embedding import Order, TextEncoder, embed_rows
from openrealm.retrieval.lexical import LexicalRetriever
from openrealm.retrieval.live_index import LiveIndex
from openrealm.retrieval.retriever import Lexical, Retriever
from openrealm.runs.folders import WorkspaceFolder
from openrealm.runs.loaded import LoadedModel, load_model
from openrealm.runs.masked_queries import masked_queries
from openrealm.runs.parts import bm25_of, lexical_of
from openrealm.settings import RetrievalConfig, Settings
from openrealm.terminal import make_progress
from openrealm.training.alarms import Alarm
from openrealm.training.index_keeper import IndexKeeper
from openrealm.training.metrics_log import MetricsLog
from openrealm.training.objectives import BothTowers, JointStage, joint_source
from openrealm.training.probe import HeldOutProbe
from openrealm.training.refresh import Swap
from openrealm.training.stage import IndexUse, Ingredients, StepResult
from openrealm.training.trainer import Trainer

WAYS = ("full", "rare", "written", "retrieved", "moved")
NEVER = 10**9

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tally:
    """What is known of each chunk of the corpus, to choose by.

    Attributes:
        retrieved: How often it was a candidate since it was last embedded.
        moved: How far its vector moved when it was last embedded; infinite until then.
    """

    retrieved: npt.NDArray[np.float64]
    moved: npt.NDArray[np.float64]

    @classmethod
    def of(cls, num_chunks: int) -> Tally:
        """Nothing is known yet."""
        return cls(retrieved=np.zeros(num_chunks), moved=np.full(num_chunks, np.inf))


@dataclass(frozen=True)
class Plan:
    """When chunks are embedded for the index, and which.

    Attributes:
        every: Steps between two times.
        choose: Rows of the chunks whose turn it is.
    """

    every: int
    choose: Callable[[Tally], Rows]


def plan_of(way: str, *, every: int, saving: int, num_chunks: int) -> Plan:
    """What one of the ways embeds."""
    piece = -(-num_chunks // saving)
    if way == "retrieved":
        return Plan(every, lambda tally: highest(tally.retrieved, piece))
    if way == "moved":
        return Plan(every, lambda tally: highest(tally.moved, piece))
    return Plan(every if way == "full" else every * saving, lambda tally: np.arange(num_chunks))


def highest(values: npt.NDArray[np.float64], num: int) -> Rows:
    """Rows of the highest values, of equal ones the lowest rows; in order of rows."""
    return np.sort(np.argsort(-values, kind="stable")[:num])


@dataclass
class Counted:
    """The joint stage, and how often each chunk is a candidate in it."""

    stage: JointStage
    tally: Tally
    name: str = field(default="realm", init=False)
    steps: int = field(init=False)
    batch_size: int = field(init=False)
    index_use: IndexUse = field(init=False)

    def __post_init__(self) -> None:
        self.steps, self.batch_size = self.stage.steps, self.stage.batch_size
        self.index_use = self.stage.index_use

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """What the joint stage trains."""
        return self.stage.trained()

    def alarm(self) -> Alarm:
        """The joint stage's."""
        return self.stage.alarm()

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """A step, and its candidates counted."""
        result = self.stage.step(step, live)
        assert result.embedded is not None
        self.tally.retrieved[result.embedded.rows] += 1
        return result


@dataclass
class EmbeddedIndex:
    """An index in memory whose vectors are made anew, all of them or some; on the disk is nothing.

    Makes the index that the stage begins with, and refreshes it.

    Attributes:
        corpus: The chunks.
        encoder: The towers.
        rule: How candidates are chosen.
        lexical: Words in common, where they count.
        plan: When to embed which chunks.
        tally: What that is chosen by.
        num_embedded: Chunks embedded since the first index.
    """

    corpus: ChunkStore
    encoder: TextEncoder
    rule: RetrievalConfig
    lexical: Lexical | None
    plan: Plan
    tally: Tally
    num_embedded: int = 0
    ordered: Order | None = None

    def first(self, total_step: int) -> LiveIndex:
        """An index of the present weights."""
        everything = np.arange(len(self.corpus))
        index = ExactIndex(torch.from_numpy(embed_rows(self.corpus, everything, self.encoder)))
        retriever = Retriever(self.corpus, index, self.rule, lexical=self.lexical)
        return LiveIndex(retriever=retriever, index=index, generation=1, step=total_step)

    def reopened(self, generation: int) -> LiveIndex:
        """Never asked for: nothing is resumed here."""
        raise NotImplementedError(f"index {generation} was not saved")

    def before_step(self, total_step: int, live: LiveIndex) -> Swap | None:
        """The vectors of the chunks whose turn it is are replaced in the live index."""
        if total_step - live.step < self.plan.every:
            return None
        assert isinstance(live.index, ExactIndex)
        rows = self.plan.choose(self.tally)
        fresh = torch.from_numpy(embed_rows(self.corpus, rows, self.encoder))
        self.tally.moved[rows] = (fresh - live.index.chunk_emb[rows]).norm(dim=1).numpy()
        self.tally.retrieved[rows] = 0
        self.num_embedded += len(rows)
        live.index.chunk_emb[rows] = fresh
        return Swap(replace(live, generation=live.generation + 1, step=total_step), {})

    def at_work(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """Nothing runs beside the training."""
        return nullcontext()

    def embedding(self, stop: Callable[[], bool]) -> AbstractContextManager[object]:
        """An embedding is not given up."""
        return nullcontext()

    def take_up(self, order: Order | None) -> None:
        """There are no orders."""

    def news(self) -> Sequence[Mapping[str, Any]]:
        """There is none."""
        return ()

    def prune(self, keep: set[int], ordered: set[int]) -> None:
        """Nothing is on the disk."""


@dataclass
class AgainstFresh:
    """A probe that compares the live index with a fresh one.

    Attributes:
        probe: Has the held-out queries.
        maker: Makes the fresh index.
        found: What part of its candidates the live one found, each time.
    """

    probe: HeldOutProbe
    maker: EmbeddedIndex
    found: list[float] = field(default_factory=list)

    def __call__(self, live: LiveIndex | None) -> Mapping[str, float]:
        """What part of a fresh index's candidates the live one finds."""
        assert live is not None
        numbers = self.probe.recall_of(live, self.maker.first(live.step))
        self.found.append(numbers["index/recall"])
        return numbers

    def recall_of(self, stale: LiveIndex, fresh: LiveIndex) -> Mapping[str, float]:
        """Nothing: the live index is one and the same."""
        return {}


@dataclass(frozen=True)
class Prepared:
    """What the ways have in common: one run's weights, its corpus and its masked queries."""

    workspace: WorkspaceFolder
    loaded: LoadedModel
    settings: Settings
    queries: MaskedQueries
    progress: Progress

    @classmethod
    def of(cls, arguments: argparse.Namespace, seed: int) -> Prepared:
        """A run as its warm-up left it, loaded anew; probed just before chunks are embedded."""
        workspace, progress = WorkspaceFolder(arguments.workspace), make_progress()
        loaded = load_model(workspace, name=arguments.run, stages=("warmup",))
        given, probe_every = loaded.settings, max(arguments.every - 1, 1)
        settings = replace(
            given,
            seed=seed,
            realm=replace(given.realm, steps=arguments.steps),
            loop=replace(given.loop, probe_every=probe_every, checkpoint_every=NEVER),
        )
        corpus = loaded.corpus
        queries = masked_queries(
            workspace, settings, texts=corpus, corpus=corpus, progress=progress
        )
        return cls(workspace, loaded, settings, queries, progress)

    def stage(self) -> JointStage:
        """The joint stage as pre-training composes it, both towers moving."""
        corpus, settings, num = self.loaded.corpus, self.settings, self.settings.realm.lexical
        lexical = None
        if num:
            lexical = LexicalRetriever(corpus, bm25_of(self.workspace, corpus), settings.retrieval)
        return JointStage(
            self.parts(),
            settings.realm,
            self.queries,
            retriever=BothTowers(self.loaded.encoder),
            source=joint_source(settings.retrieval.k, num_lexical=num, lexical=lexical),
        )

    def parts(self) -> Ingredients:
        """What stage and loop share."""
        return Ingredients(
            model=self.loaded.model,
            encoder=self.loaded.encoder,
            corpus=self.loaded.corpus,
            texts=self.loaded.corpus,
            seed=self.settings.seed,
        )

    def maker(self, plan: Plan, tally: Tally) -> EmbeddedIndex:
        """What embeds chunks by a plan."""
        loaded, rule = self.loaded, self.settings.retrieval
        lexical = lexical_of(self.workspace, loaded.corpus, loaded.model)
        return EmbeddedIndex(loaded.corpus, loaded.encoder, rule, lexical, plan, tally)

    def probe(self) -> HeldOutProbe:
        """The held-out masked queries."""
        corpus = self.loaded.corpus
        return HeldOutProbe(
            model=self.loaded.model,
            encoder=self.loaded.encoder,
            queries=self.queries.probe(),
            corpus=corpus,
            texts=corpus,
            k=self.settings.retrieval.k,
        )

    def trainer(
        self, refresh: EmbeddedIndex, probe: AgainstFresh, out: Path, *, writes_back: bool
    ) -> Trainer:
        """The loop, which saves nothing but its end."""
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        log = MetricsLog(out / "metrics.jsonl", listener=None)
        return Trainer(
            parts=self.parts(),
            optim=self.settings.optim,
            loop=self.settings.loop,
            index=IndexKeeper(
                maker=refresh,
                refresh=refresh,
                log=log,
                probe=probe,
                progress=self.progress,
                processes=ALONE,
                writes_back=writes_back,
            ),
            checkpoints=out / "checkpoints",
            log=log,
            probe=probe,
            progress=self.progress,
        )


def run(arguments: argparse.Namespace, way: str, seed: int) -> dict[str, Any]:
    """One training of the joint stage, and what came of it."""
    prepared = Prepared.of(arguments, seed)
    loaded, num_chunks = prepared.loaded, len(prepared.loaded.corpus)
    tally = Tally.of(num_chunks)
    plan = plan_of(way, every=arguments.every, saving=arguments.saving, num_chunks=num_chunks)
    refresh = prepared.maker(plan, tally)
    probe = AgainstFresh(prepared.probe(), refresh)
    out = arguments.to.with_name(f"{arguments.to.stem}-{way}-{seed}")
    trainer = prepared.trainer(refresh, probe, out, writes_back=way == "written")
    began = time.perf_counter()
    trainer.run(Counted(prepared.stage(), tally))
    seconds = time.perf_counter() - began
    live = refresh.first(trainer.total_step)
    answerer = Answerer(loaded.model, loaded.encoder, loaded.corpus, live.retriever)
    held_out = retrieval_values(loaded.corpus, read_held_out(arguments.queries), answerer.rank)
    return {
        "way": way,
        "seed": seed,
        "embedded": refresh.num_embedded,
        "corpora": refresh.num_embedded / num_chunks,
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
            result = run(arguments, way, seed)
            with open(arguments.to, "a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result))


if __name__ == "__main__":
    main()
