"""Detectors that look at a square picture once: their cards, and what their outputs mean.

A detector is data and one function: its card says how a picture becomes its input (`Card.pixels`), how small
a face it still finds (`Card.least`) and its family, the family how its outputs are read. All coordinates are
corner-origin pixels of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from mien.models.card import Card, File, Pixels, Tensor
from mien.models.mediapipe import BLAZEFACE_FULL, BLAZEFACE_SHORT
from mien.types import Array, Float64

_MIRRORS = (
    "https://github.com/facefusion/facefusion-assets/releases/download/models-3.0.0/",
    "https://huggingface.co/facefusion/models-3.0.0/resolve/main/",
)
_ZOO = "models/face_detection_yunet/face_detection_yunet_2023mar.onnx"


def mirrored(name: str, size: int = 0) -> File:
    """A file that both mirrors have, whose checksum nobody publishes; size in bytes, 0 where not certain."""
    return File(name, bytes=size, sources=tuple(mirror + name for mirror in _MIRRORS))


SIDE = 640
"""Of the input of every card here."""
STRIDES = (8, 16, 32)
"""Pixels a cell, level by level."""
CELLS = tuple((SIDE // stride) ** 2 for stride in STRIDES)
_FROM_ZERO = Pixels(SIDE, mean=(0.5, 0.5, 0.5), std=(128 / 255, 128 / 255, 128 / 255))
"""(x - 127.5) / 128 of codes. InsightFace feeds R'G'B'; a peer that feeds B'G'R' loses a little."""


def _scrfd_outputs() -> tuple[Tensor, ...]:
    """Nine outputs, two rows a cell; InsightFace's files have no batch axis there."""
    meanings = {1: "score", 4: "distances to the four sides, in strides", 10: "five points, in strides"}
    return tuple(Tensor("", (-1, k), f"{text}, stride {s}") for k, text in meanings.items() for s in STRIDES)


def _yunet_outputs() -> tuple[Tensor, ...]:
    """Twelve outputs, one row a cell."""
    meanings = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    return tuple(
        Tensor(f"{name}_{stride}", (cells, k))
        for name, k in meanings.items()
        for stride, cells in zip(STRIDES, CELLS, strict=True)
    )


RETINAFACE_10G = Card(
    name="retinaface_10g",
    family="scrfd",
    vendor="InsightFace",
    commercial=False,
    task="detect",
    files=(mirrored("retinaface_10g.onnx"),),
    licence="Non-Commercial",
    inputs=(Tensor("input", (3, -1, -1), "letterboxed at the top left"),),
    outputs=_scrfd_outputs(),
    pixels=_FROM_ZERO,
    least=12.0,
    notes="InsightFace's det_10g; sure of faces from very small to the whole picture.",
)

SCRFD_2_5G = Card(
    name="scrfd_2.5g",
    family="scrfd",
    vendor="InsightFace",
    commercial=False,
    task="detect",
    files=(mirrored("scrfd_2.5g.onnx"),),
    licence="Non-Commercial",
    inputs=(Tensor("input", (3, -1, -1), "letterboxed at the top left"),),
    outputs=_scrfd_outputs(),
    pixels=_FROM_ZERO,
    least=12.0,
    notes="A quarter of retinaface_10g's work.",
)

YOLOFACE_8N = Card(
    name="yoloface_8n",
    family="yoloface",
    vendor="derronqi",
    commercial=None,
    task="detect",
    files=(mirrored("yoloface_8n.onnx", 12_659_761),),
    licence="GPL-3.0",
    inputs=(Tensor("input", (3, SIDE, SIDE), "letterboxed at the top left"),),
    outputs=(Tensor("", (20, sum(CELLS)), "centre, size, score, five times x, y, visibility; input pixels"),),
    pixels=Pixels(SIDE),
    least=12.0,
    notes="YOLOv8 nano with points. The file itself says AGPL-3.0.",
)

