"""Finding faces in whole frames: a detector proposes, FaceMesh confirms.

The detector sees a square of so many pixels and finds faces from `Card.least` of them upwards. So the
frame is looked at as a pyramid: once as a whole, then in windows over larger and larger pictures of it,
down to the smallest face worth finding. A low threshold finds nearly everything and much else besides;
the landmarker's own verdict, on a crop refined by its own points, tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mien.errors import ModelError
from mien.images import cpu, geometry
from mien.models import landmark
from mien.models.card import Card, Pixels
from mien.models.detectors import FAMILIES, Family, Found, in_order, join
from mien.models.pictures import looked_at
from mien.settings import Detect
from mien.types import Array, Faces, Float32, Float64, Frame, Int64

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

STEP = 2.6
"""Least ratio between two levels of the pyramid of any detector; larger inputs allow for more."""
SHARE = STEP * 16 / 192
"""Height of a face that lies whole in one of the windows wherever it is, as a share of their side, at least.
A higher one is found on a coarser level. That much windows overlap: in BlazeFace's 192 pixels 42."""
NOISE = 0.05
"""Least score of a detection that is looked at, whatever is asked for."""
MERGE_IOU = 0.3
"""Overlap from which two detections mean one face (MediaPipe, min_suppression_threshold)."""
INSIDE = 0.6
"""Share of the smaller of two confirmed faces inside the other from which they are the same one."""
LOOKS = 5
"""Most times that the landmarker looks at one face."""
RESTLESS = math.radians(4.0)
"""Change of roll after which the landmarker looks again."""
CERTAIN = 0.9995
"""Landmarker's verdict from which a face is the right way up."""
FEW = 6
"""Windows of one level from which a picture of the whole level costs less than each window on its own."""
Limits: TypeAlias = tuple[float, float]
"""Least confidence of a face, and of one seen from the side."""
WINDOWS = 32
"""Windows looked at in one go, which bounds the memory."""


def suppress(found: Found, iou: float = MERGE_IOU, sure: float = 0.0) -> Found:
    """Weighted non-maximum suppression: detections of one face become their score-weighted mean.

    The best remaining detection gathers all that overlap it by more than `iou`; its score stays
    (MediaPipe, non_max_suppression_calculator, WEIGHTED). Those below `sure` count for nothing where a better
    one is at least that sure: what is sure comes out as if they were not there.
    """
    left = np.argsort(-found.score, kind="stable")
    kept: list[Found] = []
    while len(left):
        near = geometry.iou(found.box[left[:1]], found.box[left])[0] > iou
        near[0] = True
        group = found.pick(left[near])
        if group.score[0] >= sure:
            group = group.pick(group.score >= sure)
        weight = group.score / group.score.sum()
        kept.append(
            Found(
                (weight[:, None] * group.box).sum(0)[None],
                (weight[:, None, None] * group.points).sum(0)[None],
                group.score[:1],
            )
        )
        left = left[~near]
    return join(kept) if kept else found


def family(network: Card) -> Family:
    """How a detector is read.

    Raises:
        ModelError: The card is no detector, or of an unknown family.
    """
    if network.task != "detect" or network.family not in FAMILIES:
        raise ModelError(
            network.name,
            f"is no detector of a known family ({network.task}, {network.family or 'none'})",
            f"Families are {', '.join(FAMILIES)}.",
        )
    return FAMILIES[network.family]


def reach(network: Card) -> float:
    """Height in input pixels up to which a face lies whole in one of the windows, wherever it is."""
    return max(STEP * network.least, SHARE * looked_at(network).side)


def levels(network: Card, size: tuple[int, int], min_size: float) -> tuple[float, ...]:
    """Scales of the pyramid, the whole frame first.

    Args:
        network: Card of the detector.
        size: Width and height of the frame in display pixels.
        min_size: Height of the smallest face to find, display pixels.

    Returns:
        Level pixels per display pixel; the last one makes the smallest face `Card.least` high or higher.
    """
    whole, fine = looked_at(network).side / max(size), network.least / min_size
    if not family(network).enlarge:
        whole = min(whole, max(1.0, fine))
    if fine <= whole:
        return (whole,)
    steps = math.ceil(math.log(fine / whole) / math.log(reach(network) / network.least) - 1e-9)
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

    Raises:
        ModelError: The card is no detector.
    """
    side, overlap = looked_at(network).side, _overlap(network)
    rows: list[tuple[float, ...]] = []
    for level, scale in enumerate(levels(network, size, settings.min_size)):
        small = _scaled(size, scale)
        x, y = size[0] / small[0], size[1] / small[1]
        for left, top in _corners(*small, side, overlap):
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

    Raises:
        ModelError: The card is no detector, or a network cannot be had or loaded.
    """
    network = runtime.catalogue.card(settings.model)
    scales = levels(network, frame.size, settings.min_size)
    # Below the square of the wanted score no verdict of the landmarker can help.
    limits = (settings.score, min(settings.score, settings.side_score))
    least, sure = (max(limit**2, NOISE) for limit in (min(limits), settings.score))
    chosen = zip(scales, _chosen(network, frame.size, scales, rows), strict=True)
    seen = _look(runtime, frame, network, [view for view in chosen if view[1]], 0, (least, sure))
    found = suppress(seen, sure=sure)
    faces = _answered(runtime, frame, network, found, limits, known or Faces.empty())
    # Lying heads are not worth the finest level, which costs more than all others together.
    coarse = scales[: max(1, len(scales) - 1)] if rows is None else scales[:1]
    for turns in (1, 3, 2) if turned else ():
        if len(faces):
            break
        seen = _look(runtime, frame, network, [(scale, None) for scale in coarse], turns, (least, sure))
        faces = confirm(runtime, frame, network, suppress(seen, sure=sure), limits)
    return faces


