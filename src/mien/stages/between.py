"""Whole frames for moments between two of a clip, from what moves between them (`encode.between`).

Movement is sought on small pictures, both ways. Each of the two frames is looked up where its own movement
leads to the moment, plane by plane at its own sampling, and both are mixed by nearness and by how well each
place is found in the other frame: what only one of them shows is taken from that one. Where a spot fits in
neither, the nearer frame alone is shown, moved with its surroundings; where too much does not fit (a cut, a
flash, limbs faster than the search) there is no picture, and the nearer frame is to be shown as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from mien.faces.blend import smoothstep
from mien.images import cpu, geometry
from mien.images.planes import groups
from mien.types import Array, Float32, Float64, Frame

WIDE = 640
"""Longer side, at most, of the pictures in which movement is sought: 960 took twice as long, for 0.1 dB."""
LEAST = 32
"""Shorter side of them, at least: flow needs that much."""
BLOCK = 8
"""Side of the blocks in which two frames are compared for being the same."""
SAME = 1 / 255
"""Largest difference of such a block, in luma, of a frame that is shown once more."""
DOUBT = (16 / 255, 32 / 255)
"""Difference in luma of what both frames give for a place, smoothed: where doubt begins, where it is full."""
SPOT = 0.01
"""Sigma of that smoothing, over the longer side."""
AROUND = 0.03
"""Sigma within which surroundings lead a doubtful spot, over the longer side."""
MOST = 0.01
"""Share of the picture that may be in doubt; beyond it hands were seen torn."""
_ROUNDS = 3
"""Of the search for the place that arrives: movement is smooth, so each halves what is left, or more."""
_SMOOTH = 1.5
"""Sigma in pixels within which two places are compared."""
_UNLIKE = np.float32(32.0)
"""What two places that do not show the same cost: pixels for a difference of the whole range."""
_BAND = 128
"""Rows of a plane that are made at a time, so that float copies stay small."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What moves between two frames, on small pictures."""

    one: Float32
    """(h, w) luma in [0, 1]."""
    other: Float32
    there: Float32
    """(h, w, 2) pixels: what `one` shows at x, `other` shows at x + there."""
    back: Float32
    shrink: Float64
    """(2, 3) coded pixels to pixels of these."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Where a picture shows what is seen at a moment between it and another one."""

    shift: Float32
    """(h, w, 2) pixels to the right and down from a place of the moment to where the picture shows it."""
    trust: Float32
    """(h, w) above 0, 1 at most: whether what is there arrives here, and is found in the other one."""


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """How the small picture of a moment comes from two others."""

    shifts: Float32
    """(h, w, 4) where to look in the one (across, down) and in the other, from each place."""
    share: Float32
    """(h, w) of the one, 0 to 1."""
    doubt: float
    """Share of the picture that is in doubt, 0 to 1."""


def motion(a: Frame, b: Frame) -> Motion | None:
    """What moves between two frames; None where nothing does, or they are too small to tell.

    Args:
        a: A frame with NumPy planes of any supported layout.
        b: A later one of the same clip.
    """
    one, shrink = _small(a)
    other, _ = _small(b)
    if min(one.shape) < LEAST or _same(one, other):
        return None
    return Motion(one, other, cpu.flow(one, other), cpu.flow(other, one), shrink)


