"""Graphs mended on load: once, kept beside each other, and proven equal on random inputs or left alone.

What is mended: float16 becomes float32, in which processors compute; what is constant is computed; modulated
convolutions get fixed weights; what depends on the identity alone becomes a network of its own; the batch
axis is opened. A file in which none of these is needed is used as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mien.errors import ModelError
from mien.models import (
    graph_file,
    keep,
    mend_batch,
    mend_fold,
    mend_order,
    mend_proof,
    mend_split,
    mend_style,
    records,
)
from mien.models.card import Card, Tensor
from mien.models.graph import Dims, Network, Port
from mien.models.mend_batch import Stuck
from mien.models.mend_proof import Evaluate
from mien.types import Array, Float32

VERSION = 3
"""Of the rules: what was mended by other ones is mended anew."""
PROBE = 64
"""Pixels to try where neither file nor card says how many."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The files to load for a network."""

    network: Path
    """The file itself where nothing was mended."""
    source: Path | None
    """Network that depends on the input `source` alone; what it gives are inputs of `network`."""
    inputs: tuple[str, ...]
    """Names of the inputs of `network`."""
    batched: bool
    """Whether `network` takes and gives any number of rows; shown by a run with several."""
    notes: tuple[str, ...] = ()
    """What was done, or left alone and why."""


def mended(card: Card, path: Path, kept: Path, evaluate: Evaluate) -> Graph:
    """A network's files, mended where that pays and can be proven.

    Args:
        card: Says which inputs have a batch axis and how large they are.
        path: Its ONNX file.
        kept: Folder in which mended files and what is known about them are kept.
        evaluate: Runs a file in float32.

    Raises:
        ModelError: The file is absent, broken, hostile, or uses operators that nobody knows.
    """
    places = _Places(card, path, kept)
    found = places.read()
    if found is None:
        with _alone(places.lock):  # another process may be at it, with files of the same names
            found = places.read()
            if found is None:
                found = _Mending(card, path, places, evaluate).graph()
                places.write(found)
    return found


