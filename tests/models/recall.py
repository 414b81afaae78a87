"""Found faces against the hand-counted table `truth.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mien.images import geometry
from mien.types import Colour, Faces, Float64, Frame, Layout

RGB24 = Layout("rgb24", "rgb", 8, ((0, 1, 2),))
TRUTH = Path(__file__).with_name("truth.json")
HIT = 0.4
"""Least overlap (intersection over union) of a found box with the counted one."""


@dataclass(frozen=True)
class Score:
    """How a picture came out."""

    picture: str
    faces: int
    found: int
    false: int
    sizes: tuple[float, ...]
    """Heights of the counted faces."""


def truth() -> dict[str, Float64]:
    """Picture to (F, 4) boxes from the brows' upper edge or hairline to the chin, in display pixels.

    Counted by eye: every face turned to the camera by a quarter turn or less; the boxes were drafted by a
    detector that is not part of this project and corrected (two hands in the crowd were taken out).
    """
    table = json.loads(TRUTH.read_text())
    return {name: np.array(boxes, float).reshape(-1, 4) for name, boxes in table.items()}


def load(path: Path) -> Frame:
    """A picture as an upright RGB frame."""
    with Image.open(path) as image:
        rgb = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    return still(rgb)


def still(rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Frame:
    """uint8 (H, W, 3) as a frame."""
    upright = np.array([[1.0, 0, 0], [0, 1, 0]])
    return Frame((np.ascontiguousarray(rgb),), RGB24, Colour("rgb", True), 0, 0, upright)


def compare(picture: str, boxes: Float64, faces: Faces) -> Score:
    """Match greedily by overlap; every face and every box is used once."""
    overlap = geometry.iou(boxes, faces.box)
    found = 0
    while overlap.size and overlap.max() >= HIT:
        row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
        overlap[row, :] = 0
        overlap[:, column] = 0
        found += 1
    return Score(picture, len(boxes), found, len(faces) - found, tuple(boxes[:, 3] - boxes[:, 1]))
