"""Figures of merit for answers and for ranked lists; knows nothing of models, chunks or commands.

Every figure comes as one value per query, so that means, confidence intervals and comparisons of
two systems are all taken from the same numbers.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openrealm.errors import InputError, MissingDependencyError

Floats = npt.NDArray[np.float64]
Qrels = Mapping[str, Mapping[str, int]]
RunFolder = Mapping[str, Mapping[str, float]]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_REGEX_FLAGS = re.IGNORECASE | re.UNICODE | re.MULTILINE
_RESAMPLED_VALUES = 4_000_000  # values drawn at a time by the bootstrap: 64 MB


# Answers ------------------------------------------------------------------------------------------


def normalize_answer(text: str) -> str:
    """The form in which two answers are compared.

    NFD, lower case, ASCII punctuation dropped, articles to a space, white space collapsed, in this
    order. Accents are split off but stay; typographic quotes and dashes are not ASCII and stay too.
    Source: orqa/utils/eval_utils.py.
    """
    text = unicodedata.normalize("NFD", text).lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether the prediction equals any of the answers after `normalize_answer`."""
    normalized = normalize_answer(prediction)
    return any(normalized == normalize_answer(answer) for answer in answers)


def regex_match(prediction: str, patterns: Sequence[str], *, anchored: bool = True) -> bool:
    """Whether any regular expression matches the prediction, ignoring case.

    Args:
        prediction: The answer as given; nothing is normalised.
        patterns: Regular expressions; one that does not compile matches nothing.
        anchored: Match at the start of the prediction and leave its end open, as the original
            evaluates CuratedTREC (orqa/utils/eval_utils.py); otherwise search anywhere in it, as
            the makers of the patterns meant them.
    """
    for pattern in patterns:
        compiled = compiled_pattern(pattern)
        if compiled is None:
            continue
        if compiled.match(prediction) if anchored else compiled.search(prediction):
            return True
    return False


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """The best F1 over the words shared with an answer, 0 to 1, as SQuAD computes it.

    An empty answer (there is none) is matched by an empty prediction alone, as in SQuAD v2.
    """
    return max((_word_f1(prediction, answer) for answer in answers), default=0.0)


@lru_cache(maxsize=4096)
def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    """An answer pattern ready to match, ignoring case, ``^`` at every line; None if invalid."""
    try:
        return re.compile(pattern, _REGEX_FLAGS)
    except (re.error, OverflowError, RecursionError):
        return None


def _word_f1(prediction: str, answer: str) -> float:
    predicted, wanted = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not predicted or not wanted:
        return float(predicted == wanted)
    shared = sum((Counter(predicted) & Counter(wanted)).values())
    return 2.0 * shared / (len(predicted) + len(wanted))


# Ranked lists -------------------------------------------------------------------------------------


def recall_at_k(relevance: npt.NDArray[np.bool_], k: int) -> Floats:
    """Per query, 1.0 where any of the first k results is relevant: ``(queries,)``.

    This is the recall of open-domain question answering (whether a chunk with the answer is among
    the first k), not the share of all relevant documents; `ranking_metrics` has that one.

    Args:
        relevance: ``(queries, ranks)``, True where the result at that rank is relevant.
        k: Number of first ranks to look at; more than there are takes them all.
    """
    return np.asarray(_checked_relevance(relevance)[:, :k].any(axis=1), dtype=np.float64)


def reciprocal_rank(relevance: npt.NDArray[np.bool_], k: int | None = None) -> Floats:
    """Per query, 1 / rank of the first relevant result, 0 where there is none: ``(queries,)``.

    Its mean is MRR. ``k`` cuts the lists (MRR@k).
    """
    cut = _checked_relevance(relevance)[:, :k]
    if cut.shape[1] == 0:
        return np.zeros(len(cut))
    ranks = cut.argmax(axis=1) + 1.0
    return np.where(cut.any(axis=1), 1.0 / ranks, 0.0)


