"""People of a project's clip, and pictures of it: faces, a strip of moments, the sound's outline, sources."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict

from mien.app.server.errors import Refusal, responses
from mien.app.server.files import kind_of
from mien.app.server.projects import Desk
from mien.errors import JobError
from mien.faces import people as grouped
from mien.media import pace, waveform
from mien.run import casting, moments, review, sheet, strip
from mien.run.corrections import Corrected, corrected
from mien.run.moments import Reason
from mien.run.place import reviews_home
from mien.run.projects import Held
from mien.run.render import Footage
from mien.run.review import Review
from mien.types import Track

if TYPE_CHECKING:
    from mien.app.server.state import State

JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "The client has it already."},
}
"""What routes answer that give a picture."""
Known = Annotated[str, Header(alias="If-None-Match", max_length=1000)]
"""What the client has already."""
Side = Annotated[int, Query(ge=16, le=1024)]
"""Most pixels of width and height."""


class _Shown(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class TrackLine(_Shown):
    """One face followed through a shot."""

    id: int
    start: int
    """Its first frame."""
    end: int
    """The frame after its last one."""
    shot: int
    quality: float
    """How well the face is seen, 0 to 1, on average."""
    presence: list[tuple[int, int, float]]
    """Stretches of nearly even quality: first frame, frame after the last, quality."""


class PersonLine(_Shown):
    """Somebody in the clip."""

    id: str
    name: str
    seconds: float
    """Time on screen."""
    first: str
    """When the person is seen first, as a clock time."""
    shots: int
    picture: str
    """Where the best picture is to be had."""
    tracks: list[TrackLine]


class MomentLine(_Shown):
    """A stretch of frames that may look bad."""

    frame: int
    """The first."""
    end: int
    """After the last."""
    track: int
    reason: Reason
    text: str
    result: str = ""
    """The file in which it was seen; empty for what the analysis doubts."""


class People(_Shown):
    """Who is in the clip, and what to look at."""

    people: list[PersonLine]
    cuts: list[int]
    """Frames that begin a new shot; the clip's beginning is none."""
    moments: list[MomentLine]


class Waveform(_Shown):
    """The sound's outline."""

    peaks: list[float]
    """The loudest sample of each equal part of the clip, 0 to 1."""


class Times(_Shown):
    """When frames are shown."""

    times: list[float]
    """Seconds from the clip's beginning for each frame, then for the end of the last; empty where the rate is
    constant, and frames follow `start` by `rate`."""


def _track_line(track: Track, size: tuple[int, int]) -> TrackLine:
    return TrackLine(
        id=track.id,
        start=track.start,
        end=track.end,
        shot=track.shot,
        quality=round(float(moments.quality(track, size).mean()), 3),
        presence=moments.presence(track, size),
    )


def told(held: Held, film: Footage, known: Corrected, result: Review | None = None) -> People:
    """What is told of the people in a project's clip.

    Args:
        held: The project.
        film: Its clip.
        known: Who is there.
        result: What was found in a result of it.
    """
    tracks = known.tracks
    facts = casting.persons(tracks, film.index, film.clip)
    lines = []
    for person in grouped.cast(tracks):
        named, seen = known.names[person.number], facts[f"person{person.number}"]
        own = [t for t in tracks.tracks if t.person == person.number]
        lines.append(
            PersonLine(
                id=named.id,
                name=named.name,
                seconds=seen["seconds"],
                first=seen["first"],
                shots=seen["shots"],
                picture=f"/api/projects/{held.id}/people/{named.id}/picture",
                tracks=[_track_line(t, tracks.size) for t in sorted(own, key=lambda t: (t.start, t.id))],
            )
        )
    found = [MomentLine(**asdict(m)) for m in moments.moments(tracks)]
    if result is not None:
        found += [MomentLine(**asdict(m), result=str(result.result)) for m in result.moments]
        found.sort(key=lambda m: (m.frame, m.track, m.end))
    return People(people=lines, cuts=[cut for cut in tracks.shots if cut > 0], moments=found)


class Gallery:
    """Who is known in projects' clips, and their pictures."""

    def __init__(self, state: State) -> None:
        self._desk = Desk(state)
        self._state = state

    def film(self, name: str) -> Footage:
        """The clip of a project."""
        return self._desk.film(self._state.projects.held(name))

    def known(self, name: str) -> tuple[Held, Footage, Corrected]:
        """A project, its clip, and who is there.

        Raises:
            JobError: The clip is not analysed yet.
        """
        held = self._state.projects.held(name)
        film = self._desk.film(held)
        tracks = self._state.films.tracks(film.clip.path, held.project.settings)
        if tracks is None:
            advice = "`POST /api/projects/ID/analysis` finds out who is there."
            raise JobError(held.project.name or name, "is not analysed yet by its settings", advice)
        return held, film, corrected(held.project, tracks)

    def seen(self, held: Held, film: Footage) -> Review | None:
        """What was found in a project's result, as long as that and the analysis are the same."""
        analysis = self._state.films.analysis(film.clip.path, held.project.settings)
        return review.load(reviews_home(self._state.home) / f"{held.id}.json", analysis.name)


