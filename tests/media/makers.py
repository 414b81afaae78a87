"""Small clips made with PyAV alone, independent of the code under test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

ROTATE_90 = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)


@dataclass
class Sound:
    """A tone: where it starts and ends in seconds."""

    start: float = 0.0
    end: float = 1.0
    codec: str = "aac"
    language: str = "und"
    pitch: float = 440.0


@dataclass
class Recipe:
    """A clip to make."""

    size: tuple[int, int] = (96, 64)
    frames: int = 24
    rate: Fraction = Fraction(24)
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    time_base: Fraction | None = None
    pts: Sequence[int] | None = None
    options: dict[str, str] = field(default_factory=dict)
    gop: int = 12
    matrix: tuple[int, ...] = ()
    sar: Fraction = Fraction(1)
    tags: tuple[int, int, int, int] = (0, 2, 2, 2)
    """Range, matrix, transfer and primaries codes."""
    sounds: Sequence[Sound] = ()
    subtitles: Sequence[tuple[float, float, str]] = ()
    chapters: Sequence[tuple[float, float, str]] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    attachment: bytes = b""
    container: dict[str, str] = field(default_factory=dict)
    pictures: Sequence[NDArray[np.uint8]] = ()
    """(H, W, 3) RGB of every frame; () for a moving ramp."""


def picture(recipe: Recipe, number: int) -> av.VideoFrame:
    """A moving ramp with a bright square, so that every frame differs and every sample matters."""
    if len(recipe.pictures):
        return av.VideoFrame.from_ndarray(recipe.pictures[number], "rgb24").reformat(format=recipe.pix_fmt)
    width, height = recipe.size
    rows, columns = np.mgrid[:height, :width]
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[..., 0] = (columns * 2 + number * 5) % 256
    rgb[..., 1] = (rows * 3 + number * 3) % 256
    rgb[..., 2] = (rows + columns + number * 7) % 256
    left = (number * 3) % max(1, width - 16)
    rgb[8:24, left : left + 16] = 230
    made = av.VideoFrame.from_ndarray(rgb, "rgb24")
    return made.reformat(format=recipe.pix_fmt) if recipe.pix_fmt != "rgb24" else made


def make(path: Path, recipe: Recipe) -> Path:
    """Writes a clip."""
    base = recipe.time_base or 1 / recipe.rate
    with av.open(str(path), "w", container_options=recipe.container) as out:
        out.metadata.update(recipe.metadata)
        video = cast("VideoStream", out.add_stream(recipe.codec, rate=recipe.rate))
        context: Any = video.codec_context
        context.width, context.height = recipe.size
        context.pix_fmt, context.time_base = recipe.pix_fmt, base
        context.gop_size, context.thread_count = recipe.gop, 1
        context.sample_aspect_ratio = recipe.sar
        context.color_range, context.colorspace, context.color_trc, context.color_primaries = recipe.tags
        context.options = dict(recipe.options)
        video.time_base = base
        if recipe.matrix:
            video.set_display_matrix(recipe.matrix)
        tones = [_sound(out, sound) for sound in recipe.sounds]
        words = (
            out.add_mux_stream("mov_text" if path.suffix == ".mp4" else "subrip")
            if recipe.subtitles
            else None
        )
        if recipe.attachment:
            out.add_attachment("font.ttf", "application/x-truetype-font", recipe.attachment)
        if recipe.chapters:
            out.set_chapters([_chapter(k, *chapter) for k, chapter in enumerate(recipe.chapters)])
        out.start_encoding()
        for stream, sound in zip(tones, recipe.sounds, strict=True):
            _play(out, stream, sound)
        for start, end, text in recipe.subtitles:
            assert words is not None
            packet: Packet[Any] = Packet(text.encode())
            packet.stream, packet.time_base = words, Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = round((end - start) * 1000)
            out.mux(packet)
        for number in range(recipe.frames):
            shown = picture(recipe, number)
            shown.pts = number if recipe.pts is None else recipe.pts[number]
            shown.time_base = base
            if recipe.pts is None and recipe.time_base:
                shown.pts = round(number / recipe.rate / base)
            out.mux(video.encode(shown))
        out.mux(video.encode(None))
    return path


def _chapter(number: int, start: float, end: float, title: str) -> Any:
    times = {"start": round(start * 1000), "end": round(end * 1000), "time_base": Fraction(1, 1000)}
    return {"id": number, **times, "metadata": {"title": title}}


def _sound(out: av.container.OutputContainer, sound: Sound) -> AudioStream:
    stream = cast("AudioStream", out.add_stream(sound.codec, rate=48000, layout="mono"))
    stream.metadata["language"] = sound.language
    return stream


def _play(out: av.container.OutputContainer, stream: AudioStream, sound: Sound) -> None:
    count = round((sound.end - sound.start) * 48000)
    wave = 0.3 * np.sin(2 * np.pi * sound.pitch * np.arange(count) / 48000)
    context = stream.codec_context
    resampler = av.AudioResampler(
        context.format, "mono", 48000, frame_size=1024 if sound.codec == "aac" else 960
    )
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
    frame.sample_rate, frame.pts = 48000, round(sound.start * 48000)
    frame.time_base = Fraction(1, 48000)
    for ready in [*resampler.resample(frame), *resampler.resample(None)]:
        out.mux(stream.encode(ready))
    out.mux(stream.encode(None))


def luma(path: Path) -> dict[int, bytes]:
    """Presentation time to the samples of the first plane, decoded by PyAV alone on one thread."""
    found = {}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            item = plane.line_size // frame.width if plane.line_size >= 2 * frame.width else 1
            found[cast("int", frame.pts)] = rows[: frame.height, : frame.width * min(item, 2)].tobytes()
    return found
