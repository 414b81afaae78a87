"""The functions over tensors give what the functions over NumPy's arrays give."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.images import cpu
from mien.images import geometry as g
from mien.types import Array, Colour, Float64, Frame, Layout
from tests.images.frames import LAYOUTS, build, disc, paint, waves

torch = pytest.importorskip("torch", reason="torch is not installed")
gpu = pytest.importorskip("mien.images.gpu", reason="torch is not installed")

ALL = {**LAYOUTS, "yuv420p16le": Layout("yuv420p16le", "yuv", 16, ((0,), (1,), (2,)), (1, 1))}
ALL["p010 in low bits"] = Layout("p010", "yuv", 10, ((0,), (1, 2)), (1, 1))
MATRICES = {
    "as it is": g.scaling(1, 1, (-40, -30)),
    "enlarged": g.rotation_scale(0.2, 2.3, (100, 70), (32, 32)),
    "a little smaller": g.rotation_scale(-0.5, 0.8, (100, 70), (32, 32)),
    "to a third": g.rotation_scale(0.4, 1 / 3, (100, 70), (32, 32)),
    "to an eighth, partly outside": g.rotation_scale(1.1, 0.125, (20, 10), (32, 32)),
    "partly outside": g.rotation_scale(2.5, 1.1, (205, 140), (32, 32)),
    "outside": g.scaling(1, 1, (900, 900)),
}
DEVICES = [pytest.param("cpu"), pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and torch reaches none"
        pytest.skip("torch reaches no graphics processor")
    name: str = request.param
    return name


def legal_noise(layout: Layout, size: tuple[int, int], seed: int, full: bool, siting: Any = "left") -> Frame:
    """Independent samples over all codes that an encoder writes."""
    rng = np.random.default_rng(seed)
    colour = Colour(full_range=full, siting=siting)
    unit = 1 << (layout.depth - 8)
    like = paint(layout, size, waves, colour)
    shapes = {c: p.shape[:2] for p, parts in zip(like.planes, layout.planes, strict=True) for c in parts}
    return build(layout, lambda c: rng.integers(unit, 255 * unit, shapes[c]).astype(float), colour)


def down(tensor: Any) -> Array:
    array: Array = tensor.cpu().numpy()
    return array


def close(got: Array, want: Array, unit: float = 1.0, most: float = 2.0, rare: float = 0.001) -> None:
    """At most one code apart in 999 of 1000 samples, never more than two; `unit` is a code."""
    # OpenCV drops a last axis of one channel.
    assert got.shape == want.shape or got.shape == (*want.shape, 1)
    apart = np.abs(got.astype(np.float64).reshape(want.shape) - want.astype(np.float64)) / unit
    assert apart.max(initial=0.0) <= most
    assert (apart > 1.0).mean() <= rare


def code(layout: Layout) -> float:
    """A code of R'G'B' in [0, 1]; of 16 bits, a code of 12: positions are float32 on either side."""
    return 1.0 / ((1 << min(layout.depth, 12)) - 1)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", sorted(ALL))
def test_crops(name: str, full: bool, device: str) -> None:
    frame = legal_noise(ALL[name], (213, 151), 1, full)
    up = gpu.to_device(frame, device)
    every = np.stack(list(MATRICES.values()))
    for got, matrix in zip(down(gpu.crops(up, every, (64, 56))), every, strict=True):
        close(got, cpu.crop(frame, matrix, (64, 56)), code(frame.layout))
    for got, matrix in zip(down(gpu.glances(up, every, (64, 56))), every, strict=True):
        close(got, cpu.glance(frame, matrix, (64, 56)))


matrices = st.builds(
    lambda angle, scale, x, y: g.rotation_scale(angle, scale, (x, y), (24, 24)),
    st.floats(-3.2, 3.2),
    st.floats(0.04, 4.0),
    st.floats(-30, 240),
    st.floats(-30, 180),
)


@settings(max_examples=25)
@given(
    st.lists(matrices, min_size=1, max_size=4),
    st.sampled_from(sorted(ALL)),
    st.sampled_from(["left", "center", "topleft"]),
    st.integers(0, 99),
)
def test_any_crops_of_any_frame(some: list[Float64], name: str, siting: str, seed: int) -> None:
    frame = legal_noise(ALL[name], (213, 151), seed, False, siting)
    up = gpu.to_device(frame, "cpu")
    every = np.stack(some)
    for got, matrix in zip(down(gpu.crops(up, every, (48, 48))), every, strict=True):
        close(got, cpu.crop(frame, matrix, (48, 48)), code(frame.layout))
    for got, matrix in zip(down(gpu.glances(up, every, (48, 48))), every, strict=True):
        # In the columns that its vectors leave over, OpenCV rounds a byte's half up, elsewhere to even: of a
        # narrow source that is nearly all there is, and beyond its edge it is repeated.
        close(got, cpu.glance(frame, matrix, (48, 48)), most=3.0, rare=1.0)


