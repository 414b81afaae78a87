"""Convolutions of 3 x 3 with fewer multiplications, in OpenVINO's own operators.

Winograd's minimal filtering F(m x m, 3 x 3) makes a square of m x m outputs with (m + 2)^2 multiplications
for each pair of channels instead of 9 m^2: 16 instead of 36 for m = 2, 36 instead of 144 for m = 4. A tile d
of the input and the kernel g become A' [(G g G') * (B' d B)] A, summed over the input channels between the
square brackets. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308,
section 4.

As a graph: B' d B is a depthwise convolution with stride m for each of the (m + 2)^2 places of a tile, the
sums over channels are convolutions of 1 x 1, which engines are best at, and what A does is additions.
G g G' is computed here. It pays where there are many channels; see `PAYS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from mien.models.engine import Precision
from mien.types import Array, Float32

if TYPE_CHECKING:
    import openvino as ov

VERSION = 1
"""Of the rules: what was rewritten by other ones is rewritten anew."""
Node: TypeAlias = Any
"""A node of OpenVINO, or an output of one."""

PAYS: Mapping[Precision, tuple[tuple[int, int], ...]] = {
    "f32": ((128, 32 * 32), (512, 16 * 16)),
    "bf16": ((512, 32 * 32), (1024, 16 * 16)),
}
"""Fewest channels, of input and output, and fewest pixels of the output together, from which it is quicker
(measured, see bench/winograd.py). On matrix units the products cost so little that the rest must be small."""
WIDEST = 512 * 512
"""Most pairs of channels for which m is 4: its weights are four times as large as before, of m = 2 less than
twice. In bfloat16 it is never 4: of its eight digits those of m = 4 lose too many."""


class _Filtering(NamedTuple):
    """The three matrices of F(m, 3) in one dimension."""

    tile: Float32
    """B', (m + 2, m + 2)."""
    kernel: Float32
    """G, (m + 2, 3)."""
    result: Float32
    """A', (m, m + 2)."""


def _filtering(tile: object, kernel: object, result: object) -> _Filtering:
    return _Filtering(*(np.array(m, np.float32) for m in (tile, kernel, result)))


FILTERING: Mapping[int, _Filtering] = {
    2: _filtering(
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, 1]],
    ),
    4: _filtering(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}
"""m to the matrices, of the points 0, 1, -1 (and 2, -2) and infinity: equations 7 and 9 of the paper.

The last row of the first B' and the last column of its A' have the other sign: what is taken with a minus and
nowhere else, OpenVINO multiplies into the weights, and keeps these a second time."""


class _Site(NamedTuple):
    """A convolution that can be rewritten."""

    weights: Array
    """(outputs, inputs, 3, 3)"""
    begin: tuple[int, int]
    """Padding above and left, 0 or 1."""
    before: tuple[int, int]
    """Rows and columns of the input."""
    after: tuple[int, int]
    """Rows and columns of the output."""


def rewrite(model: ov.Model, precision: Precision) -> int:
    """Rewrite the convolutions of a model for which that pays, in place; how many.

    Args:
        model: Heights and widths are known, batches need not be.
        precision: What it will be computed in.
    """
    count = 0
    for node in model.get_ordered_ops():
        site = _site(node) if node.get_type_name() == "Convolution" else None
        side = _side(site, precision) if site else 0
        if site is None or not side:
            continue
        result = convolution(node.input_value(0), side, *site)
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(result.output(0))
        count += 1
    model.validate_nodes_and_infer_types()
    return count


def _site(node: Node) -> _Site | None:
    """A convolution of 3 x 3 with constant weights and steps of one pixel; None for others."""
    weights = _constant(node.input_value(1).get_node())
    given, made = node.get_input_partial_shape(0), node.get_output_partial_shape(0)
    if weights is None or weights.shape[2:] != (3, 3) or node.get_element_type().get_type_name() != "f32":
        return None
    if any(shape.rank.is_dynamic or any(d.is_dynamic for d in list(shape)[2:]) for shape in (given, made)):
        return None
    said = node.get_attributes()
    begin = tuple(int(n) for n in said["pads_begin"])
    plain = list(said["strides"]) == list(said["dilations"]) == [1, 1]
    if not plain or not {*begin} <= {0, 1} or min(said["pads_end"]) < 0:
        return None
    (*_, rows, columns), (*_, high, wide) = (
        [d.get_length() if d.is_static else -1 for d in shape] for shape in (given, made)
    )
    return _Site(weights, (begin[0], begin[1]), (rows, columns), (high, wide))


