"""Pictures and sounds that somebody else received and decoded, as a browser does, for live runs."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from mien.media.camera import RATE, Hearing, Shot, Sound, Timeline, frame, plain
from mien.media.decode import THREADS
from mien.types import Float32


class Received:
    """Gives what comes the run's time by when it came, and every picture the same size.

    Args:
        timeline: The run's.
        size: Width and height; None for those of the first picture.
    """

    def __init__(self, timeline: Timeline, size: tuple[int, int] | None = None) -> None:
        self.pictures = 0
        """How many there were."""
        self._timeline, self._size = timeline, size
        self._hearing = Hearing(timeline)

    def take(self, what: Any, at: float) -> Iterator[Shot | Sound]:
        """What a decoded picture or piece of sound is to a run; sound counts from the first picture on.

        Args:
            what: PyAV's `VideoFrame` or `AudioFrame`.
            at: When it came, on the run's clock.
        """
        if isinstance(what, av.VideoFrame):
            yield self._shot(what, at)
        elif self.pictures and isinstance(what, av.AudioFrame):
            what.pts = None
            yield from self._hearing.hear(what, at)

    def _shot(self, picture: av.VideoFrame, at: float) -> Shot:
        if not self.pictures:
            self._timeline.open(Fraction(at), at)
        made = plain(picture)
        self._size = self._size or (made.width, made.height)
        if (made.width, made.height) != self._size:
            made = made.reformat(width=self._size[0], height=self._size[1], threads=THREADS)
        self.pictures += 1
        return Shot(frame(made, "vp8", self._timeline.tick(Fraction(at)), self.pictures - 1), at)


def is_picture(what: Any) -> bool:
    """Whether something is a decoded picture."""
    return isinstance(what, av.VideoFrame)


def spoken(samples: Float32, at: int) -> Any:
    """(2, n) samples as PyAV's `AudioFrame` of 16 bits, its first sample being number `at`."""
    codes = np.clip(np.rint(samples.T * 32767.0), -32768, 32767).astype(np.int16).reshape(1, -1)
    made = av.AudioFrame.from_ndarray(np.ascontiguousarray(codes), format="s16", layout="stereo")
    made.sample_rate, made.pts, made.time_base = RATE, at, Fraction(1, RATE)
    return made
