"""ONNX operators over torch: arithmetic, comparisons, reductions, products.

Definitions: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.models.torch_site import Build, Site, Step, Unsupported, plain


def _variadic(run: Callable[[Tensor, Tensor], Tensor]) -> Build:
    """An operator of any number of inputs."""
    return plain(lambda *tensors: functools.reduce(run, tensors))


def _mean(*tensors: Tensor) -> Tensor:
    return functools.reduce(torch.add, tensors) / len(tensors)


def _div(site: Site) -> Step:
    if site.tensor(0).is_floating_point():
        return site.step(torch.div)
    return site.step(lambda a, b: torch.div(a, b, rounding_mode="trunc"))


def _mod(site: Site) -> Step:
    return site.step(torch.fmod if site.attribute("fmod", 0) else torch.remainder)


def _pow(site: Site) -> Step:
    kind = site.tensor(0).dtype
    if site.is_known(1) and site.tensor(1).numel() == 1 and kind.is_floating_point:
        exponent = site.number(1, 1.0)
        if len(site.shape(1)) <= len(site.shape(0)):
            return site.step(lambda a: torch.pow(a, exponent), 0)
    return site.step(lambda a, b: torch.pow(a, b).to(kind))


def _clip(site: Site) -> Step:
    if site.opset < 11:
        low, high = site.attribute("min"), site.attribute("max")
    else:
        low, high = (site.array(k).item() if site.has(k) else None for k in (1, 2))
    if low is None and high is None:
        return site.step(lambda x: x, 0)
    return site.step(lambda x: torch.clamp(x, low, high), 0)


def _cast(site: Site) -> Step:
    kind = site.dtype(int(site.attribute("to")))
    return site.step(lambda x: x.to(kind), 0)


def _cast_like(site: Site) -> Step:
    kind = site.tensor(1).dtype
    return site.step(lambda x: x.to(kind), 0)


def _prelu(site: Site) -> Step:
    shape, slope = site.shape(0), site.shape(1)
    by_channel = len(shape) > 1 and len(slope) == len(shape) - 1 and slope[1:] == (1,) * (len(slope) - 1)
    if by_channel and slope[0] == shape[1]:
        return site.step(lambda x, s: functional.prelu(x, s.reshape(-1)))
    return site.step(lambda x, s: torch.where(x < 0, x * s, x))


def _slope(default: float, run: Callable[[Tensor, float], Tensor]) -> Build:
    """An activation with the number `alpha`."""

    def build(site: Site) -> Step:
        alpha = float(site.attribute("alpha", default))
        return site.step(lambda x: run(x, alpha))

    return build


def _hard_sigmoid(site: Site) -> Step:
    alpha, beta = float(site.attribute("alpha", 0.2)), float(site.attribute("beta", 0.5))
    return site.step(lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0))


def _gelu(site: Site) -> Step:
    how = str(site.attribute("approximate", "none"))
    return site.step(lambda x: functional.gelu(x, approximate=how))


def _dropout(site: Site) -> Step:
    if len(site.node.output) > 1 and site.node.output[1]:
        raise Unsupported("its mask is used")
    return site.step(lambda x: x, 0)


# Reductions


def _reduction(run: Callable[[Tensor, list[int], bool], Tensor]) -> Build:
    def build(site: Site) -> Step:
        axes = site.ints_of("axes", 1)
        keep = bool(site.attribute("keepdims", 1))
        if not axes:
            if site.attribute("noop_with_empty_axes", 0):
                # Nothing is summed, but what is done to each number still is.
                return site.step(lambda x: run(x.unsqueeze(0), [0], False), 0)
            axes = list(range(len(site.shape())))
        over = [a % max(len(site.shape()), 1) for a in axes]
        return site.step(lambda x: run(x, over, keep), 0)

    return build


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    kind = x.dtype
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim=keep, dtype=kind)
    return x


def _total(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keep, dtype=x.dtype) if axes else x


_REDUCTIONS: Mapping[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceSum": _total,
    "ReduceMean": lambda x, axes, keep: torch.mean(x, axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: torch.amax(x, axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: torch.amin(x, axes, keepdim=keep),
    "ReduceProd": _prod,
    "ReduceL1": lambda x, axes, keep: _total(x.abs(), axes, keep),
    "ReduceL2": lambda x, axes, keep: _total(x * x, axes, keep).sqrt(),
    "ReduceSumSquare": lambda x, axes, keep: _total(x * x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: _total(x, axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep),
}


def _best(largest: bool) -> Build:
    """ArgMax or ArgMin; of several the first or last, as the node says."""

    def build(site: Site) -> Step:
        axis, keep = site.axis(0), bool(site.attribute("keepdims", 1))
        find = torch.argmax if largest else torch.argmin
        if not site.attribute("select_last_index", 0):
            return site.step(lambda x: find(x, axis, keepdim=keep))
        end = site.shape()[axis] - 1
        return site.step(lambda x: end - find(x.flip(axis), axis, keepdim=keep))

    return build


def _softmax(run: Callable[[Tensor, int], Tensor]) -> Build:
    def build(site: Site) -> Step:
        shape = site.shape()
        axis = site.axis(-1 if site.opset >= 13 else 1)
        if site.opset >= 13 or axis == len(shape) - 1:
            return site.step(lambda x: run(x, axis))
        rows = int(np.prod(shape[:axis]))  # before, everything from the axis on was one
        return site.step(lambda x: run(x.reshape(rows, -1), 1).reshape(shape))

    return build


def _cumsum(site: Site) -> Step:
    axis = site.ints(1)[0]
    exclusive, reverse = bool(site.attribute("exclusive", 0)), bool(site.attribute("reverse", 0))

    def run(x: Tensor) -> Tensor:
        x = x.flip(axis) if reverse else x
        total = torch.cumsum(x, axis, dtype=x.dtype)
        total = total - x if exclusive else total
        return total.flip(axis) if reverse else total

    return site.step(run, 0)


def _topk(site: Site) -> Step:
    count = site.ints(1)[0] if site.opset >= 10 else int(site.attribute("k"))
    axis, largest = site.axis(-1), bool(site.attribute("largest", 1))

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        # Of equal values the first comes first, which torch.topk does not promise.
        values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
        return values.narrow(axis, 0, count), places.narrow(axis, 0, count)

    return site.step(run, 0)


# Products


def _gemm(site: Site) -> Step:
    alpha, beta = float(site.attribute("alpha", 1.0)), float(site.attribute("beta", 1.0))
    first, second = bool(site.attribute("transA", 0)), bool(site.attribute("transB", 0))
    bias = site.has(2)
    if not first and alpha == 1.0 and beta == 1.0 and (not bias or len(site.shape(2)) == 1):
        columns = site.shape(1)[0 if second else 1]
        if not bias or site.shape(2) == (columns,):
            return site.step(lambda a, b, *c: functional.linear(a, b if second else b.t(), *c))

    def run(a: Tensor, b: Tensor, *c: Tensor) -> Tensor:
        product = (a.t() if first else a) @ (b.t() if second else b)
        product = product if alpha == 1.0 else product * alpha
        return product + (c[0] if beta == 1.0 else c[0] * beta) if c else product

    return site.step(run)


def _einsum(site: Site) -> Step:
    equation = str(site.attribute("equation")).replace(" ", "")
    return site.step(lambda *tensors: torch.einsum(equation, *tensors))


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


def _same(x: Tensor) -> Tensor:
    return x


_UNARY: Sequence[tuple[str, Callable[..., Any]]] = (
    ("Abs", torch.abs), ("Neg", torch.neg), ("Sqrt", torch.sqrt), ("Exp", torch.exp), ("Log", torch.log),
    ("Erf", torch.erf), ("Sin", torch.sin), ("Cos", torch.cos), ("Atan", torch.atan), ("Tanh", torch.tanh),
    ("Sigmoid", torch.sigmoid), ("Relu", torch.relu), ("Softplus", functional.softplus),
    ("Softsign", functional.softsign), ("HardSwish", functional.hardswish), ("Mish", functional.mish),
    ("Ceil", torch.ceil), ("Floor", torch.floor), ("Round", torch.round), ("Sign", torch.sign),
    ("Reciprocal", torch.reciprocal), ("Not", torch.logical_not), ("Identity", _same),
    ("IsNaN", torch.isnan),
)  # fmt: skip
_BINARY: Sequence[tuple[str, Callable[..., Any]]] = (
    ("Add", torch.add), ("Sub", torch.sub), ("Mul", torch.mul), ("Equal", torch.eq),
    ("Greater", torch.gt), ("GreaterOrEqual", torch.ge), ("Less", torch.lt), ("LessOrEqual", torch.le),
    ("And", torch.logical_and), ("Or", torch.logical_or), ("Xor", torch.logical_xor),
    ("MatMul", torch.matmul), ("Where", _where),
)  # fmt: skip

OPERATORS: Mapping[str, Build] = {
    **{name: plain(run) for name, run in (*_UNARY, *_BINARY)},
    **{name: _reduction(run) for name, run in _REDUCTIONS.items()},
    "Div": _div,
    "Mod": _mod,
    "Pow": _pow,
    "Max": _variadic(torch.maximum),
    "Min": _variadic(torch.minimum),
    "Sum": _variadic(torch.add),
    "Mean": plain(_mean),
    "Clip": _clip,
    "Cast": _cast,
    "CastLike": _cast_like,
    "PRelu": _prelu,
    "LeakyRelu": _slope(0.01, functional.leaky_relu),
    "Elu": _slope(1.0, functional.elu),
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Dropout": _dropout,
    "ArgMax": _best(True),
    "ArgMin": _best(False),
    "Softmax": _softmax(torch.softmax),
    "LogSoftmax": _softmax(torch.log_softmax),
    "CumSum": _cumsum,
    "TopK": _topk,
    "Gemm": _gemm,
    "Einsum": _einsum,
}
"""Operator to what makes a torch call of it."""
