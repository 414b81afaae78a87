"""68 landmarks (Multi-PIE order) from an aligned crop, and from five points alone."""

from __future__ import annotations

from mien.models.card import Card

CARDS: tuple[Card, ...] = ()
"""Every card of this module."""
