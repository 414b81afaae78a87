"""The chain of networks: swap, restore, mask, match colour and grain, in aligned squares of a batch of faces.

Each network sees a square of its own template, cut from the untouched frame or warped from the square before
it; templates differ only by a similarity. The last square is warped once, onto an upright crop of the
frame's own pixels, where colour, grain and mask are matched at the frame's own scale and from where the face
is pasted without a further resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mien.faces import blend, tone
from mien.images import cpu, geometry, operations
from mien.images.operations import is_tensor, namespace
from mien.images.sampling import Border
from mien.models import deepface, enhance, swap
from mien.models.pictures import aligned, looked_at
from mien.stages import carry, masks
from mien.stages.patch import Conditions, Painting, Patch, Square, Timed
from mien.types import Array, Float32, Float64

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

T = TypeVar("T")
U = TypeVar("U")

REACH = 0.04
"""Share of a square's side at its rim over which what was restored gives way to what was there: networks are
weak at the edge of what they see."""


def paintings(runtime: Runtime, patches: Sequence[Patch], timed: Timed) -> tuple[list[Painting], int]:
    """New faces, each in an upright crop of its frame.

    Args:
        runtime: Where the networks run.
        patches: Faces whose looks have a network. Frames are read only.
        timed: Told the stages `crop`, `swap`, `enhance`, `mask`, `carry` and `blend`.

    Returns:
        The faces, and how many of them were carried from others.
    """
    sides = carry.between(patches)
    made = _made(runtime, patches, [k for k in range(len(patches)) if k not in sides], timed)
    with timed("carry") if sides else nullcontext():
        carried = _carried(patches, sides, made)
    made |= carried
    made |= _made(runtime, patches, [k for k in sides if k not in carried], timed)
    squares = [made[k] for k in range(len(patches))]
    with timed("crop"):
        cuts = [_uncut(square, k) for k, square in enumerate(squares)]
    return _together(cuts, lambda cut: cut.key, lambda group: _finished(group, timed)), len(carried)


def _made(runtime: Runtime, patches: Sequence[Patch], rows: Sequence[int], timed: Timed) -> dict[int, Square]:
    """New faces by the networks, by row."""
    squares = _together([patches[k] for k in rows], _swap_key, lambda group: _swapped(runtime, group, timed))
    squares = _together(squares, _enhance_key, lambda group: _enhanced(runtime, group, timed))
    return dict(zip(rows, squares, strict=True))


def _carried(
    patches: Sequence[Patch], sides: Mapping[int, tuple[int, int]], made: Mapping[int, Square]
) -> dict[int, Square]:
    """New faces from those before and after them, by row; without those that cannot be had so."""
    views: dict[int, carry.View] = {}
    for row in {*sides, *(k for pair in sides.values() for k in pair)}:
        network = patches[row].look.network
        views[row] = carry.view(patches[row], network.template if network else "")
    found: dict[int, Square] = {}
    for row, pair in sides.items():
        near = carry.nearness(row, pair, patches)
        parts = [(made[k], views[k], weight) for k, weight in zip(pair, near, strict=True)]
        if (square := carry.carried(patches[row], views[row], parts)) is not None:
            found[row] = square
    return found


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
        shown, boxes = masks.squares(runtime, patches, where, crops, faces)
        if own is not None:
            shown = namespace(shown).minimum(shown, own)
    return [
        Square(patch, face, matrix, mask, matrix, box)
        for patch, face, matrix, mask, box in zip(patches, faces, where, shown, boxes, strict=True)
    ]


def _cut(patches: Sequence[Patch], matrices: Sequence[Float64], side: int) -> Float32:
    """(N, side, side, 3) crops of the untouched frames, clipped to [0, 1]."""
    return _crops(patches, matrices, (side, side)).clip(0.0, 1.0)


def _crops(patches: Sequence[Patch], matrices: Sequence[Float64], size: tuple[int, int]) -> Float32:
    """(N, h, w, 3) crops of the untouched frames."""
    frames = [patch.frame for patch in patches]
    if is_tensor(frames[0].planes[0]):
        return operations.of(frames[0]).crops(frames, np.stack(matrices), size)  # type: ignore[no-any-return]
    return _batch([cpu.crop(f, m, size) for f, m in zip(frames, matrices, strict=True)])


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
        given = _laid(squares, around, where)
    with timed("enhance"):
        restored = enhance.run(runtime, card, given, asked.fidelity)
    share = np.array([s.patch.look.enhance.blend for s in squares], np.float32)[:, None, None, None]
    mixed = given + operations.like(share * masks.rim(side, REACH)[..., None], given) * (restored - given)
    return [
        replace(square, rgb=rgb, matrix=matrix)
        for square, rgb, matrix in zip(squares, mixed, where, strict=True)
    ]


def _laid(squares: Sequence[Square], around: Float32, matrices: Sequence[Float64]) -> Float32:
    """(N, side, side, 3) new faces laid over other squares' untouched crops."""
    size = (around.shape[2], around.shape[1])
    faces = _warped(squares, matrices, size)
    return around + _masks(squares, matrices, size)[..., None] * (faces - around)


