"""The limits of a server; knows nothing of what it serves."""

from __future__ import annotations

from dataclasses import dataclass

from openrealm.settings.config import option


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """How many, how large, how long."""

    max_batch: int = option(
        16, "Requests computed together at most; 1 switches batching off.", minimum=1, maximum=512
    )
    max_inputs: int = option(
        128, "Queries joined with a chunk that are read together at most.", minimum=1
    )
    max_queue: int = option(
        128, "Requests that may wait; further ones get 503 with Retry-After.", minimum=1
    )
    timeout_s: float = option(
        30.0,
        "Seconds that a request may take from its first byte to its answer.",
        minimum=0.1,
        maximum=86_400,
    )
    max_body_bytes: int = option(65_536, "Bytes of a request's body at most.", minimum=1024)
    max_loaded: int = option(
        4, "Sets of weights kept in memory; the one used longest ago gives way.", minimum=1
    )
    watch_s: float = option(
        5.0,
        "Seconds between two looks for a newer run, checkpoint or corpus.",
        minimum=0.05,
        maximum=86_400,
    )
    stop_s: float = option(
        30.0,
        "Seconds that a server asked to stop gives to the requests it has.",
        minimum=0.1,
        maximum=86_400,
    )
