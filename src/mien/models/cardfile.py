"""Cards that a user writes: one TOML file for one network.

Every field of `Card` has the same name in the file, with these differences:

* `file = "my.onnx"`, or a table `[file]`, or several `[[files]]` with the network first. A table has `name`,
  `path` (beside the TOML file; its last part is the name where that is left out), `urls`, `sha256`, `sha384`
  and `bytes`.
* `mean` and `std` may be one number for all three channels.
* `inputs` and `outputs` may be left out: they are then those of the task, or of the package's cards of the
  same family, at this card's size.

Whatever is not understood is an error that names the file and the key.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mien.errors import ModelError
from mien.images import geometry
from mien.models.card import Card, File, Latent, Pixels, Task, Template, Tensor

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""What a card's and a file's name may be."""
RESERVED = ("fetch-", "models.lock")
"""How a file's name may not begin, as the store uses such names itself."""
ADVICE = "Correct the file; `mien models info NAME --json` shows what a card says."

_NO_PICTURE = ("convert",)
"""Tasks without a picture."""
_ALIGNED = ("embed", "swap", "enhance")
"""Tasks whose picture is an aligned face."""
_KEYS = tuple(field.name for field in dataclasses.fields(Card))


class _WrongError(ValueError):
    """Something in a file cannot be taken.

    Args:
        key: Where, as one would write it.
        problem: What is wrong, one clause.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}" if key else problem)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a user writes it down."""

    name: str = ""
    path: str = ""
    urls: tuple[str, ...] = ()
    sha256: str = ""
    sha384: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class Draft:
    """A card, and where its files lie before the store has them."""

    card: Card
    local: Mapping[str, Path]
    """File name to path, for files that are to be taken from this machine."""


