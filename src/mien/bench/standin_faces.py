"""Stand-ins of networks that look at faces: landmarks, what covers a face, its parts, and a detector.

Written from published facts about the architectures: no code and no weights of any of the models. Where an
output would steer what is done, the last bias holds it at something harmless.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mien.bench.layers import batch_norm, cbs, conv, conv_transpose, global_pool, linear, pool, resize
from mien.bench.net import RELU, SILU, Net, normal
from mien.types import Float32

GRID = 64
"""Side of a heat map."""
POINTS = 68


def fan_2dfan4(small: bool) -> Net:
    """2DFAN-4: a stem, four stacked hourglasses and 68 heat maps, decoded inside the graph.

    All heat maps peak at about 0.3, a score below what counts as found.
    """
    g = Net("2dfan4", small=small)
    x = g.relu(conv(g, g.input("input", (1, 3, 256, 256)), _fan_width(g, 64), k=7, s=2, gain=RELU))
    x = _branches(g, x, _fan_width(g, 128))
    x = pool(g, "AveragePool", x, 2, 2)
    wide = _fan_width(g, 256)
    x = _branches(g, _branches(g, x, _fan_width(g, 128)), wide)
    stacks = 1 if small else 4
    for number in range(stacks):
        last = number == stacks - 1
        y = g.relu(conv(g, _branches(g, _hourglass(g, x, 4), wide), wide, k=1))
        heat = conv(g, y, POINTS, k=1, gain=0.002 if last else 0.1, fill=0.30 if last else 0.0)
        if not last:
            x = g.add(g.add(x, conv(g, y, wide, k=1, gain=0.3)), conv(g, heat, wide, k=1, gain=0.3))
    g.output(_centroids(g, heat), "landmarks")
    g.output(heat, "heatmaps")
    return g


def _fan_width(g: Net, full: int) -> int:
    return g.width(full, 8)


def _branches(g: Net, x: str, out: int) -> str:
    """A residual block of three convolutions, each fed by the one before, side by side."""
    parts, y = [], x
    for share, gain in ((2, 0.7), (4, 1.0), (4, 1.0)):
        y = conv(g, g.relu(batch_norm(g, y)), out // share, bias=False, gain=gain)
        parts.append(y)
    if g.shapes[x][1] != out:
        x = conv(g, g.relu(batch_norm(g, x)), out, k=1, bias=False, gain=RELU)
    return g.add(g.concat(parts), x)


def _hourglass(g: Net, x: str, depth: int) -> str:
    """Down `depth` times and up again, with a block beside every step."""
    wide = g.shapes[x][1]
    up = _branches(g, x, wide)
    low = _branches(g, pool(g, "AveragePool", x, 2, 2), wide)
    low = _hourglass(g, low, depth - 1) if depth > 1 else _branches(g, low, wide)
    return g.add(up, resize(g, _branches(g, low, wide), 2, "nearest"))


def _centroids(g: Net, heat: str) -> str:
    """(1, 68, 3) x, y and height of each heat map: the centroid of a disc of radius 6.4 round its peak."""
    score = g.reduce("ReduceMax", g.reduce("ReduceMax", heat, [3], keep=False), [2], keep=False)
    flat = g.reshape(heat, (1, POINTS, GRID * GRID))
    peak = g.op("ArgMax", [flat], (1, POINTS), axis=2, keepdims=0)
    side = g.const(GRID, "int64")
    row = g.op("Div", [peak, side], (1, POINTS))
    column = g.op("Sub", [peak, g.op("Mul", [row, side], (1, POINTS))], (1, POINTS))
    line = np.arange(GRID, dtype=np.float32)
    away = [
        g.binary("Pow", g.sub(_expanded(g, at), g.reshape(g.cast(index, "float32"), (1, POINTS, 1, 1))), 2.0)
        for at, index in ((line[:, None], row), (line[None, :], column))
    ]
    distance = g.unary("Sqrt", g.add(*away))
    far = g.op("Greater", [distance, g.const(6.4)], g.shapes[distance])
    inside = g.cast(g.op("Not", [far], g.shapes[far]), "float32")
    masked = g.mul(g.relu(heat), inside)
    total = g.reduce("ReduceSum", masked, [2, 3], keep=False)
    mass = g.op("Clip", [total, g.const(1.2e-7)], (1, POINTS))
    columns, rows = (
        g.div(
            g.reduce(
                "ReduceSum",
                g.mul(g.reduce("ReduceSum", masked, [axis], keep=False), line + 0.5),
                [2],
                keep=False,
            ),
            mass,
        )
        for axis in (2, 3)
    )
    return g.concat([g.unsqueeze(v, 2) for v in (columns, rows, score)], axis=2)


def _expanded(g: Net, values: Float32) -> str:
    """A table of every heat map's places, stored in full, as in the published file."""
    return g.const(np.broadcast_to(values, (1, POINTS, GRID, GRID)))


