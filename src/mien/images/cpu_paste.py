"""The one way a frame is changed: a crop blended back into the frame's own planes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil, floor

import cv2
import numpy as np

from mien.images import colour
from mien.images.cpu_warp import BAND, Fetch, Level, prefiltered, unpacked
from mien.images.geometry import compose, invert, scaling
from mien.images.planes import Group, groups
from mien.images.sampling import Box, footprint
from mien.types import Array, Float32, Float64, Frame


def paste(frame: Frame, rgb: Float32, mask: Float32, matrix: Float64) -> None:
    """Blend a crop back into the frame it was cut from, in place.

    The crop is converted to the frame's components in crop space and multiplied with the mask there, so that
    colour under mask 0 never bleeds in, whatever it is, and a subsampled chroma sample gets the share of crop
    that its area holds. Blending is in float32, rounded once and clipped to `colour.legal`.
    Samples that the mask does not reach stay bit-identical; alpha is never touched.

    Args:
        frame: Any supported layout, with writable planes.
        rgb: Float32 (h, w, 3) R'G'B', nominal [0, 1], finite.
        mask: Float32 (h, w) in [0, 1], the crop's share.
        matrix: (2, 3) display pixels to crop pixels, as given to `crop`.

    Raises:
        ValueError: Shapes that do not belong together, or `matrix` cannot be inverted.
        TypeError: Not float32.
    """
    if mask.ndim != 2 or rgb.shape != (*mask.shape, 3):
        raise ValueError(f"paste: expected rgb (h, w, 3) and mask (h, w), got {rgb.shape} and {mask.shape}")
    if rgb.dtype != np.float32 or mask.dtype != np.float32:
        raise TypeError(f"paste: expected float32, got rgb {rgb.dtype} and mask {mask.dtype}")
    # From crop to coded pixels; checked before anything is written.
    back = invert(compose(np.asarray(matrix, np.float64), frame.display))
    inner = _needed(mask)
    if inner is None:
        return
    left, top, right, bottom = inner
    back = compose(back, scaling(1.0, 1.0, (left, top)))
    crop = Premultiplied(
        rgb[top:bottom, left:right],
        mask[top:bottom, left:right],
        colour.encoder(frame.layout, frame.colour).astype(np.float32),
    )
    low_high = colour.legal(frame.layout, frame.colour)
    for group in groups(frame):
        _blend(group, crop, compose(group.affine, back), low_high)


def _needed(mask: Float32) -> Box | None:
    """The part of a crop with a mask over 0, on a grid of 8: a prefilter's phase must not follow it."""
    left, top, w, h = cv2.boundingRect((mask > 0).view(np.uint8))
    if w == 0 or h == 0:
        return None
    right, bottom = min(-(-(left + w) // 8) * 8, mask.shape[1]), min(-(-(top + h) // 8) * 8, mask.shape[0])
    return left // 8 * 8, top // 8 * 8, right, bottom


@dataclass(frozen=True, slots=True, eq=False)
class Premultiplied:
    """A crop's components times its mask, computed box by box as they are asked for."""

    rgb: Array
    """Float32 (h, w, 3)."""
    mask: Array
    """Float32 (h, w)."""
    encode: Array
    """Float32 (3, 4) R'G'B' to code values."""

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height."""
        h, w = self.mask.shape
        return int(w), int(h)

    def component(self, number: int, box: Box) -> Array:
        """Code values of one component times the mask."""
        left, top, right, bottom = box
        codes = cv2.transform(self.rgb[top:bottom, left:right], self.encode[number : number + 1])
        return np.asarray(cv2.multiply(codes, self.cover(box), dst=codes))

    def cover(self, box: Box) -> Array:
        """The mask."""
        left, top, right, bottom = box
        return self.mask[top:bottom, left:right]

    def level(self, components: tuple[int, ...], back: Float64, extent: tuple[int, int]) -> Level:
        """Components, then the mask, ready to be looked up from a plane's grid; zero outside the crop."""
        sources: list[Fetch] = [partial(self.component, number) for number in components]
        return prefiltered([*sources, self.cover], self.extent, back, extent, "zero")


def _blend(group: Group, crop: Premultiplied, back: Float64, low_high: tuple[int, int]) -> None:
    """Blend components into their planes; `back` maps crop pixels to the planes' grid."""
    level = crop.level(group.components, back, group.extent)
    for box in _bands(footprint(back, crop.extent), group.extent):
        left, top, right, bottom = box
        *colours, cover = unpacked(level.part(box), len(group.components) + 1)
        touched = (cover > 0).view(np.uint8)
        for view, ours in zip(group.views, colours, strict=True):
            _write(view[top:bottom, left:right], ours, cover, touched, low_high)


def _bands(quad: Float64, extent: tuple[int, int]) -> Iterator[Box]:
    """Boxes that cover a convex quadrangle of a plane, row band by row band.

    Bands fit a tilted face better than one box, and what one step writes the next still finds in the cache.
    """
    points: list[tuple[float, float]] = [(float(x), float(y)) for x, y in quad]
    sides = list(zip(points, points[1:] + points[:1], strict=True))
    ys = [y for _, y in points]
    low, high = max(0, floor(min(ys))), min(extent[1], ceil(max(ys)))
    rows = max(8, BAND // max(1, ceil(float(np.ptp(quad[:, 0])))))
    for top in range(low, high, rows):
        bottom = min(top + rows, high)
        # A convex shape is widest, within a band, at a corner inside it or where a side crosses its edges.
        xs = [x for x, y in points if top <= y <= bottom]
        for (x0, y0), (x1, y1) in sides:
            xs += [x0 + (e - y0) / (y1 - y0) * (x1 - x0) for e in (top, bottom) if (y0 - e) * (y1 - e) < 0]
        left, right = max(0, floor(min(xs))), min(extent[0], ceil(max(xs)))
        if left < right:
            yield left, top, right, bottom


def _write(view: Array, ours: Array, cover: Array, touched: Array, low_high: tuple[int, int]) -> None:
    """Make it view (1 - cover) + ours, rounded once and clipped, where `touched` only."""
    theirs = view.astype(np.float32, order="C")
    theirs -= theirs * cover
    depth = cv2.CV_8U if view.dtype == np.uint8 else cv2.CV_16U
    blended = cv2.add(theirs, ours, dtype=depth)
    # Limits of the samples' own type: NumPy looks plain integers up first, for longer than it clips.
    np.clip(blended, blended.dtype.type(low_high[0]), blended.dtype.type(low_high[1]), out=blended)
    if view.strides[1] == view.itemsize:
        cv2.copyTo(blended, touched, view)
    else:
        # OpenCV cannot write a component of a packed plane in place.
        view[...] = cv2.copyTo(blended, touched, np.ascontiguousarray(view))
