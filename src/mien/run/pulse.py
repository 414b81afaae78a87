"""How a live run is doing: counted exactly, over everything and over the last moments."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mien.media.camera import Pace

_LATEST = 150
"""Frames that rate and delay are taken of."""


@dataclass(frozen=True, slots=True)
class Delay:
    """How old frames are, in milliseconds since they came in, over the latest ones; 0 where there is none."""

    median: float = 0.0
    most: float = 0.0
    """Of 95 in 100."""


@dataclass(frozen=True, slots=True)
class Written:
    """How an output is doing."""

    frames: int
    dropped: int
    """Frames that it was too slow for."""
    delay: Delay
    """When they had been encoded and handed on."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Somebody in a picture, changed or not."""

    track: int
    """Their number, in order of appearance."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom of the face, as shares of the picture's width and height."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a live run is doing."""

    seconds: float
    """Since the first frame."""
    captured: int
    """Frames that came in."""
    made: int
    """Frames that went out."""
    dropped: int
    """Frames that newer ones took the place of before they were worked on."""
    fps: float
    """Frames a second that go out, over the latest ones."""
    delay: Delay
    """When they had their new faces."""
    faces: int
    """Faces changed in the latest frame."""
    pending: bool
    """Whether a change is still being prepared."""
    outputs: Mapping[str, Written] = field(default_factory=dict)
    """How each output is doing, by its name."""
    seen: Sequence[Sight] = ()
    """Who is in the latest frame."""


class Ages:
    """The age of the latest frames. Safe to use from several threads."""

    def __init__(self) -> None:
        self._ages: deque[float] = deque(maxlen=_LATEST)

    def add(self, seconds: float) -> None:
        """One more frame."""
        self._ages.append(seconds)

    def delay(self) -> Delay:
        """In milliseconds."""
        ages = np.array(tuple(self._ages))
        if not len(ages):
            return Delay()
        median, most = np.percentile(ages * 1000.0, (50, 95))
        return Delay(round(float(median), 1), round(float(most), 1))


class Tally:
    """Counts what happens to frames.

    Args:
        pace: The clock.
    """

    def __init__(self, pace: Pace) -> None:
        self.captured = 0
        """Frames that came in."""
        self.made = 0
        """Frames that went out."""
        self.faces = 0
        """Faces changed so far."""
        self.people: set[int] = set()
        """Tracks that were changed."""
        self._pace = pace
        self._began: float | None = None
        self._latest = 0
        self._seen: tuple[Sight, ...] = ()
        self._at: deque[float] = deque(maxlen=_LATEST)
        self._ages = Ages()
        self._lock = threading.Lock()

    def done(self, captured: float, tracks: list[int], seen: tuple[Sight, ...]) -> None:
        """A frame that came in at `captured` has been made; these tracks were changed of those seen in it."""
        now = self._pace.now()
        with self._lock:
            self._began = captured if self._began is None else self._began
            self.made += 1
            self.faces += len(tracks)
            self._latest = len(tracks)
            self._seen = seen
            self.people.update(tracks)
            self._at.append(now)
            self._ages.add(now - captured)

    def pulse(self, dropped: int, outputs: Mapping[str, Written], pending: bool) -> Pulse:
        """How it is doing now.

        Args:
            dropped: Frames that were never worked on.
            outputs: The outputs.
            pending: Whether a change is being prepared.
        """
        now = self._pace.now()
        with self._lock:
            span = self._at[-1] - self._at[0] if len(self._at) > 1 else 0.0
            return Pulse(
                seconds=round(now - self._began, 2) if self._began is not None else 0.0,
                captured=self.captured,
                made=self.made,
                dropped=dropped,
                fps=round((len(self._at) - 1) / span, 2) if span > 0 else 0.0,
                delay=self._ages.delay(),
                faces=self._latest,
                pending=pending,
                outputs=dict(outputs),
                seen=self._seen,
            )