def _resnet34(g: Net, x: str) -> list[str]:
    """ResNet-34 with folded batch norms: what its last three stages give."""
    x = g.relu(conv(g, x, g.width(64), k=7, s=2, gain=RELU))
    x = pool(g, "MaxPool", x, 3, 2, 1)
    taps = []
    for stage, (full, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for number in range(1 if g.small else blocks):
            stride = 2 if number == 0 and stage else 1
            y = g.relu(conv(g, x, g.width(full), s=stride, gain=RELU))
            y = conv(g, y, g.width(full), gain=0.5)
            if stride == 2:
                x = conv(g, x, g.width(full), k=1, s=2, pad=0)
            x = g.relu(g.add(y, x))
        taps.append(x)
    return taps[1:]


def bisenet_resnet_34(small: bool) -> Net:
    """BiSeNet: context path on ResNet-34, fusion with its finest stage, three heads of 19 classes."""
    g = Net("bisenet_resnet_34", small=small)
    fine, middle, coarse = _resnet34(g, g.input("input", (1, 3, 512, 512)))
    wide = g.width(128)
    average = g.relu(conv(g, global_pool(g, coarse), wide, k=1, gain=RELU))
    average = resize(g, average, 16, "nearest")
    x16 = resize(g, g.add(_attended(g, coarse), average), 2, "nearest")
    x16 = g.relu(conv(g, x16, wide, gain=RELU))
    x8 = resize(g, g.add(_attended(g, middle), x16), 2, "nearest")
    x8 = g.relu(conv(g, x8, wide, gain=RELU))
    fused = g.relu(conv(g, g.concat([fine, x8]), g.width(256), k=1, gain=RELU))
    gate = g.relu(conv(g, global_pool(g, fused), g.width(64), k=1, bias=False))
    gate = g.sigmoid(conv(g, gate, g.width(256), k=1, bias=False))
    fused = g.add(g.mul(fused, gate), fused)
    for x, full, factor, name in (
        (fused, 256, 8, "output"),
        (x8, 64, 8, "output16"),
        (x16, 64, 16, "output32"),
    ):
        y = conv(g, g.relu(conv(g, x, g.width(full), gain=RELU)), 19, k=1, bias=False)
        g.output(resize(g, y, factor, transform="align_corners"), name)
    return g


def _attended(g: Net, x: str) -> str:
    """Features weighted channel by channel by their own means."""
    x = g.relu(conv(g, x, g.width(128), gain=RELU))
    return g.mul(x, g.sigmoid(conv(g, global_pool(g, x), g.width(128), k=1)))


def xseg(name: str, small: bool) -> Net:
    """XSeg: a U-Net with root-mean-square norms and learned floors, channels last outside.

    Says everywhere that nothing covers the face.
    """
    g = Net(name, 13, small=small)
    x = g.transpose(g.input("input", (1, 256, 256, 3)), (0, 3, 1, 2))
    skips: list[str] = []
    down = (
        (32, 2, 4, (1, 1, 2, 2)),
        (64, 2, 3, (1, 1, 1, 1)),
        (128, 2, 2, (0, 0, 1, 1)),
        *(((256, 3, 2, (0, 0, 1, 1)),) * 3),
    )
    for full, count, k, pad in down:
        wide = g.width(full)
        for _ in range(count):
            x = _floored(g, conv(g, x, wide))
        skips.insert(0, x)
        x = conv(g, x, wide, k, 2, bias=False, groups=wide, pad=pad)
    shape = g.shapes[x]
    x = linear(g, linear(g, g.flatten(x), g.width(512)), math.prod(shape[1:]))
    x = g.reshape(x, shape)
    up = ((256,) * 3, (256,) * 3, (256,) * 3, (128,) * 2, (64,) * 2, (32,) * 2)
    for skip, widths in zip(skips, up, strict=True):
        half = g.shapes[x][1] // 2
        x = conv_transpose(g, x, half, 3, trim=1)
        x = _floored(g, g.add(x, g.weight((1, half, 1, 1), normal((1, half, 1, 1), 0.02))))
        x = g.concat([x, skip])
        for full in widths:
            x = _floored(g, conv(g, x, g.width(full)))
    x = g.sigmoid(conv(g, x, 1, gain=0.05, fill=4.0))
    g.output(g.transpose(x, (0, 2, 3, 1)), "output")
    return g


def _floored(g: Net, x: str) -> str:
    """Divided by the root mean square of each channel, scaled, shifted, and not below a learned floor."""
    each = (1, g.shapes[x][1], 1, 1)
    scale, shift, floor = (g.weight(each, normal(each, 0.05, mean)) for mean in (1.0, 0.0, -0.3))
    rms = g.unary("Sqrt", g.add(global_pool(g, g.mul(x, x)), 1e-3))
    return g.op("Max", [g.add(g.mul(g.div(x, rms), scale), shift), floor], g.shapes[x])


def yoloface_8n(small: bool) -> Net:
    """YOLOv8-nano for faces. It finds none: for its cost only."""
    g = Net("yoloface_8n", 13, small=small)

    def w(full: int) -> int:
        return g.width(full, 8)

    x = cbs(g, cbs(g, g.input("input", (1, 3, 640, 640)), w(16), 3, 2), w(32), 3, 2)
    p3 = _c2f(g, cbs(g, _c2f(g, x, w(32), 1), w(64), 3, 2), w(64), 2)
    p4 = _c2f(g, cbs(g, p3, w(128), 3, 2), w(128), 2)
    p5 = _sppf(g, _c2f(g, cbs(g, p4, w(256), 3, 2), w(256), 1), w(256))
    n4 = _c2f(g, g.concat([resize(g, p5, 2, "nearest"), p4]), w(128), 1, shortcut=False)
    n3 = _c2f(g, g.concat([resize(g, n4, 2, "nearest"), p3]), w(64), 1, shortcut=False)
    m4 = _c2f(g, g.concat([cbs(g, n3, w(64), 3, 2), n4]), w(128), 1, shortcut=False)
    m5 = _c2f(g, g.concat([cbs(g, m4, w(128), 3, 2), p5]), w(256), 1, shortcut=False)
    boxes, scores, points = (
        g.concat([_head(g, x, middle, last, gain, fill) for x in (n3, m4, m5)], 2)
        for middle, last, gain, fill in ((w(64), 64, 1.0, 0.0), (w(64), 1, 0.02, -8.0), (w(16), 15, 1.0, 0.0))
    )
    places, strides = _cells(g, (n3, m4, m5))
    count = g.shapes[scores][2]
    keys = g.reshape(points, (1, 5, 3, count))
    xy = g.mul(g.add(g.mul(g.slice(keys, 2, 0, 2), 2.0), g.sub(places, 0.5)), strides)
    keys = g.concat([xy, g.sigmoid(g.slice(keys, 2, 2, 3))], 2)
    keys = g.reshape(keys, (1, 15, count))
    g.output(g.concat([_boxes(g, boxes, places, strides), g.sigmoid(scores), keys]), "output")
    return g


def _c2f(g: Net, x: str, out: int, count: int, *, shortcut: bool = True) -> str:
    """Half the channels through `count` bottlenecks in a row, all steps joined."""
    half = out // 2
    x = cbs(g, x, 2 * half)
    parts = [g.slice(x, 1, 0, half), g.slice(x, 1, half, 2 * half)]
    for _ in range(count):
        y = cbs(g, cbs(g, parts[-1], half, 3), half, 3, gain=0.7)
        parts.append(g.add(parts[-1], y) if shortcut else y)
    return cbs(g, g.concat(parts), out)


def _sppf(g: Net, x: str, out: int) -> str:
    """Three poolings in a row, all steps joined."""
    parts = [cbs(g, x, g.shapes[x][1] // 2, gain=SILU)]
    for _ in range(3):
        parts.append(pool(g, "MaxPool", parts[-1], 5, 1, 2))
    return cbs(g, g.concat(parts), out)


def _head(g: Net, x: str, middle: int, last: int, gain: float, fill: float) -> str:
    """(1, last, cells) of one kind of output."""
    cells = math.prod(g.shapes[x][2:])
    y = conv(g, cbs(g, cbs(g, x, middle, 3), middle, 3), last, k=1, gain=gain, fill=fill)
    return g.reshape(y, (1, last, cells))


def _cells(g: Net, maps: Sequence[str]) -> tuple[str, str]:
    """(1, 2, cells) centres in cells, and (1, 1, cells) pixels a cell."""
    places, strides = [], []
    for x in maps:
        side = g.shapes[x][2]
        y, z = np.mgrid[:side, :side].astype(np.float32) + 0.5
        places.append(np.stack([z.ravel(), y.ravel()]))
        strides.append(np.full(side * side, 640 // side, np.float32))
    return g.const(np.concatenate(places, 1)[None]), g.const(np.concatenate(strides)[None, None])


def _boxes(g: Net, raw: str, places: str, strides: str) -> str:
    """(1, 4, cells) centre, width and height in pixels: each side's distance is a mean over 16 steps."""
    count = g.shapes[raw][2]
    x = g.softmax(g.transpose(g.reshape(raw, (1, 4, 16, count)), (0, 2, 1, 3)), axis=1)
    steps = g.const(np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1))
    g.macs += 16 * 4 * count
    x = g.reshape(g.op("Conv", [x, steps], (1, 1, 4, count), kernel_shape=[1, 1]), (1, 4, count))
    low, high = g.sub(places, g.slice(x, 1, 0, 2)), g.add(places, g.slice(x, 1, 2, 4))
    return g.mul(g.concat([g.div(g.add(low, high), 2.0), g.sub(high, low)]), strides)
