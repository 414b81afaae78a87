"""Tracklets and tracks: who is where, which pieces belong together, what lies between them.

Plain functions over boxes and landmarks; nothing here looks at pixels.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mien.faces.rows import Spill
from mien.faces.smooth import STABLE
from mien.types import Array, Float32, Float64, Int64

PRESENCE = 0.5
"""Least probability of the landmarker that its crop shows a face, unless that is seen from the side."""
_FAR = 1e3
"""Cost of a pair that must not be."""
_LINK = 1.0
"""Most cost of a link: each of place, size and shape can use it up alone."""


class Tracklet:
    """One face followed without interruption: columns that grow at either end.

    The dense landmarks lie in a spill file; the columns take about 50 bytes a row.
    """

    def __init__(self, number: int, start: int) -> None:
        self.number = number
        self.start = start
        self.hits = 0
        """How often the detector confirmed it."""
        self.look: Float32 | None = None
        """(4, P) sum of its looks so far, see `likeness`."""
        self.looks = 0
        """How often it has been looked at, and may have been too small."""
        self.look_at = 0
        """Length from which it is looked at again."""
        self.embeddings: list[Float32] = []
        """(D,) each, of its best crops, see `crops`."""
        self._record = array("q")
        self._score = array("f")
        self._box = array("d")

    def __len__(self) -> int:
        return len(self._record)

    @property
    def end(self) -> int:
        """Index after its last frame."""
        return self.start + len(self)

    @property
    def records(self) -> Int64:
        """(n,) record numbers in the spill file."""
        return np.array(self._record, np.int64)

    @property
    def scores(self) -> Float64:
        """(n,) presence, 0 to 1."""
        return np.array(self._score, np.float64)

    @property
    def latest(self) -> float:
        """Presence in the last row."""
        return self._score[-1]

    @property
    def boxes(self) -> Float64:
        """(n, 4) boxes in display pixels."""
        return np.array(self._box, np.float64).reshape(-1, 4)

    def last(self, rows: int) -> Float64:
        """(k, 4) boxes of the last rows."""
        return np.array(self._box[-4 * rows :], np.float64).reshape(-1, 4)

    def box_at(self, index: int) -> Float64 | None:
        """(4,) box in frame `index`, None outside its span."""
        k = index - self.start
        return np.array(self._box[4 * k : 4 * k + 4]) if 0 <= k < len(self) else None

    def append(self, record: int, box: Float64, score: float) -> None:
        """Add the row after the last."""
        self._record.append(record)
        self._score.append(score)
        self._box.extend(box.tolist())

    def repeat(self) -> None:
        """Add the last row once more, for a picture that shows the same: with the same record."""
        self.append(self._record[-1], self.last(1)[0], self.latest)

    def prepend(self, rows: Sequence[tuple[int, Float64, float]]) -> None:
        """Add (record, box, score) rows before the first, given from the first backwards."""
        if rows:
            forward = rows[::-1]
            self.start -= len(rows)
            self._record = array("q", [r for r, _, _ in forward]) + self._record
            self._score = array("f", [s for _, _, s in forward]) + self._score
            self._box = array("d", np.concatenate([b for _, b, _ in forward]).tolist()) + self._box

    def drop_last(self, rows: int) -> None:
        """Forget the last rows, all but one at most."""
        rows = min(rows, len(self) - 1)
        if rows > 0:
            del self._record[-rows:], self._score[-rows:], self._box[-4 * rows :]

    def forget(self, rows: int) -> None:
        """Let go of the first rows: of a camera's faces the latest ones count."""
        self.start += rows
        del self._record[:rows], self._score[:rows], self._box[: 4 * rows]


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """A track before smoothing: one record a row, filled rows included."""

    start: int
    records: Int64
    """The number of the row before where the picture is a repeat."""
    observed: NDArray[np.bool_]
    scores: Float64
    hits: int
    look: Float32 | None = None
    embeddings: Float32 | None = None
    """(k, D), of its best crops; None where there is none."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def end(self) -> int:
        """Index after its last frame."""
        return self.start + len(self)


def extent(dense: Array) -> Float64:
    """(F, 4) boxes around (F, N, 3) landmarks."""
    # Reductions along memory are ten times as fast as across it.
    flat = np.ascontiguousarray(np.swapaxes(dense[..., :2], 1, 2), np.float64)
    return np.concatenate([flat.min(axis=2), flat.max(axis=2)], axis=1)


def centre(box: Float64) -> Float64:
    """(..., 2) centres of (..., 4) boxes."""
    return np.asarray((box[..., :2] + box[..., 2:]) / 2, np.float64)


def side(box: Float64) -> Float64:
    """(...) square root of the area of (..., 4) boxes, in pixels."""
    return np.asarray(np.sqrt(np.maximum(np.prod(box[..., 2:] - box[..., :2], axis=-1), 1e-6)), np.float64)


def overlap(a: Float64, b: Float64) -> Float64:
    """(A, B) intersection over union of (A, 4) and (B, 4) boxes."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0.0), axis=2)
    area_a, area_b = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b))
    return np.asarray(both / np.maximum(area_a[:, None] + area_b[None] - both, 1e-9), np.float64)


