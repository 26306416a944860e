"""How well a run retrieves and answers, with confidence intervals; knows no workspace.

Every ranking is judged in the same table, whether it comes from the embedder, from BM25, or from
their fusion: a ranking is an array of chunk rows, best first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openrealm.answering.answerer import Answers
from openrealm.corpus.store import ChunkStore
from openrealm.data.matching import answer_words, has_answer
from openrealm.data.qa import Question
from openrealm.errors import InputError
from openrealm.metrics import (
    Interval,
    Judgments,
    bootstrap_interval,
    exact_match,
    ranking_metrics,
    recall_at_k,
    reciprocal_rank,
    regex_match,
    token_f1,
)
from openrealm.progress import Progress

RECALL_AT = (1, 5, 20, 100)
Ranker = Callable[[Sequence[str], int], npt.NDArray[np.int64]]
Table = dict[str, Interval]


@dataclass(frozen=True)
class HeldOutQuery:
    """A query with its answers and, where they are known, the documents that tell the fact."""

    id: str
    text: str
    answers: tuple[str, ...]
    gold: tuple[str, ...] = ()
    is_regex: bool = False


def read_held_out(path: Path) -> list[HeldOutQuery]:
    """Held-out queries: JSON lines with ``text``, ``answers`` and perhaps ``id`` and ``gold``.

    Raises:
        InputError: The file is missing or a line is broken; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the queries {path}: {error}") from error
    queries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            queries.append(
                HeldOutQuery(
                    id=str(raw.get("id", number)),
                    text=str(raw["text"]),
                    answers=_strings(raw["answers"]),
                    gold=_strings(raw.get("gold", [])),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}, line {number}: a query is a JSON object with 'text' and 'answers' "
                f"({type(error).__name__}: {error})"
            ) from error
    if not queries:
        raise InputError(f"{path} holds no query")
    return queries


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"a list is wanted in the place of {value!r}")
    return tuple(map(str, value))


def from_questions(questions: Sequence[Question]) -> list[HeldOutQuery]:
    """Questions with answers as queries to be judged by their answers alone."""
    return [
        HeldOutQuery(id=q.id, text=q.text, answers=q.answers, is_regex=q.is_regex)
        for q in questions
    ]


def relevance(
    corpus: ChunkStore,
    queries: Sequence[HeldOutQuery],
    rows: npt.NDArray[np.int64],
    *,
    raw: bool = False,
) -> npt.NDArray[np.bool_]:
    """Which ranked chunks hold an answer: ``(queries, ranks)``.

    Where a query names its gold documents, the chunk has to be of one of them as well.

    Args:
        corpus: The chunks.
        queries: What was asked.
        rows: ``(queries, ranks)`` chunks, best first.
        raw: Take any case-sensitive substring for an answer, as the original does, instead of
            whole words.
    """
    judged = np.zeros(rows.shape, dtype=np.bool_)
    words: dict[int, list[str]] = {}
    for number, (query, ranked) in enumerate(zip(queries, rows, strict=True)):
        gold = {corpus.find_document(name) for name in query.gold}
        for rank, row in enumerate(map(int, ranked)):
            if row < 0 or (query.gold and int(corpus.document_of[row]) not in gold):
                continue
            text: str | list[str]
            if raw or query.is_regex:
                text = corpus.chunk(row).text
            else:
                if row not in words:
                    words[row] = answer_words(corpus.chunk(row).text)
                text = words[row]
            judged[number, rank] = has_answer(text, query.answers, raw=raw, is_regex=query.is_regex)
    return judged


def retrieval_values(
    corpus: ChunkStore, queries: Sequence[HeldOutQuery], ranker: Ranker, *, raw: bool = False
) -> dict[str, npt.NDArray[np.float64]]:
    """Per query recall@{1,5,20,100} and reciprocal rank of one ranking."""
    texts = [query.text for query in queries]
    rows = np.concatenate(
        [ranker(texts[at : at + 256], max(RECALL_AT)) for at in range(0, len(texts), 256)]
    )
    judged = relevance(corpus, queries, rows, raw=raw)
    values = {f"recall@{k}": recall_at_k(judged, k) for k in RECALL_AT}
    return values | {"mrr": reciprocal_rank(judged)}


