"""A line of the queue, and how it lies in SQLite. Used by `run.queue` alone, but for the types."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from mien.errors import JobError
from mien.types import Progress, Warned

Kind: TypeAlias = Literal["analyse", "swap", "review", "pull"]
State: TypeAlias = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
Wish: TypeAlias = Literal["", "pause", "cancel"]

VERSION = 1
"""Of the tables; raised when an older program could no longer read them."""
LOG = 500
"""Most lines of a job's log that are kept: the newest."""
WIDTH = 2000
"""Most characters of one line of a log."""
WARNINGS = 100
"""Most warnings that a line keeps: the first."""
GONE = 5000
"""Most removed lines that `changes` still knows of."""

TABLES = """
CREATE TABLE IF NOT EXISTS lines (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    title TEXT NOT NULL,
    project TEXT,
    target TEXT NOT NULL,
    output TEXT NOT NULL,
    spec TEXT NOT NULL,
    position INTEGER NOT NULL,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    progress TEXT,
    error TEXT,
    finished TEXT,
    warnings TEXT NOT NULL DEFAULT '[]',
    wish TEXT NOT NULL DEFAULT '',
    folder TEXT NOT NULL DEFAULT '',
    change INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_position ON lines (position);
CREATE INDEX IF NOT EXISTS by_change ON lines (change);
CREATE TABLE IF NOT EXISTS log (line INTEGER NOT NULL, number INTEGER PRIMARY KEY, at REAL NOT NULL,
    text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_line ON log (line, number);
CREATE TABLE IF NOT EXISTS gone (change INTEGER PRIMARY KEY, line INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS counter (value INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT * FROM counter);
"""


class UnknownLine(JobError):  # noqa: N818
    """No line of the queue has this id."""


class WrongState(JobError):  # noqa: N818
    """What is asked cannot be done with a line in the state that it is in."""


class OutputTaken(JobError):  # noqa: N818
    """Another line that has not ended writes the same file."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a line failed, in the parts of every error."""

    kind: str
    """`mien.errors`' word for it."""
    subject: str
    problem: str
    advice: str


@dataclass(frozen=True, slots=True)
class Line:
    """One piece of work in the queue."""

    id: str
    """`q1`, `q2` and so on; never given twice."""
    kind: Kind
    state: State
    title: str
    """What people read."""
    project: str | None
    """The project that it belongs to."""
    target: str
    output: str
    position: int
    """Lines with lower numbers come first. What has begun or ended keeps its number."""
    created: float
    """Seconds since 1970, as every time here."""
    started: float | None
    """When it was begun first."""
    ended: float | None
    progress: Progress | None
    """The last that was reported."""
    error: Failure | None
    finished: Mapping[str, Any] | None
    """The fields of the event `Finished`, and `event`."""
    warnings: tuple[Warned, ...]
    """Each once, the first hundred."""
    wish: Wish
    """What a running line has been asked to do and has not done yet."""
    folder: str
    """Where a swap of a video keeps its state; empty before it is known."""

    @property
    def open(self) -> bool:
        """Whether there is still something to do."""
        return self.state in ("queued", "running", "paused")

    def plain(self) -> dict[str, Any]:
        """The line as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since an earlier look."""

    number: int
    """To be given the next time."""
    lines: tuple[Line, ...]
    """Changed or new, in the order of their changes."""
    removed: tuple[str, ...]
    """Ids of those that are gone."""


_REFUSED = {
    "pause": ("paused", ""),
    "cancel": ("cancelled", ""),
    "resume": ("resumed", "`retry` does it again."),
    "retry": ("tried again", "Only what failed or was cancelled can be tried again."),
    "remove": ("removed", "Cancel it first."),
}
"""What was asked: in words, and what to do instead."""


