from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from mien.errors import MediaError
from mien.media import animation as module
from mien.media import png
from mien.media.animation import Animation, frames, read_animation, write_animation
from mien.media.picture import ImageInfo
from mien.types import Array

XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/">é &amp; so on \x01\xff</x:xmpmeta>'.encode()


def pictures(count: int = 5, width: int = 40, height: int = 30) -> list[Array]:
    """A square that moves and changes colour; no two are equal, since Pillow merges equal frames."""
    found = []
    for k in range(count):
        a = np.full((height, width, 3), (20, 60, 90), np.uint8)
        a[5:15, 3 * k : 10 + 3 * k] = (200, 10, 40 + k)
        found.append(a)
    return found


def make(path: Path, durations: list[int], **options: Any) -> list[Array]:
    arrays = pictures(len(durations))
    images = [Image.fromarray(a) for a in arrays]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, **options)
    return arrays


def copy(source: Path, target: Path) -> tuple[Animation, Animation, tuple[str, ...]]:
    before = read_animation(source)
    notes = write_animation(target, frames(before), before)
    return before, read_animation(target), notes


def seen(path: Path) -> tuple[list[Array], list[float], int | None]:
    """What Pillow alone makes of a file: pictures, durations in ms, its loop number."""
    with Image.open(path) as image:
        found, durations = [], []
        for picture in ImageSequence.Iterator(image):
            found.append(np.asarray(picture.convert("RGBA")))
            durations.append(float(picture.info["duration"]))
        return found, durations, image.info.get("loop")


@pytest.mark.parametrize(("suffix", "options"), [(".gif", {}), (".webp", {"lossless": True}), (".png", {})])
@pytest.mark.parametrize("loop", [0, 3])
def test_frames_durations_and_loops_survive(
    suffix: str, options: dict[str, Any], loop: int, tmp_path: Path
) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    make(source, [40, 70, 100, 1000], loop=loop, **options)
    before, after, notes = copy(source, target)
    assert notes == ()
    assert (
        before.durations == after.durations == (40, 70, 100, 1000)[: len(before.durations)]
        or suffix == ".gif"
    )
    assert (before.plays, before.size, before.time_base) == (after.plays, after.size, after.time_base)
    assert before.plays == (loop + 1 if suffix == ".gif" and loop else loop)
    assert seen(source)[1:] == seen(target)[1:]
    assert seen(target)[1] == [float(d) for d in after.durations]
    for a, b in zip(seen(source)[0], seen(target)[0], strict=True):
        assert np.array_equal(a, b)
    for k, (frame, a) in enumerate(zip(frames(after), seen(source)[0], strict=True)):
        assert (frame.index, frame.pts) == (k, sum(after.durations[:k]))
        assert np.array_equal(frame.planes[0], a[..., : frame.planes[0].shape[2]])
        assert frame.planes[0].flags.writeable


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
def test_equal_frames_are_not_merged(suffix: str, tmp_path: Path) -> None:
    make(tmp_path / "a.png", [30, 40, 50, 60, 70])
    source = read_animation(tmp_path / "a.png")
    still = [next(iter(frames(source)))] * 5
    path = tmp_path / f"b{suffix}"
    write_animation(path, still, source, quality=100)
    again = read_animation(path)
    assert [d * again.time_base for d in again.durations] == [d * source.time_base for d in source.durations]
    for frame in frames(again):
        assert np.array_equal(frame.planes[0][..., :3], still[0].planes[0])


def test_only_edited_samples_differ_in_a_lossless_animation(tmp_path: Path) -> None:
    arrays = make(tmp_path / "a.png", [20] * 4)
    source = read_animation(tmp_path / "a.png")

    def edited() -> Any:
        for frame in frames(source):
            frame.planes[0][20:22, 30:33] = 255
            yield frame

    write_animation(tmp_path / "a.png", edited(), source)  # onto itself, while it is being read
    for a, frame in zip(arrays, frames(read_animation(tmp_path / "a.png")), strict=True):
        changed = np.argwhere((frame.planes[0] != a).any(axis=2))
        assert changed.min(0).tolist() == [20, 30]
        assert changed.max(0).tolist() == [21, 32]


@settings(max_examples=30)
@given(st.lists(st.fractions(Fraction(1, 1000), 30, max_denominator=2000), min_size=1, max_size=12))
def test_rounded_times_do_not_drift(seconds: list[Fraction]) -> None:
    unit = Fraction(1, 100)
    ticks = module._ticks(seconds, unit)
    for k in range(len(seconds) + 1):
        assert abs(sum(ticks[:k]) * unit - sum(seconds[:k])) <= unit / 2


