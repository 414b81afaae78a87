"""Batch normalisation taken into the convolution before it: one call less, and no pass over its result."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto

from mien.models.graph import Network, attribute
from mien.types import Array


def fuse(network: Network) -> int:
    """Fold every batch normalisation with constant numbers into the convolution that alone it follows.

    In place, before anything is rounded to sixteen bits; computed in float64.

    Args:
        network: In float32, its nodes in order.

    Returns:
        How many were folded.
    """
    producers, consumers = network.producers(), network.consumers()
    given = network.given()
    names: dict[str, str] = {}
    folded: list[NodeProto] = []
    for node in network.nodes:
        if node.op_type != "BatchNormalization" or given.intersection(node.output):
            continue
        before = producers.get(node.input[0])
        if before is None or before.op_type != "Conv" or len(consumers[node.input[0]]) != 1:
            continue
        if node.input[0] in given or attribute(node, "training_mode", 0) or any(node.output[1:]):
            continue
        if _folded(network, before, node):
            names[node.output[0]] = node.input[0]
            folded.append(node)
    network.nodes = [node for node in network.nodes if not any(node is gone for gone in folded)]
    network.rename(names)
    network.prune()
    return len(folded)


def _folded(network: Network, before: NodeProto, node: NodeProto) -> bool:
    """Give a convolution other weights and another bias, where all are constant."""
    has_bias = len(before.input) > 2 and bool(before.input[2])
    wanted = [*node.input[1:5], before.input[1], *([before.input[2]] if has_bias else [])]
    numbers = _constants(network.constants, wanted)
    if numbers is None:
        return False
    scale, shift, mean, variance, weight, *rest = numbers
    factor = scale / np.sqrt(variance + float(attribute(node, "epsilon", 1e-5)))
    bias = (rest[0] if rest else 0.0) * factor + shift - mean * factor
    if len(factor) != len(weight) or not np.isfinite(factor).all():
        return False
    weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    new = network.constant(weight.astype(np.float32), "fused")
    added = network.constant(np.asarray(bias, np.float32), "fused")
    del before.input[1:]
    before.input.extend([new, added])
    return True


def _constants(constants: Mapping[str, Array], names: list[str]) -> list[Array] | None:
    """Constants in float64; None where one is computed or not float32."""
    found = [constants.get(name) for name in names]
    if any(array is None or array.dtype != np.float32 for array in found):
        return None
    return [np.asarray(array, np.float64) for array in found if array is not None]
