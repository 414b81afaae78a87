"""Still pictures, one or many: every picture is a job of its own that is done in a moment."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import numpy as np

from mien.errors import MediaError, NoFaceError, SettingsError
from mien.media import sequence
from mien.media.image import read_image
from mien.media.image_write import write_image
from mien.models import detect, landmark68
from mien.models.runtime import Runtime
from mien.run import casting, gate
from mien.run.clock import Clock
from mien.run.order import Cast, Order, edit, fallen, opened, parts, prepared, weaker
from mien.run.place import check_folder, check_output
from mien.run.render import Renderer
from mien.run.report import Meter
from mien.settings import Job
from mien.trust import label
from mien.types import Event, Faces, Finished, Frame, Started, Track, Tracks, Warned


def swap(wanted: Order) -> Generator[Event, None, None]:
    """Render a job whose target is a picture, a folder, a pattern or a numbered sequence.

    Of several pictures, those without a face are written unchanged and those that cannot be read are left
    out, each with a warning.

    Raises:
        MediaError: The only picture, or every one, cannot be read; one cannot be written.
        NoFaceError: The only picture shows no face.
        ContentError: A picture is judged to be explicit.
    """
    job = wanted.job
    began, clock = time.monotonic(), Clock()
    pictures = sequence.expand(job.target)
    outputs = sequence.outputs(job.target, pictures, job.output)
    _check(job, pictures, outputs)
    yield Started("", job.output.parent, len(pictures))
    done = faces = most = 0
    with (yield from opened(wanted, singly=True)) as runtime:
        cast = yield from prepared(wanted, runtime, clock)
        meter = Meter("pictures", len(pictures))
        for number, (picture, output) in enumerate(zip(pictures, outputs, strict=True), 1):
            try:
                notes, count = _one(wanted, cast, runtime, clock, picture, output, alone=len(pictures) == 1)
            except MediaError as error:
                if len(pictures) == 1 or error.subject != str(picture):
                    raise
                yield Warned(error.subject, f"{error.problem}; it is left out")
            else:
                done, faces, most = done + 1, faces + count, max(most, count)
                yield from (Warned(str(picture), text) for text in notes)
            yield from meter.at(number)
        yield from fallen(runtime)
        engines, networks = runtime.engines, runtime.times(max(done, 1))
    if not done:
        raise MediaError(job.target, "holds no picture that can be read", "The warnings say why.")
    seconds = time.monotonic() - began
    yield Finished(
        output=job.output,
        frames=done,
        faces=faces,
        people=most,
        seconds=round(seconds, 3),
        fps=round(done / seconds, 2),
        stages=clock.table(done),
        engines=engines,
        networks=networks,
        content=wanted.content,
    )


def _check(job: Job, pictures: list[Path], outputs: list[Path]) -> None:
    """See before the work that every output can be written; makes the output folder if only it is missing."""
    sources = [path for role in job.cast for path in (*role.sources, *role.like)]
    if outputs != [job.output]:
        check_folder(job.output.parent)
        for folder in {path.parent for path in outputs}:
            folder.mkdir(parents=True, exist_ok=True)
    for output in outputs:
        check_output(output, (*pictures, *sources))


def _one(
    wanted: Order,
    cast: Cast,
    runtime: Runtime,
    clock: Clock,
    picture: Path,
    output: Path,
    *,
    alone: bool,
) -> tuple[tuple[str, ...], int]:
    """Change one picture; returns what is to be said about it and the number of faces changed."""
    with clock.stage("decode"):
        frame, info = read_image(picture)
    with clock.stage("content"):
        gate.check(str(picture), (frame,), wanted.judges, runtime)
    with clock.stage("find"):
        found = detect.find(runtime, frame, wanted.settings.detect)
        if finer := wanted.settings.track.refine:
            found = landmark68.refined(runtime, runtime.catalogue.card(finer), frame, found)
    notes = list(info.notes)
    count = 0
    if len(found) == 0:
        if alone:
            raise NoFaceError(picture, "shows no face", "Lower detect.score or detect.min_size.")
        notes.append("shows no face; it is written unchanged")
    else:
        try:
            count, weak = _changed(wanted, cast, runtime, clock, frame, found, partial=not alone)
            notes += weak
        except (SettingsError, NoFaceError) as error:
            if alone:
                raise
            notes.append(f"{error.problem}; it is written unchanged")
    with clock.stage("encode"):
        packet = label.xmp(edit(wanted), info.xmp)
        notes += write_image(output, frame, info, quality=wanted.settings.encode.quality, xmp=packet)
    return tuple(notes), count


def _changed(
    wanted: Order,
    cast: Cast,
    runtime: Runtime,
    clock: Clock,
    frame: Frame,
    found: Faces,
    *,
    partial: bool,
) -> tuple[int, tuple[str, ...]]:
    """Change the faces of one picture that are meant; returns how many, and what is not as asked."""
    tracks = as_tracks(frame, found)
    mixed = any(asked.swap.strength != 1.0 for asked in wanted.own)
    if wanted.embedder is not None and (mixed or any(role.like for role in wanted.job.cast)):
        with clock.stage("embed"):
            tracks = casting.recognised(frame, tracks, runtime, wanted.embedder)
    ready = parts(wanted, cast, runtime, tracks, partial)
    Renderer(ready, tracks, runtime, clock.stage)([frame])
    return sum(len(part.ids) for part in ready), tuple(weaker(ready))


def as_tracks(frame: Frame, found: Faces) -> Tracks:
    """The faces of one picture as tracks of one frame each, numbered from 1 as those of a video are."""
    dense = found.dense if found.dense is not None else np.zeros((len(found), 0, 3))
    tracks = tuple(
        Track(
            id=k + 1,
            start=0,
            box=found.box[k : k + 1],
            points=found.points[k : k + 1],
            score=found.score[k : k + 1],
            observed=np.ones(1, np.bool_),
            person=k + 1,
        )
        for k in range(len(found))
    )
    rows = {k + 1: dense[k : k + 1] for k in range(len(found))}
    return Tracks(frames=1, size=frame.size, shots=(0,), tracks=tracks, dense=rows)
