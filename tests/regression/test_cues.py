"""Cues: what is otherwise in a part of a video is so there, and nowhere else."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import SettingsError
from mien.run import cues
from mien.settings import Cue, Encode, Job, Key, Mask, Role, Settings, Swap
from tests.regression import scenes
from tests.regression.running import FAST, change, frames, pictures, planes, swap

LOSSLESS = Settings(encode=Encode(codec="ffv1"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames of one face, sixteen frames a second."""
    return scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 12, height=0.45), rate=Fraction(16))


@pytest.fixture
def run(home: Path, faces: Path, clip: Path, tmp_path: Path) -> Any:
    def run(name: str, *asked: Cue, source: str = "hopper", **changes: Any) -> list[list[np.ndarray]]:
        output = tmp_path / f"{name}.mkv"
        given = {"settings": LOSSLESS, **changes}
        swap(faces / f"{source}.png", clip, output, cues=asked, **given)
        return [list(planes(frame)) for frame in frames(output)]

    return run


def same(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_the_own_face_stays_where_nothing_is_shown(run: Any, clip: Path) -> None:
    plain = run("plain")
    cued = run("cued", Cue(start="4f", end="8f", show=0.0))
    for k, frame in enumerate(frames(clip)):
        own = list(planes(frame))
        assert same(cued[k], own if 4 <= k < 8 else plain[k])
        assert not same(plain[k], own)


def test_another_face_for_a_while(run: Any, faces: Path) -> None:
    one, two = run("one"), run("two", source="astronaut")
    cued = run("cued", Cue(start="0.25", end="0.5", sources=(faces / "astronaut.png",)))
    for k in range(12):
        assert same(cued[k], two[k] if 4 <= k < 8 else one[k])


def test_settings_of_a_cue_are_those_of_a_job(run: Any) -> None:
    other = LOSSLESS.model_copy(update={"mask": Mask(grow=-0.2), "swap": Swap(light=0.25)})
    plain, whole = run("plain"), run("whole", settings=other)
    values = {"mask.grow": -0.2, "swap.light": 0.25}
    cued = run("cued", Cue(end="6f", values=values), Cue(start="10f", values=values, roles=(1,)))
    for k in range(12):
        assert same(cued[k], whole[k] if k < 6 or k >= 10 else plain[k])


def test_numbers_ease_in_and_out(run: Any, clip: Path) -> None:
    cued = run("cued", Cue(start="2f", end="10f", show=0.0, ease=0.25))
    own = [list(planes(frame)) for frame in frames(clip)]
    apart = [
        sum(float(np.abs(a.astype(int) - b.astype(int)).sum()) for a, b in zip(*pair, strict=True))
        for pair in zip(cued, own, strict=True)
    ]
    assert apart[6] == 0.0, "in the middle the own face"
    for rising in (apart[6:2:-1], apart[6:11]):
        assert all(a < b for a, b in pairwise(rising))


def test_keys_run_from_one_to_another(run: Any) -> None:
    keys = (Key(at="2f", values={"mask.grow": 0}), Key(at="6f", values={"mask.grow": -0.3}))
    cued = run("cued", Cue(keys=keys))
    for k, grow in ((0, 0.0), (2, 0.0), (4, -0.15), (6, -0.3), (11, -0.3)):
        settings = LOSSLESS.model_copy(update={"mask": Mask(grow=grow)})
        assert same(cued[k], run(f"whole{k}", settings=settings)[k])


def test_pictures_have_no_cues(home: Path, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cues: work on videos only"):
        swap(faces / "hopper.png", faces / "astronaut.png", tmp_path / "out.png", cues=(Cue(show=0.5),))
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("cue", "says"),
    [
        (Cue(values={"swap.sparkle": 1.0}), "cue 1: swap.sparkle: Extra inputs are not permitted"),
        (Cue(values={"swap.light": 7.0}), "cue 1: swap.light: Input should be less than or equal to 1"),
        (Cue(values={"swap.every": 2}), "cue 1: swap.every: cannot change within a video"),
        (
            Cue(keys=(Key(at="1f", values={"mask.feather": -1}),)),
            "cue 1: mask.feather: Input should be great",
        ),
        (Cue(roles=(2,)), "cue 1: there is no role 2"),
        (Cue(start="8f", end="3f"), "cue 1: 8f to 3f holds no frame"),
        (Cue(start="soon"), "soon: is not a moment"),
        (Cue(keys=(Key(at="5f"), Key(at="2f"))), "cue 1: has keys that do not follow each other"),
        (Cue(values={"swap.model": "nothing"}), "swap.model: there is no model 'nothing'"),
    ],
)
def test_what_cannot_be(cue: Cue, says: str, home: Path, faces: Path, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        swap(faces / "hopper.png", clip, tmp_path / "out.mkv", cues=(cue,), settings=FAST)
    assert says in str(caught.value)
    assert not (tmp_path / "out.mkv").exists()


def test_a_stopped_job_goes_on_with_the_same_looks(run: Any, clip: Path) -> None:
    """Frames depend on their own time alone: those of a part are those of the whole."""
    asked = Cue(start="2f", end="9f", values={"swap.light": 0.0}, ease=0.3)
    whole = run("whole", asked)
    part = run("part", asked, start="3f", end="7f")
    # smoothing sees other frames at the ends of a part, so the middle is compared, and roughly
    assert len(part) == 4
    for a, b in zip(part, whole[3:7], strict=True):
        assert np.abs(a[0].astype(int) - b[0].astype(int)).mean() < 0.5


def test_running_are_the_numbers() -> None:
    assert {"swap.strength", "mask.feather", "mask.padding", "enhance.blend"} <= cues.RUNNING
    assert not cues.RUNNING & {"swap.size", "swap.model", "mask.regions", "swap.every", "enhance.model"}


@given(
    start=st.floats(0, 5),
    length=st.floats(0.1, 5),
    ease=st.floats(0.01, 5),
    at=st.floats(0, 1),
)
def test_ease_is_a_trapezium(start: float, length: float, ease: float, at: float) -> None:
    stretch = cues.Stretch(Cue(ease=ease), 0, 1, start, start + length)
    weight = stretch.weight(start + at * length)
    assert 0.0 <= weight <= 1.0
    assert weight == pytest.approx(min(at * length / ease, (1 - at) * length / ease, 1.0), abs=1e-6)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1))
