"""Modulated convolutions get fixed weights.

A StyleGAN layer convolves with weights that are computed for each picture: constant ones, times a style for
each input channel, times a demodulation for each output channel. The same result comes from scaling the
input by the style, convolving with the constant weights and scaling the output by the demodulation. Its sum
of squared weights is the squared style times a constant matrix: with weights w and style s, the sum over
i and k of (s_i w_oik)^2 is the sum over i of s_i^2 times the sum over k of w_oik^2. Karras et al.,
"Analyzing and Improving the Image Quality of StyleGAN", arXiv:1912.04958, section 2.2, equations 1 to 3.

So engines can prepare the weights, use their fast convolutions, and run several pictures at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from onnx import NodeProto

from mien.models.graph import Network, Port, attribute, axes
from mien.models.mend_batch import Stuck
from mien.types import Array


class _Factor(NamedTuple):
    """A computed tensor that varies along one axis at most."""

    name: str
    axis: int
    """Of the product; -1 for a single number."""
    divides: bool


class _Product(NamedTuple):
    """A tensor as a constant times computed factors."""

    shape: tuple[int, ...]
    array: Array
    """Broadcasts to the shape, and has as many axes."""
    factors: tuple[_Factor, ...]


def rewrite(network: Network) -> int:
    """Rewrite modulated convolutions in place; how many.

    Args:
        network: All its shapes are known.

    Raises:
        Stuck: None can be rewritten.
    """
    work = _Rewriting(network)
    fresh: list[NodeProto] = []
    for node in network.nodes:
        new: Sequence[NodeProto] = ()
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] not in network.constants:
            new = work.convolution(node)
        elif node.op_type in ("ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2"):
            new = work.squares(node)
        fresh.extend(new or (node,))
    if not work.weights:
        raise Stuck("no modulated convolution")
    network.nodes = fresh
    network.order()
    _fold_numbers(network, work.weights)
    _scale_before_resizing(network, work.entrances)
    network.prune()
    _bias_before_scale(network, work.scaled)
    network.order()
    return len(work.weights)


def modulated(network: Network) -> int:
    """How many convolutions have weights that are computed."""
    return sum(
        node.op_type in ("Conv", "ConvTranspose") and node.input[1] not in network.constants
        for node in network.nodes
    )


class _Rewriting:
    """Products and replacements in one graph, which it does not change but for new constants."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ports: Mapping[str, Port] = network.ports()
        self.producers = network.producers()
        self.known: dict[str, _Product | None] = {}
        self.weights: set[str] = set()
        """Weights of the convolutions that were rewritten."""
        self.entrances: set[str] = set()
        """Their scaled inputs."""
        self.scaled: set[str] = set()
        """Their results that are scaled by what is never 0."""

    def shape(self, name: str) -> tuple[int, ...]:
        shape = self.ports[name].static if name in self.ports else None
        if shape is None:
            raise Stuck(f"the shape of {name} is not known")
        return shape

    def product(self, name: str, depth: int = 24) -> _Product | None:
        """A tensor as a product; None where it is none."""
        if name not in self.known:
            self.known[name] = self._product(name, depth) if depth else None
        return self.known[name]

    def _product(self, name: str, depth: int) -> _Product | None:
        if name in self.network.constants:
            array = self.network.constants[name]
            return _Product(array.shape, array, ())
        if name not in self.ports or self.ports[name].static is None:
            return None
        shape = self.shape(name)
        wide = [a for a, n in enumerate(shape) if n > 1]
        if len(wide) <= 1:
            one = np.ones([1] * len(shape), np.float32)
            return _Product(shape, one, (_Factor(name, wide[0] if wide else -1, False),))
        node = self.producers.get(name)
        if node is None:
            return None
        if node.op_type in ("Mul", "Div"):
            a, b = (self.product(n, depth - 1) for n in node.input)
            return None if a is None or b is None else _multiplied(a, b, shape, node.op_type == "Div")
        if node.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"):
            inner = self.product(node.input[0], depth - 1)
            return None if inner is None else _reshaped(inner, shape)
        if node.op_type == "Transpose":
            inner = self.product(node.input[0], depth - 1)
            perm = list(attribute(node, "perm") or range(len(shape))[::-1])
            return None if inner is None else _transposed(inner, perm)
        return None

    def convolution(self, node: NodeProto) -> list[NodeProto]:
        """What does the same with constant weights; empty where it is not modulated."""
        found = self.product(node.input[1])
        if found is None or not found.factors:
            return []
        # A transposed convolution's weights begin with the input channels.
        entrance = 1 if node.op_type == "Conv" else 0
        if any(f.axis not in (-1, 0, 1) for f in found.factors) or attribute(node, "group", 1) != 1:
            return []
        new: list[NodeProto] = []
        weight = self.network.constant(np.broadcast_to(found.array, found.shape), "weight")
        flat = [1] * (len(found.shape) - 2)
        sides = (
            [f for f in found.factors if f.axis == entrance],
            [f for f in found.factors if f.axis != entrance],
        )
        x = node.input[0]
        if sides[0]:
            x = self._scaled(new, x, sides[0], [1, found.shape[entrance], *flat])
            self.entrances.add(x)
        conv = NodeProto()
        conv.CopyFrom(node)
        conv.input[0], conv.input[1] = x, weight
        new.append(conv)
        if sides[1]:
            bias = node.input[2] if len(node.input) > 2 else ""
            del conv.input[2:]
            conv.output[0] = self.network.fresh("conv")
            y = self._scaled(new, conv.output[0], sides[1], [1, found.shape[1 - entrance], *flat])
            if bias:
                wide = self._emit(new, "Reshape", [bias, self.network.ints(1, -1, *flat)])
                y = self._emit(new, "Add", [y, wide])
            new[-1].output[0] = node.output[0]
            if not bias and all(f.divides or self._demodulates(f.name) for f in sides[1]):
                self.scaled.add(node.output[0])
        self.weights.add(weight)
        return new

    def _demodulates(self, name: str) -> bool:
        """Whether a factor is one over something, or a root, perhaps in another shape."""
        node = self.producers.get(name)
        while node is not None and node.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Identity"):
            node = self.producers.get(node.input[0])
        return node is not None and node.op_type in ("Reciprocal", "Div", "Pow", "Sqrt")

    def squares(self, node: NodeProto) -> list[NodeProto]:
        """A sum over the squares of modulated weights as a product with a matrix; empty where it is none."""
        found = self._squared(node)
        try:
            named = axes(node, self.network.constants)
        except ValueError:
            return []
        if found is None or not found.factors or named is None:
            return []
        over = {a % len(found.shape) for a in named}
        styled = {f.axis for f in found.factors if f.axis >= 0}
        left = [a for a, n in enumerate(found.shape) if a not in over and n > 1]
        if len(styled) != 1 or not styled <= over or len(left) > 1:
            return []
        style = styled.pop()
        matrix = _matrix(found, over, style)
        if node.op_type == "ReduceMean":
            matrix = matrix / np.float32(prod(found.shape[a] for a in over))
        new: list[NodeProto] = []
        code = self._code(new, found.factors, {style: [1, found.shape[style]], -1: [1, 1]})
        square = self._emit(new, "Mul", [code, code])
        total = self._emit(new, "MatMul", [square, self.network.constant(matrix, "squares")])
        if node.op_type == "ReduceL2":
            total = self._emit(new, "Sqrt", [total])
        shape = self.network.ints(*self.shape(node.output[0]))
        new.append(self.network.node("Reshape", [total, shape], node.output[0]))
        return new

    def _squared(self, node: NodeProto) -> _Product | None:
        """What a reduction takes the square of."""
        if node.op_type in ("ReduceSumSquare", "ReduceL2"):
            return self.product(node.input[0])
        square = self.producers.get(node.input[0])
        if square is None or square.op_type not in ("Pow", "Mul"):
            return None
        exponent = self.network.constants.get(square.input[1])
        twice = square.op_type == "Mul" and square.input[0] == square.input[1]
        power = (
            square.op_type == "Pow" and exponent is not None and exponent.size == 1 and exponent.item() == 2
        )
        return self.product(square.input[0]) if twice or power else None

    def _scaled(self, new: list[NodeProto], x: str, factors: Sequence[_Factor], shape: list[int]) -> str:
        """Name of x times factors, of which each becomes `shape`."""
        single = [1] * len(shape)
        shapes = {factor.axis: shape if factor.axis >= 0 else single for factor in factors}
        return self._emit(new, "Mul", [x, self._code(new, factors, shapes)])

    def _code(self, new: list[NodeProto], factors: Sequence[_Factor], shapes: Mapping[int, list[int]]) -> str:
        """Name of the product of factors, each in the shape of its axis."""
        code = ""
        for factor in sorted(factors, key=lambda f: f.divides):
            part = self._emit(new, "Reshape", [factor.name, self.network.ints(*shapes[factor.axis])])
            if factor.divides and not code:
                one = np.ones([1] * len(shapes[factor.axis]), np.float32)
                code = self.network.constant(one, "one")
            code = self._emit(new, "Div" if factor.divides else "Mul", [code, part]) if code else part
        return code

    def _emit(self, new: list[NodeProto], kind: str, inputs: list[str]) -> str:
        """Name of what a new node gives."""
        node = self.network.node(kind, inputs)
        new.append(node)
        return str(node.output[0])


