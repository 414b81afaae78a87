"""Telling faces apart by their skin: the same in another light, place and size; other people; no colour."""

from __future__ import annotations

import numpy as np
import pytest

from mien.bench.demo import Name
from mien.faces import anatomy, likeness
from mien.faces.anatomy import Topology
from mien.faces.likeness import Skin
from mien.images import cpu
from mien.models import landmark
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.pipeline import eyes
from mien.settings import Settings
from mien.types import Float32, Float64
from tests.faces import portraits


@pytest.fixture(scope="module")
def skin(store: Store) -> Skin:
    return Skin.of(Topology.of(landmark.triangles(store)))


def _filmed(name: Name, scale: float, angle: float) -> Float32:
    """A portrait as a camera elsewhere sees it."""
    rgb = portraits.picture(name)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([rgb.shape[1], rgb.shape[0]]) / 2
    return np.asarray(cpu.warp(rgb, np.column_stack([turn, middle - turn @ middle]), rgb.shape[1::-1]))


def _lit(rgb: Float32, side: float, gamma: float, cast: tuple[float, float, float]) -> Float32:
    """In another light: brighter on one side, with another contrast and colour."""
    x = np.linspace(-1.0, 1.0, rgb.shape[1])[None, :, None]
    y = np.linspace(-1.0, 1.0, rgb.shape[0])[:, None, None]
    light = (0.8 + side * x - 0.2 * side * y) * np.array(cast)
    return np.asarray(np.clip(rgb**gamma * light, 0.0, 1.0), np.float32)


def _look(runtime: Runtime, rgb: Float32) -> Float32:
    """Found and looked at as pass one does it."""
    look = eyes(runtime, Settings()).look
    assert look is not None
    return look(portraits.frame(rgb), portraits.landmarks(runtime, rgb))


def test_the_same_in_another_light_and_nobody_else(runtime: Runtime) -> None:
    names: tuple[Name, ...] = ("astronaut", "hopper")
    looks = []
    for name in names:
        looks += [
            _look(runtime, portraits.picture(name)),
            _look(runtime, _lit(_filmed(name, 0.8, 0.2), 0.5, 0.8, (1.1, 1.0, 0.85))),
            _look(runtime, _lit(_filmed(name, 1.1, -0.15), -0.4, 1.25, (0.9, 1.0, 1.1))),
        ]
    alike = likeness.likeness(looks)
    assert alike[:3, :3].min() > likeness.SURE
    assert alike[3:, 3:].min() > likeness.SURE
    assert alike[:3, 3:].max() < 0.6


def test_without_colour_nobody_is_sure(runtime: Runtime) -> None:
    """Luma alone takes different people for one now and then; it counts a third."""
    grey = portraits.picture("hopper").mean(axis=2, keepdims=True).repeat(3, axis=2)
    alike = likeness.likeness([_look(runtime, grey), _look(runtime, grey * np.float32(0.8))])
    assert 0.3 < alike[0, 1] < 0.4


def _correlation(a: Float64, b: Float64, weight: Float64) -> float:
    a, b = a - np.average(a, weights=weight), b - np.average(b, weights=weight)
    return float((weight * a * b).sum() / np.sqrt((weight * a * a).sum() * (weight * b * b).sum()))


def test_likeness_is_a_weighted_correlation() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (4, 3, 500))
    values[1] += 2 * values[0]
    weight = rng.uniform(0.3, 1, (4, 500))
    looks = [np.concatenate([v * w, w[None]]).astype(np.float32) for v, w in zip(values, weight, strict=True)]
    found = likeness.likeness([*looks[:3], looks[3] * np.float32(7)])
    for i in range(4):
        for j in range(4):
            by_hand = [_correlation(values[i, k], values[j, k], weight[i] * weight[j]) for k in range(3)]
            assert abs(found[i, j] - np.mean(by_hand)) < 1e-4


def test_faces_that_show_different_sides_are_not_compared() -> None:
    rng = np.random.default_rng(4)
    value = rng.normal(0, 1, (3, 500))
    left = np.where(np.arange(500) < 280, 1.0, 0.0)
    looks = [np.concatenate([value * w, w[None]]).astype(np.float32) for w in (left, 1 - left + left * 0.05)]
    assert likeness.likeness(looks)[0, 1] == 0.0
    assert likeness.likeness([looks[0], looks[0]])[0, 1] > 0.99


def test_the_map_is_tuttes(skin: Skin) -> None:
    """Every inner vertex lies in the middle of its neighbours, and no triangle is turned over."""
    flat = likeness._tutte(skin.topology.triangles)
    corners = flat[skin.topology.triangles]
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]).max() < 0
    edges = {frozenset(e) for t in skin.topology.triangles.tolist() for e in (t[:2], t[1:], t[::2])}
    for k in (1, 13, 159, 386, 152 - 1):
        around = [next(iter(e - {k})) for e in edges if k in e]
        assert k not in anatomy.OVAL
        assert np.allclose(flat[k], flat[around].mean(axis=0), atol=1e-9)
    assert len(skin.place) > 700
    assert np.allclose(skin.shares.sum(axis=1), 1.0)
    assert skin.shares.min() > -1e-6
