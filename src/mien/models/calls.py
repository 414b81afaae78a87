"""How a session calls its engine: in which pieces, and from and to what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from mien.images import operations
from mien.models.engine import Call, Engine
from mien.types import Array


def prepared(engine: Engine, batch: int, tensor: Array | None) -> Call:
    """A function for so many rows: of arrays, or of tensors on the device of `tensor`.

    An engine that cannot take tensors gets arrays, over the host.
    """
    if tensor is None:
        return engine.prepare(batch)
    bind: Callable[[int], Call] | None = getattr(engine, "bind", None)
    if bind is not None and str(getattr(engine, "device", "")) == str(tensor.device):
        return bind(batch)
    call, there = engine.prepare(batch), operations.of(tensor)

    def over(given: Mapping[str, Array]) -> dict[str, Array]:
        found = call({name: np.ascontiguousarray(there.host(array)) for name, array in given.items()})
        return {name: there.like(array, tensor) for name, array in found.items()}

    return over


def chunks(count: int, sizes: tuple[int, ...], pads: bool) -> Iterator[tuple[int, int]]:
    """Cut `count` rows into runs whose lengths are all in `sizes` (falling, last 1).

    Where the engine pads, a rest that fills most of a size is not cut further.
    """
    start = 0
    while start < count:
        left = count - start
        step = next(size for size in sizes if size <= left)
        above = min((size for size in sizes if size > left), default=0)
        if pads and 4 * left >= 3 * above > 0:
            step = left
        yield start, start + step
        start += step


def ends(sample: Mapping[str, Array], count: int, undivided: frozenset[str]) -> list[Mapping[str, Array]]:
    """The first and the last of `count` rows, by themselves."""
    return [
        {n: np.ascontiguousarray(a if n in undivided else a[k : k + 1]) for n, a in sample.items()}
        for k in sorted({0, count - 1})
    ]
