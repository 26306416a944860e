"""Answers and rankings are scored as the original and the standard tools score them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from openrealm.errors import InputError
from openrealm.metrics import (
    bootstrap_interval,
    exact_match,
    normalize_answer,
    ranking_metrics,
    read_beir_judgments,
    recall_at_k,
    reciprocal_rank,
    regex_match,
    token_f1,
)


@pytest.mark.parametrize(
    ("prediction", "answers", "right"),
    [
        ("The Beatles", ["beatles"], True),
        ("an  apple\n a day", ["apple day"], True),
        ("U.S.A.", ["usa"], True),
        ("half-life", ["halflife"], True),  # punctuation is dropped, not made a space
        ("half-life", ["half life"], False),
        ("Beyonce\u0301", ["Beyonc\u00e9"], True),  # decomposed and composed letters are one
        ("Beyonce", ["Beyonc\u00e9"], False),  # but the accent stays
        ("\u201cThriller\u201d", ["Thriller"], False),  # typographic quotes are not ASCII
        ("rock \u2013 n roll", ["rock n roll"], False),
        ("theatre", ["atre"], False),  # articles are whole words
        ("Thea", ["a"], False),
        ("1,000", ["1000"], True),
        ("Paris", ["London", "Paris"], True),
        ("Paris", [], False),
        ("the", [""], True),  # both are empty after normalisation
        ("ΑΘΗΝΑ", ["αθηνα"], True),
    ],
)
def test_exact_match_follows_the_original_normalisation(
    prediction: str, answers: list[str], right: bool
) -> None:
    assert exact_match(prediction, answers) is right


def test_normalising_splits_an_accent_from_an_article_like_letter_as_the_original_does() -> None:
    # NFD turns "à" into "a" and a mark, and the mark is not part of a word: the "a" goes.
    assert normalize_answer("vis à vis") == "vis \u0300 vis"


@pytest.mark.parametrize(
    ("prediction", "pattern", "anchored", "anywhere"),
    [
        ("the year 1969", r"1969", False, True),
        ("1969, in July", r"1969", True, True),  # the end is open
        ("JULY 20", r"July", True, True),
        ("New York", r"New\s?York", True, True),
        ("first\nsecond", r"^second", False, True),  # MULTILINE
        ("Zürich", r"zürich", True, True),
        ("anything", r"(unclosed", False, False),
        ("", r"x*", True, True),
    ],
)
def test_regular_expressions_match_anchored_or_anywhere(
    prediction: str, pattern: str, anchored: bool, anywhere: bool
) -> None:
    assert regex_match(prediction, [pattern]) is anchored
    assert regex_match(prediction, [pattern], anchored=False) is anywhere


def test_an_invalid_pattern_does_not_hide_a_valid_one() -> None:
    assert regex_match("Paris", ["(", "Paris"])


@pytest.mark.parametrize(
    ("prediction", "answers", "f1"),
    [
        ("the cat sat", ["cat sat down"], 2 * (1.0 * 2 / 3) / (1.0 + 2 / 3)),
        ("cat", ["dog"], 0.0),
        ("a b b", ["b b c"], 2 * (1.0 * 2 / 3) / (1.0 + 2 / 3)),  # "a" is an article
        ("cat", ["dog", "the cat"], 1.0),
        ("", [""], 1.0),
        ("", ["cat"], 0.0),
        ("cat", [], 0.0),
    ],
)
def test_token_f1_is_the_best_harmonic_mean_over_answers(
    prediction: str, answers: list[str], f1: float
) -> None:
    assert token_f1(prediction, answers) == pytest.approx(f1)


RELEVANCE = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [0, 1, 0, 0]), (2, [1, 1, 0, 0]), (4, [1, 1, 0, 1]), (99, [1, 1, 0, 1]), (0, [0] * 4)],
)
def test_recall_at_k_asks_whether_any_of_the_first_k_is_relevant(
    k: int, expected: list[int]
) -> None:
    assert recall_at_k(RELEVANCE, k).tolist() == expected


def test_reciprocal_rank_is_one_over_the_first_relevant_rank() -> None:
    assert reciprocal_rank(RELEVANCE).tolist() == [1 / 2, 1.0, 0.0, 1 / 4]
    assert reciprocal_rank(RELEVANCE, 3).tolist() == [1 / 2, 1.0, 0.0, 0.0]
    assert reciprocal_rank(RELEVANCE[:, :0]).tolist() == [0.0] * 4


def test_relevance_of_one_query_must_still_be_a_matrix() -> None:
    with pytest.raises(ValueError, match=r"\(queries, ranks\)"):
        recall_at_k(RELEVANCE[0], 1)


def test_ndcg_recall_and_reciprocal_rank_equal_the_sums_written_out() -> None:
    qrels = {"q1": {"a": 3, "b": 1, "c": 0}, "q2": {"d": 1}, "q3": {"e": 1}}
    run = {"q1": {"c": 3.0, "a": 2.0, "b": 1.0}, "q2": {"x": 1.0}, "other": {"d": 1.0}}
    values = ranking_metrics(qrels, run, ("nDCG@10", "R@1", "R@100", "RR"))
    gained = 3 / math.log2(3) + 1 / math.log2(4)
    ideal = 3 / math.log2(2) + 1 / math.log2(3)
    assert values["nDCG@10"] == pytest.approx([gained / ideal, 0.0, 0.0])
    assert values["R@1"] == pytest.approx([0.0, 0.0, 0.0])
    assert values["R@100"] == pytest.approx([1.0, 0.0, 0.0])
    assert values["RR"] == pytest.approx([0.5, 0.0, 0.0])


@pytest.mark.parametrize("measure", ["nonsense", "nDCG@", "1+1"])
def test_an_unknown_measure_is_refused_by_name(measure: str) -> None:
    with pytest.raises(InputError, match="unknown measure"):
        ranking_metrics({"q": {"d": 1}}, {}, (measure,))


def test_measures_without_a_judged_query_are_refused() -> None:
    with pytest.raises(InputError, match="name no query"):
        ranking_metrics({}, {})


def write_beir(directory: Path, queries: str, qrels: str) -> Path:
    (directory / "qrels").mkdir()
    (directory / "queries.jsonl").write_text(queries, encoding="utf-8")
    (directory / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return directory


QUERIES = '{"_id": "1", "text": "one"}\n\n{"_id": 2, "text": "two"}\n'
HEADER = "query-id\tcorpus-id\tscore\n"


def test_a_beir_directory_gives_its_judged_queries(tmp_path: Path) -> None:
    judgments = read_beir_judgments(write_beir(tmp_path, QUERIES, HEADER + "2\td9\t1\n2\td7\t0\n"))
    assert judgments.queries == {"2": "two"}
    assert judgments.qrels == {"2": {"d9": 1, "d7": 0}}


def test_judgments_without_header_and_in_trec_form_are_read(tmp_path: Path) -> None:
    judgments = read_beir_judgments(write_beir(tmp_path, QUERIES, "1\t0\td1\t2\n"))
    assert judgments.qrels == {"1": {"d1": 2}}


@pytest.mark.parametrize(
    ("queries", "qrels", "message"),
    [
        ("not json\n", HEADER, r"queries\.jsonl:1: not a query"),
        ('{"_id": "1"}\n', HEADER, r"queries\.jsonl:1: not a query"),
        ('["1", "text"]\n', HEADER, r"queries\.jsonl:1: not a query"),
        ('{"_id": "1", "text": " "}\n', HEADER, r"queries\.jsonl:1: query '1' has no text"),
        (QUERIES + QUERIES, HEADER, r"queries\.jsonl:4: query id '1' occurs twice"),
        (QUERIES, HEADER + "1 d1 1\n", r"test\.tsv:2: '1 d1 1' is not a judgment"),
        (QUERIES, HEADER + "1\td1\tyes\n", r"test\.tsv:2: .* is not a judgment"),
        (QUERIES, HEADER + "7\td1\t1\n", r"test\.tsv:2: query id '7' is not in queries\.jsonl"),
        (QUERIES, HEADER, r"test\.tsv holds no judgment"),
    ],
)
def test_a_broken_beir_file_is_named_with_its_line(
    tmp_path: Path, queries: str, qrels: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_beir_judgments(write_beir(tmp_path, queries, qrels))


def test_a_missing_beir_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"queries\.jsonl is missing"):
        read_beir_judgments(tmp_path)
    (tmp_path / "queries.jsonl").write_text(QUERIES)
    with pytest.raises(InputError, match=r"dev\.tsv is missing"):
        read_beir_judgments(tmp_path, split="dev")


def test_a_beir_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write_beir(tmp_path, QUERIES, HEADER)
    (tmp_path / "queries.jsonl").write_bytes(b'{"_id": "1", "text": "\xff"}\n')
    with pytest.raises(InputError, match="UTF-8"):
        read_beir_judgments(tmp_path)


@pytest.mark.parametrize(
    ("name", "queries", "judged"), [("cranfield", 225, 1836), ("cisi", 76, 3114)]
)
def test_the_shared_collections_are_read_whole(
    shared_data: Path, name: str, queries: int, judged: int
) -> None:
    directory = shared_data / "data" / "beir" / name
    judgments = read_beir_judgments(directory)
    assert len(judgments.queries) == queries
    assert sum(map(len, judgments.qrels.values())) == judged


def test_the_interval_equals_the_quantiles_of_all_possible_resamples() -> None:
    values = np.array([0.0, 1.0, 4.0])
    every = [np.mean(drawn) for drawn in itertools.product(values, repeat=3)]
    interval = bootstrap_interval(values, level=0.6, samples=200_000, seed=3)
    assert interval.mean == pytest.approx(5 / 3)
    assert interval.low == pytest.approx(np.quantile(every, 0.2), abs=1e-9)
    assert interval.high == pytest.approx(np.quantile(every, 0.8), abs=1e-9)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        interval = bootstrap_interval(generator.random(80), level=0.9, samples=500, seed=trial)
        covered += interval.low <= 0.5 <= interval.high
    assert 165 <= covered <= 195  # 90% of 200, give or take 3 standard deviations


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.arange(30.0)
    first = bootstrap_interval(values, samples=200, seed=1)
    assert bootstrap_interval(values, samples=200, seed=1) == first
    assert bootstrap_interval(values, samples=200, seed=2) != first


def test_the_interval_does_not_depend_on_how_many_resamples_are_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.arange(30.0)
    whole = bootstrap_interval(values, samples=200, seed=1)
    monkeypatch.setattr("openrealm.metrics._RESAMPLED_VALUES", 70)
    assert bootstrap_interval(values, samples=200, seed=1) == whole


@pytest.mark.parametrize("values", [[], [float("nan")], [[1.0]]])
def test_an_interval_needs_a_list_of_finite_numbers(values: list[float]) -> None:
    with pytest.raises(InputError, match="finite numbers"):
        bootstrap_interval(values)
