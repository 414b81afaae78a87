"""The queue of long work: one SQLite file per home that the server, the worker and the command line share.

    HOME/
      queue.sqlite          the lines, their log, and a counter of changes
      queue/lock            held by the one worker process

A line is queued, running, paused, done, failed or cancelled. Only the worker takes lines, one at a time;
whoever else wants a running one to stop writes down the wish, and the worker obeys. Nothing about a line is
lost with a process: what a dead worker left running is queued again where it was.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from mien.errors import JobError, MienError
from mien.run.job import Folder
from mien.run.place import jobs_home
from mien.run.queue_lines import (
    GONE,
    TABLES,
    VERSION,
    WARNINGS,
    Changes,
    Failure,
    Kind,
    Line,
    OutputTaken,
    State,
    UnknownLine,
    Wish,
    WrongState,
    counted,
    last,
    put,
    read,
    refused,
    row_of,
    see_free,
    stop,
    write,
)
from mien.types import Progress, Warned

__all__ = [
    "Changes",
    "Failure",
    "Kind",
    "Line",
    "OutputTaken",
    "Queue",
    "State",
    "UnknownLine",
    "Wish",
    "WrongState",
    "discard",
    "failure",
    "path",
]


def path(home: Path) -> Path:
    """Where a home's queue lies, whether or not it is there."""
    return home / "queue.sqlite"


def failure(error: MienError) -> Failure:
    """What a line keeps of an error."""
    return Failure(error.kind, error.subject, error.problem, error.advice)


def discard(queue: Queue, name: str) -> int:
    """Take a line out, and the folder of its state where no other line has the same; the result stays.

    Returns:
        The bytes this freed.

    Raises:
        UnknownLine: There is none of this id.
        WrongState: It is running.
    """
    line = queue.remove(name)
    folder = Path(line.folder)
    shared = any(other.folder == line.folder for other in queue.lines())
    if not line.folder or shared or folder.parent != jobs_home(queue.home) or not folder.is_dir():
        return 0
    with contextlib.suppress(JobError):  # a command line works there: then it is not ours alone
        return Folder(folder).remove()
    return 0


