"""How loud a clip is over its time, for a picture of its sound."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from mien.media.clip import Clip, FrameIndex, only, opened
from mien.types import Array, Float32


def peaks(clip: Clip, index: FrameIndex, points: int) -> Float32:
    """The loudest sample in each of `points` equal parts of a video's time.

    Args:
        clip: The video; its first sound stream is heard.
        index: Its frames: the parts lie between the first one and the end of the last.
        points: How many.

    Returns:
        (points,) 0 (silence) to 1 (full scale), over all channels; zeros where there is no sound. What is
        damaged is silent.

    Raises:
        MediaError: The file cannot be opened.
    """
    found = np.zeros(points, np.float32)
    if not clip.audio:
        return found
    begin = int(index.pts[0]) * index.time_base
    length = index.end_pts * index.time_base - begin
    with opened(clip.path) as container:
        stream = cast("AudioStream", container.streams[clip.audio[0].number])
        only(container, stream.index)
        for frame in _decoded(container, stream):
            if frame.pts is None or frame.time_base is None:
                continue
            loud = _loudness(frame)
            start = (frame.pts * frame.time_base - begin) / length * points
            step = Fraction(points, frame.sample_rate) / length
            where = np.floor(float(start) + float(step) * np.arange(len(loud))).astype(np.int64)
            within = (where >= 0) & (where < points)
            np.maximum.at(found, where[within], loud[within])
    return np.minimum(found, 1.0)


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Everything that decodes; damaged packets are passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue


def _loudness(frame: AudioFrame) -> Float32:
    """(samples,) largest magnitude of all channels, 1 is full scale."""
    samples: Array = frame.to_ndarray()
    if not frame.format.is_planar:  # one row, channels interleaved
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        values = (samples.astype(np.float32) - 128.0) / 128.0
    elif samples.dtype.kind == "i":
        values = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    else:
        values = samples.astype(np.float32)
    return np.asarray(np.abs(values).max(axis=0), np.float32)
