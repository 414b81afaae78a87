"""Finding faces in whole frames: BlazeFace proposes, FaceMesh confirms.

The detector sees a square of `SIDE` pixels and finds faces from about `LEAST` of them upwards. So the
frame is looked at as a pyramid: once as a whole, then in windows over larger and larger pictures of it,
down to the smallest face worth finding. A low threshold finds nearly everything and much else besides;
the landmarker's own verdict, on a crop refined by its own points, tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mien.images import cpu, geometry
from mien.models import landmark
from mien.models.card import Card
from mien.models.mediapipe import BLAZEFACE_FULL, BLAZEFACE_SHORT
from mien.settings import Detect
from mien.types import Array, Faces, Float64, Frame, Int64

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

LEAST = 16.0
"""Height in input pixels of the smallest face that the full-range network finds well (measured)."""
STEP = 2.6
"""Largest ratio between two levels of the pyramid: a face is never over `LEAST * STEP` = 42 pixels high on
the level that must find it, and so lies whole in one of the windows."""
OVERLAP = 42
"""Least overlap of two windows in pixels."""
MERGE_IOU = 0.3
"""Overlap from which two detections mean one face (MediaPipe, min_suppression_threshold)."""
INSIDE = 0.6
"""Share of the smaller of two confirmed faces inside the other from which they are the same one."""
LOOKS = 5
"""Most times that the landmarker looks at one face."""
RESTLESS = math.radians(4.0)
"""Change of roll after which the landmarker looks again."""
FEW = 6
"""Windows of one level from which a picture of the whole level costs less than each window on its own."""
WINDOWS = 32
"""Windows looked at in one go, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Found:
    """Raw detections, one row each, in pixels of whatever picture they were decoded for."""

    box: Float64
    """(K, 4) left, top, right, bottom."""
    points: Float64
    """(K, 6, 2) image-left eye, image-right eye, nose tip, mouth centre, image-left and image-right ear."""
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


def no_faces() -> Found:
    """Nothing found."""
    return Found(np.zeros((0, 4)), np.zeros((0, 6, 2)), np.zeros(0))


def join(parts: list[Found]) -> Found:
    """All rows, in order."""
    parts = [no_faces(), *parts]
    return Found(
        np.concatenate([p.box for p in parts]),
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.score for p in parts]),
    )


@lru_cache(maxsize=8)
def anchors(card: Card) -> Float64:
    """(A, 2) centres of the network's cells in input pixels, x before y, row after row.

    Full range: 48 x 48 cells. Short range: 16 x 16 cells twice each, then 8 x 8 cells six times each.
    (MediaPipe, ssd_anchors_calculator with fixed anchor size and the strides of each graph.)

    Raises:
        ValueError: The card is no BlazeFace.
    """
    grids = {BLAZEFACE_FULL: ((48, 1),), BLAZEFACE_SHORT: ((16, 2), (8, 6))}
    if card not in grids:
        raise ValueError(f"{card.name}: expected a BlazeFace card")
    side = card.inputs[0].shape[0]
    found = np.concatenate([np.repeat(_cells(n), times, axis=0) * side for n, times in grids[card]])
    found.flags.writeable = False  # everybody gets the same array
    return found


def _cells(n: int) -> Float64:
    """(n * n, 2) centres of n x n cells of the unit square, x before y, row after row."""
    y, x = np.mgrid[:n, :n]
    return np.stack([x.ravel() + 0.5, y.ravel() + 0.5], axis=1) / n


def prepare(pictures: Array) -> Array:
    """uint8 R'G'B' (N, H, W, 3) to the network's float32 in [-1, 1]."""
    scaled = np.multiply(pictures, np.float32(2 / 255), dtype=np.float32)
    return np.subtract(scaled, np.float32(1), out=scaled)


