"""OpenVINO on the processor: ONNX, TFLite and its own IR, in float32, bfloat16 or float16."""

from __future__ import annotations

import contextlib
import glob
import importlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mien.errors import ModelError, RuntimeUnavailable
from mien.models import keep, winograd
from mien.models.budget import give_back, let_go
from mien.models.engine import (
    WINOGRAD,
    Call,
    Candidate,
    Inapplicable,
    Network,
    Port,
    Precision,
    assigned,
    singly,
    whole,
)
from mien.models.store import AGAIN
from mien.types import Array

if TYPE_CHECKING:
    import openvino as ov

KEPT_BYTES = 64_000_000
"""What is compiled from larger files is not kept, only what it is compiled from: it takes their size on disk,
and a second to make anew."""

PAIR = 2
"""Rows of a large network side by side: on half of the threads each they wait less for each other than all
threads do for the slowest in every layer, while decoder and encoder take turns with them."""

Options: TypeAlias = Mapping[str, str | int | bool]
"""Property of OpenVINO to its value."""
_CAPABILITY: Mapping[Precision, str] = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
_TYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "i64": "int64", "i32": "int32", "u8": "uint8"}


def _library() -> ModuleType:
    """OpenVINO without its telemetry.

    Importing it would report that to Google Analytics, from a forked process that also keeps every lock and
    pipe of ours open meanwhile. It does without where the package that sends cannot be imported.

    Raises:
        ImportError: It is absent.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


@cache
def _core() -> ov.Core:
    """OpenVINO itself, one for the process and never let go.

    Its processor plugin gives the thread that makes it a stack for signals and frees that with itself: a
    signal that comes afterwards, Ctrl-C say, kills the process.
    """
    core: ov.Core = _library().Core()
    return core


def facts() -> tuple[str, str, tuple[Precision, ...]]:
    """Version of the library, name of the processor, and what arithmetic it has; empty where it is absent."""
    try:
        openvino = _library()
    except ImportError:
        return "", "", ()
    core = _core()
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    found: tuple[Precision, ...] = tuple(p for p, name in _CAPABILITY.items() if name in has)
    return _version(openvino), str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(), found


class OpenVino:
    """A network in OpenVINO, compiled for each batch size on demand.

    Raises:
        RuntimeUnavailable: The library or the precision is absent, or the way is none for this network.
        ModelError: The file cannot be read or compiled.
    """

    def __init__(self, network: Network, candidate: Candidate) -> None:
        try:
            openvino = _library()
        except ImportError as error:
            raise RuntimeUnavailable(
                network.name, "OpenVINO is absent", "Install mien with its dependencies."
            ) from error
        self._core = _core()
        self._network = network
        self._precision, self._way, self._ending = candidate.precision, candidate.way, _suffix(candidate)
        self._own = _own(network, candidate)
        self._threads = candidate.threads or network.threads
        has = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if _CAPABILITY[candidate.precision] not in has:
            raise RuntimeUnavailable(
                network.name,
                f"this processor does not compute in {candidate.precision}",
                "Set device.precision to f32 or auto.",
            )
        self._options: Options = {
            "INFERENCE_PRECISION_HINT": candidate.precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            # Bound to its core a thread waits for the decoder's there while other cores are free.
            "ENABLE_CPU_PINNING": False,
        }
        # The graph depends on the library and the processor, not only on the file.
        device = [self._core.get_property("CPU", "FULL_DEVICE_NAME"), has]
        rules = f" {WINOGRAD} {winograd.VERSION}" if candidate.way == WINOGRAD else ""
        self._stamp = (
            f"{openvino.__version__} {device} {sorted(self._options.items())}{rules} {network.stamp}"
        )
        self._own_stamp = f"{openvino.__version__}{rules} {network.stamp}"
        self._compiled: dict[int, ov.CompiledModel | None] = {}
        self._wide: ov.CompiledModel | None = None
        self._paired = False
        first = self._restored(1) if self._keeps else None
        self._compiled |= {} if first is None else {1: first}
        source = self._read() if first is None else first
        self._names = _names(network, source)
        self.inputs: Mapping[str, Port] = {
            n: _port(p) for n, p in zip(self._names[0], source.inputs, strict=True)
        }
        self.outputs: Mapping[str, Port] = {
            n: _port(p) for n, p in zip(self._names[1], source.outputs, strict=True)
        }
        self._whole = whole(network, self._names[0])
        word = f"{WINOGRAD} " if candidate.way == WINOGRAD else ""
        self.label = f"OpenVINO {_version(openvino)} {word}CPU {candidate.precision}"

    def prepare(self, batch: int) -> Call:
        """An infer request of its own for this batch size, or one a row where they run side by side."""
        # A row left over from pairs runs as they do: in other threads some layers round differently, and it
        # would take a second copy of the weights.
        streams = PAIR if batch == 1 and self._paired else self._streams(batch)
        if streams:
            return self._abreast(batch, streams)
        compiled = self._compile(batch)
        if compiled is None:
            return singly(self.prepare(1), batch, self._whole)
        request = compiled.create_infer_request()
        inputs, outputs = self._names

        def call(given: Mapping[str, Array]) -> dict[str, Array]:
            request.infer({k: given[name] for k, name in enumerate(inputs)}, share_inputs=True)
            # The request reuses its output memory.
            return {
                name: request.get_output_tensor(k).data.astype(np.float32) for k, name in enumerate(outputs)
            }

        return call

    def _streams(self, batch: int) -> int:
        """How many rows are under way at once; 0 where as many are not run side by side."""
        if self._large:
            return PAIR if batch == PAIR <= self._threads else 0
        return self._network.abreast if 1 < batch <= self._network.abreast else 0

    def _abreast(self, batch: int, streams: int) -> Call:
        """Rows side by side, each on threads of its own."""
        if self._wide is None:
            threads = self._threads if self._large else streams
            own = {**self._options, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
            self._wide = self._restored(1, own) if self._keeps else None
            self._wide = self._wide or self._built(1, own)
        if self._wide is None:
            return singly(self.prepare(1), batch, self._whole)
        requests = [self._wide.create_infer_request() for _ in range(batch)]
        inputs, outputs = self._names

        def call(given: Mapping[str, Array]) -> dict[str, Array]:
            begun = []
            try:
                for k, request in enumerate(requests):
                    row = [given[n] if n in self._whole else given[n][k : k + 1] for n in inputs]
                    request.start_async(dict(enumerate(row)), share_inputs=True)
                    begun.append(request)
            finally:
                for request in begun:
                    request.wait()
            return {
                name: np.concatenate([r.get_output_tensor(k).data for r in requests]).astype(np.float32)
                for k, name in enumerate(outputs)
            }

        return call

    def joins(self, batch: int) -> bool:
        """Whether it sees that many rows at once, or side by side; compiles for them."""
        return bool(self._streams(batch)) or self._compile(batch) is not None

    def keep(self, sizes: Sequence[int]) -> None:
        """Let go of what was compiled for other batch sizes."""
        self._compiled = {size: c for size, c in self._compiled.items() if c is None or size in sizes}
        self._paired = self._large and any(size == PAIR == self._streams(size) for size in sizes)
        if not any(self._streams(size) for size in sizes):
            self._wide = None

    @property
    def _keeps(self) -> bool:
        return not self._large

    @property
    def _large(self) -> bool:
        return self._network.bytes > KEPT_BYTES

    def _compile(self, batch: int) -> ov.CompiledModel | None:
        """The network for a batch size; None where it takes one row only."""
        if batch not in self._compiled:
            restored = self._restored(batch) if self._keeps else None
            self._compiled[batch] = restored or self._built(batch)
        return self._compiled[batch]

    def _restored(self, batch: int, options: Options | None = None) -> ov.CompiledModel | None:
        """What was kept for this library, machine and file; None where there is nothing whole."""
        blob = keep.read(self._network.kept / self._kept_name(batch), self._stamp)
        if blob is None:
            return None
        try:
            return self._core.import_model(blob, "CPU", options or self._options)
        except RuntimeError:
            return None  # compiled anew, then replaced

    def _kept_name(self, batch: int) -> str:
        return f"{self._network.path.name}.{batch}.{self._threads}.{self._ending}"

    def _built(self, batch: int, options: Options | None = None) -> ov.CompiledModel | None:
        """Compile, and keep the result of a small file where the folder can be written."""
        if batch > 1 and not self._network.batched:
            return None
        model = self._read()
        if not self._shaped(model, batch):
            return None
        try:
            compiled = self._core.compile_model(model, "CPU", options or self._options)
        except RuntimeError as error:
            raise self._unusable("compiled", error) from error
        if self._own is not None:  # what was made of it is all that is needed
            let_go(self._own.with_suffix(".bin"))
            give_back()
        if self._keeps:
            blob = compiled.export_model().getvalue()
            keep.write(self._network.kept / self._kept_name(batch), self._stamp, blob)
        return compiled

    def _read(self) -> ov.Model:
        """The file; a large one that is not computed as it is is kept as it is computed, in 16 bits if so.

        What OpenVINO reads from ONNX stays in memory beside what is compiled from it; its own files it maps,
        so that they can leave again. Float16 has more digits than bfloat16.
        """
        network, kept = self._network, self._own
        if kept is None:
            return self._rewritten(self._parsed(network.path))
        if keep.read(kept.with_suffix(".stamp"), self._own_stamp) is not None:
            with contextlib.suppress(ModelError):  # broken, or deleted by another process
                return self._parsed(kept)
        model = self._rewritten(self._parsed(network.path))
        if self._saved(model, kept):
            with contextlib.suppress(ModelError):
                return self._parsed(kept)
        return model

    def _rewritten(self, model: ov.Model) -> ov.Model:
        """The same, with fewer multiplications where the way says so."""
        if self._way != WINOGRAD:
            return model
        # Rows and columns have to be known for it, and stay what they are; the batch is open if it can be.
        if not (self._shaped(model, -1) or self._shaped(model, 1)) or not winograd.rewrite(
            model, self._precision
        ):
            raise Inapplicable(
                self._network.name,
                "it has no convolution for which Winograd's way pays",
                "Leave out the way.",
            )
        return model

    def _saved(self, model: ov.Model, path: Path) -> bool:
        """Keep a model, with weights of 16 bits for what computes in less; false where that cannot be."""
        from openvino import save_model

        try:
            path.with_suffix(".stamp").unlink(missing_ok=True)  # it does not speak for what is half new
            with tempfile.TemporaryDirectory(prefix="fetch-", dir=path.parent) as scratch:
                part = Path(scratch) / path.name
                save_model(model, part, compress_to_fp16=self._precision != "f32")
                for suffix in (".bin", ".xml"):
                    part.with_suffix(suffix).replace(path.with_suffix(suffix))
        except (OSError, RuntimeError):
            return False
        keep.write(path.with_suffix(".stamp"), self._own_stamp, b"")
        return True

    def _parsed(self, path: Path) -> ov.Model:
        try:
            with path.open("rb") as file:
                start = file.read(64).lstrip()
        except OSError as error:
            raise self._unusable("read", error) from error
        # What is neither is handed to one reader after the other, some of which write to the terminal.
        if (path.suffix == ".tflite" and start[4:8] != b"TFL3") or (
            path.suffix == ".xml" and start[:1] != b"<"
        ):
            raise self._unusable("read", ValueError(f"it is no {path.suffix[1:]} file"))
        try:
            # It goes by the ending, so a file with another one is handed over as bytes.
            known = path.suffix in (".onnx", ".tflite", ".xml")
            return self._core.read_model(path if known else path.read_bytes())
        except RuntimeError as error:
            raise self._unusable("read", error) from error

    def _unusable(self, verb: str, error: Exception) -> ModelError:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else type(error).__name__
        problem = f"{self._network.path.name} cannot be {verb}: {reason}"
        return ModelError(self._network.name, problem, AGAIN)

    def _shaped(self, model: ov.Model, batch: int) -> bool:
        """Give every input its shape for this batch size, -1 for any; false where the file is for another."""
        inputs, _ = _names(self._network, model)
        tensors = assigned(self._network.inputs, inputs)
        shapes: dict[int, list[int]] = {}
        for k, (name, port) in enumerate(zip(inputs, model.inputs, strict=True)):
            shape, tensor = list(_port(port).shape), tensors.get(name)
            bare = tensor is not None and tensor.optional
            wanted = () if tensor is None else tensor.shape
            if bare:
                start, expected = 0, wanted
            else:
                if self._network.is_onnx and shape[:1] not in ([-1], [batch]):
                    return False  # its batch axis was not mended
                start, expected = 1, wanted
                shape[:1] = [batch]
            for axis, length in enumerate(expected[: len(shape) - start], start):
                shape[axis] = length if shape[axis] < 0 else shape[axis]
            shapes[k] = shape
        if not self._network.is_onnx:
            _free_batch(model)
        try:
            model.reshape(shapes)
        except RuntimeError as error:
            if batch != 1:
                return False
            raise self._unusable("shaped", error) from error
        return batch == 1 or all(_port(port).shape[:1] in ((batch,), (-1,)) for port in model.outputs)


def discard(network: Network, candidate: Candidate) -> None:
    """Delete what was kept of a way to run a network; it is made anew when it is wanted."""
    own, name = _own(network, candidate), glob.escape(network.path.name)
    kept = [own.with_suffix(suffix) for suffix in (".stamp", ".xml", ".bin")] if own else []
    threads = candidate.threads or network.threads
    for path in (*kept, *network.kept.glob(f"{name}.*.{threads}.{_suffix(candidate)}")):
        with contextlib.suppress(OSError):
            path.unlink()


def _suffix(candidate: Candidate) -> str:
    """Precision and way, as the names of what is kept have them."""
    return f"{candidate.precision}.{WINOGRAD}" if candidate.way == WINOGRAD else candidate.precision


def _own(network: Network, candidate: Candidate) -> Path | None:
    """OpenVINO's own file of a large network; None where the given one does."""
    if network.bytes <= KEPT_BYTES or not network.is_onnx:
        return None
    words = [WINOGRAD] if candidate.way == WINOGRAD else []
    words += [] if candidate.precision == "f32" else ["f16"]
    return network.kept / ".".join([network.path.name, *words, "xml"]) if words else None


def _version(library: Any) -> str:
    return str(library.__version__).split("-")[0]


def _names(network: Network, model: Any) -> tuple[list[str], list[str]]:
    """Names of inputs and outputs: the card's, where a port has several."""
    known = {t.name for t in (*network.inputs, *network.outputs)}

    def name(port: Any) -> str:
        return next((n for n in sorted(port.names) if n in known), str(port.any_name))

    return [name(port) for port in model.inputs], [name(port) for port in model.outputs]


def _port(port: Any) -> Port:
    """A port of OpenVINO; one of no fixed rank has no axes."""
    shape = port.partial_shape
    sizes = tuple(d.get_length() if d.is_static else -1 for d in shape) if shape.rank.is_static else ()
    kind = str(port.element_type.get_type_name())
    return Port(sizes, _TYPES.get(kind, kind))


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
