"""Change who is on screen in photos and video.

    from pathlib import Path
    import mien

    role = mien.Role(sources=(Path("ana.jpg"),))
    job = mien.Job(target=Path("clip.mp4"), output=Path("out.mp4"), cast=(role,))
    for event in mien.swap(job):
        print(event)

The names below are imported when they are first used, so that `import mien` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.errors import MienError as MienError
    from mien.run.live import Live as Live
    from mien.run.verbs import analyse as analyse
    from mien.run.verbs import review as review
    from mien.run.verbs import swap as swap
    from mien.settings import Cue as Cue
    from mien.settings import Feed as Feed
    from mien.settings import Job as Job
    from mien.settings import Key as Key
    from mien.settings import Role as Role
    from mien.settings import Settings as Settings
    from mien.types import Finished as Finished
    from mien.types import Progress as Progress
    from mien.types import Started as Started
    from mien.types import Warned as Warned

_HOMES = {
    "MienError": "errors",
    **dict.fromkeys(("Cue", "Feed", "Job", "Key", "Role", "Settings"), "settings"),
    **dict.fromkeys(("Started", "Progress", "Warned", "Finished"), "types"),
    **dict.fromkeys(("swap", "analyse", "review"), "run.verbs"),
    "Live": "run.live",
}


if not TYPE_CHECKING:  # or a type checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'mien' has no attribute {name!r}")
        return getattr(importlib.import_module(f"mien.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
