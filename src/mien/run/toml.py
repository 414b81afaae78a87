"""Plain values as TOML that people read; `tomllib` reads it back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mien.errors import SettingsError

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_WIDE = 96
"""Columns from which a list is written one item a line."""


def text(table: Mapping[str, Any]) -> str:
    """A table of plain values as a TOML document: single values first, then tables, then lists of tables.

    Args:
        table: Of strings, numbers, truths, lists and tables; without None.

    Raises:
        SettingsError: A string holds half a character (a surrogate), as undecodable file names do.
        TypeError: A value has no place in TOML.
    """
    return "\n".join(_lines(table, ())).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    later: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, Mapping) or _is_tables(value):
            later.append((key, value))
        else:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in later:
        where = (*path, key)
        name = ".".join(map(_key, where))
        if isinstance(value, Mapping):
            # A table of tables alone needs no heading of its own.
            if not value or not all(isinstance(v, Mapping) for v in value.values()):
                yield from ("", f"[{name}]")
            yield from _lines(value, where)
        else:
            for item in value:
                yield from ("", f"[[{name}]]")
                yield from _lines(item, where)


def _is_tables(value: object) -> bool:
    """Whether a value is a list of tables."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        items = [_value(item) for item in value]
        flat = f"[{', '.join(items)}]"
        return flat if len(flat) <= _WIDE else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    if isinstance(value, Mapping):  # inside a list that does not hold tables alone
        return (
            "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }" if value else "{}"
        )
    raise TypeError(f"value: expected something that TOML knows, got {type(value).__name__}")


def _float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)


def _string(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        advice = "Give the file a name in plain characters."
        raise SettingsError(value.encode("utf-8", "replace").decode(), "is not text", advice) from error
    return '"' + "".join(_ESCAPES.get(c) or _shown(c) for c in value) + '"'


def _shown(character: str) -> str:
    """A character as it stands in a basic string: control characters are written as numbers."""
    number = ord(character)
    return f"\\u{number:04X}" if number < 32 or number == 127 else character
