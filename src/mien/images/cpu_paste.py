"""The one way a frame is changed: a crop blended back into the frame's own planes."""

from __future__ import annotations

import cv2
import numpy as np

from mien.images import colour
from mien.images.cpu_planes import Group, fours, groups
from mien.images.cpu_warp import Box, sample
from mien.images.geometry import apply, box_of, compose, corners, invert, scaling
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
    left, top, w, h = cv2.boundingRect((mask > 0).view(np.uint8))
    if w == 0 or h == 0:
        return
    inner = slice(top, top + h), slice(left, left + w)
    back = compose(back, scaling(1.0, 1.0, (left, top)))
    share = np.ascontiguousarray(mask[inner])
    encode = colour.encoder(frame.layout, frame.colour).astype(np.float32)
    low_high = colour.legal(frame.layout, frame.colour)
    for group in groups(frame):
        tinted: list[Array] = [
            cv2.multiply(cv2.transform(rgb[inner], encode[c : c + 1]), share) for c in group.components
        ]
        _blend(group, tinted, share, compose(group.affine, back), low_high)


def _blend(group: Group, tinted: list[Array], share: Array, back: Float64, low_high: tuple[int, int]) -> None:
    """Blend components into their planes; `back` maps crop pixels to the planes' grid."""
    box = _reached(back, (share.shape[1], share.shape[0]), group.extent)
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        return
    *colours, cover = _onto([*tinted, share], back, box)
    touched = (cover > 0).view(np.uint8)
    for view, ours in zip(group.views, colours, strict=True):
        _write(view[top:bottom, left:right], ours, cover, touched, low_high)


def _reached(back: Float64, size: tuple[int, int], extent: tuple[int, int]) -> Box:
    """The part of a plane that a crop of `size` can touch: its footprint, interpolation's reach included."""
    w, h = size
    # A crop sample reaches one crop pixel beyond its own, or, where the crop shrinks, two plane samples.
    seen = box_of(apply(back, corners((-1.0, -1.0, w + 1.0, h + 1.0)))) + np.array([-2.0, -2.0, 2.0, 2.0])
    low = np.clip(np.floor(seen[:2]), 0, extent).astype(int)
    high = np.clip(np.ceil(seen[2:]), 0, extent).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _onto(parts: list[Array], back: Float64, box: Box) -> list[Array]:
    """Crop-space planes on the grid of a plane's box, zero outside the crop."""
    onto = compose(scaling(1.0, 1.0, (-box[0], -box[1])), back)
    size = box[2] - box[0], box[3] - box[1]
    extent = parts[0].shape[1], parts[0].shape[0]

    def one(image: Array) -> Array:
        return sample(lambda b: image[b[1] : b[3], b[0] : b[2]], extent, onto, size, "zero")

    if len(parts) == 2:
        return [one(p) for p in parts]
    four = one(fours(parts))
    return [cv2.extractChannel(four, k) for k in range(len(parts))]


def _write(view: Array, ours: Array, cover: Array, touched: Array, low_high: tuple[int, int]) -> None:
    """Make it view (1 - cover) + ours, rounded once and clipped, where `touched` only."""
    theirs = view.astype(np.float32, order="C")
    theirs -= theirs * cover
    depth = cv2.CV_8U if view.dtype == np.uint8 else cv2.CV_16U
    blended = cv2.add(theirs, ours, dtype=depth)
    np.clip(blended, *low_high, out=blended)
    if view.strides[1] == view.itemsize:
        cv2.copyTo(blended, touched, view)
    else:
        # OpenCV cannot write a component of a packed plane in place.
        view[...] = cv2.copyTo(blended, touched, np.ascontiguousarray(view))
