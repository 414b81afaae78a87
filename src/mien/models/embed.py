"""Who somebody is, as a vector: embedders, and the maps from their space into that of a swapper.

An embedder looks at a small aligned picture and gives a vector whose direction says who it is. Vectors are
kept as the network gives them; their lengths differ, and some swappers look at that too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.images import cpu
from mien.models import landmark, pictures
from mien.models.assets import assets
from mien.models.card import Card, File, Latent, Pixels, Tensor
from mien.types import Float32, Float64, Portrait

if TYPE_CHECKING:
    from mien.models.catalogue import Catalogue
    from mien.models.runtime import Runtime

_CODES = (1 / 255, 1 / 255, 1 / 255)
_HALF = (0.5, 0.5, 0.5)

ARCFACE = Card(
    name="arcface_w600k_r50",
    task="embed",
    family="arcface",
    vendor="InsightFace",
    commercial=False,
    licence="Non-Commercial",
    files=(
        assets(
            "models-3.0.0",
            "arcface_w600k_r50.onnx",
            "f1f79dc3b0b79a69f94799af1fffebff09fbd78fd96a275fd8f0cbbea23270d1",
            174_388_474,
        ),
    ),
    inputs=(Tensor("input", (3, 112, 112), "R'G'B' in [-1, 1]"),),
    outputs=(Tensor("", (512,), "not scaled"),),
    pixels=Pixels(112, _HALF, _HALF),
    template="arcface_112_v2",
    same=0.4,
    notes="What swap networks take. ResNet-50, learnt on WebFace600K.",
)

_ZOO = (
    "https://storage.openvinotoolkit.org/repositories/open_model_zoo/2023.0/models_bin/1/"
    "face-reidentification-retail-0095/FP16/"
)


def _zoo(name: str, sha384: str, size: int = 0) -> File:
    """A file of the Open Model Zoo, whose checksums are SHA-384."""
    return File(name, bytes=size, sources=(_ZOO + name,), sha384=sha384)


RETAIL = Card(
    name="face-reidentification-retail-0095",
    task="embed",
    family="arcface",
    vendor="Intel",
    commercial=True,
    licence="Apache-2.0",
    files=(
        _zoo(
            "face-reidentification-retail-0095.xml",
            "689fb39e94bbd0d22cfeeb9292d0b91ac753424a7ee2c0555070e4038a00bfca"
            "ad473b47303012b9a393027dbad0dbce",
        ),
        _zoo(
            "face-reidentification-retail-0095.bin",
            "6d51703e854509dafdab9dfc6b932136d301d95be6d52c9c23b5a4f5de1ffec8"
            "0e8d38b87e0e9556ad36f0dded1588ed",
        ),
    ),
    inputs=(Tensor("", (3, 128, 128), "B'G'R' codes, 0 to 255"),),
    outputs=(Tensor("", (256, 1, 1), "not scaled"),),
    pixels=Pixels(128, std=_CODES, order="BGR"),
    template=(
        (0.3155687500000000, 0.4615741071428571),
        (0.6826229166666667, 0.4615741071428571),
        (0.5002624999999999, 0.6405053571428571),
        (0.3494718750000000, 0.8246919642857142),
        (0.6534364583333333, 0.8246919642857142),
    ),
    same=0.45,
    tolerance=0.0,
    engine="openvino",
    notes="Small, for telling people apart; swap networks do not take it.",
)


def _converter(target: str) -> Card:
    """A card that maps ArcFace's raw vector into another network's space."""
    name = f"crossface_{target}"
    return Card(
        name=name,
        task="convert",
        family="crossface",
        vendor="FaceFusion",
        licence="unknown",
        files=(assets("models-3.4.0", f"{name}.onnx", size=22_083_800),),
        inputs=(Tensor("input", (512,), "of arcface_w600k_r50, not scaled"),),
        outputs=(Tensor("", (512,)),),
        tolerance=0.0,
        notes=f"What {target} swappers take in place of ArcFace's vector.",
    )


CARDS: tuple[Card, ...] = (ARCFACE, RETAIL, *map(_converter, ("ghost", "hififace", "simswap")))
"""Every card of this module, the converters last."""


def embed(runtime: Runtime, card: Card, crops: Float32) -> Float32:
    """Who is seen in aligned pictures.

    Args:
        runtime: Where the network runs.
        card: An embedder.
        crops: (N, side, side, 3) R'G'B' in [0, 1], aligned to the card's template at the card's side.

    Returns:
        Float32 (N, D), not scaled.
    """
    tensor = pictures.to_tensor(crops, pictures.looked_at(card))
    result = next(iter(runtime.session(card).run(tensor).values()))
    return np.ascontiguousarray(result.reshape(len(crops), -1), np.float32)


def convert(runtime: Runtime, card: Card, vectors: Float32) -> Float32:
    """Vectors in another network's space.

    Args:
        runtime: Where the network runs.
        card: A converter.
        vectors: (N, D) raw vectors of the embedder that it was made for.

    Returns:
        Float32 (N, E), not scaled.
    """
    given = np.ascontiguousarray(vectors, np.float32)
    return next(iter(runtime.session(card).run(given).values())).reshape(len(vectors), -1)


def describe(runtime: Runtime, card: Card, portraits: Sequence[Portrait]) -> Float32:
    """Who is seen in all of some portraits.

    Args:
        runtime: Where the network runs.
        card: An embedder.
        portraits: At least one.

    Returns:
        Float32 (D,) robust mean of the portraits' vectors, as `mean` makes it.

    Raises:
        ValueError: There is no portrait.
    """
    if not portraits:
        raise ValueError("portraits: expected at least one, got 0")
    side = pictures.looked_at(card).side
    return mean(embed(runtime, card, np.stack([cut(p, card, side) for p in portraits])))


def cut(portrait: Portrait, card: Card | Latent, side: int) -> Float32:
    """A portrait aligned as a card's, or a latent's, template says.

    Returns:
        Float32 (side, side, 3) R'G'B' in [0, 1].
    """
    points = landmark.five(portrait.dense[None])[0]
    warped = cpu.warp(portrait.rgb, pictures.aligned(points, card.template, side), (side, side))
    return np.clip(np.asarray(warped, np.float32), np.float32(0), np.float32(1))


def mean(vectors: Float32) -> Float32:
    """One vector for several views of a person, of which some may be of somebody else.

    The vectors' directions are averaged. Those that are much less like that average than the others are
    (three times the median deviation of the cosines, at least 0.06) are then left out.

    Args:
        vectors: (N, D) raw, N at least 1.

    Returns:
        Float32 (D,) whose length is the mean length of the vectors that count.

    Raises:
        ValueError: No vector, or another shape.
    """
    given = np.asarray(vectors, np.float64)
    if given.ndim != 2 or not len(given):
        raise ValueError(f"vectors: expected (N, D) with N >= 1, got {given.shape}")
    directions = _unit(given)
    alike = directions @ _unit(directions.mean(0))
    middle = np.median(alike)
    spread = max(float(np.median(np.abs(alike - middle))), 0.02)
    counted = alike >= middle - 3.0 * spread
    length = np.linalg.norm(given[counted], axis=1).mean()
    return np.asarray(_unit(directions[counted].mean(0)) * length, np.float32)


def cosine(a: Float32, b: Float32) -> Float32:
    """How alike vectors are: 1 for one direction, 0 for nothing in common.

    Args:
        a: (A, D).
        b: (B, D).

    Returns:
        Float32 (A, B).
    """
    return np.asarray(_unit(np.asarray(a, np.float64)) @ _unit(np.asarray(b, np.float64)).T, np.float32)


def best(catalogue: Catalogue, installed: Callable[[Card], bool]) -> Card | None:
    """The embedder that `auto` means: ArcFace, as swap networks take it, or the small one.

    Args:
        catalogue: Where it is looked up, so that a user's card of the same name is taken.
        installed: Whether a card's files are here.
    """
    cards = [card for card in catalogue.of("embed") if card.name in (ARCFACE.name, RETAIL.name)]
    for name in (ARCFACE.name, RETAIL.name):
        for card in cards:
            if card.name == name and installed(card):
                return card
    return None


def _unit(vectors: Float64) -> Float64:
    """Vectors (..., D) of length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-30), np.float64)
