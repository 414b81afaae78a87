"""Live: the pictures of a camera, file or stream get their new faces as they come in.

The newest frame wins: what comes in while a frame is worked on takes the place of what waits. One thread
reads, one works, and each output has one of its own; whatever waits between them is bounded.

run = Live(Feed(input="camera"), [Role(sources=(Path("ana.jpg"),))], outputs=["udp://127.0.0.1:9000"])
for happening in run.events():
    ...
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from mien.errors import Cancelled, MienError
from mien.images import frameclock
from mien.media import broadcast, devices
from mien.media.camera import Item, Microphone, Pace, Reader, Shot, Sound, Timeline, Wall
from mien.run import gate, scene
from mien.run.clock import Clock
from mien.run.handwork import Handwork
from mien.run.mailbox import Mailbox
from mien.run.order import edit, fallen
from mien.run.outlet import Made, Outlet
from mien.run.pulse import Pulse, Tally
from mien.run.scene import Asked, Scene
from mien.settings import Feed, Role, Settings
from mien.trust import label
from mien.types import Event, Finished, Frame, Started, Warned

Happening: TypeAlias = Event | Pulse
Reading: TypeAlias = Callable[[Feed, Pace, Timeline], Iterable[Item]]
"""Opens an input: `camera.Reader`."""

PULSE = 1.0
"""Seconds between two reports of how a run is doing."""
_JUDGE = 5.0
"""Seconds between two pictures whose content is judged."""
_JUDGED = 12
"""How many of the latest of them count."""
_EVENTS = 256
"""Events that wait at most for somebody to read them; the oldest go."""


class Live:
    """A live run. `events` runs it; every other method may be called from any thread meanwhile.

    Args:
        feed: What comes in and what is drawn.
        cast: Who becomes whom.
        settings: Everything else.
        outputs: Names as `media.broadcast.opened` takes them, or outputs.
        home: The cache; None for the user's own.
        pace: The clock; None for the computer's.
        reading: What opens the input.
        opening: What opens outputs by name.
    """

    def __init__(
        self,
        feed: Feed,
        cast: Sequence[Role],
        settings: Settings | None = None,
        outputs: Sequence[str | broadcast.Output] = (),
        *,
        home: Path | None = None,
        pace: Pace | None = None,
        reading: Reading = Reader,
        opening: Callable[..., broadcast.Output] = broadcast.opened,
    ) -> None:
        self.timeline = Timeline()
        """The run's time."""
        self._asked = Asked(feed, tuple(cast), settings or Settings())
        self._home, self._reading, self._opening = home, reading, opening
        self._wall = Wall()
        self._pace: Pace = pace or self._wall
        self._tally = Tally(self._pace)
        self._clock = Clock()
        self._scene: Scene | None = None
        self._outlets: tuple[Outlet, ...] = ()
        self._first = tuple(outputs)
        self._rate = Fraction(25)
        self._audible = False
        self._incoming: Mailbox[Shot] = Mailbox()
        self._changes: Mailbox[Asked] = Mailbox()
        self._samples: Mailbox[Frame] = Mailbox()
        self._said: Mailbox[Happening] = Mailbox(_EVENTS)
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._pending = False

    @property
    def asked(self) -> Asked:
        """What was asked for last: feed, cast and settings."""
        return self._asked

    @property
    def pending(self) -> bool:
        """Whether a change is still being prepared."""
        return self._pending

    @property
    def ready(self) -> bool:
        """Whether networks and faces are ready: from then on pictures are waited for."""
        return self._scene is not None

    @property
    def ending(self) -> bool:
        """Whether it ends: what is being worked on is still finished."""
        return self._ended.is_set()

    @property
    def pace(self) -> Pace:
        """The run's clock."""
        return self._pace

    def change(
        self,
        *,
        settings: Settings | None = None,
        cast: Sequence[Role] | None = None,
        feed: Feed | None = None,
    ) -> bool:
        """Change anything while it runs.

        What needs no preparation counts from the next frame. Another source, model or engine is prepared in a
        thread of its own while frames go on as they were; a newer change takes the place of one that waits.

        Returns:
            Whether it counts from the next frame.

        Raises:
            MienError: It cannot be; everything stays as it is.
        """
        with self._lock:
            before = self._asked
            asked = Asked(
                feed if feed is not None else before.feed,
                tuple(cast) if cast is not None else before.cast,
                settings if settings is not None else before.settings,
            )
            if asked == before:
                return not self._pending
            now = self._scene
            fresh = scene.quick(now, asked, self._home) if now is not None else None
            self._asked = asked
            for subject, message in scene.unheeded(before, asked):
                self._said.put(Warned(subject, message))
            if now is None:
                return True
            if fresh is not None and not self._pending:
                self._scene = fresh
                return True
            self._pending = True
            self._changes.put(asked)
            return False

    def add(self, output: str | broadcast.Output) -> None:
        """Begin another output: a recording, a stream, somebody who watches."""
        made = Outlet(
            output,
            self._open,
            self._pace,
            self._lost,
            lambda: self._asked.feed.reconnect,
            lambda: self._asked.feed.delay,
        )
        with self._lock:
            self._outlets = (*self._outlets, made)
        made.start()

    def remove(self, name: str) -> bool:
        """Finish an output; False where there is none of this name."""
        with self._lock:
            found = [outlet for outlet in self._outlets if outlet.name == name]
            self._outlets = tuple(outlet for outlet in self._outlets if outlet.name != name)
        for outlet in found:
            outlet.finish()
        return bool(found)

    def stop(self) -> None:
        """End the run: outputs are finished with what was made so far."""
        self._ended.set()
        self._wall.end()
        self._incoming.close(drop=True)

    def pulse(self) -> Pulse:
        """How it is doing now."""
        outputs = {outlet.name: outlet.state() for outlet in self._outlets}
        return self._tally.pulse(self._incoming.dropped, outputs, self._pending)

    def events(self) -> Generator[Happening, None, None]:
        """Run until the input ends, `stop` is called or the generator is closed. The last is `Finished`.

        Raises:
            MienError: The input or the last of the outputs is lost, or a content that is not worked on.
        """
        began = time.monotonic()
        threads: list[threading.Thread] = []
        try:
            yield Started("", Path.cwd(), 0)
            for subject, message in scene.unheeded(None, self._asked):
                yield Warned(subject, message)
            self._scene = yield from scene.made(self._asked, self._home, self._clock)
            self._catch_up(self._scene)
            for output in self._first:
                self.add(output)
            threads += [
                threading.Thread(target=self._guarded, args=(work,), name=f"mien-live-{name}", daemon=True)
                for name, work in self._works()
            ]
            for thread in threads:
                thread.start()
            yield from self._reports(threads[0])
        finally:
            self.stop()
            self._changes.close(drop=True)
            self._samples.close(drop=True)
            for thread in threads:
                thread.join()
            problem = self._finish_outputs()
            final = self._scene
            self._scene = None
            if final is not None:
                engines, networks = final.runtime.engines, final.runtime.times(max(self._tally.made, 1))
                fell = list(fallen(final.runtime))
                final.runtime.close()
        while (event := self._said.poll()) is not None:
            yield event
        yield from fell
        if self._error is not None or problem is not None:
            raise self._error or problem or Cancelled("live", "ended")
        yield self._result(began, final, engines, networks)

    def _catch_up(self, first: Scene) -> None:
        """What was asked for while the first scene was prepared comes after it."""
        with self._lock:
            if self._scene is first and first.asked != self._asked and not self._pending:
                self._pending = True
                self._changes.put(self._asked)

    def _works(self) -> list[tuple[str, Callable[[], None]]]:
        """The threads' work; when the first is done the run is over."""
        works: list[tuple[str, Callable[[], None]]] = [
            ("work", self._work),
            ("read", self._read),
            ("prepare", self._prepare),
            ("judge", self._judge),
        ]
        if self._asked.feed.sound not in ("auto", "none"):
            works.append(("sound", self._listen))
        return works

    def _reports(self, work: threading.Thread) -> Generator[Happening, None, None]:
        """What there is to tell, and a pulse every second, until the work is over."""
        due = time.monotonic() + PULSE
        while True:
            over = not work.is_alive()
            while (event := self._said.poll()) is not None:
                yield event
            if over:
                return
            if time.monotonic() >= due:
                due += PULSE
                yield self.pulse()
            work.join(0.05)

    def _finish_outputs(self) -> MienError | None:
        """Write what waits, close every output, and say what went wrong with one."""
        outlets = self._outlets
        for outlet in outlets:
            outlet.finish()
        return next((outlet.problem for outlet in outlets if outlet.problem is not None), None)

    def _result(self, began: float, final: Scene, engines: Any, networks: Any) -> Finished:
        seconds, count = time.monotonic() - began, self._tally.made
        names = [outlet.name for outlet in self._outlets] or [self._asked.feed.input]
        return Finished(
            output=names[0] if "://" in names[0] else Path(names[0]),
            frames=count,
            faces=self._tally.faces,
            people=len(self._tally.people),
            seconds=round(seconds, 3),
            fps=round(count / seconds, 2),
            stages=self._clock.table(count),
            engines=engines,
            networks=networks,
            content=final.order.content,
        )

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a thread's work; what goes wrong ends the run."""
        try:
            work()
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            self.stop()

    def _read(self) -> None:
        """Hand over what comes in, until it ends."""
        feed = self._asked.feed
        source: Iterable[Item] | None = self._reading(feed, self._pace, self.timeline)
        try:
            while source is not None:
                source, feed = self._through(source, feed)
        finally:
            self._incoming.close()

    def _through(self, source: Iterable[Item], feed: Feed) -> tuple[Iterable[Item] | None, Feed]:
        """Hand over one input; then the next one, where another was asked for meanwhile."""
        for item in source:
            if self._ended.is_set():
                break
            wanted = self._asked.feed
            if scene.other_input(feed, wanted):
                return self._next(source, wanted), wanted
            if isinstance(item, Shot):
                self._rate = Fraction(getattr(source, "rate", self._rate))
                self._audible = getattr(source, "audible", False)
                self._shot(item, wanted)
            elif isinstance(item, Sound):
                self._sound(item)
            else:
                self._said.put(Warned(item.subject, item.message))
            del item
        return None, feed

    def _next(self, source: Iterable[Item], wanted: Feed) -> Iterable[Item]:
        """The other input, whose pictures get the size of those before."""
        made = self._reading(wanted, self._pace, self.timeline)
        if isinstance(made, Reader) and isinstance(source, Reader):
            made.size = source.size
        return made

    def _shot(self, shot: Shot, feed: Feed) -> None:
        if feed.clock:
            frameclock.stamp(shot.frame, round(shot.captured * 1e6) & frameclock.MOST)
        self._tally.captured += 1
        self._incoming.put(shot)

    def _listen(self) -> None:
        """Hand over a microphone's sound."""
        where = devices.sound(self._asked.feed)
        for item in Microphone(where, self._pace, self.timeline) if where is not None else ():
            if self._ended.is_set():
                return
            self._sound(item)

    def _sound(self, item: Sound) -> None:
        for outlet in self._outlets:
            outlet.sound(item)

    def _work(self) -> None:
        """Change each newest frame and hand it out."""
        hand = Handwork(self._clock)
        judged = -1e9
        told: float | None = None
        while (shot := self._incoming.take()) is not None:
            now, feed = self._scene, self._asked.feed
            assert now is not None  # it is set before the first frame comes
            if now.order.judges and shot.captured - judged >= _JUDGE:
                self._sample(shot.frame, now, first=judged < 0)
                judged = shot.captured
            frame, tracks, seen = hand(shot, now, float(self._rate))
            told = shot.captured if told is None else told
            pulse = self.pulse() if feed.statistics and shot.captured - told >= PULSE else None
            told = shot.captured if pulse is not None else told
            hand.draw(frame, feed, pulse)
            self._tally.done(shot.captured, tracks, seen)
            for outlet in self._outlets:
                outlet.picture(Made(frame, shot.captured))
            del shot, frame

    def _sample(self, frame: Frame, now: Scene, first: bool) -> None:
        """See to it that a picture is judged: the first one before anything is shown."""
        if first:
            gate.check(self._asked.feed.input, [frame], now.order.judges, now.runtime)
        else:
            planes = tuple(plane.copy() for plane in frame.planes)
            self._samples.put(replace(frame, planes=planes, owner=None))

    def _judge(self) -> None:
        """Judge pictures as they are handed over.

        Raises:
            ContentError: Too many are explicit.
        """
        found: list[bool] = []
        while (frame := self._samples.take()) is not None:
            if (now := self._scene) is not None:
                found = [*found, gate.explicit(frame, now.order.judges, now.runtime)][-_JUDGED:]
                gate.refuse(self._asked.feed.input, found)

    def _prepare(self) -> None:
        """Prepare changes that take time; what is wrong with one is told, and everything stays as it was."""
        while (asked := self._changes.take()) is not None:
            now = self._scene
            if now is None:
                return
            work = scene.made(asked, self._home, self._clock, now)
            try:
                fresh = yield_to(work, self._said.put)
            except MienError as error:
                self._said.put(Warned(error.subject, f"{error.problem}; everything stays as it was"))
                fresh = now
            if self._ended.is_set():
                if fresh.runtime is not now.runtime:
                    fresh.runtime.close()
                return
            with self._lock:
                if self._asked == asked:
                    self._scene, self._asked, self._pending = fresh, fresh.asked, False
                else:
                    self._changes.put(self._asked)

    def _open(self, name: str, frame: Frame) -> broadcast.Output:
        """Open an output by name for frames like this one."""
        now = self._scene
        if now is None:
            raise Cancelled(name, "is not opened: the run has ended")
        forms: dict[str, Any] = {".mp4": "mp4", ".mov": "mov", ".webm": "webm"}
        return self._opening(
            name,
            self._asked.settings.encode,
            (frame.width, frame.height),
            self._rate,
            sound=self._audible or devices.sound(self._asked.feed) is not None,
            metadata=label.metadata(edit(now.order), {}, forms.get(Path(name).suffix.lower(), "mkv")),
            sar=scene.ratio(frame),
        )

    def _lost(self, outlet: Outlet, error: MienError) -> None:
        """An output failed: the others go on; without any the run is over."""
        with self._lock:
            left = tuple(other for other in self._outlets if other is not outlet)
            if left:
                self._outlets = left
                self._said.put(Warned(outlet.name, f"{error.problem}; it is left out from now on"))
                return
            self._error = self._error or error
        self.stop()


def yield_to(work: Generator[Event, None, Scene], told: Callable[[Event], None]) -> Scene:
    """What a generator returns; what it yields is told."""
    while True:
        try:
            event = next(work)
        except StopIteration as stop:
            made: Scene = stop.value
            return made
        told(event)


def live(
    feed: Feed, cast: Sequence[Role], settings: Settings | None = None, outputs: Sequence[str] = ()
) -> Generator[Happening, None, None]:
    """Run live until the input ends; see `Live` for changes while it runs.

    Raises:
        MienError: See `Live.events`.
    """
    yield from Live(feed, cast, settings, outputs).events()