def _small(frame: Frame) -> tuple[Float32, Float64]:
    """Luma in which movement is sought, and what leads from coded pixels to it."""
    shrink = max(1, -(-max(frame.width, frame.height) // WIDE))
    small = cpu.reduced(frame, shrink)
    if frame.layout.model == "rgb":
        rgb = np.dstack(small.planes).astype(np.float32) / np.float32(255)
        luma = cpu.luma(rgb)
    else:
        luma = small.planes[0].astype(np.float32) / np.float32(255)
    return luma, geometry.compose(geometry.invert(small.display), frame.display)


def _same(one: Float32, other: Float32) -> bool:
    """Whether no block of two pictures differs by more than noise."""
    apart = np.abs(one - other)
    h, w = (max(n // BLOCK, 1) for n in apart.shape)
    return float(cpu.resize(apart, (w, h)).max()) <= SAME


@lru_cache(maxsize=8)
def _grid(h: int, w: int) -> tuple[Float32, Float32]:
    """Centres of pixels, across and down; shared, do not write."""
    x, y = np.meshgrid(np.arange(w, dtype=np.float32) + 0.5, np.arange(h, dtype=np.float32) + 0.5)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def _looked(field: Float32, x: Float32, y: Float32) -> Float32:
    """Movement (h, w, 2) looked up at places."""
    return np.dstack([cpu.remap(np.ascontiguousarray(field[..., k]), x, y) for k in (0, 1)])


def _length(field: Float32) -> Float32:
    return np.hypot(field[..., 0], field[..., 1])


def route(one: Float32, other: Float32, there: Float32, back: Float32, share: float) -> Route:
    """Where to look in a picture for what is seen at a moment on the way to another one.

    What lies at p in `one` is at p + share * there(p) then. That is solved for p at every place of the moment
    by iteration, once from the movement seen at the place in `one` and once from that in `other`; the better
    answer is kept. What costs: not arriving, the way back missing the start, and another look of the place.

    Args:
        one: (h, w) luma in [0, 1].
        other: The same.
        there: (h, w, 2) from `flow(one, other)`.
        back: From `flow(other, one)`.
        share: How far the moment is on the way, 0 to 1.
    """
    x, y = _grid(*one.shape)
    way = np.float32(share)
    shift, cost = np.zeros_like(there), np.full_like(one, np.inf)
    for moved in (there, -back):
        for _ in range(_ROUNDS):
            moved = _looked(there, x - way * moved[..., 0], y - way * moved[..., 1])
        px, py = x - way * moved[..., 0], y - way * moved[..., 1]
        seen = _looked(there, px, py)
        qx, qy = px + seen[..., 0], py + seen[..., 1]
        off = way * _length(seen - moved)
        astray = _length(seen + _looked(back, qx, qy))
        apart = cpu.blur(np.abs(cpu.remap(one, px, py) - cpu.remap(other, qx, qy)), _SMOOTH)
        found = off + np.float32(0.5) * astray + _UNLIKE * apart
        better = found < cost
        shift = np.where(better[..., None], np.dstack([px - x, py - y]), shift)
        cost = np.where(better, found, cost)
    return Route(shift, np.maximum(np.exp(-cost), np.float32(1e-4)))


def mix(found: Motion, share: Fraction) -> Mix:
    """How a moment is mixed from both frames, on the small picture.

    Args:
        found: From `motion`.
        share: How far the moment is on the way from the one to the other, between 0 and 1.
    """
    late = float(share)
    early = 1.0 - late
    ways = (
        route(found.one, found.other, found.there, found.back, late),
        route(found.other, found.one, found.back, found.there, early),
    )
    h, w = found.one.shape
    x, y = _grid(h, w)
    shown = [
        cpu.remap(luma, x + way.shift[..., 0], y + way.shift[..., 1])
        for luma, way in zip((found.one, found.other), ways, strict=True)
    ]
    side = max(h, w)
    apart = cpu.blur(np.abs(shown[0] - shown[1]), SPOT * side)
    doubt = smoothstep((apart.astype(np.float64) - DOUBT[0]) / (DOUBT[1] - DOUBT[0])).astype(np.float32)
    first = early * ways[0].trust / (early * ways[0].trust + late * ways[1].trust)
    shifts = np.dstack([_led(way, doubt, AROUND * side) for way in ways])
    nearest = np.float32(share < Fraction(1, 2))
    return Mix(shifts, (first + doubt * (nearest - first)).astype(np.float32), float(doubt.mean()))


def _led(way: Route, doubt: Float32, sigma: float) -> Float32:
    """Shifts, in doubtful spots those of the surroundings."""
    if not doubt.any():
        return way.shift
    weight = way.trust * (np.float32(1) - doubt) + np.float32(1e-4)
    around = cpu.blur(way.shift * weight[..., None], sigma) / cpu.blur(weight, sigma)[..., None]
    return np.asarray(way.shift + doubt[..., None] * (around - way.shift), np.float32)


def between(a: Frame, b: Frame, found: Motion, share: Fraction) -> Frame | None:
    """The frame of a moment; None where too much of it is in doubt.

    Args:
        a: The frame before, with NumPy planes.
        b: The one after.
        found: From `motion` of them.
        share: How far the moment is on the way, between 0 and 1.

    Returns:
        A frame of its own memory, with number and time of `a`.

    Raises:
        ValueError: Frames of different kinds, or the moment is not between them.
    """
    if not 0 < share < 1:
        raise ValueError(f"share: expected more than 0 and less than 1, got {share}")
    if (a.layout, a.width, a.height) != (b.layout, b.width, b.height):
        raise ValueError(f"frames: expected two of one kind, got {a.layout.name} and {b.layout.name}")
    made = mix(found, share)
    if made.doubt > MOST:
        return None
    planes = tuple(np.empty_like(plane, order="C") for plane in a.planes)
    frame = replace(a, planes=planes, owner=None)
    top = (1 << a.layout.depth) - 1
    for (affine, before), (_, after), (_, into) in zip(_grids(a), _grids(b), _grids(frame), strict=True):
        onto = geometry.compose(affine, geometry.invert(found.shrink))
        _fill(into, before, after, made, onto, top)
    return frame


def _grids(frame: Frame) -> Iterator[tuple[Float64, list[Array]]]:
    """What leads from coded pixels to each sampling grid of a frame, and the components on it, alpha too."""
    alpha = [
        plane if len(parts) == 1 else plane[..., parts.index(3)]
        for plane, parts in zip(frame.planes, frame.layout.planes, strict=True)
        if 3 in parts
    ]
    for k, group in enumerate(groups(frame)):
        yield group.affine, [*group.views, *(alpha if k == 0 else [])]


def _fill(
    into: list[Array], before: list[Array], after: list[Array], made: Mix, onto: Float64, top: int
) -> None:
    """Mix all components of one grid.

    Args:
        into: (H, W) views that are written.
        before: The same of the frame before.
        after: The same of the frame after.
        made: How.
        onto: (2, 3) pixels of the small picture to samples of the grid.
        top: Largest code.
    """
    rows, columns = into[0].shape
    stretch = np.array([onto[0, 0], onto[1, 1]] * 2, np.float32)
    sources = [[np.ascontiguousarray(view) for view in side] for side in (before, after)]
    for start in range(0, rows, _BAND):
        end = min(start + _BAND, rows)
        here = geometry.compose(geometry.scaling(1.0, 1.0, (0.0, -start)), onto)
        size = (columns, end - start)
        x, y = _grid(end - start, columns)
        shifts = cpu.warp(made.shifts, here, size) * stretch
        share = cpu.warp(made.share, here, size)
        places = [(x + shifts[..., k], y + shifts[..., k + 1] + np.float32(start)) for k in (0, 2)]
        for k, target in enumerate(into):
            first, second = (
                cpu.remap(side[k], *place, cubic=True).astype(np.float32)
                for side, place in zip(sources, places, strict=True)
            )
            target[start:end] = np.clip(np.rint(second + share * (first - second)), 0, top)
