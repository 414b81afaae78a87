"""Pixel formats: which ones are worked on in place, and the nearest of them for every other one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from av.video.format import VideoFormat

from mien.errors import MediaError
from mien.types import Layout

_CHROMA = {"420": (1, 1), "422": (1, 0), "444": (0, 0)}


def _planar_yuv() -> list[Layout]:
    layouts = []
    for name, chroma in _CHROMA.items():
        layouts.append(Layout(f"yuvj{name}p", "yuv", 8, ((0,), (1,), (2,)), chroma))
        for depth in (8, 9, 10, 12, 14, 16):
            tail = "p" if depth == 8 else f"p{depth}le"
            layouts.append(Layout(f"yuv{name}{tail}", "yuv", depth, ((0,), (1,), (2,)), chroma))
        for depth in (8, 10, 12, 16):
            if depth == 12 and name == "420":
                continue  # FFmpeg has no such format
            tail = "p" if depth == 8 else f"p{depth}le"
            layouts.append(Layout(f"yuva{name}{tail}", "yuv", depth, ((0,), (1,), (2,), (3,)), chroma))
    return layouts


def _all() -> dict[str, Layout]:
    layouts = [
        *_planar_yuv(),
        Layout("nv12", "yuv", 8, ((0,), (1, 2)), (1, 1)),
        Layout("nv21", "yuv", 8, ((0,), (2, 1)), (1, 1)),
        Layout("nv16", "yuv", 8, ((0,), (1, 2)), (1, 0)),
        Layout("nv24", "yuv", 8, ((0,), (1, 2)), (0, 0)),
        Layout("rgb24", "rgb", 8, ((0, 1, 2),)),
        Layout("bgr24", "rgb", 8, ((2, 1, 0),)),
        Layout("rgba", "rgb", 8, ((0, 1, 2, 3),)),
        Layout("bgra", "rgb", 8, ((2, 1, 0, 3),)),
        Layout("argb", "rgb", 8, ((3, 0, 1, 2),)),
        Layout("abgr", "rgb", 8, ((3, 2, 1, 0),)),
        Layout("rgb48le", "rgb", 16, ((0, 1, 2),)),
        Layout("rgba64le", "rgb", 16, ((0, 1, 2, 3),)),
    ]
    for depth in (8, 9, 10, 12, 14, 16):
        tail = "" if depth == 8 else f"{depth}le"
        layouts.append(Layout(f"gbrp{tail}", "rgb", depth, ((1,), (2,), (0,))))
        layouts.append(Layout(f"gray{tail}", "gray", depth, ((0,),)))
        if depth not in (9,):
            layouts.append(Layout(f"gbrap{tail}", "rgb", depth, ((1,), (2,), (0,), (3,))))
    return {layout.name: layout for layout in layouts}


LAYOUTS: Mapping[str, Layout] = MappingProxyType(_all())
"""Every pixel format whose planes are edited in place, by FFmpeg's name."""


def _depth(bits: int) -> int:
    """The smallest supported depth that holds `bits`."""
    return next((depth for depth in (8, 10, 12, 16) if depth >= bits), 16)


def semiplanar(layout: Layout) -> Layout:
    """A planar Y'CbCr layout as video engines keep it: both colour components in one plane.

    Above 8 bits it has a name of our own: samples lie in the low bits, those of FFmpeg's p010le in the high.

    Raises:
        ValueError: The layout is not 4:2:0, or has an alpha plane.
    """
    if layout.model != "yuv" or layout.chroma != (1, 1) or layout.alpha:
        raise ValueError(f"layout: expected 4:2:0 without alpha, got {layout.name}")
    name = "nv12" if layout.depth == 8 else f"nv12 of {layout.depth} bits"
    return Layout(name, "yuv", layout.depth, ((0,), (1, 2)), (1, 1))


_CONVERT = "Convert the video to yuv420p first."


def nearest(pix_fmt: str) -> Layout:
    """The supported layout that keeps most of `pix_fmt`; itself where it is supported.

    Depth, chroma and alpha are never reduced, except below 16 bits a sample of floating point.

    Raises:
        MediaError: FFmpeg does not know the format, or it holds no picture samples.
    """
    if pix_fmt in LAYOUTS:
        return LAYOUTS[pix_fmt]
    try:
        described = VideoFormat(pix_fmt, 64, 64)
    except ValueError as error:
        raise MediaError(pix_fmt, "is not a known pixel format", _CONVERT) from error
    parts = described.components
    if not parts:
        raise MediaError(pix_fmt, "holds no samples that can be edited", _CONVERT)
    alpha = any(part.is_alpha for part in parts) or described.has_palette
    depth = _depth(max(part.bits for part in parts))
    tail = "" if depth == 8 else f"{depth}le"
    if described.is_rgb or described.has_palette or pix_fmt.startswith("xyz"):
        if depth == 8:
            return LAYOUTS["rgba" if alpha else "rgb24"]
        return LAYOUTS[f"gbrap{tail}" if alpha else f"gbrp{tail}"]
    if len(parts) <= 2:
        if alpha:
            return LAYOUTS[f"yuva444p{tail}"]
        return LAYOUTS[f"gray{tail}"]
    chroma = parts[1]
    kind = "444" if chroma.height == 64 and chroma.width == 64 else ""
    kind = kind or ("422" if chroma.height == 64 and chroma.width <= 32 else "")
    kind = kind or ("420" if chroma.width <= 32 else "444")
    name = f"yuv{'a' if alpha else ''}{kind}p{tail}"
    return LAYOUTS.get(name, LAYOUTS[f"yuva444p{tail}" if alpha else f"yuv444p{tail}"])