def last_matrix(path: Path, kept: Path) -> Float32:
    """The square matrix that is a graph's last initializer: of a swapper, what embeddings are multiplied by.

    Args:
        path: An ONNX file.
        kept: Folder in which the matrix is kept, so that the file is searched once.

    Returns:
        (D, D) float32.

    Raises:
        ModelError: The file cannot be read, or ends with something else.
    """
    stamp = f"{VERSION} {_identity(path, '')}"
    place = kept / f"{path.stem}.{_short(str(path.resolve()))}.matrix"
    blob = keep.read(place, stamp)
    if blob is not None:
        return np.asarray(np.load(io.BytesIO(blob), allow_pickle=False), np.float32)
    network = graph_file.read(path)
    matrix = network.constants.get(network.last)
    if matrix is None or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind != "f":
        shape = "absent" if matrix is None else f"{matrix.dtype} {matrix.shape}"
        raise ModelError(path, f"its last initializer is no square matrix but {shape}", graph_file.AGAIN)
    found = np.array(matrix, np.float32)
    buffer = io.BytesIO()
    np.save(buffer, found)
    keep.write(place, stamp, buffer.getvalue())
    return found


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _identity(path: Path, sha256: str) -> str:
    """What tells a file from another one, without reading it.

    Raises:
        ModelError: It is absent.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ModelError(path, f"cannot be read: {error.strerror or error}", "Check the path.") from error
    return f"{path.name} {state.st_size} {state.st_mtime_ns} {sha256}"


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep others out; where the lock cannot be made nothing can be kept either, so nobody is in the way."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(records.hold(lock))
        yield


class _Places:
    """Where a network's mended files are kept."""

    def __init__(self, card: Card, path: Path, kept: Path) -> None:
        self.path = path
        self.kept = kept
        shapes = [(t.name, t.shape, t.dtype, t.optional) for t in (*card.inputs, *card.outputs)]
        self.stamp = f"{VERSION} {_identity(path, card.network.sha256)} {shapes}"
        self.stem = f"{path.stem}.{_short(str(path.resolve()))}"
        self.network = kept / f"{self.stem}.{_short(self.stamp)}.onnx"
        self.source = kept / f"{self.stem}.{_short(self.stamp)}.source.onnx"
        self.wide = kept / f"{self.stem}.{_short(self.stamp)}.wide.onnx"
        self.record = kept / f"{self.stem}.{_short(self.stamp)}.mended"
        self.lock = kept.parent / "locks" / f"{self.stem}.lock"

    def read(self) -> Graph | None:
        """What is kept, where its files are there and whole."""
        blob = keep.read(self.record, self.stamp)
        if blob is None:
            return None
        known = json.loads(blob)
        for name, size in known["sizes"].items():
            try:
                if (self.kept / name).stat().st_size != size:
                    return None
            except OSError:
                return None
        return Graph(
            network=self.network if self.network.name in known["sizes"] else self.path,
            source=self.source if self.source.name in known["sizes"] else None,
            inputs=tuple(known["inputs"]),
            batched=bool(known["batched"]),
            notes=tuple(known["notes"]),
        )

    def write(self, graph: Graph) -> None:
        """Keep what is known, and sweep what other rules or an older file left."""
        files = [p for p in (graph.network, graph.source) if p is not None and p != self.path]
        known = {
            "sizes": {p.name: p.stat().st_size for p in files},
            "inputs": graph.inputs,
            "batched": graph.batched,
            "notes": graph.notes,
        }
        keep.write(self.record, self.stamp, json.dumps(known).encode())
        for old in (
            *self.kept.glob(f"{_literal(self.stem)}.*"),
            *self.kept.glob(f".{_literal(self.stem)}.*"),
        ):
            if old not in (*files, self.record) and not old.name.endswith(".matrix"):
                self.drop(old)

    def drop(self, *files: Path) -> None:
        """Remove files where that can be done."""
        for file in files:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _literal(name: str) -> str:
    """A name in which no character has a meaning of its own when matched."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


@dataclass(slots=True)
class _Parts:
    """A graph on its way."""

    network: Network
    source: Network | None = None
    freed: bool = False
    done: list[str] = field(default_factory=list)
    """What was done to it that is worth a file."""

    def copy(self) -> _Parts:
        source = self.source.copy() if self.source else None
        return _Parts(self.network.copy(), source, self.freed, list(self.done))


Step: TypeAlias = Callable[[_Parts], str]
"""Changes a graph; what it has done, if that is worth a file. It raises `Stuck` where it cannot."""


class _Mending:
    """The mending of one file."""

    def __init__(self, card: Card, path: Path, places: _Places, evaluate: Evaluate) -> None:
        self.card = card
        self.places = places
        self.evaluate = evaluate
        self.path = path
        self.notes: list[str] = []
        self.network = graph_file.read(path)
        self.pairs: list[tuple[Port, Tensor]] = []
        self.given: dict[str, Array] = {}
        self.wanted: list[Array] = []

    def graph(self) -> Graph:
        """The whole way."""
        try:
            self.pairs, free = _fixed(self.card, self.network)
            self.given = mend_proof.inputs(self.card, self.pairs)
            self.wanted = self._rows(lambda given: self._run(self.path, given))
        except Stuck as stuck:
            return self._unchanged(False, f"left alone: {stuck}")
        batched = self._open()
        reason = self.network.odd or free or self._needless(batched)
        if reason:
            return self._unchanged(batched, f"left alone: {reason}")
        parts = self._mended()
        if not parts.done or (batched and not parts.freed):
            return self._unchanged(batched)
        return Graph(
            network=self.places.network,
            source=self.places.source if parts.source is not None else None,
            inputs=tuple(port.name for port in parts.network.inputs),
            batched=parts.freed,
            notes=tuple(self.notes),
        )

    def _unchanged(self, batched: bool, *notes: str) -> Graph:
        self.places.drop(self.places.network, self.places.source)
        inputs = tuple(port.name for port in self.network.inputs)
        return Graph(self.path, None, inputs, batched, (*self.notes, *notes))

    def _needless(self, batched: bool) -> str:
        """Why there is nothing to do; empty where there is."""
        if not batched or self._splits():
            return ""
        folded = self.network.copy()
        mend_fold.fold(folded)
        if mend_style.modulated(folded):
            return ""
        return "" if mend_fold.halved(self.network) else "it takes any number of items as it is"

    def _splits(self) -> bool:
        names = [port.name for port, tensor in self.pairs if not tensor.optional]
        return mend_split.SOURCE in names and len(names) > 1

    def _open(self) -> bool:
        """Whether the file itself takes several items and does with each what it does with one."""
        named = {port.name for port, tensor in self.pairs if not tensor.optional}
        if any(isinstance((p.shape or (1,))[0], int) for p in self.network.inputs if p.name in named):
            return False
        try:
            found = self._run(self.path, self.given)
        except Stuck:
            return False
        rows = all(array.ndim and len(array) == mend_proof.ROWS for array in found)
        return rows and mend_proof.error(found, self.wanted) <= mend_proof.EXACT

    def _mended(self) -> _Parts:
        """The graph after every step that can be taken and proven."""
        base = _Parts(self.network)
        fixed = {port.name: port for port, _ in self.pairs}
        base.network.inputs = [fixed[port.name] for port in base.network.inputs]
        base = self._widened(base)
        steps = (self._fold, self._order, self._style, self._split, self._free)
        parts = base.copy()
        for step in steps:
            parts = self._step(parts, step)
        if parts.done == base.done and not base.done:
            return parts
        if self._difference(parts) > mend_proof.EXACT:
            parts = self._one_by_one(base, steps)
        self.notes += parts.done
        return parts

    def _one_by_one(self, base: _Parts, steps: Sequence[Step]) -> _Parts:
        """The graph with those steps that hold, each of which is proven."""
        parts = base.copy()
        for step in steps:
            trial = self._step(parts, step)
            apart = self._difference(trial)
            if apart <= mend_proof.EXACT:
                parts = trial
            else:
                self.notes.append(f"left alone: {_name(step)} changes results by {apart:.1g}")
        if parts.done:
            self._difference(parts)  # the files written last may be others
        return parts

    def _step(self, parts: _Parts, step: Step) -> _Parts:
        """The graph after a step, or as it was where that cannot be taken."""
        trial = parts.copy()
        try:
            note = step(trial)
        except (Stuck, ValueError, KeyError, IndexError) as error:  # a graph that shape inference gets wrong
            note = f"left alone: {_name(step)}: {error}"
            if note not in self.notes:
                self.notes.append(note)
            return parts
        if note:
            trial.done.append(note)
        return trial

    def _fold(self, parts: _Parts) -> str:
        mend_fold.fold(parts.network)
        return ""

    def _order(self, parts: _Parts) -> str:
        mend_order.reorder(parts.network)
        return ""

    def _style(self, parts: _Parts) -> str:
        if not mend_style.modulated(parts.network):
            return ""
        count = mend_style.rewrite(parts.network)
        left = mend_style.modulated(parts.network)
        return f"{count} modulated convolutions got fixed weights" + (f", {left} did not" if left else "")

    def _split(self, parts: _Parts) -> str:
        if not self._splits():
            return ""
        parts.source, parts.network, size = mend_split.split(parts.network)
        return f"what depends on the source alone is a network of its own, {size} numbers"

    def _free(self, parts: _Parts) -> str:
        shared = {port.name for port, tensor in self.pairs if tensor.optional}
        named = _named(self.card.outputs, self.network.outputs)
        shapes = {name: tensor.shape for name, tensor in named.items()}
        for part in (parts.network, parts.source):
            if part is not None:
                names = [port.name for port in part.inputs if port.name not in shared]
                mend_batch.free(part, names, shapes if part is parts.network else {})
        parts.freed = True
        return "the batch axis is open"

    def _widened(self, base: _Parts) -> _Parts:
        """The graph in float32, which everything after is compared with."""
        wide = base.copy()
        if not mend_fold.halved(wide.network):
            return base
        mend_fold.widen(wide.network)
        halves, self.given = (
            self.given,
            {
                name: array.astype(np.float32) if array.dtype == np.float16 else array
                for name, array in self.given.items()
            },
        )
        try:
            graph_file.write(wide.network, self.places.wide)
            wide.network = graph_file.read(self.places.wide)  # mapped, where it was in memory
            found = self._rows(lambda given: self._run(self.places.wide, given))
            apart = mend_proof.error(found, self.wanted), mend_proof.spread(found, self.wanted)
        except (Stuck, OSError, ValueError):
            apart = float("inf"), float("inf")
        if apart[0] > mend_proof.ROUNDED[0] or apart[1] > mend_proof.ROUNDED[1]:
            self.given = halves
            self.notes.append(
                f"left alone: in float32 results differ by {apart[0]:.1g}, mostly {apart[1]:.1g}"
            )
            return base
        self.wanted = found
        wide.done.append(
            f"float16 became float32, which changes results by {apart[0]:.1g}, mostly {apart[1]:.1g}"
        )
        return wide

    def _difference(self, parts: _Parts) -> float:
        """How far a graph's results are from what they should be, after writing its files."""
        places = self.places
        try:
            graph_file.write(parts.network, places.network)
            if parts.source is not None:
                graph_file.write(parts.source, places.source)
            else:
                places.drop(places.source)
            parts.network.release()
            if parts.freed:
                return mend_proof.error(self._both(parts, self.given), self.wanted)
            return mend_proof.error(self._rows(lambda given: self._both(parts, given)), self.wanted)
        except Stuck:
            return float("inf")
        except (OSError, ValueError) as error:
            self.notes.append(f"left alone: {error}")
            return float("inf")

    def _both(self, parts: _Parts, given: Mapping[str, Array]) -> list[Array]:
        """What a graph gives, which may be cut in two."""
        known = dict(given)
        if parts.source is not None:
            results = self._run(self.places.source, {mend_split.SOURCE: given[mend_split.SOURCE]})
            known.update(zip((p.name for p in parts.source.outputs), results, strict=True))
        return self._run(self.places.network, {p.name: known[p.name] for p in parts.network.inputs})

    def _rows(self, run: Callable[[Mapping[str, Array]], list[Array]]) -> list[Array]:
        """Results of one item after the other, joined."""
        rows = [run(mend_proof.row(self.given, self.pairs, k)) for k in range(mend_proof.ROWS)]
        return [
            np.concatenate([np.atleast_1d(array) for array in arrays]) for arrays in zip(*rows, strict=True)
        ]

    def _run(self, path: Path, given: Mapping[str, Array]) -> list[Array]:
        """Run a file.

        Raises:
            Stuck: It cannot be run.
        """
        try:
            return self.evaluate(path, given)
        except Exception as error:  # engines have exceptions of their own
            text = str(error).splitlines()
            raise Stuck(f"it cannot be run: {text[0] if text else type(error).__name__}") from error


