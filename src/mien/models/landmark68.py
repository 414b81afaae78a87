"""68 landmarks (Multi-PIE order) from an upright crop, or from five points alone.

The order: jaw 0 to 16 from image-left, brows 17 to 26, nose 27 to 35 with its tip 30, image-left eye 36 to
41, image-right eye 42 to 47, outer lips 48 to 59 with the corners 48 and 54, inner lips 60 to 67.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ModelError
from mien.images import cpu, geometry
from mien.models import landmark, pictures
from mien.models.card import Card, Pixels, Tensor
from mien.models.detectors import in_order, mirrored
from mien.types import Array, Faces, Float32, Float64, Frame

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

POINTS = 68
GRID = 64
"""Side of the heat maps in whose cells the large networks say where a point is."""
DARK = (20.0, 40.0)
"""Mean lightness (of 255) at which a crop is equalised fully, and from which not at all. A peer switches at
30, where a face that passes it would jump."""
BATCH = 16
"""Crops made in one go, which bounds the memory."""

FAN = Card(
    name="2dfan4",
    family="2dfan4",
    vendor="breadbread1984",
    commercial=True,
    task="landmark",
    files=(mirrored("2dfan4.onnx", 97_904_803),),
    licence="MIT",
    inputs=(Tensor("input", (3, 256, 256), "face upright, its box 195 pixels high"),),
    outputs=(
        Tensor("", (POINTS, 3), "x, y in cells of a 64 x 64 grid, height of the peak"),
        Tensor("", (POINTS, GRID, GRID), "heat maps"),
    ),
    pixels=Pixels(256),
    notes="Four stacked hourglasses, learnt on R'G'B'; half precision moves its points.",
)

PEPPA = Card(
    name="peppa_wutz",
    family="peppa_wutz",
    vendor="",
    commercial=True,
    task="landmark",
    files=(mirrored("peppa_wutz.onnx"),),
    licence="Apache-2.0",
    inputs=(Tensor("input", (3, 256, 256), "face upright, its box 195 pixels high"),),
    outputs=(Tensor("", (POINTS, 3), "x, y in cells of a 64 x 64 grid, certainty"),),
    pixels=Pixels(256),
    notes="Quicker than 2dfan4.",
)

FIVE = Card(
    name="fan_68_5",
    family="fan_68_5",
    vendor="FaceFusion",
    commercial=None,
    task="landmark",
    files=(mirrored("fan_68_5.onnx", 944_321),),
    licence="OpenRAIL-M",
    inputs=(Tensor("input", (5, 2), "the five points, aligned to the template at side 1"),),
    outputs=(Tensor("", (POINTS, 2), "in the same square"),),
    template="ffhq_512",
    notes="No picture: a mean face that fits five points.",
)

CARDS: tuple[Card, ...] = (PEPPA, FAN, FIVE)
"""Every card of this module."""


@dataclass(frozen=True, slots=True)
class Family:
    """How landmarkers of one kind look and are read."""

    margin: float
    """Side of the crop over the longer side of the face's box."""
    read: Callable[[Sequence[Array], int], tuple[Float64, Float64]]
    """Outputs, number of pictures -> (N, 68, 2) shares of the crop's side, (N,) score 0 to 1."""


def _fan(outputs: Sequence[Array], count: int) -> tuple[Float64, Float64]:
    """Points in cells; the score is the mean height of the heat maps' peaks, 0.9 and above being sure."""
    points = np.asarray(outputs[0], np.float64).reshape(count, POINTS, -1)[..., :2] / GRID
    peaks = np.asarray(outputs[1], np.float64).reshape(count, POINTS, -1).max(axis=2)
    return points, np.clip(peaks.mean(axis=1) / 0.9, 0.0, 1.0)


def _peppa(outputs: Sequence[Array], count: int) -> tuple[Float64, Float64]:
    """Points in cells and their certainty, whose mean is sure at 0.95 and above."""
    rows = np.asarray(outputs[0], np.float64).reshape(count, POINTS, 3)
    return rows[..., :2] / GRID, np.clip(rows[..., 2].mean(axis=1) / 0.95, 0.0, 1.0)


def _faceapi(outputs: Sequence[Array], count: int) -> tuple[Float64, Float64]:
    """Points as shares of the crop; there is no verdict, so the score is 1."""
    return np.asarray(outputs[0], np.float64).reshape(count, POINTS, 2), np.ones(count)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "2dfan4": Family(256 / 195, _fan),
        "peppa_wutz": Family(256 / 195, _peppa),
        "faceapi": Family(1.0, _faceapi),
    }
)
"""Kinds of landmarkers that look at a crop; `fan_68_5` looks at none."""


def family(card: Card) -> Family:
    """How a landmarker is used.

    Raises:
        ModelError: The card is of no family that gives 68 points from a crop.
    """
    if card.task != "landmark" or card.family not in FAMILIES:
        raise ModelError(
            card.name,
            f"does not find 68 points in a crop (its family is {card.family or 'none'})",
            f"Families that do are {', '.join(FAMILIES)}.",
        )
    return FAMILIES[card.family]