def cover(a: Float64, b: Float64) -> Float64:
    """(A, B) share of the smaller box that lies in the larger one."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0.0), axis=2)
    area_a, area_b = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b))
    return np.asarray(both / np.maximum(np.minimum(area_a[:, None], area_b[None]), 1e-9), np.float64)


def assign(cost: Float64, limit: float) -> list[tuple[int, int]]:
    """One-to-one pairs of rows and columns with the least total cost, none above `limit`.

    An optimal assignment (Hungarian algorithm), never greedy: crossing people keep their tracks.
    """
    if not cost.size:
        return []
    if min(cost.shape) == 1:
        best = np.unravel_index(np.argmin(cost), cost.shape)
        return [(int(best[0]), int(best[1]))] if cost[best] <= limit else []
    # Only crowds pay for the import: it takes half a second.
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(np.where(cost <= limit, cost, _FAR))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] <= limit]


def associate(known: Float64, found: Float64) -> list[tuple[int, int]]:
    """Pairs (known, found) of boxes of the same face; detectors and landmarks frame a face differently."""
    if not len(known) or not len(found):
        return []
    apart = np.linalg.norm(centre(known)[:, None] - centre(found)[None], axis=2)
    size = (side(known)[:, None] + side(found)[None]) / 2
    ratio = np.abs(np.log(side(known)[:, None] / side(found)[None]))
    cost = 1.0 - overlap(known, found) + 0.25 * apart / size
    return assign(np.where((apart < 0.6 * size) & (ratio < np.log(2.2)), cost, _FAR), 1.3)


def plausible(expected: Float64, dense: Float64) -> NDArray[np.bool_]:
    """(F,) whether (F, N, 3) landmarks can be those expected: near, of like size, not turned over."""
    before, now = extent(expected), extent(dense)
    apart = np.linalg.norm(centre(now) - centre(before), axis=1) / side(before)
    ratio = np.abs(np.log(side(now) / side(before)))
    a, b = (x[:, STABLE, 0] + 1j * x[:, STABLE, 1] for x in (expected, dense))
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    match = (b * a.conj()).sum(axis=1) / np.maximum(
        np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-9
    )
    # the real part of the correlation is cos(turn) times the likeness of the two shapes
    return np.asarray((apart < 0.45) & (ratio < 0.35) & (match.real > 0.75) & np.isfinite(match), np.bool_)


def surprise(boxes: Float64, back: int = 6) -> float:
    """How far the last box is from where the rows before the last `back` were heading, in sides.

    Tells which of two tracks on one face has jumped there.
    """
    old = boxes[:-back][-8:]
    if len(old) < 3:
        return 2.0
    x = np.arange(len(old), dtype=np.float64)
    slope, level = np.polyfit(x, np.column_stack([centre(old), np.log(side(old))]), 1)
    # half of the slope: people who cross slow down or turn as often as they go on
    ahead = level + slope * (len(old) - 1 + 0.5 * back)
    miss = np.linalg.norm(centre(boxes[-1]) - ahead[:2]) / np.exp(ahead[2])
    return float(miss + abs(np.log(side(boxes[-1])) - ahead[2]))


def _ends(tracklet: Tracklet, spill: Spill) -> tuple[Float64, Float64]:
    """(2, N, 3) mean landmarks of the first and last rows, and (2, 2) speed of the centre there."""
    boxes, records = tracklet.boxes, tracklet.records
    few = min(3, len(tracklet))
    dense = np.stack([spill.read(records[:few]).mean(axis=0), spill.read(records[-few:]).mean(axis=0)])
    span = min(6, len(tracklet))
    path = centre(boxes)
    speed = np.stack([path[span - 1] - path[0], path[-1] - path[-span]]) / max(1, span - 1)
    return dense, speed


def _apart(a: Float64, b: Float64) -> float:
    """RMS difference of two faces' stable points after alignment, as a share of the head's radius."""
    p, q = (x[STABLE, 0] + 1j * x[STABLE, 1] for x in (a, b))
    p, q = p - p.mean(), q - q.mean()
    turn = (q * p.conj()).sum() / (np.abs(p) ** 2).sum()
    rest = np.sqrt((np.abs(q - turn * p) ** 2).mean())
    return float(rest / max(1e-9, np.sqrt((np.abs(q) ** 2).mean())))


def link_cost(tail: Tracklet, head: Tracklet, spill: Spill) -> float:
    """Cost of `head` being the continuation of `tail`: by place, size and shape; above 1 no."""
    (_, last), (_, speed) = _ends(tail, spill)
    (first, _), (back, _) = _ends(head, spill)
    steps = head.start - tail.end + 1
    here, there = tail.boxes[-1], head.boxes[0]
    size = float(side(here) + side(there)) / 2
    apart = centre(there) - centre(here)
    # people who vanish behind something often slow down: any share of the common motion will do
    moved = (speed + back) / 2 * steps
    share = np.clip(apart @ moved / max(float(moved @ moved), 1e-9), 0.0, 1.0)
    place = float(np.linalg.norm(apart - share * moved)) / size
    ratio = abs(float(np.log(side(there) / side(here))))
    return place / 0.8 + ratio / 0.45 * 0.7 + _apart(last, first) / 0.35 * 0.5


def link(tracklets: Sequence[Tracklet], spill: Spill, shots: Sequence[int], gap: int) -> list[list[Tracklet]]:
    """Join tracklets of one face inside a shot over at most `gap` missing frames.

    Returns:
        Groups of tracklets in order of time, first by first frame.
    """
    order = sorted(tracklets, key=lambda t: (t.start, t.number))
    shot = np.searchsorted(np.asarray(shots), [t.start for t in order], side="right")
    cost = np.full((len(order), len(order)), _FAR)
    for i, tail in enumerate(order):
        for j, head in enumerate(order):
            if 0 <= head.start - tail.end <= gap and shot[i] == shot[j]:
                cost[i, j] = link_cost(tail, head, spill)
    after = dict(assign(cost, _LINK))
    heads = set(range(len(order))) - set(after.values())
    groups = []
    for k in sorted(heads):
        group = [order[k]]
        while k in after:
            k = after[k]
            group.append(order[k])
        groups.append(group)
    return groups


def fill(group: Sequence[Tracklet], spill: Spill) -> Chain:
    """One chain of a group of tracklets; the landmarks between them are interpolated and spilled."""
    records, observed, scores = [group[0].records], [np.ones(len(group[0]), bool)], [group[0].scores]
    for tail, head in pairwise(group):
        missing = head.start - tail.end
        if missing:
            (a, b) = spill.read(np.array([tail.records[-1], head.records[0]]))
            share = (np.arange(1, missing + 1) / (missing + 1))[:, None, None]
            first = spill.append(a + share * (b - a))
            records.append(np.arange(first, first + missing))
            observed.append(np.zeros(missing, bool))
            scores.append(np.full(missing, min(tail.scores[-1], head.scores[0]) / 2))
        records.append(head.records)
        observed.append(np.ones(len(head), bool))
        scores.append(head.scores)
    return Chain(
        group[0].start,
        np.concatenate(records),
        np.concatenate(observed),
        np.concatenate(scores),
        sum(t.hits for t in group),
        np.sum(looks, axis=0) if (looks := [t.look for t in group if t.look is not None]) else None,
        np.stack(vectors) if (vectors := [v for t in group for v in t.embeddings]) else None,
    )


def real(chain: Chain, shot: tuple[int, int], rate: float, score: float) -> bool:
    """Whether a chain is long and sure enough to be a face; in short shots a short one is.

    Rows in which it was let through as a face from the side say nothing about the others.
    """
    least = min(0.25 * rate, 0.5 * (shot[1] - shot[0]))
    judged = chain.scores[~chain.observed | (chain.scores >= PRESENCE)]
    sure = not len(judged) or float(np.median(judged)) >= score
    return len(chain) >= least and sure and chain.hits > 0
