"""Small graphs with made-up weights, built as exporters write those of well-known networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper

from mien.models.card import Card, File, Tensor
from mien.types import Array

F16, F32, I64 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.INT64


class Net:
    """A graph in the making; weights follow from the seed."""

    def __init__(self, opset: int = 13, seed: int = 0, half: bool = False) -> None:
        self.opset = opset
        self.rng = np.random.default_rng(seed)
        self.half = half
        self.nodes: list[Any] = []
        self.values: list[Any] = []
        self.ins: list[Any] = []
        self.outs: list[Any] = []
        self.count = 0

    def input(self, name: str, *shape: int | str) -> str:
        self.ins.append(helper.make_tensor_value_info(name, F32, list(shape)))
        return self.op("Cast", name, to=F16) if self.half else name

    def const(self, value: Any, name: str = "") -> str:
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(np.float16 if self.half else np.float32)
        self.count += 1
        name = name or f"c{self.count}"
        self.values.append(numpy_helper.from_array(array, name))
        return name

    def weights(self, *shape: int, gain: float = 1.0) -> str:
        return self.const(self.rng.standard_normal(shape) * gain / np.sqrt(np.prod(shape[1:])))

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        self.count += 1
        name = output or f"t{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def output(self, value: str, name: str, *shape: int | str, kind: int = F32) -> None:
        self.op("Cast", value, output=name, to=F32) if self.half else self.op("Identity", value, output=name)
        self.outs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    # layers
    def reshape(self, x: str, *shape: int) -> str:
        return self.op("Reshape", x, self.const(np.array(shape, np.int64)))

    def conv(self, x: str, cin: int, cout: int, k: int = 3, stride: int = 1, bias: bool = True) -> str:
        extra = [self.weights(cout, gain=0.1)] if bias else []
        pads = [k // 2] * 4
        weight = self.weights(cout, cin, k, k)
        return self.op("Conv", x, weight, *extra, kernel_shape=[k, k], pads=pads, strides=[stride] * 2)

    def gemm(self, x: str, cin: int, cout: int, around: float = 0.0) -> str:
        bias = self.const(np.full(cout, around))
        return self.op("Gemm", x, self.weights(cout, cin, gain=0.3), bias, transB=1)

    def reduce(self, kind: str, x: str, axes: list[int], keep: int = 1) -> str:
        if kind == "ReduceSum" and self.opset >= 13:
            return self.op(kind, x, self.const(np.array(axes, np.int64)), keepdims=keep)
        return self.op(kind, x, axes=axes, keepdims=keep)

    def enlarge(self, x: str, mode: str = "linear", factor: float = 2.0) -> str:
        scales = numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), f"s{len(self.values)}")
        self.values.append(scales)
        kind = "half_pixel" if mode == "linear" else "asymmetric"
        roi = self.const(np.zeros(0))
        return self.op("Resize", x, roi, scales.name, mode=mode, coordinate_transformation_mode=kind)

    def model(self) -> ModelProto:
        graph = helper.make_graph(self.nodes, "made", self.ins, self.outs, self.values)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def save(self, path: Path) -> Path:
        path.write_bytes(self.model().SerializeToString())
        return path


def evaluate(path: Path, given: Mapping[str, Array]) -> list[Array]:
    """ONNX Runtime on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, dict(given))]


def card(net: Net, path: Path, **outputs: tuple[int, ...]) -> Card:
    """The card of a stand-in; an output's shape is that of an item unless given."""

    def tensors(infos: list[Any]) -> tuple[Tensor, ...]:
        found = []
        for info in infos:
            dims = [d.dim_value or -1 for d in info.type.tensor_type.shape.dim][1:]
            found.append(Tensor(info.name, outputs.get(info.name, tuple(dims))))
        return tuple(found)

    return Card("made_up", "swap", (File(path.name),), "MIT", tensors(net.ins), tensors(net.outs))


