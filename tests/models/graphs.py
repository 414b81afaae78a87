"""Small ONNX networks with made-up weights, their cards, and stores that hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mien.models.card import Card, File, Tensor
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Device
from mien.types import Array

TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
}

Shape = Sequence[int | str]


def port(name: str, shape: Shape, dtype: str = "float32") -> Any:
    return helper.make_tensor_value_info(name, TYPES[dtype], list(shape))


def graph(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: dict[str, Array] | None = None,
) -> bytes:
    """Bytes of an ONNX file."""
    values = [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()]
    made = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), values)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


node = helper.make_node


def affine(
    scale: float, shift: float, shape: Shape = (3, 4, 4), batch: int | str = "N", dtype: str = "float32"
) -> bytes:
    """y = scale * x + shift."""
    kind = np.dtype(dtype)
    return graph(
        [node("Mul", ["x", "a"], ["ax"]), node("Add", ["ax", "b"], ["y"])],
        [port("x", (batch, *shape), dtype)],
        [port("y", (batch, *shape), dtype)],
        {"a": np.array(scale, kind), "b": np.array(shift, kind)},
    )


def card(name: str, data: bytes, **fields: Any) -> Card:
    """A card for x -> y of (3, 4, 4); `fields` say otherwise."""
    plain = Card(
        name,
        "swap",
        (File(f"{name}.onnx", hashlib.sha256(data).hexdigest(), len(data)),),
        "MIT",
        (Tensor("x", (3, 4, 4)),),
        (Tensor("y", (3, 4, 4)),),
    )
    return replace(plain, **fields)


def put(home: Path, made: Card, data: bytes) -> Card:
    """Lay a card's network into the store of a folder."""
    path = home / "models" / made.network.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return made


def runtime(home: Path, **asked: Any) -> Runtime:
    """A runtime of one thread over a folder's store."""
    return Runtime(1, Store(home, offline=True), Catalogue(()), Device(**asked))
