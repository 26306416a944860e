"""The application: routes, errors and limits put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI

import openrealm
from openrealm.server import answers, views
from openrealm.server.backend import Backend
from openrealm.server.counters import Counters
from openrealm.server.middleware import Guard
from openrealm.server.pages import page_router
from openrealm.server.problems import tell_problems
from openrealm.server.service import Service
from openrealm.settings import ServeConfig


def create_app(backend: Backend, config: ServeConfig, counters: Counters) -> FastAPI:
    """The routes over a workspace; threads begin and end with the application's lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = service = Service(backend, config, counters)
        try:
            yield
        finally:
            service.stopping.set()
            await asyncio.to_thread(service.handler.close)

    app = FastAPI(
        title="openrealm",
        version=openrealm.__version__,
        description="A retriever and a reader that learned from this workspace's text.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,  # what is not there is said in the one shape of errors
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    tell_problems(app)
    app.include_router(answers.router)
    app.include_router(views.router)
    app.include_router(page_router())
    return app


def guarded(
    app: FastAPI,
    config: ServeConfig,
    counters: Counters,
    *,
    token: str | None = None,
    hosts: Collection[str] | None = None,
) -> Guard:
    """The application behind its limits.

    Args:
        app: What `create_app` made.
        config: The limits.
        counters: Told of every request.
        token: What clients have to know; None for nothing.
        hosts: Names that are answered to; None for all.
    """
    return Guard(
        app,
        counters=counters,
        max_body_bytes=config.max_body_bytes,
        timeout_s=config.timeout_s,
        token=token,
        hosts=hosts,
    )
