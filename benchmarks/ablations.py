r"""The paper's table 2 at a chosen size: what each part of the method is worth, on real text.

    python benchmarks/ablations.py leads.jsonl --to ablations \
        --dev entityquestions.dev.jsonl nq_open.dev.jsonl --train entityquestions.train.jsonl

Every row begins with the same weights, which plain masked-LM training and the inverse cloze task
made from the same text (one base per seed), and differs from REALM in one setting. Where the
settings name neither of these stages, the start itself is the base (``--preset adapt --config
ablations-minilm.toml``).

All of it can be stopped and started again: what is finished is kept, what was begun goes on. Two
processes may share the work if each is given seeds of its own, or, once the base of a seed is
there, rows of its own. Without ``--train`` nothing is fine-tuned, and another call with it goes on
there. Afterwards the folder has ``table.md``, ``curves.png`` and a JSON file per row and seed.

Sizes are in ``ablations.toml``; ``--config`` and ``--set`` choose others.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from openrealm import recipes
from openrealm.errors import InputError
from openrealm.files import write_atomic
from openrealm.models.realm import Realm
from openrealm.progress import Progress
from openrealm.retrieval.retriever import Retriever
from openrealm.runs.checkpoints import Position, checkpoints
from openrealm.runs.folders import RunFolder, WorkspaceFolder
from openrealm.runs.loaded import START, load_model, load_run, newest_checkpoint
from openrealm.runs.masked_queries import masked_queries
from openrealm.runs.saved_state import save_checkpoint
from openrealm.settings import Settings, read_settings, resolve, settings_text
from openrealm.terminal import make_progress
from openrealm.training.probe import HeldOutProbe

SMALL = Path(__file__).with_suffix(".toml")
BASE = ("mlm", "ict")
TRAINED = ("warmup", "realm")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        label: What it is.
        change: What differs from REALM, as assignments.
        stages: What is trained before the questions.
        parts: Rows whose retriever and reader are put together; none: a training of its own.
        paper: Exact match and zero-shot recall@5 of the paper's table 2 (NQ, development set).
        finds_itself: Whether its own probe may retrieve the chunk that was masked.
    """

    label: str
    change: tuple[str, ...] = ()
    stages: tuple[str, ...] = TRAINED
    parts: tuple[str, str] | None = None
    paper: tuple[float, float] | None = None
    finds_itself: bool = False


ROWS = {
    "realm": Row("REALM", paper=(38.2, 38.5)),
    "realm-retriever": Row(
        "REALM retriever + warm-start reader", parts=("realm", "baseline"), paper=(37.4, 38.5)
    ),
    "realm-reader": Row(
        "warm-start retriever + REALM reader", parts=("baseline", "realm"), paper=(35.3, 13.9)
    ),
    "baseline": Row("warm start alone", stages=(), paper=(31.3, 13.9)),
    "random-tokens": Row("random token masks", change=("salient.kind=tokens",), paper=(32.3, 24.2)),
    "random-spans": Row("random span masks", change=("salient.kind=spans",), paper=(35.3, 26.1)),
    "stale": Row("30x stale index", change=("refresh.every=30x",), paper=(28.7, 15.1)),
    "no-null": Row("no null chunk", change=("realm.null_chunk=false",)),
    "span-marginal": Row("marginal of the span", change=("realm.marginal=span",)),
    "no-warmup": Row("no reader warm-up", stages=("realm",)),
    "trivial": Row(
        "trivial candidates allowed", change=("retrieval.exclude=nothing",), finds_itself=True
    ),
}
MEASURES = {
    "probe_recall@5": "probe: recall@5",
    "utility": "utility, nats",
    "accuracy": "masked tokens right",
}


