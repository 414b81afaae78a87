"""GIF, WebP and APNG containers around single compressed pictures, written a frame at a time."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Final

import numpy as np
from PIL import Image

from mien.media import png
from mien.media.image_write import scaled
from mien.media.picture import ImageInfo
from mien.settings import Encode
from mien.types import Array


@dataclass(frozen=True, slots=True)
class Plan:
    """What is written besides the frames."""

    info: ImageInfo
    size: tuple[int, int]
    seconds: tuple[Fraction, ...]
    """How long each frame is shown, representable in the format."""
    plays: int
    """0 for ever."""
    alpha: bool
    quality: int


def write_gif(file: IO[bytes], frames: Iterator[Array], plan: Plan) -> None:
    """GIF89a: whole frames, each with a palette of its own, the one before cleared."""
    file.write(b"GIF89a" + struct.pack("<HHBBB", *plan.size, 0x70, 0, 0))
    if plan.plays != 1:
        # Netscape's number says how often it is repeated after the first time.
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", max(plan.plays - 1, 0), 0))
    if plan.info.icc:
        file.write(b"!\xff\x0bICCRGBG1012" + _blocked(plan.info.icc))
    if plan.info.comment:
        file.write(b"!\xfe" + _blocked(plan.info.comment))
    if plan.info.xmp:
        # 258 bytes that lead any reader of lengths to the end (XMP specification part 3, 1.1.2).
        trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
        file.write(b"!\xff\x0bXMP DataXMP" + plan.info.xmp + trailer)
    for pixels, seconds in zip(frames, plan.seconds, strict=True):
        indices, palette, clear = _paletted(pixels)
        flags = 2 << 2 | (clear is not None)
        file.write(b"!\xf9\x04" + struct.pack("<BHBB", flags, int(seconds * 100), clear or 0, 0))
        file.write(_gif_picture(indices, palette))
    file.write(b";")


def _blocked(data: bytes) -> bytes:
    """Data in sub-blocks of at most 255 bytes, with the empty one at the end."""
    parts = (data[k : k + 255] for k in range(0, len(data), 255))
    return b"".join(bytes((len(p),)) + p for p in parts) + b"\0"


def _paletted(pixels: Array) -> tuple[Array, bytes, int | None]:
    """Indices (H, W), palette of R'G'B' triples, and the index that is transparent.

    Exact where the frame has few enough colours; alpha is cut at one half, as GIF knows no shades of it.
    """
    rgb = pixels[..., :3]
    clear = pixels[..., 3] < 128 if pixels.shape[2] == 4 else np.zeros(rgb.shape[:2], bool)
    most = 256 - bool(clear.any())
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    packed[clear] = packed[~clear][0] if not clear.all() else 0
    colours, indices = np.unique(packed, return_inverse=True)
    if len(colours) <= most:
        palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8).tobytes()
        out = indices.reshape(clear.shape).astype(np.uint8)
    else:
        image = Image.fromarray(np.ascontiguousarray(rgb)).quantize(most, dither=Image.Dither.NONE)
        palette, out = bytes(image.getpalette() or ())[: 3 * most], np.array(image)
    if most == 256:
        return out, palette, None
    out[clear] = len(palette) // 3
    return out, palette + b"\0\0\0", len(palette) // 3


def _gif_picture(indices: Array, palette: bytes) -> bytes:
    """Image descriptor, local palette and compressed data, cut out of a GIF of one picture."""
    image = Image.fromarray(indices)
    image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, "GIF", optimize=False, interlace=0)
    data = buffer.getvalue()
    if not data[10] & 0x80:
        raise ValueError("the encoder wrote no palette")
    bits = data[10] & 7
    at = 13 + (3 << bits + 1)
    table = data[13:at]
    while data[at : at + 1] == b"!":
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    head = data[at : at + 9]  # comma, left, top, width, height
    return head + bytes((0x80 | bits,)) + table + data[at + 10 : -1]


def write_webp(file: IO[bytes], frames: Iterator[Array], plan: Plan) -> None:
    """WebP: whole frames, each replacing the one before (RFC 9649, 2.7)."""
    info = plan.info
    lossless = plan.quality == 100 or (info.lossless and plan.quality == Encode().quality)
    flags = 0x02 | 0x20 * bool(info.icc) | 0x10 * plan.alpha | 0x08 * bool(info.exif) | 0x04 * bool(info.xmp)
    corner = _u24(plan.size[0] - 1) + _u24(plan.size[1] - 1)
    file.write(b"RIFF\0\0\0\0WEBP")
    _riff(file, b"VP8X", struct.pack("<I", flags) + corner)
    if info.icc:
        _riff(file, b"ICCP", info.icc)
    _riff(file, b"ANIM", struct.pack("<IH", 0, plan.plays))
    for pixels, seconds in zip(frames, plan.seconds, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(
            buffer,
            "WEBP",
            lossless=lossless,
            quality=50 if lossless else scaled(plan.quality, 95),
            exact=lossless,
        )
        body = io.BytesIO()
        body.write(bytes(6) + corner + _u24(int(seconds * 1000)) + b"\x02")  # do not blend, do not clear
        for name, data in riff_chunks(buffer):
            if name in {b"ALPH", b"VP8 ", b"VP8L"}:
                _riff(body, name, data)
        _riff(file, b"ANMF", body.getvalue())
    if info.exif:
        _riff(file, b"EXIF", info.exif)
    if info.xmp:
        _riff(file, b"XMP ", info.xmp)
    size = file.tell() - 8
    file.seek(4)
    file.write(struct.pack("<I", size))


def riff_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of every chunk of a WebP file.

    Raises:
        EOFError: The file ends before its last chunk does.
    """
    file.seek(4)
    (total,) = struct.unpack("<I", file.read(4))
    at = 12
    while at + 8 <= total + 8:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            raise EOFError("the file ends before its last chunk")
        name, length = struct.unpack("<4sI", head)
        data = file.read(length)
        if len(data) < length:
            raise EOFError("the file ends inside a chunk")
        yield name, data
        at += 8 + length + length % 2