def _name(step: Step) -> str:
    return step.__name__.strip("_")


def _named(tensors: Sequence[Tensor], ports: Sequence[Port]) -> dict[str, Tensor]:
    """What a card says about the tensors of a file; those without a name are in the file's order."""
    names = [tensor.name or (ports[k].name if k < len(ports) else "") for k, tensor in enumerate(tensors)]
    return dict(zip(names, tensors, strict=True))


def _fixed(card: Card, network: Network) -> tuple[list[tuple[Port, Tensor]], str]:
    """The file's inputs for one item, each with what the card says about it; and what length is open in both.

    Raises:
        Stuck: File and card do not fit.
    """
    by_name = _named(card.inputs, network.inputs)
    found = []
    free = ""
    for port in network.inputs:
        tensor = by_name.get(port.name)
        if tensor is None or port.shape is None:
            raise Stuck(f"its card does not know the input {port.name}")
        if tensor.optional:
            shape = tuple(1 if isinstance(n, str) else n for n in port.shape)
        else:
            if len(port.shape) != len(tensor.shape) + 1 or port.shape[0] not in (1, *_texts(port.shape)):
                raise Stuck(f"its input {port.name} has shape {port.shape}")
            lengths = [_length(port.name, a, b) for a, b in zip(port.shape[1:], tensor.shape, strict=True)]
            if -1 in lengths:
                free = free or f"a length of its input {port.name} is open"
            side = card.pixels.side if card.pixels else PROBE
            shape = (1, *(side if n < 0 else n for n in lengths))
        found.append((Port(port.name, port.type, shape), tensor))
    return found, free


def _texts(shape: Dims) -> tuple[str, ...]:
    return tuple(n for n in shape if isinstance(n, str))


def _length(name: str, in_file: int | str, on_card: int) -> int:
    """Of an axis; -1 where it is open in file and card."""
    if isinstance(in_file, str):
        return on_card
    if on_card not in (-1, in_file):
        raise Stuck(f"its input {name} has a length of {in_file} where the card says {on_card}")
    return in_file