def ranking_metrics(
    qrels: Qrels, run: RunFolder, measures: Sequence[str] = ("nDCG@10", "R@100", "RR")
) -> dict[str, Floats]:
    """Measures of `ir_measures` by name, each with one value per judged query.

    Values are in the order of ``sorted(qrels)``. A query that the run lacks counts as 0; equal
    scores are ordered by document id, as trec_eval does.

    Args:
        qrels: Query id to document id to relevance (0: not relevant).
        run: Query id to document id to score, higher first.
        measures: Names such as ``nDCG@10``, ``R@100``, ``RR@10``, ``P@5``, ``AP``.

    Raises:
        InputError: A measure that the library does not know, or no judged query.
        MissingDependencyError: `ir_measures` is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise MissingDependencyError(
            "ranking measures need ir_measures; pip install 'openrealm[eval]'"
        ) from error
    if not qrels:
        raise InputError("the relevance judgments name no query; give at least one")
    try:
        parsed = {name: ir_measures.parse_measure(name) for name in measures}
    except (NameError, ValueError, SyntaxError) as error:
        raise InputError(f"unknown measure among {list(measures)}: {error}") from error
    number_of = {query_id: number for number, query_id in enumerate(sorted(qrels))}
    name_of = {str(measure): name for name, measure in parsed.items()}
    values = {name: np.zeros(len(number_of)) for name in measures}
    plain_qrels = {query: dict(judged) for query, judged in qrels.items()}
    plain_run = {query: dict(scores) for query, scores in run.items() if query in number_of}
    for metric in ir_measures.iter_calc(parsed.values(), plain_qrels, plain_run):
        values[name_of[str(metric.measure)]][number_of[metric.query_id]] = metric.value
    return values


def _checked_relevance(relevance: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    relevance = np.asarray(relevance, dtype=np.bool_)
    if relevance.ndim != 2:
        raise ValueError(f"relevance has shape {relevance.shape}; it takes (queries, ranks)")
    return relevance


# Test collections ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Judgments:
    """The queries of a BEIR collection and what is relevant to each.

    Attributes:
        queries: Query id to text, only queries that are judged, in the order of the file.
        qrels: Query id to document id to relevance.
    """

    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def read_beir_judgments(directory: Path, *, split: str = "test") -> Judgments:
    """Reads ``queries.jsonl`` and ``qrels/SPLIT.tsv`` of a BEIR directory.

    Raises:
        InputError: A file is missing or broken, or a judgment names a query that is not there;
            the message names file and line.
    """
    queries_path, qrels_path = directory / "queries.jsonl", directory / "qrels" / f"{split}.tsv"
    for path in (queries_path, qrels_path):
        if not path.is_file():
            raise InputError(
                f"{path} is missing; a BEIR directory holds corpus.jsonl, queries.jsonl and "
                f"qrels/{split}.tsv"
            )
    texts = _read_queries(queries_path)
    qrels: dict[str, dict[str, int]] = {}
    for number, query_id, document_id, score in _read_qrels(qrels_path):
        if query_id not in texts:
            raise InputError(
                f"{qrels_path}:{number}: query id {query_id!r} is not in {queries_path.name}"
            )
        qrels.setdefault(query_id, {})[document_id] = score
    if not qrels:
        raise InputError(f"{qrels_path} holds no judgment; it takes query-id, corpus-id, score")
    queries = {query_id: text for query_id, text in texts.items() if query_id in qrels}
    return Judgments(queries=queries, qrels=qrels)


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _read_queries(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, line in _numbered_lines(path):
        try:
            record = json.loads(line)
            query_id, text = str(record["_id"]), record["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f'{path}:{number}: not a query; a line is {{"_id": "1", "text": "..."}}'
            ) from error
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{path}:{number}: query {query_id!r} has no text")
        if query_id in texts:
            raise InputError(f"{path}:{number}: query id {query_id!r} occurs twice")
        texts[query_id] = text
    return texts


def _read_qrels(path: Path) -> Iterator[tuple[int, str, str, int]]:
    for number, line in _numbered_lines(path):
        fields = line.split("\t")
        if number == 1 and fields[-1].strip().lower() == "score":
            continue
        if len(fields) == 4:  # TREC's own form has a second column that is not used
            del fields[1]
        try:
            query_id, document_id, score = fields
            yield number, query_id, document_id, int(score)
        except ValueError as error:
            raise InputError(
                f"{path}:{number}: {line[:80]!r} is not a judgment; a line is query-id, "
                "corpus-id and a whole number, separated by tabs"
            ) from error


# Confidence ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and the limits of its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: npt.ArrayLike, *, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of a mean over queries.

    Args:
        values: ``(queries,)``, one figure per query.
        level: Share of the resampled means inside the interval.
        samples: Number of resamples, each as large as ``values``.
        seed: The same seed and values give the same interval.

    Raises:
        InputError: There is no value, or one that is not a finite number.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or len(vector) == 0 or not np.isfinite(vector).all():
        raise InputError(
            f"a confidence interval takes a list of finite numbers, not shape {vector.shape}"
        )
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    step = max(1, _RESAMPLED_VALUES // len(vector))
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        drawn = generator.integers(len(vector), size=(rows, len(vector)))
        means[start : start + rows] = vector[drawn].mean(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(mean=float(vector.mean()), low=float(low), high=float(high))
