"""Smoothing: no lag, steady motion unchanged, blinks kept, noise reduced, chunks without seams."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mien.faces import smooth
from mien.types import Float64

_SEED = np.random.default_rng(3)
_FACE = _SEED.normal(0, 60, (468, 3))
_FACE -= _FACE[smooth.STABLE].mean(axis=0)


def _read(rows: Float64) -> smooth.Read:
    return lambda a, b: rows[a:b]


def _run(rows: Float64, strength: float = 0.5, rate: float = 30.0) -> Float64:
    observed = np.ones(len(rows), bool)
    return np.concatenate(list(smooth.smoothed(_read(rows), len(rows), observed, rate, strength)))


def _noisy(n: int, seed: int = 0, sigma: float = 0.4) -> Float64:
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.6 * sigma, (n, 1, 3))
    return np.asarray(_FACE + np.array([400.0, 300.0, 0.0]) + common + rng.normal(0, sigma, (n, 468, 3)))


def _moving(n: int, velocity: tuple[float, float], turn: float, grow: float) -> Float64:
    t = np.arange(n)[:, None]
    z = (_FACE[:, 0] + 1j * _FACE[:, 1]) * np.exp((grow + 1j * turn) * t)
    return np.stack([z.real + velocity[0] * t, z.imag + velocity[1] * t, _FACE[:, 2] * np.exp(grow * t)], 2)


@given(
    st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    st.floats(-0.05, 0.05),
    st.floats(-0.01, 0.01),
    st.floats(0, 1),
)
def test_steady_motion_is_unchanged(
    velocity: tuple[float, float], turn: float, grow: float, strength: float
) -> None:
    rows = _moving(40, velocity, turn, grow)
    assert np.abs(_run(rows, strength) - rows).max() < 1e-3


def test_time_reversal_commutes() -> None:
    rows = _noisy(90, 1)
    rows[40:44, 100] += (0, 9, 0)
    assert np.abs(_run(rows[::-1])[::-1] - _run(rows)).max() < 0.02


def test_symmetric_input_gives_symmetric_output() -> None:
    rows = _noisy(61, 2)
    rows = np.concatenate([rows, rows[-2::-1]])
    out = _run(rows)
    assert np.abs(out - out[::-1]).max() < 1e-3


def test_zero_strength_is_identity() -> None:
    rows = _noisy(30)
    assert np.array_equal(_run(rows, 0.0), rows)


def test_still_face_gets_steadier() -> None:
    rows = _noisy(300)
    before, after = (np.diff(x, 2, axis=0)[20:-20, :, :2].std() for x in (rows, _run(rows)))
    assert after < 0.35 * before
    assert _run(rows, 1.0)[20:-20, :, :2].std(axis=0).mean() < 0.6 * rows.std(axis=0).mean()


def test_blink_of_two_frames_survives() -> None:
    rows = _noisy(200)
    for at in (60, 120):
        rows[at : at + 2, 145:160, 1] += 8.0
    lid = _run(rows)[:, 145:160, 1].mean(axis=1)
    for at in (60, 120):
        rest = np.median(lid[at - 20 : at + 20])
        assert (lid[at : at + 2] - rest).mean() > 0.92 * 8.0
        assert np.abs(lid[[at - 1, at + 2]] - rest).max() < 0.08 * 8.0


def test_speech_keeps_its_amplitude() -> None:
    rows = _noisy(240)
    curve = 5 * np.sin(2 * np.pi * 4.5 * np.arange(240) / 30)  # 4.5 syllables a second at 30 fps
    rows[:, 14, 1] += curve
    out = _run(rows)[:, 14, 1]
    gain = (out - out.mean()) @ curve / (curve @ curve)
    assert gain > 0.91


def test_turn_with_acceleration_has_no_lag() -> None:
    t = np.arange(120)
    place = 80 / (1 + np.exp(-(t - 60) / 4))
    rows = _noisy(120, 5, 0.2)
    rows[:, :, 0] += place[:, None]
    out = _run(rows)[:, :, 0].mean(axis=1) - (_FACE[:, 0] + 400).mean()
    assert np.abs(out - place)[10:-10].max() < 0.8


def test_chunks_leave_no_seams() -> None:
    rows = _noisy(700, 4)
    whole = _run(rows)
    seen: list[int] = []

    def read(a: int, b: int) -> Float64:
        seen.append(b - a)
        return rows[a:b]

    parts = list(smooth.smoothed(read, 700, np.ones(700, bool), 30.0, 0.5))
    assert [len(p) for p in parts] == [256, 256, 188]
    assert max(seen) <= 256 + 2 * 24  # never the whole track
    jump = np.abs(np.diff(whole, axis=0)).mean(axis=(1, 2))
    assert jump[[255, 511]].max() < 3 * np.median(jump)


def test_filled_rows_count_little() -> None:
    rows = _noisy(60)
    rows[30] += (6, 0, 0)
    seen = np.ones(60, bool)
    seen[30] = False
    both = [
        np.concatenate(list(smooth.smoothed(_read(rows), 60, s, 30.0, 0.5))) for s in (seen, ~seen | seen)
    ]
    bumps = [abs(float(x[29].mean() - rows[[25, 26, 27, 33, 34]].mean())) for x in both]
    assert bumps[0] <= bumps[1] + 0.05


@given(st.integers(1, 5))
def test_very_short_tracks(n: int) -> None:
    rows = _noisy(n)
    assert _run(rows).shape == rows.shape
    assert np.isfinite(_run(rows)).all()
