"""The batch axis of a graph that was exported for one item is opened.

Every tensor's place of the batch is followed from the inputs to the outputs. Where an export has written the
number of items into the graph, as the 1 in a reshape's shape or in a learned token that is joined to the
others, it is taken out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from onnx import NodeProto

from mien.models.graph import BATCH, Network, Port, attribute, axes
from mien.models.mend_fold import BROADCAST


class Stuck(Exception):  # noqa: N818
    """A graph cannot be mended in this way; the text says why."""


class Place(NamedTuple):
    """Where the batch is: an axis of length before * N * after, in this order of strides."""

    axis: int
    before: int = 1
    after: int = 1


def free(network: Network, batched: Iterable[str], outputs: Mapping[str, tuple[int, ...]]) -> None:
    """Open the batch axis of a graph in place; on an error the graph is half changed.

    Args:
        network: All its shapes are known and made for one item.
        batched: The inputs that have a batch axis, their first.
        outputs: Output name to the shape that an item of it should have. A graph that gives items without a
            batch axis, as detectors do, gets one.

    Raises:
        Stuck: Something in it mixes or counts items.
    """
    _Freeing(network, set(batched)).run(outputs)


class _Freeing:
    """One pass over a graph."""

    def __init__(self, network: Network, batched: set[str]) -> None:
        self.network = network
        self.ports: Mapping[str, Port] = network.ports()
        self.where = {name: Place(0) for name in batched}
        self.nodes: list[NodeProto] = []
        self.first = next(port.name for port in network.inputs if port.name in batched)
        self.grown: dict[tuple[str, Place], str] = {}
        self.count = ""

    def run(self, outputs: Mapping[str, tuple[int, ...]]) -> None:
        for node in self.network.nodes:
            if any(name in self.where for name in node.input):
                rule = _RULES.get(node.op_type)
                if rule is None:
                    raise Stuck(f"nobody knows where {node.op_type} has its items")
                place = rule(self, node)
                self.where.update((name, place) for name in node.output if name)
            self.nodes.append(node)
        ports = [self._output(port, outputs.get(port.name)) for port in self.network.outputs]
        self.network.nodes = self.nodes
        self.network.inputs = [
            Port(p.name, p.type, (BATCH, *self.shape(p.name)[1:])) if p.name in self.where else p
            for p in self.network.inputs
        ]
        self.network.outputs = ports
        self.network.prune()
        self.network.order()
        found = self.network.ports()
        for port in ports:
            inferred = found[port.name].shape
            if inferred is not None and inferred and isinstance(inferred[0], int):
                raise Stuck(f"{port.name} would still hold {inferred[0]} items")

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape for one item."""
        shape = self.ports[name].static if name in self.ports else None
        if shape is None:
            raise Stuck(f"the shape of {name} is not known")
        return shape

    def grow(self, name: str, place: Place) -> str:
        """What every item shares, once for each item: a new tensor with the batch at `place`."""
        key = (name, place)
        if key in self.grown:
            return self.grown[key]
        shape = self.shape(name)
        a, before, after = place
        if shape[a] != before * after:
            raise Stuck(f"{name} of shape {shape} is joined to items of another length")
        if not self.count:
            size = self.emit("Shape", [self.first])
            self.count = self.emit("Gather", [size, self.network.ints(0)], axis=0)
        split = (*shape[:a], before, 1, after, *shape[a + 1 :])
        split_name = self.emit("Reshape", [name, self.network.ints(*split)])
        ones = self.network.ints(*([1] * (a + 1)))
        rest = self.network.ints(*([1] * (len(shape) - a)))
        wanted = self.emit("Concat", [ones, self.count, rest], axis=0)
        many = self.emit("Expand", [split_name, wanted])
        merged = self.network.ints(*shape[:a], -1, *shape[a + 1 :])
        self.grown[key] = self.emit("Reshape", [many, merged])
        return self.grown[key]

    def emit(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Name of what a new node gives."""
        node = self.network.node(kind, inputs, **attributes)
        self.nodes.append(node)
        return str(node.output[0])

    def alone(self, node: NodeProto, count: int = 1) -> Place:
        """The place in the first input, where no input from number `count` on has one.

        Raises:
            Stuck: What should be shared depends on the item.
        """
        if node.input[0] not in self.where or any(name in self.where for name in node.input[count:]):
            raise Stuck(f"the weights or sizes of {node.op_type} depend on the item")
        return self.where[node.input[0]]

    def _output(self, port: Port, wanted: tuple[int, ...] | None) -> Port:
        """An output of the graph, with a batch axis in front."""
        shape = self.shape(port.name)
        if port.name not in self.where:
            raise Stuck(f"{port.name} does not depend on the items")
        place = self.where[port.name]
        if place == Place(0):
            return Port(port.name, port.type, (BATCH, *shape[1:]))
        if place.axis == 0 and wanted is not None and _fits(shape, wanted):
            return self._cut(port, shape, place)
        raise Stuck(f"{port.name} has no batch axis in front")

    def _cut(self, port: Port, shape: tuple[int, ...], place: Place) -> Port:
        """An output whose first axis holds items and more, with the items in front."""
        flat = self.network.fresh("flat")
        for node in self.nodes:
            for names in (node.input, node.output):
                for k, name in enumerate(names):
                    if name == port.name:
                        names[k] = flat
        rest = shape[1:]
        split = self.emit("Reshape", [flat, self.network.ints(place.before, -1, place.after, *rest)])
        order = [1, 0, *range(2, len(shape) + 2)]
        front = self.emit("Transpose", [split], perm=order)
        self.nodes.append(self.network.node("Reshape", [front, self.network.ints(-1, *shape)], port.name))
        return Port(port.name, port.type, (BATCH, *shape))


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an item may have this shape."""
    return len(shape) == len(wanted) and all(b in (-1, a) for a, b in zip(shape, wanted, strict=True))


def _same(work: _Freeing, node: NodeProto) -> Place:
    """Element by element, from the first input; what else it takes is shared."""
    return work.alone(node)


def _images(work: _Freeing, node: NodeProto) -> Place:
    """Operators over (batch, channels, ...)."""
    place = work.alone(node)
    if place.axis != 0:
        raise Stuck(f"{node.op_type} has its items in another axis than the first")
    return place


def _broadcast(work: _Freeing, node: NodeProto) -> Place:
    """Element by element over several inputs."""
    rank = max(len(work.shape(name)) for name in node.input)
    return _shared(work, node, rank, {k: rank - len(work.shape(n)) for k, n in enumerate(node.input)})


def _shared(work: _Freeing, node: NodeProto, rank: int, shifts: Mapping[int, int]) -> Place:
    """The one place of all inputs, whose axes stand `shifts` further right in the output."""
    places = {
        work.where[node.input[k]]._replace(axis=work.where[node.input[k]].axis + shift)
        for k, shift in shifts.items()
        if node.input[k] in work.where
    }
    if len(places) != 1:
        raise Stuck(f"the inputs of {node.op_type} have their items in different axes")
    place = places.pop()
    for k, shift in shifts.items():
        name, a = node.input[k], place.axis - shift
        if name in work.where or a < 0 or work.shape(name)[a] == 1:
            continue
        node.input[k] = work.grow(name, place._replace(axis=a))
    return place


def _concat(work: _Freeing, node: NodeProto) -> Place:
    rank = len(work.shape(node.output[0]))
    places = {work.where[name] for name in node.input if name in work.where}
    place = places.pop()
    if places or attribute(node, "axis") % rank == place.axis:
        raise Stuck("items are joined to each other")
    for k, name in enumerate(node.input):
        if name not in work.where:
            node.input[k] = work.grow(name, place)
    return place


def _scatter(work: _Freeing, node: NodeProto) -> Place:
    """Inputs of one rank, of which each needs all items."""
    places = {work.where[name] for name in node.input if name in work.where}
    place = places.pop()
    if places or attribute(node, "axis", 0) % len(work.shape(node.input[0])) == place.axis:
        raise Stuck(f"{node.op_type} goes across items")
    for k, name in enumerate(node.input):
        if name not in work.where:
            node.input[k] = work.grow(name, place)
    return place


def _reshape(work: _Freeing, node: NodeProto) -> Place:
    """Reshape, Flatten, Squeeze and Unsqueeze: the batch keeps its place among the strides."""
    place = work.alone(node)
    source, target = work.shape(node.input[0]), work.shape(node.output[0])
    found = _moved(source, target, place)
    dims = [*target]
    dims[found.axis] = -1
    shape = work.network.ints(*dims)
    node.CopyFrom(work.network.node("Reshape", [node.input[0], shape], node.output[0]))
    return found


def _moved(source: tuple[int, ...], target: tuple[int, ...], place: Place) -> Place:
    """Where the batch is after a reshape."""
    before = prod(source[: place.axis]) * place.before
    if 0 in source or 0 in target:
        raise Stuck("a tensor is empty")
    for b, length in enumerate(target):
        if length == 1 and prod(target[:b]) == before:
            return Place(b)
    for b, length in enumerate(target):
        outer = prod(target[:b])
        if outer == before and (b == 0 or b < len(target) - 1):
            return Place(b, 1, length)
        if before % outer == 0 and before // outer <= length and length % (before // outer) == 0:
            part = before // outer
            if part == length and b + 1 < len(target) - 1:
                continue  # the next axis begins with it
            return Place(b, part, length // part)
    raise Stuck("items are mixed in a reshape")


def _transpose(work: _Freeing, node: NodeProto) -> Place:
    place = work.alone(node)
    rank = len(work.shape(node.input[0]))
    perm = list(attribute(node, "perm") or range(rank)[::-1])
    return place._replace(axis=perm.index(place.axis))


def _matmul(work: _Freeing, node: NodeProto) -> Place:
    ranks = [len(work.shape(name)) for name in node.input]
    if min(ranks) < 2:
        raise Stuck("a vector is multiplied")
    rank = max(ranks)
    for k, inner in ((0, -1), (1, -2)):
        name = node.input[k]
        if name not in work.where:
            continue
        back = work.where[name].axis - ranks[k]
        if back == inner:
            raise Stuck("a product sums over items")
        if back == -3 - inner and node.input[1 - k] not in work.where:  # its own rows or columns
            return work.where[name]._replace(axis=rank + back)
    shifts = {k: rank - ranks[k] for k in (0, 1)}
    place = _shared(work, node, rank, shifts)
    if place.axis >= rank - 2:
        raise Stuck("a product pairs items")
    return place


def _gemm(work: _Freeing, node: NodeProto) -> Place:
    place = work.alone(node)
    if attribute(node, "transA", 0) or place.axis != 0:
        raise Stuck("a product sums over items")
    if len(node.input) > 2 and node.input[2]:
        shape = work.shape(node.input[2])
        if len(shape) == 2 and shape[0] != 1:
            node.input[2] = work.grow(node.input[2], place)
    return place


def _gather(work: _Freeing, node: NodeProto) -> Place:
    data, index = node.input[:2]
    rank, width = len(work.shape(data)), len(work.shape(index))
    axis = attribute(node, "axis", 0) % rank
    if data in work.where and index in work.where:
        raise Stuck("items are picked by items")
    if index in work.where:
        return work.where[index]._replace(axis=work.where[index].axis + axis)
    place = work.where[data]
    if place.axis == axis:
        raise Stuck("one item is picked")
    return place if place.axis < axis else place._replace(axis=place.axis + width - 1)


def _reduce(work: _Freeing, node: NodeProto) -> Place:
    place = work.alone(node)
    rank = len(work.shape(node.input[0]))
    if node.op_type in ("ArgMax", "ArgMin"):
        named: tuple[int, ...] | None = (attribute(node, "axis", 0),)
    else:
        named = axes(node, work.network.constants)
    over = {a % rank for a in named} if named else set(range(rank))
    if place.axis in over:
        raise Stuck(f"{node.op_type} goes across items")
    if attribute(node, "keepdims", 1):
        return place
    return place._replace(axis=place.axis - sum(a < place.axis for a in over))


def _along(default: int) -> Callable[[_Freeing, NodeProto], Place]:
    """Operators along one axis."""

    def rule(work: _Freeing, node: NodeProto) -> Place:
        place = work.alone(node)
        if attribute(node, "axis", default) % len(work.shape(node.input[0])) == place.axis:
            raise Stuck(f"{node.op_type} goes across items")
        return place

    return rule


def _onward(default: int) -> Callable[[_Freeing, NodeProto], Place]:
    """Operators over one axis and all that follow."""

    def rule(work: _Freeing, node: NodeProto) -> Place:
        place = work.alone(node)
        if attribute(node, "axis", default) % len(work.shape(node.input[0])) <= place.axis:
            raise Stuck(f"{node.op_type} goes across items")
        return place

    return rule


def _softmax(work: _Freeing, node: NodeProto) -> Place:
    return _onward(1)(work, node) if work.network.opset < 13 else _along(-1)(work, node)


def _slice(work: _Freeing, node: NodeProto) -> Place:
    place = work.alone(node)
    rank = len(work.shape(node.input[0]))
    if work.network.opset < 10:
        over = attribute(node, "axes") or range(len(attribute(node, "starts")))
    else:
        given = [work.network.constants.get(name) if name else None for name in node.input]
        starts = given[1]
        if starts is None:
            raise Stuck("a slice that is not constant")
        listed = given[3] if len(given) > 3 else None
        over = range(len(starts)) if listed is None else [int(a) for a in listed]
    if place.axis in {a % rank for a in over}:
        raise Stuck("some items are cut off")
    return place


def _pad(work: _Freeing, node: NodeProto) -> Place:
    place = work.alone(node)
    rank = len(work.shape(node.input[0]))
    if len(node.input) > 3 and node.input[3]:
        raise Stuck("a pad of some axes")
    amounts = attribute(node, "pads")
    if amounts is None:
        found = work.network.constants.get(node.input[1])
        if found is None:
            raise Stuck("a pad that is not constant")
        amounts = [int(n) for n in found]
    if amounts[place.axis] or amounts[place.axis + rank]:
        raise Stuck("items are added")
    return place


def _resize(work: _Freeing, node: NodeProto) -> Place:
    place = _images(work, node)
    source, target = work.shape(node.input[0]), work.shape(node.output[0])
    if len(node.input) > 3 and node.input[3]:
        if attribute(node, "axes"):
            raise Stuck("a resize of some axes")
        scales = np.array([t / s for s, t in zip(source, target, strict=True)], np.float32)
        if any(int(n * float(scale)) != m for n, m, scale in zip(source, target, scales, strict=True)):
            raise Stuck("a resize by no exact factor")
        node.input[2] = work.network.constant(scales, "scales")
        del node.input[3]
    return place


def _expand(work: _Freeing, node: NodeProto) -> Place:
    place = work.alone(node)
    target = work.shape(node.output[0])
    found = place._replace(axis=place.axis + len(target) - len(work.shape(node.input[0])))
    dims = [*target]
    if dims[found.axis] != place.before * place.after:
        raise Stuck("items are repeated")
    dims[found.axis] = 1
    node.input[1] = work.network.ints(*dims)
    return found


def _tile(work: _Freeing, node: NodeProto) -> Place:
    place = work.alone(node)
    if work.shape(node.input[0])[place.axis] != work.shape(node.output[0])[place.axis]:
        raise Stuck("items are repeated")
    return place


def _one_hot(work: _Freeing, node: NodeProto) -> Place:
    place = work.alone(node)
    axis = attribute(node, "axis", -1) % len(work.shape(node.output[0]))
    return place if place.axis < axis else place._replace(axis=place.axis + 1)


def _sample(work: _Freeing, node: NodeProto) -> Place:
    """Pictures and where to look in them."""
    for k in (0, 1):
        if node.input[k] not in work.where:
            node.input[k] = work.grow(node.input[k], Place(0))
        elif work.where[node.input[k]] != Place(0):
            raise Stuck("GridSample has its items in another axis than the first")
    return Place(0)


def _rules() -> dict[str, Callable[[_Freeing, NodeProto], Place]]:
    kinds: dict[Callable[[_Freeing, NodeProto], Place], str] = {
        _same: "Abs Acos Asin Atan BitwiseNot Cast Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu "
        "HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu "
        "Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu PRelu",
        _images: "AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool "
        "GlobalMaxPool GroupNormalization InstanceNormalization LpPool LRN MaxPool SpaceToDepth Upsample",
        _broadcast: " ".join(BROADCAST),
        _concat: "Concat",
        _scatter: "GatherElements ScatterElements Scatter",
        _reshape: "Reshape Flatten Squeeze Unsqueeze",
        _transpose: "Transpose",
        _matmul: "MatMul",
        _gemm: "Gemm",
        _gather: "Gather",
        _reduce: "ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean "
        "ReduceMin ReduceProd ReduceSum ReduceSumSquare",
        _along(-1): "LpNormalization TopK",
        _along(0): "Split",
        _onward(-1): "LayerNormalization",
        _softmax: "Softmax LogSoftmax Hardmax",
        _slice: "Slice",
        _pad: "Pad",
        _resize: "Resize",
        _expand: "Expand",
        _tile: "Tile",
        _one_hot: "OneHot",
        _sample: "GridSample",
    }
    return {kind: rule for rule, names in kinds.items() for kind in names.split()}


_RULES: Mapping[str, Callable[[_Freeing, NodeProto], Place]] = _rules()
