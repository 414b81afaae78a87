"""Pass two: decode, change and encode the frames of a video, segment by segment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from mien.images import operations
from mien.media.clip import Clip, FrameIndex
from mien.media.decode import frames
from mien.media.hardware import VideoEngine
from mien.media.moments import moments
from mien.media.outgoing import Outgoing
from mien.media.plan import EncodePlan, Schedule, schedule
from mien.models.runtime import Runtime, available_threads
from mien.run.clock import Clock
from mien.run.engine import Bell, mapped
from mien.run.job import Folder
from mien.run.lanes import Lane, Splitter, batches, in_turn, runs
from mien.run.lanes import count as lane_count
from mien.run.report import Meter
from mien.run.tween import Shown, Tween, steps, with_context
from mien.settings import Device
from mien.stages.change import change
from mien.stages.patch import Look, Patch, Timed, patches
from mien.types import Event, Frame, Segment, Tracks, Warned

DEPTH = 4
"""Frames that wait between two threads."""
SPAN = 8
"""Frames that are changed together at least where faces are carried from frame to frame."""
TOGETHER = 4
"""Frames whose faces go through the networks together."""
ON_CARD = 8
"""The same where a card changes them: to start its many small pieces of work takes the longest."""
AHEAD = 8
"""Frames, at most, whose successions are made at once where pictures come between them."""


@dataclass(frozen=True)
class Footage:
    """A clip and the part of it that is worked on."""

    clip: Clip
    index: FrameIndex
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say about the clip before anything is done with it."""
        found = self.clip.warnings
        if self.index.broken:
            found += (f"breaks off after {len(self.index)} frames ({self.index.broken}); these are used",)
        return found


@dataclass(frozen=True)
class Part:
    """One role of the cast, ready to be rendered."""

    look: Look
    ids: tuple[int, ...]
    """Tracks that get this face."""
    others: tuple[Look, ...] = ()
    """What else cues make of it."""
    cued: Callable[[int], Look | None] | None = None
    """Gives the look at a frame, None where the target's own face stays; None for one that never changes."""

    @property
    def looks(self) -> tuple[Look, ...]:
        """The look and what else it may become."""
        return (self.look, *self.others)


def wanted(parts: Sequence[Part], tracks: Tracks, frame: Frame) -> list[Patch]:
    """The faces of a frame that get a look, and which."""
    found: list[Patch] = []
    for part in parts:
        look = part.cued(frame.index) if part.cued else part.look
        if look is not None:
            found += patches(frame, tracks.at(frame.index, part.ids), look)
    return found


