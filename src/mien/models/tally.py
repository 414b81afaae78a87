"""How long a network took: added up over the threads that run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from mien.models import torch_event
from mien.models.torch_event import Laps


class Tally:
    """Calls, rows and seconds of one network, without loading it and choosing its engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls = self.rows = 0
        self.seconds = 0.0
        self._laps: dict[str, Laps | None] = {}

    @contextmanager
    def call(self, rows: int, device: str = "") -> Iterator[None]:
        """Count a call with so many rows, and the time of the block.

        Args:
            rows: Of the batch.
            device: Where the engine computes; on a card the card's own time is counted, too.
        """
        laps = self._on(device) if device.startswith("cuda") else None
        began = time.perf_counter()
        with nullcontext() if laps is None else laps.lap():
            yield
        spent = time.perf_counter() - began
        with self._lock:
            self.calls += 1
            self.rows += rows
            self.seconds += spent

    def _on(self, device: str) -> Laps | None:
        """The laps of a card, looked for once."""
        with self._lock:
            if device not in self._laps:
                self._laps[device] = torch_event.laps(device)
            return self._laps[device]

    def table(self, frames: int) -> dict[str, float]:
        """Milliseconds a frame, calls, milliseconds a call, and rows; of a card its own milliseconds a frame,
        with copies from and to the host where the inputs lie there.
        """
        with self._lock:
            known = [laps for laps in self._laps.values() if laps is not None]
        row = {
            "ms_per_frame": round(1000.0 * self.seconds / max(frames, 1), 3),
            "calls": self.calls,
            "ms_per_call": round(1000.0 * self.seconds / max(self.calls, 1), 3),
            "items": self.rows,
        }
        if known:
            card = sum(sum(laps.seconds().values()) for laps in known)
            row["gpu_ms_per_frame"] = round(1000.0 * card / max(frames, 1), 3)
        return row
