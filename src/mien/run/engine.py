"""Threads and bounded queues: one thread fills, the caller's threads work, one thread drains.

Everything that is queued is bounded, so memory does not grow with the clip. An exception in a thread comes
out at the caller; leaving a `with` block, for whatever reason, ends its thread before going on.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

LOOK = 0.5
"""Seconds after which a thread that waits looks again. Ctrl-C in the middle of a queue's own bookkeeping can
lose the call that would wake it."""


class Bell:
    """Wakes a thread that waits for whichever of several queues moves first."""

    def __init__(self) -> None:
        self._moved = threading.Event()

    def ring(self) -> None:
        """Say that something has changed."""
        self._moved.set()

    def first(self, found: Callable[[], T | None]) -> T:
        """What `found` gives as soon as it gives something; it is asked again after every ring."""
        while True:
            self._moved.clear()  # before looking: what changes meanwhile rings again
            if (one := found()) is not None:
                return one
            self._moved.wait(LOOK)


class _End:
    """Marks the end of a stream; carries the exception that ended it early."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Prefetch(Generic[T]):
    """Iterates over `source` in a thread of its own, at most `depth` items ahead.

    Args:
        source: What to iterate over; closed in the thread if it is a generator.
        depth: Most items that wait in the queue.
        bell: Rung when an item waits, or the end.
    """

    def __init__(self, source: Iterable[T], depth: int = 4, bell: Bell | None = None) -> None:
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._bell = bell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source,), name="mien-prefetch", daemon=True)

    def _fill(self, source: Iterable[T]) -> None:
        end = _End()
        items = iter(source)
        try:
            for item in items:
                if self._stop.is_set():
                    break
                self._put(item)
                del item  # or the last one lives until the next is ready
                if self._stop.is_set():
                    break
        except BaseException as error:
            end.error = error
        try:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            end.error = end.error or error
        finally:
            self._put(end)

    def _put(self, item: T | _End) -> None:
        """Queue an item, waiting while the queue is full."""
        while True:
            try:
                self._queue.put(item, timeout=LOOK)
            except queue.Full:
                continue
            if self._bell is not None:
                self._bell.ring()
            return

    @property
    def ready(self) -> bool:
        """Whether the next item, or the end, can be had without waiting, by the one thread that iterates."""
        return not self._queue.empty()

    def __enter__(self) -> Prefetch[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        while self._thread.is_alive():
            _empty(self._queue)
            self._thread.join(0.02)
        _empty(self._queue)

    def __iter__(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                self._queue.put(item)  # a second iteration ends as well
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item


class Drain(Generic[T]):
    """Hands items to `sink` in a thread of its own, in order, at most `depth` behind.

    After the sink has failed, further items are dropped and the next `put` raises the failure.
    Leaving the block normally waits until every item is through; leaving it by an exception drops what waits.

    Args:
        sink: Called with each item.
        depth: Most items that wait in the queue.
        bell: Rung when there is more room, and when the sink has failed.
    """

    def __init__(self, sink: Callable[[T], None], depth: int = 4, bell: Bell | None = None) -> None:
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._depth, self._bell = depth, bell
        self._drop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(sink,), name="mien-drain", daemon=True)

    def _work(self, sink: Callable[[T], None]) -> None:
        while True:
            try:
                item = self._queue.get(timeout=LOOK)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            self._ring()
            if self._drop.is_set():
                continue
            try:
                sink(item)
            except BaseException as error:
                self._error = error
                self._drop.set()
                self._ring()
            del item

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.ring()

    @property
    def failed(self) -> bool:
        """Whether the sink has failed and nobody knows yet."""
        return self._error is not None

    def room(self, items: int) -> bool:
        """Whether so many items can be put without waiting, by the one thread that puts."""
        return self._queue.qsize() + items <= self._depth

    def put(self, item: T) -> None:
        """Queue one item; waits while the queue is full."""
        self.check()
        self._queue.put(item)
        self.check()

    def check(self) -> None:
        """Raise what the sink failed with, once."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> Drain[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._drop.set()
        self._queue.put(_End())
        self._thread.join()
        if kind is None:
            self.check()


def mapped(items: Iterable[T], work: Callable[[T], U], workers: int = 1) -> Iterator[U]:
    """`work(item)` for every item, in order; with several workers up to `workers + 1` items are in flight.

    Args:
        items: What to work on.
        work: Called in the caller's thread where there is one worker, else in a pool.
        workers: Threads, 1 or more.
    """
    if workers <= 1:
        for item in items:
            yield work(item)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mien-work")
    waiting: deque[Future[U]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            del item
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)


def _empty(waiting: queue.Queue[T]) -> None:
    """Throw away what waits in a queue."""
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
