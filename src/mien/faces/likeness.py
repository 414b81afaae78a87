"""How a face looks, apart from light and pose: enough to tell a few people of one clip apart.

The skin is unrolled onto a flat map: Tutte's embedding of the mesh, which needs no numbers from anybody's
face ("How to draw a graph", 1963: the rim lies on a convex curve, every other vertex in the middle of its
neighbours). Kept are the middle frequencies of three logarithms, of luma and of two ratios of colours. Light
multiplies, so it turns into a sum in a logarithm, and a soft one goes with the low frequencies. Two faces
are compared by correlation, each place weighted by how squarely both were seen there. This is no identity
network: it tells "surely the same" from "cannot tell", nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.faces import anatomy, raster
from mien.faces.anatomy import Topology
from mien.images import cpu
from mien.types import Array, Float32, Float64, Int64

SIDE = 64
"""Side of the crop that is looked at, pixels; the face is two thirds of it, about as fine as the map."""
SMALLEST = 40.0
"""Size of a face in pixels below which it is not compared: smaller faces of a crowd are alike up to 0.91."""
SURE = 0.82
"""Likeness from which two tracks show one person. Of 6532 pairs of looks of different people none is above
0.78, none of two people in videos above 0.68. The two halves of a clip, one of them relit, are above it in 97
of 100 pairs, looks of a second or two in 93; down to 0.36 where a head is turned left in one and right in
the other."""
_MAP = 38
"""Height of the map in pixels."""
_SLIM = 0.82
"""Its width over its height."""
_AROUND = 10
"""Empty pixels around the map, so that nothing is blurred in from its edge."""
_RIM = 0.05
"""Share of the map's radius, from the rim, that is left out: hair and background."""
_FINE, _COARSE = 0.8, 3.0
"""Deviations in pixels of the two blurs between which frequencies are kept."""
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_FLAT = 4e-6
"""Variance that is taken for noise: a picture without colour is like no other in its colours."""
_SHARED = 0.25
"""Least share of the map that both must have shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Skin:
    """Where on the mesh a face is sampled."""

    topology: Topology
    corners: Int64
    """(P, 3) vertices of the triangle that each sample lies in."""
    shares: Float64
    """(P, 3) its barycentric coordinates there."""
    place: Int64
    """(P,) flat position of each sample on the map."""
    size: tuple[int, int]
    """Width and height of the map."""

    @classmethod
    def of(cls, topology: Topology) -> Skin:
        """Lay the map out."""
        flat = _tutte(topology.triangles)
        at = (flat + np.array([_SLIM, 1.0])) * (_MAP / 2) + _AROUND
        size = (int(np.ceil(_MAP * _SLIM)) + 2 * _AROUND, _MAP + 2 * _AROUND)
        index = raster.cover(at, np.zeros(len(at)), topology.triangles, size).ravel()
        place = np.flatnonzero(index >= 0)
        corners = topology.triangles[index[place]]
        pixels = np.stack([place % size[0] + 0.5, place // size[0] + 0.5], axis=1)
        a, b, c = (at[corners[:, k]] for k in range(3))
        inner = np.linalg.solve(np.stack([b - a, c - a], axis=2), (pixels - a)[..., None])[..., 0]
        shares = np.column_stack([1.0 - inner.sum(axis=1), inner])
        where = np.einsum("pk,pkc->pc", shares, flat[corners])
        kept = np.hypot(where[:, 0] / _SLIM, where[:, 1]) < 1.0 - _RIM
        return cls(topology, corners[kept], shares[kept], place[kept], size)

    def at(self, values: Float64) -> Float64:
        """(P, C) what (N, C) vertex values are at the samples."""
        return np.asarray(np.einsum("pk,pkc->pc", self.shares, values[self.corners]), np.float64)


def _tutte(triangles: Int64) -> Float64:
    """(N, 2) the mesh laid flat inside an ellipse, x right, y down, half axes `_SLIM` and 1."""
    count = int(triangles.max()) + 1
    edges = np.zeros((count, count))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        edges[triangles[:, a], triangles[:, b]] = edges[triangles[:, b], triangles[:, a]] = 1.0
    rim = np.array(anatomy.OVAL)
    angle = np.linspace(0.0, 2.0 * np.pi, len(rim), endpoint=False)
    flat = np.zeros((count, 2))
    flat[rim] = np.stack([_SLIM * np.sin(angle), -np.cos(angle)], axis=1)
    laplacian = np.diag(edges.sum(axis=1)) - edges
    inner = np.setdiff1d(np.arange(count), rim)
    flat[inner] = np.linalg.solve(laplacian[np.ix_(inner, inner)], -laplacian[np.ix_(inner, rim)] @ flat[rim])
    return flat


def look(skin: Skin, crop: Array, dense: Float64) -> Float32:
    """How a face looks in one picture.

    Args:
        skin: Where to sample.
        crop: (h, w, 3) uint8 R'G'B'.
        dense: (N, 3) landmarks in crop pixels.

    Returns:
        (4, P): three values, each times the weight, and the weight, 0 to 1. Sums of looks are looks.
    """
    height, width = crop.shape[:2]
    at = skin.at(dense[:, :2]).astype(np.float32)
    picked = cpu.remap(np.ascontiguousarray(crop), at[None, :, 0], at[None, :, 1])[0]
    rgb = picked.astype(np.float32) / np.float32(255.0)
    inside = ((at > 0.5) & (at < np.array([width, height]) - 0.5)).all(axis=1)
    squarely = np.clip((skin.at(skin.topology.normals(dense)[:, 2:])[:, 0] - 0.15) / 0.5, 0.0, 1.0)
    weight = (squarely * inside).astype(np.float32)
    red, green, blue = np.log(rgb.T + np.float32(0.02))
    values = np.stack([np.log(rgb @ _LUMA + np.float32(0.05)), red - green, blue - green])
    seen = weight + np.float32(1e-6)
    band = _blurred(skin, values, seen, _FINE) - _blurred(skin, values, seen, _COARSE)
    return np.concatenate([band * weight, weight[None]]).astype(np.float32)


def _blurred(skin: Skin, values: Float32, weight: Float32, sigma: float) -> Float32:
    """(3, P) weighted mean around each sample."""
    width, height = skin.size
    picture = np.zeros((height * width, 4), np.float32)
    picture[skin.place, :3] = (values * weight).T
    picture[skin.place, 3] = weight
    soft = cpu.blur(picture.reshape(height, width, 4), sigma).reshape(-1, 4)[skin.place].T
    return np.asarray(soft[:3] / np.maximum(soft[3], 1e-6), np.float32)


def likeness(looks: Sequence[Float32]) -> Float64:
    """(n, n) how alike faces are, -1 to 1: mean over the three values of their weighted correlation.

    Args:
        looks: (4, P) each, sums of what `look` returns.
    """
    stack = np.stack(looks).astype(np.float64)
    most = np.maximum(stack[:, 3].max(axis=1), 1e-9)
    stack /= most[:, None, None]
    weight = stack[:, 3]
    both = weight @ weight.T
    safe = np.maximum(both, 1e-9)
    total = np.zeros_like(both)
    for k in range(3):
        carried = stack[:, k]
        value = carried / np.maximum(weight, 1e-9)
        first = carried @ weight.T / safe
        spread = np.maximum((carried * value) @ weight.T / safe - first**2, 0.0)
        together = carried @ carried.T / safe - first * first.T
        total += together / (np.sqrt(spread * spread.T) + _FLAT)
    return np.where(both >= _SHARED * stack.shape[2], total / 3.0, 0.0)
