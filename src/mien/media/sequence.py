"""What a path holds, and which still pictures a folder, a glob or a numbered name stands for.

A file is judged by its first bytes, never by its name: a JPEG called `.png` is a JPEG, a text called
`.png` is nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, TypeAlias

from mien.errors import MediaError

Format: TypeAlias = Literal["png", "jpeg", "gif", "webp", "tiff", "avif", "bmp"]
Kind: TypeAlias = Literal["image", "animation", "sequence", "other"]

_NUMBER = re.compile(r"%(?:0(\d+))?d|(#+)")
_DIGITS = re.compile(r"(\d+)")


def format_of(path: Path) -> Format | None:
    """The picture format a file's first bytes show; None for everything else, empty files included.

    Raises:
        MediaError: The file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise MediaError(
            path, f"cannot be opened: {error.strerror}", "Check the name and your rights."
        ) from error
    return _sniff(head)


def kind(path: str | Path) -> Kind:
    """`sequence` for a folder, glob or numbered name, `image` or `animation` for a picture, else `other`.

    A GIF is always an animation, if only of one frame; PNG, WebP and AVIF are where their header says so.

    Raises:
        MediaError: The file cannot be opened.
    """
    path = Path(path)
    if _is_folder(path) or (not _exists(path) and _is_pattern(str(path))):
        return "sequence"
    form = format_of(path)
    if form is None:
        return "other"
    if form == "gif":
        return "animation"
    with path.open("rb") as file:
        moving = {"png": _is_apng, "webp": _is_moving_webp, "avif": _is_moving_avif}.get(form)
        return "animation" if moving is not None and moving(file) else "image"


def is_image(path: str | Path) -> bool:
    """Whether a path holds one still picture."""
    return kind(path) == "image"


def expand(target: str | Path) -> list[Path]:
    """The still pictures a target stands for, in natural order (`2.png` before `10.png`).

    Args:
        target: One picture, a folder (its own pictures, not those of folders in it), a glob such as
            `shots/*.jpg` (`**` reaches into folders), or a numbered name such as `frame_%04d.png`
            or `frame_####.png`.

    Raises:
        MediaError: There is no such file, or not one picture is found.
    """
    target = Path(target)
    if _is_folder(target):
        found: Iterator[Path] = (p for p in target.iterdir() if not p.name.startswith("."))
    elif _exists(target):
        found = iter((target,))
    elif _NUMBER.search(target.name):
        found = _numbered(target)
    elif _is_pattern(str(target)):
        found = _globbed(target)
    else:
        raise MediaError(target, "does not exist", "Check the name.")
    try:
        pictures = sorted((p for p in found if p.is_file() and is_image(p)), key=_natural)
    except OSError as error:
        raise MediaError(target, f"cannot be listed: {error.strerror}", "Check your rights.") from error
    if not pictures:
        raise MediaError(target, "holds no still picture", "PNG, JPEG, WebP, TIFF, AVIF and BMP are read.")
    return pictures


def outputs(target: str | Path, pictures: list[Path], output: Path) -> list[Path]:
    """Where each picture's result goes.

    Args:
        target: What was expanded.
        pictures: What `expand` returned for it.
        output: A folder (made by the caller; the pictures keep their names and, below a folder or glob,
            their sub-folders), a numbered name (each input's own number is kept where the target is
            numbered too, else counted from 1), or, for one picture, a file name.

    Raises:
        MediaError: Several pictures would go to one file, or two to the same.
    """
    if _NUMBER.search(output.name):
        numbers = _numbers(Path(target), pictures)
        results = [output.with_name(_format(output.name, n)) for n in numbers]
    elif output.suffix and not output.is_dir():
        if len(pictures) > 1:
            raise MediaError(
                output, f"is one file for {len(pictures)} pictures", "Give a folder or a name with %04d."
            )
        results = [output]
    else:
        root = _root(pictures)
        results = [output / p.relative_to(root) for p in pictures]
    if len(set(results)) < len(results):
        raise MediaError(output, "gives two pictures the same name", "Give a folder instead.")
    return results


