"""Maximum inner-product search over chunk embeddings; knows vectors and row numbers only."""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.index.mips import ExactIndex as ExactIndex
    from openrealm.index.snapshot import Snapshot as Snapshot

_HOMES = {
    "ExactIndex": "mips",
    "Snapshot": "snapshot",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
