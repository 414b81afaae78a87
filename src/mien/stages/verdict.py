"""How a new face looks beside the one it replaces: what is measured in every frame, and what of it is bad.

Both pictures of a face are cut to the same small square. A face is judged by its own track: what a new face
lacks or has more of in one stretch than everywhere else is what an eye is caught by, whatever the two faces
look like; so nothing is said of a new face that is as bad from beginning to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from mien.faces.anatomy import OVAL
from mien.images import cpu, geometry
from mien.models import landmark
from mien.types import Array, Faces, Float32, Float64, Frame

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

Flaw: TypeAlias = Literal["lost", "marked", "jumps", "apart"]

SIDE = 96
"""Pixels of the square in which faces are compared."""
CELLS = 8
"""Cells along each side of the square."""
WORST = 3
"""Cells whose mean counts for a face: a finger before a chin covers no more."""
CHANGED = 0.08
"""Share of a face that must differ by `VISIBLE` codes for it to count as changed."""
VISIBLE = 4.0
FLOOR: Mapping[Flaw, float] = {"lost": 2.0, "marked": 2.0, "jumps": 2.5, "apart": 0.12}
"""Least measure that is bad: codes (of 255) a pixel for the first two, codes for the third, and shares of the
distance from eye to eye and to the mouth for the last."""
SPREADS = 4.0
"""How many times its usual deviation a measure must lie above its median."""
FEWEST = 8
"""Frames of a track below which nothing is usual."""


@dataclass(frozen=True, slots=True, eq=False)
class Square:
    """One face in one frame, as it was and as it is."""

    before: Float32
    """(SIDE, SIDE) luma, 0 to 255."""
    after: Float32
    inside: Float32
    """(SIDE, SIDE) 0 to 1, the face."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What was measured of one face in one frame."""

    frame: int
    lost: Float32
    """(CELLS, CELLS) gradient of the picture that the new face lacks, codes a pixel."""
    marked: Float32
    """(CELLS, CELLS) gradient that it has more of."""
    jumps: Float32
    """(CELLS, CELLS) codes by which it changes more since the frame before than the old one did."""
    apart: float
    """Mean distance of its landmarks from where they belong; infinite where no face is found."""


