"""A video, from its two passes to the finished file."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Literal

from mien import pipeline, stages
from mien.errors import Cancelled, JobError, NoFaceError, SettingsError
from mien.faces import mesh, people, tracksfile
from mien.media import clip as clips
from mien.media.clip import Clip, FrameIndex
from mien.media.decode import frames
from mien.media.encode import SegmentWriter
from mien.media.failure import media_error
from mien.media.join import Joined, join
from mien.media.plan import EncodePlan, plan, schedule
from mien.models import catalogue
from mien.models.card import Card, Task
from mien.models.mediapipe import FACEMESH
from mien.models.runtime import Runtime, available_threads
from mien.run import source
from mien.run.clock import Clock
from mien.run.engine import Drain, Prefetch, mapped
from mien.run.job import Folder, analysis_id, job_id, write_json
from mien.run.place import jobs_home, kept_in, tracks_home
from mien.run.report import Meter, fetched
from mien.settings import Job, Settings
from mien.trust import label
from mien.types import Event, Faces, Finished, Frame, Segment, Started, Tracks, Warned

SECONDS = 10.0
"""About how long a segment is: what is lost at most when a run is killed."""
DEPTH = 4
"""Frames that wait between two threads."""


@dataclass(frozen=True)
class Footage:
    """A clip and the part of it that is worked on."""

    clip: Clip
    index: FrameIndex
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Part:
    """One role of the cast, ready to be rendered."""

    texture: mesh.Texture
    ids: tuple[int, ...]
    """Tracks that get this face."""


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


def cards(settings: Settings) -> tuple[Card, ...]:
    """The cards of every network that a job uses.

    Raises:
        UnknownModel: A setting names no card.
        SettingsError: A setting names a card of another task.
    """
    asked: tuple[tuple[str, Task, str], ...] = (
        ("detect.model", "detect", settings.detect.model),
        ("track.model", "landmark", settings.track.model),
    )
    known = catalogue.load()
    for field, task, name in asked:
        if known.card(name).task != task:
            fitting = ", ".join(one.name for one in known.of(task))
            raise SettingsError(field, f"{name} is a model for another task", f"Use one of: {fitting}.")
    return tuple(
        dict.fromkeys((known.card(settings.detect.model), known.card(settings.track.model), FACEMESH))
    )


def checksums(used: Sequence[Card]) -> dict[str, str]:
    """Card name to the checksums of its files."""
    return {one.name: ",".join(file.sha256 for file in one.files) for one in used}


def swap(job: Job, folder: Path | None) -> Generator[Event, None, None]:
    """Render a job whose target is a video."""
    began, clock = time.monotonic(), Clock()
    with clock.stage("probe"):
        film = footage(job.target, job.start, job.end)
        threads = job.settings.device.threads or available_threads()
        made = plan(
            film.clip,
            film.index,
            job.settings.encode,
            job.output,
            start=film.start,
            end=film.end,
            threads=threads,
        )
        used = cards(job.settings)
        inputs = {str(path): clips.fingerprint(path) for path in _files(job)}
        inputs[str(job.target)] = film.clip.fingerprint
        number = job_id(_settled(job, threads), inputs, checksums(used))
        segments = film.index.segments(film.start, film.end, SECONDS)
    place = Folder(folder or jobs_home() / number[:16])
    with place.locked(), kept_in(place.path):
        place.prepare(job, number)
        finished = [s for s in segments if place.segment(s, _suffix(made)).is_file()]
        resumed = sum(len(s) for s in finished)
        yield Started(number, place.path, len(film), resumed)
        yield from _said(film)
        yield from (Warned(str(job.output), t) for t in made.warnings if t not in film.clip.warnings)
        store = yield from fetched(used)
        with Runtime(threads, store) as runtime:
            textures = []
            for role in job.cast:
                made_of = source.texture(role, runtime, job.settings)
                textures.append((yield from clock.run("source", made_of)))
            tracks = yield from _known(film, job.settings, runtime, clock, _cache(place), place.path)
            parts = assign(job, textures, tracks)
            yield from unchanged(job, parts, tracks)
            missing = [s for s in segments if s not in finished]
            yield from _render(film, made, place, missing, parts, tracks, job.settings, clock, resumed)
            engines = runtime.engines
        with clock.stage("join"):
            joined = _join(job, film, made, [place.segment(s, _suffix(made)) for s in segments])
        for text in joined.warnings:
            yield Warned(str(job.output), text)
        seconds = time.monotonic() - began
        fresh = len(film) - resumed
        result = Finished(
            output=job.output,
            frames=joined.verified.frames,
            faces=_count(parts, tracks, film),
            people=len({t.person for p in parts for t in tracks.tracks if t.id in p.ids}),
            seconds=round(seconds, 3),
            fps=round(fresh / seconds, 2),
            stages=clock.table(fresh or len(film)),
            engines=engines,
        )
        write_json(place.path / "result.json", {"output": str(job.output), "frames": result.frames})
        place.clean()
    yield result


def analyse(
    target: Path, output: Path, settings: Settings, start: str, end: str
) -> Generator[Event, None, tuple[Footage, Tracks, Finished]]:
    """Pass one alone; returns what a contact sheet needs. The caller yields `Finished`."""
    began, clock = time.monotonic(), Clock()
    with clock.stage("probe"):
        film = footage(target, start, end)
    yield Started("", output.parent, len(film))
    yield from _said(film)
    store = yield from fetched(cards(settings))
    home = tracks_home()
    with kept_in(home):
        home.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".work-", dir=home) as work,
            Runtime(settings.device.threads, store) as runtime,
        ):
            tracks = yield from _known(film, settings, runtime, clock, home, Path(work))
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


def _files(job: Job) -> Iterator[Path]:
    """Every source file of a job; folders and patterns are expanded."""
    for role in job.cast:
        for path in role.sources:
            yield from source.files(path)


def _suffix(made: EncodePlan) -> str:
    return "." + made.segment_format


def _cache(place: Folder) -> Path:
    """Where analyses are kept: with all others, or in the folder that somebody chose for the job."""
    return tracks_home() if place.path.parent == jobs_home() else place.path


def _settled(job: Job, threads: int) -> Job:
    """The job with the number of threads it really gets, because the encoder's bytes depend on it."""
    device = job.settings.device.model_copy(update={"threads": threads})
    return job.model_copy(update={"settings": job.settings.model_copy(update={"device": device})})


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
    path = cache / f"{analysis_id(mark, settings, checksums(cards(settings)))[:32]}.tracks"
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
        )
        yield from clock.iterate("find", finding)
    yield from (Warned(str(film.clip.path), text) for text in told)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(spill / "clip.tracks", path)
    shutil.rmtree(spill, ignore_errors=True)
    return tracksfile.load(path)


