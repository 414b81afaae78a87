"""Inputs that are damaged or are something else, and places that cannot be written: one clear line each."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mien.errors import JobError, MediaError
from mien.run import verbs
from mien.settings import Encode, Settings
from tests.media.makers import Sound
from tests.regression import scenes
from tests.regression.running import changed, job, mien, packets, pictures, swap, times, touched

LOSSLESS = Settings(encode=Encode(codec="ffv1"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames, key frames at 0 and 8, with sound."""
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    return scenes.film(path, scenes.talking("astronaut", 16), sounds=[Sound(0, 0.64)], gop=8)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("share", [pytest.param(0.45, marks=pytest.mark.slow), 0.8])
def test_truncated(suffix: str, share: float, home: Path, faces: Path, tmp_path: Path) -> None:
    """What decodes is kept, in its time, and what is not is told in frames."""
    whole = tmp_path / f"whole{suffix}"
    container = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    scenes.film(whole, scenes.talking("astronaut", 24), sounds=[Sound(0, 0.96)], gop=6, container=container)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    output = tmp_path / f"out{suffix}"
    ran = swap(faces / "hopper.png", cut, output)
    count = len(times(output))
    assert ran.finished.frames == count
    assert 5 < count < 24
    assert len(set(ran.notes.splitlines())) == ran.notes.count("\n") + bool(ran.notes), (
        "nothing is said twice"
    )
    moments = dict(zip((t - times(whole)[0] for t in times(whole)), pictures(whole), strict=True))
    kept = [t - times(output)[0] for t in times(output)]
    assert kept == sorted(set(kept) & set(moments))
    if suffix != ".ts":  # a transport stream does not say how long it would be
        assert re.search(r"breaks off after \d+ frames \(its head announces (24|0\.96)", ran.notes)
    for moment, picture in list(zip(kept, pictures(output), strict=True))[:-1]:  # the last may be half there
        assert changed(moments[moment][:, :60], picture[:, :60]) < 20, "the right moment"


def test_no_index_at_the_end(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """An MP4 whose table of contents was never written holds nothing that can be found again."""
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:-2500])
    done = mien(
        "swap", "--source", faces / "hopper.png", "--target", cut, "-o", tmp_path / "o.mp4", home=home
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "cut.mp4" in done.stderr
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_corrupt_in_the_middle(suffix: str, home: Path, faces: Path, tmp_path: Path) -> None:
    whole = tmp_path / f"whole{suffix}"
    scenes.film(whole, scenes.talking("astronaut", 40), gop=8, options={"crf": "10", "bf": "0"})
    data = bytearray(whole.read_bytes())
    payloads = [payload for _, payload in packets(whole, "video")]
    for number in (16, 17, 18):  # a key frame and what leans on it
        place = data.index(payloads[number]) + 8
        data[place : place + len(payloads[number]) - 16] = os.urandom(1) * (len(payloads[number]) - 16)
    broken = tmp_path / f"broken{suffix}"
    broken.write_bytes(data)
    output = tmp_path / f"out{suffix}"
    ran = swap(faces / "hopper.png", broken, output)
    found = times(output)
    assert set(found) <= set(times(whole))
    assert len(found) == ran.finished.frames
    assert len(found) >= 32, "at most the damaged group is lost"
    if len(found) < 40:
        assert f"{40 - len(found)} of 40 frames" in ran.notes
    moments = dict(zip(times(whole), pictures(whole), strict=True))
    for moment, picture in zip(found, pictures(output), strict=True):
        if not 16 <= moment * 25 < 24:
            assert changed(moments[moment][:, :60], picture[:, :60]) < 20
            assert changed(moments[moment], picture) > 150


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty (0 bytes)"), (b"Dear diary,\nnothing.\n" * 99, "is not a video")]
)
@pytest.mark.parametrize("role", ["target", "source"])
def test_what_is_no_video(
    content: bytes, said: str, role: str, clip: Path, home: Path, faces: Path, tmp_path: Path
) -> None:
    bad, output = tmp_path / "bad.mp4", tmp_path / "out.mp4"
    bad.write_bytes(content)
    source, target = (bad, clip) if role == "source" else (faces / "hopper.png", bad)
    done = mien("swap", "--source", source, "--target", target, "-o", output, home=home)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert f"bad.mp4: {said}" in done.stderr
    assert not output.exists()
    if role == "target":
        done = mien("analyse", "--target", bad, "-o", tmp_path / "c.tracks", home=home)
        assert (done.returncode, f"bad.mp4: {said}" in done.stderr) == (3, True)


