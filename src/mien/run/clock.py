"""Where the time went: wall and processor time of named stages, added up over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from mien.models.torch_event import Laps

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class Clock:
    """Adds up what stages cost. Safe to use from several threads.

    A stage's time is measured in the thread that runs it, without the stages inside it, and stages of
    different threads overlap: together they may take longer than the run. Processor time is that of the
    measuring thread; threads that a codec starts by itself are not in it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wall: dict[str, float] = {}
        self._cpu: dict[str, float] = {}
        self._open = threading.local()
        self._laps: Laps | None = None
        self._thread = 0

    def on_card(self, laps: Laps | None) -> None:
        """From now on take a card's own time for the stages of this thread, which is the one that uses it."""
        self._laps, self._thread = laps, threading.get_ident()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to a stage; a stage without a name is not reported."""
        outer: tuple[float, float] = getattr(self._open, "inside", (0.0, 0.0))
        self._open.inside = (0.0, 0.0)
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            with self._lap(name):
                yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            inner = self._open.inside
            self.add(name, wall - inner[0], cpu - inner[1])
            self._open.inside = (outer[0] + wall, outer[1] + cpu)

    def _lap(self, name: str) -> AbstractContextManager[None]:
        """The card's time for a stage of its thread."""
        if self._laps is None or threading.get_ident() != self._thread:
            return nullcontext()
        return self._laps.lap(name)

    def add(self, name: str, wall: float, cpu: float) -> None:
        """Add seconds to a stage."""
        with self._lock:
            self._wall[name] = self._wall.get(name, 0.0) + wall
            self._cpu[name] = self._cpu.get(name, 0.0) + cpu

    def iterate(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The same items; the time to produce each is added to a stage."""
        try:
            while True:
                with self.stage(name):
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield item
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def run(self, name: str, work: Generator[T, None, R]) -> Generator[T, None, R]:
        """The same generator, result included; the time of every step is added to a stage."""
        try:
            while True:
                with self.stage(name):
                    try:
                        item = next(work)
                    except StopIteration as stop:
                        result: R = stop.value
                        return result
                yield item
        finally:
            work.close()

    def wrap(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """The same function; the time of every call is added to a stage."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.stage(name):
                return function(*args, **kwargs)

        return timed

    def table(self, frames: int) -> Mapping[str, Mapping[str, float]]:
        """Stage name to milliseconds a frame (wall and processor, and a card's own where there is one) and
        percent of all stages' wall time.
        """
        card = {} if self._laps is None else self._laps.seconds()
        with self._lock:
            total = sum(wall for name, wall in self._wall.items() if name) or 1.0
            per = 1000.0 / max(frames, 1)
            return {
                name: {
                    "ms_per_frame": round(wall * per, 3),
                    "cpu_ms_per_frame": round(self._cpu[name] * per, 3),
                    "percent": round(100.0 * wall / total, 1),
                    **({"gpu_ms_per_frame": round(card[name] * per, 3)} if name in card else {}),
                }
                for name, wall in self._wall.items()
                if name
            }
