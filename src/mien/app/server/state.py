"""What every route of the server stands on. Passed to each file's `router`; nothing global."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.app.server.events import Hub
from mien.app.server.files import Files
from mien.errors import JobError, SettingsError
from mien.run.films import Films
from mien.run.projects import Projects
from mien.run.queue import Queue

STALE = 24 * 3600.0
"""Age in seconds from which what a broken upload left is removed."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The server's parts."""

    home: Path
    """Models, analyses, jobs, projects, uploads and the queue: an absolute path."""
    folders: tuple[Path, ...]
    """Allowed folders, resolved: files below them can be read and written; the one of uploads comes first."""
    queue: Queue
    """Long work, shared with the worker process and the command line."""
    hub: Hub
    """Where events are sent to every page that listens."""
    files: Files
    """Paths that clients name, seen to lie below the allowed folders."""
    projects: Projects
    """The projects of this home."""
    films: Films
    """What is known of their clips: frames and tracks."""
    token: str = ""
    """What clients must know; empty: nothing."""


def opened(home: Path, folders: Sequence[Path], token: str = "") -> State:
    """The parts of a server for a home; the folder of uploads is made.

    Args:
        home: The cache.
        folders: Allowed folders besides that of uploads.
        token: What clients must know.

    Raises:
        SettingsError: An allowed folder is none.
        JobError: The home cannot be written.
    """
    home = home.expanduser().resolve()
    uploads = home / "uploads"
    try:
        uploads.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(
            home, f"cannot be written ({error.strerror})", "Set MIEN_HOME to another folder."
        ) from error
    _tidy(uploads)
    allowed = tuple(dict.fromkeys((uploads, *map(_allowed, folders))))
    queue = Queue(home)
    files, projects, films = Files(allowed, uploads), Projects(home), Films(home)
    return State(home, allowed, queue, Hub(queue), files, projects, films, token)


def _allowed(folder: Path) -> Path:
    path = folder.expanduser().resolve()
    if not path.is_dir():
        raise SettingsError("folder", f"{folder} is not a folder", "Name folders that are there.")
    return path


def _tidy(uploads: Path) -> None:
    """Remove what uploads of a killed server left."""
    for path in uploads.glob(".*.part"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()
