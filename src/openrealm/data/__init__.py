"""What we learn from: masked and inverse-cloze examples, questions with answers."""

from typing import TYPE_CHECKING

from openrealm._lazy import exports

if TYPE_CHECKING:
    from openrealm.data.pretraining import MaskedQuery as MaskedQuery
    from openrealm.data.qa import Question as Question
    from openrealm.data.qa import read_questions as read_questions
    from openrealm.data.salient import make_tagger as make_tagger

_HOMES = {
    "MaskedQuery": "pretraining",
    "Question": "qa",
    "make_tagger": "salient",
    "read_questions": "qa",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
