"""`mien jobs`: the queue, and what else lies in the folder of jobs, as one list."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rich.console import Console
from rich.table import Table

from mien.app.show import duration
from mien.errors import Cancelled, JobError, SettingsError
from mien.models.store import default_home
from mien.run import queue as queues
from mien.run.job import Entry, Folder, entries, find, remove
from mien.run.place import jobs_home, tracks_home
from mien.run.queue import Line, Queue

Change: TypeAlias = Literal["pause", "resume", "cancel", "retry", "move"]

WISHES = {"pause": "pausing", "cancel": "cancelling"}
NOBODY = "Nobody works on the queue: `mien studio` does, or `mien jobs work`."


@contextmanager
def _opened() -> Iterator[Queue | None]:
    """The queue where there is one: looking makes none."""
    home = default_home()
    if not queues.path(home).exists():
        yield None
        return
    with Queue(home) as queue:
        queue.settle()
        yield queue


def _named(queue: Queue | None, name: str) -> Line:
    """A line of the queue.

    Raises:
        JobError: There is none of this name.
    """
    if queue is None:
        raise JobError(name or "job", "is no job of the queue", "`mien jobs` lists what there is.")
    return queue.line(name)


def _queued(name: str) -> bool:
    """Whether a name is that of a line of the queue rather than of a folder."""
    return name[:1] == "q" and name[1:].isdigit() and not (Path(name) / "job.json").is_file()


def proceed(name: str, as_json: bool) -> int | None:
    """Let a line of the queue go on, resumed or tried again; None where the name is a folder's."""
    if not _queued(name):
        return None
    with _opened() as queue:
        state = _named(queue, name).state
    return change("retry" if state in ("failed", "cancelled") else "resume", name, 0, as_json)


def folder(name: str) -> Folder:
    """The folder of a job by id or path; without a name, of the only stopped one that is not the queue's.

    Raises:
        JobError: There is none, or several.
    """
    if name:
        return find(jobs_home(), name)
    with _opened() as queue:
        owned = set() if queue is None else {line.folder for line in queue.lines()}
    found = [e for e in entries(jobs_home()) if e.state == "stopped" and str(e.folder) not in owned]
    if len(found) != 1:
        problem = f"{len(found)} jobs wait to be continued"
        raise JobError("jobs continue", problem, "Name one by its id; `mien jobs` lists them.")
    return Folder(found[0].folder)


def _open_folders(queue: Queue | None) -> set[str]:
    """Folders of lines that are not at their end."""
    return set() if queue is None else {line.folder for line in queue.lines() if line.open}


def change(action: Change, name: str, position: int, as_json: bool) -> int:
    """Do something to a line of the queue and say how it is then."""
    if action == "move" and position < 1:
        raise SettingsError("position", "is missing", "Say it: mien jobs move ID POSITION, from 1.")
    with _opened() as queue:
        _named(queue, name)
        assert queue is not None
        if action == "move":
            line = queue.move(name, position)
        else:
            asked = {
                "pause": queue.pause,
                "resume": queue.resume,
                "cancel": queue.cancel,
                "retry": queue.retry,
            }
            line = asked[action](name)
        if as_json:
            print(json.dumps(_facts(line, None), ensure_ascii=False))
            return 0
        print(f"{line.id}: {_state(line)}, position {line.position}")
        if line.state == "queued" and not queue.worked:
            print(NOBODY)
    return 0


def log(name: str) -> int:
    """Print what a line of the queue has said."""
    with _opened() as queue:
        _named(queue, name)
        assert queue is not None
        for at, text in queue.log(name):
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}  {text}")
    return 0


def work() -> int:
    """Work on the queue until nothing waits.

    Raises:
        JobError: A worker is there already.
        Cancelled: Ctrl-C; what was running stays queued.
    """
    from mien.app import worker

    def tell(line: Line) -> None:
        why = f": {line.error.subject}: {line.error.problem}. {line.error.advice}" if line.error else ""
        print(f"{line.id} {line.state}: {line.title}{why}", flush=True)

    with worker.until_signal() as stop:
        worker.serve(default_home(), stop, until_empty=True, tell=tell)
    if stop.is_set():
        raise Cancelled("queue", "stopped; what was running stays queued", "To go on: mien jobs work")
    return 0


