"""The one live run that a server may have: begun, changed and ended by requests."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from mien.app.server.errors import Refusal, Said, said
from mien.errors import MienError
from mien.media.camera import Reader
from mien.run import scene
from mien.run.live import Live
from mien.run.pulse import Pulse
from mien.settings import Feed, Role, Settings
from mien.types import Finished, Warned

if TYPE_CHECKING:
    from mien.app.server.webrtc import Camera

BROWSER = "browser"
"""The input that is the camera of who opens the page."""
Phase: TypeAlias = Literal["off", "preparing", "waiting", "showing", "ending"]
"""Networks and faces are prepared; the first picture is waited for; pictures go out; it ends."""
NOTES = 50
"""Notes that are kept."""


class Note(BaseModel):
    """Something that was done otherwise than asked."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    subject: str
    """What it is about."""
    message: str
    """What there is to say."""


class Begin(BaseModel):
    """A live run that is wanted."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    feed: Feed = Feed()
    """What comes in; the input `browser` is the camera of who opens the page."""
    cast: tuple[Role, ...]
    """Who becomes whom."""
    settings: Settings = Settings()
    """Everything else."""
    outputs: tuple[str, ...] = ()
    """Where it goes besides the page: files, addresses, `virtual`."""


class Change(BaseModel):
    """What is to be otherwise from now on; what is absent stays."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    feed: Feed | None = None
    """What comes in, and what is drawn."""
    cast: tuple[Role, ...] | None = None
    """Who becomes whom."""
    settings: Settings | None = None
    """Everything else."""


class Onair(BaseModel):
    """A live run as it is now."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    running: bool
    """Whether there is one."""
    phase: Phase = "off"
    """How far it is."""
    feed: Feed | None = None
    """What was asked for last."""
    cast: tuple[Role, ...] = ()
    """The same."""
    settings: Settings | None = None
    """The same."""
    pulse: Pulse | None = None
    """How it is doing; None before the first frame."""
    notes: tuple[Note, ...] = ()
    """The latest notes."""
    error: Said | None = None
    """Why the last one ended early."""


class Air:
    """Holds the run. Safe to use from several threads.

    Args:
        home: The cache.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._run: Live | None = None
        self._camera: Camera | None = None
        self._thread: threading.Thread | None = None
        self._notes: deque[Note] = deque(maxlen=NOTES)
        self._error: Said | None = None

    def begin(self, wanted: Begin) -> Onair:
        """Begin a run.

        Raises:
            Refusal: There is one already.
            MienError: It cannot be.
        """
        camera = _camera() if wanted.feed.input == BROWSER else None
        reading: Callable[..., Any] = camera or Reader
        scene.settled(scene.Asked(wanted.feed, wanted.cast, wanted.settings), self._home)
        with self._lock:
            if self._run is not None:
                raise Refusal("conflict", "live", "is running already", "End it first.")
            self._notes.clear()
            self._error, self._camera = None, camera
            run = self._run = Live(
                wanted.feed, wanted.cast, wanted.settings, wanted.outputs, home=self._home, reading=reading
            )
            self._thread = threading.Thread(target=self._follow, args=(run,), name="mien-air", daemon=True)
            self._thread.start()
        return self.state()

    def _follow(self, run: Live) -> None:
        """Run it, and keep what there is to say."""
        try:
            for event in run.events():
                if isinstance(event, Warned):
                    self._notes.append(Note(subject=event.subject, message=event.message))
                elif isinstance(event, Finished):
                    text = f"{event.frames} frames, {event.faces} faces in {event.seconds:.0f} s"
                    self._notes.append(Note(subject=str(event.output), message=text))
        except MienError as error:
            self._error = said(error)[1]
        except Exception as error:
            self._error = Said(
                kind="internal", subject="live", problem=f"{type(error).__name__}: {error}", advice=""
            )
        finally:
            with self._lock:
                self._run = None

    def change(self, wanted: Change) -> bool:
        """Change the run; whether it counts from the next frame.

        Raises:
            Refusal: There is none.
            MienError: It cannot be.
        """
        run = self.running()
        feed = wanted.feed
        if feed is not None and (feed.input == BROWSER) != (run.asked.feed.input == BROWSER):
            advice = "End it and begin another."
            raise Refusal("conflict", "feed.input", "cannot go over from or to the browser's camera", advice)
        return run.change(settings=wanted.settings, cast=wanted.cast, feed=feed)

    def running(self) -> Live:
        """The run.

        Raises:
            Refusal: There is none.
        """
        run = self._run
        if run is None:
            raise Refusal("conflict", "live", "is not running", "Begin it first.")
        return run

    @property
    def camera(self) -> Camera | None:
        """Where the browser's pictures go; None where its camera is not the input."""
        return self._camera

    def end(self) -> Onair:
        """End the run, if there is one, and wait until its outputs are finished."""
        run, thread, camera = self._run, self._thread, self._camera
        if run is not None and thread is not None:
            run.stop()
            if camera is not None:
                camera.close()
            thread.join()
        return self.state()

    def state(self) -> Onair:
        """How it is now."""
        run = self._run
        notes = tuple(self._notes)
        if run is None:
            return Onair(running=False, notes=notes, error=self._error)
        asked, pulse = run.asked, run.pulse()
        return Onair(
            running=True,
            phase=_phase(run, pulse),
            feed=asked.feed,
            cast=asked.cast,
            settings=asked.settings,
            pulse=pulse,
            notes=notes,
        )


def _phase(run: Live, pulse: Pulse) -> Phase:
    if run.ending:
        return "ending"
    if pulse.made:
        return "showing"
    return "waiting" if run.ready else "preparing"


def _camera() -> Camera:
    from mien.app.server.peers import webrtc

    made: Camera = webrtc().Camera()
    return made
