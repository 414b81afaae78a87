"""Following faces from a camera: forward only, for hours, in memory that does not grow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.faces import track
from mien.faces.follow import Eyes, Follower, Glimpse
from mien.faces.rows import Spill
from mien.faces.track import Tracklet
from mien.settings import Detect
from mien.settings import Track as TrackSettings
from mien.types import Array, Faces, Frame

_LONGEST = 4096
"""Rows of a face that are remembered at most; half of them go when it has more."""


class Unkept(Spill):
    """Counts rows instead of keeping them: nobody reads them back while frames come in."""

    def __init__(self, points: int) -> None:
        self.points = points
        self._count = 0

    def close(self) -> None:
        """There is nothing to close."""

    def append(self, dense: Array) -> int:
        """The number that the first of (k, N, 3) rows would have."""
        first = self._count
        self._count += len(dense)
        return first


class Onward(Follower):
    """Follows every face without looking back, so that a new face costs no frame its time.

    Call `step` for each frame, numbered without gaps, then `current`; tracks are numbered from 1 and keep
    their number as long as they are followed.

    Args:
        eyes: The networks; their `embedder`, `look` and `refine` are not asked.
        detect: Settings of the whole-frame search.
        settings: Settings of following.
        rate: Frames per second.
    """

    def __init__(self, eyes: Eyes, detect: Detect, settings: TrackSettings, rate: float) -> None:
        eyes = replace(eyes, embedder=None, look=None, refine=None)
        super().__init__(eyes, Unkept(0), detect, settings, rate)
        self._numbers: dict[Tracklet, int] = {}
        self._given = 0
        track.assign(np.zeros((2, 2)), 1.0)  # imports what a second face would wait half a second for

    def step(self, frame: Frame, seen: Glimpse | None = None) -> None:
        """Take in the next frame, and what was seen of it before."""
        super().step(frame, seen)
        self.tracklets = [live.tracklet for live in self._live]
        for item in self.tracklets:
            if item not in self._numbers:
                self._given += 1
                self._numbers[item] = self._given
            if len(item) > _LONGEST:
                item.forget(len(item) // 2)
        self._numbers = {item: self._numbers[item] for item in self.tracklets}

    def current(self) -> Faces:
        """The faces in the latest frame, with their tracks' numbers."""
        numbers = np.array([self._numbers[live.tracklet] for live in self._live], np.int64)
        return replace(super().current(), track=numbers)

    def _remember(self, thumb: Frame) -> None:
        """Nobody looks back."""
