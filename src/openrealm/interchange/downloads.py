"""Where a source lies: a path here, or a name on the Hugging Face hub, whose files are fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from openrealm.errors import InputError
from openrealm.interchange.blocks import RECORDS
from openrealm.interchange.hub import failures_told
from openrealm.interchange.weight_files import WEIGHTS

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def located(source: str) -> Path:
    """The file or folder of a source; what is named on the hub is fetched into its cache.

    Raises:
        InputError: There is nothing of that name.
        HubError: The hub cannot be reached, or has no such repository.
    """
    path = Path(source)
    if path.exists():
        return path
    if not _HUB_NAME.fullmatch(source):
        raise InputError(f"there is no file or folder '{source}', and it is no hub name")
    return _fetched(source)


def wanted_files(listed: Sequence[str]) -> list[str]:
    """What of a repository's files is needed: its config, vocabulary, blocks, weights once."""
    wanted = {"config.json", "vocab.txt", "tokenizer.json", RECORDS}
    first = next((name for name in WEIGHTS if name in listed), None)
    if first is not None:
        wanted.add(first)
        # An index names its shards: model-00001-of-00002.safetensors and so on.
        if first.endswith(".index.json"):
            stem, suffix = first.removesuffix(".index.json").rsplit(".", 1)
            shard = re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.{suffix}")
            wanted |= {name for name in listed if shard.fullmatch(name)}
    return sorted(wanted & set(listed))


def _fetched(name: str) -> Path:
    # Not at the top: it takes a while, and only a hub name needs it.
    import huggingface_hub

    with failures_told(f"there is no file or folder '{name}', and the hub did not give it"):
        listed = huggingface_hub.HfApi().list_repo_files(name)
        folder = huggingface_hub.snapshot_download(name, allow_patterns=wanted_files(listed))
    return Path(folder)
