"""Runs that make pictures between frames: every time exact, the input's own moments untouched."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from mien.settings import Encode, Settings
from mien.types import Started
from tests.media.makers import Sound
from tests.regression import scenes
from tests.regression.running import frames as decoded
from tests.regression.running import packets, pictures, planes, swap, times


def lossless(fps: str = "", between: Literal["repeat", "flow"] = "repeat") -> Settings:
    """Without loss."""
    return Settings(encode=Encode(codec="h264", quality=100, fps=fps, between=between, preset="fastest"))


def flow(fps: str) -> Settings:
    return lossless(fps, "flow")


def swaying(count: int) -> list[scenes.Picture]:
    """A face that crosses the picture evenly, so that every moment is another one."""
    return [scenes.close("astronaut", at=(0.3 + 0.012 * k, 0.5)) for k in range(count)]


@pytest.mark.parametrize(
    ("rate", "fps"), [("30000/1001", "60000/1001"), ("24", "60"), ("25", "30"), ("24000/1001", "50")]
)
def test_times_sound_and_own_moments(rate: str, fps: str, home: Path, faces: Path, tmp_path: Path) -> None:
    """In MP4 every time is k / fps; where a frame of the input is due, it is shown as it is."""
    clip = scenes.film(tmp_path / "in.mp4", swaying(13), rate=Fraction(rate), sounds=[Sound(0, 0.5)])
    plain = swap(faces / "hopper.png", clip, tmp_path / "kept.mp4", settings=lossless())
    ran = swap(faces / "hopper.png", clip, tmp_path / "out.mp4", settings=flow(fps))
    output = tmp_path / "out.mp4"
    assert ran.finished.faces == plain.finished.faces == 13
    assert ran.notes == ""
    length = 13 / Fraction(rate)
    count = -(-length // (1 / Fraction(fps)))
    assert times(output) == [k / Fraction(fps) for k in range(count)]
    assert packets(output, "audio") == packets(clip, "audio")
    own = [planes(frame) for frame in decoded(tmp_path / "kept.mp4")]
    made = [planes(frame) for frame in decoded(output)]
    for k, picture in enumerate(made):
        at = k / Fraction(fps) * Fraction(rate)  # in frames
        same = [all(np.array_equal(p, q) for p, q in zip(picture, one, strict=True)) for one in own]
        if at >= 12:
            assert same == [False] * 12 + [True], "the last frame is held to the end"
        elif at.denominator == 1:
            assert [n for n, one in enumerate(same) if one] == [at]
        else:
            assert not any(same)


def test_between_is_nearer_to_the_truth(home: Path, faces: Path, tmp_path: Path) -> None:
    """Every second frame left out and made again; in the rest of the picture nothing else happens."""
    shots = swaying(25)
    full = scenes.film(tmp_path / "full.mkv", shots, rate=Fraction(50), codec="ffv1", options={})
    half = scenes.film(tmp_path / "half.mkv", shots[::2], rate=Fraction(25), codec="ffv1", options={})
    runs = {
        "truth": (full, lossless()),
        "flow": (half, flow("50")),
        "repeat": (half, lossless("50")),
    }
    found = {}
    for name, (clip, settings) in runs.items():
        swap(faces / "hopper.png", clip, tmp_path / f"{name}.out.mkv", settings=settings)
        found[name] = pictures(tmp_path / f"{name}.out.mkv")
    error = {
        name: np.mean(
            [np.abs(found[name][k][:, 40:-40] - found["truth"][k][:, 40:-40]).mean() for k in range(1, 24, 2)]
        )
        for name in ("flow", "repeat")
    }
    assert error["flow"] < 0.35 * error["repeat"]


def test_variable_rate_becomes_constant_at_true_times(home: Path, faces: Path, tmp_path: Path) -> None:
    """What moves evenly in time is where it is at each moment, however uneven the input's moments are."""
    pts = [0, 40, 60, 140, 160, 240, 260, 300, 380, 400]

    def shown(milliseconds: int) -> scenes.Picture:
        return scenes.close("astronaut", at=(0.3 + 0.0006 * milliseconds, 0.5))

    clip = scenes.film(
        tmp_path / "in.mp4",
        [shown(t) for t in pts],
        time_base=Fraction(1, 1000),
        pts=pts,
        sounds=[Sound(0, 0.5)],
    )
    error = {}
    for name, between in (("flow", flow("50")), ("repeat", lossless("50"))):
        output = tmp_path / f"{name}.mp4"
        swap(faces / "hopper.png", clip, output, settings=between)
        assert times(output)[:20] == [k / Fraction(50) for k in range(20)]
        assert packets(output, "audio") == packets(clip, "audio")
        rows = np.s_[140:, 40:-40]  # below the new face
        error[name] = np.mean(
            [np.abs(one[rows] - shown(20 * k)[rows]).mean() for k, one in enumerate(pictures(output)[:21])]
        )
    assert error["flow"] < 0.7 * error["repeat"]


def test_asked_in_vain(home: Path, faces: Path, tmp_path: Path) -> None:
    """Where frames are left out, or none is asked for, nothing changes, and that is said."""
    clip = scenes.film(tmp_path / "in.mp4", swaying(12))
    for fps in ("", "25", "12"):
        plain = lossless(fps)
        swap(faces / "hopper.png", clip, tmp_path / "plain.mkv", settings=plain)
        ran = swap(faces / "hopper.png", clip, tmp_path / "out.mkv", settings=flow(fps))
        assert "encode.between: counts only where encode.fps is above the input's rate" in ran.notes
        assert times(tmp_path / "out.mkv") == times(tmp_path / "plain.mkv")
        pairs = zip(pictures(tmp_path / "out.mkv"), pictures(tmp_path / "plain.mkv"), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_any_segment_can_be_made_again(
    home: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that has lost any of its segments makes the same bytes again, at both of its ends."""
    sizes = (160, 96)
    shots = [scenes.close("astronaut", sizes, at=(0.5 + 0.1 * np.sin(k / 9), 0.5)) for k in range(54)]
    clip = scenes.film(tmp_path / "in.mp4", shots, rate=Fraction(9, 5), gop=9, sounds=[Sound(0, 30)])
    monkeypatch.setattr("mien.run.job.Folder.clean", lambda _: 0)
    monkeypatch.setattr("mien.run.tween.LONGEST", Fraction(1))
    output, place = tmp_path / "out.mp4", tmp_path / "job"
    swap(faces / "hopper.png", clip, output, settings=flow("5"), folder=place)
    assert times(output) == [Fraction(k, 5) for k in range(150)]
    segments = {path.name: path.read_bytes() for path in sorted((place / "segments").iterdir())}
    assert len(segments) == 3
    whole = output.read_bytes()
    for lost in ({0}, {1}, {0, 2}):
        output.unlink()
        for k, name in enumerate(segments):
            if k in lost:
                (place / "segments" / name).unlink()
        ran = swap(faces / "hopper.png", clip, output, settings=flow("5"), folder=place)
        started = ran.events[0]
        assert isinstance(started, Started)
        assert started.resumed == 18 * (3 - len(lost))
        again = {path.name: path.read_bytes() for path in sorted((place / "segments").iterdir())}
        assert again == segments
        assert output.read_bytes() == whole
