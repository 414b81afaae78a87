"""The chain of networks: swap, restore, mask, match colour and grain, in aligned squares of a batch of faces.

Each network sees a square of its own template, cut from the untouched frame or warped from the square before
it; templates differ only by a similarity. The last square is warped once, onto an upright crop of the
frame's own pixels, where colour, grain and mask are matched at the frame's own scale and from where the face
is pasted without a further resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mien.faces import blend, tone
from mien.images import cpu, geometry
from mien.models import deepface, enhance, swap
from mien.models.pictures import aligned, looked_at
from mien.stages import masks
from mien.stages.patch import Conditions, Painting, Patch, Timed
from mien.types import Array, Float32, Float64

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

T = TypeVar("T")
U = TypeVar("U")

REACH = 0.04
"""Share of a square's side at its rim over which what was restored gives way to what was there: networks are
weak at the edge of what they see."""


@dataclass(frozen=True, slots=True, eq=False)
class Square:
    """A new face as the chain has made it so far."""

    patch: Patch
    rgb: Float32
    """(S, S, 3) R'G'B'."""
    matrix: Float64
    """(2, 3) display pixels to pixels of `rgb`."""
    mask: Float32
    """(M, M) 0 to 1, where the new face is shown."""
    where: Float64
    """(2, 3) display pixels to pixels of `mask`."""


def paintings(runtime: Runtime, patches: Sequence[Patch], timed: Timed) -> list[Painting]:
    """New faces, each in an upright crop of its frame.

    Args:
        runtime: Where the networks run.
        patches: Faces whose looks have a network. Frames are read only.
        timed: Told the stages `crop`, `swap`, `enhance`, `mask` and `blend`.
    """
    squares = _together(patches, _swap_key, lambda group: _swapped(runtime, group, timed))
    squares = _together(squares, _enhance_key, lambda group: _enhanced(runtime, group, timed))
    return [_finished(square, timed) for square in squares]


def _swap_key(patch: Patch) -> Hashable:
    """Patches with the same key go through the swap network together."""
    network = patch.look.network
    return (network, patch.look.swap.size, patch.look.swap.morph)


def _enhance_key(square: Square) -> Hashable:
    return (square.patch.look.enhance.model, square.patch.look.enhance.fidelity)


def _together(
    items: Sequence[T], key: Callable[[T], Hashable], work: Callable[[list[T]], list[U]]
) -> list[U]:
    """`work` on items of the same key at once; results in the items' order."""
    groups: dict[Hashable, list[int]] = {}
    for k, item in enumerate(items):
        groups.setdefault(key(item), []).append(k)
    done: dict[int, U] = {}
    for rows in groups.values():
        done.update(zip(rows, work([items[k] for k in rows]), strict=True))
    return [done[k] for k in range(len(items))]


def _swapped(runtime: Runtime, patches: list[Patch], timed: Timed) -> list[Square]:
    """Swap faces that go through the same network."""
    look = patches[0].look
    if look.network is None:
        raise ValueError("look: expected a swap network, got none")
    card, side = look.network, look.swap.size or looked_at(look.network).side
    with timed("crop"):
        where = [aligned(patch.points, card.template, side) for patch in patches]
        crops = _cut(patches, where, side)
    with timed("swap"):
        if card.family == deepface.FAMILY:
            faces, own = deepface.run(runtime, card, crops, look.swap.morph)
        else:
            conditions = _stacked([patch.look.condition(patch.track) for patch in patches])
            faces, _ = swap.run(runtime, card, conditions, crops)
            own = None  # blended in already, by the network itself
    with timed("mask"):
        shown = masks.squares(runtime, patches, where, crops, faces)
        if own is not None:
            shown = np.minimum(shown, own)
    return [
        Square(patch, face, matrix, mask, matrix)
        for patch, face, matrix, mask in zip(patches, faces, where, shown, strict=True)
    ]


