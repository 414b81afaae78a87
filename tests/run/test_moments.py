"""How well faces are seen, and which moments are to be looked at: tracks made by hand, results by sight."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mien.run.moments import moments, presence, quality
from mien.types import Array, Track, Tracks

SIZE = (640, 360)
FRONT = np.array([[-0.2, -0.1], [0.2, -0.1], [0.0, 0.05], [-0.15, 0.25], [0.15, 0.25]])
"""The five points of a face seen from the front, in its own size."""


def _track(count: int = 40, *, number: int = 1, start: int = 0, side: float = 120.0, **columns: Any) -> Track:
    middle = np.array([320.0, 180.0])
    box = np.tile(np.concatenate([middle - side / 2, middle + side / 2]), (count, 1))
    points = np.tile(middle + FRONT * side, (count, 1, 1))
    given = {
        "box": box,
        "points": points,
        "score": np.full(count, 0.99),
        "observed": np.ones(count, bool),
        **columns,
    }
    return Track(id=number, start=start, **given)


def _of(*tracks: Track) -> list[tuple[int, int, int, str]]:
    known = Tracks(200, SIZE, (0,), tracks, {})
    return [(m.frame, m.end, m.track, m.reason) for m in moments(known)]


def test_a_face_that_is_well_seen_needs_no_look() -> None:
    assert _of(_track()) == []
    assert presence(_track(), SIZE) == [(0, 40, 0.99)]


def test_unsure_landmarks() -> None:
    score = np.full(40, 0.99)
    score[10:15] = 0.3
    track = _track(start=100, score=score)
    assert _of(track) == [(110, 115, 1, "unsure")]
    assert quality(track, SIZE)[12] < 0.35
    assert quality(track, SIZE)[20] > 0.95


def test_frames_that_nobody_saw() -> None:
    observed = np.ones(40, bool)
    observed[30:] = False
    assert _of(_track(observed=observed)) == [(30, 40, 1, "missing")]


def test_small_faces() -> None:
    assert _of(_track(side=30.0)) == [(0, 40, 1, "small")]


def test_a_face_from_the_side() -> None:
    track = _track()
    points = track.points.copy()
    points[:, 2, 0] += 0.3 * 120.0  # the nose lies beyond the right eye
    assert _of(_track(points=points)) == [(0, 40, 1, "turned")]


def test_the_edge_of_the_picture() -> None:
    track = _track()
    moved = np.array([-320.0, 0.0])
    box = track.box.copy()
    box[20:] += np.tile(moved, 2)  # half of the face is outside
    points = track.points.copy()
    points[20:] += moved
    assert _of(_track(box=box, points=points)) == [(20, 40, 1, "covered")]


def test_two_faces_one_before_the_other() -> None:
    other = _track(20, number=2, start=15)
    assert _of(_track(), other) == [(15, 35, 1, "covered"), (15, 35, 2, "covered")]


def test_a_flicker_is_one_moment_and_a_single_frame_none() -> None:
    score = np.full(60, 0.99)
    score[[10, 12, 14, 20]] = 0.2
    score[50] = 0.2
    assert _of(_track(60, score=score)) == [(10, 21, 1, "unsure")]


def test_the_worst_reason_is_told_once() -> None:
    observed = np.zeros(40, bool)
    assert _of(_track(side=20.0, observed=observed, score=np.full(40, 0.1))) == [(0, 40, 1, "missing")]


@given(st.integers(1, 200), st.integers(0, 50), st.randoms(use_true_random=False))
def test_presence_covers_every_frame_once(count: int, start: int, random: Any) -> None:
    score: Array = np.array([random.random() for _ in range(count)])
    track = _track(count, start=start, score=score)
    spans = presence(track, SIZE)
    assert (spans[0][0], spans[-1][1]) == (track.start, track.end)
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert all(0.0 <= value <= 1.0 for _, _, value in spans)
    mean = sum((end - first) * value for first, end, value in spans) / count
    assert abs(mean - float(quality(track, SIZE).mean())) < 0.002


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=100))
def test_moments_lie_in_their_track(scores: list[float]) -> None:
    track = _track(len(scores), start=7, score=np.array(scores))
    for frame, end, _, _ in _of(track):
        assert track.start <= frame < end <= track.end
