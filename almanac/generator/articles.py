"""Put articles together: one for each subject, one for each object told of enough, and overviews.

Knows the relations and their phrases; knows nothing of queries or questions.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from generator.facts import Entity, Fact, Row, bare, draw, pick, read_table
from generator.phrases import HOPS, RELATIONS
from generator.relations import Hop, Phrases, Relation

MAX_SENTENCES = 6
MAX_WORDS = 110
MIN_WORDS = 30
WORDS_WANTED = 40  # an article shorter than this is given hops
UNDECOMPOSED = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae"})
MIN_GROUP = 4  # an overview topic with fewer facts gives way to the next, wider topic


@dataclass(frozen=True)
class Sentence:
    """A sentence and the facts that it tells."""

    text: str
    facts: tuple[Fact, ...]

    @property
    def num_words(self) -> int:
        """Number of words, split at white space."""
        return len(self.text.split())


@dataclass
class Article:
    """A titled text; ``entity`` is None for an overview."""

    title: str
    entity: Entity | None
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The title in lower-case ASCII with hyphens."""
        letters = self.title.translate(UNDECOMPOSED)
        plain = unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode()
        return re.sub(r"[^a-z0-9]+", "-", plain.lower().replace("'", "")).strip("-")

    @property
    def text(self) -> str:
        """The sentences with a space between them."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def num_words(self) -> int:
        """Number of words of the text."""
        return sum(sentence.num_words for sentence in self.sentences)

    def has_room_for(self, sentence: Sentence) -> bool:
        """Say whether the sentence would keep the article within its bounds and is new to it."""
        return (
            len(self.sentences) < MAX_SENTENCES
            and self.num_words + sentence.num_words <= MAX_WORDS
            and all(sentence.text != other.text for other in self.sentences)
        )

    @property
    def is_long_enough(self) -> bool:
        """Say whether it has two sentences and the fewest words an article may have."""
        return len(self.sentences) >= 2 and self.num_words >= MIN_WORDS


@dataclass(frozen=True)
class Cell:
    """A fact with what its phrases need: the relation and the row that it stands in."""

    relation: Relation
    fact: Fact
    row: Row

    @property
    def object_entity(self) -> Entity | None:
        """The object as an entity, where the relation has such objects."""
        kind = self.relation.object_kind
        return Entity(kind, self.fact.object) if kind else None


class Facts:
    """All facts of the tables, in a fixed order, and where each cell's relation is.

    Attributes:
        cells: every fact with its row.
        subjects: the entities that have a row of their own -> their table.
    """

    def __init__(self, relations: Sequence[Relation] = RELATIONS) -> None:
        self.relations = relations
        self.by_column = {(r.table, r.column): r for r in relations}
        tables = {name: read_table(name) for name in dict.fromkeys(r.table for r in relations)}
        self.rows: dict[tuple[str, str], Row] = {
            (table, row["name"]): row for table, rows in tables.items() for row in rows
        }
        self.cells = [
            self.cell(relation, row)
            for relation in relations
            for row in tables[relation.table]
            if relation.column in row
        ]
        self.subjects = {cell.fact.subject: cell.relation.table for cell in self.cells}

    @staticmethod
    def cell(relation: Relation, row: Row) -> Cell:
        """Return the fact of one relation in one row."""
        subject = Entity(relation.subject_kind, row["name"])
        return Cell(relation, Fact(relation.name, subject, row[relation.column]), row)

    def fill(self, cell: Cell, phrases: Phrases, place: str) -> Sentence | None:
        """Choose among the phrases that tell most of the row's facts, and fill the slots.

        Args:
            cell: the fact to tell.
            phrases: the wordings to choose from.
            place: what else the choice depends on; the same in every run.

        Returns:
            The sentence, or None when every phrase needs a cell that the row does not have.
        """
        slots = slots_of(cell)
        usable = tuple(p for p in phrases if fields_of(p) <= slots.keys())
        if not usable:
            return None
        most = max(phrase.count("{=") for phrase in usable)
        usable = tuple(phrase for phrase in usable if phrase.count("{=") == most)
        phrase = pick(f"{place}|{cell.fact.relation}|{cell.fact.subject.form}", usable)
        also = re.findall(r"\{=(\w+)\}", phrase)
        facts = [cell.fact]
        facts += [self.cell(self.by_column[cell.relation.table, c], cell.row).fact for c in also]
        text = phrase.replace("{=", "{").format_map(slots)
        return Sentence(text[0].upper() + text[1:], tuple(facts))

    def hop(self, hop: Hop, subject: Entity, row: Row) -> Sentence | None:
        """Fill a hop for the article of one subject, where its facts are known."""
        relation = next(r for r in self.relations if r.name == hop.relation)
        other = self.rows.get((relation.table, row.get(hop.via, "")))
        if other is None or relation.column not in other:
            return None
        cell = self.cell(relation, other)
        phrase = pick(f"hop|{subject.form}|{hop.relation}", hop.phrases)
        text = phrase.format(s=subject.form, via=other["name"], o=cell.fact.object)
        return Sentence(text[0].upper() + text[1:], (cell.fact,))


def fields_of(phrase: str) -> set[str]:
    """Return the names of a phrase's slots, without the mark "="."""
    return {name.removeprefix("=") for _, name, _, _ in string.Formatter().parse(phrase) if name}


