"""Time comes out as it went in: every picture, every sound packet, in fractions, never in counts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer

from mien.run import verbs
from mien.settings import Encode, Settings
from mien.types import Progress
from tests.media.makers import Sound
from tests.regression import scenes
from tests.regression.running import FAST, changed, job, packets, pictures, swap, times

LOSSLESS = Settings(encode=Encode(codec="ffv1"))


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60000/1001", "120"])
def test_rate(rate: str, home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 12), rate=Fraction(rate))
    ran = swap(faces / "hopper.png", clip, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == [k / Fraction(rate) for k in range(12)]
    assert (ran.finished.frames, ran.finished.faces, ran.notes) == (12, 12, "")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(rate)


def test_variable_rate(home: Path, faces: Path, tmp_path: Path) -> None:
    """A player of `r_frame_rate` frames would drift and end in black."""
    pts = [0, 40, 80, 95, 110, 400, 410, 700, 1100, 1140]
    sounds = [Sound(0, 1.2)]
    clip = scenes.film(
        tmp_path / "in.mp4",
        scenes.talking("astronaut", 10),
        time_base=Fraction(1, 1000),
        pts=pts,
        sounds=sounds,
    )
    swap(faces / "hopper.png", clip, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == times(clip) == [Fraction(t, 1000) for t in pts]
    assert packets(tmp_path / "out.mp4", "audio") == packets(clip, "audio")
    for before, after in zip(pictures(clip), pictures(tmp_path / "out.mp4"), strict=True):
        assert changed(before, after) > 150


SOUNDS = {
    "longer": [Sound(0, 2.0)],
    "shorter": [Sound(0, 0.3)],
    "late": [Sound(0.4, 1.0)],
    "none": [],
    "two": [Sound(0, 0.8, language="eng"), Sound(0, 0.8, language="deu", pitch=880.0)],
}


@pytest.mark.parametrize(
    ("name", "suffix"), [*((name, ".mp4") for name in SOUNDS), ("late", ".mkv"), ("longer", ".mkv")]
)
def test_sound(name: str, suffix: str, home: Path, faces: Path, tmp_path: Path) -> None:
    sounds = SOUNDS[name]
    clip = scenes.film(tmp_path / f"in{suffix}", scenes.talking("astronaut", 20), sounds=sounds)
    output = tmp_path / f"out{suffix}"
    ran = swap(faces / "hopper.png", clip, output)
    assert ran.notes == ""
    assert times(output) == times(clip)
    assert len(pictures(output)) == 20, "no black frames are added for longer sound"
    for k in range(len(sounds)):
        assert packets(output, "audio", k) == packets(clip, "audio", k)
    with av.open(str(clip)) as before, av.open(str(output)) as after:
        named = [[s.metadata.get("language") for s in f.streams.audio] for f in (before, after)]
        assert named[0] == named[1]
        assert name != "two" or named[1][0] == "eng"


def chapters(container: InputContainer) -> list[tuple[str, Fraction, Fraction]]:
    """Title, start and end in seconds of every chapter."""
    found = []
    for one in container.chapters():
        base = one["time_base"] or Fraction(1)
        found.append((one["metadata"]["title"], one["start"] * base, one["end"] * base))
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_two_sounds_subtitles_and_chapters(suffix: str, home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(
        tmp_path / f"in{suffix}",
        scenes.talking("astronaut", 25),
        sounds=SOUNDS["two"],
        subtitles=[(0.1, 0.4, "Good morning."), (0.5, 0.9, "Grüße, 世界!")],
        chapters=[(0.0, 0.5, "One"), (0.5, 1.0, "Zwei")],
        metadata={"title": "Ein Test"},
    )
    output = tmp_path / f"out{suffix}"
    swap(faces / "hopper.png", clip, output)
    assert packets(output, "subtitle") == packets(clip, "subtitle")
    for k in (0, 1):
        assert packets(output, "audio", k) == packets(clip, "audio", k)
    with av.open(str(clip)) as before, av.open(str(output)) as after:
        spans = [chapters(f) for f in (before, after)]
        assert spans[0] == spans[1]
        assert len(spans[0]) == 2
        assert after.metadata["title"] == "Ein Test"
        assert [s.type for s in after.streams] == [s.type for s in before.streams]


def test_one_frame(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 1))
    ran = swap(faces / "hopper.png", clip, tmp_path / "out.mp4")
    assert (ran.finished.frames, ran.finished.faces) == (1, 1)
    (before,), (after,) = pictures(clip), pictures(tmp_path / "out.mp4")
    assert changed(before, after) > 150
    assert times(tmp_path / "out.mp4") == [0]


def test_lower_rate_keeps_the_length_and_the_moments(home: Path, faces: Path, tmp_path: Path) -> None:
    """Half the rate is half the frames of the same length, each the one of its moment, its own face on it."""
    shots = [scenes.close("astronaut", at=(0.25 + 0.02 * k, 0.5), height=0.4) for k in range(24)]
    clip = scenes.film(tmp_path / "in.mp4", shots, rate=Fraction(24), sounds=[Sound(0, 1)])
    swap(faces / "hopper.png", clip, tmp_path / "full.mkv", settings=LOSSLESS)
    half = Settings(encode=Encode(codec="ffv1", fps="12"))
    ran = swap(faces / "hopper.png", clip, tmp_path / "half.mkv", settings=half)
    assert ran.finished.frames == 12
    assert times(tmp_path / "half.mkv") == [Fraction(round(k * 1000 / 12), 1000) for k in range(12)]
    full = pictures(tmp_path / "full.mkv", "yuv444p")
    for k, picture in enumerate(pictures(tmp_path / "half.mkv", "yuv444p")):
        assert np.array_equal(picture, full[2 * k])
    assert packets(tmp_path / "half.mkv", "audio") == packets(tmp_path / "full.mkv", "audio")


@pytest.mark.parametrize(("fps", "count"), [("60000/1001", 60), ("10", 10), ("23.976", 24)])
def test_other_rates_in_mp4(fps: str, count: int, home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 25), sounds=[Sound(0, 1)])
    settings = Settings(encode=Encode(preset="fastest", fps=fps))
    ran = swap(faces / "hopper.png", clip, tmp_path / "out.mp4", settings=settings)
    assert ran.finished.frames == count
    assert times(tmp_path / "out.mp4") == [k / Fraction(fps) for k in range(count)]
    assert packets(tmp_path / "out.mp4", "audio") == packets(clip, "audio")


def test_second_run_with_a_longer_trim(home: Path, faces: Path, tmp_path: Path) -> None:
    """Nothing that the first run in a process knew of its file is used for the second."""
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 20))
    output = tmp_path / "out.mp4"
    for end, count in (("6f", 6), ("0.6", 15), ("", 20)):
        assert swap(faces / "hopper.png", clip, output, end=end).finished.frames == count
        assert len(times(output)) == count


def test_changed_file_of_the_same_name(home: Path, faces: Path, tmp_path: Path) -> None:
    """Facts, tracks and segments belong to content, not to paths."""
    clip, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    scenes.film(clip, scenes.talking("astronaut", 8))
    swap(faces / "hopper.png", clip, output)
    first = output.read_bytes()
    scenes.film(clip, scenes.talking("astronaut", 14, (240, 180)))
    ran = swap(faces / "hopper.png", clip, output)
    assert ran.finished.frames == 14
    assert "analyse" in {e.stage for e in ran.events if isinstance(e, Progress)}
    assert pictures(output)[0].shape == (180, 240, 3)
    assert output.read_bytes() != first


def test_trim_takes_everything_along(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(
        tmp_path / "in.mp4",
        scenes.talking("astronaut", 50),
        sounds=[Sound(0, 2)],
        subtitles=[(0.1, 0.3, "before"), (0.9, 1.1, "inside"), (1.7, 1.9, "after")],
        chapters=[(0.0, 1.0, "One"), (1.0, 2.0, "Two")],
        gop=20,
    )
    output = tmp_path / "out.mp4"
    ran = swap(faces / "hopper.png", clip, output, start="0.6", end="1.4")
    assert ran.finished.frames == 20
    assert times(output) == [Fraction(k, 25) for k in range(20)]
    whole = dict(packets(clip, "audio"))
    sound = packets(output, "audio")
    assert all(whole[moment + Fraction(3, 5)] == payload for moment, payload in sound)
    assert sound[0][0] <= 0.03
    assert 0.7 < sound[-1][0] <= 0.8
    with av.open(str(output)) as container:
        spans = chapters(container)
    assert [(title, start) for title, start, _ in spans] == [("One", 0), ("Two", Fraction(2, 5))]
    for before, after in zip(pictures(clip)[15:35], pictures(output), strict=True):
        assert changed(before[:, :60], after[:, :60]) < 20, "the right moment of the input"


def test_trim_outside_the_clip(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 5))
    ran = swap(faces / "hopper.png", clip, tmp_path / "out.mp4", start="3f", end="9:00")
    assert ran.finished.frames == 2
    from mien.errors import SettingsError

    for start, end, said in (
        ("9", "", "holds no frame"),
        ("2f", "1f", "holds no frame"),
        ("x", "", "moment"),
    ):
        wrong = job(faces / "hopper.png", clip, tmp_path / "o.mp4", start=start, end=end, settings=FAST)
        with pytest.raises(SettingsError, match=said):
            next(verbs.swap(wrong))
    assert not (tmp_path / "o.mp4").exists()
