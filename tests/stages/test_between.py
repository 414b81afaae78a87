"""Pictures between two frames, beside what is truly there at that moment."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from mien.stages import between
from mien.types import Colour, Float64, Frame, Layout
from tests.images.frames import LAYOUTS, noise, paint

SIZE = (240, 176)
Still = Callable[[Float64, Float64], Float64]
HALF = Fraction(1, 2)

KINDS = [
    "yuv420p",
    "yuv420p10le",
    "yuv422p",
    "yuv422p12le",
    "yuv444p10le",
    "nv12",
    "gray",
    "gray16le",
    "rgb24",
    "rgb48le",
    "gbrp",
    "rgba",
]


def _threads() -> Float64:
    """(24, 6) wave numbers and phases of three colours' waves of 9 to 60 pixels, in all directions."""
    rng = np.random.default_rng(7)
    length, angle = 2 * np.pi / rng.uniform(9, 60, 24), rng.uniform(0, np.pi, 24)
    return np.column_stack([length * np.cos(angle), length * np.sin(angle), rng.uniform(0, 6.3, (24, 4))])


THREADS = _threads()


def cloth(x: Float64, y: Float64) -> Float64:
    """A colourful texture that repeats nowhere."""
    rgb = np.full((*np.shape(x), 3), 0.5)
    for kx, ky, r, g, b, grey in THREADS:
        at = kx * x + ky * y
        rgb += 0.044 * np.sin(at + grey)[..., None] + 0.013 * np.sin(at[..., None] + np.array([r, g, b]))
    return rgb.clip(0.0, 1.0)


def moved(still: Still, way: str, share: float) -> Still:
    """A picture a share of the way through a movement: (9, -5) pixels, or 4 degrees about a point."""
    if way == "shift":
        return lambda x, y: still(x - 9.0 * share, y + 5.0 * share)
    angle, (cx, cy) = np.radians(4.0) * share, (110.0, 95.0)
    c, s = np.cos(angle), np.sin(angle)
    return lambda x, y: still(c * (x - cx) + s * (y - cy) + cx, -s * (x - cx) + c * (y - cy) + cy)


def quality(one: Frame, other: Frame, margin: int = 16) -> float:
    """PSNR in dB over all components but alpha, without the edge, whose outside no frame shows."""
    total, count = 0.0, 0
    for p, q, parts in zip(one.planes, other.planes, one.layout.planes, strict=True):
        cut = margin if p.shape[0] == one.height else margin // 2
        keep = [k for k, part in enumerate(parts) if part != 3]
        a, b = (
            v[cut:-cut, cut:-cut].reshape(v.shape[0] - 2 * cut, -1, len(parts))[..., keep] for v in (p, q)
        )
        total += float(((a.astype(float) - b) ** 2).sum())
        count += a.size
    return float(10 * np.log10((2.0**one.layout.depth - 1) ** 2 * count / max(total, 1e-9)))


def mean(a: Frame, b: Frame, share: float) -> Frame:
    """Both laid over each other."""
    planes = [
        np.rint(p * (1 - share) + q * share).astype(p.dtype) for p, q in zip(a.planes, b.planes, strict=True)
    ]
    return Frame(tuple(planes), a.layout, a.colour, 0, 0, a.display)


def made(a: Frame, b: Frame, share: Fraction = HALF) -> Frame:
    found = between.motion(a, b)
    assert found is not None
    picture = between.between(a, b, found, share)
    assert picture is not None
    return picture


@pytest.mark.parametrize("way", ["shift", "turn"])
@pytest.mark.parametrize("share", [HALF, Fraction(2, 5), Fraction(4, 5)])
def test_what_moves_is_where_it_is_then(way: str, share: Fraction) -> None:
    a, true, b = (paint(LAYOUTS["yuv420p"], SIZE, moved(cloth, way, s)) for s in (0.0, float(share), 1.0))
    ours = quality(made(a, b, share), true)
    nearest = quality(a if share < HALF else b, true)
    blended = quality(mean(a, b, float(share)), true)
    assert ours > 36
    assert ours > max(nearest, blended) + 10


@pytest.mark.parametrize("name", KINDS)
def test_every_layout(name: str) -> None:
    """Chroma moves at its own sampling: no layout is worse than luma alone."""
    a, true, b = (paint(LAYOUTS[name], SIZE, moved(cloth, "shift", s)) for s in (0.0, 0.5, 1.0))
    picture = made(a, b)
    assert quality(picture, true) > max(quality(mean(a, b, 0.5), true), quality(b, true)) + 10
    assert [p.dtype for p in picture.planes] == [p.dtype for p in a.planes]
    assert all(int(p.max()) < 2**a.layout.depth for p in picture.planes)
    assert not any(np.shares_memory(p, q) for p in picture.planes for f in (a, b) for q in f.planes)


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p"])
def test_siting(siting: str, name: str) -> None:
    """Where chroma lies does not matter to the movement, but does to where movement is looked up."""
    colour = Colour(siting=siting)  # type: ignore[arg-type]
    a, true, b = (paint(LAYOUTS[name], SIZE, moved(cloth, "turn", s), colour) for s in (0.0, 0.5, 1.0))
    picture = made(a, b)
    for plane in (1, 2):
        apart = picture.planes[plane].astype(float) - true.planes[plane]
        assert np.sqrt((apart[12:-12, 12:-12] ** 2).mean()) < 2.0


