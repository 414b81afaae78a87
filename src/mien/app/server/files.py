"""Files on this machine: which paths clients may name, and what lies in a folder."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from mien.app.server.errors import Refusal, responses
from mien.errors import MediaError
from mien.media import sequence
from mien.models.deepface import SUFFIX
from mien.run.project import Project
from mien.settings import Cue, Job, Role, Settings, Swap

if TYPE_CHECKING:
    from mien.app.server.state import State

MediaKind: TypeAlias = Literal["video", "image", "animation"]

PICTURES = frozenset((".png", ".apng", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".avif", ".bmp"))
VIDEOS = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "dv", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg"),
        *("mpg", "mts", "mxf", "ogv", "qt", "ts", "vob", "webm", "wmv"),
    )
)
"""Suffixes by which files are listed; what they really are is seen when they are opened."""
MOST = 5000
"""Most entries of a listing."""
_DIGITS = re.compile(r"(\d+)")


class Files:
    """Paths that clients name: absolute, and once every link is followed below an allowed folder.

    Args:
        folders: The allowed folders, resolved.
        uploads: Where uploads go; one of them.
    """

    def __init__(self, folders: Sequence[Path], uploads: Path) -> None:
        self.folders = tuple(folders)
        self.uploads = uploads

    def path(self, text: str | Path) -> Path:
        """The path itself, links followed; whether there is something does not matter.

        Raises:
            Refusal: It is not absolute, leads out of the allowed folders, or is hidden in them.
        """
        given = str(text)
        if not os.path.isabs(given):
            raise Refusal("request", given or "path", "is not an absolute path", status=422)
        try:
            path = Path(given).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, links in a circle
            raise Refusal("request", _shown(given), "is not a path that there can be", status=422) from error
        inside = [path.relative_to(folder) for folder in self.folders if path.is_relative_to(folder)]
        if not any(_is_open(rest) for rest in inside):
            advice = "Start `mien studio` with --folder for the folder it lies in, or upload it."
            raise Refusal("request", _shown(given), "lies outside the allowed folders", advice, 403)
        return path

    def file(self, text: str | Path) -> Path:
        """The path of a file that is there.

        Raises:
            Refusal: There is none, or it is not allowed.
        """
        path = self.path(text)
        if not path.is_file():
            problem = "is a folder" if path.is_dir() else "does not exist"
            raise Refusal("not_found", str(path), problem, "Check the path.")
        return path

    def folder(self, text: str | Path) -> Path:
        """The path of a folder that is there.

        Raises:
            Refusal: There is none, or it is not allowed.
        """
        path = self.path(text)
        if not path.is_dir():
            problem = "is not a folder" if path.exists() else "does not exist"
            raise Refusal("not_found", str(path), problem, "Check the path.")
        return path

    def output(self, text: str | Path, *, overwrite: bool = False) -> Path:
        """The path of a file to write, in a folder that is there.

        Raises:
            Refusal: It is not allowed, or there already.
        """
        path = self.path(text)
        self.folder(path.parent)
        if path.exists() and not overwrite:
            advice = "Give another name, or say that it may be overwritten."
            raise Refusal("conflict", str(path), "exists already", advice)
        return path

    def matching(self, pattern: str) -> tuple[Path, ...]:
        """The files that a pattern such as `/films/*.mp4` stands for, in natural order; or the one it names.

        Raises:
            Refusal: There is none, or the pattern is not allowed.
        """
        if not glob.has_magic(pattern) or os.path.isfile(pattern):  # brackets may be part of a name
            return (self.file(pattern),)
        parts = Path(pattern).parts
        # Several `**` would go through the same folders over and over.
        if not os.path.isabs(pattern) or "\0" in pattern or ".." in parts or parts.count("**") > 1:
            raise Refusal("request", _shown(pattern), "is no pattern of an absolute path", status=422)
        fixed = Path(*_before(pattern))
        self.path(fixed)
        found = []
        for name in glob.iglob(pattern, recursive=True):
            path = self._allowed(Path(name))
            if path is not None and path.is_file() and path.suffix.lower() in PICTURES | VIDEOS:
                found.append(path)
            if len(found) > MOST:
                raise Refusal("request", pattern, f"stands for more than {MOST} files", status=422)
        if not found:
            raise Refusal("not_found", pattern, "stands for no file", "Check the pattern.")
        return tuple(sorted(set(found), key=_natural))

    def _allowed(self, path: Path) -> Path | None:
        try:
            return self.path(path)
        except Refusal:
            return None

    def settings(self, settings: Settings) -> Settings:
        """The same settings, the files they name seen to be allowed.

        Raises:
            Refusal: One is not.
        """
        return settings.model_copy(update={"swap": self._swap(settings.swap)})

    def _swap(self, swap: Swap) -> Swap:
        if not swap.model.lower().endswith(SUFFIX):
            return swap
        return swap.model_copy(update={"model": str(self.file(swap.model))})

    def _cue(self, cue: Cue) -> Cue:
        """A cue with its files seen to be allowed."""
        values = dict(cue.values)
        model = values.get("swap.model")
        if isinstance(model, str) and model.lower().endswith(SUFFIX):
            values["swap.model"] = str(self.file(model))
        return cue.model_copy(update={"sources": tuple(map(self.source, cue.sources)), "values": values})

    def source(self, path: str | Path) -> Path:
        """The path of something that shows a face: a file or a folder of pictures.

        Raises:
            Refusal: It is not there, or not allowed.
        """
        found = self.path(path)
        return self._within(found) if found.is_dir() else self.file(found)

    def _within(self, folder: Path) -> Path:
        """A folder whose own files are seen to lie below the allowed folders, links followed.

        Raises:
            Refusal: A link in it leads out, or it cannot be read.
        """
        try:
            with os.scandir(folder) as found:
                links = [entry.path for entry in found if entry.is_symlink() and entry.name[0] != "."]
        except OSError as error:
            raise Refusal("request", str(folder), f"cannot be read ({error.strerror})", status=403) from error
        for link in links:
            self.path(link)
        return folder

    def _shown(self, path: Path) -> Path:
        """The path of a source that need not be there for the moment.

        Raises:
            Refusal: It is not allowed, or a picture that it stands for is not.
        """
        found = self.path(path)
        if found.is_dir():
            return self._within(found)
        if not found.exists():
            with contextlib.suppress(MediaError):  # not there, which is said when it is used
                if sequence.kind(found) == "sequence":  # a pattern: links may lead out behind it
                    for picture in sequence.expand(found):
                        self.path(picture)
        return found

    def role(self, role: Role) -> Role:
        """The same role, every file it names seen to be allowed and there.

        Raises:
            Refusal: One is not.
        """
        places = {name: tuple(map(self.source, getattr(role, name))) for name in ("sources", "like")}
        return role.model_copy(update={**places, "swap": role.swap and self._swap(role.swap)})

    def job(self, job: Job, *, overwrite: bool = False) -> Job:
        """The same job, every file it names seen to be allowed.

        Raises:
            Refusal: One is not, an input is not there, or the output is.
        """
        return job.model_copy(
            update={
                "target": self.source(job.target),
                "output": self.output(job.output, overwrite=overwrite),
                "cast": tuple(map(self.role, job.cast)),
                "cues": tuple(map(self._cue, job.cues)),
                "settings": self.settings(job.settings),
            }
        )

    def project(self, project: Project) -> Project:
        """The same project, every file it names seen to be allowed, whether or not it is there.

        Raises:
            Refusal: One is not allowed.
        """

        def swap(given: Swap) -> Swap:
            if not given.model.lower().endswith(SUFFIX):
                return given
            return given.model_copy(update={"model": str(self.path(given.model))})

        cast = tuple(
            part.model_copy(
                update={
                    "sources": tuple(map(self._shown, part.sources)),
                    "swap": part.swap and swap(part.swap),
                }
            )
            for part in project.cast
        )

        def cue(given: Cue) -> Cue:
            values = dict(given.values)
            if isinstance(model := values.get("swap.model"), str):
                values["swap.model"] = swap(Swap(model=model)).model
            sources = tuple(map(self._shown, given.sources))
            return given.model_copy(update={"sources": sources, "values": values})

        cues = tuple(map(cue, project.cues))
        return project.model_copy(
            update={
                "target": self.path(project.target),
                "output": project.output and self.path(project.output),
                "cast": cast,
                "identities": tuple(tuple(map(self._shown, paths)) for paths in project.identities),
                "cues": cues,
                "settings": project.settings.model_copy(update={"swap": swap(project.settings.swap)}),
            }
        )


def _is_open(rest: Path) -> bool:
    """Whether nothing of a path below an allowed folder is hidden."""
    return not any(part.startswith(".") for part in rest.parts)


def _shown(text: str) -> str:
    """A path as an error can tell it."""
    return text[:300].encode("utf-8", "replace").decode().replace("\0", "\\0")


def _before(pattern: str) -> Iterator[str]:
    """The parts of a path before the first that stands for several."""
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            return
        yield part


def _natural(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """`2.mp4` before `10.mp4`, capitals among small letters."""
    parts = _DIGITS.split(str(path).casefold())
    return [(0, int(part)) if k % 2 else (1, part) for k, part in enumerate(parts)], str(path)


def kind_of(path: Path) -> MediaKind:
    """What a file is, by its content: a picture's first bytes say it, and a video must be one that opens.

    Raises:
        MediaError: It is neither.
    """
    kind = sequence.kind(path)
    if kind == "image" or kind == "animation":
        return kind
    if kind != "other" or _is_text(path):
        raise MediaError(path, "is neither a picture nor a video", "Give a video or a picture.")
    from mien.media import clip

    clip.probe(path)
    return "video"


def _is_text(path: Path) -> bool:
    """Whether a file is text: play lists and the like, which would lead to other files, are no media."""
    with path.open("rb") as file:
        head = file.read(4096)
    return not any(byte < 9 or 13 < byte < 32 for byte in head)


class Entry(BaseModel):
    """Something in a folder."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    path: str
    kind: Literal["folder", "video", "image", "animation"]
    """By its name; `POST /projects` sees whether it is so."""
    bytes: int | None
    """None for a folder."""