def slots_of(cell: Cell) -> dict[str, str]:
    """Return what may stand in the slots of the phrases and topics of one fact."""
    subject, value = cell.fact.subject, cell.fact.object
    slots = {**cell.row, "s": subject.form, "o": value, "bare_s": subject.name}
    for column in ("role", "form"):
        if word := cell.row.get(column):
            slots[f"a_{column}"] = f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
    slots["initial"] = unicodedata.normalize("NFKD", subject.name)[0].upper()
    if value.isdigit():
        number = int(value)
        first = (number - 1) // 10 * 10 + 1
        slots["tens"] = f"{first} to {first + 9}"
        slots["decade"] = f"{number // 10 * 10}s"
        slots["century"] = f"{ordinal((number - 1) // 100 + 1)} century"
    return slots


def ordinal(number: int) -> str:
    """Return "1st", "2nd", "3rd", "4th" ... for a number below 21 or so."""
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd', 21: 'st'}.get(number, 'th') }"


def write_articles(facts: Facts) -> list[Article]:
    """Write every article of the almanac.

    Returns:
        The articles, those of subjects and objects first, overviews after them.

    Raises:
        ValueError: an article or a title breaks the rules of the corpus; every case is named.
    """
    articles = write_entity_articles(facts)
    articles += write_overviews(facts, articles)
    tell_namesakes_apart(articles)
    check_bounds(articles)
    return articles


def write_entity_articles(facts: Facts) -> list[Article]:
    """Write the articles of subjects, and of objects of which there is enough to tell."""
    articles: dict[Entity, Article] = {}
    for cell in facts.cells:
        add(articles, cell.fact.subject, facts.fill(cell, cell.relation.forward, "own"))
    for entity, sentence in told_elsewhere(facts):
        add(articles, entity, sentence)
    for entity, table in facts.subjects.items():
        row = facts.rows[table, entity.form]
        hops = [hop for hop in HOPS if hop.table == table]
        turn = draw(entity.form, len(hops)) if hops else 0
        for hop in hops[turn:] + hops[:turn]:
            if articles[entity].num_words < WORDS_WANTED:
                add(articles, entity, facts.hop(hop, entity, row))
    for cell in facts.cells:
        if not articles[cell.fact.subject].is_long_enough:
            for phrase in cell.relation.forward:  # say it again in other words
                add_if_short(articles, cell.fact.subject, facts.fill(cell, (phrase,), "again"))
    return [a for e, a in articles.items() if e in facts.subjects or a.is_long_enough]


def told_elsewhere(facts: Facts) -> Iterable[tuple[Entity, Sentence | None]]:
    """Yield the sentences for the articles of objects and of other cells of a fact's row."""
    for cell in facts.cells:
        relation, target = cell.relation, cell.object_entity
        if target is not None and relation.reverse:
            yield target, facts.fill(cell, relation.reverse, "object")
        for column, phrases in relation.elsewhere.items():
            kind = facts.by_column[relation.table, column].object_kind
            if column in cell.row and kind:
                yield Entity(kind, cell.row[column]), facts.fill(cell, phrases, column)


def add(articles: dict[Entity, Article], entity: Entity, sentence: Sentence | None) -> None:
    """Append a sentence to an entity's article, if there is one and there is room for it."""
    article = articles.setdefault(entity, Article(entity.title, entity))
    if sentence is not None and article.has_room_for(sentence):
        article.sentences.append(sentence)


def add_if_short(
    articles: dict[Entity, Article], entity: Entity, sentence: Sentence | None
) -> None:
    """Append a sentence as long as the article has too few words."""
    if not articles[entity].is_long_enough:
        add(articles, entity, sentence)


