"""Tensors of pictures against the formulas that publishers state."""

from __future__ import annotations

import numpy as np
import pytest

from mien.models.card import Pixels
from mien.models.pictures import aligned, to_pictures, to_tensor
from mien.types import Float32

RNG = np.random.default_rng(11)


def _pictures() -> Float32:
    return RNG.random((2, 5, 7, 3)).astype(np.float32)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_order_and_layout(order: str, layout: str) -> None:
    pictures = _pictures()
    pixels = Pixels(7, order=order, layout=layout)  # type: ignore[arg-type]
    tensor = to_tensor(pictures, pixels)
    want = pictures[..., ::-1] if order == "BGR" else pictures
    want = want.transpose(0, 3, 1, 2) if layout == "NCHW" else want
    np.testing.assert_array_equal(tensor, want)
    assert tensor.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(to_pictures(tensor, pixels), pictures)


@pytest.mark.parametrize(
    ("pixels", "formula"),
    [
        (Pixels(7, mean=(0.5,) * 3, std=(0.5,) * 3), lambda codes: codes / 127.5 - 1),
        (Pixels(7, mean=(0.5,) * 3, std=(128 / 255,) * 3), lambda codes: (codes - 127.5) / 128),
        (Pixels(7, std=(1 / 255,) * 3), lambda codes: codes),
        (
            Pixels(7, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
            lambda codes: (codes / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
    ],
)
def test_ranges(pixels: Pixels, formula: object) -> None:
    codes = np.arange(256).reshape(1, 16, 16, 1).repeat(3, 3).astype(np.float32)
    tensor = to_tensor(np.asarray(codes / 255, np.float32), pixels)
    assert callable(formula)
    np.testing.assert_allclose(tensor.transpose(0, 2, 3, 1), formula(codes), rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(to_pictures(tensor, pixels) * 255, codes, atol=1e-3)


def test_what_no_network_has_seen_is_clipped() -> None:
    assert to_tensor(np.full((1, 2, 2, 3), 1.5, np.float32), Pixels(2)).max() == 1.0
    assert to_tensor(np.full((1, 2, 2, 3), -0.5, np.float32), Pixels(2)).min() == 0.0


def test_points_on_the_template_are_only_scaled() -> None:
    template = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    matrix = aligned(np.array(template) * 500, template, 250)
    np.testing.assert_allclose(matrix, [[0.5, 0, 0], [0, 0.5, 0]], atol=1e-9)
