"""Progress events a few times a second."""

from __future__ import annotations

import queue
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mien.models.card import Card
from mien.models.store import Store
from mien.types import Progress

EVERY = 0.2
"""Seconds between two reports."""


class Meter:
    """Turns counts of one stage into progress events.

    Args:
        stage: Its name.
        total: Count at the end.
        before: Count that an earlier run had reached; it does not enter the speed.
    """

    def __init__(self, stage: str, total: int, before: int = 0) -> None:
        self._stage, self._total, self._before = stage, total, before
        self._began = self._told = time.monotonic()

    def at(self, done: int) -> Iterator[Progress]:
        """A report, if one is due; always one at the end."""
        now = time.monotonic()
        if now - self._told < EVERY and done < self._total:
            return
        self._told = now
        speed = (done - self._before) / max(now - self._began, 1e-9)
        left = max(self._total - done, 0)
        yield Progress(self._stage, done, self._total, round(speed, 2), round(left / max(speed, 1e-9), 1))


def fetched(cards: Sequence[Card], home: Path | None = None) -> Generator[Progress, None, Store]:
    """A store that has the files of all cards; progress in bytes while something is fetched.

    Raises:
        ModelError: A file cannot be had.
    """
    told: queue.Queue[tuple[str, int, int]] = queue.Queue()
    store = Store(home, on_progress=lambda label, done, total: told.put((label, done, total)))
    with ThreadPoolExecutor(1, thread_name_prefix="mien-fetch") as pool:
        work = pool.submit(store.require, cards)
        while not work.done() or not told.empty():
            try:
                _, done, total = told.get(timeout=0.1)
            except queue.Empty:
                continue
            yield Progress("models", done, total, 0.0, 0.0)
        work.result()
    return store