def painting(side: int, seed: int) -> tuple[Array, Array]:
    """A crop of noise and a mask with a hole and a soft edge."""
    rng = np.random.default_rng(seed)
    rgb = rng.uniform(-0.1, 1.1, (side, side, 3)).astype(np.float32)
    mask = disc(side, side * 0.42, side / 10) * rng.uniform(0.3, 1, (side, side)).astype(np.float32)
    mask[side // 2 - 3 : side // 2 + 3, side // 2 - 3 : side // 2 + 3] = 0
    return rgb, mask.astype(np.float32)


def pasted(frame: Frame, every: Float64, side: int, device: str) -> None:
    """Check a paste of several crops, in order, and that what no crop reaches is as it was."""
    paintings = [painting(side, n) for n in range(len(every))]
    rgb, masks = (np.stack([p[k] for p in paintings]) for k in (0, 1))
    up = gpu.to_device(frame, device)
    gpu.pastes(up, gpu.upload(rgb, torch.device(device)), gpu.upload(masks, torch.device(device)), every)
    mine = gpu.to_host(up)
    theirs = gpu.to_host(gpu.to_device(frame, "cpu"))
    for matrix, (one, mask) in zip(every, paintings, strict=True):
        cpu.paste(theirs, one, mask, matrix)
    unit = 2.0 ** max(0, frame.layout.depth - 12)
    for got, want, before in zip(mine.planes, theirs.planes, frame.planes, strict=True):
        close(got, want, unit)
        # Where the CPU changes nothing within reach of a filter, nobody does.
        alone = np.asarray(want == before)
        assert ((got == before) | ~alone).mean() > 0.999
    alpha = [(k, p.index(3)) for k, p in enumerate(frame.layout.planes) if 3 in p]
    for k, slot in alpha:
        assert (mine.planes[k][..., slot] == frame.planes[k][..., slot]).all()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", sorted(ALL))
def test_pastes(name: str, full: bool, device: str) -> None:
    frame = legal_noise(ALL[name], (213, 151), 2, full)
    for matrix in MATRICES.values():
        pasted(frame, matrix[None], 64, device)
    # Two that lie over each other, and one apart.
    here, over, apart = g.scaling(1, 1, (-20, -10)), MATRICES["as it is"], g.scaling(1, 1, (-140, -80))
    pasted(frame, np.stack([here, over, apart]), 64, device)


@settings(max_examples=25)
@given(st.lists(matrices, min_size=1, max_size=4), st.sampled_from(sorted(ALL)), st.integers(0, 99))
def test_any_pastes_into_any_frame(some: list[Float64], name: str, seed: int) -> None:
    pasted(legal_noise(ALL[name], (213, 151), seed, False), np.stack(some), 48, "cpu")


def test_what_a_mask_does_not_reach_keeps_even_codes_that_nobody_may_write(device: str) -> None:
    frame = build(LAYOUTS["yuv420p10le"], lambda c: np.zeros((100, 120) if c == 0 else (50, 60)), Colour())
    up, where = gpu.to_device(frame, device), torch.device(device)
    matrix = g.rotation_scale(0.4, 1.3, (60, 50), (32, 32))
    rgb, mask = np.full((64, 64, 3), 0.5, np.float32), np.ones((64, 64), np.float32)
    gpu.paste(up, gpu.upload(rgb, where), gpu.upload(mask, where), matrix)
    got = gpu.to_host(up).planes[0]
    cpu.paste(frame, rgb, mask, matrix)
    assert ((got == 0) == (frame.planes[0] == 0)).mean() > 0.999
    assert (got[:15] == 0).all()


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("name", sorted(ALL))
def test_whole_frames(name: str, turn: int, device: str) -> None:
    display = [
        np.array([[1.0, 0, 0], [0, 1, 0]]),
        np.array([[0.0, -1, 120], [1, 0, 0]]),
        np.array([[-1.0, 0, 160], [0, -1, 120]]),
        g.rotation_scale(0.1, 1.0, (60, 40), (60, 40)),
    ][turn]
    noise = legal_noise(ALL[name], (160, 120), 3, False)
    frame = Frame(noise.planes, noise.layout, noise.colour, 5, 6, display)
    up = gpu.to_device(frame, device)
    for size in ((40, 30), (53, 41), (120, 100), (200, 170)):
        close(down(gpu.thumbnail(up, size)), cpu.thumbnail(frame, size))
    for shrink in (1, 2, 3, 6):
        got, want = gpu.to_host(gpu.reduced(up, shrink)), cpu.reduced(frame, shrink)
        assert (got.layout, got.colour, got.pts, got.index) == (want.layout, want.colour, 5, 6)
        np.testing.assert_allclose(got.display, want.display)
        for mine, theirs in zip(got.planes, want.planes, strict=True):
            close(mine, theirs)


def picture(shape: tuple[int, ...], dtype: type) -> Array:
    values = np.random.default_rng(3).random(shape) * (1 if dtype == np.float32 else np.iinfo(dtype).max)
    return values.astype(dtype)


def one(dtype: type) -> float:
    """A code, of 12 bits where there are more."""
    return 1.0 if dtype == np.uint8 else 16.0 if dtype == np.uint16 else 1.0 / 4095


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(60, 71), (60, 71, 1), (60, 71, 3), (60, 71, 4), (60, 71, 2)])
def test_pictures(shape: tuple[int, ...], dtype: type, device: str) -> None:
    image = picture(shape, dtype)
    up = gpu.upload(image, torch.device(device))
    for size in ((142, 120), (35, 30), (30, 31), (71, 90), (10, 12), (24, 20), (100, 30), (71, 60)):
        close(down(gpu.resize(up, size)), cpu.resize(image, size), one(dtype))
    x, y = (picture((40, 50), np.float32) * 90 - 10 for _ in range(2))
    maps = [gpu.upload(m.astype(np.float32), torch.device(device)) for m in (x, y.T.copy().reshape(40, 50))]
    numpy_maps = [down(m) for m in maps]
    for border in ("replicate", "zero"):
        for cubic in (False, True):
            # OpenCV rounds positions to 1/32 of a pixel where it has two channels: these go one by one.
            for matrix in MATRICES.values():
                want = cpu.warp(image, matrix, (50, 40), border=border, cubic=cubic)
                got = gpu.warp(up, matrix, (50, 40), border=border, cubic=cubic)
                close(down(got), want, one(dtype))
            want = cpu.remap(image, *numpy_maps, border=border, cubic=cubic)
            close(down(gpu.remap(up, *maps, border=border, cubic=cubic)), want, one(dtype))