def _riff(file: IO[bytes], name: bytes, data: bytes) -> None:
    file.write(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))


def _u24(value: int) -> bytes:
    return value.to_bytes(3, "little")


def write_apng(file: IO[bytes], frames: Iterator[Array], plan: Plan) -> None:
    """APNG: the first frame whole, then the box that changed (PNG third edition, 11.3.6)."""
    info, number, before = plan.info, 0, None
    for pixels, seconds in zip(frames, plan.seconds, strict=True):
        if before is None:
            left, top, box = 0, 0, pixels
            file.write(png.SIGNATURE)
            png.write_chunk(file, b"IHDR", png.header(pixels))
            png.write_chunk(file, b"acTL", struct.pack(">II", len(plan.seconds), plan.plays))
            for name, data in png.metadata(info.icc, info.exif, info.xmp, info.dpi, info.chunks):
                png.write_chunk(file, name, data)
        else:
            left, top, box = _changed(before, pixels)
        above, below = _short_fraction(seconds)
        control = struct.pack(
            ">IIIIIHHBB", number, box.shape[1], box.shape[0], left, top, above, below, 0, 0
        )  # leave as it is, replace
        png.write_chunk(file, b"fcTL", control)
        number += 1
        for piece in png.deflated(box):
            if before is None:
                png.write_chunk(file, b"IDAT", piece)
            else:
                png.write_chunk(file, b"fdAT", struct.pack(">I", number) + piece)
                number += 1
        before = pixels.copy()
    png.write_chunk(file, b"IEND", b"")


def _changed(before: Array, after: Array) -> tuple[int, int, Array]:
    """Left, top and samples of the smallest box that holds every change; one pixel where there is none."""
    differs = (before != after).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return 0, 0, after[:1, :1]
    top, left = int(rows[0]), int(columns[0])
    return left, top, after[top : rows[-1] + 1, left : columns[-1] + 1]


def _short_fraction(seconds: Fraction) -> tuple[int, int]:
    """Numerator and denominator of 16 bits each: exact for all that an APNG, WebP or GIF can say."""
    if seconds >= 65_535:
        return 65_535, 1
    limit = 65_535 if seconds <= 1 else int(65_535 / seconds)
    short = seconds.limit_denominator(limit)
    return short.numerator, short.denominator


WRITERS: Final[dict[str, Callable[[IO[bytes], Iterator[Array], Plan], None]]] = {
    "gif": write_gif,
    "webp": write_webp,
    "png": write_apng,
}
