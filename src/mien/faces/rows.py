"""Dense landmarks on disk: fixed-size records that are read a few at a time.

A record holds the face's centre and step as float32 and every coordinate as an int16 multiple of the
step from that centre. The step is the face's own half extent / 32767, so the error is at most half a step:
0.003 px for a face of 400 px, 0.02 px for one of 2600 px, at half the bytes of float32.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from mien.types import Array, Float64, Int64

_HEAD = 4
"""float32 values before the coordinates: centre x, y, z and step."""
_AHEAD = 32
"""Rows read at once: opening the file for every frame would wait for other threads each time."""
_TOGETHER = 32
"""Rows that are packed and written in one go: one alone costs ten times as much."""
_BRIDGE = 16
"""Records between two wanted ones that are read along rather than seeked over."""


def record_bytes(points: int) -> int:
    """Size in bytes of one record of `points` 3-D points."""
    return 4 * _HEAD + 2 * 3 * points


def pack(dense: Array) -> bytes:
    """Records of (k, N, 3) landmarks.

    Raises:
        ValueError: A coordinate is not finite.
    """
    dense = _finite(np.asarray(dense, np.float64))
    k, n, _ = dense.shape
    low, high = dense.min(axis=1), dense.max(axis=1)
    centre = ((low + high) / 2).astype(np.float32)
    away = dense - centre[:, None]
    step = np.maximum(np.abs(away).max(axis=(1, 2)) / 32767, 1e-9).astype(np.float32)
    out = np.empty((k, record_bytes(n)), np.uint8)
    head = np.concatenate([centre, step[:, None]], axis=1).astype("<f4")
    out[:, : 4 * _HEAD] = head.view(np.uint8).reshape(k, -1)
    codes = np.clip(np.rint(away / step[:, None, None]), -32767, 32767).astype("<i2")
    out[:, 4 * _HEAD :] = codes.reshape(k, -1).view(np.uint8).reshape(k, -1)
    return out.tobytes()


def _finite(dense: Float64) -> Float64:
    if not np.isfinite(dense).all():
        raise ValueError("dense: expected finite coordinates")
    return dense


def unpack(data: bytes | bytearray | memoryview, points: int) -> Float64:
    """(k, N, 3) landmarks of consecutive records."""
    raw = np.frombuffer(data, np.uint8).reshape(-1, record_bytes(points))
    head = np.ascontiguousarray(raw[:, : 4 * _HEAD]).view("<f4").astype(np.float64)
    codes = np.ascontiguousarray(raw[:, 4 * _HEAD :]).view("<i2").reshape(len(raw), points, 3)
    return np.asarray(head[:, None, :3] + codes * head[:, 3, None, None], np.float64)


@dataclass(slots=True, eq=False)
class FileRows:
    """Consecutive records of a file as `types.Rows`: read a few ahead, for frames come in order."""

    path: Path
    offset: int
    """Byte position of the first record."""
    count: int
    points: int
    _kept: tuple[int, Float64] = field(default_factory=lambda: (0, np.zeros((0, 0, 3))), repr=False)
    """Number of the first row that was read last, and the rows from there; replaced as a whole."""

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice) -> Float64:
        """(k, N, 3) landmarks of a slice.

        Raises:
            ValueError: The file has been shortened since it was opened.
        """
        first, last, stride = rows.indices(self.count)
        if last <= first or stride < 1:
            return np.zeros((0, self.points, 3))
        begin, kept = self._kept
        if not begin <= first < last <= begin + len(kept):
            begin, kept = first, self._read(first, min(self.count, max(last, first + _AHEAD)))
            if len(kept) <= _AHEAD:
                self._kept = begin, kept
        return kept[first - begin : last - begin : stride].copy()

    def _read(self, first: int, last: int) -> Float64:
        size = record_bytes(self.points)
        with self.path.open("rb") as file:
            file.seek(self.offset + first * size)
            data = file.read((last - first) * size)
        if len(data) != (last - first) * size:
            raise ValueError(
                f"{self.path}: expected {last - first} records at row {first}, the file is shorter"
            )
        return unpack(data, self.points)


class Spill:
    """Dense landmarks written while following, read back by record number; a context manager."""

    def __init__(self, path: Path, points: int) -> None:
        self.path = path
        self.points = points
        self._size = record_bytes(points)
        self._count = 0
        self._late: list[Float64] = []
        """What is not written yet."""
        self._file: BinaryIO = path.open("w+b")

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it stays on disk."""
        try:
            self._write()
        finally:
            self._file.close()

    def append(self, dense: Array) -> int:
        """Take (k, N, 3) landmarks, to be written soon; the number of the first new record.

        Raises:
            ValueError: A coordinate is not finite.
        """
        first = self._count
        self._late.append(_finite(np.array(dense, np.float64)))
        self._count += len(dense)
        if sum(map(len, self._late)) >= _TOGETHER:
            self._write()
        return first

    def _write(self) -> None:
        if self._late:
            late, self._late = self._late, []
            self._file.seek(0, 2)
            self._file.write(pack(np.concatenate(late)))

    def read(self, records: Int64) -> Float64:
        """(k, N, 3) landmarks of these record numbers, in their order."""
        self._write()
        out = np.empty((len(records), self.points, 3))
        order = np.argsort(records, kind="stable")
        ranked = records[order]
        breaks = np.flatnonzero(np.diff(ranked) > _BRIDGE) + 1
        for part in np.split(np.arange(len(ranked)), breaks):
            if len(part) == 0:
                continue
            first, last = int(ranked[part[0]]), int(ranked[part[-1]])
            self._file.seek(first * self._size)
            run = unpack(self._file.read((last - first + 1) * self._size), self.points)
            out[order[part]] = run[ranked[part] - first]
        return out
