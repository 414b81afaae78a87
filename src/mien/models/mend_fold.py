"""Graphs simplified: what depends on constants alone is computed, what changes nothing is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from mien.models.graph import Network, Port, attribute
from mien.types import Array

LARGEST = 16 << 20
"""Elements up to which a constant result is stored in place of its computation."""

_SIMPLE = (
    "Abs Add And Cast Ceil Clip Concat ConstantOfShape CumSum Div Equal Erf Exp Expand Flatten Floor Gather "
    "Greater GreaterOrEqual Identity Less LessOrEqual Log MatMul Max Min Mod Mul Neg Not Or Pad Pow Range "
    "Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round ScatterND Sigmoid "
    "Sign Slice Split Sqrt Squeeze Sub Tanh Tile Transpose Trilu Unsqueeze Where"
)
_BINARY = (
    "Add Sub Mul Div Pow Max Min Mean Sum Where Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor Mod"
)
_COMPUTED = frozenset(_SIMPLE.split())
"""Operators that are computed where all their inputs are constant."""
BROADCAST = frozenset(_BINARY.split())
"""Operators whose inputs are broadcast against each other."""


def fold(network: Network) -> None:
    """Simplify a graph in place; its outputs stay the same for every input of the shapes it declares."""
    while True:
        ports = network.ports()
        changed = _constants(network, ports)
        changed |= _unneeded(network, ports)
        network.prune()
        if not changed:
            return


def halved(network: Network) -> bool:
    """Whether something is computed in float16, and not only stored so."""
    halves = {name for name, array in network.constants.items() if array.dtype == np.float16}
    edges = any(port.type == TensorProto.FLOAT16 for port in (*network.inputs, *network.outputs))
    return edges or any(
        _makes(node, TensorProto.FLOAT16) or (node.op_type != "Cast" and not halves.isdisjoint(node.input))
        for node in network.nodes
    )


def widen(network: Network) -> None:
    """Turn float16 into float32 everywhere, edges included.

    What was rounded to float16 between two nodes no longer is, so results differ by that rounding.
    """
    for name, array in network.constants.items():
        if array.dtype == np.float16:
            network.constants[name] = array.astype(np.float32)
    for node in network.nodes:
        if not _makes(node, TensorProto.FLOAT16):
            continue
        for found in node.attribute:
            if found.name in ("to", "dtype"):
                found.i = TensorProto.FLOAT
            elif found.HasField("t"):
                wide = onnx.numpy_helper.to_array(found.t).astype(np.float32)
                found.t.CopyFrom(onnx.numpy_helper.from_array(wide))
    network.inputs = [_wide(port) for port in network.inputs]
    network.outputs = [_wide(port) for port in network.outputs]


def _makes(node: NodeProto, kind: int) -> bool:
    """Whether a node's attributes name an element type for what it gives."""
    return any(
        (found.name in ("to", "dtype") and found.i == kind)
        or (found.HasField("t") and found.t.data_type == kind)
        for found in node.attribute
    )


def _wide(port: Port) -> Port:
    return Port(port.name, TensorProto.FLOAT, port.shape) if port.type == TensorProto.FLOAT16 else port


def _constants(network: Network, ports: Mapping[str, Port]) -> bool:
    """Replace nodes by their results where these are known; whether there was one."""
    kept: list[NodeProto] = []
    given = network.given()
    for node in network.nodes:
        results = None if given.intersection(node.output) else _results(node, network, ports)
        if results is None:
            kept.append(node)
        else:
            network.constants.update(zip(node.output, results, strict=False))
    changed = len(kept) < len(network.nodes)
    network.nodes = kept
    return changed


