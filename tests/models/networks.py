"""A runtime with the small real networks, and one whose networks are functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.types import Array
from tests.models import small

ALL = (*small.DETECTORS, small.FACEAPI, *small.FSANET)


@contextmanager
def real(store: Store, shared: Path, home: Path, cards: Sequence[Card] = ALL) -> Iterator[Runtime]:
    """A runtime that knows the small networks beside the default ones."""
    (home / "models").mkdir(parents=True)
    for path in store.folder.iterdir():
        if path.is_file():
            (home / "models" / path.name).symlink_to(path)
    known = [small.installed(card, shared, home) for card in cards]
    with Runtime(2, Store(home, offline=True), Catalogue().with_cards(known)) as runtime:
        yield runtime


class _Session:
    def __init__(self, answer: Callable[[Array], Mapping[str, Array]]) -> None:
        self.run = answer


class _StandIn:
    def __init__(self, answer: Callable[[Array], Mapping[str, Array]]) -> None:
        self._answer = answer

    def session(self, card: Card) -> _Session:
        return _Session(self._answer)


def stand_in(answer: Callable[[Array], Mapping[str, Array]]) -> Runtime:
    """A runtime in which every network is this function of its input: it knows nothing of faces."""
    return cast(Runtime, _StandIn(answer))
