from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps, JpegImagePlugin

from mien.errors import MediaError
from mien.media import picture, png, tiff
from mien.media.image import ImageInfo, read_image, write_image
from mien.trust import label
from mien.types import Array
from tests.media.stills import LAYOUTS, XMP, exif, frame, noise, smooth, srgb, tables

# -- lossless round trips -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_sample_comes_back(name: str, suffix: str, tmp_path: Path) -> None:
    pixels = noise(LAYOUTS[name])
    path = tmp_path / f"a{suffix}"
    info = ImageInfo("png", icc=srgb(), exif=exif(6), xmp=XMP, dpi=(300.0, 150.0), orientation=6)
    assert write_image(path, frame(pixels), info) == ()
    back, facts = read_image(path)
    assert back.layout == LAYOUTS[name]
    assert np.array_equal(back.planes[0], pixels)
    assert back.planes[0].flags.writeable
    assert back.size == (23, 37)
    assert facts.icc == srgb()
    assert facts.xmp == XMP
    assert facts.orientation == 6
    assert facts.dpi == pytest.approx((300, 150), rel=1e-4)
    with Image.open(path) as seen:
        assert seen.getexif()[0x0112] == 6
        assert seen.getexif()[0x010F] == "Cam"
        assert seen.getexif().get_ifd(0x8769)[0x927C] == b"note"
        assert seen.info["icc_profile"] == srgb()
        assert seen.info["xmp"] == XMP


@settings(max_examples=25)
@given(data=st.data(), name=st.sampled_from(sorted(LAYOUTS)), kind=st.sampled_from(["png", "tiff"]))
def test_any_small_picture_comes_back(data: Any, name: str, kind: str) -> None:
    layout = LAYOUTS[name]
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    pixels = data.draw(hnp.arrays(layout.dtype, layout.plane_shape(0, width, height)))
    file = io.BytesIO()
    if kind == "png":
        png.write(file, pixels, ())
    else:
        tiff.write(file, pixels, {})
    if layout.depth == 8 or layout.model == "gray":
        file.seek(0)
        with Image.open(file) as seen:  # Pillow as the independent reader
            assert np.array_equal(np.asarray(seen), pixels)
    elif kind == "png":
        assert np.array_equal(unfilter(file.getvalue()), pixels)


def unfilter(data: bytes) -> Array:
    """A PNG reader by the letter of the specification, one byte at a time."""
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    parts = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    body = zlib.decompress(b"".join(d for n, d in png.chunks(io.BytesIO(data)) if n == b"IDAT"))
    step, stride = parts * depth // 8, width * parts * depth // 8
    rows = [bytearray(stride)]
    for k in range(height):
        line = bytearray(body[k * (stride + 1) + 1 : (k + 1) * (stride + 1)])
        above = rows[-1]
        for i in range(stride):
            a = line[i - step] if i >= step else 0
            b, c = above[i], above[i - step] if i >= step else 0
            p = a + b - c
            near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[i] = (line[i] + (0, a, b, (a + b) // 2, near)[body[k * (stride + 1)]]) & 255
        rows.append(line)
    flat = np.frombuffer(b"".join(rows[1:]), ">u2" if depth == 16 else np.uint8)
    return flat.reshape((height, width, parts) if parts > 1 else (height, width))


@pytest.mark.parametrize("name", ["rgb48le", "rgba64le"])
def test_16_bit_tiff_is_what_another_reader_reads(name: str, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile comes with the demo extra")
    pixels = noise(LAYOUTS[name])
    for packed in (True, False):
        with (tmp_path / "a.tif").open("x+b" if packed else "w+b") as file:
            tiff.write(file, pixels, {}, packed=packed)
        assert np.array_equal(read_image(tmp_path / "a.tif")[0].planes[0], pixels)
        if not packed:  # with Deflate and predictor tifffile needs a further package
            assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)
    tifffile.imwrite(
        tmp_path / "b.tif",
        pixels,
        byteorder=">",
        photometric="rgb",
        extrasamples=["unassalpha"] * (name == "rgba64le"),
    )
    assert np.array_equal(read_image(tmp_path / "b.tif")[0].planes[0], pixels)


def test_only_the_edited_samples_differ(tmp_path: Path) -> None:
    before = noise(picture.RGB48, 300, 200)
    write_image(tmp_path / "a.png", frame(before), ImageInfo("png"))
    opened, info = read_image(tmp_path / "a.png")
    opened.planes[0][50:60, 70:90] ^= 1
    write_image(tmp_path / "a.png", opened, info)  # onto itself
    after = read_image(tmp_path / "a.png")[0].planes[0]
    changed = np.argwhere((after != before).any(2))
    assert changed.min(0).tolist() == [50, 70]
    assert changed.max(0).tolist() == [59, 89]
    assert len(changed) == 200
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_lossless_webp_stays_lossless_transparent_colours_too(tmp_path: Path) -> None:
    pixels = noise(picture.RGBA)
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True, exact=True, xmp=XMP, exif=exif(3))
    opened, info = read_image(tmp_path / "a.webp")
    assert info.lossless
    write_image(tmp_path / "b.webp", opened, info)
    again, facts = read_image(tmp_path / "b.webp")
    assert np.array_equal(again.planes[0], pixels)
    assert facts == info


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".jpg"])
def test_lossy_formats_keep_what_is_said(suffix: str, tmp_path: Path) -> None:
    info = ImageInfo("png", icc=srgb(), exif=exif(8), xmp=XMP, orientation=8)
    assert write_image(tmp_path / f"a{suffix}", frame(smooth()), info) == ()
    back, facts = read_image(tmp_path / f"a{suffix}")
    assert (facts.icc, facts.xmp, facts.orientation) == (info.icc, info.xmp, 8)
    assert np.abs(back.planes[0].astype(int) - smooth()).mean() < 1.5
    with Image.open(tmp_path / f"a{suffix}") as seen:
        assert seen.getexif()[0x0112] == 8
        assert seen.getexif()[0x010F] == "Cam"
        assert seen.info["xmp"] == XMP


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_the_label_is_in_the_file(suffix: str, tmp_path: Path) -> None:
    edit = label.Edit("1.2", ("face replaced (mesh)",))
    source = ImageInfo("png", xmp=label.xmp(label.Edit("1.1", ())))
    packet = label.xmp(edit, source.xmp)
    write_image(tmp_path / f"a{suffix}", frame(smooth()), source, xmp=packet)
    with Image.open(tmp_path / f"a{suffix}") as seen:
        found = seen.info["xmp"]
    assert found == packet
    assert label.digital_source_type(found) == label.SOURCE_TYPE
    assert b"edited with mien 1.2: face replaced (mesh)" in found


