from __future__ import annotations

import numpy as np
import pytest

from mien.images import colour as c
from mien.types import Colour
from tests.images.frames import LAYOUTS, MATRICES, codes

BARS = np.array(
    [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)], float
)
# 75 % colour bars, 8 bit limited range, as published for EBU/SMPTE bars.
BARS_75 = {
    "bt601": [
        (180, 128, 128),
        (162, 44, 142),
        (131, 156, 44),
        (112, 72, 58),
        (84, 184, 198),
        (65, 100, 212),
        (35, 212, 114),
        (16, 128, 128),
    ],
    "bt709": [
        (180, 128, 128),
        (168, 44, 136),
        (145, 147, 44),
        (133, 63, 52),
        (63, 193, 204),
        (51, 109, 212),
        (28, 212, 120),
        (16, 128, 128),
    ],
}


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_published_colour_bars(matrix: str) -> None:
    got = c.from_rgb(BARS * 0.75, Colour(matrix=matrix), 8)  # type: ignore[arg-type]
    np.testing.assert_allclose(got, BARS_75[matrix], atol=0.55)


def test_bt2020_primaries_at_10_bit() -> None:
    # BT.2020-2 table 5: 876 and 896 codes of range from 64 and 512; Cb = -Kr / 1.8814, Cr = 0.5 for red.
    got = c.from_rgb(np.eye(3), Colour(matrix="bt2020"), 10)
    red = (64 + 876 * 0.2627, 512 - 896 * 0.2627 / 1.8814, 960)
    green = (64 + 876 * 0.678, 512 - 896 * 0.678 / 1.8814, 512 - 896 * 0.678 / 1.4746)
    blue = (64 + 876 * 0.0593, 960, 512 - 896 * 0.0593 / 1.4746)
    np.testing.assert_allclose(got, [red, green, blue], atol=1e-3)


def test_jpeg_full_range() -> None:
    # JFIF 1.02: Y = .299 R + .587 G + .114 B, Cb = -.168736 R - .331264 G + .5 B + 128, ...
    got = c.from_rgb(np.eye(3), Colour(matrix="bt601", full_range=True), 8)
    jfif = [(76.245, 84.972, 255.5), (149.685, 43.528, 21.234), (29.07, 255.5, 107.265)]
    np.testing.assert_allclose(got, jfif, atol=1e-2)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", sorted(MATRICES))
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_every_code_survives_the_round_trip(depth: int, matrix: str, full: bool) -> None:
    meaning = Colour(matrix=matrix, full_range=full)  # type: ignore[arg-type]
    every = np.arange(2**depth, dtype=np.float32)
    for others in (0, 2 ** (depth - 1), 2**depth - 1):
        for component in range(3):
            yuv = np.full((len(every), 3), others, np.float32)
            yuv[:, component] = every
            back = c.from_rgb(c.to_rgb(yuv, meaning, depth), meaning, depth)
            assert back.dtype == np.float32
            assert np.abs(back - yuv).max() < 0.01


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("full", [False, True])
def test_encoder_and_decoder_of_every_layout(name: str, full: bool) -> None:
    layout, meaning = LAYOUTS[name], Colour(matrix="bt709", full_range=full)
    rgb = np.random.default_rng(1).random((50, 3))
    if layout.model == "gray":
        rgb[:] = rgb[:, :1]
    m = c.encoder(layout, meaning)
    got = rgb @ m[:, :3].T + m[:, 3]
    np.testing.assert_allclose(got, np.stack(codes(rgb, layout, meaning), -1), atol=1e-6 * 2**layout.depth)
    d = c.decoder(layout, meaning)
    np.testing.assert_allclose(got @ d[:, :3].T + d[:, 3], rgb, atol=1e-9)


def test_legal_codes() -> None:
    limited, full = Colour(), Colour(full_range=True)
    assert c.legal(LAYOUTS["yuv420p"], limited) == (1, 254)
    assert c.legal(LAYOUTS["yuv420p10le"], limited) == (4, 1019)
    assert c.legal(LAYOUTS["yuv420p12le"], limited) == (16, 4079)
    assert c.legal(LAYOUTS["yuv420p"], full) == (0, 255)
    assert c.legal(LAYOUTS["yuv444p10le"], full) == (0, 1023)
    assert c.legal(LAYOUTS["rgb48le"], limited) == (0, 65535)


def test_rgb_is_no_ycbcr_matrix() -> None:
    with pytest.raises(ValueError, match="bt601, bt709, bt2020"):
        c.encoder(LAYOUTS["yuv444p"], Colour(matrix="rgb"))
    # A gray picture has no use for the question.
    assert c.decoder(LAYOUTS["gray"], Colour(matrix="rgb", full_range=True))[0, 0] == pytest.approx(1 / 255)
