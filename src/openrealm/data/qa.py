"""Questions with answers, out of the files in which the field publishes them; knows no chunks.

NQ-open lines, CuratedTREC (answers are regular expressions), WebQuestions, FreebaseQA,
EntityQuestions and SQuAD, each as its makers distribute it. A broken file is refused with file,
line and reason: a question left out in silence would change every figure computed on it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openrealm.errors import InputError

FORMATS = ("nq_open", "curatedtrec", "webquestions", "freebaseqa", "entityquestions", "squad")

_logger = logging.getLogger(__name__)
_LINE_EXAMPLE = '{"question": "...", "answer": ["..."]}'
_CURATED_NAME = re.compile(r"curated[-_ ]?trec", re.IGNORECASE)
_LISP_TOKEN = re.compile(r'\(|\)|"(?:[^"\\]|\\.)*"|[^\s()"]+', re.DOTALL)


@dataclass(frozen=True)
class Question:
    """One question and what counts as right.

    Attributes:
        id: The file's own id, or the file's stem and the number of the line or record.
        text: The question.
        answers: Any one of them is right; empty where the question has no answer (SQuAD v2), or
            where none of its regular expressions compiles.
        is_regex: Whether the answers are regular expressions.
        context: The text that holds the answer, where the file gives one (SQuAD).
        title: Title of the article of the context.
        answer_starts: For each answer, the character of the context where it begins.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    is_regex: bool = False
    context: str | None = None
    title: str | None = None
    answer_starts: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class QuestionFile:
    """What was read from one file.

    Attributes:
        questions: In the order of the file, each question string once.
        format: One of `FORMATS`.
        num_merged: Records whose question had occurred before; their answers were added to it.
        invalid_patterns: Regular expressions that do not compile, with file, line and reason; they
            are left out of the answers, their question is kept.
    """

    questions: list[Question]
    format: str
    num_merged: int
    invalid_patterns: tuple[str, ...]


def read_questions(path: Path, *, format: str = "auto") -> list[Question]:
    """The questions of a file, each question string once with all its answers.

    What `read_question_file` counts (merged questions, invalid patterns) is logged.

    Raises:
        InputError: The file is missing, broken or of no known format; names file and line.
    """
    read = read_question_file(path, format=format)
    if read.num_merged:
        _logger.info("%s: %d repeated questions merged", path, read.num_merged)
    for report in read.invalid_patterns:
        _logger.warning("%s", report)
    return read.questions


def read_question_file(path: Path, *, format: str = "auto") -> QuestionFile:
    """The questions of a file with what was merged or left out.

    Args:
        path: A file in any of `FORMATS`.
        format: One of `FORMATS`, or ``auto`` to tell it by the content; CuratedTREC looks like
            NQ-open and is told by "curatedtrec" in the file's name.

    Raises:
        InputError: The file is missing, broken or of no known format; names file and line.
    """
    path = Path(path)
    if format not in ("auto", *FORMATS):
        raise InputError(f"question format {format!r} is unknown; use auto, {', '.join(FORMATS)}")
    text = _read_text(path)
    if format == "auto":
        format = _detect_format(path, text)
    questions, invalid = [], []
    for where, question in _READERS[format](path, text):
        if format == "curatedtrec":
            question, reports = _with_valid_patterns(question, where)
            invalid += reports
        questions.append(question)
    if not questions:
        raise InputError(f"{path} holds no question; a line is {_LINE_EXAMPLE}")
    merged = _merge_repeated(questions)
    return QuestionFile(
        questions=merged,
        format=format,
        num_merged=len(questions) - len(merged),
        invalid_patterns=tuple(invalid),
    )


def question_of(given: Mapping[str, Any] | Sequence[Any], *, number: int) -> Question:
    """A question out of a mapping of ``question`` and ``answer``, or out of a pair of both.

    Args:
        given: The mapping or pair; an answer may be a list of which any one is right.
        number: Its place among the questions, for its id and for messages.

    Raises:
        InputError: It is neither.
    """
    text, answers = (
        (given.get("question"), given.get("answer"))
        if isinstance(given, Mapping)
        else given
        if len(given) == 2
        else (None, None)
    )
    answers = [answers] if isinstance(answers, str) else answers
    if not (
        isinstance(text, str)
        and text.strip()
        and isinstance(answers, Sequence)
        and all(isinstance(answer, str) for answer in answers)
    ):
        raise InputError(
            f"question {number} is {given!r}; give a pair of question and answer, or "
            + _LINE_EXAMPLE
        )
    return Question(id=f"question-{number}", text=text, answers=tuple(answers))


