"""Equalising lightness: only lightness, more where it is dark and flat, nothing where nothing is to gain."""

from __future__ import annotations

import numpy as np
import pytest

from mien.images import cpu

RNG = np.random.default_rng(8)


def dark(most: int = 30) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A dark ramp with a reddish tint and a little noise."""
    ramp = np.linspace(5, most, 128)[None, :, None] * np.array([1.0, 0.8, 0.7])
    return np.asarray(np.clip(ramp + RNG.normal(0, 1, (128, 128, 1)), 0, 255), np.uint8)


def lab(
    rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return cpu.to_lab(rgb.astype(np.float32) / np.float32(255))


def test_dark_pictures_get_lighter_and_keep_their_hue() -> None:
    before, after = lab(dark()), lab(cpu.equalised(dark()))
    assert after[..., 0].mean() > before[..., 0].mean() + 1
    assert after[..., 0].std() > before[..., 0].std()
    assert np.abs(np.median(after[..., 1:] - before[..., 1:], axis=(0, 1))).max() < 1.5


def test_more_is_allowed_with_a_higher_limit() -> None:
    gains = [np.ptp(lab(cpu.equalised(dark(), clip))[..., 0]) for clip in (1.0, 2.0, 8.0)]
    assert gains[0] < gains[1] < gains[2]


@pytest.mark.parametrize("level", [0, 60, 255])
def test_order_of_lightness_is_kept_in_one_tile(level: int) -> None:
    picture = np.repeat(
        np.sort(RNG.integers(0, max(level, 1) + 1, (16, 16)).astype(np.uint8), axis=1)[..., None], 3, 2
    )
    after = lab(cpu.equalised(picture, tiles=1))[..., 0]
    pairs = np.argsort(picture[..., 0], axis=None, kind="stable")
    assert (np.diff(after.ravel()[pairs]) >= -0.5).all()
