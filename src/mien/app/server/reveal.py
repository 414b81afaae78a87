"""The file manager of this machine, for whoever sits before it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mien.errors import RuntimeUnavailable


def command(path: Path) -> list[str] | None:
    """What opens the folder of something, and marks it where that can be asked for; None if nothing does."""
    if sys.platform == "darwin":
        return ["open", "-R", str(path)]
    if sys.platform == "win32":
        return ["explorer", f"/select,{path}"]
    opener = shutil.which("xdg-open")
    seen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return [opener, str(path.parent)] if opener and seen else None


def reveal(path: Path) -> None:
    """Show a file or folder in the file manager; not waited for.

    Raises:
        RuntimeUnavailable: There is none, or it does not start.
    """
    asked = command(path)
    problem = "no file manager can be opened from here"
    if asked is not None:
        try:
            # Of a session of its own: it outlives the server.
            subprocess.Popen(
                asked,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            return
        except OSError as error:
            problem = f"the file manager does not start: {error.strerror or error}"
    raise RuntimeUnavailable(str(path.parent), problem, "Copy the path, and open it yourself.")
