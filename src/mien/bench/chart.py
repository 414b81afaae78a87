"""A bench report as a picture: a bar for every stage and every network, with Pillow alone."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mien.bench.report import MARK, SAID, Report
from mien.errors import MediaError

WIDTH = 1200
LINE, BAR, EDGE = 34, 22, 28
"""Height of a line and of the bar in it, and space around everything, in pixels."""
TITLE, TEXT = 26, 17
"""Heights of letters in pixels."""
INK, SOFT, PAPER = (28, 32, 38), (112, 118, 128), (255, 255, 255)
STAGE, NETWORK = (52, 101, 164), (196, 98, 16)
"""Colours of the bars of stages and of networks; not told apart by hue alone."""

Bar = tuple[str, float, str, tuple[int, int, int]]
"""Label, milliseconds, what stands behind the bar, colour."""


def bars(report: Report) -> list[Bar]:
    """Every bar, from the top."""
    found: list[Bar] = []
    for row in report.rows:
        note = _note(report, MARK in row.engine)
        engine = row.engine.replace(f" ({MARK})", "")
        how = " ".join(word for word in (engine, row.precision) if word.strip("-"))
        value = f"{row.ms_per_frame:.1f} ms, {row.percent:.0f} %"
        found.append((row.name + note, row.ms_per_frame, f"{value}  {how}".rstrip(), STAGE))
    for net in report.networks:
        note = _note(report, MARK in net.engine)
        value = f"{net.ms_per_frame:.1f} ms, {net.ms_per_call:.1f} a call of {net.batch:g}"
        found.append((net.card + note, net.ms_per_frame, value, NETWORK))
    return found


def _note(report: Report, itself: bool) -> str:
    """What a line says of stand-ins: that it is of one, or of a run with some."""
    if not report.standins:
        return ""
    return f" ({MARK})" if itself else f" ({MARK} run)"


def size(report: Report) -> tuple[int, int]:
    """Width and height in pixels of a report's picture."""
    gap = LINE if report.networks else 0
    return WIDTH, 2 * EDGE + _head_height(report) + LINE * len(bars(report)) + gap


def draw(report: Report, path: Path) -> None:
    """Write the picture as PNG or JPEG.

    Raises:
        MediaError: It cannot be written.
    """
    picture = Image.new("RGB", size(report), PAPER)
    pen = ImageDraw.Draw(picture)
    y = EDGE
    for text, height, colour in _head(report):
        pen.text((EDGE, y), text, colour, _font(height), anchor="lt")
        y += round(1.6 * height)
    y = EDGE + _head_height(report)
    _bars(pen, report, y)
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise MediaError(
            path, f"cannot be written ({error})", "Name it .png, in a folder that exists."
        ) from error


def _head(report: Report) -> list[tuple[str, int, tuple[int, int, int]]]:
    """Lines above the bars: text, height of letters, colour."""
    clip = report.clip
    note = _note(report, itself=False)
    about = f"{clip.name}, {clip.width}x{clip.height}, {report.frames} frames, {report.threads} threads{note}"
    speed = f"{report.fps:.2f} fps, peak {report.peak_mb:.0f} MB, CPU {report.cpu_percent:.0f} %{note}"
    lines = [
        (f"mien bench: milliseconds a frame{note}", TITLE, INK),
        (about, TEXT, SOFT),
        (speed, TEXT, SOFT),
    ]
    return [*lines, (SAID, TEXT, NETWORK)] if report.standins else lines


def _head_height(report: Report) -> int:
    return sum(round(1.6 * height) for _, height, _ in _head(report)) + LINE // 2


def _bars(pen: ImageDraw.ImageDraw, report: Report, y: int) -> None:
    """The bars with their labels: numbers inside where they fit, else behind."""
    font = _font(TEXT)
    found = bars(report)
    left = EDGE + round(max((font.getlength(label) for label, *_ in found), default=0)) + 14
    room = WIDTH - EDGE - left
    most = max((ms for _, ms, *_ in found), default=0.0) or 1.0
    before = STAGE
    for label, ms, words, colour in found:
        if colour != before:
            y, before = y + LINE, colour
        middle = y + LINE // 2
        end = left + max(round(room * ms / most), 1)
        pen.text((left - 12, middle), label, INK, font, anchor="rm")
        pen.rectangle((left, middle - BAR // 2, end, middle + BAR // 2), fill=colour)
        if end + 8 + font.getlength(words) <= WIDTH - EDGE:
            pen.text((end + 8, middle), words, INK, font, anchor="lm")
        else:
            pen.text((end - 8, middle), words, PAPER, font, anchor="rm")
        y += LINE


def _font(height: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font."""
    return ImageFont.load_default(height)
