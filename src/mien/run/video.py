"""A video, from its two passes to the finished file."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
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
from mien.media.moments import rises
from mien.media.plan import EncodePlan, plan
from mien.models import catalogue, torch_event
from mien.models.card import Card, File
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.run import casting, gate, needs
from mien.run.clock import Clock
from mien.run.engine import Prefetch
from mien.run.job import Folder, analysis_id, job_id, write_json
from mien.run.lanes import length, most, suffix
from mien.run.needs import CHANGING
from mien.run.order import Order, edit, fallen, measured, opened, parts, prepared, unchanged
from mien.run.place import jobs_home, kept_in, tracks_home
from mien.run.render import DEPTH, Footage, Part, place_of, render
from mien.run.report import fetched
from mien.run.videoengine import ENCODER, decoding, encoding, note
from mien.settings import Settings
from mien.trust import label
from mien.types import Event, Finished, Frame, Started, Track, Tracks, Warned

SECONDS = 10.0
"""About how long a segment is where there is one lane: what is lost at most when a run is killed."""
LENGTH = "segments"
"""Under which name a job's folder keeps how long its segments are, beside what they were made with."""


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
        between = job.settings.encode.between == "flow" and rises(made, film.index)
        number = _number(wanted, film)
    place = Folder(folder or jobs_home(home) / number[:16])
    with place.locked(), kept_in(place.path):
        place.prepare(job, number)
        seconds = float(place.engines().get(LENGTH, SECONDS))
        segments = film.index.segments(film.start, film.end, seconds)
        finished = [s for s in segments if place.segment(s, suffix(made)).is_file()]
        resumed = sum(len(s) for s in finished)
        yield Started(number, place.path, len(film), resumed)
        yield from _said(film)
        yield from (Warned(str(job.output), t) for t in made.warnings if t not in film.clip.warnings)
        if job.settings.encode.between == "flow" and not between:
            yield Warned("encode.between", "counts only where encode.fps is above the input's rate")
        with (yield from opened(wanted)) as runtime:
            clock.on_card(torch_event.laps(runtime.pixels))
            with clock.stage("content"):
                gate.check(str(job.target), samples(film), wanted.judges, runtime)
            cast = yield from prepared(wanted, runtime, clock)
            seen = replace(film, start=0, end=len(film.index)) if job.whole else film
            kept = _cache(place, home)
            tracks = yield from tracked(seen, wanted.settings, runtime, clock, kept, place.path)
            ready = parts(wanted, cast, runtime, tracks, film=film)
            yield from unchanged(wanted, ready, tracks)
            device = wanted.settings.device
            pixels = "" if between else place_of(ready, runtime)
            wish = encoding(made, film, job.settings.encode, device, pixels, place.engines().get(ENCODER, ""))
            made = yield from clock.run("probe", wish)
            engine = yield from clock.run("probe", decoding(film, device, pixels))
            lanes = most(made, pixels, wanted.threads)
            # A network that saw its first face later is not in what was written down; its choice is kept.
            running = partial(_running, made, wanted, runtime)
            if finished and not place.engines().items() <= running(seconds).items():
                text = "other engines run its networks or encode it now; what was rendered is rendered again"
                yield Warned(str(place.path), text)
                place.clean()
                place.segments.mkdir(exist_ok=True)
                finished, resumed = [], 0
            if not finished:
                seconds = length(film.index, film.start, film.end, lanes, SECONDS)
                segments = film.index.segments(film.start, film.end, seconds)
            # What only looked at the clip need not stay in memory.
            runtime.unload(card for card in wanted.used if card.task not in CHANGING)
            missing = [s for s in segments if s not in finished]
            carried = yield from render(
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
                lambda: _note(place, running(seconds)),
                between,
                engine,
                lanes,
            )
            yield from fallen(runtime)
            engines, networks = runtime.engines, runtime.times(max(len(film) - resumed, 1))
        with clock.stage("join"):
            paths = [place.segment(s, suffix(made)) for s in segments]
            joined = _join(wanted, film, made, paths, between)
        for text in joined.warnings:
            yield Warned(str(job.output), text)
        took = time.monotonic() - began
        fresh = len(film) - resumed
        result = Finished(
            output=job.output,
            frames=joined.verified.frames,
            faces=_count(ready, tracks, film),
            people=len({t.person for p in ready for t in _within(tracks, film) if t.id in p.ids}),
            seconds=round(took, 3),
            fps=round(fresh / took, 2),
            stages=clock.table(fresh or len(film)),
            engines=engines,
            networks=networks,
            carried=carried,
            content=wanted.content,
        )
        write_json(place.path / "result.json", {"output": str(job.output), "frames": result.frames})
        place.clean()
    yield result


def _running(made: EncodePlan, wanted: Order, runtime: Runtime, seconds: float) -> dict[str, str]:
    """What segments' bytes depend on beside the job: their encoder and length, what the networks run on."""
    return {**measured(wanted, runtime), **note(made), LENGTH: str(seconds)}


def _note(place: Folder, found: Mapping[str, str]) -> None:
    """Write down what is running, once that is known of another network."""
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