def test_between_two_numbers(one: float, two: float, share: float) -> None:
    mixed = cues.mixed(one, two, share)
    assert isinstance(mixed, float)
    assert min(one, two) - 1e-9 <= mixed <= max(one, two) + 1e-9
    assert cues.mixed((one, two), (two, one), share) == pytest.approx((mixed, one + two - mixed), abs=1e-9)


def test_variants_stand_behind_the_cast() -> None:
    cast = (Role(sources=(Path("a.png"),)), Role(sources=(Path("b.png"),)))
    asked = (Cue(roles=(2,), show=0.5), Cue(sources=(Path("c.png"),)))
    job = Job(target=Path("t.mp4"), output=Path("o.mp4"), cast=cast, cues=asked)
    made = cues.variants(job, lambda role: Settings())
    assert [str(role.sources[0]) for role in made] == ["b.png", "c.png", "c.png"]


def test_a_fade_looks_like_one(run: Any, clip: Path, tmp_path: Path) -> None:
    run("plain")
    run("half", Cue(show=0.5))
    rows = zip(*(pictures(tmp_path / f"{n}.mkv") for n in ("plain", "half")), pictures(clip), strict=True)
    for full, half, own in rows:
        inside = change(full, own) > 24
        between = (full.astype(float) + own.astype(float)) / 2
        assert np.abs(half.astype(float) - between)[inside].mean() < 2.0
