"""The gate against explicit content: judged before any work, never switched off silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mien.errors import ContentError
from mien.images import cpu
from mien.models import safety
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Safety
from mien.types import Frame

MOST = 0.1
"""Share of the samples from which a clip is refused."""
SIDE = 640
"""Longer side of the pictures that are judged."""
SAMPLES = 120
"""Most frames of a clip that are looked at; one a second up to then."""


def judges(settings: Safety, known: Catalogue, store: Store) -> tuple[Card, ...]:
    """The networks that judge: all of them if asked for, else those that are installed."""
    if settings.content == "off":
        return ()
    every = known.of("safety")
    return every if settings.content == "on" else tuple(card for card in every if store.installed(card))


def note(settings: Safety, cards: Iterable[Card]) -> str:
    """What a result says about the gate."""
    names = ", ".join(card.name for card in cards)
    if names:
        return f"content judged by {names}"
    return "content not judged: " + (
        "switched off" if settings.content == "off" else "no network for it is installed"
    )


def check(subject: str, frames: Iterable[Frame], cards: tuple[Card, ...], runtime: Runtime) -> None:
    """Let a clip pass, or refuse it.

    Args:
        subject: The clip, for the message.
        frames: Samples of it.
        cards: From `judges`; without any nothing is looked at.
        runtime: Where they run.

    Raises:
        ContentError: Too many samples are explicit.
    """
    if not cards:
        return
    refuse(subject, [explicit(frame, cards, runtime) for frame in frames])


def refuse(subject: str, found: Sequence[bool]) -> None:
    """Refuse a clip of whose samples too many were found to be explicit.

    Raises:
        ContentError: They are.
    """
    if found and np.mean(found) > MOST:
        problem = f"{sum(found)} of {len(found)} samples are judged to be explicit"
        raise ContentError(subject, problem, "Such clips are not worked on.")


def explicit(frame: Frame, cards: tuple[Card, ...], runtime: Runtime) -> bool:
    """Whether the networks judge a picture to be explicit."""
    scale = min(1.0, SIDE / max(frame.size))
    size = (max(1, round(frame.size[0] * scale)), max(1, round(frame.size[1] * scale)))
    return bool(safety.judge(runtime, cards, cpu.thumbnail(frame, size)[None])[0])
