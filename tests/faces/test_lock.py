"""The lock: windows around those who are followed and no others, and who is found all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mien.faces.compose import Facts, compose
from mien.faces.follow import Follower
from mien.faces.rows import Spill
from mien.run.job import analysis_id
from mien.settings import Detect, Settings, Track
from mien.types import Faces, Float64, Frame, Int64, Tracks
from tests.faces.test_track_follow import RATE, SIZE, Person, World

TILE = 160
STEP = 80


@dataclass
class Tiled(World):
    """People too small to be seen in the window of the whole frame, before a background that moves."""

    looked: dict[int, set[int] | None] = field(default_factory=dict)
    """Frame to the windows that were looked at; None for all."""

    def windows(self, size: tuple[int, int]) -> Float64:
        tiles = [
            (1.0, x, y, x + TILE, y + TILE)
            for y in range(0, SIZE[1] - TILE + 1, STEP)
            for x in range(0, SIZE[0] - TILE + 1, STEP)
        ]
        return np.array([(0.0, 0, 0, *size), *tiles])

    def find(self, frame: Frame, rows: Int64 | None, known: Faces, turned: bool) -> Faces:
        self.looked[frame.index] = None if rows is None else set(rows.tolist())
        found = super().find(frame, rows, known, turned)
        if rows is None or not len(found):
            return found
        tiles = self.windows(SIZE)[rows]
        tiles = tiles[tiles[:, 0] > 0][:, 1:]
        room = np.concatenate(
            [found.box[:, None, :2] - tiles[:, :2], tiles[:, 2:] - found.box[:, None, 2:]], 2
        )
        return found[np.flatnonzero(room.min(axis=2).max(axis=1, initial=-1.0) >= 0)]

    def frame(self, index: int) -> Frame:
        return self.shown(index, index if index % 15 else 2 * (index // 15 % 2))  # searches see changes

    def follow(self, folder: Path, lock: bool) -> Tracks:
        settings = Track(smooth=0.0)
        with Spill(folder / "rough", 468) as spill:
            follower = Follower(self.eyes(), spill, Detect(lock=lock), settings, RATE)
            for index in range(self.length):
                follower.step(self.frame(index))
            facts = Facts(self.length, SIZE, follower.shots, RATE)
            work = compose(
                follower.tracklets, spill, facts, settings, lambda d: d[:, (33, 263, 4, 61, 291), :2],
                folder / "tracks",
            )  # fmt: skip
            while True:
                try:
                    next(work)
                except StopIteration as finished:
                    return finished.value  # type: ignore[no-any-return]


Path_ = Callable[[int], tuple[float, float, float] | None]


def standing(x: float, y: float, first: int = 0, end: int = 1 << 30, r: float = 20) -> Path_:
    return lambda index: (x, y, r) if first <= index < end else None


def spans(tracks: Tracks) -> list[tuple[int, int]]:
    return [(t.start, t.end) for t in tracks.tracks]


def test_only_what_is_near_is_looked_at_once_a_shot_is_settled(tmp_path: Path) -> None:
    looked: dict[bool, list[set[int]]] = {}
    for lock in (False, True):
        world = Tiled([Person(0, standing(120, 120))], 600)
        assert spans(world.follow(tmp_path, lock)) == [(0, 600)]
        assert world.looked[0] is None
        looked[lock] = [rows for k, rows in sorted(world.looked.items()) if k >= RATE and rows is not None]
    grid = world.windows(SIZE)[:, 1:]
    around = np.array([60.0, 48, 180, 192])  # three times the size of its box
    near = (grid[:, :2] < around[2:]).all(axis=1) & (grid[:, 2:] > around[:2]).all(axis=1)
    assert set.union(*looked[True]) == set(np.flatnonzero(near).tolist())
    assert set.union(*looked[False]) == set(range(len(grid)))
    assert all(0 in rows for rows in looked[True])
    assert len(looked[True]) == len(looked[False])
    closely = {lock: sum(len(rows) - 1 for rows in found) for lock, found in looked.items()}
    assert closely[True] < 0.6 * closely[False]


@pytest.mark.parametrize("lock", [False, True])
def test_who_comes_in_later_is_found_without_the_lock_alone(tmp_path: Path, lock: bool) -> None:
    world = Tiled([Person(0, standing(120, 120)), Person(1, standing(520, 240, 60))], 300)
    found = spans(world.follow(tmp_path, lock))
    assert found[0] == (0, 300)
    assert len(found) == (1 if lock else 2)


def test_a_large_face_that_comes_in_is_found_with_the_lock_too(tmp_path: Path) -> None:
    class Whole(Tiled):
        def find(self, frame: Frame, rows: Int64 | None, known: Faces, turned: bool) -> Faces:
            return World.find(self, frame, rows, known, turned)

    world = Whole([Person(0, standing(120, 120)), Person(1, standing(480, 200, 60, r=60))], 200)
    assert len(spans(world.follow(tmp_path, lock=True))) == 2


def test_everybody_is_found_at_a_cut(tmp_path: Path) -> None:
    people = [
        Person(0, standing(120, 120, 0, 80)),
        Person(1, standing(500, 240, 80)),
        Person(2, standing(120, 240, 80)),
    ]
    free, locked = (Tiled(people, 160, shots=(0, 80)) for _ in range(2))
    one, two = free.follow(tmp_path, lock=False), locked.follow(tmp_path, lock=True)
    assert locked.looked[80] is None
    assert spans(one) == spans(two) == [(0, 80), (80, 160), (80, 160)]


def test_when_one_is_lost_the_whole_frame_is_searched_until_there_are_as_many_again(tmp_path: Path) -> None:
    """Somebody goes behind a wall and comes out elsewhere, long after a gap that is bridged."""
    away: Path_ = lambda i: (520, 120, 20) if i < 60 else (300, 280, 20) if i >= 110 else None  # noqa: E731
    world = Tiled([Person(0, standing(120, 120)), Person(1, away)], 260)
    found = spans(world.follow(tmp_path, lock=True))
    assert (0, 260) in found
    assert any(start in range(108, 140) and end == 260 for start, end in found)
    grid = world.windows(SIZE)[1:, 1:]
    settled = [rows for k, rows in world.looked.items() if k > 200 and rows is not None]
    far = np.flatnonzero((grid[:, 0] >= 400) & (grid[:, 1] >= 200)) + 1
    assert not set(far.tolist()) & set[int]().union(*settled)  # everybody is there, and the lock holds again


def test_the_lock_and_the_score_from_the_side_are_part_of_the_analysis() -> None:
    plain = Settings()
    ids = {
        analysis_id("clip", settings, {})
        for settings in (
            plain,
            plain.model_copy(update={"detect": Detect(lock=True)}),
            plain.model_copy(update={"detect": Detect(side_score=0.4)}),
        )
    }
    assert len(ids) == 3
