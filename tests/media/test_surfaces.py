"""Frames between video engines and tensors: the same samples, in memory of their own, wherever they go."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien.media.clip import index, probe
from mien.media.decode import frames
from mien.media.encode import SegmentWriter, plan, schedule
from mien.media.layouts import LAYOUTS, nearest, semiplanar
from mien.media.outgoing import Outgoing
from mien.settings import Encode
from mien.types import Array, Colour, Frame, Layout
from tests.media.makers import Recipe, make

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
surfaces = pytest.importorskip("mien.media.surfaces")

SIZE = (132, 66)
PLANAR = [LAYOUTS["yuv420p"], LAYOUTS["yuv420p10le"], LAYOUTS["yuv420p12le"]]
FORMS = {8: "nv12", 10: "p010le", 12: "p016le"}
DEVICES = [pytest.param("cpu"), pytest.param("cuda:0", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    if request.param != "cpu" and not torch.cuda.is_available():
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and torch reaches none"
        pytest.skip("torch reaches no graphics processor")
    name: str = request.param
    return name


def noise(layout: Layout, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    shapes = [layout.plane_shape(k, *SIZE) for k in range(len(layout.planes))]
    planes = tuple(rng.integers(0, 1 << layout.depth, shape).astype(layout.dtype) for shape in shapes)
    return Frame(planes, layout, Colour(), 0, 0, np.eye(2, 3))


def joined(frame: Frame) -> tuple[Array, Array]:
    """Luma and both colours of a frame, whichever way they lie."""
    planes = [np.asarray(plane.cpu() if hasattr(plane, "cpu") else plane) for plane in frame.planes]
    return planes[0], planes[1] if len(planes) == 2 else np.stack(planes[1:], -1)


def stored(picture: av.VideoFrame, depth: int) -> tuple[Array, Array]:
    """Luma and colours of a picture of FFmpeg's, read by its strides alone; views."""
    kind = np.uint8 if depth == 8 else np.uint16
    width, height = picture.width, picture.height
    found = []
    for number, plane in enumerate(picture.planes):
        rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
        found.append(rows[: height >> number, :width])
    return found[0], found[1].reshape(height // 2, width // 2, 2)


@pytest.mark.parametrize("layout", PLANAR, ids=lambda one: str(one.name))
def test_a_decoded_surface_becomes_tensors_of_our_own(layout: Layout) -> None:
    rng = np.random.default_rng(3)
    picture = av.VideoFrame(*SIZE, FORMS[layout.depth])
    for plane in stored(picture, layout.depth):
        plane[:] = rng.integers(0, 1 << layout.depth, plane.shape) << (
            0 if layout.depth == 8 else 16 - layout.depth
        )
    before = [
        plane.copy() >> (0 if layout.depth == 8 else 16 - layout.depth)
        for plane in stored(picture, layout.depth)
    ]
    planes = surfaces.adopted(picture, semiplanar(layout))
    for plane in stored(picture, layout.depth):
        plane[:] = 0
    frame = Frame(planes, semiplanar(layout), Colour(), 0, 0, np.eye(2, 3))
    for mine, theirs in zip(joined(frame), before, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("kind", ["planar", "semiplanar"])
@pytest.mark.parametrize("layout", PLANAR[:2], ids=lambda one: str(one.name))
def test_a_frame_becomes_one_piece_of_memory_for_an_encoder(layout: Layout, kind: str) -> None:
    frame = noise(layout if kind == "planar" else semiplanar(layout))
    picture = surfaces.picture(surfaces.up(frame, "cpu"), surfaces.context("cpu"))
    assert picture.format.name == FORMS[layout.depth]
    for mine, theirs in zip(stored(picture, layout.depth), joined(frame), strict=True):
        assert np.array_equal(mine >> (0 if layout.depth == 8 else 6), theirs)
    luma, colours = (np.frombuffer(memoryview(plane), np.uint8) for plane in picture.planes)
    row = picture.planes[0].line_size
    assert picture.planes[1].line_size == row
    assert colours.ctypes.data - luma.ctypes.data == row * SIZE[1], (
        "NVENC looks for colours right behind luma"
    )


@pytest.mark.parametrize("kind", ["planar", "semiplanar"])
@pytest.mark.parametrize("layout", PLANAR, ids=lambda one: str(one.name))
def test_frames_come_down_into_memory_that_is_used_again(layout: Layout, kind: str, device: str) -> None:
    ring = surfaces.Ring(layout, 2)
    sent = [noise(layout if kind == "planar" else semiplanar(layout), seed) for seed in range(5)]
    places = set()
    for one in sent:
        landing = ring.start(surfaces.up(one, device))
        frame = landing.frame()
        assert frame.layout == layout
        assert all(isinstance(plane, np.ndarray) for plane in frame.planes)
        assert all(np.array_equal(a, b) for a, b in zip(joined(frame), joined(one), strict=True))
        places.add(frame.planes[0].ctypes.data)
        landing.release()
    assert len(places) == 1
    under_way = [ring.start(surfaces.up(one, device)) for one in sent[:2]]
    with pytest.raises(ValueError, match="at most 2"):
        ring.start(surfaces.up(sent[2], device))
    for landing, one in zip(under_way, sent, strict=False):
        assert all(np.array_equal(a, b) for a, b in zip(joined(landing.frame()), joined(one), strict=True))


def test_a_frame_that_is_changed_after_it_went_up_stays_as_it_was() -> None:
    frame = noise(PLANAR[0])
    want = [plane.copy() for plane in frame.planes]
    up = surfaces.up(frame, "cpu")
    for plane in frame.planes:
        plane[:] = 0
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(up.planes, want, strict=True))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"), [("libx264", "yuv420p", ".mp4"), ("libx265", "yuv420p10le", ".mkv")]
)
@pytest.mark.parametrize("way", ["planar", "semiplanar"])
def test_the_encoder_writes_the_same_bytes_whichever_side_frames_are_on(
    tmp_path: Path, codec: str, pix_fmt: str, suffix: str, way: str, device: str
) -> None:
    recipe = Recipe(frames=12, codec=codec, pix_fmt=pix_fmt, rate=Fraction(25))
    clip = probe(make(tmp_path / f"in{suffix}", recipe))
    known = index(clip)
    made = plan(clip, known, Encode(preset="fastest"), tmp_path / f"out{suffix}", threads=1)
    times = schedule(made, known, clip, 0, 12)

    def sent(frame: Frame) -> Frame:
        up: Frame = surfaces.up(frame, device)
        if way == "planar":
            return up
        pair: tuple[Any, ...] = (up.planes[0], torch.stack([torch.as_tensor(p) for p in up.planes[1:]], -1))
        return Frame(pair, semiplanar(clip.layout), up.colour, up.pts, up.index, up.display)

    for name in ("here", "there"):
        outgoing = Outgoing(made, clip.layout, 1)
        with SegmentWriter(tmp_path / name, made, times) as writer:
            for frame in frames(clip, known, writable=False):
                landing = outgoing(sent(frame) if name == "there" else frame)
                writer.write(landing.frame())
                landing.release()
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_only_what_engines_keep_has_a_semiplanar_layout() -> None:
    assert semiplanar(LAYOUTS["yuvj420p"]) == LAYOUTS["nv12"]
    assert semiplanar(nearest("p010le")).plane_shape(1, 64, 32) == (16, 32, 2)
    for name in ("yuv422p", "yuva420p", "gray", "rgb24"):
        with pytest.raises(ValueError, match="4:2:0"):
            semiplanar(LAYOUTS[name])
