"""Putting looks on faces: all faces of a batch of frames in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.faces import mesh
from mien.images import cpu
from mien.stages import networks
from mien.stages.patch import Painting, Patch, Timed, moved, paint, untimed

if TYPE_CHECKING:
    from mien.models.runtime import Runtime


def change(runtime: Runtime, patches: Sequence[Patch], timed: Timed = untimed) -> int:
    """Give faces their looks, in place.

    Args:
        runtime: Where the networks run.
        patches: Faces of one or more frames; the frames' planes are written inside the faces only.
        timed: Told the stages `crop`, `swap`, `enhance`, `mask`, `carry`, `blend` and `paste`.

    Returns:
        How many faces were carried from other frames, as their look's `swap.every` asks.
    """
    made, carried = painted(runtime, patches, timed)
    with timed("paste"):
        paint(patches, made)
    return carried


def painted(runtime: Runtime, patches: Sequence[Patch], timed: Timed = untimed) -> tuple[list[Painting], int]:
    """What `change` pastes, without pasting it; frames are read only."""
    paintings: dict[int, Painting] = {}
    for_networks = [k for k, patch in enumerate(patches) if patch.look.network is not None]
    made, carried = networks.paintings(runtime, [patches[k] for k in for_networks], timed)
    paintings.update(zip(for_networks, made, strict=True))
    for k, patch in enumerate(patches):
        if k not in paintings:
            paintings[k] = _by_mesh(patch, timed)
    return [paintings[k] for k in range(len(patches))], carried


def _by_mesh(patch: Patch, timed: Timed) -> Painting:
    """The new face by the mesh swapper.

    Raises:
        ValueError: The look has no texture.
    """
    look = patch.look
    if look.texture is None:
        raise ValueError("look: expected a texture for the mesh swapper, got none")
    matrix, size = mesh.frame_matrix(patch.dense)
    with timed("crop"):
        crop = cpu.crop(patch.frame, matrix, size)
    with timed("swap"):
        dense = moved(patch.dense, matrix)
        rgb, mask = mesh.swap(look.texture, crop, dense, look.swap, look.mask)
    return Painting(rgb, mask * np.float32(look.shown) if look.shown < 1.0 else mask, matrix)