@dataclass(frozen=True)
class Bench:
    """Where it happens, with which sizes and questions."""

    workspace: WorkspaceFolder
    settings: Settings
    train: Sequence[Path]
    dev: Sequence[Path]
    limit: int | None
    progress: Progress

    def run(self, row: str, seed: int) -> None:
        """One row with one seed: trained, measured, fine-tuned, measured, written down."""
        target = self.workspace.directory / "results" / f"{row}-{seed}.json"
        found: dict[str, Any] = json.loads(target.read_text()) if target.is_file() else {}
        if "exact_match" in found or (found and not self.train):
            return
        self.progress.say(f"{ROWS[row].label}, seed {seed}")
        run = self._pretrained(row, seed)
        if not found:
            found = {**self._zero_shot(run), **_cost(run), "curves": _curves(run)}
            _write(target, found)
        if self.train:
            self._finetuned(run)
            _write(target, {**found, "exact_match": self._answers(run)})
        shutil.rmtree(run.snapshots, ignore_errors=True)  # made again where they are wanted

    def _pretrained(self, row: str, seed: int) -> RunFolder:
        chosen, name = ROWS[row], f"{row}-{seed}"
        if chosen.parts is not None:
            return self._joined(row, seed)
        start, stages = "", [stage for stage in self.settings.stages if stage in BASE]
        if stages:
            base = self._trained(f"base-{seed}", self._settings(seed, stages=stages))
            if not chosen.stages:
                return self._copied(base, name)
            start = str(newest_checkpoint(base, BASE[::-1]).directory)
        elif not chosen.stages:  # the start is the base
            return self._untrained(self._pretrained("realm", seed), name)
        settings = self._settings(seed, chosen.change, stages=chosen.stages, start=start)
        return self._trained(name, settings)

    def _settings(
        self, seed: int, change: Sequence[str] = (), *, stages: Sequence[str], start: str = ""
    ) -> Settings:
        every = 30 * self.settings.refresh.every
        change = [text.replace("=30x", f"={every}") for text in change]
        changed = resolve(base=self.settings, assignments=change)
        return replace(changed, seed=seed, stages=tuple(stages), start=start or changed.start)

    def _trained(self, name: str, settings: Settings) -> RunFolder:
        """A run at the end of its stages, begun or taken up as need be."""
        folder = self.workspace.directory / "runs" / name
        if not (folder / "run.json").is_file():
            recipes.pretrain(self.workspace.directory, settings, run=name, progress=self.progress)
        run = self.workspace.run(name)
        whole = (c for c in checkpoints(run.checkpoints) if c.position.finished and c.is_whole())
        done = {c.position.stage for c in whole}
        if not set(settings.stages) <= done:
            recipes.pretrain(
                self.workspace.directory, run=name, resume=True, progress=self.progress
            )
        return run

    def _copied(self, source: RunFolder, name: str) -> RunFolder:
        """The base as a run of its own, to be fine-tuned."""
        target = RunFolder(self.workspace.directory / "runs" / name)
        if not (target.directory / "run.json").is_file():
            staging = target.directory.with_name(f".{name}")
            shutil.rmtree(staging, ignore_errors=True)
            shutil.copytree(source.directory, staging)
            staging.rename(target.directory)
        return target

    def _joined(self, row: str, seed: int) -> RunFolder:
        """The retriever of one row with the reader of another."""
        parts = ROWS[row].parts
        assert parts is not None
        retriever, reader = (self._pretrained(part, seed) for part in parts)
        name = f"{row}-{seed}"
        target = self._copied(retriever, name)
        if _mark(target).is_file():
            return target
        models = [
            load_model(self.workspace, name=run.name, stages=("realm", "ict"))
            for run in (retriever, reader)
        ]
        model, position = models[0].model, models[0].checkpoint.position
        model.reader.load_state_dict(models[1].model.reader.state_dict())
        return _with_weights(target, model, position)

    def _untrained(self, trained: RunFolder, name: str) -> RunFolder:
        """What a run began with, as a run of its own at the end of its stages."""
        target = self._copied(trained, name)
        if _mark(target).is_file():
            return target
        model = load_model(self.workspace, name=trained.name, stages=(START,)).model
        target.metrics_file.write_bytes(b"")
        return _with_weights(target, model, Position.without_steps("realm"))

    def _zero_shot(self, run: RunFolder) -> dict[str, Any]:
        """Recall on the questions, and what the probe of the base's salient spans says."""
        loaded = load_run(
            self.workspace, name=run.name, stages=("realm", "ict"), progress=self.progress
        )
        stage = loaded.checkpoint.position.stage
        report = recipes.evaluate(
            self.workspace.directory, run=run.name, stage=stage, qa=self.dev, progress=self.progress
        )
        rows = {row.data: row for row in report.rows}
        # Rows that train on other masks, or retrieve by other rules, are asked the same as all.
        settings = replace(self.settings, seed=loaded.settings.seed)
        live = loaded.live
        queries = masked_queries(
            self.workspace,
            settings,
            texts=loaded.corpus,
            corpus=loaded.corpus,
            progress=self.progress,
        )
        probe = HeldOutProbe(
            model=loaded.model,
            encoder=loaded.encoder,
            queries=queries.probe(),
            corpus=loaded.corpus,
            texts=loaded.corpus,
            k=settings.retrieval.k,
        ).report(
            Retriever(loaded.corpus, live.index, settings.retrieval, lexical=live.retriever.lexical)
        )
        found: dict[str, Any] = {
            f"recall@{k}": {name: row.measures[f"recall@{k}"].mean for name, row in rows.items()}
            for k in (5, 20)
        }
        found |= {f"probe_recall@{k}": value for k, value in probe.recall.items()}
        return found | {
            "utility": probe.utility,
            "accuracy": probe.accuracy,
            "p_null": probe.p_null,
        }

    def _finetuned(self, run: RunFolder) -> None:
        tuned = (c for c in checkpoints(run.checkpoints) if c.position.stage == "qa")
        found = [c for c in tuned if c.is_whole()]
        if not (found and found[0].position.finished):
            recipes.finetune(
                self.workspace.directory,
                qa=self.train,
                run=run.name,
                resume=bool(found),
                progress=self.progress,
            )

    def _answers(self, run: RunFolder) -> dict[str, float]:
        report = recipes.evaluate(
            self.workspace.directory,
            run=run.name,
            stage="qa",
            qa=self.dev,
            limit=self.limit,
            progress=self.progress,
        )
        return {row.data: row.measures["exact_match"].mean for row in report.rows}


