"""How much memory loaded networks may take together, and who has to go when another one comes."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
import threading
from pathlib import Path
from typing import Protocol

from mien.errors import ModelError

COPIES = 2.0
"""Memory of a loaded network over the size of its file: 1.5 to 2.1 measured (ONNX Runtime, OpenVINO in
bfloat16, OpenVINO in float32), as the engines keep what they read beside what they made of it."""
LAYERS = 64
"""Memory of its layers over the size of what goes in and out; measured with networks of 64 to 512 pixels."""

FALLBACK = 8_000_000_000
"""Memory of a machine that does not tell."""


class Tenant(Protocol):
    """Somebody who holds a loaded network."""

    @property
    def name(self) -> str:
        """Of the card."""
        ...

    def unload(self) -> None:
        """Let go of it; called only while nobody uses it."""
        ...


class Budget:
    """A limit that loaded networks keep together.

    A tenant is busy between `enter` and `leave`, and only idle ones are sent away. Nobody waits for memory
    while holding some, so nobody waits for ever.

    Args:
        limit: Bytes; 0 for half of the machine's memory.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit if limit > 0 else machine_memory() // 2
        self._changed = threading.Condition()
        self._held: dict[Tenant, int] = {}  # the least recently used first
        self._busy: dict[Tenant, int] = {}

    @property
    def held(self) -> dict[str, int]:
        """Card name to bytes, the least recently used first."""
        with self._changed:
            return {tenant.name: size for tenant, size in self._held.items()}

    def enter(self, tenant: Tenant) -> None:
        """Say that the tenant's network is in use from now on."""
        with self._changed:
            self._busy[tenant] = self._busy.get(tenant, 0) + 1
            if tenant in self._held:
                self._held[tenant] = self._held.pop(tenant)

    def leave(self, tenant: Tenant) -> None:
        """Say that one use of it has ended."""
        with self._changed:
            self._busy[tenant] -= 1
            if not self._busy[tenant]:
                del self._busy[tenant]
            self._changed.notify_all()

    def admit(self, tenant: Tenant, size: int) -> None:
        """Make room for a tenant who holds nothing; idle ones go, the least recently used first.

        Raises:
            ModelError: It needs more than the limit alone.
        """
        if size > self.limit:
            raise ModelError(
                tenant.name,
                f"it takes about {size / 1e6:.0f} MB of memory, and {self.limit / 1e6:.0f} MB are allowed",
                f"Set device.memory to {-(-size // 1_000_000)} or more.",
            )
        with self._changed:
            while sum(self._held.values()) + size > self.limit:
                idle = next((t for t in self._held if t not in self._busy), None)
                if idle is None:
                    self._changed.wait()
                else:
                    del self._held[idle]
                    idle.unload()
            self._held[tenant] = size

    def release(self, tenant: Tenant) -> None:
        """Say that the tenant holds nothing any more."""
        with self._changed:
            self._held.pop(tenant, None)
            self._changed.notify_all()


def give_back() -> None:
    """Hand freed memory back to the system, where the C library would keep it for later."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
        if trim is not None:
            trim(0)


def let_go(path: Path) -> None:
    """Let what a mapped file takes of memory leave it; it comes back when it is looked at."""
    advise = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None
    if advise is None:
        return
    with contextlib.suppress(OSError, ValueError):
        wanted = os.fsencode(path.resolve())
        for line in Path("/proc/self/maps").read_bytes().split(b"\n"):
            where, *_, name = line.split(maxsplit=5) or [b""]
            if name == wanted:
                start, end = (int(n, 16) for n in where.split(b"-"))
                advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def machine_memory() -> int:
    """Bytes of memory that this process may use."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        found = _windows_memory()
    with contextlib.suppress(OSError, ValueError):  # a container has less than its machine
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return found if found > 0 else FALLBACK


def _windows_memory() -> int:
    """Bytes of memory of a Windows machine; 0 elsewhere."""
    if sys.platform != "win32":
        return 0
    kilobytes = ctypes.c_ulonglong()
    ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
    return int(kilobytes.value) * 1024
