"""Taking light and skin tone from the target, in four ways."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from mien.faces import blend
from mien.images import cpu
from mien.types import Array, Float32, Float64

Method: TypeAlias = Literal["none", "mean", "low", "histogram"]

FEW = 64
"""Pixels below which nothing can be said about a face's colours."""
QUANTILES = 33
"""Points at which two distributions are matched; between them the map is linear."""
SPREAD = (0.5, 2.0)
"""Limits of the ratio of two deviations: a flat face must not be torn apart."""


def match(face: Float32, target: Float32, weight: Float32, method: Method, amount: float) -> Float32:
    """Give a face the colours of a target.

    Args:
        face: (H, W, 3) R'G'B'.
        target: (H, W, 3) R'G'B', the same view.
        weight: (H, W) 0 to 1, where the face will be shown.
        method: `mean`: mean and deviation of each axis of CIELAB (E. Reinhard et al., "Color transfer between
            images", IEEE CG&A 21(5), 2001); `low`: the ratio of low frequencies (`blend.relight`);
            `histogram`: the distribution of each channel; `none`.
        amount: 0 keeps the face's own colours, 1 takes all of the target's.

    Returns:
        (H, W, 3) R'G'B'.
    """
    if amount == 0.0 or method == "none":
        return face
    if method == "low":
        return blend.relight(face, target, weight, amount)
    where = weight > 0.5
    if np.count_nonzero(where) < FEW:
        return face
    changed = _by_mean(face, target, where) if method == "mean" else _by_histogram(face, target, where)
    return changed if amount == 1.0 else face + np.float32(amount) * (changed - face)


def _by_mean(face: Float32, target: Float32, where: Array) -> Float32:
    have, want = cpu.to_lab(face), cpu.to_lab(target)
    ours, theirs = have[where], want[where]
    ratio = np.clip((theirs.std(0) + 1e-3) / (ours.std(0) + 1e-3), *SPREAD)
    return cpu.from_lab(np.asarray((have - ours.mean(0)) * ratio + theirs.mean(0), np.float32))


def _by_histogram(face: Float32, target: Float32, where: Array) -> Float32:
    at = np.linspace(0.0, 1.0, QUANTILES)
    changed = np.empty_like(face)
    for channel in range(3):
        have: Float64 = np.quantile(face[..., channel][where], at)
        want: Float64 = np.quantile(target[..., channel][where], at)
        # Strictly rising, or the map is not defined where a face is flat.
        have += np.arange(QUANTILES) * 1e-6
        shown = face[..., channel]
        inner = np.interp(shown, have, want)
        # Beyond what was seen, colours keep their distance to the end of the distribution.
        changed[..., channel] = inner + np.minimum(shown - have[0], 0.0) + np.maximum(shown - have[-1], 0.0)
    return changed
