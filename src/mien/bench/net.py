"""Writes ONNX graphs layer by layer, with made-up weights: what the stand-ins are drawn with.

A `Net` knows the shape of every tensor, so that a network is a few lines, and counts weights and
multiply-adds. Weights are made one by one while the file is written: a graph of half a gigabyte takes little
memory, and none of it where only its counts are asked for.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper

from mien.bench.wire import Field, length, put
from mien.types import Array, Float32

Number: TypeAlias = Literal["float32", "float16", "float64", "int64"]
Shape: TypeAlias = tuple[int, ...]
Maker: TypeAlias = Callable[[np.random.Generator], Array]

CODES: dict[str, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
}
SMALLER = 16
"""What hidden widths are divided by in small networks."""
SHARED = 8
"""Constants of up to so many elements are written once, however often they are used."""
RELU = math.sqrt(2.0)
"""Gain of a layer before ReLU that keeps the size of what goes through."""
LEAKY = math.sqrt(2.0 / 1.04)
"""The same before LeakyReLU with slope 0.2."""
SILU = 1.6
"""The same before SiLU, about."""


class Weight:
    """An initializer that is made when it is written.

    Args:
        name: In the graph.
        shape: Its shape.
        dtype: Its type.
        make: Gives an array of that shape.
    """

    __slots__ = ("dtype", "make", "name", "shape")

    def __init__(self, name: str, shape: Shape, dtype: Number, make: Maker) -> None:
        self.name, self.shape, self.dtype, self.make = name, shape, dtype, make

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def stored(self) -> int:
        """Length of its TensorProto, known before it is made."""
        return len(self._head) + length(self._count)

    @property
    def _head(self) -> bytes:
        """Everything but the values."""
        head = TensorProto(name=self.name, data_type=CODES[self.dtype], dims=self.shape)
        data: bytes = head.SerializeToString(deterministic=True)
        return data

    @property
    def _count(self) -> int:
        """Bytes of its values."""
        return np.dtype(self.dtype).itemsize * self.size

    def blocks(self, seed: int) -> Iterator[bytes | memoryview]:
        """The serialised TensorProto; the same bytes for the same seed and name."""
        yield self._head + put(Field.TENSOR_RAW, self._count)
        random = np.random.default_rng((seed, zlib.crc32(self.name.encode())))
        little = np.dtype(self.dtype).newbyteorder("<")
        array = np.ascontiguousarray(np.asarray(self.make(random)).reshape(self.shape), little)
        yield array.reshape(-1).view(np.uint8).data


def normal(shape: Shape, std: float, mean: float | Array = 0.0) -> Maker:
    """Normally distributed values."""

    def make(random: np.random.Generator) -> Array:
        values: Float32 = random.standard_normal(shape, np.float32)
        values *= np.float32(std)
        values += np.asarray(mean, np.float32)
        return values

    return make


def positive(shape: Shape, std: float, least: float) -> Maker:
    """Values above `least`, the rest of them half-normally distributed."""
    return lambda random: np.abs(random.standard_normal(shape, np.float32)) * np.float32(std) + least


class Net:
    """A graph under construction. Tensors are their names.

    Args:
        name: Of the graph; its weights follow from it.
        opset: Of the operators.
        ir: Version of the file format.
        small: Whether `width` divides.
        half: Whether everything between the inputs' and the outputs' casts is float16.
    """

    def __init__(
        self, name: str, opset: int = 11, ir: int = 7, *, small: bool = False, half: bool = False
    ) -> None:
        self.name, self.opset, self.ir, self.small, self.half = name, opset, ir, small, half
        self.dtype: Number = "float16" if half else "float32"
        self.shapes: dict[str, Shape] = {}
        self.weights: list[Weight] = []
        self.parameters = 0
        """Floating-point weights so far."""
        self.macs = 0
        """Multiply-adds of convolutions and matrix products so far, at batch 1."""
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._shared: dict[tuple[Number, Shape, bytes], str] = {}
        self._count = 0

    # The graph's edges ------------------------------------------------------------------------------------

    def width(self, full: int, least: int = 4) -> int:
        """A hidden width: divided where the network is small."""
        return max(least, full // SMALLER) if self.small else full

    def input(self, name: str, shape: Shape, dtype: Number = "float32") -> str:
        """An input; in half precision what it is after its cast."""
        self._inputs.append(helper.make_tensor_value_info(name, CODES[dtype], shape))
        self.shapes[name] = shape
        return self.cast(name, "float16") if self.half and dtype == "float32" else name

    def output(self, x: str, name: str, dtype: Number = "float32") -> None:
        """Make a tensor an output."""
        if self.half and dtype == "float32":
            x = self.cast(x, "float32")
        self._nodes.append(helper.make_node("Identity", [x], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, CODES[dtype], self.shapes[x]))

    def weight(self, shape: Shape, make: Maker, *, dtype: Number | None = None, name: str = "") -> str:
        """A constant whose values are made later."""
        name = name or self._unique("w")
        kind = dtype or self.dtype
        self.weights.append(Weight(name, shape, kind, make))
        self.shapes[name] = shape
        if kind != "int64":
            self.parameters += math.prod(shape)
        return name

    def const(self, values: Any, dtype: Number | None = None) -> str:
        """A constant with these values; small ones are shared."""
        kind = dtype or self.dtype
        array = np.asarray(values, kind)
        key = (kind, array.shape, array.tobytes() if array.size <= SHARED else b"")
        if array.size <= SHARED and key in self._shared:
            return self._shared[key]
        name = self.weight(array.shape, lambda _: array, dtype=kind)
        if array.size <= SHARED:
            self._shared[key] = name
        return name

    def ints(self, *values: int) -> str:
        """A vector of int64."""
        return self.const(values, "int64")

    def op(self, kind: str, inputs: Sequence[str], shape: Sequence[int], **attributes: Any) -> str:
        """Any operator with one output of this shape."""
        out = self._unique(kind.lower())
        self._nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        self.shapes[out] = tuple(int(n) for n in shape)
        return out

    def unary(self, kind: str, x: str, **attributes: Any) -> str:
        """An operator that keeps the shape."""
        return self.op(kind, [x], self.shapes[x], **attributes)

    def cast(self, x: str, dtype: Number) -> str:
        """Another type."""
        return self.unary("Cast", x, to=CODES[dtype])

    def _unique(self, tag: str) -> str:
        self._count += 1
        return f"{tag}_{self._count}"

    # Arithmetic -------------------------------------------------------------------------------------------

    def binary(self, kind: str, a: str | float | Array, b: str | float | Array) -> str:
        """An operator on two tensors or constants, broadcast."""
        left = a if isinstance(a, str) else self.const(a)
        right = b if isinstance(b, str) else self.const(b)
        return self.op(kind, [left, right], np.broadcast_shapes(self.shapes[left], self.shapes[right]))

    def add(self, a: str | float | Array, b: str | float | Array) -> str:
        """Sum."""
        return self.binary("Add", a, b)

    def sub(self, a: str | float | Array, b: str | float | Array) -> str:
        """Difference."""
        return self.binary("Sub", a, b)

    def mul(self, a: str | float | Array, b: str | float | Array) -> str:
        """Product."""
        return self.binary("Mul", a, b)

    def div(self, a: str | float | Array, b: str | float | Array) -> str:
        """Quotient."""
        return self.binary("Div", a, b)

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.unary("Relu", x)

    def leaky(self, x: str, alpha: float = 0.2) -> str:
        """LeakyReLU."""
        return self.unary("LeakyRelu", x, alpha=alpha)

    def sigmoid(self, x: str) -> str:
        """1 / (1 + exp(-x))."""
        return self.unary("Sigmoid", x)

    def silu(self, x: str) -> str:
        """A tensor times its sigmoid."""
        return self.mul(x, self.sigmoid(x))

    def prelu(self, x: str) -> str:
        """LeakyReLU with a learned slope for each channel."""
        shape = (self.shapes[x][1], 1, 1)
        return self.op("PRelu", [x, self.weight(shape, positive(shape, 0.1, 0.15))], self.shapes[x])

    def softmax(self, x: str, axis: int = -1) -> str:
        """Softmax; before opset 13 of the last axis only."""
        axis = axis if self.opset >= 13 else len(self.shapes[x]) - 1
        return self.unary("Softmax", x, axis=axis)

    # Shape ------------------------------------------------------------------------------------------------

    def concat(self, xs: Sequence[str], axis: int = 1) -> str:
        """Joined along an axis."""
        shape = list(self.shapes[xs[0]])
        shape[axis] = sum(self.shapes[x][axis] for x in xs)
        return self.op("Concat", xs, shape, axis=axis)

    def slice(self, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Part of an axis."""
        shape = list(self.shapes[x])
        shape[axis] = -(-(min(stop, shape[axis]) - start) // step)
        return self.op("Slice", [x, *(self.ints(n) for n in (start, stop, axis, step))], shape)

    def reshape(self, x: str, shape: Shape) -> str:
        """Another shape of as many elements."""
        return self.op("Reshape", [x, self.ints(*shape)], shape)

    def flatten(self, x: str) -> str:
        """(1, everything)."""
        return self.op("Flatten", [x], (1, math.prod(self.shapes[x][1:])), axis=1)

    def transpose(self, x: str, perm: Sequence[int]) -> str:
        """Axes in another order."""
        return self.op("Transpose", [x], [self.shapes[x][i] for i in perm], perm=list(perm))

    def unsqueeze(self, x: str, *axes: int) -> str:
        """New axes of length 1, given in the result's numbering, rising."""
        shape = list(self.shapes[x])
        for axis in axes:
            shape.insert(axis, 1)
        if self.opset >= 13:
            return self.op("Unsqueeze", [x, self.ints(*axes)], shape)
        return self.op("Unsqueeze", [x], shape, axes=list(axes))

    def reduce(self, kind: str, x: str, axes: Sequence[int], *, keep: bool = True) -> str:
        """Sum, mean or maximum over axes."""
        shape = [1 if i in axes else n for i, n in enumerate(self.shapes[x]) if keep or i not in axes]
        if kind == "ReduceSum" and self.opset >= 13:
            return self.op(kind, [x, self.ints(*axes)], shape, keepdims=int(keep))
        return self.op(kind, [x], shape, axes=list(axes), keepdims=int(keep))

    # The file ---------------------------------------------------------------------------------------------

    def save(self, path: Path) -> tuple[str, int]:
        """Write the graph; the file appears when it is complete. The same name gives the same bytes.

        Returns:
            SHA-256 of the file, hexadecimal, and its bytes.
        """
        part = path.with_name(f".{path.name}.part")
        digest, count = hashlib.sha256(), 0
        try:
            with part.open("wb") as file:
                for block in self._blocks():
                    digest.update(block)
                    count += len(block)
                    file.write(block)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest(), count

    @property
    def fingerprint(self) -> str:
        """Changes with the graph's layers and the shapes of its weights, hexadecimal."""
        weights = [(weight.name, weight.shape, weight.dtype) for weight in self.weights]
        return hashlib.sha256(self.header() + repr(weights).encode()).hexdigest()

    def header(self) -> bytes:
        """The serialised GraphProto without weights."""
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs)
        head: bytes = graph.SerializeToString(deterministic=True)
        return head

    def _blocks(self) -> Iterator[bytes | memoryview]:
        """The serialised ModelProto. A message's parts may be written one after the other."""
        head = self.header()
        seed = zlib.crc32(self.name.encode())
        weights = sum(length(weight.stored) for weight in self.weights)
        model = helper.make_model(
            onnx.GraphProto(),
            producer_name="mien",
            ir_version=self.ir,
            opset_imports=[helper.make_opsetid("", self.opset)],
            doc_string="Stand-in with made-up weights: shows cost, not results.",
        )
        model.ClearField("graph")
        yield model.SerializeToString(deterministic=True)
        yield put(Field.MODEL_GRAPH, len(head) + weights)
        yield head
        for weight in self.weights:
            yield put(Field.GRAPH_INITIALIZER, weight.stored)
            yield from weight.blocks(seed)
