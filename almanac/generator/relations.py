"""What a relation is: a column of a table with the phrases that tell it and ask for it.

Knows nothing of the phrases themselves (``phrases_*.py``) nor of the way articles are put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Phrases = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A column of a table and its wordings.

    A phrase has slots: ``{s}`` the subject, ``{o}`` the object, ``{column}`` another cell of the
    row (a phrase whose cell is empty is not used), and ``{=column}`` a cell whose fact the phrase
    tells as well. The wordings of ``forward``, ``reverse``, ``overview`` and ``elsewhere`` share
    as few words as they can, so that no telling of a fact repeats another.

    Attributes:
        name: the relation's name in queries and tests.
        table: the table it is a column of.
        column: the column.
        subject_kind: kind of the table's subjects.
        object_kind: kind of the objects; None where the object is a plain value (a year, a symbol).
        forward: told in the subject's article; empty where another relation's phrase tells it.
        reverse: told in the object's article, where the object has one.
        elsewhere: told in the article of another cell of the row: column -> phrases.
        overview: told in overview articles.
        topics: titles of the overview articles, tried in order until a group is large enough; may
            hold slots, and ``{decade}``, ``{century}``, ``{tens}`` for numbers, ``{initial}``.
        overview_always: tell every fact in an overview, not just those told only once elsewhere.
        queries: questions for the object in words that no article uses.
        reverse_queries: such questions for the subject.
        questions: questions in everyday words, for the object.
        reverse_questions: questions for the subject; empty where several subjects share an object.
    """

    name: str
    table: str
    column: str
    subject_kind: str
    object_kind: str | None = None
    forward: Phrases = ()
    reverse: Phrases = ()
    elsewhere: Mapping[str, Phrases] = field(default_factory=dict)
    overview: Phrases = ()
    topics: Phrases = ()
    overview_always: bool = False
    queries: Phrases = ()
    reverse_queries: Phrases = ()
    questions: Phrases = ()
    reverse_questions: Phrases = ()


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """Held-out questions for one relation, with the slots ``{s}`` and ``{o}``.

    Attributes:
        queries: questions for the object in words that no article uses.
        reverse_queries: such questions for the subject.
    """

    queries: Phrases = ()
    reverse_queries: Phrases = ()


@dataclass(frozen=True, kw_only=True)
class Hop:
    """A sentence for a short article that tells a fact about something the article mentions.

    The article on a lake names its country; a hop adds what one pays with there. Phrases have the
    slots ``{s}`` (the article's subject), ``{via}`` (what it mentions) and ``{o}`` (the object of
    ``relation`` for ``{via}``).

    Attributes:
        table: the table of the article's subject.
        via: the column that names the other subject.
        relation: name of the relation told about it.
        phrases: the wordings.
    """

    table: str
    via: str
    relation: str
    phrases: Phrases
