"""Repeated pictures: whether a face is shown once more as it was, as in clips brought to another rate.

The encoder codes a repeat anew, so that a little noise is left: what counts is how much smaller the change
is than between the last pictures that were new. It is measured against the picture that was last new, so that
slow movements add up; and in the largest block, for lips move in a small part of the face.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from mien.images import cpu
from mien.types import Array, Float32, Float64, Frame

SIDE = 64
"""Width and height of what is compared."""
_BLOCK = 8
"""Side of a block in it."""
_MARGIN = 1.2
"""What is compared, over the longer side of the face's box."""
_MEAN = 0.5
"""Most mean change of a repeat, codes of 255: encoders shift the brightness by so much."""
_LARGEST = 3.0
"""Most change of a repeat in the largest block, codes."""
_SHARE = 0.25
"""Most change of a repeat in the largest block, over the least of the latest changes that were none."""
_NEW = 3
"""How many of these are remembered."""
_UNKNOWN = 1.0
"""What stands for them before there is one, codes."""
LONGEST = 5
"""Most repeats in a row that are not exact: a rate is seldom multiplied by more."""
_EXACT = 0.3
"""Change of an exact repeat in the largest block at most, codes."""
_SELDOM = 8
"""Frames without a repeat after which none is expected."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""BT.601 weights; any would do here."""


class Repeats:
    """Tells repeats of one face: call `repeated` for each frame, and `renew` where it is none."""

    def __init__(self) -> None:
        self._matrix: Float64 | None = None
        self._seen: Callable[[], Float32] = lambda: np.zeros((SIDE, SIDE), np.float32)
        self._changes: deque[float] = deque(maxlen=_NEW)
        self._run = 0
        self._new = 0

    @property
    def seldom(self) -> bool:
        """Whether the next frame will hardly be a repeat: none of the latest ones was."""
        return self._new >= _SELDOM

    def repeated(self, frame: Frame) -> bool:
        """Whether a frame shows the face as the one of the last `renew`."""
        if self._matrix is None:
            return False
        mean, largest = change(self._seen(), _luma(frame, self._matrix))
        usual = min(self._changes, default=_UNKNOWN)
        same = mean <= _MEAN and largest <= min(_LARGEST, _SHARE * usual)
        # what has stopped after quick movement is no repeat for ever
        if same and (self._run < LONGEST or largest <= min(_EXACT, _SHARE * usual)):
            self._run += 1
            self._new = 0
            return True
        self._changes.append(largest)
        self._run = 0
        self._new += 1
        return False

    def renew(self, frame: Frame, box: Float64, aside: Executor | None = None) -> None:
        """Compare with this frame from now on, in which the face's box is (4,) display pixels.

        With `aside`, which must do one thing after the other, the frame is looked at there, and must not be
        written.
        """
        side = max(_MARGIN * float((box[2:] - box[:2]).max()), 1.0)
        scale = SIDE / side
        x, y = SIDE / 2 - scale * (box[:2] + box[2:]) / 2
        self._matrix = np.array([[scale, 0.0, x], [0.0, scale, y]])
        if aside is not None:
            self._seen = aside.submit(_luma, frame, self._matrix).result
        else:
            seen = _luma(frame, self._matrix)
            self._seen = lambda: seen


def change(a: Array, b: Array) -> tuple[float, float]:
    """Mean difference of two (SIDE, SIDE) pictures, in their codes, and that of the block with the most."""
    apart = np.abs(a - b)
    blocks = apart.reshape(SIDE // _BLOCK, _BLOCK, SIDE // _BLOCK, _BLOCK).mean(axis=(1, 3))
    return float(apart.mean()), float(blocks.max())


def _luma(frame: Frame, matrix: Float64) -> Float32:
    return np.asarray(cpu.glance(frame, matrix, (SIDE, SIDE)).astype(np.float32) @ _LUMA, np.float32)
