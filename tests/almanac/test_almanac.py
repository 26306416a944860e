"""The bundled corpus keeps its promises: twofold tellings, fresh wordings, separate facts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openrealm import almanac

SOURCES = Path(__file__).resolve().parents[2] / "almanac"
# Restated by hand: the words a query may share with the articles beside its subject's name.
FUNCTION = """
    a an the this that it its and or of in on at to from by with for into over through under
    is are was were be been do does did has have had can could should would one you your our
    which what who whom whose where when how many much there as not than other others all most
    around city country year person place
"""
FUNCTION_WORDS = set(FUNCTION.split())
STOP = """
    a an the and or of in on at to from by with for into as is are was were be been its it
    that this which who whose has have had
"""
STOP_WORDS = set(STOP.split())
QUERY_FILES = (almanac.QUERIES, almanac.SECOND_QUERIES)
both_sets = pytest.mark.parametrize("name", QUERY_FILES)


@pytest.fixture(scope="module")
def generator() -> Iterator[Any]:
    """Two of the generator's modules, and what both sets of queries are worded from."""
    sys.path.insert(0, str(SOURCES))
    try:
        from generator import articles, asking, phrases, phrases_second

        yield SimpleNamespace(
            articles=articles,
            asking=asking,
            first={r.name: r for r in phrases.RELATIONS if r.queries or r.reverse_queries},
            second=phrases_second.SECOND,
        )
    finally:
        sys.path.remove(str(SOURCES))


@cache
def records(name: str) -> list[dict[str, Any]]:
    """The lines of one data file."""
    text = (almanac.directory() / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@cache
def sentences() -> dict[str, list[str]]:
    """The sentences of every article by its id."""
    return {a["id"]: re.split(r"(?<=[.]) ", a["text"]) for a in records(almanac.ARTICLES)}


def words(text: str) -> set[str]:
    """Lower-case words of a text."""
    return set(re.findall(r"\w+", text.lower()))


@cache
def pattern(name: str) -> re.Pattern[str]:
    """What finds a name as whole words, whatever the case."""
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)


@cache
def index() -> dict[str, set[str]]:
    """Word -> ids of the articles that use it."""
    found: dict[str, set[str]] = defaultdict(set)
    for number, parts in sentences().items():
        for word in words(" ".join(parts)):
            found[word].add(number)
    return found


def telling_sentences(subject: str, value: str) -> dict[str, list[str]]:
    """Article id -> its sentences that hold both names."""
    named = words(subject) | words(value)
    candidates = set.intersection(*(index()[word] for word in named))
    told = {
        number: [s for s in sentences()[number] if both(subject, value, s)]
        for number in sorted(candidates)
    }
    return {number: found for number, found in told.items() if found}


def both(subject: str, value: str, sentence: str) -> bool:
    """Say whether a sentence holds both names."""
    return bool(pattern(subject).search(sentence) and pattern(value).search(sentence))


