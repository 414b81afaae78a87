"""The one-euro filter against the formulas of its paper, its lag, and what it does to faces."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces.causal import Causal, Law, OneEuro, Steady
from mien.faces.track import extent
from mien.types import Faces, Float64

RNG = np.random.default_rng(5)
FACE = RNG.normal(0, 60, (468, 3)) + np.array([400.0, 300, 0])


def at(dense: Float64, x: float, y: float) -> Float64:
    return np.asarray(dense + np.array([x, y, 0.0]))


def five(dense: Float64) -> Float64:
    return dense[:, (33, 263, 4, 61, 291), :2]


class Paper:
    """Appendix A of the paper for one signal, line by line: LowPassFilter, alpha, OneEuroFilter."""

    def __init__(self, mincutoff: float, beta: float, dcutoff: float) -> None:
        self.mincutoff, self.beta, self.dcutoff = mincutoff, beta, dcutoff
        self.first, self.x_last, self.x_hat, self.dx_hat = True, 0.0, 0.0, 0.0

    @staticmethod
    def alpha(rate: float, cutoff: float) -> float:
        tau = 1.0 / (2 * math.pi * cutoff)
        te = 1.0 / rate
        return 1.0 / (1.0 + tau / te)

    def filter(self, x: float, rate: float) -> float:
        dx = 0.0 if self.first else (x - self.x_last) * rate
        a = self.alpha(rate, self.dcutoff)
        self.dx_hat = dx if self.first else a * dx + (1 - a) * self.dx_hat
        cutoff = self.mincutoff + self.beta * abs(self.dx_hat)
        a = self.alpha(rate, cutoff)
        self.x_hat = x if self.first else a * x + (1 - a) * self.x_hat
        self.first, self.x_last = False, x
        return self.x_hat


@given(
    st.lists(
        st.tuples(st.floats(-1000, 1000), st.floats(0.005, 0.5)),
        min_size=2,
        max_size=30,
    ),
    st.floats(0.05, 10),
    st.floats(0, 50),
    st.floats(0.1, 5),
)
def test_it_is_the_papers_filter(
    signal: list[tuple[float, float]], least: float, slope: float, damp: float
) -> None:
    ours, paper = OneEuro(Law(least, slope, damp)), Paper(least, slope, damp)
    for x, seconds in signal:
        value = ours(np.array([[x]]), seconds)
        assert value[0, 0] == pytest.approx(paper.filter(x, 1 / seconds), rel=1e-9, abs=1e-9)


def test_coordinates_of_a_group_share_their_speed_and_units_scale_it() -> None:
    law = Law(0.7, 3.0)
    along, turned, scaled = OneEuro(law), OneEuro(law), OneEuro(law)
    for _ in range(20):
        step = float(RNG.normal(0, 5))
        a = along(np.array([[step, 0.0]]), 0.04)
        b = turned(np.array([[step * 0.6, step * 0.8]]), 0.04)
        c = scaled(np.array([[step * 90, 0.0]]), 0.04, unit=90.0)
        np.testing.assert_allclose(b, a[:, :1] * [0.6, 0.8], rtol=1e-9)
        np.testing.assert_allclose(c, a * 90, rtol=1e-9)


@pytest.mark.parametrize("speed", [0.5, 4.0, 40.0])
def test_the_lag_at_a_steady_speed_is_as_stated(speed: float) -> None:
    law = Law(1.0, 2.0)
    ours, seconds = OneEuro(law), 0.001
    for k in range(20000):
        value = ours(np.array([[speed * seconds * k]]), seconds)
    lag = speed * seconds * (20000 - 1) - value[0, 0]
    # exponential smoothing trails a ramp by its time constant, less the part of the new value itself
    assert lag == pytest.approx(speed / (2 * math.pi * (1.0 + 2.0 * speed)), rel=0.01)
    assert lag < 1 / (2 * math.pi * 2.0)


def faces(*dense: Float64, tracks: tuple[int, ...]) -> Faces:
    rows = np.stack(dense)
    count = len(rows)
    return Faces(
        np.zeros(count, np.int64), extent(rows), five(rows), np.ones(count), rows, track=np.array(tracks)
    )


def turned(dense: Float64, degrees: float, scale: float = 1.0, by: tuple[float, float] = (0, 0)) -> Float64:
    a = math.radians(degrees)
    out = (dense - FACE.mean(0)) * scale
    out[:, :2] = out[:, :2] @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    return np.asarray(out + FACE.mean(0) + np.array([*by, 0.0]))


def test_a_still_face_stays_and_noise_on_it_shrinks() -> None:
    steady = Steady(0.5)
    rows = [FACE + RNG.normal(0, 0.5, FACE.shape) for _ in range(90)]
    out = np.stack([steady(row, 1 / 30) for row in rows])[30:]
    raw = np.stack(rows)[30:]
    assert np.abs(out.mean(0) - FACE).max() < 0.35
    assert out.std(0).mean() < 0.7 * raw.std(0).mean()
    exact = Steady(0.5)
    for _ in range(5):
        np.testing.assert_allclose(exact(FACE, 1 / 30), FACE, atol=1e-3)


def test_a_head_that_turns_over_keeps_its_shape() -> None:
    """Through half a turn, where angles jump, and growing: the pose lags, the shape is as before."""
    steady = Steady(1.0)
    for k in range(120):
        given = turned(FACE, 3.0 * k, 1.0 + k / 100, (2.0 * k, -k))
        out = steady(given, 1 / 30)
        a = given[:, 0] + 1j * given[:, 1]
        b = out[:, 0] + 1j * out[:, 1]
        a, b = a - a.mean(), b - b.mean()
        fit = (b * a.conj()).sum() / (abs(a) ** 2).sum()
        assert np.abs(b - fit * a).max() < 0.02 * np.abs(b).max()
        radius = np.sqrt((abs(a) ** 2).mean())
        assert np.linalg.norm((given - out)[:, :2].mean(0)) < 0.03 * radius
        assert abs(np.angle(fit)) < 0.03


def test_everybody_has_a_filter_and_who_was_away_begins_anew() -> None:
    causal = Causal(0.5, five)
    other = at(FACE, 300, 0)
    first = causal(faces(FACE, other, tracks=(3, 8)), 0.0)
    assert first.dense is not None
    np.testing.assert_allclose(first.dense, np.stack([FACE, other]), atol=1e-4)
    moved = causal(faces(at(other, 9, 0), at(FACE, 0, 9), tracks=(8, 3)), 0.04)
    assert moved.dense is not None
    assert moved.track is not None
    assert moved.track.tolist() == [8, 3]
    by = (moved.dense - np.stack([other, FACE])).mean(axis=1)[:, :2]
    assert 0 < by[0, 0] < 9
    assert abs(by[0, 1]) < 1e-3
    assert 0 < by[1, 1] < 9
    np.testing.assert_allclose(moved.box, extent(moved.dense))
    np.testing.assert_allclose(moved.points, five(moved.dense))
    away = causal(faces(at(FACE, 0, 50), tracks=(3,)), 2.0)
    assert away.dense is not None
    np.testing.assert_allclose(away.dense, at(FACE, 0, 50)[None], atol=1e-4)


def test_without_strength_faces_pass_unchanged_and_without_tracks_it_is_a_mistake() -> None:
    seen = faces(FACE, tracks=(0,))
    assert Causal(0.0, five)(seen, 0.0) is seen
    with pytest.raises(ValueError, match="tracks"):
        Causal(0.5, five)(replace(seen, track=None), 0.0)