@settings(max_examples=100)
@given(st.tuples(*[st.integers(9, 130)] * 4), st.integers(0, 99))
def test_bytes_scaled_to_any_size(sides: tuple[int, int, int, int], seed: int) -> None:
    h, w, *size = sides
    image = np.random.default_rng(seed).integers(0, 256, (h, w)).astype(np.uint8)
    want = cpu.resize(image, (size[0], size[1]))
    apart = np.abs(down(gpu.resize(torch.from_numpy(image), (size[0], size[1]))).astype(int) - want)
    # A weight rounded otherwise, of one row, would show here, and two to three codes of it in colour.
    assert apart.max() <= 1
    # Where a side is divided evenly many means lie halfway between two codes, and rounding decides.
    halves = w % size[0] == 0 or h % size[1] == 0
    assert apart.mean() <= (0.1 if halves else 0.0005) + 1 / apart.size


def test_a_batch_of_pictures_is_each_of_them(device: str) -> None:
    images = picture((3, 40, 50, 3), np.float32)
    up = gpu.upload(images, torch.device(device))
    size, turns = (32, 32), ((0, 0.2), (0.4, 1.5), (1, 0.25))
    every = np.stack([g.rotation_scale(angle, scale, (25, 20), (16, 16)) for angle, scale in turns])
    warped, small = gpu.warps(up, every, size, border="zero"), gpu.resizes(up, (20, 30))
    of_one = gpu.warps(up[:1], every, size)
    for k in range(3):
        alone = gpu.warp(up[k], every[k], size, border="zero")
        np.testing.assert_allclose(down(warped[k]), down(alone), atol=1e-5)
        np.testing.assert_allclose(down(of_one[k]), down(gpu.warp(up[0], every[k], size)), atol=1e-5)
        np.testing.assert_allclose(down(small[k]), down(gpu.resize(up[k], (20, 30))), atol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.7, 5.9, 6.1, 14.0, 60.0])
