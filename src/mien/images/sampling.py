"""What a resampling reads and how it prefilters: the geometry that CPU and GPU share."""

from __future__ import annotations

from math import ceil, log2
from typing import Literal, TypeAlias

import numpy as np

from mien.images.geometry import apply, box_of, corners, invert
from mien.types import Float64

Border: TypeAlias = Literal["replicate", "zero"]
Box: TypeAlias = tuple[int, int, int, int]


def _times(scale: float) -> int:
    """How often to halve before a warp by `scale` so that what remains is over 0.6 and at most 1.2.

    Not 1/2 and 1: chroma under a crop of about the face's own size is to be halved on either side of it.
    """
    return max(0, ceil(log2(0.6 / max(scale, 2.0**-15)) - 1e-6))


def taps(scale: float) -> Float64:
    """Three-tap low pass for a remaining scale: none from 1 up, a zero at Nyquist from 0.65 down.

    The weight grows continuously, so that a face that slowly changes size never pops in sharpness.
    """
    side = 0.25 * min(1.0, max(0.0, (1.0 - scale) / 0.35))
    return np.array([side, 1.0 - 2.0 * side, side])


def needed(a: Float64, size: tuple[int, int], extent: tuple[int, int], step: tuple[int, int]) -> Box:
    """The part of a source that a warp reads: left, top, right, bottom in source pixels.

    Args:
        a: Source to destination.
        size: Width and height of the destination.
        extent: Width and height of the source.
        step: Grid the box is aligned to, so that a prefilter's phase does not depend on the box.
    """
    w, h = size
    seen = box_of(apply(invert(a), corners((0.0, 0.0, w, h))))
    sides: list[tuple[int, int]] = []
    for axis in (0, 1):
        # Two pixels of the prefiltered level: one for the interpolation, one for the three taps.
        low = int(np.floor(seen[axis] / step[axis]) - 2) * step[axis]
        high = int(np.ceil(seen[axis + 2] / step[axis]) + 2) * step[axis]
        # As much remains where only the edge is seen, repeated: it is filtered, too.
        last = (extent[axis] - 1) // step[axis] * step[axis]
        low = min(max(low, 0), max(last - 2 * step[axis], 0))
        sides.append((low, min(max(high, low + 3 * step[axis]), extent[axis])))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def halvings(a: Float64) -> tuple[int, int]:
    """How often a warp halves its source first, across and down."""
    x, y = scales(a)
    return _times(x), _times(y)


def scales(a: Float64) -> tuple[float, float]:
    """Destination pixels for a step of one source pixel across, and down."""
    return float(np.hypot(a[0, 0], a[1, 0])), float(np.hypot(a[0, 1], a[1, 1]))


def footprint(back: Float64, size: tuple[int, int]) -> Float64:
    """Corners (4, 2) of what a crop of `size` can touch in a plane, interpolation's reach included."""
    w, h = size
    # A crop sample reaches one crop pixel beyond its own, or two plane samples where the crop shrinks.
    reach = 1.0 + 2.0 / min(1.0, float(np.hypot(back[0, :2], back[1, :2]).min()))
    return apply(back, corners((-reach, -reach, w + reach, h + reach)))
