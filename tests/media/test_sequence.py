from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.errors import MediaError
from mien.media.sequence import _natural, expand, format_of, is_image, kind, outputs


def picture(path: Path, form: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path, form)
    return path


@pytest.mark.parametrize(
    ("form", "name"),
    [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp"), ("TIFF", "tiff"), ("AVIF", "avif"), ("BMP", "bmp")],
)
def test_content_decides_not_the_name(form: str, name: str, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.mp4", form)
    assert format_of(path) == name
    assert kind(path) == "image"
    assert is_image(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"B", b"BM", b"BM is how a bitmap begins", b"hello", b"RIFF\0\0\0\0WAVE", b"GIF8"],
)
def test_what_is_no_picture(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    assert format_of(tmp_path / "a.png") is None
    assert kind(tmp_path / "a.png") == "other"


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations_are_told_from_stills(form: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (k * 80, 0, 0)) for k in range(3)]
    frames[0].save(tmp_path / "a", form, save_all=True, append_images=frames[1:], duration=50)
    assert kind(tmp_path / "a") == "animation"
    assert not is_image(tmp_path / "a")


def test_folders_hold_their_own_pictures_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10.png", "b2.png", "A1.png", "sub/c.png", ".hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.png").write_text("text")
    assert [p.name for p in expand(tmp_path)] == ["A1.png", "b2.png", "b10.png"]
    assert [p.name for p in expand(str(tmp_path))] == ["A1.png", "b2.png", "b10.png"]
    assert kind(tmp_path) == "sequence"


def test_globs_and_numbers(tmp_path: Path) -> None:
    for name in ("f_0001.png", "f_0002.png", "f_10000.png", "f_00003.png", "f_x.png", "sub/f_0001.png"):
        picture(tmp_path / name)
    assert [p.name for p in expand(tmp_path / "f_%04d.png")] == ["f_0001.png", "f_0002.png", "f_10000.png"]
    assert expand(tmp_path / "f_####.png") == expand(tmp_path / "f_%04d.png")
    assert [p.name for p in expand(tmp_path / "f_000?.png")] == ["f_0001.png", "f_0002.png"]
    assert len(expand(tmp_path / "**" / "f_0001.png")) == 2
    assert kind(tmp_path / "f_%04d.png") == kind(tmp_path / "*.png") == "sequence"


def test_a_name_with_wildcards_that_exists_is_a_file(tmp_path: Path) -> None:
    path = picture(tmp_path / "odd[1]#.png")
    assert expand(path) == [path]
    assert kind(path) == "image"


def test_names_the_system_refuses(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300 + ".png")
    with pytest.raises(MediaError, match="cannot be opened: File name too long"):
        kind(long)
    with pytest.raises(MediaError, match="does not exist"):
        expand(long)


def test_a_wildcard_in_a_folders_name(tmp_path: Path) -> None:
    picture(tmp_path / "a1" / "x.png")
    picture(tmp_path / "a2" / "x.png")
    assert kind(tmp_path / "a?" / "x.png") == "sequence"
    found = expand(tmp_path / "a?" / "x.png")
    assert [p.parent.name for p in found] == ["a1", "a2"]
    out = tmp_path / "out"
    assert outputs(tmp_path / "a?" / "x.png", found, out) == [out / "a1" / "x.png", out / "a2" / "x.png"]


def test_nothing_found(tmp_path: Path) -> None:
    for target, words in (
        (tmp_path, "holds no still picture"),
        (tmp_path / "*.png", "holds no still picture"),
        (tmp_path / "no.png", "does not exist"),
    ):
        with pytest.raises(MediaError, match=words):
            expand(target)


def test_outputs(tmp_path: Path) -> None:
    found = [picture(tmp_path / "in" / f"f_{n:04d}.png") for n in (7, 8)]
    out = tmp_path / "out"
    assert outputs(tmp_path / "in", found, out) == [out / "f_0007.png", out / "f_0008.png"]
    numbered = tmp_path / "in" / "f_%04d.png"
    assert outputs(numbered, found, out / "g%02d.jpg") == [out / "g07.jpg", out / "g08.jpg"]
    assert outputs(tmp_path / "in", found, out / "g##.jpg") == [out / "g01.jpg", out / "g02.jpg"]
    assert outputs(found[0], found[:1], tmp_path / "one.png") == [tmp_path / "one.png"]
    deep = [*found, picture(tmp_path / "in" / "sub" / "a.png")]
    assert outputs(tmp_path / "in" / "**" / "*.png", deep, out)[2] == out / "sub" / "a.png"
    with pytest.raises(MediaError, match="one file for 2 pictures"):
        outputs(tmp_path / "in", found, tmp_path / "one.png")


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_natural_order_is_the_numbers_order(numbers: list[int]) -> None:
    names = sorted((Path(f"shot{n}.png") for n in numbers), key=_natural)
    assert names == [Path(f"shot{n}.png") for n in sorted(numbers)]
