"""A clip's facts, never its pixels: probing, the frame index, and segments.

clip = probe(Path("in.mp4"))
frames = index(clip)
start = frames.frame_at("1:02.5", clip)
for segment in frames.segments(start, len(frames)):
    ...
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from mien.errors import MediaError, SettingsError
from mien.media.facts import Hdr, colour_of, display_affine, display_matrix_of, hdr_of, rotation_of, turn_of
from mien.media.failure import media_error
from mien.media.layouts import LAYOUTS, nearest
from mien.types import Array, Colour, Float64, Int64, Layout, Segment

__all__ = ["LAYOUTS", "Clip", "FrameIndex", "StreamFacts", "index", "nearest", "only", "opened", "probe"]

_STILL = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
_SAMPLE = 65536
LONGEST = 40
"""Most characters of a moment."""
ELSEWHERE = {"concat", "dash", "hds", "hls", "image2", "lavfi"} | {"rtp", "rtsp", "sap", "sdp", "vobsub"}
"""Formats whose files lead to other files or hosts: play lists and descriptions. What they lead to is neither
asked for by who names a clip, nor in its fingerprint."""
_FORMATS = ",".join(sorted(av.formats_available - ELSEWHERE))


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream of a clip that is copied, not changed."""

    number: int
    kind: str
    """audio, subtitle, data, attachment or video."""
    codec: str
    language: str
    disposition: int
    time_base: Fraction
    start: int | None
    duration: int | None
    rate: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Probed facts of a video file; `media.image` and `media.animation` have those of pictures."""

    path: Path
    container: str
    """FFmpeg's names of the container format, comma separated."""
    codec: str
    stream: int
    """Number of the video stream that is worked on."""
    width: int
    """Coded width in pixels."""
    height: int
    """Coded height in pixels."""
    pix_fmt: str
    """What the decoder delivers; `layout_name` is what frames have after at most one conversion."""
    layout_name: str
    colour: Colour
    time_base: Fraction
    rate: Fraction
    """Average frames a second."""
    display: Float64
    """(2, 3) coded pixels to upright, square display pixels."""
    size: tuple[int, int]
    """Display width and height in pixels."""
    rotation: int
    """Clockwise degrees from coded to display."""
    display_matrix: tuple[int, ...]
    """The container's nine numbers, () where there are none."""
    sar: Fraction
    start_pts: int
    origin: Fraction
    """Seconds on the container's clock that become 0 in an untrimmed output: its first timestamp, or 0."""
    duration: Fraction | None
    interlaced: bool
    hdr: Hdr
    streams: tuple[StreamFacts, ...]
    metadata: Mapping[str, str]
    stream_metadata: Mapping[str, str]
    chapters: tuple[Mapping[str, object], ...]
    fingerprint: str
    """SHA-256 of the size and of samples of the content; a copied or renamed file has the same."""
    warnings: tuple[str, ...] = field(default=())

    @property
    def layout(self) -> Layout:
        """Layout of the frames that decoding yields."""
        return LAYOUTS[self.layout_name]

    @property
    def audio(self) -> tuple[StreamFacts, ...]:
        """The sound streams."""
        return tuple(stream for stream in self.streams if stream.kind == "audio")

    @property
    def subtitles(self) -> tuple[StreamFacts, ...]:
        """The subtitle streams."""
        return tuple(stream for stream in self.streams if stream.kind == "subtitle")


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A container opened for reading; failures become `MediaError`."""
    try:
        options = {"format_whitelist": _FORMATS}
        container = av.open(str(path.absolute()), "r", options=options, metadata_errors="replace")
    except (OSError, ValueError) as error:
        advice = "Give a video or picture, or convert it with another program."
        raise media_error(path, error, "is not a video that can be read", advice) from error
    with container:
        yield container


def only(container: InputContainer, number: int) -> None:
    """Makes the demuxer pass over every stream but one."""
    for stream in container.streams:
        stream.discard = Discard.default if stream.index == number else Discard.all


def fingerprint(path: Path) -> str:
    """SHA-256 over the size and 64 KiB samples from 16 places, head and tail among them.

    Raises:
        MediaError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for k in range(16):
                file.seek(max(0, (size - _SAMPLE) * k // 15))
                digest.update(file.read(_SAMPLE))
                if size <= _SAMPLE:
                    break
    except OSError as error:
        raise media_error(path, error, "cannot be read") from error
    return digest.hexdigest()


def _best(container: InputContainer, path: Path) -> VideoStream:
    """The moving picture: no cover art, not a stream of one big still, then the largest."""

    def merit(stream: VideoStream) -> tuple[bool, bool, bool, int, int]:
        area = stream.codec_context.width * stream.codec_context.height
        still = bool(stream.disposition & _STILL)
        default = bool(stream.disposition & Disposition.default)
        return (not still, stream.frames != 1, default, max(stream.frames, 1) * area, -stream.index)

    known = [stream for stream in container.streams.video if _name(stream)]
    usable = [stream for stream in known if not stream.disposition & Disposition.attached_pic]
    if not usable:
        problem = "has a picture but no video" if known else "has no video stream"
        raise MediaError(path, problem, "Give a video or an image.")
    return max(usable, key=merit)


def _name(stream: Stream) -> str:
    """Codec of a stream, "" where unknown."""
    context = stream.codec_context
    if context is None:
        return str(getattr(stream, "name", "") or "")
    return str(context.codec.canonical_name)


def _facts(stream: Stream) -> StreamFacts:
    context = stream.codec_context
    audio = stream.type == "audio" and context is not None
    return StreamFacts(
        number=stream.index,
        kind=stream.type,
        codec=_name(stream),
        language=stream.metadata.get("language", ""),
        disposition=int(stream.disposition),
        time_base=stream.time_base or Fraction(1, 1000),
        start=stream.start_time,
        duration=stream.duration,
        rate=int(getattr(context, "sample_rate", 0) or 0) if audio else 0,
        channels=int(getattr(context, "channels", 0) or 0) if audio else 0,
    )


def _first_frames(container: InputContainer, stream: VideoStream, path: Path) -> list[av.VideoFrame]:
    """Up to three decoded frames; damaged packets before them are passed over."""
    found: list[av.VideoFrame] = []
    stream.codec_context.thread_count = 1
    try:
        for packet in container.demux(stream):
            try:
                found += packet.decode()
            except av.FFmpegError:
                continue
            if len(found) >= 3:
                break
    except av.FFmpegError:
        pass
    if not found:
        raise MediaError(path, "holds no picture that can be decoded", "The file is damaged or incomplete.")
    return found[:3]


def _origin(container: InputContainer, video: VideoStream) -> Fraction:
    """First moment of sound or picture on the container's clock if later than 0, in whole video ticks."""
    base = video.time_base or Fraction(1, 1000)
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.type in ("video", "audio")
        and stream.start_time is not None
        and stream.time_base is not None
        and not stream.disposition & Disposition.attached_pic
    ]
    first = min(starts, default=Fraction(0))
    return max(Fraction(0), (first // base) * base)


def _flipped(frame: av.VideoFrame) -> bool:
    return any(plane.line_size < 0 for plane in frame.planes)


def _layout(frame: av.VideoFrame) -> Layout:
    """Where rows are stored bottom up the picture is converted, so that views run top down."""
    layout = nearest(frame.format.name)
    if not _flipped(frame):
        return layout
    other = {"bgr24": "rgb24", "bgra": "rgba", "gray": "yuv444p", "yuv420p": "yuvj420p"}
    return LAYOUTS[other.get(layout.name, "yuv444p")]


def probe(path: Path) -> Clip:
    """Facts of a video: opens it and decodes up to three frames.

    Args:
        path: A video file.

    Raises:
        MediaError: Missing, unreadable, no video in it, or nothing in it can be decoded.
    """
    path = Path(path)
    mark = fingerprint(path)
    if path.stat().st_size == 0:
        raise MediaError(path, "is empty (0 bytes)", "Copy or export it again.")
    with opened(path) as container:
        stream = _best(container, path)
        frames = _first_frames(container, stream, path)
        return _clip(path, mark, container, stream, frames)


def _clip(
    path: Path, mark: str, container: InputContainer, stream: VideoStream, frames: list[av.VideoFrame]
) -> Clip:
    frame = frames[0]
    codec, layout = _name(stream), _layout(frame)
    sar = stream.sample_aspect_ratio or Fraction(1)
    matrix = display_matrix_of(frame)
    turn = turn_of(matrix)
    display, size = display_affine(frame.width, frame.height, sar, turn)
    base = stream.time_base or Fraction(1, 1000)
    duration = Fraction(container.duration, av.time_base) if container.duration else None
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
    pix_fmt = frame.format.name
    warnings = []
    if layout.name != pix_fmt:
        warnings.append(f"pixel format {pix_fmt} is worked on as {layout.name}")
    if stream.metadata.get("alpha_mode") == "1" and not layout.alpha:
        warnings.append("its transparency is not read")
    if int(frame.colorspace) == 8:
        raise MediaError(path, "has YCgCo colours", "Convert it to BT.709 first.")
    return Clip(
        path=path,
        container=container.format.name,
        codec=codec,
        stream=stream.index,
        width=frame.width,
        height=frame.height,
        pix_fmt=pix_fmt,
        layout_name=layout.name,
        colour=colour_of(frame, codec, layout),
        time_base=base,
        rate=rate,
        display=display,
        size=size,
        rotation=rotation_of(turn),
        display_matrix=matrix,
        sar=sar,
        start_pts=stream.start_time or 0,
        origin=_origin(container, stream),
        duration=duration,
        interlaced=any(frame.interlaced_frame for frame in frames),
        hdr=hdr_of(frame),
        streams=tuple(_facts(other) for other in container.streams if other.index != stream.index),
        metadata=dict(container.metadata),
        stream_metadata=dict(stream.metadata),
        chapters=tuple(dict(chapter) for chapter in container.chapters()),
        fingerprint=mark,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """Every frame of a clip's video stream in presentation order."""

    pts: Int64
    """(N,) presentation times in the clip's time base, strictly rising."""
    key: Array
    """(N,) bool: decoding can start here."""
    dts: Int64
    """(N,) decoding time of each frame's packet, for seeking."""
    end_pts: int
    """Moment at which the last frame ends."""
    time_base: Fraction
    """The clip's."""
    counted: bool = False
    """The packets carry no times: `pts` counts frames at the clip's rate, and seeking is not possible."""
    broken: str = ""
    """Why reading stopped before the end; "" where it did not."""

    def __len__(self) -> int:
        return len(self.pts)

    def frame_at(self, text: str, clip: Clip) -> int:
        """Number of the first frame at or after a moment, N at most.

        Args:
            text: Seconds ("12.5"), a clock time ("1:02.5", "0:01:02.5") or a frame ("250f"); seconds
                count from the clip's beginning.
            clip: The clip this index belongs to.

        Raises:
            SettingsError: The text is none of these.
        """
        text = text.strip()
        advice = 'Write seconds "12.5", "1:02.5" or a frame "250f".'
        if len(text) > LONGEST:
            raise SettingsError(f"{text[:LONGEST]}...", "is not a moment", advice)
        if re.fullmatch(r"\d+f", text):
            return min(int(text[:-1]), len(self))
        if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?|\.\d+", text):
            raise SettingsError(text, "is not a moment", advice)
        moment = Fraction(0)
        for part in text.split(":"):
            moment = moment * 60 + Fraction(part if part[-1] != "." else part + "0")
        wanted = (moment + clip.origin) / clip.time_base
        return int(np.searchsorted(self.pts, -(-wanted.numerator // wanted.denominator), side="left"))

    def segments(self, start: int, end: int, seconds: float = 10.0) -> tuple[Segment, ...]:
        """Segments that together are [start, end), each about `seconds` long, cut at key frames.

        Cuts lie at key frames of the input where there is one near, so that little is decoded twice; a run
        without key frames longer than twice `seconds` is cut regardless. An end shorter than a quarter of
        `seconds` belongs to the segment before it: encoders do poorly on a few frames.
        """
        if not 0 <= start < end <= len(self):
            raise ValueError(f"segments: expected 0 <= start < end <= {len(self)}, got [{start}, {end})")
        step = max(1, round(Fraction(seconds) / self.time_base))
        cuts = [start]
        while True:
            begun = int(self.pts[cuts[-1]])
            low = max(int(np.searchsorted(self.pts, begun + step)), cuts[-1] + 1)
            high = max(int(np.searchsorted(self.pts, begun + 2 * step)), low + 1)
            if low >= end:
                break
            keys = np.flatnonzero(self.key[low : min(high, end)])
            if not len(keys) and high >= end:
                break
            cut = low + int(keys[0]) if len(keys) else low
            cuts.append(cut)
        last = int(self.pts[end]) if end < len(self) else self.end_pts
        if len(cuts) > 1 and 4 * (last - int(self.pts[cuts[-1]])) < step:
            cuts.pop()
        bounds = [*cuts, end]
        return tuple(Segment(n, bounds[n], bounds[n + 1]) for n in range(len(cuts)))


def _shown(codec: str, packet: av.Packet[VideoStream]) -> bool:
    """Whether a packet becomes a visible frame (RFC 6386 9.1: VP8's show_frame bit)."""
    if packet.is_discard:
        return False
    return codec != "vp8" or bool(bytes(packet)[0] >> 4 & 1)


def index(clip: Clip) -> FrameIndex:
    """Reads all packets of the video stream, decoding none.

    Frames outside the container's edit list are left out. A file that ends or breaks early gives what is
    there, and `broken` says so.

    Raises:
        MediaError: Interlaced video, or no frame in it.
    """
    if clip.interlaced:
        raise MediaError(
            clip.path, "is interlaced", "Deinterlace it first, for example with FFmpeg's bwdif filter."
        )
    rows: list[tuple[int | None, int | None, bool, int]] = []
    broken, length, seen = "", 0, 0
    with opened(clip.path) as container:
        stream = cast("VideoStream", container.streams[clip.stream])
        only(container, clip.stream)
        length = stream.duration or 0
        try:
            for packet in container.demux(stream):
                seen += packet.size > 0
                if packet.size and _shown(clip.codec, packet):
                    rows.append((packet.pts, packet.dts, packet.is_keyframe, packet.duration or 0))
        except av.FFmpegError as error:
            broken = str(error.strerror or error)
        promised = _promised(container, stream)
    if not rows:
        raise MediaError(clip.path, "has no video frame", "The file is damaged or incomplete.")
    known = _timed(rows, clip, length, broken)
    return replace(known, broken=broken or _short(known, seen, *promised))


def _promised(container: InputContainer, stream: VideoStream) -> tuple[int, Fraction]:
    """How many packets and seconds of video the file's own head announces; 0 where it does not say."""
    if "mov" in container.format.name:
        return stream.frames, Fraction(0)
    told = re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", ""))
    if told is None:
        return 0, Fraction(0)
    hours, minutes, seconds = (Fraction(part) for part in told.groups())
    return 0, (hours * 60 + minutes) * 60 + seconds


def _short(known: FrameIndex, seen: int, frames: int, seconds: Fraction) -> str:
    """Why a file that was read to its end is not whole; "" where it is."""
    if frames > seen:
        return f"its head announces {frames}"
    end = known.end_pts * known.time_base
    if seconds > end + Fraction(1, 10):
        return f"its head announces {float(seconds):.3f} s, {float(end):.3f} s are there"
    return ""


def _timed(
    rows: list[tuple[int | None, int | None, bool, int]], clip: Clip, length: int, broken: str
) -> FrameIndex:
    """The index of demuxed rows (pts, dts, key, duration)."""
    if any(row[0] is None for row in rows):
        ticks = [round(k / clip.rate / clip.time_base) for k in range(len(rows) + 1)]
        key = np.zeros(len(rows), bool)
        key[0] = True
        pts = np.array(ticks[:-1], np.int64)
        return FrameIndex(pts, key, pts, ticks[-1], clip.time_base, counted=True, broken=broken)
    times = np.array([row[0] for row in rows], np.int64)
    unique, order = np.unique(times, return_index=True)
    dts = np.array([times[k] if rows[k][1] is None else rows[k][1] for k in order], np.int64)
    key = np.array([rows[k][2] for k in order], bool)
    last = _last_duration(unique, rows[int(order[-1])][3], length, clip)
    return FrameIndex(unique, key, dts, int(unique[-1]) + last, clip.time_base, broken=broken)


def _last_duration(pts: Int64, stored: int, length: int, clip: Clip) -> int:
    """How long the last frame is shown.

    ISO media stores durations in decoding order, so with reordered frames the last one's own is another
    frame's; the track's length tells better, unless the file was cut short.
    """
    usual = max(1, round(1 / clip.rate / clip.time_base))
    longest = max(usual, int(np.max(np.diff(pts), initial=0)))
    by_length = int(pts[0]) + length - int(pts[-1])
    if length and by_length > 0 and (len(pts) == 1 or by_length <= 2 * longest):
        return by_length
    return stored or usual
