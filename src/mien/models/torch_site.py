"""Where an operator stands in a graph, for whoever turns it into a torch call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from onnx import NodeProto, TensorProto

from mien.models.graph import attribute
from mien.types import Array

TYPES: dict[int, torch.dtype] = {
    int(TensorProto.FLOAT): torch.float32,
    int(TensorProto.DOUBLE): torch.float64,
    int(TensorProto.FLOAT16): torch.float16,
    int(TensorProto.BFLOAT16): torch.bfloat16,
    int(TensorProto.BOOL): torch.bool,
    int(TensorProto.INT8): torch.int8,
    int(TensorProto.INT16): torch.int16,
    int(TensorProto.INT32): torch.int32,
    int(TensorProto.INT64): torch.int64,
    int(TensorProto.UINT8): torch.uint8,
}
"""ONNX's element types that torch computes with."""


class Unsupported(Exception):  # noqa: N818
    """An operator is used in a way that this executor does not know; the text says which."""


@dataclass(frozen=True, slots=True)
class Step:
    """One torch call."""

    run: Callable[..., Any]
    """Takes tensors; gives one, or a tuple of several."""
    takes: tuple[int, ...]
    """Numbers of the node's inputs that it takes."""
    extra: tuple[torch.Tensor, ...] = ()
    """Tensors that it takes after these."""


@dataclass(frozen=True, slots=True)
class Site:
    """A node and what is known of its inputs."""

    node: NodeProto
    opset: int
    inputs: tuple[torch.Tensor | None, ...]
    """With values where they are known, otherwise on torch's `meta` device; None where there is none."""
    known: tuple[bool, ...]
    half: torch.dtype = torch.float16
    """What is computed with where the graph says float16."""

    def step(self, run: Callable[..., Any], *takes: int, extra: tuple[torch.Tensor, ...] = ()) -> Step:
        """A call that takes some inputs; all there are where none is named."""
        return Step(run, takes or tuple(k for k, t in enumerate(self.inputs) if t is not None), extra)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the node."""
        return attribute(self.node, name, default)

    def has(self, k: int) -> bool:
        """Whether the node has this input."""
        return k < len(self.inputs) and self.inputs[k] is not None

    def tensor(self, k: int = 0) -> torch.Tensor:
        """An input; only its shape and type count."""
        found = self.inputs[k] if k < len(self.inputs) else None
        if found is None:
            raise Unsupported(f"its input {k} is missing")
        return found

    def shape(self, k: int = 0) -> tuple[int, ...]:
        """Shape of an input."""
        return tuple(int(n) for n in self.tensor(k).shape)

    def is_known(self, k: int) -> bool:
        """Whether an input's values are known."""
        return self.has(k) and self.known[k]

    def array(self, k: int) -> Array:
        """Values of an input, which must be known."""
        found = self.tensor(k)
        if not self.known[k]:
            raise Unsupported(f"its input {k} depends on what the network is given")
        wide = found.float() if found.dtype == torch.bfloat16 else found
        return np.asarray(wide.cpu().numpy())

    def ints(self, k: int) -> list[int]:
        """Whole numbers of an input, which must be known."""
        return [int(n) for n in self.array(k).ravel()]

    def number(self, k: int, default: float) -> float:
        """The one value of an input, which must be known; the default where there is none."""
        if not self.has(k):
            return default
        values = self.array(k).ravel()
        return float(values[0]) if values.size else default

    def ints_of(self, name: str, k: int) -> list[int] | None:
        """Whole numbers that older files have as an attribute, newer ones as an input; None for neither."""
        named = self.attribute(name)
        if named is not None:
            return [int(n) for n in named]
        return self.ints(k) if self.has(k) else None

    def axis(self, default: int, k: int = 0, extra: int = 0) -> int:
        """The attribute `axis`, from 0; `extra` axes are to come."""
        axis = int(self.attribute("axis", default))
        return axis + (len(self.shape(k)) + extra if axis < 0 else 0)

    def dtype(self, kind: int) -> torch.dtype:
        """Torch's type for one of ONNX."""
        if kind not in TYPES:
            raise Unsupported(f"torch has no type for ONNX's type {kind}")
        found = TYPES[kind]
        return self.half if found == torch.float16 else found


Build: TypeAlias = Callable[[Site], Step]
"""Turns a node into a torch call; raises `Unsupported`."""


def plain(run: Callable[..., Any]) -> Build:
    """An operator that torch has just so."""
    return lambda site: site.step(run)
