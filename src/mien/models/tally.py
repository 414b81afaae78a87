"""How long a network took: added up over the threads that run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Tally:
    """Calls, rows and seconds of one network, without loading it and choosing its engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls = self.rows = 0
        self.seconds = 0.0

    @contextmanager
    def call(self, rows: int) -> Iterator[None]:
        """Count a call with so many rows, and the time of the block."""
        began = time.perf_counter()
        yield
        spent = time.perf_counter() - began
        with self._lock:
            self.calls += 1
            self.rows += rows
            self.seconds += spent

    def table(self, frames: int) -> dict[str, float]:
        """Milliseconds a frame, calls, milliseconds a call, and rows."""
        return {
            "ms_per_frame": round(1000.0 * self.seconds / max(frames, 1), 3),
            "calls": self.calls,
            "ms_per_call": round(1000.0 * self.seconds / max(self.calls, 1), 3),
            "items": self.rows,
        }
