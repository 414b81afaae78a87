"""Uploads: a body streamed to disk in bounded memory, kept only when it is whole and a picture or video, and
once: the same bytes again are the file that is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from mien.app.server.errors import Refusal, responses
from mien.app.server.files import MediaKind, kind_of
from mien.errors import MediaError
from mien.media.failure import media_error
from mien.run import strip

if TYPE_CHECKING:
    from mien.app.server.state import State

LIMIT = 256 << 30
"""Most bytes of one upload."""
RESERVE = 512 << 20
"""Bytes of the disk that are left free."""
CHUNK = 4 << 20
"""Bytes that are gathered before they are written."""
LONGEST = 120
"""Most bytes of a kept file's name."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class Uploaded(BaseModel):
    """A file that was kept."""

    path: str
    name: str
    kind: MediaKind
    bytes: int


def clean(name: str) -> str:
    """A file name that is safe everywhere: the last part, without control characters or a dot in front.

    Args:
        name: As the client says it; folders in it do not count.
    """
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    name = re.split(r"[/\\]", name)[-1]
    name = "".join("_" if c in '<>:"|?*' else c for c in name if c.isprintable())
    stem, suffix = os.path.splitext(name.strip(" ."))
    suffix = suffix if len(suffix.encode()) <= 12 else ""
    stem = stem.encode()[: LONGEST - len(suffix.encode())].decode(errors="ignore").strip(" .") or "upload"
    return f"_{stem}{suffix}" if _RESERVED.fullmatch(stem + suffix) else stem + suffix


async def receive(body: AsyncIterator[bytes], folder: Path, name: str, limit: int, expected: int) -> Uploaded:
    """Write a body to a folder, under its own name or the next that is free.

    Args:
        body: Its parts as they come.
        folder: An existing folder.
        name: From `clean`.
        limit: Most bytes.
        expected: Bytes that the client announced; 0 where it did not.

    Raises:
        Refusal: It is too large, for the limit or the disk.
        MediaError: It is neither a picture nor a video, or cannot be written.
        ClientDisconnect: The client has gone; nothing is left behind.
    """
    _fits(folder, expected, limit)
    part = folder / f".{secrets.token_hex(8)}.part"
    try:
        file = await asyncio.to_thread(part.open, "xb")
        with file:
            size = await _stream(body, file, folder, limit)
        if expected and size != expected:
            raise Refusal("request", name, f"is {size} bytes long, {expected} were announced")
        return await asyncio.to_thread(_keep, part, folder, name, size)
    except OSError as error:
        raise media_error(folder / name, error, "cannot be written") from error
    finally:
        part.unlink(missing_ok=True)


async def _stream(body: AsyncIterator[bytes], file: IO[bytes], folder: Path, limit: int) -> int:
    """Write everything; returns the bytes."""
    size = 0
    waiting = bytearray()
    async for chunk in body:
        waiting += chunk
        size += len(chunk)
        if size > limit:
            _fits(folder, size, limit)
        if len(waiting) >= CHUNK:
            _fits(folder, len(waiting), limit)
            await asyncio.to_thread(file.write, bytes(waiting))
            waiting.clear()
    _fits(folder, len(waiting), limit)
    await asyncio.to_thread(file.write, bytes(waiting))
    return size


def _fits(folder: Path, more: int, limit: int) -> None:
    """See that so many bytes more may be written.

    Raises:
        Refusal: They may not.
    """
    if more > limit:
        problem = f"is larger than {limit:,} bytes"
        raise Refusal("too_large", "upload", problem, "Put it into an allowed folder instead.")
    free = shutil.disk_usage(folder).free
    if more + RESERVE > free:
        raise Refusal("too_large", "upload", f"does not fit: {free:,} bytes are free", "Make room.", 507)


def _keep(part: Path, folder: Path, name: str, size: int) -> Uploaded:
    """Give a whole upload its name, if it is what can be worked on."""
    if size == 0:
        raise MediaError(name, "is empty (0 bytes)", "Choose another file.")
    try:
        kind = kind_of(part)
        if kind != "video":
            strip.still(part, 16)  # its first bytes alone could be anything's
    except MediaError as error:
        problem = error.problem.replace(str(part), name)
        raise MediaError(name, problem, error.advice) from error
    if (same := _same(part, folder, size)) is not None:
        return Uploaded(path=str(same), name=same.name, kind=kind, bytes=size)
    stem, suffix = os.path.splitext(name)
    number = 1
    while True:
        path = folder / (name if number == 1 else f"{stem} ({number}){suffix}")
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)  # the name is ours from here on
            break
        number += 1
    part.replace(path)
    return Uploaded(path=str(path), name=path.name, kind=kind, bytes=size)


def _same(part: Path, folder: Path, size: int) -> Path | None:
    """The file of a folder that has the very bytes of an upload; the size says first which may have."""
    with os.scandir(folder) as found:
        names = sorted(entry.name for entry in found if entry.is_file(follow_symlinks=False))
    for path in (folder / name for name in names if not name.startswith(".")):
        with contextlib.suppress(OSError):  # one that has gone or cannot be read is another one
            if path.stat().st_size == size and filecmp.cmp(part, path, shallow=False):
                return path
    return None


def router(state: State) -> APIRouter:
    """Taking files in."""
    routes = APIRouter()
    raw: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    }

    @routes.post("/uploads", responses=responses(400, 413, 507), openapi_extra=raw)
    async def upload(
        request: Request, name: Annotated[str, Query(min_length=1, max_length=1000)]
    ) -> Uploaded:
        """Keep a picture or video; the raw body is the file.

        It is written as it comes, under its name or, where there is one already, the next that is free, and
        kept only if it is whole and its content is what can be worked on. What is there already is not kept a
        second time: the answer tells where it is.
        """
        length = request.headers.get("content-length", "")
        expected = int(length) if length.isascii() and length.isdigit() else 0
        try:
            return await receive(request.stream(), state.files.uploads, clean(name), LIMIT, expected)
        except ClientDisconnect as error:
            raise Refusal("request", name, "broke off", "Send it again.") from error

    return routes
