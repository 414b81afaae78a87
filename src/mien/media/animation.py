"""Animated pictures (GIF, WebP, APNG) as frames with exact times, in and out, a frame at a time.

Pillow decodes and composes the frames (disposal, blending, partial frames) and compresses single pictures;
durations, loop counts and metadata are read from and written to the containers here, because Pillow rounds
APNG's fractions of a second to floats, merges equal frames into one, and holds a whole animation in memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from PIL import GifImagePlugin, Image, PngImagePlugin, WebPImagePlugin

from mien.errors import MediaError
from mien.media import animation_write, png
from mien.media import exif as exif_block
from mien.media.atomic import atomic
from mien.media.picture import MAX_PIXELS, RGB24, RGBA, ImageInfo, damaged, too_large
from mien.media.sequence import format_of, kind
from mien.settings import Encode
from mien.types import Array, Colour, Frame

SUFFIXES: Final = {".gif": "gif", ".webp": "webp", ".png": "png", ".apng": "png"}
"""File name endings that can be written."""

_READERS: Final[dict[str, Any]] = {
    "gif": GifImagePlugin.GifImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "png": PngImagePlugin.PngImageFile,
}


@dataclass(frozen=True, slots=True)
class Animation:
    """What an animated picture says besides its pixels."""

    path: Path
    info: ImageInfo
    size: tuple[int, int]
    """Stored width and height in pixels."""
    durations: tuple[int, ...]
    """How long each frame is shown, in units of `time_base`."""
    time_base: Fraction
    """Seconds: 1/1000, or finer where an APNG needs it."""
    plays: int
    """How often it is played; 0 for ever."""
    alpha: bool
    """Whether its frames have transparency: layout rgba, else rgb24."""
    skip: int = field(default=0, repr=False)
    """Pictures before the first frame: an APNG's still for viewers that know no animation."""

    @property
    def times(self) -> tuple[int, ...]:
        """When each frame appears, in units of `time_base`; the first at 0."""
        return tuple(accumulate(self.durations[:-1], initial=0))


def read_animation(path: Path) -> Animation:
    """The facts of an animation, from its container, without decoding.

    Raises:
        MediaError: No animation, cut off, damaged or too large.
    """
    form = format_of(path)
    if form not in _READERS or kind(path) != "animation":
        raise MediaError(path, "is no animation that can be read", "GIF, WebP and APNG are.")
    try:
        with path.open("rb") as file:
            found = {"gif": _gif, "webp": _webp, "png": _apng}[form](path, file)
    except (OSError, ValueError, EOFError, IndexError, KeyError, struct.error) as error:
        raise damaged(path, form, error) from error
    if found.size[0] * found.size[1] > MAX_PIXELS:
        raise too_large(path)
    if not found.durations:
        raise MediaError(path, "has no frame", "Copy or download it again.")
    return found


def frames(animation: Animation) -> Iterator[Frame]:
    """Every frame, composed as a viewer sees it, in order, with its time in `animation.time_base`.

    Raises:
        MediaError: A frame is cut off or damaged; says after how many.
    """
    width, height = animation.size
    display = exif_block.display(animation.info.orientation, width, height)
    layout = RGBA if animation.alpha else RGB24
    done = 0
    try:
        with animation.path.open("rb") as file, _READERS[animation.info.format](file) as image:
            for index, pts in enumerate(animation.times):
                image.seek(index + animation.skip)
                pixels = np.array(image.convert("RGBA" if animation.alpha else "RGB"))
                yield Frame((pixels,), layout, Colour("rgb", True), pts, index, display)
                done += 1
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise MediaError(
            animation.path,
            f"is cut off or damaged after {done} of {len(animation.durations)} frames ({error})",
            "Copy or download it again.",
        ) from error


def write_animation(
    path: Path,
    pictures: Iterable[Frame],
    animation: Animation,
    *,
    quality: int = Encode().quality,
    xmp: bytes | None = None,
) -> tuple[str, ...]:
    """Write frames as an animation with the same durations and loops, whole or not at all.

    APNG is lossless; WebP is where the input was or quality is 100; a GIF's frame keeps its exact colours
    where they are 256 or fewer, and gets its own best palette else. GIF counts time in 1/100 s and WebP in
    1/1000 s: what does not fit is rounded without adding up.

    Args:
        path: The file; may be the one that is being read.
        pictures: As many frames as `animation` has durations, in layout rgb24 or rgba.
        animation: Of the input.
        quality: 0 to 100; 85 is visually lossless.
        xmp: The XMP packet to write, the input's already merged in; None keeps the input's.

    Returns:
        What could not be kept, one sentence each.

    Raises:
        MediaError: The name's ending is none of an animation, or the file cannot be written.
    """
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise MediaError(
            path, f"has no ending of an animation ({path.suffix or 'none'})", f"Use {', '.join(SUFFIXES)}."
        )
    info = animation.info if xmp is None else replace(animation.info, xmp=xmp)
    unit = {"gif": Fraction(1, 100), "webp": Fraction(1, 1000)}.get(form)
    seconds = [d * animation.time_base for d in animation.durations]
    shown = seconds if unit is None else [n * unit for n in _ticks(seconds, unit)]
    plan = animation_write.Plan(info, animation.size, tuple(shown), animation.plays, animation.alpha, quality)
    with atomic(path) as file:
        try:
            animation_write.WRITERS[form](file, _pixels(pictures, len(seconds)), plan)
        except struct.error as error:
            raise MediaError(path, f"cannot be encoded: {error}", "Write another format.") from error
    if shown == seconds:
        return animation.info.notes
    return (
        *animation.info.notes,
        f"{form.upper()} counts time in steps of {unit} s: the frames' times are rounded",
    )


