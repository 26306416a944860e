"""The REALM model: tensors in, tensors out; no files of text, no index, no training loop.

Axis names used in every signature of this package: ``batch``, ``k`` (candidates, the null chunk
first), ``seq``, ``masks``, ``spans``, ``chunks``, ``dim`` (retrieval space), ``hidden``, ``vocab``.
"""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.models.embedder import Embedder as Embedder
    from openrealm.models.inputs import Templates as Templates
    from openrealm.models.reader import Reader as Reader
    from openrealm.models.realm import Realm as Realm

_HOMES = {
    "Embedder": "embedder",
    "Reader": "reader",
    "Realm": "realm",
    "Templates": "inputs",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