class Listing(BaseModel):
    """What lies in a folder."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    folder: str | None
    """Its path; None for the list of allowed folders."""
    parent: str | None
    """The folder above, where that is allowed."""
    entries: list[Entry]
    more: bool
    """Whether there is more than is listed."""


def _entry(path: Path, name: str = "") -> Entry | None:
    """How a path is listed; None for what is no media."""
    try:
        if path.is_dir():
            return Entry(name=name or path.name, path=str(path), kind="folder", bytes=None)
        suffix = path.suffix.lower()
        size = path.stat().st_size
    except OSError:
        return None
    if suffix in VIDEOS:
        return Entry(name=path.name, path=str(path), kind="video", bytes=size)
    if suffix in PICTURES:
        moving = suffix in (".gif", ".apng")
        return Entry(name=path.name, path=str(path), kind="animation" if moving else "image", bytes=size)
    return None


def is_text_name(name: str) -> bool:
    """Whether a file's name can be said in JSON; undecodable ones cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def listing(files: Files, folder: Path | None) -> Listing:
    """What lies in a folder, folders first; None for the allowed folders themselves.

    Raises:
        Refusal: The folder cannot be read.
    """
    if folder is None:
        roots = [_entry(path, _titled(files, path)) for path in files.folders]
        return Listing(folder=None, parent=None, entries=[e for e in roots if e], more=False)
    try:
        with os.scandir(folder) as found:
            names = sorted((Path(e.path) for e in found if is_text_name(e.name)), key=_natural)
    except OSError as error:
        raise Refusal("request", str(folder), f"cannot be read ({error.strerror})", status=403) from error
    entries = [
        entry
        for path in names
        if not path.name.startswith(".") and _links(files, path) and (entry := _entry(path)) is not None
    ]
    entries.sort(key=lambda entry: entry.kind != "folder")
    above = None if folder in files.folders else str(folder.parent)
    return Listing(folder=str(folder), parent=above, entries=entries[:MOST], more=len(entries) > MOST)


def _titled(files: Files, path: Path) -> str:
    return "Uploads" if path == files.uploads else path.name or str(path)


def _links(files: Files, path: Path) -> bool:
    """Whether an entry does not lead out of the allowed folders."""
    return not path.is_symlink() or files._allowed(path) is not None


def router(state: State) -> APIRouter:
    """Listing folders, and small pictures of what lies there."""
    routes = APIRouter(responses=responses(403, 404))
    files: Files = state.files

    @routes.get("/files")
    def entries(folder: Annotated[str | None, Query(max_length=4096)] = None) -> Listing:
        """Folders and media in a folder; without one the allowed folders."""
        return listing(files, None if folder is None else files.folder(folder))

    return routes
