"""Sound held back: read anywhere, to the sample, against one long array."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mien.media.camera import RATE, Sound
from mien.media.tape import SECONDS, Tape


def piece(start: int, length: int) -> Sound:
    numbers = np.arange(start, start + length, dtype=np.float32)
    return Sound(np.stack([numbers, -numbers]), start)


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 500)), max_size=10),
    st.integers(-100, 4000),
    st.integers(1, 960),
)
def test_what_is_read_is_what_was_there(pieces: list[tuple[int, int]], start: int, count: int) -> None:
    tape, whole, end = Tape(), np.zeros(8000, np.float32), 0
    for first, length in pieces:
        tape.add(piece(first, length))
        fresh = max(first, end)
        if first + length > fresh:
            whole[fresh : first + length] = np.arange(fresh, first + length)
            end = first + length
    wanted = np.array([whole[k] if 0 <= k < end else 0.0 for k in range(start, start + count)], np.float32)
    made = tape.read(start, count)
    assert np.array_equal(made[0], wanted)
    assert np.array_equal(made[1], -wanted)


def test_only_the_latest_seconds_are_kept() -> None:
    tape = Tape()
    for k in range(0, (SECONDS + 3) * RATE, RATE // 50):
        tape.add(piece(k, RATE // 50))
    assert tape.end == (SECONDS + 3) * RATE
    assert not tape.read(0, 3 * RATE).any()
    assert np.array_equal(tape.read(4 * RATE, 10)[0], np.arange(4 * RATE, 4 * RATE + 10, dtype=np.float32))


def test_a_long_silence_is_silent() -> None:
    tape = Tape()
    tape.add(piece(1, 1000))
    tape.add(piece(20 * RATE, 100))
    assert not tape.read(20 * RATE - 1000, 1000).any()
    assert tape.read(20 * RATE, 100).all()
