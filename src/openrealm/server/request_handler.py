"""From a typed request to its typed answer: weights found, work queued, time watched; knows HTTP
only as "the client has gone".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from openrealm.answering.answerer import Answerer, ChunkHit
from openrealm.answering.model_cache import ANSWER, FILL, CachedModel, ModelKey, ModelLoader
from openrealm.errors import CheckpointError, CorpusError, InputError, SnapshotError
from openrealm.server.batcher import Batcher, Closed, QueueFull
from openrealm.server.counters import Counters
from openrealm.server.model_watcher import Busy, ModelWatcher
from openrealm.server.problems import Problem
from openrealm.server.schemas import (
    MAX_MASKS,
    AskRequest,
    AskResponse,
    FillRequest,
    FillResponse,
    SearchRequest,
    SearchResponse,
    ask_response,
    fill_response,
    hit_views,
    source_view,
)
from openrealm.settings import ServeConfig
from openrealm.tokenizer import MASK

# A request for weights that are not in memory waits so long before it is told to come back.
_PATIENCE_S = 5.0
_LOADING_S = 2.0

Gone = Callable[[], Awaitable[None]]


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class RequestHandler:
    """Answers requests: one batcher over all weights in memory."""

    def __init__(self, loader: ModelLoader, config: ServeConfig, counters: Counters) -> None:
        """Starts the threads that load and compute."""
        self._config = config
        self.models = ModelWatcher(
            loader,
            max_loaded=config.max_loaded,
            watch_s=config.watch_s,
            on_swap=lambda cached: counters.swapped(),
        )
        self._batcher = Batcher(
            _compute,
            max_batch=config.max_batch,
            max_cost=config.max_inputs,
            max_queue=config.max_queue,
            on_batch=counters.batch,
        )
        self._waiting = 0
        counters.watch_queue(lambda: len(self._batcher))

    def close(self) -> None:
        """Computes what is waiting, and ends the threads."""
        self._batcher.close()
        self.models.close()

    async def ask(self, request: AskRequest, gone: Gone, deadline: float) -> AskResponse:
        """Answers with evidence; search results where the run cannot answer.

        Raises:
            Problem: It cannot be answered, now or at all.
            ClientGone: Nobody wants to know.
        """
        cached = await self._cached_model(ModelKey("answer", request.run), deadline)
        question, read = request.question, request.read or cached.read
        if not cached.has_reader:
            hits = await self._hits(cached, question, read, gone, deadline)
            return ask_response(question, cached.source, None, hits)
        key = ("ask", cached, read, request.top)
        answers = await self._computed(key, question, read + 1, gone, deadline)
        return ask_response(question, cached.source, answers, ())

    async def fill(self, request: FillRequest, gone: Gone, deadline: float) -> FillResponse:
        """Fillings with the candidates that spoke for them.

        Raises:
            Problem: It cannot be answered, now or at all.
            ClientGone: Nobody wants to know.
        """
        masks = request.text.count(MASK)
        if not 1 <= masks <= MAX_MASKS:
            message = f"the text has {masks} {MASK}s; write 1 to {MAX_MASKS}"
            raise Problem(422, "invalid", message, field="text")
        cached = await self._cached_model(ModelKey("fill", request.run, request.stage), deadline)
        k = (request.k or cached.k) if request.retrieval else 1
        key = ("fill", cached, k, request.top)
        item = (request.text, tuple(request.also))
        fillings = await self._computed(key, item, k, gone, deadline)
        return fill_response(cached.source, fillings)

    async def search(self, request: SearchRequest, gone: Gone, deadline: float) -> SearchResponse:
        """The nearest chunks.

        Raises:
            Problem: It cannot be answered, now or at all.
            ClientGone: Nobody wants to know.
        """
        cached = await self._cached_model(ModelKey("answer", request.run, request.stage), deadline)
        hits = await self._hits(cached, request.text, request.k, gone, deadline)
        return SearchResponse(
            text=request.text, source=source_view(cached.source), hits=hit_views(hits)
        )

    async def _hits(
        self, cached: CachedModel, text: str, k: int, gone: Gone, deadline: float
    ) -> Sequence[ChunkHit]:
        hits: Sequence[ChunkHit] = await self._computed(
            ("search", cached, k, None), text, 1, gone, deadline
        )
        return hits

    async def _cached_model(self, key: ModelKey, deadline: float) -> CachedModel:
        """The weights asked for.

        Raises:
            Problem: There are none, or not yet.
        """
        cached = self.models.get(key)
        if cached is not None:
            return cached
        problem = self.models.problem(key)
        if problem is not None:
            raise Problem(503, "not_ready", str(problem), retry_after_s=self._config.watch_s)
        if self._waiting >= self._config.max_queue:
            raise _loading()
        self._waiting += 1
        try:
            ordered = asyncio.wrap_future(self.models.order(key))
            patience = min(_PATIENCE_S, deadline - time.monotonic())
            return await asyncio.wait_for(asyncio.shield(ordered), timeout=patience)
        except (TimeoutError, Busy):
            raise _loading() from None
        except InputError as error:
            status, code = (503, "not_ready") if key in (ANSWER, FILL) else (404, "not_found")
            raise Problem(status, code, str(error), field="run") from error
        except CorpusError as error:
            # Weights that someone named and that do not fit this corpus will not fit it later.
            if key in (ANSWER, FILL):
                raise Problem(503, "not_ready", str(error), retry_after_s=_LOADING_S) from error
            raise Problem(409, "corpus_changed", str(error), field="run") from error
        except (CheckpointError, SnapshotError) as error:
            raise Problem(503, "not_ready", str(error), retry_after_s=_LOADING_S) from error
        finally:
            self._waiting -= 1

    async def _computed(self, key: Any, item: Any, cost: int, gone: Gone, deadline: float) -> Any:
        """The result of one item of a batch.

        Raises:
            Problem: The queue is full, the time is over, or the text cannot be used.
            ClientGone: The client has hung up.
        """
        try:
            future = self._batcher.submit(key, item, cost=cost, deadline=deadline)
        except QueueFull as full:
            raise Problem(
                503,
                "queue_full",
                f"{self._config.max_queue} requests are waiting already; come back later",
                retry_after_s=full.retry_after_s,
            ) from full
        except Closed as closed:
            raise Problem(
                503, "stopping", "the server is stopping", retry_after_s=_LOADING_S
            ) from closed
        answer = asyncio.wrap_future(future)
        hung_up = asyncio.ensure_future(gone())
        try:
            await asyncio.wait(
                {answer, hung_up},
                timeout=deadline - time.monotonic(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answer.done():
                return answer.result()
            if hung_up.done():
                raise ClientGone
            raise TimeoutError
        except TimeoutError:
            raise Problem(
                504, "timeout", f"there was no answer within {self._config.timeout_s:g} s"
            ) from None
        except InputError as error:
            raise Problem(422, "invalid", str(error)) from error
        finally:
            # Whatever ended this, the task's own end included: what still waits is left out.
            answer.cancel()
            hung_up.cancel()


def _loading() -> Problem:
    return Problem(
        503,
        "loading",
        "these weights are being loaded, or the corpus embedded with them; come back in a moment",
        retry_after_s=_LOADING_S,
    )


def _compute(key: Any, items: Sequence[Any]) -> Sequence[Any]:
    """A batch through the model, in the batcher's thread."""
    kind, cached, size, top = key
    assert isinstance(cached, CachedModel)
    answerer = cached.answerer
    if kind == "search":
        return answerer.search(items, k=size)
    assert isinstance(answerer, Answerer)  # words alone have no reader, and no key to fill with
    if kind == "ask":
        return answerer.ask(items, read=size, top=top)
    texts, also = zip(*items, strict=True)
    return answerer.fill(texts, k=size, top=top, also=also)
