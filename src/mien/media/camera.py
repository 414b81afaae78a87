"""Live input: pictures and sounds of a camera, file or stream as they come, on one clock that starts at 0.

Pictures are 8-bit 4:2:0, upright, and of one size from the first to the last: every live output takes that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.stream import VideoStream

from mien.errors import MediaError
from mien.media import devices
from mien.media.decode import THREADS, views
from mien.media.devices import Place
from mien.media.facts import colour_of, display_affine, display_matrix_of, turn_of
from mien.media.failure import media_error
from mien.media.layouts import LAYOUTS
from mien.settings import Feed
from mien.types import Float32, Float64, Frame

TICKS = 90_000
"""Ticks a second of a live frame's time."""
RATE = 48_000
"""Samples a second of live sound, in two channels."""
_OPEN, _READ = 10.0, 5.0
"""Seconds that an input may take to open, and to deliver something."""
_AGAIN = 0.5
"""Seconds between two attempts to open an input that was lost."""
_JERK = RATE // 8
"""Samples by which a piece may come early or late."""
_SLACK = RATE // 50
"""Samples by which sound may be off its time before the gap is filled or the overlap dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A picture as it came in."""

    frame: Frame
    """8-bit 4:2:0, writable; `pts` in ticks."""
    captured: float
    """When it came, seconds on the clock of `Pace`."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A piece of sound."""

    samples: Float32
    """(2, n), -1 to 1."""
    start: int
    """Which sample the first one is, from the beginning of the pictures' time."""

    @property
    def end(self) -> int:
        """Sample after its last one."""
        return self.start + len(self)

    def __len__(self) -> int:
        return int(self.samples.shape[1])


@dataclass(frozen=True, slots=True)
class Said:
    """Something to be told."""

    subject: str
    message: str


Item: TypeAlias = Shot | Sound | Said


class Pace(Protocol):
    """A clock that can be waited on."""

    def now(self) -> float:
        """Seconds since some moment; never falls."""

    def until(self, moment: float) -> bool:
        """Wait for a moment; False where the wait was ended because the run ends."""


