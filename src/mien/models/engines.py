"""Which engines there are, which of them may run a card, and how one loads a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from mien.errors import RuntimeUnavailable
from mien.models import engine_openvino, installed, nvidia, tensorrt, winograd
from mien.models.card import Card
from mien.models.engine import WINOGRAD, Candidate, Engine, EngineName, Network, Precision
from mien.models.engine_onnxruntime import OnnxRuntime
from mien.models.engine_openvino import OpenVino
from mien.models.engine_torch import TorchEngine
from mien.settings import Device

_LOADERS: Mapping[EngineName, Callable[[Network, Candidate], Engine]] = {
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
    "torch": TorchEngine,
    "cuda": OnnxRuntime,
    "tensorrt": OnnxRuntime,
    "tensorrt-rtx": OnnxRuntime,
    "migraphx": OnnxRuntime,
    "coreml": OnnxRuntime,
    "directml": OnnxRuntime,
}

SMALL = 4_000_000
"""Networks of fewer bytes run on one thread, several rows side by side: on two cores a second thread for a
row gains nothing and takes the decoder's. Whether it gains where there are more is measured."""
MANY = 8
"""Processor threads from which a small network is tried with more than one."""
FEW = 4
"""So many: each waits for the others in every layer."""


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
    torch: str = ""
    """Version; empty where it is absent."""
    cards: tuple[str, ...] = ()
    """Names of NVIDIA cards."""
    driver: str = ""
    """The CUDA that their driver serves."""
    tensorrt: str = ""
    """Version; empty where it is absent."""

    @property
    def computing(self) -> tuple[EngineName, ...]:
        """Installed engines that compute on NVIDIA cards."""
        found: list[EngineName] = ["cuda"] if self.onnxruntime.startswith("onnxruntime-gpu") else []
        return (*found, "torch") if self.torch and not self.torch.endswith("+cpu") else tuple(found)


def machine() -> Machine:
    """Look at this machine."""
    version, processor, precisions = engine_openvino.facts()
    driver = nvidia.driver()
    return Machine(
        processor,
        version,
        installed.onnxruntime(),
        precisions,
        installed.version("torch"),
        driver.cards,
        driver.version,
        tensorrt.version(),
    )


def place(device: Device, here: Machine) -> str:
    """Where a network runs: `cpu`, or an NVIDIA card as `cuda:0`.

    Raises:
        RuntimeUnavailable: There is no such card, or nothing that computes on it.
    """
    asked = device.processor
    if asked == "auto":
        able = {"auto", "tensorrt", *here.computing} if here.computing else set()
        return "cuda:0" if here.cards and device.engine in able else "cpu"
    if asked == "cpu":
        return asked
    number = int(asked.partition(":")[2] or 0)
    if number >= len(here.cards):
        has = f"this machine has {len(here.cards)} NVIDIA card{'' if len(here.cards) == 1 else 's'}"
        raise RuntimeUnavailable("device.processor", f"there is no {asked}: {has}", "Use auto or cpu.")
    if not here.computing:
        raise RuntimeUnavailable(
            "device.processor",
            "nothing that is installed computes on NVIDIA cards",
            "Run `pip install 'mien[gpu]'`, or use auto or cpu.",
        )
    return f"cuda:{number}"


def discard(network: Network, candidates: Collection[Candidate]) -> None:
    """Delete what ways to run a network have kept of it, where that is large."""
    for candidate in candidates:
        if candidate.engine == "openvino":
            engine_openvino.discard(network, candidate)


