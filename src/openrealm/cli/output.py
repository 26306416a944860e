"""A recipe's result on standard output, as text or as one JSON document."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")


def show(result: Result, render: Callable[[Result], str], *, as_json: bool) -> None:
    """Prints a result: what ``render`` makes of it, or JSON.

    Of several processes under torchrun, the first alone does.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    text = to_json(result) if as_json else render(result)
    sys.stdout.write(text.rstrip("\n") + "\n")


def to_json(result: object) -> str:
    """The result as a JSON document; in ASCII where standard output takes nothing more."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    ascii_only = not encoding.startswith("utf")
    return json.dumps(plain(result), ensure_ascii=ascii_only, indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """Dataclasses, paths, tuples and numbers as what JSON knows; NaN and infinity as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return plain(value.tolist())
    return str(value)
