"""Engines: a card becomes a session that maps arrays to arrays.

The one module that imports inference libraries. Nothing is global: sessions live in a `Runtime` that
is passed to whoever needs it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from mien.errors import ModelError, RuntimeUnavailable
from mien.models import catalogue, keep
from mien.models.card import Card, Tensor
from mien.models.catalogue import Catalogue
from mien.models.store import AGAIN, Store
from mien.types import Array, Float32

if TYPE_CHECKING:
    import openvino as ov

EngineName: TypeAlias = Literal["openvino", "onnxruntime"]

SMALL = 4_000_000
"""Networks of fewer bytes run on one thread: a second one gains nothing and takes the decoder's."""


class Engine(Protocol):
    """A loaded network."""

    label: str
    """Name, version and precision, for reports."""
    inputs: Mapping[str, tuple[int, ...]]
    """Name to shape without the batch axis, as the file has it."""
    outputs: Mapping[str, tuple[int, ...]]

    def prepare(self, batch: int) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """A function for inputs of exactly this batch size; called by one thread at a time."""
        ...


class Session:
    """A network ready to run; may be used from several threads.

    Batches of any size are cut into the sizes on the card, so that only these are ever compiled.
    """

    def __init__(self, card: Card, engine: Engine) -> None:
        self.card = card
        self.engine = engine.label
        self._loaded = engine
        self._lock = threading.Lock()
        self._idle: dict[int, list[Callable[[Mapping[str, Array]], dict[str, Array]]]] = {}
        self._closed = False

    def run(self, inputs: Mapping[str, Array] | Array) -> dict[str, Float32]:
        """Run the network.

        Args:
            inputs: Input name to float32 (N, *shape on the card); or the array alone where the card
                has one input.

        Returns:
            Output name to float32 (N, *shape on the card).

        Raises:
            ValueError: An input is absent or has another shape.
        """
        given = inputs if isinstance(inputs, Mapping) else {self.card.inputs[0].name: inputs}
        count = self._check(given)
        parts = [
            self._step({name: array[a:b] for name, array in given.items()}, b - a)
            for a, b in _chunks(count, self.card.batches)
        ]
        if not parts:
            return {t.name: np.zeros((0, *t.shape), np.float32) for t in self.card.outputs}
        return {t.name: np.concatenate([p[t.name] for p in parts]) for t in self.card.outputs}

    def close(self) -> None:
        """Let go of everything that was compiled; `run` fails afterwards."""
        with self._lock:
            self._closed = True
            self._idle.clear()

    def _check(self, given: Mapping[str, Array]) -> int:
        """Batch size of the inputs, after checking them against the card."""
        counts = set()
        for tensor in self.card.inputs:
            if tensor.name not in given:
                raise ValueError(f"{self.card.name}: input {tensor.name} is missing")
            array = given[tensor.name]
            if array.shape[1:] != tensor.shape or array.dtype != np.float32:
                raise ValueError(
                    f"{self.card.name}: {tensor.name}: expected float32 (N, *{tensor.shape}), "
                    f"got {array.dtype} {array.shape}"
                )
            counts.add(len(array))
        if len(counts) != 1:
            raise ValueError(f"{self.card.name}: inputs of different batch sizes: {sorted(counts)}")
        return int(counts.pop())

    def _step(self, given: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """Run one batch of a compiled size on an idle copy, made where there is none."""
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.card.name}: the session is closed")
            idle = self._idle.setdefault(batch, [])
            call = idle.pop() if idle else self._loaded.prepare(batch)
        result = call({name: np.ascontiguousarray(array) for name, array in given.items()})
        with self._lock:
            if not self._closed:
                self._idle[batch].append(call)
        return result


