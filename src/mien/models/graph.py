"""A small editing layer over ONNX graphs: nodes, constants as arrays, and the ports at the edges."""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from mien.types import Array

Dims: TypeAlias = tuple[int | str, ...]
"""Lengths of axes; a name, or "" for one that has none, where any length will do."""

BATCH = "N"
"""Name of the open batch axis."""
SMALL = 4096
"""Constants of at most so many elements are shown to shape inference, which may need their values."""


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor as shape inference or a graph's edge knows it."""

    name: str
    type: int
    """`onnx.TensorProto.DataType`."""
    shape: Dims | None
    """None where even the number of axes is unknown."""

    @property
    def static(self) -> tuple[int, ...] | None:
        """The shape where every axis has a length."""
        if self.shape is None or any(isinstance(n, str) for n in self.shape):
            return None
        return tuple(int(n) for n in self.shape)

    def proto(self) -> onnx.ValueInfoProto:
        """As a file has it."""
        shape = None if self.shape is None else [None if n == "" else n for n in self.shape]
        return helper.make_tensor_value_info(self.name, self.type, shape)


@dataclass(slots=True, eq=False)
class Network:
    """A graph that can be edited.

    Nodes are in an order in which they can run. Constants are arrays, which may be views of a mapped file.
    """

    nodes: list[NodeProto]
    constants: dict[str, Array]
    inputs: list[Port]
    outputs: list[Port]
    opset: int
    ir: int = 8
    odd: str = ""
    """What this layer cannot edit, such as control flow; empty where it can edit everything."""
    last: str = ""
    """Name of the file's last initializer."""
    mapped: tuple[mmap.mmap, ...] = ()
    """Files that constants are views of."""
    _count: int = 0
    _names: set[str] = field(default_factory=set)

    def copy(self) -> Network:
        """A copy whose nodes can be edited; arrays are shared."""
        nodes = [_copied(node) for node in self.nodes]
        return replace(
            self,
            nodes=nodes,
            constants=dict(self.constants),
            inputs=list(self.inputs),
            outputs=list(self.outputs),
            _names=set(self._names),
        )

    def release(self) -> None:
        """Give memory back that holds parts of mapped files; they are read again when needed."""
        for mapped in self.mapped:
            if hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def fresh(self, hint: str) -> str:
        """A name that nothing has yet."""
        if not self._names:
            self._names.update(self.constants, (p.name for p in (*self.inputs, *self.outputs)))
            for node in self.nodes:
                self._names.update(node.input, node.output)
        while True:
            self._count += 1
            name = f"{hint}:{self._count}"
            if name not in self._names:
                self._names.add(name)
                return name

    def constant(self, array: Array, hint: str = "constant") -> str:
        """Name of a new constant."""
        name = self.fresh(hint)
        self.constants[name] = array
        return name

    def ints(self, *values: int) -> str:
        """Name of a new int64 vector."""
        return self.constant(np.array(values, np.int64), "ints")

    def node(self, kind: str, inputs: Iterable[str], output: str = "", **attributes: Any) -> NodeProto:
        """A new node with one output, which is not yet among the nodes."""
        return helper.make_node(kind, list(inputs), [output or self.fresh(kind.lower())], **attributes)

    def producers(self) -> dict[str, NodeProto]:
        """Tensor to the node that gives it."""
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[NodeProto]]:
        """Tensor to the nodes that take it, once for each time they do."""
        found: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                if name:
                    found[name].append(node)
        return found

    def given(self) -> set[str]:
        """Names of the graph's outputs."""
        return {port.name for port in self.outputs}

    def rename(self, names: Mapping[str, str]) -> None:
        """Let nodes take other tensors; chains of names are followed."""
        if not names:
            return
        for node in self.nodes:
            for k, name in enumerate(node.input):
                while name in names:
                    name = names[name]
                if name != node.input[k]:
                    node.input[k] = name

    def prune(self) -> None:
        """Drop nodes and constants that no output depends on."""
        needed = self.given()
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}

    def order(self) -> None:
        """Put the nodes into an order in which they can run, changing as little as possible.

        Raises:
            ValueError: A node takes what nothing gives, or the graph has a cycle.
        """
        ready = {"", *self.constants, *(port.name for port in self.inputs)}
        waiting: dict[str, list[int]] = defaultdict(list)
        missing = []
        for k, node in enumerate(self.nodes):
            missing.append(len({name for name in node.input if name not in ready}))
            for name in {name for name in node.input if name not in ready}:
                waiting[name].append(k)
        done: list[NodeProto] = []
        started = [False] * len(self.nodes)
        for first in range(len(self.nodes)):
            stack = [first]
            while stack:
                k = stack.pop()
                if missing[k] or started[k]:
                    continue
                started[k] = True
                done.append(self.nodes[k])
                for name in self.nodes[k].output:
                    for other in waiting.pop(name, ()):
                        missing[other] -= 1
                        if other < first:  # it was passed by; later ones come in their turn
                            stack.append(other)
        if len(done) != len(self.nodes):
            raise ValueError(f"graph: {len(self.nodes) - len(done)} nodes cannot run")
        self.nodes = done

    def ports(self) -> dict[str, Port]:
        """Every tensor's type and shape, as far as shape inference can tell."""
        shown = {name: array for name, array in self.constants.items() if array.size <= SMALL}
        hidden = [
            Port(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in self.constants.items()
            if array.size > SMALL
        ]
        graph = helper.make_graph(
            self.nodes,
            "shapes",
            [port.proto() for port in (*self.inputs, *hidden)],
            [Port(port.name, port.type, None).proto() for port in self.outputs],
            [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in shown.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=max(self.ir, 4)
        )
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        found = {port.name: port for port in (*self.inputs, *hidden)}
        for name, array in shown.items():
            found[name] = Port(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for info in (*inferred.value_info, *inferred.output):
            found.setdefault(info.name, port_of(info))
        return found


def port_of(info: onnx.ValueInfoProto) -> Port:
    """What a file says about a tensor."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return Port(info.name, tensor.elem_type, None)
    dims: list[int | str] = [
        int(d.dim_value) if d.HasField("dim_value") else str(d.dim_param) for d in tensor.shape.dim
    ]
    return Port(info.name, tensor.elem_type, tuple(dims))


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value; byte strings as text."""
    for found in node.attribute:
        if found.name == name:
            value = helper.get_attribute_value(found)
            return value.decode() if isinstance(value, bytes) else value
    return default


def axes(node: NodeProto, constants: Mapping[str, Array]) -> tuple[int, ...] | None:
    """The axes a node names, as an attribute or as its second input; None where it names none.

    Raises:
        ValueError: They are computed when the graph runs.
    """
    named: Sequence[int] | None = attribute(node, "axes")
    if named is not None:
        return tuple(named)
    if len(node.input) < 2 or not node.input[1]:
        return None
    if node.input[1] not in constants:
        raise ValueError(f"{node.op_type}: axes that are not constant")
    return tuple(int(a) for a in constants[node.input[1]].ravel())


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
