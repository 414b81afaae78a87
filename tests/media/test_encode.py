"""Plans, schedules and segments: pixels, times, determinism."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import MediaError, SettingsError
from mien.media.clip import Clip, FrameIndex, index, probe
from mien.media.decode import frames
from mien.media.encode import SegmentWriter, plan, schedule
from mien.settings import Encode
from mien.types import Array
from tests.media.makers import ROTATE_90, Recipe, make
from tests.media.run import transcode


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encode")


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Clip, FrameIndex]:
    clip = probe(make(folder / "plain.mp4", Recipe(frames=30, rate=Fraction(30))))
    return clip, index(clip)


def planes(path: Path) -> list[Array]:
    """All samples of all planes of every frame in order of time, as one row of bytes, by PyAV alone."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            item = 2 if frame.format.components[0].bits > 8 else 1
            parts = []
            for plane in frame.planes:
                rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
                parts.append(rows[: plane.height, : plane.width * item].ravel())
            found.append(np.concatenate(parts))
    return found


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "encoder"),
    [
        ("libx264", "yuv420p", ".mp4", "libx264"),
        ("libx264", "yuv444p", ".mkv", "libx264"),
        ("libx264", "yuv422p10le", ".mov", "libx264"),
        ("libx265", "yuv420p10le", ".mp4", "libx265"),
        ("libvpx-vp9", "yuv420p", ".webm", "libvpx-vp9"),
        ("ffv1", "yuv444p12le", ".mkv", "ffv1"),
        ("ffv1", "yuva444p", ".mkv", "ffv1"),
        ("ffv1", "gray16le", ".mkv", "ffv1"),
    ],
)
def test_lossless_and_unchanged(tmp_path: Path, codec: str, pix_fmt: str, suffix: str, encoder: str) -> None:
    source = make(
        tmp_path / f"in{suffix}", Recipe(frames=20, codec=codec, pix_fmt=pix_fmt, rate=Fraction(25))
    )
    output = tmp_path / f"out{suffix}"
    _, made, parts = transcode(source, output, tmp_path / "job", Encode(quality=100, preset="fastest"))
    assert (made.encoder, made.pix_fmt) == (encoder, pix_fmt)
    assert len(parts) >= 1
    want, got = planes(source), planes(output)
    assert len(want) == len(got) == 20
    assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))


def test_outside_an_edit_nothing_changes(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=10))
    want = planes(source)

    def edit(frame: object) -> None:
        frame.planes[0][10:20, 30:40] = 200  # type: ignore[attr-defined]

    transcode(
        source, tmp_path / "out.mp4", tmp_path / "job", Encode(quality=100, preset="fastest"), change=edit
    )
    for before, after in zip(want, planes(tmp_path / "out.mp4"), strict=True):
        inside = np.zeros(before.shape, bool)
        inside[: 64 * 96].reshape(64, 96)[10:20, 30:40] = True
        assert (after[inside] == 200).all()
        assert np.array_equal(after[~inside], before[~inside])


def test_default_quality_is_visually_lossless(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=12))
    transcode(source, tmp_path / "out.mp4", tmp_path / "job", Encode())
    for before, after in zip(planes(source), planes(tmp_path / "out.mp4"), strict=True):
        error = np.mean((before.astype(float) - after) ** 2)
        assert 10 * np.log10(255**2 / max(error, 1e-9)) > 40


def test_quality_orders_size(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=12, size=(192, 128)))
    sizes = []
    for quality in (20, 60, 85, 95, 100):
        transcode(source, tmp_path / "out.mp4", tmp_path / "job", Encode(quality=quality))
        sizes.append((tmp_path / "out.mp4").stat().st_size)
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    ("codec", "suffix"), [("h264", ".mp4"), ("hevc", ".mp4"), ("vp9", ".webm"), ("ffv1", ".mkv")]
)
def test_same_bytes_twice(tmp_path: Path, codec: str, suffix: str) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=20, sounds=[]))
    files = []
    for name in ("a", "b"):
        output = tmp_path / f"{name}{suffix}"
        transcode(source, output, tmp_path / name, Encode(codec=codec, preset="fastest"))
        files.append([output.read_bytes(), *(p.read_bytes() for p in sorted((tmp_path / name).iterdir()))])
    assert files[0] == files[1]


def test_segments_start_at_zero_with_a_key_frame(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=40, rate=Fraction(30000, 1001)))
    _, made, parts = transcode(source, tmp_path / "out.mp4", tmp_path / "job")
    assert len(parts) >= 2
    for part in parts:
        with av.open(str(part)) as container:
            packets = [p for p in container.demux(video=0) if p.size]
        assert packets[0].is_keyframe
        assert min(cast("int", p.pts) for p in packets) == 0
    assert not list((tmp_path / "job").glob("*.tmp"))
    assert made.time_base == Fraction(1, 30000)


