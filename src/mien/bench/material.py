"""What a bench run works on where nothing is given: the demo's clip and portrait."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

from mien.bench import demo
from mien.errors import MediaError
from mien.models import catalogue
from mien.models.runtime import Runtime
from mien.run import needs
from mien.run.report import fetched
from mien.settings import Settings
from mien.types import Progress

FILMED: demo.Name = "astronaut"
SHOWN: demo.Name = "hopper"
SIZE = (1920, 1080)
RATE = Fraction(25)


def portrait(folder: Path) -> Path:
    """Write the portrait whose face is put on and return its path.

    Raises:
        MediaError: The demo's portraits are not installed.
    """
    try:
        return demo.save_portrait(SHOWN, folder)
    except (ImportError, FileNotFoundError) as error:
        raise _absent("source") from error


def clip(
    folder: Path, frames: int, size: tuple[int, int] = SIZE, home: Path | None = None
) -> Generator[Progress, None, Path]:
    """Film the other portrait, or take what was filmed before; returns the video's path.

    Args:
        folder: Where clips are kept.
        frames: Length.
        size: Width and height in pixels.
        home: Folder of the models; None for the default one.

    Raises:
        MediaError: The demo's portraits are not installed.
        ModelError: The models that find its face cannot be had.
    """
    shot = demo.Shot(size=size, rate=RATE, seconds=frames / float(RATE))
    path = folder / f"demo-{size[0]}x{size[1]}-{shot.frames}.mp4"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    known = catalogue.load(home)
    store = yield from fetched(needs.analysis(Settings(), known), home)
    yield Progress("filming", 0, shot.frames, 0.0, 0.0)
    with Runtime(store=store, cards=known) as runtime:
        try:
            doll = demo.puppet(FILMED, runtime)
        except (ImportError, FileNotFoundError) as error:
            raise _absent("target") from error
    demo.write_clip(path, shot, doll)
    yield Progress("filming", shot.frames, shot.frames, 0.0, 0.0)
    return path


def _absent(option: str) -> MediaError:
    return MediaError(
        "demo",
        "its portraits are not installed",
        f"Give --{option}, or install them: pip install 'mien[demo]'.",
    )