def assign(job: Job, textures: Sequence[mesh.Texture], tracks: Tracks) -> tuple[Part, ...]:
    """Each role's texture and tracks; a track belongs to the first role that names it.

    Raises:
        NoFaceError: Nobody is to be changed.
    """
    parts: list[Part] = []
    taken: set[int] = set()
    for role, texture in zip(job.cast, textures, strict=True):
        try:
            ids = tuple(k for k in people.select(tracks, role.faces) if k not in taken)
        except NoFaceError as error:
            raise NoFaceError(job.target, error.problem, error.advice) from error
        taken.update(ids)
        parts.append(Part(texture, ids))
    return tuple(parts)


def unchanged(job: Job, parts: Sequence[Part], tracks: Tracks) -> Iterator[Warned]:
    """Says in how many shots there is somebody, but not surely the one person who was asked for."""
    for role, part in zip(job.cast, parts, strict=True):
        left, shots = people.unsure(tracks, role.faces, part.ids)
        if left:
            text = (
                f"in {left} of {shots} shots with faces nobody is surely the {role.faces.strip().lower()} "
                "person, and nobody is changed there; give track ids for them (mien analyse lists them)"
            )
            yield Warned(str(job.target), text)


def _count(parts: Sequence[Part], tracks: Tracks, film: Footage) -> int:
    """Faces that are changed, over all frames."""
    ids = {k for part in parts for k in part.ids}
    spans = [(max(t.start, film.start), min(t.end, film.end)) for t in tracks.tracks if t.id in ids]
    return sum(max(end - start, 0) for start, end in spans)


