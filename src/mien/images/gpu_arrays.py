"""How pixels get onto a device and off it, and the shapes in which they are worked on there.

Inside, pictures are float32 (N, C, H, W). Nothing here but `to_host` waits for the device: what goes up is
small, comes from pinned memory, and is ordered by the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from mien.types import Array, Frame

KINDS = (torch.uint8, torch.uint16, torch.float32)
"""Types of samples that are worked on."""


def upload(array: Array, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """An array as a tensor on a device, of its own or another type; the copy is queued, not waited for."""
    host = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if dtype is not None:
        host = host.to(dtype)
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


def like(array: Any, other: Tensor) -> Tensor:
    """An array of NumPy's on the device of a tensor; what is a tensor already, as it is."""
    return array if isinstance(array, Tensor) else upload(array, other.device)


def host(values: Tensor) -> Array:
    """A tensor as an array of NumPy's; waits for it."""
    return np.asarray(values.cpu().numpy())


def to_device(frame: Frame, device: str | torch.device) -> Frame:
    """A frame of NumPy planes as one of tensors: a copy of its own memory."""
    where = torch.device(device)
    planes = []
    for plane in frame.planes:
        # One copy on the host, for either: a paste must not change both, and cards read pinned memory.
        host = torch.empty(
            plane.shape, dtype=getattr(torch, plane.dtype.name), pin_memory=where.type == "cuda"
        )
        host.numpy()[...] = plane
        planes.append(host.to(where, non_blocking=True))
    return replace(frame, planes=cast(Any, tuple(planes)), owner=None)


def to_host(frame: Frame) -> Frame:
    """A frame of tensors as one of NumPy planes of its own; waits for what is queued before it."""
    planes = tuple(p.to("cpu", copy=True).numpy() for p in tensors(frame))
    return replace(frame, planes=planes, owner=None)


def tensors(frame: Frame) -> tuple[Tensor, ...]:
    """The planes of a frame.

    Raises:
        TypeError: They are no tensors.
    """
    planes: tuple[Any, ...] = frame.planes
    if not all(isinstance(p, Tensor) for p in planes):
        raise TypeError(f"frame: expected tensors, got {type(planes[0]).__name__}; bring it up first")
    return planes


def rows(matrices: Array, count: int | None = None) -> Array:
    """Matrices as float64 (N, 2, 3).

    Raises:
        ValueError: Another shape, or another number than `count`.
    """
    got = np.asarray(matrices, np.float64)
    if got.ndim != 3 or got.shape[1:] != (2, 3) or (count is not None and len(got) != count):
        raise ValueError(f"matrices: expected ({'N' if count is None else count}, 2, 3), got {got.shape}")
    return got


def whole(values: Tensor) -> Tensor:
    """Float code values to the nearest whole ones, halves to the even one."""
    return torch.round(values)


def finish(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Float samples as `dtype`, integers rounded and saturated."""
    if dtype == torch.float32:
        return values
    return whole(values).clamp_(0, torch.iinfo(dtype).max).to(dtype)


def known(name: str, images: Tensor, batched: bool) -> None:
    """Check that `images` is what the functions of this package take.

    Raises:
        TypeError: Another type than uint8, uint16 or float32.
        ValueError: Another shape, or nothing.
    """
    if images.dtype not in KINDS:
        raise TypeError(f"{name}: expected uint8, uint16 or float32, got {images.dtype}")
    if images.ndim not in ((3, 4) if batched else (2, 3)) or 0 in images.shape:
        shape = "(N, h, w) or (N, h, w, c)" if batched else "(h, w) or (h, w, c)"
        raise ValueError(f"{name}: expected non-empty {shape}, got {tuple(images.shape)}")


def in_planes(images: Tensor, work: Callable[[Tensor], Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """Run `work`, float32 (N, C, H, W) to the same, on (N, h, w) or (N, h, w, c), and give `images`' type.

    Channels stay apart in memory, as networks want them; the result is a view of that.
    """
    flat = images.ndim == 3
    planes = images[:, None] if flat else images.permute(0, 3, 1, 2)
    got = finish(work(planes.to(torch.float32)), dtype or images.dtype)
    return got[:, 0] if flat else got.permute(0, 2, 3, 1)


def in_order(parts: Sequence[tuple[Sequence[int], Tensor]]) -> Tensor:
    """Results of parts of a batch, each with its rows' numbers, as one batch."""
    if len(parts) == 1:
        return parts[0][1]
    found: dict[int, Tensor] = {}
    for numbers, batch in parts:
        found.update(zip(numbers, batch.unbind(0), strict=True))
    return torch.stack([found[k] for k in sorted(found)])
