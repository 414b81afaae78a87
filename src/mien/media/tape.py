"""The latest seconds of a live sound, to be read at any place: how sound is held back for who listens."""

from __future__ import annotations

import threading

import numpy as np

from mien.media.camera import RATE, Sound
from mien.types import Float32

SECONDS = 8
"""How much is kept."""


class Tape:
    """Sound by the number of its samples. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept = np.zeros((2, SECONDS * RATE), np.float32)
        self._end = 0
        self._lock = threading.Lock()

    @property
    def end(self) -> int:
        """Sample after the latest one."""
        with self._lock:
            return self._end

    def add(self, sound: Sound) -> None:
        """Keep a piece; what lies before the latest sample is dropped, what is missing is silent."""
        with self._lock:
            first = max(sound.start, self._end)
            new = sound.samples[:, first - sound.start :][:, -self._kept.shape[1] :]
            if not new.shape[1]:
                return
            end = sound.end
            if end - self._end >= self._kept.shape[1]:
                self._kept[:] = 0.0
            else:
                self._kept[:, np.arange(self._end, end) % self._kept.shape[1]] = 0.0
            self._kept[:, np.arange(end - new.shape[1], end) % self._kept.shape[1]] = new
            self._end = end

    def read(self, start: int, count: int) -> Float32:
        """(2, count) samples from `start` on; silent where there are none, or none any more."""
        with self._lock:
            numbers = np.arange(start, start + count)
            made = self._kept[:, numbers % self._kept.shape[1]]
            there = (numbers < self._end) & (numbers >= self._end - self._kept.shape[1]) & (numbers >= 0)
            return np.asarray(np.where(there, made, np.float32(0.0)), np.float32)