def _with_weights(run: RunFolder, model: Realm, position: Position) -> RunFolder:
    """A copied run with other weights."""
    for checkpoint in list(checkpoints(run.checkpoints)):
        shutil.rmtree(checkpoint.directory)
    save_checkpoint(run.checkpoints, model, None, position)
    _mark(run).touch()
    return run


def _mark(run: RunFolder) -> Path:
    """What says that its weights are there; it does not hold for a copy under another name."""
    return run.directory / f"joined-{run.name}"


def _write(target: Path, found: Mapping[str, Any]) -> None:
    target.parent.mkdir(exist_ok=True)
    write_atomic(target, (json.dumps(found, indent=1) + "\n").encode())


def _lines(run: RunFolder) -> list[dict[str, Any]]:
    text = run.metrics_file.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _cost(run: RunFolder) -> dict[str, float]:
    """Seconds and tokens of the stages that the base does not have."""
    seconds = tokens = 0.0
    for line in _lines(run):
        if line["stage"] in TRAINED and "speed/tokens_per_second" in line:
            parts = ("reading", "retrieval", "refresh")
            passed = sum(line.get(f"seconds/{part}", 0.0) for part in parts)
            seconds += passed
            tokens += passed * line["speed/tokens_per_second"]
    return {"seconds": seconds, "tokens": tokens}


def _curves(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """Figures over the joint stage's steps."""
    names = ("probe/utility", "probe/recall@5", "realm/p_null")
    lines = [line for line in _lines(run) if line["stage"] == "realm"]
    return {n: [(line["step"], line[n]) for line in lines if n in line] for n in names}


def table(results: Path, seeds: Sequence[int]) -> str:
    """The table as Markdown, means and standard deviations over seeds, as far as there are any."""
    lines: list[dict[str, str]] = []
    for name, row in ROWS.items():
        found = [
            json.loads(path.read_text(encoding="utf-8"))
            for seed in seeds
            if (path := results / f"{name}-{seed}.json").is_file()
        ]
        if not found:
            continue
        cells = {"row": row.label, "seeds": str(len(found))}
        for data in found[0]["recall@5"]:
            name = data.split(".")[0]
            pair = (_spread([100 * one[f"recall@{k}"][data] for one in found], 1) for k in (5, 20))
            cells[f"{name} recall@5 / @20"] = " / ".join(pair)
            answered = [one["exact_match"][data] for one in found if "exact_match" in one]
            if answered:
                cells[f"{name} exact match"] = _spread([100 * value for value in answered], 1)
        for measure, label in MEASURES.items():
            cells[label] = _spread([one[measure] for one in found], 3)
        cells["tokens, M"] = f"{mean(one['tokens'] for one in found) / 1e6:.1f}"
        cells["seconds"] = f"{mean(one['seconds'] for one in found):.0f}"
        cells["paper: EM / recall@5"] = " / ".join(f"{value:.1f}" for value in row.paper or ())
        lines.append(cells)
    # A row whose answers are still to come lacks a column of the others'.
    longest = max(lines, key=len)
    head = list(longest)
    rule = ["---", *["--:"] * (len(head) - 1)]
    body = [[cells.get(column, "") for column in head] for cells in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *body]) + "\n"


