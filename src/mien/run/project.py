"""A project: one readable TOML file that says everything about a render, made by hand or by the studio.

project = read(Path("film.toml"))
for event in verbs.swap(project.job(Path("out.mp4"))):
    ...
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from mien.errors import JobError, SettingsError
from mien.media.atomic import atomic
from mien.models.deepface import SUFFIX
from mien.run import toml
from mien.settings import Cue, Enhance, Job, Mask, Role, Section, Settings, Swap

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,31}$")]
"""How a person is called in a project: `person1` as analysed; any other small word for one put together."""


class Person(Section):
    """Somebody in the clip: a name, and corrections of what the analysis found."""

    id: Name
    """`person1` and so on as the analysis numbers them, or a new one with tracks of its own."""
    name: str = ""
    """What the person is called; empty: the id."""
    tracks: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Ids of the tracks that show this person; none: those that the analysis gave. Whoever loses a track by
    it is listed, too, with those that are left."""


class Part(Section):
    """A new face for a person."""

    person: Name
    """Id of the person whose face is replaced."""
    sources: tuple[Path, ...] = ()
    """Pictures or videos that show the new face; without one nothing is replaced yet, `.dfm` swappers
    excepted."""
    off: bool = False
    """Whether this is left out for now."""
    swap: Swap | None = None
    """This person's own settings; None for those of the project."""
    mask: Mask | None = None
    """The same for the mask."""
    enhance: Enhance | None = None
    """The same for the enhancer."""


class Project(Section):
    """Everything about one render but the place of its result."""

    format: Literal[1] = 1
    """Version of this form."""
    name: str = ""
    """What the project is called."""
    target: Path
    """The clip to change."""
    output: Path | None = None
    """The file to write where none is asked for."""
    start: str = ""
    """First moment that is rendered: seconds ("12.5"), a clock time ("1:02.5") or a frame ("250f"); empty:
    the beginning."""
    end: str = ""
    """Moment after the last one, written like `start`; empty: the end."""
    people: tuple[Person, ...] = ()
    """Names and corrections."""
    cast: tuple[Part, ...] = ()
    """Who becomes whom."""
    identities: tuple[Annotated[tuple[Path, ...], Field(min_length=1)], ...] = ()
    """New faces to choose from, each of one or more pictures or videos; nobody has to have them, and those of
    `cast` need not be among them."""
    cues: tuple[Cue, ...] = ()
    """What is otherwise in parts of the clip; their roles are numbers of `cast`, from 1."""
    settings: Settings = Settings()
    """Everything else."""

    def job(self, output: Path | None = None, *, start: str = "", end: str = "") -> Job:
        """The work that renders this project.

        Args:
            output: The file to write; None for the project's own.
            start: Another first moment; empty for the project's.
            end: Another end.

        Raises:
            SettingsError: There is no output, or nobody is to be changed.
        """
        place = output or self.output
        if place is None:
            raise SettingsError("output", "is not given", "Say where the result goes.")
        kept = [k for k, part in enumerate(self.cast) if self._is_on(part)]
        if not kept:
            raise SettingsError("cast", "changes nobody", "Give somebody a picture of a new face.")
        numbers = {k + 1: new for new, k in enumerate(kept, 1)}
        return Job(
            target=self.target,
            output=place,
            cast=tuple(self._role(self.cast[k]) for k in kept),
            start=start or self.start,
            end=end or self.end,
            whole=True,
            cues=tuple(moved for cue in self.cues if (moved := _moved(cue, numbers, len(self.cast)))),
            settings=self.settings,
        )

    def _is_on(self, part: Part) -> bool:
        """Whether a part changes somebody."""
        known = (part.swap or self.settings.swap).model.lower().endswith(SUFFIX)
        return not part.off and (bool(part.sources) or known)

    def _role(self, part: Part) -> Role:
        tracks = next((person.tracks for person in self.people if person.id == part.person), ())
        return Role(
            sources=part.sources,
            faces=",".join(map(str, tracks)) or part.person,
            swap=part.swap,
            mask=part.mask,
            enhance=part.enhance,
        )


def _moved(cue: Cue, numbers: dict[int, int], count: int) -> Cue | None:
    """A cue for a cast of which some parts are left out; None where all that it is for are.

    Args:
        cue: With numbers of the whole cast.
        numbers: Old number to new one, of the parts that stay.
        count: How many parts the whole cast has.
    """
    if not cue.roles:
        return cue
    # A number that no part has is kept beyond all others, so that it is refused where it would be.
    kept = tuple(numbers.get(n, n) for n in cue.roles if n in numbers or n > count)
    return cue.model_copy(update={"roles": kept}) if kept else None


def text(project: Project) -> str:
    """The project as TOML; what is as usual is left out.

    Raises:
        SettingsError: A path or name cannot be written as text.
    """
    told: dict[str, Any] = {"format": project.format}
    told |= project.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return toml.text(told)


def parsed(content: str, place: Path) -> Project:
    """The project that a TOML text says; relative paths are those of the folder it lies in.

    Args:
        content: The text.
        place: Where it lies.

    Raises:
        SettingsError: It is no TOML, or says something else than a project.
    """
    try:
        value = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            place, f"is not valid TOML: {error}", "Mend the file, or make it anew."
        ) from error
    try:
        project = Project.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        problem = f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise SettingsError(place, problem, "Mend that line; all others may be right.") from error
    return placed(project, place.parent)


def placed(project: Project, folder: Path) -> Project:
    """The same project, every relative path taken from a folder; `~` is the user's own."""

    def at(path: Path) -> Path:
        return Path(os.path.abspath(folder / path.expanduser()))

    def swap(given: Swap) -> Swap:
        if not given.model.lower().endswith(SUFFIX):
            return given
        return given.model_copy(update={"model": str(at(Path(given.model)))})

    cast = tuple(
        part.model_copy(
            update={"sources": tuple(map(at, part.sources)), "swap": part.swap and swap(part.swap)}
        )
        for part in project.cast
    )

    def cue(given: Cue) -> Cue:
        values = dict(given.values)
        if isinstance(model := values.get("swap.model"), str):
            values["swap.model"] = swap(Swap(model=model)).model
        return given.model_copy(update={"sources": tuple(map(at, given.sources)), "values": values})

    cues = tuple(map(cue, project.cues))
    identities = tuple(tuple(map(at, sources)) for sources in project.identities)
    settings = project.settings.model_copy(update={"swap": swap(project.settings.swap)})
    places = {"target": at(project.target), "output": project.output and at(project.output)}
    parts = {"cast": cast, "identities": identities, "cues": cues, "settings": settings}
    return project.model_copy(update={**places, **parts})


def read(path: Path) -> Project:
    """The project in a file.

    Raises:
        JobError: The file cannot be read.
        SettingsError: It is no project.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise JobError(path, "is not UTF-8 text", "Give a project's TOML file.") from error
    except OSError as error:
        raise JobError(path, f"cannot be read ({error.strerror})", "Give a project's TOML file.") from error
    return parsed(content, path.absolute())


def write(project: Project, path: Path) -> None:
    """Write a project's file, whole or not at all.

    Raises:
        MediaError: It cannot be written.
    """
    content = text(project).encode()
    with atomic(path) as file:
        file.write(content)
