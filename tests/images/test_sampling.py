from __future__ import annotations

import numpy as np
import pytest

from mien.images import cpu, sampling
from mien.images import geometry as g


@pytest.mark.parametrize("scale", [0.9375, 0.7, 0.4, 0.15])
@pytest.mark.parametrize(("x", "y"), [(0, 105), (105, 0), (320, 105), (105, 270), (0, 0), (320, 270)])
def test_what_is_seen_of_an_edge_alone_is_filtered_as_the_edge_is(scale: float, x: int, y: int) -> None:
    image = np.random.default_rng(1).random((151, 213)).astype(np.float32)
    a = g.scaling(scale, scale, (100.0, 100.0))
    around = cpu.warp(image, a, (360, 310))
    # The picture lies from (100, 100) to (313, 251) at most: beside it, above, below, or past a corner.
    part = cpu.warp(image, g.compose(g.scaling(1, 1, (-x, -y)), a), (40, 40))
    np.testing.assert_allclose(part, around[y : y + 40, x : x + 40], atol=1e-5)


@pytest.mark.parametrize("at", [-1e4, -3.0, 0.0, 60.0, 99.0, 1e4])
@pytest.mark.parametrize("halved", [1, 4, 32])
def test_what_a_warp_reads_lies_in_the_source(at: float, halved: int) -> None:
    left, top, right, bottom = sampling.needed(
        g.scaling(1 / halved, 1 / halved, (-at / halved, 0)), (8, 8), (100, 90), (halved, halved)
    )
    assert 0 <= left < right <= 100
    assert 0 <= top < bottom <= 90
    assert left % halved == top % halved == 0
