"""ONNX Runtime: ONNX files on the processor, or on whatever its installed providers reach."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import ModelError, RuntimeUnavailable
from mien.models import binding, half_file, tensorrt, torch_lane
from mien.models.engine import Call, Candidate, Network, Port, singly, whole
from mien.models.providers import ON_NVIDIA, available, chain
from mien.models.store import AGAIN
from mien.models.torch_lane import Lane
from mien.types import Array

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


class OnnxRuntime:
    """A network in ONNX Runtime.

    Raises:
        RuntimeUnavailable: The library, the provider or the precision is absent.
        ModelError: The file cannot be read.
    """

    def __init__(self, network: Network, candidate: Candidate) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise RuntimeUnavailable(
                network.name, "ONNX Runtime is absent", "Install mien with its dependencies."
            ) from error
        provider = available(network, candidate, ort.get_available_providers())
        path = network.path if candidate.precision == "f32" else half_file.half(network)
        self._lane = torch_lane.lane(network.device) if candidate.engine in ON_NVIDIA else None
        # What is not on a card is reached by way of the processor's memory.
        self.device = str(self._lane.device) if self._lane else "" if candidate.engine in ON_NVIDIA else "cpu"
        self._session, graphs = _opened(ort, network, candidate, path, self._lane)
        if provider.name not in self._session.get_providers():
            raise RuntimeUnavailable(
                network.name,
                f"{provider.device} does not start in ONNX Runtime {ort.__version__}",
                f"Install {provider.package} with the driver that it needs, or use another device.engine.",
            )
        self.inputs: Mapping[str, Port] = {port.name: _port(port) for port in self._session.get_inputs()}
        self.outputs: Mapping[str, Port] = {port.name: _port(port) for port in self._session.get_outputs()}
        self._whole = whole(network, list(self.inputs))
        fixed = not network.batched or any(
            port.shape[:1] != (-1,) for name, port in self.inputs.items() if name not in self._whole
        )
        self._most = 1 if fixed else tensorrt.MOST if candidate.engine == "tensorrt" else sys.maxsize
        self._binding = binding.Binding(
            ort,
            self._session,
            self.inputs,
            self.outputs,
            self._whole,
            self.device or "cpu",
            self._lane,
            binding.SIZES if graphs else (),
        )
        self.padded = graphs and not fixed
        """Whether rows that fill no size cost as much as that size."""
        ways = f"{candidate.precision} {candidate.way}".rstrip()
        self.label = f"ONNX Runtime {ort.__version__} {provider.device} {ways}"

    def prepare(self, batch: int) -> Call:
        """A function that runs all rows, or a few after the other where not all are taken at once."""
        if self._lane is not None:
            return self._over(self._lane, self._binding.call(batch, self._most))
        names = list(self.outputs)

        def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
            results = self._session.run(names, dict(inputs))
            return {
                n: np.asarray(r).astype(np.float32, copy=False) for n, r in zip(names, results, strict=True)
            }

        return singly(call, batch, self._whole, self._most) if batch > self._most else call

    def bind(self, batch: int) -> Call:
        """The same from and to tensors on `device`; nothing visits the host, and nobody waits for a card.

        What it gives is the caller's own. On a card it works on a stream of its own, in order with the
        caller's; by the way "graph" each of `binding.SIZES` is recorded as a CUDA graph.
        """
        return self._binding.call(batch, self._most)

    def joins(self, batch: int) -> bool:
        """Whether it sees that many rows at once."""
        return batch <= self._most

    def keep(self, sizes: Sequence[int]) -> None:
        """What was recorded for a size stays: ONNX Runtime cannot let go of it alone."""

    @staticmethod
    def _over(lane: Lane, bound: Call) -> Call:
        """From and to the host by way of the card."""

        def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
            results = bound({name: lane.up(array) for name, array in inputs.items()})
            return {name: lane.down(tensor) for name, tensor in results.items()}

        return call


def _opened(
    ort: Any, network: Network, candidate: Candidate, path: Path, lane: Lane | None
) -> tuple[Any, bool]:
    """A session, and whether its runs are recorded as CUDA graphs.

    ONNX Runtime refuses to record a network that is not on the card as a whole; that runs unrecorded. It
    records for each thread that runs it, in a mode in which no other thread of the process may so much as ask
    for an event (cudaStreamCaptureModeGlobal), so nothing but a measurement has it record.
    """
    installed = ort.get_available_providers()
    if candidate.engine in ON_NVIDIA and lane is None and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # torch has loaded them where there is a lane
    options = _quiet(ort, network.threads)
    if candidate.engine == "directml":  # which knows neither
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    stream = lane.address if lane is not None else ""
    problem: Exception | None = None
    recorded = lane is not None and candidate.engine == "cuda" and "graph" in candidate.way.split()
    for graphs in [True, False] if recorded else [False]:
        links = chain(network, candidate, installed, stream, graphs)
        try:
            return ort.InferenceSession(str(path), options, providers=links), graphs
        except Exception as error:  # its exception classes are not public
            problem = error
    text = f"{network.path.name} cannot be read: {_first_line(problem)}"
    raise ModelError(network.name, text, AGAIN) from problem


class Evaluator:
    """Runs files on the processor in float32, keeping the last one loaded.

    Args:
        threads: Processor threads.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._last: tuple[object, Any] = (None, None)

    def __call__(self, path: Path, given: Mapping[str, Array]) -> list[Array]:
        """All outputs in the file's order; raises whatever ONNX Runtime raises."""
        import onnxruntime as ort

        state = path.stat()
        key = (path, state.st_ino, state.st_size, state.st_mtime_ns)
        if self._last[0] != key:
            self._last = (None, None)
            options = _quiet(ort, self._threads)
            self._last = (key, ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        return [np.asarray(result) for result in self._last[1].run(None, dict(given))]


def _quiet(ort: Any, threads: int) -> Any:
    """Session options that say little and take no more than is needed."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # The arena keeps every layer's memory between runs, up to three times the network's; it saves no time.
    options.enable_cpu_mem_arena = False
    # Waiting threads sleep: the decoder and the encoder want the processor too.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _port(port: Any) -> Port:
    """A port of ONNX Runtime."""
    shape = tuple(d if isinstance(d, int) else -1 for d in port.shape)
    return Port(shape, _TYPES.get(port.type, port.type))


def _first_line(error: object) -> str:
    """What an exception says, without what follows."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
