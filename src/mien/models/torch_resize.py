"""ONNX's Resize over torch.

Along each axis every result is a weighted sum of a few neighbours; where they lie is what the many modes
differ in. Definition: https://onnx.ai/onnx/operators/onnx__Resize.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.models.torch_site import Build, Site, Step, Unsupported
from mien.types import Array


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis that changes its length."""

    number: int
    length: int
    """Before."""
    wanted: int
    """After."""
    scale: float
    """As the file says it; not always the quotient of the lengths."""

    @property
    def true(self) -> bool:
        """Whether the scale is the quotient of the lengths."""
        return abs(self.scale * self.length - self.wanted) < 1e-6 * self.wanted


def _axes(site: Site) -> list[Axis]:
    """The axes that change."""
    shape = site.shape()
    old = site.node.op_type == "Upsample" or site.opset < 11
    named = site.attribute("axes")
    axes = [a % len(shape) for a in named] if named is not None else list(range(len(shape)))
    at = 1 if old else 2
    stored = site.attribute("scales")
    if not old and site.has(3) and site.ints(3):
        sizes = site.ints(3)
        if str(site.attribute("keep_aspect_ratio_policy", "stretch")) != "stretch":
            raise Unsupported("it keeps the aspect ratio")
        scales = [n / shape[a] for n, a in zip(sizes, axes, strict=True)]
    else:
        scales = [float(s) for s in (stored if stored is not None else site.array(at).ravel())]
        sizes = [int(np.floor(shape[a] * s)) for s, a in zip(scales, axes, strict=True)]
    found = [Axis(a, shape[a], n, s) for a, n, s in zip(axes, sizes, scales, strict=True)]
    return [axis for axis in found if axis.wanted != axis.length or axis.scale != 1.0]


def _resize(site: Site) -> Step:
    mode = str(site.attribute("mode", "nearest"))
    default = "asymmetric" if site.opset < 11 or site.node.op_type == "Upsample" else "half_pixel"
    where = str(site.attribute("coordinate_transformation_mode", default))
    if site.attribute("antialias", 0):
        raise Unsupported("it is anti-aliased")
    axes = _axes(site)
    if not axes:
        return site.step(lambda x: x, 0)
    numbers = [axis.number for axis in axes]
    size = [axis.wanted for axis in axes]
    if len(site.shape()) == 4 and numbers == [2, 3]:
        if mode == "nearest" and all(_doubled(site, axis, where) for axis in axes):
            return site.step(lambda x: functional.interpolate(x, size, mode="nearest"), 0)
        if mode == "linear" and _as_torch(axes, where):
            corners = where == "align_corners"
            return site.step(
                lambda x: functional.interpolate(x, size, mode="bilinear", align_corners=corners), 0
            )
    if mode == "nearest":
        places = tuple(torch.from_numpy(_nearest(site, axis, where)) for axis in axes)
        return site.step(lambda x, *index: _picked(x, numbers, index), 0, extra=places)
    return _weighted(site, axes, mode, where)


def _picked(x: Tensor, numbers: list[int], places: tuple[Tensor, ...]) -> Tensor:
    """Items of several axes."""
    for number, index in zip(numbers, places, strict=True):
        x = x.index_select(number, index)
    return x


def _as_torch(axes: list[Axis], where: str) -> bool:
    """Whether torch's own interpolation has the same neighbours and weights."""
    if where == "pytorch_half_pixel":
        return all(axis.true and axis.wanted > 1 for axis in axes)
    if where == "align_corners":
        return all(axis.wanted > 1 for axis in axes)
    return where == "half_pixel" and all(axis.true for axis in axes)


