"""An ONNX graph run as a list of torch calls.

A graph is traced for the shapes of its inputs: whatever depends on shapes and constants alone is computed
then, once, on the processor. What is left are calls on tensors of known shapes, without a decision in
between, so that they can be recorded as one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor

from mien.models import torch_layers, torch_ops, torch_resize, torch_shapes
from mien.models.graph import Network
from mien.models.torch_site import TYPES, Build, Site, Step, Unsupported
from mien.types import Array

OPERATORS: Mapping[str, Build] = {
    **torch_ops.OPERATORS,
    **torch_shapes.OPERATORS,
    **torch_layers.OPERATORS,
    **torch_resize.OPERATORS,
}
"""Every operator that is known here."""
LARGEST = 16 << 20
"""Elements up to which a constant result is kept in place of its computation."""
SMALL = 4096
"""Elements of constants that may say how long something is; they stay on the processor, too."""


class NodeError(Exception):
    """A node cannot be run; the text says which one and why."""

    def __init__(self, node: NodeProto, reason: str) -> None:
        name = node.name or (node.output[0] if node.output else "")
        super().__init__(f"the operator {node.op_type} ({name}): {reason}")


@dataclass(frozen=True, slots=True)
class _Call:
    """A step among numbered tensors."""

    step: Step
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    dead: tuple[int, ...]
    """What nobody takes afterwards."""


@dataclass(frozen=True, slots=True)
class Program:
    """A graph for fixed shapes of its inputs."""

    calls: tuple[_Call, ...]
    tensors: tuple[Tensor | None, ...]
    """By number: constants, and gaps for what is computed; the inputs come first."""
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    """Of the outputs."""

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Outputs in the graph's order; they may be views of inputs or of constants.

        Args:
            inputs: In the graph's order, of the traced shapes and types, on the graph's device.
        """
        held: list[Any] = list(self.tensors)
        held[: len(inputs)] = inputs
        with torch.no_grad():
            for call in self.calls:
                result = call.step.run(*[held[k] for k in call.takes])
                if len(call.gives) == 1 and isinstance(result, Tensor):
                    held[call.gives[0]] = result
                else:
                    for k, part in zip(call.gives, result, strict=False):
                        held[k] = part
                for k in call.dead:
                    held[k] = None
        return [held[k] for k in self.outputs]


class Graph:
    """A network's nodes and constants, the latter on the device.

    Args:
        network: Its constants are taken over.
        device: Where it runs.
        half: What is computed with where the graph says float16.
        channels_last: Whether pictures and weights of convolutions lie with their channels side by side.

    Raises:
        NodeError: An operator is unknown, or constants do not fit it.
    """

    def __init__(
        self, network: Network, device: torch.device, half: torch.dtype, channels_last: bool = False
    ) -> None:
        for node in network.nodes:
            if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
                raise NodeError(node, "it is unknown to the torch engine")
        self.device = device
        self.channels_last = channels_last
        self._half = half
        self._opset = network.opset
        self._names = [port.name for port in network.inputs]
        self._types = [self._kind(port.type) for port in network.inputs]
        self._given = [port.name for port in network.outputs]
        self._weights = {n.input[1] for n in network.nodes if n.op_type in ("Conv", "ConvTranspose")}
        self._known: dict[str, Tensor] = {}
        self._placed: dict[str, Tensor] = {}
        for name, array in network.constants.items():
            self._settle(name, self._tensor(name, array))
        self._nodes = self._folded(network.nodes)

    @property
    def types(self) -> list[torch.dtype]:
        """Of the inputs."""
        return list(self._types)

    def _kind(self, kind: int) -> torch.dtype:
        found = TYPES.get(kind, torch.float32)
        return self._half if found == torch.float16 else found

    def _tensor(self, name: str, array: Array) -> Tensor:
        """A copy of a constant, which may be a view of a file."""
        kind = array.dtype.newbyteorder("=")
        if kind.kind not in "fiub" or kind.itemsize > 8 or kind in (np.dtype(np.uint32), np.dtype(np.uint64)):
            raise Unsupported(f"the constant {name} is of the type {kind}")
        found = torch.from_numpy(np.array(array, kind, order="C"))
        return found.to(self._half) if found.dtype == torch.float16 else found

    def _settle(self, name: str, tensor: Tensor) -> None:
        """Take a constant; a large one is on the device only."""
        if tensor.numel() > SMALL:
            tensor = self._placed[name] = self._place(name, tensor)
        self._known[name] = tensor

    def _place(self, name: str, tensor: Tensor) -> Tensor:
        placed = tensor.to(self.device)
        if self.channels_last and name in self._weights and placed.dim() == 4:
            return placed.contiguous(memory_format=torch.channels_last)
        return placed.contiguous()

    def _folded(self, nodes: Sequence[NodeProto]) -> list[NodeProto]:
        """The nodes that depend on an input, after computing the others."""
        left = []
        for node in nodes:
            results = None
            if all(name in self._known for name in node.input if name):
                results = self._computed(node, self._step(node, self._known, {}), self._known)
            if results is None:
                left.append(node)
                continue
            for name, tensor in zip(node.output, results, strict=False):
                self._settle(name, tensor)
        needed = {*self._given, *(name for node in left for name in node.input)}
        for held in (self._known, self._placed):
            for name in [n for n in held if n not in needed]:
                del held[name]
        return left

    def _step(self, node: NodeProto, known: Mapping[str, Tensor], traced: Mapping[str, Tensor]) -> Step:
        """The call for a node."""
        shown = tuple((known.get(n, traced.get(n)) if n else None) for n in node.input)
        site = Site(node, self._opset, shown, tuple(n in known for n in node.input), self._half)
        try:
            return OPERATORS[node.op_type](site)
        except NodeError:
            raise
        except Exception as error:  # attributes that are absent, of other kinds, or do not fit
            raise NodeError(node, str(error) or type(error).__name__) from error

    def _computed(self, node: NodeProto, step: Step, known: Mapping[str, Tensor]) -> list[Tensor] | None:
        """What a node gives whose inputs are known; None where that is too large to keep."""
        given = [known[node.input[k]] for k in step.takes]
        try:
            with torch.no_grad():
                sizes = _listed(step.run(*[t.to("meta") for t in (*given, *step.extra)]))
                if sum(t.numel() for t in sizes) > LARGEST:
                    return None
                return _listed(step.run(*[t.cpu() for t in (*given, *step.extra)]))
        except Exception as error:  # torch's own are of many classes
            raise NodeError(node, _first_line(error)) from error

    def trace(self, shapes: Sequence[Sequence[int]]) -> Program:
        """The calls for these shapes of the inputs, in the graph's order.

        Raises:
            NodeError: The shapes do not fit, or something would be shaped by the input's values.
        """
        return _Trace(self, shapes).program()


