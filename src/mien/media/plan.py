"""Deciding how a result is written: codec, pixel format, container, time base, and when each frame is shown.

made = plan(clip, frame_index, settings.encode, Path("out.mp4"))
times = schedule(made, frame_index, clip, segment.start, segment.end)
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import get_args

import numpy as np

from mien.errors import MediaError, SettingsError
from mien.media import codecs
from mien.media.clip import Clip, FrameIndex
from mien.media.failure import media_error
from mien.media.layouts import nearest
from mien.settings import Encode
from mien.types import Colour, Int64, Layout

_SEGMENTS_IN_MP4 = frozenset({"libx264", "libx264rgb", "libx265", "libsvtav1", "libvpx-vp9"})
_TICKS = {
    "matroska": Fraction(1, 1000),
    "webm": Fraction(1, 1000),
    "flv": Fraction(1, 1000),
    "mpegts": Fraction(1, 90000),
}


@dataclass(frozen=True, slots=True, eq=False)
class EncodePlan:
    """Everything that decides the bytes of an encoded segment, and how segments become a file."""

    output: Path
    format: str
    """FFmpeg's name of the container format."""
    encoder: str
    family: str
    pix_fmt: str
    width: int
    """Coded width written."""
    height: int
    picture: tuple[int, int]
    """Coded size of the picture inside, less than width and height by at most one where padded."""
    sar: Fraction
    colour: Colour
    display_matrix: tuple[int, ...]
    time_base: Fraction
    """Of every time written: one the container holds exactly."""
    rate: Fraction
    fps: Fraction | None
    """Constant output rate; None keeps the input's times."""
    origin: Fraction
    """Seconds on the clip's clock that are 0 in the output."""
    start: int
    """First frame of the clip that is written."""
    end: int
    """Frame after the last one that is written."""
    options: Mapping[str, str]
    qscale: int
    bitrate: int
    gop: int
    threads: int
    segment_format: str
    total: int
    """Frames in the whole clip."""
    card: int | None = None
    """CUDA's number of the card that encodes; None for the processor."""
    device: str = ""
    """Where pictures for the encoder lie, as torch names it; empty: in host memory."""
    warnings: tuple[str, ...] = ()
    """One sentence each: what is done otherwise than asked or than in the input."""


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Which frame of the clip is shown when in the output."""

    source: Int64
    """(M,) frame numbers in the clip, never falling; repeated or left out where the rate changes."""
    pts: Int64
    """(M,) times in the plan's time base, strictly rising."""
    end: int
    """Moment at which the last one ends."""

    def __len__(self) -> int:
        return len(self.pts)

    def at(self, frame: int) -> list[tuple[int, int]]:
        """Times and durations at which a frame of the clip is shown: none, one or several."""
        first, last = np.searchsorted(self.source, [frame, frame + 1])
        if first == last:
            return []
        following = np.append(self.pts[first + 1 : last + 1], self.end if last >= len(self) else [])
        pairs = zip(self.pts[first:last], following, strict=True)
        return [(int(begin), int(after - begin)) for begin, after in pairs]


def _gcd(a: Fraction, b: Fraction) -> Fraction:
    """Greatest fraction that both are whole multiples of."""
    return Fraction(
        math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator
    )


def _format(output: Path) -> str:
    """Container of an output's name."""
    suffix = output.suffix.lower()
    if suffix not in codecs.FORMATS:
        known = ", ".join(sorted(codecs.FORMATS))
        raise MediaError(output, f'cannot be written as "{suffix or output.name}"', f"Use one of {known}.")
    return codecs.FORMATS[suffix]


def _writable(output: Path, source: Path) -> None:
    """Says before the work what would go wrong after it.

    Raises:
        MediaError: The output is the input, a folder, or in no folder that can be written.
    """
    folder = output.absolute().parent
    try:
        if output.exists() and output.samefile(source):
            raise MediaError(output, "is the input itself", "Choose another name for the output.")
        if output.is_dir():
            raise MediaError(output, "is a folder", "Name a file in it.")
        if not folder.is_dir():
            raise MediaError(folder, "is not a folder that exists", "Make it first.")
    except OSError as error:
        raise media_error(output, error, "cannot be written") from error
    if not os.access(folder, os.W_OK):
        raise MediaError(folder, "may not be written", "Choose another folder.")


