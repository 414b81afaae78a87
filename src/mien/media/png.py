"""PNG chunks and 16-bit rows: what Pillow does not do (PNG specification, third edition, 2025).

Pillow reads and writes 16-bit colour as 8-bit; PyAV reads it exactly but knows no metadata. So 16-bit files
and animations are put together here, a strip of rows at a time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mien.types import Array

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_STRIP = 1 << 20
_CARRIED = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tEXt", b"zTXt", b"iTXt"})
_LEFT_OUT = (XMP_KEYWORD, b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type xmp")


def chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Every chunk of a PNG file, name and data, checksums compared; IDAT and fdAT data come too.

    Raises:
        ValueError: A checksum is wrong.
        EOFError: The file ends before IEND.
    """
    file.seek(8)
    name = b""
    while name != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise EOFError("the file ends before its last chunk")
        length, name = struct.unpack(">I4s", head)
        data, check = file.read(length), file.read(4)
        if len(data) < length or len(check) < 4:
            raise EOFError(f"the file ends inside a {name.decode('latin-1')} chunk")
        if zlib.crc32(data, zlib.crc32(name)) != struct.unpack(">I", check)[0]:
            raise ValueError(f"the checksum of a {name.decode('latin-1')} chunk is wrong")
        yield name, data


def carried(file: IO[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """Chunks that say something about the picture and are no ICC, EXIF or XMP: colour tags and texts."""
    file.seek(8)
    found: list[tuple[bytes, bytes]] = []
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in _CARRIED:
            data = file.read(length)
            file.seek(4, 1)
            if len(data) == length and not data.startswith(_LEFT_OUT):
                found.append((name, data))
        else:
            file.seek(length + 4, 1)
    return tuple(found)


def metadata(
    icc: bytes, exif: bytes, xmp: bytes, dpi: tuple[float, float] | None, extra: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """The chunks between IHDR and the first IDAT, in a lawful order."""
    found = [c for c in extra if not (icc and c[0] == b"sRGB")]  # iCCP and sRGB exclude each other
    if icc:
        found.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    if dpi:
        metre = [int(d / 0.0254 + 0.5) for d in dpi]
        found.append((b"pHYs", struct.pack(">IIB", *metre, 1)))
    if exif:
        found.append((b"eXIf", exif))
    if xmp:
        found.append((b"iTXt", xmp_text(xmp)))
    return found


def xmp_text(xmp: bytes) -> bytes:
    """Data of the iTXt chunk that holds an XMP packet (XMP specification part 3, 1.1.5)."""
    return XMP_KEYWORD + b"\0" + b"\0\0" + b"\0\0" + xmp


def write_chunk(file: IO[bytes], name: bytes, data: bytes) -> None:
    """One chunk: length, name, data, checksum."""
    file.write(struct.pack(">I", len(data)) + name + data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def write(file: IO[bytes], pixels: Array, extra: Iterable[tuple[bytes, bytes]]) -> None:
    """A whole PNG file, losslessly.

    Args:
        file: Where to.
        pixels: (H, W) or (H, W, 3 or 4) uint8 or uint16; gray, R'G'B' or R'G'B'A.
        extra: Chunks between IHDR and IDAT.
    """
    file.write(SIGNATURE)
    write_chunk(file, b"IHDR", header(pixels))
    for name, data in extra:
        write_chunk(file, name, data)
    for piece in deflated(pixels):
        write_chunk(file, b"IDAT", piece)
    write_chunk(file, b"IEND", b"")


def header(pixels: Array) -> bytes:
    """IHDR data for an array as `write` takes it."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    height, width = pixels.shape[:2]
    return struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, colour, 0, 0, 0)


def deflated(pixels: Array, level: int = 4) -> Iterator[bytes]:
    """The zlib stream of filtered rows, in pieces; memory is bounded by a strip of about 1 MiB."""
    parts = 1 if pixels.ndim == 2 else pixels.shape[2]
    step = parts * pixels.dtype.itemsize
    stride = pixels.shape[1] * step
    rows = max(1, _STRIP // stride)
    packer = zlib.compressobj(level)
    above = np.zeros(stride, np.uint8)
    for top in range(0, pixels.shape[0], rows):
        strip = np.ascontiguousarray(pixels[top : top + rows])
        if strip.dtype == np.uint16:
            strip = strip.astype(">u2")
        raw = strip.view(np.uint8).reshape(len(strip), stride)
        if piece := packer.compress(filtered(raw, above, step).tobytes()):
            yield piece
        above = raw[-1]
    yield packer.flush()


def filtered(raw: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Rows with the filter that makes each smallest, type byte first (PNG 9.2, heuristic of 12.7).

    Args:
        raw: (n, stride) rows.
        above: (stride,) the row before them, zeros before the first.
        step: Bytes of a pixel.
    """
    up = np.concatenate((above[None], raw[:-1]))
    left, corner = np.zeros_like(raw), np.zeros_like(raw)
    left[:, step:], corner[:, step:] = raw[:, :-step], up[:, :-step]
    mean = (left.astype(np.uint16) + up >> 1).astype(np.uint8)
    tried = np.stack((raw, raw - left, raw - up, raw - mean, raw - _paeth(left, up, corner)))
    size = np.minimum(tried, 0 - tried).sum(axis=2, dtype=np.int64)
    best = size.argmin(axis=0)
    out = np.empty((len(raw), raw.shape[1] + 1), np.uint8)
    out[:, 0] = best
    out[:, 1:] = tried[best, np.arange(len(raw))]
    return out


def _paeth(left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]) -> NDArray[Any]:
    a, b, c = (x.astype(np.int16) for x in (left, up, corner))
    pa, pb, pc = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, up, corner))
