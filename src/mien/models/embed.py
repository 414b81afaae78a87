"""Who somebody is, as a vector: embedders and the maps between their spaces."""

from __future__ import annotations

from mien.models.card import Card

CARDS: tuple[Card, ...] = ()
"""Every card of this module."""