class Watch:
    """Compares faces frame by frame; frames must come in order.

    Args:
        runtime: Where landmarks are found in the new faces.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._last: dict[int, tuple[int, Square]] = {}
        self.rows: dict[int, list[Row]] = {}
        """Track id to its rows; frames in which a face was not changed have none."""

    def look(self, before: Frame, after: Frame, faces: Faces) -> None:
        """Compare the faces of one frame.

        Args:
            before: The target's frame.
            after: The same frame of the result; it may have another size.
            faces: Dense landmarks and track ids, in display pixels of `before`.

        Raises:
            ValueError: The faces have no dense landmarks, or no track ids.
        """
        if not len(faces):
            return
        if faces.dense is None or faces.track is None:
            raise ValueError("faces: expected dense landmarks and track ids")
        (width, height), (w, h) = before.size, after.size
        onto = geometry.scaling(w / width, h / height)
        for track, dense, points in zip(faces.track.tolist(), faces.dense, faces.points, strict=True):
            pair = square(before, after, dense, onto)
            if not changed(pair):
                continue
            number, last = self._last.get(track, (-1, pair))
            follows = number == before.index - 1
            lost, marked = edges(pair)
            jumps = moved(pair, last) if follows else np.zeros_like(lost)
            off = self._apart(after, dense, points, onto)
            self.rows.setdefault(track, []).append(Row(before.index, lost, marked, jumps, off))
            self._last[track] = (before.index, pair)

    def _apart(self, after: Frame, dense: Float64, points: Float64, onto: Float64) -> float:
        """How far the landmarks of the new face lie from those of the old one."""
        wanted = geometry.apply(onto, dense[:, :2])
        found, sure = landmark.landmarks(self._runtime, after, landmark.roi_from_dense(wanted[None]))
        if sure[0] < 0.5:
            return float("inf")
        moved = geometry.apply(onto, points)
        across, down = moved[1] - moved[0], moved[3:].mean(0) - moved[:2].mean(0)
        reach = max(float(np.hypot(*across)), float(np.hypot(*down)), 1.0)
        return float(np.hypot(*(found[0, :, :2] - wanted).T).mean()) / reach


def square(before: Frame, after: Frame, dense: Float64, onto: Float64) -> Square:
    """A face of both frames.

    Args:
        before: The target's frame.
        after: The result's.
        dense: (468, 3) display pixels of `before`.
        onto: (2, 3) display pixels of `before` to those of `after`.
    """
    scale = geometry.scaling(SIDE / landmark.SIDE, SIDE / landmark.SIDE)
    where = geometry.compose(scale, landmark.roi_from_dense(dense[None])[0])
    there = geometry.compose(where, geometry.invert(onto))
    rim = geometry.apply(where, dense[list(OVAL), :2])
    inside = cpu.fill_polygons((SIDE, SIDE), [rim])
    return Square(_luma(before, where), _luma(after, there), inside)


def _luma(frame: Frame, where: Float64) -> Float32:
    """(SIDE, SIDE) 0 to 255, without the finest grain."""
    rgb = cpu.glance(frame, where, (SIDE, SIDE)).astype(np.float32)
    return cpu.blur(cpu.luma(rgb), 0.8)


def changed(pair: Square) -> bool:
    """Whether there is a new face at all, and not what an encoder has made of the old one."""
    apart = np.abs(pair.after - pair.before) > VISIBLE
    return float((apart * pair.inside).sum()) > CHANGED * float(pair.inside.sum())


def edges(pair: Square) -> tuple[Float32, Float32]:
    """(CELLS, CELLS) gradient that the new face lacks, and that it has more of."""
    more = (_slope(pair.after) - _slope(pair.before)) * pair.inside
    return _cells(np.maximum(-more, 0.0)), _cells(np.maximum(more, 0.0))


def moved(pair: Square, last: Square) -> Float32:
    """(CELLS, CELLS) by how much more the new face has changed since the frame before than the old one."""
    new, old = np.abs(pair.after - last.after), np.abs(pair.before - last.before)
    return _cells((new - old) * np.minimum(pair.inside, last.inside))


def _slope(luma: Float32) -> Float32:
    """Length of the gradient, codes a pixel; zero at the picture's edge."""
    across, down = np.zeros_like(luma), np.zeros_like(luma)
    across[:, 1:-1] = (luma[:, 2:] - luma[:, :-2]) / 2
    down[1:-1] = (luma[2:] - luma[:-2]) / 2
    return np.hypot(across, down)


def _cells(values: Array) -> Float32:
    step = SIDE // CELLS
    return np.asarray(values.reshape(CELLS, step, CELLS, step).mean((1, 3)), np.float32)


def flaws(rows: Sequence[Row]) -> dict[Flaw, Float64]:
    """How bad each frame of a track is: (n,) for every flaw, 1 and more where it is worth a look.

    Args:
        rows: Of one track.
    """
    if not rows:
        return {}
    measured: dict[Flaw, Float64] = {
        "lost": _worst(np.stack([row.lost for row in rows]), usual=True),
        "marked": _worst(np.stack([row.marked for row in rows]), usual=True),
        "jumps": _worst(np.stack([row.jumps for row in rows]), usual=False),
        "apart": np.array([row.apart for row in rows], np.float64),
    }
    return {flaw: values / limit(flaw, values) for flaw, values in measured.items()}


def _worst(cells: Float32, usual: bool) -> Float64:
    """(n,) mean of the worst cells of each frame, above what is usual there if that is asked."""
    above = cells - np.median(cells, axis=0) if usual else cells
    flat = np.sort(above.reshape(len(above), -1), axis=1)
    return np.asarray(flat[:, -WORST:].mean(1), np.float64)


def limit(flaw: Flaw, values: Float64) -> float:
    """From which measure on a frame is bad, by what is usual in its track."""
    floor = FLOOR[flaw]
    if flaw == "apart":  # where a face belongs is known, whatever is usual
        return floor
    if len(values) < FEWEST:
        return float("inf")
    middle = float(np.median(values))
    deviation = 1.4826 * float(np.median(np.abs(values - middle)))
    return max(floor, middle + SPREADS * deviation)