def candidates(card: Card, network: Network, device: Device, here: Machine) -> tuple[Candidate, ...]:
    """The ways to run a card that are worth trying, the reference first.

    A card's own engine counts unless another one is asked for. Files that only OpenVINO reads go to it
    whatever is asked for, as do networks that tolerate no error to float32. What is only made while another
    engine works is not among them, see `better`.

    Raises:
        RuntimeUnavailable: Nothing here does what is asked for.
    """
    if not network.is_onnx:
        engines: tuple[EngineName, ...] = ("openvino",)
    elif device.engine == "tensorrt" and better(card, network, device, here) is not None:
        engines = here.computing
    elif device.engine != "auto":
        engines = (device.engine,)
    elif card.engine:
        engines = (card.engine,)
    elif network.device.startswith("cuda"):
        engines = here.computing
    else:
        engines = ("onnxruntime", "openvino")
    exact = card.tolerance <= 0 or (bool(card.engine) and device.precision == "auto")
    asked: str = "f32" if exact else device.precision
    found = tuple(
        Candidate(engine, precision)
        for precision in _precisions(asked, engines, here)
        for engine in engines
        # An engine that was asked for says itself why it cannot.
        if (len(engines) == 1 and precision in (asked, "f32")) or _computes(engine, precision, here)
    )
    if "cuda" in engines and here.computing:
        found += _ways({c.precision for c in found if c.engine == "cuda"}, exact or asked == "f32")
    # What is asked for in sixteen bits is compared with nothing but itself.
    free = card.tolerance > 0 and not card.engine and device.precision in ("auto", "f32")
    wide = [c for c in found if c.engine == "openvino" and c.precision in winograd.PAYS]
    if wide and free and network.is_onnx and network.bytes >= SMALL:
        found += tuple(Candidate(c.engine, c.precision, WINOGRAD) for c in wide)
    if engines == ("openvino",) and network.abreast >= MANY:
        found += tuple(Candidate(c.engine, c.precision, f"{FEW} threads") for c in found)
    if not found:
        raise RuntimeUnavailable(
            card.name,
            f"no engine here computes in {asked}",
            "Set device.precision to f32 or auto, and install mien with its dependencies.",
        )
    return found


def better(card: Card, network: Network, device: Device, here: Machine) -> Candidate | None:
    """What takes minutes to be made, and may then run a card better than all that can start at once.

    That is TensorRT, on an NVIDIA card, where another engine can work meanwhile. None where there is no
    such thing, or something else was asked for.
    """
    wanted = device.engine == "tensorrt" or (device.engine == "auto" and not card.engine)
    ready = here.tensorrt and "cuda" in here.computing and network.device.startswith("cuda")
    if not (wanted and ready and network.is_onnx):
        return None
    if device.precision in ("auto", "f16") and card.tolerance > 0 and not card.engine:
        return Candidate("tensorrt", "f16")
    if device.engine == "tensorrt" and device.precision != "bf16":
        return Candidate("tensorrt", "f32")
    return None


def _ways(precisions: Collection[Precision], exact: bool) -> tuple[Candidate, ...]:
    """What else may make ONNX Runtime quicker on an NVIDIA card; which of it does is measured."""
    ways: dict[Precision, tuple[str, ...]] = {
        "f32": ("nhwc",) if exact else ("nhwc", "nhwc tf32"),
        "f16": ("nhwc",),
    }
    return tuple(Candidate("cuda", p, way) for p, words in ways.items() if p in precisions for way in words)


def _precisions(asked: str, engines: Sequence[EngineName], here: Machine) -> tuple[Precision, ...]:
    """Those to try: float32, and one of sixteen bits; torch may have either."""
    for precision in _ALL:
        if precision == asked:
            return (precision,)
    if "torch" in engines:
        return ("f32", "f16", "bf16")
    if "openvino" in engines or "onnxruntime" in engines:
        return ("f32", "bf16" if "bf16" in here.precisions else "f16")
    return ("f32", "f16")


_ALL: tuple[Precision, ...] = ("f32", "bf16", "f16")


def _computes(engine: EngineName, precision: Precision, here: Machine) -> bool:
    """Whether it is worth trying."""
    if engine == "openvino":
        return precision in here.precisions
    if engine == "torch":
        return bool(here.torch)
    if engine == "onnxruntime":
        return precision == "f32" and bool(here.onnxruntime)
    if engine in ("cuda", "tensorrt"):
        return precision in ("f32", "f16") and here.onnxruntime.startswith("onnxruntime-gpu")
    return precision in ("f32", "f16")
