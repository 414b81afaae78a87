"""The worker at work on real clips: stopped, killed, doubled; the bytes are those of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mien.app import worker as workers
from mien.errors import JobError
from mien.models.store import Store
from mien.run import verbs
from mien.run.queue import Line, Queue
from mien.settings import Job
from tests.media.makers import Sound
from tests.regression import scenes
from tests.regression.running import job

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

FRAMES = 120
PATIENCE = 120.0
"""Seconds after which something that does not happen is a failure; nothing is measured with it."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 s in 120 frames with a key frame every 5: twelve segments."""
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    shots = scenes.talking("astronaut", FRAMES)
    return scenes.film(path, shots, rate=Fraction(1), gop=5, sounds=[Sound(0, 30)])


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("face") / "hopper.png"
    scenes.portrait("hopper").reduce(2).save(path)
    return path


@pytest.fixture
def home(tmp_path: Path, store: Store) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "models").symlink_to(store.folder, target_is_directory=True)
    return folder


@pytest.fixture
def queue(home: Path) -> Iterator[Queue]:
    with Queue(home) as queue:
        yield queue


@pytest.fixture(scope="module")
def expected(clip: Path, face: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "models").symlink_to(store.folder, target_is_directory=True)
    assert list(verbs.swap(job(face, clip, folder / "out.mp4"), home=folder))
    return (folder / "out.mp4").read_bytes()


def swapping(queue: Queue, wanted: Job, **more: Any) -> str:
    spec = {"job": wanted.model_dump(mode="json"), **more}
    return queue.add("swap", spec, "a swap", target=wanted.target, output=wanted.output).id


@contextlib.contextmanager
def running(home: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; killed at the end if it still runs."""
    command = [sys.executable, "-m", "mien.app.worker", "--home", str(home), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def until(reached: Callable[[], Any], what: str = "it") -> Any:
    """What this gives once it is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := reached():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} never came")


def at_rest(queue: Queue, name: str) -> Line:
    """A line that neither waits nor runs."""
    found: Line = until(lambda: (line := queue.line(name)).state not in ("queued", "running") and line, name)
    return found


def segments(home: Path) -> list[Path]:
    return list((home / "jobs").glob("*/segments/*.mp4"))


def rendering(home: Path, queue: Queue, name: str) -> None:
    """Wait until some of a line's segments are finished and others are not."""
    until(lambda: segments(home) or not queue.line(name).open, "a segment")
    assert queue.line(name).state == "running", queue.log(name)


