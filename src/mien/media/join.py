"""Joining segments into the result by stream copy, with everything else the input carries.

    done = join(made, paths, clip, frame_index, metadata={"comment": "..."}, xmp=b"<x:xmpmeta ...")

The file is built beside the output under a hidden name, checked, and only then takes the output's name.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from mien.errors import MediaError, VerificationError
from mien.media import codecs
from mien.media.clip import Clip, FrameIndex, opened
from mien.media.encode import FIRST, tag
from mien.media.failure import media_error
from mien.media.passengers import Passengers, kept
from mien.media.plan import EncodePlan, schedule
from mien.media.verify import Expected, Verified, verify
from mien.types import Int64

_XMP_BOX = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
_STANDARD = frozenset(
    {"title", "artist", "album_artist", "album", "date", "comment", "genre", "copyright", "description"}
    | {"synopsis", "show", "episode_id", "network", "composer", "track", "disc", "lyrics", "grouping"}
    | {"keywords", "creation_time", "language", "handler_name", "location", "make", "model", "performer"}
    | {"software", "year", "author", "encoder", "rating"}
)
"""Tags that MP4 and MOV have a place for; others need the free-form table."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What a join did."""

    output: Path
    verified: Verified
    warnings: tuple[str, ...]
    """One sentence each: streams left out or encoded anew, frames missing."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A segment's pictures: decoding order, times in the plan's time base."""

    path: Path
    pts: Int64
    depth: int
    """How many pictures decoding runs ahead of showing."""


def _part(path: Path, made: EncodePlan) -> _Part | None:
    """The times of a finished segment; None where none of its frames was there."""
    if path.stat().st_size == 0:
        return None
    with opened(path) as container:
        stream = container.streams.video[0]
        first = int(container.metadata.get(FIRST, container.metadata.get(FIRST.upper(), "0")))
        scale = cast("Fraction", stream.time_base) / made.time_base
        ticks = [packet.pts for packet in container.demux(stream) if packet.size and packet.pts is not None]
    pts = np.array([round(tick * scale) + first for tick in ticks], np.int64)
    rank = np.argsort(np.argsort(pts))
    depth = int(np.max(np.arange(len(pts)) - rank, initial=0))
    return _Part(path, pts, depth)


def _pictures(
    parts: Sequence[_Part], made: EncodePlan, target: VideoStream, times: Int64, end: int
) -> Iterator[tuple[Fraction, Packet[VideoStream]]]:
    """(decoding time in seconds, packet) of all segments, one after the other.

    Decoding times are made anew over the whole: the sorted times, delayed by the greatest depth of any
    segment, so they rise across the joints whatever the frame rate does.
    """
    depth = max(part.depth for part in parts)
    step = int(times[1] - times[0]) if len(times) > 1 else max(1, end - int(times[0]))
    lead = times[0] - step * np.arange(depth, 0, -1, dtype=np.int64)
    decode = np.concatenate([lead, times])
    following = np.append(times[1:], end)
    number = 0
    for part in parts:
        with opened(part.path) as container:
            stream = container.streams.video[0]
            shown = iter(part.pts)
            for packet in container.demux(stream):
                if packet.size == 0 or packet.pts is None:
                    continue
                pts = int(next(shown))
                packet.pts, packet.dts = pts, int(decode[number])
                packet.duration = int(following[np.searchsorted(times, pts)]) - pts
                packet.time_base = made.time_base
                packet.stream = target
                yield packet.dts * made.time_base, packet
                number += 1


def _movie_timescale(made: EncodePlan, clip: Clip, seconds: Fraction) -> int:
    """A clock on which edit lists are exact for picture and sound, while 32 bits of it last."""
    base = made.time_base.denominator
    rates = [stream.rate for stream in clip.audio if stream.rate]
    for scale in (math.lcm(base, *rates), base):
        if scale >= 1000 and scale * seconds < 2**32 - 1:
            return scale
    return max(1000, base) if base * seconds < 2**32 - 1 else 1000