def _results(node: NodeProto, network: Network, ports: Mapping[str, Port]) -> list[Array] | None:
    """What a node gives, where that is known before the graph runs."""
    if node.op_type in ("Shape", "Size"):
        shape = ports[node.input[0]].static if node.input[0] in ports else None
        if shape is None:
            return None
        if node.op_type == "Size":
            return [np.array(prod(shape), np.int64)]
        return [np.array(shape[attribute(node, "start", 0) : attribute(node, "end")], np.int64)]
    if node.op_type not in _COMPUTED or not all(n in network.constants for n in node.input if n):
        return None
    sizes = [ports[name].static if name in ports else None for name in node.output]
    if any(shape is None or prod(shape) > LARGEST for shape in sizes):
        return None
    return computed(node, network.constants, network.opset)


def computed(node: NodeProto, constants: Mapping[str, Array], opset: int) -> list[Array] | None:
    """What a node gives for constants, by ONNX's reference implementation; None where that cannot tell."""
    names = sorted({name for name in node.input if name})
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(
                n, helper.np_dtype_to_tensor_dtype(constants[n].dtype), constants[n].shape
            )
            for n in names
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        found: Any = ReferenceEvaluator(model).run(None, {n: np.asarray(constants[n]) for n in names})
    except Exception:  # whatever it meets, the engines compute it
        return None
    return [np.asarray(value) for value in found]


def _unneeded(network: Network, ports: Mapping[str, Port]) -> bool:
    """Drop nodes that pass their input on; whether there was one."""
    consumers = network.consumers()
    given = network.given()
    # Two of them could each rely on the other for the shape.
    full = {n: p for n, p in ports.items() if n not in _expanded(network)}
    names: dict[str, str] = {}
    kept: list[NodeProto] = []
    for node in network.nodes:
        dropped = _passes(node, network, ports) or _broadcast(node, consumers, ports, full)
        if dropped and node.output[0] not in given:
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    network.nodes = kept
    network.rename(names)
    return _renamed_outputs(network, ports) or bool(names)


def _renamed_outputs(network: Network, ports: Mapping[str, Port]) -> bool:
    """Let the node before an output give it, where what stands between passes its input on."""
    producers = network.producers()
    given = network.given()
    for node in network.nodes:
        source = node.input[0] if node.input else ""
        if source in producers and source not in given and given.intersection(node.output):
            if not _passes(node, network, ports):
                continue
            producer, output = producers[source], node.output[0]
            network.nodes.remove(node)
            producer.output[list(producer.output).index(source)] = output
            network.rename({source: output})
            network.order()
            return True
    return False


def _passes(node: NodeProto, network: Network, ports: Mapping[str, Port]) -> bool:
    """Whether a node's output is its input."""
    kind = node.op_type
    if kind == "Identity":
        return True
    if kind == "Dropout":
        training = node.input[2] if len(node.input) > 2 else ""
        used = len(node.output) > 1 and node.output[1]
        return not used and (not training or not network.constants.get(training, np.ones(1)).any())
    if kind == "Cast":
        return node.input[0] in ports and ports[node.input[0]].type == attribute(node, "to")
    if kind == "Pad" and len(node.input) > 1:
        amounts = network.constants.get(node.input[1])
        return amounts is not None and not amounts.any()
    if kind == "Concat":
        return len(node.input) == 1
    return False


def _expanded(network: Network) -> set[str]:
    return {node.output[0] for node in network.nodes if node.op_type == "Expand"}


def _broadcast(
    node: NodeProto,
    consumers: Mapping[str, list[NodeProto]],
    ports: Mapping[str, Port],
    full: Mapping[str, Port],
) -> bool:
    """Whether an Expand only does what broadcasting in every node that takes it does anyway.

    `full` are the tensors that surely keep their shapes.
    """
    if node.op_type != "Expand" or node.output[0] not in ports:
        return False
    shape, source = ports[node.output[0]].static, ports.get(node.input[0])
    if shape is None or source is None or source.static is None or len(source.static) != len(shape):
        return False
    takers = consumers.get(node.output[0], [])
    for taker in takers:
        others = [full[n].static for n in taker.input if n in full]
        if taker.op_type not in BROADCAST or shape not in others:
            return False
    return bool(takers)