def test_gps_goes_from_jpeg_to_tiff_and_back(tmp_path: Path) -> None:
    block = Image.Exif()
    block[0x8825] = {1: "N", 2: (52.0, 30.0, 15.5)}
    block[0x8769] = {0x9003: "2026:01:02 03:04:05", 0x829A: 0.004}
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=block)
    for name in ("a.tif", "b.tif", "b.jpg"):
        opened, info = read_image(tmp_path / {"a.tif": "a.jpg", "b.tif": "a.tif", "b.jpg": "b.tif"}[name])
        write_image(tmp_path / name, opened, info)
        with Image.open(tmp_path / name) as seen:
            assert [float(v) for v in seen.getexif().get_ifd(0x8825)[2]] == [52, 30, 15.5]
            assert seen.getexif().get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
            assert float(seen.getexif().get_ifd(0x8769)[0x829A]) == 0.004


# -- orientation --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_display_is_what_exif_transpose_does(orientation: int, suffix: str, tmp_path: Path) -> None:
    stored = np.zeros((6, 10, 3), np.uint8)
    stored[..., 0], stored[..., 1] = np.arange(10) * 20, np.arange(6)[:, None] * 40
    path = tmp_path / f"a{suffix}"
    write_image(path, frame(stored), ImageInfo("png", exif=exif(orientation)), quality=100)
    back, info = read_image(path)
    assert info.orientation == orientation
    assert back.planes[0].shape == (6, 10, 3)
    with Image.open(path) as seen:
        upright = np.asarray(ImageOps.exif_transpose(seen).convert("RGB"))
    assert back.size == (upright.shape[1], upright.shape[0])
    for y in range(6):
        for x in range(10):
            u, v = back.display[:, :2] @ (x + 0.5, y + 0.5) + back.display[:, 2]
            assert np.array_equal(upright[int(v), int(u)], back.planes[0][y, x])


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", [1, 2, 5, 6, 7, 8])
def test_pillows_own_turning_of_tiff_is_undone(
    orientation: int, compression: str | None, tmp_path: Path
) -> None:
    pixels = noise(picture.RGB24, 9, 5)
    Image.fromarray(pixels).save(
        tmp_path / "a.tif", exif=Image.Exif(), tiffinfo={274: orientation}, compression=compression
    )
    back, info = read_image(tmp_path / "a.tif")
    assert info.orientation == orientation
    assert info.packed == (compression is not None)
    assert np.array_equal(back.planes[0], pixels)