def _matrix(found: _Product, over: set[int], style: int) -> Array:
    """(style, rest) float32: squares of the constant part, summed over the other axes in `over`."""
    rank = len(found.shape)
    full = np.broadcast_to(found.array, found.shape)
    summed = tuple(a for a in range(rank) if a in over and a != style)
    # In float64, slice by slice of the style's axis: the squares are never all in memory.
    rows = [
        np.square(np.take(full, [k], style).astype(np.float64)).sum(axis=summed).ravel()
        for k in range(full.shape[style])
    ]
    return np.stack(rows).astype(np.float32)


def _multiplied(a: _Product, b: _Product, shape: tuple[int, ...], divides: bool) -> _Product | None:
    """The product, or the quotient."""
    parts = []
    for part in (a, b):
        shift = len(shape) - len(part.shape)
        array = part.array.reshape((1,) * shift + part.array.shape)
        factors = [f._replace(axis=f.axis + shift) if f.axis >= 0 else f for f in part.factors]
        parts.append((array, factors))
    (first, left), (second, right) = parts
    if divides:
        if not np.all(second):
            return None
        right = [f._replace(divides=not f.divides) for f in right]
    if second.size == 1 and second.item() == 1:
        array = first
    elif first.size == 1 and first.item() == 1 and not divides:
        array = second
    else:
        array = first / second if divides else first * second
    return _Product(shape, array, (*left, *right))