@pytest.mark.parametrize("shape", [(61, 83), (61, 83, 3)])
def test_blur(shape: tuple[int, ...], sigma: float, device: str) -> None:
    image = picture(shape, np.float32)
    got = down(gpu.blur(gpu.upload(image, torch.device(device)), sigma))
    close(got, cpu.blur(image, sigma), one(np.float32))


def test_colours(device: str) -> None:
    rgb = picture((40, 50, 3), np.float32) * np.float32(1.2) - np.float32(0.1)
    dark = rgb * np.float32(0.05)
    for some in (rgb, dark):
        up = gpu.upload(some, torch.device(device))
        for matrix in ("bt601", "bt709", "bt2020"):
            np.testing.assert_allclose(down(gpu.luma(up, matrix)), cpu.luma(some, matrix), atol=1e-6)
        # A code of 8 bits is 0.39 of L and 1 of a and b; OpenCV's table is up to half a unit off.
        close(down(gpu.to_lab(up)), cpu.to_lab(some), float(100 / 255))
        lab = cpu.to_lab(some)
        close(down(gpu.from_lab(gpu.upload(lab, torch.device(device)))), cpu.from_lab(lab), 1 / 255)
        back = down(gpu.from_lab(gpu.to_lab(up)))
        np.testing.assert_allclose(back, np.clip(some, 0, 1), atol=2e-3)


def test_polygons(device: str) -> None:
    shapes = [np.array([[5.2, 4], [40, 9], [33, 44]]), np.array([[20, 20], [60.5, 22], [44, 50], [18, 40]])]
    for softness in (0.0, 0.8, 3.0, 9.0):
        got = gpu.fill_polygons((64, 56), shapes, softness, device=device)
        close(down(got), cpu.fill_polygons((64, 56), shapes, softness), 1 / 4095)


def test_frames_of_a_batch_may_differ(device: str) -> None:
    frames = [
        legal_noise(ALL["nv12"], (213, 151), 4, False),
        legal_noise(ALL["yuv422p10le"], (120, 90), 5, True),
        legal_noise(ALL["nv12"], (213, 151), 6, False),
    ]
    ups = [gpu.to_device(f, device) for f in frames]
    every = np.stack([g.rotation_scale(0.2, s, (60, 50), (24, 24)) for s in (1.0, 0.4, 1.1)])
    got = down(gpu.crops(ups, every, (48, 48)))
    for frame, matrix, mine in zip(frames, every, got, strict=True):
        close(mine, cpu.crop(frame, matrix, (48, 48)), code(frame.layout))


def test_what_is_no_frame_of_tensors_is_refused() -> None:
    frame = legal_noise(ALL["nv12"], (32, 24), 4, False)
    up = gpu.to_device(frame, "cpu")
    one_matrix = g.scaling(1, 1)
    refused: list[tuple[type[Exception], Callable[[], Any]]] = [
        (TypeError, lambda: gpu.crop(frame, one_matrix, (8, 8))),
        (ValueError, lambda: gpu.crop(up, one_matrix, (8, 0))),
        (ValueError, lambda: gpu.crop(up, np.zeros((2, 3)), (8, 8))),
        (ValueError, lambda: gpu.crops([up, up], one_matrix[None], (8, 8))),
        (ValueError, lambda: gpu.crops([], np.zeros((0, 2, 3)), (8, 8))),
        (ValueError, lambda: gpu.thumbnail(up, (0, 8))),
        (ValueError, lambda: gpu.paste(up, torch.zeros(8, 8, 3), torch.zeros(9, 8), one_matrix)),
        (TypeError, lambda: gpu.paste(up, torch.zeros(8, 8, 3).double(), torch.zeros(8, 8), one_matrix)),
        (TypeError, lambda: gpu.warp(torch.zeros(8, 8).double(), one_matrix, (8, 8))),
        (ValueError, lambda: gpu.resize(torch.zeros(8, 8), (0, 8))),
    ]
    for kind, call in refused:
        with pytest.raises(kind):
            call()


def test_a_copy_on_the_device_is_a_copy() -> None:
    frame = legal_noise(ALL["rgba"], (32, 24), 4, False)
    up = gpu.to_device(frame, "cpu")
    up.planes[0][:] = 0
    assert frame.planes[0].any()
    back = gpu.to_host(up)
    up.planes[0][:] = 1
    assert not back.planes[0].any()
