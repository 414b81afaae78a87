"""The facts of a still picture file besides its pixels, the layouts of its frames, and what can be wrong."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mien.errors import MediaError
from mien.media.sequence import Format
from mien.types import Layout

MAX_PIXELS: Final = 1 << 28
"""Largest picture that is opened: 268 megapixels, above the largest phone sensors (200) and far below what a
decompression bomb claims. Pillow itself stops TIFF and WebP at 179 megapixels."""

GRAY: Final = Layout("gray", "gray", 8, ((0,),))
GRAY16: Final = Layout("gray16le", "gray", 16, ((0,),))
RGB24: Final = Layout("rgb24", "rgb", 8, ((0, 1, 2),))
RGBA: Final = Layout("rgba", "rgb", 8, ((0, 1, 2, 3),))
RGB48: Final = Layout("rgb48le", "rgb", 16, ((0, 1, 2),))
RGBA64: Final = Layout("rgba64le", "rgb", 16, ((0, 1, 2, 3),))

SUFFIXES: Final[dict[str, Format]] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".avif": "avif",
    ".bmp": "bmp",
}
"""File name endings that can be written."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a picture file says besides its pixels: enough to write the next one like it."""

    format: Format
    icc: bytes = b""
    exif: bytes = b""
    """EXIF block without prefix and thumbnail; holds the orientation."""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    orientation: int = 1
    """EXIF orientation, 1 to 8."""
    comment: bytes = b""
    """JPEG comment."""
    tables: tuple[tuple[int, ...], ...] = ()
    """JPEG quantisation tables, in natural order."""
    subsampling: int = -1
    """JPEG chroma subsampling as Pillow numbers it: 0 4:4:4, 1 4:2:2, 2 4:2:0; -1 another or none."""
    progressive: bool = False
    lossless: bool = False
    """Whether a WebP keeps its pixels exactly."""
    packed: bool = True
    """Whether a TIFF is compressed."""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    """PNG chunks carried over: colour tags and texts."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What could not be kept as it was, one sentence each: to be told to the user."""


def strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows [top, bottom) of strips of about 4 megapixels: copies in passing are never of the whole."""
    rows = max(1, (1 << 22) // width)
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def no_picture(path: Path, form: Format | None) -> MediaError:
    """The error for a file that is none of the formats of `read_image`."""
    if form == "gif":
        return MediaError(path, "is an animation", "Read it as one.")
    if path.stat().st_size == 0:
        return MediaError(path, "is empty", "Copy or download it again.")
    return MediaError(
        path, "is no picture, whatever its name says", "PNG, JPEG, WebP, TIFF, AVIF, BMP and GIF are read."
    )


def too_large(path: Path) -> MediaError:
    """The error for a picture of more than `MAX_PIXELS`."""
    return MediaError(
        path, f"has more pixels than the {MAX_PIXELS // 1_000_000} million allowed", "Make it smaller first."
    )


def damaged(path: Path, form: Format, error: Exception) -> MediaError:
    """Cut off, where the file's own end is missing; else damaged."""
    text = str(error)
    if isinstance(error, EOFError) or "truncated" in text.lower() or _is_cut(path, form):
        return MediaError(path, f"is cut off ({text})", "Copy or download it again.")
    return MediaError(path, f"is damaged ({text})", "Copy or download it again.")


def _is_cut(path: Path, form: Format) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(max(0, size - 12))
        tail = file.read()
    if form == "png":
        return b"IEND" not in tail
    if form == "jpeg":
        return b"\xff\xd9" not in tail
    if form == "webp":
        return size < 8 + int(struct.unpack("<I", head[4:8])[0]) if len(head) >= 8 else True
    return False
