"""Small pictures for pages: one of a source, a strip of many moments of a clip, faces; as JPEG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from mien.images import cpu
from mien.media import animation, sequence
from mien.media.decode import frames
from mien.media.image import read_image
from mien.run import video
from mien.run.render import Footage
from mien.types import Array, Frame


def jpeg(rgb: Array, quality: int = 85) -> bytes:
    """(H, W, 3) uint8 R'G'B' as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def still(path: Path, side: int) -> Array:
    """A small picture of a source: the picture, the first of an animation or folder, the middle of a video.

    Args:
        path: The source.
        side: Most pixels of width and height; pictures are not enlarged.

    Returns:
        (H, W, 3) uint8 R'G'B', upright.

    Raises:
        MediaError: It cannot be read.
    """
    frame = _first(path)
    width, height = frame.size
    scale = min(1.0, side / max(width, height))
    return cpu.thumbnail(frame, (max(1, round(width * scale)), max(1, round(height * scale))))


def _first(path: Path) -> Frame:
    kind = sequence.kind(path)
    if kind in ("image", "sequence"):
        return read_image(sequence.expand(path)[0])[0]
    if kind == "animation":
        return next(iter(animation.frames(animation.read_animation(path))))
    film = video.footage(path, "", "")
    return next(_at(film, [len(film) // 2]))


def moments(film: Footage, count: int) -> list[int]:
    """The frames that stand for `count` equal parts of a clip's time: their middles, or key frames in them.

    A key frame is decoded at once, others only after all that lie before them.
    """
    index = film.index
    ends = np.append(index.pts, index.end_pts)
    keys = np.flatnonzero(index.key)
    found = []
    for low, high in pairwise(np.linspace(ends[film.start], ends[film.end], count + 1)):
        middle = (low + high) / 2
        near = keys[(index.pts[keys] >= low) & (index.pts[keys] < high)]
        if len(near):
            found.append(int(near[np.argmin(np.abs(index.pts[near] - middle))]))
        else:
            found.append(int(np.searchsorted(ends[: film.end], middle, side="right")) - 1)
    return found


def sprite(film: Footage, count: int, height: int) -> Array:
    """Small pictures of `count` moments side by side.

    Args:
        film: The part of a clip that is shown.
        count: How many, at equal distances; a clip with fewer frames shows some more than once.
        height: Of each in pixels; the width follows the clip's shape.

    Returns:
        (height, count · width, 3) uint8 R'G'B'; cells whose frame cannot be decoded are grey.
    """
    width = max(1, round(film.clip.size[0] * height / film.clip.size[1]))
    strip = np.full((height, count * width, 3), 96, np.uint8)
    wanted = moments(film, count)
    cells: dict[int, list[int]] = {}
    for cell, number in enumerate(wanted):
        cells.setdefault(number, []).append(cell)
    for frame in _at(film, sorted(cells)):
        small = cpu.thumbnail(frame, (width, height))
        for cell in cells[frame.index]:
            strip[:, cell * width : (cell + 1) * width] = small
    return strip


def _at(film: Footage, numbers: list[int]) -> Iterator[Frame]:
    """Some frames, rising; those behind one key frame are decoded in one go."""
    keys = np.flatnonzero(film.index.key)
    for _, group in groupby(numbers, lambda n: int(np.searchsorted(keys, n, side="right"))):
        wanted = list(group)
        for frame in frames(film.clip, film.index, wanted[0], wanted[-1] + 1, writable=False):
            if frame.index in wanted:
                yield frame