def _doubled(site: Site, axis: Axis, where: str) -> bool:
    """Whether each item is only repeated 2, 4, 8 ... times, in which torch's rounding is exact."""
    times = axis.wanted // axis.length
    if axis.length * times != axis.wanted or times & (times - 1):
        return False
    return bool((_nearest(site, axis, where) == np.arange(axis.wanted) // times).all())


def _coordinates(axis: Axis, where: str) -> Array:
    """Where each result lies between the items, in float32 as ONNX Runtime has it."""
    x = np.arange(axis.wanted, dtype=np.float32)
    scale = np.float32(axis.scale)
    half = np.float32(0.5)
    if where == "half_pixel":
        return np.asarray((x + half) / scale - half)
    if where == "pytorch_half_pixel":
        return np.asarray((x + half) / scale - half if axis.wanted > 1 else x * 0)
    if where == "asymmetric":
        return np.asarray(x / scale)
    if where == "align_corners":
        return np.asarray(x * np.float32(axis.length - 1) / np.float32(max(axis.wanted - 1, 1)))
    if where == "half_pixel_symmetric":
        shift = axis.length / 2.0 * (1.0 - axis.wanted / (axis.scale * axis.length))
        return np.asarray((x + half) / scale - half + np.float32(shift))
    raise Unsupported(f"its coordinates {where} are unknown here")


def _nearest(site: Site, axis: Axis, where: str) -> Array:
    """The item that each result is."""
    x = _coordinates(axis, where)
    default = "floor" if site.opset < 11 or site.node.op_type == "Upsample" else "round_prefer_floor"
    how = str(site.attribute("nearest_mode", default))
    rounded = {
        "round_prefer_floor": lambda: np.ceil(x - np.float32(0.5)),
        "round_prefer_ceil": lambda: np.floor(x + np.float32(0.5)),
        "floor": lambda: np.floor(x),
        "ceil": lambda: np.ceil(x),
    }
    if how not in rounded:
        raise Unsupported(f"its rounding {how} is unknown")
    return np.asarray(np.clip(rounded[how](), 0, axis.length - 1).astype(np.int64))


def _taps(axis: Axis, mode: str, where: str, curve: float, inside: bool) -> tuple[Array, Array]:
    """Which items each result is a sum of, and their weights: (taps, wanted) each."""
    x = _coordinates(axis, where)
    first = np.floor(x)
    t = (x - first).astype(np.float64)
    if mode == "linear":
        weights, start = np.stack([1.0 - t, t]), 0
    elif mode == "cubic":
        far = np.stack([t + 1.0, 2.0 - t])
        near = np.stack([t, 1.0 - t])
        outer = curve * (((far - 5.0) * far + 8.0) * far - 4.0)
        inner = ((curve + 2.0) * near - (curve + 3.0)) * near * near + 1.0
        weights, start = np.stack([outer[0], inner[0], inner[1], outer[1]]), -1
    else:
        raise Unsupported(f"its mode {mode} is unknown")
    places = first[np.newaxis] + np.arange(start, start + len(weights))[:, np.newaxis]
    if inside:
        weights = np.where((places >= 0) & (places < axis.length), weights, 0.0)
        weights = weights / weights.sum(0, keepdims=True)
    return np.clip(places, 0, axis.length - 1).astype(np.int64), weights


def _weighted(site: Site, axes: list[Axis], mode: str, where: str) -> Step:
    """A sum of neighbours, axis after axis."""
    kind = site.tensor().dtype
    rank = len(site.shape())
    curve, inside = float(site.attribute("cubic_coeff_a", -0.75)), bool(site.attribute("exclude_outside", 0))
    extra: list[Tensor] = []
    for axis in axes:
        places, weights = _taps(axis, mode, where, curve, inside and mode == "cubic")
        along = (len(places), *[axis.wanted if k == axis.number else 1 for k in range(rank)])
        extra += [torch.from_numpy(places), torch.from_numpy(weights).reshape(along).to(kind)]

    def run(x: Tensor, *taps: Tensor) -> Tensor:
        for axis, places, weights in zip(axes, taps[::2], taps[1::2], strict=True):
            total = x.index_select(axis.number, places[0]) * weights[0]
            for k in range(1, len(places)):
                total = torch.addcmul(total, x.index_select(axis.number, places[k]), weights[k])
            x = total
        return x

    return site.step(run, 0, extra=tuple(extra))


OPERATORS: Mapping[str, Build] = {"Resize": _resize, "Upsample": _resize}
"""Operator to what makes a torch call of it."""
