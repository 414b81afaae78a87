"""New faces carried from neighbouring frames by what moved in the target, instead of made by networks.

Every N-th frame of a track is made (`swap.every`), and the last of a batch; between two of them a face is
looked up in both, where the flow of the untouched crops leads, and mixed. Where neither shows what the
target shows (a blink, a hand, a mouth that opens) nothing is carried: the face is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mien.faces import blend
from mien.images import cpu, geometry, operations
from mien.images.operations import namespace
from mien.models.card import Template
from mien.models.pictures import aligned
from mien.stages.patch import ANYBODY, Look, Patch, Square
from mien.types import Float32, Float64

SIDE = 192
"""Side of the aligned squares in which movement is sought."""
ASTRAY = 0.012
"""Distance at which the way there and back misses its start, over the side, from which it is not believed."""
UNLIKE = 0.08
"""Difference of luma, smoothed, from which two places do not show the same."""
_SMOOTH = 0.01
"""Sigma of that smoothing, over the side."""
_ROOM = 4.0
"""Pixels that a mask may move."""
BLOB = 0.03
"""Sigma of a spot in which nothing is believed, over the side: about half an eye."""
_LITTLE = np.float32(0.01)
"""Trust that is left everywhere, so that every place shows something."""
HOLE = 0.5
"""How much of such a spot may not be believed."""


def between(patches: Sequence[Patch]) -> dict[int, tuple[int, int]]:
    """Which faces may be carried.

    Args:
        patches: Faces of a batch of frames.

    Returns:
        Row to the rows of the made faces before and after it, of the same track and look, in frames without
        a gap.
    """
    found: dict[int, tuple[int, int]] = {}
    for rows in _runs(patches):
        every = patches[rows[0]].look.swap.every
        for at, row in enumerate(rows[:-1]):
            if at % every:
                first = at - at % every
                found[row] = rows[first], rows[min(first + every, len(rows) - 1)]
    return found


def _runs(patches: Sequence[Patch]) -> list[list[int]]:
    """Rows of one track and look in frames that follow each other."""
    runs: list[list[int]] = []
    open_: dict[tuple[Look, int], list[int]] = {}
    for row in sorted(range(len(patches)), key=lambda k: patches[k].frame.index):
        patch = patches[row]
        if patch.track == ANYBODY or patch.look.swap.every == 1:
            continue
        run = open_.get((patch.look, patch.track))
        if run is None or patches[run[-1]].frame.index != patch.frame.index - 1:
            run = open_[patch.look, patch.track] = []
            runs.append(run)
        run.append(row)
    return runs


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a frame shows of a face."""

    luma: Float32
    """(SIDE, SIDE) of the untouched crop."""
    matrix: Float64
    """(2, 3) display pixels to pixels of `luma`."""


def view(patch: Patch, template: Template) -> View:
    """Cut a face for the search."""
    matrix = aligned(patch.points, template, SIDE)
    ops = operations.of(patch.frame)
    luma = operations.host(ops.luma(ops.crop(patch.frame, matrix, (SIDE, SIDE))))
    return View(luma.clip(0.0, 1.0), matrix)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """How one view's places are found in another one."""

    flow: Float32
    """(SIDE, SIDE, 2) pixels, from the view's to the other's."""
    trust: Float32
    """(SIDE, SIDE) 0 to 1."""


def way(one: View, other: View) -> Way:
    """Find what one view shows in the other."""
    there, back = cpu.flow(one.luma, other.luma), cpu.flow(other.luma, one.luma)
    at = (_grid((SIDE, SIDE)) + there).astype(np.float32)
    x, y = at[..., 0], at[..., 1]
    astray = np.linalg.norm(there + cpu.remap(back, x, y), axis=2)
    apart = np.abs(cpu.blur(one.luma - cpu.remap(other.luma, x, y), _SMOOTH * SIDE))
    sure = blend.smoothstep(2.0 - astray / (ASTRAY * SIDE)) * blend.smoothstep(2.0 - apart / UNLIKE)
    outside = (x < 0) | (y < 0) | (x > SIDE) | (y > SIDE)
    return Way(there, np.where(outside, np.float32(0), sure).astype(np.float32))


