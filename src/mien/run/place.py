"""Where things lie, and whether they can be used: the cache's folders, inputs and outputs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import JobError, MediaError
from mien.media.failure import media_error
from mien.models.deepface import SUFFIX
from mien.models.store import default_home
from mien.settings import Job, Swap, Value


def jobs_home(home: Path | None = None) -> Path:
    """Folder of all jobs that were not given one."""
    return (home or default_home()) / "jobs"


def tracks_home(home: Path | None = None) -> Path:
    """Folder of saved analyses, by id, for every later run on the same clip."""
    return (home or default_home()) / "tracks"


def reviews_home(home: Path | None = None) -> Path:
    """Folder of what was found in projects' results, by the project's id."""
    return (home or default_home()) / "reviews"


def absolute(job: Job) -> Job:
    """The same job with absolute paths, so that it can be continued from another folder."""
    cast = tuple(
        role.model_copy(
            update={
                "sources": tuple(map(_absolute, role.sources)),
                "like": tuple(map(_absolute, role.like)),
                "swap": role.swap and _swap(role.swap),
            }
        )
        for role in job.cast
    )
    settings = job.settings.model_copy(update={"swap": _swap(job.settings.swap)})
    places = {"target": _absolute(job.target), "output": _absolute(job.output)}
    cues = tuple(
        cue.model_copy(
            update={
                "sources": tuple(map(_absolute, cue.sources)),
                "values": {name: _value(name, value) for name, value in cue.values.items()},
            }
        )
        for cue in job.cues
    )
    return job.model_copy(update={**places, "cast": cast, "cues": cues, "settings": settings})


def _value(name: str, value: Value) -> Value:
    """A cue's value, where it is the path of a swapper an absolute one."""
    return _swap(Swap(model=value)).model if name == "swap.model" and isinstance(value, str) else value


def _swap(swap: Swap) -> Swap:
    """Settings whose swapper is a name or an absolute path."""
    if not swap.model.lower().endswith(SUFFIX):
        return swap
    return swap.model_copy(update={"model": str(_absolute(Path(swap.model)))})


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))


def stamp(path: Path) -> Hashable:
    """When a file was written and its size, of a folder those of what lies in it; None where there is none.

    Other content under the same name has another stamp.
    """
    try:
        facts = path.stat()
        if not path.is_dir():
            return facts.st_mtime_ns, facts.st_size
        with os.scandir(path) as found:
            return tuple(sorted((e.name, e.stat().st_mtime_ns, e.stat().st_size) for e in found))
    except OSError:
        return None


def check_output(output: Path, inputs: tuple[Path, ...]) -> None:
    """See that a file can be written before hours of work go into it.

    Raises:
        MediaError: It is one of the inputs, or its folder is missing or cannot be written.
    """
    try:
        for path in inputs:
            if output == path or (output.exists() and path.exists() and output.samefile(path)):
                raise MediaError(output, "is an input too", "Give the result another name.")
        check_folder(output.parent)
        if output.is_dir():
            raise MediaError(output, "is a folder", "Give the name of a file.")
        if output.exists() and not os.access(output, os.W_OK):
            raise MediaError(output, "exists and is read-only", "Give the result another name.")
    except OSError as error:  # a name the system does not take
        raise media_error(output, error, "cannot be written") from error


def check_folder(folder: Path) -> None:
    """See that files can be made in a folder.

    Raises:
        MediaError: It is missing, no folder, or cannot be written.
    """
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise MediaError(folder, problem, "Make the folder first, or give another output.")
    try:
        handle, name = tempfile.mkstemp(prefix=".mien-", dir=folder)
    except OSError as error:
        raise MediaError(folder, f"cannot be written ({error.strerror})", "Give another output.") from error
    os.close(handle)
    os.unlink(name)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """A block that keeps state in a folder: what the system refuses is said, with the place.

    Raises:
        JobError: Something could not be written or read, because the disk is full, say.
    """
    try:
        yield
    except OSError as error:
        place, why = error.filename or folder, error.strerror or error
        advice = "Make room there and repeat, or give another folder: finished work is kept."
        raise JobError(place, f"cannot be used ({why})", advice) from error
