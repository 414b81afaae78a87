"""What waits between threads of a live run."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from mien.run.mailbox import Mailbox


@given(st.integers(1, 5), st.lists(st.integers(), max_size=20))
def test_the_newest_stay_and_the_rest_is_counted(depth: int, items: list[int]) -> None:
    box: Mailbox[int] = Mailbox(depth)
    for item in items:
        box.put(item)
    assert box.dropped == max(0, len(items) - depth)
    box.close()
    kept = []
    while (taken := box.take()) is not None:
        kept.append(taken)
    assert kept == items[-depth:]


def test_closing_wakes_who_waits() -> None:
    box: Mailbox[int] = Mailbox()
    got: list[int | None] = []
    waiting = threading.Thread(target=lambda: got.append(box.take()))
    waiting.start()
    box.close()
    waiting.join(10)
    assert got == [None]
    box.put(1)
    assert box.poll() is None


def test_what_waits_can_be_dropped() -> None:
    box: Mailbox[int] = Mailbox(3)
    box.put(1)
    box.close(drop=True)
    assert box.take() is None
