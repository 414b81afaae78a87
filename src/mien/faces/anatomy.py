"""Where things are on the 468-point face mesh, and what its triangles cover.

Indices follow MediaPipe's FaceMesh numbering. "Left" and "right" are as seen in the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mien.types import Float64, Int64

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The rim of the mesh, clockwise from the middle of the forehead."""
HAIRLINE = (21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251)
"""The part of the rim that lies on the forehead, left to right."""

UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
"""Inner edges of the lips, left to right; they share the corners."""

LEFT_UPPER_LID = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_LOWER_LID = (33, 7, 163, 144, 145, 153, 154, 155, 133)
RIGHT_UPPER_LID = (362, 398, 384, 385, 386, 387, 388, 466, 263)
RIGHT_LOWER_LID = (362, 382, 381, 380, 374, 373, 390, 249, 263)
"""Edges of the eyelids, left to right; upper and lower share the corners."""

LEFT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
RIGHT_BROW = (285, 295, 282, 283, 276, 300, 293, 334, 296, 336)
"""Outlines of the eyebrows."""

EYE_BAND = (
    *(21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356, 447, 346, 347, 348, 349, 350),
    *(277, 437, 399, 419, 197, 196, 174, 217, 47, 121, 120, 119, 118, 117, 227, 127, 162),
)
"""Outline of where spectacles sit."""
FOREHEAD, CHIN, LEFT_CHEEK, RIGHT_CHEEK, NOSE_TIP = 10, 152, 234, 454, 1

LENSES = (
    *(127, 70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300, 356, 447, 352, 280, 266, 371),
    *(420, 456, 195, 236, 198, 142, 36, 50, 123, 227),
)
"""Outline of what spectacles cover, from the brows down."""

BRIDGE = (55, 107, 9, 336, 285, 413, 464, 351, 6, 122, 244, 189)
"""Outline of the root of the nose."""

NOSTRILS = (48, 64, 98, 97, 2, 326, 327, 294, 278, 275, 4, 45)
"""Outline of the lower nose from wing to wing."""

MOUTH = UPPER_LIP + LOWER_LIP[-2:0:-1]
LEFT_EYE = LEFT_UPPER_LID + LEFT_LOWER_LID[-2:0:-1]
RIGHT_EYE = RIGHT_UPPER_LID + RIGHT_LOWER_LID[-2:0:-1]
"""Closed outlines of the three openings of the mesh."""


def _strip(upper: tuple[int, ...], lower: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles between two rows of points that share both ends, wound like the mesh's own."""
    found = []
    for (u0, l0), (u1, l1) in pairwise(zip(upper, lower, strict=True)):
        found += [(u0, l0, u1), (u1, l0, l1)]
    return [t for t in found if len(set(t)) == 3]


SIXTY_EIGHT = (
    *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
"""The vertices nearest to the 68 points of the Multi-PIE mark-up: jaw, brows, nose, eyes, lips."""


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """The triangles of the face mesh with its three openings closed."""

    triangles: Int64
    """(T, 3) vertex numbers; seen from the front, in image coordinates, all wound the same way."""

    @classmethod
    def of(cls, skin: Int64) -> Topology:
        """Build from the (852, 3) triangles of the skin, which leave eyes and mouth open."""
        holes = (
            _strip(UPPER_LIP, LOWER_LIP)
            + _strip(LEFT_UPPER_LID, LEFT_LOWER_LID)
            + _strip(RIGHT_UPPER_LID, RIGHT_LOWER_LID)
        )
        return cls(np.concatenate([skin, np.array(holes, np.int64)]))

    def normals(self, dense: Float64) -> Float64:
        """(N, 3) unit vertex normals of a face: x right, y down, z towards the viewer.

        Area-weighted mean of the normals of the triangles around each vertex.
        """
        a, b, c = (dense[self.triangles[:, k]] for k in range(3))
        faces = np.cross(b - a, c - a)
        around = self.triangles.T.ravel()
        total = np.stack([np.bincount(around, np.tile(axis, 3), len(dense)) for axis in faces.T], axis=1)
        length = np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
        # Landmark z grows away from the viewer.
        return np.asarray(total / length * np.array([1.0, 1.0, -1.0]), np.float64)


def height(dense: Float64) -> float:
    """Length from forehead to chin in pixels, measured in three dimensions: the same for every pose."""
    return float(np.linalg.norm(dense[FOREHEAD] - dense[CHIN]))


def frontal(dense: Float64) -> Float64:
    """(N, 3) the face turned to the viewer, about its middle: same scale, x right, y down."""
    across = dense[RIGHT_CHEEK] - dense[LEFT_CHEEK]
    across /= np.linalg.norm(across)
    down = dense[CHIN] - dense[FOREHEAD]
    down -= (down @ across) * across
    down /= np.linalg.norm(down)
    axes = np.stack([across, down, np.cross(across, down)])
    return np.asarray((dense - dense.mean(axis=0)) @ axes.T)


def rim_distance(dense: Float64, rim: tuple[int, ...]) -> Float64:
    """(N,) three-dimensional distance of every vertex to a rim, as a share of the face's height."""
    line = dense[list(rim)]
    fine = np.concatenate([line, (line + np.roll(line, -1, axis=0))[:-1] / 2])
    gaps = np.linalg.norm(dense[:, None, :] - fine[None], axis=2)
    distance: Float64 = gaps.min(axis=1) / height(dense)
    return distance


def edge_distance(dense: Float64) -> Float64:
    """(N,) distance to the rim, counted less above the mouth, where hair reaches further in."""
    down = dense[CHIN] - dense[FOREHEAD]
    along = (dense - dense[FOREHEAD]) @ down / (down @ down)
    upper = 1.0 - np.clip((along - 0.55) / 0.2, 0.0, 1.0)
    return np.asarray(rim_distance(dense, OVAL) / (1.0 + 1.5 * upper), np.float64)


def expression(dense: Float64) -> Float64:
    """(6,) pose and expression of a face, scale-free: yaw, pitch (radians), mouth opening and width,
    opening of the left and right eye (shares of the face's own lengths).
    """
    across = dense[RIGHT_CHEEK] - dense[LEFT_CHEEK]
    down = dense[CHIN] - dense[FOREHEAD]
    wide, tall = np.linalg.norm(across), np.linalg.norm(down)

    def length(a: int, b: int) -> float:
        return float(np.linalg.norm(dense[a] - dense[b]))

    return np.array(
        [
            np.arctan2(across[2], np.hypot(across[0], across[1])),
            np.arctan2(down[2], np.hypot(down[0], down[1])),
            length(13, 14) / tall,
            length(78, 308) / wide,
            length(159, 145) / max(length(33, 133), 1e-6),
            length(386, 374) / max(length(362, 263), 1e-6),
        ]
    )
