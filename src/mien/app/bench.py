"""`mien bench`: how long each part of a swap takes on this machine."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mien.app.cli import follow
from mien.bench import chart, latency, material, report, suite, words
from mien.bench.latency import Latency
from mien.bench.report import Report
from mien.errors import SettingsError
from mien.media.failure import media_error
from mien.models.store import default_home
from mien.run.place import check_folder
from mien.settings import Job, Role, Settings
from mien.types import Event, Finished, Progress, Started, Warned

T = TypeVar("T")

CLIPS = (".mp4", ".mov", ".mkv", ".webm")
"""Containers whose result is written as they are; others become the first."""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    target: Path | None
    source: tuple[Path, ...]
    faces: str
    frames: int
    standins: bool
    settings: Settings
    latency: bool = False
    """One frame at a time, as in a live run."""
    display: float = 60.0
    """Pictures a second of the display that the result would be shown on."""


def bench(asked: Asked, output: Path | None, json: bool) -> int:
    """Measure, print the tables and write the files.

    Args:
        asked: What to measure.
        output: The JSON to write; a Markdown file and a picture get the same name. None for neither.
        json: Print events and result as one object a line.
    """
    if asked.frames < 0 or (asked.frames == 0 and asked.target is None):
        raise SettingsError("frames", f"is {asked.frames}", "Give the number of frames to measure.")
    if output is not None:
        output = output.expanduser().absolute()
        if output.suffix.lower() != ".json":
            raise SettingsError("output", f"{output.name} is no name of a JSON file", "Name it RESULT.json.")
        check_folder(output.parent)
    kept: list[Report | Latency] = []
    code = follow(_measured(asked, kept), json)
    for result in kept:
        if isinstance(result, Latency):
            _live(result, output, json)
            continue
        print(report.line(result) if json else words.text(result), flush=True)
        if output is not None:
            _write(result, output)
            if not json:
                files = f"wrote {output.name}, {output.stem}.md and {output.stem}.png in {output.parent}"
                print("\n".join(words.marked([files], result)), file=sys.stderr)
    return code


def compare(first: Path, second: Path) -> int:
    """Print two results side by side."""
    names = (first.name, second.name) if first.name != second.name else (str(first), str(second))
    one, two = (report.load(path.expanduser()) for path in (first, second))
    print(words.compared((names[0], one), (names[1], two)))
    return 0


def _live(found: Latency, output: Path | None, json: bool) -> None:
    """Print what a live picture waits, and write it as JSON."""
    print(latency.line(found) if json else latency.text(found), flush=True)
    if output is not None:
        try:
            output.write_text(latency.line(found) + "\n", encoding="utf-8")
        except OSError as error:
            raise media_error(output, error, "cannot be written") from error


def _measured(asked: Asked, kept: list[Report | Latency]) -> Generator[Event, None, None]:
    """The run's events without the last; what was found is added to `kept`."""
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as name:
        folder = Path(name)
        sources = asked.source or (material.portrait(folder),)
        target = asked.target
        if target is None:
            target = yield from _told(material.clip(default_home() / "bench", asked.frames), asked.standins)
        suffix = target.suffix.lower() if target.suffix.lower() in CLIPS else CLIPS[0]
        job = Job(
            target=target.expanduser().absolute(),
            output=folder / f"out{suffix}",
            cast=(Role(sources=sources, faces=asked.faces),),
            end=f"{asked.frames}f" if asked.frames else "",
            settings=asked.settings,
        )
        result: Report | Latency
        if asked.latency:
            live = latency.run(job, folder, display=asked.display, use_standins=asked.standins)
            result = yield from _told(live, asked.standins)
        else:
            work = suite.run(job, folder, use_standins=asked.standins)
            result = yield from _told(work, asked.standins)
        if asked.standins and not result.standins:
            text = "nothing here needs one: choose networks, such as --swap.model inswapper_128"
            yield Warned("standins", text)
        kept.append(result)


def _told(work: Generator[Event, None, T], standins: bool) -> Generator[Event, None, T]:
    """The same work; its events as they are to be shown."""
    try:
        while True:
            try:
                event = next(work)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if not isinstance(event, Finished):
                yield _marked(event, f"{report.MARK}: " if standins else "")
    finally:
        work.close()


def _marked(event: Event, mark: str) -> Event:
    """An event that says what it is about. The folder is temporary: there is no job to continue."""
    if isinstance(event, Started):
        return replace(event, job="")
    if isinstance(event, Progress):
        return replace(event, stage=mark + event.stage)
    if isinstance(event, Warned):
        return replace(event, subject=mark + event.subject)
    return event


def _write(result: Report, output: Path) -> None:
    """Write the JSON, and beside it Markdown and a picture."""
    for path, text in ((output, report.dumped(result)), (output.with_suffix(".md"), words.markdown(result))):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise media_error(path, error, "cannot be written") from error
    chart.draw(result, output.with_suffix(".png"))
