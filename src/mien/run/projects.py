"""The projects of a home: a folder each, with the document, and how often it was changed.

    HOME/projects/
      first-film-3f2a9c/project.toml     the document; may be edited by hand
      first-film-3f2a9c/revision.json    its revision, and the checksum of the text that had it

Whoever changes a project says which revision was changed, so that nobody's work is lost to another page. The
document is written first: where the checksum is another one, by hand or by a stop in between, it is one more.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mien.errors import JobError, MienError
from mien.run import project as documents
from mien.run.job import Folder, write_json
from mien.run.project import Project

DOCUMENT = "project.toml"
_REVISION = "revision.json"
PATIENCE = 10.0
"""Seconds that a change waits for one of another process."""
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Held:
    """A project as it is kept."""

    id: str
    revision: int
    """Goes up by one with every change."""
    changed: float
    """When, in seconds since 1970."""
    project: Project


class UnknownProject(JobError):  # noqa: N818
    """There is no project of this id."""


class Conflict(JobError):  # noqa: N818
    """Somebody else has changed the project meanwhile."""

    def __init__(self, held: Held, given: int) -> None:
        problem = f"was changed meanwhile: it is at revision {held.revision}, the change was made to {given}"
        super().__init__(held.id, problem, "Look at the newer one and repeat the change there.")
        self.held = held


class Projects:
    """The projects of one home. Safe to use from several threads.

    Args:
        home: The cache, an existing or new folder.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "projects"
        self._lock = threading.Lock()

    def all(self) -> tuple[Held, ...]:
        """Every project that can be read, the one changed last first."""
        found = []
        for path in sorted(self.folder.glob(f"*/{DOCUMENT}")):
            with suppress(MienError):
                found.append(self.held(path.parent.name))
        return tuple(sorted(found, key=lambda held: -held.changed))

    def held(self, name: str) -> Held:
        """One project.

        Raises:
            UnknownProject: There is none of this id.
            SettingsError: Its document is not as it must be.
            JobError: It cannot be read.
        """
        with self._lock:  # not in the middle of a change of this process
            return self._held(name)

    def _held(self, name: str) -> Held:
        path = self.path(name)
        with self._told(path):
            try:
                content = path.read_bytes()
                changed = path.stat().st_mtime
            except FileNotFoundError as error:
                raise UnknownProject(
                    name, "is no project that there is", "`GET /api/projects` lists them."
                ) from error
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise JobError(path, "is not UTF-8 text", "Mend the file, or remove the project.") from error
        return Held(name, self._revision(path, content), changed, documents.parsed(text, path))

    def _revision(self, path: Path, content: bytes) -> int:
        """The revision of a document's text."""
        try:
            value = json.loads(path.with_name(_REVISION).read_text(encoding="utf-8"))
            number, known = int(value["revision"]), str(value["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return 1
        return number if known == _digest(content) else number + 1

    def make(self, project: Project) -> Held:
        """Keep a new project.

        Raises:
            MediaError: It cannot be written.
            JobError: The same, for its folder.
        """
        name = f"{_slug(project.name or project.target.stem)}-{secrets.token_hex(3)}"
        with self._lock:
            path = self.path(name)
            with self._told(path):
                path.parent.mkdir(parents=True)
            return self._write(name, project, 1)

    def put(self, name: str, revision: int, project: Project) -> Held:
        """Keep a changed project.

        Args:
            name: Its id.
            revision: Of what was changed.
            project: What it is now.

        Raises:
            UnknownProject: There is none of this id.
            Conflict: It has another revision.
            MediaError: It cannot be written.
        """
        with self._lock, self._alone():
            now = self._held(name)
            if now.revision != revision:
                raise Conflict(now, revision)
            return now if now.project == project else self._write(name, project, revision + 1)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A block that no other process's change comes into: several servers may have the same home.

        Raises:
            JobError: Another one takes too long.
        """
        end = time.monotonic() + PATIENCE
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(Folder(self.folder).locked())
                    break
                except JobError:
                    if time.monotonic() > end or not os.access(self.folder, os.W_OK):
                        raise
                    time.sleep(0.01)
            yield

    def _write(self, name: str, project: Project, revision: int) -> Held:
        path = self.path(name)
        documents.write(project, path)
        with self._told(path):
            content = path.read_bytes()
            write_json(path.with_name(_REVISION), {"revision": revision, "sha256": _digest(content)})
            return Held(name, revision, path.stat().st_mtime, project)

    def remove(self, name: str) -> None:
        """Forget a project; clips and results stay.

        Raises:
            UnknownProject: There is none of this id.
        """
        with self._lock, self._alone():
            path = self.path(name)
            if not path.is_file():
                raise UnknownProject(name, "is no project that there is", "`GET /api/projects` lists them.")
            with self._told(path):
                path.unlink()
                shutil.rmtree(path.parent, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Where a project's document lies, whether or not it is there.

        Raises:
            UnknownProject: No project can have this id.
        """
        if len(name) > 80 or not _ID.fullmatch(name):
            raise UnknownProject(name or "project", "is no project's id", "`GET /api/projects` lists them.")
        return self.folder / name / DOCUMENT

    @contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        """A block whose failures of the disk are said with the place."""
        try:
            yield
        except OSError as error:
            advice = "Make room there, or see who may write there."
            raise JobError(path, f"cannot be used ({error.strerror or error})", advice) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _slug(name: str) -> str:
    """A name in small letters, digits and hyphens, at most 40 of them."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "project"