def _encoder(clip: Clip, encode: Encode, form: str, output: Path, depth: int) -> tuple[str, list[str]]:
    """The encoder for a clip in a container, and what to say where it is not the input's family."""
    wanted = clip.codec if encode.codec == "auto" else encode.codec
    said: list[str] = []
    encoder = codecs.FAMILIES.get(wanted, "")
    usable = encoder and codecs.exists(encoder) and codecs.holds(form, encoder)
    if encode.codec != "auto" and not usable:
        names = get_args(Encode.model_fields["codec"].annotation)
        fitting = [name for name in names if name != "auto" and codecs.holds(form, codecs.FAMILIES[name])]
        advice = f"Name the output .mkv, or use one of {', '.join(fitting)} or auto."
        raise SettingsError("encode.codec", f"{wanted} does not fit into {output.suffix} files", advice)
    deep = depth > 8 and encoder in ("libvpx-vp9", "libvpx")
    if usable and not deep:
        return encoder, said
    choices = ["libsvtav1", "libx265"] if depth > 8 else ["libx264", "libvpx-vp9"]
    if wanted in codecs.LOSSLESS:
        choices = ["ffv1", "prores_ks", *choices]
    choices += ["libx264", "libvpx-vp9", "libsvtav1", "mjpeg", "ffv1"]
    for other in choices:
        if codecs.exists(other) and codecs.holds(form, other):
            if encode.codec == "auto":
                said.append(f"{wanted} cannot be written here, so the result is {_family(other)}")
            return (encoder, []) if deep and encode.codec != "auto" else (other, said)
    raise MediaError(output, "no encoder for this container is there", "Use .mp4 or .mkv.")


def _family(encoder: str) -> str:
    return next((name for name, value in codecs.FAMILIES.items() if value == encoder), "h264")


def _pix_fmt(layout: Layout, encoder: str) -> tuple[str, str]:
    """(encoder, pixel format) that keep most of the layout."""
    if encoder == "libx264" and layout.model == "rgb" and layout.depth == 8:
        return "libx264rgb", "rgb24"
    names = codecs.pixel_formats(encoder)
    if not names or layout.name in names:
        return encoder, layout.name

    def loss(name: str) -> tuple[int, ...]:
        try:
            other = nearest(name)
        except MediaError:
            return (9,)
        less = (
            max(0, layout.depth - other.depth),
            max(0, other.chroma[0] - layout.chroma[0]) + max(0, other.chroma[1] - layout.chroma[1]),
            int(layout.alpha and not other.alpha),
            int((layout.model == "rgb") != (other.model == "rgb")),
        )
        jpeg = int(name.startswith("yuvj") != layout.name.startswith("yuvj"))
        more = other.depth - layout.depth + sum(layout.chroma) - sum(other.chroma)
        return (int(less[3]), int(less[2]), *less[:2], abs(more), len(other.planes), jpeg)

    return encoder, min(names, key=loss)


def _size(clip: Clip, encode: Encode) -> tuple[int, int, Fraction]:
    """Coded width, height and sample aspect ratio of the picture that is written."""
    if not encode.size:
        return clip.width, clip.height, clip.sar
    width, height = (int(part) for part in encode.size.split("x"))
    if not (16 <= width <= 16384 and 16 <= height <= 16384):
        advice = "Write width x height of the picture as it is shown, such as 1280x720."
        raise SettingsError("encode.size", f"{encode.size} is not between 16x16 and 16384x16384", advice)
    if clip.rotation in (90, 270):
        width, height = height, width
    return width, height, Fraction(1)


def _time_base(clip: Clip, form: str, fps: Fraction | None, first: Fraction) -> Fraction:
    """A time base in which the container holds every time (ISO media: exactly)."""
    if form in _TICKS:
        return _TICKS[form]
    if form == "avi":
        return 1 / (fps or clip.rate)
    if fps is None:
        return clip.time_base
    return _gcd(1 / fps, first) if first else 1 / fps


def _fps(text: str) -> Fraction | None:
    """The constant rate that is asked for; None for the input's own times."""
    if not text:
        return None
    try:
        fps = Fraction(text)
    except ZeroDivisionError:
        fps = Fraction(0)
    if not Fraction(1, 100) <= fps <= 1000:
        advice = "Leave it empty to keep the input's times."
        raise SettingsError("encode.fps", f"{text} is not between 0.01 and 1000", advice)
    return fps


