"""A run as one page that opens anywhere; knows figures and texts, no models and no commands."""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.report.plots import plot_run as plot_run

_HOMES = {
    "plot_run": "plots",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
