"""How a frame of tensors is looked at: what `cpu_crop` does, for several faces and frames at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from mien.images import colour
from mien.images.geometry import compose, invert, scaling
from mien.images.gpu_arrays import finish, rows, tensors, whole
from mien.images.gpu_resize import shrunk
from mien.images.gpu_warp import (
    batched,
    boxes,
    fetched,
    filtered,
    halved,
    levels_back,
    lookup,
    prefiltered,
    rests,
)
from mien.images.planes import grids, groups, small, upright_by_quarter_turns
from mien.images.sampling import halvings
from mien.types import Array, Float64, Frame

_FIXED = 1024.0
"""Steps of a weight where OpenCV converts bytes."""


def crop(frame: Frame, matrix: Float64, size: tuple[int, int]) -> Tensor:
    """Cut an aligned picture out of a frame, prefiltered where it shrinks, the frame's edge repeated outside.

    Args:
        frame: Any supported layout, of tensors.
        matrix: (2, 3) display pixels to crop pixels, NumPy's.
        size: Width and height of the crop.

    Returns:
        Float32 (h, w, 3) R'G'B' on the frame's device, nominal [0, 1] but not clipped.

    Raises:
        ValueError: `matrix` cannot be inverted, or `size` is empty.
    """
    return crops(frame, np.asarray(matrix)[None], size)[0]


def crops(frames: Frame | Sequence[Frame], matrices: Float64, size: tuple[int, int]) -> Tensor:
    """`crop` for a batch: one frame, or one for each matrix.

    Faces whose source is halved equally often share the work; only copies into the batch are done one by one.

    Args:
        frames: On one device.
        matrices: (N, 2, 3) display pixels to crop pixels, NumPy's, N >= 1.
        size: Width and height of every crop.

    Returns:
        Float32 (N, h, w, 3) R'G'B', nominal [0, 1] but not clipped; a view of (N, 3, h, w) in memory.

    Raises:
        ValueError: A matrix cannot be inverted, `size` is empty, or there are not as many frames as matrices.
    """
    each, onto = _places(frames, matrices, size)
    keys = [_key(f, m) for f, m in zip(each, onto, strict=True)]
    rgb = batched(keys, lambda numbers: _cut([each[n] for n in numbers], onto[numbers], size))
    return rgb.permute(0, 2, 3, 1)


def _places(
    frames: Frame | Sequence[Frame], matrices: Float64, size: tuple[int, int]
) -> tuple[Sequence[Frame], Float64]:
    """A frame for each matrix, and (N, 2, 3) its coded pixels to the crop."""
    if min(size) < 1:
        raise ValueError(f"size: expected at least 1x1, got {size}")
    each = [frames] * len(matrices) if isinstance(frames, Frame) else frames
    found = rows(matrices, len(each))
    if not each:
        raise ValueError("matrices: expected at least one, got none")
    for frame in each:
        tensors(frame)
    return each, np.stack([compose(m, f.display) for f, m in zip(each, found, strict=True)])


def _key(frame: Frame, onto: Float64) -> Hashable:
    """What frames and places must share to be worked on together."""
    halves = [halvings(compose(onto, invert(g.affine))) for g in groups(frame)]
    return frame.layout, frame.colour, frame.width, frame.height, *halves


def _views(views: tuple[Array, ...]) -> tuple[Tensor, ...]:
    """A group's views, which are tensors where the frame's planes are."""
    return cast("tuple[Tensor, ...]", views)


def _cut(frames: Sequence[Frame], onto: Float64, size: tuple[int, int]) -> Tensor:
    """R'G'B' (N, 3, h, w) of places that share a key."""
    found = [groups(f) for f in frames]
    codes: list[Tensor] = []
    for number, group in enumerate(found[0]):
        a = np.stack([compose(m, invert(group.affine)) for m in onto])
        level = prefiltered([_views(f[number].views) for f in found], a, size, "replicate")
        codes += level.part(size).unbind(1)
    return converted(codes, colour.decoder(frames[0].layout, frames[0].colour).astype(np.float32))


