"""ONNX operators over torch: what moves numbers and does not change them.

Definitions: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from mien.models.torch_site import Build, Site, Step, Unsupported
from mien.types import Array

LARGEST = 1 << 28
"""Elements of a filled tensor, or repeats of one, that any network comes near."""


def _shape(site: Site) -> Step:
    shape = site.shape()[slice(site.attribute("start", 0), site.attribute("end"))]
    return Step(lambda: torch.tensor(shape, dtype=torch.int64), ())


def _size(site: Site) -> Step:
    count = prod(site.shape())
    return Step(lambda: torch.tensor(count, dtype=torch.int64), ())


def _filled(site: Site) -> Step:
    lengths = site.ints(0)
    if any(n < 0 for n in lengths) or prod(lengths) > LARGEST:
        raise Unsupported(f"it makes a tensor of the absurd shape {tuple(lengths)}")
    value = site.attribute("value")
    if value is None:
        kind, number = torch.float32, 0.0
    else:
        from onnx import numpy_helper

        kind, number = site.dtype(int(value.data_type)), numpy_helper.to_array(value).ravel()[0].item()
    return Step(lambda: torch.full(lengths, number, dtype=kind), ())


def _range(site: Site) -> Step:
    start, limit, delta = (site.array(k).item() for k in range(3))
    if not delta or (limit - start) / delta > LARGEST:
        raise Unsupported("it counts too far")
    values = torch.from_numpy(np.arange(start, limit, delta)).to(site.tensor(0).dtype)
    return Step(lambda: values, ())


def _reshape(site: Site) -> Step:
    shape, wanted = site.shape(), site.ints(1)
    if not site.attribute("allowzero", 0):
        wanted = [shape[k] if n == 0 else n for k, n in enumerate(wanted)]
    return site.step(lambda x: x.reshape(wanted), 0)


def _flatten(site: Site) -> Step:
    rows = prod(site.shape()[: site.axis(1)])
    rest = prod(site.shape()[site.axis(1) :])
    return site.step(lambda x: x.reshape(rows, rest))


def _squeeze(site: Site) -> Step:
    shape, axes = site.shape(), site.ints_of("axes", 1)
    gone = [k for k, n in enumerate(shape) if n == 1] if axes is None else [a % len(shape) for a in axes]
    if any(shape[a] != 1 for a in gone):
        raise Unsupported(f"it drops an axis that is not 1 of {shape}")
    left = [n for k, n in enumerate(shape) if k not in gone]
    return site.step(lambda x: x.reshape(left), 0)


def _unsqueeze(site: Site) -> Step:
    axes = site.ints_of("axes", 1) or []
    rank = len(site.shape()) + len(axes)
    new = {a % rank for a in axes}
    lengths = iter(site.shape())
    wanted = [1 if k in new else next(lengths) for k in range(rank)]
    return site.step(lambda x: x.reshape(wanted), 0)


def _transpose(site: Site) -> Step:
    order = site.attribute("perm")
    axes = list(order) if order is not None else list(range(len(site.shape())))[::-1]
    return site.step(lambda x: x.permute(axes))


def _expand(site: Site) -> Step:
    shape = np.broadcast_shapes(site.shape(), tuple(site.ints(1)))
    return site.step(lambda x: x.expand(shape), 0)


def _tile(site: Site) -> Step:
    repeats = site.ints(1)
    return site.step(lambda x: x.repeat(repeats), 0)


def _concat(site: Site) -> Step:
    axis = site.axis(0)
    return site.step(lambda *tensors: torch.cat(tensors, axis))


def _split(site: Site) -> Step:
    axis = site.axis(0)
    length, parts = site.shape()[axis], len(site.node.output)
    sizes = site.ints_of("split", 1)
    if sizes is None:
        each = -(-length // parts)
        sizes = [each] * (parts - 1) + [length - each * (parts - 1)]
    return site.step(lambda x: torch.split(x, sizes, axis), 0)


def _slice(site: Site) -> Step:
    if site.opset < 10:
        starts, ends = list(site.attribute("starts")), list(site.attribute("ends"))
        axes, steps = site.attribute("axes"), None
    else:
        starts, ends = site.ints(1), site.ints(2)
        axes = site.ints(3) if site.has(3) else None
        steps = site.ints(4) if site.has(4) else None
    axes = list(range(len(starts))) if axes is None else list(axes)
    steps = steps or [1] * len(starts)
    cut: list[slice] = [slice(None)] * len(site.shape())
    turned = []
    for axis, start, end, stride in zip(axes, starts, ends, steps, strict=True):
        places = range(site.shape()[axis])[slice(start, end, stride)]
        if stride < 0:  # torch has no such slices
            turned.append(axis)
            places = places[::-1]
        cut[axis] = slice(places.start, max(places.stop, places.start), places.step)
    pieces = tuple(cut)
    if turned:
        return site.step(lambda x: x[pieces].flip(turned), 0)
    return site.step(lambda x: x[pieces], 0)


def _wrapped(index: Tensor, length: int) -> Tensor:
    """Places, those below 0 counted from the end."""
    return torch.where(index < 0, index + length, index).long()


def _gather(site: Site) -> Step:
    axis, shape, places = site.axis(0), site.shape(0), site.shape(1)
    length = shape[axis]
    if site.is_known(1):
        found = site.ints(1)
        if any(not -length <= k < length for k in found):
            raise Unsupported(f"it takes an item that {length} do not have")
        found = [k % length for k in found]
        if not places:
            return site.step(lambda x: x.select(axis, found[0]), 0)
        if found == list(range(found[0], found[0] + len(found))) and len(places) == 1:
            return site.step(lambda x: x.narrow(axis, found[0], len(found)), 0)
    wanted = (*shape[:axis], *places, *shape[axis + 1 :])

    def run(x: Tensor, index: Tensor) -> Tensor:
        return x.index_select(axis, _wrapped(index, length).reshape(-1)).reshape(wanted)

    return site.step(run)


def _gather_elements(site: Site) -> Step:
    axis = site.axis(0)
    length = site.shape()[axis]
    return site.step(lambda x, index: torch.gather(x, axis, _wrapped(index, length)))


def _gather_nd(site: Site) -> Step:
    if site.attribute("batch_dims", 0):
        raise Unsupported("it has batch axes")
    lengths = site.shape()
    return site.step(lambda x, index: x[_places(index, lengths)])


def _places(index: Tensor, lengths: Sequence[int]) -> tuple[Tensor, ...]:
    """One tensor of places for each axis that the last axis of `index` counts."""
    return tuple(_wrapped(index[..., k], lengths[k]) for k in range(index.shape[-1]))


def _adds(site: Site) -> bool:
    """Whether it adds to what is there."""
    how = str(site.attribute("reduction", "none"))
    if how not in ("none", "add"):
        raise Unsupported(f"its reduction {how} is unknown here")
    return how == "add"


def _scatter_nd(site: Site) -> Step:
    lengths, add = site.shape(), _adds(site)
    return site.step(lambda x, index, new: x.index_put(_places(index, lengths), new, accumulate=add))


def _scatter_elements(site: Site) -> Step:
    axis, add = site.axis(0), _adds(site)
    length = site.shape()[axis]

    def run(x: Tensor, index: Tensor, new: Tensor) -> Tensor:
        places = _wrapped(index, length)
        return x.scatter_add(axis, places, new) if add else x.scatter(axis, places, new)

    return site.step(run)


def _one_hot(site: Site) -> Step:
    depth = site.ints(1)[0]
    axis = site.axis(-1, extra=1)
    if not 0 < depth <= LARGEST:
        raise Unsupported(f"its depth is {depth}")
    rank = len(site.shape()) + 1
    each = torch.arange(depth).reshape([depth if k == axis else 1 for k in range(rank)])

    def run(index: Tensor, values: Tensor, each: Tensor) -> Tensor:
        places = _wrapped(index, depth).unsqueeze(axis)
        return torch.where(places == each, values[1], values[0])

    return site.step(run, 0, 2, extra=(each,))


def _pad(site: Site) -> Step:
    rank = len(site.shape())
    amounts = site.ints_of("pads", 1) or [0] * (2 * rank)
    axes = [a % rank for a in site.ints(3)] if site.has(3) else list(range(rank))
    pads = {a: (amounts[k], amounts[k + len(axes)]) for k, a in enumerate(axes)}
    mode = str(site.attribute("mode", "constant"))
    if mode == "constant":
        value = site.number(2, float(site.attribute("value", 0.0)))
        flat = [n for a in reversed(range(rank)) for n in pads.get(a, (0, 0))]
        return site.step(lambda x: functional.pad(x, flat, value=value), 0)
    names = {"reflect": "reflect", "edge": "replicate"}
    fast = rank == 4 and mode in names and all(pads.get(a, (0, 0)) == (0, 0) for a in (0, 1))
    sides = [n for a in (3, 2) for n in pads.get(a, (0, 0))] if rank == 4 else []
    if fast and site.tensor().is_floating_point() and min(sides) >= 0 and max(sides) < min(site.shape()[2:]):
        return site.step(lambda x: functional.pad(x, sides, mode=names[mode]), 0)
    moved = [(a, _around(site.shape()[a], *ends, mode)) for a, ends in pads.items() if ends != (0, 0)]

    def run(x: Tensor, *index: Tensor) -> Tensor:
        for (axis, _), places in zip(moved, index, strict=True):
            x = x.index_select(axis, places)
        return x

    return site.step(run, 0, extra=tuple(torch.from_numpy(places) for _, places in moved))


def _around(length: int, before: int, after: int, mode: str) -> Array:
    """Where each item along a padded axis comes from."""
    places = np.arange(-before, length + after)
    if mode == "edge":
        return np.clip(places, 0, length - 1)
    if mode == "wrap":
        return places % length
    if mode == "reflect":
        turn = max(2 * (length - 1), 1)
        return np.asarray(length - 1 - np.abs(length - 1 - places % turn))
    raise Unsupported(f"its mode {mode} is unknown")


def _depth_to_space(site: Site) -> Step:
    n, c, h, w = site.shape()
    size = int(site.attribute("blocksize"))
    if str(site.attribute("mode", "DCR")) == "CRD":
        return site.step(lambda x: functional.pixel_shuffle(x, size))
    inner = (n, size, size, c // size**2, h, w)
    wanted = (n, c // size**2, h * size, w * size)
    return site.step(lambda x: x.reshape(inner).permute(0, 3, 4, 1, 5, 2).reshape(wanted))


def _space_to_depth(site: Site) -> Step:
    n, c, h, w = site.shape()
    size = int(site.attribute("blocksize"))
    inner = (n, c, h // size, size, w // size, size)
    wanted = (n, c * size**2, h // size, w // size)
    return site.step(lambda x: x.reshape(inner).permute(0, 3, 5, 1, 2, 4).reshape(wanted))


def _trilu(site: Site) -> Step:
    shift = int(site.number(1, 0))
    keep = torch.triu if site.attribute("upper", 1) else torch.tril
    return site.step(lambda x: keep(x, shift), 0)


def _constant(site: Site) -> Step:
    from onnx import numpy_helper

    value = site.attribute("value")
    if value is None or value.data_type == TensorProto.STRING:
        raise Unsupported("it is of an unknown kind")
    array = np.array(numpy_helper.to_array(value))
    return Step(lambda: torch.from_numpy(array), ())


OPERATORS: Mapping[str, Build] = {
    "Shape": _shape,
    "Size": _size,
    "ConstantOfShape": _filled,
    "Constant": _constant,
    "Range": _range,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "OneHot": _one_hot,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Trilu": _trilu,
}
"""Operator to what makes a torch call of it."""
