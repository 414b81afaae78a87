"""Pictures to tensors and back, as a card's `Pixels` says."""

from __future__ import annotations

import numpy as np

from mien.models.card import Pixels
from mien.types import Array, Float32


def to_tensor(pictures: Float32, pixels: Pixels) -> Float32:
    """What a network takes.

    Args:
        pictures: (N, H, W, 3) R'G'B' in [0, 1]; values outside are clipped, as no network has seen them.
        pixels: Mean, deviation and order of the tensor.

    Returns:
        Float32 (N, 3, H, W) or (N, H, W, 3), contiguous: (x - mean) / std.
    """
    tensor = np.empty(_shape(pictures, pixels), np.float32)
    planes = tensor if pixels.layout == "NCHW" else np.moveaxis(tensor, 3, 1)
    for channel, (source, mean, std) in enumerate(zip(_order(pixels), pixels.mean, pixels.std, strict=True)):
        plane = planes[:, channel]
        np.clip(pictures[..., source], np.float32(0), np.float32(1), out=plane)
        if mean:
            np.subtract(plane, np.float32(mean), out=plane)
        if std != 1.0:
            np.multiply(plane, np.float32(1.0 / std), out=plane)
    return tensor


def to_pictures(tensor: Array, pixels: Pixels) -> Float32:
    """Pictures from what a network gives: x * std + mean, not clipped.

    Args:
        tensor: (N, 3, H, W) or (N, H, W, 3).
        pixels: Mean, deviation and order of the tensor.

    Returns:
        Float32 (N, H, W, 3) R'G'B', nominal [0, 1].
    """
    planes = tensor if pixels.layout == "NCHW" else np.moveaxis(tensor, 3, 1)
    n, _, height, width = planes.shape
    pictures = np.empty((n, height, width, 3), np.float32)
    for channel, (target, mean, std) in enumerate(zip(_order(pixels), pixels.mean, pixels.std, strict=True)):
        np.multiply(planes[:, channel], np.float32(std), out=pictures[..., target])
        if mean:
            pictures[..., target] += np.float32(mean)
    return pictures


def _order(pixels: Pixels) -> tuple[int, int, int]:
    """For each channel of the tensor the channel of an R'G'B' picture."""
    return (0, 1, 2) if pixels.order == "RGB" else (2, 1, 0)


def _shape(pictures: Float32, pixels: Pixels) -> tuple[int, int, int, int]:
    n, height, width, _ = pictures.shape
    return (n, 3, height, width) if pixels.layout == "NCHW" else (n, height, width, 3)
