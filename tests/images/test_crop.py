from __future__ import annotations

import math

import numpy as np
import pytest

from mien.images import cpu
from mien.images import geometry as g
from mien.types import Array, Colour, Float64, Frame, Layout
from tests.images.frames import IDENTITY, LAYOUTS, build, noise, paint, waves

QUARTER_TURNS = {
    # Display matrices for a coded picture of 120 x 80, and what they do to an array.
    "0": (np.array([[1.0, 0, 0], [0, 1, 0]]), lambda a: a),
    "90": (np.array([[0.0, -1, 80], [1, 0, 0]]), lambda a: np.rot90(a, -1)),
    "180": (np.array([[-1.0, 0, 120], [0, -1, 80]]), lambda a: np.rot90(a, 2)),
    "270": (np.array([[0.0, 1, 0], [-1, 0, 120]]), lambda a: np.rot90(a)),
    "mirrored": (np.array([[-1.0, 0, 120], [0, 1, 0]]), lambda a: a[:, ::-1]),
    "upside down": (np.array([[1.0, 0, 0], [0, -1, 80]]), lambda a: a[::-1]),
    "transposed": (np.array([[0.0, 1, 0], [1, 0, 0]]), lambda a: np.swapaxes(a, 0, 1)),
}


def expected(a: Float64, size: tuple[int, int]) -> Float64:
    """What `waves` looks like at the pixel centres of a crop; `a` is coded pixels to crop."""
    at = np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), -1)
    coded = g.apply(g.invert(a), at)
    return waves(coded[..., 0], coded[..., 1])


def upright(frame: Frame, turn: str) -> Frame:
    """The frame with its planes turned as its display matrix says, and no display matrix."""
    planes = tuple(np.ascontiguousarray(QUARTER_TURNS[turn][1](p)) for p in frame.planes)
    return Frame(planes, frame.layout, frame.colour, 0, 0, IDENTITY)


@pytest.mark.parametrize("size", [(320, 240), (213, 121)])
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_crop_shows_the_picture_where_it_is(name: str, size: tuple[int, int]) -> None:
    layout = LAYOUTS[name]
    frame = paint(layout, size, waves)
    a = g.rotation_scale(0.4, 1.15, (100.3, 60.7), (48, 48))
    got = cpu.crop(frame, a, (96, 96))
    want = expected(a, (96, 96))
    if layout.model == "gray":
        want = np.repeat((want @ [0.2126, 0.7152, 0.0722])[..., None], 3, -1)
    assert got.dtype == np.float32
    assert got.shape == (96, 96, 3)
    # Half a code of rounding, amplified by the matrix, and the curvature between samples.
    assert np.abs(got - want).max() < (0.012 if layout.depth == 8 else 0.006)
    assert abs(float((got - want).mean())) < 0.0006


@pytest.mark.parametrize("name", ["rgb24", "yuv444p12le", "gray", "gbrp"])
def test_a_crop_on_the_grid_is_the_samples(name: str) -> None:
    frame = noise(LAYOUTS[name], (64, 48), colour=Colour(full_range=True))
    got = cpu.crop(frame, g.scaling(1, 1, (-8, -5)), (40, 30))
    if name == "rgb24":
        np.testing.assert_allclose(got * 255, frame.planes[0][5:35, 8:48], atol=1e-4)
    elif name == "gbrp":
        planes = np.stack([frame.planes[k] for k in (2, 0, 1)], -1)
        np.testing.assert_allclose(got * 255, planes[5:35, 8:48], atol=1e-4)
    elif name == "gray":
        np.testing.assert_allclose(got[..., 1] * 255, frame.planes[0][5:35, 8:48], atol=1e-4)
    else:
        luma = got @ np.array([0.2126, 0.7152, 0.0722])
        np.testing.assert_allclose(luma * 4095, frame.planes[0][5:35, 8:48], atol=0.01)


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("name", ["yuv420p12le", "yuv422p12le"])
def test_chroma_is_where_its_siting_says(name: str, siting: str) -> None:
    def ramp(x: Float64, y: Float64) -> Float64:
        return np.stack([0.2 + 0.006 * x, np.full_like(x, 0.5), 0.2 + 0.008 * y], -1)

    colour = Colour(siting=siting)  # type: ignore[arg-type]
    frame = paint(LAYOUTS[name], (96, 80), ramp, colour)
    got = cpu.crop(frame, g.scaling(1, 1, (-8, -8)), (80, 64))
    at = np.meshgrid(np.arange(80) + 8.5, np.arange(64) + 8.5)
    # A quarter of a pixel off would show as 0.0015.
    assert np.abs((got - ramp(*at)).mean((0, 1))).max() < 0.0002
    wrong = Frame(
        frame.planes, frame.layout, Colour(siting="left" if siting == "center" else "center"), 0, 0, IDENTITY
    )
    off = np.abs((cpu.crop(wrong, g.scaling(1, 1, (-8, -8)), (80, 64)) - ramp(*at)).mean((0, 1))).max()
    assert off > 0.001


