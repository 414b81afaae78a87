"""Which way a head is turned, from a crop around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ModelError
from mien.images import cpu, geometry
from mien.models import pictures
from mien.models.card import Card, File, Pixels, Tensor
from mien.models.detectors import in_order
from mien.types import Float32, Float64, Frame

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

MARGIN = 0.6
"""Room on each side of the face's box, as a share of its width and height."""
_HOME = "https://github.com/omasaht/headpose-fsanet-pytorch/raw/master/pretrained/"


def _fsanet(kind: str, sha256: str, size: int) -> Card:
    return Card(
        name=f"fsanet_{kind}",
        family="fsanet",
        vendor="omasaht",
        commercial=True,
        task="pose",
        files=(File(f"fsanet-{kind}.onnx", sha256, size, (f"{_HOME}fsanet-{kind}-iter-688590.onnx",)),),
        licence="MIT",
        inputs=(Tensor("input", (3, 64, 64), "head with shoulders, stretched to the whole range"),),
        outputs=(Tensor("output", (3,), "yaw, pitch, roll in degrees"),),
        pixels=Pixels(64, (0.5, 0.5, 0.5), (128 / 255, 128 / 255, 128 / 255), "BGR"),
        notes="One of a pair (1x1, var) whose mean is taken.",
    )


FSANET_1X1 = _fsanet("1x1", "d85e90cb4b9d3a87e81bbfdcfcd130cbe0e175407042e439a570aa396c44eda6", 1_247_488)
FSANET_VAR = _fsanet("var", "2877b1db98e3dc66468e90df8db4a21059facd1c3f107af91c6d4fe6476a03e1", 1_246_963)

CARDS: tuple[Card, ...] = (FSANET_1X1, FSANET_VAR)
"""Every card of this module; they are used together."""


def angles(runtime: Runtime, cards: Sequence[Card], frame: Frame, boxes: Float64) -> Float64:
    """How heads are turned.

    Args:
        runtime: Where the networks run.
        cards: Networks of the family `fsanet`; the mean of what they say is taken.
        frame: The picture.
        boxes: (F, 4) display pixels of the faces.

    Returns:
        (F, 3) degrees: yaw, above 0 where the head looks to the left of the picture; pitch, above 0 where it
        looks up; roll, above 0 where it leans to the right of the picture.

    Raises:
        ModelError: A card is of another family, or its file cannot be had or loaded.
        ValueError: No card.
    """
    if not cards:
        raise ValueError("cards: expected at least one, got 0")
    for card in cards:
        if card.family != "fsanet":
            raise ModelError(card.name, "does not tell how a head is turned", "Use a card for the task pose.")
    if not len(boxes):
        return np.zeros((0, 3))
    said = []
    for card in cards:
        pixels = pictures.looked_at(card)
        crops = np.stack([_crop(frame, box, pixels.side) for box in boxes])
        outputs = in_order(card, runtime.session(card).run(pictures.to_tensor(crops, pixels)))
        said.append(np.asarray(outputs[0], np.float64).reshape(len(boxes), 3))
    mean: Float64 = np.mean(said, axis=0)
    return mean


def _crop(frame: Frame, box: Float64, side: int) -> Float32:
    """A box with its margin, stretched to a square, its values to the whole range from 0 to 1."""
    wide = geometry.expand(box, 1 + 2 * MARGIN)
    x, y = side / np.maximum(wide[2:] - wide[:2], 1.0)
    crop = cpu.glance(frame, geometry.scaling(x, y, (-wide[0] * x, -wide[1] * y)), (side, side))
    rgb = crop.astype(np.float32)
    low, high = float(rgb.min()), float(rgb.max())
    return np.asarray((rgb - np.float32(low)) / np.float32(max(high - low, 1.0)))
