"""Faces on their way to a new look: what the swappers are given, and how their results get into the frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from mien.faces import mesh
from mien.images import cpu, geometry
from mien.models.card import Card
from mien.settings import Enhance, Mask, Swap
from mien.types import Array, Faces, Float32, Float64, Frame

Timed: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Gives a context in which a stage of that name runs, to be timed."""
Conditions: TypeAlias = Mapping[str, Array]
"""What a swap network takes for an identity, (1, ...) each."""

ANYBODY = -1
"""Stands for every track that has no conditions of its own."""


def untimed(stage: str) -> AbstractContextManager[None]:
    """Times nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """An identity and the settings it is shown with, ready to be put on faces."""

    swap: Swap
    mask: Mask
    enhance: Enhance
    texture: mesh.Texture | None = None
    """For the mesh swapper."""
    network: Card | None = None
    """The swap network; None for the mesh swapper."""
    conditions: Mapping[int, Conditions] = field(default_factory=dict)
    """Track id to what the network takes for the identity on that track; `ANYBODY` for all others."""
    opacity: float = 1.0
    """Share of the new face where strength cannot be mixed into the identity."""

    def condition(self, track: int) -> Conditions:
        """What the network takes for a track."""
        return self.conditions.get(track, self.conditions.get(ANYBODY, {}))


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One face of one frame that is to get a look."""

    frame: Frame
    """Owned by the pipeline; nothing is written before `paint`."""
    dense: Float64
    """(468, 3) display pixels."""
    points: Float64
    """(5, 2) display pixels."""
    look: Look
    track: int = ANYBODY
    """The track it belongs to; `ANYBODY` where it belongs to none."""


@dataclass(frozen=True, slots=True, eq=False)
class Painting:
    """A new face in an upright crop of its frame."""

    rgb: Float32
    """(h, w, 3) R'G'B'."""
    mask: Float32
    """(h, w) 0 to 1."""
    matrix: Float64
    """(2, 3) display pixels to crop pixels."""


def patches(frame: Frame, faces: Faces, look: Look) -> list[Patch]:
    """One patch a face.

    Raises:
        ValueError: The faces have no dense landmarks.
    """
    if faces.dense is None:
        raise ValueError("faces: expected dense landmarks, got none")
    track = np.full(len(faces), ANYBODY) if faces.track is None else faces.track
    return [Patch(frame, faces.dense[k], faces.points[k], look, int(track[k])) for k in range(len(faces))]


def moved(dense: Float64, matrix: Float64) -> Float64:
    """(N, 3) dense landmarks under a (2, 3) affine: depth is scaled like the rest."""
    place = geometry.apply(matrix, dense[:, :2])
    return np.column_stack([place, dense[:, 2] * geometry.affine_scale(matrix)])


def paint(patches: Sequence[Patch], paintings: Sequence[Painting]) -> None:
    """Paste every face into its frame; the smallest first, so that nearer faces cover it."""
    size = [float(geometry.area(geometry.box_of(patch.dense[:, :2]))) for patch in patches]
    for k in np.argsort(size, kind="stable"):
        cpu.paste(patches[k].frame, paintings[k].rgb, paintings[k].mask, paintings[k].matrix)
