"""Still pictures out: one writer a format, each with all the metadata the format has a place for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from PIL import Image, PngImagePlugin

from mien.errors import MediaError
from mien.media import exif as exif_block
from mien.media import png, tiff
from mien.media.atomic import atomic
from mien.media.picture import (
    GRAY,
    GRAY16,
    MAX_PIXELS,
    RGB24,
    RGB48,
    RGBA,
    RGBA64,
    SUFFIXES,
    ImageInfo,
    strips,
)
from mien.media.sequence import Format
from mien.settings import Encode
from mien.types import Array, Frame

_SIDES: Final[dict[Format, int]] = {"jpeg": 65_500, "webp": 16_383, "avif": 65_536}


def write_image(
    path: Path, frame: Frame, info: ImageInfo, *, quality: int = Encode().quality, xmp: bytes | None = None
) -> tuple[str, ...]:
    """Write a frame as a picture of the format its name ends in, whole or not at all.

    PNG, TIFF and BMP are lossless. A JPEG that stays a JPEG keeps its subsampling and quantisation tables at
    the default quality, so unchanged blocks come back nearly as they were; a lossless WebP stays lossless.

    Args:
        path: The file; may be the one that was read.
        frame: In a layout of `read_image`.
        info: Of the picture the frame came from.
        quality: 0 to 100; 85 is visually lossless, 100 lossless where the format can (WebP).
        xmp: The XMP packet to write, the input's already merged in; None keeps the input's.

    Returns:
        What could not be kept, one sentence each.

    Raises:
        MediaError: The name's ending is no picture format's, the picture is too large for the format, or the
            file cannot be written.
    """
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise MediaError(
            path,
            f"has no ending of a picture ({path.suffix or 'none'})",
            f"Use one of {', '.join(SUFFIXES)}.",
        )
    if max(frame.width, frame.height) > _SIDES.get(form, MAX_PIXELS):
        raise MediaError(
            path,
            f"cannot hold {frame.width}x{frame.height}: {form.upper()} ends at {_SIDES[form]} pixels a side",
            "Write a PNG or TIFF.",
        )
    pixels, notes = _fit(frame, form)
    info = info if xmp is None else replace(info, xmp=xmp)
    with atomic(path) as file:
        try:
            notes += WRITERS[form](file, pixels, info, quality)
        except (ValueError, KeyError, struct.error) as error:
            raise MediaError(path, f"cannot be encoded: {error}", "Write a PNG.") from error
    return notes


def _fit(frame: Frame, form: Format) -> tuple[Array, tuple[str, ...]]:
    """The frame's samples as the format can hold them, and what that lost."""
    if frame.layout not in (GRAY, GRAY16, RGB24, RGBA, RGB48, RGBA64):
        raise ValueError(f"layout: expected a packed gray or RGB one, got {frame.layout.name}")
    pixels, notes = frame.planes[0], []
    if pixels.dtype == np.uint16 and form not in {"png", "tiff"}:
        pixels = _by_strips(pixels, lambda strip: (strip.astype(np.uint32) + 128) // 257)  # 65535 = 255 * 257
        notes.append(f"{form.upper()} holds 8 bits a sample: the picture's 16 are rounded")
    if frame.layout.alpha and form in {"jpeg", "bmp"}:
        pixels = _by_strips(pixels, _on_white)
        notes.append(f"{form.upper()} has no transparency: the picture is laid on white")
    return pixels, tuple(notes)


def _by_strips(pixels: Array, change: Callable[[Array], Array]) -> Array:
    """8-bit result of a change of samples that would make large arrays in between."""
    height, width = pixels.shape[:2]
    out = np.empty((height, width, *change(pixels[:1, :1]).shape[2:]), np.uint8)
    for top, bottom in strips(height, width):
        out[top:bottom] = change(pixels[top:bottom])
    return out


def _on_white(pixels: Array) -> Array:
    """R'G'B' of straight-alpha R'G'B'A over white, rounded."""
    alpha = pixels[..., 3:].astype(np.uint32)
    return (pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255


def _write_png(file: IO[bytes], pixels: Array, info: ImageInfo, quality: int) -> tuple[str, ...]:
    if pixels.dtype == np.uint16:
        png.write(file, pixels, png.metadata(info.icc, info.exif, info.xmp, info.dpi, info.chunks))
        return ()
    extra = PngImagePlugin.PngInfo()
    for name, data in info.chunks:
        extra.add(name, data)
    if info.xmp:
        extra.add(b"iTXt", png.xmp_text(info.xmp))
    options: dict[str, Any] = {"dpi": info.dpi} if info.dpi else {}
    _to_pillow(pixels).save(
        file, "PNG", icc_profile=info.icc or None, exif=info.exif, pnginfo=extra, **options
    )
    return ()


def _write_jpeg(file: IO[bytes], pixels: Array, info: ImageInfo, quality: int) -> tuple[str, ...]:
    options: dict[str, Any] = {"quality": scaled(quality, 95), "subsampling": 0 if quality >= 85 else 2}
    if quality == Encode().quality and info.tables and info.subsampling >= (0 if pixels.ndim == 3 else -1):
        options = {"qtables": [list(t) for t in info.tables], "subsampling": max(info.subsampling, 0)}
    notes = []
    exif, xmp = info.exif, info.xmp
    if len(exif) > _SEGMENT - 6:
        exif = _small_exif(info.orientation)
        notes.append("its EXIF is too long for a JPEG: only the orientation is kept")
    if len(xmp) > _SEGMENT - 29:
        raise ValueError(f"its XMP packet of {len(xmp)} bytes is longer than a JPEG holds ({_SEGMENT - 29})")
    if info.dpi:
        options["dpi"] = info.dpi
    _to_pillow(pixels).save(
        file,
        "JPEG",
        progressive=info.progressive,
        icc_profile=info.icc or None,
        exif=b"Exif\0\0" + exif if exif else b"",
        xmp=xmp,
        comment=info.comment,
        **options,
    )
    return tuple(notes)


_SEGMENT = 65_533
"""Bytes of data in one JPEG segment."""


def _small_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _write_webp(file: IO[bytes], pixels: Array, info: ImageInfo, quality: int) -> tuple[str, ...]:
    lossless = quality == 100 or (info.lossless and quality == Encode().quality)
    _to_pillow(pixels).save(
        file,
        "WEBP",
        lossless=lossless,
        quality=50 if lossless else scaled(quality, 95),
        exact=lossless,  # colours under full transparency too
        icc_profile=info.icc,
        exif=info.exif,
        xmp=info.xmp,
    )
    return ()


def _write_tiff(file: IO[bytes], pixels: Array, info: ImageInfo, quality: int) -> tuple[str, ...]:
    tags: dict[int, Any] = {}
    if info.exif:
        block = exif_block.load(info.exif)
        for tag in exif_block.KEPT_TAGS & set(block):
            tags[tag] = dict(block.get_ifd(tag)) if tag in {0x8769, 0x8825} else block[tag]
    if info.dpi:
        tags |= {282: info.dpi[0], 283: info.dpi[1], 296: 2}
    if info.icc:
        tags[34675] = info.icc
    if info.xmp:
        tags[700] = info.xmp
    tiff.write(file, pixels, tags, packed=info.packed or info.format != "tiff")
    return ()


def _write_avif(file: IO[bytes], pixels: Array, info: ImageInfo, quality: int) -> tuple[str, ...]:
    _to_pillow(pixels).save(
        file,
        "AVIF",
        quality=scaled(quality, 90),
        subsampling="4:0:0" if pixels.ndim == 2 else "4:4:4",
        icc_profile=info.icc or None,
        exif=b"Exif\0\0" + info.exif if info.exif else None,
        xmp=info.xmp,
    )
    return ()


def _write_bmp(file: IO[bytes], pixels: Array, info: ImageInfo, quality: int) -> tuple[str, ...]:
    _to_pillow(pixels).save(file, "BMP", dpi=info.dpi or (96, 96))
    return ("BMP has no place for metadata: the file does not say that it was edited",)


WRITERS: Final[dict[Format, Callable[[IO[bytes], Array, ImageInfo, int], tuple[str, ...]]]] = {
    "png": _write_png,
    "jpeg": _write_jpeg,
    "webp": _write_webp,
    "tiff": _write_tiff,
    "avif": _write_avif,
    "bmp": _write_bmp,
}


def scaled(quality: int, visually_lossless: int) -> int:
    """Our quality on an encoder's own scale of 0 to 100, where 85 means `visually_lossless`."""
    return round(float(np.interp(quality, (0, 85, 100), (5, visually_lossless, 100))))


def _to_pillow(pixels: Array) -> Image.Image:
    """The reverse of `_from_pillow` for 8-bit arrays."""
    height, width = pixels.shape[:2]
    mode = "L" if pixels.ndim == 2 else {3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    picture = Image.new(mode, (width, height))
    for top, bottom in strips(height, width):
        picture.paste(Image.fromarray(np.ascontiguousarray(pixels[top:bottom])), (0, top))
    return picture
