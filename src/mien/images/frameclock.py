"""A time written into the picture itself: a strip of black and white cells along its upper edge.

It survives encoders, networks and scaling, so that the delay of a stream can be measured at its far end.
64 cells side by side over the whole width: 48 bits of the value, the highest first, and 16 bits of CRC
(CRC-16/XMODEM, polynomial 0x1021). Who reads a strip that is not whole gets nothing instead of a wrong time.
"""

from __future__ import annotations

import binascii

import numpy as np

from mien.types import Array, Frame

CELLS = 64
_BITS = 48
MOST = (1 << _BITS) - 1
"""Largest value that fits: as microseconds, nearly nine years."""


def _height(width: int) -> int:
    """Rows of the strip in a picture of this width: cells are squares."""
    return max(2, round(width / CELLS))


def stamp(frame: Frame, value: int) -> None:
    """Write a value into a frame, in place.

    Args:
        frame: Y'CbCr of 8 bits, planar, with writable planes of NumPy.
        value: 0 to `MOST`.

    Raises:
        ValueError: The value does not fit, or the frame has another layout.
    """
    if not 0 <= value <= MOST:
        raise ValueError(f"value: expected 0 to {MOST}, got {value}")
    if frame.layout.model != "yuv" or frame.layout.depth != 8:
        raise ValueError(f"frame: expected 8-bit Y'CbCr, got {frame.layout.name}")
    data = value.to_bytes(_BITS // 8, "big")
    bits = np.unpackbits(np.frombuffer(data + binascii.crc_hqx(data, 0).to_bytes(2, "big"), np.uint8))
    low, high = (0, 255) if frame.colour.full_range else (16, 235)
    luma, *chroma = frame.planes
    rows, columns = _height(luma.shape[1]), np.arange(luma.shape[1]) * CELLS // luma.shape[1]
    luma[:rows] = np.where(bits[columns], high, low).astype(np.uint8)
    for plane in chroma:
        plane[: -(-rows >> frame.layout.chroma[1])] = 128


def read(luma: Array) -> int | None:
    """The value that stands in a picture; None where there is no whole one.

    Args:
        luma: (h, w) uint8, of the size it was stamped in or scaled.
    """
    width = luma.shape[1]
    rows = _height(width)
    if width < CELLS or luma.shape[0] < rows:
        return None
    strip = luma[rows // 4 : max(rows // 4 + 1, rows - rows // 4)].astype(np.float64).mean(axis=0)
    middles = ((np.arange(CELLS) + 0.5) * width / CELLS).astype(int)
    reach = int(0.2 * width / CELLS)
    inner = [slice(at - reach, at + reach + 1) for at in middles.tolist()]
    bits = np.array([strip[part].mean() for part in inner]) > 125.5
    data = np.packbits(bits).tobytes()
    value, check = data[: _BITS // 8], data[_BITS // 8 :]
    whole = binascii.crc_hqx(value, 0).to_bytes(2, "big") == check
    return int.from_bytes(value, "big") if whole and any(data) else None