# The file as a whole ------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from error


def _detect_format(path: Path, text: str) -> str:
    line_form = "curatedtrec" if _CURATED_NAME.search(path.name) else "nq_open"
    first_line = text.lstrip().split("\n", 1)[0]
    try:
        document = json.loads(first_line)
    except ValueError:
        # A broken first line of JSON lines is reported as such by the reader of lines.
        if first_line.startswith("{") and '"question"' in first_line:
            return line_form
        document = _parse_document(path, text)
    if isinstance(document, list) and document and isinstance(document[0], dict):
        if "utterance" in document[0]:
            return "webquestions"
        if "question" in document[0]:
            return "entityquestions"
    if isinstance(document, dict):
        for key, format in (("data", "squad"), ("Questions", "freebaseqa")):
            if key in document:
                return format
        if "question" in document:
            return line_form
    raise InputError(
        f"{path}:1: neither lines of {_LINE_EXAMPLE} nor a JSON file of WebQuestions, FreebaseQA, "
        "EntityQuestions or SQuAD"
    )


def _parse_document(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise InputError(f"{path}:{line}: not valid JSON: {error}") from error


def _merge_repeated(questions: Sequence[Question]) -> list[Question]:
    merged: dict[tuple[str, str | None], Question] = {}
    for question in questions:
        # The same words about two paragraphs are two questions.
        key = (question.text, question.context)
        merged[key] = _united(merged[key], question) if key in merged else question
    return list(merged.values())


def _united(first: Question, second: Question) -> Question:
    if first.answer_starts is None or second.answer_starts is None:
        return replace(first, answers=_unique(first.answers + second.answers))
    both = zip(
        first.answers + second.answers, first.answer_starts + second.answer_starts, strict=True
    )
    pairs = list(dict.fromkeys(both))
    answers, starts = tuple(a for a, _ in pairs), tuple(s for _, s in pairs)
    return replace(first, answers=answers, answer_starts=starts)


def _with_valid_patterns(question: Question, where: str) -> tuple[Question, list[str]]:
    valid, reports = [], []
    for pattern in question.answers:
        try:
            re.compile(pattern)
            valid.append(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            reports.append(f"{where}: {pattern!r} is not a regular expression: {error}")
    return replace(question, answers=tuple(valid), is_regex=True), reports


# One reader per format: place in the file, question -----------------------------------------------

_Found = Iterator[tuple[str, Question]]


def _read_lines(path: Path, text: str) -> _Found:
    # Not splitlines: JSON strings may hold U+2028 and its like, which are no line ends here.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(
                f"{where}: not valid JSON ({error}); a line is {_LINE_EXAMPLE}"
            ) from error
        yield where, _plain_question(record, where, f"{path.stem}:{number}")


def _read_entityquestions(path: Path, text: str) -> _Found:
    for number, record in enumerate(_records(path, text, None), start=1):
        where = f"{path}: record {number}"
        yield where, _plain_question(record, where, f"{path.stem}:{number}")


def _read_webquestions(path: Path, text: str) -> _Found:
    for number, record in enumerate(_records(path, text, None), start=1):
        where = f"{path}: record {number}"
        question = _string(record, "utterance", where)
        answers = _descriptions(_string(record, "targetValue", where), where)
        yield where, Question(f"{path.stem}:{number}", question, _checked_answers(answers, where))


def _read_freebaseqa(path: Path, text: str) -> _Found:
    for number, record in enumerate(_records(path, text, "Questions"), start=1):
        where = f"{path}: record {number}"
        question = _string(record, "RawQuestion", where)
        try:
            names = [
                name.strip()
                for parse in record["Parses"]
                for answer in parse["Answers"]
                for name in answer["AnswersName"]
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{where}: the answers are not in Parses, Answers, AnswersName"
            ) from error
        own_id = str(record.get("Question-ID") or f"{path.stem}:{number}")
        yield where, Question(own_id, question, _checked_answers(names, where))


def _read_squad(path: Path, text: str) -> _Found:
    for number, article in enumerate(_records(path, text, "data"), start=1):
        where = f"{path}: article {number}"
        paragraphs = _list(article, "paragraphs", where)
        title = str(article.get("title") or "").replace("_", " ") or None
        for paragraph in paragraphs:
            context = _string(paragraph, "context", where, strip=False)
            for count, record in enumerate(_list(paragraph, "qas", where), start=1):
                own_id = record.get("id") if isinstance(record, Mapping) else None
                source = f"{where}: question {own_id or count!r}"
                yield source, _squad_question(record, context, title, source)


_READERS = {
    "nq_open": _read_lines,
    "curatedtrec": _read_lines,
    "webquestions": _read_webquestions,
    "freebaseqa": _read_freebaseqa,
    "entityquestions": _read_entityquestions,
    "squad": _read_squad,
}


# One record ---------------------------------------------------------------------------------------


def _plain_question(record: Any, where: str, default_id: str) -> Question:
    question = _string(record, "question", where)
    answers = record.get("answer", record.get("answers"))
    if isinstance(answers, str):
        answers = [answers]
    if not isinstance(answers, list):
        raise InputError(f"{where}: no list of answers; a record is {_LINE_EXAMPLE}")
    own_id = str(record.get("id") or default_id)
    return Question(own_id, question, _checked_answers(answers, where))


def _squad_question(record: Any, context: str, title: str | None, where: str) -> Question:
    question = _string(record, "question", where)
    located: dict[tuple[str, int], None] = {}
    # Version 2 keeps plausible answers of impossible questions under another key.
    for answer in [] if record.get("is_impossible") else _list(record, "answers", where):
        given = _string(answer, "text", where, strip=False)
        start = answer.get("answer_start")
        if not isinstance(start, int):
            raise InputError(f"{where}: answer {given!r} has no answer_start")
        located[(given, _located(given, start, context, where))] = None
    if not located and not record.get("is_impossible"):
        raise InputError(f"{where}: no answer; give one or set is_impossible to true")
    return Question(
        id=str(record.get("id") or where),
        text=question,
        answers=tuple(answer for answer, _ in located),
        context=context,
        title=title,
        answer_starts=tuple(start for _, start in located),
    )


def _located(answer: str, start: int, context: str, where: str) -> int:
    if start >= 0 and context.startswith(answer, start):
        return start
    starts = [m.start() for m in re.finditer(re.escape(answer), context)]
    if not starts:
        raise InputError(f"{where}: answer {answer!r} does not occur in the context")
    return min(starts, key=lambda other: abs(other - start))


def _descriptions(target: str, where: str) -> list[str]:
    # (list (description "Jazmyn Bieber") (description Jamaica)): strings are quoted at need.
    tokens = _LISP_TOKEN.findall(target)
    answers = []
    for position, token in enumerate(tokens):
        if token == "description" and position and tokens[position - 1] == "(":
            stop = tokens.index(")", position) if ")" in tokens[position:] else len(tokens)
            answers.append(" ".join(map(_unquoted, tokens[position + 1 : stop])))
    if not answers:
        raise InputError(
            f'{where}: targetValue {target[:60]!r} is not of the form (list (description "..."))'
        )
    return answers


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') else token


def _checked_answers(answers: Sequence[Any], where: str) -> tuple[str, ...]:
    for answer in answers:
        if not isinstance(answer, str):
            raise InputError(f"{where}: answer {answer!r} is not a string; write it in quotes")
    kept = _unique([answer for answer in answers if answer.strip()])
    if not kept:
        raise InputError(f"{where}: the list of answers is empty; give at least one")
    return kept


def _unique(answers: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(answers))


def _records(path: Path, text: str, key: str | None) -> list[Any]:
    document = _parse_document(path, text)
    if key is not None:
        return _list(document, key, str(path))
    if not isinstance(document, list):
        raise InputError(f"{path}: the file is not a JSON list of questions")
    return document


def _list(record: Any, key: str, where: str) -> list[Any]:
    value = record.get(key) if isinstance(record, Mapping) else None
    if not isinstance(value, list):
        raise InputError(f"{where}: {key!r} is missing or not a list")
    return value


def _string(record: Any, key: str, where: str, *, strip: bool = True) -> str:
    value = record.get(key) if isinstance(record, Mapping) else None
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {key!r} is missing, empty or not a string")
    return value.strip() if strip else value