def beir_values(
    corpus: ChunkStore, judgments: Judgments, ranker: Ranker
) -> dict[str, npt.NDArray[np.float64]]:
    """Per query nDCG@10, recall@100 and reciprocal rank of documents, by `ir_measures`.

    A document counts once, at the rank of its first chunk.
    """
    ids = list(judgments.queries)
    texts = [judgments.queries[name] for name in ids]
    run: dict[str, dict[str, float]] = {}
    for at in range(0, len(texts), 256):
        rows = ranker(texts[at : at + 256], 400)
        for name, ranked in zip(ids[at : at + 256], rows, strict=True):
            run[name] = _document_scores(corpus, ranked)
    return ranking_metrics(judgments.qrels, run)


def summarise(values: Mapping[str, npt.NDArray[np.float64]]) -> Table:
    """Means with bootstrap intervals."""
    return {name: bootstrap_interval(value) for name, value in values.items()}


@dataclass(frozen=True)
class QaValues:
    """Per question exact match and F1, and what was answered."""

    values: dict[str, npt.NDArray[np.float64]]
    predictions: tuple[str, ...]


Asked = Callable[[Sequence[str]], Sequence[Answers]]


def qa_values(
    ask: Asked,
    questions: Sequence[Question],
    *,
    anchored: bool = True,
    progress: Progress,
) -> QaValues:
    """Answers every question and judges what was answered.

    Args:
        ask: What answers questions.
        questions: With their answers.
        anchored: As for `judge_predictions`.
        progress: Where to tell how far it is.
    """
    predictions: list[str] = []
    with progress.task("answering", total=len(questions), unit="questions") as task:
        for at in range(0, len(questions), 16):
            batch = questions[at : at + 16]
            for found in ask([q.text for q in batch]):
                predictions.append(found.answers[0].text if found.answers else "")
            task.advance(len(batch))
    given = dict(zip((q.text for q in questions), predictions, strict=True))
    values = judge_predictions(questions, given, anchored=anchored)
    return QaValues(values=values, predictions=tuple(predictions))


def judge_predictions(
    questions: Sequence[Question], predictions: Mapping[str, str], *, anchored: bool = True
) -> dict[str, npt.NDArray[np.float64]]:
    """Exact match and F1 of answers by question text, as orqa/evaluation computes them.

    A question is counted once: of one that stands twice the later answers count, as in the
    original (`read_questions` puts the answers of both together instead). One without a prediction
    is wrong; predictions for other questions count for nothing.

    Args:
        questions: With their answers, or regular expressions.
        predictions: Answer to each question's text.
        anchored: A regular expression has to match from the beginning of the prediction, as in the
            original; otherwise anywhere in it, as the makers of CuratedTREC meant it.
    """
    right, f1 = [], []
    for question in {question.text: question for question in questions}.values():
        prediction = predictions.get(question.text)
        if prediction is None:
            right.append(0.0)
            f1.append(0.0)
        elif question.is_regex:
            right.append(float(regex_match(prediction, question.answers, anchored=anchored)))
            f1.append(right[-1])
        else:
            right.append(float(exact_match(prediction, question.answers)))
            f1.append(token_f1(prediction, question.answers))
    return {"exact_match": np.asarray(right), "f1": np.asarray(f1)}


def _document_scores(corpus: ChunkStore, ranked: npt.NDArray[np.int64]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for rank, row in enumerate(int(row) for row in ranked if row >= 0):
        name = corpus.document(int(corpus.document_of[row])).id
        scores.setdefault(name, float(len(ranked) - rank))
    return scores