def decode(regressors: Array, logits: Array, centres: Float64, threshold: float) -> Found:
    """Detections of one picture, before suppression, in input pixels.

    Args:
        regressors: (A, 16) centre x, y, width, height, six points; input pixels relative to the anchor.
        logits: (A, 1).
        centres: (A, 2) from `anchors`.
        threshold: Least score, 0 to 1.

    Returns:
        The rows whose score reaches the threshold.
    """
    score = landmark.sigmoid(logits[:, 0].astype(np.float64))
    rows = np.flatnonzero(score >= threshold)
    values = regressors[rows].astype(np.float64).reshape(-1, 8, 2)
    at = centres[rows]
    centre, half = values[:, 0] + at, values[:, 1] / 2
    return Found(np.concatenate([centre - half, centre + half], 1), values[:, 2:] + at[:, None], score[rows])


def suppress(found: Found, iou: float = MERGE_IOU) -> Found:
    """Weighted non-maximum suppression: detections of one face become their score-weighted mean.

    The best remaining detection gathers all that overlap it by more than `iou`; its score stays
    (MediaPipe, non_max_suppression_calculator, WEIGHTED).
    """
    left = np.argsort(-found.score, kind="stable")
    kept: list[Found] = []
    while len(left):
        near = geometry.iou(found.box[left[:1]], found.box[left])[0] > iou
        near[0] = True
        group = found.pick(left[near])
        weight = group.score / group.score.sum()
        kept.append(
            Found(
                (weight[:, None] * group.box).sum(0)[None],
                (weight[:, None, None] * group.points).sum(0)[None],
                group.score[:1],
            )
        )
        left = left[~near]
    return join(kept)


def levels(size: tuple[int, int], min_size: float, side: int) -> tuple[float, ...]:
    """Scales of the pyramid, the whole frame first.

    Args:
        size: Width and height of the frame in display pixels.
        min_size: Height of the smallest face to find, display pixels.
        side: Of the network's input.

    Returns:
        Level pixels per display pixel; the last one makes the smallest face `LEAST` high.
    """
    whole, fine = side / max(size), LEAST / min_size
    if fine <= whole:
        return (whole,)
    steps = math.ceil(math.log(fine / whole) / math.log(STEP) - 1e-9)
    return tuple(whole * (fine / whole) ** (k / steps) for k in range(steps + 1))


def windows(network: Card, size: tuple[int, int], settings: Detect) -> Float64:
    """The windows that a search of a frame consists of.

    Args:
        network: Card of the detector.
        size: Width and height of the frame in display pixels.
        settings: Smallest size.

    Returns:
        (W, 5) level from 0, left, top, right, bottom in display pixels; level 0 is one window that shows the
        whole frame. In 1080p with the default sizes level 0 finds faces over 160 pixels, levels 0 and 1
        over 62, all three over 24, with 1, 9 and 54 windows.
    """
    side = network.inputs[0].shape[0]
    rows: list[tuple[float, ...]] = []
    for level, scale in enumerate(levels(size, settings.min_size, side)):
        small = _scaled(size, scale)
        x, y = size[0] / small[0], size[1] / small[1]
        for left, top in _corners(*small, side):
            right, bottom = min(left + side, small[0]), min(top + side, small[1])
            rows.append((level, left * x, top * y, right * x, bottom * y))
    return np.array(rows, np.float64)


def find(
    runtime: Runtime,
    frame: Frame,
    settings: Detect,
    *,
    rows: Int64 | None = None,
    known: Faces | None = None,
    turned: bool = True,
) -> Faces:
    """Find every face of a frame.

    Args:
        runtime: Where the networks run.
        frame: The picture.
        settings: Detector, confidence and smallest size.
        rows: Which of `windows` to look at; None for all.
        known: Faces already located in this very frame, with dense landmarks: a detection that clearly is
            one of them is not sought again but answered by it.
        turned: Whether the frame is also looked at on its sides and upside down where nothing is found
            upright; as a whole only, unless all windows are looked at.

    Returns:
        Confirmed faces with dense landmarks, the detector's surest first; `box` is the box of the landmarks,
        `score` the square root of the detector's confidence, times the landmarker's, which is the better
        witness.
    """
    network = runtime.catalogue.card(settings.model)
    side = network.inputs[0].shape[0]
    scales = levels(frame.size, settings.min_size, side)
    # Below the square of the wanted score no verdict of the landmarker can help.
    least = settings.score**2
    parts = []
    for scale, corners in zip(scales, _chosen(frame.size, scales, side, rows), strict=True):
        if corners:
            parts.append(_look(runtime, frame, network, scale, 0, least, corners))
    faces = _answered(runtime, frame, suppress(join(parts)), settings.score, known or Faces.empty())
    # Lying heads are not worth the finest level, which costs more than all others together.
    coarse = scales[: max(1, len(scales) - 1)] if rows is None else scales[:1]
    for turns in (1, 3, 2) if turned else ():
        if len(faces):
            break
        parts = [_look(runtime, frame, network, scale, turns, least) for scale in coarse]
        faces = confirm(runtime, frame, suppress(join(parts)), settings.score)
    return faces


