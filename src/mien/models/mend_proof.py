"""Whether a mended graph still is what it was: decided by running both on random inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from onnx import helper

from mien.models.card import Card, Tensor
from mien.models.graph import Port
from mien.types import Array

Evaluate: TypeAlias = Callable[[Path, Mapping[str, Array]], list[Array]]
"""Runs an ONNX file on the processor in float32; gives all its outputs in the file's order. It may raise
anything; a run that fails proves nothing."""

ROWS = 3
"""Items that a proof runs."""
EXACT = 1e-5
"""Largest difference, as a share of the largest value, between two orders of the same float32 arithmetic."""
ROUNDED = (1e-1, 1e-2)
"""The same where one of both rounds to float16 between nodes, and the root of the mean squared difference as
a share of that of the values: rounding is seldom large and never large everywhere."""


def inputs(card: Card, ports: Sequence[tuple[Port, Tensor]]) -> dict[str, Array]:
    """Random inputs, the same each time: what has a batch axis has `ROWS` rows.

    Args:
        card: Says in which range its pictures are.
        ports: A file's inputs and what the card says about them; all lengths but the batch's are known.
    """
    rng = np.random.default_rng(0)
    found: dict[str, Array] = {}
    for port, tensor in ports:
        rest = port.shape[1:] if port.shape else ()
        shape = tuple(int(n) for n in (port.static or (1,) if tensor.optional else (ROWS, *rest)))
        if tensor.optional:
            value = np.full(shape, 0.5)
        elif len(rest) == 1:
            value = rng.standard_normal(shape)
            value /= np.linalg.norm(value, axis=1, keepdims=True)
        else:
            value = rng.random(shape)
            if card.pixels is not None:
                value = (value - card.pixels.mean[0]) / card.pixels.std[0]
        found[port.name] = value.astype(helper.tensor_dtype_to_np_dtype(port.type))
    return found


def row(given: Mapping[str, Array], ports: Sequence[tuple[Port, Tensor]], k: int) -> dict[str, Array]:
    """One item of a batch of inputs."""
    shared = {port.name for port, tensor in ports if tensor.optional}
    return {name: array if name in shared else array[k : k + 1] for name, array in given.items()}


def error(found: Sequence[Array], wanted: Sequence[Array]) -> float:
    """Largest difference of any output as a share of its largest value; infinite where sizes differ."""
    if len(found) != len(wanted):
        return float("inf")
    return max((_share(a, b) for a, b in zip(found, wanted, strict=True)), default=0.0)


def spread(found: Sequence[Array], wanted: Sequence[Array]) -> float:
    """Root of the mean squared difference as a share of that of the values, of the worst output."""
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        wide = b.astype(np.float64).ravel()
        apart = np.linalg.norm(a.astype(np.float64).ravel() - wide)
        worst = max(worst, float(apart / max(np.linalg.norm(wide), np.finfo(float).tiny)))
    return worst


def _share(found: Array, wanted: Array) -> float:
    """Of one output; infinite where it is not finite, too."""
    if found.size != wanted.size:
        return float("inf")
    if not wanted.size:
        return 0.0
    kind = np.dtype(np.float32 if wanted.dtype.kind == "f" else np.float64)
    a: Array = found.ravel().astype(kind, copy=False)
    b: Array = wanted.ravel().astype(kind, copy=False)
    apart, most = float(np.abs(a - b).max()), float(np.abs(b).max())
    share = 0.0 if apart == 0.0 else apart / most if most else float("inf")
    return share if np.isfinite(share) else float("inf")