# -- JPEG ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_keeps_its_tables_and_subsampling(subsampling: int, tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(
        tmp_path / "a.jpg", quality=71, subsampling=subsampling, progressive=True, comment=b"hi", dpi=(72, 96)
    )
    opened, info = read_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg", opened, info)
    with Image.open(tmp_path / "a.jpg") as a, Image.open(tmp_path / "b.jpg") as b:
        assert tables(a) == tables(b)
        assert JpegImagePlugin.get_sampling(a) == JpegImagePlugin.get_sampling(b) == subsampling
        assert b.info["progressive"]
        assert b.info["comment"] == b"hi"
        assert b.info["dpi"] == (72, 96)
        lost = np.abs(np.asarray(a).astype(int) - np.asarray(b))
    assert lost.mean() < 0.6
    write_image(tmp_path / "c.jpg", opened, info, quality=100)
    with Image.open(tmp_path / "c.jpg") as c:
        assert max(max(t) for t in tables(c).values()) == 1


def test_gray_jpeg_stays_gray(tmp_path: Path) -> None:
    Image.fromarray(smooth()[..., 0]).save(tmp_path / "a.jpg", quality=60)
    opened, info = read_image(tmp_path / "a.jpg")
    assert opened.layout == picture.GRAY
    write_image(tmp_path / "b.jpg", opened, info)
    with Image.open(tmp_path / "a.jpg") as a, Image.open(tmp_path / "b.jpg") as b:
        assert (b.mode, tables(a)) == ("L", tables(b))


def test_cmyk_becomes_srgb(tmp_path: Path) -> None:
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    opened, info = read_image(tmp_path / "a.jpg")
    assert opened.layout == picture.RGB24
    assert np.abs(opened.planes[0].astype(int) - smooth()).mean() < 3
    assert info.notes == ("its CMYK colours are converted to RGB without a profile",)
    write_image(tmp_path / "b.jpg", opened, info)
    with Image.open(tmp_path / "b.jpg") as seen:
        assert seen.mode == "RGB"


def cmyk_profile() -> bytes:
    """An ICC profile (ICC.1:2001-04, lut8Type) of odd inks: "cyan" prints as sRGB red, black as black."""
    corner = {0: (255, 128, 128), 8: (round(53.2 * 2.55), 128 + 80, 128 + 67)}  # paper; "cyan" alone
    colours = [corner.get(k, (0, 128, 128)) for k in range(16)]  # index bits: C M Y K, 8 bits of L, a, b
    unit = struct.pack(">9i", *(65_536 if k % 4 == 0 else 0 for k in range(9)))
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + unit + ramp * 4
    lut += b"".join(bytes(c) for c in colours) + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63_190, 65_536, 54_061)
    data, table = b"", struct.pack(">I", 2)
    for name, body in ((b"A2B0", lut), (b"wtpt", white)):
        table += name + struct.pack(">II", 128 + 4 + 24 + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    size = struct.pack(">I", 128 + len(table) + len(data))
    head = size + b"test" + bytes((2, 0x40, 0, 0)) + b"prtrCMYKLab " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63_190, 65_536, 54_061)
    return head.ljust(128, b"\0") + table + data


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_goes_through_its_profile(suffix: str, tmp_path: Path) -> None:
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 0], inks[:, 32:, 3] = 255, 255  # paper, "cyan", black
    picture_ = Image.fromarray(inks, "CMYK")
    if suffix == ".jpg":
        picture_.save(tmp_path / "a.jpg", icc_profile=cmyk_profile(), quality=100)
    else:
        picture_.save(tmp_path / "a.tif", icc_profile=cmyk_profile())
    opened, info = read_image(tmp_path / f"a{suffix}")
    shown = opened.planes[0][8, [8, 24, 40]].astype(int)
    assert np.abs(shown - [(255, 255, 255), (255, 0, 0), (0, 0, 0)]).max() <= 8
    assert info.icc == b""
    assert info.notes == ("its CMYK colours are converted to sRGB through its ICC profile",)