def write_overviews(facts: Facts, articles: Sequence[Article]) -> list[Article]:
    """Write overviews of the facts told in one article only, and of relations that ask for it."""
    told: dict[Fact, int] = defaultdict(int)
    for article in articles:
        for fact in {fact for sentence in article.sentences for fact in sentence.facts}:
            told[fact] += 1
    waiting = [
        cell
        for cell in facts.cells
        if cell.relation.overview and (cell.relation.overview_always or told[cell.fact] < 2)
    ]
    waiting = drop_covered(facts, waiting, told)
    groups: dict[str, list[Cell]] = defaultdict(list)
    for level in range(max(len(r.topics) for r in facts.relations)):
        waiting = take_groups(waiting, level, groups)
    overviews = []
    for topic, cells in sorted(groups.items()):
        overviews += write_overview(facts, topic, cells)
    return overviews


def drop_covered(facts: Facts, cells: Sequence[Cell], told: Mapping[Fact, int]) -> list[Cell]:
    """Leave out the facts that the overview sentence of another fact of the row tells as well."""
    kept, covered = [], set[Fact]()
    for cell in sorted(cells, key=lambda c: -max(p.count("{=") for p in c.relation.overview)):
        if cell.fact in covered and told[cell.fact] > 0:
            continue
        sentence = facts.fill(cell, cell.relation.overview, "")
        covered |= set(sentence.facts[1:]) if sentence else set()
        kept.append(cell)
    return kept


def take_groups(cells: Iterable[Cell], level: int, groups: dict[str, list[Cell]]) -> list[Cell]:
    """Group facts by their topic at one level; return those left for the next level."""
    found: dict[str, list[Cell]] = defaultdict(list)
    left = []
    for cell in cells:
        topics, slots = cell.relation.topics, slots_of(cell)
        if level < len(topics) and fields_of(topics[level]) <= slots.keys():
            found[topics[level].format_map(slots)].append(cell)
        else:
            left.append(cell)
    for topic, members in found.items():
        last = all(level == len(cell.relation.topics) - 1 for cell in members)
        if len(members) >= MIN_GROUP or last or topic in groups:
            groups[topic] += members
        else:
            left += [cell for cell in members if level < len(cell.relation.topics) - 1]
    return left


def write_overview(facts: Facts, topic: str, cells: Sequence[Cell]) -> list[Article]:
    """Write one overview, or several when a topic has more facts than one article holds."""
    ordered = sorted(cells, key=sort_key)
    parts = math.ceil(len(ordered) / MAX_SENTENCES)
    bounds = [round(part * len(ordered) / parts) for part in range(parts + 1)]
    articles = []
    for start, stop in pairwise(bounds):
        members = ordered[start:stop]
        ends = f"{bare(members[0].fact.subject.form)} to {bare(members[-1].fact.subject.form)}"
        title = topic if parts == 1 else f"{topic}: {ends}"
        article = Article(title, None)
        for cell in members:
            sentence = facts.fill(cell, cell.relation.overview, topic)
            if sentence is not None and article.has_room_for(sentence):
                article.sentences.append(sentence)
        repeat_in_other_words(facts, article, members)
        articles.append(article)
    return articles


def repeat_in_other_words(facts: Facts, article: Article, cells: Sequence[Cell]) -> None:
    """Lengthen an overview that has too few words: tell its facts once more, by other phrases."""
    for cell in cells:
        for phrase in cell.relation.overview:
            sentence = facts.fill(cell, (phrase,), "again")
            if not article.is_long_enough and sentence and article.has_room_for(sentence):
                article.sentences.append(sentence)


def sort_key(cell: Cell) -> tuple[int, str]:
    """Order facts by their number, where the object is one, then by subject."""
    number = cell.fact.object.replace(",", "")
    return int(number) if number.isdigit() else 0, bare(cell.fact.subject.form).lower()


def tell_namesakes_apart(articles: Sequence[Article]) -> None:
    """Add the kind to titles that several entities share: "Pan (moon)" and "Pan (god)"."""
    by_title: Mapping[str, list[Article]] = defaultdict(list)
    for article in articles:
        by_title[article.title.lower()].append(article)
    for namesakes in by_title.values():
        if len(namesakes) > 1:
            for article in namesakes:
                if article.entity is not None:
                    article.title = f"{article.title} ({article.entity.kind})"


def check_bounds(articles: Sequence[Article]) -> None:
    """Raise ValueError naming every title given twice and every article too short or too long."""
    faults, ids, texts = [], set[str](), set[str]()
    for article in articles:
        if article.id in ids:
            faults.append(f"the title {article.title!r} is given twice")
        if not article.is_long_enough:
            faults.append(f"{article.title!r} has only {article.num_words} words: {article.text}")
        faults += [f"said twice: {s.text}" for s in article.sentences if s.text in texts]
        ids.add(article.id)
        texts |= {sentence.text for sentence in article.sentences}
    if faults:
        raise ValueError("\n".join(faults))
