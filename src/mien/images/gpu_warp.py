"""Resampling over tensors: what `cpu_warp` does, for several places at once, on any device torch knows.

Matrices are NumPy's and stay on the CPU, where the boxes to read are worked out; only a few vectors go up.
Positions are float32 and not rounded to steps, as OpenCV 5 has them for one and four channels.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.images.geometry import compose, invert, scaling
from mien.images.gpu_arrays import in_order, in_planes, known, rows, upload, whole
from mien.images.sampling import Border, halvings, needed, scales, taps
from mien.types import Array, Float64

_BORDERS: dict[Border, str] = {"replicate": "border", "zero": "zeros"}
_PADS: dict[Border, str] = {"replicate": "replicate", "zero": "constant"}
_LEAST = 0.005
"""Side tap below which three taps are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Sources prefiltered for one warp each; parts of the results can then be taken at will."""

    images: Tensor
    """Float32 (N, C, H, W)."""
    back: Float64
    """(N, 2, 3) destination to pixels of `images`, corner-origin."""
    border: Border

    def part(self, size: tuple[int, int], origins: Sequence[tuple[int, int]] = ()) -> Tensor:
        """Results (N, C, h, w) of width and height `size`, from these places of each destination on."""
        back = self.back
        if origins:
            shifts = [scaling(1.0, 1.0, origin) for origin in origins]
            back = np.stack([compose(b, shift) for b, shift in zip(back, shifts, strict=True)])
        return lookup(self.images, back, size, self.border)


def lookup(
    images: Tensor, back: Float64, size: tuple[int, int], border: Border, cubic: bool = False
) -> Tensor:
    """Interpolate pictures through affines, without a prefilter.

    Args:
        images: Float32 (N, C, H, W); float64, too, where halves have to come out as halves.
        back: (N, 2, 3) result to pixels of `images`, corner-origin.
        size: Width and height of the results.
        border: What lies outside.
        cubic: Bicubic (a = -0.75, OpenCV's) instead of bilinear.

    Returns:
        (N, C, h, w) of the same type.
    """
    unit = 2.0 / np.array([images.shape[3], images.shape[2]])
    x, y = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    # What depends on the column and on the row, in float64; the device only adds them up.
    across = back[:, None, :, 0] * x[:, None] * unit
    down = (back[:, None, :, 1] * y[:, None] + back[:, None, :, 2]) * unit - 1.0
    both = upload(np.concatenate([across, down], 1), images.device, images.dtype)
    grid = both[:, size[0] :, None] + both[:, None, : size[0]]
    return sampled(images, grid, border, cubic)


def sampled(images: Tensor, grid: Tensor, border: Border, cubic: bool = False) -> Tensor:
    """Interpolate (N, C, H, W) at `grid` (N, h, w, 2), in which -1 and 1 are the outer edges."""
    way = "bicubic" if cubic else "bilinear"
    return functional.grid_sample(images, grid, way, _BORDERS[border], align_corners=False)


def boxes(
    a: Float64, size: tuple[int, int], extent: tuple[int, int], step: tuple[int, int]
) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Equal boxes of a source that hold what each of several warps reads.

    A box may hold more than is read: nothing depends on it then. It ends beyond the source only where the
    source's size is no multiple of `step`.

    Returns:
        Left and top of each, and their width and height, multiples of `step`.
    """
    read = [needed(one, size, extent, step) for one in a]
    sides: list[int] = []
    starts: list[list[int]] = []
    for axis in (0, 1):
        n = step[axis]
        longest = max(-(-(box[axis + 2] - box[axis]) // n) * n for box in read)
        room = -(-extent[axis] // n) * n
        sides.append(longest)
        starts.append([min(box[axis], room - longest) for box in read])
    return list(zip(starts[0], starts[1], strict=True)), (sides[0], sides[1])


def fetched(
    views: Sequence[Sequence[Tensor]], corners: Sequence[tuple[int, int]], size: tuple[int, int]
) -> Tensor:
    """Boxes of several sources as float32 (N, C, H, W), the edge repeated beyond a source.

    Args:
        views: For each box the (h, w) components it is cut from.
        corners: Left and top of each box.
        size: Width and height of every box.
    """
    w, h = size
    if all(
        left + w <= one[0].shape[1] and top + h <= one[0].shape[0]
        for one, (left, top) in zip(views, corners, strict=True)
    ):
        each = list(zip(views, corners, strict=True))
        parts = [
            torch.stack([one[c][top : top + h, left : left + w] for one, (left, top) in each])
            for c in range(len(views[0]))
        ]
        return torch.stack(parts, 1).to(torch.float32)
    out = torch.empty((len(views), len(views[0]), h, w), dtype=torch.float32, device=views[0][0].device)
    for k, (components, (left, top)) in enumerate(zip(views, corners, strict=True)):
        for c, view in enumerate(components):
            part = view[top : top + h, left : left + w]
            out[k, c, : part.shape[0], : part.shape[1]].copy_(part)
        high, wide = part.shape
        if wide < w:
            out[k, :, :, wide:] = out[k, :, :, wide - 1 : wide]
        if high < h:
            out[k, :, high:] = out[k, :, high - 1 : high]
    return out


def halved(images: Tensor, nx: int, ny: int, codes: bool = False) -> Tensor:
    """Average 2^nx by 2^ny pixels of (N, C, H, W); `codes` rounds after each halving, as OpenCV does."""
    if not codes:
        return functional.avg_pool2d(images, (1 << ny, 1 << nx)) if nx or ny else images
    while nx or ny:
        images = functional.avg_pool2d(images, (2 if ny else 1, 2 if nx else 1))
        # A mean of four rounds halves up, one of two to the even code.
        images = torch.floor(images + 0.5) if nx and ny else whole(images)
        nx, ny = max(nx - 1, 0), max(ny - 1, 0)
    return images


def filtered(images: Tensor, across: Array, down: Array, border: Border, codes: bool = False) -> Tensor:
    """Three taps, symmetric, along both axes.

    Args:
        images: Float32 (N, C, H, W).
        across: (N, 3) weights along a row.
        down: (N, 3) weights along a column.
        border: What lies outside.
        codes: Round to whole codes, halves as OpenCV's fused steps bring them out.
    """
    used = np.maximum(across[:, 0], down[:, 0]) > _LEAST
    if not used.any():
        return images
    # As for one picture alone: hardly any filter is none.
    both = np.where(used[:, None, None], np.stack([across, down], 1), [0.0, 1.0, 0.0])
    weights = upload(both.astype(np.float32), images.device)[..., None, None, None]
    padded = functional.pad(images, (1, 1, 1, 1), _PADS[border])
    (x, x0), (y, y0) = ((weights[:, axis, 0], weights[:, axis, 1]) for axis in (0, 1))
    left, middle, right = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    if not codes:
        row = middle * x0 + (left + right) * x
        return row[:, :, 1:-1] * y0 + (row[:, :, :-2] + row[:, :, 2:]) * y
    row = _fused(right, x, _fused(middle, x0, left * x))
    return whole(_fused(row[:, :, :-2] + row[:, :, 2:], y, row[:, :, 1:-1] * y0))


def _fused(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """A b + c of float32, rounded once."""
    return (a.double() * b + c).float()


def rests(a: Float64, step: tuple[int, int]) -> tuple[Array, Array]:
    """The taps (N, 3) across and down for what is left of each warp's scale after halving."""
    found = [scales(one) for one in a]
    return np.stack([taps(x * step[0]) for x, _ in found]), np.stack([taps(y * step[1]) for _, y in found])


def prefiltered(
    views: Sequence[Sequence[Tensor]], a: Float64, size: tuple[int, int], border: Border
) -> Levels:
    """Prepare warps that halve equally often, reading only the parts of the sources that they need.

    Args:
        views: For each warp the (h, w) components of its source, all of one size.
        a: (N, 2, 3) source to destination, corner-origin.
        size: Width and height of every destination.
        border: What lies outside a source.

    Raises:
        ValueError: One of `a` cannot be inverted.
    """
    h, w = views[0][0].shape
    nx, ny = halvings(a[0])
    step = 1 << nx, 1 << ny
    corners, box = boxes(a, size, (w, h), step)
    return leveled(fetched(views, corners, box), corners, a, border)


def leveled(images: Tensor, corners: Sequence[tuple[int, int]], a: Float64, border: Border) -> Levels:
    """Prefilter boxes (N, C, H, W) of sources, from `corners` on, for warps that halve equally often."""
    nx, ny = halvings(a[0])
    step = 1 << nx, 1 << ny
    images = filtered(halved(images, nx, ny), *rests(a, step), border)
    return Levels(images, levels_back(a, corners, step), border)


def levels_back(a: Float64, corners: Sequence[tuple[int, int]], step: tuple[int, int]) -> Float64:
    """(N, 2, 3) destination to pixels of a level that begins at a corner and is `step` times as coarse."""
    onto = [compose(one, scaling(*step, corner)) for one, corner in zip(a, corners, strict=True)]
    return np.stack([invert(one) for one in onto])


def alike(keys: Sequence[Hashable]) -> list[list[int]]:
    """The rows of a batch that share a key, group by group."""
    found: dict[Hashable, list[int]] = {}
    for number, key in enumerate(keys):
        found.setdefault(key, []).append(number)
    return list(found.values())


def batched(keys: Sequence[Hashable], work: Callable[[list[int]], Tensor]) -> Tensor:
    """Run `work` on the rows that share a key, and put its results into the rows' order."""
    return in_order([(numbers, work(numbers)) for numbers in alike(keys)])


def warps(
    images: Tensor,
    matrices: Float64,
    size: tuple[int, int],
    *,
    border: Border = "replicate",
    cubic: bool = False,
) -> Tensor:
    """Move images through affines, prefiltered where they shrink: `cpu.warp` for a batch.

    Args:
        images: (N, h, w) or (N, h, w, c), uint8, uint16 or float32; N may be 1 for several matrices.
        matrices: (N, 2, 3) image to result, corner-origin, NumPy's.
        size: Width and height of the results.
        border: What lies outside an image: its edge repeated, or zero.
        cubic: Bicubic instead of bilinear.

    Returns:
        (N, height, width[, c]) of the same type.

    Raises:
        TypeError: Another type.
        ValueError: Another shape, or a matrix cannot be inverted.
    """
    known("images", images, True)
    if len(images) == 1 and len(matrices) > 1:
        images = images.expand(len(matrices), *images.shape[1:])
    a = rows(matrices, len(images))

    def work(planes: Tensor) -> Tensor:
        def one(numbers: list[int]) -> Tensor:
            level = _level(planes, a, numbers, size, border)
            return lookup(level.images, level.back, size, border, cubic)

        return batched([halvings(m) for m in a], one)

    return in_planes(images, work)


def _level(planes: Tensor, a: Float64, numbers: list[int], size: tuple[int, int], border: Border) -> Levels:
    """`prefiltered` for some rows of float32 (N, C, H, W)."""
    if border == "replicate":
        return prefiltered([planes[n].unbind(0) for n in numbers], a[numbers], size, border)
    # Beyond the far edge zeros make up what a halving lacks.
    nx, ny = halvings(a[numbers[0]])
    right, bottom = -planes.shape[3] % (1 << nx), -planes.shape[2] % (1 << ny)
    padded = functional.pad(planes, (0, right, 0, bottom)) if right or bottom else planes
    if numbers != list(range(len(planes))):
        padded = torch.stack([padded[n] for n in numbers])
    return leveled(padded, [(0, 0)] * len(numbers), a[numbers], border)


def warp(
    image: Tensor,
    matrix: Float64,
    size: tuple[int, int],
    *,
    border: Border = "replicate",
    cubic: bool = False,
) -> Tensor:
    """Move an image through an affine, prefiltered where it shrinks.

    Args:
        image: (h, w) or (h, w, c), uint8, uint16 or float32.
        matrix: (2, 3) image to result, corner-origin, NumPy's.
        size: Width and height of the result.
        border: What lies outside the image: its edge repeated, or zero.
        cubic: Bicubic instead of bilinear: sharper where the image is enlarged; float may overshoot.

    Returns:
        The warped image, of the same type.

    Raises:
        TypeError: Another type.
        ValueError: Another shape, or `matrix` cannot be inverted.
    """
    known("image", image, False)
    return warps(image[None], np.asarray(matrix)[None], size, border=border, cubic=cubic)[0]


def remaps(
    images: Tensor, map_x: Tensor, map_y: Tensor, *, border: Border = "replicate", cubic: bool = False
) -> Tensor:
    """Look images up at arbitrary places: `remap` for a batch.

    Args:
        images: (N, h, w) or (N, h, w, c), uint8, uint16 or float32.
        map_x: Float32 (N, H, W), corner-origin columns.
        map_y: The same for the rows.
        border: What lies outside.
        cubic: Bicubic instead of bilinear.

    Returns:
        (N, H, W[, c]) of the same type.
    """
    known("images", images, True)
    h, w = images.shape[1:3]
    grid = torch.stack([map_x * (2.0 / w) - 1.0, map_y * (2.0 / h) - 1.0], -1)
    return in_planes(images, lambda planes: sampled(planes, grid, border, cubic))


def remap(
    image: Tensor, map_x: Tensor, map_y: Tensor, *, border: Border = "replicate", cubic: bool = False
) -> Tensor:
    """Look an image up at arbitrary places, bilinearly or bicubically; no prefilter: shrink the image first.

    Args:
        image: (h, w) or (h, w, c), uint8, uint16 or float32.
        map_x: Float32 (H, W), corner-origin column to look at for every pixel of the result.
        map_y: The same for the row.
        border: What lies outside the image.
        cubic: Sharper than bilinear; a result may lie a little outside the image's values.

    Returns:
        (H, W[, c]) of the image's type.

    Raises:
        TypeError: Another type.
        ValueError: Another shape.
    """
    known("image", image, False)
    return remaps(image[None], map_x[None], map_y[None], border=border, cubic=cubic)[0]
