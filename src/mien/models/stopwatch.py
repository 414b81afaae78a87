"""How long something takes, or would take if nobody else used the processor."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

_THREADS = Path("/proc/self/task")


class Stopwatch:
    """Runs from its making on."""

    def __init__(self) -> None:
        self._waited = waited()
        self._worked = time.process_time()
        self._began = time.perf_counter()

    def passed(self) -> float:
        """Seconds since, by the wall clock."""
        return time.perf_counter() - self._began

    def seconds(self) -> float:
        """Seconds since, without those in which this process waited for others.

        Of the time that its threads wanted a processor they had one for worked / (worked + waited): that
        share of the wall clock's time. Where the system does not say how long they waited it is the wall
        clock's.
        """
        passed = self.passed()
        worked = time.process_time() - self._worked
        return without_waiting(passed, worked, waited() - self._waited)


def without_waiting(passed: float, worked: float, lost: float) -> float:
    """What the wall clock would have said.

    Args:
        passed: Seconds by the wall clock.
        worked: Seconds that all threads together had a processor.
        lost: Seconds that all threads together waited for one.
    """
    return passed * worked / (worked + lost) if worked > 0 and lost > 0 else passed


def waited() -> float:
    """Seconds that this process's threads have waited for a processor so far; 0 where that is not told."""
    total = 0
    with contextlib.suppress(OSError):
        for thread in _THREADS.iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):  # it may have ended
                total += int((thread / "schedstat").read_text().split()[1])
    return total / 1e9
