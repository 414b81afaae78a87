"""Strips of small pictures: which moments of a clip they show."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from mien.run import strip, video
from tests.media.makers import Recipe, make


def test_parts_are_equal_in_time(tmp_path: Path) -> None:
    """A frame that is shown for long stands for all of that time."""
    pts = [0, 40, 80, 120, 160, 4000, 8000, 8040]
    recipe = Recipe(
        frames=8, rate=Fraction(25), time_base=Fraction(1, 1000), pts=pts, gop=8, options={"bf": "0"}
    )
    film = video.footage(make(tmp_path / "a.mp4", recipe), "", "")
    assert strip.moments(film, 4) == [0, 4, 5, 5]


def test_parts_of_a_constant_rate_are_equal_in_frames(tmp_path: Path) -> None:
    film = video.footage(make(tmp_path / "a.mp4", Recipe(frames=24, gop=24)), "", "")
    assert strip.moments(film, 4) == [0, 9, 15, 21]