def _chosen(
    network: Card, size: tuple[int, int], scales: tuple[float, ...], rows: Int64 | None
) -> list[list[tuple[int, int]]]:
    """For each level the corners of the windows with these numbers."""
    side, overlap = looked_at(network).side, _overlap(network)
    wanted = None if rows is None else set(rows.tolist())
    count, found = 0, []
    for scale in scales:
        corners = list(_corners(*_scaled(size, scale), side, overlap))
        found.append([c for k, c in enumerate(corners, count) if wanted is None or k in wanted])
        count += len(corners)
    return found


def _answered(
    runtime: Runtime, frame: Frame, network: Card, found: Found, limits: Limits, known: Faces
) -> Faces:
    """`confirm`, but for detections of known faces: these need no second look."""
    if not len(known) or not len(found):
        return confirm(runtime, frame, network, found, limits)
    overlap = geometry.iou(found.box, known.box)
    match = overlap.argmax(axis=1)
    ours = overlap[np.arange(len(found)), match] > MERGE_IOU
    best = np.zeros(len(known))
    np.maximum.at(best, match[ours], found.score[ours])
    both = np.sqrt(best) * known.score
    seen = np.flatnonzero(both >= _least(known.dense, limits))
    again = replace(known[seen], score=both[seen])
    return Faces.concat([again, confirm(runtime, frame, network, found.pick(~ours), limits)])


def confirm(runtime: Runtime, frame: Frame, network: Card, found: Found, limits: Limits) -> Faces:
    """Keep the detections in which the landmarker sees a face, each once.

    Args:
        runtime: Where the landmarker runs.
        frame: The picture.
        network: Card of the detector.
        found: Detections in display pixels.
        limits: Least confidence, 0 to 1, and that of a face seen from the side.

    Returns:
        As `find`.
    """
    if family(network).by_points:
        rois = landmark.roi_from_points(found.points)
    else:
        rois = landmark.roi_from_box(found.box, found.points)
    rough, likely = landmark.landmarks(runtime, frame, rois)
    rows = np.flatnonzero(likely >= min(limits) ** 2)
    dense, sure = _settle(runtime, frame, rough[rows])
    if family(network).by_points:
        dense, sure = _hanging(runtime, frame, found.pick(rows), dense, sure)
    both = np.sqrt(found.score[rows]) * sure
    order = np.argsort(-found.score[rows], kind="stable")
    order = order[(both >= _least(dense, limits))[order]]
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


def _least(dense: Float64 | None, limits: Limits) -> Float64:
    """(F,) confidence that each face needs, by how it is turned; (F, N, 3) landmarks."""
    if dense is None:
        raise ValueError("known: expected faces with dense landmarks")
    return np.where(landmark.aside(dense), limits[1], limits[0])


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


def _hanging(
    runtime: Runtime, frame: Frame, found: Found, dense: Float64, sure: Float64
) -> tuple[Float64, Float64]:
    """Look at doubtful faces upside down too, and take what the landmarker is surer of.

    Detectors with points see a hanging head, too, and take its chin for eyes; the landmarker follows them,
    a little less sure of it (0.001 to 0.999 against 1.000 the right way up, on 57 hanging faces).
    """
    doubtful = np.flatnonzero(sure < CERTAIN)
    some = found.pick(doubtful)
    rough, _ = landmark.landmarks(runtime, frame, landmark.roi_from_box(some.box, some.points[:, [1, 0]]))
    after, verdict = _settle(runtime, frame, rough)
    better = verdict > sure[doubtful]
    dense, sure = dense.copy(), sure.copy()
    dense[doubtful[better]], sure[doubtful[better]] = after[better], verdict[better]
    return dense, sure


