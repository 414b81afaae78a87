"""Which arrays hold which components, and how they come as float."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.images.cpu_warp import Fetch
from mien.images.geometry import plane_affine
from mien.types import Array, Float64, Frame


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Components of a frame that share one sampling grid."""

    components: tuple[int, ...]
    views: tuple[Array, ...]
    """One (h, w) view into the frame's planes for each component."""
    affine: Float64
    """(2, 3) coded pixels to this grid."""

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height of the grid."""
        h, w = self.views[0].shape
        return int(w), int(h)


def groups(frame: Frame) -> tuple[Group, ...]:
    """The colour components of a frame by sampling grid; alpha is not among them."""
    layout = frame.layout
    luma: dict[int, Array] = {}
    chroma: dict[int, Array] = {}
    affines: dict[int, Float64] = {}
    for number, (plane, parts) in enumerate(zip(frame.planes, layout.planes, strict=True)):
        for slot, component in enumerate(parts):
            if component > 2:
                continue
            subsampled = layout.model == "yuv" and component > 0 and layout.chroma != (0, 0)
            (chroma if subsampled else luma)[component] = plane if len(parts) == 1 else plane[..., slot]
            affines[component] = plane_affine(layout, frame.colour, number)
    found = []
    for part in (luma, chroma):
        if part:
            order = tuple(sorted(part))
            found.append(Group(order, tuple(part[c] for c in order), affines[order[0]]))
    return tuple(found)


def fetches(group: Group) -> list[Fetch]:
    """For each component of a group, what gives a box of it as float32 code values (h, w)."""

    def fetch(view: Array) -> Fetch:
        return lambda box: view[box[1] : box[3], box[0] : box[2]].astype(np.float32, order="C")

    return [fetch(view) for view in group.views]
