"""Made-up networks that are known functions: stand-ins, for tests only, which know nothing of faces.

Each is a small ONNX graph with the inputs and outputs of a published network. What it computes is simple
enough to be said by another formula, so that a test sees whether everything around it is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mien.models.card import Card, File
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.types import Array

PERMUTED = (1, 2, 0)
"""Channels that a painter's output takes from its input."""


@dataclass
class Graph:
    """A graph under construction; tensors are known by their names."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)

    def input(self, name: str, shape: Sequence[int | str], dtype: int = onnx.TensorProto.FLOAT) -> str:
        """An input with its batch axis."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, name: str, tensor: str, shape: Sequence[int | str]) -> None:
        """An output with its batch axis."""
        self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)))

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """An initializer."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The output of a new node."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def model(self, path: Path) -> Path:
        """Write the graph."""
        graph = helper.make_graph(self.nodes, "function", self.inputs, self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
        return path


def painter(side: int, axis: int = 1, name: str = "target") -> tuple[Graph, str]:
    """A graph that permutes the channels of a picture, halves it and adds a code of the position.

    The codes are 0.2 * column / side and 0.1 * row / side of a pixel, times channel + 1, all over 3; see
    `painted`.

    Args:
        side: Of the picture.
        axis: Of the channels: 1 or 3.
        name: Of the picture's input.

    Returns:
        The graph, and its picture.
    """
    g = Graph()
    shape = (1, 3, side, side) if axis == 1 else (1, side, side, 3)
    x = g.input(name, shape)
    x = g.op("Gather", x, g.constant(PERMUTED, np.int64), axis=axis)
    x = g.op("Mul", x, g.constant(0.5))
    for part in code(side):
        x = g.op("Add", x, g.constant(part if axis == 1 else np.moveaxis(part, 1, 3)))
    return g, x


def code(side: int) -> tuple[Array, Array]:
    """The position code, (1, 3, 1, side) of columns and (1, 3, side, 1) of rows."""
    weights = (np.arange(3) + 1.0)[None, :, None, None] / 3
    at = np.arange(side) / side
    return 0.2 * weights * at[None, None, None, :], 0.1 * weights * at[None, None, :, None]


def painted(tensor: Array) -> Array:
    """What `painter` makes of (N, 3, side, side)."""
    across, down = code(tensor.shape[2])
    return np.asarray(tensor[:, PERMUTED] * 0.5 + across + down)


def filed(card: Card, path: Path) -> Card:
    """The card with a file of this name that nobody publishes, run in float32."""
    return replace(card, files=(File(path.name),), tolerance=0.0)


@contextmanager
def running(home: Path, cards: Sequence[Card] = ()) -> Iterator[Runtime]:
    """A runtime whose store is this folder, and which knows these cards beside the package's."""
    with Runtime(2, Store(home, offline=True), Catalogue().with_cards(cards)) as runtime:
        yield runtime


def tensor_of(crops: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """(N, 3, h, w) of R'G'B' pictures (N, h, w, 3): codes over 255, less the mean, over the deviation."""
    codes = np.asarray(crops, np.float64) * 255.0
    return np.stack([(codes[..., c] / 255.0 - mean[c]) / std[c] for c in range(3)], axis=1)


def vector_map(path: Path, inside: int, outside: int, seed: int) -> tuple[Path, Array, Array]:
    """A converter: tanh(x / 8) M + b, with its M and b."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(inside, outside)).astype(np.float32)
    shift = rng.normal(size=outside).astype(np.float32)
    g = Graph()
    x = g.input("input", (1, inside))
    x = g.op("Tanh", g.op("Mul", x, g.constant(1 / 8)))
    x = g.op("Add", g.op("MatMul", x, g.constant(matrix)), g.constant(shift))
    g.output("output", x, (1, outside))
    return g.model(path), matrix, shift


def unit(vectors: Array) -> Array:
    """Rows of length 1."""
    return np.asarray(vectors / np.sqrt(np.square(vectors).sum(-1, keepdims=True)))


def rows_of(table: Mapping[str, Any]) -> list[Any]:
    """A table's rows as parameters of a test, by name."""
    return [pytest.param(name, row, id=name) for name, row in table.items()]