def _warped(squares: Sequence[Square], matrices: Sequence[Float64], size: tuple[int, int]) -> Float32:
    """(N, h, w, 3) new faces where these affines from display pixels lead, in [0, 1].

    Sharper than bilinear where a square is enlarged.
    """
    onto = [geometry.compose(m, geometry.invert(s.matrix)) for s, m in zip(squares, matrices, strict=True)]
    items = list(zip((s.rgb for s in squares), onto, strict=True))

    def work(group: list[tuple[Float32, Float64]]) -> list[Float32]:
        enlarged = geometry.affine_scale(group[0][1]) > 1.0
        done = _warps(group, size, cubic=enlarged)
        return list(done.clip(0.0, 1.0) if enlarged else done)

    warped = _together(items, lambda item: (item[0].shape, geometry.affine_scale(item[1]) > 1.0), work)
    return _batch(warped)


def _masks(squares: Sequence[Square], matrices: Sequence[Float64], size: tuple[int, int]) -> Float32:
    """(N, h, w) the masks there."""
    onto = [geometry.compose(m, geometry.invert(s.where)) for s, m in zip(squares, matrices, strict=True)]
    items = list(zip((s.mask for s in squares), onto, strict=True))
    warped = _together(items, lambda item: item[0].shape, lambda group: list(_warps(group, size, "zero")))
    return _batch(warped)


def _batch(pictures: Sequence[Float32]) -> Float32:
    """(N, ...) pictures of one shape; of a single one nothing is copied."""
    return pictures[0][None] if len(pictures) == 1 else namespace(pictures[0]).stack(pictures)


def _warps(
    items: Sequence[tuple[Float32, Float64]],
    size: tuple[int, int],
    border: Border = "replicate",
    cubic: bool = False,
) -> Float32:
    """Pictures of one shape through affines."""
    ops, pictures = operations.of(items[0][0]), [picture for picture, _ in items]
    if not is_tensor(pictures[0]):
        return _batch([ops.warp(p, m, size, border=border, cubic=cubic) for p, m in items])
    matrices = np.stack([m for _, m in items])
    return ops.warps(_batch(pictures), matrices, size, border=border, cubic=cubic)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, eq=False)
class _Uncut:
    """A new face, and the crop of its frame that it goes into."""

    square: Square
    matrix: Float64
    """(2, 3) display pixels to crop pixels."""
    size: tuple[int, int]
    key: Hashable
    """What faces must share to be finished together."""


def _uncut(square: Square, number: int) -> _Uncut:
    """Where a face goes; those of the processor are finished one by one."""
    look = square.patch.look
    matrix, size = geometry.upright(_reach(square))
    if not is_tensor(square.rgb):
        return _Uncut(square, matrix, size, number)
    key = size, look.swap.colour, look.swap.light, look.swap.grain, bool(look.enhance.model)
    return _Uncut(square, matrix, size, key)


def _finished(cuts: list[_Uncut], timed: Timed) -> list[Painting]:
    """Faces on the frames' own pixels, with the colours and the grain of their targets."""
    squares, matrices, size = [c.square for c in cuts], [c.matrix for c in cuts], cuts[0].size
    look = squares[0].patch.look
    with timed("crop"):
        targets = _crops([s.patch for s in squares], matrices, size)
    with timed("blend"):
        faces = _warped(squares, matrices, size)
        shares = _masks(squares, matrices, size).clip(0.0, 1.0)
        faces = tone.match(faces, targets, shares, look.swap.colour, look.swap.light)
        restored = bool(look.enhance.model)
        faces = blend.match_detail(faces, targets, shares, look.swap.grain, damp=not restored)
        shown = np.array([s.patch.look.opacity * s.patch.look.shown for s in squares], np.float32)
        if (shown < 1.0).any():
            shares = shares * operations.like(shown[:, None, None], shares)
    if not is_tensor(faces):
        faces = np.ascontiguousarray(faces, np.float32)
    return [Painting(f, m, c.matrix) for f, m, c in zip(faces, shares, cuts, strict=True)]


def _reach(square: Square) -> Float64:
    """(4,) box in display pixels of what the mask may reach."""
    corners = geometry.corners(tuple(square.reach))
    return geometry.box_of(geometry.apply(geometry.invert(square.where), corners))
