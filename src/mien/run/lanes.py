"""Lanes: segments that are decoded and encoded at once, while one worker changes the frames of all in turn.

A lane decodes one segment after another in a thread of its own and encodes what comes back in another. What a
segment is made of depends on the segment alone, so its bytes do not depend on how many lanes there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from mien.errors import Cancelled
from mien.media.clip import FrameIndex
from mien.media.encode import SegmentWriter
from mien.media.outgoing import Here, Landing, Outgoing
from mien.media.plan import EncodePlan, Schedule
from mien.run.clock import Clock
from mien.run.engine import Bell, Drain, Prefetch
from mien.run.job import Folder
from mien.run.tween import Shown
from mien.types import Frame, Segment

THREADS = 5
"""Processor threads for each lane: about what its decoder and a quick encoder keep busy."""
MOST = 4
"""Lanes, at most: by then the one worker in the middle is what is waited for."""
SHORT = 4.0
"""About how long a segment is, in seconds, where several are rendered at once: a little less than encoders
commonly set key frames apart, so that each begins at one."""
SHORTEST = 3.0
"""The same for clips that would not fill all lanes otherwise: one key frame more takes a few percent."""


def most(made: EncodePlan, pixels: str, threads: int) -> int:
    """Lanes that a job may have: several where frames are changed on a card and encoded by the processor.

    Args:
        made: By which segments are written.
        pixels: Where frames are changed, as torch names it; empty for the processor, which is busy then.
        threads: Processor threads that the job gets.
    """
    return max(1, min(MOST, threads // THREADS)) if pixels and made.card is None else 1


def length(index: FrameIndex, start: int, end: int, lanes: int, alone: float) -> float:
    """Seconds that segments should have, so that lanes have something to do.

    Args:
        index: The clip's.
        start: First frame that is rendered.
        end: Frame after the last one.
        lanes: From `most`.
        alone: What they have where there is one lane.
    """
    if lanes < 2:
        return alone
    last = int(index.pts[end]) if end < len(index) else index.end_pts
    whole = float((last - int(index.pts[start])) * index.time_base)
    short = min(alone, max(SHORTEST, min(SHORT, whole / lanes)))
    return alone if wasteful(index, index.segments(start, end, short)) else short


def count(index: FrameIndex, missing: Sequence[Segment], lanes: int) -> int:
    """Lanes for segments: one where decoding them apart would cost too much.

    Args:
        index: The clip's.
        missing: What is to be rendered.
        lanes: From `most`.
    """
    return 1 if lanes < 2 or wasteful(index, missing) else max(1, min(lanes, len(missing)))


def wasteful(index: FrameIndex, segments: Sequence[Segment]) -> bool:
    """Whether decoding each segment by itself decodes more than half as many frames again: where key frames
    are far apart, or numbers are known by counting only."""
    keys = (index.key[: segment.start + 1].nonzero()[0] for segment in segments)
    first = [0 if index.counted or not len(found) else int(found[-1]) for found in keys]
    again = sum(segment.start - key for segment, key in zip(segments, first, strict=True))
    return 2 * again > sum(map(len, segments))


class Lane:
    """A decoder and an encoder, each in its thread. A context manager.

    Args:
        source: Frames of its segments, in batches; iterated over in a thread.
        splitter: Takes them, changed.
        send: Brings them to the encoder's side of the bus.
        batch: Most frames of a batch.
        depth: Most frames that wait to be changed, or one batch; so many and a batch wait to be encoded.
        clock: Told the stages `encode` and `download`.
        bell: Of all lanes.
    """

    def __init__(
        self,
        source: Iterable[list[Frame]],
        splitter: Splitter,
        send: Outgoing,
        batch: int,
        depth: int,
        clock: Clock,
        bell: Bell,
    ) -> None:
        self._splitter, self._send, self._batch, self._clock = splitter, send, batch, clock
        self._incoming = Prefetch(source, max(1, depth // batch), bell)
        self._out = Drain(clock.wrap("encode", self._write), depth + batch, bell)
        self._batches = iter(self._incoming)
        self._open = ExitStack()

    def __enter__(self) -> Lane:
        with ExitStack() as stack:
            stack.enter_context(self._splitter)
            stack.enter_context(self._incoming)
            stack.enter_context(self._out)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    @property
    def failed(self) -> bool:
        """Whether its encoder has failed and nobody knows yet."""
        return self._out.failed

    @property
    def ready(self) -> bool:
        """Whether a batch can be had, and put when it is changed, without waiting."""
        return self._incoming.ready and self._out.room(self._batch)

    def take(self) -> list[Frame]:
        """The next batch; an empty one at the end. Raises what has failed."""
        self._out.check()
        return next(self._batches, [])

    def put(self, shown: Shown | None) -> None:
        """Encode what is shown of a frame; None ends the last segment."""
        if shown is None:
            self._out.put(None)
            return
        self._out.put(Sent(shown.source, [self._send(picture) for picture in shown.pictures]))

    def _write(self, sent: Sent | None) -> None:
        """Encode what has landed; None ends the last segments."""
        if sent is None:
            self._splitter.write(None)
            return
        for landing in sent.pictures:
            if isinstance(landing, Here):
                self._splitter.write(Shown(sent.source, (landing.frame(),)))
                continue
            with self._clock.stage("download"):
                frame = landing.frame()
            try:
                self._splitter.write(Shown(sent.source, (frame,)))
            finally:
                landing.release()
        if not sent.pictures:
            self._splitter.write(Shown(sent.source, ()))


def in_turn(lanes: Sequence[Lane], bell: Bell) -> Iterator[tuple[Lane, list[Frame]]]:
    """Batches with their lanes: one of each in turn, but none is waited for while another has one.

    A lane's last batch is an empty one.

    Args:
        lanes: Entered.
        bell: Theirs.
    """
    turns = deque(lanes)

    def first() -> Lane | None:
        failed = (one for one in lanes if one.failed)  # also in ending its last segment
        return next(failed, None) or next((one for one in turns if one.ready), None)

    while turns:
        lane = bell.first(first)
        some = lane.take()
        turns.remove(lane)
        if some:
            turns.append(lane)
        yield lane, some
        del some


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """What is shown of a frame, on its way to the encoder."""

    source: int
    pictures: Sequence[Landing]


def batches(incoming: Iterable[Frame], size: int, ends: Sequence[int]) -> Iterator[list[Frame]]:
    """Frames in lists of at most `size` that never reach over the end of a segment.

    So a segment's bytes do not depend on where a run began.

    Args:
        incoming: In order.
        size: Most frames of a list.
        ends: Indices where segments begin and end, rising.
    """
    waiting: list[Frame] = []
    left = list(ends)
    for frame in incoming:
        crossed = False
        while left and frame.index >= left[0]:
            left.pop(0)
            crossed = True
        # The same number twice: the first one is there for the segment before only.
        if waiting and (crossed or len(waiting) == size or frame.index == waiting[-1].index):
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

    Args:
        place: Where they appear.
        made: How they are written.
        segments: In order; emptied. A segment may be added until its first frame comes.
        times: Gives the schedule of a segment.
    """

    def __init__(
        self,
        place: Folder,
        made: EncodePlan,
        segments: deque[Segment],
        times: Callable[[Segment], Schedule],
    ) -> None:
        self._place, self._made, self._times = place, made, times
        self._waiting = segments
        self._current: tuple[Segment, SegmentWriter] | None = None

    def __enter__(self) -> Splitter:
        return self

    def write(self, shown: Shown | None) -> None:
        """Encode what is shown of a frame; None ends the last segments."""
        while self._current is None or shown is None or shown.source >= self._current[0].end:
            self._close()
            if not self._waiting:
                return
            self._open()
        for picture in shown.pictures:
            self._current[1].write(picture)

    def _open(self) -> None:
        segment = self._waiting.popleft()
        path = self._place.segment(segment, suffix(self._made))
        writer = SegmentWriter(path, self._made, self._times(segment))
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
