"""Contact sheets: small pictures in a grid, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.faces import people
from mien.images import cpu, geometry
from mien.media.clip import Clip, FrameIndex
from mien.media.decode import frames
from mien.media.failure import media_error
from mien.types import Array, Tracks

GAP = 8
CAPTION = 44
SUFFIXES = (".png", ".jpg", ".jpeg")
FACE = 192
"""Side of a face's picture in pixels."""


def grid(pictures: Sequence[Array], captions: Sequence[str], columns: int) -> Image.Image:
    """Pictures of one size side by side, captions beneath.

    Args:
        pictures: (H, W, 3) uint8 each.
        captions: One text a picture; line breaks are kept.
        columns: Pictures in a row.
    """
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    below = CAPTION if any(captions) else 0
    size = (columns * (width + GAP) + GAP, rows * (height + below + GAP) + GAP)
    sheet = Image.new("RGB", size, (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for k, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = GAP + (k % columns) * (width + GAP)
        y = GAP + (k // columns) * (height + below + GAP)
        sheet.paste(Image.fromarray(picture), (x, y))
        draw.multiline_text((x + 2, y + height + 2), caption, (235, 235, 235), font)
    return sheet


def everybody(clip: Clip, index: FrameIndex, tracks: Tracks, path: Path) -> int:
    """Write a sheet with the best view of every track; returns how many there are.

    Args:
        clip: The clip the tracks belong to.
        index: Its frames.
        tracks: From pass one.
        path: A picture to write, PNG or JPEG.

    Raises:
        MediaError: It cannot be written.
    """
    pictures: list[Array] = []
    captions: list[str] = []
    for view in people.contact(tracks):
        box = geometry.square(geometry.expand(view.box, 1.5))
        scale = FACE / float(box[2] - box[0])
        onto = geometry.scaling(scale, scale, (-float(box[0]) * scale, -float(box[1]) * scale))
        for frame in frames(clip, index, view.frame, view.frame + 1, writable=False):
            rgb = cpu.crop(frame, onto, (FACE, FACE))
            pictures.append(np.rint(np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8))
            captions.append(
                f"track {view.track}, person {view.person}\nframes {view.start} to {view.end - 1}"
            )
    if pictures:
        try:
            grid(pictures, captions, min(len(pictures), 6)).save(path)
        except OSError as error:
            raise media_error(path, error, "cannot be written") from error
    return len(pictures)


def before_after(before: Path, after: Path, path: Path, moments: int = 4, width: int = 480) -> None:
    """Write a sheet with frames of two videos, the first above the second.

    Args:
        before: A video.
        after: Another with the same frames.
        path: A picture to write, PNG or JPEG.
        moments: How many frames, evenly spread.
        width: Of each picture in pixels.
    """
    from mien.media import clip as clips

    rows: list[Array] = []
    for video in (before, after):
        clip = clips.probe(video)
        index = clips.index(clip)
        height = round(clip.size[1] * width / clip.size[0])
        for number in np.linspace(0, len(index) - 1, moments + 2).round().astype(int)[1:-1]:
            for frame in frames(clip, index, int(number), int(number) + 1, writable=False):
                rows.append(cpu.thumbnail(frame, (width, height)))
    grid(rows, [""] * len(rows), moments).save(path, quality=88)
