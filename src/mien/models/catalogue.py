"""All cards by name: those of the package, of installed extensions and of the user."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import get_args

from mien.errors import ModelError, UnknownModel
from mien.models import cardfile, detectors, embed, enhance, landmark68, mask, mediapipe, pose, safety, swap
from mien.models.card import Card, File, Task
from mien.models.store import default_home

BUILT_IN: tuple[Card, ...] = (
    *mediapipe.CARDS,
    *detectors.CARDS,
    *landmark68.CARDS,
    *embed.CARDS,
    *swap.CARDS,
    *enhance.CARDS,
    *mask.CARDS,
    *pose.CARDS,
    *safety.CARDS,
)
"""Every card of the package."""

GROUP = "mien.cards"
"""Entry points of this group are cards of installed packages: each is a `Card` or several of them."""

_READ: Mapping[Task, tuple[str, ...]] = {
    "detect": tuple(detectors.FAMILIES),
    "landmark": (*landmark68.FAMILIES,),
    "embed": ("embedder",),
    "convert": ("converter",),
    "swap": ("swapper",),
    "enhance": ("restorer",),
    "safety": tuple(safety.RULES),
}
"""Families besides those of the package's cards: what has functions of its own, and a word for networks whose
cards say all that is to know."""


def _families() -> dict[Task, tuple[str, ...]]:
    """Task to what is known for it."""
    found: dict[Task, tuple[str, ...]] = {}
    for task in get_args(Task):
        own = (card.family for card in BUILT_IN if card.task == task)
        found[task] = tuple(dict.fromkeys((*_READ.get(task, ()), *own)))
    return found


FAMILIES: Mapping[Task, tuple[str, ...]] = MappingProxyType(_families())
"""Task to the families whose networks can be used."""


def near(name: str, names: Sequence[str]) -> str:
    """The name that somebody may have meant, as the beginning of an advice; empty where none is near."""
    found = difflib.get_close_matches(name, names, 1)
    return f"Did you mean {found[0]}? " if found else ""


@dataclass(frozen=True)
class Catalogue:
    """Cards by name."""

    cards: tuple[Card, ...] = BUILT_IN

    def __iter__(self) -> Iterator[Card]:
        return iter(self.cards)

    def card(self, name: str) -> Card:
        """The card with this name.

        Raises:
            UnknownModel: No card has it.
        """
        for known in self.cards:
            if known.name == name:
                return known
        names = [card.name for card in self.cards]
        raise UnknownModel(name, "no model has this name", f"{near(name, names)}Known: {', '.join(names)}.")

    def of(self, *tasks: Task) -> tuple[Card, ...]:
        """The cards for these tasks."""
        return tuple(known for known in self.cards if known.task in tasks)

    def needed(self, card: Card) -> tuple[Card, ...]:
        """The card, and those of the networks that it cannot be used without.

        Raises:
            UnknownModel: One of them is not known.
        """
        latent = card.latent
        if latent is None or latent.kind != "embedding":
            return (card,)
        return (card, *(self.card(name) for name in (latent.embedder, latent.converter) if name))

    def with_cards(self, cards: Iterable[Card]) -> Catalogue:
        """This and further cards; a further one takes the place of another of its name."""
        added = {card.name: card for card in cards}
        return Catalogue((*(c for c in self.cards if c.name not in added), *added.values()))


def load(home: Path | None = None) -> Catalogue:
    """The catalogue of this machine: the package's cards, then those of installed packages, then the user's.

    A later one takes the place of an earlier one of its name.

    Args:
        home: Folder of the cache, where the user's cards lie; None for `store.default_home()`.

    Raises:
        ModelError: A card cannot be read, or says another thing of a file than a card before.
    """
    known = Catalogue()
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (_package(entry), entry.name)):
        known = extended(known, _installed(entry), f"{_package(entry)} (entry point {entry.name})")
    for path in user_cards(default_home() if home is None else home):
        known = extended(known, (drafted(path).card,), str(path))
    return known


def drafted(path: Path) -> cardfile.Draft:
    """A card of the user's, and where its files lie before the store has them.

    Raises:
        ModelError: It cannot be read or is no card.
    """
    return cardfile.read(path, FAMILIES, BUILT_IN)


def extended(known: Catalogue, cards: Iterable[Card], origin: str) -> Catalogue:
    """A catalogue with further cards.

    Args:
        known: What there is.
        cards: Further ones.
        origin: Where they are from, for messages.

    Raises:
        ModelError: One names a file that another card means otherwise.
    """
    added = known.with_cards(cards)
    owners: dict[str, tuple[File, Card]] = {}
    for card in added:
        for file in card.files:
            other, owner = owners.setdefault(file.name.casefold(), (file, card))
            if other != file:
                problem = f"{card.name}: its file {file.name} is another one than {owner.name}'s {other.name}"
                raise ModelError(origin, problem, "Give the file another name.")
    return added


def folder(home: Path) -> Path:
    """Where the user's cards lie."""
    return home / "cards"


def user_cards(home: Path) -> tuple[Path, ...]:
    """The user's cards, in the order of their names."""
    return tuple(sorted(folder(home).glob("*.toml")))


def _package(entry: EntryPoint) -> str:
    """Name of the package that an entry point belongs to."""
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]


def _installed(entry: EntryPoint) -> tuple[Card, ...]:
    """The cards of an entry point.

    Raises:
        ModelError: It cannot be loaded or gives something else.
    """
    advice = "Update or uninstall the package."
    subject = f"{_package(entry)} (entry point {entry.name} of {GROUP})"
    try:
        given = entry.load()
        cards = (given,) if isinstance(given, Card) else tuple(given)
    except Exception as error:  # whatever a foreign module raises while it is imported
        raise ModelError(subject, f"gives no cards ({type(error).__name__}: {error})", advice) from error
    for card in cards:
        if not isinstance(card, Card):
            raise ModelError(
                subject, f"gives {type(card).__name__} {card!r:.60} where a Card is expected", advice
            )
        if card.family not in FAMILIES.get(card.task, ()):
            problem = f"{card.name}: family {card.family!r} is not known for the task {card.task}"
            raise ModelError(subject, problem, advice)
    return cards
