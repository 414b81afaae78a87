from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from mien.images import cpu
from mien.images import geometry as g
from mien.types import Array


def picture(shape: tuple[int, ...], dtype: type) -> Array:
    values = np.random.default_rng(3).random(shape) * (1 if dtype == np.float32 else np.iinfo(dtype).max)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1), (30, 40, 2), (30, 40, 3), (30, 40, 4), (30, 40, 5)])
def test_a_whole_pixel_shift_copies(shape: tuple[int, ...], dtype: type) -> None:
    image = picture(shape, dtype)
    got = cpu.warp(image, g.scaling(1, 1, (-5, -3)), (20, 10))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, image[3:13, 5:25])


def test_warp_against_an_independent_interpolator() -> None:
    image = picture((60, 70), np.float32)
    a = g.rotation_scale(0.5, 1.3, (33, 31), (40, 40))
    at = g.apply(g.invert(a), np.stack(np.meshgrid(np.arange(80) + 0.5, np.arange(80) + 0.5), -1)) - 0.5
    places = [at[..., 1], at[..., 0]]
    zero = map_coordinates(np.pad(image, 1).astype(float), [p + 1 for p in places], order=1, mode="constant")
    np.testing.assert_allclose(cpu.warp(image, a, (80, 80), border="zero"), zero, atol=1e-4)
    edge = map_coordinates(image.astype(float), places, order=1, mode="nearest")
    np.testing.assert_allclose(cpu.warp(image, a, (80, 80)), edge, atol=1e-4)
    x, y = (at[..., k].astype(np.float32) + np.float32(0.5) for k in (0, 1))
    np.testing.assert_allclose(cpu.remap(image, x, y), edge, atol=1e-4)
    np.testing.assert_allclose(cpu.remap(image, x, y, border="zero"), zero, atol=1e-4)
    three = np.dstack([image, image * 2, image * 3])
    np.testing.assert_allclose(cpu.remap(three, x, y)[..., 2], edge * 3, atol=3e-4)


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.125])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_warp_by_a_half_is_the_mean(scale: float, channels: int) -> None:
    step = int(1 / scale)
    image = picture((64, 64, channels), np.float32)
    mean = image.reshape(64 // step, step, 64 // step, step, channels).mean((1, 3))
    got = cpu.warp(image, g.scaling(scale, scale), (64 // step, 64 // step))
    np.testing.assert_allclose(got.reshape(mean.shape), mean, atol=1e-5)


def test_the_prefilter_does_not_depend_on_the_part_that_is_cut() -> None:
    image = picture((200, 200), np.float32)
    for scale in (0.3, 0.45, 0.8):
        whole = cpu.warp(image, g.scaling(scale, scale), (int(200 * scale), int(200 * scale)))
        part = cpu.warp(image, g.scaling(scale, scale, (-17, -21)), (20, 20))
        np.testing.assert_allclose(part, whole[21:41, 17:37], atol=1e-4)


def test_sharpness_changes_smoothly_with_size() -> None:
    image = picture((300, 300), np.float32)
    scales = np.linspace(0.25, 1.3, 106)
    spread = [
        cpu.warp(image, g.rotation_scale(0.3, s, (150, 150), (60, 60)), (120, 120))[30:90, 30:90].std()
        for s in scales
    ]
    # White noise through the filter: halving starts at 0.6 and 0.3 and may not be seen as a jump.
    assert np.abs(np.diff(spread)).max() < 0.03


def test_resize() -> None:
    image = picture((48, 60, 3), np.uint8)
    mean = image.reshape(16, 3, 20, 3, 3).mean((1, 3))
    assert np.abs(cpu.resize(image, (20, 16)) - mean).max() <= 0.51
    assert cpu.resize(image, (60, 48)) is image
    assert cpu.resize(image, (30, 96)).shape == (96, 30, 3)
    np.testing.assert_allclose(cpu.resize(np.full((5, 7), 0.25, np.float32), (14, 3)), 0.25, atol=1e-6)
    with pytest.raises(ValueError, match="size"):
        cpu.resize(image, (0, 5))


@pytest.mark.parametrize("sigma", [0.7, 2.0, 5.9, 6.1, 12.0, 40.0])
def test_blur_is_a_gaussian(sigma: float) -> None:
    image = np.zeros((241, 223), np.float32)
    image[60:150, 80:170] = 1
    want = gaussian_filter(image.astype(float), sigma, mode="nearest", truncate=6)
    assert np.abs(cpu.blur(image, sigma) - want).max() < 0.02
    three = cpu.blur(np.dstack([image] * 3), sigma)
    np.testing.assert_allclose(three[..., 1], cpu.blur(image, sigma), atol=1e-5)


def test_blur_by_nothing_is_nothing() -> None:
    image = picture((9, 9), np.float32)
    assert cpu.blur(image, 0) is image
    assert cpu.blur(image, 50.0).shape == (9, 9)


def test_polygons_cover_their_area() -> None:
    square = np.array([[10.25, 10.5], [30.75, 10.5], [30.75, 20.0], [10.25, 20.0]])
    mask = cpu.fill_polygons((64, 48), [square])
    assert mask.dtype == np.float32
    assert mask.shape == (48, 64)
    assert mask[12:19, 12:29].min() == 1
    assert mask[:9].max() == mask[:, 33:].max() == 0
    # fillPoly paints every fine pixel it touches, so up to half a fine pixel is gained on each side.
    assert mask.sum() == pytest.approx(20.5 * 9.5, rel=0.06)
    x, y = (
        (mask * (np.arange(64) + 0.5)).sum() / mask.sum(),
        (mask.T * (np.arange(48) + 0.5)).sum() / mask.sum(),
    )
    assert (x, y) == pytest.approx((20.5, 15.25), abs=0.15)


def test_polygons_unite_and_soften() -> None:
    a = np.array([[5, 5], [25, 5], [25, 25], [5, 25]], float)
    both = cpu.fill_polygons((60, 40), [a, np.add(a, [10, 0])])
    assert both.max() == 1
    assert both[10, 20] == 1
    assert both[10, 31] == 1
    soft = cpu.fill_polygons((60, 40), [a], 2.0)
    assert 0.3 < soft[15, 5] < 0.7
    assert soft[15, 15] > 0.99
    assert cpu.fill_polygons((20, 10), []).max() == 0


def test_luma_is_a_weighted_sum() -> None:
    rgb = picture((10, 12, 3), np.float32)
    np.testing.assert_allclose(cpu.luma(rgb), rgb @ [0.2126, 0.7152, 0.0722], atol=1e-6)
    np.testing.assert_allclose(cpu.luma(rgb, "bt601"), rgb @ [0.299, 0.587, 0.114], atol=1e-6)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        cpu.warp(np.zeros((4, 4)), g.scaling(1, 1), (4, 4))
    with pytest.raises(ValueError, match="image"):
        cpu.resize(np.zeros((0, 4), np.uint8), (4, 4))


def test_cielab_of_known_colours() -> None:
    # White, black, sRGB red and middle grey by the CIE formulas (D65), to two decimals.
    known = {
        (1.0, 1.0, 1.0): (100.0, 0.0, 0.0),
        (0.0, 0.0, 0.0): (0.0, 0.0, 0.0),
        (1.0, 0.0, 0.0): (53.24, 80.09, 67.20),
        (0.5, 0.5, 0.5): (53.39, 0.0, 0.0),
    }
    rgb = np.array(list(known), np.float32)[None]
    np.testing.assert_allclose(cpu.to_lab(rgb)[0], np.array(list(known.values())), atol=0.6)
    np.testing.assert_allclose(cpu.from_lab(cpu.to_lab(rgb)), rgb, atol=5e-3)


def test_cubic_enlarging_is_nearer_to_the_truth_than_bilinear() -> None:
    fine = np.stack(np.meshgrid(np.arange(160) + 0.5, np.arange(160) + 0.5), -1) / 4.0
    coarse = np.stack(np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5), -1)

    def wave(at: Array) -> Array:
        return np.asarray(0.5 + 0.4 * np.sin(at[..., 0] * 1.1) * np.cos(at[..., 1] * 0.9), np.float32)

    errors = [
        np.abs(cpu.warp(wave(coarse), g.scaling(4, 4), (160, 160), cubic=cubic) - wave(fine))[16:-16, 16:-16]
        for cubic in (False, True)
    ]
    assert errors[1].mean() < 0.45 * errors[0].mean()
