"""A video, from its two passes to the finished file."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from mien import pipeline
from mien.errors import JobError, SettingsError
from mien.faces import tracksfile
from mien.media import clip as clips
from mien.media.decode import frames
from mien.media.failure import media_error
from mien.media.join import Joined, join
from mien.media.plan import EncodePlan, plan
from mien.models import catalogue
from mien.models.card import Card, File
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.run import casting, gate, needs
from mien.run.clock import Clock
from mien.run.engine import Prefetch
from mien.run.job import Folder, analysis_id, job_id, write_json
from mien.run.needs import CHANGING
from mien.run.order import Order, edit, measured, opened, parts, prepared, unchanged
from mien.run.place import jobs_home, kept_in, tracks_home
from mien.run.render import DEPTH, Footage, Part, render, suffix
from mien.run.report import fetched
from mien.settings import Settings
from mien.trust import label
from mien.types import Event, Finished, Frame, Started, Tracks, Warned

SECONDS = 10.0
"""About how long a segment is: what is lost at most when a run is killed."""


def footage(target: Path, start: str, end: str) -> Footage:
    """Probe a video and find the frames that are asked for.

    Raises:
        MediaError: It cannot be read.
        SettingsError: The range holds no frame.
    """
    clip = clips.probe(target)
    index = clips.index(clip)
    first = index.frame_at(start, clip) if start else 0
    last = index.frame_at(end, clip) if end else len(index)
    if first >= last:
        problem = f"{start or 'the beginning'} to {end or 'the end'} holds no frame"
        raise SettingsError("start, end", problem, f"The clip has {len(index)} frames.")
    return Footage(clip, index, first, last)


def swap(wanted: Order, folder: Path | None) -> Generator[Event, None, None]:
    """Render a job whose target is a video."""
    job, home = wanted.job, wanted.home
    began, clock = time.monotonic(), Clock()
    with clock.stage("probe"):
        film = footage(job.target, job.start, job.end)
        made = plan(
            film.clip,
            film.index,
            job.settings.encode,
            job.output,
            start=film.start,
            end=film.end,
            threads=wanted.threads,
        )
        number = _number(wanted, film)
        segments = film.index.segments(film.start, film.end, SECONDS)
    place = Folder(folder or jobs_home(home) / number[:16])
    with place.locked(), kept_in(place.path):
        place.prepare(job, number)
        finished = [s for s in segments if place.segment(s, suffix(made)).is_file()]
        resumed = sum(len(s) for s in finished)
        yield Started(number, place.path, len(film), resumed)
        yield from _said(film)
        yield from (Warned(str(job.output), t) for t in made.warnings if t not in film.clip.warnings)
        with (yield from opened(wanted)) as runtime:
            with clock.stage("content"):
                gate.check(str(job.target), _samples(film), wanted.judges, runtime)
            cast = yield from prepared(wanted, runtime, clock)
            tracks = yield from _known(film, wanted.settings, runtime, clock, _cache(place, home), place.path)
            ready = parts(wanted, cast, runtime, tracks)
            yield from unchanged(wanted, ready, tracks)
            # A network that saw its first face later is not in what was written down; its choice is kept.
            if finished and not place.engines().items() <= measured(wanted, runtime).items():
                text = "its networks run on other engines now; what was rendered is rendered again"
                yield Warned(str(place.path), text)
                place.clean()
                place.segments.mkdir(exist_ok=True)
                finished, resumed = [], 0
            # What only looked at the clip need not stay in memory.
            runtime.unload(card for card in wanted.used if card.task not in CHANGING)
            missing = [s for s in segments if s not in finished]
            device = wanted.settings.device
            yield from render(
                film,
                made,
                place,
                missing,
                ready,
                tracks,
                runtime,
                device,
                clock,
                resumed,
                lambda: _note(place, wanted, runtime),
            )
            engines, networks = runtime.engines, runtime.times(max(len(film) - resumed, 1))
        with clock.stage("join"):
            joined = _join(wanted, film, made, [place.segment(s, suffix(made)) for s in segments])
        for text in joined.warnings:
            yield Warned(str(job.output), text)
        seconds = time.monotonic() - began
        fresh = len(film) - resumed
        result = Finished(
            output=job.output,
            frames=joined.verified.frames,
            faces=_count(ready, tracks, film),
            people=len({t.person for p in ready for t in tracks.tracks if t.id in p.ids}),
            seconds=round(seconds, 3),
            fps=round(fresh / seconds, 2),
            stages=clock.table(fresh or len(film)),
            engines=engines,
            networks=networks,
            content=wanted.content,
        )
        write_json(place.path / "result.json", {"output": str(job.output), "frames": result.frames})
        place.clean()
    yield result


def _note(place: Folder, wanted: Order, runtime: Runtime) -> None:
    """Write down what the networks run on, once that is known of another one."""
    found = measured(wanted, runtime)
    if found != place.engines():
        place.note_engines(found)


def _number(wanted: Order, film: Footage) -> str:
    """The job's id."""
    inputs = {str(path): clips.fingerprint(path) for path in casting.files(wanted.job)}
    inputs[str(wanted.job.target)] = film.clip.fingerprint
    # The number of threads it really gets, because the encoder's bytes depend on it.
    device = wanted.settings.device.model_copy(update={"threads": wanted.threads})
    settled = wanted.job.model_copy(
        update={"settings": wanted.settings.model_copy(update={"device": device})}
    )
    return job_id(settled, inputs, checksums(wanted.used, Store(wanted.home)))


