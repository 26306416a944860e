"""One stage of a reader's training: order, loop, checkpoints; knows no files of questions.

The order of readings and all randomness are functions of the seed and the step, so that a stage
that was killed goes on as if it had not been.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from readings import Reading, cropped
from safetensors.torch import load_file, save_file
from span_reader import batch_of
from torch import Tensor, nn

from openrealm.models.span_reader import SpanReader, log_p_of_spans
from openrealm.tokenizer import WordPiece

_POOL = 16  # batches that are sorted by length together
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How one stage trains.

    Attributes:
        steps: Steps of the optimiser.
        batch: Readings a step.
        lr: Highest learning rate, reached after a tenth of the steps, then falling to 0.
        layer_decay: The learning rate of each layer as a multiple of the one above it.
        weight_decay: AdamW's.
        ema: Decay per step of the mean of the weights that is kept beside them; 0 keeps none.
        max_tokens: Longest joint input.
        crop: Tokens of a body that are read, at a random place around its answer; 0 reads all.
        train_embeddings: Whether word embeddings move; the towers share them.
        seed: Of order and dropout.
        bf16: Whether products of matrices are computed in bfloat16.
    """

    steps: int
    batch: int = 16
    lr: float = 1e-4
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    ema: float = 0.995
    max_tokens: int = 288
    crop: int = 0
    train_embeddings: bool = False
    seed: int = 0
    bf16: bool = True


