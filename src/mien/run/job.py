"""The folder of a job: what was asked, what pass one found, and the segments that are finished.

    FOLDER/
      job.json              the job, its inputs' fingerprints and its id
      result.json           what the finished job reports; written last
      engines.json          what the finished segments were made with, and how long they are
      lock                  held by the process that works here
      NAME.tracks           pass one, by the id of the analysis
      segments/000003-0000750-0001000.mp4
                            finished segments: number, first frame, frame after the last

A segment appears by atomic rename, so a file that is there is whole. Everything else can be made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from mien.errors import JobError
from mien.models import installed
from mien.settings import Job, Settings
from mien.types import Segment

FORMAT = 1
"""Raised whenever folders of an older program can no longer be continued."""
PROGRAMS = ("mien", "av", "numpy", "opencv-python-headless", "openvino", "onnxruntime")
"""Packages whose version may change the bytes of a result."""


def digest(value: object) -> str:
    """SHA-256 of a JSON value in canonical form: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _program() -> dict[str, object]:
    """What besides the job decides the bytes of its result: the programs."""
    return {"format": FORMAT, **installed.versions(PROGRAMS)}


def job_id(job: Job, inputs: Mapping[str, str], cards: Mapping[str, str]) -> str:
    """The job's id: 64 hexadecimal digits.

    Args:
        job: With absolute paths.
        inputs: Absolute path of every input file to its fingerprint.
        cards: Name of every card that is used to its checksum.
    """
    canonical = job.model_dump(mode="json")
    return digest({"program": _program(), "job": canonical, "inputs": dict(inputs), "cards": dict(cards)})


def analysis_id(clip: str, settings: Settings, cards: Mapping[str, str]) -> str:
    """Id of pass one: it depends on the clip, on how faces are found and followed, on the models and on what
    was asked to run them."""
    device = {"engine": True, "precision": True}
    asked = settings.model_dump(mode="json", include={"detect": True, "track": True, "device": device})
    return digest({"program": _program(), "clip": clip, "settings": asked, "cards": dict(cards)})


@dataclass(frozen=True)
class Folder:
    """A job's folder on disk."""

    path: Path

    @property
    def segments(self) -> Path:
        """Folder of the finished segments."""
        return self.path / "segments"

    def segment(self, segment: Segment, suffix: str) -> Path:
        """Where a segment lies when it is finished; `suffix` begins with a dot."""
        return self.segments / f"{segment.number:06d}-{segment.start:07d}-{segment.end:07d}{suffix}"

    def prepare(self, job: Job, number: str) -> None:
        """Make the folder and write down the job, or see that it is the same job's.

        Raises:
            JobError: The folder holds another job or cannot be written.
        """
        record = self.record()
        if record is not None and record["id"] != number:
            raise JobError(
                self.path,
                f"holds another job ({record['id'][:12]}, target {record['job'].get('target')})",
                "Give another --job folder, or remove this one: settings or inputs differ.",
            )
        try:
            self.segments.mkdir(parents=True, exist_ok=True)
            if record is None:
                write_json(
                    self.path / "job.json",
                    {"id": number, "created": time.time(), "job": job.model_dump(mode="json")},
                )
        except OSError as error:
            raise JobError(
                self.path, f"cannot be written ({error.strerror})", "Give a --job folder."
            ) from error

    def record(self) -> dict[str, Any] | None:
        """What job.json says; None where there is none.

        Raises:
            JobError: job.json cannot be read.
        """
        return _read_json(self.path / "job.json", ("id", "created", "job"))

    def result(self) -> dict[str, Any] | None:
        """What the finished job reported; None before."""
        return _read_json(self.path / "result.json", ("output",))

    def engines(self) -> dict[str, Any]:
        """Network to the engine that the finished segments were made with; empty before the first."""
        return _read_json(self.path / "engines.json", ()) or {}

    def note_engines(self, engines: Mapping[str, str]) -> None:
        """Write down what the networks run on."""
        write_json(self.path / "engines.json", dict(engines))

    def job(self) -> Job:
        """The job that the folder holds.

        Raises:
            JobError: There is none, or this program cannot read it.
        """
        record = self.record()
        if record is None:
            raise JobError(self.path, "holds no job", "`mien jobs` lists what there is.")
        try:
            return Job.model_validate(record["job"])
        except ValidationError as error:
            raise JobError(
                self.path,
                f"was made by another version ({error.error_count()} settings differ)",
                "Start it anew.",
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out while the block runs. The lock ends with the process, however it ends.

        Raises:
            JobError: Somebody else works here.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # without a buffer, so that closing has nothing left to write when the disk is full
            opened = (self.path / "lock").open("a+b", buffering=0)
        except OSError as error:
            raise self._refused(error) from error
        with opened as file:
            if not _lock(file):
                file.seek(0)
                owner = file.read().decode(errors="replace").strip() or "unknown"
                raise JobError(
                    self.path, f"is being worked on by process {owner}", "Wait for it, or stop it first."
                )
            try:
                file.truncate(0)
                file.write(f"{os.getpid()}\n".encode())
            except OSError as error:
                raise self._refused(error) from error
            yield

    def _refused(self, error: OSError) -> JobError:
        return JobError(self.path, f"cannot be written ({error.strerror})", "Give another --job folder.")

    @property
    def busy(self) -> bool:
        """Whether a process works here right now."""
        try:
            with (self.path / "lock").open("r+b", buffering=0) as file:
                return not _lock(file)
        except OSError:
            return False

    def clean(self) -> int:
        """Remove the segments; returns the bytes this freed."""
        freed = _size(self.segments)
        shutil.rmtree(self.segments, ignore_errors=True)
        return freed - _size(self.segments)

    def remove(self) -> int:
        """Remove the whole folder if nobody works in it; returns the bytes this freed.

        Raises:
            JobError: Somebody works here.
        """
        with self.locked():
            freed = _size(self.path)
            shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)  # Windows keeps the lock file while it is open
        return freed