def _spread(values: Sequence[float], digits: int) -> str:
    shown = f"{mean(values):.{digits}f}"
    return shown if len(values) == 1 else f"{shown} ± {stdev(values):.{digits}f}"


def draw(results: Path, seeds: Sequence[int], target: Path) -> None:
    """Curves of the joint stage, means over seeds; no probe that finds the answer in itself."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    names = {
        "probe/utility": "utility of each row's own probe, nats",
        "probe/recall@5": "recall@5 of each row's own probe",
        "realm/p_null": "p(null)",
    }
    for axes, (name, label) in zip(figure.subplots(1, 3), names.items(), strict=True):
        for number, (row, chosen) in enumerate(ROWS.items()):
            paths = [results / f"{row}-{seed}.json" for seed in seeds]
            curves = [
                dict(json.loads(path.read_text(encoding="utf-8"))["curves"][name])
                for path in paths
                if path.is_file()
            ]
            steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
            beyond = chosen.finds_itself and name.startswith("probe/")
            if steps and chosen.parts is None and not beyond:
                style = "-" if number < 7 else "--"
                means = [mean(curve[step] for curve in curves) for step in steps]
                axes.plot(steps, means, style, color=f"C{number}", label=chosen.label)
        axes.set_xlabel("joint step")
        axes.set_title(label, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    # The last picture has all rows.
    figure.legend(
        *figure.axes[-1].get_legend_handles_labels(), loc="outside right center", fontsize=8
    )
    figure.savefig(target, dpi=120)


def main() -> None:
    """Runs what is missing and tabulates what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="*", help="documents, as for ingest")
    parser.add_argument("--to", type=Path, required=True, help="folder of all of it")
    parser.add_argument("--dev", type=Path, nargs="+", default=[], help="question files")
    parser.add_argument(
        "--train", type=Path, nargs="+", default=[], help="question files to fine-tune on"
    )
    parser.add_argument("--config", type=Path, default=SMALL)
    parser.add_argument("--set", dest="assignments", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--preset", default="tiny", help="what the sizes are changes of")
    parser.add_argument("--limit", type=int, help="questions of each file to answer")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--tabulate", action="store_true", help="only write the table again")
    arguments = parser.parse_args()
    if not arguments.tabulate and not (arguments.sources and arguments.dev):
        parser.error("name documents, and question files with --dev")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    workspace, progress = WorkspaceFolder(arguments.to), make_progress()
    results = workspace.directory / "results"
    if not arguments.tabulate:
        settings = resolve(
            preset=arguments.preset, config=arguments.config, assignments=arguments.assignments
        )
        _prepare(workspace, arguments.sources, settings, progress)
        bench = Bench(
            workspace, settings, arguments.train, arguments.dev, arguments.limit, progress
        )
        began = time.perf_counter()
        for seed in arguments.seeds:
            for row in arguments.rows:
                bench.run(row, seed)
        progress.say(f"{(time.perf_counter() - began) / 60:.0f} minutes")
    seeds = sorted({int(path.stem.rpartition("-")[2]) for path in results.glob("*.json")})
    if not seeds:
        raise SystemExit(f"{results} holds no result yet")
    text = table(results, seeds)
    (workspace.directory / "table.md").write_text(text, encoding="utf-8")
    draw(results, seeds, workspace.directory / "curves.png")
    print(text)


def _prepare(
    workspace: WorkspaceFolder, sources: Sequence[Path], settings: Settings, progress: Progress
) -> None:
    """The corpus, once, and the sizes that all rows are made with."""
    kept = workspace.directory / "settings.toml"
    if kept.is_file():
        if read_settings(kept) != settings:
            raise InputError(
                f"'{workspace.directory}' was begun with other settings; name a new folder"
            )
        return
    if not workspace.corpus.is_dir():
        recipes.ingest(workspace.directory, sources=sources, settings=settings, progress=progress)
    kept.write_text(settings_text(settings), encoding="utf-8")


if __name__ == "__main__":
    main()
