from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from mien.run.clock import Clock
from mien.run.engine import Drain, Prefetch, mapped

OWN = ("mien-prefetch", "mien-drain", "mien-work")


def _alive() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith(OWN)}


def _drive(
    source: Iterator[int], work: Callable[[int], int], sink: Callable[[int], None], workers: int = 1
) -> None:
    with Prefetch(source, 2) as items, Drain(sink, 2) as out:
        for value in mapped(items, work, workers):
            out.put(value)


class Item:
    def __init__(self, number: int) -> None:
        self.number = number


@pytest.mark.parametrize("workers", [1, 3])
def test_order_is_kept(workers: int) -> None:
    got: list[int] = []
    with Prefetch(range(200), 3) as items, Drain(got.append, 3) as out:
        for value in mapped(items, lambda n: n * n, workers):
            out.put(value)
    assert got == [n * n for n in range(200)]
    assert not _alive()


def test_prefetch_stays_within_its_depth() -> None:
    made: list[int] = []
    third = threading.Event()

    def source() -> Iterator[int]:
        for n in range(1000):
            made.append(n)
            if n == 4:
                third.set()
            yield n

    with Prefetch(source(), 3) as items:
        iterator = iter(items)
        assert next(iterator) == 0
        assert third.wait(10)
        # one taken, three queued, one in the thread's hand
        assert len(made) <= 5
    assert len(made) < 1000


@pytest.mark.parametrize("workers", [1, 3])
def test_items_are_not_kept(workers: int) -> None:
    lock = threading.Lock()
    alive: set[int] = set()
    most = 0

    def source() -> Iterator[Item]:
        nonlocal most
        for n in range(300):
            item = Item(n)
            with lock:
                alive.add(n)
                most = max(most, len(alive))
            weakref.finalize(item, alive.discard, n)
            yield item
            del item

    with Prefetch(source(), 2) as items, Drain[Item](lambda item: None, 2) as out:
        for item in mapped(items, lambda item: item, workers):
            out.put(item)
            del item
    assert not alive
    assert most <= 2 + 2 + workers + 6


def test_source_error_comes_out() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    got: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        _drive(source(), lambda n: n, got.append)
    assert got == [1, 2][: len(got)]  # what waits when an error comes is dropped
    assert not _alive()


def test_sink_error_comes_out_and_nothing_hangs() -> None:
    def sink(n: int) -> None:
        if n == 5:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        _drive(iter(range(10**9)), lambda n: n, sink)
    assert not _alive()


def test_sink_error_on_the_last_item_comes_out() -> None:
    def sink(n: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Drain(sink) as out:
        out.put(1)


@pytest.mark.parametrize("workers", [1, 3])
def test_work_error_ends_all_threads(workers: int) -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(threading.current_thread().name)

    def work(n: int) -> int:
        if n == 7:
            raise RuntimeError("no")
        return n

    got: list[int] = []
    with pytest.raises(RuntimeError, match="no"):
        _drive(source(), work, got.append, workers)
    assert closed == ["mien-prefetch"]
    assert got == list(range(len(got)))
    assert not _alive()


def test_leaving_early_ends_the_thread() -> None:
    with Prefetch(iter(range(10**9)), 2) as items:
        for n in items:
            if n == 3:
                break
    assert not _alive()


def test_clock_adds_up_and_percent_is_a_share() -> None:
    clock = Clock()
    clock.add("a", 3.0, 1.0)
    clock.add("b", 1.0, 1.0)
    clock.add("a", 0.0, 1.0)
    table = clock.table(10)
    assert table["a"] == {"ms_per_frame": 300.0, "cpu_ms_per_frame": 200.0, "percent": 75.0}
    assert table["b"] == {"ms_per_frame": 100.0, "cpu_ms_per_frame": 100.0, "percent": 25.0}


def test_clock_passes_items_and_results_through() -> None:
    clock = Clock()
    assert list(clock.iterate("read", iter([1, 2, 3]))) == [1, 2, 3]
    assert clock.wrap("work", max)(4, 5) == 5
    assert set(clock.table(1)) == {"read", "work"}


def test_clock_closes_what_it_iterates() -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    items = Clock().iterate("read", source())
    assert next(items) == 1
    items.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_clock_counts_a_nested_stage_once() -> None:
    clock = Clock()
    with clock.stage("outer"):
        with clock.stage(""):
            sum(range(200_000))
        with clock.stage("inner"):
            sum(range(200_000))
    table = clock.table(1)
    assert set(table) == {"outer", "inner"}
    assert table["outer"]["ms_per_frame"] < table["inner"]["ms_per_frame"]


def test_a_lost_call_wakes_late_not_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when Ctrl-C comes while a queue calls the thread that waits for it."""
    monkeypatch.setattr("mien.run.engine.LOOK", 0.01)
    got: list[int] = []
    drain = Drain(got.append, 2)
    monkeypatch.setattr(drain._queue.not_empty, "notify", lambda n=1: None)
    with drain:
        drain.put(1)
    assert got == [1]
    items = Prefetch(iter(range(9)), 1)
    monkeypatch.setattr(items._queue.not_full, "notify", lambda n=1: None)
    with items:
        assert list(items) == list(range(9))
