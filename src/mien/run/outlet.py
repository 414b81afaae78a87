"""One output of a live run, in a thread of its own: a slow one drops frames and delays nobody else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from mien.errors import MediaError, MienError
from mien.media.broadcast import Output
from mien.media.camera import RATE, TICKS, Pace, Sound
from mien.run.mailbox import Mailbox
from mien.run.pulse import Ages, Written
from mien.types import Frame

_PICTURES = 4
"""Frames that wait at most."""
_SOUNDS = 600
"""Pieces of sound that wait at most: about ten seconds."""
_AGAIN = 0.5
"""Seconds between two attempts to open a stream again."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A frame that is done."""

    frame: Frame
    captured: float
    """When it came in, on the run's clock."""


class Outlet:
    """Feeds one output.

    An output by name is opened with the first frame and its time begins there. A stream that fails is opened
    again for as long as `patience` says.

    Args:
        output: Its name, or the output.
        opening: Opens a named one for frames like the one given.
        pace: The clock.
        lost: Told when it has failed for good.
        patience: Gives the seconds for which a stream is tried again.
        delay: Gives the milliseconds by which sound is held back.
    """

    def __init__(
        self,
        output: str | Output,
        opening: Callable[[str, Frame], Output],
        pace: Pace,
        lost: Callable[[Outlet, MienError], None],
        patience: Callable[[], float],
        delay: Callable[[], float],
    ) -> None:
        self.problem: MienError | None = None
        """What went wrong when it was finished."""
        self.name = output if isinstance(output, str) else output.name
        self._named = isinstance(output, str)
        self._output: Output | None = None if isinstance(output, str) else output
        self._opening, self._pace, self._lost = opening, pace, lost
        self._patience, self._delay = patience, delay
        self._pictures: Mailbox[Made] = Mailbox(_PICTURES)
        self._sounds: deque[Sound] = deque(maxlen=_SOUNDS)
        self._first: int | None = None
        self._failing: float | None = None
        self._next = 0.0
        self._frames = 0
        self._ages = Ages()
        self._thread = threading.Thread(target=self._run, name=f"mien-out-{self.name[-24:]}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def picture(self, made: Made) -> None:
        """Hand over a frame; never waits."""
        self._pictures.put(made)

    def sound(self, sound: Sound) -> None:
        """Hand over a piece of sound; never waits."""
        self._sounds.append(sound)

    def state(self) -> Written:
        """How it is doing."""
        return Written(self._frames, self._pictures.dropped, self._ages.delay())

    def finish(self) -> None:
        """Write what waits and close; waits until that is done."""
        self._pictures.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while (made := self._pictures.take()) is not None:
            try:
                self._write(made)
            except Exception as caught:
                error = _told(self.name, caught)
                if not self._bear(error):
                    self._pictures.close(drop=True)
                    self._lost(self, error)
                    return
            del made
        try:
            self._flush()
            if self._output is not None:
                self._output.close()
        except Exception as caught:
            self.problem = _told(self.name, caught)

    def _write(self, made: Made) -> None:
        """Write a frame and the sound that has come meanwhile."""
        if self._output is None:
            if self._failing is not None and self._pace.now() < self._next:
                return
            self._output = self._opening(self.name, made.frame)
        frame = made.frame
        if self._named:
            if self._first is None:
                self._first = frame.pts
            frame = replace(frame, pts=frame.pts - self._first)
        self._output.picture(frame)
        self._failing = None
        self._frames += 1
        self._ages.add(self._pace.now() - made.captured)
        self._flush()

    def _flush(self) -> None:
        """Write the sound that waits."""
        if self._output is None:
            return
        later = round(self._delay() * RATE / 1000)
        first = round((self._first or 0) * RATE / TICKS) if self._named else 0
        while self._sounds:
            sound = self._sounds.popleft()
            self._output.sound(Sound(sound.samples, sound.start + later - first))

    def _bear(self, error: MienError) -> bool:
        """Let go of a stream that failed, to try it again; False where that makes no sense any more."""
        now = self._pace.now()
        self._failing = now if self._failing is None else self._failing
        self._next = now + _AGAIN
        output, self._output, self._first = self._output, None, None
        if output is not None:
            with suppress(MienError):
                output.close()
        return (
            self._named and "://" in self.name and self._frames > 0 and now - self._failing < self._patience()
        )


def _told(name: str, error: Exception) -> MienError:
    """The error itself, or, where nobody foresaw it, one that names the output."""
    return error if isinstance(error, MienError) else MediaError(name, f"failed ({error})")
