"""Who becomes whom, as it is written on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from mien.errors import SettingsError
from mien.settings import Role

Paths = Annotated[
    tyro.conf.UseAppendAction[tuple[tuple[Path, ...], ...]], tyro.conf.arg(metavar="PATH [PATH ...]")
]
"""Files or folders, several at once or by several options: all of them count."""
ROLE = "SOURCE[,SOURCE...]=WHO"
"""How a role is written."""
_WORDS = r"prominent|all|left|right|largest"
_LIST = r"(person)?[0-9]+(\s*,\s*(person)?[0-9]+)*"
_USE = 'Write SOURCE[,SOURCE...]=WHO, where WHO is {}, such as "ana.jpg=person1".'
_WHO = "prominent, all, left, right, largest, track ids, persons, or a picture of the person"


def joined(given: Paths) -> tuple[Path, ...]:
    """The paths of all options, in order."""
    return tuple(path for some in given for path in some)


def cast(roles: Sequence[str], source: Sequence[Path], faces: str, who: Sequence[Path]) -> tuple[Role, ...]:
    """The roles that `--role`, `--source`, `--faces` and `--who` ask for, in order of precedence.

    Raises:
        SettingsError: A role is not written as SOURCE=WHO, or options contradict each other.
    """
    if who and faces != Role(sources=()).faces:
        raise SettingsError(
            "--who", f"and --faces {faces} both say whose face is replaced", "Give one of them."
        )
    if who and not source and roles:
        advice = 'Give --source too, or write the picture into the role: "ana.jpg=ref.jpg".'
        raise SettingsError("--who", "belongs to --source, which is absent", advice)
    found = [_role(text) for text in roles]
    if source or not found:
        found.append(Role(sources=tuple(source), faces=faces, like=tuple(who)))
    return tuple(found)


def _role(text: str) -> Role:
    """One role; names with `=` are understood as long as it is clear who is meant."""
    cuts = [match.start() for match in re.finditer("=", text)]
    if not cuts:
        raise SettingsError(f"--role {text}", "has no =", _USE.format(_WHO))
    for cut in reversed(cuts):
        who = text[cut + 1 :].strip()
        if re.fullmatch(f"{_WORDS}|{_LIST}", who, re.IGNORECASE):
            return Role(sources=_paths(text[:cut]), faces=who)
        if who and all(path.expanduser().is_file() for path in _paths(who)):
            return Role(sources=_paths(text[:cut]), like=_paths(who))
    who = text[cuts[-1] + 1 :].strip()
    problem = f"{who!r} is neither a word, a track, a person nor a picture that is there"
    raise SettingsError(f"--role {text}", problem, _USE.format(_WHO))


def _paths(text: str) -> tuple[Path, ...]:
    """Paths with commas between them; one file whose name has commas is one path."""
    whole = Path(text.strip())
    if whole.expanduser().exists():
        return (whole,) if text.strip() else ()
    return tuple(Path(part.strip()) for part in text.split(",") if part.strip())
