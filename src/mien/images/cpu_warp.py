"""Resampling on the CPU: every geometric change of pixels goes through here.

This is the one place that knows OpenCV's pixel convention (the centre of pixel i is i, not i + 0.5). It
prefilters as `sampling` says: OpenCV's affine warp takes four neighbours whatever the scale, so a shrinking
warp would alias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np

from mien.images.geometry import compose, invert, scaling
from mien.images.sampling import Border, Box, halvings, needed, scales, taps
from mien.types import Array, Float32, Float64

Fetch: TypeAlias = Callable[[Box], Array]

cv2.setNumThreads(1)
# Frames are worked on side by side; OpenCV's own threads only wait for each other, a seventh of all the
# processor time of looking for faces, and gain nothing on the clock.

_BORDERS: dict[Border, int] = {"replicate": cv2.BORDER_REPLICATE, "zero": cv2.BORDER_CONSTANT}
BAND = 1 << 17
"""Samples to work on at a time: fewer cost calls, more the cache (of 2^14 to 2^18 this pasted fastest)."""
_CENTRE = 0.5
"""Where OpenCV's integer coordinate of a pixel lies in corner-origin coordinates."""


def _opencv(a: Float64) -> Float64:
    """A corner-origin affine as one between OpenCV's pixel centres."""
    return compose(scaling(1.0, 1.0, (-_CENTRE, -_CENTRE)), compose(a, scaling(1.0, 1.0, (_CENTRE, _CENTRE))))


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A source prefiltered for one warp; parts of the result can then be taken at will."""

    image: Array
    """(h, w) or (h, w, 4); float32 where it is to be painted."""
    back: Float64
    """(2, 3) destination to pixels of `image`, corner-origin."""
    border: Border
    cubic: bool = False
    """Bicubic instead of bilinear: sharper where the result is enlarged, and it may overshoot."""

    def part(self, box: Box) -> Array:
        """The result within a box of the destination. One or four channels are fast."""
        left, top, right, bottom = box
        back = compose(self.back, scaling(1.0, 1.0, (left, top)))
        return np.asarray(
            cv2.warpAffine(
                self.image,
                _opencv(back),
                (right - left, bottom - top),
                flags=(cv2.INTER_CUBIC if self.cubic else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
                borderMode=_BORDERS[self.border],
                borderValue=(0, 0, 0, 0),
            )
        )


def prefiltered(
    fetches: Sequence[Fetch],
    extent: tuple[int, int],
    a: Float64,
    size: tuple[int, int],
    border: Border,
) -> Level:
    """Prepare a warp, reading only the part of the source that it needs.

    Args:
        fetches: One gives a box of the source as float32, (h, w) or (h, w, 4); two to four give one channel
            each as (h, w), and the level has four channels.
        extent: Width and height of the source.
        a: Source to destination, corner-origin.
        size: Width and height of the destination.
        border: What lies outside the source.

    Raises:
        ValueError: `a` cannot be inverted.
    """
    x, y = scales(a)
    halved = halvings(a)
    step = 1 << halved[0], 1 << halved[1]
    box = needed(a, size, extent, step)
    rest = taps(x * step[0]), taps(y * step[1])
    images = [_halved(fetch, box, halved, border) for fetch in fetches]
    if max(rest[0][0], rest[1][0]) > 0.005:
        outside = _BORDERS[border]
        images = [np.asarray(cv2.sepFilter2D(i, -1, *rest, borderType=outside)) for i in images]
    image = images[0] if len(images) == 1 else packed(images, 4)
    return Level(image, invert(compose(a, scaling(step[0], step[1], (box[0], box[1])))), border)


def quick(
    views: Sequence[Array], coarser: Sequence[tuple[int, int]], a: Float64, size: tuple[int, int]
) -> Array:
    """What `prefiltered` does, in the samples' own integer type, for up to four planes in one warp.

    Args:
        views: (h, w) uint8 or uint16; the first is the grid that `a` starts from.
        coarser: For each view how many halvings its grid is behind the first, across and down; no more than
            `halvings(a)`. What is coarser is taken to be centred on the pixels it stands for.
        a: Source to destination, corner-origin.
        size: Width and height of the destination.

    Returns:
        (h, w) for one view, (h, w, 4) for several, the spare channels undefined.

    Raises:
        ValueError: `a` cannot be inverted.
    """
    nx, ny = halvings(a)
    step = 1 << nx, 1 << ny
    left, top, right, bottom = needed(a, size, (views[0].shape[1], views[0].shape[0]), step)
    x, y = scales(a)
    rest = taps(x * step[0]), taps(y * step[1])
    images: list[Array] = []
    for view, (cx, cy) in zip(views, coarser, strict=True):
        image = view[top >> cy : -(-bottom >> cy), left >> cx : -(-right >> cx)]
        if image.strides[1] != image.itemsize:  # OpenCV reads only planes whose samples lie side by side
            image = np.ascontiguousarray(image)
        image = _shrink(image, nx - cx, ny - cy, "replicate")
        if (cx, cy) == (0, 0) and max(rest[0][0], rest[1][0]) > 0.005:
            image = np.asarray(cv2.sepFilter2D(image, -1, *rest, borderType=cv2.BORDER_REPLICATE))
        images.append(image)
    together = images[0] if len(images) == 1 else packed(images, 4)
    back = invert(compose(a, scaling(step[0], step[1], (left, top))))
    return Level(together, back, "replicate").part((0, 0, *size))


def packed(images: list[Array], channels: int) -> Array:
    """Equal (h, w) images as channels of one; what is spare is left undefined and never read.

    Four channels warp nearly as fast as one. Not cv2.merge: it writes past the cache, and the warp after it
    then waits for memory three times as long as this takes.
    """
    together = np.empty((*images[0].shape, channels), images[0].dtype)
    cv2.mixChannels(images, [together], [n for k in range(len(images)) for n in (k, k)])
    return together


def unpacked(image: Array, count: int) -> list[Array]:
    """The first channels of an (h, w, c) image, each (h, w)."""
    apart: list[Array] = [np.empty(image.shape[:2], image.dtype) for _ in range(count)]
    cv2.mixChannels([image], apart, [n for k in range(count) for n in (k, k)])
    return apart


def _halved(fetch: Fetch, box: Box, halvings: tuple[int, int], border: Border) -> Array:
    """A box of the source with 2^n by 2^m pixels averaged; at the far edge the border makes up what lacks."""
    nx, ny = halvings
    if nx == 0 and ny == 0:
        return fetch(box)
    # Band by band, so that the float copy of a large face stays in the processor's cache.
    left, top, right, bottom = box
    rows = max(1 << ny, BAND // (right - left) >> ny << ny)
    return np.concatenate(
        [
            _shrink(fetch((left, y, right, min(y + rows, bottom))), nx, ny, border)
            for y in range(top, bottom, rows)
        ]
    )


def _shrink(image: Array, nx: int, ny: int, border: Border) -> Array:
    """Average 2^nx by 2^ny pixels."""
    h, w = image.shape[:2]
    right, bottom = -w % (1 << nx), -h % (1 << ny)
    if right or bottom:
        image = np.asarray(
            cv2.copyMakeBorder(image, 0, bottom, 0, right, _BORDERS[border], value=(0, 0, 0, 0))
        )
    # Halving both ways is OpenCV's fastest shrink by far: repeating it beats one larger step.
    while nx or ny:
        h, w = image.shape[:2]
        half = (w // 2 if nx else w, h // 2 if ny else h)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA))
        nx, ny = max(nx - 1, 0), max(ny - 1, 0)
    return image


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


def warp(
    image: Array,
    matrix: Float64,
    size: tuple[int, int],
    *,
    border: Border = "replicate",
    cubic: bool = False,
) -> Array:
    """Move an image through an affine, prefiltered where it shrinks.

    Args:
        image: (h, w) or (h, w, c), uint8, uint16 or float32.
        matrix: (2, 3) image to result, corner-origin.
        size: Width and height of the result.
        border: What lies outside the image: its edge repeated, or zero.
        cubic: Bicubic instead of bilinear: sharper where the image is enlarged; float may overshoot.

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

        a = np.asarray(matrix, np.float64)
        level = prefiltered([fetch], (part.shape[1], part.shape[0]), a, size, border)
        return replace(level, cubic=cubic).part((0, 0, *size))

    return finish(_by_fours(image, work), image.dtype)