def converted(parts: Sequence[Tensor], matrix: Array) -> Tensor:
    """Components (N, h, w) through a (k, 4) affine: (N, k, h, w).

    No matrix product: that may be done with 11 bits (TF32), which a code of 12 bits would show.
    """
    out = parts[0].new_empty((parts[0].shape[0], len(matrix), *parts[0].shape[1:]))
    for channel, row in zip(out.unbind(1), matrix.tolist(), strict=True):
        first, *others = [k for k in range(len(parts)) if row[k]] or [0]
        torch.mul(parts[first], row[first], out=channel)
        for k in others:
            channel.add_(parts[k], alpha=row[k])
        if row[3]:
            channel.add_(row[3])
    return out


def glance(frame: Frame, matrix: Float64, size: tuple[int, int]) -> Tensor:
    """An aligned picture for a network to look at: `crop`, rounded to whole codes at every step.

    Args:
        frame: Any supported layout, of tensors.
        matrix: (2, 3) display pixels to crop pixels, NumPy's.
        size: Width and height of the crop.

    Returns:
        uint8 (h, w, 3) R'G'B' on the frame's device.

    Raises:
        ValueError: `matrix` cannot be inverted, or `size` is empty.
    """
    return glances(frame, np.asarray(matrix)[None], size)[0]


def glances(frames: Frame | Sequence[Frame], matrices: Float64, size: tuple[int, int]) -> Tensor:
    """`glance` for a batch: one frame, or one for each matrix.

    Args:
        frames: On one device.
        matrices: (N, 2, 3) display pixels to crop pixels, NumPy's, N >= 1.
        size: Width and height of every crop.

    Returns:
        uint8 (N, h, w, 3) R'G'B'; a view of (N, 3, h, w) in memory.

    Raises:
        ValueError: As `crops`.
    """
    each, onto = _places(frames, matrices, size)
    keys = [_key(f, m) for f, m in zip(each, onto, strict=True)]
    rgb = batched(keys, lambda numbers: _seen([each[n] for n in numbers], onto[numbers], size))
    return rgb.permute(0, 2, 3, 1)


def _seen(frames: Sequence[Frame], onto: Float64, size: tuple[int, int]) -> Tensor:
    """uint8 R'G'B' (N, 3, h, w) of places that share a key."""
    found = [grids(f, m) for f, m in zip(frames, onto, strict=True)]
    parts: list[Tensor] = []
    for number, (_, coarser, affine) in enumerate(found[0]):
        a = np.stack([compose(m, invert(affine)) for m in onto])
        views = [_views(f[number][0]) for f in found]
        parts += whole(_quick(views, coarser, a, size).float()).unbind(1)
    return _rgb8(_to_bytes(torch.stack(parts, 1), frames[0].layout.depth), frames[0])


def _quick(
    views: Sequence[Sequence[Tensor]],
    coarser: Sequence[tuple[int, int]],
    a: Float64,
    size: tuple[int, int],
) -> Tensor:
    """`cpu_warp.quick` for warps that halve equally often: float64 (N, C, h, w), to be rounded."""
    nx, ny = halvings(a[0])
    step = 1 << nx, 1 << ny
    h, w = views[0][0].shape
    corners, box = boxes(a, size, (w, h), step)
    levels: list[Tensor] = []
    for cx, cy in dict.fromkeys(coarser):
        same = [[v for v, c in zip(one, coarser, strict=True) if c == (cx, cy)] for one in views]
        own = fetched(same, [(x >> cx, y >> cy) for x, y in corners], (box[0] >> cx, box[1] >> cy))
        own = halved(own, nx - cx, ny - cy, codes=True)
        if (cx, cy) == (0, 0):
            own = filtered(own, *rests(a, step), "replicate", codes=True)
        levels.append(own)
    image = levels[0] if len(levels) == 1 else torch.cat(levels, 1)
    # On a grid halves are common, and a rounded position would tip them either way.
    return lookup(image.double(), levels_back(a, corners, step), size, "replicate")


def _to_bytes(codes: Tensor, depth: int) -> Tensor:
    """Float code values of any depth as float code values of 8 bits."""
    return codes if depth == 8 else whole(codes * 0.5 ** (depth - 8)).clamp_(max=255.0)