def _reshaped(inner: _Product, shape: tuple[int, ...]) -> _Product | None:
    """The same where axes of length 1 came or went; None where others were cut or joined."""
    before = [a for a, n in enumerate(inner.shape) if n != 1]
    after = [a for a, n in enumerate(shape) if n != 1]
    if [inner.shape[a] for a in before] != [shape[a] for a in after]:
        return None
    moves = dict(zip(before, after, strict=True))
    dims = [1] * len(shape)
    for a, b in moves.items():
        dims[b] = inner.array.shape[a]
    factors = tuple(f if f.axis < 0 else f._replace(axis=moves[f.axis]) for f in inner.factors)
    return _Product(shape, inner.array.reshape(dims), factors)


def _transposed(inner: _Product, perm: Sequence[int]) -> _Product:
    factors = tuple(f if f.axis < 0 else f._replace(axis=list(perm).index(f.axis)) for f in inner.factors)
    shape = tuple(inner.shape[a] for a in perm)
    return _Product(shape, inner.array.transpose(perm), factors)


def _fold_numbers(network: Network, weights: set[str]) -> None:
    """Multiply a number that scales what a rewritten convolution gives into its weights."""
    producers, consumers = network.producers(), network.consumers()
    given = network.given()
    names: dict[str, str] = {}
    for node in network.nodes:
        if node.op_type != "Mul" or node.output[0] in given:
            continue
        for number, other in (node.input, tuple(node.input)[::-1]):
            array = network.constants.get(number)
            conv = _convolution(other, producers, consumers, given, weights)
            if array is None or array.size != 1 or conv is None:
                continue
            scaled = network.constants[conv.input[1]] * np.float32(array.item())
            name = network.constant(scaled, "weight")
            weights.add(name)
            weights.discard(conv.input[1])
            conv.input[1] = name
            names[node.output[0]] = other
            node.op_type = "Identity"  # nothing takes it any more
            del node.input[:]
            node.input.append(other)
            break
    network.rename(names)