def _same(a: Float64, b: Float64) -> bool:
    """Whether two (4,) boxes lie so much inside one another that they show one face."""
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(size, 0.0)))
    return shared > INSIDE * min(float(np.prod(a[2:] - a[:2])), float(np.prod(b[2:] - b[:2])))


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One level of the pyramid, and the windows of it that are looked at."""

    small: tuple[int, int]
    """Width and height of the level, before it is turned."""
    corners: Sequence[tuple[int, int]]
    cut: Callable[[Sequence[tuple[int, int]]], Array]
    found: list[Found] = field(default_factory=list)

    @classmethod
    def of(
        cls, frame: Frame, network: Card, scale: float, turns: int, corners: Sequence[tuple[int, int]] | None
    ) -> _View:
        """A level at this scale; all its windows where `corners` is None."""
        small, side = _scaled(frame.size, scale), looked_at(network).side
        cut = _cutter(frame, small, turns, side, FEW if corners is None else len(corners))
        if corners is None:
            corners = list(_corners(*(small if turns % 2 == 0 else small[::-1]), side, _overlap(network)))
        return cls(small, corners, cut)

    def joined(self, size: tuple[int, int], turns: int) -> Found:
        """What was found in the level, in pixels of the frame, which has this width and height."""
        found = _turned_back(join(self.found), turns, self.small)
        stretch = np.array([size[0] / self.small[0], size[1] / self.small[1]])
        return Found(found.box * np.tile(stretch, 2), found.points * stretch, found.score)


def _look(
    runtime: Runtime,
    frame: Frame,
    network: Card,
    levels: Iterable[tuple[float, Sequence[tuple[int, int]] | None]],
    turns: int,
    scores: tuple[float, float],
) -> Found:
    """Detections in windows of some levels, in display pixels; `turns` quarter turns anticlockwise first.

    `levels` are scales and the corners of the windows to look at, None for all. `scores` are the least of a
    detection and that of a sure one, see `suppress`.
    """
    views = [_View.of(frame, network, scale, turns, corners) for scale, corners in levels]
    pixels, kind, session = looked_at(network), family(network), runtime.session(network)
    windows, step = [(v, c) for v in views for c in v.corners], max(1, WINDOWS * 192**2 // pixels.side**2)
    for start in range(0, len(windows), step):
        some = windows[start : start + step]
        cut = [v.cut([c for w, c in some if w is v]) for v in views if any(w is v for w, _ in some)]
        result = in_order(network, session.run(prepare(np.concatenate(cut), pixels)))
        for (view, (x, y)), found in zip(
            some, kind.decode(network, result, pixels.side, scores[0]), strict=True
        ):
            view.found.append(suppress(_whole(found), sure=scores[1]).moved(1.0, x, y))
    return join([view.joined(frame.size, turns) for view in views])


def prepare(pictures: Array, pixels: Pixels) -> Array:
    """uint8 R'G'B' (N, H, W, 3) to the network's float32: (x / 255 - mean) / std in its order and layout."""
    shape = pictures.shape if pixels.layout == "NHWC" else (len(pictures), 3, *pictures.shape[1:3])
    tensor = np.empty(shape, np.float32)
    planes = tensor if pixels.layout == "NHWC" else np.moveaxis(tensor, 1, 3)
    std = np.array(pixels.std)
    scale, shift = (1 / (255 * std)).astype(np.float32), (np.array(pixels.mean) / std).astype(np.float32)
    ordered = pictures if pixels.order == "RGB" else pictures[..., ::-1]
    np.multiply(ordered, _one(scale), out=planes, dtype=np.float32)
    if shift.any():
        np.subtract(planes, _one(shift), out=planes)
    return tensor


def _one(values: Float32) -> Float32:
    """(1,) where all of (3,) values are the same: by one value NumPy multiplies ten times as fast."""
    return values[:1] if (values == values[0]).all() else values


def _whole(found: Found) -> Found:
    """The detections that have a size: a network that was shown noise may give anything."""
    sides = found.box[:, 2:] - found.box[:, :2]
    spread = np.ptp(found.points, axis=1).min(axis=1) if len(found) else found.score
    return found.pick(np.isfinite(found.box).all(axis=1) & (sides.min(axis=1) > 1.0) & (spread > 0.0))


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


def _overlap(network: Card) -> int:
    """Least overlap of two windows in pixels."""
    return math.ceil(reach(network) - 1e-9)


def _corners(width: int, height: int, side: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Top-left corners of square windows that cover a picture evenly."""
    for y in _starts(height, side, overlap):
        for x in _starts(width, side, overlap):
            yield x, y


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """First pixels of the fewest windows that cover `length` and overlap by `overlap` or more."""
    if length <= side:
        return [0]
    count = math.ceil((length - overlap) / (side - overlap))
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
