"""ONNX Runtime: ONNX files on the processor, or on whatever its installed providers reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import ModelError, RuntimeUnavailable
from mien.models.engine import Call, Candidate, EngineName, Network, Port, Precision, singly, whole
from mien.models.store import AGAIN
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


@dataclass(frozen=True, slots=True)
class Provider:
    """How ONNX Runtime is told to use a device."""

    name: str
    device: str
    """For reports."""
    package: str
    """What to install where it is absent."""
    precisions: tuple[Precision, ...] = ("f32",)
    options: Mapping[str, str] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()
    """Providers of the same device for what this one does not know."""


PROVIDERS: Mapping[EngineName, Provider] = {
    "onnxruntime": Provider("CPUExecutionProvider", "CPU", "onnxruntime"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "CUDA",
        "onnxruntime-gpu[cuda,cudnn] in place of onnxruntime",
        options={
            # A network is loaded once and sees few sizes: search well, and take no more than it needs.
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "arena_extend_strategy": "kSameAsRequested",
            # TensorFloat-32 keeps ten bits of the mantissa: not what f32 says.
            "use_tf32": "0",
        },
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        "TensorRT",
        "onnxruntime-gpu[cuda,cudnn] in place of onnxruntime, and tensorrt-cu13==10.16.*",
        ("f32", "f16", "bf16"),
        {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"},
        ("CUDAExecutionProvider",),
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "CoreML",
        "onnxruntime on macOS",
        options={"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"},
    ),
    "directml": Provider("DmlExecutionProvider", "DirectML", "onnxruntime-directml in place of onnxruntime"),
}
"""Engine to its provider."""


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
        provider = _available(network, candidate, ort.get_available_providers())
        options = _quiet(ort, network.threads)
        if provider.name == "DmlExecutionProvider":  # which knows neither
            options.enable_mem_pattern = False
            options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        chain = [
            (provider.name, _options(network, candidate, provider)),
            *((n, {}) for n in provider.fallback),
        ]
        try:
            self._session = ort.InferenceSession(str(network.path), options, providers=chain)
        except Exception as error:  # its exception classes are not public
            problem = f"{network.path.name} cannot be read: {_first_line(error)}"
            raise ModelError(network.name, problem, AGAIN) from error
        if provider.name not in self._session.get_providers():
            raise RuntimeUnavailable(
                network.name,
                f"{provider.device} does not start in ONNX Runtime {ort.__version__}",
                f"Install {provider.package} with the driver that it needs, or use another device.engine.",
            )
        self.inputs: Mapping[str, Port] = {port.name: _port(port) for port in self._session.get_inputs()}
        self.outputs: Mapping[str, Port] = {port.name: _port(port) for port in self._session.get_outputs()}
        self._whole = whole(network, list(self.inputs))
        self._fixed = not network.batched or any(
            port.shape[:1] != (-1,) for name, port in self.inputs.items() if name not in self._whole
        )
        self.label = f"ONNX Runtime {ort.__version__} {provider.device} {candidate.precision}"

    def prepare(self, batch: int) -> Call:
        """A function that runs all rows, or one after the other where the file fixes the batch axis."""
        names = list(self.outputs)

        def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
            results = self._session.run(names, dict(inputs))
            return {
                n: np.asarray(r).astype(np.float32, copy=False) for n, r in zip(names, results, strict=True)
            }

        return singly(call, batch, self._whole) if self._fixed and batch > 1 else call

    def joins(self, batch: int) -> bool:
        """Whether it sees that many rows at once."""
        return batch == 1 or not self._fixed

    def keep(self, sizes: Sequence[int]) -> None:
        """Nothing is compiled for a size."""


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


def _available(network: Network, candidate: Candidate, installed: Sequence[str]) -> Provider:
    """The provider of a candidate; raises RuntimeUnavailable where it cannot serve here."""
    provider = PROVIDERS[candidate.engine]
    if not network.is_onnx:
        raise RuntimeUnavailable(
            network.name,
            f"ONNX Runtime cannot read {network.path.suffix} files",
            "Set device.engine to openvino or auto.",
        )
    if provider.name not in installed:
        raise RuntimeUnavailable(
            network.name,
            f"the installed ONNX Runtime has no {provider.device} provider",
            f"Install {provider.package}, or use another device.engine.",
        )
    if candidate.precision not in provider.precisions:
        raise RuntimeUnavailable(
            network.name,
            f"ONNX Runtime does not compute in {candidate.precision} on {provider.device}",
            f"Set device.precision to {' or '.join((*provider.precisions, 'auto'))}.",
        )
    return provider


def _options(network: Network, candidate: Candidate, provider: Provider) -> dict[str, str]:
    """A provider's options, with what depends on the network."""
    options = dict(provider.options)
    if candidate.engine == "tensorrt":
        folder = str(network.kept / "tensorrt")
        options |= {"trt_engine_cache_path": folder, "trt_timing_cache_path": folder}
        options["trt_fp16_enable"] = str(int(candidate.precision == "f16"))
        options["trt_bf16_enable"] = str(int(candidate.precision == "bf16"))
    return options


def _port(port: Any) -> Port:
    """A port of ONNX Runtime."""
    shape = tuple(d if isinstance(d, int) else -1 for d in port.shape)
    return Port(shape, _TYPES.get(port.type, port.type))


def _first_line(error: Exception) -> str:
    """What an exception says, without what follows."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
