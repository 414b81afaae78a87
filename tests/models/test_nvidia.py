"""Which NVIDIA cards there are and what runs on them, with a driver that is made up."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.errors import RuntimeUnavailable
from mien.models import engines, nvidia
from mien.models.card import Card, File, Tensor
from mien.models.engine import Network
from mien.models.engines import Machine
from mien.settings import Device

CARD = Card(
    "a", "swap", (File("a.onnx"),), "MIT", (Tensor("x", (3, 8, 8)),), (Tensor("y", (3, 8, 8)),), tolerance=0.1
)


class Library:
    """A driver with cards."""

    def __init__(self, *names: str, version: int = 13020, fails: bool = False) -> None:
        self._names, self._version, self._fails = names, version, fails

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return 100 if self._fails else 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = len(self._names)
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        ctypes.cast(version, ctypes.POINTER(ctypes.c_int))[0] = self._version
        return 0

    def cuDeviceGetName(self, name: Any, size: int, number: int) -> int:  # noqa: N802
        name.value = self._names[number].encode()[: size - 1]
        return 0


def test_the_drivers_cards_in_its_order() -> None:
    found = nvidia.driver(lambda name: Library("NVIDIA A", "NVIDIA B"))
    assert found == nvidia.Driver("13.2", ("NVIDIA A", "NVIDIA B"))


def test_no_driver_and_a_driver_that_does_not_start_are_no_cards() -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    assert nvidia.driver(absent) == nvidia.Driver("", ())
    assert nvidia.driver(lambda name: Library("NVIDIA A", fails=True)) == nvidia.Driver("", ())


def machine(*cards: str, torch: str = "", ort: str = "onnxruntime 1.30") -> Machine:
    return Machine("x", "2026.1", ort, ("f32", "bf16"), torch, cards, "13.0" if cards else "")


BOTH = machine("A", "B", torch="2.13.0+cu130", ort="onnxruntime-gpu 1.30")


@pytest.mark.parametrize(
    ("asked", "here", "place", "tried"),
    [
        ({}, machine(), "cpu", {"onnxruntime", "openvino"}),
        ({}, machine("A"), "cpu", {"onnxruntime", "openvino"}),
        ({}, machine("A", torch="2.13.0+cpu"), "cpu", {"onnxruntime", "openvino"}),
        ({}, machine("A", torch="2.13.0+cu130"), "cuda:0", {"torch"}),
        ({}, BOTH, "cuda:0", {"cuda", "torch"}),
        ({"processor": "cpu"}, BOTH, "cpu", {"onnxruntime", "openvino"}),
        ({"processor": "cuda:1"}, BOTH, "cuda:1", {"cuda", "torch"}),
        ({"processor": "cuda"}, BOTH, "cuda:0", {"cuda", "torch"}),
        ({"engine": "openvino"}, BOTH, "cpu", {"openvino"}),
        ({"engine": "torch"}, BOTH, "cuda:0", {"torch"}),
        ({"engine": "torch"}, machine(torch="2.13.0+cpu"), "cpu", {"torch"}),
        ({"engine": "tensorrt"}, BOTH, "cuda:0", {"tensorrt"}),
    ],
)
def test_where_a_network_runs_and_on_what(
    asked: dict[str, str], here: Machine, place: str, tried: set[str], tmp_path: Path
) -> None:
    device = Device.model_validate(asked)
    assert engines.place(device, here) == place
    path = tmp_path / "a.onnx"
    path.touch()
    network = Network("a", path, "", CARD.inputs, CARD.outputs, 1, Path(), device=place)
    assert {c.engine for c in engines.candidates(CARD, network, device, here)} == tried


@pytest.mark.parametrize(
    ("asked", "here", "says"),
    [
        ("cuda", machine(), "there is no cuda: this machine has 0 NVIDIA cards"),
        ("cuda:1", machine("A", torch="2.13.0+cu130"), "there is no cuda:1: this machine has 1 NVIDIA card"),
        ("cuda", machine("A", torch="2.13.0+cpu"), "nothing that is installed computes on NVIDIA cards"),
    ],
)
def test_a_card_that_cannot_be_used_is_said(asked: str, here: Machine, says: str) -> None:
    with pytest.raises(RuntimeUnavailable) as caught:
        engines.place(Device(processor=asked), here)
    assert caught.value.subject == "device.processor"
    assert caught.value.problem == says
    assert caught.value.advice


class Management:
    """NVML with one card, at an address on the bus."""

    def __init__(self, bus: bytes, fails: str = "") -> None:
        self._bus, self._fails = bus, fails

    def __getattr__(self, name: str) -> Any:
        calls = {
            "nvmlInit_v2": self._nothing,
            "nvmlDeviceGetHandleByPciBusId_v2": self._handle,
            "nvmlDeviceGetUtilizationRates": self._rates,
            "nvmlDeviceGetMemoryInfo": self._memory,
        }
        return calls[name] if name != self._fails else lambda *given: 999

    def _nothing(self) -> int:
        return 0

    def _handle(self, bus: Any, handle: Any) -> int:
        assert bus.value == self._bus
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = 77
        return 0

    def _rates(self, handle: Any, rates: Any) -> int:
        assert handle.value == 77
        ctypes.cast(rates, ctypes.POINTER(ctypes.c_uint * 2))[0][:] = [83, 12]
        return 0

    def _memory(self, handle: Any, memory: Any) -> int:
        assert handle.value == 77
        ctypes.cast(memory, ctypes.POINTER(ctypes.c_ulonglong * 3))[0][:] = [80 << 30, 30 << 30, 50 << 30]
        return 0


class Addressed(Library):
    """A driver whose second card has an address."""

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        ctypes.cast(device, ctypes.POINTER(ctypes.c_int))[0] = 40 + number
        return 0 if number < len(self._names) else 101

    def cuDeviceGetPCIBusId(self, bus: Any, size: int, device: Any) -> int:  # noqa: N802
        bus.value = f"0000:{device.value:02X}:00.0".encode()[: size - 1]
        return 0


def libraries(management: Management | None) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        if "cuda" in name:
            return Addressed("NVIDIA A", "NVIDIA B")
        if management is None:
            raise OSError(name)
        return management

    return load


def test_a_cards_use_is_that_of_the_card_with_cudas_number() -> None:
    meter = nvidia.meter(1, libraries(Management(b"0000:29:00.0")))
    assert meter is not None
    assert meter.look() == nvidia.Busy(83.0, float(50 << 30))


@pytest.mark.parametrize("fails", ["nvmlInit_v2", "nvmlDeviceGetHandleByPciBusId_v2"])
def test_no_meter_where_the_library_or_the_card_is_absent(fails: str) -> None:
    assert nvidia.meter(0, libraries(None)) is None
    assert nvidia.meter(2, libraries(Management(b""))) is None
    assert nvidia.meter(1, libraries(Management(b"0000:29:00.0", fails))) is None


@pytest.mark.parametrize("fails", ["nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo"])
def test_a_card_that_does_not_tell_is_not_guessed(fails: str) -> None:
    meter = nvidia.meter(1, libraries(Management(b"0000:29:00.0", fails)))
    assert meter is not None
    assert meter.look() is None


@pytest.mark.gpu
def test_a_real_card_tells_how_busy_it_is() -> None:
    meter = nvidia.meter(0)
    if meter is None:
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and the driver tells of none"
        pytest.skip("no NVIDIA card")
    busy = meter.look()
    assert busy is not None
    assert 0 <= busy.percent <= 100
    assert busy.bytes > 0
