"""Many jobs at once: every source on every target, each result under a name of its own."""

from __future__ import annotations

import string
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mien.errors import MediaError, SettingsError
from mien.media import animation, codecs, picture, sequence
from mien.settings import Job, Role, Settings

NAME = "{target}_{source}"
"""How results are called where nothing else is said."""
FIELDS = ("target", "source", "number")
"""What a name may hold: the names of both without their endings, and the number of the job, from 1."""
MOST = 10_000
"""Most jobs of a batch."""
LONGEST = 200
"""Most bytes of a name without its ending; file systems take 255 in all."""


def batch(
    sources: Sequence[Path],
    targets: Sequence[Path],
    folder: Path,
    name: str = NAME,
    settings: Settings | None = None,
    *,
    faces: str = "prominent",
    taken: Collection[Path] = (),
) -> tuple[Job, ...]:
    """One job for every pair, target by target.

    No two results have the same name, also where capitals do not count, and none that of a file that is
    there: a number is put behind the name.

    Args:
        sources: Each alone is a new face.
        targets: Videos, pictures, animations, folders of pictures.
        folder: Where the results go.
        name: Of a result, without its ending, with `{target}`, `{source}` and `{number}`.
        settings: Of all jobs.
        faces: Whose face is replaced, as in `Role`.
        taken: Files that other jobs will write.

    Raises:
        SettingsError: The name holds something else, or there are too many pairs or none.
        MediaError: A target cannot be read.
    """
    _check(name)
    if not sources or not targets:
        raise SettingsError("sources" if targets else "targets", "is empty", "Give at least one path.")
    if len(sources) * len(targets) > MOST:
        text = f"{len(sources)} × {len(targets)} are more than {MOST} jobs"
        raise SettingsError("sources, targets", text, "Give fewer at once.")
    used = {_key(path) for path in taken}
    if folder.is_dir():
        used |= {_key(path) for path in folder.iterdir()}
    jobs: list[Job] = []
    for target in targets:
        suffix = _suffix(target, (settings or Settings()).encode.codec)
        for source in sources:
            stem = _stem(name, target, source, len(jobs) + 1)
            output = next(path for path in _names(folder, stem, suffix) if _key(path) not in used)
            used.add(_key(output))
            cast = (Role(sources=(source,), faces=faces),)
            jobs.append(Job(target=target, output=output, cast=cast, settings=settings or Settings()))
    return tuple(jobs)


def _check(name: str) -> None:
    """See that a name can be filled in.

    Raises:
        SettingsError: It cannot, or would leave the folder.
    """
    advice = f"Use {', '.join(f'{{{field}}}' for field in FIELDS)} and plain text."
    try:
        parts = list(string.Formatter().parse(name))
    except ValueError as error:
        raise SettingsError("name", f"cannot be filled in ({error})", advice) from error
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            raise SettingsError("name", f'holds "{{{field}}}", which stands for nothing', advice)
    if any(sign in name for sign in '/\\:*?"<>|') or any(ord(sign) < 32 for sign in name):
        raise SettingsError("name", "holds a sign that file names do not take everywhere", advice)


def _stem(name: str, target: Path, source: Path, number: int) -> str:
    """A result's name without its ending, cut to what file systems take."""
    text = name.format(target=_bare(target), source=_bare(source), number=number).strip().lstrip(".")
    return text.encode()[:LONGEST].decode(errors="ignore") or str(number)


def _bare(path: Path) -> str:
    """A name without its ending; a pattern's signs left out."""
    return "".join(sign for sign in path.stem if sign not in "*?[]#%").strip() or "pictures"


def _suffix(target: Path, codec: str) -> str:
    """The ending that a target's result keeps, or one that can be written and holds the codec."""
    kind, suffix = sequence.kind(target), target.suffix.lower()
    if kind == "sequence":
        return ""
    if kind == "image":
        return suffix if suffix in picture.SUFFIXES else ".png"
    if kind == "animation":
        return suffix if suffix in animation.SUFFIXES else ".webp"
    if not target.is_file():
        raise MediaError(target, "is no file", "Check the path.")
    return codecs.fitting(suffix, codec)


def _names(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    """The name itself, then with numbers behind it."""
    yield folder / f"{stem}{suffix}"
    number = 2
    while True:
        yield folder / f"{stem}-{number}{suffix}"
        number += 1


def _key(path: Path) -> str:
    return str(path).casefold()
