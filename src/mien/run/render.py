"""Pass two: decode, change and encode the frames of a video, segment by segment."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from mien.errors import Cancelled
from mien.media.clip import Clip, FrameIndex
from mien.media.decode import frames
from mien.media.encode import SegmentWriter
from mien.media.plan import EncodePlan, schedule
from mien.models.runtime import Runtime, available_threads
from mien.run.clock import Clock
from mien.run.engine import Drain, Prefetch, mapped
from mien.run.job import Folder
from mien.run.report import Meter
from mien.settings import Device
from mien.stages.change import change
from mien.stages.patch import Look, Patch, Timed, patches
from mien.types import Event, Frame, Segment, Tracks, Warned

T = TypeVar("T")

DEPTH = 4
"""Frames that wait between two threads."""
TOGETHER = 4
"""Frames whose faces go through the networks together."""


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

    look: Look
    ids: tuple[int, ...]
    """Tracks that get this face."""


def together(parts: Sequence[Part], device: Device) -> int:
    """How many frames are changed at once: several only where a network gains from it."""
    if not any(part.look.network for part in parts):
        return 1
    return device.batch or TOGETHER


def renderer(
    parts: Sequence[Part], tracks: Tracks, runtime: Runtime, timed: Timed
) -> Callable[[Sequence[Frame]], Sequence[Frame]]:
    """Pass two for a few frames: a function that changes the faces in them in place and returns them."""

    def render(some: Sequence[Frame]) -> Sequence[Frame]:
        found: list[Patch] = []
        with timed("tracks"):
            for frame in some:
                for part in parts:
                    found += patches(frame, tracks.at(frame.index, part.ids), part.look)
        if found:
            change(runtime, found, timed)
        return some

    return render


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
) -> Generator[Event, None, None]:
    """Decode, change and encode the frames of all missing segments in one go.

    `settled` is called whenever frames are changed, before they are encoded: a network settles on its engine
    with the first face that it sees, which may be late in the clip.
    """
    threads = device.threads
    told: list[str] = []

    def read() -> Iterator[Frame]:
        for start, end in runs(missing):
            yield from frames(film.clip, film.index, start, end, threads=threads, report=told.append)

    work = renderer(parts, tracks, runtime, clock.stage)
    batch = together(parts, device)
    # Networks use every thread themselves; the mesh swapper one.
    workers = 1 if batch > 1 else max(1, (threads or available_threads()) // 4)
    ends = [segment.end for segment in missing]
    meter, done = Meter("render", len(film), resumed), resumed
    with (
        Splitter(film, made, place, missing) as splitter,
        Prefetch(clock.iterate("decode", read()), max(DEPTH, batch)) as incoming,
        Drain(clock.wrap("encode", splitter.write), max(DEPTH, batch)) as out,
    ):
        for some in mapped(batches(incoming, batch, ends), work, workers):
            settled()
            for frame in some:
                out.put(frame)
            done += len(some)
            del some, frame
            yield from meter.at(done)
        out.put(None)
    yield from (Warned(str(film.clip.path), text) for text in told)


def batches(incoming: Iterable[Frame], size: int, ends: Sequence[int]) -> Iterator[list[Frame]]:
    """Frames in lists of at most `size` that never reach over the end of a segment.

    So a segment's bytes do not depend on where a run began.

    Args:
        incoming: In order.
        size: Most frames of a list.
        ends: Index after the last frame of each segment, rising.
    """
    waiting: list[Frame] = []
    left = list(ends)
    for frame in incoming:
        crossed = False
        while left and frame.index >= left[0]:
            left.pop(0)
            crossed = True
        if waiting and (crossed or len(waiting) == size):
            yield waiting
            waiting = []
        waiting.append(frame)
        del frame
    if waiting:
        yield waiting


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
        writer = SegmentWriter(self._place.segment(segment, suffix(self._made)), self._made, times)
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


def suffix(made: EncodePlan) -> str:
    """Ending of a segment's file, with its dot."""
    return "." + made.segment_format