def _convolution(
    name: str,
    producers: Mapping[str, NodeProto],
    consumers: Mapping[str, list[NodeProto]],
    given: set[str],
    weights: set[str],
) -> NodeProto | None:
    """The rewritten convolution that a tensor is, perhaps scaled, if nothing else takes it."""
    for _ in range(2):
        node = producers.get(name)
        if node is None or len(consumers.get(name, ())) != 1 or name in given:
            return None
        if node.op_type in ("Conv", "ConvTranspose"):
            return node if node.input[1] in weights and len(node.input) == 2 else None
        if node.op_type != "Mul":
            return None
        name = node.input[0]
    return None


def _bias_before_scale(network: Network, scaled: set[str]) -> None:
    """Add a bias, as a share of the scale, before what a rewritten convolution gives is scaled.

    Next to the noise, a constant for every pixel, it would become one with it in engines that join sums of
    constants: a number for every pixel of every channel, more to keep and to read than all the weights.
    """
    consumers, given = network.consumers(), network.given()

    def next_sum(node: NodeProto | None) -> tuple[NodeProto | None, str]:
        """The sum that alone takes the result of a node, and what it adds."""
        taken = consumers.get(node.output[0], []) if node is not None else []
        if node is None or len(taken) != 1 or taken[0].op_type != "Add" or node.output[0] in given:
            return None, ""
        other = [name for name in taken[0].input if name != node.output[0]]
        return (taken[0], other[0]) if len(other) == 1 else (None, "")

    for scale in [node for node in network.nodes if node.op_type == "Mul" and node.output[0] in scaled]:
        noise, texture = next_sum(scale)
        bias, level = next_sum(noise)
        if noise is None or bias is None:
            continue
        if not _for_pixels(network.constants.get(texture)) or not _for_channels(network.constants.get(level)):
            continue
        picture, code = scale.input
        share = network.node("Div", [level, code])
        shifted = network.node("Add", [picture, share.output[0]])
        scale.input[:] = [shifted.output[0], code]
        noise.output[0] = bias.output[0]
        network.nodes.remove(bias)
        network.nodes += [share, shifted]


def _for_pixels(array: Array | None) -> bool:
    """Whether it has a number for every pixel, the same in all channels."""
    return array is not None and array.ndim == 4 and array.shape[:2] == (1, 1) and array.size > 1


def _for_channels(array: Array | None) -> bool:
    """Whether it has a number for every channel, the same in all pixels."""
    return array is not None and array.ndim == 4 and array.size == array.shape[1]


def _scale_before_resizing(network: Network, entrances: set[str]) -> None:
    """Scale channels before a picture is enlarged, not after: the order does not matter to the result."""
    producers, consumers = network.producers(), network.consumers()
    given = network.given()
    for node in network.nodes:
        resize = producers.get(node.input[0]) if node.output and node.output[0] in entrances else None
        if resize is None or resize.op_type != "Resize" or node.input[0] in given:
            continue
        mode = attribute(resize, "coordinate_transformation_mode", "")
        if len(consumers[node.input[0]]) != 1 or mode == "tf_crop_and_resize":
            continue
        scaled, result = network.fresh("mul"), node.output[0]
        node.input[0], node.output[0] = resize.input[0], scaled
        resize.input[0], resize.output[0] = scaled, result
    network.order()
