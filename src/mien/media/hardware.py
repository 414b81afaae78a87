"""What a card's video engines are told, and what they answer; nothing here needs a card, or torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import av.logging


@dataclass(frozen=True, slots=True)
class VideoEngine:
    """A card whose video engine decodes."""

    card: int
    """CUDA's number of the card."""
    device: str = ""
    """Where frames stay, as torch names it (`cuda:0`); empty: they come to the host."""


class RefusedError(Exception):
    """A video engine does not do something, for a reason that is one clause. It never leaves this floor."""


@contextmanager
def listening() -> Iterator[list[Any]]:
    """What FFmpeg writes about errors in this thread while the block runs: its error codes say little.

    For short attempts before the work, not for the work: FFmpeg's own threads would have to wait for ours to
    write, and PyAV keeps them quiet otherwise.
    """
    level, once = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as said:
            yield said
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(once)


def heard(said: list[Any]) -> str:
    """The first two things that were written, as one clause; they are nearest to the cause."""
    lines = dict.fromkeys(str(message).strip().rstrip(".") for _, _, message in said)
    return "; ".join([line for line in lines if line][:2])


def reason(error: Exception) -> str:
    """Why FFmpeg failed, in the error's own words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
