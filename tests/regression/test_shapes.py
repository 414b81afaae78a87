"""Whatever the picture's shape, turn, depth and colours: only the face changes, and it sits where it was."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest

from mien.settings import Encode, Settings
from tests.media.makers import ROTATE_90, Sound
from tests.regression import scenes
from tests.regression.running import change, changed, frames, mien, packets, pictures, planes, swap, times

LOSSLESS = Settings(encode=Encode(codec="ffv1"))
ROTATE_180 = (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30)
ROTATE_270 = (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "tags"),
    [
        ("libx264", "yuv420p", ".mp4", (0, 2, 2, 2)),
        ("libx264", "yuvj420p", ".mp4", (2, 5, 6, 5)),
        ("ffv1", "yuv422p", ".mkv", (1, 1, 1, 1)),
        ("ffv1", "yuv444p", ".mkv", (2, 1, 1, 1)),
        ("ffv1", "yuv420p10le", ".mkv", (1, 9, 16, 9)),
        ("ffv1", "yuv422p10le", ".mkv", (1, 1, 1, 1)),
        ("ffv1", "yuv444p12le", ".mkv", (1, 9, 14, 9)),
        ("ffv1", "gray", ".mkv", (2, 2, 2, 2)),
        ("ffv1", "bgra", ".mkv", (2, 0, 2, 2)),
        ("libx264rgb", "rgb24", ".mp4", (2, 0, 13, 1)),
        ("rawvideo", "nv12", ".nut", (0, 2, 2, 2)),
    ],
)
def test_samples_away_from_the_face_are_the_inputs(
    codec: str,
    pix_fmt: str,
    suffix: str,
    tags: tuple[int, int, int, int],
    home: Path,
    faces: Path,
    tmp_path: Path,
) -> None:
    shots = scenes.talking("astronaut", 3, height=0.45)
    recipe: dict[str, Any] = {"options": {}} if codec != "libx264" else {}
    clip = scenes.film(tmp_path / f"in{suffix}", shots, codec=codec, pix_fmt=pix_fmt, tags=tags, **recipe)
    output = tmp_path / "out.mkv"
    ran = swap(faces / "hopper.png", clip, output, settings=LOSSLESS)
    assert ran.finished.faces == 3
    for before, after in zip(frames(clip), frames(output), strict=True):
        if pix_fmt not in ("rgb24", "nv12"):
            assert after.format.name == before.format.name.replace("yuvj", "yuv")  # the range is a tag there
        else:  # ffv1 stores these samples in another order
            before, after = (
                f.reformat(format={"nv12": "yuv420p", "rgb24": "gbrp"}[pix_fmt]) for f in (before, after)
            )
        inside = 0
        for one, two in zip(planes(before), planes(after), strict=True):
            assert one.shape == two.shape
            height, width = one.shape
            differ = one != two
            inside += int(differ.sum())
            differ[int(0.2 * height) : int(0.8 * height), int(0.32 * width) : int(0.68 * width)] = False
            assert not differ.any()
        assert inside > 2000
    colour = [(f.color_range, f.colorspace, f.color_trc, f.color_primaries) for f in (before, after)]
    assert tags[0] == 0 or colour[0] == colour[1]


def test_quality_100_is_lossless(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 3, height=0.45))
    exact = Settings(encode=Encode(quality=100, preset="fastest"))
    swap(faces / "hopper.png", clip, tmp_path / "out.mp4", settings=exact)
    swap(faces / "hopper.png", clip, tmp_path / "out.mkv", settings=LOSSLESS)
    for one, two in zip(frames(tmp_path / "out.mp4"), frames(tmp_path / "out.mkv"), strict=True):
        for a, b in zip(planes(one), planes(two), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("turn", "matrix", "suffix"),
    [(90, ROTATE_90, ".mp4"), (180, ROTATE_180, ".mov"), (270, ROTATE_270, ".mp4"), (90, ROTATE_90, ".mkv")],
    ids=["90", "180", "270", "90 mkv"],
)
def test_turned(
    turn: int, matrix: tuple[int, ...], suffix: str, home: Path, faces: Path, tmp_path: Path
) -> None:
    """A phone's video, coded lying: the same face changes in the same place as in the upright one."""
    upright = scenes.talking("astronaut", 3, (180, 320), 0.35)
    lying = [np.ascontiguousarray(np.rot90(picture, turn // 90)) for picture in upright]
    straight = scenes.film(tmp_path / f"straight{suffix}", upright)
    clip = scenes.film(tmp_path / f"in{suffix}", lying, matrix=matrix, sounds=[Sound(0, 0.1)])
    swap(faces / "hopper.png", straight, tmp_path / f"s{suffix}")
    ran = swap(faces / "hopper.png", clip, tmp_path / f"out{suffix}")
    assert ran.finished.faces == 3
    (before, *_), (after, *_) = frames(clip), frames(tmp_path / f"out{suffix}")
    assert before.rotation == after.rotation
    assert before.rotation % 180 == turn % 180
    assert (after.width, after.height) == (before.width, before.height)
    maps = []
    for one, two, turns in ((straight, f"s{suffix}", 0), (clip, f"out{suffix}", -turn // 90)):
        pairs = zip(pictures(one), pictures(tmp_path / two), strict=True)
        maps.append([np.rot90(change(a, b), turns) for a, b in pairs])
    for here, there in zip(*maps, strict=True):
        assert (here > 24).sum() > 150
        assert np.corrcoef(here.ravel(), there.ravel())[0, 1] > 0.9


def test_pixels_that_are_not_square(home: Path, faces: Path, tmp_path: Path) -> None:
    """Pixels twice as wide as high: the same change as in square ones (0.98; as square ones, 0.80)."""
    wide = scenes.talking("astronaut", 3, height=0.8)
    narrow = [cv2.resize(at, (at.shape[1] // 2, at.shape[0]), interpolation=cv2.INTER_AREA) for at in wide]
    square = scenes.film(tmp_path / "square.mp4", wide)
    clip = scenes.film(tmp_path / "in.mp4", [np.asarray(at, np.uint8) for at in narrow], sar=Fraction(2))
    maps = []
    for path in (square, clip):
        output = tmp_path / f"{path.stem}_out.mp4"
        ran = swap(faces / "hopper.png", path, output)
        assert ran.finished.faces == 3
        maps.append([change(a, b) for a, b in zip(pictures(path), pictures(output), strict=True)])
    with av.open(str(output)) as container:
        assert container.streams.video[0].sample_aspect_ratio == 2
    for whole, part in zip(*maps, strict=True):
        one, two = (cv2.GaussianBlur(at.astype(np.float32), (0, 0), 3) for at in (whole, part))
        one = cv2.resize(one, part.shape[::-1], interpolation=cv2.INTER_AREA)
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.92


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "given", "wanted", "padded"),
    [
        ("libvpx-vp9", "yuv420p", ".webm", ".webm", False),
        ("mjpeg", "yuvj420p", ".mov", ".mp4", True),
        ("libx264", "yuv444p", ".mp4", ".mp4", False),
    ],
)
def test_odd_sides(
    codec: str, pix_fmt: str, given: str, wanted: str, padded: bool, home: Path, faces: Path, tmp_path: Path
) -> None:
    shots = scenes.talking("astronaut", 3, (853, 481), 0.4)
    options = {"deadline": "realtime", "cpu-used": "8", "crf": "20"} if "vp9" in codec else {}
    clip = scenes.film(tmp_path / f"in{given}", shots, codec=codec, pix_fmt=pix_fmt, options=options)
    settings = Settings(encode=Encode(preset="fastest", codec="h264" if padded else "auto"))
    output = tmp_path / f"out{wanted}"
    ran = swap(faces / "hopper.png", clip, output, settings=settings)
    assert ran.finished.faces == 3
    assert ("853x481 is padded to 854x482" in ran.notes) == padded
    for a, b in zip(pictures(clip), pictures(output), strict=True):
        assert b.shape == ((482, 854, 3) if padded else (481, 853, 3))
        assert changed(a, b[:481, :853]) > 1500
        assert changed(a[:, :200], b[:481, :200]) < 20


def test_hdr10(home: Path, faces: Path, tmp_path: Path) -> None:
    light = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    params = f"log-level=error:hdr10=1:master-display={light}:max-cll=1000,400:pools=1"
    clip = scenes.film(
        tmp_path / "in.mp4",
        scenes.talking("astronaut", 3),
        codec="libx265",
        pix_fmt="yuv420p10le",
        tags=(1, 9, 16, 9),
        options={"preset": "ultrafast", "crf": "8", "x265-params": params},
    )
    output = tmp_path / "out.mp4"
    ran = swap(faces / "hopper.png", clip, output)
    assert (ran.finished.faces, ran.notes) == (3, "")
    facts = []
    for path in (clip, output):
        frame = next(frames(path))
        codes = (frame.color_range, frame.colorspace, frame.color_trc, frame.color_primaries)
        side = [
            (str(item.type), bytes(item))
            for item in cast("Iterable[Any]", frame.side_data)
            if any(word in str(item.type) for word in ("MASTERING", "LIGHT"))
        ]
        facts.append((frame.format.name, codes, sorted(side)))
    assert facts[0] == facts[1]
    assert facts[0][0] == "yuv420p10le"
    assert len(facts[0][2]) == 2
    (one, *_), (two, *_) = pictures(clip), pictures(output)
    assert changed(one, two) > 150
    assert changed(one[:, :60], two[:, :60]) < 20


def test_full_range_without_subsampling(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(
        tmp_path / "in.mp4", scenes.talking("astronaut", 3), pix_fmt="yuvj444p", tags=(2, 5, 6, 5)
    )
    output = tmp_path / "out.mp4"
    ran = swap(faces / "hopper.png", clip, output)
    assert ran.notes == ""
    (one, *_), (two, *_) = frames(clip), frames(output)
    assert two.format.name == one.format.name == "yuvj444p"
    assert two.color_range == one.color_range == 2
    for a, b in zip(pictures(clip), pictures(output), strict=True):
        assert abs(float(a[:40].mean() - b[:40].mean())) < 0.5, "neither washed out nor crushed"
        assert changed(a, b) > 150


def test_interlaced_is_refused_with_what_to_do(home: Path, faces: Path, tmp_path: Path) -> None:
    options = {"x264-params": "interlaced=1", "flags": "+ilme+ildct"}
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 3, (320, 192)), options=options)
    output = tmp_path / "out.mp4"
    done = mien("swap", "--source", faces / "hopper.png", "--target", clip, "-o", output, home=home)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "in.mp4: is interlaced. Deinterlace it first" in done.stderr
    assert not output.exists()
    done = mien("analyse", "--target", clip, "-o", tmp_path / "c.tracks", home=home)
    assert (done.returncode, "is interlaced" in done.stderr) == (3, True)


def test_new_size(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 3), sounds=[Sound(0, 0.1)])
    output = tmp_path / "out.mp4"
    settings = Settings(encode=Encode(preset="fastest", size="240x136", codec="hevc"))
    swap(faces / "hopper.png", clip, output, settings=settings)
    with av.open(str(output)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height, video.codec_context.name) == (240, 136, "hevc")
    assert times(output) == times(clip)
    assert packets(output, "audio") == packets(clip, "audio")