class _Trace:
    """One pass over a graph with fixed shapes."""

    def __init__(self, graph: Graph, shapes: Sequence[Sequence[int]]) -> None:
        self.graph = graph
        self.known = dict(graph._known)
        self.traced: dict[str, Tensor] = {}
        self.numbers: dict[str, int] = {}
        self.tensors: list[Tensor | None] = []
        self.calls: list[_Call] = []
        for name, shape, kind in zip(graph._names, shapes, graph._types, strict=True):
            self.traced[name] = torch.empty(tuple(shape), dtype=kind, device="meta")
            self.number(name, None)

    def number(self, name: str, tensor: Tensor | None) -> int:
        self.tensors.append(tensor)
        self.numbers[name] = len(self.tensors) - 1
        return self.numbers[name]

    def program(self) -> Program:
        graph = self.graph
        for node in graph._nodes:
            step = graph._step(node, self.known, self.traced)
            if all(node.input[k] in self.known for k in step.takes):
                results = graph._computed(node, step, self.known)
                if results is not None:
                    self.known.update(zip(node.output, results, strict=False))
                    continue
            self.emit(node, step)
        outputs = tuple(self.taken(name) for name in graph._given)
        shapes = tuple(
            tuple(int(n) for n in self.known.get(name, self.traced.get(name, torch.empty(0))).shape)
            for name in graph._given
        )
        return Program(self.freed(outputs), tuple(self.tensors), outputs, shapes)

    def taken(self, name: str) -> int:
        """Number of a tensor; a constant comes to the device now."""
        if name in self.numbers:
            return self.numbers[name]
        if name not in self.known:
            raise Unsupported(f"nothing gives {name}")
        graph = self.graph
        if name in graph._known and name not in graph._placed:
            graph._placed[name] = graph._place(name, graph._known[name])
        return self.number(name, graph._placed.get(name, self.known[name].to(graph.device)))

    def emit(self, node: NodeProto, step: Step) -> None:
        """Add a call, and learn the shapes of what it gives."""
        names = [node.input[k] for k in step.takes]
        shown = [self.traced[n] if n in self.traced else self.known[n].to("meta") for n in names]
        try:
            with torch.no_grad():
                found = _listed(step.run(*shown, *[t.to("meta") for t in step.extra]))
        except Exception as error:  # torch's own are of many classes
            raise NodeError(node, _first_line(error)) from error
        takes = [self.taken(name) for name in names]
        for k, tensor in enumerate(step.extra):
            takes.append(self.number(f"{node.output[0]} extra {k}", tensor.to(self.graph.device)))
        gives = []
        for name, tensor in zip(node.output, found, strict=False):
            gives.append(self.number(name, None))
            self.traced[name] = tensor
        self.calls.append(_Call(step, tuple(takes), tuple(gives), ()))

    def freed(self, outputs: Sequence[int]) -> tuple[_Call, ...]:
        """The calls, each of which lets go of what nobody takes afterwards."""
        kept = {k for k, tensor in enumerate(self.tensors) if tensor is not None} | set(outputs)
        calls = []
        for call in reversed(self.calls):
            dead = tuple(k for k in {*call.takes, *call.gives} if k not in kept)
            kept.update(dead)
            calls.append(_Call(call.step, call.takes, call.gives, dead))
        return tuple(calls[::-1])


def _listed(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