def _chunks(count: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Cut `count` rows into runs whose lengths are all in `sizes` (falling, last 1)."""
    start = 0
    while start < count:
        step = next(size for size in sizes if size <= count - start)
        yield start, start + step
        start += step


class Runtime:
    """Sessions by card, and the machine they run on.

    Args:
        threads: Processor threads a network may use; 0 for all.
        store: Where model files come from; None for the default store.
        cards: What there is to load; None for this machine's catalogue.
    """

    def __init__(self, threads: int = 0, store: Store | None = None, cards: Catalogue | None = None) -> None:
        self.threads = threads if threads > 0 else available_threads()
        self.store = store if store is not None else Store()
        self.catalogue = cards if cards is not None else catalogue.load(self.store.home)
        self._sessions: dict[tuple[Card, str], Session] = {}
        self._lock = threading.Lock()

    def session(self, card: Card, engine: EngineName = "openvino") -> Session:
        """The session of a card, loaded on first use and kept.

        Raises:
            ModelError: The file cannot be had, read, or does not match the card.
            RuntimeUnavailable: The engine's library is absent.
        """
        with self._lock:
            key = (card, engine)
            if key not in self._sessions:
                path = self.store.locate(card)[card.network.name]
                threads = 1 if card.network.bytes < SMALL else self.threads
                loaded = _ENGINES[engine](card, path, threads, self.store.home / "compiled")
                _match(card, "input", card.inputs, loaded.inputs)
                _match(card, "output", card.outputs, loaded.outputs)
                self._sessions[key] = Session(card, loaded)
            return self._sessions[key]

    @property
    def engines(self) -> dict[str, str]:
        """Card name to engine and precision, for every session made so far."""
        with self._lock:
            return {card.name: session.engine for (card, _), session in self._sessions.items()}

    def close(self) -> None:
        """Close every session."""
        with self._lock:
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def available_threads() -> int:
    """Processor threads this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Windows and macOS have no affinity call
        return os.cpu_count() or 1


def _match(card: Card, kind: str, wanted: tuple[Tensor, ...], found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ModelError where a file's tensors are not those of its card."""
    expected = {tensor.name: tensor.shape for tensor in wanted}
    if expected != dict(found):
        raise ModelError(
            card.name,
            f"{card.network.name} has {kind}s {dict(found)}, its card says {expected}",
            AGAIN,
        )


class _OpenVino:
    """OpenVINO on the processor, for TFLite and ONNX, in float32.

    What was compiled is kept in the folder `kept`: reading it back takes a tenth of compiling it again.
    """

    def __init__(self, card: Card, path: Path, threads: int, kept: Path) -> None:
        try:
            import openvino
        except ImportError as error:
            raise RuntimeUnavailable(
                card.name, "OpenVINO is absent", "Install mien with its dependencies."
            ) from error
        self._ov = openvino
        self._core = openvino.Core()
        self._card = card
        self._path = path
        self._kept = kept
        self._options = {
            # These networks are small: exact arithmetic costs a millisecond and keeps runs reproducible.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._compiled: dict[int, ov.CompiledModel] = {}
        first = self._compile(1)
        self.inputs: Mapping[str, tuple[int, ...]] = _shapes(first.inputs)
        self.outputs: Mapping[str, tuple[int, ...]] = _shapes(first.outputs)
        self._order = list(self.outputs)
        self.label = f"OpenVINO {openvino.__version__.split('-')[0]} CPU f32"

    def prepare(self, batch: int) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """An infer request of its own for this batch size."""
        request = self._compile(batch).create_infer_request()

        def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
            request.infer(dict(inputs), share_inputs=True)
            # The request reuses its output memory.
            return {
                name: request.get_output_tensor(k).data.astype(np.float32)
                for k, name in enumerate(self._order)
            }

        return call

    def _compile(self, batch: int) -> ov.CompiledModel:
        """The network for a batch size, from the kept copy where there is one for this machine."""
        if batch not in self._compiled:
            kept = self._kept / f"{self._path.name}.{batch}.{self._options['INFERENCE_NUM_THREADS']}"
            # The graph depends on the library and the processor, not only on the file.
            asked = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
            device = [self._core.get_property("CPU", name) for name in asked]
            stamp = (
                f"{self._ov.__version__} {device} {sorted(self._options.items())} {self._card.network.sha256}"
            )
            self._compiled[batch] = self._restored(kept, stamp) or self._built(batch, kept, stamp)
        return self._compiled[batch]

    def _restored(self, kept: Path, stamp: str) -> ov.CompiledModel | None:
        """What was kept under this stamp; None where there is nothing whole."""
        blob = keep.read(kept, stamp)
        if blob is None:
            return None
        try:
            return self._core.import_model(blob, "CPU", self._options)
        except RuntimeError:
            return None  # compiled anew, then replaced

    def _built(self, batch: int, kept: Path, stamp: str) -> ov.CompiledModel:
        """Compile, and keep the result where the folder can be written."""
        try:
            model = self._core.read_model(self._path)
        except RuntimeError as error:
            raise ModelError(self._card.name, f"{self._path.name} cannot be read: {error}", AGAIN) from error
        _free_batch(model)
        model.reshape({name: [batch, *shape] for name, shape in _shapes(model.inputs).items()})
        compiled = self._core.compile_model(model, "CPU", self._options)
        keep.write(kept, stamp, compiled.export_model().getvalue())
        return compiled


def _shapes(ports: Any) -> dict[str, tuple[int, ...]]:
    """Name to shape without the batch axis."""
    return {port.any_name: _item_shape(port) for port in ports}


def _item_shape(port: Any) -> tuple[int, ...]:
    """Shape of an OpenVINO port without the batch axis; -1 where it is open."""
    return tuple(d.get_length() if d.is_static else -1 for d in list(port.partial_shape)[1:])


def _free_batch(model: Any) -> None:
    """Make reshapes keep the batch axis.

    Converters write `reshape(x, (1, -1, 16))`, which would fold a batch of N into (1, N * cells, 16), and
    where two such heads are joined mix the pictures up. With the row count fixed and the batch open,
    the same graph serves any batch.
    """
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Reshape":
            continue
        pattern = node.input_value(1).get_node()
        source, target = node.get_input_partial_shape(0), node.get_output_partial_shape(0)
        if pattern.get_type_name() != "Constant" or pattern.get_data().ravel()[0] != 1 or target.is_dynamic:
            continue
        if source[0].is_static and source[0].get_length() == 1:
            shape = [-1, *(d.get_length() for d in list(target)[1:])]
            node.input(1).replace_source_output(opset13.constant(np.array(shape, np.int64)).output(0))


class _OnnxRuntime:
    """ONNX Runtime on the processor, for ONNX, in float32."""

    def __init__(self, card: Card, path: Path, threads: int) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise RuntimeUnavailable(
                card.name, "ONNX Runtime is absent", "Install mien with its dependencies."
            ) from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception classes are not public
            raise ModelError(card.name, f"{path.name} cannot be read: {error}", AGAIN) from error
        self.inputs: Mapping[str, tuple[int, ...]] = {
            port.name: _ort_shape(port) for port in self._session.get_inputs()
        }
        self.outputs: Mapping[str, tuple[int, ...]] = {
            port.name: _ort_shape(port) for port in self._session.get_outputs()
        }
        self._fixed = any(isinstance(port.shape[0], int) for port in self._session.get_inputs())
        self.label = f"ONNX Runtime {ort.__version__} CPU f32"

    def prepare(self, batch: int) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """A function that runs the whole batch, or one item after the other where the file fixes it."""
        names = list(self.outputs)

        def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
            if not self._fixed:
                return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))
            rows = [
                self._session.run(names, {key: value[k : k + 1] for key, value in inputs.items()})
                for k in range(batch)
            ]
            return {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(names)}

        return call


def _ort_shape(port: Any) -> tuple[int, ...]:
    """Shape of an ONNX Runtime port without the batch axis; -1 where it is open."""
    return tuple(d if isinstance(d, int) else -1 for d in port.shape[1:])


def _load_openvino(card: Card, path: Path, threads: int, kept: Path) -> Engine:
    return _OpenVino(card, path, threads, kept)


def _load_onnxruntime(card: Card, path: Path, threads: int, kept: Path) -> Engine:
    """Load with ONNX Runtime, which reads ONNX only and keeps nothing."""
    if path.suffix != ".onnx":
        raise RuntimeUnavailable(
            card.name, f"ONNX Runtime cannot read {path.suffix} files", "Use the OpenVINO engine."
        )
    return _OnnxRuntime(card, path, threads)


_ENGINES: Mapping[EngineName, Callable[[Card, Path, int, Path], Engine]] = {
    "openvino": _load_openvino,
    "onnxruntime": _load_onnxruntime,
}
