"""The processes that train one model together: how many there are, and what they tell each other;
knows neither models nor files.

One process alone is the common case, in which nothing is sent. Under torchrun each process learns
its number from the environment. What is called *together* here has to be called by every process,
in the same order: a call that one of them leaves out lets the others wait for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from openrealm.errors import ConfigError

_CPU = torch.device("cpu")
# How long one process may be busy with what the others do not take part in.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Its number.
        size: How many there are.
        device: Where tensors have to be to be sent.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and speaks to the user."""
        return self.rank == 0

    def local_slice(self, count: int) -> range:
        """The part of ``count`` things that is this process's; parts differ by one at most."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Every process's tensor, by rank; together. They may differ in their first axis."""
        if self.size == 1:
            return [tensor]
        sent = tensor.detach().to(self.device).contiguous()
        lengths = [torch.zeros(1, dtype=torch.long, device=self.device) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(sent)], device=self.device))
        longest = max(int(length) for length in lengths)
        padded = sent.new_zeros((longest, *sent.shape[1:]))
        padded[: len(sent)] = sent
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(gathered, padded)
        pairs = zip(gathered, lengths, strict=True)
        return [one[: int(length)].to(tensor.device) for one, length in pairs]

    def all_gather_with_gradient(self, tensor: Tensor) -> Tensor:
        """All processes' rows one after another, by rank; together, and so is its gradient."""
        if self.size == 1:
            return tensor
        gathered: Tensor = _Gather.apply(tensor, self)  # type: ignore[no-untyped-call]
        return gathered

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor of this shape; together."""
        if self.size == 1:
            return tensor
        total = tensor.detach().to(self.device, copy=True)
        dist.all_reduce(total)
        return total.to(tensor.device)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process; together."""
        if self.size == 1:
            return flag
        return bool(self.all_reduce(torch.tensor([float(flag)])) > 0)

    def broadcast(self, values: Sequence[int]) -> list[int]:
        """The first process's numbers, of which there are as many everywhere; together."""
        if self.size == 1:
            return list(values)
        sent = torch.tensor(list(values), dtype=torch.long, device=self.device)
        dist.broadcast(sent, src=0)
        return [int(value) for value in sent.tolist()]

    def broadcast_text(self, text: str) -> str:
        """The first process's text; together."""
        letters = torch.tensor(list(text.encode()), dtype=torch.uint8)
        return bytes(self.all_gather(letters)[0].tolist()).decode()

    def barrier(self) -> None:
        """Goes on when all have come here; together."""
        if self.size > 1:
            self.any(False)

    def all_reduce_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Puts the sum of all processes' gradients in the place of each one's own; together.

        A parameter that has a gradient nowhere keeps none.
        """
        if self.size == 1:
            return
        has = self.all_reduce(torch.tensor([float(p.grad is not None) for p in parameters]))
        moved = [p for p, count in zip(parameters, has.tolist(), strict=True) if count]
        for parameter in moved:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [p.grad for p in moved if p.grad is not None]
        for bucket in _buckets(grads):
            flat = torch.cat([grad.flatten() for grad in bucket]).to(self.device)
            dist.all_reduce(flat)
            parts = torch.split(flat, [grad.numel() for grad in bucket])
            for grad, part in zip(bucket, parts, strict=True):
                grad.copy_(part.view_as(grad))


ALONE = Processes()


class _Gather(torch.autograd.Function):
    """Rows of all processes; backwards, each gets what all say about its rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, processes: Processes) -> Tensor:
        parts = processes.all_gather(tensor)
        ctx.processes, ctx.lengths = processes, [len(part) for part in parts]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total: Tensor = ctx.processes.all_reduce(gradient)
        return torch.split(total, ctx.lengths)[ctx.processes.rank], None


def _buckets(tensors: Sequence[Tensor], *, size: int = 1 << 24) -> Iterator[list[Tensor]]:
    """Tensors in order, in groups of one dtype and so many numbers: few large messages."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(one.numel() for one in bucket) + tensor.numel() > size
        if bucket and (full or bucket[0].dtype != tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@contextmanager
def joined(environment: Mapping[str, str] = os.environ, *, gpu: bool) -> Iterator[Processes]:
    """This process among those that torchrun has started, or alone.

    Args:
        environment: Where torchrun says who this is.
        gpu: Whether each process computes on a GPU of its own, by its number on the machine.

    Raises:
        ConfigError: The environment names a rank that there is not, or more processes than GPUs.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        yield ALONE
        return
    rank, size, local = (
        _number(environment, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    )
    if not 0 <= rank < size:
        raise ConfigError(f"RANK={rank} is none of the WORLD_SIZE={size} processes; use torchrun")
    if size == 1:
        yield ALONE
        return
    if gpu:
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local} of this machine has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; start fewer processes, or set device=cpu"
            )
        torch.cuda.set_device(local)
    device = torch.device("cuda", local) if gpu else torch.device("cpu")
    dist.init_process_group(
        "nccl" if gpu else "gloo", rank=rank, world_size=size, timeout=_PATIENCE
    )
    try:
        yield Processes(rank, size, device)
    finally:
        dist.destroy_process_group()


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "0")
    try:
        return int(value)
    except ValueError as error:
        raise ConfigError(f"{name}={value!r} is no number; start with torchrun") from error
