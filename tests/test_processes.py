"""Tests of what processes that train together tell each other."""

from __future__ import annotations

import pytest
import torch
from together import environment, run_together

from openrealm.errors import ConfigError
from openrealm.processes import ALONE, Processes, joined

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def test_shares_are_in_order_leave_nothing_out_and_differ_by_one_at_most() -> None:
    for count in (0, 1, 5, 12, 13):
        for size in (1, 2, 3, 5):
            shares = [Processes(rank, size).local_slice(count) for rank in range(size)]
            assert [n for share in shares for n in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_sent() -> None:
    tensor = torch.arange(3.0, requires_grad=True)
    assert (
        ALONE.all_gather(tensor)[0] is tensor and ALONE.all_gather_with_gradient(tensor) is tensor
    )
    assert ALONE.all_reduce(tensor) is tensor
    assert ALONE.any(True) and not ALONE.any(False)
    assert ALONE.broadcast([3, 4]) == [3, 4]
    assert ALONE.broadcast_text("run-007") == "run-007"
    ALONE.barrier()
    ALONE.all_reduce_gradients([torch.nn.Parameter(tensor.detach())])


def talk(processes: Processes) -> dict[str, object]:
    rank = processes.rank
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    parameters[0].grad = torch.full((2,), float(rank + 1))
    if rank == 1:  # the others know nothing of it
        parameters[1].grad = torch.full((2,), 5.0)
    processes.all_reduce_gradients(parameters)
    return {
        "gathered": [
            part.tolist() for part in processes.all_gather(torch.arange(rank + 1) + 10 * rank)
        ],
        "sum": processes.all_reduce(torch.tensor([1.0, rank])).tolist(),
        "any": [processes.any(rank == 1), processes.any(False)],
        "numbers": processes.broadcast([rank + 7, 2**40]),
        "text": processes.broadcast_text("élan" if rank == 0 else ""),
        "gradients": [p.grad.tolist() if p.grad is not None else None for p in parameters],
    }


def test_processes_tell_each_other_what_they_have() -> None:
    told = run_together(talk, size=3)
    assert told[0] == told[1] == told[2]
    assert told[0] == {
        "gathered": [[0], [10, 11], [20, 21, 22]],
        "sum": [3.0, 3.0],
        "any": [True, False],
        "numbers": [7, 2**40],
        "text": "élan",
        "gradients": [[6.0, 6.0], [5.0, 5.0], None],
    }


def softmax_over_all(processes: Processes) -> list[float]:
    torch.manual_seed(0)
    everything = torch.randn(5, 3)
    share = processes.local_slice(5)
    mine = everything[share.start : share.stop].clone().requires_grad_()
    scores = mine @ processes.all_gather_with_gradient(mine * mine).T
    own = torch.arange(share.start, share.stop)
    torch.nn.functional.cross_entropy(scores, own, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert mine.grad is not None
    found: list[float] = mine.grad.flatten().tolist()
    return found


def test_what_others_say_about_a_row_is_part_of_its_gradient() -> None:
    torch.manual_seed(0)
    rows = torch.randn(5, 3, requires_grad=True)
    scores = rows @ (rows * rows).T
    torch.nn.functional.cross_entropy(scores, torch.arange(5), reduction="sum").backward()  # type: ignore[no-untyped-call]
    parts = run_together(softmax_over_all)
    assert rows.grad is not None
    assert parts[0] + parts[1] == pytest.approx(rows.grad.flatten().tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"RANK": "first"}, "RANK='first' is no number"), ({"RANK": "5"}, "RANK=5 is none of")],
)
def test_an_environment_that_cannot_be_is_refused(changed: dict[str, str], message: str) -> None:
    wrong = environment(0, 2, 1) | changed
    with pytest.raises(ConfigError, match=message), joined(wrong, gpu=False):
        pass


def test_without_torchrun_and_with_one_process_nothing_is_joined() -> None:
    with joined({}, gpu=False) as processes:
        assert processes == ALONE
    with joined(environment(0, 1, 1), gpu=False) as processes:
        assert processes == ALONE