def test_the_files_are_what_the_tables_give() -> None:
    command = [sys.executable, str(SOURCES / "build.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_as_much_as_promised_in_at_most_three_megabytes() -> None:
    assert len(records(almanac.ARTICLES)) >= 1000
    assert all(len(records(name)) >= 400 for name in QUERY_FILES)
    assert len(records(almanac.QUESTIONS_TRAIN)) >= 1500
    assert len(records(almanac.QUESTIONS_DEV)) >= 400
    assert sum(path.stat().st_size for path in almanac.directory().glob("*.jsonl")) <= 3_000_000


def test_ids_and_titles_are_unique() -> None:
    articles = records(almanac.ARTICLES)
    assert len({a["id"] for a in articles}) == len(articles)
    assert len({a["title"].lower() for a in articles}) == len(articles)
    queries = [query for name in QUERY_FILES for query in records(name)]
    assert len({q["id"] for q in queries}) == len({q["text"] for q in queries}) == len(queries)


def test_every_article_has_two_to_six_sentences_and_thirty_to_a_hundred_and_ten_words() -> None:
    for article in records(almanac.ARTICLES):
        assert 2 <= len(sentences()[article["id"]]) <= 6, article
        assert 30 <= len(article["text"].split()) <= 110, article


def test_sentences_are_whole_and_no_sentence_stands_twice_in_the_corpus() -> None:
    counts = Counter(sentence for parts in sentences().values() for sentence in parts)
    assert [s for s, count in counts.items() if count > 1] == []
    broken = [s for s in counts if not re.fullmatch(r"[\w'][^{}.!?]*\w\.", s) or "  " in s]
    assert broken == []
    assert [s for s in counts if s[0].islower()] == []


def test_every_sentence_of_an_article_names_what_the_article_is_about(generator: Any) -> None:
    articles = generator.articles
    for article in articles.write_articles(articles.Facts()):
        if article.entity is not None:
            name = pattern(article.entity.name)
            unnamed = [s.text for s in article.sentences if not name.search(s.text)]
            assert unnamed == [], article.title


def test_every_fact_stands_in_two_articles_in_words_that_differ(generator: Any) -> None:
    facts, faults = generator.articles.Facts(), []
    for cell in facts.cells:
        subject, value = cell.fact.subject.name, cell.fact.object_name
        names = words(subject) | words(value) | STOP_WORDS
        told = telling_sentences(subject, value)
        contents = [(n, words(s) - names) for n, found in told.items() for s in found]
        if not any(
            one != two and len(a & b) < 0.6 * len(a | b)
            for i, (one, a) in enumerate(contents)
            for two, b in contents[i + 1 :]
        ):
            faults.append((cell.fact.relation, subject, value, told))
    assert faults == []


@both_sets
def test_a_query_shares_with_the_articles_only_its_subject_and_function_words(name: str) -> None:
    vocabulary = words(" ".join(a["title"] + " " + a["text"] for a in records(almanac.ARTICLES)))
    for query in records(name):
        own = words(query["text"]) - words(query["subject"]) - FUNCTION_WORDS
        assert own, query
        assert own & vocabulary == set(), query


def test_the_generator_allows_queries_the_function_words_stated_here(generator: Any) -> None:
    assert generator.asking.SHARED_WORDS == FUNCTION_WORDS


@both_sets
def test_gold_articles_hold_the_subject_and_the_answer_in_one_sentence(name: str) -> None:
    for query in records(name):
        told = telling_sentences(query["subject"], query["answers"][0])
        assert len(query["gold"]) >= 2, query
        assert set(query["gold"]) <= set(told), query


@both_sets
def test_a_query_names_its_subject_and_does_not_give_the_answer_away(name: str) -> None:
    for query in records(name):
        assert pattern(query["subject"]).search(query["text"]), query
        assert not any(pattern(answer).search(query["text"]) for answer in query["answers"]), query


def test_no_fact_is_asked_for_in_two_parts(generator: Any) -> None:
    facts = generator.articles.Facts()
    queries, questions = generator.asking.ask(facts, generator.articles.write_articles(facts))
    asked = defaultdict(set)
    for query in queries:
        asked["queries"].add(query.fact)
    for question in questions:
        asked[question.part].add(question.fact)
    assert not asked["queries"] & asked["dev"]
    assert not asked["queries"] & asked["train"]
    assert not asked["dev"] & asked["train"]
    written = {q["question"] for q in records(almanac.QUESTIONS_TRAIN)}
    assert written == {q.text for q in questions if q.part == "train"}


def test_the_second_queries_ask_for_no_fact_of_the_first(generator: Any) -> None:
    facts = generator.articles.Facts()
    articles = generator.articles.write_articles(facts)
    first, _ = generator.asking.ask(facts, articles)
    second = generator.asking.ask_again(facts, articles)
    assert not {query.fact for query in first} & {query.fact for query in second}
    assert [q.text for q in second] == [q["text"] for q in records(almanac.SECOND_QUERIES)]


def test_both_sets_ask_for_the_same_relations_in_the_same_directions(generator: Any) -> None:
    assert directions(generator.second) == directions(generator.first)
    second = {query["relation"] for query in records(almanac.SECOND_QUERIES)}
    assert second == {
        f"{relation} (reverse)" if reverse else relation
        for relation, reverse in directions(generator.second)
    }


def directions(wordings: Mapping[str, Any]) -> set[tuple[str, bool]]:
    """Relations with wordings, each with whether these ask for the subject."""
    forward = {(name, False) for name, worded in wordings.items() if worded.queries}
    return forward | {(name, True) for name, worded in wordings.items() if worded.reverse_queries}


def test_no_word_of_a_second_wording_stands_in_a_first_one(generator: Any) -> None:
    first = set().union(*(wording_words(worded) for worded in generator.first.values()))
    for name, worded in generator.second.items():
        assert wording_words(worded), name
        assert wording_words(worded) & first == set(), name


def wording_words(worded: Any) -> set[str]:
    """The words of all wordings of a relation, without slots and function words."""
    text = " ".join(worded.queries + worded.reverse_queries)
    return words(re.sub(r"{\w+}", "", text)) - FUNCTION_WORDS


def test_questions_are_in_the_form_of_nq_open_and_no_dev_question_is_in_train() -> None:
    train, dev = records(almanac.QUESTIONS_TRAIN), records(almanac.QUESTIONS_DEV)
    for question in train + dev:
        assert set(question) == {"question", "answer"}
        assert question["question"].endswith("?")
        assert question["answer"] and all(question["answer"])
    assert not {q["question"] for q in train} & {q["question"] for q in dev}


def test_a_question_has_one_set_of_answers() -> None:
    answers: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for question in records(almanac.QUESTIONS_TRAIN) + records(almanac.QUESTIONS_DEV):
        answers[question["question"]].add(tuple(question["answer"]))
    assert {q: a for q, a in answers.items() if len(a) > 1} == {}
