"""One function per command, each composing its objects from one configuration.

The names are loaded on first use: importing this package imports nothing heavy.
"""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.recipes.demonstration import demo as demo
    from openrealm.recipes.evaluation import evaluate as evaluate
    from openrealm.recipes.exports import export as export
    from openrealm.recipes.finetuning import finetune as finetune
    from openrealm.recipes.imports import import_weights as import_weights
    from openrealm.recipes.ingestion import ingest as ingest
    from openrealm.recipes.inspection import build_index as build_index
    from openrealm.recipes.inspection import info as info
    from openrealm.recipes.pretraining import pretrain as pretrain
    from openrealm.recipes.refresh_worker import refresh_worker as refresh_worker
    from openrealm.recipes.reporting import report as report
    from openrealm.recipes.serving import serve as serve
    from openrealm.recipes.sharing import from_pretrained as from_pretrained
    from openrealm.recipes.sharing import push_to_hub as push_to_hub

_HOMES = {
    "build_index": "inspection",
    "demo": "demonstration",
    "evaluate": "evaluation",
    "export": "exports",
    "finetune": "finetuning",
    "from_pretrained": "sharing",
    "import_weights": "imports",
    "info": "inspection",
    "ingest": "ingestion",
    "pretrain": "pretraining",
    "push_to_hub": "sharing",
    "refresh_worker": "refresh_worker",
    "report": "reporting",
    "serve": "serving",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