def single(path: Path, given: Mapping[str, Array]) -> list[Array]:
    """What a file for one item gives for several, one after the other."""
    count = len(next(iter(given.values())))
    rows = [evaluate(path, {name: a[k : k + 1] for name, a in given.items()}) for k in range(count)]
    return [np.concatenate(arrays) for arrays in zip(*rows, strict=True)]


def apart(found: list[Array], wanted: list[Array]) -> float:
    """Largest difference as a share of the largest value, of the worst output."""
    shares = []
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        shares.append(np.abs(a.astype(float) - b).max() / np.abs(b.astype(float)).max())
    return float(max(shares))


def modulated(net: Net, x: str, code: str, cin: int, cout: int, k: int, demodulation: str) -> str:
    """A convolution with weights made for each picture, as GFPGAN's exports have it."""
    style = net.reshape(net.gemm(code, 8, cin, around=1.0), 1, 1, cin, 1, 1)
    weight = net.op("Mul", net.weights(1, cout, cin, k, k), style)
    weight = demodulated(net, weight, cout, demodulation)
    weight = net.reshape(weight, cout, cin, k, k)
    return net.op("Conv", x, weight, kernel_shape=[k, k], pads=[k // 2] * 4)


def demodulated(net: Net, weight: str, cout: int, how: str) -> str:
    """Weights of length 1 for each output channel, in the ways in which this is exported."""
    if how == "none":
        return weight
    if how == "length":
        length = net.reduce("ReduceL2", weight, [2, 3, 4], 1)
        return net.op("Div", weight, length)
    square = net.op("Mul", weight, weight) if how == "mul" else net.op("Pow", weight, net.const(2.0))
    total = net.op("Add", net.reduce("ReduceSum", square, [2, 3, 4], 0), net.const(1e-8))
    if how == "pow":
        inverse = net.op("Pow", total, net.const(-0.5))
    elif how == "div":
        inverse = net.op("Div", net.const(1.0), net.op("Sqrt", total))
    elif how == "divided":
        return net.op("Div", weight, net.reshape(net.op("Sqrt", total), 1, cout, 1, 1, 1))
    else:
        inverse = net.op("Reciprocal", net.op("Sqrt", total))
    return net.op("Mul", weight, net.reshape(inverse, 1, cout, 1, 1, 1))


def generator(demodulation: str = "reciprocal", opset: int = 11) -> Net:
    """A constant start, styles from the picture, noise that is stored, half of the channels shifted."""
    net = Net(opset, seed=1)
    picture = net.input("input", 1, 3, 8, 8)
    code = net.op("LeakyRelu", net.conv(picture, 3, 2, 1), alpha=0.2)
    codes = net.reshape(net.gemm(net.reshape(code, 1, 128), 128, 24), 1, 3, 8)
    each = [net.op("Gather", codes, net.const(np.array(k)), axis=1) for k in range(3)]
    x = net.const(net.rng.standard_normal((1, 6, 4, 4)))
    x = layer(net, modulated(net, x, each[0], 6, 6, 3, demodulation), 6, 4)
    x = layer(net, modulated(net, net.enlarge(x), each[1], 6, 4, 3, demodulation), 4, 8)
    starts = (np.array([0]), np.array([2])), (np.array([2]), np.array([4]))
    same, part = (net.op("Slice", x, net.const(a), net.const(b), net.const(np.array([1]))) for a, b in starts)
    x = net.op("Concat", same, net.op("Mul", part, net.conv(picture, 3, 2)), axis=1)
    rgb = net.op("Add", modulated(net, x, each[2], 4, 3, 1, "none"), net.weights(1, 3, 1, 1))
    net.output(net.op("Tanh", rgb), "output", 1, 3, 8, 8)
    return net


def layer(net: Net, x: str, channels: int, side: int) -> str:
    x = net.op("Mul", x, net.const(np.sqrt(2)))
    x = net.op("Add", x, net.weights(1, 1, side, side))
    return net.op("LeakyRelu", net.op("Add", x, net.weights(1, channels, 1, 1)), alpha=0.2)


def enlarging_generator() -> Net:
    """A modulated transposed convolution and a blur of its channels one by one, as GPEN has it."""
    net = Net(11, seed=2)
    picture = net.input("input", 1, 5, 4, 4)
    code = net.gemm(net.op("Flatten", picture, axis=1), 80, 8)
    style = net.reshape(net.gemm(code, 8, 5, around=1.0), 1, 1, 5, 1, 1)
    weight = net.op("Mul", net.op("Mul", net.const(0.3), net.weights(1, 4, 5, 3, 3)), style)
    weight = demodulated(net, weight, 4, "reciprocal")
    weight = net.op("Transpose", net.reshape(weight, 1, 4, 5, 3, 3), perm=[0, 2, 1, 3, 4])
    weight = net.reshape(weight, 5, 4, 3, 3)
    x = net.op("ConvTranspose", net.reshape(picture, 1, 5, 4, 4), weight, strides=[2, 2], kernel_shape=[3, 3])
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16.0
    x = net.reshape(net.reshape(x, 1, 4, 9, 9), -1, 1, 9, 9)
    x = net.op("Pad", x, net.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])), net.const(0.0))
    x = net.op("Conv", x, net.const(kernel[None, None]), kernel_shape=[4, 4])
    net.output(net.reshape(x, -1, 4, 8, 8), "output", 1, 4, 8, 8)
    return net