def landmarks(
    runtime: Runtime, card: Card, frame: Frame, points: Float64, boxes: Float64
) -> tuple[Float64, Float64]:
    """Find 68 points of several faces of one frame.

    The crop is turned by the angle of the eyes, so that any roll is upright; a peer turns by quarters, which
    leaves up to 45 degrees and jumps between them.

    Args:
        runtime: Where the network runs.
        card: Of the landmarker.
        frame: The picture.
        points: (F, 5, 2) display pixels; the eyes say what is upright.
        boxes: (F, 4) display pixels, brows or hairline to chin; they say where and how large the face is.

    Returns:
        (F, 68, 2) display pixels and (F,) score, 0 to 1.

    Raises:
        ModelError: The card finds no 68 points, or its file cannot be had or loaded.
    """
    kind, pixels = family(card), pictures.looked_at(card)
    rois = regions(points, boxes, pixels.side, kind.margin)
    found, sure = np.zeros((len(rois), POINTS, 2)), np.zeros(len(rois))
    session = runtime.session(card) if len(rois) else None
    for start in range(0, len(rois), BATCH):
        some = slice(start, start + BATCH)
        if session is None:
            break
        crops = np.stack([_crop(frame, roi, pixels.side) for roi in rois[some]])
        outputs = in_order(card, session.run(pictures.to_tensor(crops, pixels)))
        share, sure[some] = kind.read(outputs, len(crops))
        back = np.linalg.inv(rois[some, :, :2])
        inside = share * pixels.side - rois[some, None, :, 2]
        found[some] = np.einsum("fij,fnj->fni", back, inside)
    return found, sure


def behind(runtime: Runtime, card: Card, frame: Frame, dense: Float64) -> Float64:
    """What a track keeps behind the dense landmarks of its faces.

    Args:
        runtime: Where the network runs.
        card: Of the landmarker.
        frame: The picture.
        dense: (F, 468, 3) display pixels: say where the faces are.

    Returns:
        (F, 68, 3) display pixels, z 0.

    Raises:
        ModelError: As `landmarks`.
    """
    found, _ = landmarks(runtime, card, frame, landmark.five(dense), landmark.boxes(dense))
    return np.concatenate([found, np.zeros_like(found[..., :1])], axis=2)


def refined(runtime: Runtime, card: Card, frame: Frame, faces: Faces) -> Faces:
    """Faces whose five points are those of this landmarker.

    Args:
        runtime: Where the network runs.
        card: Of the landmarker.
        frame: The picture that the faces are in.
        faces: Of this frame.

    Raises:
        ModelError: As `landmarks`.
    """
    if not len(faces):
        return faces
    found, _ = landmarks(runtime, card, frame, faces.points, faces.box)
    return replace(faces, points=five(found))


def regions(points: Float64, boxes: Float64, side: int, margin: float) -> Float64:
    """Affines that cut upright squares around faces.

    Args:
        points: (F, 5, 2) display pixels.
        boxes: (F, 4) display pixels.
        side: Of the crop in pixels.
        margin: Side of the crop over the longer side of the box.

    Returns:
        (F, 2, 3) display pixels to crop pixels: the box's centre is the crop's, the eyes are level.
    """
    line = points[:, 1] - points[:, 0]
    angle = np.arctan2(line[:, 1], line[:, 0])
    extent = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1), 1.0) * margin
    return landmark.roi((boxes[:, :2] + boxes[:, 2:]) / 2, extent, angle) * (side / landmark.SIDE)


def _crop(frame: Frame, roi: Float64, side: int) -> Float32:
    """A crop for a landmarker, made lighter where it is dark."""
    codes = cpu.glance(frame, roi, (side, side))
    rgb = codes.astype(np.float32) / np.float32(255)
    # Lightness of display R'G'B' is near luma; only the threshold depends on it.
    light = float(cpu.luma(rgb).mean()) * 255.0
    share = np.float32(np.clip((DARK[1] - light) / (DARK[1] - DARK[0]), 0.0, 1.0))
    if share > 0:
        lighter = cpu.equalised(codes).astype(np.float32) / np.float32(255)
        rgb += share * (lighter - rgb)
    return rgb


def from_five(runtime: Runtime, card: Card, points: Float64) -> Float64:
    """68 points that fit five.

    Args:
        runtime: Where the network runs.
        card: Of the family `fan_68_5`.
        points: (F, 5, 2) display pixels.

    Returns:
        (F, 68, 2) display pixels.

    Raises:
        ModelError: The card is of another family, or its file cannot be had or loaded.
    """
    if card.family != "fan_68_5":
        raise ModelError(card.name, "does not make 68 points of five", f"Use {FIVE.name}.")
    if not len(points):
        return np.zeros((0, POINTS, 2))
    matrices = [pictures.aligned(face, card.template or FIVE.template, 1) for face in points]
    inside = np.stack([geometry.apply(m, face) for m, face in zip(matrices, points, strict=True)])
    outputs = in_order(card, runtime.session(card).run(inside.astype(np.float32)))
    found = np.asarray(outputs[0], np.float64).reshape(len(points), POINTS, 2)
    return np.stack([geometry.apply(geometry.invert(m), f) for m, f in zip(matrices, found, strict=True)])


def five(points68: Float64) -> Float64:
    """The five points of 68.

    Args:
        points68: (F, 68, 2 or 3).

    Returns:
        (F, 5, 2) image-left eye, image-right eye, nose tip, image-left and image-right mouth corner.
    """
    flat = points68[..., :2]
    eyes = (flat[:, 36:42].mean(axis=1), flat[:, 42:48].mean(axis=1))
    return np.stack([*eyes, flat[:, 30], flat[:, 48], flat[:, 54]], axis=1)