def show(as_json: bool) -> int:
    """List all jobs: the queue's in their order, then those of the command line, oldest first."""
    with _opened() as queue:
        lines = () if queue is None else queue.lines()
    found = {str(entry.folder): entry for entry in entries(jobs_home())}
    owned = {line.folder for line in lines}
    others = [entry for place, entry in found.items() if place not in owned]
    if as_json:
        for line in lines:
            print(json.dumps(_facts(line, found.get(line.folder)), ensure_ascii=False))
        for other in others:
            print(json.dumps({**dataclasses.asdict(other), "folder": str(other.folder)}, ensure_ascii=False))
        return 0
    if not lines and not others:
        print(f"no jobs in {jobs_home()}")
        return 0
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "age", "segments", "MB", "target", "output"):
        table.add_column(name, overflow="fold" if name in ("target", "output") else "ellipsis")
    for line in lines:
        kept = found.get(line.folder)
        table.add_row(line.id, _state(line), *_sizes(line.created, kept), Path(line.target).name, line.output)
    for other in others:
        sizes = _sizes(other.created, other)
        table.add_row(other.id[:12], other.state, *sizes, Path(other.target).name, other.output)
    Console(highlight=False).print(table)
    return 0


def _facts(line: Line, entry: Entry | None) -> dict[str, Any]:
    """A line as JSON values, with what its folder holds."""
    kept = {"segments": entry.segments if entry else 0, "bytes": entry.bytes if entry else 0}
    return {**line.plain(), **kept}


def _state(line: Line) -> str:
    """A line's state in words, with how far it is."""
    if line.wish:
        return WISHES[line.wish]
    step = line.progress
    if not line.open or step is None or not step.total:
        return line.state
    return f"{line.state} {step.stage} {min(step.done / step.total, 1.0):.0%}"


def _sizes(created: float, entry: Entry | None) -> tuple[str, str, str]:
    """Age, segments and megabytes as a table shows them."""
    age = duration(time.time() - created)
    return (age, "", "") if entry is None else (age, str(entry.segments), f"{entry.bytes / 1e6:.1f}")


def clean(name: str) -> int:
    """Remove one job, or all that neither run nor wait in the queue, and the saved analyses.

    While a job runs or waits the analyses stay: it may be reading one of them.
    """
    with _opened() as queue:
        if _queued(name):
            _named(queue, name)
            assert queue is not None
            return _said(1, queues.discard(queue, name))
        if name:
            return _clean_one(queue, find(jobs_home(), name).path)
        lines = () if queue is None else queue.lines()
        ended = [line for line in lines if not line.open]
        freed = sum(queues.discard(queue, line.id) for line in ended) if queue is not None else 0
        kept = _open_folders(queue)
        found = [entry for entry in entries(jobs_home()) if str(entry.folder) not in kept]
        chosen = [entry for entry in found if entry.state != "running"]
        freed += sum(remove(entry) for entry in chosen)
        waiting, running = len(lines) - len(ended), len(found) - len(chosen)
        freed += 0 if waiting or running else _forget()
    _said(len(ended) + len(chosen), freed)
    if waiting or running:
        queued = f"{waiting} in the queue, " if waiting else ""
        print(f"kept: {queued}{running} running, and the saved analyses")
    return 0


def _clean_one(queue: Queue | None, path: Path) -> int:
    """Remove the folder of one job.

    Raises:
        JobError: A line of the queue still needs it.
    """
    if str(path) in _open_folders(queue):
        raise JobError(path, "belongs to a job of the queue", "Cancel that first; `mien jobs` lists it.")
    chosen = [entry for entry in entries(path.parent) if entry.folder == path]
    return _said(len(chosen), sum(remove(entry) for entry in chosen))


def _said(count: int, freed: int) -> int:
    print(f"removed {count} job{'' if count == 1 else 's'}, {freed / 1e6:.1f} MB")
    return 0


def _forget() -> int:
    """Remove the saved analyses; returns the bytes this freed."""
    freed = 0
    for path in tracks_home().glob("*.tracks"):
        freed += path.stat().st_size
        path.unlink()
    return freed
