"""`mien models`: which networks there are, and their files."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from mien.app import usercards
from mien.errors import ModelError, SettingsError
from mien.models import catalogue
from mien.models.card import Card, File, Source, Task, Wheel
from mien.models.catalogue import Catalogue
from mien.models.mediapipe import CARDS
from mien.models.store import Store, allowed, licence

WIDE = 160
"""Columns of a table that goes to a file or another program."""


def fetch() -> Store:
    """A store that has all default models; shows a bar while some are being got."""
    with _fetching() as store:
        store.require(CARDS)
    return store


@contextmanager
def _fetching() -> Iterator[Store]:
    """A store that shows bars while something is being got."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def on_progress(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
            progress.update(tasks[label], completed=done, total=total)

        yield Store(on_progress=on_progress)


def show(names: Sequence[str], task: Task | None, as_json: bool) -> int:
    """List what there is, without fetching anything."""
    store, known = Store(), catalogue.load()
    cards = [card for card in _named(known, names) if task in (None, card.task)]
    if as_json:
        for card in cards:
            _line(brief(card, store))
        return 0
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(_table(cards, store))
    return 0


def _table(cards: Sequence[Card], store: Store) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("name", "task", "MB", "licence", "commercial", "installed"):
        table.add_column(name, justify="right" if name == "MB" else "left", overflow="fold")
    for card in cards:
        size = _size(card, store)
        table.add_row(
            card.name,
            card.task,
            f"{size / 1e6:.1f}" if size else "unknown",
            card.licence,
            allowed(card),
            "yes" if store.installed(card) else "no",
        )
    return table


def info(names: Sequence[str], as_json: bool) -> int:
    """Say everything about some models."""
    store, known = Store(), catalogue.load()
    for card in _asked(known, names, "info"):
        everything = facts(card, store)
        if as_json:
            _line(everything)
            continue
        for key, value in _told(everything):
            print(f"{key:<20} {value}")
        print()
    return 0


def _told(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """What there is to say, line by line; what is empty says nothing."""
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _told(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            for k, item in enumerate(value):
                yield from _told(item, f"{prefix}{key}[{k}].")
        elif value not in ("", None, [], ()):
            yield f"{prefix}{key}", _words(value)


def _words(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_words, value)) if isinstance(value, list | tuple) else str(value)


def pull(names: Sequence[str], accept_licence: bool, accept_changed: bool, as_json: bool) -> int:
    """Get models, and those that they cannot be used without; without a name those used by default."""
    known = catalogue.load()
    wanted = _asked(known, names, "pull") if names else list(CARDS)
    cards = list(dict.fromkeys(needed for card in wanted for needed in known.needed(card)))
    with _fetching() as store:
        for card in cards:
            if accept_changed:
                for file in card.files:
                    store.forget(file)
            if accept_licence and not store.accepted(card):
                store.accept(card)
                print(f"{card.name}: accepted: {licence(card)}", file=sys.stderr)
        store.require(cards)
    for card in cards:
        paths = {name: str(path) for name, path in store.locate(card).items()}
        if as_json:
            _line({**brief(card, store), "paths": paths})
        else:
            print(f"{card.name}: {card.licence}, {_size(card, store):,} bytes, {', '.join(paths.values())}")
    return 0


def verify(names: Sequence[str], as_json: bool) -> int:
    """Read every installed file whole; 5 where one is not what it should be."""
    store, known = Store(), catalogue.load()
    bad = 0
    seen: set[str] = set()
    for card in _named(known, names):
        for file in card.files:
            if file.name in seen or not (names or (store.folder / file.name).exists()):
                continue
            seen.add(file.name)
            fault = store.fault(file, whole=True)
            bad += fault is not None
            problem = fault.problem if fault is not None else ""
            if as_json:
                _line({"name": card.name, "file": file.name, "right": not problem, "problem": problem})
            else:
                print(f"{card.name}: {file.name} {problem or 'is right'}", flush=True)
    if not seen and not as_json:
        print(f"no files in {store.folder}")
    if bad:
        advice = (
            "`mien models pull NAME` gets a broken one again; with --accept-changed a changed one counts."
        )
        raise ModelError(store.folder, f"{bad} of {len(seen)} files are not what they should be", advice)
    return 0


def path(names: Sequence[str]) -> int:
    """Print the folder where files lie, or the files of some models."""
    store = Store()
    if not names:
        print(store.folder)
    for card in _asked(catalogue.load(), names, "path") if names else ():
        for file in card.files:
            print(store.folder / file.name)
    return 0


def add(names: Sequence[str]) -> int:
    """Take over cards of the user's, with their files where they name some."""
    if not names:
        raise SettingsError("models add", "names no file", "Give the path of a TOML file.")
    for name in names:
        card = usercards.add(Path(name), Store())
        there = "its files are here" if Store().installed(card) else f"`mien models pull {card.name}` gets it"
        print(f"{card.name}: added; {there}")
    return 0


def remove(names: Sequence[str]) -> int:
    """Remove cards of the user's, and the files of models."""
    if not names:
        raise SettingsError("models remove", "names no model", "`mien models` lists what there is.")
    for name in names:
        for said in usercards.remove(name, Store()):
            print(f"{name}: {said}")
    return 0


def _asked(known: Catalogue, names: Sequence[str], action: str) -> list[Card]:
    """The cards that somebody names; at least one."""
    if not names:
        raise SettingsError(f"models {action}", "names no model", "`mien models` lists what there is.")
    return [known.card(name) for name in names]


def _named(known: Catalogue, names: Sequence[str]) -> list[Card]:
    """The cards that somebody names, or all."""
    return [known.card(name) for name in names] if names else list(known)


def _size(card: Card, store: Store) -> int:
    """Bytes of a card's files: those on the card or in the store; 0 where they are not known."""
    sizes = [file.bytes or _on_disk(store.folder / file.name) for file in card.files]
    return sum(sizes) if all(sizes) else 0


def _on_disk(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def brief(card: Card, store: Store) -> dict[str, Any]:
    """A line of the list."""
    return {
        "name": card.name,
        "task": card.task,
        "family": card.family,
        "bytes": _size(card, store) or None,
        "licence": card.licence,
        "commercial": allowed(card),
        "accepted": store.accepted(card),
        "installed": store.installed(card),
    }


def facts(card: Card, store: Store) -> dict[str, Any]:
    """Everything about a card, under the names of its fields."""
    said = dataclasses.asdict(dataclasses.replace(card, files=card.files[:1]))
    told = {**brief(card, store), **{key: value for key, value in said.items() if key != "commercial"}}
    return {**told, "files": [_file_facts(file, store) for file in card.files]}


def _file_facts(file: File, store: Store) -> dict[str, Any]:
    """Everything about a file; `found` is what is wrong with it here, or its SHA-256."""
    fault = store.fault(file)
    return {
        "name": file.name,
        "bytes": file.bytes or None,
        "sha256": file.sha256 or "not known: that of the first one seen counts",
        "sha384": file.sha384,
        "sources": [_source(source, file) for source in file.sources],
        "path": str(store.folder / file.name),
        "found": f"SHA-256 {store.digest(file)}" if fault is None else fault.problem,
    }


def _source(source: Source, file: File) -> str:
    return (
        f"{source.member(file.sha256).path} in {source.requirement}" if isinstance(source, Wheel) else source
    )


def _line(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
