"""Engines: a card becomes a session that maps arrays to arrays.

Nothing is global: sessions live in a `Runtime` that is passed to whoever needs it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping

from mien.models import catalogue, engines
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.choice import Choice
from mien.models.plan import Setup
from mien.models.session import Session
from mien.models.store import Store
from mien.settings import Device

__all__ = ["Runtime", "Session", "available_threads"]


class Runtime:
    """Sessions by card, and the machine they run on.

    Args:
        threads: Processor threads a network may use; 0 for all.
        store: Where model files come from; None for the default store.
        cards: What there is to load; None for this machine's catalogue.
        device: Engine, precision, batch size and memory that were asked for.
        singly: Whether frames come one at a time and each is waited for, as in previews, live and pictures.
    """

    def __init__(
        self,
        threads: int = 0,
        store: Store | None = None,
        cards: Catalogue | None = None,
        device: Device | None = None,
        singly: bool = False,
    ) -> None:
        self.threads = threads if threads > 0 else available_threads()
        self.store = store if store is not None else Store()
        self.catalogue = cards if cards is not None else catalogue.load(self.store.home)
        self.device = device if device is not None else Device()
        self._setup = Setup(self.store, self.threads, self.device, singly)
        self._sessions: dict[Card, Session] = {}
        self._lock = threading.Lock()

    def session(self, card: Card) -> Session:
        """The session of a card, loaded on first use and kept.

        Raises:
            ModelError: The file cannot be had, read, does not match the card, or takes too much memory.
            RuntimeUnavailable: Nothing here does what was asked for.
        """
        with self._lock:
            session = self._sessions.get(card)
            if session is None:
                session = self._sessions[card] = Session(card, self._setup)
        session.open()
        return session

    @property
    def pixels(self) -> str:
        """The card on which pictures are worked on, as torch names it; empty for the processor.

        Raises:
            RuntimeUnavailable: Another card than there is was asked for.
        """
        here = self._setup.machine
        where = engines.place(self.device, here)
        return where if where != "cpu" and "torch" in here.computing else ""

    @property
    def engines(self) -> dict[str, str]:
        """Card name to engine and precision, for every session made so far."""
        with self._lock:
            return {card.name: s.engine for card, s in self._sessions.items() if s.engine}

    def choices(self) -> Mapping[str, Choice]:
        """Card name to what runs it and why, for every session whose engine is settled."""
        with self._lock:
            found = [(card.name, session.choice) for card, session in self._sessions.items()]
        return {name: choice for name, choice in found if choice is not None}

    @property
    def fallen(self) -> dict[str, str]:
        """Card name to which engine that should have run it failed, and how; of those that ran on another."""
        with self._lock:
            return {card.name: s.fallen for card, s in self._sessions.items() if s.fallen}

    def times(self, frames: int) -> dict[str, dict[str, float]]:
        """Card name to what its network took, see `Tally.table`; of those that ran.

        Args:
            frames: Frames that the work was for.
        """
        with self._lock:
            return {c.name: s.tally.table(frames) for c, s in self._sessions.items() if s.tally.calls}

    def unload(self, cards: Iterable[Card]) -> None:
        """Let go of what these networks take; they are loaded again where they are needed."""
        with self._lock:
            sessions = [self._sessions[card] for card in cards if card in self._sessions]
        for session in sessions:
            session.unload()
            self._setup.budget.release(session)

    def close(self) -> None:
        """Close every session."""
        with self._lock:
            sessions = list(self._sessions.values())
            self._sessions.clear()
        for session in sessions:
            session.close()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def available_threads() -> int:
    """Processor threads this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Windows and macOS have no affinity call
        return os.cpu_count() or 1
