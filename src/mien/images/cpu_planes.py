"""Which arrays hold which components, and how they come as float."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mien.images.cpu_warp import Box
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


def load(group: Group, box: Box) -> Array:
    """A box of a group as float32 code values: (h, w) for one component, else (h, w, 4) with filler."""
    left, top, right, bottom = box
    parts: list[Array] = [v[top:bottom, left:right].astype(np.float32, order="C") for v in group.views]
    return parts[0] if len(parts) == 1 else fours(parts)


def fours(parts: list[Array]) -> Array:
    """Two to four planes as (h, w, 4), the last repeated: OpenCV warps four channels faster than three."""
    return np.asarray(cv2.merge(parts + [parts[-1]] * (4 - len(parts))))
