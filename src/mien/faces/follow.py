"""Following faces from frame to frame: pass one's loop over a clip.

The whole frame is searched now and then; between, each face's landmarks tell where to look in the next
frame. What a network does is handed in (`Eyes`), so that this file knows nothing of models.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mien.faces import cuts, track
from mien.faces.crops import Embedder, Gallery
from mien.faces.cuts import Cuts
from mien.faces.likeness import SMALLEST
from mien.faces.patrol import Patrol
from mien.faces.repeats import Repeats
from mien.faces.rows import Spill
from mien.faces.track import PRESENCE, Tracklet
from mien.images import cpu
from mien.settings import Detect
from mien.settings import Track as TrackSettings
from mien.types import Faces, Float32, Float64, Frame, Int64

THUMB = 480
"""Longer side of the thumbnails at most, pixels."""
_MEMORY = 48 << 20
"""Most bytes of thumbnails kept for looking back."""
_BACK = 16
"""Searches that can be looked back over: all windows are seen once in this time."""
_TURNED = 4
"""Every which search looks for lying faces, where nobody is being followed."""
_FULL = 40
"""Every which search looks at everything, where nobody is being followed."""
_GONE = 8
"""Places of lost faces that are remembered beside the latest."""
_MISSES = 3
"""Searches in a row that may fail to confirm a face before a doubtful one is given up."""
_SURE = 0.9
"""Mean presence of a face that is believed although the detector does not see it."""
_OFF = 0.05
"""Distance from its expected place, over the face's size, at which a face is looked at again."""
_LOOKS = 3
"""Most times a face is looked at again in one frame."""
_LOOKS_APART = 0.2
"""Seconds between two notes of how a face looks, at least."""
_LOOKS_MOST = 12
"""Most notes of how a face looks: they cover twenty seconds."""
_OPEN = 1.0
"""Seconds of a shot in which everybody is looked for, whatever is locked: who turns away at a cut, say."""
_SAME = 0.45
"""Overlap of two tracks from which they show one face."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """What following needs from the networks."""

    windows: Callable[[tuple[int, int]], Float64]
    """Frame size to the (W, 5) windows of a search: level, left, top, right, bottom; coarsest first."""
    find: Callable[[Frame, Int64 | None, Faces, bool], Faces]
    """Detection in the windows of these rows (None: all), given the faces already located in the frame, and
    whether to turn the frame on its sides where nothing is found upright."""
    land: Callable[[Frame, Float64], tuple[Float64, Float64]]
    """(F, 2, 3) regions to (F, N, 3) landmarks and (F,) presence."""
    roi_points: Callable[[Float64], Float64]
    """(F, 5, 2) points to (F, 2, 3) regions."""
    roi_dense: Callable[[Float64], Float64]
    """(F, N, 3) landmarks to (F, 2, 3) regions."""
    five: Callable[[Float64], Float64]
    """(F, N, 3) landmarks to the (F, 5, 2) points."""
    look: Callable[[Frame, Float64], Float32] | None = None
    """How a face of (N, 3) landmarks looks, (4, P), see `likeness`; None where nobody asks."""
    embedder: Embedder | None = None
    """Tells who a face is; None where there is no network for that."""
    refine: Callable[[Frame, Float64], Float64] | None = None
    """(F, N, 3) landmarks to the (F, 68, 3) points of a second landmarker, z 0, to be kept behind them."""
    aside: Callable[[Float64], NDArray[np.bool_]] | None = None
    """(F, N, 3) landmarks to (F,) whether a face is seen from the side; None where nobody is."""


_Landed: TypeAlias = tuple[Float64, Float64]
"""(F, N, 3) landmarks and (F,) presence."""


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """A frame seen as a whole: what can be had before the faces of the frame ahead of it are known."""

    frame: Frame
    thumb: Frame
    look: cuts.Look


@dataclass(slots=True, eq=False)
class _Live:
    """A face that is being followed."""

    tracklet: Tracklet
    dense: Float64
    """(N, 3) landmarks in the latest frame."""
    speed: Float64 = field(default_factory=lambda: np.zeros(2))
    """Pixels a frame, damped."""
    misses: int = 0
    """Searches in a row that did not see it."""
    repeats: Repeats = field(default_factory=Repeats)

    def expected(self) -> Float64:
        """(N, 3) landmarks where they should be in the next frame."""
        moved = self.dense.copy()
        moved[:, :2] += self.speed
        return moved

    def move(self, dense: Float64) -> None:
        """Take over the landmarks of the next frame; half of a sudden speed is believed."""
        step = (dense[:, :2] - self.dense[:, :2]).mean(axis=0)
        self.speed = 0.5 * self.speed + 0.5 * step
        self.dense = dense


class Follower:
    """Follows every face of a clip; call `step` for each frame in order, then `finish`, and read `tracklets`
    and `shots`.

    Args:
        eyes: The networks.
        spill: Where landmarks are written.
        detect: Settings of the whole-frame search.
        settings: Settings of following.
        rate: Frames per second.
        aside: One thread that looks for repeated pictures meanwhile; frames must then not be written. None
            where there is none.
    """

    def __init__(
        self,
        eyes: Eyes,
        spill: Spill,
        detect: Detect,
        settings: TrackSettings,
        rate: float,
        aside: Executor | None = None,
    ) -> None:
        self.tracklets: list[Tracklet] = []
        self._eyes = eyes
        self._aside = aside
        self._spill = spill
        self._gallery = None if eyes.embedder is None else Gallery(eyes.embedder, eyes.five, rate)
        self._looks_apart = max(1, round(_LOOKS_APART * rate))
        self._interval = max(1, round(detect.interval * rate))
        self._side = min(PRESENCE, detect.side_score)
        self._lock = round(_OPEN * rate) if detect.lock else None
        self._patience = max(2, round(settings.gap * rate))
        self._cuts = Cuts(settings.cut, rate)
        self._live: list[_Live] = []
        self._past: deque[Frame] = deque(maxlen=_BACK * self._interval)
        self._patrol: Patrol | None = None
        self._next_search = self._next_turned = self._next_full = -1
        self._lost_at = -(1 << 40)
        self._crew = 0
        self._began = 0
        self._gone: list[Float64] = []
        self._wait = 1
        self._expect = -1

    @property
    def shots(self) -> tuple[int, ...]:
        """First frame of every shot so far."""
        return self._cuts.starts()

    def step(self, frame: Frame, seen: Glimpse | None = None) -> None:
        """Take in the next frame, and what was seen of it before."""
        seen = seen or glimpse(frame)
        thumb = seen.thumb
        cut = self._cuts.step(frame.index, seen.look)
        if cut or frame.index != self._expect:
            self._live = []
            self._past.clear()
            self._patrol = None
            self._crew, self._began = 0, frame.index
            self._next_search = self._next_full = frame.index
        self._expect = frame.index + 1
        self._follow(frame)
        self._part()
        if frame.index >= self._next_search:
            self._search(frame, thumb)
            self._part()
        self._look(frame)
        if self._gallery is not None:
            self._gallery.step(frame, [(live.tracklet, live.dense) for live in self._live])
        self._remember(thumb)

    def current(self) -> Faces:
        """The faces in the latest frame, as they were found there; `track` is their tracklets' number."""
        found = self._known(self._expect - 1)
        numbers = np.array([live.tracklet.number for live in self._live], np.int64)
        return replace(found, track=numbers)

    def finish(self) -> None:
        """There are no more frames."""
        if self._gallery is not None:
            self._gallery.finish()

    def _follow(self, frame: Frame) -> None:
        """Find each known face again near its expected place; on a repeated picture it stays where it was."""
        early = self._aside is not None and all(live.repeats.seldom for live in self._live)
        moved, expected, landed = (self._landed if early else self._moved)(frame)
        if not moved:
            return
        dense, presence = self._settled(frame, expected, landed)
        good = self._faces(dense, presence) & track.plausible(expected, dense)
        rows = iter(self._whole(frame, dense[good]))
        gone = [live for k, live in enumerate(moved) if not good[k]]
        for k in np.flatnonzero(good):
            self._extend(moved[k], frame, dense[k], float(presence[k]), next(rows))
        if gone:
            self._lost(frame.index, [live.tracklet.last(1)[0] for live in gone])
        self._live = [live for live in self._live if live not in gone]

    def _moved(self, frame: Frame) -> tuple[list[_Live], Float64, _Landed]:
        """The faces of which the picture is no repeat, where they are expected, and what is found there."""
        moved = [live for live in self._live if not self._repeats(live, live.repeats.repeated(frame))]
        expected = np.array([live.expected() for live in moved])
        if not moved:
            return moved, expected, (expected, np.zeros(0))
        return moved, expected, self._eyes.land(frame, self._eyes.roi_dense(expected))

    def _landed(self, frame: Frame) -> tuple[list[_Live], Float64, _Landed]:
        """The same, where repeats are so seldom that all faces are looked at before it is known."""
        if self._aside is None or not self._live:
            return self._moved(frame)
        answers = [self._aside.submit(live.repeats.repeated, frame) for live in self._live]
        expected = np.array([live.expected() for live in self._live])
        dense, presence = self._eyes.land(frame, self._eyes.roi_dense(expected))
        rows = [k for k, live in enumerate(self._live) if not self._repeats(live, answers[k].result())]
        return [self._live[k] for k in rows], expected[rows], (dense[rows], presence[rows])

    def _repeats(self, live: _Live, same: bool) -> bool:
        """Whether its picture is a repeat; then it stays where it was."""
        if same:
            live.tracklet.repeat()
        return same

    def _settled(self, frame: Frame, expected: Float64, landed: _Landed) -> _Landed:
        """Landmarks of faces near their expected places, looked at again where they are elsewhere.

        A crop that is off by a tenth of the face pulls the landmarks along with it.
        """
        dense, presence = landed
        before = expected
        for _ in range(_LOOKS):
            moved = np.linalg.norm((dense - before)[..., :2].mean(axis=1), axis=1)
            spread = np.ptp(dense[..., :2], axis=1).max(axis=1)
            off = np.flatnonzero((moved > _OFF * spread) & self._faces(dense, presence))
            if not len(off):
                break
            before = dense.copy()
            dense[off], presence[off] = self._eyes.land(frame, self._eyes.roi_dense(dense[off]))
        return dense, presence

    def _faces(self, dense: Float64, presence: Float64) -> NDArray[np.bool_]:
        """(F,) whether (F, N, 3) landmarks with (F,) presence are those of faces."""
        sure = presence >= PRESENCE
        maybe = np.flatnonzero(~sure & (presence >= self._side))
        if len(maybe) and self._eyes.aside is not None:
            sure[maybe] = self._eyes.aside(dense[maybe])
        return sure

    def _whole(self, frame: Frame, dense: Float64) -> Float64:
        """(F, M, 3) what is kept of (F, N, 3) landmarks: them, and what a second landmarker finds."""
        if self._eyes.refine is None or not len(dense):
            return dense
        return np.concatenate([dense, self._eyes.refine(frame, dense)], axis=1)

    def _extend(self, live: _Live, frame: Frame, dense: Float64, presence: float, row: Float64) -> None:
        box = track.extent(dense[None])[0]
        live.move(dense)
        live.repeats.renew(frame, box, self._aside)
        live.tracklet.append(self._spill.append(row[None]), box, presence)

    def _look(self, frame: Frame) -> None:
        """Note how each face looks, now and then: less often the longer it has been there."""
        if self._eyes.look is None:
            return
        for live in self._live:
            item = live.tracklet
            if item.looks >= _LOOKS_MOST or len(item) < item.look_at:
                continue
            item.looks += 1
            item.look_at = len(item) + max(self._looks_apart, len(item) // 2)
            if track.side(item.last(1)[0]) >= SMALLEST:
                seen = self._eyes.look(frame, live.dense)
                item.look = seen if item.look is None else item.look + seen

    def _lost(self, index: int, boxes: list[Float64]) -> None:
        """Search at once, and again after growing waits for as long as a gap may be bridged."""
        self._gone = boxes + (self._gone if index - self._lost_at < self._patience else [])[:_GONE]
        self._lost_at = index
        self._wait = 1
        self._next_search = index

    def _part(self) -> None:
        """End one of any two tracks that show the same face: the one that has jumped there."""
        while len(self._live) > 1:
            boxes = np.stack([live.tracklet.last(1)[0] for live in self._live])
            shared = np.triu(np.maximum(track.overlap(boxes, boxes), track.cover(boxes, boxes) - 0.4), 1)
            a, b = (int(k) for k in np.unravel_index(int(shared.argmax()), shared.shape))
            if shared[a, b] < _SAME:
                return
            pair = sorted(
                (a, b),
                key=lambda k: (track.surprise(self._live[k].tracklet.last(14)), -len(self._live[k].tracklet)),
            )
            stays, goes = (self._live[k].tracklet for k in pair)
            _trim(goes, stays)
            if len(goes) <= 1:
                self.tracklets.remove(goes)
                self._crew -= 1
            self._live.pop(pair[1])
            self._lost(stays.end - 1, [stays.last(1)[0]])
            self._next_search = stays.end  # the hidden one is looked for from the next frame on

    def _search(self, frame: Frame, thumb: Frame) -> None:
        """Whole-frame detection: confirm known faces, start new ones, give up doubtful ones."""
        patrol = self._patrol = self._patrol or Patrol(self._eyes.windows(frame.size), thumb, self._interval)
        rows = self._rows(patrol, frame.index, thumb)
        turned = not self._live and (rows is None or frame.index >= self._next_turned)
        if turned:
            self._next_turned = frame.index + _TURNED * self._interval
        found = self._eyes.find(frame, rows, self._known(frame.index), turned)
        patrol.looked(frame.index, thumb, rows)
        known = np.array([live.tracklet.last(1)[0] for live in self._live]).reshape(-1, 4)
        pairs = track.associate(known, found.box)
        seen = {k for k, _ in pairs}
        for k, live in enumerate(self._live):
            live.tracklet.hits += k in seen
            live.misses = 0 if k in seen else live.misses + patrol.expected(known[k], rows)
        before = len(self._live)
        self._live = [x for x in self._live if x.misses < _MISSES or _sure(x.tracklet)]
        self._crew -= before - len(self._live)
        new = np.setdiff1d(np.arange(len(found)), [j for _, j in pairs])
        self._begin(frame, thumb, found[new])
        self._crew = max(self._crew, len(self._live))
        self._plan(frame.index, calm=len(self._live) >= before and not len(new))

    def _rows(self, patrol: Patrol, index: int, thumb: Frame) -> Int64 | None:
        """Windows to look at now; None for all, where a shot begins."""
        if index >= self._next_full and not self._live:
            self._next_full = index + _FULL * self._interval
            return None
        if index - self._lost_at < self._patience:
            return patrol.near(np.reshape(self._gone, (-1, 4)))
        known = self._known(index).box
        within = None
        if self._locked(index):
            within = patrol.near(known, self._interval * np.stack([live.speed for live in self._live]))
        return patrol.due(index, thumb, known, within)

    def _locked(self, index: int) -> bool:
        """Whether everybody of the shot is being followed, and nobody else is asked for."""
        everybody = 0 < len(self._live) >= self._crew
        return self._lock is not None and everybody and index - self._began >= self._lock

    def _known(self, index: int) -> Faces:
        """The faces that are being followed, as they are in the present frame."""
        if not self._live:
            return Faces.empty()
        dense = np.stack([live.dense for live in self._live])
        scores = np.array([live.tracklet.latest for live in self._live])
        numbers = np.full(len(dense), index, np.int64)
        return Faces(numbers, track.extent(dense), self._eyes.five(dense), scores, dense)

    def _plan(self, index: int, calm: bool) -> None:
        """When to search next."""
        self._next_search = index + self._interval
        if index - self._lost_at < self._patience and not (calm and self._wait > 8):
            self._next_search = index + min(self._wait, self._interval)
            self._wait *= 2

    def _begin(self, frame: Frame, thumb: Frame, found: Faces) -> None:
        """Start tracklets for detections nobody follows, as far back as they can be seen."""
        if not len(found):
            return
        dense, presence = found.dense, found.score
        if dense is None:
            dense, presence = self._eyes.land(frame, self._eyes.roi_points(found.points))
        for k in np.argsort(-presence, kind="stable"):
            box = track.extent(dense[k : k + 1])
            if not self._faces(dense[k : k + 1], presence[k : k + 1])[0] or not track.associate(
                box, found.box[k : k + 1]
            ):
                continue
            others = np.array([live.tracklet.last(1)[0] for live in self._live]).reshape(-1, 4)
            if len(others) and track.overlap(box, others).max() >= _SAME:
                continue
            tracklet = Tracklet(len(self.tracklets), frame.index)
            record = self._spill.append(self._whole(frame, dense[k : k + 1]))
            tracklet.append(record, box[0], float(presence[k]))
            tracklet.hits = 1
            self.tracklets.append(tracklet)
            self._live.append(_Live(tracklet, dense[k]))
            self._live[-1].repeats.renew(frame, box[0], self._aside)
            first = (record, box[0], float(presence[k]))
            tracklet.prepend(self._look_back(thumb, dense[k], first))

    def _look_back(
        self, thumb: Frame, dense: Float64, first: tuple[int, Float64, float]
    ) -> list[tuple[int, Float64, float]]:
        """Follow a new face backwards through the kept thumbnails: rows from the newest to the oldest."""
        rows = [first]
        live = _Live(Tracklet(-1, thumb.index), dense)
        live.repeats.renew(thumb, first[1])
        for past in reversed(self._past):
            if live.repeats.repeated(past) and not self._taken(rows[-1][1][None], past.index):
                rows.append(rows[-1])
                continue
            expected = live.expected()[None]
            found, presence = self._eyes.land(past, self._eyes.roi_dense(expected))
            box = track.extent(found)
            if not self._faces(found, presence)[0] or not track.plausible(expected, found)[0]:
                break
            if self._taken(box, past.index):
                break
            live.move(found[0])
            live.repeats.renew(past, box[0])
            rows.append((self._spill.append(self._whole(past, found)), box[0], float(presence[0])))
        return rows[1:]

    def _taken(self, box: Float64, index: int) -> bool:
        """Whether another track is at this place in frame `index`."""
        recent = (t for t in self.tracklets[-64:] if t.start <= index < t.end)
        boxes = np.array([t.box_at(index) for t in recent]).reshape(-1, 4)
        return bool(len(boxes)) and float(track.overlap(box, boxes).max()) >= _SAME / 2

    def _remember(self, thumb: Frame) -> None:
        """Keep a thumbnail for looking back, within the memory allowed."""
        fits = max(1, _MEMORY // sum(plane.nbytes for plane in thumb.planes))
        while len(self._past) >= fits:
            self._past.popleft()
        self._past.append(thumb)


def glimpse(frame: Frame) -> Glimpse:
    """Look at a frame as a whole; may be done in any thread."""
    thumb = thumbnail(frame)
    return Glimpse(frame, thumb, cuts.look(cpu.thumbnail(thumb, cuts.SIZE)))


def thumbnail(frame: Frame, side: int = THUMB) -> Frame:
    """A small copy of a frame, its longer side at most `side`; `display` leads to the same display pixels."""
    shrink = 1
    while max(frame.width, frame.height) > side * shrink:
        shrink += 1 if shrink == 1 else 2  # even: halving averages fastest
    return cpu.reduced(frame, shrink)


def _sure(tracklet: Tracklet) -> bool:
    """Whether the landmarker itself has been certain of a face lately."""
    return float(tracklet.scores[-30:].mean()) >= _SURE


def _trim(goes: Tracklet, stays: Tracklet, most: int = 10) -> None:
    """Take back the rows of `goes` in which it already shared the face of `stays`."""
    count = min(most, len(goes), len(stays))
    a, b = goes.last(count), stays.last(count)
    shared = np.diag(track.overlap(a, b))
    apart = np.flatnonzero(shared < 0.25)
    goes.drop_last(count - 1 - int(apart[-1]) if len(apart) else count)
