"""Time on a CUDA card, by events that the card itself stamps: the host's clock sees how long asking took.

An event is queued like everything else, and stamped when the card gets to it; nobody waits for that until the
sums are asked for (CUDA Runtime API: cudaEventRecord, cudaEventElapsedTime).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mien.models.torch_lane import reached

WAITING = 512
"""Laps that may be waiting for their stamps before the oldest is waited for."""


class Laps:
    """Adds up the time between two events by name. Safe to use from several threads.

    Time in which a stream waits for its inputs or for the host counts as well: it is how long the card took
    over a piece of work, not how busy it was.

    Args:
        torch: The library.
        device: The card, as torch names it.
    """

    def __init__(self, torch: Any, device: str) -> None:
        self._torch, self._device = torch, device
        self._lock = threading.Lock()
        self._open: deque[tuple[str, str | None, Any, Any]] = deque()
        self._sums: dict[str, float] = {}
        self._inside = threading.local()

    @contextmanager
    def lap(self, name: str = "") -> Iterator[None]:
        """Add the card's time for what is queued within, without the laps inside it."""
        cuda = self._torch.cuda
        outer: str | None = getattr(self._inside, "name", None)
        start, end = (cuda.Event(enable_timing=True) for _ in range(2))
        start.record(cuda.current_stream(self._device))
        self._inside.name = name
        try:
            yield
        finally:
            self._inside.name = outer
        end.record(cuda.current_stream(self._device))
        with self._lock:
            self._open.append((name, outer, start, end))
            while self._open and (len(self._open) > WAITING or self._open[0][3].query()):
                self._settle()

    def seconds(self) -> dict[str, float]:
        """Name to seconds so far; waits for what is queued."""
        with self._lock:
            while self._open:
                self._settle()
            # A lap that failed has no time, but those inside it may have some.
            return {name: max(spent, 0.0) for name, spent in self._sums.items()}

    def _settle(self) -> None:
        """Add the oldest lap to the sums, and take it off the one around it."""
        name, outer, start, end = self._open.popleft()
        end.synchronize()
        spent = start.elapsed_time(end) / 1000.0
        self._sums[name] = self._sums.get(name, 0.0) + spent
        if outer is not None:
            self._sums[outer] = self._sums.get(outer, 0.0) - spent


def laps(device: str) -> Laps | None:
    """Laps on a card; None where `device` is none, or torch does not reach it."""
    found = reached(device)
    return None if found is None else Laps(*found)
