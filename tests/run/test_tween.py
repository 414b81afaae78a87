"""Which frames meet: a segment and the one frame after it, whatever else is rendered."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mien.media.clip import index, probe
from mien.media.plan import EncodePlan, plan
from mien.run.lanes import batches
from mien.run.tween import Tween, steps, with_context
from mien.settings import Encode
from mien.stages.patch import untimed
from mien.types import Frame, Segment
from tests.images.frames import LAYOUTS, noise, paint, waves
from tests.media.makers import Recipe, make

SEGMENTS = (Segment(0, 0, 4), Segment(1, 4, 8), Segment(3, 12, 15))


def frames(*numbers: int) -> Iterator[Frame]:
    for number in numbers:
        made = noise(LAYOUTS["gray"], (16, 8), number)
        yield Frame(made.planes, made.layout, made.colour, number, number, made.display)


def met(*numbers: int) -> list[tuple[int, int | None]]:
    """Numbers of the frames that meet, of a clip of 15."""
    pairs = steps(with_context(frames(*numbers), SEGMENTS), SEGMENTS)
    return [(one.index, None if two is None else two.index) for one, two in pairs]


def test_each_frame_meets_the_next_one_over_the_ends_of_segments() -> None:
    inside = [*range(9), *range(12, 15)]  # 8 comes for the second segment alone; 15 does not exist
    assert met(*inside) == [*((k, k + 1) for k in range(8)), (12, 13), (13, 14), (14, None)]


def test_lost_frames_leave_a_gap() -> None:
    lost = [0, 1, 3, 5, 6, 7, 12, 13]  # 2, 4, 8 and 14 cannot be decoded
    assert met(*lost) == [(0, 1), (1, None), (3, None), (5, 6), (6, 7), (7, None), (12, 13), (13, None)]


def test_the_frame_after_a_segment_is_a_copy_of_its_own() -> None:
    """It is changed by itself, not together with what follows: it does not matter whether that comes."""
    ends = sorted({n for s in SEGMENTS for n in (s.start, s.end)})
    given = list(frames(*range(9), *range(12, 15)))
    lists = list(batches(with_context(iter(given), SEGMENTS), 3, ends))
    numbers = [[frame.index for frame in some] for some in lists]
    assert numbers == [[0, 1, 2], [3], [4], [4, 5, 6], [7], [8], [12, 13, 14]]
    alone = [
        [f.index for f in some]
        for some in batches(with_context(frames(4, 5, 6, 7, 8), SEGMENTS[1:2]), 3, [4, 8])
    ]
    assert alone == [[4, 5, 6], [7], [8]]
    copy, original = lists[2][0], lists[3][0]
    assert np.array_equal(copy.planes[0], original.planes[0])
    assert not np.shares_memory(copy.planes[0], original.planes[0])


@pytest.fixture
def made(tmp_path: Path) -> tuple[EncodePlan, Path]:
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=6, rate=Fraction(10))))
    return plan(clip, index(clip), Encode(fps="25"), tmp_path / "o.mp4"), clip.path


def moving(number: int) -> Frame:
    field = paint(LAYOUTS["yuv420p"], (96, 64), lambda x, y: waves(3 * x - 12.0 * number, 3 * y))
    ticks = number * 1024  # of 1 / 10240 s
    return Frame(field.planes, field.layout, field.colour, ticks, number, field.display)


@pytest.mark.parametrize("shots", [(0,), (0, 2)])
def test_nearest_frames_across_a_cut(made: tuple[EncodePlan, Path], shots: tuple[int, ...]) -> None:
    clip = probe(made[1])
    whole = [Segment(0, 0, 6)]
    assert clip.time_base == Fraction(1, 10240)
    tween = Tween(made[0], index(clip), clip, whole, shots, untimed)
    shown = [tween((moving(k), moving(k + 1))) for k in range(2)]
    assert [[p.index for p in one.pictures] for one in shown] == [[0, 1, 2], [3, 4]]
    first, second = ([p.planes[0] for p in one.pictures] for one in shown)
    assert np.array_equal(first[0], moving(0).planes[0])
    assert not any(np.array_equal(first[k], moving(n).planes[0]) for k in (1, 2) for n in (0, 1))
    cut = len(shots) > 1  # pictures 3 and 4 are at 1.2 and 1.6 frames
    assert np.array_equal(second[0], moving(1).planes[0]) == cut
    assert np.array_equal(second[1], moving(2).planes[0]) == cut
    assert (tween.wanted, tween.refused) == (2 if cut else 4, 0)


def test_what_stands_for_long_is_held(made: tuple[EncodePlan, Path]) -> None:
    clip = probe(made[1])
    tween = Tween(made[0], index(clip), clip, [Segment(0, 0, 6)], (0,), untimed)
    late = moving(1)
    late = Frame(late.planes, late.layout, late.colour, 4000, 1, late.display)
    shown = tween((moving(0), late)).pictures
    assert all(np.array_equal(p.planes[0], moving(0).planes[0]) for p in shown[:2])
    assert np.array_equal(shown[2].planes[0], late.planes[0])
    assert tween.wanted == 0


def test_alone_it_is_shown_until_the_next_one(made: tuple[EncodePlan, Path]) -> None:
    clip = probe(made[1])
    tween = Tween(made[0], index(clip), clip, [Segment(0, 0, 6)], (0,), untimed)
    shown = tween((moving(5), None)).pictures
    assert [p.index for p in shown] == [13, 14]
    assert all(np.array_equal(p.planes[0], moving(5).planes[0]) for p in shown)


def test_what_cannot_be_followed_is_counted(made: tuple[EncodePlan, Path]) -> None:
    clip = probe(made[1])
    tween = Tween(made[0], index(clip), clip, [Segment(0, 0, 6)], (0,), untimed)
    one, two = noise(LAYOUTS["yuv420p"], (96, 64), 1), noise(LAYOUTS["yuv420p"], (96, 64), 2)
    two = Frame(two.planes, two.layout, two.colour, 1024, 1, two.display)
    shown = tween((one, two)).pictures
    assert (tween.wanted, tween.refused) == (2, 2)
    assert [np.array_equal(p.planes[0], one.planes[0]) for p in shown] == [True, True, False]
    assert np.array_equal(shown[2].planes[0], two.planes[0])
