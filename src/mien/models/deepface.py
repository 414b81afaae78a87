"""Networks of the user's own that know one person: DeepFaceLab's `.dfm` files.

A `.dfm` file is ONNX: it takes an aligned face and gives another face in its pose, with a mask of each. There
is no list of such files and there will be none: they are made of particular people.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ModelError
from mien.images import operations
from mien.images.operations import namespace
from mien.models import pictures
from mien.models.card import Card, File, Latent, Pixels, Tensor
from mien.types import Array, Float32

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

FAMILY = "deepface"
SUFFIX = ".dfm"
"""Of such files."""

FACE = "in_face:0"
MORPH = "morph_value:0"
MASKS = ("out_face_mask:0", "out_celeb_face_mask:0")
RESULT = "out_celeb_face:0"

REFERENCE = 224
"""Side at which a peer's fixed widths, which are scaled here, are taken as right."""
ERODED = 2.0
"""Pixels that a mask shrinks by, at `REFERENCE`."""
BLURRED = 6.25
"""Standard deviation of its edge, at `REFERENCE`."""
SHARPER = 0.75
"""How much of what a blur of `BLUR` pixels takes away is added before the network looks."""
BLUR = 2.0


def card(path: str | os.PathLike[str]) -> Card:
    """The card of a user's file. Its checksum is computed, as it is the user's to change.

    Args:
        path: A `.dfm` file.

    Raises:
        ModelError: It is absent, not ONNX, or has other inputs and outputs.
    """
    from mien.models import graph_file  # reads graphs: only here

    file = Path(path).absolute()
    if not file.is_file():
        raise ModelError(file, "does not exist", "Correct swap.model.")
    graph = graph_file.read(file)
    shapes = {port.name: port.shape for port in (*graph.inputs, *graph.outputs)}
    side = _side(file, shapes.get(FACE))
    if not {RESULT, *MASKS} <= {port.name for port in graph.outputs}:
        raise _other(file, f"its outputs are {', '.join(port.name for port in graph.outputs)}")
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    pixels = Pixels(side, order="BGR", layout="NHWC")
    return Card(
        name=f"{file.stem}-{sha256[:8]}",
        task="swap",
        # An absolute path stays itself when it is joined to the store's folder.
        files=(File(str(file), sha256, file.stat().st_size),),
        licence="the user's own",
        inputs=(
            Tensor(FACE, (side, side, 3), "B'G'R' in [0, 1]"),
            Tensor(MORPH, (1,), "0 to 1", optional=True),
        ),
        outputs=(
            Tensor(MASKS[0], (side, side, 1)),
            Tensor(RESULT, (side, side, 3), "B'G'R' in [0, 1]"),
            Tensor(MASKS[1], (side, side, 1)),
        ),
        family=FAMILY,
        pixels=pixels,
        result=pixels,
        template="dfl_whole_face",
        latent=Latent(kind="none"),
        tolerance=0.03,
        notes="Knows one person.",
    )


def run(runtime: Runtime, card: Card, crops: Float32, morph: float) -> tuple[Float32, Float32]:
    """Replace faces by the one that the network knows.

    Args:
        runtime: Where the network runs.
        card: From `card`.
        crops: (N, side, side, 3) R'G'B' in [0, 1], aligned to the card's template at the card's side.
        morph: 0 to 1, for networks that take it.

    Returns:
        Float32 (N, side, side, 3) R'G'B' in [0, 1], and float32 (N, side, side): where both the old and the
        new face are, shrunk a little and softened.

    Raises:
        ValueError: Crops of another side.
    """
    pixels = pictures.looked_at(card)
    if crops.ndim != 4 or crops.shape[1:] != (pixels.side, pixels.side, 3):
        raise ValueError(f"{card.name}: expected crops of {pixels.side} pixels, got {crops.shape}")
    ops, xp = operations.of(crops), namespace(crops)
    sharp = xp.stack([c + SHARPER * (c - ops.blur(c, BLUR)) for c in crops]) if len(crops) else crops
    given: dict[str, Array] = {
        FACE: pictures.to_tensor(sharp, pixels),
        MORPH: np.array([morph], np.float32),
    }
    results = runtime.session(card).run(given)
    faces = pictures.to_pictures(results[RESULT], card.result or pixels)
    both = xp.minimum(results[MASKS[0]], results[MASKS[1]]).reshape(crops.shape[:3])
    return faces.clip(0.0, 1.0), xp.stack([edge(mask) for mask in both]) if len(both) else both


def edge(mask: Float32) -> Float32:
    """A mask (side, side) shrunk and softened, by widths that follow the side; in [0, 1]."""
    scale = mask.shape[0] / REFERENCE
    xp = namespace(mask)
    shrunk = xp.astype(mask, xp.float32).clip(0.0, 1.0)
    for _ in range(max(1, round(ERODED * scale))):
        shrunk = _eroded(shrunk)
    return operations.of(mask).blur(shrunk, BLURRED * scale).clip(0.0, 1.0)  # type: ignore[no-any-return]


def _eroded(mask: Float32) -> Float32:
    """The least of each pixel and its four neighbours."""
    xp = namespace(mask)
    shifted = [
        xp.concat([mask[:1], mask[:-1]]),
        xp.concat([mask[1:], mask[-1:]]),
        xp.concat([mask[:, :1], mask[:, :-1]], axis=1),
        xp.concat([mask[:, 1:], mask[:, -1:]], axis=1),
    ]
    return functools.reduce(xp.minimum, shifted, mask)


def _side(file: Path, shape: tuple[int | str, ...] | None) -> int:
    """Side of the face that a network takes.

    Raises:
        ModelError: It takes none.
    """
    if shape is None or len(shape) != 4:
        raise _other(file, f"it has no input {FACE}")
    side = shape[1]
    if not isinstance(side, int) or side < 1 or shape[2] != side:
        raise _other(file, f"its input {FACE} is {shape[1]} by {shape[2]}")
    return side


def _other(file: Path, what: str) -> ModelError:
    return ModelError(
        file, f"is not a network as DeepFaceLab exports them: {what}", "Export it again as dfm."
    )
