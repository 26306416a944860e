"""Training: batches to losses, the loop, checkpoints, and refreshing the index beside it."""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.training.trainer import Trainer as Trainer

_HOMES = {
    "Trainer": "trainer",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
