"""The two ways a frame is looked at: an aligned crop and a small whole picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mien.images import colour
from mien.images.cpu_planes import fetches, groups
from mien.images.cpu_warp import finish, packed, prefiltered, resampled, resize, unpacked
from mien.images.geometry import compose, invert, scaling
from mien.types import Array, Float32, Float64, Frame


def crop(frame: Frame, matrix: Float64, size: tuple[int, int]) -> Float32:
    """Cut an aligned picture out of a frame, prefiltered where it shrinks, the frame's edge repeated outside.

    Every plane is warped straight from its own grid, chroma siting included, and only the crop is converted
    to R'G'B'.

    Args:
        frame: Any supported layout.
        matrix: (2, 3) display pixels to crop pixels.
        size: Width and height of the crop.

    Returns:
        Float32 (h, w, 3) R'G'B', nominal [0, 1] but not clipped, so that a paste can restore it.

    Raises:
        ValueError: `matrix` cannot be inverted, or `size` is empty.
    """
    if min(size) < 1:
        raise ValueError(f"size: expected at least 1x1, got {size}")
    onto = compose(np.asarray(matrix, np.float64), frame.display)
    parts: list[Array] = []
    for group in groups(frame):
        level = prefiltered(
            fetches(group), group.extent, compose(onto, invert(group.affine)), size, "replicate"
        )
        got = level.part((0, 0, *size))
        parts += [got] if got.ndim == 2 else unpacked(got, len(group.components))
    # Gray has no chroma, and its decoder no weight for it.
    codes = packed(parts if len(parts) == 3 else parts * 3, 3)
    decode = colour.decoder(frame.layout, frame.colour).astype(np.float32)
    return np.asarray(cv2.transform(codes, decode))


def thumbnail(frame: Frame, size: tuple[int, int]) -> Array:
    """The whole frame, small, upright and in colour, for detection.

    Display to thumbnail is the pure scale size / frame.size. Planes are shrunk as they are (a chroma sample's
    siting, a fraction of a thumbnail pixel, is not corrected) and turned and converted when small.

    Args:
        frame: Any supported layout.
        size: Width and height of the thumbnail.

    Returns:
        uint8 (h, w, 3) R'G'B'.

    Raises:
        ValueError: `size` is empty.
    """
    if min(size) < 1:
        raise ValueError(f"size: expected at least 1x1, got {size}")
    if not _upright_by_quarter_turns(frame):
        w, h = frame.size
        rgb = crop(frame, scaling(size[0] / w, size[1] / h), size)
        return finish(rgb * np.float32(255), np.uint8)
    swapped = frame.display[0, 0] == 0
    coded = (size[1], size[0]) if swapped else size
    parts: dict[int, Array] = {}
    for plane, components in zip(frame.planes, frame.layout.planes, strict=True):
        for component, samples in zip(components, _apart(_to_bytes(plane, frame.layout.depth)), strict=True):
            if component < 3:
                parts[component] = _shrunk(samples, coded)
    codes = cv2.merge([parts.get(c, parts[0]) for c in range(3)])
    return _turned(_rgb8(codes, frame), frame.display)


def _upright_by_quarter_turns(frame: Frame) -> bool:
    """Whether display is scaling, mirroring and quarter turns only, and starts at the origin."""
    d = frame.display
    straight = (d[0, 1] == 0 and d[1, 0] == 0) or (d[0, 0] == 0 and d[1, 1] == 0)
    ends = np.array([[0, 0], [frame.width, frame.height]], float) @ d[:, :2].T + d[:, 2]
    return bool(straight and np.abs(ends.min(0)).max() < 0.01)


def _shrunk(plane: Array, size: tuple[int, int]) -> Array:
    """A plane at (width, height): halved while not too small, then low-passed and interpolated."""
    h, w = plane.shape[:2]
    # Halving an even plane is vector code that runs at memory speed; any other shrink is 10 times slower.
    while w % 2 == 0 and h % 2 == 0 and w >= 2 * size[0] and h >= 2 * size[1]:
        w, h = w // 2, h // 2
        plane = np.asarray(cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA))
    if w >= 2 * size[0] or h >= 2 * size[1]:
        return resize(plane, size)
    return resampled(plane, size)


def _apart(plane: Array) -> Sequence[Array]:
    """The components of a plane, each (h, w): OpenCV's fast shrinks know one channel only."""
    return (plane,) if plane.ndim == 2 else cv2.split(plane)


def _to_bytes(plane: Array, depth: int) -> Array:
    """Samples of any depth as 8 bit code values."""
    return plane if depth == 8 else np.asarray(cv2.convertScaleAbs(plane, alpha=0.5 ** (depth - 8)))


def _rgb8(codes: Array, frame: Frame) -> Array:
    """8 bit code values (h, w, 3) to 8 bit R'G'B'."""
    if frame.layout.model == "rgb":
        return codes
    m = colour.decoder(colour.at_depth(frame.layout, 8), frame.colour) * 255.0
    return np.asarray(cv2.transform(codes, m))


def _turned(rgb: Array, display: Float64) -> Array:
    """Coded orientation to upright."""
    if display[0, 0] == 0:
        rgb, x, y = np.asarray(cv2.transpose(rgb)), display[0, 1], display[1, 0]
    else:
        x, y = display[0, 0], display[1, 1]
    if x < 0 or y < 0:
        rgb = np.asarray(cv2.flip(rgb, -1 if x < 0 and y < 0 else 1 if x < 0 else 0))
    return np.ascontiguousarray(rgb)
