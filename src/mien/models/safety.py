"""Networks that judge whether a picture may be worked on.

Each makes up its mind by a rule of its own; a picture is refused where two agree, or the only one there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mien.errors import ModelError
from mien.images import cpu
from mien.models import pictures
from mien.models.assets import assets
from mien.models.card import Card, Pixels, Tensor
from mien.types import Array, Float32

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

Verdicts: TypeAlias = NDArray[np.bool_]
Rule: TypeAlias = Callable[[Array], Verdicts]
"""(N, ...) a network's output; (N,) whether each picture is explicit."""

AGREED = 2
"""Networks that must agree where there are so many."""


def _card(
    number: int, family: str, vendor: str, licence: str, size: int, output: Tensor, pixels: Pixels
) -> Card:
    name = f"nsfw_{number}"
    return Card(
        name=name,
        task="safety",
        files=(assets("models-3.3.0", f"{name}.onnx", size=size),),
        licence=licence,
        inputs=(Tensor("input", (3, pixels.side, pixels.side), "R'G'B', whole picture with black bars"),),
        outputs=(output,),
        family=family,
        vendor=vendor,
        commercial=True,
        pixels=pixels,
    )


CARDS: tuple[Card, ...] = (
    _card(
        1,
        "parts",
        "EraX",
        "Apache-2.0",
        80_414_194,
        Tensor("", (-1, -1), "a column a place: box, then how likely each explicit part is there"),
        Pixels(640),
    ),
    _card(
        2,
        "pair",
        "Marqo",
        "Apache-2.0",
        22_489_928,
        Tensor("", (2,), "logits: explicit, not explicit"),
        Pixels(384, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
    _card(
        3,
        "grades",
        "Freepik",
        "MIT",
        358_188_033,
        Tensor("", (4,), "logits: four grades, the last the most explicit"),
        Pixels(448, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ),
)
"""Every card of this module."""


def judge(runtime: Runtime, cards: Sequence[Card], pictures: Array) -> Verdicts:
    """Whether pictures are explicit.

    Args:
        runtime: Where the networks run.
        cards: Networks that judge; one alone decides alone, of several two must agree. None lets pass.
        pictures: uint8 (N, h, w, 3) R'G'B', whole.

    Returns:
        (N,) bool.

    Raises:
        ModelError: A card's family is none that judges.
    """
    votes = np.zeros(len(pictures), np.int64)
    for card in cards:
        votes += _vote(runtime, card, pictures)
    return np.asarray(votes >= min(AGREED, max(len(cards), 1)), np.bool_)


def contained(picture: Array, side: int) -> Float32:
    """A whole picture in a square, scaled to fit, with black bars on both sides of what is shorter.

    Args:
        picture: uint8 (h, w, 3).
        side: Of the square.

    Returns:
        Float32 (side, side, 3) in [0, 1].
    """
    height, width = picture.shape[:2]
    scale = min(side / height, side / width)
    h, w = max(1, int(height * scale)), max(1, int(width * scale))
    square = np.zeros((side, side, 3), np.float32)
    top, left = (side - h) // 2, (side - w) // 2
    small = cpu.resize(np.asarray(picture, np.float32), (w, h))
    np.multiply(small, np.float32(1 / 255), out=square[top : top + h, left : left + w])
    return square


def _vote(runtime: Runtime, card: Card, given: Array) -> Verdicts:
    """(N,) what one network says."""
    if card.family not in RULES:
        raise ModelError(
            card.name,
            f"its family {card.family!r} does not judge pictures",
            f"Use one of: {', '.join(RULES)}.",
        )
    pixels = pictures.looked_at(card)
    squares = [contained(picture, pixels.side) for picture in given]
    if not squares:
        return np.zeros(0, np.bool_)
    result = runtime.session(card).run(pictures.to_tensor(np.stack(squares), pixels))
    return RULES[card.family](next(iter(result.values())))


def _parts(boxes: Array) -> Verdicts:
    """(N, 4 + parts, places): any part anywhere above 0.2."""
    return np.asarray(boxes[:, 4:].reshape(len(boxes), -1).max(axis=1) > 0.2, np.bool_)


def _pair(logits: Array) -> Verdicts:
    """(N, 2): the first above the second by 0.25."""
    return np.asarray(logits[:, 0] - logits[:, 1] > 0.25, np.bool_)


def _grades(logits: Array) -> Verdicts:
    """(N, 4): the upper two above the lower two by 10.5, summed."""
    return np.asarray(logits[:, 2:4].sum(axis=1) - logits[:, :2].sum(axis=1) > 10.5, np.bool_)


RULES: Mapping[str, Rule] = MappingProxyType({"parts": _parts, "pair": _pair, "grades": _grades})
"""Family to how its output is read."""
