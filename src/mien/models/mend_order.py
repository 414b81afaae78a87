"""Operations put into a cheaper order that gives the same."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from onnx import NodeProto

from mien.models.graph import Network, Port, attribute
from mien.types import Array


def reorder(network: Network) -> bool:
    """Mix channels before a picture is enlarged, not after; whether that could be done anywhere.

    A convolution of one pixel works on channels and a resize on places, with weights that sum to 1, so that
    either may come first, the bias included.

    Args:
        network: All its shapes are known. It is changed in place.
    """
    ports = network.ports()
    producers, consumers = network.producers(), network.consumers()
    given = network.given()
    changed = False
    for node in network.nodes:
        resize = producers.get(node.input[0]) if node.op_type == "Conv" else None
        if resize is None or resize.op_type != "Resize" or resize.output[0] in given:
            continue
        if len(consumers[resize.output[0]]) != 1 or not _pointwise(node, network.constants):
            continue
        if attribute(resize, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
            continue
        if not _enlarges(resize, ports) or _channels(node.output[0], ports) > _channels(node.input[0], ports):
            continue
        mixed, result = network.fresh("mixed"), node.output[0]
        node.input[0], node.output[0] = resize.input[0], mixed
        resize.input[0], resize.output[0] = mixed, result
        producers[mixed], producers[result] = node, resize
        changed = True
    if changed:
        network.order()
    return changed


def _pointwise(node: NodeProto, constants: Mapping[str, Array]) -> bool:
    """Whether a convolution sees one pixel at a time."""
    weight = constants.get(node.input[1])
    return (
        weight is not None
        and prod(weight.shape[2:]) == 1
        and not any(attribute(node, "pads", ()))
        and attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
        and all(step == 1 for step in attribute(node, "strides", ()))
        and attribute(node, "group", 1) == 1
    )


def _enlarges(node: NodeProto, ports: Mapping[str, Port]) -> bool:
    """Whether a resize leaves the channels alone and gives more pixels than it takes."""
    if len(node.input) > 3 and node.input[3]:  # by sizes, which name the channels
        return False
    a, b = (ports[name].static if name in ports else None for name in (node.input[0], node.output[0]))
    return a is not None and b is not None and a[:2] == b[:2] and prod(b) > prod(a)


def _channels(name: str, ports: Mapping[str, Port]) -> int:
    shape = ports[name].static if name in ports else None
    return shape[1] if shape else 0
