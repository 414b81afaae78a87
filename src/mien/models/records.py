"""Small JSON files beside the models, and locks between processes.

A record is an object by name. It is written whole or not at all, and under a lock, so that two processes
that add something at once both succeed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

from mien.errors import ModelError

Record: TypeAlias = dict[str, Any]
"""Name to JSON value."""

POLL = 0.1
"""Seconds between two looks whether a lock is free."""


def read(path: Path, advice: str = "") -> Record:
    """What a record says; empty where there is none.

    Args:
        path: The JSON file.
        advice: What to do about a damaged one; without it a damaged one counts as empty.

    Raises:
        ModelError: It is damaged and there is an advice.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("no JSON object")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        if advice:
            raise ModelError(path, f"cannot be read ({error})", advice) from error
        return {}
    return value


def update(path: Path, changes: Mapping[str, object | None], advice: str = "") -> None:
    """Change a record: each name gets a new value, or is removed where that is None.

    Raises:
        OSError: It cannot be written.
        ModelError: It is damaged and there is an advice.
    """
    with hold(path.with_name(f".{path.name}.held")):
        record = read(path, advice)
        for name, value in changes.items():
            if value is None:
                record.pop(name, None)
            else:
                record[name] = value
        _write(path, record)


def _write(path: Path, record: Record) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            json.dump(record, file, indent=1, sort_keys=True, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def hold(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep every other process and thread out of such a block with the same path.

    The lock ends with the process, however it ends. On a disk that knows no locks nobody is kept out.

    Args:
        path: A file for nothing else; it is made, and stays.
        waiting: Called now and then while somebody else is in.

    Raises:
        OSError: The file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        while not _lock(file):
            waiting()
            time.sleep(POLL)
        yield


def _lock(file: IO[bytes]) -> bool:
    """Take the file's lock without waiting; False where another open file has it."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


def advice(path: Path) -> str:
    """What to do about a damaged record that matters."""
    return f"Correct or delete {path}."