def read(path: Path, families: Mapping[Task, tuple[str, ...]], known: Iterable[Card] = ()) -> Draft:
    """The card in a TOML file.

    Args:
        path: The file.
        families: Task to the families that there are.
        known: Cards from whose families inputs and outputs are taken where the file has none.

    Raises:
        ModelError: It cannot be read or is no card; names the file and the key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = _entries(table)
        rest = {key: value for key, value in table.items() if key not in ("file", "files")}
        files = tuple(_file(entry, key) for key, entry in entries)
        card = _card(rest, files)
        _check(card, families)
        card = _completed(card, known)
    except OSError as error:
        raise ModelError(path, f"cannot be read ({error.strerror or error})", "Check the name.") from error
    except _WrongError as error:
        raise ModelError(path, str(error), ADVICE) from error
    except ValueError as error:  # TOML, its encoding, or what a card itself refuses
        raise ModelError(path, f"is no card ({error})", ADVICE) from error
    folder = path.absolute().parent
    return Draft(card, {_name(entry): folder / entry.path for _, entry in entries if entry.path})


def _entries(table: Mapping[str, Any]) -> list[tuple[str, Entry]]:
    """The files as they are written, each with its key."""
    if ("file" in table) == ("files" in table):
        raise _WrongError("file", "is needed" if "file" not in table else "excludes files")
    if "file" in table:
        one = table["file"]
        return [("file", Entry(path=one) if isinstance(one, str) else _value(Entry, one, "file"))]
    found: tuple[Entry, ...] = _value(tuple[Entry, ...], table["files"], "files")
    if not found:
        raise _WrongError("files", "is empty")
    return [(f"files[{k}]", entry) for k, entry in enumerate(found)]


def _name(entry: Entry) -> str:
    return entry.name or Path(entry.path).name


def _file(entry: Entry, key: str) -> File:
    """The file of a card.

    Raises:
        _WrongError: Its facts cannot be right.
    """
    name = _name(entry)
    if not NAME.fullmatch(name) or name.startswith(RESERVED):
        problem = f"expected a plain file name, got {name!r}" if name else "is needed (or path)"
        raise _WrongError(f"{key}.name", problem)
    for kind, digits in (("sha256", 64), ("sha384", 96)):
        given = getattr(entry, kind)
        if given and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", given):
            raise _WrongError(f"{key}.{kind}", f"expected {digits} hexadecimal digits in lower case")
    if entry.bytes < 0:
        raise _WrongError(f"{key}.bytes", f"expected 0 or more, got {entry.bytes}")
    for url in entry.urls:
        if not url.startswith("https://") and not (entry.sha256 and url.startswith("http://")):
            raise _WrongError(f"{key}.urls", f"expected an https address (or http with sha256), got {url!r}")
    return File(name, entry.sha256, entry.bytes, entry.urls, entry.sha384)


def _card(table: Mapping[str, Any], files: tuple[File, ...]) -> Card:
    """A card from what a file says of it besides its files."""
    hints = get_type_hints(Card)
    for key in ("name", "task", "family", "licence"):
        if key not in table:
            raise _WrongError(key, "is needed")
    given = {}
    for key, value in table.items():
        if key not in _KEYS:
            raise _WrongError(key, _unknown(k if k != "files" else "file" for k in _KEYS))
        given[key] = _value(hints[key], value, key)
    return Card(**{"inputs": (), "outputs": (), **given, "files": files})


def _check(card: Card, families: Mapping[Task, tuple[str, ...]]) -> None:
    """Refuse what no card may say.

    Raises:
        _WrongError: A field is out of its range.
    """
    if not NAME.fullmatch(card.name):
        raise _WrongError("name", f"expected letters, digits and _ . + -, got {card.name!r}")
    if not card.licence.strip():
        raise _WrongError("licence", 'is empty; write "unknown" where it is not known')
    of_task = families.get(card.task, ())
    if card.family not in of_task:
        there = f"known for {card.task} are {', '.join(of_task)}" if of_task else f"none for {card.task}"
        raise _WrongError("family", f"{card.family!r} is not known; {there}")
    names = [file.name.casefold() for file in card.files]
    if len(set(names)) != len(names):
        raise _WrongError("files", "two have the same name")
    if card.task in _ALIGNED and not card.template:
        raise _WrongError("template", f"is needed: one of {', '.join(geometry.TEMPLATES)}, or five points")
    for key, low, value in (
        ("same", -1.0, card.same),
        ("least", 0.0, card.least),
        ("tolerance", 0.0, card.tolerance),
    ):
        if value < low:
            raise _WrongError(key, f"expected at least {low:g}, got {value:g}")
    latent = card.latent or Latent()
    if latent.kind == "picture" and (latent.pixels is None or not latent.template):
        raise _WrongError("latent", "a picture needs pixels and template")
    for key, pixels in (("pixels", card.pixels), ("result", card.result), ("latent.pixels", latent.pixels)):
        if pixels is not None and (pixels.side < 1 or pixels.side > 16384):
            raise _WrongError(f"{key}.side", f"expected 1 to 16384, got {pixels.side}")
        if pixels is not None and min(pixels.std) <= 0:
            raise _WrongError(f"{key}.std", f"expected numbers above 0, got {pixels.std}")
    for key, template in (("template", card.template), ("latent.template", latent.template)):
        _check_template(key, template)
    for key, tensors in (("inputs", card.inputs), ("outputs", card.outputs)):
        for k, tensor in enumerate(tensors):
            if any(n < 1 and n != -1 for n in tensor.shape):
                raise _WrongError(f"{key}[{k}].shape", f"expected lengths, or -1 for any, got {tensor.shape}")


def _check_template(key: str, template: Template) -> None:
    """Refuse a template that is none."""
    if not template:
        return
    try:
        points = geometry.template(template)
    except ValueError as error:
        raise _WrongError(key, str(error).removeprefix("template: ")) from error
    if len({(x, y) for x, y in points.tolist()}) < 2:
        raise _WrongError(key, "all five points are one")


def _completed(card: Card, known: Iterable[Card]) -> Card:
    """The card with what follows from its task and family.

    Raises:
        _WrongError: Something is needed that does not follow.
    """
    family = [c for c in known if (c.task, c.family) == (card.task, card.family)]
    like = next((c for c in family if c.pixels == card.pixels), family[0] if family else None)
    looks = card.task not in _NO_PICTURE and (like is None or like.pixels is not None)
    if looks and card.pixels is None:
        raise _WrongError("pixels", "is needed: what the network takes a picture as")
    if card.task == "swap" and card.latent is None:
        card = dataclasses.replace(card, latent=Latent())
    if card.task in ("swap", "enhance") and card.result is None:
        card = dataclasses.replace(card, result=card.pixels)
    inputs, outputs = _tensors(card, like)
    for key, given, tensors in (("inputs", card.inputs, inputs), ("outputs", card.outputs, outputs)):
        if not (given or tensors):
            raise _WrongError(key, f"is needed: the package has no card of the family {card.family} to go by")
    return dataclasses.replace(card, inputs=card.inputs or inputs, outputs=card.outputs or outputs)


def _tensors(card: Card, like: Card | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs that a card has where it names none; empty where that cannot be told."""
    vector, seen = Tensor("", (-1,)), _picture(card.pixels)
    if card.task == "convert":
        return (vector,), (vector,)
    if card.task == "embed":
        return (seen,), (vector,)
    if card.task == "enhance":
        return (seen, Tensor("weight", (1,), dtype="float64", optional=True)), (_picture(card.result),)
    if card.task == "swap":
        latent = card.latent or Latent()
        source = _picture(latent.pixels) if latent.kind == "picture" else vector
        named = tuple(dataclasses.replace(t, name=n) for t, n in ((source, "source"), (seen, "target")))
        return named, (_picture(card.result),)
    if like is None:
        return (), ()
    return _like(like.inputs, like, card), _like(like.outputs, like, card)


