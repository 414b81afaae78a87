"""Resampling on the CPU: every geometric change of pixels goes through here.

This is the one place that knows OpenCV's pixel convention (the centre of pixel i is i, not i + 0.5), and the
one place that prefilters: OpenCV's affine warp takes four neighbours whatever the scale, so a shrinking
warp would alias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from mien.images.geometry import apply, box_of, compose, corners, invert, scaling
from mien.types import Array, Float32, Float64

Border: TypeAlias = Literal["replicate", "zero"]
Box: TypeAlias = tuple[int, int, int, int]

_BORDERS: dict[Border, int] = {"replicate": cv2.BORDER_REPLICATE, "zero": cv2.BORDER_CONSTANT}
_CENTRE = 0.5
"""Where OpenCV's integer coordinate of a pixel lies in corner-origin coordinates."""


def _opencv(a: Float64) -> Float64:
    """A corner-origin affine as one between OpenCV's pixel centres."""
    return np.column_stack([a[:, :2], a[:, :2] @ (_CENTRE, _CENTRE) + a[:, 2] - _CENTRE])


def _halvings(scale: float) -> int:
    """How often to halve before a warp by `scale` so that what remains is over 1/2 and at most 1."""
    return max(0, int(np.floor(-np.log2(max(scale, 2.0**-15)) + 1e-6)))


def _taps(scale: float) -> Float64:
    """Three-tap low pass for a remaining scale in (1/2, 1]: none at 1, a zero at Nyquist from 0.65 down.

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
        last = (extent[axis] - 1) // step[axis] * step[axis]
        low = min(max(low, 0), last)
        sides.append((low, min(max(high, low + 1), extent[axis])))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def sample(
    fetch: Callable[[Box], Array],
    extent: tuple[int, int],
    a: Float64,
    size: tuple[int, int],
    border: Border,
) -> Array:
    """Warp with prefilter, reading only what is needed.

    Args:
        fetch: Gives the box of the source as float32, (h, w) or (h, w, 4).
        extent: Width and height of the source.
        a: Source to destination, corner-origin.
        size: Width and height of the destination.
        border: What lies outside the source.

    Returns:
        Float32 (h, w) or (h, w, 4).

    Raises:
        ValueError: `a` cannot be inverted.
    """
    scale = np.hypot(a[0, :2], a[1, :2])
    halvings = _halvings(float(scale[0])), _halvings(float(scale[1]))
    step = 1 << halvings[0], 1 << halvings[1]
    box = needed(a, size, extent, step)
    level = _shrink(fetch(box), halvings, border)
    rest = _taps(float(scale[0]) * step[0]), _taps(float(scale[1]) * step[1])
    if max(rest[0][0], rest[1][0]) > 0.005:
        level = cv2.sepFilter2D(level, -1, rest[0], rest[1], borderType=_BORDERS[border])
    onto = compose(a, scaling(step[0], step[1], (box[0], box[1])))
    return _affine(level, invert(onto), size, border)


def _shrink(image: Array, halvings: tuple[int, int], border: Border) -> Array:
    """Average 2^n by 2^m pixels; at the far edge the border makes up what lacks."""
    nx, ny = halvings
    if nx == 0 and ny == 0:
        return image
    h, w = image.shape[:2]
    right, bottom = -w % (1 << nx), -h % (1 << ny)
    if right or bottom:
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, _BORDERS[border], value=(0, 0, 0, 0))
    # Halving both ways is OpenCV's fastest shrink by far: repeating it beats one larger step.
    while nx or ny:
        h, w = image.shape[:2]
        half = (w // 2 if nx else w, h // 2 if ny else h)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
        nx, ny = max(nx - 1, 0), max(ny - 1, 0)
    return image


def _affine(image: Array, back: Float64, size: tuple[int, int], border: Border) -> Array:
    """Bilinear warp; `back` maps destination to source, corner-origin. One or four channels are fast."""
    return np.asarray(
        cv2.warpAffine(
            image,
            _opencv(back),
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=_BORDERS[border],
            borderValue=(0, 0, 0, 0),
        )
    )


def finish(image: Array, dtype: Any) -> Array:
    """Float32 samples as `dtype`, integers rounded and saturated."""
    if dtype == np.float32:
        return image
    top = np.iinfo(dtype).max
    rounded: Array = np.clip(np.rint(image), 0, top).astype(dtype)
    return rounded


def _known(name: str, image: Array) -> None:
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise TypeError(f"{name}: expected uint8, uint16 or float32, got {image.dtype}")
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"{name}: expected a non-empty (h, w) or (h, w, c) image, got {image.shape}")


def _by_fours(image: Array, work: Callable[[Array], Array]) -> Array:
    """Run `work` on one or four channels at a time: OpenCV's warps have fast code for these only."""
    if image.ndim == 2:
        return work(image)
    count = image.shape[2]
    if count == 4:
        return work(image)
    if count == 3:
        return np.asarray(cv2.cvtColor(work(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)), cv2.COLOR_RGBA2RGB))
    return np.dstack([work(np.ascontiguousarray(image[..., k])) for k in range(count)])


def warp(image: Array, matrix: Float64, size: tuple[int, int], *, border: Border = "replicate") -> Array:
    """Move an image through an affine, prefiltered where it shrinks.

    Args:
        image: (h, w) or (h, w, c), uint8, uint16 or float32.
        matrix: (2, 3) image to result, corner-origin.
        size: Width and height of the result.
        border: What lies outside the image: its edge repeated, or zero.

    Returns:
        The warped image, of the same dtype.

    Raises:
        TypeError: Another dtype.
        ValueError: Another shape, or `matrix` cannot be inverted.
    """
    _known("image", image)

    def work(part: Array) -> Array:
        def fetch(box: Box) -> Array:
            left, top, right, bottom = box
            return part[top:bottom, left:right].astype(np.float32, copy=False)

        return sample(fetch, (part.shape[1], part.shape[0]), np.asarray(matrix, np.float64), size, border)

    return finish(_by_fours(image, work), image.dtype)


def remap(image: Array, map_x: Float32, map_y: Float32, *, border: Border = "replicate") -> Array:
    """Look an image up, bilinearly, at arbitrary places; there is no prefilter: shrink the image first.

    Args:
        image: (h, w) or (h, w, c), uint8, uint16 or float32.
        map_x: Float32 (H, W), corner-origin column to look at for every pixel of the result.
        map_y: The same for the row.
        border: What lies outside the image.

    Returns:
        (H, W[, c]) of the image's dtype.

    Raises:
        TypeError: Another dtype.
        ValueError: Another shape.
    """
    _known("image", image)
    x, y = np.subtract(map_x, _CENTRE, dtype=np.float32), np.subtract(map_y, _CENTRE, dtype=np.float32)

    def work(part: Array) -> Array:
        return np.asarray(
            cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=_BORDERS[border], borderValue=(0, 0, 0, 0))
        )

    return _by_fours(image, work)


def resize(image: Array, size: tuple[int, int]) -> Array:
    """Scale an image to (width, height): area average where it shrinks, bilinear where it grows.

    Raises:
        TypeError: Another dtype than uint8, uint16 or float32.
        ValueError: An empty image or size.
    """
    _known("image", image)
    if min(size) < 1:
        raise ValueError(f"size: expected at least 1x1, got {size}")
    h, w = image.shape[:2]
    shrunk = (min(w, size[0]), min(h, size[1]))
    if shrunk != (w, h):
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return image
