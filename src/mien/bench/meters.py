"""What a run takes of the machine: processor time, memory, and the graphics processor where there is one."""

from __future__ import annotations

import contextlib
import ctypes
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.models import nvidia
from mien.models.runtime import available_threads
from mien.settings import Device

EVERY = 0.1
"""Seconds between two looks at the memory."""
EVERY_GPU = 1.0
"""The same at the graphics processor, where a look takes a process of its own."""
MB = 1e6


@dataclass(frozen=True, slots=True)
class Usage:
    """What was taken."""

    seconds: float
    """Wall time."""
    cpu_seconds: float
    """Processor time of all threads of this process."""
    threads: int
    """Threads that may be used."""
    peak_mb: float
    """Most resident memory in megabytes (10^6 bytes), with what the process held before; 0 where the system
    does not tell."""
    gpu: str
    """Name of the graphics processor; empty where there is none."""
    gpu_percent: float
    """Its mean use in percent, by all programs on the machine."""
    gpu_mb: float
    """Most of its memory in use, by all programs."""

    @property
    def cpu_percent(self) -> float:
        """Processor time over what all threads could have given, in percent."""
        return 100.0 * self.cpu_seconds / max(self.seconds * self.threads, 1e-9)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One look at the graphics processors: the first one's name, its use and its memory."""

    name: str
    percent: float
    mb: float


class Watch:
    """Watches this process while a block runs; then `usage` says what it took. A context manager.

    Args:
        threads: Threads that may be used; 0 for all.
        gpu: Looks at the graphics processor; None for nvidia-smi where it is installed.
        every: Seconds between two looks at it.
    """

    def __init__(
        self, threads: int = 0, gpu: Callable[[], Gpu | None] | None = None, every: float = EVERY_GPU
    ) -> None:
        self._threads = threads or available_threads()
        self._gpu, self._every = gpu or look, every
        self._stop = threading.Event()
        self._watchers = [
            threading.Thread(target=self._memory, name="mien-memory", daemon=True),
            threading.Thread(target=self._graphics, name="mien-gpu", daemon=True),
        ]
        self._peak = 0.0
        self._looks: list[Gpu] = []
        self._fresh = False
        self._usage: Usage | None = None

    def __enter__(self) -> Watch:
        self._fresh = forget_peak()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        for watcher in self._watchers:
            watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._stop.set()
        for watcher in self._watchers:
            watcher.join()
        peak = max(self._peak, peak_memory()) if self._fresh or not self._peak else self._peak
        looks = self._looks
        self._usage = Usage(
            seconds=wall,
            cpu_seconds=cpu,
            threads=self._threads,
            peak_mb=peak / MB,
            gpu=looks[0].name if looks else "",
            gpu_percent=sum(one.percent for one in looks) / len(looks) if looks else 0.0,
            gpu_mb=max((one.mb for one in looks), default=0.0),
        )

    @property
    def usage(self) -> Usage:
        """What the block took.

        Raises:
            ValueError: It has not ended.
        """
        if self._usage is None:
            raise ValueError("usage: expected the block to have ended")
        return self._usage

    def _memory(self) -> None:
        """Look at the memory until told to stop."""
        while True:
            self._peak = max(self._peak, memory())
            if self._stop.wait(EVERY):
                return

    def _graphics(self) -> None:
        """Look at the graphics processor until told to stop, or until there is none."""
        while (seen := self._gpu()) is not None:
            self._looks.append(seen)
            if self._stop.wait(self._every):
                return


def watch(device: Device, load: Callable[[str], Any] = ctypes.CDLL) -> Watch:
    """What watches a run on a device: the driver tells of the card that it works on, else nvidia-smi of the
    first one.

    Args:
        device: The run's settings.
        load: Opens the driver's libraries, see `nvidia`.
    """
    number = int(device.processor.partition(":")[2] or 0)
    meter = None if device.processor == "cpu" else nvidia.meter(number, load)
    if meter is None:
        return Watch(device.threads)
    name = (nvidia.driver(load).cards + ("",) * (number + 1))[number]

    def seen() -> Gpu | None:
        busy = meter.look()
        return None if busy is None else Gpu(name, busy.percent, busy.bytes / MB)

    return Watch(device.threads, seen, EVERY)


def memory() -> float:
    """Resident bytes of this process now; 0 where the system does not tell."""
    return _status("VmRSS")


def peak_memory() -> float:
    """Most resident bytes of this process since its start or the last `forget_peak`; 0 where unknown."""
    seen = _status("VmHWM")
    if seen:
        return seen
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most) * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> bool:
    """Begin to count the peak anew, where the system can (Linux: proc(5), clear_refs); whether it did."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(field: str) -> float:
    """Bytes of a field of /proc/self/status; 0 where there is none."""
    with contextlib.suppress(OSError):
        found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return 1024.0 * int(found[1])
    return 0.0


def look() -> Gpu | None:
    """The first NVIDIA processor as nvidia-smi sees it; None where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    asked = ["--query-gpu=name,utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run([program, *asked], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parsed(done.stdout)


def parsed(text: str) -> Gpu | None:
    """The first line of nvidia-smi's answer: name, percent, MiB; None where it says no such thing."""
    parts = [part.strip() for part in text.partition("\n")[0].rsplit(",", 2)]
    try:
        return Gpu(parts[0], float(parts[1]), float(parts[2]) * 1.048576)
    except (IndexError, ValueError):
        return None
