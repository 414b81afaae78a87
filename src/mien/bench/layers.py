"""Layers of neural networks, drawn into a `Net`. Pictures are (1, channels, height, width)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mien.bench.net import SILU, Net, normal, positive
from mien.types import Array

BLEND = 0.15
"""Share of the network's own picture in what a swapper or enhancer gives; the rest is what it was given, so
that a face stays a face and what comes after costs what it would."""


def blend(g: Net, given: str, made: str) -> str:
    """What was given, with a little of what the network made of it."""
    return g.add(g.mul(given, 1 - BLEND), g.mul(made, BLEND))


def conv(
    g: Net,
    x: str,
    out: int,
    k: int = 3,
    s: int = 1,
    *,
    pad: int | Sequence[int] | None = None,
    bias: bool = True,
    groups: int = 1,
    gain: float = 1.0,
    fill: float = 0.0,
) -> str:
    """Convolution: k x k, stride s, padded so that stride 1 keeps the size where `pad` is not given.

    Args:
        g: The graph.
        x: A picture.
        out: Channels of the result.
        k: Side of the kernel.
        s: Stride.
        pad: All sides, or top, left, bottom, right.
        bias: Whether there is one.
        groups: Of channels.
        gain: Deviation of the result where that of `x` is 1.
        fill: Mean of the bias.
    """
    _, channels, h, w = g.shapes[x]
    pads = [k // 2 if pad is None else pad] * 4 if pad is None or isinstance(pad, int) else list(pad)
    fan = channels // groups * k * k
    kernel = (out, channels // groups, k, k)
    inputs = [x, g.weight(kernel, normal(kernel, gain / math.sqrt(fan)))]
    if bias:
        inputs.append(g.weight((out,), normal((out,), 0.02, fill)))
    rows, columns = (h + pads[0] + pads[2] - k) // s + 1, (w + pads[1] + pads[3] - k) // s + 1
    g.macs += rows * columns * out * fan
    return g.op(
        "Conv",
        inputs,
        (1, out, rows, columns),
        kernel_shape=[k, k],
        strides=[s, s],
        pads=pads,
        group=groups,
        dilations=[1, 1],
    )


def conv_transpose(
    g: Net,
    x: str,
    out: int,
    k: int,
    s: int = 2,
    *,
    pad: int = 0,
    bias: bool = False,
    gain: float = 1.0,
    trim: int = 0,
) -> str:
    """Transposed convolution; `trim` rows and columns are cut off at the end."""
    _, channels, h, w = g.shapes[x]
    kernel = (channels, out, k, k)
    inputs = [x, g.weight(kernel, normal(kernel, gain * s / math.sqrt(channels * k * k)))]
    if bias:
        inputs.append(g.weight((out,), normal((out,), 0.02)))
    rows, columns = ((n - 1) * s - 2 * pad + k - trim for n in (h, w))
    g.macs += h * w * channels * out * k * k
    return g.op(
        "ConvTranspose",
        inputs,
        (1, out, rows, columns),
        kernel_shape=[k, k],
        strides=[s, s],
        pads=[pad, pad, pad + trim, pad + trim],
        group=1,
        dilations=[1, 1],
    )


def gemm(g: Net, x: str, out: int, *, gain: float = 1.0, fill: float | Array | None = None) -> str:
    """Linear layer on (1, n), with a given bias or a random one."""
    n = g.shapes[x][-1]
    bias = normal((out,), 0.02) if fill is None else (lambda _: np.broadcast_to(np.float32(fill), (out,)))
    weight = g.weight((out, n), normal((out, n), gain / math.sqrt(n)))
    g.macs += n * out
    return g.op("Gemm", [x, weight, g.weight((out,), bias)], (1, out), transB=1)


def linear(g: Net, x: str, out: int, *, gain: float = 1.0, bias: bool = True) -> str:
    """Linear layer on the last axis, as MatMul and Add."""
    shape = g.shapes[x]
    n = shape[-1]
    g.macs += math.prod(shape[:-1]) * n * out
    weight = g.weight((n, out), normal((n, out), gain / math.sqrt(n)))
    x = g.op("MatMul", [x, weight], (*shape[:-1], out))
    return g.add(x, g.weight((out,), normal((out,), 0.02))) if bias else x


def matmul(g: Net, a: str, b: str) -> str:
    """Matrix product of two tensors."""
    left, right = g.shapes[a], g.shapes[b]
    g.macs += math.prod(left) * right[-1]
    return g.op("MatMul", [a, b], (*left[:-1], right[-1]))


def batch_norm(g: Net, x: str, *, shift: tuple[float, float] = (0.05, 0.0), scale: float = 1.0) -> str:
    """Batch normalisation with stored moments; `shift` is the deviation and mean of its bias."""
    shape = (g.shapes[x][1],)
    values = (
        normal(shape, 0.02, scale),
        normal(shape, *shift),
        normal(shape, 0.05),
        positive(shape, 0.1, 0.95),
    )
    return g.op(
        "BatchNormalization", [x, *(g.weight(shape, make) for make in values)], g.shapes[x], epsilon=1e-5
    )


def layer_norm(g: Net, x: str, epsilon: float = 1e-5) -> str:
    """Layer normalisation over the last axis, spelled out, as exporters did before it was an operator."""
    axes, shape = [len(g.shapes[x]) - 1], (g.shapes[x][-1],)
    x = g.sub(x, g.reduce("ReduceMean", x, axes))
    deviation = g.unary("Sqrt", g.add(g.reduce("ReduceMean", g.binary("Pow", x, 2.0), axes), epsilon))
    x = g.mul(g.div(x, deviation), g.weight(shape, normal(shape, 0.02, 1.0)))
    return g.add(x, g.weight(shape, normal(shape, 0.02)))


def group_norm(g: Net, x: str, groups: int = 32, epsilon: float = 1e-6) -> str:
    """Group normalisation as exporters write it: instances of a reshaped tensor, scale and shift."""
    shape = g.shapes[x]
    groups = math.gcd(groups, shape[1])
    ones, zeros = g.const(np.ones(groups)), g.const(np.zeros(groups))
    parts = g.reshape(x, (1, groups, math.prod(shape[1:]) // groups))
    parts = g.op("InstanceNormalization", [parts, ones, zeros], g.shapes[parts], epsilon=epsilon)
    each = (shape[1], 1, 1)
    x = g.mul(g.reshape(parts, shape), g.weight(each, normal(each, 0.02, 1.0)))
    return g.add(x, g.weight(each, normal(each, 0.02)))


def pad_reflect(g: Net, x: str, p: int) -> str:
    """Mirrored by `p` on every side."""
    _, channels, h, w = g.shapes[x]
    shape = (1, channels, h + 2 * p, w + 2 * p)
    return g.op("Pad", [x, g.ints(0, 0, p, p, 0, 0, p, p)], shape, mode="reflect")


def resize(
    g: Net, x: str, factor: float, mode: Literal["linear", "nearest"] = "linear", transform: str = ""
) -> str:
    """Larger or smaller by a factor."""
    _, channels, h, w = g.shapes[x]
    roi, scales = g.const(np.zeros(0), "float32"), g.const([1, 1, factor, factor], "float32")
    shape = (1, channels, int(h * factor), int(w * factor))
    usual = "asymmetric" if mode == "nearest" else "pytorch_half_pixel"
    rounding = {"nearest_mode": "floor"} if mode == "nearest" else {}
    return g.op(
        "Resize",
        [x, roi, scales],
        shape,
        mode=mode,
        coordinate_transformation_mode=transform or usual,
        **rounding,
    )


def pool(g: Net, kind: Literal["MaxPool", "AveragePool"], x: str, k: int, s: int, p: int = 0) -> str:
    """Pooling of k x k with stride s and padding p."""
    _, channels, h, w = g.shapes[x]
    shape = (1, channels, (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1)
    return g.op(kind, [x], shape, kernel_shape=[k, k], strides=[s, s], pads=[p] * 4)


def global_pool(g: Net, x: str) -> str:
    """(1, channels, 1, 1) means."""
    return g.op("GlobalAveragePool", [x], (*g.shapes[x][:2], 1, 1))


def cbs(g: Net, x: str, out: int, k: int = 1, s: int = 1, *, gain: float = SILU) -> str:
    """Convolution with folded batch normalisation, then SiLU."""
    return g.silu(conv(g, x, out, k, s, gain=gain))