class Wall:
    """The computer's own clock."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def now(self) -> float:
        """Seconds, as `time.monotonic` counts them."""
        return time.monotonic()

    def until(self, moment: float) -> bool:
        """Wait for a moment; False where `end` was called."""
        left = moment - time.monotonic()
        return not (self._ended.wait(left) if left > 0 else self._ended.is_set())

    def end(self) -> None:
        """Wake whoever waits, now and from now on."""
        self._ended.set()


class Timeline:
    """Moments of an input as ticks that start at 0 and never fall, over interruptions, too."""

    def __init__(self) -> None:
        self.began = 0.0
        """When tick 0 was, on the clock of `Pace`."""
        self.last = -1
        """Tick of the latest picture."""
        self._origin = Fraction(0)
        self._base = 0
        self._begun = False

    def open(self, origin: Fraction, now: float) -> None:
        """An input was opened, whose first moment is `origin` seconds; its time goes on from `now`."""
        if not self._begun:
            self._begun, self.began = True, now
        else:
            self._base = max(round((now - self.began) * TICKS), self.last + 1)
        self._origin = origin

    def repeat(self, origin: Fraction, length: int) -> None:
        """The same input begins again, `length` ticks after its last picture."""
        self._base, self._origin = self.last + length, origin

    def tick(self, moment: Fraction) -> int:
        """The tick of a picture at a moment of the input; later than the one before."""
        self.last = max(self._base + round((moment - self._origin) * TICKS), self.last + 1)
        return self.last

    def sample(self, moment: Fraction) -> int:
        """Which sample a moment of the input is."""
        at: Fraction = moment - self._origin + Fraction(self._base, TICKS)
        return round(at * RATE)

    def due(self, tick: int) -> float:
        """When a tick is, on the clock of `Pace`."""
        return self.began + tick / TICKS


class Reader:
    """Iterates over what an input delivers: `Shot`, `Sound`, and `Said` where there is something to tell.

    A file is played at its own speed. A camera or stream that is lost is opened again for as long as
    `feed.reconnect` allows.

    Args:
        feed: What comes in.
        pace: The clock.
        timeline: Continued, where another input was read before.
        opener: What opens containers; `av.open`.

    Raises:
        MediaError: The input cannot be opened, shows no video, or is lost for too long.
    """

    def __init__(
        self,
        feed: Feed,
        pace: Pace,
        timeline: Timeline | None = None,
        opener: Callable[..., Any] = av.open,
    ) -> None:
        self.place = devices.picture(feed)
        self.timeline = timeline or Timeline()
        self.size: tuple[int, int] | None = None
        """Width and height of all pictures, once there is one."""
        self.rate = Fraction(25)
        """About how many pictures a second there are, once the input is open."""
        self.audible = False
        """Whether there is sound, once the input is open."""
        self._feed, self._pace, self._opener = feed, pace, opener
        self._index = 0
        self._over = False
        self._told: set[str] = set()

    def __iter__(self) -> Iterator[Item]:
        lost: float | None = None
        opened = False
        while True:
            try:
                for item in self._once(repeating=opened and self.place.kind == "file"):
                    if lost is not None and isinstance(item, Shot):
                        yield Said(self._feed.input, f"is back after {self._pace.now() - lost:.1f} s")
                        lost = None
                    opened = True
                    yield item
                    del item
                problem = MediaError(self._feed.input, "has ended")
            except MediaError as error:
                problem = error
                if not opened or self.place.kind == "file":
                    raise
            if self.place.kind == "file":
                if not self._feed.loop or self._over:
                    return
                continue
            now = self._pace.now()
            if lost is None:
                lost = now
                if self._feed.reconnect:
                    yield Said(self._feed.input, f"{problem.problem}; it is tried again")
            if now - lost >= self._feed.reconnect:
                advice = "Connect it again and repeat; `--feed.reconnect` sets for how long it is tried."
                raise MediaError(self._feed.input, f"is lost: {problem.problem}", advice) from problem
            if not self._pace.until(now + _AGAIN):
                return

    def _once(self, repeating: bool) -> Iterator[Item]:
        """Everything from one opening of the input to its end."""
        with opened(self.place, self._opener) as container:
            video = _video(container, self._feed.input)
            audio = next(iter(container.streams.audio), None) if self._feed.sound == "auto" else None
            origin = _origin(video, audio)
            usual = self.rate = video.average_rate or video.guessed_rate or Fraction(25)
            if repeating:
                self.timeline.repeat(origin, round(TICKS / usual))
            else:
                self.timeline.open(origin, self._pace.now())
            self.audible = audio is not None
            ears = _Ears(self.timeline) if audio is not None else None
            for packet in _packets(container, video, audio):
                for decoded in _decoded(packet):
                    if isinstance(decoded, av.VideoFrame):
                        shot = self._shot(decoded, video, origin, usual)
                        if shot is None:
                            return
                        yield from self._remarks(decoded)
                        yield shot
                        del shot
                    elif ears is not None:
                        yield from ears.hear(cast("av.AudioFrame", decoded))

    def _shot(
        self, picture: av.VideoFrame, video: VideoStream, origin: Fraction, usual: Fraction
    ) -> Shot | None:
        """A picture in its time; None where the run ends meanwhile."""
        if picture.pts is None or picture.time_base is None:
            moment = origin + self._index / usual
        else:
            moment = picture.pts * picture.time_base
        tick = self.timeline.tick(moment)
        frame = self._frame(picture, video, tick)
        self._index += 1
        if self.place.kind != "file":
            return Shot(frame, self._pace.now())
        due = self.timeline.due(tick)
        self._over = not self._pace.until(due)
        return None if self._over else Shot(frame, due)

    def _frame(self, picture: av.VideoFrame, video: VideoStream, tick: int) -> Frame:
        context = video.codec_context
        turned = upright(plain(picture), turn_of(display_matrix_of(picture)))
        size = (turned.width, turned.height)
        if self.size is None:
            self.size = size
        elif size != self.size:
            turned = turned.reformat(width=self.size[0], height=self.size[1], threads=THREADS)
        return frame(turned, context.name, tick, self._index, video.sample_aspect_ratio or Fraction(1))

    def _remarks(self, picture: av.VideoFrame) -> Iterator[Said]:
        """What is done to pictures beyond what was asked, said once."""
        name = picture.format.name
        if picture.format.components[0].bits > 8:
            yield from self._once_said(f"{name} is worked on with 8 bits")
        if self.size not in ((picture.width, picture.height), (picture.height, picture.width)):
            yield from self._once_said("changed its size; pictures keep that of the first one")

    def _once_said(self, text: str) -> Iterator[Said]:
        if text not in self._told:
            self._told.add(text)
            yield Said(self._feed.input, text)


class Microphone:
    """Iterates over the sound of a microphone on the clock of the pictures.

    Args:
        where: From `devices.sound`.
        pace: The clock.
        timeline: Of the pictures.
        opener: What opens containers; `av.open`.

    Raises:
        MediaError: It cannot be opened or is lost.
    """

    def __init__(
        self, where: Place, pace: Pace, timeline: Timeline, opener: Callable[..., Any] = av.open
    ) -> None:
        self._place, self._pace, self._timeline, self._opener = where, pace, timeline, opener

    def __iter__(self) -> Iterator[Sound]:
        with opened(self._place, self._opener) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                raise MediaError(self._place.url, "has no sound", "Choose another microphone.")
            hearing = Hearing(self._timeline)
            for packet in _packets(container, stream, None):
                for decoded in _decoded(packet):
                    yield from hearing.hear(cast("av.AudioFrame", decoded), self._pace.now())


class Hearing:
    """Decoded sound as `Sound` by when it came: in jerks, but its samples follow each other.

    Args:
        timeline: Of the pictures.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._form = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
        self._expected: int | None = None

    def hear(self, decoded: av.AudioFrame, at: float) -> Iterator[Sound]:
        """A piece that came at a moment of the run's clock."""
        for made in self._form.resample(decoded):
            samples = np.asarray(made.to_ndarray(), np.float32)
            due = round((at - self._timeline.began) * RATE) - samples.shape[1]
            on = self._expected is not None and abs(due - self._expected) <= _JERK
            start = self._expected if on and self._expected is not None else due
            self._expected = start + samples.shape[1]
            yield Sound(samples, start)


