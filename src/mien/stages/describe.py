"""From pictures of somebody to portraits: the best views of one face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.faces import anatomy, mesh
from mien.images import cpu, geometry
from mien.models import detect, landmark
from mien.settings import Detect
from mien.stages.patch import moved
from mien.types import Colour, Float32, Float64, Frame, Layout, Portrait

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

VIEWS = 6
"""Most portraits of an identity; more views of a source add little and cost time in every frame."""
DIFFERENT = np.array([0.25, 0.25, 0.06, 0.08, 0.12, 0.12])
"""How far two views must differ in a trait (see `anatomy.expression`) to be counted as different."""
PORTRAIT_MARGIN = 0.25
"""Room around a source's landmarks, as a share of their extent: the landmarker needs some."""
_RGB24 = Layout("rgb24", "rgb", 8, ((0, 1, 2),))
_RGB = Colour(matrix="rgb", full_range=True)


def topology(runtime: Runtime) -> anatomy.Topology:
    """The triangles of the dense landmarks.

    Raises:
        ModelError: The topology file cannot be had or is another one.
    """
    return anatomy.Topology.of(landmark.triangles(runtime.store))


def describe(frame: Frame, runtime: Runtime, settings: Detect) -> tuple[Portrait | None, int]:
    """The largest face of a frame, cut out, and how many faces there are.

    Args:
        frame: A picture of somebody.
        runtime: Where the networks run.
        settings: How faces are found.

    Returns:
        The portrait, cut at the frame's own scale with `PORTRAIT_MARGIN` around the landmarks, and the number
        of faces; None and 0 where the frame shows none.

    Raises:
        ModelError: A network cannot be had or loaded.
    """
    faces = detect.find(runtime, frame, settings)
    if faces.dense is None or len(faces) == 0:
        return None, 0
    dense = faces.dense[int(np.argmax(geometry.area(faces.box)))]
    matrix, size = mesh.frame_matrix(dense, PORTRAIT_MARGIN)
    rgb = np.clip(cpu.crop(frame, matrix, size), 0.0, 1.0)
    local = moved(dense, matrix)
    return Portrait(rgb=rgb, dense=local, mirrored=_mirrored(rgb, local, runtime)), len(faces)


def varied(portraits: Sequence[Portrait]) -> tuple[Portrait, ...]:
    """The largest portrait, then always the one most unlike those before, while that shows something new.

    Returns:
        At most `VIEWS`; none where none are given.
    """
    if not portraits:
        return ()
    traits = np.stack([anatomy.expression(p.dense) for p in portraits]) / DIFFERENT
    chosen = [int(np.argmax([anatomy.height(p.dense) for p in portraits]))]
    while len(chosen) < min(VIEWS, len(portraits)):
        gaps = np.linalg.norm(traits[:, None] - traits[None, chosen], axis=2).min(axis=1)
        best = int(np.argmax(gaps))
        if gaps[best] < 1.0:
            break
        chosen.append(best)
    return tuple(portraits[k] for k in chosen)


def _mirrored(rgb: Float32, dense: Float64, runtime: Runtime) -> Float64 | None:
    """Landmarks of the picture's mirror image; None where they are not found there."""
    flipped = np.ascontiguousarray(np.rint(rgb[:, ::-1] * 255.0).astype(np.uint8))
    frame = Frame((flipped,), _RGB24, _RGB, pts=0, index=0, display=np.eye(2, 3))
    points = landmark.five(dense[None])[:, [1, 0, 2, 4, 3]]  # what was left is right now
    points[..., 0] = rgb.shape[1] - points[..., 0]
    first, _ = landmark.landmarks(runtime, frame, landmark.roi_from_points(points))
    again, presence = landmark.landmarks(runtime, frame, landmark.roi_from_dense(first))
    return again[0] if presence[0] > 0.5 else None
