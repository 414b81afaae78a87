"""The clock in the picture: read back as written, also after an encoder and scaling, or not at all."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.images import frameclock
from mien.media.camera import frame
from mien.media.decode import views
from mien.media.layouts import LAYOUTS
from mien.types import Frame


def blank(width: int, height: int, seed: int = 0) -> Frame:
    picture = av.VideoFrame(width, height, "yuv420p")
    random = np.random.default_rng(seed)
    for plane in views(picture, LAYOUTS["yuv420p"]):
        plane[:] = random.integers(16, 235, plane.shape, np.uint8)
    return frame(picture, "h264", 0, 0)


@given(st.integers(1, frameclock.MOST), st.integers(64, 400), st.integers(8, 80))
def test_what_is_written_is_read(value: int, width: int, height: int) -> None:
    made = blank(2 * width, 2 * height)
    frameclock.stamp(made, value)
    assert frameclock.read(made.planes[0]) == value


def test_only_the_strip_is_written() -> None:
    made, before = blank(1280, 720), blank(1280, 720)
    frameclock.stamp(made, 12345)
    assert np.array_equal(made.planes[0][20:], before.planes[0][20:])
    assert np.array_equal(made.planes[1][10:], before.planes[1][10:])
    assert (made.planes[1][:10] == 128).all()


def test_a_picture_without_one_says_nothing() -> None:
    assert frameclock.read(blank(640, 360).planes[0]) is None
    assert frameclock.read(np.zeros((360, 640), np.uint8)) is None
    assert frameclock.read(np.zeros((1, 20), np.uint8)) is None


def test_one_wrong_cell_is_noticed() -> None:
    made = blank(640, 360)
    frameclock.stamp(made, 987654321)
    made.planes[0][:10, 100:110] = 251 - made.planes[0][:10, 100:110]
    assert frameclock.read(made.planes[0]) is None


@pytest.mark.parametrize("size", [(640, 360), (853, 480), (1920, 1080)])
def test_it_survives_scaling(size: tuple[int, int]) -> None:
    made = blank(1280, 720)
    frameclock.stamp(made, 0x123456789ABC)
    scaled = cv2.resize(made.planes[0], size, interpolation=cv2.INTER_AREA)
    assert frameclock.read(np.asarray(scaled)) == 0x123456789ABC


@pytest.mark.parametrize(("codec", "options"), [("libx264", {"crf": "35"}), ("libvpx", {"b": "300k"})])
def test_it_survives_an_encoder(codec: str, options: dict[str, str]) -> None:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 360, "yuv420p"  # type: ignore[attr-defined]
    encoder.time_base, encoder.options = Fraction(1, 25), options
    decoder = av.CodecContext.create("h264" if codec == "libx264" else "vp8", "r")
    written, packets = [], []
    for k in range(10):
        made = blank(640, 360, k)
        written.append(1_000_003 * (k + 1))
        frameclock.stamp(made, written[-1])
        picture = made.owner
        assert isinstance(picture, av.VideoFrame)
        picture.pts = k
        packets += encoder.encode(picture)  # type: ignore[attr-defined]
    packets += encoder.encode(None)  # type: ignore[attr-defined]
    found = [f for packet in [*packets, None] for f in decoder.decode(packet)]
    assert [frameclock.read(views(f, LAYOUTS["yuv420p"])[0]) for f in found] == written


def test_other_values_and_layouts_are_refused() -> None:
    with pytest.raises(ValueError, match="value"):
        frameclock.stamp(blank(64, 64), frameclock.MOST + 1)
    rgb = Frame(
        (np.zeros((64, 64, 3), np.uint8),), LAYOUTS["rgb24"], blank(64, 64).colour, 0, 0, np.eye(2, 3)
    )
    with pytest.raises(ValueError, match="rgb24"):
        frameclock.stamp(rgb, 1)
