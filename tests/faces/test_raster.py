"""The rasteriser against a pixel-by-pixel definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.faces import raster
from mien.types import Float64, Int64


def _slow_cover(points: Float64, depth: Float64, triangles: Int64, size: tuple[int, int]) -> Int64:
    """Nearest front-facing triangle by testing every pixel centre against every triangle."""
    index = np.full((size[1], size[0]), -1, np.int64)
    best = np.full((size[1], size[0]), np.inf)
    ys, xs = np.mgrid[: size[1], : size[0]] + 0.5
    for t, (a, b, c) in enumerate(triangles):
        corners = points[[a, b, c]]
        ab, ac = corners[1] - corners[0], corners[2] - corners[0]
        if ab[0] * ac[1] - ab[1] * ac[0] >= -2 * raster.SLIVER:
            continue
        inside = np.ones(index.shape, bool)
        for p, q in ((0, 1), (1, 2), (2, 0)):
            edge = corners[q] - corners[p]
            inside &= edge[0] * (ys - corners[p, 1]) - edge[1] * (xs - corners[p, 0]) <= 0
        near = depth[[a, b, c]].mean()
        take = inside & (near < best)
        index[take], best[take] = t, near
    return index


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_covers_the_same_pixels_as_the_definition(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-5, 37, (3 * count, 2))
    depth = rng.uniform(0, 1, 3 * count)
    triangles = np.arange(3 * count).reshape(-1, 3)
    fast = raster.cover(points, depth, triangles, (32, 24))
    slow = _slow_cover(points, depth, triangles, (32, 24))
    # Random corners never hit a pixel centre exactly, so there is nothing to be tolerant about.
    np.testing.assert_array_equal(fast, slow)


def test_neighbours_leave_no_crack() -> None:
    rng = np.random.default_rng(1)
    ys, xs = np.mgrid[0:7, 0:7] * 8.0
    points = np.stack([xs, ys], axis=-1).reshape(-1, 2)
    inner = (points > 0).all(axis=1) & (points < 48).all(axis=1)
    points[inner] += rng.uniform(-3, 3, (np.count_nonzero(inner), 2))
    quads = [
        (r * 7 + c, (r + 1) * 7 + c, r * 7 + c + 1, (r + 1) * 7 + c + 1) for r in range(6) for c in range(6)
    ]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (c, b, d))])
    index = raster.cover(points, np.zeros(49), triangles, (48, 48))
    assert (index >= 0).all()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_a_linear_function_is_reproduced_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 40, (30, 2))
    triangles = rng.permutation(30).reshape(-1, 3)
    matrix, offset = rng.normal(size=(2, 3)), rng.normal(size=3)
    index = raster.cover(points, rng.uniform(size=30), triangles, (40, 40))
    where, values = raster.interpolate(index, points, triangles, points @ matrix + offset)
    centres = np.stack([where % 40, where // 40], axis=1) + 0.5
    np.testing.assert_allclose(values, centres @ matrix + offset, atol=5e-3)


def test_back_faces_and_slivers_are_left_out() -> None:
    points = np.array([[1.0, 1.0], [1.0, 9.0], [9.0, 1.0], [5.0, 5.0], [5.0, 5.0], [5.0, 9.0]])
    back = np.array([[0, 2, 1], [3, 4, 5]])
    assert (raster.cover(points, np.zeros(6), back, (10, 10)) == -1).all()
    front = back[:, ::-1]
    assert np.count_nonzero(raster.cover(points, np.zeros(6), front, (10, 10)) == 0) > 20
