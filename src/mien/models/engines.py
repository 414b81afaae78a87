"""Which engines there are, which of them may run a card, and how one loads a file."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mien.errors import RuntimeUnavailable
from mien.models import engine_openvino
from mien.models.card import Card
from mien.models.engine import Candidate, Engine, EngineName, Network, Precision
from mien.models.engine_onnxruntime import OnnxRuntime
from mien.models.engine_openvino import OpenVino
from mien.settings import Device

_LOADERS: Mapping[EngineName, Callable[[Network, Candidate], Engine]] = {
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
    "cuda": OnnxRuntime,
    "tensorrt": OnnxRuntime,
    "coreml": OnnxRuntime,
    "directml": OnnxRuntime,
}


def load(network: Network, candidate: Candidate) -> Engine:
    """Load a network.

    Raises:
        RuntimeUnavailable: The engine cannot serve here.
        ModelError: The file cannot be read.
    """
    return _LOADERS[candidate.engine](network, candidate)


@dataclass(frozen=True, slots=True)
class Machine:
    """What engines there are, as far as a choice depends on it."""

    processor: str
    openvino: str
    """Version; empty where it is absent."""
    onnxruntime: str
    precisions: tuple[Precision, ...]
    """That OpenVINO computes in on the processor."""


def machine() -> Machine:
    """Look at this machine."""
    version, processor, precisions = engine_openvino.facts()
    return Machine(processor, version, _onnxruntime(), precisions)


def _onnxruntime() -> str:
    """Version of whichever build of ONNX Runtime is installed, without loading it."""
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def candidates(card: Card, network: Network, device: Device, here: Machine) -> tuple[Candidate, ...]:
    """The ways to run a card that are worth trying, the reference first.

    A card's own engine counts unless another one is asked for. Files that only OpenVINO reads go to it
    whatever is asked for, as do networks that tolerate no error to float32.

    Raises:
        RuntimeUnavailable: Nothing here does what is asked for.
    """
    if not network.is_onnx:
        engines: tuple[EngineName, ...] = ("openvino",)
    elif device.engine != "auto":
        engines = (device.engine,)
    else:
        engines = (card.engine,) if card.engine else ("onnxruntime", "openvino")
    exact = card.tolerance <= 0 or (bool(card.engine) and device.precision == "auto")
    asked: str = "f32" if exact else device.precision
    found = tuple(
        Candidate(engine, precision)
        for precision in _precisions(asked, here)
        for engine in engines
        # An engine that was asked for says itself why it cannot.
        if (len(engines) == 1 and precision in (asked, "f32")) or _computes(engine, precision, here)
    )
    if not found:
        raise RuntimeUnavailable(
            card.name,
            f"no engine here computes in {asked}",
            "Set device.precision to f32 or auto, and install mien with its dependencies.",
        )
    return found


def _precisions(asked: str, here: Machine) -> tuple[Precision, ...]:
    """Those to try: float32, and one of sixteen bits."""
    for precision in _ALL:
        if precision == asked:
            return (precision,)
    return ("f32", "bf16" if "bf16" in here.precisions else "f16")


_ALL: tuple[Precision, ...] = ("f32", "bf16", "f16")


def _computes(engine: EngineName, precision: Precision, here: Machine) -> bool:
    """Whether it is worth trying."""
    if engine == "openvino":
        return precision in here.precisions
    return precision == "f32" and (engine != "onnxruntime" or bool(here.onnxruntime))
