"""Runs that are killed, stopped, doubled or mixed up: the bytes are always those of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mien.errors import JobError
from mien.media import join as joining
from mien.media import verify as verifying
from mien.run import verbs
from mien.run.job import Folder
from mien.settings import Encode, Settings
from mien.types import Finished, Progress, Started
from tests.media.makers import Sound
from tests.regression import scenes
from tests.regression.running import FAST, job, mien, swap, times

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 s in 36 frames, a key frame every 9: three segments of 10 s or more."""
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    shots = scenes.talking("astronaut", 36)
    return scenes.film(path, shots, rate=Fraction(1), gop=9, sounds=[Sound(0, 30)])


class Running:
    """A command line that is at work; its lines are read one by one."""

    def __init__(self, home: Path, *arguments: str | Path) -> None:
        command = [sys.executable, "-m", "mien.app.cli", *map(str, arguments), "--json"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MIEN_HOME": str(home)},
        )

    def until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first event for which this holds; what it said, if it never came."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if reached(event):
                return event
        raise AssertionError(self.end()[1])

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Exit code and stderr, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        _, said = self.process.communicate()
        return self.process.returncode, said


def rendering(done: int) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["event"] == "progress" and event["stage"] == "render" and event["done"] >= done


def test_killed_again_and_again(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """kill -9 at a random event, three times; then the command to its end."""
    output = tmp_path / "out.mp4"
    given = ("--source", faces / "hopper.png", "--target", clip, "-o", output)
    arguments = ("swap", *given, "--encode.preset", "fastest")
    swap(faces / "hopper.png", clip, output, folder=tmp_path / "undisturbed")
    expected = output.read_bytes()
    output.unlink()
    chance = random.Random(20)
    for _ in range(3):
        running = Running(home, *arguments)
        left = chance.randint(1, 12)

        def reached(event: dict[str, Any]) -> bool:
            nonlocal left
            left -= 1
            return left <= 0 or rendering(36)(event)

        running.until(reached)
        assert running.end(signal.SIGKILL)[0] == -signal.SIGKILL
        assert not output.exists(), "nothing but a whole file appears"
    done = mien(*arguments, home=home)
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "out.mp4", "undisturbed"]


