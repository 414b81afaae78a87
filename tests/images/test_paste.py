from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from mien.images import cpu
from mien.images import geometry as g
from mien.types import Array, Colour, Float64, Frame
from tests.images.frames import IDENTITY, LAYOUTS, codes, disc, noise, paint, sites, waves


def copy_of(frame: Frame) -> tuple[Array, ...]:
    return tuple(p.copy() for p in frame.planes)


def channel(planes: tuple[Array, ...], frame: Frame, component: int) -> Float64:
    """A component's samples as float64."""
    for plane, parts in zip(planes, frame.layout.planes, strict=True):
        if component in parts:
            got = plane if plane.ndim == 2 else plane[..., parts.index(component)]
            return got.astype(np.float64)
    raise AssertionError(component)


def in_crop(frame: Frame, a: Float64, component: int) -> Float64:
    """Where a component's samples lie in the crop: (h, w, 2)."""
    x, y = sites(frame.layout, frame.colour, component, frame.width, frame.height)
    return g.apply(g.compose(a, frame.display), np.stack([x, y], -1))


def components(frame: Frame) -> list[int]:
    return sorted(c for parts in frame.layout.planes for c in parts)


@pytest.mark.parametrize("size", [(320, 240), (213, 121)])
@pytest.mark.parametrize("scale", [1.0, 1.4, 0.9])
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_an_unchanged_crop_goes_back(name: str, scale: float, size: tuple[int, int]) -> None:
    frame = paint(LAYOUTS[name], size, waves)
    before = copy_of(frame)
    a = g.rotation_scale(0.3, scale, (size[0] / 2, size[1] / 2), (64, 64))
    mask = disc(128, 50, 10)
    cpu.paste(frame, cpu.crop(frame, a, (128, 128)), mask, a)
    unit = 2.0 ** (frame.layout.depth - 8)
    for component in components(frame):
        change = np.abs(channel(frame.planes, frame, component) - channel(before, frame, component))
        away = np.hypot(*(in_crop(frame, a, component) - 64).transpose(2, 0, 1))
        # One code of 8 bit; finer codes show the interpolation, so they get the same share of the range.
        assert change.max() <= unit
        assert change[away > 50 + 5 + 6 * max(1.0, scale)].max() == 0
        if component == 3:
            assert change.max() == 0


@pytest.mark.parametrize(
    "name", ["rgb24", "rgba64le", "gbrp", "gray", "gray16le", "yuv444p", "yuv444p10le", "yuv444p12le"]
)
def test_on_the_grid_every_sample_goes_back(name: str) -> None:
    colour = Colour(full_range=True)
    frame = noise(LAYOUTS[name], (200, 160), colour=colour)
    before = copy_of(frame)
    a = g.scaling(1, 1, (-31, -17))
    cpu.paste(frame, cpu.crop(frame, a, (128, 128)), disc(128, 55, 20) * np.float32(0.7), a)
    for now, then in zip(frame.planes, before, strict=True):
        assert np.abs(now.astype(int) - then).max() <= (1 if frame.layout.depth == 16 else 0)


boxes = st.tuples(st.integers(0, 70), st.integers(0, 70), st.integers(1, 60), st.integers(1, 60))


@settings(max_examples=12)
@given(
    seed=st.integers(0, 1000),
    angle=st.floats(-3.2, 3.2),
    scale=st.floats(0.3, 4.0),
    at=st.tuples(st.floats(-20, 170), st.floats(-20, 130)),
    box=boxes,
    siting=st.sampled_from(["left", "center", "topleft"]),
)
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_outside_the_mask_every_bit_stays(
    name: str,
    seed: int,
    angle: float,
    scale: float,
    at: tuple[float, float],
    box: tuple[int, int, int, int],
    siting: str,
) -> None:
    frame = noise(LAYOUTS[name], (151, 113), seed, Colour(siting=siting))  # type: ignore[arg-type]
    before = copy_of(frame)
    rng = np.random.default_rng(seed)
    a = g.rotation_scale(angle, scale, at, (50, 50))
    rgb = rng.uniform(-1, 2, (100, 100, 3)).astype(np.float32)
    x0, y0, w, h = box
    x1, y1 = min(x0 + w, 100), min(y0 + h, 100)
    mask = np.zeros((100, 100), np.float32)
    mask[y0:y1, x0:x1] = rng.uniform(0, 1, (y1 - y0, x1 - x0))
    cpu.paste(frame, rgb, mask, a)
    for component in components(frame):
        p = in_crop(frame, a, component)
        beyond = np.maximum([x0, y0] - p, p - [x1, y1]).max(-1)
        # Reach of the filters, in crop pixels: two pixels of the level the crop is reduced to.
        ratio = scale * (2 if component in (1, 2) and frame.layout.chroma[0] else 1)
        outside = beyond > 2.0 * max(1.0, 2.0 * ratio) + 1.0
        now, then = channel(frame.planes, frame, component), channel(before, frame, component)
        assert (now == then)[outside | (component == 3)].all()


