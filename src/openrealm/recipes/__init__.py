"""One function per command, each composing its objects from one configuration.

The names are loaded on first use: importing this package imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openrealm.recipes.demonstration import demo
    from openrealm.recipes.evaluation import evaluate
    from openrealm.recipes.exports import export
    from openrealm.recipes.finetuning import finetune
    from openrealm.recipes.imports import import_weights
    from openrealm.recipes.ingestion import ingest
    from openrealm.recipes.pretraining import pretrain
    from openrealm.recipes.queries import ask, build_index, config_text, fill, info, search
    from openrealm.recipes.refresh_worker import refresh_worker
    from openrealm.recipes.reporting import report
    from openrealm.recipes.serving import serve
    from openrealm.recipes.sharing import from_pretrained, push_to_hub

__all__ = [
    "ask",
    "build_index",
    "config_text",
    "demo",
    "evaluate",
    "export",
    "fill",
    "finetune",
    "from_pretrained",
    "import_weights",
    "info",
    "ingest",
    "pretrain",
    "push_to_hub",
    "refresh_worker",
    "report",
    "search",
    "serve",
]

_HOMES = {
    "ask": "queries",
    "build_index": "queries",
    "config_text": "queries",
    "demo": "demonstration",
    "evaluate": "evaluation",
    "export": "exports",
    "fill": "queries",
    "finetune": "finetuning",
    "from_pretrained": "sharing",
    "import_weights": "imports",
    "info": "queries",
    "ingest": "ingestion",
    "pretrain": "pretraining",
    "push_to_hub": "sharing",
    "refresh_worker": "refresh_worker",
    "report": "reporting",
    "search": "queries",
    "serve": "serving",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