def _chosen(
    size: tuple[int, int], scales: tuple[float, ...], side: int, rows: Int64 | None
) -> list[list[tuple[int, int]]]:
    """For each level the corners of the windows with these numbers."""
    wanted = None if rows is None else set(rows.tolist())
    count, found = 0, []
    for scale in scales:
        corners = list(_corners(*_scaled(size, scale), side))
        found.append([c for k, c in enumerate(corners, count) if wanted is None or k in wanted])
        count += len(corners)
    return found


def _answered(runtime: Runtime, frame: Frame, found: Found, score: float, known: Faces) -> Faces:
    """`confirm`, but for detections of known faces: these need no second look."""
    if not len(known) or not len(found):
        return confirm(runtime, frame, found, score)
    overlap = geometry.iou(found.box, known.box)
    match = overlap.argmax(axis=1)
    ours = overlap[np.arange(len(found)), match] > MERGE_IOU
    best = np.zeros(len(known))
    np.maximum.at(best, match[ours], found.score[ours])
    both = np.sqrt(best) * known.score
    seen = np.flatnonzero(both >= score)
    again = replace(known[seen], score=both[seen])
    return Faces.concat([again, confirm(runtime, frame, found.pick(~ours), score)])


def confirm(runtime: Runtime, frame: Frame, found: Found, score: float) -> Faces:
    """Keep the detections in which the landmarker sees a face, each once.

    Args:
        runtime: Where the landmarker runs.
        frame: The picture.
        found: Detections in display pixels.
        score: Least confidence, 0 to 1.

    Returns:
        As `find`.
    """
    rough, likely = landmark.landmarks(runtime, frame, landmark.roi_from_box(found.box, found.points))
    rows = np.flatnonzero(likely >= score**2)
    dense, sure = _settle(runtime, frame, rough[rows])
    both = np.sqrt(found.score[rows]) * sure
    order = np.argsort(-found.score[rows], kind="stable")
    order = order[both[order] >= score]
    box = landmark.boxes(dense)
    kept: list[int] = []
    for k in order.tolist():
        if not any(_same(box[k], box[j]) for j in kept):
            kept.append(k)
    dense = dense[kept]
    return Faces(
        frame=np.full(len(kept), frame.index, np.int64),
        box=box[kept],
        points=landmark.five(dense),
        score=both[kept],
        dense=dense,
    )


def _settle(runtime: Runtime, frame: Frame, dense: Float64) -> tuple[Float64, Float64]:
    """Look again at the crop that the points themselves ask for, as a follower would in the next frame.

    Once is enough for an upright head; the points of a lying one, whose roll the detector guesses some
    40 degrees wrong, need up to `LOOKS`.
    """
    sure = np.zeros(len(dense))
    restless = np.arange(len(dense))
    for _ in range(LOOKS):
        before = dense[restless]
        after, verdict = landmark.landmarks(runtime, frame, landmark.roi_from_dense(before))
        dense, sure = dense.copy(), sure.copy()
        dense[restless], sure[restless] = after, verdict
        turn = landmark.roll(after) - landmark.roll(before)
        restless = restless[np.abs(np.arctan2(np.sin(turn), np.cos(turn))) > RESTLESS]
    return dense, sure