def _constant(node: Node) -> Array | None:
    """What a node holds, perhaps in float16; None where it is computed, or of another type."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    known = node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in ("f32", "f16")
    return np.asarray(node.get_data()) if known else None


def _side(site: _Site, precision: Precision) -> int:
    """The m for which it pays; 0 for none."""
    outputs, inputs = site.weights.shape[:2]
    pixels = site.after[0] * site.after[1]
    if not any(min(outputs, inputs) >= c and pixels >= p for c, p in PAYS.get(precision, ())):
        return 0
    sides = (4, 2) if precision == "f32" and outputs * inputs <= WIDEST else (2,)
    return next((m for m in sides if not any(n % m for n in site.after)), 0)


def convolution(
    x: Node,
    side: int,
    weights: Array,
    begin: tuple[int, int],
    before: tuple[int, int],
    after: tuple[int, int],
) -> Node:
    """A convolution of 3 x 3 by minimal filtering.

    Args:
        x: (N, inputs, rows, columns), of any N.
        side: m, a key of `FILTERING`.
        weights: (outputs, inputs, 3, 3).
        begin: Zeros to put above and left, 0 or 1.
        before: Rows and columns of x.
        after: Rows and columns of the result, multiples of m.

    Returns:
        (N, outputs, rows, columns)
    """
    from openvino import opset13 as op

    tile, kernel, result = FILTERING[side]
    outputs, inputs = weights.shape[:2]
    flat = weights.reshape(outputs * inputs, 9).astype(np.float32)
    turned = (np.kron(kernel, kernel) @ flat.T).reshape(-1, outputs, inputs, 1, 1)
    places = len(tile)
    products = [[x] * places for _ in range(places)]
    for i in range(places):
        for j in range(places):
            part = _part(x, inputs, (tile[i], tile[j]), side, begin, before, after)
            weight = op.constant(turned[i * places + j])
            products[i][j] = op.convolution(part, weight, [1, 1], [0, 0], [0, 0], [1, 1])
    columns = [_sums(result, [products[i][j] for i in range(places)]) for j in range(places)]
    squares = [_sums(result, [column[row] for column in columns]) for row in range(side)]
    return op.depth_to_space(op.concat([one for row in squares for one in row], 1), "blocks_first", side)


def _part(
    x: Node,
    channels: int,
    lines: tuple[Float32, Float32],
    side: int,
    begin: tuple[int, int],
    before: tuple[int, int],
    after: tuple[int, int],
) -> Node:
    """(N, channels, rows / m, columns / m): one place of B' d B in every tile."""
    from openvino import opset13 as op

    taps, steps, above, below = [], [], [], []
    for line, pad, length, made in zip(lines, begin, before, after, strict=True):
        first, step, values = _compact(line, pad)
        last = side * (made // side - 1) + first + step * (len(values) - 1) - pad
        taps.append(values)
        steps.append(step)
        above.append(pad - first)
        below.append(max(0, last - (length - 1)))
    weights = np.broadcast_to(np.outer(*taps), (channels, 1, 1, len(taps[0]), len(taps[1])))
    constant = op.constant(np.ascontiguousarray(weights, np.float32))
    return op.group_convolution(x, constant, [side, side], above, below, steps)


def _compact(line: Float32, pad: int) -> tuple[int, int, Float32]:
    """Where a row of B' begins, the step between its numbers, and these; it begins within the padding."""
    where = np.flatnonzero(line)
    first, step = int(where[0]), int(where[1] - where[0])
    values = line[first : where[-1] + 1 : step]
    if first <= pad:
        return first, step, values
    return pad, 1, line[pad : where[-1] + 1]


def _sums(matrix: Float32, values: Sequence[Node]) -> list[Node]:
    """A matrix times a column of nodes."""
    from openvino import opset13 as op

    found: list[Node] = []
    for row in matrix:
        total: Node = None
        for number, value in zip(row, values, strict=True):
            if not number:
                continue
            term = value if abs(number) == 1 else op.multiply(value, op.constant(np.float32(abs(number))))
            if total is None:
                total = term if number > 0 else op.negative(term)
            else:
                total = op.add(total, term) if number > 0 else op.subtract(total, term)
        found.append(total)
    return found
