"""Filling triangles without a loop over them: which triangle covers a pixel, and what it carries.

All triangles are cut into pixel rows at once, and all rows into pixels, so the cost is that of a
few NumPy calls on as many elements as there are covered pixels.
"""

from __future__ import annotations

import numpy as np

from mien.types import Float32, Float64, Int64

SLIVER = 1e-3
"""Triangles of less area, in square pixels, are left out: their gradients would be noise."""


def _spread(first: Int64, count: Int64) -> tuple[Int64, Int64]:
    """Expand runs: (run number, value) for first[i], first[i] + 1, ... count[i] times each."""
    run = np.repeat(np.arange(len(first)), count)
    offset = np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count)
    return run, first[run] + offset


def cover(points: Float64, depth: Float64, triangles: Int64, size: tuple[int, int]) -> Int64:
    """Number of the nearest front-facing triangle over each pixel centre, -1 where there is none.

    Args:
        points: (N, 2) vertex positions in pixels, centres at +0.5.
        depth: (N,) smaller is nearer.
        triangles: (T, 3) vertex numbers; negative signed area (y down) faces the viewer.
        size: Width and height of the picture.

    Returns:
        (height, width) int64.
    """
    width, height = size
    index = np.full(width * height, -1, np.int64)
    corners = points[triangles]
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    front = np.flatnonzero(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0] < -2 * SLIVER)
    # Painter's order: later assignments win, so the nearest comes last.
    front = front[np.argsort(-depth[triangles[front]].mean(axis=1), kind="stable")]
    corners = corners[front]
    ys = corners[:, :, 1]
    top = np.clip(np.ceil(ys.min(axis=1) - 0.5), 0, height).astype(np.int64)
    bottom = np.clip(np.floor(ys.max(axis=1) - 0.5), -1, height - 1).astype(np.int64)
    run, row = _spread(top, np.maximum(bottom - top + 1, 0))
    left, right = _row_ends(corners[run], row.astype(np.float64) + 0.5)
    first = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
    last = np.clip(np.floor(right - 0.5), -1, width - 1).astype(np.int64)
    span, column = _spread(first, np.maximum(last - first + 1, 0))
    index[row[span] * width + column] = front[run[span]]
    return index.reshape(height, width)


def _row_ends(corners: Float64, y: Float64) -> tuple[Float64, Float64]:
    """Where the line at height y enters and leaves each triangle: (R,), (R,)."""
    left = np.full(len(y), -np.inf)
    right = np.full(len(y), np.inf)
    for k in range(3):
        p, q = corners[:, k], corners[:, (k + 1) % 3]
        dy = q[:, 1] - p[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            x = p[:, 0] + (q[:, 0] - p[:, 0]) * ((y - p[:, 1]) / dy)
        # Wound so that the inside lies to the right of downward edges.
        left = np.where(dy > 0, np.maximum(left, x - 1e-6), left)
        right = np.where(dy < 0, np.minimum(right, x + 1e-6), right)
    return left, right


def interpolate(index: Int64, points: Float64, triangles: Int64, values: Float64) -> tuple[Int64, Float32]:
    """Vertex values, interpolated linearly over the covered pixels.

    Args:
        index: (height, width) triangle numbers as `cover` returns them.
        points: (N, 2) vertex positions in pixels.
        triangles: (T, 3) vertex numbers.
        values: (N, C) what each vertex carries.

    Returns:
        (P,) flat positions of the covered pixels and (P, C) float32 values there.
    """
    flat = index.ravel()
    where = np.flatnonzero(flat >= 0)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    va, vb, vc = (values[triangles[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    area = (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])[:, None]
    area[np.abs(area) < SLIVER] = SLIVER  # never covered: `cover` left them out
    dx = ((vb - va) * ac[:, 1:] - (vc - va) * ab[:, 1:]) / area
    dy = ((vc - va) * ab[:, :1] - (vb - va) * ac[:, :1]) / area
    base = va - dx * a[:, :1] - dy * a[:, 1:]
    plane = np.stack([dx, dy, base], axis=1).astype(np.float32)[flat[where]]
    width = index.shape[1]
    at = np.ones((len(where), 3), np.float32)
    at[:, 0], at[:, 1] = where % width + 0.5, where // width + 0.5
    return where, np.einsum("pkc,pk->pc", plane, at)
