"""Sound as samples: every sample at its moment."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from mien.media import clip as clips
from mien.media.listen import RATE, sound
from mien.types import Array
from tests.media.makers import Recipe, Sound, make


def wave(start: float, count: int, begin: float, end: float) -> Array:
    """The tone of the maker, from `start` on, silent before `begin` and after `end`."""
    at = np.arange(count) + round((start - begin) * RATE)
    tone = 0.3 * np.sin(2 * np.pi * 440.0 * at / RATE)
    tone[(at < 0) | (at >= round((end - begin) * RATE))] = 0.0
    return np.asarray(tone * 32768 * np.sqrt(0.5))  # one channel on two, at the same power


@pytest.mark.parametrize("start", [0.0, 0.31, 0.75, 1.9])
def test_samples_are_at_their_moment(start: float, tmp_path: Path) -> None:
    tone = Sound(0.4, 1.9, "pcm_s16le")
    clip = clips.probe(make(tmp_path / "in.mov", Recipe(frames=60, sounds=[tone])))
    found = sound(clip, start, 0.5)
    assert found.shape == (RATE // 2, 2)
    assert np.array_equal(found[:, 0], found[:, 1])
    assert np.abs(found[:, 0] - wave(start, RATE // 2, 0.4, 1.9)).max() <= 2


@pytest.mark.parametrize("start", [0.0, 0.31, 1.1, 1.35])
def test_a_part_is_that_of_the_whole(start: float, tmp_path: Path) -> None:
    path = make(tmp_path / "in.mp4", Recipe(frames=60, sounds=[Sound(0.4, 1.9, "aac")]))
    whole = np.zeros(3 * RATE)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            assert frame.pts is not None
            whole[frame.pts : frame.pts + frame.samples] = frame.to_ndarray()[0]
    first = round(start * RATE)
    found = sound(clips.probe(path), start, 0.5)[:, 0]
    assert np.abs(found - whole[first : first + len(found)] * 32768 * np.sqrt(0.5)).max() <= 2


def test_other_rates_and_no_sound(tmp_path: Path) -> None:
    clip = clips.probe(make(tmp_path / "in.mkv", Recipe(frames=60, sounds=[Sound(0, 2, "pcm_s16le")])))
    slow = sound(clip, 0.5, 0.25, 8000)
    assert slow.shape == (2000, 2)
    tone = 0.3 * 32768 * np.sqrt(0.5) * np.sin(2 * np.pi * 440 * (np.arange(2000) / 8000 + 0.5))
    assert np.abs(slow[50:-50, 0] - tone[50:-50]).mean() < 300
    silent = clips.probe(make(tmp_path / "silent.mkv", Recipe(frames=5)))
    assert not sound(silent, 0.0, 0.1).any()
