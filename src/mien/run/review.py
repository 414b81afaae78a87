"""A finished result looked through beside its clip: where the new faces look bad."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import JobError, MediaError
from mien.media.decode import frames
from mien.media.failure import media_error
from mien.models import catalogue
from mien.models.store import Store
from mien.run import casting, needs, video
from mien.run.clock import Clock
from mien.run.job import write_json
from mien.run.moments import TEXTS, Moment, runs
from mien.run.order import fallen
from mien.run.place import tracks_home
from mien.run.render import Footage
from mien.run.report import Meter, fetched
from mien.settings import Settings
from mien.stages.verdict import Flaw, Row, Watch, flaws
from mien.types import Event, Finished, Frame, Int64, Started, Tracks, Warned

ORDER: tuple[Flaw, ...] = ("apart", "lost", "marked", "jumps")
"""The worst first: a frame counts for the first that fits."""
BESIDE = 2
"""Frames before and after a stretch that belong to it: with it the face jumps, too."""
VERSION = 1
"""Of the file that is written."""


def review(
    target: Path,
    result: Path,
    output: Path | None,
    settings: Settings,
    start: str,
    end: str,
    whole: bool,
    home: Path | None,
) -> Generator[Event, None, None]:
    """Look a result through; see `verbs.review`."""
    began, clock = time.monotonic(), Clock()
    with clock.stage("probe"):
        film, made = pair(target, result, start, end)
        written = _written(result)  # what takes its place meanwhile is not what was looked through
        known = catalogue.load(home)
        settings = casting.resolved(settings, known, Store(home))
    yield Started("", (output or result).parent, len(film))
    store = yield from fetched(needs.analysis(settings, known), home)
    kept = tracks_home(home)
    with video.analysing(settings, known, store, kept) as (runtime, work):
        seen = replace(film, start=0, end=len(film.index)) if whole else film
        tracks = yield from video.tracked(seen, settings, runtime, clock, kept, work)
        analysis = video.tracks_path(seen, settings, known, store, kept).name
        watch, meter, compared = Watch(runtime), Meter("review", len(film)), 0
        for before, after in clock.iterate("decode", together(film, made, settings.device.threads)):
            with clock.stage("compare"):
                watch.look(before, after, tracks.at(before.index))
            compared += 1
            yield from meter.at(before.index - film.start + 1)
        yield from fallen(runtime)
        engines = runtime.engines
    found = judged(watch.rows)
    if output is not None:
        _write(output, film, made, written, analysis, found)
    yield from said(found, tracks, film)
    if compared < len(film):
        text = f"{len(film) - compared} of {len(film)} frames cannot be decoded and were not compared"
        yield Warned(str(result), text)
    rows = watch.rows
    if not rows:
        yield Warned(str(result), "shows no new face: nothing differs from the clip")
    took = time.monotonic() - began
    yield Finished(
        output=output or result,
        frames=compared,
        faces=sum(len(track) for track in rows.values()),
        people=len({track.person for track in tracks.tracks if track.id in rows}),
        seconds=round(took, 3),
        fps=round(len(film) / took, 2),
        stages=clock.table(len(film)),
        engines=engines,
        moments=len(found),
    )


def pair(target: Path, result: Path, start: str, end: str) -> tuple[Footage, Footage]:
    """A clip and its result.

    Raises:
        MediaError: One cannot be read.
        JobError: They do not show the same frames.
    """
    film, made = video.footage(target, start, end), video.footage(result, "", "")
    if film.clip.path.samefile(made.clip.path):
        raise MediaError(result, "is the clip itself", "Name what was made from it.")
    if len(film) != len(made):
        raise JobError(
            result,
            f"has {len(made)} frames, the clip {len(film)}",
            "Name the part that it shows with --start and --end. A result of another rate (encode.fps), or "
            "without frames that could not be decoded, cannot be compared.",
        )
    return film, made


def together(film: Footage, made: Footage, threads: int) -> Iterator[tuple[Frame, Frame]]:
    """The frames of both, side by side; those that only one can be decoded of are left out."""
    count = max(1, threads // 2) if threads else 0
    one, other = (
        frames(part.clip, part.index, part.start, part.end, threads=count, writable=False)
        for part in (film, made)
    )
    after = next(other, None)
    for before in one:
        while after is not None and after.index < before.index - film.start:
            after = next(other, None)
        if after is None:
            return
        if after.index == before.index - film.start:
            yield before, after


def judged(rows: Mapping[int, Sequence[Row]]) -> tuple[Moment, ...]:
    """The stretches to look at, in order of their first frames; each frame of a track in one at most."""
    found: list[Moment] = []
    for track, own in rows.items():
        bad, numbers = flaws(own), np.array([row.frame for row in own])
        free = np.ones(len(own), bool)
        for flaw in ORDER:
            for unbroken in _unbroken(numbers, free):
                for first, last in runs(bad[flaw][unbroken] >= 1.0, 1 if flaw == "jumps" else 2):
                    start, end = int(numbers[unbroken][first]), int(numbers[unbroken][last - 1]) + 1
                    found.append(Moment(start, end, track, flaw, TEXTS[flaw]))
                    free &= (numbers < start - BESIDE) | (numbers >= end + BESIDE)
    return tuple(sorted(found, key=lambda m: (m.frame, m.track, m.end)))


def _unbroken(numbers: Int64, free: NDArray[np.bool_]) -> list[Int64]:
    """The rows that are free, apart wherever a frame is left out between them."""
    rows = np.flatnonzero(free)
    return np.split(rows, np.flatnonzero(np.diff(numbers[rows]) > 1) + 1)


def said(found: Sequence[Moment], tracks: Tracks, film: Footage) -> Iterator[Warned]:
    """What was found, for a terminal."""
    person = {track.id: track.person for track in tracks.tracks}
    for moment in found:
        first, last = (_clock(film, number) for number in (moment.frame, moment.end))
        yield Warned(f"{first} to {last}, person{person[moment.track]}", moment.text)


def _clock(film: Footage, number: int) -> str:
    index = film.index
    ticks = int(index.pts[number]) if number < len(index) else index.end_pts
    return casting.timecode(ticks * index.time_base - film.clip.origin)


def _write(
    output: Path, film: Footage, made: Footage, written: list[int], analysis: str, found: Sequence[Moment]
) -> None:
    """Write what was found as a JSON file."""
    value = {
        "version": VERSION,
        "target": str(film.clip.path),
        "result": str(made.clip.path),
        "written": written,
        "analysis": analysis,
        "moments": [asdict(moment) for moment in found],
    }
    try:
        write_json(output, value)
    except OSError as error:
        raise media_error(output, error, "cannot be written") from error


def _written(path: Path) -> list[int]:
    """What another file under the same name would have otherwise."""
    facts = path.stat()
    return [facts.st_mtime_ns, facts.st_size]


@dataclass(frozen=True, slots=True)
class Review:
    """What a review has found."""

    result: Path
    moments: tuple[Moment, ...]


def load(path: Path, analysis: str) -> Review | None:
    """What a review left in a file; None where it is not there, or not about what there is now.

    Args:
        path: The file.
        analysis: Name of the file with the tracks that its moments must be about.
    """
    try:
        value = json.loads(path.read_text("utf-8", "surrogateescape"))
        if (value["version"], value["analysis"]) != (VERSION, analysis):
            return None
        result = Path(value["result"])
        if _written(result) != value["written"]:
            return None
        return Review(result, tuple(Moment(**moment) for moment in value["moments"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
