"""Equalising tensors gives what equalising NumPy's arrays gives, but for rare roundings of colour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.images import cpu
from mien.types import Array
from tests.images.test_gpu_parity import close, device, down

torch = pytest.importorskip("torch", reason="torch is not installed")
gpu = pytest.importorskip("mien.images.gpu", reason="torch is not installed")

__all__ = ["device"]


def painted(kind: str, size: tuple[int, int], seed: int = 0) -> Array:
    """uint8 (h, w, 3): a dark ramp with a tint, a wide ramp, or independent codes."""
    rng = np.random.default_rng(seed)
    w, h = size
    if kind == "noise":
        return rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
    low, high, spread = (5, 30, 1.0) if kind == "dark" else (0, 255, 2.0)
    ramp = np.linspace(low, high, w)[None, :, None] * np.array([1.0, 0.8, 0.7])
    return np.asarray(np.clip(ramp + rng.normal(0, spread, (h, w, 3)), 0, 255), np.uint8)


@pytest.mark.parametrize("kind", ["dark", "wide", "noise"])
@pytest.mark.parametrize("size", [(128, 128), (112, 130), (133, 97)])
def test_as_on_numpys_arrays(kind: str, size: tuple[int, int], device: str) -> None:
    rgb = painted(kind, size)
    up = gpu.upload(rgb, torch.device(device))
    for clip, tiles in ((2.0, 8), (1.0, 8), (8.0, 4), (2.0, 1), (40.0, 3)):
        close(down(gpu.equalised(up, clip, tiles)), cpu.equalised(rgb, clip, tiles))


@settings(max_examples=25)
@given(
    st.sampled_from(["dark", "wide", "noise"]),
    st.tuples(st.integers(17, 90), st.integers(17, 90)),
    st.floats(0.5, 50.0),
    st.integers(1, 8),
    st.integers(0, 99),
)
def test_any_size_and_limit(kind: str, size: tuple[int, int], clip: float, tiles: int, seed: int) -> None:
    rgb = painted(kind, size, seed)
    close(down(gpu.equalised(torch.from_numpy(rgb), clip, tiles)), cpu.equalised(rgb, clip, tiles))


def test_what_it_does_not_take_is_refused() -> None:
    with pytest.raises(TypeError, match="uint8"):
        gpu.equalised(torch.zeros(64, 64, 3))
    for shape in ((64, 64), (64, 64, 4), (8, 64, 3)):
        with pytest.raises(ValueError, match="rgb"):
            gpu.equalised(torch.zeros(shape, dtype=torch.uint8))
