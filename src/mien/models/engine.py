"""What an engine is: a library that has loaded a network and runs it.

Engines differ in what they read and how they compute; everything else (cards, batches, memory, choice) is
the session's business. `models.engines` knows which there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np

from mien.errors import RuntimeUnavailable
from mien.images.operations import is_tensor, namespace
from mien.models.card import Tensor
from mien.types import Array

EngineName: TypeAlias = Literal[
    "openvino",
    "onnxruntime",
    "torch",
    "cuda",
    "tensorrt",
    "tensorrt-rtx",
    "migraphx",
    "coreml",
    "directml",
]
Precision: TypeAlias = Literal["f32", "bf16", "f16"]
WINOGRAD = "winograd"
"""Word of `Candidate.way` for what `mien.models.winograd` does."""
Call: TypeAlias = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Input name to array with the prepared number of rows, of the port's type; output name to float32 array."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a network."""

    engine: EngineName
    precision: Precision
    way: str = ""
    """Words for what else is told to ONNX Runtime on a card: "nhwc", channels last; "tf32", float32
    multiplied with eleven bits; "graph", runs recorded as CUDA graphs. To OpenVINO: "4 threads", more than
    a network of its size has by itself; "winograd", convolutions with fewer multiplications."""

    @property
    def exact(self) -> bool:
        """Whether everything is computed in float32."""
        return self.precision == "f32" and "tf32" not in self.way.split()

    @property
    def threads(self) -> int:
        """Processor threads that its way says; 0 where it says nothing of them."""
        count, _, word = self.way.partition(" ")
        return int(count) if word == "threads" else 0

    def __str__(self) -> str:
        return f"{self.engine} {self.precision} {self.way}".rstrip()


class Inapplicable(RuntimeUnavailable):
    """A way to run a network that makes no difference to this one."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output as the file has it."""

    shape: tuple[int, ...]
    """With the batch axis; -1 where it is open."""
    dtype: str
    """NumPy's name of the type."""

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join('any' if d < 0 else str(d) for d in self.shape)})"


@dataclass(frozen=True, slots=True)
class Network:
    """A file to load, and what an engine has to know of its card."""

    name: str
    """Of the card."""
    path: Path
    stamp: str
    """Changes with the file's contents."""
    inputs: tuple[Tensor, ...]
    """As the card says; the file may have others, which have a batch axis."""
    outputs: tuple[Tensor, ...]
    threads: int
    kept: Path
    """Folder for what was compiled."""
    batched: bool = True
    """Whether several rows at once may be tried; false where they are known to go wrong."""
    device: str = ""
    """Where it runs: cpu, cuda or cuda:1; empty, for torch, for a card where there is one."""
    memory: int = 0
    """Bytes that its layers may take on a card; 0 for no limit."""
    abreast: int = 1
    """Rows that OpenVINO runs side by side, each on one thread."""

    @property
    def is_onnx(self) -> bool:
        """Whether the file is ONNX, whatever it is called."""
        return self.path.suffix not in (".tflite", ".xml")

    @property
    def bytes(self) -> int:
        """Size of the file, and of the weights beside it."""
        weights = self.path.with_suffix(".bin")
        beside = weights.stat().st_size if self.path.suffix == ".xml" and weights.is_file() else 0
        return self.path.stat().st_size + beside


class Engine(Protocol):
    """A loaded network."""

    label: str
    """Name, version, device and precision, for reports."""
    inputs: Mapping[str, Port]
    """In the file's order."""
    outputs: Mapping[str, Port]
    """In the file's order."""

    def prepare(self, batch: int) -> Call:
        """A function for exactly this many rows; each function is called by one thread at a time."""
        ...

    def joins(self, batch: int) -> bool:
        """Whether it sees that many rows at once, rather than one after the other."""
        ...

    def keep(self, sizes: Sequence[int]) -> None:
        """Let go of what was compiled for other batch sizes."""
        ...


def assigned(tensors: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Which of a card's tensors each of a file's names is.

    Named tensors go by name; unnamed ones take the remaining names in order. Whatever finds no partner is
    left out.
    """
    known = {tensor.name: tensor for tensor in tensors if tensor.name}
    unnamed = iter([tensor for tensor in tensors if not tensor.name])
    found: dict[str, Tensor] = {}
    for name in names:
        tensor = known[name] if name in known else next(unnamed, None)
        if tensor is not None:
            found[name] = tensor
    return found


def whole(network: Network, names: Sequence[str]) -> frozenset[str]:
    """The inputs that have no batch axis."""
    return frozenset(name for name, tensor in assigned(network.inputs, names).items() if tensor.optional)


def singly(call: Call, batch: int, undivided: frozenset[str], most: int = 1) -> Call:
    """A call for several rows, arrays or tensors, out of one for fewer.

    Args:
        call: Takes up to `most` rows.
        batch: Rows that are given.
        undivided: Inputs without a batch axis.
        most: Rows that `call` takes at once.
    """

    def part(array: Array, start: int) -> Array:
        piece = array[start : start + most]
        return piece if is_tensor(piece) else np.ascontiguousarray(piece)

    def rows(inputs: Mapping[str, Array]) -> dict[str, Array]:
        results = [
            call({n: a if n in undivided else part(a, k) for n, a in inputs.items()})
            for k in range(0, batch, most)
        ]
        join = namespace(next(iter(results[0].values()))).concat
        return {name: join([result[name] for result in results]) for name in results[0]}

    return rows
