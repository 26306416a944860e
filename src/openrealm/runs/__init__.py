"""What a run is: begun, loaded, its caches."""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.runs.folders import RunFolder as RunFolder
    from openrealm.runs.folders import WorkspaceFolder as WorkspaceFolder

_HOMES = {
    "RunFolder": "folders",
    "WorkspaceFolder": "folders",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
