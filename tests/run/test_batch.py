"""Every source on every target: names that collide with nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.errors import MediaError, SettingsError
from mien.media import codecs
from mien.run.batch import batch
from mien.settings import Settings


def picture(path: Path, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, **more)  # type: ignore[arg-type]
    return path


def test_every_source_on_every_target(tmp_path: Path) -> None:
    sources = [picture(tmp_path / "s" / name) for name in ("ana.png", "ben.jpg")]
    (tmp_path / "t").mkdir()
    clips = [tmp_path / "t" / name for name in ("a.MP4", "b.mkv", "c.wmv")]
    for clip in clips:
        clip.write_bytes(b"\0\0\0\x18ftypisom")
    targets = [*clips, picture(tmp_path / "t" / "d.jpg"), tmp_path / "s"]
    jobs = batch(sources, targets, tmp_path / "out")
    assert [job.output.name for job in jobs] == [
        *("a_ana.mp4", "a_ben.mp4", "b_ana.mkv", "b_ben.mkv", "c_ana.mp4", "c_ben.mp4"),
        *("d_ana.jpg", "d_ben.jpg", "s_ana", "s_ben"),
    ]
    assert [(job.target, job.cast[0].sources) for job in jobs] == [
        (t, (s,)) for t in targets for s in sources
    ]


@pytest.mark.parametrize(
    ("codec", "endings"),
    [
        ("auto", [".mp4", ".mov", ".mkv", ".webm"]),
        ("prores", [".mov", ".mov", ".mkv", ".mov"]),
        ("ffv1", [".mkv", ".mkv", ".mkv", ".mkv"]),
        ("h264", [".mp4", ".mov", ".mkv", ".mp4"]),
        ("vp9", [".mp4", ".mp4", ".mkv", ".webm"]),
    ],
)
def test_a_result_ends_as_its_codec_wants(codec: str, endings: list[str], tmp_path: Path) -> None:
    targets = [tmp_path / name for name in ("a.mp4", "b.mov", "c.mkv", "d.webm")]
    for target in targets:
        target.write_bytes(b"\0\0\0\x18ftypisom")
    asked = Settings.model_validate({"encode": {"codec": codec}})
    jobs = batch([picture(tmp_path / "ana.png")], targets, tmp_path / "out", settings=asked)
    assert [job.output.suffix for job in jobs] == endings
    for suffix in endings if codec != "auto" else ():
        assert codecs.holds(codecs.FORMATS[suffix], codecs.FAMILIES[codec])


def test_nothing_meets(tmp_path: Path) -> None:
    """Equal names, names that differ by capitals, files that are there, other jobs' outputs, broken links."""
    targets = [picture(tmp_path / folder / "x.png") for folder in ("a", "b")] + [
        picture(tmp_path / "c" / "X.PNG")
    ]
    source = picture(tmp_path / "Ana.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "x_Ana.png").write_text("mine")
    (out / "x_Ana-3.png").symlink_to(out / "nowhere")
    jobs = batch([source], targets, out, taken=[out / "X_ANA-2.PNG"])
    assert [job.output.name for job in jobs] == ["x_Ana-4.png", "x_Ana-5.png", "X_Ana-6.png"]


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_any_name_is_used_or_refused(name: str) -> None:
    source = Path(__file__).parents[2] / "docs" / "gallery" / "hopper_as_astronaut.jpg"
    folder = Path("/nowhere/at/all")
    try:
        jobs = batch([source, source], [source], folder, name)
    except SettingsError:
        event("refused")
        return
    names = [job.output.name for job in jobs]
    assert len({name.casefold() for name in names}) == 2
    assert all(job.output.parent == folder for job in jobs)
    assert all(len(name.encode()) <= 255 and not name.startswith(".") for name in names)


@pytest.mark.parametrize(
    "name", ["{0}", "{target.parent}", "{target!r}", "{target:>9}", "{", "../{target}", "{x}"]
)
def test_a_name_that_stands_for_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name: "):
        batch([tmp_path], [tmp_path], tmp_path, name)


def test_none_and_too_many(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="targets: is empty"):
        batch([tmp_path], [], tmp_path)
    with pytest.raises(SettingsError, match="sources: is empty"):
        batch([], [tmp_path], tmp_path)
    with pytest.raises(SettingsError, match="101 × 100 are more than"):
        batch([tmp_path] * 101, [tmp_path] * 100, tmp_path)
    with pytest.raises(MediaError):
        batch([tmp_path], [tmp_path / "gone.mp4"], tmp_path)
