"""The server, put together: one router a file, one shape of errors, the page's files.

app = create(home, folders=[Path("/films")])
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, FastAPI

from mien.app.server import (
    about,
    errors,
    events,
    faces,
    files,
    jobs,
    live,
    models,
    people,
    presets,
    previews,
    projects,
    settings,
    uploads,
)
from mien.app.server.page import Page
from mien.app.server.security import Guard, Rules, names
from mien.app.server.state import State, opened
from mien.app.worker import Keeper
from mien.models.store import default_home

ROUTERS = (
    about,
    settings,
    presets,
    files,
    uploads,
    projects,
    people,
    faces,
    models,
    previews,
    jobs,
    events,
    live,
)
"""Files with routes."""


def create(
    home: Path | None = None,
    *,
    folders: Sequence[Path],
    token: str = "",
    start_worker: bool = True,
    host: str = "127.0.0.1",
) -> FastAPI:
    """The studio's server as an ASGI application.

    Args:
        home: Folder of models, jobs, analyses, projects and the queue; None for the default one.
        folders: Files below these can be read and written; where there are none, uploads alone.
        token: What clients must know; empty: nothing.
        start_worker: Whether the queue's worker process runs as long as the application does.
        host: The address that is listened on; it and, beyond this machine, the machine's names are accepted.

    Raises:
        SettingsError: An allowed folder is none.
    """
    state = opened(home or default_home(), folders, token)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            stack.callback(state.queue.close)
            if start_worker:
                stack.enter_context(Keeper(state.home))
            stack.enter_context(state.hub)
            yield

    app = FastAPI(
        title="mien studio",
        version=version("mien"),
        description="What `mien` can do, over HTTP. Errors have one shape.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.mien = state
    errors.install(app)
    app.include_router(_routes(state), prefix="/api")
    app.add_middleware(Page)
    app.add_middleware(Guard, rules=Rules(names(host), token))
    return app


def _routes(state: State) -> APIRouter:
    """The routes of every file."""
    routes = APIRouter(responses=errors.responses(400, 422))
    for file in ROUTERS:
        routes.include_router(file.router(state), tags=[file.__name__.rpartition(".")[2]])
    return routes