def remap(
    image: Array, map_x: Float32, map_y: Float32, *, border: Border = "replicate", cubic: bool = False
) -> Array:
    """Look an image up at arbitrary places, bilinearly or bicubically; no prefilter: shrink the image first.

    Args:
        image: (h, w) or (h, w, c), uint8, uint16 or float32.
        map_x: Float32 (H, W), corner-origin column to look at for every pixel of the result.
        map_y: The same for the row.
        border: What lies outside the image.
        cubic: Sharper than bilinear; a result may lie a little outside the image's values.

    Returns:
        (H, W[, c]) of the image's dtype.

    Raises:
        TypeError: Another dtype.
        ValueError: Another shape.
    """
    _known("image", image)
    way = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    x, y = np.subtract(map_x, _CENTRE, dtype=np.float32), np.subtract(map_y, _CENTRE, dtype=np.float32)

    def work(part: Array) -> Array:
        return np.asarray(cv2.remap(part, x, y, way, borderMode=_BORDERS[border], borderValue=(0, 0, 0, 0)))

    return _by_fours(image, work)


def resampled(image: Array, size: tuple[int, int]) -> Array:
    """Scale to (width, height), by more than a half: three taps, then bilinear. Twice as fast as `resize`."""
    h, w = image.shape[:2]
    x, y = taps(size[0] / w), taps(size[1] / h)
    if max(x[0], y[0]) > 0.005:
        image = np.asarray(cv2.sepFilter2D(image, -1, x, y, borderType=cv2.BORDER_REPLICATE))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)) if size != (w, h) else image


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
