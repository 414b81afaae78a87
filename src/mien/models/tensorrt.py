"""TensorRT by way of ONNX Runtime: what it is told, and where what it built is kept.

Its precision is that of the graph: neither `trt_fp16_enable` nor `trt_bf16_enable` is set, so networks are
strongly typed. TensorRT's own rounding turns whole pictures into one colour, and TensorRT 11 has it no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mien.models import graph_file, installed, nvidia
from mien.models.engine import Candidate, Network, assigned, whole
from mien.models.graph import Port

MOST = 16
"""Most rows at once."""
USUAL = 4
"""Rows that it is tuned for."""
_PACKAGES = ("tensorrt-cu13", "tensorrt-cu12", "tensorrt")


def version() -> str:
    """Of the installed TensorRT; empty where there is none."""
    return installed.version(*_PACKAGES)


def folder(network: Network, candidate: Candidate) -> Path:
    """Where engine and timings are kept: one folder for each file, card, driver and pair of versions."""
    driver = nvidia.driver()
    number = int(network.device.partition(":")[2] or 0)
    name = driver.cards[number] if number < len(driver.cards) else network.device
    facts = (network.stamp, candidate, name, driver.version, installed.onnxruntime(), version(), MOST, USUAL)
    key = hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:20]
    return network.kept / f"{candidate.engine}-{network.name}-{key}"


def options(network: Network, candidate: Candidate) -> dict[str, str]:
    """What ONNX Runtime's provider is told, but for the card's number and the stream."""
    place = folder(network, candidate)
    place.mkdir(parents=True, exist_ok=True)
    found = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(place),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(place),
    }
    if network.memory:
        found["trt_max_workspace_size"] = str(network.memory)
    parsed = graph_file.read(network.path)
    try:
        return found | profile(network, parsed.inputs)
    finally:
        parsed.release()


def profile(network: Network, ports: Sequence[Port]) -> dict[str, str]:
    """Smallest, usual and largest shapes of the inputs; nothing where none is open.

    Lengths that neither file nor card say leave it to ONNX Runtime to build for what comes.
    """
    names = [port.name for port in ports]
    tensors, undivided = assigned(network.inputs, names), whole(network, names)
    opened = False
    shapes: list[tuple[str, bool, tuple[int, ...]]] = []
    for port in ports:
        lengths = [n if isinstance(n, int) else -1 for n in port.shape or ()]
        divided = port.name not in undivided
        card = tensors[port.name].shape if port.name in tensors else ()
        for axis, length in enumerate(card, int(divided)):
            if axis < len(lengths) and lengths[axis] < 0:
                lengths[axis], opened = length, True
        batch = divided and lengths[:1] == [-1]
        rest = lengths[1:] if batch else lengths
        if any(n < 0 for n in rest):
            return {}
        opened = opened or batch
        shapes.append((port.name, batch, tuple(rest)))
    if not opened:
        return {}
    most = MOST if network.batched else 1

    def text(rows: int) -> str:
        return ",".join(
            f"{name}:{'x'.join(map(str, (rows, *rest) if batch else rest))}" for name, batch, rest in shapes
        )

    return {
        "trt_profile_min_shapes": text(1),
        "trt_profile_opt_shapes": text(min(USUAL, most)),
        "trt_profile_max_shapes": text(most),
    }
