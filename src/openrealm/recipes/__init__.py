"""One function per command, each composing its objects from one configuration.

The names are loaded on first use: importing this package imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openrealm.recipes.asking import ask, build_index, config_text, fill, info, search
    from openrealm.recipes.demonstrating import demo
    from openrealm.recipes.evaluating import evaluate
    from openrealm.recipes.exporting import export
    from openrealm.recipes.finetuning import finetune
    from openrealm.recipes.importing import import_weights
    from openrealm.recipes.ingesting import ingest
    from openrealm.recipes.pretraining import pretrain
    from openrealm.recipes.refreshing import refresh_worker
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
    "ask": "asking",
    "build_index": "asking",
    "config_text": "asking",
    "demo": "demonstrating",
    "evaluate": "evaluating",
    "export": "exporting",
    "fill": "asking",
    "finetune": "finetuning",
    "from_pretrained": "sharing",
    "import_weights": "importing",
    "info": "asking",
    "ingest": "ingesting",
    "pretrain": "pretraining",
    "push_to_hub": "sharing",
    "refresh_worker": "refreshing",
    "report": "reporting",
    "search": "asking",
    "serve": "serving",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
