"""Faces that turn to the side are followed with a confidence of their own, and only they."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mien.faces import track
from mien.faces.compose import Facts, compose
from mien.faces.follow import Eyes, Follower
from mien.faces.rows import Spill
from mien.faces.track import Chain
from mien.settings import Detect, Track
from mien.types import Array, Float64, Frame, Tracks
from tests.faces.test_track_follow import RATE, SIZE, Person, World

TURNED = range(30, 100)
"""Frames in which the head is turned, and the landmarker half sure."""


@dataclass
class Turning(World):
    """Somebody who turns to the side for most of a clip; the detector does not see them meanwhile."""

    aside: bool = True
    """Whether the landmarks say so."""

    def land(self, frame: Frame, rois: Float64) -> tuple[Float64, Float64]:
        dense, presence = super().land(frame, rois)
        self.now = frame.index
        return dense, np.where((presence > 0.5) & (frame.index in TURNED), 0.4, presence)

    def eyes(self) -> Eyes:
        def aside(dense: Float64) -> Array:
            return np.full(len(dense), self.aside and self.now in TURNED)

        return replace(super().eyes(), aside=aside)

    def follow(self, folder: Path, side_score: float) -> Tracks:
        settings = Track(smooth=0.0)
        with Spill(folder / "rough", 468) as spill:
            follower = Follower(self.eyes(), spill, Detect(side_score=side_score), settings, RATE)
            for index in range(self.length):
                follower.step(self.frame(index))
            facts = Facts(self.length, SIZE, follower.shots, RATE)
            five = (33, 263, 4, 61, 291)
            work = compose(
                follower.tracklets, spill, facts, settings, lambda d: d[:, five, :2], folder / "tracks"
            )
            while True:
                try:
                    next(work)
                except StopIteration as finished:
                    return finished.value  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("side_score", "aside", "whole"),
    [(0.5, True, False), (0.41, True, False), (0.39, True, True), (0.39, False, False)],
)
def test_a_turned_head_is_followed_by_its_own_score(
    tmp_path: Path, side_score: float, aside: bool, whole: bool
) -> None:
    person = Person(0, lambda i: (300, 180, 30))
    world = Turning([person], 130, missed=frozenset(TURNED), aside=aside)
    tracks = world.follow(tmp_path, side_score)
    spans = [(t.start, t.end) for t in tracks.tracks]
    assert spans == ([(0, 130)] if whole else [(0, 30), (100, 130)])
    if whole:
        only = tracks.tracks[0]
        assert only.observed.all()
        assert np.flatnonzero(only.score < 0.5).tolist() == list(TURNED)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.9] * 5 + [0.4] * 15, True),  # most of it from the side
        ([0.4] * 20, True),  # all of it
        ([0.55] * 20, False),  # never let through from the side, and never sure
        ([0.55] * 5 + [0.4] * 15, False),
    ],
)
def test_what_is_seen_from_the_front_says_whether_it_is_a_face(scores: list[float], kept: bool) -> None:
    chain = Chain(0, np.arange(20), np.ones(20, np.bool_), np.array(scores), hits=1)
    assert track.real(chain, (0, 20), 30.0, 0.6) == kept
