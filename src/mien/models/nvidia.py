"""NVIDIA cards of this machine, asked of the driver: no library is loaded to know that there is none."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
_MANAGEMENT = "nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1"
_NAME = 256
"""Bytes for a card's name."""
_BUS = 32
"""Bytes for its address."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What the driver says."""

    version: str
    """The newest CUDA that it serves, as "13.0"; empty where there is no driver."""
    cards: tuple[str, ...]
    """Names, in the order of CUDA's numbers."""


def driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """Ask the driver (CUDA Driver API: cuInit, cuDeviceGetCount, cuDeviceGetName, cuDriverGetVersion).

    Args:
        load: Opens a library by name, and raises OSError where it is absent.
    """
    try:
        library = load(_LIBRARY)
    except OSError:
        return Driver("", ())
    version, count, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(_NAME)
    if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)):
        return Driver("", ())
    library.cuDriverGetVersion(ctypes.byref(version))
    names = [
        name.value.decode(errors="replace")
        for number in range(count.value)
        if not library.cuDeviceGetName(name, _NAME, number)
    ]
    return Driver(f"{version.value // 1000}.{version.value % 1000 // 10}", tuple(names))


class _Rates(ctypes.Structure):
    """nvmlUtilization_t."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = tuple((name, ctypes.c_ulonglong) for name in ("total", "free", "used"))


@dataclass(frozen=True, slots=True)
class Busy:
    """How a card is used at a moment, by all programs."""

    percent: float
    """Share of the last sixth of a second, to a second, in which anything ran on it."""
    bytes: float
    """Memory in use."""


class Meter:
    """One card's use, by NVIDIA's management library (NVML); make one with `meter`."""

    def __init__(self, library: Any, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    def look(self) -> Busy | None:
        """The use now; None where the library does not tell."""
        rates, memory = _Rates(), _Memory()
        if self._library.nvmlDeviceGetUtilizationRates(self._handle, ctypes.byref(rates)):
            return None
        if self._library.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(memory)):
            return None
        return Busy(float(rates.gpu), float(memory.used))


def meter(number: int, load: Callable[[str], Any] = ctypes.CDLL) -> Meter | None:
    """What tells how busy a card is; None where that is not to be had.

    CUDA and NVML may number cards differently, so that it is found by its address on the bus (CUDA Driver
    API: cuDeviceGetPCIBusId; NVML: nvmlInit_v2, nvmlDeviceGetHandleByPciBusId_v2).

    Args:
        number: CUDA's number of the card.
        load: Opens a library by name, and raises OSError where it is absent.
    """
    try:
        library, management = load(_LIBRARY), load(_MANAGEMENT)
    except OSError:
        return None
    device, bus, handle = ctypes.c_int(), ctypes.create_string_buffer(_BUS), ctypes.c_void_p()
    if library.cuInit(0) or library.cuDeviceGet(ctypes.byref(device), number):
        return None
    if library.cuDeviceGetPCIBusId(bus, _BUS, device) or management.nvmlInit_v2():
        return None
    if management.nvmlDeviceGetHandleByPciBusId_v2(bus, ctypes.byref(handle)):
        return None
    return Meter(management, handle)
