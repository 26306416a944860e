"""Make the held-out queries and the questions, and keep their facts apart.

Every fact belongs to one of three parts: queries, dev questions or train questions, so that no
question of one part gives away a fact, or its reverse, of another. The second set of held-out
queries asks, in words of its own, for facts that the first does not ask for; some of them are asked
for by questions. Knows nothing of files.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from generator.articles import Article, Cell, Facts
from generator.facts import Fact, draw, occurs, pick, read_table
from generator.phrases_second import SECOND
from generator.relations import Relation, Wordings

# The words that a query may share with the articles, beside the name of its subject.
SHARED = """
    a an the this that it its and or of in on at to from by with for into over through under
    is are was were be been do does did has have had can could should would one you your our
    which what who whom whose where when how many much there as not than other others all most
    around city country year person place
"""
SHARED_WORDS = frozenset(SHARED.split())
QUERY_PERCENT = 18  # of the facts of a relation that has wordings for queries
DEV_PERCENT = 13  # of the other facts
QUERIES_PER_RELATION = 24
SECOND_QUERIES_PER_RELATION = 9

Sharing = Counter[tuple[str, str]]
"""How many subjects of a relation have the same object: (relation, object) -> number."""


@dataclass(frozen=True)
class Query:
    """A held-out question in words that no article uses.

    Attributes:
        text: the question.
        fact: the fact that it asks for.
        relation: the fact's relation, with " (reverse)" where the subject is asked for.
        named: the name that the question holds: the fact's subject, or its object in reverse.
        answers: ways of writing the answer.
        gold: ids of the articles that tell the fact.
    """

    text: str
    fact: Fact
    relation: str
    named: str
    answers: tuple[str, ...]
    gold: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A question in everyday words; ``part`` is "train" or "dev"."""

    text: str
    fact: Fact
    answers: tuple[str, ...]
    part: str


def ask(facts: Facts, articles: Sequence[Article]) -> tuple[list[Query], list[Question]]:
    """Ask for every fact, once or twice, in one of the three parts."""
    gold, sharing, namesakes = tellings(articles), count_sharing(facts), count_namesakes(facts)
    queries, questions = [], []
    for cell in sorted(facts.cells, key=lambda c: draw(key(c, "order"), 2**40)):
        part = part_of(cell)
        if part != "queries":
            questions += ask_both_ways(cell, part, sharing)
        elif namesakes[cell.fact.subject.name.lower()] == 1:
            queries += held_out(cell, cell.relation, gold[cell.fact], sharing)
    return at_most(queries, QUERIES_PER_RELATION), questions


def ask_again(facts: Facts, articles: Sequence[Article]) -> list[Query]:
    """Ask the second set of held-out queries, for facts that ``ask`` keeps out of the first."""
    gold, sharing, namesakes = tellings(articles), count_sharing(facts), count_namesakes(facts)
    queries = []
    for cell in sorted(facts.cells, key=lambda c: draw(key(c, "second"), 2**40)):
        worded = SECOND.get(cell.fact.relation)
        alone = namesakes[cell.fact.subject.name.lower()] == 1
        if worded and alone and part_of(cell) != "queries":
            queries += held_out(cell, worded, gold[cell.fact], sharing)
    return at_most(queries, SECOND_QUERIES_PER_RELATION)


def at_most(queries: Sequence[Query], count: int) -> list[Query]:
    """Return the first ``count`` queries of every relation."""
    asked, kept = Counter[str](), []
    for query in queries:
        asked[query.relation] += 1
        if asked[query.relation] <= count:
            kept.append(query)
    return kept


def count_namesakes(facts: Facts) -> Counter[str]:
    """Count the subjects of a name: the name in lower case -> number."""
    return Counter(entity.name.lower() for entity in facts.subjects)


def count_sharing(facts: Facts) -> Sharing:
    """Count the subjects that share an object."""
    return Counter((c.fact.relation, c.fact.object_name.lower()) for c in facts.cells)


