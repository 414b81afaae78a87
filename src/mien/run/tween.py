"""What is shown of changed frames: each as it is, or, at a higher rate, pictures between them as well."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from mien.media.clip import Clip, FrameIndex
from mien.media.moments import Moments, moments
from mien.media.plan import EncodePlan
from mien.stages import between
from mien.stages.patch import Timed
from mien.types import Frame, Segment

LONGEST = Fraction(1, 4)
"""Seconds from one frame to the next, at most, for something to move between them: what is shown for longer
stands still."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Pictures to encode."""

    source: int
    """Number of the frame in whose segment they are."""
    pictures: Sequence[Frame]
    """With the numbers that the segment's schedule knows them by."""


def with_context(frames: Iterable[Frame], segments: Sequence[Segment]) -> Iterator[Frame]:
    """Frames of segments and, at each one's end, a copy of the frame that follows it.

    The copy is changed by itself whether or not the next segment is to be rendered, too: so what a segment
    shows depends on nothing but the segment.

    Args:
        frames: Those of the segments, in order, and of each run of them one more.
        segments: In order.
    """
    left = deque(segments)
    inside = False
    for frame in frames:
        while left and frame.index >= left[0].end:
            if frame.index == left.popleft().end:
                yield replace(frame, planes=tuple(plane.copy() for plane in frame.planes), owner=None)
        inside = bool(left) and left[0].start <= frame.index
        if inside:
            yield frame
        del frame


def steps(frames: Iterable[Frame], segments: Sequence[Segment]) -> Iterator[tuple[Frame, Frame | None]]:
    """Each frame with the one that follows it at once, if it is there.

    Args:
        frames: From `with_context`, changed.
        segments: The same.
    """
    ends = deque(segment.end for segment in segments)
    waiting: Frame | None = None
    for frame in frames:
        context = False
        while ends and frame.index >= ends[0]:
            context = frame.index == ends.popleft()
        if waiting is not None:
            yield waiting, frame if frame.index == waiting.index + 1 else None
        waiting = None if context else frame
        del frame
    if waiting is not None:
        yield waiting, None


class Tween:
    """Makes what is shown from one frame until the next. May be called from several threads.

    Args:
        made: The plan, of a constant rate.
        index: The clip's index.
        clip: The clip.
        segments: Those that are rendered.
        shots: First frames of all shots: nothing is made across a cut.
        timed: Told the stage `between`.
    """

    def __init__(
        self,
        made: EncodePlan,
        index: FrameIndex,
        clip: Clip,
        segments: Sequence[Segment],
        shots: Iterable[int],
        timed: Timed,
    ) -> None:
        self._plan: Callable[[Segment], Moments] = lambda s: moments(made, index, clip, s.start, s.end)
        self._segments = tuple(segments)
        self._starts = [segment.start for segment in segments]
        self._tick = clip.time_base
        self._shots = frozenset(shots)
        self._timed = timed
        self._lock = threading.Lock()
        self._now: tuple[Segment, Moments] | None = None
        self.wanted = 0
        """Pictures between two different frames of a shot so far."""
        self.refused = 0
        """Those among them for which the nearest frame is shown, because movement could not be followed."""

    def __call__(self, step: tuple[Frame, Frame | None]) -> Shown:
        """What is shown from a frame until the next one."""
        frame, following = step
        wanted = self._moments(frame.index).after(frame.index)
        exact = [number for number, share in wanted if share == 0]
        others = [(number, share) for number, share in wanted if share > 0]
        pictures = [replace(frame, index=number) for number in exact]
        if others:
            with self._timed("between"):
                pictures += self._between(frame, following, others)
        return Shown(frame.index, pictures)

    def _moments(self, number: int) -> Moments:
        """The moments of the segment that a frame is in."""
        segment = self._segments[bisect_right(self._starts, number) - 1]
        with self._lock:
            if self._now is None or self._now[0] != segment:
                self._now = segment, self._plan(segment)
            return self._now[1]

    def _between(
        self, frame: Frame, following: Frame | None, wanted: Sequence[tuple[int, Fraction]]
    ) -> list[Frame]:
        """Pictures between a frame and the next one."""
        if following is None:
            return [replace(frame, index=number) for number, _ in wanted]
        held = (following.pts - frame.pts) * self._tick > LONGEST
        cut = following.index in self._shots
        found = None if held or cut else between.motion(frame, following)
        pictures, refused = [], 0
        for number, share in wanted:
            picture = None if found is None else between.between(frame, following, found, share)
            refused += found is not None and picture is None
            # At the middle the later one, as where frames are repeated.
            nearest = frame if share < Fraction(1, 2) else following
            pictures.append(replace(picture or nearest, index=number))
        with self._lock:
            self.wanted += 0 if found is None else len(wanted)
            self.refused += refused
        return pictures