def checksums(used: Sequence[Card], store: Store) -> dict[str, str]:
    """Card name to the checksums of its files."""
    return {one.name: ",".join(_digest(file, store) for file in one.files) for one in used}


def _digest(file: File, store: Store) -> str:
    """Checksum of a file: the publisher's, or that of the file here; empty where there is neither."""
    return file.sha256 or (store.digest(file) if store.present(file) else "")


def _samples(film: Footage) -> Iterator[Frame]:
    """Frames by which the content is judged: one a second, evenly spread."""
    seconds = len(film) / max(float(film.clip.rate), 1.0)
    count = int(np.clip(round(seconds), 1, gate.SAMPLES))
    for number in np.unique(np.linspace(film.start, film.end - 1, count).round().astype(int)):
        yield from frames(film.clip, film.index, int(number), int(number) + 1, writable=False)


def analyse(
    target: Path, output: Path, settings: Settings, start: str, end: str, home: Path | None = None
) -> Generator[Event, None, tuple[Footage, Tracks, Finished]]:
    """Pass one alone; returns what a contact sheet needs. The caller yields `Finished`."""
    began, clock = time.monotonic(), Clock()
    with clock.stage("probe"):
        film = footage(target, start, end)
        known = catalogue.load(home)
        settings = casting.resolved(settings, known, Store(home))
        used = needs.analysis(settings, known)
    yield Started("", output.parent, len(film))
    yield from _said(film)
    store = yield from fetched(used, home)
    kept = tracks_home(home)
    with kept_in(kept):
        kept.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".work-", dir=kept) as work,
            Runtime(settings.device.threads, store, known, settings.device) as runtime,
        ):
            tracks = yield from _known(film, settings, runtime, clock, kept, Path(work))
            engines = runtime.engines
    try:
        tracksfile.save(tracks, output)
    except OSError as error:
        raise media_error(output, error, "cannot be written") from error
    seconds = time.monotonic() - began
    faces = sum(len(track) for track in tracks.tracks)
    persons = len({track.person for track in tracks.tracks})
    fps = round(len(film) / seconds, 2)
    table = clock.table(len(film))
    result = Finished(output, len(film), faces, persons, round(seconds, 3), fps, table, engines)
    return film, tracks, result


def _cache(place: Folder, home: Path | None) -> Path:
    """Where analyses are kept: with all others, or in the folder that somebody chose for the job."""
    return tracks_home(home) if place.path.parent == jobs_home(home) else place.path


def _said(film: Footage) -> Iterator[Warned]:
    """What there is to say about the input before the work begins."""
    for text in film.clip.warnings:
        yield Warned(str(film.clip.path), text)
    if film.index.broken:
        text = f"breaks off after {len(film.index)} frames ({film.index.broken}); these are used"
        yield Warned(str(film.clip.path), text)


def _known(
    film: Footage, settings: Settings, runtime: Runtime, clock: Clock, cache: Path, work: Path
) -> Generator[Event, None, Tracks]:
    """The tracks of the footage: read where an earlier run left them, else found and left there."""
    mark = f"{film.clip.fingerprint}:{film.start}:{film.end}"
    used = checksums(needs.analysis(settings, runtime.catalogue), runtime.store)
    path = cache / f"{analysis_id(mark, settings, used)[:32]}.tracks"
    with suppress(JobError):  # a damaged one is made again
        return tracksfile.load(path)
    told: list[str] = []
    spill = work / "analysis"
    threads = settings.device.threads
    read = frames(
        film.clip, film.index, film.start, film.end, threads=threads, writable=False, report=told.append
    )
    with Prefetch(clock.iterate("decode 1", read), DEPTH) as incoming:
        finding = pipeline.analyse(
            clock.iterate("", iter(incoming)),
            runtime,
            settings,
            total=len(film),
            rate=film.clip.rate,
            spill=spill,
            clip=film.clip.fingerprint,
            timed=clock.stage,
        )
        yield from clock.iterate("find", finding)
    yield from (Warned(str(film.clip.path), text) for text in told)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(spill / "clip.tracks", path)
    shutil.rmtree(spill, ignore_errors=True)
    return tracksfile.load(path)


def _count(parts: Sequence[Part], tracks: Tracks, film: Footage) -> int:
    """Faces that are changed, over all frames."""
    ids = {k for part in parts for k in part.ids}
    spans = [(max(t.start, film.start), min(t.end, film.end)) for t in tracks.tracks if t.id in ids]
    return sum(max(end - start, 0) for start, end in spans)


def _join(wanted: Order, film: Footage, made: EncodePlan, paths: Sequence[Path]) -> Joined:
    """The finished file, with what it says about itself."""
    names: Mapping[str, Literal["mov", "mkv", "webm"]] = {"mov": "mov", "matroska": "mkv", "webm": "webm"}
    made_to = edit(wanted)
    tags = label.metadata(made_to, film.clip.metadata, names.get(made.format, "mp4"))
    return join(made, paths, film.clip, film.index, metadata=tags, xmp=label.xmp(made_to, limit=0))