def renderer(
    parts: Sequence[Part], tracks: Tracks, settings: Settings, timed: stages.Timed
) -> Callable[[Frame], Frame]:
    """Pass two for one frame: a function that changes the faces of a frame in place and returns it."""

    def render(frame: Frame) -> Frame:
        for part in parts:
            with timed("tracks"):
                faces: Faces = tracks.at(frame.index, part.ids)
            if len(faces):
                stages.swap(frame, faces, part.texture, settings, timed)
        return frame

    return render


def _render(
    film: Footage,
    made: EncodePlan,
    place: Folder,
    missing: Sequence[Segment],
    parts: Sequence[Part],
    tracks: Tracks,
    settings: Settings,
    clock: Clock,
    resumed: int,
) -> Generator[Event, None, None]:
    """Decode, change and encode the frames of all missing segments in one go."""
    threads = settings.device.threads
    told: list[str] = []

    def read() -> Iterator[Frame]:
        for start, end in runs(missing):
            yield from frames(film.clip, film.index, start, end, threads=threads, report=told.append)

    work = renderer(parts, tracks, settings, clock.stage)
    workers = max(1, (threads or available_threads()) // 4)
    meter, done = Meter("render", len(film), resumed), resumed
    with (
        Splitter(film, made, place, missing) as splitter,
        Prefetch(clock.iterate("decode", read()), DEPTH) as incoming,
        Drain(clock.wrap("encode", splitter.write), DEPTH) as out,
    ):
        for frame in mapped(incoming, work, workers):
            out.put(frame)
            del frame
            done += 1
            yield from meter.at(done)
        out.put(None)
    yield from (Warned(str(film.clip.path), text) for text in told)


def runs(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Ranges of frames that segments cover, neighbours joined, so that each range is decoded in one go."""
    ranges: list[tuple[int, int]] = []
    for segment in segments:
        if ranges and ranges[-1][1] == segment.start:
            ranges[-1] = (ranges[-1][0], segment.end)
        else:
            ranges.append((segment.start, segment.end))
    return ranges


class Splitter:
    """Writes frames that come in order into the files of their segments. A context manager.

    A segment's file appears when the first frame after it comes, or at the end; when the block is left
    before that, the open segment is dropped. Frames that could not be decoded leave gaps; a segment
    without any frame becomes an empty file.
    """

    def __init__(self, film: Footage, made: EncodePlan, place: Folder, segments: Sequence[Segment]) -> None:
        self._film, self._made, self._place = film, made, place
        self._waiting = list(segments)
        self._current: tuple[Segment, SegmentWriter] | None = None

    def __enter__(self) -> Splitter:
        return self

    def write(self, frame: Frame | None) -> None:
        """Encode a frame; None ends the last segments."""
        while self._current is None or frame is None or frame.index >= self._current[0].end:
            self._close()
            if not self._waiting:
                return
            self._open()
        self._current[1].write(frame)

    def _open(self) -> None:
        segment = self._waiting.pop(0)
        times = schedule(self._made, self._film.index, self._film.clip, segment.start, segment.end)
        writer = SegmentWriter(self._place.segment(segment, _suffix(self._made)), self._made, times)
        self._current = (segment, writer.__enter__())

    def _close(self) -> None:
        if self._current is not None:
            writer = self._current[1]
            self._current = None
            writer.__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._current is not None:
            self._current[1].__exit__(kind or Cancelled, error, trace)


def _join(job: Job, film: Footage, made: EncodePlan, paths: Sequence[Path]) -> Joined:
    """The finished file, with what it says about itself."""
    names: Mapping[str, Literal["mov", "mkv", "webm"]] = {"mov": "mov", "matroska": "mkv", "webm": "webm"}
    edit = label.Edit(version("mien"), (f"face replaced ({job.settings.swap.model})",))
    tags = label.metadata(edit, film.clip.metadata, names.get(made.format, "mp4"))
    return join(made, paths, film.clip, film.index, metadata=tags, xmp=label.xmp(edit, limit=0))