def test_alpha_moves_along() -> None:
    layout = Layout("yuva420p", "yuv", 8, ((0,), (1,), (2,), (3,)), (1, 1))

    def at(share: float) -> Frame:
        plain = paint(LAYOUTS["yuv420p"], SIZE, moved(cloth, "shift", share))
        rgb = moved(cloth, "shift", share)(*np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5))
        alpha = np.rint(255 * rgb[..., 0].clip(0, 1)).astype(np.uint8)
        return Frame((*plain.planes, alpha), layout, Colour(), 0, 0, plain.display)

    a, true, b = (at(s) for s in (0.0, 0.5, 1.0))
    apart = made(a, b).planes[3].astype(float) - true.planes[3]
    assert np.sqrt((apart[16:-16, 16:-16] ** 2).mean()) < 3


def test_large_frames_are_searched_small() -> None:
    """Frames of more than 640 pixels: movement from a smaller picture leads to the right samples."""
    size = (660, 200)
    wide: Still = lambda x, y: cloth(x / 4, y / 4)  # noqa: E731
    a, true, b = (paint(LAYOUTS["yuv420p"], size, moved(wide, "shift", s)) for s in (0.0, 0.5, 1.0))
    assert quality(made(a, b), true) > 42


def scene(share: float, layout: Layout = LAYOUTS["yuv420p"]) -> Frame:
    """A square of cloth that moves 10 pixels to the right before a wall that stands still."""

    def picture(x: Float64, y: Float64) -> Float64:
        left = 60.0 + 10.0 * share
        inside = (x > left) & (x < left + 70) & (y > 50) & (y < 120)
        front = cloth(x - left + 300, y + 200)
        wall = 0.3 + 0.5 * cloth(1.3 * y, 0.7 * x)
        return np.where(inside[..., None], front, wall)

    return paint(layout, SIZE, picture)


def test_what_moves_before_what_stands_still() -> None:
    """Both are whole; what is seen through each other is left to the rim, which one frame hides."""
    a, true, b = scene(0.0), scene(0.5), scene(1.0)
    picture = made(a, b)
    assert quality(picture, true) > max(quality(mean(a, b, 0.5), true), quality(b, true)) + 8
    for inside in (np.s_[56:114, 76:126], np.s_[4:44, 4:-4], np.s_[60:110, 4:54]):
        apart = picture.planes[0][inside].astype(float) - true.planes[0][inside]
        assert np.sqrt((apart**2).mean()) < 1


def test_what_stands_still_keeps_every_sample() -> None:
    a, b = scene(0.0), scene(1.0)
    picture = made(a, b)
    for plane, (p, q) in zip(picture.planes, zip(a.planes, b.planes, strict=True), strict=True):
        h = plane.shape[0]
        rows = np.s_[h * 150 // SIZE[1] :]
        assert np.array_equal(p[rows], q[rows])
        assert np.abs(plane[rows].astype(int) - p[rows]).max() <= 1


def test_nothing_is_made_across_a_cut() -> None:
    other: Still = lambda x, y: cloth(y + 900, 1.7 * x)  # noqa: E731
    a, b = paint(LAYOUTS["yuv420p"], SIZE, cloth), paint(LAYOUTS["yuv420p"], SIZE, other)
    found = between.motion(a, b)
    assert found is not None
    assert between.between(a, b, found, HALF) is None
    one, two = noise(LAYOUTS["nv12"], SIZE, 1), noise(LAYOUTS["nv12"], SIZE, 2)
    found = between.motion(one, two)
    assert found is not None
    assert between.between(one, two, found, HALF) is None


def test_nothing_moves_in_a_frame_shown_twice() -> None:
    a = scene(0.0)
    rng = np.random.default_rng(5)
    again = [np.clip(p.astype(int) + rng.integers(-1, 2, p.shape), 0, 255).astype(np.uint8) for p in a.planes]
    assert between.motion(a, a) is None
    assert between.motion(a, Frame(tuple(again), a.layout, a.colour, 1, 1, a.display)) is None
    assert between.motion(a, scene(0.1)) is not None


def test_too_small_to_tell() -> None:
    assert between.motion(noise(LAYOUTS["gray"], (31, 64), 1), noise(LAYOUTS["gray"], (31, 64), 2)) is None


def test_the_same_every_time() -> None:
    a, b = scene(0.0), scene(1.0)
    one, two = made(a, b), made(a, b)
    assert all(np.array_equal(p, q) for p, q in zip(one.planes, two.planes, strict=True))


def test_wrong_use_is_said() -> None:
    a, b = scene(0.0), scene(1.0)
    found = between.motion(a, b)
    assert found is not None
    for share in (Fraction(0), Fraction(1), Fraction(3, 2)):
        with pytest.raises(ValueError, match="share"):
            between.between(a, b, found, share)
    with pytest.raises(ValueError, match="one kind"):
        between.between(a, scene(1.0, LAYOUTS["yuv444p"]), found, HALF)


def test_odd_sides() -> None:
    size = (241, 177)
    a, true, b = (paint(LAYOUTS["yuv420p"], size, moved(cloth, "shift", s)) for s in (0.0, 0.5, 1.0))
    assert quality(made(a, b), true) > 36
