"""FFmpeg's and the system's errors, said as one clear `MediaError`."""

from __future__ import annotations

import errno
from pathlib import Path

from mien.errors import MediaError

_CAUSES: dict[int, tuple[str, str]] = {
    errno.ENOENT: ("does not exist", "Check the path."),
    errno.ENOTDIR: ("is not in a folder: part of the path is a file", "Check the path."),
    errno.EISDIR: ("is a folder", "Name a file in it."),
    errno.EACCES: ("may not be accessed", "Check the permissions of the file and its folder."),
    errno.EPERM: ("may not be accessed", "Check the permissions of the file and its folder."),
    errno.EROFS: ("lies on a read-only disk", "Choose another folder."),
    errno.ENAMETOOLONG: ("has too long a name for this disk", "Choose a shorter name."),
    errno.ENOSPC: ("does not fit: the disk is full", "Free some space and repeat; finished work is kept."),
    errno.EDQUOT: (
        "does not fit: the quota is used up",
        "Free some space and repeat; finished work is kept.",
    ),
    errno.EFBIG: ("is larger than this disk or account allows", "Choose another folder."),
}


def media_error(path: Path, error: Exception, otherwise: str, advice: str = "") -> MediaError:
    """The clearest `MediaError` for what went wrong with `path`.

    Args:
        path: The file it is about.
        error: What was raised.
        otherwise: The problem where the error's number says nothing.
        advice: What to do then.
    """
    code = getattr(error, "errno", None)
    if code in _CAUSES:
        return MediaError(path, *_CAUSES[code])
    detail = getattr(error, "strerror", None) or str(error)
    return MediaError(path, f"{otherwise} ({detail})" if detail else otherwise, advice)
