"""Nothing over tensors waits for the device: it all runs where there are no values to wait for.

A tensor of torch's device `meta` has a shape and no memory, so that whatever reads a value fails.
"""

from __future__ import annotations

import numpy as np
import pytest

from mien.images import geometry as g
from tests.images.frames import LAYOUTS, noise

torch = pytest.importorskip("torch", reason="torch is not installed")
gpu = pytest.importorskip("mien.images.gpu", reason="torch is not installed")

EVERY = np.stack([g.rotation_scale(0.3, s, (60, 50), (24, 24)) for s in (2.0, 0.8, 0.31, 0.05)])


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_frames(name: str) -> None:
    frame = gpu.to_device(noise(LAYOUTS[name], (130, 90)), "meta")
    assert gpu.crops(frame, EVERY, (48, 40)).shape == (4, 40, 48, 3)
    assert gpu.glances(frame, EVERY, (48, 40)).shape == (4, 40, 48, 3)
    assert gpu.thumbnail(frame, (50, 40)).shape == (40, 50, 3)
    assert gpu.reduced(frame, 3).planes[0].shape[0] in (29, 30)
    rgb = torch.zeros((4, 40, 48, 3), device="meta")
    gpu.pastes(frame, rgb, rgb[..., 0], EVERY)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pictures(dtype: str) -> None:
    images = torch.zeros((4, 61, 70, 3), dtype=getattr(torch, dtype), device="meta")
    at = torch.zeros((4, 20, 30), device="meta")
    for cubic in (False, True):
        assert gpu.warps(images, EVERY, (48, 40), cubic=cubic).shape == (4, 40, 48, 3)
        assert gpu.remaps(images, at, at, cubic=cubic).shape == (4, 20, 30, 3)
    for size in ((35, 30), (140, 122), (100, 20)):
        assert gpu.resizes(images, size).shape == (4, size[1], size[0], 3)


def test_filters_and_colours() -> None:
    rgb = torch.zeros((61, 70, 3), device="meta")
    for sigma in (0.8, 5.0, 20.0):
        assert gpu.blur(rgb, sigma).shape == rgb.shape
    assert gpu.luma(rgb).shape == (61, 70)
    assert gpu.from_lab(gpu.to_lab(rgb)).shape == rgb.shape
    assert gpu.equalised(rgb.to(torch.uint8)).shape == rgb.shape
    assert gpu.fill_polygons((70, 61), [np.array([[5, 5], [60, 9], [30, 50]])], 2.0, device="meta").shape == (
        61,
        70,
    )
