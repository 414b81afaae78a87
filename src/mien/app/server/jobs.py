"""The queue over REST: what waits, runs and has ended, and what can be done about it."""

from __future__ import annotations

import mimetypes
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from mien.app.server.errors import Refusal, responses
from mien.app.server.reveal import reveal
from mien.app.server.security import is_local
from mien.errors import MediaError
from mien.media import sequence
from mien.run import batch as batches
from mien.run import queue as queues
from mien.run.place import absolute, reviews_home
from mien.run.queue import Line
from mien.run.verbs import check
from mien.settings import Job, Settings

if TYPE_CHECKING:
    from mien.app.server.state import State

MOST = 1000
"""Most paths or patterns of a batch."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class NewJob(_Body):
    """A job to put at the end of the queue."""

    job: Job
    """What to do, with absolute paths below allowed folders."""
    title: Annotated[str, Field(max_length=300)] = ""
    """What people read; empty: the names of both files."""
    overwrite: bool = False
    """Whether a file that is there may be replaced."""


class Batch(_Body):
    """Every source on every target."""

    sources: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST)]
    """Pictures or videos of new faces: paths or patterns (`/pictures/*.jpg`); each alone is a face."""
    targets: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST)]
    """Clips to change: paths or patterns; a folder is a sequence of pictures."""
    folder: str
    """Where the results go."""
    name: Annotated[str, Field(max_length=300)] = batches.NAME
    """Of each result, without its ending; `{target}`, `{source}` and `{number}` are filled in."""
    faces: str = "prominent"
    """Whose face is replaced in every target."""
    settings: Settings = Settings()
    """Of all jobs."""


class Move(_Body):
    """Another place in the queue."""

    position: Annotated[int, Field(ge=1, le=2**53)]
    """The `position` that the line gets; those between move up or down by one."""


class Said(_Body):
    """One line of a log."""

    time: float
    """Seconds since 1970."""
    text: str
    """What was said."""


class Log(_Body):
    """The newest lines of a job's log."""

    lines: list[Said]
    """In order of time."""


