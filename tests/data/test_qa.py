"""Question files are read as their makers distribute them, and broken ones are refused by line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from openrealm.data.qa import Question, read_question_file, read_questions
from openrealm.errors import InputError


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


NQ_LINES = """{"question": "who?", "answer": ["Ada", "Ada Lovelace", "Ada"]}

{"question": " when? ", "answer": "1843"}
"""

WEBQUESTIONS = [
    {
        "url": "http://www.freebase.com/view/en/x",
        "targetValue": '(list (description "A \\"B\\" C") (description Jamaica) (description D))',
        "utterance": "what?",
    }
]

FREEBASEQA = {
    "Dataset": "FreebaseQA-dev",
    "Questions": [
        {
            "Question-ID": "FreebaseQA-dev-0",
            "RawQuestion": "Who sang?",
            "ProcessedQuestion": "who sang",
            "Parses": [
                {"Answers": [{"AnswersMid": "m.1", "AnswersName": ["aerosmith"]}]},
                {"Answers": [{"AnswersName": ["aerosmith", "steven tyler"]}]},
            ],
        }
    ],
}

CONTEXT = "Warsaw is in Poland. Warsaw is large."
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Warsaw_(city)",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {
                            "id": "a1",
                            "question": "What is large?",
                            "answers": [
                                {"text": "Warsaw", "answer_start": 21},
                                {"text": "Warsaw", "answer_start": 21},
                                {"text": "Warsaw is", "answer_start": 21},
                            ],
                        },
                        {
                            "id": "a2",
                            "question": "Who is small?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "Warsaw", "answer_start": 0}],
                        },
                    ],
                }
            ],
        }
    ],
}


def test_nq_open_lines_give_questions_with_all_their_answers(tmp_path: Path) -> None:
    read = read_question_file(write(tmp_path / "my.jsonl", NQ_LINES))
    assert read.format == "nq_open"
    assert read.questions == [
        Question("my:1", "who?", ("Ada", "Ada Lovelace")),
        Question("my:3", "when?", ("1843",)),
    ]


def test_curatedtrec_is_told_by_its_name_and_has_patterns_for_answers(tmp_path: Path) -> None:
    line = r'{"question": "How hot?", "answer": ["5,?778\\s*K"]}'
    for name in ("CuratedTrec-train.txt", "curatedtrec.train.jsonl"):
        (question,) = read_questions(write(tmp_path / name, line))
        assert question.is_regex
        assert question.answers == (r"5,?778\s*K",)
    other = write(tmp_path / "other.jsonl", line)
    assert not read_questions(other)[0].is_regex
    assert read_questions(other, format="curatedtrec")[0].is_regex


def test_an_invalid_pattern_is_reported_and_its_question_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = '{"question": "a", "answer": ["("]}\n{"question": "b", "answer": ["x", "*"]}'
    path = write(tmp_path / "curatedtrec.jsonl", lines)
    read = read_question_file(path)
    assert [q.answers for q in read.questions] == [(), ("x",)]
    assert [report.split(": ")[0] for report in read.invalid_patterns] == [f"{path}:1", f"{path}:2"]
    with caplog.at_level(logging.WARNING):
        read_questions(path)
    assert "'*' is not a regular expression" in caplog.text


def test_original_webquestions_give_the_descriptions_as_answers(tmp_path: Path) -> None:
    read = read_question_file(write(tmp_path / "wq.json", WEBQUESTIONS))
    assert read.format == "webquestions"
    assert read.questions == [Question("wq:1", "what?", ('A "B" C', "Jamaica", "D"))]


def test_original_freebaseqa_unites_the_answers_of_all_parses(tmp_path: Path) -> None:
    read = read_question_file(write(tmp_path / "fb.json", json.dumps(FREEBASEQA, indent=2)))
    assert read.format == "freebaseqa"
    assert read.questions == [
        Question("FreebaseQA-dev-0", "Who sang?", ("aerosmith", "steven tyler"))
    ]


def test_entityquestions_are_a_list_with_answers(tmp_path: Path) -> None:
    content = [{"question": "Who founded X?", "answers": ["A", "B"]}]
    read = read_question_file(write(tmp_path / "P112.dev.json", content))
    assert read.format == "entityquestions"
    assert read.questions == [Question("P112.dev:1", "Who founded X?", ("A", "B"))]


def test_squad_gives_contexts_places_and_questions_without_answer(tmp_path: Path) -> None:
    read = read_question_file(write(tmp_path / "squad.json", SQUAD))
    assert read.format == "squad"
    first, second = read.questions
    assert first == Question(
        "a1",
        "What is large?",
        ("Warsaw", "Warsaw is"),
        context=CONTEXT,
        title="Warsaw (city)",
        answer_starts=(21, 21),
    )
    assert (second.answers, second.answer_starts) == ((), ())


def test_a_squad_answer_with_a_wrong_place_is_taken_at_the_nearest(tmp_path: Path) -> None:
    squad = json.loads(json.dumps(SQUAD))
    squad["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [
        {"text": "Warsaw", "answer_start": 19}
    ]
    assert read_questions(write(tmp_path / "s.json", squad))[0].answer_starts == (21,)


def test_repeated_questions_are_merged_and_counted(tmp_path: Path) -> None:
    lines = "\n".join(
        json.dumps({"question": question, "answer": [answer]})
        for question, answer in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "1")]
    )
    read = read_question_file(write(tmp_path / "x.jsonl", lines))
    assert [(q.text, q.answers) for q in read.questions] == [("a", ("1", "3")), ("b", ("2",))]
    assert read.num_merged == 2


def test_squad_questions_are_merged_only_within_a_paragraph(tmp_path: Path) -> None:
    squad = json.loads(json.dumps(SQUAD))
    paragraphs = squad["data"][0]["paragraphs"]
    answers = [{"text": "Warsaw", "answer_start": 0}]
    again = {"id": "a3", "question": "What is large?", "answers": answers}
    paragraphs[0]["qas"].append(again)
    paragraphs.append({"context": "Warsaw grew.", "qas": [again]})
    read = read_question_file(write(tmp_path / "s.json", squad))
    assert [q.id for q in read.questions] == ["a1", "a2", "a3"]
    assert read.questions[0].answers == ("Warsaw", "Warsaw is", "Warsaw")
    assert read.questions[0].answer_starts == (21, 21, 0)


def test_a_byte_order_mark_and_unusual_line_separators_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes('\ufeff{"question": "a\u2028b", "answer": ["c"]}\r\n'.encode())
    assert read_questions(path)[0].text == "a\u2028b"


def with_squad(**changes: Any) -> dict[str, Any]:
    squad: dict[str, Any] = json.loads(json.dumps(SQUAD))
    squad["data"][0]["paragraphs"][0]["qas"][0].update(changes)
    return squad


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"x\.json:1: not valid JSON"),
        ("\n \n", r"x\.json:3: not valid JSON"),
        ("plain text\n", r"x\.json:1: not valid JSON"),
        ('{"question": "a", "answer": ["b"\n{"question": "c", "answer": ["d"]}', r"x\.json:1: not"),
        ('{"question": "a", "answer": ["b"]}\n{"question": ', r"x\.json:2: not valid JSON"),
        ('{"question": "a", "answer": ["b"]}\n["a"]', r"x\.json:2: 'question' is missing"),
        ('{"question": "a"}', r"x\.json:1: no list of answers"),
        ('{"question": "a", "answer": []}', r"x\.json:1: the list of answers is empty"),
        ('{"question": "a", "answer": [" "]}', r"x\.json:1: the list of answers is empty"),
        ('{"question": "a", "answer": [1843]}', r"x\.json:1: answer 1843 is not a string"),
        ('{"question": " ", "answer": ["b"]}', r"x\.json:1: 'question' is missing, empty"),
        ('{"title": "a", "text": "b"}\n', r"x\.json:1: neither lines of"),
        ("[]", r"x\.json:1: neither lines of"),
        ('"text"', r"x\.json:1: neither lines of"),
        ([{"utterance": "a", "targetValue": "Rome"}], r"record 1: targetValue 'Rome' is not"),
        ([{"utterance": "a"}], r"record 1: 'targetValue' is missing"),
        ([{"question": "a", "answers": ["b"]}, 3], r"record 2: 'question' is missing"),
        ({"Questions": [{"RawQuestion": "a"}]}, r"record 1: the answers are not in Parses"),
        ({"Questions": []}, r"x\.json holds no question"),
        ({"data": 3}, r"'data' is missing or not a list"),
        ({"data": [3]}, r"article 1: 'paragraphs' is missing"),
        (with_squad(answers=[]), r"question 'a1': no answer"),
        (with_squad(answers=[{"text": "Warsaw"}]), r"question 'a1': .* no answer_start"),
        (with_squad(answers=[{"text": "Rome", "answer_start": 0}]), r"'Rome' does not occur"),
        (with_squad(answers="Warsaw"), r"question 'a1': 'answers' is missing or not a list"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_questions(write(tmp_path / "x.json", content))


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"question": "a", "answer": ["b"]}\n{"question": "\xe9"}')
    with pytest.raises(InputError, match=r"x\.jsonl:2: not UTF-8"):
        read_questions(path)


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_questions(tmp_path)
    with pytest.raises(InputError, match="'trivia' is unknown; use auto, nq_open"):
        read_questions(tmp_path / "none.jsonl", format="trivia")


def test_a_list_is_wanted_where_the_format_is_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a JSON list"):
        read_questions(write(tmp_path / "x.json", {"a": 1}), format="webquestions")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("qa/nq_open.dev.jsonl", 1800),
        ("qa/webquestions.train.jsonl", 2833),
        ("qa/freebaseqa.train.jsonl", 3950),
        ("qa/entityquestions.dev.jsonl", 539),
        ("qa/curatedtrec.train.jsonl", 1679),
        ("squad/part_a.json", 5665),
    ],
)
def test_the_shared_files_are_read_whole(shared_data: Path, name: str, count: int) -> None:
    read = read_question_file(shared_data / "data" / name)
    assert len(read.questions) + read.num_merged == count
    assert read.invalid_patterns == ()
    assert {q.is_regex for q in read.questions} == {"curatedtrec" in name}
