"""How a clip's frames follow each other: at an even rate, or each at a moment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from mien.media.clip import Clip, FrameIndex
from mien.types import Float64

_NEAR = Fraction(1, 1000)
"""Seconds that an even frame may be beside its place: nobody sees it. A whole tick where that is longer,
because clocks of milliseconds hold no exact thirds; a quarter of a frame where that is shorter."""


def even(clip: Clip, index: FrameIndex) -> Fraction | None:
    """The rate of a clip whose frames follow each other evenly.

    Args:
        clip: The clip.
        index: Its frames.

    Returns:
        Frames a second; None where the rate varies. It is the clip's average where that fits: an average
        counts how long the last frame is shown, which may be longer or shorter than all others.
    """
    if index.counted or len(index) < 2:
        return clip.rate
    return next((rate for rate in _rates(clip, index) if _fits(index, rate)), None)


def _rates(clip: Clip, index: FrameIndex) -> Iterator[Fraction]:
    yield clip.rate
    own = Fraction(len(index) - 1) / (int(index.pts[-1] - index.pts[0]) * index.time_base)
    yield own.limit_denominator(1001)
    yield own


def _fits(index: FrameIndex, rate: Fraction) -> bool:
    """Whether every frame is where this rate has it, counted from the first."""
    step = 1 / (rate * index.time_base)
    beside = index.pts - index.pts[0] - np.arange(len(index)) * float(step)
    near = min(max(1 / index.time_base * _NEAR, Fraction(1)), step / 4)
    return bool(np.abs(beside).max() <= float(near))


def moments(clip: Clip, index: FrameIndex) -> Float64:
    """When each frame is shown, and when the last one ends.

    Returns:
        (N + 1,) seconds from the clip's beginning, each the float nearest to the exact moment.
    """
    base = index.time_base
    ticks = np.append(index.pts, index.end_pts) - int(clip.origin / base)  # whole ticks, by its definition
    return np.asarray(ticks * base.numerator / base.denominator, np.float64)
