"""Where a new face is shown: the least of several masks, all in the square of the swap network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mien.faces import anatomy, blend
from mien.images import geometry, operations
from mien.images.operations import namespace
from mien.models import mask
from mien.settings import Mask
from mien.types import Float32, Float64

if TYPE_CHECKING:
    from mien.models.runtime import Runtime
    from mien.stages.patch import Patch


def squares(
    runtime: Runtime, patches: Sequence[Patch], where: Sequence[Float64], crops: Float32, faces: Float32
) -> tuple[Float32, list[Float64]]:
    """Masks of swapped faces.

    The box and the areas come from geometry, what covers a face is sought in the untouched crop, its regions
    in the new face (each as `settings.Mask` says).

    Args:
        runtime: Where the networks run.
        patches: One a face.
        where: For each the (2, 3) affine from display pixels to its square.
        crops: (N, S, S, 3) R'G'B', untouched.
        faces: (N, S, S, 3) R'G'B', swapped.

    Returns:
        Float32 (N, S, S) in [0, 1], and for each face the box (4,) in its square that geometry leaves, the
        whole square where it leaves nothing.
    """
    side = crops.shape[1]
    drawn = [_plain(patch.look.mask, side) for patch in patches]
    for k, (patch, matrix) in enumerate(zip(patches, where, strict=True)):
        areas = patch.look.mask.areas
        if areas:
            points = geometry.apply(matrix, patch.dense[list(anatomy.SIXTY_EIGHT), :2])
            drawn[k] = np.minimum(drawn[k], mask.area_mask(points, areas, (side, side)))
    boxes = [_box(one) for one in drawn]
    there = {id(one): operations.like(one, crops) for one in drawn}  # most are one and the same
    shown = [there[id(one)] for one in drawn]
    for names, rows in _asking(patches, lambda m: m.occlusion):
        cards = [runtime.catalogue.card(name.strip()) for name in names.split(",")]
        _least(shown, rows, mask.occlusion(runtime, cards, crops[rows]))
    for parser, rows in _asking(patches, lambda m: m.parser if m.regions else ""):
        classes = mask.classes(runtime, runtime.catalogue.card(parser), faces[rows])
        for k, found in zip(rows, classes, strict=True):
            _least(shown, [k], mask.region_mask(found[None], patches[k].look.mask.regions))
    return namespace(crops).stack(shown), boxes


def _asking(patches: Sequence[Patch], what: Callable[[Mask], str]) -> list[tuple[str, list[int]]]:
    """Which networks are asked for, and for which faces."""
    groups: dict[str, list[int]] = {}
    for k, patch in enumerate(patches):
        if name := what(patch.look.mask):
            groups.setdefault(name, []).append(k)
    return list(groups.items())


def _least(shown: list[Float32], rows: Sequence[int], found: Float32) -> None:
    """Take a mask of another size into account, its edge softened as far as fits a face."""
    side = shown[0].shape[0]
    for k, one in zip(rows, found, strict=True):
        soft = mask.soften(operations.of(one).resize(one, (side, side)), side)
        shown[k] = namespace(soft).minimum(shown[k], soft)


def _box(drawn: Float32) -> Float64:
    """(4,) what a mask reaches, or all of it where it reaches nothing."""
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        return np.array([0.0, 0.0, *drawn.shape[::-1]])
    return np.array([columns[0], rows[0], columns[-1] + 1.0, rows[-1] + 1.0])


def _plain(settings: Mask, side: int) -> Float32:
    """(side, side) the square without its rim; shrinking takes from all sides, growing gives padding back."""
    top, right, bottom, left = (float(np.clip(p - settings.grow, 0.0, 1.0)) for p in settings.padding)
    return mask.box(side, settings.feather, (top, right, bottom, left))


@lru_cache(maxsize=16)
def rim(side: int, reach: float) -> Float32:
    """(side, side) 1 inside, falling to 0 over `reach` of the side at the rim; shared, do not write."""
    at = (np.arange(side) + 0.5) / side
    along = blend.smoothstep(np.minimum(at, 1.0 - at) / reach)
    made = np.asarray(np.minimum(along[:, None], along[None]), np.float32)
    made.flags.writeable = False
    return made
