"""Projects: open a clip, change the document, analyse, render."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from mien.app.server.errors import Body as Refused
from mien.app.server.errors import responses, said
from mien.app.server.files import kind_of
from mien.errors import MediaError, MienError, SettingsError
from mien.media import codecs, pace
from mien.run import corrections
from mien.run.place import reviews_home
from mien.run.project import Project
from mien.run.projects import Conflict, Held
from mien.run.queue import Line
from mien.run.render import Footage

if TYPE_CHECKING:
    from mien.app.server.state import State


class _Shown(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Listed(_Shown):
    """A line of the list of projects."""

    id: str
    name: str
    revision: int
    target: str
    changed: float
    """Seconds since 1970."""


class ClipFacts(_Shown):
    """What there is to know of a clip."""

    width: int
    """As shown, in pixels."""
    height: int
    frames: int
    rate: str
    """Frames a second, as a fraction: "30000/1001"; the average where it varies."""
    variable: bool = False
    """Whether the rate varies: each frame has a moment of its own, `/projects/{id}/times` tells it."""
    start: float = 0.0
    """When the first frame is shown, in seconds from the clip's beginning, which may be that of its sound."""
    seconds: float
    audio: bool
    format: str
    """FFmpeg's names of the container."""
    codec: str
    rotation: int
    """Clockwise degrees from the stored to the shown picture."""
    notes: tuple[str, ...] = ()
    """What is wrong or odd about it, such as that it breaks off."""


class Opened(_Shown):
    """A project, with what is known of its clip."""

    id: str
    revision: int
    project: Project
    """What is as usual is left out."""
    clip: ClipFacts
    analysed: bool
    """Whether it is known who is in the clip, by the project's settings."""
    job: str | None
    """The job that is finding out, where there is one."""


class New(_Shown):
    """A project to make."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(min_length=1, max_length=4096)
    """A video below an allowed folder."""
    name: str = Field(default="", max_length=200)
    """What the project is called; empty: as the video."""


class Change(_Shown):
    """A project as it is now."""

    model_config = ConfigDict(extra="forbid")

    revision: int = Field(ge=0, le=1 << 62)
    """The revision that was changed."""
    project: Project


class Revised(_Shown):
    """What a change was kept as."""

    revision: int


class Newer(Refused):
    """A change that was not kept, and what is there instead."""

    revision: int
    project: Project


class Render(_Shown):
    """Where a result goes, and what part of the clip it shows."""

    model_config = ConfigDict(extra="forbid")

    output: str | None = Field(default=None, max_length=4096)
    """A file below an allowed folder; None for the project's own, or one beside the clip."""
    start: str = Field(default="", max_length=40)
    """First moment, as in a job; empty for the project's."""
    end: str = Field(default="", max_length=40)
    """Moment after the last one; empty for the project's."""
    overwrite: bool = False
    """Whether the output may be there already."""


def facts(film: Footage) -> ClipFacts:
    """What is told of a clip."""
    clip, index = film.clip, film.index
    length = (index.end_pts - int(index.pts[0])) * index.time_base
    even = pace.even(clip, index)
    rate = even or clip.rate
    return ClipFacts(
        width=clip.size[0],
        height=clip.size[1],
        frames=len(index),
        rate=f"{rate.numerator}/{rate.denominator}",
        variable=even is None,
        start=round(float(index.pts[0] * index.time_base - clip.origin), 6),
        seconds=round(float(length), 6),
        audio=bool(clip.audio),
        format=clip.container,
        codec=clip.codec,
        rotation=clip.rotation,
        notes=film.notes,
    )