def test_killed_while_joining(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """What a join leaves when it is killed is neither taken for the result nor left for good."""
    output = tmp_path / "out" / "out.mp4"
    output.parent.mkdir()
    code = """
import os, signal, sys
from pathlib import Path
import mien.media.join
mien.media.join.verify = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
from mien.run import verbs
from mien.settings import Job
list(verbs.swap(Job.model_validate_json(sys.argv[1]), folder=Path(sys.argv[2])))
"""
    work = job(faces / "hopper.png", clip, output)
    command = [sys.executable, "-c", code, work.model_dump_json(), str(tmp_path / "job")]
    killed = subprocess.run(command, check=False, env={**os.environ, "MIEN_HOME": str(home)})
    assert killed.returncode == -signal.SIGKILL
    (left,) = output.parent.iterdir()
    assert left.name.startswith(".mien-")
    events = list(verbs.swap(work, folder=tmp_path / "job"))
    assert isinstance(events[0], Started)
    assert events[0].resumed == 36
    assert list(output.parent.iterdir()) == [output]
    first = output.read_bytes()
    swap(faces / "hopper.png", clip, output, folder=tmp_path / "other")
    assert output.read_bytes() == first


def test_stopped_and_continued(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """Ctrl-C says how to go on; what it says works, from anywhere."""
    output = tmp_path / "out.mp4"
    running = Running(home, "swap", "--source", faces / "hopper.png", "--target", clip, "-o", output)
    started = running.until(lambda event: event["event"] == "started")
    running.until(rendering(1))
    code, said = running.end(signal.SIGINT)
    assert code == 130
    assert said.count("\n") == 1
    assert f"finished segments are kept. To continue: mien jobs continue {started['job'][:12]}" in said
    assert not output.exists()
    listed = mien("jobs", home=home).stdout
    assert "stopped" in listed
    assert started["job"][:12] in listed
    done = mien("jobs", "continue", said.split()[-1], home=home, cwd=home)
    assert done.returncode == 0, done.stderr
    assert len(times(output)) == 36
    (entry,) = mien("jobs", "list", "--json", home=home).stdout.splitlines()
    assert json.loads(entry)["state"] == "finished"
    assert "removed 1 job" in mien("jobs", "clean", home=home).stdout
    assert "no jobs" in mien("jobs", home=home).stdout
    assert output.exists()


def test_same_job_twice_at_once(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    arguments = ("swap", "--source", faces / "hopper.png", "--target", clip, "-o", output)
    first = Running(home, *arguments)
    first.until(lambda event: event["event"] == "started")
    second = mien(*arguments, home=home)
    assert second.returncode == 6
    assert f"is being worked on by process {first.process.pid}" in second.stderr
    assert second.stderr.count("\n") == 1
    assert "running" in mien("jobs", home=home).stdout
    cleaned = mien("jobs", "clean", home=home)
    assert "removed 0 jobs" in cleaned.stdout
    assert first.end() == (0, "")
    assert len(times(output)) == 36


def test_two_jobs_with_one_output(
    home: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs that write the same name at once: the last one to end has it, whole."""
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 6))
    output = tmp_path / "out.mp4"
    one = job(faces / "hopper.png", clip, output)
    two = job(faces / "hopper.png", clip, output, settings=Settings(encode=Encode(quality=40)))
    results = []
    for work in (one, two):
        list(verbs.swap(work, folder=tmp_path / "alone"))
        results.append(output.read_bytes())
        (tmp_path / "alone").rename(tmp_path / f"alone{len(results)}")
    whole, honest = joining.join, verifying.verify
    begun: list[Path] = []

    def join(*given: Any, **named: Any) -> Any:
        if not begun:  # while the first one is being joined, the other one runs from beginning to end
            begun.append(output)
            inside = iter(verbs.swap(two, folder=tmp_path / "b"))
            monkeypatch.setattr("mien.media.join.verify", check_then(inside))
        return whole(*given, **named)

    def check_then(inside: Any) -> Any:
        def check(*given: Any) -> Any:
            monkeypatch.setattr("mien.media.join.verify", honest)
            list(inside)
            assert output.read_bytes() == results[1]
            return honest(*given)

        return check

    monkeypatch.setattr("mien.run.video.join", join)
    list(verbs.swap(one, folder=tmp_path / "a"))
    assert begun
    assert output.read_bytes() == results[0]


def test_same_name_in_two_folders(home: Path, faces: Path, tmp_path: Path) -> None:
    """Two clips of one name worked on turn by turn do not meet: neither tracks, segments nor results."""
    clips = {}
    for folder, name, suffix, count in (("a", "astronaut", ".mp4", 10), ("b", "hopper", ".mkv", 13)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / f"clip{suffix}"
        clips[folder] = scenes.film(path, scenes.talking(name, count))  # type: ignore[arg-type]
    alone = {}
    for folder, clip in clips.items():
        output = clip.with_stem("out")
        swap(faces / "astronaut.png", clip, output)
        alone[folder] = output.read_bytes()
        output.unlink()
    assert "removed 2 jobs" in mien("jobs", "clean", home=home).stdout
    runs = {
        folder: verbs.swap(job(faces / "astronaut.png", clip, clip.with_stem("out")))
        for folder, clip in clips.items()
    }
    last = {}
    while runs:
        for folder, events in list(runs.items()):
            event = next(events, None)
            if event is None:
                del runs[folder]
            else:
                last[folder] = event
    for folder, clip in clips.items():
        assert isinstance(last[folder], Finished)
        assert clip.with_stem("out").read_bytes() == alone[folder]


def test_damaged_analysis_is_made_again(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 8))
    output = tmp_path / "out.mp4"
    swap(faces / "hopper.png", clip, output)
    good = output.read_bytes()
    (saved,) = (home / "tracks").glob("*.tracks")
    for damage in (b"", saved.read_bytes()[:-40], os.urandom(3000)):
        saved.write_bytes(damage)
        ran = swap(faces / "hopper.png", clip, output)
        assert "analyse" in {e.stage for e in ran.events if isinstance(e, Progress)}
        assert output.read_bytes() == good


def test_folder_that_is_no_job(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 2))
    (tmp_path / "file").write_text("x")
    work = job(faces / "hopper.png", clip, tmp_path / "out.mp4", settings=FAST)
    for folder in (tmp_path / "file", tmp_path / "file" / "job", tmp_path / ("n" * 300)):
        with pytest.raises(JobError, match="cannot be written"):
            next(verbs.swap(work, folder=folder))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "job.json").write_text("{")
    with pytest.raises(JobError, match=r"job\.json: cannot be read"):
        next(verbs.swap(work, folder=tmp_path / "bad"))


def test_continuing_what_is_gone(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 3))
    run = verbs.swap(job(faces / "hopper.png", clip, tmp_path / "out.mp4"))
    started = next(run)
    assert isinstance(started, Started)
    run.close()
    assert Folder(started.folder).record() is not None
    clip.rename(tmp_path / "moved.mp4")
    done = mien("jobs", "continue", home=home)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "in.mp4: cannot be opened: No such file" in done.stderr
    scenes.film(clip, scenes.talking("hopper", 3))
    done = mien("jobs", "continue", started.job[:8], home=home)
    assert done.returncode == 6
    assert "holds another job" in done.stderr
