"""Networks run by the torch engine and by ONNX Runtime, whole ones and single operators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from mien.models.card import Tensor
from mien.models.engine import Candidate, Network, Precision
from mien.models.engine_torch import TorchEngine
from mien.types import Array


def network(path: Path, device: str = "cpu", inputs: tuple[Tensor, ...] = ()) -> Network:
    return Network("made_up", path, "", inputs, (), 1, path.parent, device=device)


def ran(
    path: Path,
    given: Mapping[str, Array],
    precision: Precision = "f32",
    batch: int = 1,
    inputs: tuple[Tensor, ...] = (),
) -> dict[str, Array]:
    """The torch engine on the processor; `inputs` are those of the card."""
    engine = TorchEngine(network(path, inputs=inputs), Candidate("torch", precision))
    return engine.prepare(batch)(given)


def reference(path: Path, given: Mapping[str, Array]) -> dict[str, Array]:
    """ONNX Runtime on the processor."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    results = session.run(None, dict(given))
    return {name: np.asarray(a).astype(np.float32) for name, a in zip(names, results, strict=True)}


def single(
    kind: str,
    inputs: Mapping[str, Array],
    outputs: int = 1,
    given: tuple[str, ...] = ("x",),
    opset: int = 18,
    **attributes: Any,
) -> bytes:
    """A graph of one node; those of its inputs that are not given are constants. An empty name is none."""
    names = [name if array.size or name == "roi" else "" for name, array in inputs.items()]
    types = {np.dtype(np.bool_): TensorProto.BOOL}
    ports = [
        helper.make_tensor_value_info(
            n, types.get(inputs[n].dtype, helper.np_dtype_to_tensor_dtype(inputs[n].dtype)), inputs[n].shape
        )
        for n in given
    ]
    values = [numpy_helper.from_array(a, n) for n, a in inputs.items() if n not in given and n in names]
    results = [f"y{k}" for k in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(kind, names, results, **attributes)],
        "one", ports, [helper.make_empty_tensor_value_info(n) for n in results], values,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(onnx.shape_inference.infer_shapes(model, strict_mode=True).SerializeToString())


def f(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def i(*values: int) -> Array:
    return np.array(values, np.int64)
