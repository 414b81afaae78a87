"""Masks, filters and colour spaces over tensors: what `cpu_draw` does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.images import cpu_draw
from mien.images.colour import WEIGHTS
from mien.images.gpu_arrays import in_planes, known, upload
from mien.images.gpu_resize import linear
from mien.types import Array, Float64

XYZ: tuple[tuple[float, float, float], ...] = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to CIE XYZ (ITU-R BT.709 primaries, D65), rounded as OpenCV has it."""
WHITE = (0.950456, 1.0, 1.088754)
"""XYZ of D65."""


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, the edge repeated; wide ones are done small, at a cost that does not grow with sigma.

    Args:
        image: Float32 (h, w) or (h, w, c).
        sigma: Standard deviation in pixels; 0 gives the image back.
    """
    return image if sigma <= 0 else blurs(image[None], sigma)[0]


def blurs(images: Tensor, sigma: float) -> Tensor:
    """`blur` for a batch (N, h, w) or (N, h, w, c)."""
    known("images", images, True)
    return images if sigma <= 0 else in_planes(images, lambda x: _blurred(x, sigma))


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """Float32 (N, C, H, W) blurred as `cpu_draw.blur` does it."""
    h, w = x.shape[2:]
    step = min(int(sigma / 3), h, w)
    if step < 2:
        return _gaussian(x, sigma)
    bw, bh = -(-w // step), -(-h // step)
    padded = functional.pad(x, (0, bw * step - w, 0, bh * step - h), "replicate")
    # Averaging `step` pixels adds a variance of (step^2 - 1) / 12, interpolating back step^2 / 6.
    rest = float(np.sqrt(max(sigma**2 - (step**2 - 1) / 12 - step**2 / 6, 0.01))) / step
    small = _gaussian(functional.avg_pool2d(padded, step), rest)
    return linear(small, (bw * step, bh * step), False, False)[:, :, :h, :w]


def _gaussian(x: Tensor, sigma: float) -> Tensor:
    """A sampled Gaussian out to 3 sigma along both axes."""
    reach = int(np.ceil(3 * sigma))
    padded = functional.pad(x, (reach, reach, reach, reach), "replicate")
    n, channels, h, w = padded.shape
    # Every picture is a channel of its own: torch has float32 kernels for that, where others may be done
    # with 11 bits (TF32). A single one is no such case.
    apart = padded.reshape(1, n * channels, h, w)
    count = max(n * channels, 2)
    apart = apart.expand(1, count, h, w)
    weights = _weights(reach, sigma, x.device).expand(count, 1, 1, 2 * reach + 1)
    blurred = functional.conv2d(apart, weights, groups=count)
    blurred = functional.conv2d(blurred, weights.transpose(2, 3), groups=count)
    return blurred[:, : n * channels].reshape(x.shape)


@lru_cache(maxsize=32)
def _weights(reach: int, sigma: float, device: torch.device) -> Tensor:
    """A Gaussian (2 * reach + 1,) whose sum is 1; shared, not to be written to."""
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return upload((weights / weights.sum()).astype(np.float32), device)


def fill_polygons(
    size: tuple[int, int],
    polygons: Sequence[Array],
    softness: float = 0.0,
    *,
    device: str | torch.device = "cuda",
) -> Tensor:
    """A mask of the union of polygons, anti-aliased: counted on the CPU, softened on the device.

    Args:
        size: Width and height of the mask.
        polygons: Each (N, 2), corner-origin pixels, NumPy's.
        softness: Standard deviation of the edge in pixels.
        device: Where the mask is to be.

    Returns:
        Float32 (h, w) in [0, 1]: the covered share of each pixel, blurred by `softness`.
    """
    hard = cpu_draw.coverage(size, polygons, 4 if softness < 1.0 else 2)
    return blur(upload(hard, torch.device(device)).to(torch.float32) / 255.0, softness)


def luma(rgb: Tensor, matrix: str = "bt709") -> Tensor:
    """Y' of R'G'B': float32 (..., 3) to (...)."""
    kr, kb = WEIGHTS[matrix]
    return _mixed(rgb, np.array([[kr, 1 - kr - kb, kb]]))[..., 0]


def _mixed(values: Tensor, matrix: Float64) -> Tensor:
    """(..., 3) through a (k, 3) matrix."""
    a, b, c = values.unbind(-1)
    return torch.stack([a * x + b * y + c * z for x, y, z in matrix.tolist()], -1)


def to_lab(rgb: Tensor) -> Tensor:
    """R'G'B' (sRGB, D65) to CIELAB: float32 (..., 3), L in 0..100; values outside [0, 1] are clipped.

    By the formula (CIE 15:2004, IEC 61966-2-1); OpenCV looks it up in a table, up to half a unit off.
    """
    c = rgb.clamp(0.0, 1.0)
    light = torch.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    x, y, z = _mixed(light, np.array(XYZ) / np.array(WHITE)[:, None]).unbind(-1)
    fx, fy, fz = (torch.where(v > 0.008856, v ** (1.0 / 3.0), 7.787 * v + 16.0 / 116.0) for v in (x, y, z))
    return torch.stack([116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)], -1)


def from_lab(lab: Tensor) -> Tensor:
    """CIELAB to R'G'B' (sRGB, D65): float32 (..., 3), in [0, 1]."""
    lightness, a, b = lab.unbind(-1)
    fy = (lightness + 16.0) / 116.0
    parts = [fy + a / 500.0, fy, fy - b / 200.0]
    xyz = torch.stack([torch.where(f <= 6.0 / 29.0, (f - 16.0 / 116.0) / 7.787, f**3) for f in parts], -1)
    light = _mixed(xyz, np.linalg.inv(np.array(XYZ)) * np.array(WHITE)).clamp(0.0, 1.0)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1.0 / 2.4) - 0.055)


def medians(values: Tensor, where: Tensor) -> Tensor:
    """(N,) the median of the values (N, ...) where a mask of the same shape holds, the lower of two.

    Not a number where nothing holds. Nothing is waited for, as it would be to gather the values.
    """
    return torch.where(where, values, torch.nan).flatten(1).nanmedian(dim=1).values


def interpolated(values: Tensor, at: Array, to: Array) -> Tensor:
    """Values through a piecewise linear map: `at` rising to `to`, its ends beyond them."""
    from_, onto = (upload(np.asarray(a), values.device, torch.float32) for a in (at, to))
    upper = torch.searchsorted(from_, values.contiguous()).clamp_(1, len(at) - 1)
    low, high = from_[upper - 1], from_[upper]
    share = ((values - low) / (high - low)).clamp_(0.0, 1.0)
    return onto[upper - 1] + share * (onto[upper] - onto[upper - 1])
