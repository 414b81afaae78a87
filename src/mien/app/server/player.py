"""What one page looks at: a thread that makes the pictures of the newest request, and the clips it opens."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mien.app.server.errors import said
from mien.errors import MienError, SettingsError
from mien.run import strip
from mien.run.cues import seconds
from mien.run.place import stamp
from mien.run.preview import Preview
from mien.run.project import Project
from mien.settings import Job
from mien.types import Array

Shown: TypeAlias = Literal["before", "after", "difference", "mask", "both"]
"""What a picture shows; `both` has the input on its left half and the result on its right."""
Wide = Annotated[int, Field(ge=0, le=4096)]
Number = Annotated[int, Field(ge=0, le=1 << 31)]
Pixels = Annotated[float, Field(ge=-65536, le=65536)]
"""A coordinate; what is no number is refused, too."""
OPEN = 2
"""Clips that are kept open for previews."""
SLOWEST = 320
"""Width below which pictures get no smaller while playing."""


class Asked(BaseModel):
    """A request over the WebSocket."""

    model_config = ConfigDict(extra="forbid")

    show: Number | None = None
    play: Number | None = None
    until: Number | None = None
    stop: bool = False
    speed: float = Field(default=1.0, ge=0.1, le=8.0)
    view: Shown = "after"
    width: Wide = 0
    zoom: tuple[Pixels, Pixels, Pixels, Pixels] | None = None
    project: Project | None = None
    id: int | Annotated[str, Field(max_length=200)] | None = None


class _Clip:
    """A clip that is open, or being opened by the first who wants it."""

    def __init__(self) -> None:
        self.users = 0
        self.lock = threading.Lock()
        self.preview: Preview | None = None

    def close(self) -> None:
        if self.preview is not None:
            self.preview.close()


class Previews:
    """Clips that are open to be looked at, the last few. Safe to use from several threads."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._open: OrderedDict[Hashable, _Clip] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, project: Project) -> Iterator[Preview]:
        """The preview of a project's clip, kept open at least until the block ends."""
        key = (project.target, stamp(project.target))
        with self._lock:
            clip = self._open.setdefault(key, _Clip())
            self._open.move_to_end(key)
            clip.users += 1
            self._shut(OPEN)
        try:
            with clip.lock:  # of this clip alone: another one must not wait until it is indexed
                if clip.preview is None:
                    clip.preview = Preview(project.target, self._home, project.settings.device)
            yield clip.preview
        finally:
            with self._lock:
                clip.users -= 1
                self._shut(OPEN)

    def _shut(self, most: int) -> None:
        """Close those that nobody looks at, the oldest first, until there are few."""
        for key in [key for key, clip in self._open.items() if not clip.users]:
            if len(self._open) > most or self._open[key].preview is None:
                self._open.pop(key).close()

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for clip in self._open.values():
                clip.close()
            self._open.clear()


def job_of(project: Project) -> Job | None:
    """What a project would render, for a preview; None where it changes nobody."""
    try:
        # Nothing is written; the suffix alone would decide about a codec.
        return project.job(project.target.with_name("preview.mkv"))
    except SettingsError as error:
        if error.subject == "cast":
            return None
        raise


def picture(
    preview: Preview,
    number: int,
    job: Job | None,
    view: Shown,
    width: int = 0,
    box: tuple[float, float, float, float] | None = None,
) -> Array:
    """What `Preview.show` gives, for `both` the input and the result side by side.

    Returns:
        uint8 (h, w, 3) R'G'B'.
    """
    if view != "both":
        return preview.show(number, job, view, width, box)
    both = [preview.show(number, job, "before", width, box), preview.show(number, job, "after", width, box)]
    return np.concatenate(both, axis=1)


