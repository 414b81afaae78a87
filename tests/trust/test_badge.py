"""What is drawn on live pictures: legible, in its corner, and nothing else is touched."""

from __future__ import annotations

from typing import Literal

import av
import numpy as np
import pytest

from mien.media.camera import frame
from mien.media.decode import views
from mien.media.layouts import LAYOUTS
from mien.trust.badge import TEXT, badge
from mien.types import Frame


def grey(size: tuple[int, int], name: str = "yuv420p") -> Frame:
    picture = av.VideoFrame(*size, name)
    for plane in views(picture, LAYOUTS[name]):
        plane[:] = 128
    return frame(picture, "h264", 0, 0)


@pytest.mark.parametrize("size", [(1280, 720), (320, 240), (1080, 1920), (64, 48)])
@pytest.mark.parametrize("corner", ["top left", "bottom left", "bottom right"])
def test_text_lies_in_its_corner(
    size: tuple[int, int], corner: Literal["top left", "bottom left", "bottom right"]
) -> None:
    made = grey(size)
    mark = badge(TEXT, size, corner)
    mark.paste(made)
    rows, columns = np.nonzero(made.planes[0] != 128)
    height, width = mark.mask.shape
    assert np.ptp(rows) < height
    assert np.ptp(columns) < width
    assert (rows.mean() < size[1] / 2) == corner.startswith("top") or size[1] < 60
    assert (columns.mean() > size[0] / 2) == corner.endswith("right") or size[0] < 80
    # white letters on a dark plate
    assert made.planes[0].max() > 190
    assert made.planes[0].min() < 80
    assert (made.planes[1] == 128).all()


def test_at_the_top_it_leaves_room_for_the_clock() -> None:
    made = grey((1280, 720))
    badge(TEXT, (1280, 720), "top left").paste(made)
    assert (made.planes[0][:20] == 128).all()


def test_full_range_is_drawn_too() -> None:
    made = grey((640, 360), "yuvj420p")
    badge("30.0 fps", (640, 360), "bottom left").paste(made)
    assert made.planes[0].max() > 240