def carried(patch: Patch, here: View, sides: Sequence[tuple[Square, View, float]]) -> Square | None:
    """A face from those of other frames.

    Args:
        patch: The face.
        here: Its view.
        sides: Made faces of the same chain, their views, and weights that fall with the distance in time.

    Returns:
        The face in a square as theirs; None where too much of it is in none of them.
    """
    ways = [way(here, there) for _, there, _ in sides]
    square, there, _ = sides[0]
    onto = geometry.compose(there.matrix, geometry.invert(square.where))
    shown = cpu.warp(operations.host(square.mask), onto, (SIDE, SIDE), border="zero") > np.float32(0.5)
    doubt = np.float32(1) - np.maximum.reduce([one.trust for one in ways])
    if float((cpu.blur(doubt, BLOB * SIDE) * shown).max()) > HOLE:
        return None
    rgb, matrix = _mixed(here, sides, ways, [(s.rgb, s.matrix) for s, _, _ in sides])
    mask, where = _mixed(here, sides, ways, [(s.mask, s.where) for s, _, _ in sides])
    # The mask moves with the skin, by a few pixels at most.
    low = np.maximum(np.min([s.reach[:2] for s, _, _ in sides], axis=0) - _ROOM, 0.0)
    high = np.minimum(np.max([s.reach[2:] for s, _, _ in sides], axis=0) + _ROOM, square.mask.shape[::-1])
    return Square(patch, rgb, matrix, mask, where, np.concatenate([low, high]))


def _mixed(
    here: View,
    sides: Sequence[tuple[Square, View, float]],
    ways: Sequence[Way],
    pictures: Sequence[tuple[Float32, Float64]],
) -> tuple[Float32, Float64]:
    """Pictures of other frames looked up where this one's places are, mixed by trust and nearness.

    Args:
        here: This frame's view.
        sides: As `carried` has them.
        ways: To each of them.
        pictures: Of each (S, S[, 3]), and what leads from display pixels to it.

    Returns:
        The picture, and what leads from this frame's display pixels to its pixels.
    """
    first, matrix = pictures[0]
    size = (first.shape[1], first.shape[0])
    onto = geometry.compose(matrix, geometry.invert(sides[0][1].matrix))  # from the view to the picture
    places = geometry.apply(geometry.invert(onto), _grid(size))
    ops, xp = operations.of(first), namespace(first)
    looks, weights = [], []
    for (picture, theirs), (_, there, nearness), one in zip(pictures, sides, ways, strict=True):
        to_theirs = geometry.compose(theirs, geometry.invert(there.matrix))
        at = geometry.apply(to_theirs, places + cpu.warp(one.flow, onto, size)).astype(np.float32)
        x, y = (operations.like(np.ascontiguousarray(at[..., k]), picture) for k in (0, 1))
        looks.append(ops.remap(picture, x, y, cubic=True))
        weights.append(np.float32(nearness) * (cpu.warp(one.trust, onto, size) + _LITTLE))
    shares = operations.like(np.stack(weights) / np.sum(weights, axis=0), first)
    mixed = xp.sum(xp.stack(looks) * (shares[..., None] if first.ndim == 3 else shares), axis=0)
    return mixed.clip(0.0, 1.0), geometry.compose(onto, here.matrix)


@lru_cache(maxsize=16)
def _grid(size: tuple[int, int]) -> Float64:
    """(h, w, 2) centres of pixels; shared, do not write."""
    made = np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), axis=2)
    made.flags.writeable = False
    return made


def nearness(row: int, sides: tuple[int, int], patches: Sequence[Patch]) -> tuple[float, float]:
    """Weights of the made faces before and after one: 1 at the frame itself, 0 at the other."""
    at, first, last = (patches[k].frame.index for k in (row, *sides))
    share = (at - first) / (last - first)
    return 1.0 - share, share
