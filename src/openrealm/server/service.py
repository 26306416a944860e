"""What all routes share, made when a server starts and ended when it stops."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends, Request

from openrealm.server.backend import Backend
from openrealm.server.corpora import Corpora
from openrealm.server.counters import Counters
from openrealm.server.request_handler import RequestHandler
from openrealm.settings import ServeConfig


class Service:
    """One server's parts.

    Attributes:
        backend: The workspace.
        counters: What is counted.
        handler: Answers what needs a model.
        corpora: Chunk stores.
        stopping: Set when the server has been asked to stop.
        num_followers: Clients that a metrics file is streamed to.
    """

    def __init__(self, backend: Backend, config: ServeConfig, counters: Counters) -> None:
        """Starts the threads that load and compute."""
        self.backend, self.counters = backend, counters
        self.handler = RequestHandler(backend, config, counters)
        self.corpora = Corpora(
            backend.open_corpus,
            backend.corpus_state,
            lambda: [cached.corpus for cached in self.handler.models.all()],
        )
        self.stopping = asyncio.Event()
        self.num_followers = 0


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
