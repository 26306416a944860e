"""REALM: a retriever and a reader learned together from unlabelled text.

``openrealm.open(folder)`` is where to begin. The names are loaded on first use: importing this
package imports nothing heavy.
"""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.corpus.records import Document as Document
    from openrealm.errors import OpenRealmError as OpenRealmError
    from openrealm.errors import Stopped as Stopped
    from openrealm.recipes.demonstration import demo as demo
    from openrealm.recipes.imports import import_weights as import_weights
    from openrealm.recipes.refresh_worker import refresh_worker as refresh_worker
    from openrealm.recipes.serving import serve as serve
    from openrealm.recipes.sharing import PretrainedModel as PretrainedModel
    from openrealm.recipes.sharing import from_pretrained as from_pretrained
    from openrealm.settings.run import Settings as Settings
    from openrealm.settings.run import settings_text as settings_text
    from openrealm.workspace.arguments import preset as preset
    from openrealm.workspace.session import AskResult as AskResult
    from openrealm.workspace.session import FillResult as FillResult
    from openrealm.workspace.session import Run as Run
    from openrealm.workspace.session import SearchResult as SearchResult
    from openrealm.workspace.workspace import Workspace as Workspace
    from openrealm.workspace.workspace import open as open

__version__ = "0.1.0"

_HOMES = {
    "AskResult": "workspace.session",
    "Document": "corpus.records",
    "FillResult": "workspace.session",
    "OpenRealmError": "errors",
    "PretrainedModel": "recipes.sharing",
    "Run": "workspace.session",
    "SearchResult": "workspace.session",
    "Settings": "settings.run",
    "Stopped": "errors",
    "Workspace": "workspace.workspace",
    "demo": "recipes.demonstration",
    "from_pretrained": "recipes.sharing",
    "import_weights": "recipes.imports",
    "open": "workspace.workspace",
    "preset": "workspace.arguments",
    "refresh_worker": "recipes.refresh_worker",
    "serve": "recipes.serving",
    "settings_text": "settings.run",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