def _same(a: Float64, b: Float64) -> bool:
    """Whether two (4,) boxes lie so much inside one another that they show one face."""
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(size, 0.0)))
    return shared > INSIDE * min(float(np.prod(a[2:] - a[:2])), float(np.prod(b[2:] - b[:2])))


def _look(
    runtime: Runtime,
    frame: Frame,
    network: Card,
    scale: float,
    turns: int,
    score: float,
    corners: Sequence[tuple[int, int]] | None = None,
) -> Found:
    """Detections of one level, in display pixels; `turns` quarter turns anticlockwise first.

    `corners` are those of the windows to look at, None for all.
    """
    small = _scaled(frame.size, scale)
    side = network.inputs[0].shape[0]
    cut = _cutter(frame, small, turns, side, FEW if corners is None else len(corners))
    if corners is None:
        corners = list(_corners(*(small if turns % 2 == 0 else small[::-1]), side))
    centres, session = anchors(network), runtime.session(network)
    parts: list[Found] = []
    for start in range(0, len(corners), WINDOWS):
        some = corners[start : start + WINDOWS]
        result = session.run(prepare(cut(some)))
        boxes, logits = (result[tensor.name] for tensor in network.outputs)
        for (x, y), box, logit in zip(some, boxes, logits, strict=True):
            parts.append(suppress(decode(box, logit, centres, score)).moved(1.0, x, y))
    found = _turned_back(join(parts), turns, small)
    stretch = np.array([frame.size[0] / small[0], frame.size[1] / small[1]])
    return Found(found.box * np.tile(stretch, 2), found.points * stretch, found.score)


def _cutter(
    frame: Frame, small: tuple[int, int], turns: int, side: int, count: int
) -> Callable[[Sequence[tuple[int, int]]], Array]:
    """What cuts windows of a level out of a frame: from its small picture, or a few each on its own."""
    if count < FEW and turns == 0 and min(small) >= side:
        x, y = small[0] / frame.size[0], small[1] / frame.size[1]
        return lambda corners: np.stack(
            [cpu.glance(frame, geometry.scaling(x, y, (-a, -b)), (side, side)) for a, b in corners]
        )
    picture = np.rot90(cpu.thumbnail(frame, small), turns)
    return lambda corners: _cut(picture, corners, side)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Width and height of a level."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _corners(width: int, height: int, side: int) -> Iterator[tuple[int, int]]:
    """Top-left corners of square windows that cover a picture evenly."""
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield x, y


def _starts(length: int, side: int) -> list[int]:
    """First pixels of the fewest windows that cover `length` and overlap by `OVERLAP` or more."""
    if length <= side:
        return [0]
    count = math.ceil((length - OVERLAP) / (side - OVERLAP))
    return [round(k * (length - side) / (count - 1)) for k in range(count)]


def _cut(picture: Array, corners: Sequence[tuple[int, int]], side: int) -> Array:
    """uint8 (N, side, side, 3) windows, black beyond the picture as the network was trained."""
    windows = np.zeros((len(corners), side, side, 3), np.uint8)
    for window, (x, y) in zip(windows, corners, strict=True):
        part = picture[y : y + side, x : x + side]
        window[: part.shape[0], : part.shape[1]] = part
    return windows


def _turned_back(found: Found, turns: int, size: tuple[int, int]) -> Found:
    """Undo `turns` quarter turns (anticlockwise) of a picture that was (width, height) before them."""
    width, height = size
    # Where a point (x, y) of the turned picture lies in the upright one.
    linear, shift = {
        0: (((1, 0), (0, 1)), (0, 0)),
        1: (((0, -1), (1, 0)), (width, 0)),
        2: (((-1, 0), (0, -1)), (width, height)),
        3: (((0, 1), (-1, 0)), (0, height)),
    }[turns]
    a = np.concatenate([np.array(linear, float), np.array(shift, float)[:, None]], axis=1)
    box = np.stack([geometry.apply(a, found.box[:, :2]), geometry.apply(a, found.box[:, 2:])])
    return Found(
        np.concatenate([box.min(0), box.max(0)], axis=1), geometry.apply(a, found.points), found.score
    )
