"""Networks that restore a face in an aligned crop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.models import pictures
from mien.models.assets import assets
from mien.models.card import Card, File, Pixels, Tensor
from mien.types import Array, Float32

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

WEIGHT = "weight"
"""Input that says how near to its input a network stays, where there is one."""
_HALF = (0.5, 0.5, 0.5)


def _enhancer(
    name: str,
    file: File,
    *,
    family: str,
    vendor: str,
    licence: str,
    commercial: bool | None,
    side: int = 512,
    template: str = "ffhq_512",
    extra: tuple[Tensor, ...] = (),
    tolerance: float = 0.03,
    notes: str = "",
) -> Card:
    """A card of a network that gives pictures as it takes them: R'G'B' in [-1, 1]."""
    pixels = Pixels(side, _HALF, _HALF)
    return Card(
        name=name,
        task="enhance",
        files=(file,),
        licence=licence,
        inputs=(Tensor("input", (3, side, side), "R'G'B' in [-1, 1]"), *extra),
        outputs=(Tensor("", (3, side, side), "R'G'B' in [-1, 1]"),),
        family=family,
        vendor=vendor,
        commercial=commercial,
        pixels=pixels,
        result=pixels,
        template=template,
        tolerance=tolerance,
        notes=notes,
    )


def _gfpgan(version: str, sha256: str = "", size: int = 0) -> Card:
    name = f"gfpgan_{version}"
    return _enhancer(
        name,
        assets("models-3.0.0", f"{name}.onnx", sha256, size),
        family="gfpgan",
        vendor="TencentARC",
        licence="Apache-2.0",
        commercial=True,
    )


def _gpen(side: int, sha256: str = "", size: int = 0) -> Card:
    name = f"gpen_bfr_{side}"
    return _enhancer(
        name,
        assets("models-3.0.0", f"{name}.onnx", sha256, size),
        family="gpen",
        vendor="yangxy",
        licence="Non-Commercial",
        commercial=False,
        side=side,
        template="arcface_128" if side == 256 else "ffhq_512",
    )


CODEFORMER = _enhancer(
    "codeformer",
    assets(
        "models-3.0.0",
        "codeformer.onnx",
        "21710e7ab61c82683576c428e9c1b6fe1ed419586b7b39e394c3449c294b550f",
        376_951_650,
    ),
    family="codeformer",
    vendor="sczhou",
    licence="S-Lab-1.0",
    commercial=False,
    extra=(Tensor(WEIGHT, (1,), "0 the cleanest face, 1 the nearest one", "float64", optional=True),),
    tolerance=0.0,
    notes="Picks entries of a code book: a small error picks another one, so it stays in single precision.",
)

RESTOREFORMER = _enhancer(
    "restoreformer_plus_plus",
    assets(
        "models-3.0.0",
        "restoreformer_plus_plus.onnx",
        "f4db5a89902b6a2d452446f5721245a6f7185f699b6aec7b77285adb4d504337",
        294_264_812,
    ),
    family="restoreformer",
    vendor="wzhouxiff",
    licence="Apache-2.0",
    commercial=True,
    tolerance=0.0,
    notes="Picks entries of a code book, as codeformer does.",
)

CARDS: tuple[Card, ...] = (
    CODEFORMER,
    _gfpgan("1.2"),
    _gfpgan("1.3"),
    _gfpgan("1.4", "accc4757b26bdb89b32b4d3500d4f79c9dff97c1dd7c7104bf9dcb95e3311385", 340_299_087),
    _gpen(256, "bad8bf0426873828df2dbf4e3b3d9ababba9da7965b8b72426569486f7ae5c25", 75_792_988),
    _gpen(512, "d5f066b9068a8b74217f9712e28e875a6144629b108a6f7355acbdb3a2832c54", 284_340_240),
    _gpen(1024),
    _gpen(2048),
    RESTOREFORMER,
)
"""Every card of this module."""


def run(runtime: Runtime, card: Card, crops: Float32, fidelity: float) -> Float32:
    """Restore faces.

    Args:
        runtime: Where the network runs.
        card: An enhancer.
        crops: (N, side, side, 3) R'G'B' in [0, 1], aligned to the card's template at the card's side.
        fidelity: 0 for the cleanest face, 1 for the one nearest to the input; for networks that take it.

    Returns:
        Float32 (N, side, side, 3) R'G'B' in [0, 1].

    Raises:
        ValueError: Crops of another side.
    """
    pixels = pictures.looked_at(card)
    if crops.ndim != 4 or crops.shape[1:] != (pixels.side, pixels.side, 3):
        raise ValueError(f"{card.name}: expected crops of {pixels.side} pixels, got {crops.shape}")
    given: dict[str, Array] = {card.inputs[0].name: pictures.to_tensor(crops, pixels)}
    for tensor in card.inputs:
        if tensor.name == WEIGHT:
            given[WEIGHT] = np.full(tensor.shape, fidelity, tensor.dtype)
    result = next(iter(runtime.session(card).run(given).values()))
    restored = pictures.to_pictures(result, card.result or pixels)
    return restored.clip(0.0, 1.0)
