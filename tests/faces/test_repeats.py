"""Repeated pictures: found in spite of an encoder's noise, held while following, one row while smoothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces import smooth
from mien.faces.repeats import LONGEST, Repeats
from mien.images import cpu, geometry
from mien.media.clip import index, probe
from mien.media.decode import frames
from mien.types import Float64, Frame, Int64
from tests.faces.portraits import frame as shown
from tests.faces.test_track_follow import Person, World

BOX = np.array([40.0, 30.0, 140.0, 150.0])
_SCENE = np.random.default_rng(1).uniform(0.2, 0.8, (24, 24, 3)).astype(np.float32)


def picture(moved: float = 0.0, lips: float = 0.0, noise: int = 0) -> Frame:
    """A face-sized texture in a frame of 180 x 180, moved to the right; lips: pixels a dark mouth is open."""
    big = cpu.resize(_SCENE, (180, 180))
    rgb = np.asarray(cpu.warp(big, geometry.scaling(1.0, 1.0, (moved, 0.0)), (180, 180)), np.float32)
    if lips:
        rgb[118 : 118 + round(lips), 75:105] *= np.float32(0.4)
    rng = np.random.default_rng(noise)
    spoilt = rgb + (rng.normal(0, 1.2 / 255, rgb.shape) if noise else 0.0)
    return shown(np.asarray(np.clip(spoilt, 0, 1), np.float32))


def told(pictures: list[Frame]) -> list[bool]:
    """Which of them, after the first, are found to be repeats of a face in `BOX`."""
    repeats = Repeats()
    repeats.renew(pictures[0], BOX)
    found = []
    for one in pictures[1:]:
        found.append(repeats.repeated(one))
        if not found[-1]:
            repeats.renew(one, BOX)
    return found


def test_noisy_repeats_among_movement_are_found() -> None:
    numbers = [k - k // 3 for k in range(30)]  # every third picture is the one before it
    found = told([picture(moved=1.5 * n, noise=k + 1) for k, n in enumerate(numbers)])
    wanted = [a == b for a, b in pairwise(numbers)]
    assert found == wanted


def test_steady_movement_has_no_repeats() -> None:
    for speed in (0.1, 0.4, 3.0):
        found = told([picture(moved=speed * k, noise=k + 1) for k in range(30)])
        assert not any(found[3:]), speed


def test_moving_lips_alone_are_no_repeat() -> None:
    assert not any(told([picture(lips=4 + 3 * (k % 4), noise=k + 1) for k in range(20)]))


def test_lips_that_move_after_the_head_did_are_no_repeat() -> None:
    moves = [picture(moved=3.0 * k, noise=k + 1) for k in range(6)]
    assert not any(told([*moves, *(picture(moved=15.0, lips=3 + 3 * k, noise=9 + k) for k in range(3))]))


def test_a_head_that_stops_is_noise_again_after_a_while() -> None:
    moves = [picture(moved=3.0 * k, noise=k + 1) for k in range(6)]
    found = told([*moves, *(picture(moved=15.0, noise=50 + k) for k in range(20))])
    assert sum(found) == LONGEST


def test_exactly_the_same_picture_is_a_repeat_for_ever() -> None:
    assert all(told([picture()] * 20))


@pytest.mark.parametrize(
    ("name", "least"),
    [("v10_fullbody_small_face_720x1080p25", 15), ("v05_vertical_1080x1920_hevc_woman_talk", 0)],
)
def test_real_repeats(shared: Path, name: str, least: int) -> None:
    clip = probe(shared / "media" / f"{name}.mp4")
    seen = list(frames(clip, index(clip), 0, 50, writable=False))
    luma = [one.planes[0].astype(np.float32) for one in seen]
    steps = np.array([np.abs(a - b).mean() for a, b in pairwise(luma)])
    true = {k + 1 for k in np.flatnonzero((steps < 0.5) & (steps < 0.3 * np.median(steps)))}
    repeats = Repeats()
    found = set()
    for one in seen:
        if repeats.repeated(one):
            found.add(one.index)
        else:
            repeats.renew(one, np.array([0.0, 0.0, *one.size]))
    assert found <= true
    assert len(found) >= least


@dataclass
class Counted(World):
    """A world that notes where the landmarker was asked."""

    landed: list[int] = field(default_factory=list)

    def land(self, frame: Frame, rois: Float64) -> tuple[Float64, Float64]:
        self.landed.append(frame.index)
        return World.land(self, frame, rois)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_every_third_picture_repeated(tmp_path: Path, strength: float) -> None:
    def source(k: int) -> int:
        return k - 1 if k % 3 == 2 else k

    def new(k: int) -> int:
        return k - (k + 1) // 3

    class Film(Counted):
        def frame(self, index: int) -> Frame:
            return self.shown(index, new(source(index)))

    world = Film([Person(0, lambda k: (200 + 2 * source(k), 180, 40))], 60)
    tracks = world.run(tmp_path, smooth=strength)
    (track,) = tracks.tracks
    assert (track.start, track.end) == (0, 60)
    rows = tracks.dense[track.id][0:60]
    for k in range(1, 60):
        assert np.array_equal(rows[k], rows[k - 1]) == (k % 3 == 2)
    assert np.array_equal(track.points[2::3], track.points[1::3])
    assert not [k for k in world.landed if k % 3 == 2]


def test_a_thread_that_looks_for_repeats_meanwhile_changes_nothing(tmp_path: Path) -> None:
    def source(k: int) -> int:
        return k - 1 if k % 3 == 2 and (k < 6 or 30 <= k < 40) else k

    class Film(Counted):
        def frame(self, index: int) -> Frame:
            return self.shown(index, source(index))

    people = [
        Person(0, lambda k: (150 + 2 * source(k), 180, 40)),
        Person(1, lambda k: (400 - source(k), 180, 30)),
    ]
    alone, helped = Film(people, 60), Film(people, 60)
    for place in (first := tmp_path / "alone", second := tmp_path / "helped"):
        place.mkdir()
    wanted = alone.run(first)
    with ThreadPoolExecutor(1) as aside:
        found = helped.run(second, aside)
    assert [(t.start, t.end) for t in found.tracks] == [(0, 60), (0, 60)]
    assert (second / "tracks").read_bytes() == (first / "tracks").read_bytes()
    for t in wanted.tracks:
        assert np.array_equal(found.dense[t.id][0:60], wanted.dense[t.id][0:60])
    # the first repeat after a while without one is the only one that is looked at
    assert [k for k in helped.landed if source(k) != k] == [32]
    assert not [k for k in alone.landed if source(k) != k]


def test_a_still_picture_has_one_row(tmp_path: Path) -> None:
    class Still(Counted):
        def frame(self, index: int) -> Frame:
            return self.shown(index, 0)

    world = Still([Person(0, lambda _: (300, 180, 40))], 300)
    tracks = world.run(tmp_path, smooth=0.5)
    (track,) = tracks.tracks
    assert (track.start, track.end) == (0, 300)
    rows = tracks.dense[track.id][0:300]
    assert (rows == rows[0]).all()
    assert set(world.landed) == {0}


def test_a_face_found_late_repeats_backwards_too(tmp_path: Path) -> None:
    class Late(Counted):
        def frame(self, index: int) -> Frame:
            return self.shown(index, index // 2)

    world = Late([Person(0, lambda k: (200 + 4 * (k // 2), 180, 40))], 40, missed=frozenset(range(15)))
    tracks = world.run(tmp_path)
    (track,) = tracks.tracks
    assert (track.start, track.end) == (0, 40)
    rows = tracks.dense[track.id][0:40]
    assert np.array_equal(rows[0:14:2], rows[1:15:2])


def _face_rows(n: int) -> Float64:
    rng = np.random.default_rng(4)
    face = np.random.default_rng(3).normal(0, 60, (468, 3))
    moved = np.cumsum(rng.normal(0, 0.5, (n, 1, 3)), axis=0)
    return np.asarray(face + moved + rng.normal(0, 0.4, (n, 468, 3)))


def _repeating(rows: Float64, runs: Int64, rate: float = 30.0) -> list[Float64]:
    seen = np.ones(len(rows), bool)
    return list(smooth.repeating(lambda a, b: rows[a:b], runs, seen, rate, 0.5))


def _plain(rows: Float64, rate: float) -> Float64:
    seen = np.ones(len(rows), bool)
    return np.concatenate(list(smooth.smoothed(lambda a, b: rows[a:b], len(rows), seen, rate, 0.5)))


@given(st.lists(st.integers(1, LONGEST + 1), min_size=1, max_size=40))
def test_a_run_is_one_row(lengths: list[int]) -> None:
    runs = np.array(lengths)
    rows = _face_rows(len(runs))
    distinct = _plain(rows, 30.0 * len(runs) / runs.sum())
    assert np.array_equal(np.concatenate(_repeating(rows, runs)), np.repeat(distinct, runs, axis=0))


@pytest.mark.parametrize("rate", [23.976, 25.0, 30.0])
def test_without_repeats_nothing_changes(rate: float) -> None:
    rows = _face_rows(300)
    out = np.concatenate(_repeating(rows, np.ones(300, np.int64), rate))
    assert np.array_equal(out, _plain(rows, rate))


def test_a_long_run_is_given_in_parts() -> None:
    parts = _repeating(_face_rows(5), np.array([1, 1, 2000, 1, 1]))
    assert sum(map(len, parts)) == 2004
    assert max(map(len, parts)) <= 256
