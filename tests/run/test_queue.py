"""The queue: order, states, what is kept and how much, several processes at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import JobError, MediaError
from mien.run import queue as queues
from mien.run import queue_lines
from mien.run.job import Folder, write_json
from mien.run.queue import Failure, OutputTaken, Queue, UnknownLine, WrongState, failure
from mien.types import Progress, Warned


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "home") as queue:
        yield queue


def filled(queue: Queue, count: int) -> list[str]:
    return [queue.add("pull", {"names": [str(k)]}, f"number {k}").id for k in range(count)]


def ids(queue: Queue) -> list[str]:
    return [line.id for line in queue.lines()]


def test_first_come_first_served(queue: Queue) -> None:
    names = filled(queue, 3)
    assert names == ["q1", "q2", "q3"]
    taken = []
    while line := queue.take():
        assert (line.state, line.started is not None) == ("running", True)
        taken.append(queue.finish(line.id, {"frames": 3}).id)
    assert taken == names
    assert {line.state for line in queue.lines()} == {"done"}
    assert queue.line("q2").finished == {"frames": 3}
    assert queue.spec("q2") == {"names": ["1"]}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 9)), max_size=12))
def test_move_is_that_of_a_list(moves: list[tuple[int, int]]) -> None:
    """Positions stay 1 to n, and a moved line is taken out of a list and put in again."""
    with tempfile.TemporaryDirectory() as folder, Queue(Path(folder)) as queue:
        expected = filled(queue, 6)
        for which, place in moves:
            name = f"q{which + 1}"
            assert queue.move(name, place).id == name
            expected.remove(name)
            expected.insert(min(max(place, 1), 6) - 1, name)
            assert ids(queue) == expected
            assert [line.position for line in queue.lines()] == [1, 2, 3, 4, 5, 6]
        first = queue.take()
        assert first is not None
        assert first.id == expected[0]


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("queued", {"pause": "paused", "resume": "queued", "cancel": "cancelled", "remove": ""}),
        ("running", {"pause": "running", "resume": "running", "cancel": "running"}),
        ("paused", {"pause": "paused", "resume": "queued", "cancel": "cancelled", "remove": ""}),
        ("done", {"remove": ""}),
        ("failed", {"retry": "queued", "remove": ""}),
        ("cancelled", {"cancel": "cancelled", "retry": "queued", "remove": ""}),
    ],
)
def test_what_each_state_allows(state: str, allowed: dict[str, str], tmp_path: Path) -> None:
    for asked in ("pause", "resume", "cancel", "retry", "remove"):
        with Queue(tmp_path / asked) as queue:
            name = in_state(queue, state)
            if asked not in allowed:
                with pytest.raises(WrongState, match=f"job {name}: is {state} and cannot be"):
                    getattr(queue, asked)(name)
                assert queue.line(name).state == state
                continue
            line = getattr(queue, asked)(name)
            if asked == "remove":
                assert ids(queue) == []
            else:
                assert line.state == allowed[asked]
                assert (line.ended is not None) == (line.state == "cancelled")


def in_state(queue: Queue, state: str) -> str:
    name = queue.add("pull", {}, "a").id
    if state in ("paused", "cancelled"):
        getattr(queue, {"paused": "pause", "cancelled": "cancel"}[state])(name)
    elif state != "queued":
        queue.take()
    if state == "done":
        queue.finish(name, {})
    elif state == "failed":
        queue.fail(name, Failure("media", "a.mp4", "is broken", ""))
    return name


@pytest.mark.parametrize(("wish", "state"), [("pause", "paused"), ("cancel", "cancelled"), ("", "queued")])
def test_a_running_line_is_asked_and_obeys(queue: Queue, wish: str, state: str) -> None:
    filled(queue, 2)
    assert queue.take() is not None
    if wish:
        getattr(queue, wish)("q1")
    assert queue.wish("q1") == wish
    line = queue.stopped("q1")
    assert (line.state, line.wish, line.position) == (state, "", 1)
    following = queue.take()
    assert following is not None
    assert following.id == ("q1" if state == "queued" else "q2")


def test_wishes_may_change_until_they_are_done(queue: Queue) -> None:
    filled(queue, 1)
    queue.take()
    queue.pause("q1")
    assert queue.resume("q1").wish == ""
    assert queue.pause("q1").wish == "pause"
    assert queue.cancel("q1").wish == "cancel"
    for asked in (queue.pause, queue.resume):
        with pytest.raises(WrongState, match="is being cancelled"):
            asked("q1")
    assert queue.finish("q1", {}).state == "done", "it was quicker"


def test_retry_goes_to_the_end_and_begins_anew(queue: Queue) -> None:
    filled(queue, 2)
    queue.take()
    queue.note("q1", progress=Progress("render", 3, 9, 1.0, 6.0), warned=[Warned("a", "b")], folder="f")
    failed = queue.fail("q1", failure(MediaError("a.mp4", "cannot be read", "Look.")))
    assert failed.error == Failure("media", "a.mp4", "cannot be read", "Look.")
    again = queue.retry("q1")
    assert (again.position, again.error, again.progress, again.warnings, again.ended) == (
        3,
        None,
        None,
        (),
        None,
    )
    assert again.folder == "f", "its finished segments are found again"
    assert ids(queue) == ["q2", "q1"]
    assert queue.log("q1")[-1][1] == "failed: a.mp4: cannot be read. Look."


def test_everything_survives_the_process(queue: Queue) -> None:
    filled(queue, 1)
    queue.take()
    progress = Progress("render", 7, 90, 12.5, 6.6)
    queue.note("q1", progress=progress, warned=[Warned("ä", "b\nc")], said=["one", "two"], folder="/x")
    code = f"""
