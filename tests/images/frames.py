"""Frames painted from a continuous picture, with sampling written down independently of the package."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mien.types import Array, Colour, Float32, Float64, Frame, Layout

Field = Callable[[Float64, Float64], Float64]
"""Coded luma x and y, corner-origin, to R'G'B' (..., 3)."""


def _yuv(name: str, depth: int, chroma: tuple[int, int]) -> Layout:
    return Layout(name, "yuv", depth, ((0,), (1,), (2,)), chroma)


LAYOUTS = {
    layout.name: layout
    for layout in (
        *(
            _yuv(f"yuv{kind}p{'' if depth == 8 else f'{depth}le'}", depth, chroma)
            for kind, chroma in (("420", (1, 1)), ("422", (1, 0)), ("444", (0, 0)))
            for depth in (8, 10, 12)
        ),
        Layout("nv12", "yuv", 8, ((0,), (1, 2)), (1, 1)),
        Layout("gray", "gray", 8, ((0,),)),
        Layout("gray16le", "gray", 16, ((0,),)),
        Layout("rgb24", "rgb", 8, ((0, 1, 2),)),
        Layout("rgba", "rgb", 8, ((0, 1, 2, 3),)),
        Layout("rgb48le", "rgb", 16, ((0, 1, 2),)),
        Layout("rgba64le", "rgb", 16, ((0, 1, 2, 3),)),
        Layout("gbrp", "rgb", 8, ((1,), (2,), (0,))),
    )
}
MATRICES = {
    "bt601": (0.299, 0.587, 0.114),
    "bt709": (0.2126, 0.7152, 0.0722),
    "bt2020": (0.2627, 0.678, 0.0593),
}
IDENTITY: Float64 = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def codes(rgb: Float64, layout: Layout, colour: Colour) -> list[Float64]:
    """R'G'B' as the unrounded code values of components 0, 1 and 2."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    top = 2.0**layout.depth - 1
    if layout.model == "rgb":
        return [r * top, g * top, b * top]
    kr, kg, kb = MATRICES[colour.matrix]
    y = kr * r + kg * g + kb * b
    cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    unit = 2.0 ** (layout.depth - 8)
    if colour.full_range:
        return [y * top, cb * top + 128 * unit, cr * top + 128 * unit]
    return [(16 + 219 * y) * unit, (128 + 224 * cb) * unit, (128 + 224 * cr) * unit]


def sites(layout: Layout, colour: Colour, component: int, width: int, height: int) -> tuple[Float64, Float64]:
    """Where the samples of a component lie in the picture: x (h, w) and y (h, w), corner-origin."""
    if layout.model != "yuv" or component not in (1, 2) or layout.chroma == (0, 0):
        return np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    sx, sy = 1 << layout.chroma[0], 1 << layout.chroma[1]
    x0 = 0.5 if colour.siting in ("left", "topleft") and sx == 2 else sx / 2
    y0 = 0.5 if colour.siting == "topleft" and sy == 2 else sy / 2
    return np.meshgrid(x0 + sx * np.arange(-(-width // sx)), y0 + sy * np.arange(-(-height // sy)))


def build(
    layout: Layout, values: Callable[[int], Array], colour: Colour, display: Float64 = IDENTITY
) -> Frame:
    """A frame from one array of code values a component, rounded."""
    planes = []
    for parts in layout.planes:
        arrays = [np.rint(values(c)).astype(layout.dtype) for c in parts]
        planes.append(arrays[0].copy() if len(arrays) == 1 else np.stack(arrays, -1))
    return Frame(tuple(planes), layout, colour, 0, 0, display)


def paint(
    layout: Layout,
    size: tuple[int, int],
    field: Field,
    colour: Colour | None = None,
    display: Float64 = IDENTITY,
) -> Frame:
    """A frame that samples a continuous picture exactly where its samples lie; alpha is a ramp."""
    colour = colour or Colour()

    def values(component: int) -> Array:
        x, y = sites(layout, colour, component, *size)
        if component == 3:
            return (x + y) % 2.0**layout.depth
        return codes(field(x, y), layout, colour)[component]

    return build(layout, values, colour, display)


def noise(layout: Layout, size: tuple[int, int], seed: int = 0, colour: Colour | None = None) -> Frame:
    """A frame of independent samples over all codes, those no encoder writes included."""
    rng = np.random.default_rng(seed)
    top = 2**layout.depth

    def values(component: int) -> Array:
        return rng.integers(0, top, sites(layout, colour or Colour(), component, *size)[0].shape).astype(
            float
        )

    return build(layout, values, colour or Colour())


def waves(x: Float64, y: Float64) -> Float64:
    """A colourful picture without anything fine: periods of 90 pixels and more."""
    r = 0.5 + 0.3 * np.sin(x / 17.0) * np.cos(y / 23.0)
    g = 0.5 + 0.25 * np.cos(x / 29.0 + y / 31.0)
    b = 0.45 + 0.3 * np.sin(y / 19.0 - x / 37.0)
    return np.stack([r, g, b], -1)


def disc(side: int, radius: float, soft: float) -> Float32:
    """A float32 mask: a disc about the middle of a square crop."""
    at = np.arange(side) + 0.5 - side / 2
    distance = np.hypot(at[:, None], at[None])
    mask: Float32 = np.clip((radius - distance) / soft + 0.5, 0.0, 1.0).astype(np.float32)
    return mask