def together(parts: Sequence[Part], device: Device, card: str = "") -> int:
    """How many frames are changed at once: several only where a network gains from it.

    Args:
        parts: The cast.
        device: `batch` counts.
        card: Where frames are changed, from `place_of`.
    """
    every = [look.swap.every for part in parts for look in part.looks if look.network]
    if not every:
        return 1
    size = device.batch or (ON_CARD if card else TOGETHER)
    most = max(every)
    if most == 1:
        return size
    # One more than a multiple: the last is made, too, and so is the next batch's first.
    return most * -(-max(size, SPAN) // most) + 1


def place_of(parts: Sequence[Part], runtime: Runtime) -> str:
    """Where frames are changed: a card, as torch names it, if networks do all of it; empty: the processor."""
    looks = [look for part in parts for look in part.looks]
    return runtime.pixels if looks and all(look.network for look in looks) else ""


class Renderer:
    """Pass two for a few frames: called with them, it changes the faces in them in place and returns them.

    Args:
        parts: The cast.
        tracks: Who is in the frames.
        runtime: Where the networks run.
        timed: Told the stages.
        stay: Whether frames that were changed on a card stay there. Then those that came from the host are
            left as they were, and others are returned for them.
    """

    def __init__(
        self, parts: Sequence[Part], tracks: Tracks, runtime: Runtime, timed: Timed, stay: bool = False
    ) -> None:
        self._parts, self._tracks, self._runtime, self._timed = parts, tracks, runtime, timed
        self._card, self._stay = place_of(parts, runtime), stay
        self.carried = 0
        """Faces that networks did not make so far (`swap.every`)."""
        self._lock = threading.Lock()

    def __call__(self, some: Sequence[Frame]) -> Sequence[Frame]:
        """Change the faces in these frames."""
        with self._timed("tracks"):
            found = [patch for frame in some for patch in wanted(self._parts, self._tracks, frame)]
        if not found:
            return some
        if self._card:
            return self._on_card(some, found)
        self._change(found)
        return some

    def _change(self, found: Sequence[Patch]) -> None:
        """Change faces, and count those that were carried."""
        carried = change(self._runtime, found, self._timed)
        with self._lock:
            self.carried += carried

    def _on_card(self, some: Sequence[Frame], found: Sequence[Patch]) -> Sequence[Frame]:
        """The same on a graphics card: those frames that have a face go up, if they are not there."""
        with self._timed("upload"):
            seen = {p.frame.index: p.frame for p in found}
            up = {k: f if _there(f) else operations.to_device(f, self._card) for k, f in seen.items()}
            moved = [replace(patch, frame=up[patch.frame.index]) for patch in found]
        self._change(moved)
        if self._stay:
            return [up.get(frame.index, frame) for frame in some]
        with self._timed("download"):
            for number, frame in seen.items():
                for plane, new in zip(frame.planes, operations.to_host(up[number]).planes, strict=True):
                    plane[...] = new
        return some


def _there(frame: Frame) -> bool:
    """Whether a frame's planes are tensors."""
    return operations.is_tensor(frame.planes[0])


def render(
    film: Footage,
    made: EncodePlan,
    place: Folder,
    missing: Sequence[Segment],
    parts: Sequence[Part],
    tracks: Tracks,
    runtime: Runtime,
    device: Device,
    clock: Clock,
    resumed: int,
    settled: Callable[[], None],
    between: bool = False,
    engine: VideoEngine | None = None,
    most: int = 1,
) -> Generator[Event, None, int]:
    """Decode, change and encode the frames of all missing segments in one go.

    `settled` is called whenever frames are changed, before they are encoded: a network settles on its engine
    with the first face that it sees, which may be late in the clip. With `between`, pictures are made between
    frames, for a rate above theirs, in one lane. `engine` decodes; what it leaves on a card stays there until
    it is encoded. `most` is how many lanes there may be. Each lane holds at most twice `max(DEPTH, batch)`
    frames, twice `batch`, and two; one batch where there is one worker, else two more than there are workers,
    are between them.

    Returns:
        How many faces were carried from other frames.
    """
    count = device.threads or available_threads()
    told: list[str] = []
    number = lane_count(film.index, missing, 1 if between else most)
    todo = deque([list(missing)] if number == 1 else [[segment] for segment in missing])
    # A decoder's threads change no sample.
    threads = device.threads if number == 1 else max(1, count // number)

    def read(mine: deque[Segment]) -> Iterator[Frame]:
        while todo:
            try:
                taken = todo.popleft()
            except IndexError:  # another lane was faster
                return
            mine.extend(taken)
            for start, end in runs(taken):
                last = min(end + 1, film.end) if between else end
                given = film.clip, film.index, start, last
                yield from frames(*given, threads=threads, report=told.append, engine=engine)

    work = Renderer(parts, tracks, runtime, clock.stage, stay=not between)
    batch = together(parts, device, place_of(parts, runtime))
    depth = max(DEPTH, batch)
    workers = _workers(batch, count, place_of(parts, runtime))
    ends = sorted({n for segment in missing for n in (segment.start, segment.end)})
    meter, done, bell = Meter("render", len(film), resumed), resumed, Bell()
    tween = Tween(made, film.index, film.clip, missing, tracks.shots, clock.stage) if between else None

    def lane() -> Lane:
        mine: deque[Segment] = deque()
        incoming = clock.iterate("decode", read(mine))
        if between:
            incoming = with_context(incoming, missing)
        splitter = Splitter(place, made, mine, _times(film, made, between))
        # Those that wait, one that is encoded, and one that waits to wait.
        send = Outgoing(made, film.clip.layout, depth + batch + 2)
        return Lane(batches(incoming, batch, ends), splitter, send, batch, depth, clock, bell)

    def changed(lanes: Sequence[Lane]) -> Iterator[tuple[Lane, Sequence[Frame]]]:
        for to, some in mapped(in_turn(lanes, bell), lambda given: (given[0], work(given[1])), workers):
            if some:
                settled()
            yield to, some
            del some

    def shown(lanes: Sequence[Lane]) -> Iterator[tuple[Lane, Shown | None]]:
        if tween is None:
            for to, some in changed(lanes):
                yield from ((to, Shown(frame.index, (frame,))) for frame in some)
                if not some:
                    yield to, None
                del some
            return
        ready = steps((frame for _, some in changed(lanes) for frame in some), missing)
        for one in mapped(ready, tween, min(AHEAD, max(1, count // 2))):
            yield lanes[0], one
            del one
        yield lanes[0], None

    with ExitStack() as stack:
        for to, one in shown([stack.enter_context(lane()) for _ in range(number)]):
            to.put(one)
            if one is not None:
                done += 1
                del one
                yield from meter.at(done)
    if tween is not None and tween.refused:
        text = (
            f"in {tween.refused} of {tween.wanted} pictures between frames, movement could not be followed: "
            "they show the nearest frame"
        )
        yield Warned(str(made.output), text)
    yield from (Warned(str(film.clip.path), text) for text in told)
    return work.carried


def _workers(batch: int, threads: int, card: str) -> int:
    """Threads that change frames: networks use every processor thread, while one blends the faces before."""
    if batch == 1:
        return max(1, threads // 4)
    return 1 if card or threads == 1 else 2


def _times(film: Footage, made: EncodePlan, between: bool) -> Callable[[Segment], Schedule]:
    """What gives the schedule of a segment."""

    def found(segment: Segment) -> Schedule:
        given = made, film.index, film.clip, segment.start, segment.end
        return moments(*given).times if between else schedule(*given)

    return found
