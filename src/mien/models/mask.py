"""Networks that say what of a crop is face: occlusion, regions, matte."""

from __future__ import annotations

from mien.models.card import Card

CARDS: tuple[Card, ...] = ()
"""Every card of this module."""
