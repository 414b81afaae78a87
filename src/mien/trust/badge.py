"""What is drawn on a live picture: that it was edited by a machine, and how the run is doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.images import cpu
from mien.types import Float32, Float64, Frame

TEXT = "AI-edited"
"""The label."""
_SHARE = 1 / 28
"""Height of a line of text over that of the picture."""
_SMALLEST = 14
"""Least height of a line in pixels."""
_BACK = 0.6
"""How much the plate behind the text covers, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Badge:
    """Text on a dark plate, ready to be pasted into frames of one size."""

    rgb: Float32
    """(h, w, 3) R'G'B'."""
    mask: Float32
    """(h, w) 0 to 1."""
    matrix: Float64
    """(2, 3) display pixels to pixels of `rgb`."""

    def paste(self, frame: Frame) -> None:
        """Draw it on a frame of NumPy planes, in place."""
        cpu.paste(frame, self.rgb, self.mask, self.matrix)


def badge(
    text: str, size: tuple[int, int], corner: Literal["top left", "bottom left", "bottom right"]
) -> Badge:
    """Text on a plate in a corner of the picture.

    Args:
        text: One or more lines.
        size: Display width and height of the frames it is for.
        corner: Where it goes; at the top it leaves room for the frame clock.
    """
    line = max(_SMALLEST, round(size[1] * _SHARE))
    font = ImageFont.load_default(line * 0.8)
    pad = line // 3
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font)
    width, height = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
    width, height = min(width + width % 2, size[0]), min(height + height % 2, size[1])
    plate = Image.new("L", (width, height))
    ImageDraw.Draw(plate).multiline_text((pad - left, pad - top), text, 255, font)
    letters = np.asarray(plate, np.float32) / np.float32(255.0)
    margin = line // 2 * 2
    x = size[0] - width - margin if corner.endswith("right") else margin
    y = margin + size[0] // 64 if corner.startswith("top") else size[1] - height - margin
    x, y = max(x // 2 * 2, 0), max(y // 2 * 2, 0)  # on whole samples of chroma
    rgb = np.repeat(letters[..., None], 3, axis=2)
    mask = np.maximum(letters, np.float32(_BACK))
    return Badge(rgb, mask, np.array([[1.0, 0.0, -x], [0.0, 1.0, -y]]))