def test_an_empty_mask_changes_nothing_and_a_crop_elsewhere_neither() -> None:
    frame = noise(LAYOUTS["yuv420p"], (64, 48))
    before = copy_of(frame)
    rgb = np.full((16, 16, 3), 0.5, np.float32)
    cpu.paste(frame, rgb, np.zeros((16, 16), np.float32), IDENTITY)
    cpu.paste(frame, rgb, np.ones((16, 16), np.float32), g.scaling(1, 1, (-500, -500)))
    assert all((now == then).all() for now, then in zip(frame.planes, before, strict=True))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_colour_arrives_as_its_code(name: str, full: bool) -> None:
    colour = Colour(matrix="bt601", full_range=full)
    frame = noise(LAYOUTS[name], (80, 60), colour=colour)
    rgb = np.broadcast_to(np.array([0.71, 0.4, 0.2], np.float32), (128, 128, 3)).astype(np.float32)
    cpu.paste(frame, rgb, np.ones((128, 128), np.float32), g.scaling(1.1, 1.1, (10, 10)))
    want = codes(np.array([0.71, 0.4, 0.2]), frame.layout, colour)
    for component in components(frame)[:3]:
        assert (channel(frame.planes, frame, component) == np.rint(want[component])).all()


@pytest.mark.parametrize(
    ("name", "full", "low", "high"),
    [
        ("yuv420p", False, 1, 254),
        ("yuv420p", True, 0, 255),
        ("yuv422p10le", False, 4, 1019),
        ("yuv444p12le", False, 16, 4079),
        ("rgb24", False, 0, 255),
        ("rgb48le", True, 0, 65535),
    ],
)
def test_only_legal_codes_are_written(name: str, full: bool, low: int, high: int) -> None:
    frame = noise(LAYOUTS[name], (40, 30), colour=Colour(full_range=full))
    for value, code in ((-9.0, low), (9.0, high)):
        cpu.paste(
            frame,
            np.full((60, 60, 3), value, np.float32),
            np.ones((60, 60), np.float32),
            g.scaling(1, 1, (9, 9)),
        )
        first = frame.planes[0] if frame.planes[0].ndim == 2 else frame.planes[0][..., 0]
        assert (first == code).all()


def test_a_mask_edge_through_a_chroma_sample_gives_its_share() -> None:
    grey = paint(
        LAYOUTS["yuv420p"], (64, 48), lambda x, y: np.full((*x.shape, 3), 0.5), Colour(siting="center")
    )
    rgb = np.broadcast_to(np.array([0.5, 0.5, 0.9], np.float32), (48, 64, 3)).astype(np.float32)
    mask = np.zeros((48, 64), np.float32)
    mask[:, :21] = 1
    cpu.paste(grey, rgb, mask, IDENTITY)
    blue = codes(np.array([0.5, 0.5, 0.9]), grey.layout, grey.colour)[1]
    row = grey.planes[1][12].astype(float)
    # Chroma sample 10 covers luma columns 20 and 21, of which one is masked.
    np.testing.assert_allclose(row[[9, 10, 11]], np.array([blue, (blue + 128) / 2, 128.0]), atol=0.51)


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("scale", [1.0, 2.0, 0.75])
def test_pasted_chroma_is_where_its_siting_says(siting: str, scale: float) -> None:
    def ramp(x: Float64, y: Float64) -> Float64:
        return np.stack([0.2 + 0.005 * x, np.full_like(x, 0.5), 0.2 + 0.006 * y], -1)

    frame = noise(LAYOUTS["yuv420p12le"], (96, 80), colour=Colour(siting=siting))  # type: ignore[arg-type]
    side = np.meshgrid((np.arange(96 * scale) + 0.5) / scale, (np.arange(80 * scale) + 0.5) / scale)
    rgb = ramp(*side).astype(np.float32)
    cpu.paste(frame, rgb, np.ones(rgb.shape[:2], np.float32), g.scaling(scale, scale))
    for component in range(3):
        want = codes(ramp(*sites(frame.layout, frame.colour, component, 96, 80)), frame.layout, frame.colour)
        error = (channel(frame.planes, frame, component) - want[component])[4:-4, 4:-4]
        # The ramps rise by over 5 codes a luma pixel: a quarter of a pixel off would show as more than 1.
        assert abs(error.mean()) < 0.15
        assert np.abs(error).max() < 1.0


@pytest.mark.parametrize("scale", [2.2, 3.0, 5.0])
def test_a_crop_larger_than_its_place_is_prefiltered(scale: float) -> None:
    frame = noise(LAYOUTS["gray"], (60, 60), colour=Colour(full_range=True))
    side = int(60 * scale)
    board = np.repeat((np.indices((side, side)).sum(0) % 2)[..., None], 3, -1).astype(np.float32)
    cpu.paste(
        frame,
        board,
        np.ones((side, side), np.float32),
        g.rotation_scale(0.2, scale, (30, 30), (side / 2, side / 2)),
    )
    inner = frame.planes[0][15:45, 15:45].astype(int)
    assert np.ptp(inner) < 12
    assert inner.mean() == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, np.pi / 2, 2.5])
