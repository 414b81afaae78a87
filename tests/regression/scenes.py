"""What is filmed: pictures of the two public-domain portraits, moved by sub-pixel steps."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.bench import demo
from tests.media.makers import Recipe, make

Picture: TypeAlias = NDArray[np.uint8]

SIZE = (320, 180)
MARGIN = 400
FACES: dict[demo.Name, tuple[float, float]] = {"astronaut": (222.0, 110.0), "hopper": (258.0, 225.0)}
"""The middle of the face in the portrait's pixels, as the eye finds it."""
REACH: dict[demo.Name, float] = {"astronaut": 62.0, "hopper": 105.0}
"""Half the face's height with forehead and chin."""


@functools.cache
def portrait(name: demo.Name) -> Image.Image:
    return Image.fromarray(demo.portrait(name))


@functools.cache
def wide(name: demo.Name) -> Image.Image:
    """A portrait whose edge is repeated `MARGIN` pixels outwards."""
    around = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return Image.fromarray(np.pad(np.asarray(portrait(name)), around, "edge"))


def close(
    name: demo.Name,
    size: tuple[int, int] = SIZE,
    *,
    at: tuple[float, float] = (0.5, 0.5),
    height: float = 0.5,
) -> Picture:
    """A portrait with its face at `at` (shares of the picture), the face `height` of the picture high.

    What lies beyond the portrait's edge repeats the edge.
    """
    scale = REACH[name] * 2 / (height * size[1])
    (x, y), (w, h) = FACES[name], size
    left, top = x - at[0] * w * scale, y - at[1] * h * scale
    box = (left + MARGIN, top + MARGIN, left + MARGIN + w * scale, top + MARGIN + h * scale)
    return np.asarray(wide(name).resize(size, Image.Resampling.BICUBIC, box=box), np.uint8)


def talking(name: demo.Name, count: int, size: tuple[int, int] = SIZE, height: float = 0.5) -> list[Picture]:
    """A face that sways a little, so that no two frames are alike."""
    turns = np.linspace(0.0, 4.0, count, endpoint=False)
    return [
        close(name, size, at=(0.5 + 0.03 * np.sin(t), 0.5 + 0.02 * np.cos(t)), height=height) for t in turns
    ]


def empty(count: int, size: tuple[int, int] = SIZE) -> list[Picture]:
    """Soft moving colours: no face."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    found = []
    for k in range(count):
        red = 128 + 60 * np.sin((columns + 2 * k) / 40)
        green = 128 + 60 * np.cos((rows + k) / 30)
        found.append(np.stack([red, green, 255 - red], axis=2).astype(np.uint8))
    return found


def sprite(name: demo.Name, height: int) -> Picture:
    """Head and shoulders alone, `height` pixels high."""
    x, y = FACES[name]
    reach = REACH[name] * 1.55
    box = (x - 0.8 * reach, y - reach, x + 0.8 * reach, y + reach)
    size = (round(height * 0.8), height)
    return np.asarray(portrait(name).resize(size, Image.Resampling.BICUBIC, box=box), np.uint8)


def together(
    people: Sequence[tuple[demo.Name, int, int]], size: tuple[int, int] = SIZE, height: int = 130
) -> Picture:
    """Sprites (name, left, top) on a plain wall; later ones stand in front."""
    wall: Picture = np.full((size[1], size[0], 3), (96, 108, 120), np.uint8)
    for name, left, top in people:
        cut = sprite(name, height)
        a, b = max(left, 0), min(left + cut.shape[1], size[0])
        c, d = max(top, 0), min(top + cut.shape[0], size[1])
        if a < b and c < d:
            wall[c:d, a:b] = cut[c - top : d - top, a - left : b - left]
    return wall


def film(path: Path, pictures: Sequence[Picture], **recipe: Any) -> Path:
    """A clip of these pictures; 25 frames a second unless said otherwise."""
    height, width = pictures[0].shape[:2]
    given = {"rate": Fraction(25), "options": {"crf": "12", "preset": "veryfast"}, **recipe}
    return make(path, Recipe(size=(width, height), frames=len(pictures), pictures=pictures, **given))