YUNET = Card(
    name="yunet_2023_mar",
    family="yunet",
    vendor="OpenCV",
    commercial=True,
    task="detect",
    files=(
        File(
            "face_detection_yunet_2023mar.onnx",
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            232_589,
            (
                "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/" + _ZOO,
                "https://huggingface.co/opencv/face_detection_yunet/resolve/main/"
                "face_detection_yunet_2023mar.onnx",
            ),
        ),
    ),
    licence="MIT",
    inputs=(Tensor("input", (3, SIDE, SIDE), "letterboxed at the top left"),),
    outputs=_yunet_outputs(),
    pixels=Pixels(SIDE, std=(1 / 255, 1 / 255, 1 / 255), order="BGR"),
    least=16.0,
    notes="Small, quick and free: a good second opinion.",
)

CARDS: tuple[Card, ...] = (YUNET, SCRFD_2_5G, RETINAFACE_10G, YOLOFACE_8N)
"""Every card of this module, those first that need no acceptance."""


@dataclass(frozen=True, slots=True)
class Found:
    """Raw detections, one row each, in pixels of whatever picture they were decoded for."""

    box: Float64
    """(K, 4) left, top, right, bottom."""
    points: Float64
    """(K, 5, 2) the five points; of BlazeFace (K, 6, 2) image-left eye, image-right eye, nose tip, mouth
    centre, image-left and image-right ear."""
    score: Float64
    """(K,) 0 to 1."""

    def __len__(self) -> int:
        return len(self.score)

    def pick(self, rows: Array) -> Found:
        """The rows of a mask or index array."""
        return Found(self.box[rows], self.points[rows], self.score[rows])

    def moved(self, scale: float, x: float, y: float) -> Found:
        """Every coordinate times `scale`, then shifted by (x, y)."""
        shift = np.array([x, y])
        return Found(self.box * scale + np.tile(shift, 2), self.points * scale + shift, self.score)


Decoder: TypeAlias = Callable[[Card, Sequence[Array], int, float], list[Found]]
"""(card, its outputs for N pictures in the card's order, side of the input, least score) to N `Found`, before
suppression."""


@dataclass(frozen=True, slots=True)
class Family:
    """How detectors of one kind are read."""

    decode: Decoder
    by_points: bool = True
    """Whether the five points say where the landmarker looks; else the box and the line of the eyes."""
    enlarge: bool = False
    """Whether a frame smaller than the input is enlarged to it although its smallest faces need it not."""


@lru_cache(maxsize=8)
def anchors(card: Card) -> Float64:
    """(A, 2) centres of a BlazeFace's cells in input pixels, x before y, row after row.

    Full range: 48 x 48 cells. Short range: 16 x 16 cells twice each, then 8 x 8 cells six times each.
    (MediaPipe, ssd_anchors_calculator with fixed anchor size and the strides of each graph.)

    Raises:
        ValueError: The card is no BlazeFace.
    """
    grids = {BLAZEFACE_FULL.inputs[0].shape: ((48, 1),), BLAZEFACE_SHORT.inputs[0].shape: ((16, 2), (8, 6))}
    shape = card.inputs[0].shape
    if card.family != "blazeface" or shape not in grids:
        raise ValueError(f"{card.name}: expected a BlazeFace card")
    found = np.concatenate([np.repeat(_cells(n), times, axis=0) / n * shape[0] for n, times in grids[shape]])
    found.flags.writeable = False  # everybody gets the same array
    return found


def _cells(n: int, offset: float = 0.5) -> Float64:
    """(n * n, 2) column and row of n x n cells, plus the offset, x before y, row after row."""
    y, x = np.mgrid[:n, :n]
    return np.stack([x.ravel() + offset, y.ravel() + offset], axis=1)


def blazeface(card: Card, outputs: Sequence[Array], side: int, threshold: float) -> list[Found]:
    """BlazeFace: (N, A, 16) centre x, y, width, height, six points relative to the cell; (N, A, 1) logits."""
    centres = anchors(card)
    return [decode(box, logit, centres, threshold) for box, logit in zip(*outputs[:2], strict=True)]


