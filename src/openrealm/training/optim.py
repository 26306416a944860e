"""The optimiser and schedule of BERT's original code, with its departures from Adam selectable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

# bert/optimization.py
WEIGHT_DECAY = 0.01  # decoupled; none on biases and LayerNorms
CLIP_NORM = 1.0  # of all gradients together
_BETA1, _BETA2 = 0.9, 0.999
_EPS = 1e-6
_MANY = 1_000_000
# Steps with a rising learning rate (realm/model.py).
_WARMUP_FRACTION = 0.1
_WARMUP_MAX = 10_000


class AdamWeightDecay(torch.optim.Optimizer):
    """Adam with decoupled weight decay and, by default, without bias correction.

    `torch.optim.AdamW` always corrects; without the correction, the first steps are several times
    longer, which BERT's warm-up allows for.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, bias_correction: bool) -> None:
        """Takes parameter groups with ``params``, ``lr`` and ``weight_decay``."""
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})
        self._bias_correction = bias_correction

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            params: list[torch.Tensor] = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(params, lr=group["lr"], weight_decay=group["weight_decay"])

    def _update(self, params: list[torch.Tensor], *, lr: float, weight_decay: float) -> None:
        for p in params:
            if p not in self.state:
                self.state[p] = {
                    "step": 0,
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
            self.state[p]["step"] += 1
        # One pass over all numbers, in place of a dozen.
        torch._fused_adamw_(
            params,
            [p.grad for p in params if p.grad is not None],
            [self.state[p]["exp_avg"] for p in params],
            [self.state[p]["exp_avg_sq"] for p in params],
            [],
            self._counts(params),
            lr=lr,
            beta1=_BETA1,
            beta2=_BETA2,
            weight_decay=weight_decay,
            eps=_EPS,
            amsgrad=False,
            maximize=False,
        )

    def _counts(self, params: list[torch.Tensor]) -> list[torch.Tensor]:
        """Steps of each parameter, of which the correction is made; after very many it is none."""
        steps = [self.state[p]["step"] if self._bias_correction else _MANY for p in params]
        device = params[0].device
        counts = {n: torch.tensor(float(n), device=device) for n in set(steps)}
        return [counts[n] for n in steps]


def parameter_groups(modules: Iterable[tuple[nn.Module, float]]) -> list[dict[str, Any]]:
    """Groups of trainable parameters, two per module: with weight decay and without.

    Args:
        modules: Modules with their peak learning rates; a parameter belongs to the first that
            has it.
    """
    groups: list[dict[str, Any]] = []
    taken: set[int] = set()
    for module, lr in modules:
        norms = {
            id(parameter)
            for part in module.modules()
            if isinstance(part, nn.LayerNorm)
            for parameter in part.parameters()
        }
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for name, parameter in module.named_parameters():
            if id(parameter) in taken or not parameter.requires_grad:
                continue
            taken.add(id(parameter))
            is_plain = name.endswith("bias") or parameter.numel() == 1 or id(parameter) in norms
            (plain if is_plain else decayed).append(parameter)
        for params, decay in ((decayed, WEIGHT_DECAY), (plain, 0.0)):
            if params:
                groups.append({"params": params, "lr": lr, "peak": lr, "weight_decay": decay})
    return groups


def learning_rate_factor(step: int, steps: int, *, warmup_min: int = 0) -> float:
    """The part of the peak learning rate at a step: linear rise, then linear decay.

    The decay is measured from step 0, as in bert/optimization.py: when the rise ends, the rate
    falls at once by the part of the decay that lies behind.
    """
    warmup = min(_WARMUP_MAX, max(warmup_min, _WARMUP_FRACTION * steps))
    if step < warmup:
        return (step + 1) / math.ceil(warmup)
    return 1.0 - step / steps


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group to its peak rate times the factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
