"""Times on a card: sums of events, whoever queues them, with a card that is made up; and on a real one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mien.models import torch_event
from mien.models.tally import Tally
from mien.models.torch_event import WAITING, Laps
from mien.run.clock import Clock


class Card:
    """`torch.cuda` of a card that stamps events when its own clock, in milliseconds, is moved on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stamped = True
        """Whether it has got to all that is queued."""
        self.waited = 0
        self.cuda = self

    def Event(self, enable_timing: bool) -> Event:  # noqa: N802
        assert enable_timing
        return Event(self)

    def current_stream(self, device: str) -> str:
        return f"stream of {device}"

    @contextmanager
    def working(self, ms: float) -> Iterator[None]:
        self.now += ms
        yield


class Event:
    """One of its events."""

    def __init__(self, card: Card) -> None:
        self._card, self._at, self._known = card, -1.0, False

    def record(self, stream: str) -> None:
        assert stream == "stream of cuda:0"
        self._at = self._card.now

    def query(self) -> bool:
        self._known = self._known or self._card.stamped
        return self._known

    def synchronize(self) -> None:
        self._card.waited += not self._known
        self._known = True

    def elapsed_time(self, end: Event) -> float:
        assert end._known
        return end._at - self._at


def spent(card: Card, ms: float) -> None:
    with card.working(ms):
        pass


def test_laps_add_up_by_name_without_those_inside() -> None:
    card = Card()
    laps = Laps(card, "cuda:0")
    for _ in range(3):
        with laps.lap("outer"):
            spent(card, 2.0)
            with laps.lap("inner"):
                spent(card, 5.0)
            with laps.lap("outer"):
                spent(card, 1.0)
    seconds = laps.seconds()
    assert seconds["inner"] == pytest.approx(0.015)
    assert seconds["outer"] == pytest.approx(0.009)
    assert sum(seconds.values()) == pytest.approx(card.now / 1000)


def test_nobody_waits_before_the_sums_are_asked_for_or_too_many_are_open() -> None:
    card = Card()
    card.stamped = False
    laps = Laps(card, "cuda:0")
    for _ in range(WAITING):
        with laps.lap():
            spent(card, 1.0)
    assert card.waited == 0
    for _ in range(10):
        with laps.lap():
            spent(card, 1.0)
    assert card.waited == 10
    assert laps.seconds() == {"": pytest.approx((WAITING + 10) / 1000)}
    assert card.waited == WAITING + 10


def test_what_fails_is_not_counted() -> None:
    card = Card()
    laps = Laps(card, "cuda:0")

    def fails() -> None:
        with laps.lap("inner"):
            spent(card, 3.0)
        with laps.lap("inner"):
            raise RuntimeError

    with pytest.raises(RuntimeError), laps.lap("outer"):
        fails()
    assert laps.seconds() == {"inner": pytest.approx(0.003), "outer": 0.0}
    with laps.lap("another"):
        spent(card, 1.0)
    assert laps.seconds()["another"] == pytest.approx(0.001)


def test_a_network_on_a_card_tells_the_cards_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    card, asked = Card(), list[str]()

    def laps(device: str) -> Laps:
        asked.append(device)
        return Laps(card, device)

    monkeypatch.setattr(torch_event, "laps", laps)
    tally = Tally()
    for _ in range(4):
        with tally.call(2, "cuda:0"):
            spent(card, 6.0)
    assert asked == ["cuda:0"]
    row = tally.table(8)
    assert row["gpu_ms_per_frame"] == pytest.approx(3.0)
    assert (row["calls"], row["items"]) == (4, 8)
    plain = Tally()
    with plain.call(1, "CPU"):
        pass
    assert "gpu_ms_per_frame" not in plain.table(1)
    assert asked == ["cuda:0"]


def test_stages_of_one_thread_tell_the_cards_time_too() -> None:
    card, clock = Card(), Clock()
    clock.on_card(Laps(card, "cuda:0"))
    with clock.stage("swap"):
        spent(card, 4.0)
        with clock.stage("crop"):
            spent(card, 1.0)

    def elsewhere() -> None:
        with clock.stage("decode"):
            spent(card, 100.0)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    table = clock.table(2)
    assert table["swap"]["gpu_ms_per_frame"] == pytest.approx(2.0)
    assert table["crop"]["gpu_ms_per_frame"] == pytest.approx(0.5)
    assert "gpu_ms_per_frame" not in table["decode"]
    clock.on_card(None)
    assert "gpu_ms_per_frame" not in clock.table(2)["swap"]


def test_there_are_none_for_a_processor() -> None:
    assert torch_event.laps("") is None
    assert torch_event.laps("cpu") is None


@pytest.mark.gpu
def test_a_cards_events_agree_with_the_clock_around_a_wait() -> None:
    import time

    torch: Any = pytest.importorskip("torch")
    laps = torch_event.laps("cuda:0")
    if laps is None:
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and torch reaches none"
        pytest.skip("torch reaches no card")
    matrix = torch.rand(4096, 4096, device="cuda:0")
    torch.cuda.synchronize()
    began = time.perf_counter()
    with laps.lap("work"):
        for _ in range(20):
            matrix = torch.nn.functional.normalize(matrix @ matrix)
    asked = time.perf_counter() - began
    torch.cuda.synchronize()
    whole = time.perf_counter() - began
    seconds = laps.seconds()["work"]
    assert 0 < seconds <= whole
    assert asked < seconds  # asking for it took less than doing it
