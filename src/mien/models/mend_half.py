"""Graphs in float16 with islands of float32, for processors that compute faster so.

Float16 has 11 bits and ends at 65504: sums over many values, normalisations, exponentials, roots and the
styles of modulated layers stay in float32, and so do the edges of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from onnx import NodeProto, TensorProto

from mien.models.graph import Network, Port
from mien.models.mend_fold import BROADCAST

LARGEST = 60000.0
"""Largest constant that is rounded to float16."""
SMALLEST = 6.1e-5
"""Smallest number, apart from 0, that float16 holds with all its bits."""
_HEAVY = 4 << 20
"""Elements of weights from which reading them costs more than rounding them."""
_LONG = 1 << 16
"""Elements of a vector, such as a style, of one item."""

_ISLANDS = (
    "Exp Log Pow Sqrt Reciprocal Erf Softmax LogSoftmax Softplus CumSum LayerNormalization "
    "InstanceNormalization GroupNormalization LpNormalization RMSNormalization MeanVarianceNormalization "
    "GlobalAveragePool GlobalLpPool GridSample Einsum Cast ConstantOfShape Range NonMaxSuppression ArgMax "
    "ArgMin TopK OneHot"
)
_FOLLOWERS = (
    "Reshape Transpose Squeeze Unsqueeze Flatten Slice Split Gather Expand Tile Identity DepthToSpace "
    "SpaceToDepth Concat Pad Dropout MaxPool Relu Where"
)
_EXACT = frozenset(_ISLANDS.split())
"""Operators that stay in float32; those that reduce do, too."""
_MOVING = frozenset(_FOLLOWERS.split())
"""Operators that give values which they take: they work in the type that comes."""
_FIXED_INPUTS: Mapping[str, frozenset[int]] = {"Resize": frozenset([1, 2]), "Upsample": frozenset([1])}
"""Inputs that are float32 by definition."""


def half(network: Network) -> Network:
    """The same graph, with float32 edges, that computes in float16 where that is safe.

    Args:
        network: In float32. It is not changed.
    """
    return _Halving(network.copy()).run()


class _Halving:
    """One pass over a graph."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ports: Mapping[str, Port] = network.ports()
        self.halves: set[str] = set()
        """Tensors that are float16 by now."""
        self.casts: dict[tuple[str, bool], str] = {}
        self.nodes: list[NodeProto] = []

    def run(self) -> Network:
        exact = self._islands()
        given = self.network.given()
        for k, node in enumerate(self.network.nodes):
            narrow = k not in exact and self._narrow(node)
            fixed = _FIXED_INPUTS.get(node.op_type, frozenset())
            for i, name in enumerate(node.input):
                if name and self._float(name):
                    node.input[i] = self._as(name, narrow and i not in fixed)
            self.nodes.append(node)
            if narrow:
                for i, name in enumerate(node.output):
                    if name and self._float(name):
                        self.halves.add(name)
                        if name in given:
                            self._wide_output(node, i)
        self.network.nodes = self.nodes
        self.network.prune()
        return self.network

    def _wide_output(self, node: NodeProto, i: int) -> None:
        """Give an output of the graph in float32."""
        name = node.output[i]
        node.output[i] = self.network.fresh("half")
        self.nodes.append(self.network.node("Cast", [node.output[i]], name, to=TensorProto.FLOAT))
        self.halves.discard(name)
        self.casts[name, True] = node.output[i]

    def _float(self, name: str) -> bool:
        return name in self.ports and self.ports[name].type == TensorProto.FLOAT

    def _as(self, name: str, narrow: bool) -> str:
        """Name of a tensor in the wanted type."""
        if (name in self.halves) is narrow:
            return name
        if (name, narrow) not in self.casts:
            if name in self.network.constants:
                found = self.network.constant(self.network.constants[name].astype(np.float16), "half")
            else:
                kind = TensorProto.FLOAT16 if narrow else TensorProto.FLOAT
                cast = self.network.node("Cast", [name], to=kind)
                self.nodes.append(cast)
                found = cast.output[0]
            self.casts[name, narrow] = found
        return self.casts[name, narrow]

    def _narrow(self, node: NodeProto) -> bool:
        """Whether a node outside the islands works in float16."""
        floats = [name for name in node.input if name and self._float(name)]
        if not floats or not any(self._float(name) for name in node.output if name):
            return False
        if node.op_type in _MOVING:
            return any(name in self.halves for name in floats)
        return True

    def _islands(self) -> set[int]:
        """Which nodes stay in float32."""
        nodes = self.network.nodes
        exact = {k for k, node in enumerate(nodes) if self._sensitive(node)}
        # What only feeds an island, as the square before a sum does, belongs to it.
        takers: dict[str, set[int]] = {}
        for k, node in enumerate(nodes):
            for name in node.input:
                takers.setdefault(name, set()).add(k)
        given = self.network.given()
        for k in reversed(range(len(nodes))):
            node = nodes[k]
            after = {j for name in node.output for j in takers.get(name, ())}
            simple = node.op_type in BROADCAST or node.op_type in _MOVING
            if simple and after and after <= exact and given.isdisjoint(node.output):
                exact.add(k)
        return exact

    def _sensitive(self, node: NodeProto) -> bool:
        if node.op_type in _EXACT or node.op_type.startswith("Reduce"):
            return True
        constants = [self.network.constants[n] for n in node.input if n in self.network.constants]
        floats = [array for array in constants if array.dtype == np.float32]
        fixed = _FIXED_INPUTS.get(node.op_type)
        if not fixed and any(_unsafe(array) for array in floats):
            return True
        vectors = [n for n in (*node.input, *node.output) if n and n not in self.network.constants]
        return all(self._vector(n) for n in vectors) and all(array.size <= _HEAVY for array in floats)

    def _vector(self, name: str) -> bool:
        """Whether a tensor has no extent but its channels."""
        shape = self.ports[name].shape if name in self.ports else None
        if shape is None:
            return False
        lengths = [1 if isinstance(n, str) else n for n in shape]
        return prod(lengths) <= _LONG and prod(lengths[2:]) == 1


def _unsafe(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bool:
    """Whether float16 would lose a constant: it is too large, or a few numbers that are too small."""
    sizes = np.abs(array)
    if not array.size or float(sizes.max()) > LARGEST or not np.isfinite(sizes).all():
        return bool(array.size)
    return array.size <= 16 and bool(((sizes > 0) & (sizes < SMALLEST)).any())
