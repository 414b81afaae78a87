"""Conversions between pixel formats that lose nothing keep every sample, every time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mien.media.clip import probe
from mien.media.decode import converted, views
from mien.types import Array
from tests.media.makers import Recipe, make


def stored(picture: av.VideoFrame, number: int) -> Array:
    """The samples of a plane of p010le; writable."""
    plane = picture.planes[number]
    rows = np.frombuffer(memoryview(plane), np.uint16).reshape(-1, plane.line_size // 2)
    return rows[: plane.height, : picture.width]


@pytest.mark.parametrize("size", [(130, 66), (132, 64), (1080, 96)])
def test_samples_in_high_bits_are_read_exactly(tmp_path: Path, size: tuple[int, int]) -> None:
    """Strips converted side by side used to overwrite each other's first samples, now and then."""
    recipe = Recipe(size=size, frames=1, codec="ffv1", pix_fmt="yuv420p10le")
    clip = probe(make(tmp_path / "in.mkv", recipe))
    rng = np.random.default_rng(1)
    for _ in range(40):
        picture = av.VideoFrame(*size, "p010le")
        picture.time_base = Fraction(1, 24)
        for number in (0, 1):
            samples = stored(picture, number)
            samples[:] = rng.integers(0, 1024, samples.shape) << 6
        luma, blue, red = views(converted(picture, clip), clip.layout)
        colours = stored(picture, 1) >> 6
        assert np.array_equal(luma, stored(picture, 0) >> 6)
        assert np.array_equal(blue, colours[:, 0::2])
        assert np.array_equal(red, colours[:, 1::2])
