"""EXIF blocks: orientation, and removal of the thumbnail that would still show the old face.

A block is the TIFF structure alone (it begins `II` or `MM`), without
the `Exif` and two zeros that JPEG puts first.
Everything else stays byte for byte: maker notes hold offsets that a rewrite would break.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from mien.types import Float64

_ORIENTATION = 0x0112
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825

KEPT_TAGS = frozenset(
    {270, 271, 272, _ORIENTATION, 305, 306, 315, 316, 33432, 36867, 36868, _EXIF_IFD, _GPS_IFD}
)
"""Tags of a TIFF's main directory that describe the picture rather than how its samples are stored."""


def clean(block: bytes) -> bytes:
    """The block without prefix and without thumbnail: its directory is unlinked, its bytes are zeroed.

    Returns nothing for what is no EXIF.
    """
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return b""
    data = bytearray(block)
    try:
        first = _next_link(data, order, struct.unpack_from(order + "I", data, 4)[0])
        second = struct.unpack_from(order + "I", data, first)[0]
        if second:
            _blank(data, order, second)
            struct.pack_into(order + "I", data, first, 0)
    except struct.error:
        return bytes(block)  # too short for a second directory, so there is no thumbnail to find
    return bytes(data)


def orientation(block: bytes) -> int:
    """EXIF orientation, 1 to 8; 1 where none or a wrong one is given."""
    if not block:
        return 1
    value = load(block).get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def load(block: bytes) -> Image.Exif:
    """Pillow's view of a block."""
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return exif


def from_tags(tags: Image.Exif) -> bytes:
    """A block from a TIFF's main directory: `KEPT_TAGS` and the EXIF and GPS directories."""
    exif = Image.Exif()
    for tag, value in tags.items():
        if tag in KEPT_TAGS:
            exif[tag] = tags.get_ifd(tag) if tag in {_EXIF_IFD, _GPS_IFD} else value
    return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else b""


def display(orientation: int, width: int, height: int) -> Float64:
    """(2, 3) affine from stored pixels to the upright picture (EXIF 3.0, 4.6.5.1.6 Orientation).

    Args:
        orientation: 1 to 8: which edges of the scene the stored first row and column are.
        width: Stored width in pixels.
        height: Stored height in pixels.
    """
    w, h = float(width), float(height)
    rows = {
        1: ((1, 0, 0), (0, 1, 0)),
        2: ((-1, 0, w), (0, 1, 0)),
        3: ((-1, 0, w), (0, -1, h)),
        4: ((1, 0, 0), (0, -1, h)),
        5: ((0, 1, 0), (1, 0, 0)),
        6: ((0, -1, h), (1, 0, 0)),
        7: ((0, -1, h), (-1, 0, w)),
        8: ((0, 1, 0), (-1, 0, w)),
    }
    return np.array(rows[orientation], np.float64)


def _next_link(data: bytearray, order: str, offset: int) -> int:
    """Where a directory keeps the offset of the next one."""
    (count,) = struct.unpack_from(order + "H", data, offset)
    return int(offset + 2 + 12 * count)


def _blank(data: bytearray, order: str, offset: int) -> None:
    """Zero the thumbnail that the directory at `offset` points to."""
    (count,) = struct.unpack_from(order + "H", data, offset)
    found: dict[int, int] = {}
    for k in range(count):
        tag, _, _, value = struct.unpack_from(order + "HHII", data, offset + 2 + 12 * k)
        found[tag] = value
    start, length = found.get(_THUMBNAIL_OFFSET, 0), found.get(_THUMBNAIL_LENGTH, 0)
    stop = min(start + length, len(data))
    if start and stop > start:
        data[start:stop] = bytes(stop - start)