class Desk:
    """What the routes do."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._naming = threading.Lock()

    def add(self, new: NewJob) -> Line:
        """Put one job into the queue.

        Raises:
            Refusal: A path is not allowed.
            OutputTaken: A line of the queue writes the output.
            SettingsError: Something is missing.
        """
        job = self.state.files.job(new.job, overwrite=new.overwrite)
        check(job)
        if job.output == job.target:
            raise MediaError(job.output, "is an input too", "Give the result another name.")
        return self._queued(job, new.title, new.overwrite)

    def _queued(self, job: Job, title: str = "", overwrite: bool = False) -> Line:
        job = absolute(job)
        spec = {"job": job.model_dump(mode="json"), "overwrite": overwrite}
        title = title.strip() or f"{job.target.name} → {job.output.name}"
        return self.state.queue.add("swap", spec, title, target=job.target, output=job.output)

    def _taken(self) -> set[str]:
        """Files that lines will write."""
        return {line.output for line in self.state.queue.lines() if line.open and line.kind == "swap"}

    def batch(self, wanted: Batch) -> list[Line]:
        """Put every source on every target.

        Raises:
            Refusal: A path is not allowed or not there.
            SettingsError: The name cannot be filled in, or there are too many pairs.
        """
        files = self.state.files
        sources = [path for text in wanted.sources for path in files.matching(text)]
        targets = [path for text in wanted.targets for path in self._targets(text)]
        with self._naming:  # names are free until their lines are in the queue
            jobs = batches.batch(
                list(dict.fromkeys(sources)),
                list(dict.fromkeys(targets)),
                files.folder(wanted.folder),
                wanted.name,
                files.settings(wanted.settings),
                faces=wanted.faces,
                taken=[Path(path) for path in self._taken()],
            )
            for job in jobs:
                check(job)
            return [self._queued(job) for job in jobs]

    def _targets(self, text: str) -> tuple[Path, ...]:
        try:
            return (self.state.files.folder(text),)
        except Refusal:
            return self.state.files.matching(text)

    def written(self, id: str) -> Path:
        """The file or folder that a job has written.

        Raises:
            Refusal: It has not, or that is gone.
        """
        line = self.state.queue.line(id)
        if line.state != "done" or line.kind != "swap":
            text = f"has no result: it is {line.state}" if line.kind == "swap" else "writes no clip"
            raise Refusal("not_found", f"job {id}", text)
        files, path = self.state.files, Path(line.output)
        return files.folder(line.output) if path.is_dir() else files.file(path)

    def review(self, id: str) -> Line:
        """Have a job's result looked through; the job that is doing so where there is one.

        Raises:
            Refusal: It has no result, or that is no video or was written anew.
        """
        path, queue = self.result(id), self.state.queue
        if sequence.kind(path) != "other":
            raise Refusal("not_found", str(path), "is no video", "Only videos are looked through.")
        line, job = queue.line(id), queue.spec(id)["job"]
        if line.ended and path.stat().st_mtime > line.ended:
            advice = "Look the newer result through, or render again."
            raise Refusal("not_found", str(path), "was written anew since this job", advice)
        with self._naming:
            return self._reviewing(path, line, job)

    def _reviewing(self, path: Path, line: Line, job: dict[str, Any]) -> Line:
        queue = self.state.queue
        for other in queue.lines():
            if other.kind == "review" and other.open and other.target == str(path):
                return other
        found = reviews_home(self.state.home) / f"{line.project}.json" if line.project else None
        if found is not None:
            found.parent.mkdir(exist_ok=True)
        spec = {"job": job, "output": str(found) if found else None}
        return queue.add("review", spec, f"Look through {path.name}", line.project, target=path)

    def result(self, id: str) -> Path:
        """The file that a job has written.

        Raises:
            Refusal: It has not, the file is gone, or it is a folder.
        """
        path = self.written(id)
        if path.is_dir():
            raise Refusal("not_found", str(path), "is a folder", "Its pictures lie there.")
        return path


def router(state: State) -> APIRouter:
    """Everything about the queue."""
    routes = APIRouter(responses=responses(403, 404))
    desk, queue = Desk(state), state.queue

    @routes.get("/jobs")
    def jobs() -> list[Line]:
        """Every job, in the order of the queue."""
        return list(queue.lines())

    @routes.post("/jobs", status_code=202, responses=responses(409))
    def add(new: NewJob) -> Line:
        """Put a job at the end of the queue."""
        return desk.add(new)

    @routes.post("/jobs/batch", status_code=202)
    def batch(wanted: Batch) -> list[Line]:
        """Put every source on every target at the end of the queue; no file is overwritten."""
        return desk.batch(wanted)

    @routes.get("/jobs/{id}")
    def job(id: str) -> Line:
        """One job."""
        return queue.line(id)

    @routes.post("/jobs/{id}/pause", responses=responses(409))
    def pause(id: str) -> Line:
        """Stop a job and keep what is finished: at once where it waits, soon where it runs."""
        return queue.pause(id)

    @routes.post("/jobs/{id}/resume", responses=responses(409))
    def resume(id: str) -> Line:
        """Let a paused job go on."""
        return queue.resume(id)

    @routes.post("/jobs/{id}/cancel", responses=responses(409))
    def cancel(id: str) -> Line:
        """Give a job up; a running one stops within a second. Finished parts stay until it is removed."""
        return queue.cancel(id)

    @routes.post("/jobs/{id}/retry", responses=responses(409))
    def retry(id: str) -> Line:
        """Put a failed or cancelled job to the end of the queue; it goes on with what was finished."""
        return queue.retry(id)

    @routes.post("/jobs/{id}/move")
    def move(id: str, to: Move) -> Line:
        """Give a job another place in the queue."""
        return queue.move(id, to.position)

    @routes.delete("/jobs/{id}", status_code=204, responses=responses(409))
    def remove(id: str) -> None:
        """Take a job that does not run off the list, with what it kept; its result stays."""
        queues.discard(queue, id)

    @routes.get("/jobs/{id}/log")
    def log(id: str) -> Log:
        """What a job has said so far; the newest lines where there are many."""
        return Log(lines=[Said(time=at, text=text) for at, text in queue.log(id)])

    @routes.post("/jobs/{id}/review", status_code=202)
    def review(id: str) -> Line:
        """Look a job's result through beside its clip, as a job: where the new faces look bad is among its
        warnings, and of a project's among the moments to look at."""
        return desk.review(id)

    @routes.post("/jobs/{id}/show", status_code=204, responses=responses(409))
    def show(id: str, request: Request) -> None:
        """Show what a job has written in this machine's file manager, for whoever sits before it."""
        path = desk.written(id)
        if request.client is None or not is_local(request.client.host):
            problem = "lies on the machine of the server, and you are at another"
            raise Refusal("conflict", str(path), problem, "Download the result instead.")
        reveal(path)

    @routes.get("/jobs/{id}/result", response_class=FileResponse, responses={206: {"description": "A part."}})
    def result(
        id: str, download: Annotated[bool, Query(description="As a file to keep.")] = False
    ) -> FileResponse:
        """The file that a job has written, whole or in parts (`Range`)."""
        path = desk.result(id)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        way = "attachment" if download else "inline"
        return FileResponse(path, media_type=kind, filename=path.name, content_disposition_type=way)

    return routes