from pathlib import Path
from mien.run.queue import Queue
with Queue(Path({str(queue.home)!r})) as queue:
    print(queue.lines(), [text for _, text in queue.log("q1")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    texts = ["one", "two", "note: ä: b\nc"]
    assert done.stdout.strip() == f"{queue.lines()} {texts}"


def test_what_is_kept_is_bounded(queue: Queue) -> None:
    filled(queue, 2)
    queue.take()
    for k in range(30):
        queue.note(
            "q1", said=[f"{k} {n}" for n in range(100)], warned=[Warned(str(k), str(n)) for n in range(9)]
        )
        queue.note("q1", said=["x" * 10_000], warned=[Warned("0", "0")] * 50)
    log = [text for _, text in queue.log("q1")]
    assert len(log) == queue_lines.LOG
    assert max(map(len, log)) == queue_lines.WIDTH
    assert log[-1].startswith("xxx")
    warnings = queue.line("q1").warnings
    assert len(warnings) == len(set(warnings)) == queue_lines.WARNINGS
    assert queue.log("q2") == ()
    queue.stopped("q1")
    queue.remove("q1")
    with sqlite3.connect(queue.path) as base:
        assert base.execute("SELECT count(*) FROM log").fetchone()[0] == 0
    base.close()


def test_changes_tell_what_is_new_and_gone(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    start = queue.changes(0)
    assert (start.lines, start.removed) == ((), ())
    filled(queue, 3)
    first = queue.changes(start.number)
    assert [line.id for line in first.lines] == ["q1", "q2", "q3"]
    assert queue.changes(first.number).lines == ()
    queue.take()
    queue.note("q1", progress=Progress("a", 1, 2, 0.0, 0.0))
    queue.remove("q3")
    later = queue.changes(first.number)
    assert [line.id for line in later.lines] == ["q1"]
    assert later.removed == ("q3",)
    assert [line.id for line in queue.changes(later.number + 10**6).lines] == ["q2", "q1"], "another file"
    monkeypatch.setattr(queues, "GONE", 5)
    for _ in range(20):
        queue.remove(queue.add("pull", {}, "").id)
    with sqlite3.connect(queue.path) as base:
        assert base.execute("SELECT count(*) FROM gone").fetchone()[0] == 5
    base.close()


def test_ids_are_never_given_twice(queue: Queue) -> None:
    filled(queue, 2)
    queue.remove("q2")
    assert queue.add("pull", {}, "").id == "q3"
    for name in ("q2", "q", "", "3", "q-1", "q0x1", "q٣", "q" + "9" * 30, "Q3", "q3 "):
        with pytest.raises(UnknownLine, match="is no job of the queue"):
            queue.line(name)


def test_many_at_once_take_each_line_once(queue: Queue) -> None:
    """Threads over one connection and over their own, while others add."""
    filled(queue, 30)
    taken: list[str] = []

    def take(own: bool) -> None:
        mine = Queue(queue.home) if own else queue
        while line := mine.take():
            taken.append(line.id)
            mine.note(line.id, said=["x"])
        if own:
            mine.close()

    def add() -> None:
        with Queue(queue.home) as mine:
            filled(mine, 10)

    threads = [threading.Thread(target=take, args=(k % 2 == 0,)) for k in range(6)]
    threads += [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while line := queue.take():
        taken.append(line.id)
    assert len(taken) == len(set(taken)) == 50


def test_what_a_dead_worker_left(queue: Queue) -> None:
    filled(queue, 3)
    for _ in range(3):
        queue.take()
    queue.pause("q1")
    queue.cancel("q2")
    with queue.working():
        assert queue.worked
        with Queue(queue.home) as other, pytest.raises(JobError, match="is being worked on"), other.working():
            pass
        queue.settle()
        assert queue.line("q3").state == "running", "somebody works"
    assert not queue.worked
    queue.settle()
    assert [line.state for line in queue.lines()] == ["paused", "cancelled", "queued"]
    assert queue.log("q3")[-1][1] == "the process that worked on it is gone; now queued"


def test_removing_frees_the_folder_that_nobody_else_needs(queue: Queue, tmp_path: Path) -> None:
    filled(queue, 3)
    folder, foreign = queue.home / "jobs" / "abc", tmp_path / "elsewhere"
    for place in (folder, foreign):
        Folder(place).segments.mkdir(parents=True)
        (Folder(place).segments / "000001-0000000-0000010.mp4").write_bytes(bytes(1000))
        write_json(place / "job.json", {"id": "abc", "created": 1.0, "job": {}})
    for name, place in (("q1", folder), ("q2", folder), ("q3", foreign)):
        queue.take()
        queue.note(name, folder=str(place))
        queue.finish(name, {})
    assert queues.discard(queue, "q1") == 0
    assert folder.exists(), "the other line has it, too"
    assert queues.discard(queue, "q2") > 1000
    assert not folder.exists()
    assert queues.discard(queue, "q3") == 0
    assert foreign.exists(), "not in the cache"


def test_a_file_that_is_no_queue(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite").write_bytes(b"nothing of the kind, and long enough to be read as a page" * 40)
    with pytest.raises(JobError, match=r"queue\.sqlite: cannot be used \(file is not a database\)"):
        Queue(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(JobError, match="cannot be used"):
        Queue(tmp_path / "file")


def test_a_newer_queue_is_left_alone(tmp_path: Path) -> None:
    Queue(tmp_path).close()
    base = sqlite3.connect(tmp_path / "queue.sqlite")
    base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(JobError, match="was made by a newer version"):
        Queue(tmp_path)


def test_a_failing_change_changes_nothing(queue: Queue) -> None:
    filled(queue, 1)
    queue.take()
    before = queue.lines(), queue.changes(0).number
    with pytest.raises(TypeError):
        queue.note("q1", said=["kept?"], progress=object())  # type: ignore[arg-type]
    assert queue.log("q1") == ()
    assert (queue.lines(), queue.changes(0).number) == before
    with pytest.raises(ValueError, match="kind: expected one of"):
        queue.add("bake", {}, "")  # type: ignore[arg-type]


def test_two_lines_never_write_the_same_file(queue: Queue) -> None:
    one = queue.add("swap", {}, "one", output="/films/out.mp4")
    with pytest.raises(OutputTaken, match="another job that has not ended \\(q1\\)"):
        queue.add("swap", {}, "two", output="/films/out.mp4")
    queue.cancel(one.id)
    two = queue.add("swap", {}, "two", output="/films/out.mp4")
    with pytest.raises(OutputTaken):
        queue.retry(one.id)
    queue.cancel(two.id)
    assert queue.retry(one.id).state == "queued"


def test_what_was_written_after_the_first_try_is_not_its_own(queue: Queue) -> None:
    """By `started` a result is told from a file that somebody else has written: a second try starts anew."""
    queue.add("swap", {}, "one", output="/films/out.mp4")
    first = queue.take()
    assert first is not None
    assert first.started is not None
    queue.fail(first.id, Failure("media", "a", "b", ""))
    queue.retry(first.id)
    again = queue.take()
    assert again is not None
    assert again.started is not None
    assert again.started > first.started
    queue.recover()  # its worker was killed: the same try goes on
    kept = queue.take()
    assert kept is not None
    assert kept.started == again.started


def test_a_full_disk_is_said_and_gone_when_there_is_room(queue: Queue) -> None:
    pages = queue._base.execute("PRAGMA page_count").fetchone()[0]
    queue._base.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JobError, match="is full"):
        queue.add("pull", {"names": ["x" * 1_000_000]}, "large")
    assert queue.lines() == ()
    queue._base.execute("PRAGMA max_page_count = 1000000")
    assert queue.add("pull", {"names": ["x" * 1_000_000]}, "large").state == "queued"


def test_a_change_that_cannot_be_finished_does_not_block_the_next(tmp_path: Path) -> None:
    """Another process holds the file for longer than anybody waits."""
    with Queue(tmp_path) as queue, Queue(tmp_path) as other:
        queue._base.execute("PRAGMA busy_timeout = 50")
        with other._writing():
            for _ in range(2):
                with pytest.raises(JobError, match="locked"):
                    queue.add("pull", {}, "one")
                assert queue.lines() == ()
        assert queue.add("pull", {}, "one").id == "q1"