def plan(
    clip: Clip,
    index: FrameIndex,
    encode: Encode,
    output: Path,
    *,
    start: int = 0,
    end: int | None = None,
    threads: int = 0,
) -> EncodePlan:
    """How frames [start, end) of a clip are written to `output`.

    Codec family, pixel format, exact times, shape and colour stay the input's where an encoder and the
    container allow; `warnings` says, one sentence each, where they do not. The same plan and frames give
    the same bytes; the number of threads is part of the plan because some encoders depend on it.

    Args:
        clip: From `probe`.
        index: From `index`.
        encode: The settings.
        output: Its ending decides the container.
        start: First frame written; later than 0 cuts sound and subtitles alike.
        end: Frame after the last one; None for all.
        threads: Encoder threads; 0 for as many as there are processors.

    Raises:
        MediaError: Nothing can write into a file with this ending.
        SettingsError: Codec, size or rate cannot be had.
    """
    last = len(index) if end is None else end
    if not 0 <= start < last <= len(index):
        raise ValueError(f"range: expected 0 <= start < end <= {len(index)}, got [{start}, {last})")
    form = _format(output)
    _writable(output, clip.path)
    encoder, said = _encoder(clip, encode, form, output, clip.layout.depth)
    fps = _fps(encode.fps)
    origin = clip.origin if start == 0 else int(index.pts[start]) * clip.time_base
    if form == "avi" and fps is None:
        fps = clip.rate
        if len(set(np.diff(index.pts[start:last]).tolist())) > 1 + (clip.time_base > Fraction(1, 5000)):
            said.append(
                f"AVI files have one rate: the variable times become {float(fps):.3f} pictures a second"
            )
    if form == "mpegts":
        said.append(f"{output.suffix} files hold no metadata: the file does not say that it was edited")
    if encode.bitrate and encoder in codecs.INTRA:
        said.append(f"{_family(encoder)} takes no bit rate: quality decides")
    first = int(index.pts[start]) * clip.time_base - origin
    count = threads or os.cpu_count() or 1
    made = EncodePlan(
        output=output,
        format=form,
        encoder=encoder,
        family=_family(encoder),
        pix_fmt="",
        width=0,
        height=0,
        picture=(0, 0),
        sar=Fraction(1),
        colour=clip.colour,
        display_matrix=clip.display_matrix,
        time_base=_time_base(clip, form, fps, first),
        rate=fps or clip.rate,
        fps=fps,
        origin=origin,
        start=start,
        end=last,
        options={},
        qscale=0,
        bitrate=encode.bitrate,
        gop=1 if encoder in codecs.INTRA else max(12, min(300, round((fps or clip.rate) * 5))),
        threads=count,
        segment_format="",
        total=len(index),
        warnings=tuple([*clip.warnings, *said]),
    )
    return _tuned(_shaped(made, clip, encode), clip, encode)


def _shaped(made: EncodePlan, clip: Clip, encode: Encode) -> EncodePlan:
    """The plan with pixel format and size."""
    encoder, pix_fmt = _pix_fmt(clip.layout, made.encoder)
    width, height, sar = _size(clip, encode)
    layout, said = nearest(pix_fmt), list(made.warnings)
    if layout.depth < clip.layout.depth:
        said.append(f"{made.family} holds {layout.depth} of the input's {clip.layout.depth} bits")
    if sum(layout.chroma) > sum(clip.layout.chroma):
        said.append(f"{made.family} holds less colour detail than the input ({pix_fmt})")
    if clip.layout.alpha and not layout.alpha:
        said.append(f"{made.family} holds no transparency here; it is dropped")
    if (layout.model == "rgb") != (clip.layout.model == "rgb"):
        said.append(f"RGB is stored as {pix_fmt}" if clip.layout.model == "rgb" else f"stored as {pix_fmt}")
    wide, high = width, height
    if encoder in codecs.EVEN:
        wide += width % 2 if layout.chroma[0] else 0
        high += height % 2 if layout.chroma[1] else 0
    if (wide, high) != (width, height):
        said.append(f"{made.family} needs even sides: {width}x{height} is padded to {wide}x{high}")
    if made.display_matrix and made.format not in {*codecs.BOXED, "matroska", "webm"}:
        said.append(f"{made.output.suffix} files hold no rotation: players will show the picture turned")
    return replace(
        made,
        encoder=encoder,
        pix_fmt=pix_fmt,
        width=wide,
        height=high,
        picture=(width, height),
        sar=sar,
        warnings=tuple(said),
    )