@pytest.mark.parametrize(("scale", "at"), [(1.0, (300, 250)), (0.4, (301.3, 250.7)), (0.15, (20.2, 470.9))])
def test_a_paste_is_the_blend_of_an_independent_interpolator(
    angle: float, scale: float, at: tuple[float, float]
) -> None:
    frame = noise(LAYOUTS["gray16le"], (600, 500), colour=Colour(full_range=True))
    before = frame.planes[0].astype(np.float64)
    a = g.rotation_scale(angle, scale, at, (45, 30))
    rng = np.random.default_rng(5)
    rgb = np.repeat(rng.random((60, 90, 1)), 3, -1).astype(np.float32)
    mask = rng.random((60, 90)).astype(np.float32)
    cpu.paste(frame, rgb, mask, a)
    p = in_crop(frame, a, 0) - 0.5 + 1
    places = [p[..., 1], p[..., 0]]
    cover = map_coordinates(np.pad(mask, 1).astype(float), places, order=1, mode="constant")
    ours = map_coordinates(np.pad(mask * rgb[..., 0], 1).astype(float), places, order=1, mode="constant")
    # Positions are float32 inside OpenCV: 1/100 of a grey level of 8 bit.
    assert np.abs(frame.planes[0] - (before * (1 - cover) + ours * 65535)).max() < 4
    assert (frame.planes[0] == before)[cover == 0].all()


def test_colour_under_no_mask_never_bleeds_in() -> None:
    a, mask = g.rotation_scale(0.3, 1.3, (60, 50), (40, 40)), (disc(80, 30, 1) > 0.5).astype(np.float32)
    rgb = np.full((80, 80, 3), 0.5, np.float32)
    wild = np.where(mask[..., None] > 0, rgb, np.float32(900))
    calm, other = noise(LAYOUTS["yuv420p"], (120, 100)), noise(LAYOUTS["yuv420p"], (120, 100))
    cpu.paste(calm, rgb, mask, a)
    cpu.paste(other, wild, mask, a)
    assert all((p == q).all() for p, q in zip(calm.planes, other.planes, strict=True))


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "nv12", "rgb24"])
def test_turned_and_stretched_frames(name: str) -> None:
    for display in (np.array([[0.0, -1, 121], [1, 0, 0]]), np.array([[-4 / 3, 0.0, 284], [0, 1, 0]])):
        frame = paint(LAYOUTS[name], (213, 121), waves, display=display)
        before = copy_of(frame)
        w, h = frame.size
        a = g.rotation_scale(-0.4, 1.2, (w / 2, h / 2), (60, 60))
        rgb = cpu.crop(frame, a, (120, 120))
        cpu.paste(frame, rgb, disc(120, 45, 8), a)
        for now, then in zip(frame.planes, before, strict=True):
            assert np.abs(now.astype(int) - then).max() <= 2 ** (frame.layout.depth - 8)
        cpu.paste(frame, rgb + np.float32(0.1), disc(120, 45, 8), a)
        back = cpu.crop(frame, a, (120, 120))[40:80, 40:80] - rgb[40:80, 40:80]
        np.testing.assert_allclose(back.mean((0, 1)), 0.1, atol=0.004)


def test_a_frame_in_a_padded_buffer_is_written_in_place() -> None:
    layout = LAYOUTS["yuv420p"]
    inner = noise(layout, (85, 61))
    buffers = [np.full((p.shape[0], p.shape[1] + 43), 77, np.uint8) for p in inner.planes]
    views = tuple(b[:, : p.shape[1]] for b, p in zip(buffers, inner.planes, strict=True))
    for view, plane in zip(views, inner.planes, strict=True):
        view[...] = plane
    frame = Frame(views, layout, Colour(), 0, 0, IDENTITY)
    a = g.scaling(1, 1, (-60, -40))
    for f in (frame, inner):
        cpu.paste(f, np.full((40, 40, 3), 0.3, np.float32), np.ones((40, 40), np.float32), a)
    for buffer, plane in zip(buffers, inner.planes, strict=True):
        assert (buffer[:, : plane.shape[1]] == plane).all()
        assert (buffer[:, plane.shape[1] :] == 77).all()


def test_what_does_not_belong_together_is_refused() -> None:
    frame = noise(LAYOUTS["yuv420p"], (64, 48))
    rgb, mask = np.zeros((8, 8, 3), np.float32), np.ones((8, 8), np.float32)
    with pytest.raises(ValueError, match="paste"):
        cpu.paste(frame, rgb, mask[:4], IDENTITY)
    with pytest.raises(TypeError, match="float32"):
        cpu.paste(frame, rgb.astype(np.float64), mask, IDENTITY)
    with pytest.raises(ValueError, match="invertible"):
        cpu.paste(frame, rgb, mask, np.zeros((2, 3)))
