"""Pictures to tensors and back, as a card's `Pixels` says."""

from __future__ import annotations

import numpy as np

from mien.images import geometry
from mien.images.operations import is_tensor, namespace
from mien.models.card import Card, Pixels, Template
from mien.types import Array, Float32, Float64


def aligned(points: Float64, template: Template, side: int) -> Float64:
    """(2, 3) affine from display pixels to an aligned crop: the least-squares similarity of all five points.

    Args:
        points: (5, 2) display pixels.
        template: Where they go, as a card says it.
        side: Of the crop in pixels.
    """
    return geometry.similarity(points, geometry.template(template, side))


def looked_at(card: Card) -> Pixels:
    """The pixels of the picture that a card's network looks at.

    Raises:
        ValueError: The card has none.
    """
    if card.pixels is None:
        raise ValueError(f"{card.name}: expected a card that says how its picture is made")
    return card.pixels


def to_tensor(pictures: Float32, pixels: Pixels) -> Float32:
    """What a network takes.

    Args:
        pictures: (N, H, W, 3) R'G'B' in [0, 1]; values outside are clipped, as no network has seen them.
        pixels: Mean, deviation and order of the tensor.

    Returns:
        Float32 (N, 3, H, W) or (N, H, W, 3), contiguous: (x - mean) / std. A tensor where a tensor was given.
    """
    if is_tensor(pictures):
        return _tensor_of(pictures, pixels)
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
    if is_tensor(tensor):
        return _pictures_of(tensor, pixels)
    planes = tensor if pixels.layout == "NCHW" else np.moveaxis(tensor, 3, 1)
    n, _, height, width = planes.shape
    pictures = np.empty((n, height, width, 3), np.float32)
    for channel, (target, mean, std) in enumerate(zip(_order(pixels), pixels.mean, pixels.std, strict=True)):
        np.multiply(planes[:, channel], np.float32(std), out=pictures[..., target])
        if mean:
            pictures[..., target] += np.float32(mean)
    return pictures


def _tensor_of(pictures: Float32, pixels: Pixels) -> Float32:
    """The same with torch's tensors, which are not written into."""
    xp = namespace(pictures)
    channels = [
        (pictures[..., source].clip(0.0, 1.0) - mean) * (1.0 / std)
        for source, mean, std in zip(_order(pixels), pixels.mean, pixels.std, strict=True)
    ]
    return xp.stack(channels, axis=1 if pixels.layout == "NCHW" else 3)  # type: ignore[no-any-return]


def _pictures_of(tensor: Array, pixels: Pixels) -> Float32:
    """The same back."""
    xp = namespace(tensor)
    planes = tensor if pixels.layout == "NCHW" else xp.moveaxis(tensor, 3, 1)
    channels = [
        planes[:, k] * pixels.std[k] + pixels.mean[k] for k in _order(pixels)
    ]  # turning the order round is its own inverse
    return xp.stack(channels, axis=3)  # type: ignore[no-any-return]


def _order(pixels: Pixels) -> tuple[int, int, int]:
    """For each channel of the tensor the channel of an R'G'B' picture."""
    return (0, 1, 2) if pixels.order == "RGB" else (2, 1, 0)


def _shape(pictures: Float32, pixels: Pixels) -> tuple[int, int, int, int]:
    n, height, width, _ = pictures.shape
    return (n, 3, height, width) if pixels.layout == "NCHW" else (n, height, width, 3)