@dataclass(frozen=True)
class Entry:
    """One line of `mien jobs`."""

    id: str
    folder: Path
    target: str
    output: str
    state: str
    """`running`, `finished` or `stopped`."""
    segments: int
    """Finished segments that lie in the folder."""
    bytes: int
    created: float
    """Seconds since 1970."""


def entries(home: Path) -> tuple[Entry, ...]:
    """All jobs in a folder of jobs, oldest first; folders that cannot be read are left out."""
    found = []
    for path in sorted(home.glob("*/job.json")):
        folder = Folder(path.parent)
        try:
            record = folder.record()
            result = folder.result()
        except JobError:
            continue
        if record is None:
            continue
        state = "running" if folder.busy else "finished" if result else "stopped"
        found.append(
            Entry(
                id=str(record["id"]),
                folder=folder.path,
                target=str(record["job"].get("target", "")),
                output=str(record["job"].get("output", "")),
                state=state,
                segments=len([p for p in folder.segments.glob("*-*-*.*") if not p.name.startswith(".")]),
                bytes=_size(folder.path),
                created=float(record["created"]),
            )
        )
    return tuple(sorted(found, key=lambda entry: entry.created))


def find(home: Path, name: str) -> Folder:
    """The job whose id begins with `name`, or the folder of that path.

    Raises:
        JobError: There is none, or several.
    """
    if (Path(name) / "job.json").is_file():
        return Folder(Path(name))
    matches = [entry for entry in entries(home) if name and entry.id.startswith(name)]
    if len(matches) != 1:
        problem = "fits several jobs" if matches else "is no job"
        raise JobError(name or "job", problem, "`mien jobs` lists the ids; the first characters are enough.")
    return Folder(matches[0].folder)


def remove(entry: Entry) -> int:
    """Remove a job's folder if nobody works in it; returns the bytes this freed."""
    return Folder(entry.folder).remove()


def write_json(path: Path, value: object) -> None:
    """Write a JSON file so that it is either whole or not there."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(value, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _read_json(path: Path, needed: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JobError(
            path, f"cannot be read ({error})", "Remove the job's folder and start it anew."
        ) from error
    if not isinstance(value, dict) or any(key not in value for key in needed):
        raise JobError(path, "is not a job's file", "Remove the job's folder and start it anew.")
    return value


def _size(path: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


def _lock(file: IO[bytes]) -> bool:
    """Take the file's lock without waiting; False where another open file has it."""
    if os.name == "nt":
        import msvcrt

        try:
            file.seek(1 << 30)  # beyond the text, which must stay readable to others
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        finally:
            file.seek(0)
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