def _cut(patches: Sequence[Patch], matrices: Sequence[Float64], side: int) -> Float32:
    """(N, side, side, 3) crops of the untouched frames."""
    crops = [cpu.crop(p.frame, m, (side, side)) for p, m in zip(patches, matrices, strict=True)]
    return np.clip(np.stack(crops), np.float32(0), np.float32(1))


def _stacked(conditions: Sequence[Conditions]) -> dict[str, Array]:
    """Rows of one face each as arrays of all faces."""
    return {name: np.concatenate([one[name] for one in conditions]) for name in conditions[0]}


def _enhanced(runtime: Runtime, squares: list[Square], timed: Timed) -> list[Square]:
    """Restore faces that go through the same enhancer; unchanged where there is none."""
    asked = squares[0].patch.look.enhance
    if not asked.model:
        return squares
    card = runtime.catalogue.card(asked.model)
    side = looked_at(card).side
    with timed("crop"):
        where = [aligned(square.patch.points, card.template, side) for square in squares]
        around = _cut([square.patch for square in squares], where, side)
        given = np.stack([_laid(s, a, m) for s, a, m in zip(squares, around, where, strict=True)])
    with timed("enhance"):
        restored = enhance.run(runtime, card, given, asked.fidelity)
    rim = masks.rim(side, REACH)[..., None]
    share = np.array([s.patch.look.enhance.blend for s in squares], np.float32)[:, None, None, None]
    mixed = given + (share * rim) * (restored - given)
    return [
        Square(square.patch, rgb, matrix, square.mask, square.where)
        for square, rgb, matrix in zip(squares, mixed, where, strict=True)
    ]


def _laid(square: Square, around: Float32, matrix: Float64) -> Float32:
    """A new face laid over another square's untouched crop."""
    size = (around.shape[1], around.shape[0])
    face = _warped(square.rgb, geometry.compose(matrix, geometry.invert(square.matrix)), size)
    onto = geometry.compose(matrix, geometry.invert(square.where))
    mask = cpu.warp(square.mask, onto, size, border="zero")[..., None]
    return np.asarray(around + mask * (face - around), np.float32)


def _warped(rgb: Float32, matrix: Float64, size: tuple[int, int]) -> Float32:
    """A picture through an affine, in [0, 1]; sharper than bilinear where it is enlarged."""
    enlarged = geometry.affine_scale(matrix) > 1.0
    warped = cpu.warp(rgb, matrix, size, cubic=enlarged)
    return np.clip(warped, np.float32(0), np.float32(1)) if enlarged else warped


def _finished(square: Square, timed: Timed) -> Painting:
    """The face on the frame's own pixels, with the colours and the grain of the target."""
    patch, look = square.patch, square.patch.look
    with timed("crop"):
        matrix, size = geometry.upright(_reach(square))
        target = cpu.crop(patch.frame, matrix, size)
    with timed("blend"):
        face = _warped(square.rgb, geometry.compose(matrix, geometry.invert(square.matrix)), size)
        onto = geometry.compose(matrix, geometry.invert(square.where))
        mask = np.clip(cpu.warp(square.mask, onto, size, border="zero"), np.float32(0), np.float32(1))
        face = tone.match(face, target, mask, look.swap.colour, look.swap.light)
        restored = bool(look.enhance.model)
        face = blend.match_detail(face, target, mask, look.swap.grain, damp=not restored)
        if look.opacity < 1.0:
            mask = mask * np.float32(look.opacity)
    return Painting(np.ascontiguousarray(face, np.float32), mask, matrix)


def _reach(square: Square) -> Float64:
    """(4,) box in display pixels of what the mask reaches, or of the square where it reaches nothing."""
    rows, columns = np.flatnonzero(square.mask.any(axis=1)), np.flatnonzero(square.mask.any(axis=0))
    height, width = square.mask.shape
    low = (float(columns[0]), float(rows[0])) if len(rows) else (0.0, 0.0)
    high = (float(columns[-1]) + 1.0, float(rows[-1]) + 1.0) if len(rows) else (float(width), float(height))
    return geometry.box_of(geometry.apply(geometry.invert(square.where), geometry.corners((*low, *high))))
