"""Handing things from thread to thread where the newest counts: what is not taken in time is dropped."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds up to `depth` items; the oldest goes where a new one finds no room.

    Args:
        depth: Most items that wait.
    """

    def __init__(self, depth: int = 1) -> None:
        self.dropped = 0
        """Items that nobody took."""
        self._items: deque[T] = deque()
        self._depth = depth
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Leave an item; never waits. After `close` it is not taken any more."""
        with self._changed:
            if self._closed:
                return
            while len(self._items) >= self._depth:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify()

    @property
    def closed(self) -> bool:
        """Whether no more items come."""
        return self._closed

    def take(self, timeout: float | None = None) -> T | None:
        """The oldest item, waiting for one; None when closed and empty, or after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            return self._items.popleft() if self._items else None

    def poll(self) -> T | None:
        """The oldest item, or None; never waits."""
        with self._changed:
            return self._items.popleft() if self._items else None

    def close(self, *, drop: bool = False) -> None:
        """No more items come.

        Args:
            drop: Whether those that wait are dropped, too.
        """
        with self._changed:
            self._closed = True
            if drop:
                self._items.clear()
            self._changed.notify_all()
