"""The one way a frame of tensors is changed: crops blended back into the frames' own planes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.images import colour
from mien.images.geometry import compose, invert
from mien.images.gpu_arrays import rows, tensors, whole
from mien.images.gpu_crop import converted
from mien.images.gpu_warp import Levels, leveled
from mien.images.planes import Group, groups
from mien.images.sampling import Box, footprint, halvings
from mien.types import Float64, Frame


def paste(frame: Frame, rgb: Tensor, mask: Tensor, matrix: Float64) -> None:
    """Blend a crop back into the frame it was cut from, in place.

    Args:
        frame: Any supported layout, of tensors.
        rgb: Float32 (h, w, 3) R'G'B' on the frame's device, nominal [0, 1], finite.
        mask: Float32 (h, w) in [0, 1], the crop's share.
        matrix: (2, 3) display pixels to crop pixels, as given to `crop`, NumPy's.

    Raises:
        ValueError: Shapes that do not belong together, or `matrix` cannot be inverted.
        TypeError: Not float32.
    """
    pastes(frame, rgb[None], mask[None], np.asarray(matrix)[None])


def pastes(frames: Frame | Sequence[Frame], rgb: Tensor, masks: Tensor, matrices: Float64) -> None:
    """`paste` for a batch, in the order given: one frame, or one for each crop.

    As `cpu.paste`: converted and multiplied with the mask in crop space, blended in float32, rounded once and
    clipped to `colour.legal`; alpha is never touched. A share of the crop that is too small to change a code
    leaves its sample bit-identical. Where several crops meet in a frame, the later lies over the earlier.

    Args:
        frames: Any supported layout, of tensors on one device.
        rgb: Float32 (N, h, w, 3) R'G'B', nominal [0, 1], finite.
        masks: Float32 (N, h, w) in [0, 1].
        matrices: (N, 2, 3) display pixels to crop pixels, NumPy's.

    Raises:
        ValueError: Shapes that do not belong together, or a matrix cannot be inverted.
        TypeError: Not float32.
    """
    if masks.ndim != 3 or rgb.shape != (*masks.shape, 3):
        got = f"{tuple(rgb.shape)} and {tuple(masks.shape)}"
        raise ValueError(f"paste: expected rgb (N, h, w, 3) and masks (N, h, w), got {got}")
    if rgb.dtype != torch.float32 or masks.dtype != torch.float32:
        raise TypeError(f"paste: expected float32, got rgb {rgb.dtype} and masks {masks.dtype}")
    each = [frames] * len(masks) if isinstance(frames, Frame) else frames
    found = rows(matrices, len(each))
    if len(each) != len(masks):
        raise ValueError(f"paste: expected as many crops as frames, got {len(masks)} and {len(each)}")
    extent = int(masks.shape[2]), int(masks.shape[1])
    # Checked before anything is written.
    places = [_place(f, m, extent, n) for n, (f, m) in enumerate(zip(each, found, strict=True))]
    for run in _runs(places):
        _blend(run, rgb, masks)


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where a crop goes."""

    number: int
    """Row of the batch."""
    frame: Frame
    groups: tuple[Group, ...]
    backs: tuple[Float64, ...]
    """For each group (2, 3) crop pixels to its grid."""
    boxes: tuple[Box | None, ...]
    """For each group what the crop can touch of its grid."""

    @property
    def key(self) -> Hashable:
        """What places must share to be worked on together."""
        frame = self.frame
        return frame.layout, frame.colour, frame.width, frame.height, *(halvings(b) for b in self.backs)

    def meets(self, other: _Place) -> bool:
        """Whether both touch the same samples."""
        if self.frame is not other.frame and self.frame.planes[0] is not other.frame.planes[0]:
            return False
        return any(_meet(a, b) for a, b in zip(self.boxes, other.boxes, strict=True))


