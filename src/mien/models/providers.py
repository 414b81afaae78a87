"""ONNX Runtime's providers: what each is called, and what it is told.

Options are those of ONNX Runtime 1.26 and later; every value is a string.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mien.errors import RuntimeUnavailable
from mien.models import tensorrt
from mien.models.engine import Candidate, EngineName, Network, Precision

_HALF: tuple[Precision, ...] = ("f32", "f16")


@dataclass(frozen=True, slots=True)
class Provider:
    """How ONNX Runtime is told to use a device."""

    name: str
    device: str
    """For reports."""
    package: str
    """What to install where it is absent."""
    precisions: tuple[Precision, ...] = ("f32",)
    """Sixteen bits are in the graph itself, see `mend_half`; no provider rounds by itself."""
    options: Mapping[str, str] = field(default_factory=dict)
    cache: str = ""
    """Option for the folder in which it keeps what it compiled."""
    fallback: tuple[EngineName, ...] = ()
    """For what this one does not know."""


PROVIDERS: Mapping[EngineName, Provider] = {
    "onnxruntime": Provider("CPUExecutionProvider", "CPU", "onnxruntime"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "CUDA",
        "onnxruntime-gpu[cuda,cudnn] in place of onnxruntime",
        _HALF,
        {
            # A network is loaded once and sees few sizes: search well, and take no more than it needs.
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "arena_extend_strategy": "kSameAsRequested",
        },
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        "TensorRT",
        "onnxruntime-gpu[cuda,cudnn] in place of onnxruntime, and tensorrt-cu13==10.16.*",
        _HALF,
        fallback=("cuda",),
    ),
    "tensorrt-rtx": Provider(
        "NvTensorRTRTXExecutionProvider",
        "TensorRT for RTX",
        "an onnxruntime that is built with TensorRT for RTX",
        _HALF,
        cache="nv_runtime_cache_path",
        fallback=("cuda",),
    ),
    "migraphx": Provider(
        "MIGraphXExecutionProvider",
        "MIGraphX",
        "onnxruntime-migraphx in place of onnxruntime",
        _HALF,
        cache="migraphx_model_cache_dir",
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "CoreML",
        "onnxruntime on macOS",
        _HALF,
        {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"},
        "ModelCacheDirectory",
    ),
    "directml": Provider(
        "DmlExecutionProvider", "DirectML", "onnxruntime-directml in place of onnxruntime", _HALF
    ),
}
"""Engine to its provider."""

ON_NVIDIA = ("cuda", "tensorrt", "tensorrt-rtx")
"""Those that compute on NVIDIA cards."""


def available(network: Network, candidate: Candidate, installed: Sequence[str]) -> Provider:
    """The provider of a candidate.

    Raises:
        RuntimeUnavailable: It cannot serve here.
    """
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


def chain(
    network: Network, candidate: Candidate, installed: Sequence[str], stream: str, graphs: bool
) -> list[tuple[str, dict[str, str]]]:
    """Provider names with their options, the candidate's own first.

    Args:
        network: What is loaded.
        candidate: Its engine and ways.
        installed: Names of providers that the library has.
        stream: Address of the CUDA stream to work on; empty for the provider's own.
        graphs: Whether runs are recorded as CUDA graphs.
    """
    own = PROVIDERS[candidate.engine]
    links = [(candidate.engine, own), *((name, PROVIDERS[name]) for name in own.fallback)]
    return [
        (provider.name, _options(network, candidate, engine, stream, graphs and engine == candidate.engine))
        for engine, provider in links
        if engine == candidate.engine or provider.name in installed
    ]


def _options(
    network: Network, candidate: Candidate, engine: EngineName, stream: str, graphs: bool
) -> dict[str, str]:
    """A provider's options, with what depends on the network."""
    provider = PROVIDERS[engine]
    options = dict(provider.options)
    if engine in ON_NVIDIA:
        options["device_id"] = network.device.partition(":")[2] or "0"
        if stream:
            options["user_compute_stream"] = stream
    if engine == "cuda":
        ways = candidate.way.split()
        options["prefer_nhwc"] = str(int("nhwc" in ways))
        # TensorFloat-32 keeps ten bits of the mantissa: not what f32 says, unless it was chosen.
        options["use_tf32"] = str(int("tf32" in ways))
        if network.memory:
            options["gpu_mem_limit"] = str(network.memory)
        if graphs:
            options["enable_cuda_graph"] = "1"
    if engine == "tensorrt":
        options |= tensorrt.options(network, candidate)
    if provider.cache:
        options[provider.cache] = str(_folder(network, candidate))
    return options


def _folder(network: Network, candidate: Candidate) -> Path:
    """A folder of its own for each content of a file: some providers tell files apart by their paths."""
    key = hashlib.sha256(f"{network.stamp} {candidate}".encode()).hexdigest()[:16]
    folder = network.kept / f"{candidate.engine}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