def swapper(half: bool = False, opset: int = 11) -> Net:
    """Residual blocks with adaptive instance normalisation; ends with the matrix for embeddings."""
    net = Net(opset, seed=3, half=half)
    target, source = net.input("target", 1, 3, 16, 16), net.input("source", 1, 16)

    def adain(x: str) -> str:
        style = net.gemm(source, 16, 12, around=0.5)
        style = net.op("Unsqueeze", net.op("Unsqueeze", style, axes=[2]), axes=[3])
        bounds = ((0, 6), (6, 12))
        scale, shift = (
            net.op("Slice", style, *(net.const(np.array([v])) for v in (a, b, 1))) for a, b in bounds
        )
        x = net.op("Sub", x, net.reduce("ReduceMean", x, [2, 3]))
        square = net.reduce("ReduceMean", net.op("Mul", x, x), [2, 3])
        root = net.op("Sqrt", net.op("Add", square, net.const(1e-3)))
        return net.op(
            "Add", net.op("Mul", scale, net.op("Mul", x, net.op("Div", net.const(1.0), root))), shift
        )

    x = net.op("LeakyRelu", net.conv(target, 3, 6, stride=2), alpha=0.2)
    for _ in range(2):
        y = net.op("Relu", adain(net.conv(x, 6, 6)))
        x = net.op("Add", x, adain(net.conv(y, 6, 6)))
    net.output(net.op("Tanh", net.conv(net.enlarge(x), 6, 3)), "output", 1, 3, 16, 16)
    matrix, _ = np.linalg.qr(net.rng.standard_normal((16, 16)))
    net.values.append(numpy_helper.from_array(matrix.astype(np.float32), "emap"))
    return net


def expanding_swapper() -> Net:
    """Styles are expanded to the size of the picture before they are used."""
    net = Net(13, seed=4)
    source, target = net.input("source", 1, 16), net.input("target", 1, 4, 32, 32)
    x = net.conv(target, 4, 4)
    style = net.reshape(net.gemm(source, 16, 4, around=1.0), 1, 4, 1, 1)
    wide = net.op("Expand", style, net.const(np.array([1, 4, 32, 32])))
    seed = net.conv(net.reshape(source, 1, 16, 1, 1), 16, 4, 1)
    pooled = net.op("GlobalAveragePool", net.op("Mul", wide, x))
    grown = net.op("Tile", seed, net.const(np.array([1, 1, 32, 32])))
    x = net.op("Concat", net.op("Add", x, pooled), grown, axis=1)
    net.output(net.conv(x, 8, 3), "output", 1, 3, 32, 32)
    return net