def refused(line: Line, asked: str) -> WrongState:
    """That a wish does not fit a line's state."""
    state = "being cancelled" if line.open and line.wish == "cancel" else line.state
    words, advice = _REFUSED[asked]
    return WrongState(f"job {line.id}", f"is {state} and cannot be {words}", advice)


def _number(name: str) -> int | None:
    """The number in an id; None where it is none."""
    digits = name[1:]
    right = name[:1] == "q" and digits.isascii() and digits.isdigit() and len(digits) < 18
    return int(digits) if right else None


def row_of(base: sqlite3.Connection, name: str) -> sqlite3.Row:
    """The row of a line.

    Raises:
        UnknownLine: There is none of this id.
    """
    number = _number(name)
    row: sqlite3.Row | None = None
    if number is not None:
        row = base.execute("SELECT * FROM lines WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise UnknownLine(name or "job", "is no job of the queue", "`mien jobs` lists the ids.")
    return row


def see_free(base: sqlite3.Connection, output: str, number: int = 0) -> None:
    """See that no line but one writes a file.

    Args:
        base: The queue.
        output: The file; empty for none.
        number: Of the line that may.

    Raises:
        OutputTaken: One that has not ended does.
    """
    if not output:
        return
    row = base.execute(
        "SELECT number FROM lines"
        " WHERE output = ? AND number != ? AND state IN ('queued', 'running', 'paused')",
        (output, number),
    ).fetchone()
    if row is not None:
        problem = f"is the output of another job that has not ended (q{row['number']})"
        raise OutputTaken(output, problem, "Give another name.")


def last(base: sqlite3.Connection) -> int:
    """The highest position."""
    return int(base.execute("SELECT COALESCE(MAX(position), 0) FROM lines").fetchone()[0])


def counted(base: sqlite3.Connection) -> int:
    """The number of a new change."""
    base.execute("UPDATE counter SET value = value + 1")
    return int(base.execute("SELECT value FROM counter").fetchone()[0])


def put(base: sqlite3.Connection, line: Line, **values: Any) -> Line:
    """Change columns of a line; their names are this file's own."""
    columns = ", ".join(f"{name} = ?" for name in values)
    base.execute(
        f"UPDATE lines SET {columns}, change = ? WHERE number = ?",
        (*values.values(), counted(base), int(line.id[1:])),
    )
    return read(row_of(base, line.id))


def stop(base: sqlite3.Connection, line: Line, why: str) -> Line:
    """A running line comes to rest as was wished, else it waits again in its place."""
    state: State = {"pause": "paused", "cancel": "cancelled"}.get(line.wish, "queued")  # type: ignore[assignment]
    write(base, line, [f"{why}; now {state}"])
    return put(base, line, state=state, ended=time.time() if state == "cancelled" else None, wish="")


def write(base: sqlite3.Connection, line: Line, said: Sequence[str]) -> None:
    """Add to a log and drop what is too old."""
    if not said:
        return
    number, now = int(line.id[1:]), time.time()
    base.executemany(
        "INSERT INTO log (line, at, text) VALUES (?, ?, ?)",
        [(number, now, text[:WIDTH]) for text in said[-LOG:]],
    )
    base.execute(
        "DELETE FROM log WHERE line = ? AND number <= "
        "(SELECT number FROM log WHERE line = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (number, number, LOG),
    )


def read(row: sqlite3.Row) -> Line:
    """A row as a line."""
    progress, error = row["progress"], row["error"]
    return Line(
        id=f"q{row['number']}",
        kind=row["kind"],
        state=row["state"],
        title=row["title"],
        project=row["project"],
        target=row["target"],
        output=row["output"],
        position=row["position"],
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        progress=None if progress is None else Progress(**json.loads(progress)),
        error=None if error is None else Failure(**json.loads(error)),
        finished=None if row["finished"] is None else json.loads(row["finished"]),
        warnings=tuple(Warned(**w) for w in json.loads(row["warnings"])),
        wish=row["wish"],
        folder=row["folder"],
    )
