"""Which arrays hold which components of a frame, and where their samples lie: what CPU and GPU share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mien.images.geometry import compose, plane_affine, scaling
from mien.images.sampling import halvings
from mien.types import Array, Colour, Float64, Frame, Layout


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


def grids(
    frame: Frame, onto: Float64
) -> list[tuple[tuple[Array, ...], tuple[tuple[int, int], ...], Float64]]:
    """What a glance warps: each grid's views, how many halvings each is behind the first, and its affine.

    One grid where luma is halved to chroma's size or below.

    Args:
        frame: Any supported layout.
        onto: (2, 3) coded pixels to the glance.
    """
    found = groups(frame)
    chroma = frame.layout.chroma
    if len(found) == 2 and all(have >= want for have, want in zip(halvings(onto), chroma, strict=True)):
        fine, coarse = found
        return [((*fine.views, *coarse.views), ((0, 0), chroma, chroma), fine.affine)]
    return [(g.views, ((0, 0),) * len(g.views), g.affine) for g in found]


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """What a reduced frame looks like."""

    layout: Layout
    size: tuple[int, int]
    """Coded width and height."""
    colour: Colour
    display: Float64


def small(frame: Frame, shrink: int) -> Small:
    """How a frame is reduced: `shrink` coded pixels to one along each side, in whole chroma steps."""
    layout = _planar(frame.layout)
    sx, sy = 1 << layout.chroma[0], 1 << layout.chroma[1]
    width = max(1, frame.width // (shrink * sx) * sx) if shrink > 1 else frame.width
    height = max(1, frame.height // (shrink * sy) * sy) if shrink > 1 else frame.height
    scale = scaling(min(shrink, frame.width / width), min(shrink, frame.height / height))
    # Averaged chroma sits amid its luma, but for half a pixel of the large frame.
    meaning = replace(frame.colour, siting="center") if shrink > 1 else frame.colour
    return Small(layout, (width, height), meaning, compose(frame.display, scale))


@lru_cache(maxsize=64)
def _planar(layout: Layout) -> Layout:
    """The same components with 8 bits, one plane each, without alpha."""
    planes = ((0,),) if layout.model == "gray" else ((0,), (1,), (2,))
    return Layout(f"small {layout.name}", layout.model, 8, planes, layout.chroma)


def upright_by_quarter_turns(frame: Frame) -> bool:
    """Whether display is scaling, mirroring and quarter turns only, and starts at the origin."""
    d = frame.display
    straight = (d[0, 1] == 0 and d[1, 0] == 0) or (d[0, 0] == 0 and d[1, 1] == 0)
    ends = np.array([[0, 0], [frame.width, frame.height]], float) @ d[:, :2].T + d[:, 2]
    return bool(straight and np.abs(ends.min(0)).max() < 0.01)
