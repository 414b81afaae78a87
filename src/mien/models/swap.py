"""Networks that replace a face in an aligned crop."""

from __future__ import annotations

from mien.models.card import Card

CARDS: tuple[Card, ...] = ()
"""Every card of this module."""