def _sniff(head: bytes) -> Format | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if head[4:8] == b"ftyp" and any(b in head[8:64] for b in (b"avif", b"avis")):
        return "avif"
    # "BM" alone opens many a text: the header's own length must follow at its place.
    if (
        head[:2] == b"BM"
        and len(head) >= 18
        and struct.unpack_from("<I", head, 14)[0] in {12, 40, 52, 56, 108, 124}
    ):
        return "bmp"
    return None


def _is_apng(file: IO[bytes]) -> bool:
    """Whether an acTL chunk comes before the first IDAT (PNG third edition, 11.3.6.1)."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in {b"acTL", b"IDAT"}:
            return bool(name == b"acTL")
        file.seek(length + 4, 1)
    return False


def _is_moving_webp(file: IO[bytes]) -> bool:
    """Whether the VP8X header has the animation bit (RFC 9649, 2.7)."""
    file.seek(12)
    head = file.read(9)
    return head[:4] == b"VP8X" and len(head) == 9 and bool(head[8] & 0x02)


def _is_moving_avif(file: IO[bytes]) -> bool:
    """Whether the major brand is `avis` (AV1 Image File Format, 8)."""
    file.seek(8)
    return file.read(4) == b"avis"


def _exists(path: Path) -> bool:
    """Whether there is such a file; a name the system refuses (too long) is none."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    return _exists(path) and path.is_dir()


def _is_pattern(text: str) -> bool:
    return bool(_NUMBER.search(Path(text).name)) or any(c in text for c in "*?[")


def _globbed(target: Path) -> Iterator[Path]:
    """Files that match; the part before the first wildcard is the folder to look in."""
    parts = target.parts
    first = next(k for k, part in enumerate(parts) if any(c in part for c in "*?["))
    return Path(*parts[:first]).glob(str(Path(*parts[first:])))


def _numbered(target: Path) -> Iterator[Path]:
    pattern = _regex(target.name)
    return (p for p in target.parent.glob("*") if pattern.fullmatch(p.name))


def _regex(name: str) -> re.Pattern[str]:
    """A pattern that finds the number in names made by a numbered name such as `%04d` or `####`."""
    match = _NUMBER.search(name)
    if match is None:
        raise ValueError(f"name: expected %d or # in it, got {name!r}")
    width = int(match[1] or 0) or len(match[2] or "") or 1
    # A longer number never begins with 0: frame_00012 is not frame_%04d.
    digits = rf"(\d{{{width}}}|[1-9]\d{{{width},}})" if width > 1 else r"(\d+)"
    return re.compile(re.escape(name[: match.start()]) + digits + re.escape(name[match.end() :]))


def _format(name: str, number: int) -> str:
    match = _NUMBER.search(name)
    if match is None:
        raise ValueError(f"name: expected %d or # in it, got {name!r}")
    width = int(match[1] or 0) or len(match[2] or "") or 1
    return f"{name[: match.start()]}{number:0{width}d}{name[match.end() :]}"


def _numbers(target: Path, pictures: list[Path]) -> list[int]:
    """The inputs' own numbers where they are numbered by the target's name, else 1, 2, 3."""
    if _NUMBER.search(target.name):
        found = [_regex(target.name).fullmatch(p.name) for p in pictures]
        if all(found):
            return [int(m[1]) for m in found if m]
    return list(range(1, len(pictures) + 1))


def _root(pictures: list[Path]) -> Path:
    """The deepest folder that holds all of them."""
    root = pictures[0].parent
    while not all(p.is_relative_to(root) for p in pictures):
        root = root.parent
    return root


def _natural(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """Sort key: numbers inside a name by value, the rest by letter; the full text breaks ties."""
    parts = _DIGITS.split(str(path).casefold())
    return [(0, int(p)) if p.isdigit() and p.isascii() else (1, p) for p in parts], str(path)
