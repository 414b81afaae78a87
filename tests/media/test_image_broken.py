"""Still pictures that are empty, cut off or damaged, and places that cannot be written."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import MediaError
from mien.media import image_write, picture, png
from mien.media.image import ImageInfo, read_image, write_image
from tests.media.stills import RNG, frame, noise, smooth


def test_empty_text_and_absent(tmp_path: Path) -> None:
    (tmp_path / "e.png").touch()
    (tmp_path / "t.png").write_text("BM is how a bitmap begins, and this letter too")
    for name, words in (("e.png", "is empty"), ("t.png", "is no picture"), ("no.png", "cannot be opened")):
        with pytest.raises(MediaError, match=words) as caught:
            read_image(tmp_path / name)
        assert caught.value.subject == str(tmp_path / name)
        assert caught.value.advice


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".bmp", "16.png", "16.tif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_cut_off_files_are_errors(suffix: str, share: float, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (96, 128, 3), np.uint8)
    whole = tmp_path / f"a{suffix}"
    write_image(whole, frame(pixels.astype(np.uint16) * 257 if "16" in suffix else pixels), ImageInfo("png"))
    cut = tmp_path / f"b{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(MediaError) as caught:
        read_image(cut)
    if suffix in {".png", ".jpg", ".webp", "16.png"}:
        assert "is cut off" in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_damage_in_16_bit_samples_is_an_error(suffix: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"a{suffix}", frame(noise(picture.RGB48, 64, 64)), ImageInfo("png"))
    data = bytearray((tmp_path / f"a{suffix}").read_bytes())
    data[len(data) // 2] ^= 0x55
    (tmp_path / f"a{suffix}").write_bytes(data)
    with pytest.raises(MediaError, match="is damaged"):
        read_image(tmp_path / f"a{suffix}")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    with (tmp_path / "a.png").open("wb") as file:
        file.write(png.SIGNATURE)
        png.write_chunk(file, b"IHDR", head)
        png.write_chunk(file, b"IDAT", zlib.compress(bytes(100_000)))
        png.write_chunk(file, b"IEND", b"")
    with pytest.raises(MediaError, match="more pixels than the 268 million allowed"):
        read_image(tmp_path / "a.png")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(*_: Any) -> tuple[str, ...]:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(image_write.WRITERS, "png", full)
    with pytest.raises(MediaError, match="disk is full"):
        write_image(path, frame(smooth()), ImageInfo("png"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_places_and_names(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "no" / "a.png", "folder does not exist"),
        (tmp_path / "a.xyz", "no ending of a picture"),
        (tmp_path / f"{'x' * 300}.png", "too long a name"),
    ):
        with pytest.raises(MediaError, match=words):
            write_image(path, frame(smooth()), ImageInfo("png"))
    (tmp_path / "d.png").mkdir()
    with pytest.raises(MediaError, match="is a folder"):
        write_image(tmp_path / "d.png", frame(smooth()), ImageInfo("png"))
    with pytest.raises(MediaError, match="16383 pixels a side"):
        write_image(tmp_path / "a.webp", frame(np.zeros((1, 17_000, 3), np.uint8)), ImageInfo("png"))


def test_a_long_unicode_name_and_its_rights_are_kept(tmp_path: Path) -> None:
    path = tmp_path / ("ñ漢" * 50 + ".png")
    write_image(path, frame(smooth()), ImageInfo("png"))
    path.chmod(0o640)
    write_image(path, frame(smooth()), ImageInfo("png"))
    assert path.stat().st_mode & 0o777 == 0o640


def test_real_pictures(shared: Path) -> None:
    turned, info = read_image(shared / "media" / "l20_exif_orientation6_noface.jpg")
    assert info.orientation == 6
    assert turned.planes[0].shape == (1200, 1800, 3) or turned.size == (1200, 1800)
    with Image.open(shared / "media" / "pd01_astronaut.png") as seen:
        expected = np.asarray(seen.convert("RGB"))
    assert np.array_equal(read_image(shared / "media" / "pd01_astronaut.png")[0].planes[0], expected)


@pytest.mark.slow
def test_100_megapixels_in_bounded_memory(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = (
        "import numpy as np, pathlib, resource\n"
        "from mien.media.image import read_image, write_image\n"
        f"p = pathlib.Path({str(tmp_path)!r})\n"
        "f, i = read_image(p / 'a.jpg'); f.planes[0][:5, :5] = 0; write_image(p / 'b.jpg', f, i)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    Image.new("RGB", (12_000, 8_500), (90, 120, 40)).save(tmp_path / "a.jpg")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 12_000 * 8_500 * 7 + (250 << 20)
