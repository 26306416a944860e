"""Tests of errors as sentences in one shape."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, ValidationError

from openrealm.server.problems import Problem, documented, response_of, sentence_of
from openrealm.server.schemas import ErrorResponse


@pytest.mark.parametrize(
    ("seconds", "header"), [(None, None), (0.0, "1"), (0.2, "1"), (1.0, "1"), (4.1, "5")]
)
def test_the_time_to_come_back_is_a_whole_number_of_seconds(
    seconds: float | None, header: str | None
) -> None:
    response = response_of(Problem(503, "queue_full", "come back", retry_after_s=seconds))
    assert response.headers.get("retry-after") == header


def test_a_problem_has_the_one_shape() -> None:
    response = response_of(Problem(422, "invalid", "k is 9", field="k"))
    assert response.status_code == 422
    assert ErrorResponse.model_validate_json(bytes(response.body)).model_dump() == {
        "error": {"code": "invalid", "message": "k is 9", "field": "k"}
    }


class Body(BaseModel, extra="forbid"):
    text: str
    k: int = 1


@pytest.mark.parametrize(
    ("body", "message", "field"),
    [
        ({}, "text: field required", "text"),
        ({"text": "a", "k": "x"}, "k: input should be a valid integer", "k"),
        ({"text": "a", "more": 1}, "more: extra inputs are not permitted; it was 1", "more"),
        (3, "the body: input should be a valid dictionary", None),
    ],
)
def test_what_is_wrong_is_one_sentence_about_one_field(
    body: object, message: str, field: str | None
) -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(body)
    found, about = sentence_of(caught.value.errors())
    assert found.startswith(message)
    assert about == field


@pytest.mark.parametrize("value", ["x" * 100_000, list(range(100_000)), 10**4000])
def test_a_large_value_is_shown_in_part(value: object) -> None:
    found, _ = sentence_of([{"type": "odd", "loc": ("body", "a"), "msg": "Is odd", "input": value}])
    assert found.startswith("a: is odd; it was ")
    assert len(found) < 120


def test_a_value_nested_deeply_and_a_long_name_are_shown_in_part() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    error = {"type": "odd", "loc": ("body", "n" * 60_000), "msg": "Is odd", "input": value}
    found, field = sentence_of([error])
    assert len(found) < 300
    assert field is not None and len(field) < 100
    while isinstance(value, list):  # or its end would be as deep as its beginning
        value = value.pop()


def test_broken_json_is_told_as_such() -> None:
    error = {"type": "json_invalid", "loc": ("body", 1), "ctx": {"error": "Expecting value"}}
    assert sentence_of([error]) == ("the body is not JSON: Expecting value", None)


def test_all_documented_errors_have_a_description() -> None:
    assert list(documented(404, 503)) == [401, 403, 404, 503, "default"]
    assert json.dumps([each["description"] for each in documented(404).values()])
