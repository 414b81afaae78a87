"""Scene cuts, from thumbnails.

Two neighbouring frames are different shots when both their colours (histograms) and their structure
(luma correlation at the best shift) differ: a flash or fade changes the first only, a moving camera or
subject the second more than the first. A frame whose successors look like the picture before it again
was a flash, and its cut is taken back.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

import numpy as np

from mien.images import cpu
from mien.types import Array, Float64

SIZE = (64, 36)
"""Width and height of what is compared."""
_BINS = 24
_WINDOW = np.outer(np.hanning(SIZE[1] + 2)[1:-1], np.hanning(SIZE[0] + 2)[1:-1])
_WINDOW /= _WINDOW.sum()
_LUMA = np.array([0.299, 0.587, 0.114])
"""BT.601 weights; any would do here."""
_AXES = np.stack([_LUMA, 0.7 * (np.eye(3)[0] - _LUMA), 0.56 * (np.eye(3)[2] - _LUMA)]).astype(np.float32)
_SHIFT = np.array([0, 128, 128], np.float32)
_FIRST = np.arange(3) * _BINS
_SOFT = np.stack(
    [np.convolve(np.pad(row, 2, mode="edge"), [1, 2, 3, 2, 1], mode="valid") for row in np.eye(_BINS)]
)
"""Histogram to soft histogram: neighbours share, so that a small drift costs little."""
_PLAIN = 0.05
"""Energy of a picture without structure."""
_FLASH = 0.17
"""Seconds within which the old picture must return for a cut to have been a flash."""
_CALM = 2.2
"""A cut stands out from its neighbours by this factor: fast action differs in every frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a frame looks like, in a few hundred numbers."""

    colours: Float64
    """(3, bins) histograms of luma and two colour differences, each adding up to 1."""
    spectrum: Array
    """Fourier transform of the windowed, centred, unit-energy luma."""


def look(thumb: Array) -> Look:
    """Describe a thumbnail, (h, w, 3) uint8 R'G'B'; `SIZE` is looked at as it is."""
    skip = max(1, min(thumb.shape[1] // (2 * SIZE[0]), thumb.shape[0] // (2 * SIZE[1])))
    small = cpu.resize(np.ascontiguousarray(thumb[::skip, ::skip]), SIZE).reshape(-1, 3)
    axes = small.astype(np.float32) @ _AXES.T + _SHIFT
    bins = (np.clip(axes, 0.0, 255.0) * np.float32(_BINS / 256)).astype(np.int64) + _FIRST
    counts = np.bincount(bins.ravel(), minlength=3 * _BINS).reshape(3, _BINS)
    soft = counts @ _SOFT
    luma = axes[:, 0].reshape(_WINDOW.shape)
    flat = (luma - (luma * _WINDOW).sum()) * _WINDOW
    energy = np.sqrt(np.vdot(flat, flat))
    # a picture without structure gets none: it correlates with nothing, and its colours decide
    spectrum = np.fft.rfft2(flat / energy if energy > _PLAIN else np.zeros_like(flat))
    return Look(soft / soft.sum(axis=1, keepdims=True), spectrum)


def difference(a: Look, b: Look) -> float:
    """How different two frames are, 0 (same) to 1."""
    # equal histograms add up to 1 only up to rounding: below 0 the root would be no number
    colour = max(0.0, 1.0 - float(np.minimum(a.colours, b.colours).sum()) / 3)
    match = np.fft.irfft2(a.spectrum * b.spectrum.conj(), s=(SIZE[1], SIZE[0]))
    structure = 1.0 - float(np.clip(match.max(), 0.0, 1.0))
    return float(np.sqrt(min(1.0, colour / 0.2) * structure))


class Cuts:
    """Finds cuts while frames pass by.

    Args:
        limit: Difference that makes a cut, 0 to 1.
        rate: Frames per second.
    """

    def __init__(self, limit: float, rate: float) -> None:
        self._limit = limit
        self._flash = max(1, round(_FLASH * rate))
        self._last: Look | None = None
        self._recent: deque[float] = deque(maxlen=8)
        self._open: list[tuple[int, Look]] = []
        self._found: list[int] = []
        self.last_difference = 0.0
        """Difference of the latest frame to the one before it."""

    def step(self, index: int, now: Look) -> bool:
        """Whether a shot seems to begin with this frame, which looks so; `starts` has the final word."""
        before, self._last = self._last, now
        if before is None:
            self._found.append(index)
            return True
        returned = self._settle(index, now)
        apart = self.last_difference = difference(before, now)
        usual = statistics.median(self._recent) if self._recent else 0.0
        self._recent.append(apart)
        if returned or apart <= self._limit or apart < _CALM * usual:
            return False
        self._open.append((index, before))
        return True

    def _settle(self, index: int, now: Look) -> bool:
        """Confirm cuts that are old enough; take back those whose old picture has returned, and say so."""
        while self._open and index - self._open[0][0] > self._flash:
            self._found.append(self._open.pop(0)[0])
        for k, (_, before) in enumerate(self._open):
            if difference(before, now) < 0.6 * self._limit:
                del self._open[k:]
                return True
        return False

    def starts(self) -> tuple[int, ...]:
        """First frames of all shots so far; call after the last frame."""
        return tuple(sorted({*self._found, *(start for start, _ in self._open)}))
