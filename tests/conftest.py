"""What holds for every test: shape checks, one thread, no network, repeatable examples."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import jaxtyping
import pytest

# Before torch, numpy and the Hugging Face libraries are imported, which read these once.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

# Annotated shapes are checked at every call of these packages' functions.
SHAPE_CHECKED = [
    "openrealm.retrieval.batches",
    "openrealm.index",
    "openrealm.models",
    "openrealm.retrieval",
    "openrealm.training",
]
assert not set(SHAPE_CHECKED) & set(sys.modules), "imported before the shape checks were installed"
jaxtyping.install_import_hook(SHAPE_CHECKED, "beartype.beartype")

# Loaded after the hook: the fixtures `world`, `trained`, `served`, `cluster` and `packed`, and what
# they are made of.
pytest_plugins = ["tiny", "trained", "served", "nodes", "packed"]

# The same examples on every run, however slow or busy the machine is.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real texts and question files that OPENREALM_SHARED names."""
    name = os.environ.get("OPENREALM_SHARED")
    if not name:
        pytest.skip("OPENREALM_SHARED is not set: no folder of real data")
    if not Path(name).is_dir():
        pytest.skip(f"OPENREALM_SHARED={name} is no folder")
    return Path(name)
