"""What a decoder says about geometry, colour and HDR, as plain facts."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import av
import numpy as np
from av.sidedata.sidedata import SideData, Type

from mien.types import Colour, Float64, Layout

_MATRICES: dict[int, Literal["bt601", "bt709", "bt2020", "rgb"]] = {
    1: "bt709",
    4: "bt601",
    5: "bt601",
    6: "bt601",
    7: "bt709",
    9: "bt2020",
    10: "bt2020",
}
_CENTRED = frozenset({"mjpeg", "mpeg1video", "vp8", "theora", "png"})


@dataclass(frozen=True, slots=True)
class Hdr:
    """HDR side data of the input."""

    mastering: tuple[Fraction, ...] | None = None
    """Red x, y, green x, y, blue x, y, white x, y (CIE 1931) and least, most luminance in cd/m²."""
    light: tuple[int, int] | None = None
    """Greatest content light level and greatest frame-average light level, cd/m²."""

    def x265(self) -> str:
        """Master display as x265 and x264 write it (ST 2086: units of 0.00002 and 0.0001 cd/m²)."""
        if self.mastering is None:
            return ""
        rx, ry, gx, gy, bx, by, wx, wy = (round(value * 50000) for value in self.mastering[:8])
        low, high = (round(value * 10000) for value in self.mastering[8:])
        return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"

    def svt(self) -> str:
        """Master display as SVT-AV1 writes it: plain decimals."""
        if self.mastering is None:
            return ""
        rx, ry, gx, gy, bx, by, wx, wy, low, high = (f"{float(value):.5f}" for value in self.mastering)
        return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"


def _side_data(frame: av.VideoFrame) -> Iterator[SideData]:
    """Everything attached to a frame (PyAV's stub calls the container a dict; it iterates over values)."""
    return iter(cast("Iterable[SideData]", frame.side_data))


def hdr_of(frame: av.VideoFrame) -> Hdr:
    """HDR side data of a decoded frame (structures of libavutil/mastering_display_metadata.h)."""
    mastering, light = None, None
    for data in _side_data(frame):
        raw = bytes(data)
        if data.type == Type.MASTERING_DISPLAY_METADATA and len(raw) >= 88:
            numbers = struct.unpack("<22i", raw[:88])
            pairs = [Fraction(numbers[i], numbers[i + 1] or 1) for i in range(0, 20, 2)]
            if numbers[20] and numbers[21]:
                mastering = tuple(pairs)
        elif data.type == Type.CONTENT_LIGHT_LEVEL and len(raw) >= 8:
            most, average = struct.unpack("<2I", raw[:8])
            light = (most, average)
    return Hdr(mastering, light)


def display_matrix_of(frame: av.VideoFrame) -> tuple[int, ...]:
    """The nine 16.16 numbers of the display matrix, or () where there is none."""
    for data in _side_data(frame):
        if data.type == Type.DISPLAYMATRIX:
            return struct.unpack("<9i", bytes(data)[:36])
    return ()


def turn_of(matrix: tuple[int, ...]) -> Float64:
    """The right-angle turn and mirroring (2, 2) of a display matrix, integers -1, 0, 1.

    ISO/IEC 14496-12 6.2.2: (p, q, 1) times the matrix, so x' = a p + c q and y' = b p + d q.
    Anything between right angles is rounded to the nearest, as players do.
    """
    if not matrix or not any(matrix[:5]):
        return np.eye(2)
    a, b, _, c, d = matrix[:5]
    full = np.array([[a, c], [b, d]], float)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return np.diag([1.0 if full[0, 0] >= 0 else -1.0, 1.0 if full[1, 1] >= 0 else -1.0])
    return np.array([[0.0, np.sign(full[0, 1]) or 1.0], [np.sign(full[1, 0]) or 1.0, 0.0]])


def display_affine(width: int, height: int, sar: Fraction, turn: Float64) -> tuple[Float64, tuple[int, int]]:
    """Coded pixels to upright square display pixels, and the display size.

    Args:
        width: Coded width.
        height: Coded height.
        sar: Width of a sample over its height; the short side is stretched, nothing is shrunk.
        turn: (2, 2) from `turn_of`.

    Returns:
        (2, 3) affine and (width, height), rounded; the affine maps onto exactly this size.
    """
    wide, high = width, height
    if sar > 1:
        wide = round(width * sar)
    elif 0 < sar < 1:
        high = round(height / sar)
    linear = turn @ np.diag([wide / width, high / height])
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float) @ linear.T
    low = corners.min(axis=0)
    size = corners.max(axis=0) - low
    return np.column_stack([linear, -low]), (round(size[0]), round(size[1]))


def rotation_of(turn: Float64) -> int:
    """Clockwise degrees from coded to display, 0, 90, 180 or 270, after mirroring if there is any."""
    if np.linalg.det(turn) < 0:
        turn = turn @ np.diag([-1.0, 1.0])
    return int(np.rint(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))) % 360


def colour_of(frame: av.VideoFrame, codec: str, layout: Layout) -> Colour:
    """Colour description of a decoded frame; the matrix is inferred from the size where untagged."""
    code = int(frame.colorspace)
    inferred: Literal["bt601", "bt709"] = "bt709" if frame.height > 576 or frame.width >= 1280 else "bt601"
    matrix: Literal["bt601", "bt709", "bt2020", "rgb"] = _MATRICES.get(code, inferred)
    if layout.model == "rgb":
        matrix = "rgb"
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj") or layout.model == "rgb"
    return Colour(
        matrix=matrix,
        full_range=full,
        siting="center" if codec in _CENTRED else "left",
        transfer=int(frame.color_trc),
        primaries=int(frame.color_primaries),
        matrix_code=code,
    )
