"""A graph is cut in two: what depends on the identity alone, and the rest."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from onnx import NodeProto

from mien.models.graph import Network, Port
from mien.models.mend_batch import Stuck

SOURCE = "source"
"""Name of the input that says who somebody becomes."""
LARGEST = 2 << 20
"""Elements between the two graphs for one identity up to which keeping them is worth it."""
_GROWING = frozenset(
    ["Expand", "Tile", "Resize", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Cast", "Concat"]
)
"""Operators that are cheaper to repeat than to keep the result of."""


def split(network: Network) -> tuple[Network, Network, int]:
    """Cut a graph at the input `source`.

    Args:
        network: All its shapes are known and made for one item. It is not changed.

    Returns:
        What depends on `source` alone; the rest, which takes what the first gives under the same names; and
        how many elements that is.

    Raises:
        Stuck: Nothing depends on it alone, or too much would have to be kept.
    """
    ports = network.ports()
    early = _early(network)
    while True:
        cut = _cut(network, early)
        late = _better_late(network, cut, ports)
        if late is None:
            break
        early.discard(late)
    if not cut - {SOURCE}:
        raise Stuck("nothing depends on the source alone")
    if any(_shape(name, ports)[:1] != (1,) for name in cut):
        raise Stuck("what depends on the source alone has no batch axis in front")
    size = sum(prod(_shape(name, ports)) for name in cut)
    if size > LARGEST:
        raise Stuck(f"what depends on the source alone is {size} numbers")
    first, second = network.copy(), network.copy()
    edges = [ports[name] for node in network.nodes for name in node.output if name in cut]
    first.nodes = [node for k, node in enumerate(first.nodes) if k in early]
    first.inputs = [port for port in network.inputs if port.name == SOURCE]
    first.outputs = list(edges)
    second.nodes = [node for k, node in enumerate(second.nodes) if k not in early]
    second.inputs = [port for port in network.inputs if port.name != SOURCE or SOURCE in cut] + edges
    for part in (first, second):
        part.prune()
    return first, second, size


def _early(network: Network) -> set[int]:
    """Which nodes depend on the source alone."""
    depends = {SOURCE}
    found = set()
    for k, node in enumerate(network.nodes):
        needs = {name for name in node.input if name and name not in network.constants}
        if needs and needs <= depends:
            depends.update(node.output)
            found.add(k)
    return found


def _cut(network: Network, early: set[int]) -> set[str]:
    """The tensors that the rest takes from the early nodes, or the source itself."""
    made = {name for k in early for name in network.nodes[k].output} | {SOURCE}
    taken = network.given()
    for k, node in enumerate(network.nodes):
        if k not in early:
            taken.update(node.input)
    return made & taken


def _better_late(network: Network, cut: set[str], ports: Mapping[str, Port]) -> int | None:
    """A node that only makes its input larger or moves its items."""
    for k, node in enumerate(network.nodes):
        if node.op_type in _GROWING and node.output[0] in cut and node.output[0] not in network.given():
            shape = _shape(node.output[0], ports)
            if shape[:1] != (1,) or prod(shape) > _taken(node, network, ports):
                return k
    return None


def _taken(node: NodeProto, network: Network, ports: Mapping[str, Port]) -> int:
    """Elements that a node takes, constants apart."""
    return sum(prod(_shape(n, ports)) for n in set(node.input) if n and n not in network.constants)


def _shape(name: str, ports: Mapping[str, Port]) -> tuple[int, ...]:
    shape = ports[name].static if name in ports else None
    if shape is None:
        raise Stuck(f"the shape of {name} is not known")
    return shape
