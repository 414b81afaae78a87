"""Cards of the user's in the cache: taken over with their files, and given up."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.errors import ModelError
from mien.models import catalogue
from mien.models.card import Card, File
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import SCRATCH, Store


def add(path: Path, store: Store) -> Card:
    """Take over a card. With a local file its network is loaded once, so that a card that does not fit it is
    refused.

    Args:
        path: A TOML file.
        store: Gets the files that the card names on this machine.

    Raises:
        ModelError: The card or a file cannot be read, they do not fit, or the cache cannot be written.
    """
    draft = catalogue.drafted(path)
    known = catalogue.extended(catalogue.load(store.home), (draft.card,), str(path))
    known.needed(draft.card)
    local = [file for file in draft.card.files if file.name in draft.local]
    with _restored(local, store):
        for file in local:
            store.forget(file)  # whoever adds a file means this one
            store.adopt(file, draft.local[file.name])
        if draft.local and store.installed(draft.card):
            with Runtime(store=store, cards=known) as runtime:
                runtime.session(draft.card)
    _save(path, catalogue.folder(store.home) / f"{draft.card.name}.toml")
    return draft.card


@contextlib.contextmanager
def _restored(files: Sequence[File], store: Store) -> Iterator[None]:
    """A block that replaces files: where it fails, they are what they were before, or absent again."""
    with contextlib.ExitStack() as stack:
        kept: dict[str, Path] = {}
        try:
            for file in files:
                here = store.folder / file.name
                if here.is_file():
                    scratch = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=store.folder)
                    kept[file.name] = Path(stack.enter_context(scratch)) / file.name
                    _twice(here, kept[file.name])
        except OSError as error:
            raise _unwritable(store.folder, error) from error
        try:
            yield
        except ModelError:
            for file in files:
                store.remove(file)
                store.forget(file)
                if file.name in kept:
                    store.adopt(File(file.name), kept[file.name])
            raise


def _twice(path: Path, target: Path) -> None:
    """A link to a file where the disk allows it, else a copy."""
    try:
        os.link(path.resolve(), target)
    except OSError:
        shutil.copyfile(path, target)


def remove(name: str, store: Store) -> Iterator[str]:
    """Remove a card of the user's, or else a model's files; says what was done.

    Raises:
        ModelError: Something cannot be removed, or another card cannot be read.
        UnknownModel: No card has the name.
    """
    found = _own(name, store.home)
    if found is None:
        known = catalogue.load(store.home)
        yield from _remove_files(known.card(name), known, store)
        return
    path, card = found
    try:
        path.unlink()
    except OSError as error:
        raise ModelError(path, f"cannot be removed ({error.strerror})", "See who may write there.") from error
    yield f"removed {path}"
    if card is not None:
        for file in card.files:
            store.forget(file)
        yield from _remove_files(card, catalogue.load(store.home), store)


def _remove_files(card: Card, known: Catalogue, store: Store) -> Iterator[str]:
    """Remove those files of a card that no other card has."""
    for file in card.files:
        users = [other.name for other in known if other.name != card.name and file in other.files]
        if users:
            yield f"kept {file.name}, which {', '.join(users)} uses"
        elif (store.folder / file.name).exists():
            yield f"removed {file.name}, {store.remove(file) / 1e6:.1f} MB"
        else:
            store.remove(file)  # what is left of a download
            yield f"{file.name} is not here"


def _own(name: str, home: Path) -> tuple[Path, Card | None] | None:
    """The user's card of that name, and None in its place where it cannot be read."""
    for path in catalogue.user_cards(home):
        card: Card | None = None
        with contextlib.suppress(ModelError):
            card = catalogue.drafted(path).card
        if name == (path.stem if card is None else card.name):
            return path, card
    return None


def _save(path: Path, target: Path) -> None:
    """Copy a card so that it is either whole or not there."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(path.read_bytes())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(place: Path, error: OSError) -> ModelError:
    advice = "Free some space there, or name another folder in MIEN_HOME."
    return ModelError(place, f"cannot be written ({error.strerror})", advice)
