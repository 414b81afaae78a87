"""Events on a terminal: bars for people, lines of JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from mien.errors import MienError
from mien.types import Event, Finished, Started, Tracks, Warned
from mien.types import Progress as Step


class Screen(AbstractContextManager["Screen"], Protocol):
    """Something that shows events. A context manager, so that bars are taken down whatever happens."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def failed(self, error: MienError) -> None:
        """Show why it ended early."""


def plain(event: Event) -> dict[str, Any]:
    """An event as JSON values; `event` is its name in lower case."""
    values = {field.name: _plain(getattr(event, field.name)) for field in dataclasses.fields(event)}
    return {"event": type(event).__name__.lower(), **values}


def _plain(value: object) -> object:
    if value is None or isinstance(value, (int, float)):
        return value
    return dict(value) if isinstance(value, dict) else str(value)


class Lines:
    """One JSON object a line on stdout, and nothing else there."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, event: Event) -> None:
        """Print an event."""
        _line(plain(event))

    def failed(self, error: MienError) -> None:
        """Print the error as an object, and for people on stderr."""
        _line(
            {
                "event": "failed",
                "kind": type(error).__name__,
                "subject": error.subject,
                "problem": error.problem,
                "advice": error.advice,
            }
        )
        complain(error)


def _line(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def complain(error: MienError) -> None:
    """One line about an error on stderr."""
    print(f"mien: {error}", file=sys.stderr, flush=True)


class Bars:
    """Progress bars on stderr, the result on stdout."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            expand=True,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Started):
            if event.resumed:
                self._say(f"continuing: {event.resumed} of {event.frames} frames are already done")
        elif isinstance(event, Warned):
            self._say(f"note: {event.subject}: {event.message}")
        else:
            self._progress.stop()
            print(summary(event), flush=True)

    def failed(self, error: MienError) -> None:
        """One line on stderr."""
        self._progress.stop()
        complain(error)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _step(self, event: Step) -> None:
        rate = f"{event.fps:.1f} fps, {duration(event.eta)} left" if event.fps else ""
        task = self._tasks.get(event.stage)
        if task is None:
            task = self._progress.add_task(event.stage, total=event.total, rate=rate)
            self._tasks[event.stage] = task
        self._progress.update(task, completed=event.done, total=event.total, rate=rate)


def duration(seconds: float) -> str:
    """Seconds as people write them: 7 s, 3:05, 1:02:09."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def summary(event: Finished) -> str:
    """What was done, as text: one sentence, the stages, the engines and the file."""
    lines = [
        f"{event.frames} frames, {event.faces} faces, {event.people} "
        f"{'person' if event.people == 1 else 'people'} in {duration(event.seconds)} ({event.fps:.1f} fps)"
    ]
    if event.stages:
        lines.append(_text(_stage_table(event)))
    lines += [f"{card} ran on {engine}" for card, engine in event.engines.items()]
    if event.carried:
        lines.append(f"{event.carried} of these faces were carried from frames near by (swap.every)")
    if event.persons:
        lines.append(_text(_person_table(event)))
    if event.content:
        lines.append(event.content)
    lines.append(str(event.output) if event.moments is None else f"{looks(event.moments)}: {event.output}")
    return "\n".join(lines)


def looks(moments: int) -> str:
    """What a review has found, as text."""
    if not moments:
        return "nothing looks bad"
    return "1 moment looks bad" if moments == 1 else f"{moments} moments look bad"


def _stage_table(event: Finished) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for name in ("ms/frame", "of which CPU", "percent"):
        table.add_column(name, justify="right")
    for name, row in event.stages.items():
        cpu = row.get("cpu_ms_per_frame")
        table.add_row(
            name,
            f"{row['ms_per_frame']:.2f}",
            "" if cpu is None else f"{cpu:.2f}",
            f"{row['percent']:.1f}",
        )
    return table


def _person_table(event: Finished) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("person", "on screen", "from", "shots"):
        table.add_column(name, justify="right")
    table.add_column("tracks")
    for name, facts in event.persons.items():
        tracks = ", ".join(str(k) for k in facts["tracks"])
        table.add_row(name, f"{facts['seconds']:.2f} s", facts["first"], str(facts["shots"]), tracks)
    return table


def listed(tracks: Tracks) -> str:
    """Every track of an analysis as text, one a line, with the number that `--faces` takes."""
    if not tracks.tracks:
        return "nobody was found"
    table = Table(box=None, pad_edge=False)
    for name in ("track", "person", "shot", "frames", "height", "seen"):
        table.add_column(name, justify="right")
    for track in tracks.tracks:
        table.add_row(
            str(track.id),
            str(track.person),
            str(track.shot + 1),
            f"{track.start} to {track.end - 1}",
            f"{np.median(track.box[:, 3] - track.box[:, 1]):.0f} px",
            f"{track.observed.mean():.0%}",
        )
    return _text(table)


def _text(table: Table) -> str:
    """A table as text without colours, so that it can go into a file."""
    console = Console(width=100, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