def test_a_chroma_edge_lands_between_its_samples() -> None:
    def values(component: int) -> Array:
        if component == 0:
            return np.full((32, 64), 126.0)
        return np.where(np.arange(32)[None] < 16, 100.0, 156.0) + np.zeros((16, 1))

    for siting, edge in (("left", 31.5), ("center", 32.0)):
        # Chroma samples 15 and 16 sit at 2 i + 0.5 or 2 i + 1: the half-way point is 31.5 or 32.
        frame = build(LAYOUTS["yuv420p"], values, Colour(siting=siting))  # type: ignore[arg-type]
        row = cpu.crop(frame, g.scaling(8, 8), (512, 256))[128, :, 0].astype(float)
        middle = (row[0] + row[-1]) / 2
        at = int(np.argmax(row > middle))
        crossing = (at - 0.5 + (middle - row[at - 1]) / (row[at] - row[at - 1])) / 8
        assert crossing == pytest.approx(edge, abs=0.02)


@pytest.mark.parametrize("scale", [0.83, 0.71, 0.6, 0.5, 0.45, 0.31, 0.2, 0.11])
@pytest.mark.parametrize("turn", [0.0, 0.3, math.pi / 4])
def test_a_shrinking_crop_of_a_checkerboard_is_grey(scale: float, turn: float) -> None:
    board = (np.indices((400, 400)).sum(0) % 2) * 200.0 + 25
    frame = build(LAYOUTS["gray"], lambda _: board, Colour(full_range=True))
    side = int(250 * scale)
    got = cpu.crop(frame, g.rotation_scale(turn, scale, (200, 200), (side / 2, side / 2)), (side, side))
    assert got.mean() == pytest.approx(125 / 255, abs=0.002)
    assert np.ptp(got) < (0.3 if scale > 0.8 else 0.05) * 200 / 255


@pytest.mark.parametrize("scale", [0.61, 0.5, 0.37, 0.25])
def test_a_zone_plate_does_not_alias(scale: float) -> None:
    y, x = np.mgrid[-200:200, -200:200] + 0.5
    # Local frequency grows linearly with the radius and is 0.5 cycles a pixel at 200.
    plate = 127.5 + 100 * np.cos(math.pi * (x * x + y * y) / 400)
    frame = build(LAYOUTS["gray16le"], lambda _: plate * 257, Colour(full_range=True))
    side = int(400 * scale)
    got = cpu.crop(frame, g.scaling(scale, scale), (side, side))[..., 0].astype(float)
    at = (np.arange(side) + 0.5) / scale - 200
    radius = np.hypot(at[:, None], at[None])
    # From 1.8 times what the crop can hold up to the plate's own limit, nearly nothing may be left to see;
    # without a prefilter the plate's own contrast would come back as false rings.
    fine = (radius > 1.8 * 200 * scale) & (radius < 195)
    if fine.any():
        assert got[fine].std() < 0.22 * plate.std() / 255
    assert np.ptp(got[radius < 100 * scale]) > 0.6