class Queue:
    """The queue of one home. Safe to use from several threads and processes; a context manager.

    Args:
        home: The cache, an existing or new folder.

    Raises:
        JobError: By every method: the file cannot be used.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.path = home, path(home)
        self._lock = threading.RLock()
        with self._told():
            home.mkdir(parents=True, exist_ok=True)
            # Without implicit transactions: they are begun where they are needed.
            self._base = sqlite3.connect(
                self.path, timeout=30.0, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._base.close()
                raise

    def _prepare(self) -> None:
        self._base.row_factory = sqlite3.Row
        version = self._base.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise JobError(self.path, "was made by a newer version", "Update mien, or move the file aside.")
        self._base.execute("PRAGMA journal_mode = WAL")
        # A power cut may take back the last moments of progress, never the file.
        self._base.execute("PRAGMA synchronous = NORMAL")
        if version < VERSION:
            self._base.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")

    def close(self) -> None:
        """Close the file; nothing can be asked afterwards."""
        with self._lock:
            self._base.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A block whose failures of the file are said with its place."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            advice = "Make room there, or move the file aside: the queue begins empty then."
            raise JobError(self.path, f"cannot be used ({error})", advice) from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file, for several questions."""
        with self._lock, self._told():
            self._base.execute("BEGIN")
            try:
                yield self._base
            finally:
                if self._base.in_transaction:
                    self._base.execute("COMMIT")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A change that happens whole or not at all, alone."""
        with self._lock, self._told():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:  # a full disk may have ended it already
                    self._base.execute("ROLLBACK")
                raise

    # What is there

    def lines(self) -> tuple[Line, ...]:
        """All lines, in their order."""
        with self._reading() as base:
            rows = base.execute("SELECT * FROM lines ORDER BY position, number").fetchall()
        return tuple(map(read, rows))

    def line(self, name: str) -> Line:
        """One line.

        Raises:
            UnknownLine: There is none of this id.
        """
        with self._reading() as base:
            return read(row_of(base, name))

    def spec(self, name: str) -> dict[str, Any]:
        """What a line is to do, as it was given to `add`."""
        with self._reading() as base:
            value: dict[str, Any] = json.loads(row_of(base, name)["spec"])
        return value

    def log(self, name: str) -> tuple[tuple[float, str], ...]:
        """The newest lines of a job's log: (seconds since 1970, text), in order of time."""
        with self._reading() as base:
            number = row_of(base, name)["number"]
            rows = base.execute(
                "SELECT at, text FROM log WHERE line = ? ORDER BY number", (number,)
            ).fetchall()
        return tuple((row["at"], row["text"]) for row in rows)

    def changes(self, since: int) -> Changes:
        """What has changed since an earlier look; 0 for everything that there is.

        A number that this file has not reached, because the file was replaced, counts as 0.
        """
        with self._reading() as base:
            number = base.execute("SELECT value FROM counter").fetchone()[0]
            if since == number:
                return Changes(number, (), ())
            since = since if since < number else 0
            rows = base.execute("SELECT * FROM lines WHERE change > ? ORDER BY change", (since,)).fetchall()
            gone = base.execute("SELECT line FROM gone WHERE change > ? ORDER BY change", (since,)).fetchall()
        return Changes(number, tuple(map(read, rows)), tuple(f"q{row['line']}" for row in gone))

    # What anybody may ask for

    def add(
        self,
        kind: Kind,
        spec: Mapping[str, Any],
        title: str,
        project: str | None = None,
        *,
        target: str | Path = "",
        output: str | Path = "",
    ) -> Line:
        """Put a piece of work at the end.

        Args:
            kind: Which verb.
            spec: What it is to do, JSON values. swap: `job` (a `Job`), optional `overwrite`. analyse:
                `target`, optional `output`, `settings`, `start`, `end`, `sheet`. review: a `job` whose output
                is looked through, optional `output`. pull: `names`, optional `accept_licence`.
            title: What people read.
            project: The project that it belongs to.
            target: The clip that it is about.
            output: The file that it writes.

        Raises:
            OutputTaken: Another line that has not ended writes it.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"kind: expected one of {get_args(Kind)}, got {kind!r}")
        values = (kind, title, project, str(target), str(output), json.dumps(spec, default=str), time.time())
        with self._writing() as base:
            see_free(base, str(output))
            number = base.execute(
                "INSERT INTO lines"
                " (kind, title, project, target, output, spec, created, state, position, change)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?)",
                (*values, last(base) + 1, counted(base)),
            ).lastrowid
            return read(row_of(base, f"q{number}"))

    def pause(self, name: str) -> Line:
        """Stop a line and keep what is finished: at once where it waits, soon where it runs.

        Raises:
            WrongState: It has ended, or is being cancelled.
        """
        return self._asked(name, "pause", "paused")

    def cancel(self, name: str) -> Line:
        """Give a line up: at once where it waits, within a second where it runs.

        Finished segments stay until the line is removed, for `retry`.

        Raises:
            WrongState: It has ended.
        """
        return self._asked(name, "cancel", "cancelled")

    def _asked(self, name: str, wish: Wish, state: State) -> Line:
        with self._writing() as base:
            line = read(row_of(base, name))
            if line.state == state:
                return line
            if not line.open or (line.wish == "cancel" and wish != "cancel"):
                raise refused(line, wish)
            if line.state == "running":
                return put(base, line, wish=wish)
            return put(base, line, state=state, ended=time.time() if state == "cancelled" else None)

    def resume(self, name: str) -> Line:
        """Let a paused line go on in its place; takes back the wish to pause.

        Raises:
            WrongState: It has ended, or is being cancelled.
        """
        with self._writing() as base:
            line = read(row_of(base, name))
            if not line.open or line.wish == "cancel":
                raise refused(line, "resume")
            if line.state == "running":
                return put(base, line, wish="")
            return put(base, line, state="queued")

    def retry(self, name: str) -> Line:
        """Put a failed or cancelled line to the end once more; it goes on with what was finished.

        Raises:
            WrongState: It is neither failed nor cancelled.
            OutputTaken: Another line writes its output by now.
        """
        with self._writing() as base:
            line = read(row_of(base, name))
            if line.state not in ("failed", "cancelled"):
                raise refused(line, "retry")
            see_free(base, line.output, int(line.id[1:]))
            fresh: dict[str, Any] = {"error": None, "progress": None, "ended": None, "warnings": "[]"}
            # Begun anew: by `started` its own result is told from what others wrote there meanwhile.
            return put(base, line, state="queued", position=last(base) + 1, started=None, **fresh)

    def move(self, name: str, position: int) -> Line:
        """Give a line another place; those between move up or down by one.

        Args:
            name: The line.
            position: From 1; behind the last one it becomes the last.
        """
        with self._writing() as base:
            line = read(row_of(base, name))
            wanted = min(max(position, 1), last(base))
            step = -1 if wanted > line.position else 1
            low, high = sorted((line.position, wanted))
            between = base.execute(
                "SELECT * FROM lines WHERE position BETWEEN ? AND ? ORDER BY position", (low, high)
            ).fetchall()
            for row in between:
                if row["number"] != int(line.id[1:]):
                    put(base, read(row), position=row["position"] + step)
            return put(base, line, position=wanted) if wanted != line.position else line

    def remove(self, name: str) -> Line:
        """Take a line out that does not run, with its log; returns it. Its folder is the caller's to remove.

        Raises:
            WrongState: It is running.
        """
        with self._writing() as base:
            line = read(row_of(base, name))
            if line.state == "running":
                raise refused(line, "remove")
            number = int(line.id[1:])
            base.execute("DELETE FROM log WHERE line = ?", (number,))
            base.execute("DELETE FROM lines WHERE number = ?", (number,))
            count = counted(base)
            base.execute("INSERT INTO gone (change, line) VALUES (?, ?)", (count, number))
            base.execute(
                "DELETE FROM gone WHERE change <= "
                "(SELECT change FROM gone ORDER BY change DESC LIMIT 1 OFFSET ?)",
                (GONE,),
            )
            return line

    # What the worker says

    def take(self) -> Line | None:
        """The first queued line, now running; None where nothing is queued. For the worker alone."""
        with self._writing() as base:
            row = base.execute(
                "SELECT * FROM lines WHERE state = 'queued' ORDER BY position, number LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            line = read(row)
            began = time.time() if line.started is None else line.started
            return put(base, line, state="running", started=began, ended=None, wish="")

    def wish(self, name: str) -> Wish:
        """What a running line has been asked to do."""
        return self.line(name).wish

    def note(
        self,
        name: str,
        *,
        progress: Progress | None = None,
        warned: Sequence[Warned] = (),
        said: Sequence[str] = (),
        folder: str = "",
    ) -> None:
        """Write down what a running line reports, in one go: at most a few times a second.

        Args:
            name: The line.
            progress: The newest.
            warned: What is new; what is known already is dropped.
            said: For the log.
            folder: Where it keeps its state.
        """
        with self._writing() as base:
            line = read(row_of(base, name))
            values: dict[str, Any] = {}
            if progress is not None:
                values["progress"] = json.dumps(asdict(progress))
            fresh = [w for w in dict.fromkeys(warned) if w not in line.warnings]
            if fresh and len(line.warnings) < WARNINGS:
                values["warnings"] = json.dumps([asdict(w) for w in (*line.warnings, *fresh)[:WARNINGS]])
            if folder:
                values["folder"] = folder
            if values:
                put(base, line, **values)
            write(base, line, [*said, *(f"note: {w.subject}: {w.message}" for w in fresh)])

    def finish(self, name: str, finished: Mapping[str, Any]) -> Line:
        """A running line has reached its end.

        Args:
            name: The line.
            finished: The fields of `Finished` as JSON values.
        """
        with self._writing() as base:
            line = read(row_of(base, name))
            write(base, line, ["done"])
            return put(
                base,
                line,
                state="done",
                finished=json.dumps(finished, default=str),
                ended=time.time(),
                wish="",
            )

    def fail(self, name: str, error: Failure) -> Line:
        """A running line cannot be done."""
        with self._writing() as base:
            line = read(row_of(base, name))
            write(base, line, [f"failed: {error.subject}: {error.problem}. {error.advice}".rstrip()])
            return put(
                base, line, state="failed", error=json.dumps(asdict(error)), ended=time.time(), wish=""
            )

    def stopped(self, name: str) -> Line:
        """A running line was stopped before its end: as was wished, else it is queued again in its place."""
        with self._writing() as base:
            return stop(base, read(row_of(base, name)), "stopped")

    def recover(self) -> tuple[Line, ...]:
        """Put in order what a dead worker left running. Only for who holds the worker's lock."""
        with self._writing() as base:
            rows = base.execute("SELECT * FROM lines WHERE state = 'running'").fetchall()
            return tuple(stop(base, read(row), "the process that worked on it is gone") for row in rows)

    def settle(self) -> None:
        """Put in order what a dead worker left running, where no other is there."""
        if any(line.state == "running" for line in self.lines()):
            with contextlib.suppress(JobError), self.working():
                self.recover()

    def working(self) -> contextlib.AbstractContextManager[None]:
        """The right to work on this queue, for one process at a time; it ends with the process.

        Raises:
            JobError: Another process works on it.
        """
        return Folder(self.home / "queue").locked()

    @property
    def worked(self) -> bool:
        """Whether a worker is there right now."""
        return Folder(self.home / "queue").busy
