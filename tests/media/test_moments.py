"""Which frame's turn it is, and how far it is to the next one: beside plain fractions."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.media.clip import Clip, FrameIndex, index, probe
from mien.media.moments import moments, rises
from mien.media.plan import plan, schedule
from mien.settings import Encode
from tests.media.makers import Recipe, make


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, FrameIndex]:
    path = make(tmp_path_factory.mktemp("moments") / "a.mp4", Recipe(frames=30, rate=Fraction(30)))
    clip = probe(path)
    return clip, index(clip)


def varied(known: FrameIndex, gaps: list[int], after: int = 512) -> FrameIndex:
    """Frames so many ticks apart."""
    pts = np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    return FrameIndex(pts, known.key[: len(pts)], pts, int(pts[-1]) + after, known.time_base)


@settings(max_examples=80)
@given(
    fps=st.fractions(Fraction(1), Fraction(120), max_denominator=1001),
    gaps=st.lists(st.integers(1, 9000), min_size=29, max_size=29),
    start=st.integers(0, 28),
)
def test_every_time_is_exact(
    plain: tuple[Clip, FrameIndex], fps: Fraction, gaps: list[int], start: int
) -> None:
    clip, known = plain
    timed = varied(known, gaps)
    text = f"{fps.numerator}/{fps.denominator}"
    made = plan(clip, timed, Encode(fps=text), clip.path.with_name("o.mp4"), start=start)
    whole = moments(made, timed, clip, start, 30)
    count = len(schedule(made, timed, clip, start, 30))
    assert len(whole) == count
    shown = [Fraction(int(t - timed.pts[start])) for t in timed.pts]  # in ticks
    step = 1 / (fps * clip.time_base)
    for k in range(count):
        at, frame = k * step, int(whole.source[k])
        share = Fraction(int(whole.part[k]), int(whole.whole[k]))
        assert 0 <= share < 1
        if share:
            gap = shown[frame + 1] - shown[frame]
            assert shown[frame] + share * gap == at
        elif frame < 29:
            assert abs(shown[frame] - at) <= min(Fraction(1, 2), Fraction(max(gaps), 16))
        else:
            assert at >= shown[29] - Fraction(1, 2)
    began = int(whole.times.pts[0]) * made.time_base
    assert [int(t) * made.time_base for t in whole.times.pts] == [began + k / fps for k in range(count)]
    middle = (start + 30) // 2
    if start < middle:
        halves = [moments(made, timed, clip, a, b) for a, b in ((start, middle), (middle, 30))]
        for name in ("source", "part", "whole"):
            joined = np.concatenate([getattr(half, name) for half in halves])
            assert np.array_equal(joined, getattr(whole, name))
        numbers = [number for half in halves for number in half.times.source]
        assert numbers == list(range(count))
        listed = [pair for frame in range(start, 30) for pair in whole.after(frame)]
        assert [number for number, _ in listed] == numbers
        if 0 < len(halves[0]) < count:
            assert halves[0].times.end == whole.times.pts[len(halves[0])]


@pytest.mark.parametrize(
    ("rate", "fps", "first"),
    [
        ("30000/1001", "60000/1001", ["0", "1/2", "0", "1/2", "0"]),
        ("24", "60", ["0", "2/5", "4/5", "1/5", "3/5", "0"]),
        ("25", "30", ["0", "5/6", "2/3", "1/2", "1/3", "1/6", "0"]),
        ("24000/1001", "24000/1001", ["0", "0", "0"]),
    ],
)
def test_known_rates(tmp_path: Path, rate: str, fps: str, first: list[str]) -> None:
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=12, rate=Fraction(rate))))
    known = index(clip)
    made = plan(clip, known, Encode(fps=fps), tmp_path / "o.mp4")
    found = moments(made, known, clip, 0, 12)
    shares = [Fraction(int(p), int(w)) for p, w in zip(found.part, found.whole, strict=True)]
    assert shares[: len(first)] == [Fraction(text) for text in first]
    assert rises(made, known) == (Fraction(fps) > Fraction(rate))


def test_milliseconds_are_no_reason_to_make_pictures(tmp_path: Path) -> None:
    """In Matroska 30 frames a second are at 0, 33, 67, 100 ms: at 60 every second picture is one of them."""
    ticks = [round(1000 * k / 30) for k in range(12)]
    recipe = Recipe(frames=12, rate=Fraction(30), time_base=Fraction(1, 1000), pts=ticks)
    clip = probe(make(tmp_path / "a.mkv", recipe))
    known = index(clip)
    made = plan(clip, known, Encode(fps="60"), tmp_path / "o.mkv")
    found = moments(made, known, clip, 0, 12)
    assert clip.time_base == Fraction(1, 1000)
    assert list(found.source[::2]) == list(range(12))
    assert not found.part[::2].any()
    assert found.part[1:-1:2].all()


def test_lower_rates_do_not_rise(plain: tuple[Clip, FrameIndex], tmp_path: Path) -> None:
    clip, known = plain
    for fps, rising in (("29.97", False), ("30", False), ("30.01", True), ("", False)):
        assert rises(plan(clip, known, Encode(fps=fps), tmp_path / "o.mp4"), known) == rising
    one = plan(clip, known, Encode(fps="60"), tmp_path / "o.mp4", start=3, end=4)
    assert not rises(one, known)
    assert list(moments(one, known, clip, 3, 4).source) == [3, 3]
    with pytest.raises(ValueError, match="range"):
        moments(one, known, clip, 3, 5)
    with pytest.raises(ValueError, match="range"):
        moments(plan(clip, known, Encode(), tmp_path / "o.mp4"), known, clip, 0, 30)