@pytest.mark.parametrize("turn", sorted(QUARTER_TURNS))
@pytest.mark.parametrize("name", ["rgb24", "yuv420p10le", "nv12"])
def test_a_turned_frame_gives_the_crop_of_the_upright_one(name: str, turn: str) -> None:
    display = QUARTER_TURNS[turn][0]
    frame = noise(LAYOUTS[name], (120, 80), colour=Colour(siting="center"))
    turned = Frame(frame.planes, frame.layout, frame.colour, 0, 0, display)
    flat = upright(frame, turn)
    assert turned.size == flat.size
    for scale in (1.3, 0.7, 0.3):
        a = g.rotation_scale(0.2, scale, (40, 41), (16, 16))
        np.testing.assert_allclose(cpu.crop(turned, a, (32, 32)), cpu.crop(flat, a, (32, 32)), atol=3e-4)
    for small in ((flat.width // 2, flat.height // 2), (33, 27)):
        want = cpu.thumbnail(flat, small).astype(int)
        assert (
            np.abs(cpu.thumbnail(turned, small).astype(int) - want).max() <= 2
        )  # rounded to bytes in another order


def test_pixels_that_are_not_square() -> None:
    display = g.scaling(4 / 3, 1.0)
    frame = paint(LAYOUTS["yuv420p"], (240, 200), waves, display=display)
    assert frame.size == (320, 200)
    a = g.rotation_scale(-0.3, 0.9, (160, 100), (40, 40))
    got = cpu.crop(frame, a, (80, 80))
    assert np.abs(got - expected(g.compose(a, display), (80, 80))).max() < 0.012


def test_beyond_the_edge_the_edge_is_repeated() -> None:
    frame = paint(LAYOUTS["yuv420p"], (64, 48), waves)
    inside = cpu.crop(frame, g.scaling(1, 1), (64, 48))
    around = cpu.crop(frame, g.scaling(1, 1, (20, 10)), (104, 68))
    np.testing.assert_allclose(around[10:58, 20:84], inside, atol=1e-5)
    np.testing.assert_allclose(around[:10, 20:84], np.repeat(inside[:1], 10, 0), atol=1e-5)
    np.testing.assert_allclose(around[10:58, 84:], np.repeat(inside[:, -1:], 20, 1), atol=1e-5)
    far = cpu.crop(frame, g.scaling(1, 1, (900, 900)), (8, 8))
    np.testing.assert_allclose(far, np.broadcast_to(inside[0, 0], far.shape), atol=1e-5)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize(
    ("coded", "size"), [((320, 180), (80, 45)), ((213, 121), (96, 54)), ((64, 48), (96, 72))]
)
def test_a_thumbnail_is_the_picture(name: str, coded: tuple[int, int], size: tuple[int, int]) -> None:
    layout = LAYOUTS[name]
    got = cpu.thumbnail(paint(layout, coded, waves), size)
    want = expected(g.scaling(size[0] / coded[0], size[1] / coded[1]), size)
    if layout.model == "gray":
        want = np.repeat((want @ [0.2126, 0.7152, 0.0722])[..., None], 3, -1)
    assert got.dtype == np.uint8
    assert got.shape == (size[1], size[0], 3)
    inner = np.s_[2:-2, 2:-2]
    # Bytes are rounded twice, which the matrix nearly doubles, and chroma siting is left uncorrected.
    assert np.abs(got[inner] - want[inner] * 255).max() < 8
    assert np.abs(got[inner] - want[inner] * 255).mean() < 1.5


def test_a_thumbnail_of_a_frame_that_is_tilted() -> None:
    tilt = g.rotation_scale(0.1, 1.0, (60, 40), (60, 40))
    frame = paint(LAYOUTS["yuv420p"], (120, 80), waves, display=tilt)
    w, h = frame.size
    got = cpu.thumbnail(frame, (w, h))[30:50, 50:70] / 255
    want = expected(tilt, (w, h))[30:50, 50:70]
    assert np.abs(got - want).max() < 0.012


def test_what_cannot_be_cut_is_refused() -> None:
    frame = noise(LAYOUTS["yuv420p"], (64, 48))
    with pytest.raises(ValueError, match="invertible"):
        cpu.crop(frame, np.zeros((2, 3)), (8, 8))
    with pytest.raises(ValueError, match="size"):
        cpu.crop(frame, IDENTITY, (0, 8))
    with pytest.raises(ValueError, match="size"):
        cpu.thumbnail(frame, (8, 0))


def test_a_packed_layout_in_another_order() -> None:
    layout = Layout("bgr24", "rgb", 8, ((2, 1, 0),))
    frame = noise(layout, (40, 30))
    got = cpu.crop(frame, IDENTITY, (40, 30))
    np.testing.assert_allclose(got * 255, frame.planes[0][..., ::-1], atol=1e-4)
    assert (cpu.thumbnail(frame, (40, 30)) == frame.planes[0][..., ::-1]).all()


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("scale", [1.4, 0.9, 0.45, 0.2])
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_glance_is_the_crop_in_whole_codes(name: str, scale: float, siting: str) -> None:
    frame = paint(LAYOUTS[name], (333, 251), waves, colour=Colour(siting=siting))  # type: ignore[arg-type]
    a = g.rotation_scale(0.4, scale, (160, 120), (32, 32))
    got = cpu.glance(frame, a, (64, 64))
    want = np.clip(cpu.crop(frame, a, (64, 64)), 0, 1) * 255
    assert got.dtype == np.uint8
    apart = np.abs(got - want)
    # A code or two of rounding in each component, which the matrix nearly doubles, and chroma's siting.
    assert apart.max() < 11
    assert apart.mean() < 1.4


def test_a_glance_looks_beyond_the_edge_and_through_any_display_matrix() -> None:
    frame = paint(LAYOUTS["yuv420p"], (240, 200), waves, display=g.scaling(4 / 3, 1.0))
    for scale, place in ((0.8, (10.0, 8.0)), (0.3, (0.0, 200.0)), (1.0, (900.0, 900.0))):
        a = g.rotation_scale(-0.3, scale, place, (40, 40))
        want = np.clip(cpu.crop(frame, a, (80, 80)), 0, 1) * 255
        assert np.abs(cpu.glance(frame, a, (80, 80)) - want).max() < 9
    with pytest.raises(ValueError, match="invertible"):
        cpu.glance(frame, np.zeros((2, 3)), (8, 8))
    with pytest.raises(ValueError, match="size"):
        cpu.glance(frame, IDENTITY, (0, 8))


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize(
    ("size", "shrink"), [((320, 240), 4), ((213, 121), 2), ((333, 250), 6), ((97, 64), 1)]
)
def test_a_reduced_frame_shows_the_same_at_the_same_place(
    name: str, size: tuple[int, int], shrink: int
) -> None:
    whole = paint(LAYOUTS[name], size, waves)
    small = cpu.reduced(whole, shrink)
    assert small.layout.depth == 8
    assert small.width == size[0] // shrink or abs(small.width * shrink - size[0]) < 2 * shrink
    assert all(not np.shares_memory(a, b) for a in small.planes for b in whole.planes)
    a = g.rotation_scale(0.1, 0.5 / shrink, (size[0] / 2, size[1] / 2), (8, 8))
    apart = np.abs(cpu.crop(small, a, (16, 16)) - cpu.crop(whole, a, (16, 16)))
    assert apart.max() < 0.04
    assert apart.mean() < 0.01


@pytest.mark.parametrize("turn", sorted(QUARTER_TURNS))
def test_a_reduced_frame_keeps_its_display_matrix(turn: str) -> None:
    display = QUARTER_TURNS[turn][0]
    whole = paint(LAYOUTS["yuv420p"], (120, 80), waves, display=display)
    small = cpu.reduced(whole, 4)
    assert (small.width, small.height) == (30, 20)
    assert small.size == whole.size
    a = g.scaling(0.25, 0.25)
    w, h = whole.size[0] // 4, whole.size[1] // 4
    apart = np.abs(cpu.crop(small, a, (w, h)) - cpu.crop(whole, a, (w, h)))
    assert apart.max() < 0.05


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (700, 2), (5, 3)])
def test_the_smallest_frames_are_reduced_too(size: tuple[int, int]) -> None:
    small = cpu.reduced(noise(LAYOUTS["yuv420p"], size), 6)
    assert min(small.width, small.height) >= 1
    assert all(min(p.shape) >= 1 for p in small.planes)
