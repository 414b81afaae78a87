"""Networks that replace a face in an aligned crop: what identity they take, and how they run.

A latent is what a network takes for an identity: usually a vector in a space of its own, sometimes a
picture. It is made once for an identity. Larger crops than a network's own are swapped in tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mien.images.operations import namespace
from mien.models import embed, pictures, swap_cards
from mien.models.card import Card, Latent, Pixels
from mien.models.detectors import in_order
from mien.types import Array, Float32, Float64, Identity

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

CARDS: tuple[Card, ...] = swap_cards.CARDS
"""Every card of this module."""

LARGEST = 1024
"""Side of the largest crop that is swapped in tiles."""


def sides(card: Card) -> tuple[int, ...]:
    """The sides of crops that a network works on: its own and multiples of it, up to `LARGEST`.

    A network made for one person is not run in tiles: it makes masks of its own, which a part of a face
    does not give.
    """
    side = pictures.looked_at(card).side
    if card.latent is None or card.latent.kind == "none":
        return (side,)
    return tuple(range(side, max(side, LARGEST) + 1, side))


def latent(runtime: Runtime, card: Card, identity: Identity) -> Float32:
    """What a network takes for an identity.

    Args:
        runtime: Where embedder and converter run.
        card: A swapper.
        identity: Has the embedding that the card names, or the portrait.

    Returns:
        Float32 (1, ...), for the input `source`: (1, D) or (1, 3, side, side).

    Raises:
        ValueError: The identity lacks it, or the network takes none.
    """
    wanted = _wanted(card)
    if wanted.kind == "picture":
        return _picture(card, wanted, identity)
    if wanted.embedder not in identity.embeddings:
        raise ValueError(f"{identity.name}: expected an embedding by {wanted.embedder} for {card.name}")
    return _mapped(runtime, card, wanted, identity.embeddings[wanted.embedder])


def target_latent(runtime: Runtime, card: Card, embedding: Float32) -> Float32:
    """The latent of whoever is in the clip, in the same space as the source's.

    A mix of two vectors means something only where both are in one space, so the target's goes through the
    same converter or matrix. (A peer mixes ArcFace's vector into the converted one.)

    Args:
        runtime: Where the converter runs.
        card: A swapper that takes a vector.
        embedding: (D,) raw, by the card's embedder.

    Returns:
        Float32 (1, D).

    Raises:
        ValueError: The network takes no vector.
    """
    wanted = _wanted(card)
    if wanted.kind != "embedding":
        raise ValueError(f"{card.name}: expected a swapper that takes a vector, it takes a picture")
    return _mapped(runtime, card, wanted, embedding)


def mixed(card: Card, source: Float32, target: Float32, strength: float) -> Float32:
    """A latent between the target's and the source's, or beyond the latter.

    t + strength (s - t), scaled to the length of s: between two directions lies a shorter vector, which
    a network would take for a weaker identity, not for one in between. 0 is the target's direction, 1 is the
    source itself.

    Args:
        card: A swapper that takes a vector.
        source: (N, D).
        target: (N, D) in the same space.
        strength: 0 or more.

    Returns:
        Float32 (N, D).

    Raises:
        ValueError: The network takes no vector, or the shapes differ.
    """
    if _wanted(card).kind != "embedding" or source.shape != target.shape:
        shapes = f"{source.shape} and {target.shape}"
        raise ValueError(f"{card.name}: expected two latents (N, D) that can be mixed, got {shapes}")
    if strength == 1.0:
        return source
    s, t = np.asarray(source, np.float64), np.asarray(target, np.float64)
    between = t + strength * (s - t)
    length = _length(between)
    # Exactly opposed vectors have nothing in between.
    scaled = np.where(length > 1e-12, between / np.maximum(length, 1e-12) * _length(s), s)
    return np.asarray(scaled, np.float32)


def condition(runtime: Runtime, card: Card, latents: Float32) -> Mapping[str, Array]:
    """Do once for an identity what depends on it alone.

    Args:
        runtime: Where the network runs.
        card: A swapper.
        latents: (N, ...) from `latent` or `mixed`.

    Returns:
        What `run` takes, N rows each.
    """
    return runtime.session(card).condition({"source": np.ascontiguousarray(latents, np.float32)})


def run(
    runtime: Runtime, card: Card, conditions: Mapping[str, Array], crops: Float32
) -> tuple[Float32, Float32 | None]:
    """Replace faces.

    A crop of k times the network's side is taken apart into k * k interleaved crops, every k-th pixel of
    every k-th row, which are swapped together and put back. Each alone is aliased; all of them together hold
    every pixel, so there is no low pass.

    Args:
        runtime: Where the network runs.
        card: A swapper that takes an identity.
        conditions: From `condition`, N rows each.
        crops: (N, S, S, 3) R'G'B' in [0, 1], aligned to the card's template; S is one of `sides`.

    Returns:
        Float32 (N, S, S, 3) R'G'B' in [0, 1], and the network's own mask (N, S, S) in [0, 1] where it gives
        one; it has been used already.

    Raises:
        ValueError: Another side, or other numbers of rows.
    """
    pixels = pictures.looked_at(card)
    count, times = len(crops), _times(card, crops)
    for name, rows in conditions.items():
        if len(rows) != count:
            raise ValueError(f"{card.name}: {name}: expected {count} rows, one a crop, got {len(rows)}")
    masked = len(card.outputs) > 1
    if not count:
        return crops, crops[..., 0] if masked else None
    tiles = pictures.to_tensor(_apart(crops, times), pixels)
    repeated = {name: np.repeat(rows, times * times, axis=0) for name, rows in conditions.items()}
    results = in_order(card, runtime.session(card).run({**repeated, "target": tiles}))
    faces = pictures.to_pictures(results[0], card.result or Pixels(pixels.side))
    faces = _together(faces.clip(0.0, 1.0), times)
    if not masked:
        return faces, None
    found = results[1].reshape(len(tiles), pixels.side, pixels.side, 1)
    return faces, _together(found, times)[..., 0].clip(0.0, 1.0)


def _wanted(card: Card) -> Latent:
    """What identity a network takes.

    Raises:
        ValueError: None.
    """
    if card.latent is None or card.latent.kind == "none":
        raise ValueError(f"{card.name}: expected a swapper that takes an identity")
    return card.latent


def _picture(card: Card, wanted: Latent, identity: Identity) -> Float32:
    """(1, 3, side, side) the largest portrait, aligned by its own landmarks."""
    if wanted.pixels is None or not identity.portraits:
        raise ValueError(f"{identity.name}: expected a portrait, and pixels on the card, for {card.name}")
    crop = embed.cut(identity.portraits[0], wanted, wanted.pixels.side)
    return pictures.to_tensor(crop[None], wanted.pixels)


def _mapped(runtime: Runtime, card: Card, wanted: Latent, embedding: Float32) -> Float32:
    """(1, D) an embedding (D,) in the swapper's own space."""
    raw = np.asarray(embedding, np.float64)[None]
    if wanted.projected:
        return np.asarray(raw / _length(raw) @ _matrix(runtime, card), np.float32)
    if wanted.converter:
        converter = runtime.catalogue.card(wanted.converter)
        raw = np.asarray(embed.convert(runtime, converter, np.asarray(raw, np.float32)), np.float64)
    return np.asarray(raw / _length(raw) if wanted.unit else raw, np.float32)


def _matrix(runtime: Runtime, card: Card) -> Float64:
    """The matrix that is the last of the weights in a network's file."""
    from mien.models import mend  # reads graphs: only here

    path = runtime.store.locate(card)[card.network.name]
    return np.asarray(mend.last_matrix(path, runtime.store.home / "compiled"), np.float64)


def _length(vectors: Float64) -> Float64:
    """(..., 1) Euclidean length of vectors (..., D), never 0."""
    return np.asarray(np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30), np.float64)


