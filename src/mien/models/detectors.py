"""Detectors that find faces of any size in one look at a square picture: cards and decoders."""

from __future__ import annotations

from mien.models.card import Card

CARDS: tuple[Card, ...] = ()
"""Every card of this module."""
