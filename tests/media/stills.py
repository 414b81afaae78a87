"""Pictures that the tests of still images are made of."""

from __future__ import annotations

import functools
import struct

import numpy as np
from PIL import Image, ImageCms, JpegImagePlugin

from mien.media import picture
from mien.types import Array, Colour, Frame, Layout

RNG = np.random.default_rng(7)
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/>é</x:xmpmeta>'.encode()
LAYOUTS = {
    "gray": picture.GRAY,
    "gray16le": picture.GRAY16,
    "rgb24": picture.RGB24,
    "rgba": picture.RGBA,
    "rgb48le": picture.RGB48,
    "rgba64le": picture.RGBA64,
}


@functools.cache  # the profile holds its time of making
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(layout: Layout, width: int = 37, height: int = 23) -> Array:
    shape = layout.plane_shape(0, width, height)
    return RNG.integers(0, 1 << layout.depth, shape, dtype=layout.dtype)


def smooth(width: int = 160, height: int = 120) -> Array:
    y, x = np.mgrid[:height, :width] / 40
    return np.stack([127 + 100 * f for f in (np.sin(x), np.cos(y), np.sin(x + y))], 2).astype(np.uint8)


def frame(pixels: Array) -> Frame:
    layout = next(
        o
        for o in LAYOUTS.values()
        if o.plane_shape(0, 1, 1)[2:] == pixels.shape[2:] and o.dtype == pixels.dtype
    )
    return Frame((pixels,), layout, Colour("rgb", True), 0, 0, np.eye(2, 3))


def tables(image: Image.Image) -> dict[int, list[int]]:
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    return image.quantization


def exif(orientation: int = 1, thumbnail: bytes = b"") -> bytes:
    """A big-endian block by hand: Make, Orientation, ExifIFD (a maker note), and a thumbnail in IFD1."""
    block = bytearray(b"MM\0*\0\0\0\x08")
    block += struct.pack(">H", 3)
    block += struct.pack(">HHI4s", 0x010F, 2, 4, b"Cam\0")
    block += struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    block += struct.pack(">HHII", 0x8769, 4, 1, 50)
    block += struct.pack(">I", 74 if thumbnail else 0)
    block += struct.pack(">HHHI4sI", 1, 0x927C, 7, 4, b"note", 0)
    block += bytes(74 - len(block))
    if thumbnail:
        block += struct.pack(">HHHIIHHIII", 2, 0x0201, 4, 1, 104, 0x0202, 4, 1, len(thumbnail), 0)
        block += thumbnail
    return bytes(block)
