"""A card as the TOML that `models.cardfile` reads, so that a stand-in takes the real card's place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from mien.models.card import Card, File


def toml(card: Card) -> str:
    """The card as text. Fields that have their usual values are left out.

    Raises:
        ValueError: A file comes from a wheel, which such a text cannot say.
    """
    return "".join(f"{key} = {text}\n" for key, text in _pairs(card))


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    """Field and text of everything in a dataclass that is not as usual."""
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        if given is not None and given != field.default:
            yield field.name, _text(given)


def _text(value: Any) -> str:
    """A value as TOML on one line; JSON's numbers, truths and strings are TOML's."""
    if isinstance(value, File):
        return _table(_file(value))
    if dataclasses.is_dataclass(value):
        return _table(_pairs(value))
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return json.dumps(value)


def _table(pairs: Iterator[tuple[str, str]]) -> str:
    return "{ " + ", ".join(f"{key} = {text}" for key, text in pairs) + " }"


def _file(file: File) -> Iterator[tuple[str, str]]:
    """A file's facts; its addresses are called `urls` there."""
    yield from _pairs(dataclasses.replace(file, sources=()))
    if file.sources:
        if not all(isinstance(source, str) for source in file.sources):
            raise ValueError(f"{file.name}: expected addresses only, got a wheel")
        yield "urls", _text(file.sources)
