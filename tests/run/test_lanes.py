"""Several segments at once: the same bytes as one after the other, bounded, and ended cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from mien.errors import MediaError
from mien.media.clip import FrameIndex
from mien.models.runtime import Runtime
from mien.run import lanes, render, verbs, video
from mien.run.clock import Clock
from mien.run.engine import Bell
from mien.run.job import Folder
from mien.run.lanes import Lane, Splitter, in_turn
from mien.run.tween import Shown
from mien.settings import Device, Encode, Job, Role, Settings
from mien.types import Event, Finished, Frame, Progress, Started
from tests.run.test_swap_networks import SWAP, equipped

__all__ = ["equipped"]

OWN = ("mien-prefetch", "mien-drain", "mien-work")
BATCH, DEPTH = 2, 4


def _alive() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(OWN)]


class Picture:
    """What a lane needs to know of a frame."""

    def __init__(self, index: int) -> None:
        self.index = index


class Sink:
    """A splitter that only listens."""

    def __init__(self, heard: Callable[[Shown | None], None]) -> None:
        self.write = heard

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None: ...


def _lane(source: Iterator[list[Any]], heard: Callable[[Shown | None], None], bell: Bell) -> Lane:
    def send(frame: Frame) -> Any:
        return SimpleNamespace(frame=lambda: frame, release=lambda: None)

    sink: Any = Sink(heard)
    given: Any = send
    return Lane(source, sink, given, BATCH, DEPTH, Clock(), bell)


def _drive(running: Sequence[Lane], bell: Bell) -> None:
    for lane, some in in_turn(running, bell):
        for frame in some:
            lane.put(Shown(frame.index, (frame,)))
            del frame
        if not some:
            lane.put(None)
        del some


def test_no_lane_waits_for_another() -> None:
    """Neither for one whose frames do not come, nor for one whose encoder is stuck."""
    bell, go, out = Bell(), threading.Event(), deque[int]()

    def late() -> Iterator[list[Any]]:
        assert go.wait(60)
        yield [Picture(2000), Picture(2001)]

    def stuck(shown: Shown | None) -> None:
        assert go.wait(60)

    def plain(first: int) -> Iterator[list[Any]]:
        for n in range(first, first + 100, 2):
            yield [Picture(n), Picture(n + 1)]

    def heard(shown: Shown | None) -> None:
        if shown is not None:
            out.append(shown.source)
            if shown.source == 99:
                go.set()  # the others may go on only when all of this lane is through

    with (
        _lane(plain(1000), stuck, bell) as one,
        _lane(late(), lambda _: None, bell) as two,
        _lane(plain(0), heard, bell) as three,
    ):
        _drive((one, two, three), bell)
    assert list(out) == list(range(100))
    assert not _alive()


@pytest.mark.parametrize("number", [1, 3])
def test_frames_in_flight_are_bounded(number: int) -> None:
    lock, alive, most, got = threading.Lock(), set[int](), 0, set[int]()
    bell = Bell()

    def source(first: int) -> Iterator[list[Any]]:
        nonlocal most
        for n in range(first, first + 200, BATCH):
            some = []
            for k in range(n, n + BATCH):
                picture = Picture(k)
                with lock:
                    alive.add(k)
                    most = max(most, len(alive))
                weakref.finalize(picture, alive.discard, k)
                some.append(picture)
                del picture
            yield some
            del some

    def heard(shown: Shown | None) -> None:
        if shown is not None:
            got.add(shown.source)

    with ExitStack() as stack:
        _drive([stack.enter_context(_lane(source(1000 * k), heard, bell)) for k in range(number)], bell)
    assert got == {1000 * k + n for k in range(number) for n in range(200)}
    assert most <= number * (2 * DEPTH + 2 * BATCH + 2) + BATCH
    assert not alive


@pytest.mark.parametrize("where", ["decode", "encode", "end"])
def test_an_error_in_a_lane_comes_out_once(where: str) -> None:
    bell, over = Bell(), threading.Event()

    def broken() -> Iterator[list[Any]]:
        for n in range(0, 20, 2):
            yield [Picture(n), Picture(n + 1)]
        if where == "decode":
            raise OSError("no")
        if where == "encode":
            assert over.wait(60)  # no further frame is needed for it to be noticed

    def refusing(shown: Shown | None) -> None:
        if (where == "end" and shown is None) or (where == "encode" and shown and shown.source == 19):
            raise OSError("no")

    def plain() -> Iterator[list[Any]]:
        n = 0
        while True:
            yield [Picture(n), Picture(n + 1)]
            n += 2

    def run() -> None:
        with _lane(plain(), lambda _: None, bell) as one, _lane(broken(), refusing, bell) as two:
            try:
                _drive((one, two), bell)
            finally:
                over.set()

    with pytest.raises(OSError, match="no") as caught:
        run()
    assert caught.value.__context__ is None
    assert not _alive()


def _index(keys: list[int], frames: int = 300, counted: bool = False) -> FrameIndex:
    """Of 30 frames a second."""
    key = np.zeros(frames, bool)
    key[keys] = True
    times = np.arange(frames, dtype=np.int64)
    return FrameIndex(times, key, times, frames, Fraction(1, 30), counted)


def test_how_many_lanes() -> None:
    processor: Any = SimpleNamespace(card=None)
    card: Any = SimpleNamespace(card=0)
    assert [lanes.most(processor, "cuda:0", threads) for threads in (1, 8, 10, 16, 64)] == [1, 1, 2, 3, 4]
    assert lanes.most(processor, "", 16) == 1, "the processor changes the frames"
    assert lanes.most(card, "cuda:0", 16) == 1, "the card encodes"
    index = _index(list(range(0, 300, 30)))
    segments = index.segments(0, 300, 2.0)
    assert [lanes.count(index, segments, most) for most in (1, 3, 9)] == [1, 3, 5]
    assert lanes.count(index, segments[:2], 3) == 2
    assert lanes.count(index, (), 3) == 1


def test_how_long_segments_are() -> None:
    often = _index(list(range(0, 3000, 30)), 3000)
    assert lanes.length(often, 0, 3000, 1, 10.0) == 10.0
    assert lanes.length(often, 0, 3000, 3, 10.0) == lanes.SHORT
    assert lanes.length(often, 0, 300, 3, 10.0) == pytest.approx(10 / 3), "all lanes have something to do"
    assert lanes.length(often, 0, 60, 4, 10.0) == lanes.SHORTEST
    assert lanes.length(often, 0, 3000, 3, 1.0) == 1.0
    # The clip that has key frames at intervals of five seconds is cut at them.
    five = _index([0, 150, 300, 450], 600)
    found = five.segments(0, 600, lanes.length(five, 0, 600, 3, 10.0))
    assert [segment.start for segment in found] == [0, 150, 300, 450]


def test_what_cannot_be_decoded_apart_has_one_lane() -> None:
    once = _index([0], 3000)
    assert lanes.length(once, 0, 3000, 4, 10.0) == 10.0
    assert lanes.count(once, once.segments(0, 3000, 4.0), 4) == 1
    counted = _index(list(range(0, 3000, 30)), 3000, counted=True)
    assert lanes.count(counted, counted.segments(0, 3000, 4.0), 4) == 1


def _job(material: Path, output: Path, settings: Settings) -> Job:
    role = Role(sources=(material / "face.png",))
    return Job(target=material / "clip.mp4", output=output, cast=(role,), settings=settings)


def _times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [(f.pts or 0) * Fraction(f.time_base or 0) for f in container.decode(video=0)]


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], dict[str, bytes]]:
    """Call it with a number of lanes; gives what the segments are when they are joined."""
    monkeypatch.setattr(video, "SECONDS", 0.3)
    monkeypatch.setattr("mien.run.report.EVERY", 0.0)
    monkeypatch.setattr(lanes, "wasteful", lambda *_: False)  # the clip has one key frame
    joining = video._join

    def force(number: int) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        made: list[Lane] = []

        def kept(*given: Any) -> Any:
            found.update({path.name: path.read_bytes() for path in given[3]})
            assert len(made) == number
            return joining(*given)

        def lane(*given: Any) -> Lane:
            made.append(Lane(*given))
            return made[-1]

        monkeypatch.setattr(video, "_join", kept)
        monkeypatch.setattr(video, "most", lambda *_: number)
        monkeypatch.setattr(render, "Lane", lane)
        return found

    return force


@pytest.mark.parametrize("path", ["mesh", "card"])
def test_bytes_do_not_depend_on_lanes(
    path: str,
    material: Path,
    equipped: Path,
    tmp_path: Path,
    forced: Callable[[int], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if path == "card":
        pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
        monkeypatch.setattr(Runtime, "pixels", "cpu")  # torch's processor stands for the card
        device = Device(engine="torch", precision="f32", processor="cpu", threads=2)
        settings = Settings(swap=SWAP, encode=Encode(preset="fastest"), device=device)
    else:
        settings = Settings(device=Device(threads=8))  # two workers
    job = _job(material, tmp_path / "out.mp4", settings)
    files, segments = [], []
    for number in (1, 2, 3):
        segments.append(forced(number))
        events = list(verbs.swap(job, folder=tmp_path / str(number), home=equipped))
        done = [e.done for e in events if isinstance(e, Progress) and e.stage == "render"]
        assert done == list(range(1, 33))
        last = events[-1]
        assert isinstance(last, Finished)
        assert (last.frames, last.faces) == (32, 32)
        assert ("upload" in last.stages) == (path == "card")
        files.append(job.output.read_bytes())
    assert len(segments[0]) == 5
    assert segments[0] == segments[1] == segments[2]
    assert files[0] == files[1] == files[2]
    assert _times(job.output) == _times(material / "clip.mp4")


def _expected(material: Path, folder: Path, forced: Callable[[int], dict[str, bytes]]) -> tuple[Job, bytes]:
    """A job, and the bytes of its result by one lane without a stop; the result is taken away."""
    job = _job(material, folder / "out.mp4", Settings())
    forced(1)
    list(verbs.swap(job, folder=folder / "whole"))
    expected = job.output.read_bytes()
    job.output.unlink()
    return job, expected


def test_stopping_leaves_whole_segments_that_are_used_again(
    material: Path, home: Path, tmp_path: Path, forced: Callable[[int], dict[str, bytes]]
) -> None:
    job, expected = _expected(material, tmp_path, forced)
    forced(3)
    folder = tmp_path / "job"
    events = verbs.swap(job, folder=folder)
    for event in events:
        rendering = isinstance(event, Progress) and event.stage == "render"
        if rendering and any((folder / "segments").glob("*.mp4")):
            break
    events.close()
    assert not _alive()
    files = sorted(p.name for p in (folder / "segments").iterdir())
    assert files
    assert all(name.endswith(".mp4") for name in files)
    assert not Folder(folder).busy
    assert not job.output.exists()
    missing = 5 - len(files)
    assert missing > 0
    forced(min(3, missing))
    first, *_ = list(verbs.swap(job, folder=folder))
    assert isinstance(first, Started)
    assert first.resumed > 0
    assert job.output.read_bytes() == expected


KILLED = """
import os, signal, sys
from pathlib import Path
import mien.run.report
from mien.run import lanes, verbs, video
from mien.settings import Job
mien.run.report.EVERY = 0.0
video.SECONDS, video.most, lanes.wasteful = 0.3, lambda *_: 3, lambda *_: False
folder = Path(sys.argv[2])
for event in verbs.swap(Job.model_validate_json(sys.argv[1]), folder=folder):
    if any((folder / "segments").glob("*.mp4")):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_continued_by_its_own_cuts(
    material: Path,
    home: Path,
    tmp_path: Path,
    forced: Callable[[int], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With another number of lanes, where segments of a new job would have another length."""
    job, expected = _expected(material, tmp_path, forced)
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, job.model_dump_json(), str(folder)]
    killed = subprocess.run(command, check=False, env={**os.environ, "MIEN_HOME": str(home)})
    assert killed.returncode == -signal.SIGKILL
    assert any((folder / "segments").glob("*.mp4"))
    forced(1)
    monkeypatch.setattr(video, "SECONDS", 10.0)
    events: list[Event] = list(verbs.swap(job, folder=folder))
    assert isinstance(events[0], Started)
    assert 0 < events[0].resumed < 32
    assert job.output.read_bytes() == expected


def test_a_writer_that_fails_ends_all_lanes(
    material: Path,
    home: Path,
    tmp_path: Path,
    forced: Callable[[int], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forced(3)
    write = Splitter.write

    def refusing(self: Splitter, shown: Shown | None) -> None:
        if shown is not None and shown.source == 8:
            raise MediaError(Path("x"), "the disk is full")
        write(self, shown)

    monkeypatch.setattr(Splitter, "write", refusing)
    folder = tmp_path / "job"
    with pytest.raises(MediaError, match="the disk is full"):
        list(verbs.swap(_job(material, tmp_path / "out.mp4", Settings()), folder=folder))
    assert not _alive()
    assert not list((folder / "segments").glob("*.tmp"))
    names = [p.name for p in (folder / "segments").iterdir()]
    assert not any(name.startswith("000001-") for name in names), names
