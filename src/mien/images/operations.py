"""The operations on pixels that belong to an array: NumPy's are worked on by `images.cpu`, tensors by
`images.gpu`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from mien.types import Frame


def is_tensor(pixels: Any) -> bool:
    """Whether an array is torch's, without importing torch."""
    return type(pixels).__module__.partition(".")[0] == "torch"


def namespace(pixels: Any) -> Any:
    """The functions of the array API that take an array: NumPy's own, or torch's by their standard names."""
    if isinstance(pixels, np.ndarray):
        return np
    return array_api_compat.array_namespace(pixels)


def of(pixels: Frame | Any) -> ModuleType:
    """The module whose functions take these pixels: `images.cpu`, or `images.gpu` where they are tensors.

    torch is imported only where there is a tensor already.

    Args:
        pixels: A frame, or an array or tensor.

    Raises:
        TypeError: Neither NumPy's nor torch's.
    """
    plane: Any = pixels.planes[0] if isinstance(pixels, Frame) else pixels
    if isinstance(plane, np.ndarray):
        from mien.images import cpu

        return cpu
    if is_tensor(plane):
        from mien.images import gpu

        return gpu
    raise TypeError(f"pixels: expected a NumPy array or a tensor, got {type(plane).__name__}")


def like(array: Any, other: Any) -> Any:
    """An array where another one is: on its device if that is a tensor."""
    return of(other).like(array, other) if is_tensor(other) else array


def host(array: Any) -> Any:
    """An array of NumPy's; waits for a tensor."""
    return of(array).host(array) if is_tensor(array) else array


def to_device(frame: Frame, device: str) -> Frame:
    """A copy of a frame of NumPy planes as tensors on a device, as torch names it."""
    from mien.images import gpu

    return gpu.to_device(frame, device)


def to_host(frame: Frame) -> Frame:
    """A frame of tensors as one of NumPy planes of its own; waits for what is queued before it."""
    from mien.images import gpu

    return gpu.to_host(frame)
