"""What runs here."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from mien.models import budget, nvidia
from mien.models.runtime import available_threads

if TYPE_CHECKING:
    from mien.app.server.state import State


class About(BaseModel):
    """The machine and the program."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: str
    threads: int
    """Processor threads that jobs get by default."""
    memory: int
    """Bytes of memory."""
    cards: list[str]
    """Graphics cards."""
    free_bytes: int
    """Free bytes of the disk where uploads and jobs lie."""
    token: bool
    """Whether clients need a token."""
    folders: list[str]
    """The allowed folders."""


def router(state: State) -> APIRouter:
    """What runs here."""
    routes = APIRouter()

    @routes.get("/about")
    def about() -> About:
        """The machine, the program, and what it may touch."""
        return About(
            version=version("mien"),
            threads=available_threads(),
            memory=budget.machine_memory(),
            cards=list(nvidia.driver().cards),
            free_bytes=shutil.disk_usage(state.home).free,
            token=bool(state.token),
            folders=[str(folder) for folder in state.folders],
        )

    return routes
