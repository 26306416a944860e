"""A Ray cluster of several nodes on this machine, by Ray's own means for tests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_PATIENCE_S = 300.0


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A cluster of one node with one processor; who adds nodes takes them away again."""
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster()
    made.add_node(num_cpus=1, include_dashboard=False)
    yield made
    made.shutdown()


def until(is_so: Callable[[], bool]) -> None:
    """Waits for something that must happen."""
    end = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "what is waited for does not happen"
        time.sleep(0.05)
