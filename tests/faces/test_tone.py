"""Colours of a target on a face, against statistics counted independently."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces import tone
from mien.images import cpu
from mien.types import Float32

RNG = np.random.default_rng(5)
ALL = np.ones((64, 80), np.float32)


def _picture(mean: tuple[float, float, float], spread: float) -> Float32:
    noise = RNG.normal(size=(64, 80, 3))
    return np.clip(np.array(mean) + spread * noise, 0.02, 0.98).astype(np.float32)


@pytest.mark.parametrize("method", ["none", "mean", "low", "histogram"])
def test_an_amount_of_nothing_changes_nothing(method: tone.Method) -> None:
    face = _picture((0.5, 0.4, 0.3), 0.05)
    np.testing.assert_array_equal(tone.match(face, face[::-1] * 0.5, ALL, method, 0.0), face)
    if method == "none":
        np.testing.assert_array_equal(tone.match(face, face[::-1] * 0.5, ALL, method, 1.0), face)


def test_mean_and_deviation_in_lab_become_the_targets() -> None:
    face, target = _picture((0.6, 0.5, 0.45), 0.03), _picture((0.35, 0.3, 0.33), 0.05)
    got = cpu.to_lab(tone.match(face, target, ALL, "mean", 1.0)).reshape(-1, 3)
    want = cpu.to_lab(target).reshape(-1, 3)
    np.testing.assert_allclose(got.mean(0), want.mean(0), atol=0.15)
    np.testing.assert_allclose(got.std(0), want.std(0), rtol=0.05)


def test_distributions_become_the_targets() -> None:
    face, target = _picture((0.6, 0.5, 0.45), 0.03), _picture((0.35, 0.3, 0.33), 0.05)
    target[..., 0] = target[..., 0] ** 2  # no shift and stretch makes this of a normal distribution
    got = tone.match(face, target, ALL, "histogram", 1.0)
    for channel in range(3):
        at = np.linspace(0.05, 0.95, 25)
        have, want = (np.quantile(picture[..., channel], at) for picture in (got, target))
        np.testing.assert_allclose(have, want, atol=2e-3)


@given(st.floats(0.0, 1.0))
def test_the_amount_is_a_share_of_the_way(amount: float) -> None:
    face, target = _picture((0.6, 0.5, 0.45), 0.03), _picture((0.35, 0.3, 0.33), 0.05)
    whole = tone.match(face, target, ALL, "histogram", 1.0)
    part = tone.match(face, target, ALL, "histogram", amount)
    np.testing.assert_allclose(part, face + amount * (whole - face), atol=1e-5)


@pytest.mark.parametrize("method", ["mean", "histogram"])
def test_what_is_outside_the_mask_has_no_say(method: tone.Method) -> None:
    face, target = _picture((0.6, 0.5, 0.45), 0.03), _picture((0.35, 0.3, 0.33), 0.05)
    weight = np.zeros((64, 80), np.float32)
    weight[16:48, 20:60] = 1.0
    spoilt = target.copy()
    spoilt[weight == 0] = 1.0
    clean = tone.match(face, target, weight, method, 1.0)
    np.testing.assert_array_equal(tone.match(face, spoilt, weight, method, 1.0), clean)


def test_a_mask_of_a_few_pixels_changes_nothing() -> None:
    face = _picture((0.6, 0.5, 0.45), 0.03)
    weight = np.zeros((64, 80), np.float32)
    weight[:4, :4] = 1.0
    np.testing.assert_array_equal(tone.match(face, face * 0.5, weight, "mean", 1.0), face)


def test_a_flat_face_is_not_torn_apart() -> None:
    face = np.full((64, 80, 3), 0.5, np.float32)
    target = _picture((0.4, 0.4, 0.4), 0.1)
    for method in ("mean", "histogram"):
        got = tone.match(face, target, ALL, method, 1.0)
        assert np.isfinite(got).all()
        assert np.ptp(got) < 0.05