def cached(tag_of: str, known: str, make: Callable[[], Response]) -> Response:
    """An answer that the client need not get again while what it is made from stays the same.

    Args:
        tag_of: Everything that decides the content.
        known: The request's `If-None-Match`.
        make: Makes the answer where the client has it not.
    """
    tag = f'"{hashlib.sha256(tag_of.encode()).hexdigest()[:32]}"'
    seen = {part.strip().removeprefix("W/") for part in known.split(",")}
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in seen:
        return Response(status_code=304, headers=headers)
    answer = make()
    answer.headers.update(headers)
    return answer


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg")


def router(state: State) -> APIRouter:
    """People and pictures."""
    routes = APIRouter(responses=responses(403, 404))
    gallery = Gallery(state)

    @routes.get("/projects/{id}/people")
    def people(id: str) -> People:
        """Who is in a project's clip, with the project's corrections, and the moments to look at: those that
        the analysis doubts, and those that were found in a result.

        An error of the kind `job` says that the clip is not analysed yet.
        """
        held, film, who = gallery.known(id)
        return told(held, film, who, gallery.seen(held, film))

    @routes.get("/projects/{id}/people/{person}/picture", response_class=Response, responses=JPEG)
    def picture(id: str, person: str, side: Side = sheet.FACE, known: Known = "") -> Response:
        """The best picture of a person, square."""
        _, film, who = gallery.known(id)
        number = who.number(person)
        if number is None:
            raise Refusal("not_found", person, "is nobody who is there", "Reload the page.")
        view = next(p.view for p in grouped.cast(who.tracks) if p.number == number)
        return _face(film, view.frame, view.box, side, known)

    @routes.get("/projects/{id}/tracks/{track}/picture", response_class=Response, responses=JPEG)
    def track_picture(
        id: str,
        track: Annotated[int, Path(ge=0, le=1 << 31)],
        frame: Annotated[int | None, Query(ge=0, le=1 << 31)] = None,
        side: Side = sheet.FACE,
        known: Known = "",
    ) -> Response:
        """The face of a track in one of its frames; without one the best picture of it."""
        _, film, who = gallery.known(id)
        found = next((t for t in who.tracks.tracks if t.id == track), None)
        if found is None:
            raise Refusal("not_found", f"track {track}", "is no track that there is", "Reload the page.")
        if frame is None:
            frame = next(v.frame for v in grouped.contact(who.tracks) if v.track == track)
        if not found.start <= frame < found.end:
            problem = f"does not show track {track}: it lasts from {found.start} to {found.end - 1}"
            raise Refusal("not_found", f"frame {frame}", problem)
        return _face(film, frame, found.box[frame - found.start], side, known)

    @routes.get("/projects/{id}/thumbnails", response_class=Response, responses=JPEG)
    def thumbnails(
        id: str,
        count: Annotated[int, Query(ge=1, le=400)] = 60,
        height: Annotated[int, Query(ge=16, le=270)] = 72,
        known: Known = "",
    ) -> Response:
        """Small pictures of a project's clip side by side, of equal parts of its time."""
        film = gallery.film(id)
        if count * height * film.clip.size[0] / film.clip.size[1] > 65_000:  # what a JPEG can be wide
            raise Refusal("request", "count, height", "make too wide a picture", "Ask for fewer.", 422)
        tag = f"{film.clip.fingerprint}|strip by time|{count}|{height}"
        return cached(tag, known, lambda: _jpeg(strip.jpeg(strip.sprite(film, count, height), 80)))

    @routes.get("/projects/{id}/waveform", response_model=Waveform, responses={304: JPEG[304]})
    def outline(
        id: str, points: Annotated[int, Query(ge=1, le=20_000)] = 1000, known: Known = ""
    ) -> Response:
        """How loud a project's clip is over its time."""
        film = gallery.film(id)

        def make() -> Response:
            loud = waveform.peaks(film.clip, film.index, points)
            return JSONResponse({"peaks": [round(float(value), 4) for value in loud]})

        return cached(f"{film.clip.fingerprint}|waveform|{points}", known, make)

    @routes.get("/projects/{id}/times", response_model=Times, responses={304: JPEG[304]})
    def times(id: str, known: Known = "") -> Response:
        """When each frame of a project's clip is shown, where its rate varies."""
        film = gallery.film(id)

        def make() -> Response:
            uneven = pace.even(film.clip, film.index) is None
            return JSONResponse({"times": pace.moments(film.clip, film.index).tolist() if uneven else []})

        return cached(f"{film.clip.fingerprint}|times", known, make)

    @routes.get("/sources/picture", response_class=Response, responses=JPEG)
    def source(
        path: Annotated[str, Query(min_length=1, max_length=4096)], side: Side = 256, known: Known = ""
    ) -> Response:
        """A small picture of a file or folder: the picture itself, or one of those in it."""
        file = state.files.source(path)
        facts = file.stat()
        if file.is_file():
            kind_of(file)
        tag = f"{file}|{facts.st_mtime_ns}|{facts.st_size}|{side}"
        return cached(tag, known, lambda: _jpeg(strip.jpeg(strip.still(file, side))))

    return routes


def _face(film: Footage, frame: int, box: np.ndarray[Any, Any], side: int, known: str) -> Response:
    """The picture of a face, or that the client has it."""
    tag = f"{film.clip.fingerprint}|{frame}|{np.asarray(box).tolist()}|{side}"
    return cached(
        tag, known, lambda: _jpeg(strip.jpeg(sheet.looked(film.clip, film.index, frame, box, side)))
    )
