"""Keeping what was computed from a model, so that the next start is quick.

A kept file is `stamp`, its contents and their checksum: whoever reads it sees that it is whole and made for
the present library and machine, or makes it anew. It is written under another name and then moved, so that
somebody killed half-way, or two who write at once, leave a whole file or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

_DIGEST = hashlib.sha256().digest_size


def read(path: Path, stamp: str) -> bytes | None:
    """The bytes kept at `path` under `stamp`; None where they are absent, broken or another stamp's."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, blob = data[:_DIGEST], data[_DIGEST:]
    return blob if digest == _digest(stamp, blob) else None


def write(path: Path, stamp: str, blob: bytes) -> None:
    """Keep bytes at `path` under `stamp`; where that cannot be done nothing is kept."""
    replace(path, _digest(stamp, blob), blob)


def replace(path: Path, *parts: bytes) -> None:
    """Put bytes at `path` in one step; where that cannot be done it stays as it was."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _digest(stamp: str, blob: bytes) -> bytes:
    """Checksum of both; the stamp's length keeps them apart."""
    name = stamp.encode()
    return hashlib.sha256(len(name).to_bytes(8, "big") + name + blob).digest()