def transformer(classic: bool = False) -> Net:
    """A learned token before the patches, two heads; the classic form has the batch in the second axis."""
    net = Net(13, seed=5)
    picture = net.input("input", 1, 3, 8, 8)
    x = net.op("Conv", picture, net.weights(6, 3, 4, 4), kernel_shape=[4, 4], strides=[4, 4])
    x = net.op("Transpose", net.reshape(x, 1, 6, 4), perm=[0, 2, 1])
    x = net.op("Add", net.op("Concat", net.weights(1, 1, 6), x, axis=1), net.weights(1, 5, 6))
    if classic:
        x = net.op("Transpose", x, perm=[1, 0, 2])
        query, key, value = (
            net.op("Transpose", net.reshape(net.op("MatMul", x, net.weights(6, 6)), 5, 2, 3), perm=[1, 0, 2])
            for _ in range(3)
        )
    else:
        query, key, value = (
            net.op(
                "Transpose",
                net.reshape(net.op("MatMul", x, net.weights(6, 6)), 1, 5, 2, 3),
                perm=[0, 2, 1, 3],
            )
            for _ in range(3)
        )
    back = [0, 2, 1] if classic else [0, 1, 3, 2]
    scores = net.op("Softmax", net.op("MatMul", query, net.op("Transpose", key, perm=back)), axis=-1)
    y = net.op("MatMul", scores, value)
    if classic:
        y = net.reshape(net.op("Transpose", y, perm=[1, 0, 2]), 5, 6)
        y = net.op("Add", x, net.reshape(net.op("Gemm", y, net.weights(6, 6)), 5, 1, 6))
        y = net.op("Transpose", y, perm=[1, 0, 2])
    else:
        y = net.op("Add", x, net.reshape(net.op("Transpose", y, perm=[0, 2, 1, 3]), 1, 5, 6))
    first = net.op("Gather", y, net.const(np.array(0)), axis=1)
    net.output(net.gemm(first, 6, 2), "output", 1, 2)
    return net


def codes() -> Net:
    """The nearest entry of a book for every cell, picked by scattering ones, as CodeFormer does."""
    net = Net(13, seed=6)
    x = net.conv(net.input("input", 1, 3, 4, 4), 3, 5, 1)
    flat = net.reshape(net.op("Transpose", x, perm=[0, 2, 3, 1]), 16, 5)
    scores = net.op("MatMul", flat, net.weights(5, 7))
    best = net.op("ArgMax", scores, axis=1, keepdims=1)
    hot = net.op("ScatterElements", net.const(np.zeros((16, 7))), best, net.const(np.ones((16, 1))), axis=1)
    picked = net.reshape(net.op("MatMul", hot, net.weights(7, 5)), 1, 4, 4, 5)
    x = net.op("Transpose", picked, perm=[0, 3, 1, 2])
    sizes = net.const(np.array([1, 5, 8, 8]))
    x = net.op("Resize", x, "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric")
    net.output(x, "output", 1, 5, 8, 8)
    return net


def detector() -> Net:
    """Scores of all cells, joined over scales, in an output that has no batch axis."""
    net = Net(11, seed=7)
    x = net.op("Relu", net.conv(net.input("input", 1, 3, 8, 8), 3, 4))
    rows = []
    for stride, cells in ((1, 64), (2, 16)):
        y = net.op("Transpose", net.conv(x, 4, 2, stride=stride), perm=[2, 3, 0, 1])
        rows.append(net.reshape(y, cells, 2))
    net.output(net.op("Sigmoid", rows[0]), "fine", 64, 2)
    net.output(net.op("Sigmoid", rows[1]), "coarse", 16, 2)
    return net


Build = Callable[[], Net]
