"""Code values to R'G'B' and back: matrices, ranges and depths.

Y'CbCr is derived from Kr and Kb: Y' = Kr R' + Kg G' + Kb B', Cb = (B' - Y') / (2 (1 - Kb)),
Cr = (R' - Y') / (2 (1 - Kr)), with Y' in [0, 1] and Cb, Cr in [-0.5, 0.5]
(ITU-R BT.601-7 §2.5, BT.709-6 §3, BT.2020-2 table 4 non-constant luminance; ITU-T H.273 §8.3).
Code values of n bits (H.273 equations 22 to 34): limited range puts Y' at (219 E + 16) 2^(n-8) and
chroma at (224 E + 128) 2^(n-8); full range puts Y' at (2^n - 1) E and chroma at (2^n - 1) E + 2^(n-1).
R'G'B' stays gamma-encoded: no transfer function is applied here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from mien.types import Array, Colour, Float32, Float64, Layout

WEIGHTS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
)
"""Matrix name to (Kr, Kb)."""


def ycbcr_from_rgb(matrix: str) -> Float64:
    """(3, 3) from R'G'B' in [0, 1] to Y' in [0, 1] and Cb, Cr in [-0.5, 0.5].

    Raises:
        ValueError: No Y'CbCr matrix has this name.
    """
    if matrix not in WEIGHTS:
        raise ValueError(f"matrix: expected one of {', '.join(WEIGHTS)}, got {matrix!r}")
    kr, kb = WEIGHTS[matrix]
    y = np.array([kr, 1 - kr - kb, kb])
    cb = (np.array([0.0, 0.0, 1.0]) - y) / (2 * (1 - kb))
    cr = (np.array([1.0, 0.0, 0.0]) - y) / (2 * (1 - kr))
    return np.stack([y, cb, cr])


def code_scale(full_range: bool, depth: int) -> tuple[Float64, Float64]:
    """Factor and offset, each (3,), from Y', Cb, Cr to code values of `depth` bits."""
    if full_range:
        top = float((1 << depth) - 1)
        return np.full(3, top), np.array([0.0, 1 << (depth - 1), 1 << (depth - 1)])
    unit = float(1 << (depth - 8))
    return np.array([219.0, 224.0, 224.0]) * unit, np.array([16.0, 128.0, 128.0]) * unit


def legal(layout: Layout, colour: Colour) -> tuple[int, int]:
    """Lowest and highest code value that may be written.

    Limited-range video keeps head- and footroom, but the codes reserved for timing (8 bit: 0 and 255,
    10 bit: 0-3 and 1020-1023; ITU-R BT.709-6 §4.6, BT.2100-2 table 9) are no picture.
    """
    if layout.model == "rgb" or colour.full_range:
        return 0, (1 << layout.depth) - 1
    unit = 1 << (layout.depth - 8)
    return unit, 255 * unit - 1


@lru_cache(maxsize=64)
def at_depth(layout: Layout, depth: int) -> Layout:
    """The same layout with samples of another depth."""
    return replace(layout, depth=depth)


def encoder(layout: Layout, colour: Colour) -> Float64:
    """(3, 4) affine from R'G'B' in [0, 1] to the code values of components 0, 1, 2 of a layout.

    For `gray` only the first row (Y') has a meaning; R'G'B' layouts are full range.

    Raises:
        ValueError: A Y'CbCr layout is described with the matrix "rgb".
    """
    if layout.model == "rgb":
        return np.column_stack([np.eye(3) * ((1 << layout.depth) - 1), np.zeros(3)])
    # A gray picture tagged "rgb" (a PNG, say) has no chroma whose axes could matter; any luma will do.
    matrix = "bt709" if layout.model == "gray" and colour.matrix == "rgb" else colour.matrix
    scale, offset = code_scale(colour.full_range, layout.depth)
    return np.column_stack([ycbcr_from_rgb(matrix) * scale[:, None], offset])


@lru_cache(maxsize=64)
def decoder(layout: Layout, colour: Colour) -> Float64:
    """(3, 4) affine from code values of components 0, 1, 2 to R'G'B': the inverse of `encoder`; read-only.

    For `gray` the other two components have no weight, so anything finite may stand in for them.
    """
    found = _decoder(layout, colour)
    found.flags.writeable = False  # everybody gets the same array
    return found


@lru_cache(maxsize=64)
def decoder8(layout: Layout, colour: Colour) -> Float64:
    """(3, 4) affine from 8 bit code values, whatever the layout's depth, to 8 bit R'G'B'."""
    return decoder(at_depth(layout, 8), colour) * 255.0


def _decoder(layout: Layout, colour: Colour) -> Float64:
    forward = encoder(layout, colour)
    if layout.model == "gray":
        scale, offset = code_scale(colour.full_range, layout.depth)
        return np.array([[1 / scale[0], 0.0, 0.0, -offset[0] / scale[0]]] * 3)
    back = np.linalg.inv(forward[:, :3])
    return np.column_stack([back, -back @ forward[:, 3]])


def _yuv444(depth: int) -> Layout:
    return Layout("yuv444p", "yuv", depth, ((0,), (1,), (2,)))


def to_rgb(yuv: Array, colour: Colour, depth: int) -> Float32:
    """Y'CbCr code values (..., 3) of `depth` bits to R'G'B' float32 (..., 3), nominal [0, 1], not clipped."""
    m = decoder(_yuv444(depth), colour)
    rgb: Float32 = (yuv.astype(np.float64) @ m[:, :3].T + m[:, 3]).astype(np.float32)
    return rgb


def from_rgb(rgb: Array, colour: Colour, depth: int) -> Float32:
    """R'G'B' (..., 3) to Y'CbCr code values float32 (..., 3) of `depth` bits, neither rounded nor clipped."""
    m = encoder(_yuv444(depth), colour)
    yuv: Float32 = (rgb.astype(np.float64) @ m[:, :3].T + m[:, 3]).astype(np.float32)
    return yuv
