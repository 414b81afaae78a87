"""How a frame is looked at: an exact crop to work on, a quick one for networks, small whole pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mien.images import colour
from mien.images.cpu_planes import fetches
from mien.images.cpu_warp import finish, packed, prefiltered, quick, resampled, resize, unpacked
from mien.images.geometry import compose, invert, scaling
from mien.images.planes import grids, groups, small, upright_by_quarter_turns
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


def glance(frame: Frame, matrix: Float64, size: tuple[int, int]) -> Array:
    """An aligned picture for a network to look at: `crop` in whole codes, several times as fast.

    Planes keep their own integer type while they are halved, filtered and warped, so that each step rounds
    once; colour is converted with 8 bits. Nothing that is painted may come from here.

    Args:
        frame: Any supported layout.
        matrix: (2, 3) display pixels to crop pixels.
        size: Width and height of the crop.

    Returns:
        uint8 (h, w, 3) R'G'B'.

    Raises:
        ValueError: `matrix` cannot be inverted, or `size` is empty.
    """
    if min(size) < 1:
        raise ValueError(f"size: expected at least 1x1, got {size}")
    onto = compose(np.asarray(matrix, np.float64), frame.display)
    parts: list[Array] = []
    for views, coarser, affine in grids(frame, onto):
        got = quick(views, coarser, compose(onto, invert(affine)), size)
        if len(views) == 3:
            three = np.asarray(cv2.cvtColor(got, cv2.COLOR_RGBA2RGB))
            return _rgb8(_to_bytes(three, frame.layout.depth), frame)
        parts += [got] if got.ndim == 2 else unpacked(got, len(views))
    codes = packed(parts if len(parts) == 3 else parts * 3, 3)
    return _rgb8(_to_bytes(codes, frame.layout.depth), frame)


def reduced(frame: Frame, shrink: int) -> Frame:
    """A whole frame made smaller without a change of colour or orientation, to be kept or looked at again.

    Args:
        frame: Any supported layout.
        shrink: Coded pixels a pixel of the result, along each side; the up to `shrink` * chroma step - 1
            columns and rows that are too many for a whole pixel are left out.

    Returns:
        A frame of its own memory, 8 bits a component, one plane each, without alpha, whose `display` leads
        to the same display pixels.
    """
    plan = small(frame, shrink)
    layout, width, height = plan.layout, *plan.size
    planes: dict[int, Array] = {}
    for number, components in enumerate(frame.layout.planes):
        samples = _apart(frame.planes[number])
        for component, part in zip(components, samples, strict=True):
            if component > 2:
                continue
            h, w = layout.plane_shape(component, width, height)
            shrunk = _shrunk(part[: h * shrink, : w * shrink], (w, h))
            planes[component] = _to_bytes(shrunk, frame.layout.depth)
    own = tuple(np.array(planes[c]) if shrink == 1 else planes[c] for c in sorted(planes))
    return Frame(own, layout, plan.colour, frame.pts, frame.index, plan.display)


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
    if not upright_by_quarter_turns(frame):
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
    return np.asarray(cv2.transform(codes, colour.decoder8(frame.layout, frame.colour)))


def _turned(rgb: Array, display: Float64) -> Array:
    """Coded orientation to upright."""
    if display[0, 0] == 0:
        rgb, x, y = np.asarray(cv2.transpose(rgb)), display[0, 1], display[1, 0]
    else:
        x, y = display[0, 0], display[1, 1]
    if x < 0 or y < 0:
        rgb = np.asarray(cv2.flip(rgb, -1 if x < 0 and y < 0 else 1 if x < 0 else 0))
    return np.ascontiguousarray(rgb)
