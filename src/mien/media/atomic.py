"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mien.errors import MediaError
from mien.media.failure import media_error

_WRITING = {
    errno.ENOENT: ("its folder does not exist", "Make the folder first."),
    errno.ENOTDIR: ("its folder is a file", "Choose another folder."),
    errno.EISDIR: ("is a folder", "Give a file name."),
    errno.EACCES: ("may not be written", "Choose a folder you may write to."),
    errno.EPERM: ("may not be written", "Choose a folder you may write to."),
}
"""What an error means for a file that is being written, where that is not what it means for any file."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A new binary file (readable too) that takes the place of `path` when the block ends without an error.

    It lies beside `path` under a hidden name meanwhile and is removed on any error, so `path` is the old
    file or the whole new one; it may be the file that is being read. An existing file's rights are kept.

    Raises:
        MediaError: The file cannot be written; says why.
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with part.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    except OSError as error:
        if error.errno in _WRITING:
            raise MediaError(path, *_WRITING[error.errno]) from error
        raise media_error(path, error, "cannot be written") from error
    finally:
        part.unlink(missing_ok=True)
