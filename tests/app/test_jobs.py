"""`mien jobs` over the queue and the folders of jobs: one list, one way to change it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.models.store import Store
from mien.run import verbs
from mien.run.queue import Queue
from mien.types import Progress, Started
from tests.regression import scenes
from tests.regression.running import job, mien


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


def facts(home: Path) -> list[dict[str, object]]:
    done = mien("jobs", "list", "--json", home=home)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_looking_makes_no_queue(home: Path) -> None:
    assert mien("jobs", home=home).stdout.startswith("no jobs in")
    for action in ("pause", "resume", "cancel", "retry", "log", "continue", "clean"):
        done = mien("jobs", action, "q1", home=home)
        assert (done.returncode, done.stderr.count("\n")) == (6, 1)
        assert "q1: is no job of the queue" in done.stderr
    assert [path.name for path in home.iterdir()] == ["models"]


def test_every_change(home: Path, queue: Queue) -> None:
    for k in range(3):
        queue.add("pull", {"names": ["facemesh"]}, f"number {k}", target="facemesh")

    def said(*arguments: str) -> str:
        done = mien("jobs", *arguments, home=home)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert said("pause", "q2") == "q2: paused, position 2\n"
    assert said("resume", "q2").splitlines()[0] == "q2: queued, position 2"
    assert "mien jobs work" in said("move", "q3", "1")
    assert [fact["id"] for fact in facts(home)] == ["q3", "q1", "q2"]
    assert json.loads(said("cancel", "q1", "--json"))["state"] == "cancelled"
    assert said("continue", "q1").startswith("q1: queued, position 4")
    table = said().splitlines()
    assert [row.split()[:2] for row in table[1:]] == [["q3", "queued"], ["q2", "queued"], ["q1", "queued"]]
    for arguments, code, text in (
        (("retry", "q2"), 6, "is queued and cannot be tried again"),
        (("move", "q2"), 2, "position: is missing"),
        (("pause", "q77"), 6, "q77: is no job of the queue"),
        (("pause", ""), 6, "job: is no job of the queue"),
    ):
        done = mien("jobs", *arguments, home=home)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1)
        assert text in done.stderr


def test_work_until_nothing_waits(home: Path, queue: Queue, tmp_path: Path) -> None:
    queue.add("pull", {"names": ["facemesh"]}, "a model")
    queue.add("swap", {"job": {"target": str(tmp_path / "no.mp4"), "output": "o.mp4"}}, "nothing")
    held = queue.add("pull", {"names": ["facemesh"]}, "held back").id
    queue.pause(held)
    done = mien("jobs", "work", home=home)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "q1 done: a model"
    assert second.startswith("q2 failed: nothing: source: is empty. Give at least one")
    assert queue.line(held).state == "paused"
    log = mien("jobs", "log", "q1", home=home).stdout.splitlines()
    assert log[0].endswith("  started: 0 frames")
    assert log[-1].endswith("  done")
    with queue.working():
        busy = mien("jobs", "work", home=home)
    assert (busy.returncode, busy.stderr.count("\n")) == (6, 1)
    assert "has a worker already" in busy.stderr


def test_what_a_killed_worker_left_is_put_right(home: Path, queue: Queue) -> None:
    """Nobody works, so what is said to run does not: it can be cancelled and removed at once."""
    for _ in range(2):
        queue.add("pull", {"names": ["facemesh"]}, "")
        queue.take()
    queue.note("q1", progress=Progress("models", 1, 4, 0.0, 0.0))
    assert "queued models 25%" in mien("jobs", home=home).stdout
    assert mien("jobs", "cancel", "q2", home=home).stdout.startswith("q2: cancelled")
    assert mien("jobs", "clean", "q2", home=home).stdout.startswith("removed 1 job,")
    assert [fact["id"] for fact in facts(home)] == ["q1"]


def test_one_list_for_the_queue_and_the_folders(home: Path, queue: Queue, tmp_path: Path) -> None:
    """A line and its folder are one job; cleaning spares what waits and what it needs."""
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 3))
    scenes.portrait("hopper").reduce(2).save(tmp_path / "face.png")
    wanted = {
        name: job(tmp_path / "face.png", clip, tmp_path / f"{name}.mp4") for name in ("mine", "its", "ended")
    }
    folders = {}
    for name, work in wanted.items():
        events = verbs.swap(work, home=home)
        started = next(events)
        assert isinstance(started, Started)
        folders[name] = started.folder
        events.close()
    for name in ("its", "ended"):
        spec = {"job": wanted[name].model_dump(mode="json")}
        line = queue.add("swap", spec, name, target=clip, output=wanted[name].output).id
        queue.take()
        queue.note(line, folder=str(folders[name]))
        queue.stopped(line) if name == "its" else queue.finish(line, {})
        queue.pause(line) if name == "its" else None
    listed = facts(home)
    assert [(fact["id"], fact["state"]) for fact in listed[:2]] == [("q1", "paused"), ("q2", "done")]
    assert [(fact["folder"], fact["state"]) for fact in listed[2:]] == [(str(folders["mine"]), "stopped")]
    assert listed[0]["bytes"] == sum(p.stat().st_size for p in folders["its"].rglob("*") if p.is_file())
    table = mien("jobs", home=home).stdout.splitlines()
    assert [row.split()[1] for row in table[1:]] == ["paused", "done", "stopped"]
    refused = mien("jobs", "clean", str(folders["its"]), home=home)
    assert refused.returncode == 6
    assert "belongs to a job of the queue" in refused.stderr
    done = mien("jobs", "continue", home=home)
    assert done.returncode == 0, done.stderr
    assert wanted["mine"].output.is_file()
    cleaned = mien("jobs", "clean", home=home).stdout.splitlines()
    assert cleaned[0].startswith("removed 2 jobs,")
    assert cleaned[1] == "kept: 1 in the queue, 0 running, and the saved analyses"
    assert [path.name for path in (home / "jobs").iterdir()] == [folders["its"].name]
    assert list((home / "tracks").glob("*.tracks"))
    assert mien("jobs", "continue", "q1", home=home).stdout.startswith("q1: queued")
    done = mien("jobs", "work", home=home)
    assert done.stdout == "q1 done: its\n", done.stderr
    assert mien("jobs", "clean", home=home).stdout.startswith("removed 1 job,")
    assert not list((home / "jobs").iterdir())
    assert not list((home / "tracks").glob("*.tracks"))
    assert all(work.output.is_file() for name, work in wanted.items() if name != "ended")
