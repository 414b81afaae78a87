"""ONNX operators over torch: convolutions, pooling, normalisation.

Definitions: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mien.models.torch_site import Build, Site, Step, Unsupported

_CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)
_SPREAD = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
_MAXIMUM = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_AVERAGE = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


def _numbers(site: Site, name: str, rank: int, default: int = 1) -> list[int]:
    """One number for each spatial axis."""
    return [int(n) for n in site.attribute(name) or [default] * rank]


def _rank(site: Site) -> int:
    """Number of spatial axes, 1 to 3."""
    rank = len(site.shape()) - 2
    if not 1 <= rank <= 3:
        raise Unsupported(f"its input has {rank + 2} axes")
    return rank


def _pads(
    site: Site, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    """What is added before and after each spatial axis."""
    rank, how = len(kernel), str(site.attribute("auto_pad", "NOTSET"))
    if how == "NOTSET":
        flat = _numbers(site, "pads", 2 * rank, 0)
        return [(flat[k], flat[k + rank]) for k in range(rank)]
    if how == "VALID":
        return [(0, 0)] * rank
    found = []
    for length, k, s, d in zip(site.shape()[2:], kernel, strides, dilations, strict=True):
        total = max((-(-length // s) - 1) * s + (k - 1) * d + 1 - length, 0)
        small, large = total // 2, total - total // 2
        found.append((small, large) if how == "SAME_UPPER" else (large, small))
    return found


def _flat(pads: Sequence[tuple[int, int]]) -> list[int]:
    """In the order of `torch.nn.functional.pad`."""
    return [n for ends in reversed(pads) for n in ends]


def _conv(site: Site) -> Step:
    rank = _rank(site)
    kernel = list(site.shape(1)[2:])
    strides, dilations = _numbers(site, "strides", rank), _numbers(site, "dilations", rank)
    groups = int(site.attribute("group", 1))
    pads = _pads(site, kernel, strides, dilations)
    convolve = _CONVOLVE[rank - 1]
    even = all(a == b >= 0 for a, b in pads)
    inner, outer = [a for a, _ in pads] if even else [0] * rank, _flat(pads)

    def run(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        x = x if even else functional.pad(x, outer)
        return convolve(x, weight, bias[0] if bias else None, strides, inner, dilations, groups)

    return site.step(run)


def _conv_transpose(site: Site) -> Step:
    rank = _rank(site)
    kernel = list(site.shape(1)[2:])
    strides, dilations = _numbers(site, "strides", rank), _numbers(site, "dilations", rank)
    added, groups = _numbers(site, "output_padding", rank, 0), int(site.attribute("group", 1))
    pads = _transposed_pads(site, kernel, strides, dilations, added)
    spread = _SPREAD[rank - 1]
    even = all(a == b >= 0 for a, b in pads)
    # What is not the same at both ends is cut off afterwards.
    inner = [a for a, _ in pads] if even else [0] * rank
    outer = [-n for n in _flat(pads)]
    if any(a >= max(s, d) for a, s, d in zip(added, strides, dilations, strict=True)):
        raise Unsupported("its output_padding is not smaller than its stride")

    def run(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        x = spread(x, weight, bias[0] if bias else None, strides, inner, added, groups, dilations)
        return x if even else functional.pad(x, outer)

    return site.step(run)


def _transposed_pads(
    site: Site, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], added: Sequence[int]
) -> list[tuple[int, int]]:
    """What a transposed convolution leaves out before and after each spatial axis."""
    rank, how = len(kernel), str(site.attribute("auto_pad", "NOTSET"))
    wanted = site.attribute("output_shape")
    lengths = site.shape()[2:]
    if how.startswith("SAME") and wanted is None:
        wanted = [n * s for n, s in zip(lengths, strides, strict=True)]
    if wanted is None:
        flat = [0] * (2 * rank) if how == "VALID" else _numbers(site, "pads", 2 * rank, 0)
        return [(flat[k], flat[k + rank]) for k in range(rank)]
    found = []
    for n, w, k, s, d, a in zip(lengths, wanted[-rank:], kernel, strides, dilations, added, strict=True):
        total = s * (n - 1) + a + (k - 1) * d + 1 - int(w)
        small, large = total // 2, total - total // 2
        found.append((small, large) if how == "SAME_UPPER" else (large, small))
    return found


# Pooling


def _max_pool(site: Site) -> Step:
    if len(site.node.output) > 1 and site.node.output[1]:
        raise Unsupported("its second output is used")
    rank = _rank(site)
    kernel = _numbers(site, "kernel_shape", rank)
    strides, dilations = _numbers(site, "strides", rank), _numbers(site, "dilations", rank)
    pads = _pads(site, kernel, strides, dilations)
    ceil, pool = bool(site.attribute("ceil_mode", 0)), _MAXIMUM[rank - 1]
    even = all(a == b and a <= k // 2 for (a, b), k in zip(pads, kernel, strict=True))
    inner, outer = [a for a, _ in pads] if even else [0] * rank, _flat(pads)

    def run(x: Tensor) -> Tensor:
        x = x if even else functional.pad(x, outer, value=float("-inf"))
        return pool(x, kernel, strides, inner, dilations, ceil)

    return site.step(run)


def _average_pool(site: Site) -> Step:
    rank = _rank(site)
    kernel = _numbers(site, "kernel_shape", rank)
    strides, dilations = _numbers(site, "strides", rank), _numbers(site, "dilations", rank)
    if any(d != 1 for d in dilations):
        raise Unsupported("it has dilations")
    pads = _pads(site, kernel, strides, dilations)
    ceil, whole = bool(site.attribute("ceil_mode", 0)), bool(site.attribute("count_include_pad", 0))
    pool, outer = _AVERAGE[rank - 1], _flat(pads)
    if all(a == b and a <= k // 2 for (a, b), k in zip(pads, kernel, strict=True)):
        inner = [a for a, _ in pads]
        return site.step(lambda x: pool(x, kernel, strides, inner, ceil, whole))
    if whole:
        return site.step(lambda x: pool(functional.pad(x, outer), kernel, strides, 0, ceil))
    ones = torch.ones((1, 1, *site.shape()[2:]))
    share = pool(functional.pad(ones, outer), kernel, strides, 0, ceil)

    def run(x: Tensor, share: Tensor) -> Tensor:
        return pool(functional.pad(x, outer), kernel, strides, 0, ceil) / share

    return site.step(run, extra=(share.to(site.tensor().dtype),))


def _global(run: Callable[[Tensor, list[int]], Tensor]) -> Build:
    def build(site: Site) -> Step:
        axes = list(range(2, len(site.shape())))
        return site.step(lambda x: run(x, axes))

    return build


# Normalisation


def _batch_norm(site: Site) -> Step:
    if site.attribute("training_mode", 0):
        raise Unsupported("it is in training mode")
    shape, eps = site.shape(), float(site.attribute("epsilon", 1e-5))
    if not all(site.is_known(k) for k in range(1, 5)):
        return site.step(lambda x, s, b, m, v: functional.batch_norm(x, m, v, s, b, False, 0.0, eps))
    scale, bias, mean, variance = (site.tensor(k).cpu().double() for k in range(1, 5))
    factor = scale / torch.sqrt(variance + eps)
    along = (-1, *[1] * (len(shape) - 2))
    kind = site.tensor().dtype
    extra = tuple(t.reshape(along).to(kind) for t in (factor, bias - mean * factor))
    return site.step(lambda x, a, b: torch.addcmul(b, x, a), 0, extra=extra)


def _instance_norm(site: Site) -> Step:
    eps = float(site.attribute("epsilon", 1e-5))
    return site.step(lambda x, s, b: torch.instance_norm(x, s, b, None, None, True, 0.0, eps, x.is_cuda))


def _layer_norm(site: Site) -> Step:
    if any(site.node.output[1:]):
        raise Unsupported("its mean or deviation is used")
    eps, over = float(site.attribute("epsilon", 1e-5)), list(site.shape()[site.axis(-1) :])
    usual = all(list(site.shape(k)) == over for k in (1, 2) if site.has(k))

    def run(x: Tensor, scale: Tensor, *bias: Tensor) -> Tensor:
        if usual:
            return functional.layer_norm(x, over, scale, bias[0] if bias else None, eps)
        x = functional.layer_norm(x, over, None, None, eps) * scale
        return x + bias[0] if bias else x

    return site.step(run)


def _group_norm(site: Site) -> Step:
    groups, eps = int(site.attribute("num_groups")), float(site.attribute("epsilon", 1e-5))
    each = site.shape()[1] // groups if site.shape(1) == (groups,) else 1
    return site.step(
        lambda x, s, b: functional.group_norm(
            x, groups, s.repeat_interleave(each), b.repeat_interleave(each), eps
        )
    )


def _lp_norm(site: Site) -> Step:
    axis, order = site.axis(-1), int(site.attribute("p", 2))
    return site.step(lambda x: x / torch.linalg.vector_norm(x, order, axis, keepdim=True))


def _spread(site: Site) -> Step:
    """MeanVarianceNormalization."""
    axes = [int(a) for a in site.attribute("axes") or (0, 2, 3)]

    def run(x: Tensor) -> Tensor:
        away = x - x.mean(axes, keepdim=True)
        return away / ((away * away).mean(axes, keepdim=True).sqrt() + 1e-9)

    return site.step(run)


def _grid_sample(site: Site) -> Step:
    modes = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest"}
    mode = str(site.attribute("mode", "linear"))
    if mode not in modes or len(site.shape()) != 4:
        raise Unsupported(f"its mode {mode} for {len(site.shape())} axes is unknown here")
    outside, corners = str(site.attribute("padding_mode", "zeros")), bool(site.attribute("align_corners", 0))
    return site.step(lambda x, grid: functional.grid_sample(x, grid, modes[mode], outside, corners))


OPERATORS: Mapping[str, Build] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global(lambda x, axes: x.mean(axes, keepdim=True)),
    "GlobalMaxPool": _global(lambda x, axes: x.amax(axes, keepdim=True)),
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _spread,
    "GridSample": _grid_sample,
}
"""Operator to what makes a torch call of it."""