class Desk:
    """What routes of projects do: the server's parts, put together."""

    def __init__(self, state: State) -> None:
        self.state = state

    def film(self, held: Held) -> Footage:
        """The clip of a project.

        Raises:
            Refusal: It is not there, or not allowed.
            MediaError: It cannot be read.
        """
        return self.state.films.film(self.state.files.file(held.project.target))

    def opened(self, held: Held) -> Opened:
        """A project as it is answered."""
        film = self.film(held)
        try:
            known = self.state.films.analysis(film.clip.path, held.project.settings).is_file()
        except MienError:  # a setting names what there is not; said when it is used
            known = False
        job = next((line.id for line in self.analyses(held.id)), None)
        return Opened(
            id=held.id,
            revision=held.revision,
            project=held.project,
            clip=facts(film),
            analysed=known,
            job=job,
        )

    def analyses(self, name: str) -> Iterator[Line]:
        """The analyses of a project that are not at their end."""
        for line in self.state.queue.lines():
            if line.project == name and line.kind == "analyse" and line.open:
                yield line

    def changed(self, name: str, revision: int, project: Project) -> Held:
        """Keep a changed project and tell everybody.

        Raises:
            Refusal: It names a file that is not allowed.
            Conflict: Somebody else has changed it.
        """
        project = self.state.files.project(project)
        tracks = None
        try:
            if any(person.tracks for person in project.people):
                tracks = self.state.films.tracks(project.target, project.settings)
        except MienError:  # the clip is gone for the moment; its project can be changed all the same
            tracks = None
        if tracks is not None:
            project = corrections.settled(project, tracks)
        held = self.state.projects.put(name, revision, project)
        if held.revision != revision:
            self.state.hub.publish("project", {"id": name, "revision": held.revision})
        return held

    def analyse(self, name: str) -> Line:
        """Have it found out who is in a project's clip; the job that is doing so where there is one."""
        held = self.state.projects.held(name)
        for line in self.analyses(name):
            return line
        target = self.film(held).clip.path
        settings = self.state.files.settings(held.project.settings)
        self.state.films.analysis(target, settings)  # says what is wrong with a setting now, not later
        spec = {"target": str(target), "settings": settings.model_dump(mode="json")}
        return self.state.queue.add("analyse", spec, f"Analyse {_title(held)}", name, target=target)

    def render(self, name: str, wanted: Render) -> Line:
        """Have a project rendered.

        Raises:
            Refusal: The output is not allowed, or there already.
            OutputTaken: Another job writes it.
            SettingsError: Nobody is changed, or the part of the clip holds no frame.
        """
        held = self.state.projects.held(name)
        film = self.film(held)
        codec = held.project.settings.encode.codec
        named = Path(wanted.output) if wanted.output else held.project.output
        place = named or self._beside(film.clip.path, codec)
        job = held.project.job(place, start=wanted.start, end=wanted.end)
        job = self.state.files.job(job, overwrite=wanted.overwrite)
        if job.output == job.target:
            raise MediaError(job.output, "is an input too", "Give the result another name.")
        _see_range(film, job.start, job.end)
        spec = {"job": job.model_dump(mode="json"), "overwrite": wanted.overwrite}
        title = f"{_title(held)} → {job.output.name}"
        return self.state.queue.add("swap", spec, title, name, target=job.target, output=job.output)

    def _beside(self, target: Path, codec: str) -> Path:
        """A name beside a clip that is free, that no job in the queue will take, and that fits the codec."""
        suffix = codecs.fitting(target.suffix.lower(), codec)
        taken = {line.output for line in self.state.queue.lines() if line.open}
        number = 1
        while True:
            more = "" if number == 1 else f"-{number}"
            path = target.with_name(f"{target.stem}-mien{more}{suffix}")
            if not path.exists() and str(path) not in taken:
                return path
            number += 1


def _title(held: Held) -> str:
    return held.project.name or held.project.target.name


def _see_range(film: Footage, start: str, end: str) -> None:
    """See that a part of a clip holds a frame.

    Raises:
        SettingsError: It does not.
    """
    first = film.index.frame_at(start, film.clip) if start else 0
    last = film.index.frame_at(end, film.clip) if end else len(film.index)
    if first >= last:
        problem = f"{start or 'the beginning'} to {end or 'the end'} holds no frame"
        raise SettingsError("start, end", problem, f"The clip has {len(film.index)} frames.")


def router(state: State) -> APIRouter:
    """Everything about projects but people and pictures."""
    routes = APIRouter(responses=responses(403, 404))
    desk = Desk(state)

    @routes.get("/projects")
    def projects() -> list[Listed]:
        """Every project, the one changed last first."""
        return [
            Listed(
                id=held.id,
                name=held.project.name or held.project.target.stem,
                revision=held.revision,
                target=str(held.project.target),
                changed=held.changed,
            )
            for held in state.projects.all()
        ]

    @routes.post("/projects", status_code=201, response_model_exclude_defaults=True)
    def make(new: New) -> Opened:
        """Make a project of a video."""
        target = state.files.file(new.target)
        if kind_of(target) != "video":
            raise MediaError(
                target, "is no video", "A project is about a video; `POST /jobs` changes pictures."
            )
        state.films.film(target)
        held = state.projects.make(Project(name=new.name.strip() or target.stem, target=target))
        state.hub.publish("project", {"id": held.id, "revision": held.revision})
        return desk.opened(held)

    @routes.get("/projects/{id}", response_model_exclude_defaults=True)
    def project(id: str) -> Opened:
        """A project, with what is known of its clip."""
        return desk.opened(state.projects.held(id))

    conflict: dict[int | str, dict[str, Any]] = {409: {"model": Newer, "description": "It is newer here."}}

    @routes.put("/projects/{id}", responses=conflict, response_model=Revised)
    def change(id: str, given: Change) -> Revised | JSONResponse:
        """Keep a changed project; refused where somebody else has changed it, with what is there instead."""
        try:
            return Revised(revision=desk.changed(id, given.revision, given.project).revision)
        except Conflict as error:
            status, told = said(error)
            newer = error.held.project.model_dump(mode="json", exclude_defaults=True)
            content = {"error": told.model_dump(), "revision": error.held.revision, "project": newer}
            return JSONResponse(content, status)

    @routes.delete("/projects/{id}", status_code=204)
    def remove(id: str) -> None:
        """Forget a project; clips and results stay."""
        state.projects.remove(id)
        for line in state.queue.lines():
            if line.project == id and line.kind == "review" and line.open:
                state.queue.cancel(line.id)
        (reviews_home(state.home) / f"{id}.json").unlink(missing_ok=True)
        state.hub.publish("project", {"id": id, "revision": 0})

    @routes.post("/projects/{id}/analysis", status_code=202)
    def analyse(id: str) -> Line:
        """Find out who is in the whole clip, as a job; where one is doing so already, that one."""
        return desk.analyse(id)

    @routes.post("/projects/{id}/render", status_code=202, responses=responses(409))
    def render(id: str, wanted: Render | None = None) -> Line:
        """Render a project, as a job."""
        return desk.render(id, wanted or Render())

    return routes