def _pixels(pictures: Iterable[Frame], count: int) -> Iterator[Array]:
    """The frames' arrays, exactly `count` of them."""
    done = 0
    for picture in pictures:
        done += 1
        if done <= count:
            yield picture.planes[0]
    if done != count:
        raise ValueError(f"pictures: expected {count}, got {done}")


def _ticks(seconds: list[Fraction], unit: Fraction) -> list[int]:
    """Durations in whole units; the ends are rounded, not the durations, so that errors do not add up."""
    ends = [round(t / unit) for t in accumulate(seconds, initial=Fraction(0))]
    return [b - a for a, b in pairwise(ends)]


def _gif(path: Path, file: IO[bytes]) -> Animation:
    """GIF89a, sections 18 to 26; the loop count is Netscape's application extension."""
    file.seek(6)
    width, height, flags = struct.unpack("<HHB2x", file.read(7))
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, 1)
    info = ImageInfo("gif")
    durations: list[int] = []
    delay, plays = 0, 1
    while (mark := file.read(1)) not in {b";", b""}:
        if mark == b"!":
            label = file.read(1)[0]
            blocks = _blocks(file)
            if label == 0xF9:
                delay = struct.unpack_from("<H", blocks[0], 1)[0] * 10
            elif label == 0xFE:
                info = replace(info, comment=b"".join(blocks))
            elif label == 0xFF and blocks[0] in {b"NETSCAPE2.0", b"ANIMEXTS1.0"} and blocks[1][:1] == b"\1":
                count = struct.unpack_from("<H", blocks[1], 1)[0]
                plays = count + 1 if count else 0
            elif label == 0xFF and blocks[0] == b"ICCRGBG1012":
                info = replace(info, icc=b"".join(blocks[1:]))
            elif label == 0xFF and blocks[0] == b"XMP DataXMP":
                # The packet lies there unblocked; its bytes only happen to be read as lengths.
                packet = b"".join(bytes((len(b),)) + b for b in blocks[1:])
                info = replace(info, xmp=packet[: packet.rfind(b"\x01\xff\xfe")])
        elif mark == b",":
            local = file.read(9)[8]
            if local & 0x80:
                file.seek(3 << (local & 7) + 1, 1)
            file.seek(1, 1)
            _blocks(file)
            durations.append(delay)
            delay = 0
        else:
            raise ValueError(f"no GIF block begins with {mark!r}")
    if mark == b"":
        raise EOFError("the file ends before its last block")
    return Animation(path, info, (width, height), tuple(durations), Fraction(1, 1000), plays, alpha=True)


def _blocks(file: IO[bytes]) -> list[bytes]:
    """Data sub-blocks up to the empty one."""
    found: list[bytes] = []
    while True:
        head = file.read(1)
        block = file.read(head[0]) if head else b""
        if not head or len(block) < head[0]:
            raise EOFError("the file ends inside a block")
        if not block:
            return found
        found.append(block)


def _webp(path: Path, file: IO[bytes]) -> Animation:
    """RFC 9649, section 2.7."""
    info = ImageInfo("webp")
    size, plays, alpha, lossless = (0, 0), 1, False, True
    durations: list[int] = []
    for name, data in animation_write.riff_chunks(file):
        if name == b"VP8X":
            alpha = bool(data[0] & 0x10)
            size = (_u24(data, 4) + 1, _u24(data, 7) + 1)
        elif name == b"ANIM":
            plays = struct.unpack_from("<H", data, 4)[0]
        elif name == b"ANMF":
            durations.append(_u24(data, 12))
            lossless &= data[16:20] == b"VP8L"
        elif name == b"ICCP":
            info = replace(info, icc=data)
        elif name == b"EXIF":
            block = exif_block.clean(data)
            info = replace(info, exif=block, orientation=exif_block.orientation(block))
        elif name == b"XMP ":
            info = replace(info, xmp=data)
    info = replace(info, lossless=lossless)
    return Animation(path, info, size, tuple(durations), Fraction(1, 1000), plays, alpha)


def _u24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _apng(path: Path, file: IO[bytes]) -> Animation:
    """PNG third edition, 11.3.6."""
    size, alpha, plays, skip, depth = (0, 0), False, 0, 0, 8
    seconds: list[Fraction] = []
    for name, data in png.chunks(file):
        if name == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", data)
            size, alpha = (width, height), colour in {4, 6}
        elif name == b"tRNS":
            alpha = True
        elif name == b"acTL":
            plays = struct.unpack_from(">I", data, 4)[0]
        elif name == b"IDAT" and not seconds:
            skip = 1
        elif name == b"fcTL":
            above, below, disposal = struct.unpack_from(">HHB", data, 20)
            seconds.append(Fraction(above, below or 100))
            alpha |= disposal == 1  # clears to transparent
    base = math.lcm(1000, *(s.denominator for s in seconds))
    with PngImagePlugin.PngImageFile(file := _rewound(file)) as image:
        info = _png_info(image, file, depth, skip)
    durations = tuple(int(s * base) for s in seconds)
    return Animation(path, info, size, durations, Fraction(1, base), plays, alpha, skip)


def _rewound(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file


def _png_info(image: Image.Image, file: IO[bytes], depth: int, skip: int) -> ImageInfo:
    facts = image.info
    block = exif_block.clean(facts.get("exif") or b"")
    xmp = facts.get("xmp", b"")
    notes = ["its 16 bits a sample are read as 8"] * (depth == 16)
    notes += ["its still picture for viewers without animation is not kept"] * skip
    return ImageInfo(
        "png",
        icc=facts.get("icc_profile") or b"",
        exif=block,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        orientation=exif_block.orientation(block),
        chunks=png.carried(file),
        notes=tuple(notes),
    )
