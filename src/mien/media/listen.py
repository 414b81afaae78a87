"""A stretch of a clip's sound as plain samples, for a player or a drawing."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from mien.media.clip import Clip, only, opened
from mien.types import Array

RATE = 48000
"""Samples a second."""


def sound(clip: Clip, start: float, seconds: float, rate: int = RATE) -> Array:
    """The first sound stream of a clip, mixed to two channels.

    Args:
        clip: From `clip.probe`.
        start: First moment, in seconds from the clip's beginning.
        seconds: How long.
        rate: Samples a second.

    Returns:
        (n, 2) int16, n the rounded product of `seconds` and `rate`; silent where there is no sound.

    Raises:
        MediaError: The file cannot be opened.
    """
    count = max(round(seconds * rate), 0)
    samples = np.zeros((count, 2), np.int16)
    if not clip.audio:
        return samples
    for at, block in _blocks(clip, start, start + seconds, rate):
        first = round((at - start) * rate)
        low, high = max(first, 0), min(first + len(block), count)
        if low < high:
            samples[low:high] = block[low - first : high - first]
    return samples


def _blocks(clip: Clip, start: float, end: float, rate: int) -> Iterator[tuple[float, Array]]:
    """Decoded sound with the moment of its first sample, from a little before `start` to `end`."""
    number = clip.audio[0].number
    with opened(clip.path) as container:
        only(container, number)
        stream = cast("Any", container.streams[number])
        base: Fraction = stream.time_base
        begin = (Fraction(start) + clip.origin) / base
        # Half a second earlier: decoders need a few packets before they are right.
        container.seek(max(int(begin - Fraction(1, 2) / base), 0), stream=stream, backward=True)
        resampler = av.AudioResampler("s16", "stereo", rate)
        moment: float | None = None
        for frame in _decoded(container, stream):
            if frame is not None and frame.pts is not None:
                here = float(frame.pts * (frame.time_base or base) - clip.origin)
                # Sound that runs on is counted by samples, so that no rounding of times is heard.
                if moment is None or abs(here - moment) > 0.05:
                    moment = here
            if moment is None:
                continue
            if moment >= end:
                return
            for made in resampler.resample(frame):
                block = made.to_ndarray().reshape(-1, 2)
                yield moment, block
                moment += len(block) / rate


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Every frame that can be decoded, and None behind the last to empty a resampler."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            yield from packet.decode()
        except (StopIteration, EOFError):
            yield None
            return
        except av.FFmpegError:  # damaged: what follows may be whole
            continue