def decode(regressors: Array, logits: Array, centres: Float64, threshold: float) -> Found:
    """BlazeFace's detections of one picture, before suppression, in input pixels.

    Args:
        regressors: (A, 16) centre x, y, width, height, six points; input pixels relative to the anchor.
        logits: (A, 1).
        centres: (A, 2) from `anchors`.
        threshold: Least score, 0 to 1.

    Returns:
        The rows whose score reaches the threshold.
    """
    score = 0.5 * (1.0 + np.tanh(0.5 * logits[:, 0].astype(np.float64)))
    rows = np.flatnonzero(score >= threshold)
    values = regressors[rows].astype(np.float64).reshape(-1, 8, 2)
    at = centres[rows]
    centre, half = values[:, 0] + at, values[:, 1] / 2
    return Found(np.concatenate([centre - half, centre + half], 1), values[:, 2:] + at[:, None], score[rows])


def scrfd(card: Card, outputs: Sequence[Array], side: int, threshold: float) -> list[Found]:
    """SCRFD and InsightFace's RetinaFace: for each stride scores, distances and points, in strides.

    A cell's anchor is its top-left corner, column * stride and row * stride: no half cell is added. Files
    differ in the order of outputs and some have no batch axis, so outputs are told apart by their widths.
    """
    scores, distances, offsets = (_levels(outputs, width, side) for width in (1, 4, 10))
    batch = sum(level.size for level in scores) // sum(_rows(len(scores), side, _per_cell(scores, side)))
    parts: list[list[Found]] = [[] for _ in range(batch)]
    for number, grids in enumerate(zip(scores, distances, offsets, strict=True)):
        score, distance, offset = (grid.reshape(batch, -1, grid.shape[-1]) for grid in grids)
        stride = STRIDES[0] << number
        count = (side // stride) ** 2
        corners = np.repeat(_cells(side // stride, 0.0) * stride, score.shape[1] // count, axis=0)
        for k in range(batch):
            rows = np.flatnonzero(score[k, :, 0] >= threshold)
            at, d = corners[rows], distance[k, rows].astype(np.float64) * stride
            points = offset[k, rows].astype(np.float64).reshape(-1, 5, 2) * stride + at[:, None]
            box = np.concatenate([at - d[:, :2], at + d[:, 2:]], axis=1)
            parts[k].append(Found(box, points, score[k, rows, 0].astype(np.float64)))
    return [join(part) for part in parts]


def yunet(card: Card, outputs: Sequence[Array], side: int, threshold: float) -> list[Found]:
    """YuNet: for each stride class, object, box and points, one row a cell; relative to the cell, in strides.

    The score is the geometric mean of class and object, each cut to [0, 1], as in OpenCV's FaceDetectorYN
    and in the trainer's own code; a peer takes their product, which finds fewer faces at the same threshold.
    """
    levels = len(outputs) // 4
    found: list[list[Found]] = [[] for _ in range(len(outputs[0]))]
    for number in range(levels):
        kind, there, box, points = (outputs[number + levels * part] for part in range(4))
        stride = STRIDES[0] << number
        corners = _cells(side // stride, 0.0)
        for k, part in enumerate(found):
            chance = np.clip(kind[k, :, 0], 0.0, 1.0).astype(np.float64) * np.clip(there[k, :, 0], 0.0, 1.0)
            score = np.sqrt(chance)
            rows = np.flatnonzero(score >= threshold)
            at, values = corners[rows], box[k, rows].astype(np.float64)
            centre, half = (values[:, :2] + at) * stride, np.exp(values[:, 2:]) * stride / 2
            five = (points[k, rows].astype(np.float64).reshape(-1, 5, 2) + at[:, None]) * stride
            part.append(Found(np.concatenate([centre - half, centre + half], axis=1), five, score[rows]))
    return [join(part) for part in found]


def yoloface(card: Card, outputs: Sequence[Array], side: int, threshold: float) -> list[Found]:
    """YOLO with points: (N, 20, A) centre, size, score, five times x, y, visibility; pixels of the input."""
    found = []
    for values in outputs[0]:
        rows = values[:, values[4] >= threshold].T.astype(np.float64)
        centre, half = rows[:, :2], rows[:, 2:4] / 2
        box = np.concatenate([centre - half, centre + half], axis=1)
        found.append(Found(box, rows[:, 5:20].reshape(-1, 5, 3)[..., :2], rows[:, 4]))
    return found


_PRIORS: Mapping[tuple[str, int], tuple[tuple[int, ...], ...]] = MappingProxyType(
    {
        ("ssd", 3): ((10, 20), (32, 64), (128, 256)),
        ("ssd", 4): ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256)),
        ("ssd16", 3): ((16, 32), (64, 128), (256, 512)),
    }
)
"""Family and number of levels to the sides of the priors of each level, input pixels: those of the light
detectors, and those of PyTorch's RetinaFace."""
_CENTRE, _SIZE = 0.1, 0.2
"""Variances by which SSD scales what it learns."""


@lru_cache(maxsize=8)
def priors(family: str, side: int, count: int) -> Float64:
    """(count, 4) centre and size of the priors of an SSD, input pixels, strides 8, 16, 32 and maybe 64.

    Raises:
        ValueError: No known set of priors has so many.
    """
    for (name, _), sizes in _PRIORS.items():
        grids = [(s, 8 << k, -(-side // (8 << k))) for k, s in enumerate(sizes)]
        if name == family and sum(len(s) * n * n for s, _, n in grids) == count:
            rows = []
            for own, stride, n in grids:
                centre = np.repeat(_cells(n) * stride, len(own), axis=0)
                extent = np.tile(np.array(own, float), n * n)
                rows.append(np.column_stack([centre, extent, extent]))
            found = np.concatenate(rows)
            found.flags.writeable = False  # everybody gets the same array
            return found
    raise ValueError(f"{family}: expected a number of rows that some set of priors has, got {count}")


def ssd(card: Card, outputs: Sequence[Array], side: int, threshold: float) -> list[Found]:
    """RetinaFace as an SSD: (N, A, 4) boxes, (N, A, 2) probabilities of none and face, (N, A, 10) points.

    Boxes and points are relative to priors: centre + 0.1 d size, size exp(0.2 d) (W. Liu et al., "SSD: Single
    Shot MultiBox Detector", 2016).
    """
    boxes, chances, points = (next(o for o in outputs if o.shape[-1] == k) for k in (4, 2, 10))
    prior = priors(card.family, side, boxes.shape[1])
    found = []
    for box, chance, five in zip(boxes, chances, points, strict=True):
        rows = np.flatnonzero(chance[:, 1] >= threshold)
        at, size = prior[rows, :2], prior[rows, 2:]
        centre = at + _CENTRE * box[rows, :2].astype(np.float64) * size
        half = size * np.exp(_SIZE * box[rows, 2:].astype(np.float64)) / 2
        place = five[rows].astype(np.float64).reshape(-1, 5, 2) * _CENTRE * size[:, None] + at[:, None]
        score = chance[rows, 1].astype(np.float64)
        found.append(Found(np.concatenate([centre - half, centre + half], axis=1), place, score))
    return found


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "blazeface": Family(blazeface, by_points=False, enlarge=True),
        "scrfd": Family(scrfd),
        "yunet": Family(yunet),
        "yoloface": Family(yoloface),
        "ssd": Family(ssd),
        "ssd16": Family(ssd),
    }
)
"""Every kind of detector."""


def join(parts: Sequence[Found]) -> Found:
    """All rows, in order."""
    if not parts:
        return no_faces()
    return Found(
        np.concatenate([p.box for p in parts]),
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.score for p in parts]),
    )


def no_faces(points: int = 5) -> Found:
    """Nothing found."""
    return Found(np.zeros((0, 4)), np.zeros((0, points, 2)), np.zeros(0))


def in_order(network: Card, result: Mapping[str, Array]) -> list[Array]:
    """A network's outputs in the card's order; in the file's where the card does not name them."""
    if all(tensor.name for tensor in network.outputs):
        return [result[tensor.name] for tensor in network.outputs]
    return list(result.values())[: len(network.outputs)]


def _levels(outputs: Sequence[Array], width: int, side: int) -> list[Array]:
    """The outputs of this width, finest stride first."""
    return sorted((o for o in outputs if o.shape[-1] == width), key=lambda o: -o.size)


def _rows(levels: int, side: int, per_cell: int) -> list[int]:
    """Rows of each level of one picture."""
    return [per_cell * (side // (STRIDES[0] << k)) ** 2 for k in range(levels)]


def _per_cell(scores: Sequence[Array], side: int) -> int:
    """Anchors a cell: two with three levels, one with five."""
    return 2 if len(scores) == 3 else 1
