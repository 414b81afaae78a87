"""Whether a file is what its card says, and what of its inputs and outputs is what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mien.errors import ModelError
from mien.images.operations import is_tensor
from mien.models.card import Card, Tensor
from mien.models.engine import Port, assigned
from mien.types import Array

_FLOATS = ("float16", "float32", "float64")
_WHOLE = ("int32", "int64", "uint8")

ADVICE = "Fetch the file that the card means, or correct the card."


class MismatchError(ModelError):
    """A file is not what its card says."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A card's tensors under the names that its file uses."""

    inputs: Mapping[str, Tensor]
    """In the card's order, without optional ones that the file lacks; also those of the part that depends on
    the identity alone."""
    outputs: Mapping[str, Tensor]
    """In the file's order."""
    network: tuple[str, ...]
    """Inputs of the network itself."""
    made: frozenset[str]
    """Those of them that another network makes out of the identity."""
    identity: tuple[str, ...]
    """Inputs of that network."""
    types: Mapping[str, str]
    """NumPy types of all inputs."""
    bare: frozenset[str]
    """Outputs without a batch axis: the network takes one row at a time."""

    @property
    def undivided(self) -> frozenset[str]:
        """Inputs without a batch axis."""
        return frozenset(name for name, tensor in self.inputs.items() if tensor.optional)

    def own(self, name: str) -> str:
        """The file's name of an input that a caller calls by the card's."""
        unnamed = [own for own, tensor in self.inputs.items() if not tensor.name]
        return unnamed[0] if not name and len(unnamed) == 1 else name

    def typed(self, names: Iterable[str], given: Mapping[str, Array]) -> dict[str, Array]:
        """Inputs in the file's own types; an engine casts tensors itself."""
        return {
            name: given[name] if is_tensor(given[name]) else given[name].astype(self.types[name], copy=False)
            for name in names
        }


def fit(
    card: Card,
    inputs: Mapping[str, Port],
    outputs: Mapping[str, Port],
    identity: Mapping[str, Port] | None = None,
    made: Mapping[str, Port] | None = None,
) -> Fit:
    """Match a card with its file.

    Args:
        card: What is expected.
        inputs: Of the network.
        outputs: Of the network.
        identity: Inputs of the network that depends on the identity alone, where there is one.
        made: Outputs of that network; they are inputs of the other one.

    Raises:
        MismatchError: Names, shapes or types differ; says what the file has and what the card expects.
    """
    made, identity = made or {}, identity or {}
    taken = {**{n: p for n, p in inputs.items() if n not in made}, **identity}
    given = assigned(card.inputs, list(taken))
    results = assigned(card.outputs, list(outputs))
    needed = [t for t in card.inputs if not t.optional]
    agree = (
        len(given) == len(taken)
        and all(any(t is g for g in given.values()) for t in needed)
        and len(results) == len(card.outputs)
        and all(_accepts(t, taken[n], t.optional) for n, t in given.items())
        and all(_accepts(t, outputs[n]) or _bare(t, outputs[n]) for n, t in results.items())
    )
    if not agree:
        raise MismatchError(
            card.name,
            f"{card.network.name} has inputs {_listed(taken)} and outputs {_listed(outputs)}, its card says "
            f"inputs {_expected(card.inputs)} and outputs {_expected(card.outputs)}",
            ADVICE,
        )
    order = {id(tensor): k for k, tensor in enumerate(card.inputs)}
    return Fit(
        inputs=dict(sorted(given.items(), key=lambda item: order[id(item[1])])),
        outputs=results,
        network=tuple(inputs),
        made=frozenset(made),
        identity=tuple(identity),
        types={n: p.dtype for n, p in {**inputs, **identity}.items()},
        bare=frozenset(n for n, t in results.items() if not _accepts(t, outputs[n])),
    )


def rows(card: Card, fits: Fit, names: Iterable[str], given: Mapping[str, Array]) -> int:
    """Number of rows of some inputs, after checking them against the card.

    Raises:
        ValueError: One is absent or has another shape or type, or they have different numbers of rows.
    """
    counts = set()
    for name in names:
        if name not in given:
            raise ValueError(f"{card.name}: input {name} is missing")
        array, tensor = given[name], fits.inputs.get(name)
        undivided = name in fits.undivided
        wanted = array.shape[1:] if tensor is None else tensor.shape
        dtype = "float32" if tensor is None else tensor.dtype
        kind = str(array.dtype).removeprefix("torch.")
        if not same_shape(wanted, array.shape if undivided else array.shape[1:]) or kind != dtype:
            expected = f"{dtype} {wanted if undivided else ('N', *wanted)}"
            raise ValueError(f"{card.name}: {name}: expected {expected}, got {kind} {tuple(array.shape)}")
        if not undivided:
            counts.add(len(array))
    if len(counts) != 1:
        raise ValueError(f"{card.name}: inputs of different batch sizes: {sorted(counts)}")
    return counts.pop()


def same_shape(expected: Sequence[int], found: Sequence[int]) -> bool:
    """Whether two shapes agree, where -1 in either is any length."""
    return len(expected) == len(found) and all(
        a == b or a < 0 or b < 0 for a, b in zip(expected, found, strict=True)
    )


def _accepts(tensor: Tensor, port: Port, undivided: bool = False) -> bool:
    """Whether a file's port takes or gives the card's tensor, apart from kinds of one family of types."""
    kinds = _FLOATS if tensor.dtype in _FLOATS else _WHOLE
    shape = tensor.shape if undivided else (1, *tensor.shape)
    return port.dtype in kinds and same_shape(shape, port.shape)


def _bare(tensor: Tensor, port: Port) -> bool:
    """Whether it is an output that lacks the batch axis."""
    return _accepts(tensor, port, undivided=True)


def _listed(ports: Mapping[str, Port]) -> str:
    return ", ".join(f"{name} {port}" for name, port in ports.items()) or "none"


def _expected(tensors: Iterable[Tensor]) -> str:
    """A card's tensors, written as a file's are."""
    return ", ".join(
        f"{t.name or '(any name)'} {Port(t.shape if t.optional else (-1, *t.shape), t.dtype)}"
        + (" or none" if t.optional else "")
        for t in tensors
    )