def _options(made: EncodePlan, clip: Clip, tags: Mapping[str, str], seconds: Fraction) -> dict[str, str]:
    """Muxer options; `bitexact` leaves out random identifiers, so that the same input gives the same file."""
    options = {"fflags": "+bitexact"}
    if made.format in codecs.BOXED:
        flags = "+faststart"
        if any(key.lower() not in _STANDARD and not key.startswith("com.android") for key in tags):
            flags += "+use_metadata_tags"
        options["movflags"] = flags
        options["movie_timescale"] = str(_movie_timescale(made, clip, seconds))
    return options


def _video(output: OutputContainer, template: VideoStream, made: EncodePlan, clip: Clip) -> VideoStream:
    """The output's video stream: as encoded, with the input's display matrix, tags and disposition."""
    stream = output.add_stream_from_template(template, opaque=True)
    context = stream.codec_context
    if made.format in codecs.BOXED and made.family == "hevc":
        context.codec_tag = "hvc1"
    if made.format in codecs.BOXED and made.encoder == "prores_ks":
        context.codec_tag = template.codec_context.codec_tag
    context.framerate = made.rate
    tag(stream, made)
    stream.time_base = made.time_base
    if made.display_matrix:
        stream.set_display_matrix(made.display_matrix)
    stream.metadata.clear()
    stream.metadata.update(kept(dict(clip.stream_metadata)))
    return stream


def _chapters(clip: Clip, made: EncodePlan, end: Fraction | None) -> list[Any]:
    """Chapters in output time, cut to what is left of them."""
    moved = []
    for chapter in clip.chapters:
        entry = dict(chapter)
        base = cast("Fraction | None", entry["time_base"]) or Fraction(1, 1000)
        begin, finish = (cast("int", entry[key]) * base for key in ("start", "end"))
        finish = finish if end is None else min(finish, end)
        begin = max(begin, made.origin) if made.start else begin
        if finish <= begin:
            continue
        shift = made.origin if made.origin else Fraction(0)
        entry["start"], entry["end"] = (max(0, round((t - shift) / base)) for t in (begin, finish))
        entry["time_base"] = base
        moved.append(entry)
    return moved


def _fill(
    output: OutputContainer, video: Iterator[tuple[Fraction, Packet[VideoStream]]], others: Passengers
) -> None:
    """Writes pictures and everything else in order of time."""
    waiting = others.packets()
    head = next(waiting, None)
    for moment, packet in video:
        while head is not None and head[0] <= moment:
            output.mux(head[1])
            head = next(waiting, None)
        output.mux(packet)
    while head is not None:
        output.mux(head[1])
        head = next(waiting, None)


def _hidden(output: Path, work: Path) -> Path:
    """A short hidden name beside the output: another for every job, the same when one is repeated."""
    token = hashlib.sha256(os.fsencode(output.name) + b"/" + os.fsencode(work.absolute())).hexdigest()[:12]
    return output.absolute().parent / f".mien-{token}.partial{output.suffix}"


def _box(xmp: bytes) -> bytes:
    """XMP as a top-level uuid box (XMP specification part 3, 1.1.5)."""
    return struct.pack(">I4s", 24 + len(xmp), b"uuid") + _XMP_BOX + xmp