def test_output_is_an_input(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.mp4"
    mine.write_bytes(clip.read_bytes())
    (tmp_path / "link.mp4").symlink_to(mine)
    os.link(mine, tmp_path / "hard.mp4")
    (tmp_path / "sub").mkdir()
    before = mine.read_bytes()
    for name in ("mine.mp4", "link.mp4", "hard.mp4", "sub/../mine.mp4"):
        done = mien(
            "swap", "--source", faces / "hopper.png", "--target", mine, "-o", name, home=home, cwd=tmp_path
        )
        assert done.returncode == 3
        assert "is an input" in done.stderr
    assert mine.read_bytes() == before
    portrait = faces / "hopper.png"
    with pytest.raises(MediaError, match="is an input"):
        next(verbs.swap(job(portrait, mine, portrait)))


def test_output_folder(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    source = faces / "hopper.png"
    (tmp_path / "file").write_text("x")
    for output, said in (
        (tmp_path / "none" / "out.mp4", "none: does not exist. Make the folder first"),
        (tmp_path / "file" / "out.mp4", "is not a folder"),
        (tmp_path, "is a folder"),
        (tmp_path / "out", "cannot be written as"),
        (tmp_path / "out.doc", "cannot be written as"),
    ):
        done = mien("swap", "--source", source, "--target", clip, "-o", output, home=home)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert said in done.stderr


def test_read_only_folder(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    with _read_only(folder), pytest.raises(MediaError, match="closed: cannot be written"):
        next(verbs.swap(job(faces / "hopper.png", clip, folder / "out.mp4")))
    assert not (home / "jobs").exists()


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """A folder that cannot be written, for root too where a mount is allowed."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", folder], check=False).returncode:
        pytest.skip("root may write anywhere and mounting is not allowed")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def _limited(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_for_the_result(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """The result does not fit: that is said, an older result stays, and with room the job goes on."""
    out = tmp_path / "out"
    out.mkdir()
    output = out / "out.mp4"
    swap(faces / "hopper.png", clip, output, folder=tmp_path / "job")
    good = output.read_bytes()
    output.write_bytes(b"an older result")
    work = job(faces / "hopper.png", clip, output)
    with _limited(len(good) - 5), pytest.raises(MediaError, match=r"out\.mp4: .*(larger|full)"):
        list(verbs.swap(work, folder=tmp_path / "job"))
    assert output.read_bytes() == b"an older result"
    assert [p.name for p in out.iterdir()] == ["out.mp4"]
    assert len(list((tmp_path / "job" / "segments").glob("*.mp4"))) == 1, "finished work is kept"
    assert swap(faces / "hopper.png", clip, output, folder=tmp_path / "job").finished.frames == 16
    assert output.read_bytes() == good


def test_no_room_for_the_job(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """Whatever does not fit, the first byte or the last, it is one of our errors with a path."""
    swap(faces / "hopper.png", clip, tmp_path / "good.mp4", folder=tmp_path / "job")
    good = (tmp_path / "good.mp4").read_bytes()
    for room in (0, 300, 9000):
        folder = tmp_path / f"job{room}"
        with _limited(room), pytest.raises((MediaError, JobError)) as caught:
            list(verbs.swap(job(faces / "hopper.png", clip, tmp_path / "good.mp4"), folder=folder))
        assert str(tmp_path) in caught.value.subject or str(home) in caught.value.subject
        assert (tmp_path / "good.mp4").read_bytes() == good
        swap(faces / "hopper.png", clip, tmp_path / "good.mp4", folder=folder)
        assert (tmp_path / "good.mp4").read_bytes() == good


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """A disk of 64 KiB, for the result and for the job."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (disk / "filler").write_bytes(bytes(40_000))
        for output, folder in ((disk / "out.mp4", tmp_path / "job"), (tmp_path / "out.mp4", disk / "job")):
            source = ("--source", faces / "hopper.png")
            done = mien("swap", *source, "--target", clip, "-o", output, "--job", folder, home=home)
            assert done.returncode in (3, 6)
            assert done.stderr.count("\n") == 1, done.stderr
            assert "disk is full" in done.stderr or "No space left" in done.stderr
            assert not output.exists()
        assert [p.name for p in disk.iterdir() if p.suffix == ".mp4"] == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_names(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """Unicode, spaces, what looks like a pattern or an option, and paths as long as the system takes them."""
    deep = tmp_path / "Größe 映画 🎬 [%d] *" / ("länge " * 30).strip() / ("映" * 70)
    deep.mkdir(parents=True)
    target, source = deep / "clip: täst? #1 %03d.mp4", deep / "gesicht [1] 顔.png"
    target.write_bytes(clip.read_bytes())
    source.write_bytes((faces / "hopper.png").read_bytes())
    output = deep / ("名" * 82 + ".mp4")
    done = mien(
        "swap", "--source", source, "--target", target, "-o", output, "--job", deep / "job ü", home=home
    )
    assert done.returncode == 0, done.stderr
    assert str(output) in done.stdout
    assert len(times(output)) == 16
    assert sorted(p.name for p in deep.iterdir()) == sorted([target.name, source.name, output.name, "job ü"])
    too_long = deep / ("n" * 252 + ".mp4")
    done = mien("swap", "--source", source, "--target", target, "-o", too_long, home=home)
    assert done.returncode == 3
    assert "too long" in done.stderr
    assert done.stderr.count("\n") == 1
    ran = mien("swap", "--source", "-s.png", "--target", "t.mp4", "-o", "o.mp4", home=home, cwd=tmp_path)
    assert ran.returncode == 2


def test_lost_frames_stay_lost_and_nothing_moves(home: Path, faces: Path, tmp_path: Path) -> None:
    """With a lossless result: what is outside the face is the input's, frame by frame, after damage too."""
    whole = scenes.film(tmp_path / "whole.mkv", scenes.talking("astronaut", 12), gop=4, options={"bf": "0"})
    output = tmp_path / "out.mkv"
    swap(faces / "hopper.png", whole, output, settings=LOSSLESS)
    for differ in touched(whole, output):
        assert differ.any()
        assert not differ[:, :60].any()
        assert np.count_nonzero(differ) < 0.3 * differ.size
