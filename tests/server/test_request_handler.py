"""Tests of the way from a request to its answer, without HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import SOON, WaitingBackend, until
from tiny import World

from openrealm.answering.model_cache import ANSWER, ModelKey
from openrealm.errors import CheckpointError, CorpusError, InputError
from openrealm.server import request_handler as module
from openrealm.server.counters import Counters
from openrealm.server.model_watcher import Busy
from openrealm.server.problems import Problem
from openrealm.server.request_handler import ClientGone, RequestHandler
from openrealm.server.schemas import AskRequest, FillRequest, SearchRequest
from openrealm.settings import ServeConfig


@pytest.fixture
def backend(world: World, tmp_path: Path) -> Iterator[WaitingBackend]:
    made = WaitingBackend(world.store, tmp_path)
    yield made
    made.answerer.release.set()


@pytest.fixture
def handler(backend: WaitingBackend) -> Iterator[RequestHandler]:
    made = RequestHandler(backend, ServeConfig(watch_s=0.05), Counters())
    yield made
    backend.answerer.release.set()
    made.close()


async def stays() -> None:
    await asyncio.Event().wait()


async def goes() -> None:
    await asyncio.sleep(0)


def search(handler: RequestHandler, text: str = "a", *, gone: Any = stays, **more: Any) -> Any:
    request = SearchRequest(text=text, k=1, **more)
    return asyncio.run(handler.search(request, gone, time.monotonic() + SOON))


def problem(handler: RequestHandler, text: str = "a", **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        search(handler, text, **more)
    return caught.value


def test_a_run_that_cannot_answer_questions_answers_with_search_results(
    handler: RequestHandler,
) -> None:
    asked = AskRequest(question="Where?", read=3)
    found = asyncio.run(handler.ask(asked, stays, time.monotonic() + SOON))
    assert (found.has_reader, found.answers, found.no_answer, found.read) == (False, [], None, [])
    assert [hit.rank for hit in found.hits] == [1, 2, 3]


@pytest.mark.parametrize("text", ["none", "[mask]", "[MASK] " * 9])
def test_a_text_without_masks_or_with_too_many_is_told_before_anything_is_loaded(
    handler: RequestHandler, text: str
) -> None:
    with pytest.raises(Problem, match=r"\[MASK\]s; write 1 to 8") as caught:
        asyncio.run(handler.fill(FillRequest(text=text), stays, time.monotonic() + SOON))
    assert (caught.value.status, caught.value.field) == (422, "text")


def test_who_has_gone_is_not_answered(handler: RequestHandler, backend: WaitingBackend) -> None:
    until(lambda: handler.models.get(ANSWER))
    with pytest.raises(ClientGone):
        search(handler, "hold", gone=goes)


def test_a_request_that_is_ended_from_outside_leaves_nothing_to_compute(
    handler: RequestHandler, backend: WaitingBackend
) -> None:
    until(lambda: handler.models.get(ANSWER))

    async def ended() -> None:
        deadline = time.monotonic() + SOON
        first = asyncio.create_task(
            handler.search(SearchRequest(text="hold", k=1), stays, deadline)
        )
        await asyncio.to_thread(backend.answerer.held.wait, SOON)
        second = asyncio.create_task(
            handler.search(SearchRequest(text="late", k=1), stays, deadline)
        )
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        backend.answerer.release.set()
        assert (await first).text == "hold"

    asyncio.run(ended())
    handler.close()
    assert backend.answerer.computed == ["hold"]


def test_a_closed_desk_says_that_it_is_stopping(handler: RequestHandler) -> None:
    until(lambda: handler.models.get(ANSWER))
    handler.close()
    found = problem(handler)
    assert (found.status, found.code) == (503, "stopping")
    assert found.retry_after_s


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InputError("no such run"), 404, "not_found"),
        (CheckpointError("is being trained"), 503, "not_ready"),
        (CorpusError("another vocabulary"), 409, "corpus_changed"),
        (OSError("the disk is on fire"), 503, "not_ready"),
    ],
)
def test_weights_that_were_named_and_cannot_be_had_are_told(
    handler: RequestHandler,
    backend: WaitingBackend,
    error: Exception,
    status: int,
    code: str,
) -> None:
    until(lambda: handler.models.get(ANSWER))
    backend.known = error
    found = problem(handler, run="run-009")
    assert (found.status, found.code) == (status, code)
    assert (found.retry_after_s is None) == (status != 503)


@pytest.mark.parametrize("error", [InputError("no run yet"), CorpusError("x"), OSError("fire")])
def test_without_weights_of_its_own_choice_it_is_not_ready(
    world: World, tmp_path: Path, error: Exception
) -> None:
    backend = WaitingBackend(world.store, tmp_path)
    backend.known = error
    handler = RequestHandler(backend, ServeConfig(watch_s=0.05), Counters())
    try:
        for _ in range(2):  # while it looks, and when it knows
            found = problem(handler)
            assert (found.status, found.code) == (503, "not_ready")
            until(lambda: handler.models.problem(ANSWER))
        assert "fire" not in found.message
    finally:
        handler.close()


def test_weights_that_take_long_to_load_are_told_to_be_loading(
    handler: RequestHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: handler.models.get(ANSWER))
    ordered = []

    def order(key: ModelKey) -> Any:
        from concurrent.futures import Future

        ordered.append(key)
        return Future()

    monkeypatch.setattr(handler.models, "order", order)
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    found = problem(handler, stage="ict")
    assert (found.status, found.code, found.retry_after_s) == (503, "loading", 2.0)
    assert ordered == [ModelKey("answer", None, "ict")]
    assert handler._waiting == 0


def test_where_too_much_is_being_loaded_nothing_more_is_taken(
    handler: RequestHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: handler.models.get(ANSWER))

    def order(key: ModelKey) -> Any:
        raise Busy

    monkeypatch.setattr(handler.models, "order", order)
    assert problem(handler, stage="ict").code == "loading"
    monkeypatch.setattr(handler, "_waiting", 10_000)
    assert problem(handler, stage="ict").code == "loading"
