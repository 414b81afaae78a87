"""Settings as the command line takes them reach the result, and only they do."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from mien.settings import Device, Encode, Settings, Swap
from tests.media.makers import Sound
from tests.regression import scenes
from tests.regression.running import frames, mien, packets, planes, swap, times, touched


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    return scenes.film(path, scenes.talking("astronaut", 6), sounds=[Sound(0, 0.24)])


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [
        ("h264", ".mov", "h264"),
        pytest.param("hevc", ".mp4", "hevc", marks=pytest.mark.slow),
        ("av1", ".mp4", "av1"),
        ("vp9", ".webm", "vp9"),
        ("prores", ".mov", "prores"),
        pytest.param("mjpeg", ".mkv", "mjpeg", marks=pytest.mark.slow),
        ("auto", ".avi", "mjpeg"),
        ("auto", ".ts", "h264"),
    ],
)
def test_codec(
    codec: str, suffix: str, name: str, clip: Path, home: Path, faces: Path, tmp_path: Path
) -> None:
    output = tmp_path / f"out{suffix}"
    arguments = ["--encode.codec", codec, "--encode.preset", "fastest", "--encode.quality", "60", "--json"]
    given = ["swap", "--source", str(faces / "hopper.png"), "--target", str(clip), "-o", str(output)]
    done = mien(*given, *arguments, home=home)
    assert done.returncode == 0, done.stderr
    assert (", so the result is mjpeg" in done.stdout) == (suffix == ".avi"), "another family is said"
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["output"], last["frames"]) == ("finished", str(output), 6)
    with av.open(str(output)) as container:
        context = container.streams.video[0].codec_context
        assert context.codec.canonical_name == name
        assert len(container.streams.audio) == 1
    shown = times(output)
    assert [t - shown[0] for t in shown] == times(clip)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--encode.codec", "prores"], 2, "encode.codec: prores does not fit into .mp4 files"),
        (["--encode.codec", "xvid"], 2, "xvid"),
        (["--encode.quality", "101"], 2, "--encode.quality"),
        (["--encode.fps", "fast"], 2, "--encode.fps"),
        (["--encode.fps", "0"], 2, "encode.fps"),
        (["--encode.fps", "1/0"], 2, "encode.fps"),
        (["--encode.size", "7x7"], 2, "encode.size"),
        (["--encode.size", "big"], 2, "--encode.size"),
        (["--start", "yesterday"], 2, "yesterday: is not a moment"),
        (["--start", "0.2", "--end", "0.1"], 2, "holds no frame"),
        (["--detect.model", "facemesh"], 2, "detect.model"),
        (["--detect.model", "magic"], 2, "detect.model: there is no model 'magic'"),
        (["--faces", "him"], 2, "'him' is neither a word nor a list of tracks or persons"),
    ],
)
def test_wrong_settings(
    arguments: list[str], code: int, said: str, clip: Path, home: Path, faces: Path, tmp_path: Path
) -> None:
    given = ["swap", "--source", str(faces / "hopper.png"), "--target", str(clip), "-o", "out.mp4"]
    done = mien(*given, *arguments, home=home, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_no_strength_changes_nothing(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    settings = Settings(encode=Encode(codec="ffv1"), swap=Swap(strength=0.0))
    swap(faces / "hopper.png", clip, tmp_path / "out.mkv", settings=settings)
    assert not any(differ.any() for differ in touched(clip, tmp_path / "out.mkv"))


def test_threads_do_not_change_pictures(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    for threads in (1, 8):
        settings = Settings(encode=Encode(codec="ffv1"), device=Device(threads=threads))
        swap(faces / "hopper.png", clip, tmp_path / f"{threads}.mkv", settings=settings)
    for one, two in zip(frames(tmp_path / "1.mkv"), frames(tmp_path / "8.mkv"), strict=True):
        assert one.pts == two.pts
        for a, b in zip(planes(one), planes(two), strict=True):
            assert np.array_equal(a, b)


def test_bit_rate(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 50, height=0.45))
    settings = Settings(encode=Encode(bitrate=150_000, preset="fastest"))
    swap(faces / "hopper.png", clip, tmp_path / "out.mp4", settings=settings)
    size = sum(len(payload) for _, payload in packets(tmp_path / "out.mp4", "video"))
    assert 0.6 < size * 8 / 2 / 150_000 < 1.4


def test_sheet_and_tracks(clip: Path, home: Path, tmp_path: Path) -> None:
    given = ("analyse", "--target", clip, "-o", tmp_path / "c.tracks")
    done = mien(*given, "--sheet", "c.doc", home=home)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "c.doc: is no picture that can be written" in done.stderr
    done = mien(
        "analyse", "--target", clip, "-o", tmp_path / "c.tracks", "--sheet", tmp_path / "c.jpg", home=home
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c.jpg").stat().st_size > 1500
    blank = scenes.film(tmp_path / "blank.mp4", scenes.empty(3))
    done = mien(
        "analyse", "--target", blank, "-o", tmp_path / "b.tracks", "--sheet", tmp_path / "b.png", home=home
    )
    assert done.returncode == 0
    assert "b.png: is not written: there is nobody to show" in done.stderr
