"""Whether model files are the right ones: by their publisher's checksum, or by the one first seen."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mien.models import records
from mien.models.card import File

BLOCK = 1 << 20
SETTLED = 2_000_000_000
"""Nanoseconds after which a changed file surely has another time, on any disk."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a file cannot be used."""

    problem: str
    """One clause."""
    changed: bool = False
    """Whether it is whole, but another file than the one first seen."""


class Checksums:
    """What is known about the files of a folder.

    Args:
        folder: Where the files lie, and `models.lock` with the checksums first seen of files whose
            publisher's is not known.
        read: A record of which files were read whole, so that a start need not do it again.
    """

    def __init__(self, folder: Path, read: Path) -> None:
        self._folder = folder
        self._read = read
        self._lock = folder / "models.lock"

    def fault(self, file: File, *, whole: bool = False) -> Fault | None:
        """What is wrong with a file here; None where nothing is.

        The checksum of a file that the card knows none of is written down when it is first seen; where that
        cannot be done, as in a folder that nobody may write, it is used without.

        Args:
            file: Of some card.
            whole: Read it even if it was read before and seems unchanged since.

        Raises:
            ModelError: models.lock is damaged.
        """
        fault = self.glance(file)
        if fault is not None:
            return fault
        try:
            return self.compared(file, self.of(file, whole=whole))
        except OSError as error:
            return Fault(f"cannot be read ({error})")

    def glance(self, file: File) -> Fault | None:
        """What the folder tells without reading the file."""
        path = self._folder / file.name
        try:
            return sized(file, path.stat().st_size) if path.is_file() else Fault("is absent")
        except OSError as error:
            return Fault(f"cannot be read ({error})")

    def compared(self, file: File, sums: Mapping[str, str]) -> Fault | None:
        """What checksums tell; writes one down that is seen for the first time.

        Raises:
            ModelError: models.lock is damaged.
        """
        for kind, wanted in (("sha256", file.sha256), ("sha384", file.sha384)):
            if wanted and sums[kind] != wanted:
                return Fault(f"has SHA-{kind[3:]} {sums[kind]}, expected {wanted}")
        if file.sha256 or file.sha384 or Path(file.name).is_absolute():
            return None  # an absolute name is a file of the user's own, elsewhere, who may change it
        found = sums["sha256"]
        advice = records.advice(self._lock)
        known = records.read(self._lock, advice).get(file.name)
        if known is None:
            with contextlib.suppress(OSError):
                records.update(self._lock, {file.name: {"sha256": found, "seen": now()}}, advice)
            return None
        first = known.get("sha256") if isinstance(known, dict) else known
        if first == found:
            return None
        return Fault(f"has SHA-256 {found}, but {first} when it was first seen", changed=True)

    def of(self, file: File, *, whole: bool = False) -> Mapping[str, str]:
        """Checksums of a file here by kind (`sha256`, and `sha384` where its card has one), hexadecimal.

        Raises:
            OSError: It cannot be read.
        """
        path = self._folder / file.name
        state = path.stat()
        stamp = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
        known = records.read(self._read).get(file.name)
        if not whole and isinstance(known, dict) and known.items() >= stamp.items():
            kept = {kind: known[kind] for kind in kinds(file) if isinstance(known.get(kind), str)}
            if len(kept) == len(kinds(file)):
                return kept
        sums = hashed(path, kinds(file))
        if time.time_ns() - state.st_mtime_ns > SETTLED:  # else a later change might keep size and time
            with contextlib.suppress(OSError):
                records.update(self._read, {file.name: {**stamp, **sums}})
        return sums

    def forget(self, file: File, *, first: bool = False) -> None:
        """Forget what was read of a file.

        Args:
            file: Of some card.
            first: Also forget the checksum first seen, so that the next one counts as right.

        Raises:
            OSError: It cannot be written down.
            ModelError: models.lock is damaged.
        """
        if self._read.exists():
            records.update(self._read, {file.name: None})
        if first and self._lock.exists():
            records.update(self._lock, {file.name: None}, records.advice(self._lock))


def sized(file: File, size: int) -> Fault | None:
    """What a number of bytes tells."""
    return Fault(f"has {size:,} bytes, expected {file.bytes:,}") if file.bytes not in (0, size) else None


def now() -> str:
    """The time as a record has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def kinds(file: File) -> tuple[str, ...]:
    """The checksums a file is known by."""
    return ("sha256", "sha384") if file.sha384 else ("sha256",)


def hashed(path: Path, kinds: Sequence[str] = ("sha256",)) -> dict[str, str]:
    """Checksums of a file by kind, hexadecimal, in one reading.

    Raises:
        OSError: It cannot be read.
    """
    sums = {kind: hashlib.new(kind) for kind in kinds}
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            for one in sums.values():
                one.update(block)
    return {kind: one.hexdigest() for kind, one in sums.items()}