def test_cmyk_with_a_profile_of_something_else(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.jpg", icc_profile=srgb())
    opened, info = read_image(tmp_path / "a.jpg")
    assert info.notes == ("its CMYK colours are converted to RGB without a profile",)
    assert opened.planes[0].min() == 255


def test_the_thumbnail_of_the_old_face_goes_and_nothing_else(tmp_path: Path) -> None:
    block = exif(6, thumbnail=b"\xff\xd8OLDFACE\xff\xd9")
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    assert b"OLDFACE" in (tmp_path / "a.jpg").read_bytes()
    opened, info = read_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg", opened, info)
    data = (tmp_path / "b.jpg").read_bytes()
    assert b"OLDFACE" not in data
    start = data.index(b"MM\0*")
    differing = [k for k in range(len(block)) if data[start + k] != block[k]]
    assert set(differing) <= {*range(46, 50), *range(104, 115)}


def test_xmp_longer_than_a_segment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="longer than a JPEG holds"):
        write_image(tmp_path / "a.jpg", frame(smooth()), ImageInfo("jpeg"), xmp=b"x" * 70_000)
    assert list(tmp_path.iterdir()) == []
    write_image(tmp_path / "b.jpg", frame(smooth()), ImageInfo("jpeg"), xmp=b"x" * 65_502)
    with Image.open(tmp_path / "b.jpg") as seen:
        assert seen.info["xmp"] == b"x" * 65_502


# -- other kinds --------------------------------------------------------------------------------


def test_palette_bilevel_and_gray_with_alpha(tmp_path: Path) -> None:
    rgb = Image.fromarray(smooth())
    pal = rgb.quantize(64)
    half = rgb.convert("LA")
    half.putalpha(rgb.getchannel("R"))
    for name, image, mode in (("p", pal, "RGB"), ("1", rgb.convert("1"), "L"), ("la", half, "RGBA")):
        image.save(tmp_path / f"{name}.png")
        opened, _ = read_image(tmp_path / f"{name}.png")
        assert np.array_equal(opened.planes[0], np.asarray(image.convert(mode)))
    pal.save(tmp_path / "t.png", transparency=3)
    opened, _ = read_image(tmp_path / "t.png")
    assert np.array_equal(opened.planes[0][..., 3] == 0, np.asarray(pal) == 3)


def test_16_bit_gray_with_alpha_and_colour_key(tmp_path: Path) -> None:
    values = noise(LAYOUTS["gray16le"], 5, 4)
    both = np.stack([values, values[::-1]], 2)
    with (tmp_path / "la.png").open("wb") as file:
        png.write(file, both, ())
    opened, _ = read_image(tmp_path / "la.png")
    assert opened.layout == picture.RGBA64
    assert np.array_equal(opened.planes[0], both[..., [0, 0, 0, 1]])
    colour = noise(picture.RGB48, 5, 4)
    with (tmp_path / "key.png").open("wb") as file:
        png.write(file, colour, [(b"tRNS", colour[2, 3].astype(">u2").tobytes())])
    opened, _ = read_image(tmp_path / "key.png")
    assert np.array_equal(opened.planes[0][..., :3], colour)
    assert np.argwhere(opened.planes[0][..., 3] == 0).tolist() == [[2, 3]]


def test_png_colour_tags_and_texts_are_carried(tmp_path: Path) -> None:
    tags = [(b"gAMA", struct.pack(">I", 45455)), (b"tEXt", b"Title\0sea"), (b"cICP", bytes((9, 16, 0, 1)))]
    for layout in (picture.RGB24, picture.RGB48):
        with (tmp_path / "a.png").open("wb") as file:
            png.write(file, noise(layout), [*tags, (b"tEXt", b"Raw profile type exif\0x")])
        opened, info = read_image(tmp_path / "a.png")
        assert list(info.chunks) == tags
        write_image(tmp_path / "b.png", opened, info)
        with (tmp_path / "b.png").open("rb") as file:
            found = [c for c in png.chunks(file) if c[0] in {b"gAMA", b"tEXt", b"cICP"}]
        assert sorted(found) == sorted(tags)


def test_bits_and_transparency_lost_are_said(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129, 385, 386, 65535]], np.uint16)
    notes = write_image(tmp_path / "a.bmp", frame(deep), ImageInfo("png"))
    assert read_image(tmp_path / "a.bmp")[0].planes[0].tolist() == [[0, 0, 1, 1, 2, 255]]
    assert len(notes) == 2
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = 10, 20, 30, 255
    (note,) = write_image(tmp_path / "a.jpg", frame(clear), ImageInfo("png"), quality=100)
    assert "laid on white" in note
    assert read_image(tmp_path / "a.jpg")[0].planes[0][1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".bmp"])
def test_one_pixel(suffix: str, tmp_path: Path) -> None:
    write_image(
        tmp_path / f"a{suffix}", frame(np.full((1, 1, 3), 200, np.uint8)), ImageInfo("png"), quality=100
    )
    opened, _ = read_image(tmp_path / f"a{suffix}")
    assert opened.size == (1, 1)
    assert np.abs(opened.planes[0].astype(int) - 200).max() <= 1
