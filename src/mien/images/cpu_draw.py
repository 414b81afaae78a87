"""Masks, filters and colour spaces the swappers need."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from mien.images.colour import WEIGHTS
from mien.images.cpu_warp import resize
from mien.types import Array, Float32, Float64


def blur(image: Float32, sigma: float) -> Float32:
    """Gaussian blur, the edge repeated; wide ones are done small, at a cost that does not grow with sigma.

    Args:
        image: Float32 (h, w) or (h, w, c).
        sigma: Standard deviation in pixels; 0 gives the image back.
    """
    if sigma <= 0:
        return image
    h, w = image.shape[:2]
    step = min(int(sigma / 3), h, w)
    if step < 2:
        side = 2 * int(np.ceil(3 * sigma)) + 1
        return np.asarray(cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE))
    # Averaging `step` pixels adds a variance of (step^2 - 1) / 12, interpolating back step^2 / 6.
    bw, bh = -(-w // step), -(-h // step)
    padded = cv2.copyMakeBorder(image, 0, bh * step - h, 0, bw * step - w, cv2.BORDER_REPLICATE)
    small = cv2.resize(padded, (bw, bh), interpolation=cv2.INTER_AREA)
    rest = float(np.sqrt(max(sigma**2 - (step**2 - 1) / 12 - step**2 / 6, 0.01))) / step
    side = 2 * int(np.ceil(3 * rest)) + 1
    small = cv2.GaussianBlur(small, (side, side), rest, borderType=cv2.BORDER_REPLICATE)
    large = cv2.resize(small, (bw * step, bh * step), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(large[:h, :w])


def blurs(images: Float32, sigma: float) -> Float32:
    """`blur` for a batch (N, h, w) or (N, h, w, c)."""
    return each(images, lambda image: blur(image, sigma))


def resizes(images: Array, size: tuple[int, int]) -> Array:
    """`resize` for a batch (N, h, w) or (N, h, w, c)."""
    return each(images, lambda image: resize(image, size))


def each(images: Array, work: Callable[[Array], Array]) -> Array:
    """`work` on every picture of a batch; of a single one nothing is copied."""
    return work(images[0])[None] if len(images) == 1 else np.stack([work(image) for image in images])


def fill_polygons(size: tuple[int, int], polygons: Sequence[Array], softness: float = 0.0) -> Float32:
    """A mask of the union of polygons, anti-aliased.

    Args:
        size: Width and height of the mask.
        polygons: Each (N, 2), corner-origin pixels.
        softness: Standard deviation of the edge in pixels.

    Returns:
        Float32 (h, w) in [0, 1]: the covered share of each pixel, blurred by `softness`.
    """
    # A blurred edge hides what a coarser grid lacks.
    hard = coverage(size, polygons, 4 if softness < 1.0 else 2)
    return blur(hard.astype(np.float32) / np.float32(255), softness)


def coverage(size: tuple[int, int], polygons: Sequence[Array], fine: int) -> Array:
    """The share of each pixel that polygons cover, counted on a grid `fine` times as fine: uint8 (h, w)."""
    w, h = size
    canvas = np.zeros((h * fine, w * fine), np.uint8)
    for polygon in polygons:
        # fillPoly wants centres of the fine pixels, in 1/256 of them.
        points = np.rint((np.asarray(polygon, np.float64) * fine - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(canvas, [points.reshape(-1, 1, 2)], 255, shift=8)
    return resize(canvas, size)


def luma(rgb: Float32, matrix: str = "bt709") -> Float32:
    """Y' of R'G'B': float32 (h, w, 3) to (h, w)."""
    kr, kb = WEIGHTS[matrix]
    weights: Float64 = np.array([[kr, 1 - kr - kb, kb]])
    return np.asarray(cv2.transform(rgb, weights))


def to_lab(rgb: Float32) -> Float32:
    """R'G'B' (sRGB, D65) to CIELAB: float32 (h, w, 3), L in 0..100; values outside [0, 1] are clipped."""
    return np.asarray(cv2.cvtColor(np.clip(rgb, np.float32(0), np.float32(1)), cv2.COLOR_RGB2LAB))


def from_lab(lab: Float32) -> Float32:
    """CIELAB to R'G'B' (sRGB, D65): float32 (h, w, 3), in [0, 1]."""
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def equalised(rgb: Array, clip: float = 2.0, tiles: int = 8) -> Array:
    """A dark picture's contrast brought out, tile by tile, in lightness alone (CLAHE on L of CIELAB).

    Args:
        rgb: uint8 (h, w, 3) R'G'B'.
        clip: Most that a tile's histogram may stand out over an even one; 1 changes little.
        tiles: Along each side.

    Returns:
        uint8 (h, w, 3) R'G'B' of the same hues (S. Pizer et al., "Adaptive histogram equalization and its
        variations", 1987).
    """
    lab = np.array(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB))
    lab[..., 0] = cv2.createCLAHE(clip, (tiles, tiles)).apply(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def medians(values: Float32, where: Array) -> Float32:
    """(N,) the median of the values (N, ...) where a mask of the same shape holds; some must hold in each."""
    return np.array([np.median(v[w]) for v, w in zip(values, where, strict=True)], np.float32)


def interpolated(values: Float32, at: Float64, to: Float64) -> Float32:
    """Values through a piecewise linear map: `at` rising to `to`, its ends beyond them."""
    return np.asarray(np.interp(values, at, to), np.float32)