def _meet(a: Box | None, b: Box | None) -> bool:
    if a is None or b is None:
        return False
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _place(frame: Frame, matrix: Float64, extent: tuple[int, int], number: int) -> _Place:
    """Where the crop of this number goes."""
    tensors(frame)
    found = groups(frame)
    back = invert(compose(matrix, frame.display))
    backs = tuple(compose(g.affine, back) for g in found)
    return _Place(
        number,
        frame,
        found,
        backs,
        tuple(_touched(b, extent, g.extent) for b, g in zip(backs, found, strict=True)),
    )


def _touched(back: Float64, size: tuple[int, int], extent: tuple[int, int]) -> Box | None:
    """The box of a plane that a crop of `size` can touch; None where it lies outside."""
    quad = footprint(back, size)
    left, top = (max(0, floor(v)) for v in quad.min(0).tolist())
    right, bottom = (min(e, ceil(v)) for e, v in zip(extent, quad.max(0).tolist(), strict=True))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _runs(places: Sequence[_Place]) -> Iterator[list[_Place]]:
    """Neighbouring places, in order, that can be worked on together: alike, and nowhere touching the same."""
    run: list[_Place] = []
    for place in places:
        if not any(place.boxes):
            continue
        if run and (place.key != run[0].key or any(place.meets(other) for other in run)):
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _blend(run: Sequence[_Place], rgb: Tensor, masks: Tensor) -> None:
    """Blend crops into places that are alike and do not meet."""
    first = run[0].frame
    numbers = [p.number for p in run]
    if numbers != list(range(len(masks))):
        rgb, masks = torch.stack([rgb[n] for n in numbers]), torch.stack([masks[n] for n in numbers])
    encode = colour.encoder(first.layout, first.colour).astype(np.float32)
    low_high = colour.legal(first.layout, first.colour)
    # A share that cannot change a code: below it lies only the rounding of positions.
    least = 0.25 / (1 << first.layout.depth)
    colours = rgb.unbind(3)
    for number, group in enumerate(run[0].groups):
        codes = converted(colours, encode[list(group.components)]).mul_(masks[:, None])
        premultiplied = torch.cat([codes, masks[:, None]], 1)
        level = _level(premultiplied, np.stack([p.backs[number] for p in run]))
        _write(level, [(p.groups[number], p.boxes[number]) for p in run], low_high, least)


def _level(premultiplied: Tensor, backs: Float64) -> Levels:
    """Crops (N, C, h, w) ready to be looked up from a plane's grid; zero outside."""
    nx, ny = halvings(backs[0])
    right, bottom = -premultiplied.shape[3] % (1 << nx), -premultiplied.shape[2] % (1 << ny)
    padded = functional.pad(premultiplied, (0, right, 0, bottom)) if right or bottom else premultiplied
    return leveled(padded, [(0, 0)] * len(padded), backs, "zero")


def _write(
    level: Levels, targets: Sequence[tuple[Group, Box | None]], low_high: tuple[int, int], least: float
) -> None:
    """Make samples theirs (1 - cover) + ours, rounded once and clipped, where there is a cover only."""
    # What lies outside is not read, but a batch has a place for it.
    spots = [box or (0, 0, 1, 1) for _, box in targets]
    w, h = max(b[2] - b[0] for b in spots), max(b[3] - b[1] for b in spots)
    got = level.part((w, h), [(b[0], b[1]) for b in spots])
    ours, cover = got[:, :-1], got[:, -1:]
    theirs = torch.zeros_like(ours)
    for part, view in _spots(targets, theirs):
        part.copy_(view)
    blended = whole(theirs - theirs * cover + ours).clamp_(*low_high)
    result = torch.where(cover > least, blended, theirs)
    for part, view in _spots(targets, result):
        view.copy_(part)


def _spots(targets: Sequence[tuple[Group, Box | None]], batch: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For every component of every target its part of the batch and its view of the plane."""
    for k, (group, box) in enumerate(targets):
        if box is None:
            continue
        left, top, right, bottom = box
        for c, view in enumerate(cast("tuple[Tensor, ...]", group.views)):
            yield batch[k, c, : bottom - top, : right - left], view[top:bottom, left:right]
