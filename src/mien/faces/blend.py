"""Making one face look as if it had been filmed where another one is: light, sharpness, grain."""

from __future__ import annotations

from typing import Any

import numpy as np

from mien.images import operations
from mien.images.operations import is_tensor, namespace
from mien.types import Array, Float32, Float64

LIGHT_GRID = 64
"""Lighting is compared on a picture this wide: it has no detail finer than that."""
LIGHT_SIGMA = 0.075
"""Blur of the lighting comparison as a share of the crop's side."""
EPSILON = 0.02
"""Added to both sides of a ratio of intensities, so that black stays finite."""
GAIN = (0.1, 2.5)
"""Limits of the lighting gain of a channel: what is darkened further is black, what is brightened further is
noise. A higher first one would leave the face's own hue in deep shadow."""
FINE, MEDIUM = 0.9, 1.6
"""Blurs in pixels that separate two octaves of detail."""


def smoothstep(x: Float64) -> Float64:
    """0 below 0, 1 above 1, and 3x²-2x³ between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def relight(face: Float32, target: Float32, weight: Float32, amount: float) -> Float32:
    """Give `face` the lighting and skin tone of `target`: multiply by the ratio of their low frequencies.

    The low frequencies are blurs normalised by the weight, so that nothing outside it leaks in.

    Args:
        face: ([N,] H, W, 3) R'G'B'.
        target: ([N,] h, w, 3) R'G'B', the same view at any size.
        weight: ([N,] h, w) 0 to 1, where both show skin.
        amount: 0 keeps the face's own light, 1 takes all of the target's.

    Returns:
        ([N,] H, W, 3) R'G'B'.
    """
    if amount == 0.0:
        return face
    if face.ndim == 3:
        return relight(face[None], target[None], weight[None], amount)[0]  # type: ignore[no-any-return]
    ops = operations.of(face)
    height, width = face.shape[1:3]
    grid = (LIGHT_GRID, max(8, round(LIGHT_GRID * height / width)))
    sigma = LIGHT_SIGMA * LIGHT_GRID
    small = ops.resizes(weight, grid)
    share = ops.blurs(small, sigma)[..., None] + 1e-4
    have = ops.blurs(ops.resizes(face, grid) * small[..., None], sigma) / share
    want = ops.blurs(ops.resizes(target, grid) * small[..., None], sigma) / share
    gain = ((want.clip(0.0) + EPSILON) / (have.clip(0.0) + EPSILON)).clip(*GAIN)
    if amount < 1.0:
        gain = gain**amount
    return face * ops.resizes(gain, (width, height))  # type: ignore[no-any-return]


def match_detail(
    face: Float32, target: Float32, skin: Float32, amount: float, *, damp: bool = True
) -> Float32:
    """Give `face` the sharpness and the grain of `target`.

    Two octaves of detail are compared on the skin. Where the face has more than the target its
    detail is damped; where it has less, the target's own residual, clipped to noise amplitude so
    that it carries no features, is added.

    Args:
        face: ([N,] H, W, 3) R'G'B'.
        target: ([N,] H, W, 3) R'G'B'.
        skin: ([N,] h, w) 0 to 1, where to compare, the same view at any size.
        amount: 0 leaves the face as it is, 1 matches fully.
        damp: Whether detail may be taken from the face, too; not where somebody asked for it.

    Returns:
        ([N,] H, W, 3) R'G'B'.
    """
    if amount == 0.0:
        return face
    if face.ndim == 3:
        return match_detail(face[None], target[None], skin[None], amount, damp=damp)[0]  # type: ignore[no-any-return]
    shape = face.shape[1:3]
    rows, columns = (slice(3 * n // 10, n - 3 * n // 10) for n in shape)  # enough to measure on
    where = _nearest(skin, shape, (rows, columns), 2) > 0.5
    ops, xp, idle = operations.of(face), namespace(face), _idle
    enough = (xp.sum(where, axis=(1, 2)) >= 64)[:, None, None, None]
    if idle(enough):
        return face
    have_fine, have_medium = _energies(face[:, rows, columns], where)
    want_fine, want_medium = _energies(target[:, rows, columns], where)
    zero = have_fine * 0.0
    damp_fine = amount * xp.maximum(zero, 1.0 - want_fine / have_fine)
    damp_medium = amount * xp.maximum(zero, 1.0 - want_medium / have_medium)
    damped = enough & (xp.maximum(damp_fine, damp_medium) > 0.02)
    result = face
    if damp and not idle(damped):
        blurred = ops.blurs(face, FINE)
        coarse = ops.blurs(blurred, MEDIUM)
        less = damp_fine * (face - blurred) + damp_medium * (blurred - coarse)
        result = face - _where(damped, less)
    added = enough & (want_fine > 1.02 * have_fine)
    if not idle(added):
        residual = target - ops.blurs(target, FINE)
        share = amount * xp.sqrt(xp.maximum(zero, want_fine**2 - have_fine**2)) / want_fine
        limit = 3.0 * want_fine
        noise = share * xp.minimum(xp.maximum(residual, -limit), limit)
        result = result + _where(added, noise)
    return result


def _idle(condition: Any) -> bool:
    """Whether a step can be left out. Of a tensor that is not known: to look would be to wait for it."""
    return not is_tensor(condition) and not condition.any()


def _where(condition: Any, values: Float32) -> Float32:
    """The values, or zeros; a single one that is no tensor has been looked at before."""
    if len(values) == 1 and not is_tensor(values):
        return values
    return namespace(values).where(condition, values, 0.0)  # type: ignore[no-any-return]


def _nearest(picture: Float32, shape: tuple[int, int], part: tuple[slice, slice], step: int) -> Float32:
    """Every `step`-th pixel of a part of pictures (N, h, w) at another size, each taken from the nearest."""
    rows, columns = (
        np.arange(n)[cut][::step] * have // n
        for n, cut, have in zip(shape, part, picture.shape[1:], strict=True)
    )
    down, across = (operations.like(part, picture) for part in (rows[:, None], columns[None]))
    return picture[:, down, across]


def _energies(picture: Float32, where: Array) -> tuple[Float32, Float32]:
    """(N, 1, 1, 1) median absolute detail of the green channel in two octaves, over the skin: robust against
    edges."""
    ops = operations.of(picture)
    green = picture[..., 1]
    green = green if is_tensor(green) else np.ascontiguousarray(green)
    blurred = ops.blurs(green, FINE)
    coarse = ops.blurs(blurred, MEDIUM)
    found = (green - blurred, blurred - coarse)
    fine, medium = (ops.medians(abs(part[:, ::2, ::2]), where) + np.float32(1e-4) for part in found)
    return fine[:, None, None, None], medium[:, None, None, None]