@pytest.mark.parametrize(
    ("size", "codec", "suffix", "written"),
    [
        ((853, 481), "ffv1", ".mkv", (853, 481)),
        ((85, 49), "libvpx-vp9", ".webm", (85, 49)),
        ((85, 49), "ffv1", ".mp4", (86, 50)),
    ],
)
def test_odd_sizes(
    tmp_path: Path, size: tuple[int, int], codec: str, suffix: str, written: tuple[int, int]
) -> None:
    source = make(tmp_path / "in.mkv", Recipe(frames=3, size=size, codec=codec))
    want = "h264" if suffix == ".mp4" else "auto"
    encode = Encode(quality=100, preset="fastest", codec=want)
    _, made, _ = transcode(source, tmp_path / f"out{suffix}", tmp_path / "job", encode)
    assert (made.width, made.height) == written
    assert any("padded" in text for text in made.warnings) == (written != size)
    with av.open(str(source)) as a, av.open(str(tmp_path / f"out{suffix}")) as b:
        for before, after in zip(a.decode(video=0), b.decode(video=0), strict=True):
            rows = [
                np.frombuffer(memoryview(f.planes[0]), np.uint8).reshape(-1, f.planes[0].line_size)
                for f in (before, after)
            ]
            assert np.array_equal(rows[0][: size[1], : size[0]], rows[1][: size[1], : size[0]])


def test_size_follows_the_display(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=3, matrix=ROTATE_90, sar=Fraction(4, 3)))
    transcode(source, tmp_path / "out.mp4", tmp_path / "job", Encode(size="48x72"))
    clip = probe(tmp_path / "out.mp4")
    assert (clip.size, clip.rotation, (clip.width, clip.height), clip.sar) == (
        (48, 72),
        90,
        (72, 48),
        Fraction(1),
    )


def test_colour_hdr_and_shape_survive(tmp_path: Path) -> None:
    master = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = {"x265-params": f"log-level=none:hdr10=1:{master}:max-cll=1000,400"}
    recipe = Recipe(
        frames=4,
        codec="libx265",
        pix_fmt="yuv420p10le",
        tags=(1, 9, 16, 9),
        options=options,
        sar=Fraction(4, 3),
    )
    source = make(tmp_path / "in.mp4", recipe)
    before = probe(source)
    assert before.hdr.light == (1000, 400)
    assert before.hdr.mastering is not None
    assert before.hdr.mastering[0] == Fraction(34000, 50000)
    for codec in ("hevc", "av1"):
        transcode(source, tmp_path / f"{codec}.mp4", tmp_path / codec, Encode(codec=codec, preset="fastest"))
        after = probe(tmp_path / f"{codec}.mp4")
        assert after.colour == before.colour
        assert after.hdr.light == before.hdr.light
        assert after.hdr.mastering is not None
        assert np.allclose(
            np.array(after.hdr.mastering, float), np.array(before.hdr.mastering, float), atol=1e-3
        )
        assert (after.sar, after.layout_name) == (before.sar, "yuv420p10le")


def test_full_range_444(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=3, pix_fmt="yuvj444p", tags=(2, 1, 1, 1)))
    transcode(source, tmp_path / "out.mp4", tmp_path / "job", Encode(quality=100))
    assert probe(tmp_path / "out.mp4").colour == probe(source).colour
    assert all(
        np.array_equal(a, b) for a, b in zip(planes(source), planes(tmp_path / "out.mp4"), strict=True)
    )


def test_full_range_to_a_codec_without_jpeg_formats(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=3, pix_fmt="yuvj420p", tags=(2, 1, 1, 1)))
    transcode(source, tmp_path / "out.mkv", tmp_path / "job", Encode(codec="ffv1"))
    assert probe(tmp_path / "out.mkv").colour.full_range
    want, got = planes(source), planes(tmp_path / "out.mkv")
    assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))


@pytest.mark.parametrize("codec", ["prores", "mjpeg"])
def test_other_codecs(tmp_path: Path, codec: str) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=6, size=(128, 96)))
    encode = Encode(codec=codec, preset="fastest")
    transcode(source, tmp_path / "out.mov", tmp_path / "job", encode)
    clip = probe(tmp_path / "out.mov")
    assert clip.codec == codec
    assert index(clip).pts.size == 6


def test_bit_rate(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=48, size=(192, 128)))
    sizes = []
    for rate in (100_000, 800_000):
        transcode(source, tmp_path / "out.mp4", tmp_path / "job", Encode(bitrate=rate), seconds=5)
        sizes.append((tmp_path / "out.mp4").stat().st_size)
    assert sizes[0] < 100_000 / 8 * 2 * 1.6
    assert sizes[1] > 1.5 * sizes[0]


