"""What an output of a higher rate shows between the frames of a clip.

if rises(made, frame_index):
    shown = moments(made, frame_index, clip, segment.start, segment.end)
    for number, share in shown.after(frame):   # share 0: the frame itself
        ...
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mien.media.clip import Clip, FrameIndex
from mien.media.plan import EncodePlan, Schedule, schedule
from mien.types import Array, Int64

_NEAR = 16
"""A time within half a tick of a frame's is the frame's, unless it is further off than this part of the way
to the next one: clocks of milliseconds hold no exact thirds."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The pictures that are shown from each frame until the next one."""

    source: Int64
    """(M,) number of the frame in the clip whose time has come, never falling."""
    part: Int64
    """(M,) how far the picture is on the way to the next frame, in units of 1 / `whole`."""
    whole: Int64
    """(M,) 1 or more; `part` is less."""
    times: Schedule
    """When they are shown; its `source` is the number of the picture, counted over the whole output."""

    def __len__(self) -> int:
        return len(self.source)

    def after(self, frame: int) -> list[tuple[int, Fraction]]:
        """Numbers of the pictures from a frame until the next one, and how far each is on its way to that."""
        first, last = (int(n) for n in np.searchsorted(self.source, [frame, frame + 1]))
        return [
            (int(self.times.source[k]), Fraction(int(self.part[k]), int(self.whole[k])))
            for k in range(first, last)
        ]


def rises(made: EncodePlan, index: FrameIndex) -> bool:
    """Whether the output has a constant rate that is higher than the frames' own, on average."""
    if made.fps is None or made.end - made.start < 2:
        return False
    span = (int(index.pts[made.end - 1]) - int(index.pts[made.start])) * index.time_base
    return made.fps * span > made.end - made.start - 1


def moments(made: EncodePlan, index: FrameIndex, clip: Clip, start: int, end: int) -> Moments:
    """What the output shows from frame `start` until frame `end`, at its own times, to the last integer.

    Picture k is at first + k / fps. Those after the last frame that is written show it. Which pictures belong
    to a frame depends on the whole plan, not on where segments are cut; the last ones of a segment need the
    first frame of the next.

    Args:
        made: From `plan`, with a constant rate.
        index: The clip's index.
        clip: The clip.
        start: First frame, at least `made.start`.
        end: Frame after the last one, at most `made.end`.

    Raises:
        ValueError: The range is not within the plan, or the plan has no constant rate.
    """
    if made.fps is None or not made.start <= start < end <= made.end:
        raise ValueError(f"range: expected a rate and [{made.start}, {made.end}), got [{start}, {end})")
    whole = schedule(made, index, clip, made.start, made.end)
    step = 1 / (made.fps * clip.time_base)
    at = np.arange(len(whole), dtype=np.int64) * step.numerator  # in ticks / step.denominator
    starts = (index.pts[made.start : made.end] - index.pts[made.start]) * step.denominator
    row = np.searchsorted(starts, at, side="right") - 1
    gaps = np.append(np.diff(starts), 1)
    part, gap = at - starts[row], gaps[row]
    last = row == made.end - made.start - 1

    def close(way: Int64) -> Array:
        return (2 * way <= step.denominator) & (_NEAR * way <= gap)

    reached = ~last & close(gap - part)
    part = np.where(last | reached | close(part), 0, part)
    source = made.start + row + reached
    low, high = (int(n) for n in np.searchsorted(source, [start, end]))
    ends = int(whole.pts[high]) if high < len(whole) else whole.end
    times = Schedule(np.arange(low, high, dtype=np.int64), whole.pts[low:high], ends)
    return Moments(source[low:high], part[low:high], gap[low:high], times)
