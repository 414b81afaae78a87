"""A dark picture's contrast brought out over tensors: what `cpu_draw.equalised` does."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.images.gpu_arrays import finish, upload
from mien.images.gpu_draw import WHITE, XYZ, from_lab
from mien.types import Array

_LEVELS = 256
_MIX = 1 << 12
"""Steps of a weight where OpenCV mixes the colours of bytes."""
_ROOT = 1 << 15
"""Steps of CIELAB's cube root there."""
_LIGHT = 255 * 8
"""Steps of linear light there."""


def equalised(rgb: Tensor, clip: float = 2.0, tiles: int = 8) -> Tensor:
    """A dark picture's contrast brought out, tile by tile, in lightness alone (CLAHE on L of CIELAB).

    Args:
        rgb: uint8 (h, w, 3) R'G'B'.
        clip: Most that a tile's histogram may stand out over an even one; 1 changes little.
        tiles: Along each side.

    Returns:
        uint8 (h, w, 3) R'G'B' of the same hues (S. Pizer et al., "Adaptive histogram equalization and its
        variations", 1987).

    Raises:
        TypeError: Not uint8.
        ValueError: Another shape, or too small for so many tiles.
    """
    if rgb.dtype != torch.uint8:
        raise TypeError(f"rgb: expected uint8, got {rgb.dtype}")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) <= tiles:
        raise ValueError(f"rgb: expected (h, w, 3) of more than {tiles} a side, got {tuple(rgb.shape)}")
    lightness, a, b = _lab8(rgb)
    h, w = rgb.shape[:2]
    high, wide = _padded(h, w, tiles)
    padded = functional.pad(lightness[None].float(), (0, wide - w, 0, high - h), "reflect")[0].to(torch.int64)
    curves = _curves(padded, clip, tiles)
    flat = _between(lightness, curves, (high // tiles, wide // tiles))
    lab = torch.stack([flat * (100.0 / 255.0), a - 128.0, b - 128.0], -1)
    return finish(from_lab(lab) * 255.0, torch.uint8)


def _lab8(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """CIELAB of bytes as bytes hold it: L * 2.55, a + 128 and b + 128, int64 (h, w).

    In OpenCV's own steps: a steep curve, or the way back near black, would make more of one code's
    difference.
    """
    gamma, root = (upload(table, rgb.device) for table in _tables())
    light = gamma[rgb.to(torch.int64)].unbind(-1)
    weights = np.rint(np.array(XYZ) / np.array(WHITE)[:, None] * _MIX).astype(np.int64).tolist()
    fx, fy, fz = (
        root[(light[0] * r + light[1] * g + light[2] * b + _MIX // 2) // _MIX] for r, g, b in weights
    )
    scale, shift = (116 * 255 + 50) // 100, (16 * 255 * _ROOT + 50) // 100
    lightness = (fy * scale - shift + _ROOT // 2) // _ROOT
    a, b = (
        ((k * (one - other) + 128 * _ROOT + _ROOT // 2) // _ROOT).clamp_(0, 255)
        for k, one, other in ((500, fx, fy), (200, fy, fz))
    )
    return lightness, a, b


@lru_cache(maxsize=1)
def _tables() -> tuple[Array, Array]:
    """Linear light of sRGB's codes (256,), and CIELAB's cube root of steps of light, int64."""
    codes = np.arange(256) / 255.0
    light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    steps = np.arange(_LIGHT * 3 // 2) / _LIGHT
    root = np.where(steps < 216 / 24389, steps * (841 / 108) + 16 / 116, np.cbrt(steps))
    # Two roots come so close to a half that OpenCV's float32 makes it one.
    whole = np.rint(root.astype(np.float32) * np.float32(_ROOT))
    return np.rint(light * _LIGHT).astype(np.int64), whole.astype(np.int64)


def _padded(h: int, w: int, tiles: int) -> tuple[int, int]:
    """Height and width made whole multiples; OpenCV adds a whole tile where only the other side lacks."""
    if h % tiles == 0 and w % tiles == 0:
        return h, w
    return h + tiles - h % tiles, w + tiles - w % tiles


def _curves(lightness: Tensor, clip: float, tiles: int) -> Tensor:
    """Each tile's curve of lightness: float32 (tiles * tiles, 256), whole codes."""
    h, w = (side // tiles for side in lightness.shape)
    parts = lightness.reshape(tiles, h, tiles, w).transpose(1, 2).reshape(tiles * tiles, h * w)
    # Not bincount: it waits for the device to learn how many there are.
    counts = torch.zeros((len(parts), _LEVELS), dtype=torch.int64, device=parts.device)
    counts.scatter_add_(1, parts, torch.ones_like(parts))
    limit = max(int(clip * h * w / _LEVELS), 1)
    over = (counts - limit).clamp_(min=0).sum(1, keepdim=True)
    rest = over % _LEVELS
    # What is left over when it is shared out goes to evenly spaced codes.
    step = _LEVELS // rest.clamp(min=1)
    code = torch.arange(_LEVELS, device=parts.device)[None]
    more = ((code % step == 0) & (code // step < rest)).to(torch.int64)
    flat = counts.clamp_(max=limit) + over // _LEVELS + more
    scale = float(np.float32(_LEVELS - 1) / np.float32(h * w))
    return torch.round(flat.cumsum(1).to(torch.float32) * scale).clamp_(0.0, 255.0)


def _between(lightness: Tensor, curves: Tensor, tile: tuple[int, int]) -> Tensor:
    """Lightness (h, w) through the curves of the four tiles around, bilinearly: float32, whole codes."""
    tiles = round(len(curves) ** 0.5)
    found: list[tuple[Tensor, Tensor]] = []
    for side, length in zip(lightness.shape, tile, strict=True):
        at = np.arange(side, dtype=np.float32) * np.float32(1.0 / length) - np.float32(0.5)
        first = np.floor(at)
        both = np.stack([first, first + 1]).clip(0, tiles - 1).astype(np.int64)
        found.append((upload(both, curves.device), upload(at - first, curves.device)))
    (rows, down), (columns, across) = found
    down = down[:, None]

    def through(row: Tensor) -> Tensor:
        left, right = (curves[row[:, None] * tiles + column, lightness] for column in columns)
        return left * (1.0 - across) + right * across

    return torch.round(through(rows[0]) * (1.0 - down) + through(rows[1]) * down).clamp_(0.0, 255.0)