def test_impossible_wishes(tmp_path: Path, plain: tuple[Clip, FrameIndex]) -> None:
    clip, known = plain
    with pytest.raises(SettingsError, match="does not fit"):
        plan(clip, known, Encode(codec="prores"), tmp_path / "a.webm")
    with pytest.raises(MediaError, match="cannot be written as"):
        plan(clip, known, Encode(), tmp_path / "a.xyz")
    with pytest.raises(SettingsError, match="not between"):
        plan(clip, known, Encode(fps="0"), tmp_path / "a.mp4")
    with pytest.raises(MediaError, match="is the input itself"):
        plan(clip, known, Encode(), clip.path)
    with pytest.raises(MediaError, match="not a folder"):
        plan(clip, known, Encode(), tmp_path / "none" / "a.mp4")
    with pytest.raises(MediaError, match="folder"):
        plan(clip, known, Encode(), clip.path / "a.mp4")
    assert plan(clip, known, Encode(), tmp_path / "a.webm").warnings
    assert not plan(clip, known, Encode(), tmp_path / "a.mp4").warnings
    assert "does not say that it was edited" in plan(clip, known, Encode(), tmp_path / "a.ts").warnings[-1]
    made = plan(clip, known, Encode(codec="ffv1", bitrate=1000), tmp_path / "a.mkv")
    assert made.warnings == ("ffv1 takes no bit rate: quality decides",)


def test_failing_write_leaves_nothing(tmp_path: Path, plain: tuple[Clip, FrameIndex]) -> None:
    clip, known = plain
    made = plan(clip, known, Encode(), tmp_path / "a.mp4")
    times = schedule(made, known, clip, 0, 30)
    try:
        with SegmentWriter(tmp_path / "s", made, times) as writer:
            writer.write(next(frames(clip, known)))
            raise RuntimeError("stop")
    except RuntimeError:
        pass
    assert not list(tmp_path.iterdir())
    with pytest.raises(MediaError, match="not in a folder"), SegmentWriter(clip.path / "s", made, times):
        pass


@settings(max_examples=60)
@given(
    fps=st.fractions(Fraction(1), Fraction(90), max_denominator=1001),
    gaps=st.lists(st.integers(1, 9000), min_size=29, max_size=29),
    start=st.integers(0, 28),
)
def test_new_rate_takes_the_nearest_frame(
    plain: tuple[Clip, FrameIndex], fps: Fraction, gaps: list[int], start: int
) -> None:
    clip, known = plain
    pts = np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    varied = FrameIndex(pts, known.key, pts, int(pts[-1]) + 512, known.time_base)
    text = f"{fps.numerator}/{fps.denominator}"
    made = plan(clip, varied, Encode(fps=text), clip.path.with_name("o.mp4"), start=start)
    whole = schedule(made, varied, clip, start, 30)
    moments = [int(t) * made.time_base for t in whole.pts]
    assert moments == [moments[0] + k / fps for k in range(len(whole))]
    shown = [int(t) * clip.time_base - made.origin for t in pts]
    for source, moment in zip(whole.source, moments, strict=True):
        assert abs(shown[source] - moment) == min(abs(t - moment) for t in shown[start:])
    length = varied.end_pts * clip.time_base - made.origin - moments[0]
    assert len(whole) == max(1, -(-length // (1 / fps)))
    middle = (start + 30) // 2
    if start < middle:
        halves = [schedule(made, varied, clip, a, b) for a, b in ((start, middle), (middle, 30))]
        assert np.array_equal(np.concatenate([half.pts for half in halves]), whole.pts)
        pairs = [pair for frame in range(start, 30) for pair in whole.at(frame)]
        assert [moment for moment, _ in pairs] == whole.pts.tolist()


@pytest.mark.parametrize(("fps", "count"), [("15", 15), ("60", 60), ("24000/1001", 24)])
def test_new_rate_end_to_end(tmp_path: Path, plain: tuple[Clip, FrameIndex], fps: str, count: int) -> None:
    done, _, _ = transcode(
        plain[0].path, tmp_path / "out.mp4", tmp_path / "job", Encode(fps=fps, quality=100)
    )
    assert done.verified.frames == count
    out = index(probe(tmp_path / "out.mp4"))
    assert [int(t) * out.time_base for t in out.pts] == [k / Fraction(fps) for k in range(count)]
    want, got = planes(plain[0].path), planes(tmp_path / "out.mp4")
    times = [Fraction(k, 30) for k in range(30)]
    for k, picture in enumerate(got):
        gap = [abs(t - k / Fraction(fps)) for t in times]
        assert any(np.array_equal(picture, want[n]) for n in range(30) if gap[n] == min(gap))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_hevc_of_very_few_frames(count: int, tmp_path: Path) -> None:
    """x265 leaves decoding times to chance where there are fewer frames than it reorders."""
    path = make(
        tmp_path / "in.mp4", Recipe(frames=count, codec="libx265", options={"x265-params": "bframes=0"})
    )
    known = probe(path)
    times = index(known)
    made = plan(known, times, Encode(), tmp_path / "out.mp4", threads=2)
    for _ in range(6):
        written = tmp_path / "segment.mp4"
        with SegmentWriter(written, made, schedule(made, times, known, 0, count)) as writer:
            for frame in frames(known, times):
                writer.write(frame)
        with av.open(str(written)) as container:
            assert len(list(container.decode(video=0))) == count