class Player:
    """What one WebSocket shows: a thread that serves the newest request.

    Args:
        previews: Where clips are opened.
        project: The project as it is saved.
        checked: Gives a project with its paths seen to be allowed.
        send: Takes a message; returns when it is on its way. May block.
    """

    def __init__(
        self,
        previews: Previews,
        project: Callable[[], Project],
        checked: Callable[[Project], Project],
        send: Callable[[bytes | str], None],
    ) -> None:
        self._previews, self._project, self._checked, self._send = previews, project, checked, send
        self._newest: Asked | None = None
        self._ended = False
        self._changed = threading.Condition()

    def ask(self, asked: Asked) -> None:
        """Let a request take the place of the one before it."""
        with self._changed:
            self._newest = asked
            self._changed.notify()

    def end(self) -> None:
        """Let `run` return."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def run(self) -> None:
        """Serve requests until `end`."""
        while (asked := self._next()) is not None:
            try:
                self._serve(asked)
            except MienError as error:
                self._send(json.dumps({"error": said(error)[1].model_dump(), "id": asked.id}))

    def _next(self) -> Asked | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._newest is not None)
            asked, self._newest = self._newest, None
            return None if self._ended else asked

    def _replaced(self, wait: float = 0.0) -> bool:
        """Whether something newer is wanted, within some seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended or self._newest is not None, wait)

    def _serve(self, asked: Asked) -> None:
        project = self._project() if asked.project is None else self._checked(asked.project)
        job = job_of(project)
        with self._previews.of(project) as preview:
            if asked.play is not None:
                self._play(asked, preview, job)
            elif asked.show is not None:
                began = time.monotonic()
                shown = picture(preview, asked.show, job, asked.view, asked.width, asked.zoom)
                self._send_picture(asked, asked.show, shown, began)

    def _play(self, asked: Asked, preview: Preview, job: Job | None) -> None:
        """Show frames at their own pace; those that come too late are left out."""
        film = preview.film
        number, last = asked.play or 0, len(film) - 1
        last = min(last, asked.until) if asked.until is not None else last

        def at(frame: int) -> float:
            return seconds(film.index, film.clip, frame)

        first = at(number)
        width = min(asked.width or film.clip.size[0], film.clip.size[0])
        begun, sent, dropped = 0.0, 0, 0
        while number <= last and not self._replaced():
            began = time.monotonic()
            shown = picture(preview, number, job, asked.view, width, asked.zoom)
            spent = time.monotonic() - began
            begun = begun or time.monotonic()  # the first one may have to load networks
            due = begun + (at(number) - first) / asked.speed
            if self._replaced(max(due - time.monotonic(), 0.0)):
                return
            sent += 1
            rate = sent / max(time.monotonic() - begun, 1e-6)
            more = {"playing": True, "dropped": dropped, "fps": round(rate, 1)}
            self._send_picture(asked, number, shown, began, **more)
            lasts = (at(number + 1) - at(number)) / asked.speed
            width = _fitting(width, asked.width or film.clip.size[0], spent, lasts)
            now = first + (time.monotonic() - begun) * asked.speed
            following = _following(preview, number, last, now)
            dropped += following - number - 1
            number = following
        over = begun + (at(last + 1) - first) / asked.speed
        if number > last and not self._replaced(max(over - time.monotonic(), 0.0)):
            self._send(json.dumps({"ended": True, "frame": last, "dropped": dropped, "id": asked.id}))

    def _send_picture(self, asked: Asked, number: int, shown: Array, began: float, **more: object) -> None:
        height, width = shown.shape[:2]
        views = ["before", "after"] if asked.view == "both" else [asked.view]
        header = {
            "id": asked.id,
            "frame": number,
            "view": asked.view,
            "views": views,
            "width": width // len(views),
            "height": height,
            "ms": round((time.monotonic() - began) * 1000, 1),
            "playing": False,
            "dropped": 0,
            **more,
        }
        text = json.dumps(header).encode()
        self._send(struct.pack(">I", len(text)) + text + strip.jpeg(shown))


def _following(preview: Preview, number: int, last: int, now: float) -> int:
    """The next frame that is not over at a moment; the last one always, never one more than a second away."""
    film, following = preview.film, number + 1
    latest = seconds(film.index, film.clip, number) + 1.0
    while following < last and seconds(film.index, film.clip, following + 1) <= min(now, latest):
        following += 1
    return following


def _fitting(width: int, asked: int, spent: float, lasts: float) -> int:
    """A width with which pictures come in time: smaller where one took longer than its frame is shown."""
    if spent > lasts:
        return max(min(SLOWEST, asked), round(width * 0.85))
    return min(asked, round(width * 1.1)) if spent < 0.5 * lasts else width