def tellings(articles: Sequence[Article]) -> dict[Fact, tuple[str, ...]]:
    """Return for every fact the ids of the articles that tell it, in order."""
    told: dict[Fact, list[str]] = defaultdict(list)
    for article in articles:
        for fact in dict.fromkeys(f for s in article.sentences for f in s.facts):
            told[fact].append(article.id)
    return {fact: tuple(ids) for fact, ids in told.items()}


def key(cell: Cell, purpose: str) -> str:
    """Return the text from which every choice about a fact is drawn."""
    return f"{purpose}|{cell.fact.relation}|{cell.fact.subject.form}"


def part_of(cell: Cell) -> str:
    """Say to which part a fact belongs: "queries", "dev" or "train"."""
    worded = cell.relation.queries or cell.relation.reverse_queries
    if worded and draw(key(cell, "query"), 100) < QUERY_PERCENT:
        return "queries"
    return "dev" if draw(key(cell, "dev"), 100) < DEV_PERCENT else "train"


def gives_itself_away(cell: Cell) -> bool:
    """Say whether the answer stands in the subject's name or the other way about."""
    subject, answer = cell.fact.subject.name, cell.fact.object_name
    return occurs(subject, answer) or occurs(answer, subject)


def held_out(
    cell: Cell, worded: Relation | Wordings, gold: tuple[str, ...], sharing: Sharing
) -> list[Query]:
    """Word the held-out query of a fact and, where one subject alone fits, the reverse one."""
    fact = cell.fact
    if gives_itself_away(cell):
        return []
    found = []
    if worded.queries:
        text = pick(key(cell, "wording"), worded.queries).format(s=fact.subject.form)
        answers = spellings(fact.object_name)
        found.append(
            Query(capitalised(text), fact, fact.relation, fact.subject.name, answers, gold)
        )
    if worded.reverse_queries and is_unique(cell, sharing):
        text = pick(key(cell, "reverse wording"), worded.reverse_queries).format(o=fact.object)
        answers, name = spellings(fact.subject.name), f"{fact.relation} (reverse)"
        found.append(Query(capitalised(text), fact, name, fact.object_name, answers, gold))
    return [query for query in found if not any(occurs(a, query.text) for a in query.answers)]


def is_unique(cell: Cell, sharing: Sharing) -> bool:
    """Say whether no other subject of the relation has the same object."""
    return sharing[cell.fact.relation, cell.fact.object_name.lower()] == 1


def ask_both_ways(cell: Cell, part: str, sharing: Sharing) -> list[Question]:
    """Ask for the object and, where one subject alone fits, for the subject."""
    relation, fact = cell.relation, cell.fact
    if gives_itself_away(cell):
        return []
    found = []
    if relation.questions:
        text = pick(key(cell, "forward"), relation.questions).format(s=fact.subject.form)
        found.append(Question(capitalised(text), fact, spellings(fact.object_name), part))
    if relation.reverse_questions and is_unique(cell, sharing):
        text = pick(key(cell, "reverse"), relation.reverse_questions).format(o=fact.object)
        found.append(Question(capitalised(text), fact, spellings(fact.subject.name), part))
    return found


@cache
def aliases() -> dict[str, tuple[str, ...]]:
    """Return other ways of writing a name, from ``facts/aliases.tsv``."""
    return {row["name"]: tuple(row["aliases"].split("; ")) for row in read_table("aliases")}


def spellings(name: str) -> tuple[str, ...]:
    """Return a name and the other ways of writing it: without commas, without accents, aliases."""
    found = [name, *aliases().get(name, ())]
    if name.replace(",", "").isdigit() and "," in name:
        found += [name.replace(",", ""), f"{name} metres"]
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return tuple(dict.fromkeys([*found, plain]))


def capitalised(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[0].upper() + text[1:]
