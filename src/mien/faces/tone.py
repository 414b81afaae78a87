"""Taking light and skin tone from the target, in four ways."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from mien.faces import blend
from mien.images import operations
from mien.images.operations import namespace
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
        face: ([N,] H, W, 3) R'G'B'.
        target: ([N,] H, W, 3) R'G'B', the same view.
        weight: ([N,] H, W) 0 to 1, where the face will be shown.
        method: `mean`: mean and deviation of each axis of CIELAB (E. Reinhard et al., "Color transfer between
            images", IEEE CG&A 21(5), 2001); `low`: the ratio of low frequencies (`blend.relight`);
            `histogram`: the distribution of each channel; `none`.
        amount: 0 keeps the face's own colours, 1 takes all of the target's.

    Returns:
        ([N,] H, W, 3) R'G'B'.
    """
    if amount == 0.0 or method == "none":
        return face
    if method == "low":
        return blend.relight(face, target, weight, amount)
    if face.ndim == 4:
        given = zip(face, target, weight, strict=True)
        return namespace(face).stack([match(*one, method, amount) for one in given])  # type: ignore[no-any-return]
    shown = operations.host(weight > 0.5)  # of a tensor this waits, as counting would
    if np.count_nonzero(shown) < FEW:
        return face
    where = operations.like(shown, face)
    changed = _by_mean(face, target, where) if method == "mean" else _by_histogram(face, target, where)
    return changed if amount == 1.0 else face + amount * (changed - face)


def _by_mean(face: Float32, target: Float32, where: Array) -> Float32:
    ops, xp = operations.of(face), namespace(face)
    have, want = ops.to_lab(face), ops.to_lab(target)
    ours, theirs = have[where], want[where]
    spread = [xp.std(some, axis=0) + 1e-3 for some in (theirs, ours)]
    ratio = (spread[0] / spread[1]).clip(*SPREAD)
    changed = (have - xp.mean(ours, axis=0)) * ratio + xp.mean(theirs, axis=0)
    return ops.from_lab(changed)  # type: ignore[no-any-return]


def _by_histogram(face: Float32, target: Float32, where: Array) -> Float32:
    at, ops = np.linspace(0.0, 1.0, QUANTILES), operations.of(face)
    ours, theirs = (operations.host(some[where]) for some in (face, target))
    changed = []
    for channel in range(3):
        have: Float64 = np.quantile(ours[:, channel], at)
        want: Float64 = np.quantile(theirs[:, channel], at)
        # Strictly rising, or the map is not defined where a face is flat.
        have += np.arange(QUANTILES) * 1e-6
        shown = face[..., channel]
        inner = ops.interpolated(shown, have, want)
        # Beyond what was seen, colours keep their distance to the end of the distribution.
        low, high = (shown - float(have[0])).clip(None, 0.0), (shown - float(have[-1])).clip(0.0)
        changed.append(inner + low + high)
    return namespace(face).stack(changed, axis=2)  # type: ignore[no-any-return]
