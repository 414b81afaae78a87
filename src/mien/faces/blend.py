"""Making one face look as if it had been filmed where another one is: light, sharpness, grain."""

from __future__ import annotations

import numpy as np

from mien.images import cpu
from mien.types import Array, Float32, Float64

LIGHT_GRID = 64
"""Lighting is compared on a picture this wide: it has no detail finer than that."""
LIGHT_SIGMA = 0.075
"""Blur of the lighting comparison as a share of the crop's side."""
EPSILON = 0.02
"""Added to both sides of a ratio of intensities, so that black stays finite."""
GAIN = (0.35, 2.5)
"""Limits of the lighting gain."""
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
        face: (H, W, 3) R'G'B'.
        target: (h, w, 3) R'G'B', the same view at any size.
        weight: (h, w) 0 to 1, where both show skin.
        amount: 0 keeps the face's own light, 1 takes all of the target's.

    Returns:
        (H, W, 3) R'G'B'.
    """
    if amount == 0.0:
        return face
    width, height = face.shape[1], face.shape[0]
    grid = (LIGHT_GRID, max(8, round(LIGHT_GRID * height / width)))
    sigma = LIGHT_SIGMA * LIGHT_GRID
    small = cpu.resize(weight, grid)
    share = cpu.blur(small, sigma)[..., None] + 1e-4
    have = cpu.blur(cpu.resize(face, grid) * small[..., None], sigma) / share
    want = cpu.blur(cpu.resize(target, grid) * small[..., None], sigma) / share
    gain = np.clip((np.maximum(want, 0.0) + EPSILON) / (np.maximum(have, 0.0) + EPSILON), *GAIN)
    if amount < 1.0:
        gain = gain**amount
    return face * cpu.resize(np.asarray(gain, np.float32), (width, height))


def match_detail(
    face: Float32, target: Float32, skin: Float32, amount: float, *, damp: bool = True
) -> Float32:
    """Give `face` the sharpness and the grain of `target`.

    Two octaves of detail are compared on the skin. Where the face has more than the target its
    detail is damped; where it has less, the target's own residual, clipped to noise amplitude so
    that it carries no features, is added.

    Args:
        face: (H, W, 3) R'G'B'.
        target: (H, W, 3) R'G'B'.
        skin: (h, w) 0 to 1, where to compare, the same view at any size.
        amount: 0 leaves the face as it is, 1 matches fully.
        damp: Whether detail may be taken from the face, too; not where somebody asked for it.

    Returns:
        (H, W, 3) R'G'B'.
    """
    if amount == 0.0:
        return face
    rows, columns = (slice(3 * n // 10, n - 3 * n // 10) for n in face.shape[:2])  # enough to measure on
    middle = (rows, columns)
    where = _nearest(skin, face.shape[:2], middle, 2) > 0.5
    if np.count_nonzero(where) < 64:
        return face
    have_fine, have_medium = _energies(face[middle], where)
    want_fine, want_medium = _energies(target[middle], where)
    damp_fine = amount * max(0.0, 1.0 - want_fine / have_fine)
    damp_medium = amount * max(0.0, 1.0 - want_medium / have_medium)
    result = face
    if damp and max(damp_fine, damp_medium) > 0.02:
        blurred = cpu.blur(face, FINE)
        coarse = cpu.blur(blurred, MEDIUM)
        result = (
            face + np.float32(-damp_fine) * (face - blurred) - np.float32(damp_medium) * (blurred - coarse)
        )
    if want_fine > 1.02 * have_fine:
        residual = target - cpu.blur(target, FINE)
        share = amount * float(np.sqrt(want_fine**2 - have_fine**2)) / want_fine
        limit = 3.0 * want_fine
        result = result + np.float32(share) * np.clip(residual, -limit, limit)
    return result


def _nearest(picture: Float32, shape: tuple[int, int], part: tuple[slice, slice], step: int) -> Float32:
    """Every `step`-th pixel of a part of the picture at another size, each taken from the nearest."""
    rows, columns = (
        np.arange(n)[cut][::step] * have // n for n, cut, have in zip(shape, part, picture.shape, strict=True)
    )
    return np.asarray(picture[rows[:, None], columns[None]], np.float32)


def _energies(picture: Float32, where: Array) -> tuple[float, float]:
    """Median absolute detail of the green channel in two octaves, over the skin: robust against edges."""
    green = np.ascontiguousarray(picture[..., 1])
    blurred = cpu.blur(green, FINE)
    coarse = cpu.blur(blurred, MEDIUM)
    fine, medium = (green - blurred)[::2, ::2][where], (blurred - coarse)[::2, ::2][where]
    return float(np.median(np.abs(fine))) + 1e-4, float(np.median(np.abs(medium))) + 1e-4
