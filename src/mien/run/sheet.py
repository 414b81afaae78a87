"""Contact sheets: small pictures in a grid, with captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.faces import people
from mien.images import cpu, geometry
from mien.media.clip import Clip, FrameIndex
from mien.media.decode import frames
from mien.media.failure import media_error
from mien.run import casting
from mien.types import Array, Float64, Tracks

GAP = 8
LINE = 20
"""Height of a caption's line in pixels."""
HEADING = 40
COLUMNS = 6
GROUND, INK = (24, 24, 24), (235, 235, 235)
SUFFIXES = (".png", ".jpg", ".jpeg")
FACE = 192
"""Side of a face's picture in pixels."""


def grid(pictures: Sequence[Array], captions: Sequence[str], columns: int) -> Image.Image:
    """Pictures of one size side by side, captions beneath.

    Args:
        pictures: (H, W, 3) uint8 each.
        captions: One text a picture; line breaks are kept, lines that are too long end in an ellipsis.
        columns: Pictures in a row.
    """
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    lines = max(caption.count("\n") + bool(caption) for caption in captions)
    below = LINE * lines + 4 if lines else 0
    size = (columns * (width + GAP) + GAP, rows * (height + below + GAP) + GAP)
    sheet = Image.new("RGB", size, GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for k, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = GAP + (k % columns) * (width + GAP)
        y = GAP + (k // columns) * (height + below + GAP)
        sheet.paste(Image.fromarray(picture), (x, y))
        for n, line in enumerate(caption.split("\n")):
            text = _fitting(line, lambda part: draw.textlength(part, font), width - 4)
            draw.text((x + 2, y + height + 2 + n * LINE), text, INK, font)
    return sheet


def _fitting(text: str, length: Callable[[str], float], width: float) -> str:
    """As much of a line as fits."""
    if length(text) <= width:
        return text
    while text and length(text + "…") > width:
        text = text[:-1]
    return text.rstrip(" ,") + "…"


def _below(parts: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures one below another, each with a heading."""
    size = (max(part.width for _, part in parts), sum(part.height + HEADING for _, part in parts))
    whole = Image.new("RGB", size, GROUND)
    draw, font, y = ImageDraw.Draw(whole), ImageFont.load_default(20), 0
    for heading, part in parts:
        draw.text((GAP + 2, y + HEADING - 6), heading, INK, font, anchor="ls")
        whole.paste(part, (0, y + HEADING))
        y += HEADING + part.height
    return whole


def everybody(clip: Clip, index: FrameIndex, tracks: Tracks, path: Path) -> int:
    """Write the cast sheet: every person with time on screen and first appearance, below them every track.

    Args:
        clip: The clip the tracks belong to.
        index: Its frames.
        tracks: From pass one.
        path: A picture to write, PNG or JPEG.

    Returns:
        How many tracks there are; nothing is written where there is none.

    Raises:
        MediaError: It cannot be written.
    """
    views = people.contact(tracks)
    if not views:
        return 0
    looks = {view.track: looked(clip, index, view.frame, view.box) for view in views}
    told = casting.persons(tracks, index, clip)
    cast = [(looks[p.view.track], _person(f"person{p.number}", told)) for p in people.cast(tracks)]
    rows = [
        (looks[v.track], f"track {v.track}, person{v.person}\nframes {v.start} to {v.end - 1}") for v in views
    ]
    columns = min(max(len(cast), len(rows)), COLUMNS)
    parts = [
        (heading, grid([rgb for rgb, _ in cells], [caption for _, caption in cells], columns))
        for heading, cells in (("People", cast), ("Tracks", rows))
    ]
    try:
        _below(parts).save(path)
    except OSError as error:
        raise media_error(path, error, "cannot be written") from error
    return len(views)


def _person(name: str, told: Mapping[str, Mapping[str, Any]]) -> str:
    """The caption of a person."""
    facts = told[name]
    shots = "1 shot" if facts["shots"] == 1 else f"{facts['shots']} shots"
    return (
        f"{name}, {facts['seconds']:.2f} s\nfrom {facts['first']}, {shots}\n{casting.listed(facts['tracks'])}"
    )


def looked(clip: Clip, index: FrameIndex, number: int, box: Float64, side: int = FACE) -> Array:
    """The picture of a face with some of what is around it.

    Args:
        clip: The clip.
        index: Its frames.
        number: The frame to look at.
        box: (4,) the face in display pixels.
        side: Of the picture in pixels.

    Returns:
        (side, side, 3) uint8 R'G'B'; grey where the frame cannot be decoded again.
    """
    around = geometry.square(geometry.expand(box, 1.5))
    scale = side / float(around[2] - around[0])
    onto = geometry.scaling(scale, scale, (-float(around[0]) * scale, -float(around[1]) * scale))
    for frame in frames(clip, index, number, number + 1, writable=False):
        rgb = cpu.crop(frame, onto, (side, side))
        return np.asarray(np.rint(np.clip(rgb, 0.0, 1.0) * 255.0), np.uint8)
    return np.full((side, side, 3), 96, np.uint8)


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
