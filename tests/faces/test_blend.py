"""Light, sharpness and grain against what a camera would have seen."""

from __future__ import annotations

import numpy as np
import pytest

from mien.faces import blend
from mien.images import cpu
from mien.types import Float32


def _texture(seed: int, smooth: float, size: int = 192) -> Float32:
    """A grey field with detail of one scale."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3)).astype(np.float32)
    detail = cpu.blur(noise, smooth) if smooth else noise
    return np.asarray(0.45 + 0.05 * detail / detail.std(), np.float32)


def test_relit_face_takes_the_targets_light() -> None:
    face = _texture(1, 2.0)
    ramp = np.linspace(0.6, 1.5, 192, dtype=np.float32)[None, :, None] * np.array([1.1, 1.0, 0.8], np.float32)
    lit = face * ramp
    other = _texture(2, 2.0) * ramp
    result = blend.relight(face, other, np.ones((192, 192), np.float32), 1.0)
    inner = np.s_[24:-24, 24:-24]
    assert np.abs(result - lit)[inner].mean() < 0.3 * np.abs(face - lit)[inner].mean()
    assert abs(float((result[inner] / lit[inner]).mean()) - 1.0) < 0.03


def test_no_light_wanted_changes_nothing() -> None:
    face = _texture(1, 2.0)
    same = blend.relight(face, _texture(2, 2.0) * 0.5, np.ones((192, 192), np.float32), 0.0)
    np.testing.assert_array_equal(same, face)


def test_light_outside_the_weight_does_not_leak_in() -> None:
    face, target = _texture(1, 2.0), _texture(2, 2.0)
    weight = np.zeros((192, 192), np.float32)
    weight[48:144, 48:144] = 1.0
    bright = target.copy()
    bright[weight == 0.0] = 1.0
    inner = np.s_[72:120, 72:120]
    plain = blend.relight(face, target, weight, 1.0)[inner]
    beside = blend.relight(face, bright, weight, 1.0)[inner]
    # Grid cells on the weight's border are mixed when the picture is reduced: a trace may remain.
    assert np.abs(plain - beside).max() < 0.01


@pytest.mark.parametrize("sharp", [0.5, 0.7])
def test_a_sharp_face_is_softened_to_the_targets_sharpness(sharp: float) -> None:
    face = cpu.blur(_texture(3, 0.0), sharp)
    soft = cpu.blur(_texture(4, 0.0), 2.5)
    skin = np.ones((192, 192), np.float32)
    matched = blend.match_detail(face, soft, skin, 1.0)
    fine = [float(np.std(p - cpu.blur(p, blend.FINE))) for p in (face, matched, soft)]
    assert fine[0] > 3 * fine[2]
    assert 0.5 * fine[2] < fine[1] < 0.2 * fine[0]


def test_grain_of_the_target_is_added() -> None:
    rng = np.random.default_rng(5)
    face = cpu.blur(_texture(3, 0.0), 4.0)
    target = cpu.blur(_texture(4, 0.0), 4.0) + rng.normal(scale=0.02, size=face.shape).astype(np.float32)
    skin = np.ones((192, 192), np.float32)
    matched = blend.match_detail(face, target, skin, 1.0)
    residual = float(np.std(matched - cpu.blur(matched, blend.FINE)))
    wanted = float(np.std(target - cpu.blur(target, blend.FINE)))
    assert residual == pytest.approx(wanted, rel=0.15)
    np.testing.assert_array_equal(blend.match_detail(face, target, skin, 0.0), face)


def test_an_edge_of_the_target_does_not_become_grain() -> None:
    """Features are clipped at noise amplitude: no ghost of the old face."""
    rng = np.random.default_rng(6)
    face = np.full((192, 192, 3), 0.5, np.float32)
    target = face + rng.normal(scale=0.01, size=face.shape).astype(np.float32)
    target[:, 96:] += 0.4
    matched = blend.match_detail(face, target, np.ones((192, 192), np.float32), 1.0)
    assert np.abs(matched - 0.5).max() < 0.05


def test_smoothstep_is_the_cubic() -> None:
    x = np.linspace(-1, 2, 13)
    t = np.clip(x, 0, 1)
    np.testing.assert_allclose(blend.smoothstep(x), 3 * t**2 - 2 * t**3)


@pytest.mark.parametrize("want", [(0.2, 0.12, 0.1), (0.05, 0.03, 0.028), (0.015, 0.012, 0.01)])
def test_deep_shadow_keeps_its_hue(want: tuple[float, float, float]) -> None:
    """However dark the target is, the face gets its colour and not a remainder of its own."""
    face = np.full((80, 80, 3), (0.9, 0.82, 0.6), np.float32)
    target = np.full((80, 80, 3), want, np.float32)
    made = blend.relight(face, target, np.ones((80, 80), np.float32), 1.0).mean((0, 1))
    brighter = (made + blend.EPSILON) / (np.array(want) + blend.EPSILON)
    assert made.max() < 0.25
    np.testing.assert_allclose(brighter / brighter.mean(), 1.0, atol=0.25)


def test_a_source_without_blue_is_not_darkened() -> None:
    face = np.full((80, 80, 3), (0.5, 0.25, 0.0), np.float32)
    target = np.full((80, 80, 3), (0.5, 0.4, 0.4), np.float32)
    made = blend.relight(face, target, np.ones((80, 80), np.float32), 1.0).mean((0, 1))
    np.testing.assert_allclose(made[:2], target[0, 0, :2], atol=0.02)