def samples(film: Footage) -> Iterator[Frame]:
    """Frames by which the content is judged: one a second, evenly spread."""
    seconds = len(film) / max(float(film.clip.rate), 1.0)
    count = int(np.clip(round(seconds), 1, gate.SAMPLES))
    for number in np.unique(np.linspace(film.start, film.end - 1, count).round().astype(int)):
        yield from frames(film.clip, film.index, int(number), int(number) + 1, writable=False)


def analyse(
    target: Path, output: Path | None, settings: Settings, start: str, end: str, home: Path | None = None
) -> Generator[Event, None, tuple[Footage, Tracks, Finished]]:
    """Pass one alone; returns what a contact sheet needs. The caller yields `Finished`."""
    began, clock = time.monotonic(), Clock()
    with clock.stage("probe"):
        film = footage(target, start, end)
        known = catalogue.load(home)
        settings = casting.resolved(settings, known, Store(home))
        used = needs.analysis(settings, known)
    kept = tracks_home(home)
    yield Started("", output.parent if output else kept, len(film))
    yield from _said(film)
    store = yield from fetched(used, home)
    with analysing(settings, known, store, kept) as (runtime, work):
        tracks = yield from tracked(film, settings, runtime, clock, kept, work)
        yield from fallen(runtime)
        engines = runtime.engines
        place = output or tracks_path(film, settings, known, store, kept)
    if output is not None:
        try:
            tracksfile.save(tracks, output)
        except OSError as error:
            raise media_error(output, error, "cannot be written") from error
    seconds = time.monotonic() - began
    faces = sum(len(track) for track in tracks.tracks)
    persons = len({track.person for track in tracks.tracks})
    fps = round(len(film) / seconds, 2)
    table = clock.table(len(film))
    result = Finished(place, len(film), faces, persons, round(seconds, 3), fps, table, engines)
    return film, tracks, result


@contextmanager
def analysing(
    settings: Settings, known: catalogue.Catalogue, store: Store, kept: Path
) -> Iterator[tuple[Runtime, Path]]:
    """A runtime for pass one, and a folder for what it leaves on its way, beside the analyses.

    Raises:
        JobError: The folder of analyses cannot be used.
    """
    with kept_in(kept):
        kept.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".work-", dir=kept) as work,
            Runtime(settings.device.threads, store, known, settings.device) as runtime,
        ):
            yield runtime, Path(work)


def _cache(place: Folder, home: Path | None) -> Path:
    """Where analyses are kept: with all others, or in the folder that somebody chose for the job."""
    return tracks_home(home) if place.path.parent == jobs_home(home) else place.path


def _said(film: Footage) -> Iterator[Warned]:
    """What there is to say about the input before the work begins."""
    return (Warned(str(film.clip.path), text) for text in film.notes)


def tracks_path(
    film: Footage, settings: Settings, known: catalogue.Catalogue, store: Store, cache: Path
) -> Path:
    """Where pass one over a clip leaves what it found, whether it is there or not.

    Args:
        film: The clip, and the part of it that is looked at.
        settings: From `casting.resolved`.
        known: Where networks are looked up.
        store: Their files.
        cache: Folder of analyses.

    Raises:
        UnknownModel: A setting names no card.
        SettingsError: A setting names a card of another task.
    """
    mark = f"{film.clip.fingerprint}:{film.start}:{film.end}"
    used = checksums(needs.analysis(settings, known), store)
    return cache / f"{analysis_id(mark, settings, used)[:32]}.tracks"


def tracked(
    film: Footage, settings: Settings, runtime: Runtime, clock: Clock, cache: Path, work: Path
) -> Generator[Event, None, Tracks]:
    """The tracks of the footage: read where an earlier run left them, else found and left there."""
    path = tracks_path(film, settings, runtime.catalogue, runtime.store, cache)
    with suppress(JobError):  # a damaged one is made again
        return tracksfile.load(path)
    told: list[str] = []
    spill = work / "analysis"
    threads = settings.device.threads
    engine = yield from decoding(film, settings.device, "")
    given = film.clip, film.index, film.start, film.end
    read = frames(*given, threads=threads, writable=False, report=told.append, engine=engine)
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


def _within(tracks: Tracks, film: Footage) -> list[Track]:
    """The tracks that the footage shows a part of."""
    return [t for t in tracks.tracks if t.start < film.end and t.end > film.start]


def _count(parts: Sequence[Part], tracks: Tracks, film: Footage) -> int:
    """Faces that are changed, over all frames."""
    ids = {k for part in parts for k in part.ids}
    spans = [(max(t.start, film.start), min(t.end, film.end)) for t in tracks.tracks if t.id in ids]
    return sum(max(end - start, 0) for start, end in spans)


def _join(wanted: Order, film: Footage, made: EncodePlan, paths: Sequence[Path], between: bool) -> Joined:
    """The finished file, with what it says about itself."""
    names: Mapping[str, Literal["mov", "mkv", "webm"]] = {"mov": "mov", "matroska": "mkv", "webm": "webm"}
    made_to = edit(wanted)
    if between:
        made_to = replace(made_to, changes=(*made_to.changes, "pictures made between frames (optical flow)"))
    tags = label.metadata(made_to, film.clip.metadata, names.get(made.format, "mp4"))
    return join(made, paths, film.clip, film.index, metadata=tags, xmp=label.xmp(made_to, limit=0))