def _tuned(made: EncodePlan, clip: Clip, encode: Encode) -> EncodePlan:
    """The plan with encoder options and the segments' container."""
    layout = nearest(made.pix_fmt)
    chroma = {(1, 1): "420", (1, 0): "422"}.get(layout.chroma, "444")
    recipe = codecs.recipe(
        made.encoder, encode, made.threads, clip.hdr, chroma=chroma, alpha=layout.alpha and clip.layout.alpha
    )
    if made.encoder in _SEGMENTS_IN_MP4:
        segments = "matroska" if layout.alpha else "mp4"
    else:
        segments = "mov" if made.encoder in ("prores_ks", "qtrle") else "nut"
    options = dict(recipe.options)
    pictures = (made.end - made.start) * (made.fps or clip.rate) / clip.rate
    if made.encoder == "libx265" and pictures < 3:
        # x265 leaves decoding times unset where there are fewer pictures than it reorders.
        options["x265-params"] += ":bframes=0"
    return replace(made, options=options, qscale=recipe.qscale, segment_format=segments)


def _ticks(times: Int64, base: Fraction, made: EncodePlan) -> Int64:
    """Times in `base` as ticks of the plan, from its origin, rounded to nearest (half up), rising."""
    scale = base / made.time_base
    shift = made.origin / made.time_base
    low = scale.denominator * shift.denominator
    num, off = scale.numerator * shift.denominator, shift.numerator * scale.denominator
    most = int(np.max(np.abs(times), initial=0)) * num + abs(off) + low
    if 4 * most < 2**63:
        return (2 * (times * num - off) + low) // (2 * low)
    return np.array([(2 * (int(t) * num - off) + low) // (2 * low) for t in times], np.int64)


def _rising(ticks: Int64) -> Int64:
    """Each at least one more than the one before, as containers with coarse ticks need."""
    ramp = np.arange(len(ticks), dtype=np.int64)
    return np.maximum.accumulate(ticks - ramp) + ramp


def schedule(made: EncodePlan, index: FrameIndex, clip: Clip, start: int, end: int) -> Schedule:
    """When the frames [start, end) are shown in the output.

    Without a new rate every frame keeps its time. With one, output picture k is the frame of the clip
    nearest in time to first + k / fps (the later one at a tie), so a segment's pictures depend on the
    whole plan, not on where segments are cut.

    Args:
        made: From `plan`.
        index: The clip's index.
        clip: The clip.
        start: First frame, at least `made.start`.
        end: Frame after the last one, at most `made.end`.
    """
    if not made.start <= start < end <= made.end:
        raise ValueError(f"range: expected within [{made.start}, {made.end}), got [{start}, {end})")
    after = index.pts[made.end] if made.end < len(index) else index.end_pts
    if made.fps is None:
        times = np.append(index.pts[made.start : made.end], after)
        ticks = _rising(_ticks(times, clip.time_base, made))
        source = np.arange(start, end, dtype=np.int64)
        low, high = start - made.start, end - made.start
        return Schedule(source, ticks[low:high], int(ticks[high]))
    first, step = int(index.pts[made.start]), 1 / (made.fps * clip.time_base)
    count = max(1, math.ceil((int(after) - first) / step))
    middles = (index.pts[made.start : made.end - 1] + index.pts[made.start + 1 : made.end] - 2 * first) * (
        step.denominator
    )
    moments = 2 * np.arange(count, dtype=np.int64) * step.numerator
    source = made.start + np.searchsorted(middles, moments, side="right").astype(np.int64)
    unit = clip.time_base / step.denominator
    every = np.arange(count + 1, dtype=np.int64) * step.numerator + first * step.denominator
    ticks = _rising(_ticks(every, unit, made))
    low, high = (int(n) for n in np.searchsorted(source, [start, end]))
    return Schedule(source[low:high], ticks[low:high], int(ticks[high]))
