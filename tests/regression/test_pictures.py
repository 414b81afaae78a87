"""Pictures as people have them: without a face, with six, CMYK, 16 bits, one pixel, a hundred megapixels."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.errors import MediaError, NoFaceError
from mien.media.image import read_image
from mien.run import verbs
from mien.settings import Detect, Settings
from mien.types import Array
from tests.regression import scenes
from tests.regression.running import changed, job, mien, pictures, swap

SURE = Settings(detect=Detect(score=0.7))
"""Finds the six faces of the picture of six, and nothing else."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.film(tmp_path_factory.mktemp("clip") / "in.mp4", scenes.talking("astronaut", 3))


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wall = Image.new("RGB", (900, 700), (90, 110, 140))
    face = scenes.portrait("hopper").resize((280, 328))
    for k in range(6):
        wall.paste(face, ((k % 3) * 300 + 10, (k // 3) * 350 + 10))
    path = tmp_path_factory.mktemp("six") / "six.png"
    wall.save(path)
    return path


def deep(path: Path) -> Path:
    """Hopper in 16 bits a component, none of them a multiple of 257."""
    frame, _ = read_image(path)
    samples = frame.planes[0].astype(np.uint16) * 256 + 37
    picture = av.VideoFrame.from_ndarray(samples, format="rgb48le")
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, "rgb48be"
    codec.time_base = Fraction(1)
    data = b"".join(
        bytes(p) for p in [*codec.encode(picture.reformat(format="rgb48be")), *codec.encode(None)]
    )
    made = path.with_name("deep.png")
    made.write_bytes(data)
    return made


def cmyk(folder: Path) -> Path:
    scenes.portrait("hopper").convert("CMYK").save(folder / "print.jpg", quality=95)
    return folder / "print.jpg"


def result(path: Path) -> Array:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int16)


RARE = [pytest.param(form, marks=pytest.mark.slow) for form in ("gray", "rgba", "palette", "webp", "tiff")]


@pytest.mark.parametrize("form", ["cmyk", "16 bit", "exif", *RARE])
def test_source_in_any_form(form: str, clip: Path, home: Path, tmp_path: Path) -> None:
    """The same face, however it is stored, gives about the same result."""
    portrait = scenes.portrait("hopper")
    path = tmp_path / {"webp": "s.webp", "tiff": "s.tif", "exif": "s.jpg"}.get(form, "s.png")
    if form == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        portrait.rotate(90, expand=True).save(path, exif=exif, quality=95)
    elif form == "cmyk":
        path = cmyk(tmp_path)
    elif form == "16 bit":
        portrait.save(path)
        path = deep(path)
    else:
        mode = {"gray": "L", "rgba": "RGBA", "palette": "P"}.get(form, "RGB")
        portrait.convert(mode).save(path)
    portrait.save(tmp_path / "plain.png")
    swap(tmp_path / "plain.png", clip, tmp_path / "plain.mp4")
    swap(path, clip, tmp_path / "out.mp4")
    for before, plain, after in zip(
        pictures(clip), pictures(tmp_path / "plain.mp4"), pictures(tmp_path / "out.mp4"), strict=True
    ):
        assert changed(before, after) > 150
        if form != "gray":
            assert changed(plain, after) < 60


def test_source_without_a_face(clip: Path, home: Path, tmp_path: Path) -> None:
    Image.fromarray(scenes.empty(1)[0]).save(tmp_path / "wall.jpg")
    output = tmp_path / "out.mp4"
    done = mien("swap", "--source", tmp_path / "wall.jpg", "--target", clip, "-o", output, home=home)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert "wall.jpg: shows no face. Give a source where" in done.stderr
    assert not output.exists()


def test_source_with_six_faces(six: Path, clip: Path, home: Path, tmp_path: Path) -> None:
    ran = swap(six, clip, tmp_path / "out.mp4", settings=SURE)
    assert ran.notes == "six.png: shows 6 faces; the largest is used"
    (before, *_), (after, *_) = pictures(clip), pictures(tmp_path / "out.mp4")
    assert changed(before, after) > 150


def test_one_source_of_several_without_a_face(clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """Which of them is of no use is said by its name."""
    Image.fromarray(scenes.empty(1)[0]).save(tmp_path / "wall.jpg")
    sources = [faces / "hopper.png", tmp_path / "wall.jpg"]
    done = mien("swap", "--source", *sources, "--target", clip, "-o", tmp_path / "out.mp4", home=home)
    assert done.returncode == 4
    assert "wall.jpg: shows no face" in done.stderr


@pytest.mark.parametrize("role", ["source", "target"])
def test_one_pixel(role: str, home: Path, faces: Path, tmp_path: Path) -> None:
    dot, portrait, output = tmp_path / "dot.png", faces / "hopper.png", tmp_path / "out.png"
    Image.new("RGB", (1, 1), (200, 150, 120)).save(dot)
    source, target = (dot, portrait) if role == "source" else (portrait, dot)
    with pytest.raises(NoFaceError, match=r"dot\.png: shows no face"):
        list(verbs.swap(job(source, target, output)))
    assert not output.exists()


def test_target_with_six_faces(six: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    for word, count in (("all", 6), ("prominent", 1), ("right", 1)):
        output = tmp_path / f"{word}.png"
        ran = swap(faces / "astronaut.png", six, output, faces=word, settings=SURE)
        assert ran.finished.faces == count
        differ = changed(result(six), result(output), 0)
        assert differ > 4000 * count


def test_target_cmyk(home: Path, faces: Path, tmp_path: Path) -> None:
    target = cmyk(tmp_path)
    output = tmp_path / "out.jpg"
    ran = swap(faces / "astronaut.png", target, output)
    assert ran.finished.faces == 1
    assert "sRGB" in ran.notes or "RGB" in ran.notes
    before, after = result(target), result(output)
    assert changed(before, after) > 1500
    assert changed(before[:60], after[:60], 40) < 50


def test_target_of_16_bits(home: Path, faces: Path, tmp_path: Path) -> None:
    portrait = tmp_path / "hopper.png"
    scenes.portrait("hopper").save(portrait)
    target, output = deep(portrait), tmp_path / "out.png"
    swap(faces / "astronaut.png", target, output)
    before, after = read_image(target)[0], read_image(output)[0]
    assert before.layout == after.layout
    assert before.layout.depth == 16
    differ = (before.planes[0] != after.planes[0]).any(axis=2)
    assert 15_000 < differ.sum() < 60_000
    assert not differ[:60].any()
    assert not differ[:, :60].any()


def test_picture_cut_off(home: Path, faces: Path, clip: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        scenes.portrait("hopper").save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        for size in (0, 10, len(data) // 2):
            (tmp_path / name).write_bytes(data[:size])
            for source, target in ((tmp_path / name, clip), (faces / "hopper.png", tmp_path / name)):
                with pytest.raises(MediaError, match=name):
                    list(verbs.swap(job(source, target, tmp_path / f"out{target.suffix}")))


def test_text_named_png(home: Path, faces: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("Dear diary, nothing." * 50)
    done = mien("swap", "--source", tmp_path / "a.png", "--target", clip, "-o", tmp_path / "o.mp4", home=home)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "a.png" in done.stderr


HUGE = """
import resource, sys
from pathlib import Path
from mien.run import verbs
from mien.settings import Job
for event in verbs.swap(Job.model_validate_json(sys.argv[1])):
    pass
print(event.frames, event.faces, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("role", ["source", "target"])
def test_a_hundred_megapixels(role: str, clip: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """It takes its time, not all memory: the picture itself is 300 MB."""
    huge = tmp_path / "huge.jpg"
    wall = scenes.portrait("hopper").resize((10240, 12000), Image.Resampling.BILINEAR)
    wall.crop((0, 0, 10240, 10000)).save(huge, quality=90)
    source, target = (huge, clip) if role == "source" else (faces / "astronaut.png", huge)
    output = tmp_path / f"out{target.suffix}"
    work = job(source, target, output)
    command = [sys.executable, "-c", HUGE, work.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, found, megabytes = map(int, done.stdout.split())
    assert (count, found) == ((3, 3) if role == "source" else (1, 1))
    assert megabytes < 2500
    assert output.stat().st_size > 1000


def test_a_picture_is_not_analysed(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"hopper\.png: is no video"):
        next(verbs.analyse(faces / "hopper.png", tmp_path / "c.tracks"))
