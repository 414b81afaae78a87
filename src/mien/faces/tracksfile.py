"""The tracks file: what pass one knows about a clip, on disk, versioned.

Layout, little-endian: a preamble of 32 bytes (`MIENTRAK`, version, points of a face, position and length
of the directory), the dense records of all tracks one after another (`rows`), the columns, look and
embedding of each track, and last the directory, JSON. Dense rows come first, so that smoothing can write them
as they are made.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from mien.errors import JobError
from mien.faces.rows import FileRows, pack, record_bytes
from mien.types import Array, Track, Tracks

VERSION = 3
_MAGIC = b"MIENTRAK"
_PREAMBLE = struct.Struct("<8sIIQQ")
_CHUNK = 256
"""Dense rows that are in memory at once."""
_COLUMNS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("box", "<f8", (4,)),
    ("points", "<f8", (5, 2)),
    ("score", "<f4", ()),
    ("observed", "u1", ()),
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A track as the directory lists it."""

    track: Track
    row: int
    """Record number of its first dense row."""


class Writer:
    """Writes a tracks file; the file appears under its name only when complete. A context manager.

    Dense rows of one track are appended with `rows`, then `track` adds its columns. `finish` completes.
    """

    def __init__(self, path: Path, points: int = 468) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._points = points
        self._entries: list[_Entry] = []
        self._rows = 0
        self._first = 0
        self._file: BinaryIO = self._part.open("wb")
        self._file.write(bytes(_PREAMBLE.size))

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def rows(self, dense: Array) -> None:
        """Append (k, N, 3) dense landmarks of the track that is being written."""
        self._file.write(pack(dense))
        self._rows += len(dense)

    def track(self, track: Track) -> None:
        """Add the track whose rows were appended since the last call.

        Raises:
            ValueError: The number of rows differs from the track's length.
        """
        if self._rows - self._first != len(track):
            raise ValueError(f"rows: expected {len(track)}, got {self._rows - self._first}")
        self._entries.append(_Entry(track, self._first))
        self._first = self._rows

    def finish(
        self,
        frames: int,
        size: tuple[int, int],
        shots: Sequence[int],
        clip: str,
        people: Mapping[int, int],
        embedder: str = "",
    ) -> None:
        """Write columns and directory and give the file its name.

        Args:
            frames: Number of frames of the clip.
            size: Display width and height.
            shots: First frame of every shot.
            clip: Fingerprint of the clip.
            people: Track id to person, where it differs from the track's own field.
            embedder: Card of the network that gave the embeddings.
        """
        entries = [self._columns(entry, people) for entry in self._entries]
        directory = {
            "version": VERSION,
            "frames": frames,
            "size": list(size),
            "shots": [int(s) for s in shots],
            "clip": clip,
            "embedder": embedder,
            "tracks": entries,
        }
        text = json.dumps(directory, separators=(",", ":"), sort_keys=True).encode()
        where = self._file.tell()
        self._file.write(text)
        self._file.seek(0)
        self._file.write(_PREAMBLE.pack(_MAGIC, VERSION, self._points, where, len(text)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)

    def _columns(self, entry: _Entry, people: Mapping[int, int]) -> dict[str, Any]:
        track = entry.track
        where = self._file.tell()
        data = b"".join(
            np.ascontiguousarray(getattr(track, name)).astype(kind).tobytes() for name, kind, _ in _COLUMNS
        )
        look = np.zeros((4, 0), np.float32) if track.look is None else track.look
        embedding = np.zeros(0, np.float32) if track.embedding is None else track.embedding
        data += b"".join(np.ascontiguousarray(more).astype("<f4").tobytes() for more in (look, embedding))
        self._file.write(data)
        return {
            "id": track.id,
            "start": track.start,
            "length": len(track),
            "shot": track.shot,
            "person": people.get(track.id, track.person),
            "row": entry.row,
            "columns": where,
            "look": look.shape[1],
            "embedding": len(embedding),
            "crc": zlib.crc32(data),
        }


def save(tracks: Tracks, path: Path) -> None:
    """Write `tracks` to `path`, dense rows chunk by chunk; atomic."""
    points = next((rows[0:1].shape[1] for rows in tracks.dense.values() if len(rows)), 468)
    with Writer(path, points) as writer:
        for track in tracks.tracks:
            rows = tracks.dense[track.id]
            for k in range(0, len(track), _CHUNK):
                writer.rows(rows[k : min(k + _CHUNK, len(track))])
            writer.track(track)
        writer.finish(tracks.frames, tracks.size, tracks.shots, tracks.clip, {}, tracks.embedder)


def load(path: Path) -> Tracks:
    """Read a tracks file; dense rows stay on disk until they are asked for.

    Raises:
        JobError: No such file, another kind of file, another version, or damaged.
    """
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            directory, points = _directory(path, file, total)
            entries = [(entry, _track(path, file, entry)) for entry in directory["tracks"]]
    except OSError as error:
        raise JobError(
            path, f"cannot be read ({error.strerror})", "Run `mien analyse` to make it."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    dense = {
        track.id: FileRows(path, _PREAMBLE.size + entry["row"] * record_bytes(points), len(track), points)
        for entry, track in entries
    }
    return Tracks(
        frames=int(directory["frames"]),
        size=(int(directory["size"][0]), int(directory["size"][1])),
        shots=tuple(int(s) for s in directory["shots"]),
        tracks=tuple(track for _, track in entries),
        dense=dense,
        clip=str(directory["clip"]),
        embedder=str(directory["embedder"]),
    )


def _damaged(path: Path, what: str) -> JobError:
    return JobError(path, f"is damaged: {what}", "Delete it and run `mien analyse` again.")


def _directory(path: Path, file: BinaryIO, total: int) -> tuple[dict[str, Any], int]:
    """The directory of an open tracks file and the number of points of a face."""
    head = file.read(_PREAMBLE.size)
    if len(head) < _PREAMBLE.size or not head.startswith(_MAGIC):
        raise JobError(path, "is not a tracks file", "Make one with `mien analyse`.")
    _, version, points, where, length = _PREAMBLE.unpack(head)
    if version != VERSION:
        problem = f"is a tracks file of version {version}, this program reads version {VERSION}"
        raise JobError(path, problem, "Run `mien analyse` again.")
    if where + length != total:
        raise _damaged(path, f"{total} bytes long, expected {where + length}")
    file.seek(where)
    directory: dict[str, Any] = json.loads(file.read(length))
    return directory, int(points)


def _track(path: Path, file: BinaryIO, entry: Mapping[str, Any]) -> Track:
    """The track of one directory entry, columns checked."""
    n = int(entry["length"])
    widths = [n * np.dtype(kind).itemsize * int(np.prod(shape, dtype=int)) for _, kind, shape in _COLUMNS]
    samples, numbers = int(entry["look"]), int(entry["embedding"])
    file.seek(int(entry["columns"]))
    data = file.read(sum(widths) + 4 * 4 * samples + 4 * numbers)
    if zlib.crc32(data) != entry["crc"]:
        raise _damaged(path, f"the columns of track {entry['id']} have another checksum")
    columns: dict[str, Array] = {}
    at = 0
    for (name, kind, shape), width in zip(_COLUMNS, widths, strict=True):
        columns[name] = np.frombuffer(data, kind, width // np.dtype(kind).itemsize, at).reshape(n, *shape)
        at += width
    look = np.frombuffer(data, "<f4", 4 * samples, at).reshape(4, samples).astype(np.float32)
    embedding = np.frombuffer(data, "<f4", numbers, at + 4 * 4 * samples).astype(np.float32)
    return Track(
        id=int(entry["id"]),
        start=int(entry["start"]),
        box=columns["box"].astype(np.float64),
        points=columns["points"].astype(np.float64),
        score=columns["score"].astype(np.float64),
        observed=columns["observed"].astype(bool),
        shot=int(entry["shot"]),
        person=int(entry["person"]),
        look=look if samples else None,
        embedding=embedding if numbers else None,
    )