class _Ears:
    """Decoded sound as `Sound`, without gaps or overlaps where its times are off by little."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._form = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
        self._expected: int | None = None

    def hear(self, decoded: av.AudioFrame) -> Iterator[Sound]:
        for made in self._form.resample(decoded):
            samples = np.asarray(made.to_ndarray(), np.float32)
            start = self._expected
            if made.pts is not None and made.time_base is not None:
                at = self._timeline.sample(made.pts * made.time_base)
                if start is None or abs(at - start) > _SLACK:
                    start = at
            self._expected = (start or 0) + samples.shape[1]
            yield Sound(samples, start or 0)


def opened(where: Place, opener: Callable[..., Any] = av.open) -> InputContainer:
    """An open input; a context manager.

    Raises:
        MediaError: It cannot be opened.
    """
    limits = {"timeout": (_OPEN, _READ)} if where.kind in ("stream", "camera") else {}
    try:
        made: InputContainer = opener(
            where.url, "r", format=where.format or None, options=dict(where.options), **limits
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        advice = {
            "camera": "See that it is connected and no other program uses it, or ask less of it.",
            "stream": "Check the address, and that it is being sent.",
        }.get(where.kind, "")
        raise media_error(Path(where.url), error, "cannot be opened", advice) from error
    return made


def plain(picture: av.VideoFrame) -> av.VideoFrame:
    """The picture as 8-bit 4:2:0 in its own range; itself where it is that."""
    full = int(picture.color_range) == 2 or picture.format.name.startswith("yuvj")
    wanted = "yuvj420p" if full and not picture.format.is_rgb else "yuv420p"
    if picture.format.name in (wanted, "yuv420p"):
        return picture
    matrix = "itu709" if picture.height > 576 or picture.width >= 1280 else "itu601"
    asked: dict[str, Any] = {"dst_colorspace": matrix} if picture.format.is_rgb else {}
    made = picture.reformat(format=wanted, threads=THREADS, **asked)
    made.pts, made.time_base = picture.pts, picture.time_base
    return made


def upright(picture: av.VideoFrame, turn: Float64) -> av.VideoFrame:
    """The 4:2:0 picture turned and mirrored as (2, 2) integers say; itself where they say nothing."""
    if np.array_equal(turn, np.eye(2)):
        return picture
    over = turn[0, 0] == 0
    size = (picture.height, picture.width) if over else (picture.width, picture.height)
    made = av.VideoFrame(*size, picture.format.name)
    layout = LAYOUTS[picture.format.name]
    across, down = (turn[0, 1], turn[1, 0]) if over else (turn[0, 0], turn[1, 1])
    for there, here in zip(views(made, layout), views(picture, layout), strict=True):
        plane = here.T if over else here
        np.copyto(there, plane[:: int(down), :: int(across)])
    made.colorspace, made.color_range = picture.colorspace, picture.color_range
    return made


def frame(picture: av.VideoFrame, codec: str, tick: int, index: int, sar: Fraction = Fraction(1)) -> Frame:
    """A frame over the planes of a 4:2:0 picture, which is made writable.

    Args:
        picture: From `plain`.
        codec: FFmpeg's name of its codec.
        tick: Its time.
        index: Its number.
        sar: Width of a sample over its height.
    """
    picture.make_writable()
    layout = LAYOUTS[picture.format.name]
    display, _ = display_affine(picture.width, picture.height, sar, np.eye(2))
    colour = colour_of(picture, codec, layout)
    return Frame(views(picture, layout), layout, colour, tick, index, display, picture)


def _video(container: InputContainer, name: str) -> VideoStream:
    """The picture stream, set to deliver each picture as soon as it can."""
    if not container.streams.video:
        raise MediaError(name, "has no video", "Give a camera, a video or a stream with pictures.")
    stream = container.streams.video[0]
    # Frames in parallel would each be late by the number of threads.
    stream.codec_context.thread_type = ThreadType.SLICE
    return stream


def _origin(video: VideoStream, audio: AudioStream | None) -> Fraction:
    """First moment of an input in seconds."""
    starts = [
        stream.start_time * stream.time_base
        for stream in (video, audio)
        if stream is not None and stream.start_time is not None and stream.time_base is not None
    ]
    return min(starts, default=Fraction(0))


def _packets(container: InputContainer, *streams: Any) -> Iterator[Any]:
    """Packets until the end.

    Raises:
        MediaError: The input broke off.
    """
    packets = container.demux(*(stream for stream in streams if stream is not None))
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, OSError, ValueError) as error:
            raise media_error(Path(container.name), error, "broke off") from error
        yield packet


def _decoded(packet: Any) -> list[Any]:
    """What a packet holds; nothing where it is damaged."""
    try:
        return list(packet.decode())
    except (av.FFmpegError, OSError, ValueError):
        return []
