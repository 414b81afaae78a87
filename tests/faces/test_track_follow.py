"""Following, linking and cuts in a synthetic world where the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.faces.compose import Facts, compose
from mien.faces.cuts import Cuts, look
from mien.faces.follow import Eyes, Follower
from mien.faces.rows import Spill
from mien.settings import Detect
from mien.settings import Track as TrackSettings
from mien.types import Colour, Faces, Float64, Frame, Int64, Layout, Tracks

RATE = 30.0
SIZE = (640, 360)
_RGB = Layout("rgb24", "rgb", 8, ((0, 1, 2),))
_FIVE = (33, 263, 4, 61, 291)


def _mesh(person: int) -> Float64:
    """(468, 3) a face of its own shape, about 2 wide and 2.4 high."""
    base = np.random.default_rng(0).uniform(-1, 1, (468, 3)) * (1, 1.2, 0.5)
    return base + np.random.default_rng(person + 1).normal(0, 0.06, (468, 3))


@dataclass
class Person:
    """Somebody with a path: centre x, y and half width for a frame, None while hidden."""

    number: int
    path: Callable[[int], tuple[float, float, float] | None]

    def dense(self, index: int) -> Float64 | None:
        where = self.path(index)
        if where is None:
            return None
        x, y, r = where
        return np.asarray(_mesh(self.number) * r + np.array([x, y, 0.0]))


@dataclass
class World:
    """People in front of backgrounds; the first in the list stand in front."""

    people: list[Person]
    length: int
    shots: tuple[int, ...] = (0,)
    missed: frozenset[int] = frozenset()
    """Frames in which the detector sees nothing."""
    blind: frozenset[int] = frozenset()
    """Frames in which the landmarker sees nothing."""
    white: frozenset[int] = frozenset()
    """Frames that a flash whites out."""
    absent: frozenset[int] = frozenset()
    """Frames that could not be decoded."""
    searched: list[int] = field(default_factory=list)

    def visible(self, index: int) -> list[tuple[Person, Float64]]:
        seen: list[tuple[Person, Float64]] = []
        for person in self.people:
            dense = person.dense(index)
            if dense is None:
                continue
            c = dense.mean(axis=0)
            r = np.ptp(dense[:, 0]) / 2
            if all(np.linalg.norm(c[:2] - d.mean(axis=0)[:2]) > 1.1 * r for _, d in seen):
                seen.append((person, dense))
        return seen

    def windows(self, size: tuple[int, int]) -> Float64:
        return np.array([[0.0, 0, 0, *size]])

    def find(self, frame: Frame, rows: Int64 | None, known: Faces, turned: bool) -> Faces:
        self.searched.append(frame.index)
        faces = [d for _, d in self.visible(frame.index)] if frame.index not in self.missed else []
        if not faces:
            return Faces.empty()
        dense = np.stack(faces)
        box = np.concatenate([dense[..., :2].min(1), dense[..., :2].max(1)], 1)
        box[:, 1] += 0.2 * (box[:, 3] - box[:, 1])  # a detector frames the face otherwise
        n = len(faces)
        return Faces(np.full(n, frame.index), box, dense[:, _FIVE, :2], np.full(n, 0.9))

    def land(self, frame: Frame, rois: Float64) -> tuple[Float64, Float64]:
        rng = np.random.default_rng(frame.index)
        out, presence = np.zeros((len(rois), 468, 3)), np.zeros(len(rois))
        for k, roi in enumerate(rois):
            middle = np.linalg.solve(roi[:, :2], 96 - roi[:, 2])
            side = 192 / np.sqrt(abs(np.linalg.det(roi[:, :2])))
            best = min(
                (d for _, d in self.visible(frame.index)),
                key=lambda d: float(np.linalg.norm(d.mean(0)[:2] - middle)),
                default=None,
            )
            near = best is not None and np.linalg.norm(best.mean(0)[:2] - middle) < 0.35 * side
            if best is not None and near and frame.index not in self.blind:
                out[k], presence[k] = best + rng.normal(0, 0.2, best.shape), 0.98
            else:
                out[k] = rng.normal(0, 9, (468, 3)) + np.array([*middle, 0])
        return out, presence

    def frame(self, index: int) -> Frame:
        return self.shown(index, index)

    def shown(self, index: int, number: int) -> Frame:
        """Frame `index`, without a mark of the people, like the one before where `number` is the same."""
        shot = int(np.searchsorted(self.shots, index, side="right"))
        rgb = np.random.default_rng(shot).integers(0, 255, (12, 16, 3)) // (1 + shot % 3)
        picture = np.kron(np.minimum(rgb, 230), np.ones((30, 40, 1))).astype(np.uint8)
        picture[:] = 230 if index in self.white else picture
        picture += np.uint8(10 * (number % 3))
        return Frame(
            (picture,), _RGB, Colour("rgb", True), index, index, np.array([[1.0, 0, 0], [0, 1.0, 0]])
        )

    def eyes(self) -> Eyes:
        return Eyes(self.windows, self.find, self.land, _roi_points, _roi_dense, lambda d: d[:, _FIVE, :2])

    def run(self, folder: Path, aside: Executor | None = None, **settings: float) -> Tracks:
        chosen = TrackSettings.model_validate({"smooth": 0.0} | settings)
        with Spill(folder / "rough", 468) as spill:
            follower = Follower(self.eyes(), spill, Detect(), chosen, RATE, aside)
            for index in range(self.length):
                if index not in self.absent:
                    follower.step(self.frame(index))
            facts = Facts(self.length, SIZE, follower.shots, RATE)
            work = compose(
                follower.tracklets, spill, facts, chosen, lambda d: d[:, _FIVE, :2], folder / "tracks"
            )
            while True:
                try:
                    next(work)
                except StopIteration as finished:
                    return finished.value  # type: ignore[no-any-return]

    def who(self, tracks: Tracks, track: int, index: int) -> int:
        """Number of the person a track shows in a frame."""
        chosen = next(t for t in tracks.tracks if t.id == track)
        dense = tracks.dense[track][index - chosen.start : index - chosen.start + 1][0]
        true = [p.dense(index) for p in self.people]
        return int(np.argmin([np.inf if d is None else np.abs(d - dense).mean() for d in true]))


def _square(centre: Float64, side: Float64) -> Float64:
    rois = np.zeros((len(centre), 2, 3))
    rois[:, 0, 0] = rois[:, 1, 1] = 192 / side
    rois[:, :, 2] = 96 - centre * (192 / side)[:, None]
    return rois


def _roi_dense(dense: Float64) -> Float64:
    low, high = dense[..., :2].min(1), dense[..., :2].max(1)
    return _square((low + high) / 2, (high - low).max(1) * 1.5)


def _roi_points(points: Float64) -> Float64:
    size = np.abs(points[:, 1] - points[:, 0]).max(1)
    return _square(points.mean(1), np.maximum(size * 2, 60))


def _still(x: float, y: float, r: float = 30) -> Callable[[int], tuple[float, float, float]]:
    return lambda _: (x, y, r)


def test_one_still_person_is_one_whole_track(tmp_path: Path) -> None:
    world = World([Person(0, _still(300, 180))], 100)
    tracks = world.run(tmp_path)
    assert [(t.start, t.end) for t in tracks.tracks] == [(0, 100)]
    assert tracks.tracks[0].observed.all()
    assert world.searched == [0, 15, 30, 45, 60, 75, 90]  # every half second and no more
    dense = tracks.at(50).dense
    assert dense is not None
    assert np.abs(dense[0] - world.people[0].dense(50)).mean() < 0.3


def test_two_people_who_cross_keep_their_tracks(tmp_path: Path) -> None:
    people = [Person(0, lambda i: (150 + 3.4 * i, 180, 32)), Person(1, lambda i: (490 - 3.4 * i, 180, 27))]
    world = World(people, 100)
    tracks = world.run(tmp_path)
    assert len(tracks.tracks) == 2
    for t in tracks.tracks:
        assert (t.start, t.end) == (0, 100)
        shown = {world.who(tracks, t.id, k) for k in range(t.start, t.end) if t.observed[k - t.start]}
        assert len(shown) == 1
    assert tracks.tracks[0].observed.all() or tracks.tracks[1].observed.all()  # the one in front
    assert not all(t.observed.all() for t in tracks.tracks)


@pytest.mark.parametrize("same_place", [True, False])
def test_no_track_crosses_a_cut(tmp_path: Path, same_place: bool) -> None:
    after = _still(300, 180, 31) if same_place else _still(90, 90, 50)
    people = [
        Person(0, lambda i: (300, 180, 30) if i < 47 else None),
        Person(1, lambda i: after(i) if i >= 47 else None),
    ]
    world = World(people, 90, shots=(0, 47))
    tracks = world.run(tmp_path)
    assert tracks.shots == (0, 47)
    assert [(t.start, t.end, t.shot) for t in tracks.tracks] == [(0, 47, 0), (47, 90, 1)]
    assert len({t.person for t in tracks.tracks}) == 2


def test_short_gap_is_filled_and_long_one_is_not(tmp_path: Path) -> None:
    for blind, spans in ((range(40, 47), [(0, 100)]), (range(40, 70), [(0, 40), (70, 100)])):
        world = World(
            [Person(0, lambda i: (200 + 2.0 * i, 180, 30))],
            100,
            blind=frozenset(blind),
            missed=frozenset(blind),
        )
        tracks = world.run(tmp_path)
        assert [(t.start, t.end) for t in tracks.tracks] == spans
    world.blind = world.missed = frozenset(range(40, 47))
    tracks = world.run(tmp_path)
    seen = tracks.tracks[0].observed
    assert np.flatnonzero(~seen).tolist() == list(range(40, 47))
    filled = tracks.dense[1][43:44][0]
    assert np.abs(filled - world.people[0].dense(43)).mean() < 0.5  # steady motion is interpolated exactly


def test_face_appearing_between_searches_is_followed_back(tmp_path: Path) -> None:
    world = World([Person(0, lambda i: (300.0 + i, 180, 30) if i >= 22 else None)], 60)
    tracks = world.run(tmp_path)
    assert 30 in world.searched
    assert 22 not in world.searched
    assert [(t.start, t.end) for t in tracks.tracks] == [(22, 60)]


def test_face_found_late_by_the_detector_still_starts_at_a_cut(tmp_path: Path) -> None:
    people = [Person(0, lambda i: (300, 180, 30) if i >= 40 else None)]
    world = World(people, 80, shots=(0, 40), missed=frozenset(range(40, 52)))
    assert [(t.start, t.end) for t in world.run(tmp_path).tracks] == [(40, 80)]


def test_one_frame_and_nobody(tmp_path: Path) -> None:
    assert [len(t) for t in World([Person(0, _still(300, 180))], 1).run(tmp_path).tracks] == [1]
    nobody = World([], 40).run(tmp_path)
    assert nobody.tracks == ()
    assert nobody.frames == 40


def test_flash_does_not_break_a_track(tmp_path: Path) -> None:
    gone = frozenset({40, 41, 42})
    world = World([Person(0, _still(300, 180))], 90, white=gone, blind=gone, missed=gone)
    tracks = world.run(tmp_path)
    assert tracks.shots == (0,)
    assert [(t.start, t.end) for t in tracks.tracks] == [(0, 90)]
    assert np.flatnonzero(~tracks.tracks[0].observed).tolist() == sorted(gone)


def test_frames_that_cannot_be_decoded_are_bridged(tmp_path: Path) -> None:
    person = Person(0, lambda i: (200.0 + i, 180, 30))
    tracks = World([person], 90, absent=frozenset({50, 51, 52})).run(tmp_path)
    assert [(t.start, t.end) for t in tracks.tracks] == [(0, 90)]
    true = person.dense(51)
    assert true is not None
    assert np.abs(tracks.dense[1][51:52][0] - true).mean() < 0.5


def test_two_who_appear_with_a_third_between_them(tmp_path: Path) -> None:
    people = [
        Person(0, lambda i: (150, 150, 28) if i < 80 else None),
        Person(1, lambda i: (300, 150, 28) if i >= 20 else None),
        Person(2, _still(480, 220, 34)),
    ]
    world = World(people, 100)
    tracks = world.run(tmp_path)
    spans = {world.who(tracks, t.id, t.start): (t.start, t.end) for t in tracks.tracks}
    assert spans == {0: (0, 80), 1: (20, 100), 2: (0, 100)}


def test_flicker_of_a_false_alarm_is_dropped(tmp_path: Path) -> None:
    people = [Person(0, _still(300, 180)), Person(1, lambda i: (100, 100, 25) if 30 <= i < 34 else None)]
    assert len(World(people, 90).run(tmp_path).tracks) == 1


def _thumb(seed: int, shift: int = 0, gain: float = 1.0, offset: float = 0.0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    low, high = rng.uniform(10, 110, 3), rng.uniform(130, 230, 3)  # every scene has its own colours
    blocks = np.kron(rng.uniform(low, high, (20, 30, 3)), np.ones((12, 16, 1)))
    view = blocks[:216, shift : shift + 384]
    return np.clip(view * gain + offset + rng.normal(0, 3, view.shape), 0, 255).astype(np.uint8)


def _starts(thumbs: list[NDArray[np.uint8]]) -> tuple[int, ...]:
    cuts = Cuts(0.35, RATE)
    for index, thumb in enumerate(thumbs):
        cuts.step(index, look(thumb))
    return cuts.starts()


def test_cut_is_found() -> None:
    assert _starts([_thumb(1)] * 20 + [_thumb(2)] * 20 + [_thumb(3)] * 3) == (0, 20, 40)


def test_cut_in_the_last_frame() -> None:
    assert _starts([_thumb(1)] * 20 + [_thumb(2)]) == (0, 20)


def test_pan_and_fade_are_no_cuts() -> None:
    assert _starts([_thumb(1, shift=4 * k) for k in range(24)]) == (0,)
    assert _starts([_thumb(1, gain=1 - 0.04 * k) for k in range(24)]) == (0,)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_flash_is_no_cut(length: int) -> None:
    flash = [_thumb(1, gain=0.1, offset=235)] * length
    assert _starts([_thumb(1)] * 15 + flash + [_thumb(1)] * 15) == (0,)