def join(
    made: EncodePlan,
    segments: Sequence[Path],
    clip: Clip,
    index: FrameIndex,
    *,
    metadata: Mapping[str, str] | None = None,
    xmp: bytes = b"",
) -> Joined:
    """Writes the output of a plan from its finished segments; it appears whole and checked, or not at all.

    Args:
        made: The plan all segments were written by.
        segments: Their files, in order; empty files (of segments whose frames were all lost) count nothing.
        clip: The input, whose sound, subtitles, data, attachments, chapters and metadata come along.
        index: The input's index.
        metadata: Container tags to add.
        xmp: An XMP packet, kept where the container has a place for it (MP4, MOV).

    Raises:
        MediaError: Disk full, folder missing or not writable, output is the input.
        VerificationError: What was written is not what was meant; the file stays under the name it says.
    """
    output = made.output
    partial = _hidden(output, segments[0].parent if segments else output)
    if output.exists() and output.samefile(clip.path):
        raise MediaError(output, "is the input itself", "Choose another name for the output.")
    try:
        parts = [part for part in (_part(path, made) for path in segments) if part is not None]
        if not parts:
            raise MediaError(clip.path, "gave no frame that could be written", "The file is damaged.")
        expected, warnings = _write(partial, made, parts, clip, index, dict(metadata or {}))
        with partial.open("ab") as file:
            if xmp and made.format in codecs.BOXED:
                file.write(_box(xmp))
            file.flush()
            os.fsync(file.fileno())
        verified = _checked(partial, made, expected)
        partial.replace(output)
        _settle(output.absolute().parent)
    except (OSError, ValueError) as error:
        raise media_error(output, error, "cannot be written") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return Joined(output, verified, tuple(warnings))


def _settle(folder: Path) -> None:
    """Makes a rename in a folder survive a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write(
    partial: Path,
    made: EncodePlan,
    parts: Sequence[_Part],
    clip: Clip,
    index: FrameIndex,
    metadata: dict[str, str],
) -> tuple[Expected, list[str]]:
    """Muxes everything into `partial`; returns what it should now hold."""
    times = np.sort(np.concatenate([part.pts for part in parts]))
    whole = schedule(made, index, clip, made.start, made.end)
    # the last picture that is there ends when the next one should have come
    moments = np.append(whole.pts, whole.end)
    end = int(moments[np.searchsorted(whole.pts, times[-1], side="right")])
    limit = made.origin + whole.end * made.time_base if made.end < made.total else None
    warnings = []
    if len(times) < len(whole):
        warnings.append(f"{len(whole) - len(times)} of {len(whole)} frames were lost in the input")
    tags = kept(dict(clip.metadata))
    tags = {
        k: v
        for k, v in tags.items()
        if k.lower() not in ("major_brand", "minor_version", "compatible_brands")
    }
    tags.update(metadata)
    options = _options(made, clip, tags, end * made.time_base)
    with opened(clip.path) as source, opened(parts[0].path) as pattern:
        target = av.open(str(partial.absolute()), "w", format=made.format, container_options=options)
        try:
            target.metadata.update(tags)
            video, others = _streams(target, source, pattern, clip, made, limit)
            target.set_chapters(_chapters(clip, made, limit))
            _fill(target, _pictures(parts, made, video, times, end), others)
            target.close()
        except BaseException:
            with suppress(OSError, ValueError):
                target.close()
            raise
    return Expected(times, end, others.streams), [*warnings, *others.warnings]


def _streams(
    target: OutputContainer,
    source: InputContainer,
    pattern: InputContainer,
    clip: Clip,
    made: EncodePlan,
    limit: Fraction | None,
) -> tuple[VideoStream, Passengers]:
    """The output's streams, in the input's order."""
    others = Passengers(source, clip, made, limit)
    video: VideoStream | None = None
    for stream in cast("list[Stream]", list(source.streams)):
        if stream.index == clip.stream:
            video = _video(target, pattern.streams.video[0], made, clip)
            video.disposition = stream.disposition
        else:
            others.add(target, stream)
    if video is None:
        raise MediaError(clip.path, "has changed since it was probed", "Start again.")
    return video, others


def _checked(partial: Path, made: EncodePlan, expected: Expected) -> Verified:
    """Verifies; a file that fails is kept under a name that says so."""
    try:
        return verify(partial, made, expected)
    except VerificationError as error:
        aside = made.output.with_name(f"{made.output.stem[:80]}.unverified{made.output.suffix}")
        partial.replace(aside)
        advice = f"The file is kept as {aside.name}."
        raise VerificationError(made.output, error.problem, advice) from error
