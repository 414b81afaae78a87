"""All cards by name: those of the package, of installed extensions and of the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.errors import UnknownModel
from mien.models import detectors, embed, enhance, landmark68, mask, mediapipe, pose, safety, swap
from mien.models.card import Card, Task

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
        raise UnknownModel(name, "no model has this name", f"Known: {', '.join(c.name for c in self.cards)}.")

    def of(self, *tasks: Task) -> tuple[Card, ...]:
        """The cards for these tasks."""
        return tuple(known for known in self.cards if known.task in tasks)

    def with_cards(self, cards: Iterable[Card]) -> Catalogue:
        """This and further cards; a further one takes the place of another of its name."""
        added = {card.name: card for card in cards}
        return Catalogue((*(c for c in self.cards if c.name not in added), *added.values()))


def load(home: Path | None = None) -> Catalogue:
    """The catalogue of this machine.

    Args:
        home: Folder of the cache, where the user's cards lie; None for `store.default_home()`.
    """
    return Catalogue()
