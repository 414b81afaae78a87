"""Faces on their way to a new look: what the swappers are given, and how their results get into the frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from mien.faces import mesh
from mien.images import geometry, operations
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
    shown: float = 1.0
    """How much of the new face is shown, 0 to 1."""

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
class Square:
    """A new face as the chain has made it so far."""

    patch: Patch
    rgb: Float32
    """(S, S, 3) R'G'B'."""
    matrix: Float64
    """(2, 3) display pixels to pixels of `rgb`."""
    mask: Float32
    """(M, M) 0 to 1, where the new face is shown."""
    where: Float64
    """(2, 3) display pixels to pixels of `mask`."""
    reach: Float64
    """(4,) the box in pixels of `mask` outside which it is zero."""


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
    rows = [int(k) for k in np.argsort(size, kind="stable")]
    if not any(operations.is_tensor(patch.frame.planes[0]) for patch in patches):
        for k in rows:
            frame, new = patches[k].frame, paintings[k]
            operations.of(frame).paste(frame, new.rgb, new.mask, new.matrix)
        return
    for turn in _turns([patches[k].frame for k in rows]):
        _paste([patches[rows[k]].frame for k in turn], [paintings[rows[k]] for k in turn])


def _turns(frames: Sequence[Frame]) -> list[list[int]]:
    """The numbers of frames, each frame once a turn: its first first."""
    met: dict[int, int] = {}
    turns: list[list[int]] = []
    for k, frame in enumerate(frames):
        turn = met[id(frame)] = met.get(id(frame), -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(k)
    return turns


def _paste(frames: Sequence[Frame], paintings: Sequence[Painting]) -> None:
    """Paste a face into each frame of tensors: those of one size together."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for k, new in enumerate(paintings):
        sizes.setdefault(tuple(new.mask.shape), []).append(k)
    for alike in sizes.values():
        xp = operations.namespace(paintings[alike[0]].rgb)
        rgb, masks = (xp.stack([getattr(paintings[k], n) for k in alike]) for n in ("rgb", "mask"))
        matrices = np.stack([paintings[k].matrix for k in alike])
        operations.of(rgb).pastes([frames[k] for k in alike], rgb, masks, matrices)