def _rgb8(codes: Tensor, frame: Frame) -> Tensor:
    """Float code values (N, C, h, w) of 8 bits to uint8 R'G'B' (N, 3, h, w)."""
    if frame.layout.model == "rgb":
        return codes.to(torch.uint8)
    # In OpenCV's own steps, so that it is never another code.
    steps = np.rint(colour.decoder8(frame.layout, frame.colour) * _FIXED)
    steps[:, 3] += _FIXED / 2
    rgb = converted(codes.unbind(1), steps / _FIXED)
    return rgb.floor_().clamp_(0.0, 255.0).to(torch.uint8)


def _components(frame: Frame) -> dict[int, Tensor]:
    """The colour components (h, w) of a frame."""
    found: dict[int, Tensor] = {}
    for plane, parts in zip(tensors(frame), frame.layout.planes, strict=True):
        for slot, component in enumerate(parts):
            if component < 3:
                found[component] = plane if len(parts) == 1 else plane[..., slot]
    return found


def reduced(frame: Frame, shrink: int) -> Frame:
    """A whole frame made smaller without a change of colour or orientation, to be kept or looked at again.

    Args:
        frame: Any supported layout, of tensors.
        shrink: Coded pixels a pixel of the result, along each side; what is too much for a whole pixel, up to
            `shrink` * chroma step - 1 columns and rows, is left out.

    Returns:
        A frame of its own memory, 8 bits a component, one plane each, without alpha, whose `display` leads
        to the same display pixels.
    """
    plan = small(frame, shrink)
    planes: list[Tensor] = []
    for component, samples in sorted(_components(frame).items()):
        h, w = plan.layout.plane_shape(component, *plan.size)
        part = samples[: h * shrink, : w * shrink][None, None].to(torch.float32)
        codes = _to_bytes(shrunk(part, (w, h), frame.layout.depth == 8), frame.layout.depth)
        planes.append(codes[0, 0].to(torch.uint8))
    return replace(
        frame,
        planes=cast(Any, tuple(planes)),
        layout=plan.layout,
        colour=plan.colour,
        display=plan.display,
        owner=None,
    )


def thumbnail(frame: Frame, size: tuple[int, int]) -> Tensor:
    """The whole frame, small, upright and in colour, for detection.

    Args:
        frame: Any supported layout, of tensors.
        size: Width and height of the thumbnail.

    Returns:
        uint8 (h, w, 3) R'G'B' on the frame's device.

    Raises:
        ValueError: `size` is empty.
    """
    if min(size) < 1:
        raise ValueError(f"size: expected at least 1x1, got {size}")
    if not upright_by_quarter_turns(frame):
        w, h = frame.size
        return finish(crop(frame, scaling(size[0] / w, size[1] / h), size) * 255.0, torch.uint8)
    swapped = frame.display[0, 0] == 0
    coded = (size[1], size[0]) if swapped else size
    parts = [part for _, part in sorted(_components(frame).items())]
    if len({p.shape for p in parts}) == 1:
        codes = _shrunk(torch.stack([p.to(torch.float32) for p in parts])[None], coded, frame)
    else:
        codes = torch.cat([_shrunk(p[None, None].to(torch.float32), coded, frame) for p in parts], 1)
    return _turned(_rgb8(codes, frame)[0], frame.display).permute(1, 2, 0)


def _shrunk(samples: Tensor, size: tuple[int, int], frame: Frame) -> Tensor:
    """Whole planes (1, C, H, W) at (width, height), in 8 bits."""
    return shrunk(_to_bytes(samples, frame.layout.depth), size, True)


def _turned(rgb: Tensor, display: Float64) -> Tensor:
    """Coded orientation to upright: (3, h, w)."""
    if display[0, 0] == 0:
        rgb, x, y = rgb.transpose(1, 2), display[0, 1], display[1, 0]
    else:
        x, y = display[0, 0], display[1, 1]
    across = [axis for axis, way in ((2, x), (1, y)) if way < 0]
    return rgb.flip(across) if across else rgb