def _times(card: Card, crops: Float32) -> int:
    """How many of the network's sides go into a crop's.

    Raises:
        ValueError: No whole number, or not a square.
    """
    side = int(crops.shape[1])
    if crops.ndim != 4 or crops.shape[2] != side or side not in sides(card):
        known = ", ".join(str(k) for k in sides(card))
        raise ValueError(f"{card.name}: expected crops of a side of {known}, got {crops.shape[1:]}")
    return side // pictures.looked_at(card).side


def _apart(crops: Float32, times: int) -> Float32:
    """(N, kS, kS, C) to (N k k, S, S, C): tile i, j is crop[i::k, j::k], i the slower."""
    if times == 1:
        return crops
    n, height, width, channels = crops.shape
    split = crops.reshape(n, height // times, times, width // times, times, channels)
    apart = namespace(crops).permute_dims(split, (0, 2, 4, 1, 3, 5))
    return apart.reshape(-1, height // times, width // times, channels)  # type: ignore[no-any-return]


def _together(tiles: Float32, times: int) -> Float32:
    """What `_apart` took apart: (N k k, S, S, C) to (N, kS, kS, C)."""
    if times == 1:
        return tiles
    _, height, width, channels = tiles.shape
    split = tiles.reshape(-1, times, times, height, width, channels)
    joined = namespace(tiles).permute_dims(split, (0, 3, 1, 4, 2, 5))
    return joined.reshape(-1, height * times, width * times, channels)  # type: ignore[no-any-return]