def batch_rows(lengths: Sequence[int], step: int, *, batch: int, seed: int) -> np.ndarray:
    """The readings of a step ``(batch,)``: whole passes in random order, like lengths together."""
    pool, place = divmod(step, _POOL)
    wanted = range(pool * _POOL * batch, (pool + 1) * _POOL * batch)
    passes = {
        number: _shuffled(len(lengths), seed, number)
        for number in {at // len(lengths) for at in wanted}
    }
    rows = np.array([passes[at // len(lengths)][at % len(lengths)] for at in wanted])
    rows = rows[np.argsort([lengths[row] for row in rows], kind="stable")]
    order = np.random.default_rng([seed, 1, pool]).permutation(_POOL)
    return rows[order[place] * batch :][:batch]


def _shuffled(count: int, seed: int, number: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, number]).permutation(count)


def learning_rate(step: int, stage: Stage) -> float:
    """Up over a tenth of the steps, then down to 0, both in a straight line."""
    return stage.lr * min(1.0, (step + 1) / (0.1 * stage.steps)) * (1 - step / stage.steps)


def parameter_groups(reader: SpanReader, stage: Stage) -> list[dict[str, object]]:
    """Parameters by the share of the learning rate that they get, the head's being 1."""
    num_layers = len(reader.bert.encoder.layer)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in reader.named_parameters():
        if name == "bert.embeddings.word_embeddings.weight":
            parameter.requires_grad_(stage.train_embeddings)
        if not parameter.requires_grad:
            continue
        scale = stage.layer_decay ** _depth_below_head(name, num_layers)
        decay = stage.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((scale, decay), []).append(parameter)
    return [
        {"params": found, "lr": 0.0, "scale": scale, "weight_decay": decay}
        for (scale, decay), found in groups.items()
    ]


def _depth_below_head(name: str, num_layers: int) -> int:
    if name.startswith("qa_outputs"):
        return 0
    if ".layer." in name:
        return num_layers - int(name.split(".layer.")[1].split(".")[0])
    return num_layers + 1


class Learner:
    """A reader, its optimiser and the mean of its weights, and how far they have come."""

    def __init__(self, reader: SpanReader, stage: Stage) -> None:
        self.reader, self.stage, self.step = reader, stage, 0
        self.cpu_s = 0.0  # processor seconds spent on steps
        self.optimizer = torch.optim.AdamW(parameter_groups(reader, stage), fused=True)
        self.mean = {name: p.detach().clone() for name, p in self._trained()}

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.reader.named_parameters() if p.requires_grad]

    def learn(self, readings: Sequence[Reading], tokenizer: WordPiece) -> float:
        """One step; the loss of its readings."""
        started, stage = time.process_time(), self.stage
        torch.manual_seed(stage.seed * 1_000_003 + self.step)
        if stage.crop:
            generator = np.random.default_rng([stage.seed, 2, self.step])
            readings = [cropped(reading, stage.crop, generator) for reading in readings]
        batch = batch_of(readings, tokenizer, max_tokens=stage.max_tokens)
        self.reader.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=stage.bf16):
            log_p = self.reader.log_p(batch.joint)
        loss = -log_p_of_spans(log_p, batch.spans, batch.span_mask).mean() / 2
        loss.backward()
        nn.utils.clip_grad_norm_([p for _, p in self._trained()], 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["scale"] * learning_rate(self.step, stage)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._move_mean()
        self.step += 1
        self.cpu_s += time.process_time() - started
        return loss.item()

    @torch.no_grad()
    def _move_mean(self) -> None:
        if self.stage.ema:
            # A mean over few steps at first, else it would remember the start.
            decay = min(self.stage.ema, (1 + self.step) / (10 + self.step))
            for name, parameter in self._trained():
                self.mean[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def swap_mean(self) -> None:
        """Exchanges the weights and their mean; a second call takes it back."""
        for name, parameter in self._trained():
            kept = parameter.clone()
            parameter.copy_(self.mean[name])
            self.mean[name].copy_(kept)

    def save(self, folder: Path) -> None:
        """Writes everything that `resume` needs beside ``folder``, then takes its place."""
        staged = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        save_file(_contiguous(self.reader.state_dict()), staged / "weights.safetensors")
        save_file(_contiguous(self.mean), staged / "mean.safetensors")
        save_file(_contiguous(self._moments()), staged / "moments.safetensors")
        state = {"step": self.step, "cpu_s": self.cpu_s, "stage": asdict(self.stage)}
        (staged / "state.json").write_text(json.dumps(state))
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(staged, folder)
        shutil.rmtree(old, ignore_errors=True)

    def resume(self, folder: Path) -> bool:
        """Goes on from what `save` wrote; False where there is nothing."""
        old = folder.with_name(f".{folder.name}.old")
        if not folder.exists() and old.exists():  # killed between the two renames
            os.replace(old, folder)
        if not folder.exists():
            return False
        state = json.loads((folder / "state.json").read_text())
        if state["stage"] != asdict(self.stage):
            raise SystemExit(f"{folder} was written by another stage: {state['stage']}")
        self.reader.load_state_dict(load_file(folder / "weights.safetensors"))
        self.mean = load_file(folder / "mean.safetensors")
        moments = load_file(folder / "moments.safetensors")
        for name, parameter in self._trained():
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(state["step"])),
                "exp_avg": moments[f"{name}.1"],
                "exp_avg_sq": moments[f"{name}.2"],
            }
        self.step, self.cpu_s = state["step"], state["cpu_s"]
        return True

    def _moments(self) -> dict[str, Tensor]:
        states = [(name, self.optimizer.state[p]) for name, p in self._trained()]
        return {f"{name}.1": s["exp_avg"] for name, s in states} | {
            f"{name}.2": s["exp_avg_sq"] for name, s in states
        }


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def run(
    learner: Learner,
    readings: Sequence[Reading],
    tokenizer: WordPiece,
    *,
    checkpoint: Path,
    every_s: float = 600.0,
    report: Callable[[Learner], None],
    report_steps: int = 0,
) -> None:
    """The rest of a stage, with a checkpoint every so often and a report now and then."""
    if learner.resume(checkpoint):
        _logger.info("resumed at step %d", learner.step)
    stage = learner.stage
    longest = stage.crop or stage.max_tokens
    lengths = [min(len(reading.body), longest) + len(reading.question) for reading in readings]
    saved, losses = time.monotonic(), []
    while learner.step < stage.steps:
        rows = batch_rows(lengths, learner.step, batch=stage.batch, seed=stage.seed)
        losses.append(learner.learn([readings[row] for row in rows], tokenizer))
        if learner.step % 50 == 0:
            _logger.info(
                "step %d of %d, loss %.3f, %.1f processor min",
                learner.step,
                stage.steps,
                np.mean(losses),
                learner.cpu_s / 60,
            )
            losses = []
        if report_steps and learner.step % report_steps == 0 and learner.step < stage.steps:
            report(learner)
        if time.monotonic() - saved > every_s:
            learner.save(checkpoint)
            saved = time.monotonic()
    learner.save(checkpoint)
    report(learner)