def _like(tensors: tuple[Tensor, ...], like: Card, card: Card) -> tuple[Tensor, ...]:
    """Tensors of another card of the family at this card's size; a single one may have any name."""
    resized = tuple(_resized(tensor, like, card) for tensor in tensors)
    return (dataclasses.replace(resized[0], name=""),) if len(resized) == 1 else resized


def _picture(pixels: Pixels | None) -> Tensor:
    """A tensor that holds a picture."""
    if pixels is None:
        return Tensor("", (-1, -1, -1))
    side = pixels.side
    return Tensor("", (3, side, side) if pixels.layout == "NCHW" else (side, side, 3))


def _resized(tensor: Tensor, like: Card, card: Card) -> Tensor:
    """A tensor of another card of the family: its side becomes this card's, or its number of rows any."""
    old, new = _side(like), _side(card)
    if old == new:
        return tensor
    if old in tensor.shape:
        return dataclasses.replace(tensor, shape=tuple(new if n == old else n for n in tensor.shape))
    rows = max(tensor.shape) if len(tensor.shape) > 1 else 0
    return dataclasses.replace(tensor, shape=tuple(-1 if n == rows else n for n in tensor.shape))


def _side(card: Card) -> int:
    return card.pixels.side if card.pixels is not None else 0


def _value(kind: Any, given: object, key: str) -> Any:
    """A TOML value as a field's type.

    Raises:
        _WrongError: It is of another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _either([a for a in arguments if a is not NoneType], given, key)
    if origin is Literal:
        if given not in arguments or isinstance(given, bool):
            raise _WrongError(key, f"expected one of {', '.join(map(repr, arguments))}, got {given!r}")
        return given
    if origin is tuple:
        return _tuple(arguments, given, key)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _table(kind, given, key)
    if kind is float and isinstance(given, int | float) and not isinstance(given, bool) and isfinite(given):
        return float(given)
    if isinstance(given, kind) and kind is not float and (kind is bool or not isinstance(given, bool)):
        return given
    word = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
    raise _WrongError(key, f"expected {word}, got {given!r}")


def _either(kinds: list[Any], given: object, key: str) -> Any:
    """A value of the first kind that takes it; a text only where one of them is a text."""
    text = [kind for kind in kinds if kind is str]
    others = [kind for kind in kinds if kind is not str]
    return _value((text or others)[0] if isinstance(given, str) else (others or text)[0], given, key)


def _tuple(arguments: tuple[Any, ...], given: object, key: str) -> tuple[Any, ...]:
    """A list; one number stands for a fixed number of equal ones."""
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        if not isinstance(given, list):
            raise _WrongError(key, f"expected a list, got {given!r}")
        return tuple(_value(arguments[0], item, f"{key}[{k}]") for k, item in enumerate(given))
    if set(arguments) == {float} and not isinstance(given, list):
        return (_value(float, given, key),) * len(arguments)
    if not isinstance(given, list) or len(given) != len(arguments):
        raise _WrongError(key, f"expected a list of {len(arguments)}, got {given!r}")
    pairs = enumerate(zip(arguments, given, strict=True))
    return tuple(_value(kind, item, f"{key}[{k}]") for k, (kind, item) in pairs)


def _table(kind: type, given: object, key: str) -> Any:
    """A table as a dataclass."""
    if not isinstance(given, dict):
        raise _WrongError(key, f"expected a table [{key}], got {given!r}")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in given:
        if name not in fields:
            raise _WrongError(f"{key}.{name}", _unknown(fields))
    for name, field in fields.items():
        if name not in given and field.default is dataclasses.MISSING:
            raise _WrongError(f"{key}.{name}", "is needed")
    return kind(**{name: _value(hints[name], value, f"{key}.{name}") for name, value in given.items()})


def _unknown(keys: Iterable[str]) -> str:
    return f"is no key of a card; known are {', '.join(keys)}"
