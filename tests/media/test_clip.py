"""Probing and indexing: geometry, colour, times, faults."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mien.errors import MediaError, SettingsError
from mien.media.clip import LAYOUTS, index, nearest, probe
from mien.media.decode import frames
from tests.media.makers import ROTATE_90, Recipe, Sound, luma, make

MIRROR = (-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
TURN_270 = (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30)
TURN_180 = (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("matrix", "sar", "size", "corner", "rotation"),
    [
        ((), Fraction(1), (96, 64), (0, 0), 0),
        (ROTATE_90, Fraction(1), (64, 96), (64, 0), 90),
        (TURN_270, Fraction(1), (64, 96), (0, 96), 270),
        (TURN_180, Fraction(1), (96, 64), (96, 64), 180),
        (MIRROR, Fraction(1), (96, 64), (96, 0), 0),
        ((), Fraction(4, 3), (128, 64), (0, 0), 0),
        ((), Fraction(1, 2), (96, 128), (0, 0), 0),
        (ROTATE_90, Fraction(4, 3), (64, 128), (64, 0), 90),
    ],
)
def test_display(
    tmp_path: Path,
    matrix: tuple[int, ...],
    sar: Fraction,
    size: tuple[int, int],
    corner: tuple[int, int],
    rotation: int,
) -> None:
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=2, matrix=matrix, sar=sar)))
    assert clip.size == size
    assert clip.rotation == rotation
    assert tuple(clip.display[:, 2]) == corner  # where the first coded sample's outer corner is shown
    far = clip.display[:, :2] @ [96, 64] + clip.display[:, 2]
    assert tuple(far) == tuple(np.subtract(size, corner))


def test_rotation_agrees_with_ffmpeg(tmp_path: Path) -> None:
    for matrix in (ROTATE_90, TURN_270, TURN_180):
        path = make(tmp_path / "a.mp4", Recipe(frames=1, matrix=matrix))
        with av.open(str(path)) as container:
            counterclockwise = next(container.decode(video=0)).rotation
        assert probe(path).rotation == -counterclockwise % 360


@pytest.mark.parametrize(
    ("tags", "size", "matrix", "full"),
    [
        ((0, 2, 2, 2), (96, 64), "bt601", False),
        ((0, 2, 2, 2), (96, 720), "bt709", False),
        ((1, 1, 1, 1), (96, 64), "bt709", False),
        ((2, 6, 6, 6), (96, 64), "bt601", True),
        ((1, 9, 16, 9), (96, 64), "bt2020", False),
    ],
)
def test_colour(
    tmp_path: Path, tags: tuple[int, int, int, int], size: tuple[int, int], matrix: str, full: bool
) -> None:
    colour = probe(make(tmp_path / "a.mp4", Recipe(frames=1, tags=tags, size=size))).colour
    assert (colour.matrix, colour.full_range) == (matrix, full)
    assert (colour.matrix_code, colour.transfer, colour.primaries) == tags[1:]


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), 120])
def test_rates_are_exact(tmp_path: Path, rate: Fraction) -> None:
    clip = probe(make(tmp_path / "a.mp4", Recipe(rate=Fraction(rate), frames=30)))
    known = index(clip)
    assert [int(t) * clip.time_base for t in known.pts] == [k / Fraction(rate) for k in range(30)]
    assert known.end_pts * clip.time_base == 30 / Fraction(rate)


def test_variable_times(tmp_path: Path) -> None:
    pts = np.cumsum([0, 40, 40, 120, 33, 34, 400, 17, 90, 91, 40, 40]).tolist()
    path = make(tmp_path / "a.mp4", Recipe(frames=12, time_base=Fraction(1, 1000), pts=pts))
    clip = probe(path)
    assert [int(t) * clip.time_base * 1000 for t in index(clip).pts] == pts


def test_one_frame(tmp_path: Path) -> None:
    known = index(probe(make(tmp_path / "a.mp4", Recipe(frames=1))))
    assert len(known) == 1
    assert known.key.tolist() == [True]


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=48000, layout="mono")
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        out.start_encoding()
        still = av.VideoFrame(64, 64, "yuvj420p")
        still.pts = 0
        out.mux(cover.encode(still))
        out.mux(cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 48000
        out.mux(stream.encode(silence))
        out.mux(stream.encode(None))
    with pytest.raises(MediaError, match="picture but no video"):
        probe(path)


def test_frame_at(tmp_path: Path) -> None:
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=24)))
    known = index(clip)
    assert [known.frame_at(text, clip) for text in ("0", "0.5", ".5", "0:00.5", "0:0:0.5")] == [
        0,
        12,
        12,
        12,
        12,
    ]
    assert [known.frame_at(text, clip) for text in ("7f", "999f", "99", "0.01", "5.")] == [7, 24, 24, 1, 24]
    for text in ("", "x", "1:2:3:4", "-1", "5ff", "1e3"):
        with pytest.raises(SettingsError):
            known.frame_at(text, clip)


def test_segments_begin_at_key_frames(tmp_path: Path) -> None:
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=60, gop=10, options={"sc_threshold": "0"})))
    known = index(clip)
    parts = known.segments(3, 57, 1.0)
    assert [part.start for part in parts[1:]] == [30]
    assert (parts[0].start, parts[-1].end) == (3, 57)
    assert all(known.key[part.start] for part in parts[1:])
    assert [a.end for a in parts[:-1]] == [b.start for b in parts[1:]]


def test_segments_without_key_frames(tmp_path: Path) -> None:
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=60, gop=999, options={"sc_threshold": "0"})))
    parts = index(clip).segments(0, 60, 0.5)
    assert [len(part) for part in parts] == [12, 12, 12, 24]


def test_a_short_end_belongs_to_the_segment_before(tmp_path: Path) -> None:
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=62, gop=20, options={"sc_threshold": "0"})))
    known = index(clip)
    assert [len(part) for part in known.segments(0, 62, 20 / 24)] == [20, 20, 22]
    assert [len(part) for part in known.segments(0, 46, 20 / 24)] == [20, 20, 6]
    assert [len(part) for part in known.segments(0, 2, 20 / 24)] == [2]


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 13, 25, 39])
def test_any_frame_of_an_open_gop(tmp_path: Path, start: int) -> None:
    recipe = Recipe(
        frames=40, gop=10, options={"x264-params": "open-gop=1:scenecut=0:bframes=3", "preset": "medium"}
    )
    path = make(tmp_path / "a.mp4", recipe)
    truth = luma(path)
    clip = probe(path)
    known = index(clip)
    assert sorted(truth) == known.pts.tolist()
    got = list(frames(clip, known, start, min(40, start + 4)))
    assert [frame.index for frame in got] == list(range(start, min(40, start + 4)))
    assert all(frame.planes[0].tobytes() == truth[frame.pts] for frame in got)


def test_planes_are_writable_views(tmp_path: Path) -> None:
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=3, size=(98, 50))))
    for frame in frames(clip, index(clip)):
        frame.planes[2][3, 5] = 77
        plane = frame.owner.planes[2]  # type: ignore[attr-defined]
        assert memoryview(plane)[3 * plane.line_size + 5] == 77
    frozen = next(frames(clip, index(clip), writable=False))
    with pytest.raises(ValueError, match="read-only"):
        frozen.planes[0][0, 0] = 1


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "layout"),
    [
        ("ffv1", "yuv420p", ".mkv", "yuv420p"),
        ("ffv1", "yuv422p10le", ".mkv", "yuv422p10le"),
        ("ffv1", "yuv444p12le", ".mkv", "yuv444p12le"),
        ("ffv1", "yuva444p", ".mkv", "yuva444p"),
        ("ffv1", "gray16le", ".mkv", "gray16le"),
        ("ffv1", "gbrp10le", ".mkv", "gbrp10le"),
        ("rawvideo", "nv12", ".nut", "nv12"),
        ("rawvideo", "rgb24", ".nut", "rgb24"),
        ("rawvideo", "bgra", ".nut", "bgra"),
        ("rawvideo", "uyvy422", ".nut", "yuv422p"),
        ("ffv1", "yuv411p", ".mkv", "yuv422p"),
    ],
)
def test_layouts(tmp_path: Path, codec: str, pix_fmt: str, suffix: str, layout: str) -> None:
    path = make(tmp_path / f"a{suffix}", Recipe(frames=2, codec=codec, pix_fmt=pix_fmt, size=(86, 50)))
    clip = probe(path)
    assert clip.layout_name == layout
    assert bool(clip.warnings) == (layout != pix_fmt)
    frame = next(frames(clip, index(clip)))
    assert frame.layout is LAYOUTS[layout]
    if layout == pix_fmt and frame.layout.depth == 8:
        with av.open(str(path)) as container:
            picture = next(container.decode(video=0))
        ours = frame.owner.reformat(format="rgb24").to_ndarray()  # type: ignore[attr-defined]
        assert np.array_equal(ours, picture.to_ndarray(format="rgb24"))


def test_nearest_never_loses() -> None:
    for name in (
        "yuyv422",
        "p210le",
        "yuv440p",
        "gbrpf32le",
        "monob",
        "ya8",
        "rgb565le",
        "xyz12le",
        "y210le",
    ):
        assert nearest(name).name in LAYOUTS
    assert (nearest("p010le").name, nearest("pal8").name) == ("yuv420p10le", "rgba")
    assert nearest("yuv440p").chroma == (0, 0)
    assert nearest("ya8").alpha


def test_interlaced_is_refused(tmp_path: Path) -> None:
    options = {"x264-params": "interlaced=1", "flags": "+ilme+ildct"}
    clip = probe(make(tmp_path / "a.mp4", Recipe(frames=8, size=(96, 96), options=options)))
    assert clip.interlaced
    with pytest.raises(MediaError, match="is interlaced"):
        index(clip)


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    options = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    path = make(tmp_path / f"a{suffix}", Recipe(frames=48, container=options))
    _cut(path, 0.6)
    clip = probe(path)
    known = index(clip)
    said: list[str] = []
    got = [frame.index for frame in frames(clip, known, report=said.append)]
    assert 10 < len(got) < 48
    assert len(got) == len(known) or said


def test_corrupt_middle(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", Recipe(frames=48))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    clip = probe(path)
    known = index(clip)
    got = [frame.index for frame in frames(clip, known)]
    assert len(got) >= 24
    assert got == sorted(set(got))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"Dear diary,\nnothing happened.\n" * 20, "is not a video"),
        (b"\0" * 5000, "is not a video"),
    ],
)
def test_no_video(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=problem):
        probe(path)


def test_missing_folder_and_sound_only(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="is a folder"):
        probe(tmp_path)
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(MediaError, match="no video"):
        probe(path)


def test_unicode_and_colon_in_names(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Recipe(frames=2))
    odd = path.rename(tmp_path / "täst 12:30 — 映画 %d.mp4")
    assert len(index(probe(odd))) == 2


def test_fingerprint_follows_content(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Recipe(frames=2, sounds=[Sound()]))
    before = probe(path).fingerprint
    copy = tmp_path / "b.mp4"
    copy.write_bytes(path.read_bytes())
    assert probe(copy).fingerprint == before
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    assert probe(copy).fingerprint != before


def test_two_tracks_take_the_moving_one(shared: Path) -> None:
    clip = probe(shared / "media" / "v01_phone_selfie_rot90_hevc_1440x1080.mp4")
    assert (clip.stream, clip.size, len(index(clip))) == (0, (1080, 1440), 53)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".flv", ".nut", ".webm", ".avi"])
def test_seeking_is_exact_in_every_container(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    options = {"preset": "medium", "x264-params": "open-gop=1:scenecut=0"} if codec == "libx264" else {}
    path = make(tmp_path / f"a{suffix}", Recipe(frames=60, gop=10, codec=codec, options=options))
    truth = luma(path)
    clip = probe(path)
    known = index(clip)
    assert len(known) == 60
    for start in (0, 8, 10, 31, 57):
        got = list(frames(clip, known, start, start + 3))
        assert [frame.index for frame in got] == [start, start + 1, start + 2]
        assert all(frame.planes[0].tobytes() == truth[frame.pts] for frame in got)


def test_a_stream_without_times_is_counted(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", Recipe(frames=20, rate=Fraction(25)))
    with av.open(str(source)) as container:
        annexb = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", container.streams.video[0])
        packets = [
            p for packet in container.demux(video=0) for p in annexb.filter(packet if packet.size else None)
        ]
        raw = b"".join(bytes(packet) for packet in packets)
    (tmp_path / "a.h264").write_bytes(raw)
    clip = probe(tmp_path / "a.h264")
    known = index(clip)
    assert known.counted
    assert [int(t) * clip.time_base for t in known.pts] == [Fraction(k, 25) for k in range(20)]
    got = list(frames(clip, known, 7, 12))
    assert [frame.planes[0].tobytes() for frame in got] == list(luma(source).values())[7:12]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#{binary}\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{there}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\n#{binary}\nfile there.ts\n"),
        ("session.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
    ],
)
@pytest.mark.parametrize("binary", ["", "\1"])
def test_what_leads_to_other_files_is_no_video(tmp_path: Path, name: str, text: str, binary: str) -> None:
    """A clip is one file: nobody who names a play list knows what is shown, and no checksum tells."""
    there = make(tmp_path / "there.ts", Recipe(codec="mpeg2video", frames=12, options={}))
    assert probe(there).size
    path = tmp_path / name
    path.write_text(text.format(there=there, binary=binary))
    with pytest.raises(MediaError, match="is not a video"):
        probe(path)
