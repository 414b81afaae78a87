"""Checking a written file against what was meant: frames, every time, duration, sound, streams."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.stream import Stream
from av.video.stream import VideoStream

from mien.errors import MediaError, VerificationError
from mien.media.clip import opened
from mien.media.plan import EncodePlan
from mien.types import Int64

_SHIFTED = frozenset({"mpegts", "flv"})
"""Containers whose muxer moves all streams by one common delay."""
_FRAME_SLACK = Fraction(1, 500)


@dataclass(slots=True)
class Counts:
    """What was copied of one stream besides the video."""

    kind: str
    codec: str
    packets: int = 0
    first: Fraction | None = None
    """Time of the first packet in seconds of the output."""
    last: Fraction | None = None
    exact: bool = True
    """False where the stream had to be encoded anew: packets then differ, times only by a packet."""

    def add(self, moment: Fraction) -> None:
        """Counts a packet."""
        self.packets += 1
        self.first = moment if self.first is None else min(self.first, moment)
        self.last = moment if self.last is None else max(self.last, moment)


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What a written file shall hold."""

    pts: Int64
    """(M,) times of the pictures in the plan's time base."""
    end: int
    """When the last picture ends."""
    streams: tuple[Counts, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """What a written file was found to hold."""

    frames: int
    duration: Fraction
    """Seconds from the first picture to the end of the last."""
    streams: tuple[Counts, ...] = field(default=())


def verify(path: Path, made: EncodePlan, expected: Expected) -> Verified:
    """Reads all packets of a file and decodes its first picture.

    Args:
        path: The file written, whatever its name.
        made: The plan it was written by.
        expected: What it shall hold.

    Raises:
        VerificationError: It does not; the first difference is named.
    """
    try:
        with opened(path) as container:
            count = len(container.streams.video)
            rows, counts = _read(container, container.streams.video[0]) if count == 1 else ([], [])
    except MediaError as error:
        raise VerificationError(path, f"cannot be read back: {error.problem}") from error
    if count != 1:
        raise VerificationError(path, f"holds {count} videos instead of 1")
    shift = _check_video(path, made, expected, rows)
    _check_streams(path, made, expected.streams, counts, shift)
    _decodes(path, made)
    end = rows[-1][0] + rows[-1][1]
    return Verified(len(rows), end - rows[0][0], tuple(counts))


def _read(
    container: av.container.InputContainer, video: VideoStream
) -> tuple[list[tuple[Fraction, Fraction]], list[Counts]]:
    """(time, duration) of every picture in order, and every other stream's packets counted."""
    base = cast("Fraction", video.time_base)
    pictures: list[tuple[int, int]] = []
    counted: dict[int, Counts] = defaultdict(lambda: Counts("", ""))
    others = [s for s in container.streams if s.type in ("audio", "subtitle") and s.index != video.index]
    for stream in others:
        counted[stream.index] = Counts(stream.type, codec_of(stream))
    for packet in container.demux([video, *others]):
        if packet.size == 0 or packet.pts is None:
            continue
        if packet.stream_index == video.index:
            pictures.append((packet.pts, packet.duration or 0))
        else:
            counted[packet.stream_index].add(packet.pts * packet.time_base)
    pictures.sort()
    return [(pts * base, length * base) for pts, length in pictures], list(counted.values())


def codec_of(stream: Stream) -> str:
    """Canonical codec name, "" where unknown."""
    context = getattr(stream, "codec_context", None)
    return "" if context is None else str(context.codec.canonical_name)


def _check_video(
    path: Path, made: EncodePlan, expected: Expected, rows: list[tuple[Fraction, Fraction]]
) -> Fraction:
    """The common shift of all times, 0 but for the few containers that have one."""
    if len(rows) != len(expected.pts):
        raise VerificationError(path, f"holds {len(rows)} pictures instead of {len(expected.pts)}")
    wanted = [int(t) * made.time_base for t in expected.pts]
    shift = rows[0][0] - wanted[0] if made.format in _SHIFTED else Fraction(0)
    off = np.flatnonzero([row[0] - shift != want for row, want in zip(rows, wanted, strict=True)])
    if len(off):
        k = int(off[0])
        have, want = float(rows[k][0] - shift), float(wanted[k])
        raise VerificationError(path, f"shows picture {k} at {have:.6f} s instead of {want:.6f} s")
    end, meant = max(t + length for t, length in rows) - shift, expected.end * made.time_base
    slack = max([_FRAME_SLACK, *(after - before for before, after in pairwise(wanted))])
    if rows[-1][1] and abs(end - meant) > slack:  # durations are stored in decoding order
        raise VerificationError(path, f"ends at {float(end):.4f} s instead of {float(meant):.4f} s")
    return shift


def _check_streams(
    path: Path, made: EncodePlan, wanted: tuple[Counts, ...], found: list[Counts], shift: Fraction
) -> None:
    expected = [one for one in wanted if one.kind in ("audio", "subtitle")]
    if [t.kind for t in found] != [t.kind for t in expected]:
        have, want = (", ".join(t.kind for t in side) or "none" for side in (found, expected))
        raise VerificationError(path, f"holds the streams {have} instead of {want}")
    for n, (have_t, want_t) in enumerate(zip(found, expected, strict=True)):
        name = f"{want_t.kind} stream {n + 1}"
        if want_t.exact and have_t.packets != want_t.packets and want_t.kind == "audio":
            raise VerificationError(path, f"{name} has {have_t.packets} packets instead of {want_t.packets}")
        slack = Fraction(1, 900) if want_t.exact else Fraction(1, 8)
        for which in ("first", "last"):
            have, want = getattr(have_t, which), getattr(want_t, which)
            if have is None or want is None or want_t.kind == "subtitle":
                continue
            if abs(have - shift - want) > slack:
                text = f"its {which} packet at {float(have - shift):.5f} s instead of {float(want):.5f} s"
                raise VerificationError(path, f"{name} has {text}")


def _decodes(path: Path, made: EncodePlan) -> None:
    """The first picture decodes at the planned size."""
    try:
        with opened(path) as container:
            picture = next(container.decode(video=0))
    except (StopIteration, av.FFmpegError) as error:
        raise VerificationError(path, "holds a first picture that cannot be decoded") from error
    if (picture.width, picture.height) != (made.width, made.height):
        size = f"{picture.width}x{picture.height} instead of {made.width}x{made.height}"
        raise VerificationError(path, f"is {size}")
