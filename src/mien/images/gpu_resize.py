"""Scaling along the axes over tensors, rounded as OpenCV rounds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.images.gpu_arrays import in_planes, known, upload, whole
from mien.images.gpu_warp import filtered, halved
from mien.images.sampling import taps
from mien.types import Array

_FIXED = 2048.0
"""Steps of a weight between neighbours where OpenCV scales bytes."""


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale an image (h, w) or (h, w, c) to (width, height): area average where it shrinks, else bilinear.

    Raises:
        TypeError: Another type than uint8, uint16 or float32.
        ValueError: An empty image or size.
    """
    known("image", image, False)
    return resizes(image[None], size)[0]


def resizes(images: Tensor, size: tuple[int, int]) -> Tensor:
    """`resize` for a batch (N, h, w) or (N, h, w, c)."""
    known("images", images, True)
    if min(size) < 1:
        raise ValueError(f"size: expected at least 1x1, got {size}")
    if size == (images.shape[2], images.shape[1]):
        return images
    codes = images.dtype != torch.float32
    if not codes and torch.get_float32_matmul_precision() == "highest":
        return in_planes(images, lambda x: _multiplied(x, size))
    return in_planes(images, lambda x: scaled(x, size, codes, images.dtype == torch.uint8))


def scaled(x: Tensor, size: tuple[int, int], codes: bool, bytes_: bool) -> Tensor:
    """`resize` of float32 (N, C, H, W), which hold whole codes, of 8 bits or more, or anything."""
    h, w = x.shape[2:]
    shrunk = min(w, size[0]), min(h, size[1])
    if shrunk != (w, h):
        x = _averaged(x, shrunk)
        if codes:
            x = torch.floor(x + 0.5) if (w, h) == (2 * shrunk[0], 2 * shrunk[1]) else whole(x)
    return x if shrunk == size else linear(x, size, codes, bytes_)


def _multiplied(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`scaled` of what is no code: two products with matrices, where sums over taps are dozens of calls."""
    for axis, (have, want) in enumerate(zip(x.shape[2:], (size[1], size[0]), strict=True)):
        if have != want:
            matrix = _line(have, want, x.device)
            x = matrix @ x if axis == 0 else x @ matrix.T
    return x


@lru_cache(maxsize=64)
def _line(have: int, want: int, device: torch.device) -> Tensor:
    """(want, have) what `scaled` makes of a line; shared, not to be written to."""
    unit = torch.eye(have).reshape(1, have, 1, have)  # a channel for each sample
    return scaled(unit, (want, 1), False, False)[0, :, 0].T.contiguous().to(device)


def _averaged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean over the area of each smaller pixel."""
    h, w = x.shape[2:]
    if w % size[0] == 0 and h % size[1] == 0:
        return functional.avg_pool2d(x, (h // size[1], w // size[0]))
    for axis, have, want in ((3, w, size[0]), (2, h, size[1])):
        if have != want:
            x = _combined(x, axis, *_shares(have, want))
    return x


def _shares(have: int, want: int) -> tuple[Array, Array]:
    """Which samples (want, n) lie in each of `want` equal parts of `have`, and their shares of it."""
    scale = have / want
    start = np.arange(want)[:, None] * scale
    end = np.minimum(start + scale, have)
    at = np.floor(start).astype(np.int64) + np.arange(int(np.ceil(scale)) + 1)
    inside = np.minimum(end, at + 1) - np.maximum(start, at)
    # OpenCV leaves slivers out.
    inside = np.where(inside > 1e-3, inside, 0.0)
    return np.minimum(at, have - 1), inside / (end - start)


def _neighbours(have: int, want: int, held: bool = True) -> tuple[Array, Array]:
    """For each of `want` samples its two neighbours among `have` (want, 2), and the second's weight.

    Beyond the ends both are the last sample; `held` leaves all weight to one of them.
    """
    # In OpenCV's float32: where a weight is half a step, its rounding decides.
    at = ((np.arange(want) + 0.5) * (1.0 / (want / have)) - 0.5).astype(np.float32)
    if held:
        at = at.clip(0, have - 1)
    first = np.floor(at).astype(np.int64)
    return np.stack([first, first + 1], 1).clip(0, have - 1), at - first


def _combined(x: Tensor, axis: int, places: Array, weights: Array) -> Tensor:
    """Weighted sums of samples along an axis: `places` and `weights` (n, taps)."""
    where = upload(places.T, x.device)
    factors = upload(weights.T.astype(np.float32), x.device)
    if axis == 2:
        factors = factors[:, :, None]
    out = x.index_select(axis, where[0]) * factors[0]
    for place, factor in zip(where[1:], factors[1:], strict=True):
        # Two steps, not a fused one: where sums end in halves, OpenCV's roundings decide.
        out = out.add_(x.index_select(axis, place) * factor)
    return out


def linear(x: Tensor, size: tuple[int, int], codes: bool, bytes_: bool) -> Tensor:
    """Bilinear scaling of float32 (N, C, H, W); `codes` rounds, `bytes_` in OpenCV's fixed-point steps."""
    if not bytes_:
        for axis, want in ((3, size[0]), (2, size[1])):
            places, second = _neighbours(x.shape[axis], want)
            x = _combined(x, axis, places, np.stack([1.0 - second, second], 1))
        return whole(x) if codes else x
    places, second = _neighbours(x.shape[3], size[0])
    # At most 255 * 2048: float32 holds it exactly, and drops the last four bits as OpenCV does.
    row = torch.floor(_combined(x, 3, places, _steps(second)) * (1.0 / 16.0))
    # Down a column OpenCV weighs the last row twice, and rounds twice.
    places, second = _neighbours(row.shape[2], size[1], held=False)
    where = upload(places.T, x.device)
    factors = upload(_steps(second).T.astype(np.int32), x.device)[:, :, None]
    whole_row = row.to(torch.int32)
    sums = [(whole_row.index_select(2, p) * f) >> 16 for p, f in zip(where, factors, strict=True)]
    total: Tensor = (sums[0] + sums[1] + 2) >> 2
    return total.to(torch.float32)


def _steps(second: Array) -> Array:
    """Weights (n, 2) of two neighbours in whole steps."""
    return np.rint(np.stack([1.0 - second, second], 1) * _FIXED)


def resampled(x: Tensor, size: tuple[int, int], codes: bool, bytes_: bool) -> Tensor:
    """Scale float32 (N, C, H, W) by more than a half: three taps, then bilinear."""
    h, w = x.shape[2:]
    across, down = taps(size[0] / w), taps(size[1] / h)
    low = filtered(x, np.stack([across] * len(x)), np.stack([down] * len(x)), "replicate", codes)
    return linear(low, size, codes, bytes_) if size != (w, h) else low


def shrunk(x: Tensor, size: tuple[int, int], bytes_: bool) -> Tensor:
    """Codes (N, C, H, W) at (width, height): halved while not too small, then low-passed and interpolated."""
    h, w = x.shape[2:]
    while w % 2 == 0 and h % 2 == 0 and w >= 2 * size[0] and h >= 2 * size[1]:
        w, h = w // 2, h // 2
        x = halved(x, 1, 1, codes=True)
    if w >= 2 * size[0] or h >= 2 * size[1]:
        return scaled(x, size, True, bytes_)
    return resampled(x, size, True, bytes_)
