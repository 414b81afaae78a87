"""Scene cuts, from thumbnails.

Two neighbouring frames are different shots when both their colours (histograms) and their structure
(luma correlation at the best shift) differ: a flash or fade changes the first only, a moving camera or
subject the second more than the first. A frame whose successors look like the picture before it again
was a flash, and its cut is taken back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from mien.images import cpu
from mien.types import Array, Float64

_SIZE = (64, 36)
_BINS = 24
_WINDOW = np.outer(np.hanning(_SIZE[1] + 2)[1:-1], np.hanning(_SIZE[0] + 2)[1:-1])
_WINDOW /= _WINDOW.sum()
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
    """Describe a thumbnail, (h, w, 3) uint8 R'G'B'."""
    skip = max(1, min(thumb.shape[1] // (2 * _SIZE[0]), thumb.shape[0] // (2 * _SIZE[1])))
    small = cpu.resize(np.ascontiguousarray(thumb[::skip, ::skip]), _SIZE).astype(np.float64)
    red, green, blue = np.moveaxis(small, 2, 0).copy()
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # BT.601 weights; any would do here
    axes = (luma, 128 + (red - luma) * 0.7, 128 + (blue - luma) * 0.56)
    colours = np.stack([_histogram(a) for a in axes])
    flat = (luma - (luma * _WINDOW).sum()) * _WINDOW
    energy = np.sqrt((flat**2).sum())
    # a picture without structure gets none: it correlates with nothing, and its colours decide
    return Look(colours, np.fft.rfft2(flat / energy if energy > _PLAIN else np.zeros_like(flat)))


def _histogram(values: Float64) -> Float64:
    """(bins,) soft histogram of values 0 to 255: neighbours share, so that a small drift costs little."""
    counts = np.bincount(
        np.clip(values * (_BINS / 256), 0, _BINS - 1).astype(np.int64).ravel(), minlength=_BINS
    )
    soft = np.convolve(np.pad(counts.astype(np.float64), 2, mode="edge"), [1, 2, 3, 2, 1], mode="valid")
    return np.asarray(soft / soft.sum(), np.float64)


def difference(a: Look, b: Look) -> float:
    """How different two frames are, 0 (same) to 1."""
    colour = 1.0 - float(np.minimum(a.colours, b.colours).sum()) / 3
    match = np.fft.irfft2(a.spectrum * b.spectrum.conj(), s=(_SIZE[1], _SIZE[0]))
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

    def step(self, index: int, thumb: Array) -> bool:
        """Whether a shot seems to begin with this frame; `starts` has the final word."""
        now = look(thumb)
        before, self._last = self._last, now
        if before is None:
            self._found.append(index)
            return True
        returned = self._settle(index, now)
        apart = self.last_difference = difference(before, now)
        usual = float(np.median(self._recent)) if self._recent else 0.0
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