def test_fractions_of_a_second_stay_exact_in_apng(tmp_path: Path) -> None:
    base = Animation(
        tmp_path / "a.png",
        ImageInfo("png"),
        (40, 30),
        (1001, 1001, 2002),
        Fraction(1, 30_000),
        0,
        alpha=False,
    )
    still = [np.array(a) for a in pictures(3)]
    make(tmp_path / "s.png", [10, 10, 10])
    given_frames = list(frames(read_animation(tmp_path / "s.png")))
    assert write_animation(tmp_path / "a.png", given_frames, base) == ()
    after = read_animation(tmp_path / "a.png")
    assert [d * after.time_base for d in after.durations] == [Fraction(1001, 30_000)] * 2 + [
        Fraction(1001, 15_000)
    ]
    assert all(np.array_equal(f.planes[0], a) for f, a in zip(frames(after), still, strict=True))
    notes = write_animation(tmp_path / "b.gif", frames(after), after)
    assert "steps of 1/100 s" in notes[0]
    assert read_animation(tmp_path / "b.gif").durations == (30, 40, 60)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_metadata_is_kept_and_replaced(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    make(tmp_path / "a.webp", [50, 50], icc_profile=b"icc" * 200, exif=exif, xmp=XMP, lossless=True)
    source = read_animation(tmp_path / "a.webp")
    assert next(iter(frames(source))).size == (30, 40)
    write_animation(tmp_path / f"b{suffix}", frames(source), source)
    after = read_animation(tmp_path / f"b{suffix}")
    assert (after.info.icc, after.info.xmp) == (b"icc" * 200, XMP)
    assert after.info.orientation == (1 if suffix == ".gif" else 6)
    write_animation(tmp_path / f"c{suffix}", frames(source), source, xmp=b"<new/>")
    assert read_animation(tmp_path / f"c{suffix}").info.xmp == b"<new/>"
    with Image.open(tmp_path / f"c{suffix}") as image:
        assert getattr(image, "n_frames", 0) == 2
        if suffix != ".gif":
            assert image.info["xmp"] == b"<new/>"
            assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_transparency_survives(suffix: str, tmp_path: Path) -> None:
    shown = []
    for k in range(4):
        a = np.zeros((20, 24, 4), np.uint8)
        a[4:12, 2 + 3 * k : 9 + 3 * k] = (200, 30 * k, 10, 255)
        shown.append(a)
    images = [Image.fromarray(a) for a in shown]
    images[0].save(
        tmp_path / f"a{suffix}",
        save_all=True,
        append_images=images[1:],
        duration=50,
        disposal=2,
        loop=0,
        lossless=True,
        exact=True,
    )
    copy(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    for a, b in zip(seen(tmp_path / f"b{suffix}")[0], shown, strict=True):
        assert np.array_equal(a[..., 3], b[..., 3])
        assert np.array_equal(a[a[..., 3] > 0], b[b[..., 3] > 0])


def test_partial_gif_frames_are_composed(tmp_path: Path) -> None:
    arrays = pictures(4)
    images = [Image.fromarray(a).quantize(8) for a in arrays]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=100, disposal=1)
    made = read_animation(tmp_path / "a.gif")
    for frame, image in zip(frames(made), seen(tmp_path / "a.gif")[0], strict=True):
        assert np.array_equal(frame.planes[0], image)


def test_gif_with_more_than_256_colours_is_near(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    a = np.stack([x * 4, y * 4, (x + y) * 2], 2).astype(np.uint8)
    images = [Image.fromarray(a), Image.fromarray(a[::-1])]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=100)
    copy(tmp_path / "a.png", tmp_path / "b.gif")
    for got, want in zip(seen(tmp_path / "b.gif")[0], (a, a[::-1]), strict=True):
        assert np.abs(got[..., :3].astype(int) - want).mean() < 8


def test_an_apngs_still_picture_is_left_out_and_said(tmp_path: Path) -> None:
    images = [Image.fromarray(a) for a in pictures(3)]
    Image.new("RGB", (40, 30), (1, 2, 3)).save(
        tmp_path / "a.png", save_all=True, append_images=images, duration=80, default_image=True
    )
    source = read_animation(tmp_path / "a.png")
    assert len(source.durations) == 3
    assert np.array_equal(next(iter(frames(source))).planes[0], pictures(3)[0])
    assert "still picture" in write_animation(tmp_path / "b.png", frames(source), source)[0]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_cut_off(suffix: str, share: float, tmp_path: Path) -> None:
    make(tmp_path / f"a{suffix}", [50] * 5)
    data = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MediaError, match="cut off"):
        list(frames(read_animation(tmp_path / f"a{suffix}")))


def test_no_animation_and_wrong_names(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "still.png")
    with pytest.raises(MediaError, match="no animation"):
        read_animation(tmp_path / "still.png")
    make(tmp_path / "a.gif", [50, 50])
    source = read_animation(tmp_path / "a.gif")
    with pytest.raises(MediaError, match="no ending of an animation"):
        write_animation(tmp_path / "b.jpg", frames(source), source)
    with pytest.raises(ValueError, match="expected 2, got 1"):
        write_animation(tmp_path / "b.gif", list(frames(source))[:1], source)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gif", "still.png"]


def test_sequence_numbers_of_apng_are_gapless(tmp_path: Path) -> None:
    make(tmp_path / "a.png", [50] * 4)
    copy(tmp_path / "a.png", tmp_path / "b.png")
    with (tmp_path / "b.png").open("rb") as file:
        numbers = [struct.unpack_from(">I", d)[0] for n, d in png.chunks(file) if n in {b"fcTL", b"fdAT"}]
    assert numbers == list(range(len(numbers)))