def hand_of(process: subprocess.Popen[bytes]) -> int:
    """The process that does the worker's work."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def resumed(queue: Queue, name: str) -> int:
    """Frames that the last run found finished."""
    texts = [text for _, text in queue.log(name) if text.startswith("started: ")]
    return int(texts[-1].split(", ")[1].split()[0]) if "," in texts[-1] else 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_is_followed_by_another(
    number: signal.Signals, home: Path, queue: Queue, clip: Path, face: Path, expected: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    name = swapping(queue, job(face, clip, output))
    with running(home) as first:
        rendering(home, queue, name)
        first.send_signal(number)
        assert first.wait(PATIENCE) == (-number if number == signal.SIGKILL else 0)
    assert not output.exists()
    assert queue.line(name).state == ("running" if number == signal.SIGKILL else "queued")
    with running(home) as second:
        line = at_rest(queue, name)
        assert line.state == "done", queue.log(name)
        second.terminate()
        assert second.wait(PATIENCE) == 0
    assert output.read_bytes() == expected
    assert resumed(queue, name) > 0
    assert line.finished is not None
    assert line.finished["frames"] == FRAMES
    assert line.progress is not None
    assert (line.progress.stage, line.progress.done, line.progress.total) == ("render", FRAMES, FRAMES)
    assert [p.name for p in tmp_path.iterdir() if p != home] == ["out.mp4"]


def test_pause_and_resume(
    home: Path, queue: Queue, clip: Path, face: Path, expected: bytes, tmp_path: Path
) -> None:
    """While a line is paused the next one is done; afterwards it goes on where it was."""
    output = tmp_path / "out.mp4"
    name = swapping(queue, job(face, clip, output))
    other = queue.add("pull", {"names": ["facemesh"]}, "a model").id
    with running(home):
        rendering(home, queue, name)
        assert queue.pause(name).wish == "pause"
        paused = at_rest(queue, name)
        assert (paused.state, paused.wish, paused.error) == ("paused", "", None)
        assert at_rest(queue, other).state == "done"
        assert segments(home)
        queue.resume(name)
        assert at_rest(queue, name).state == "done"
    assert output.read_bytes() == expected
    assert resumed(queue, name) > 0


def test_cancel_and_retry(
    home: Path, queue: Queue, clip: Path, face: Path, expected: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    name = swapping(queue, job(face, clip, output))
    with running(home) as process:
        rendering(home, queue, name)
        queue.cancel(name)
        cancelled = at_rest(queue, name)
        assert (cancelled.state, cancelled.error) == ("cancelled", None)
        assert cancelled.ended is not None
        assert not output.exists()
        assert process.poll() is None, "the worker itself goes on"
        queue.retry(name)
        assert at_rest(queue, name).state == "done"
    assert output.read_bytes() == expected
    assert resumed(queue, name) > 0


def test_a_failure_and_its_retry(home: Path, queue: Queue, face: Path, tmp_path: Path) -> None:
    target, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    name = swapping(queue, job(face, target, output))
    with running(home):
        failed = at_rest(queue, name)
        assert failed.state == "failed"
        assert failed.error is not None
        assert (failed.error.kind, failed.error.subject) == ("media", str(target))
        scenes.film(target, scenes.talking("astronaut", 3))
        queue.retry(name)
        line = at_rest(queue, name)
    assert (line.state, line.error) == ("done", None)
    assert output.is_file()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the process in /proc")
def test_a_crash_is_one_lines_failure(
    home: Path, queue: Queue, clip: Path, face: Path, tmp_path: Path
) -> None:
    """As when the system ends a process for want of memory: the worker goes on with the next line."""
    name = swapping(queue, job(face, clip, tmp_path / "out.mp4"))
    following = queue.add("pull", {"names": ["no such model"]}, "a model").id
    with running(home) as process:
        rendering(home, queue, name)
        os.kill(hand_of(process), signal.SIGKILL)
        failed = at_rest(queue, name)
        other = at_rest(queue, following)
    assert failed.error is not None
    assert failed.error.problem == "its process ended unexpectedly (SIGKILL)"
    assert other.error is not None
    assert (other.error.kind, other.error.subject) == ("model", "no such model")


def test_only_one_works(home: Path, queue: Queue) -> None:
    """A second worker says so and ends; one that waits takes over when the first is killed."""
    with running(home) as first:
        until(lambda: queue.worked, "the first")
        with running(home) as second:
            assert second.wait(PATIENCE) == 6
            assert second.stderr is not None
            assert b"has a worker already" in second.stderr.read()
        with running(home, "--wait") as third:
            assert at_rest(queue, queue.add("pull", {"names": ["facemesh"]}, "").id).state == "done"
            assert third.poll() is None
            first.kill()
            first.wait(PATIENCE)
            assert at_rest(queue, queue.add("pull", {"names": ["facemesh"]}, "").id).state == "done"
            third.terminate()
            assert third.wait(PATIENCE) == 0
    assert not queue.worked


def test_no_file_is_overwritten_unless_asked(home: Path, queue: Queue, face: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 2))
    output = tmp_path / "out.mp4"
    output.write_text("mine")
    os.utime(output, (1e9, 1e9))
    careful = swapping(queue, job(face, clip, output))
    workers.serve(home, threading.Event(), until_empty=True)
    error = queue.line(careful).error
    assert error is not None
    assert (error.subject, error.problem) == (str(output), "exists already")
    assert output.read_text() == "mine"
    asked = swapping(queue, job(face, clip, output), overwrite=True)
    workers.serve(home, threading.Event(), until_empty=True)
    assert queue.line(asked).state == "done"
    assert output.read_bytes() != b"mine"


def test_an_analysis_serves_the_swap_after_it(home: Path, queue: Queue, face: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 8))
    found = queue.add("analyse", {"target": str(clip), "settings": {}}, "who", target=clip).id
    name = swapping(queue, job(face, clip, tmp_path / "out.mp4"))
    told: list[Line] = []
    workers.serve(home, threading.Event(), until_empty=True, tell=told.append)
    assert [(line.id, line.state) for line in told] == [(found, "done"), (name, "done")]
    finished = told[0].finished
    assert finished is not None
    assert list(finished["persons"]) == ["person1"]
    stages = [text.split(":")[0] for _, text in queue.log(name)]
    assert "analyse" in [text.split(":")[0] for _, text in queue.log(found)]
    assert "render" in stages
    assert "analyse" not in stages


def test_the_keeper_keeps_one_and_ends_it(home: Path, queue: Queue) -> None:
    lock = home / "queue" / "lock"
    with workers.Keeper(home):
        until(lambda: queue.worked, "a worker")
        pid = int(until(lock.read_text))
        os.kill(pid, signal.SIGKILL)
        until(lambda: queue.worked and lock.read_text().strip() not in ("", str(pid)), "another")
    assert not queue.worked


def test_a_worker_ends_with_the_killed_server(home: Path, queue: Queue) -> None:
    code = f"""
import time
from pathlib import Path
from mien.app.worker import Keeper
with Keeper(Path({str(home)!r})):
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as server:
        until(lambda: queue.worked, "a worker")
        server.kill()
    until(lambda: not queue.worked, "its end")


def test_a_queue_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite").mkdir()
    with pytest.raises(JobError, match="cannot be used"):
        workers.serve(tmp_path, threading.Event())
