"""Joined files: everything else of the input, in exact time, whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from mien.errors import MediaError, VerificationError
from mien.media.clip import index, probe
from mien.media.join import join
from mien.media.verify import Counts, Expected, verify
from mien.settings import Encode
from tests.media.makers import ROTATE_90, Recipe, Sound, luma, make
from tests.media.run import transcode


def packets(path: Path, kind: str, number: int = 0) -> list[tuple[Fraction, bytes]]:
    """(time in seconds, payload) of every packet of a stream."""
    with av.open(str(path)) as container:
        stream = [s for s in container.streams if s.type == kind][number]
        found = []
        for packet in container.demux(stream):
            if packet.size:
                found.append((cast("int", packet.pts) * packet.time_base, bytes(packet)))
        return found


def times(path: Path) -> list[Fraction]:
    """Presentation times of the video in seconds, sorted."""
    return sorted(moment for moment, _ in packets(path, "video"))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize(
    "sounds",
    [
        [Sound(0, 1)],
        [Sound(0, 1.9)],
        [Sound(0, 0.4)],
        [Sound(0.5, 1.2)],
        [],
        [Sound(0, 1, language="eng"), Sound(0, 1, language="fra", pitch=880)],
    ],
    ids=["equal", "longer", "shorter", "late", "none", "two"],
)
def test_sound_is_copied_untouched(tmp_path: Path, suffix: str, sounds: list[Sound]) -> None:
    source = make(tmp_path / f"in{suffix}", Recipe(sounds=sounds))
    output = tmp_path / f"out{suffix}"
    done, _, parts = transcode(source, output, tmp_path / "job")
    assert len(parts) == 2
    shift = times(output)[0] - times(source)[0]
    assert times(output) == [t + shift for t in times(source)]
    assert shift == 0 or suffix == ".ts"
    for number, sound in enumerate(sounds):
        before, after = (packets(path, "audio", number) for path in (source, output))
        assert [data for _, data in before] == [data for _, data in after]
        assert all(abs(b[0] + shift - a[0]) <= Fraction(1, 1000) for b, a in zip(before, after, strict=True))
        if suffix in (".mp4", ".mov", ".ts"):
            assert all(b[0] + shift == a[0] for b, a in zip(before, after, strict=True))
        with av.open(str(output)) as container:
            assert container.streams.audio[number].language in (sound.language, None)
    assert [one.packets for one in done.verified.streams] == [
        len(packets(source, "audio", n)) for n in range(len(sounds))
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_subtitles_chapters_tags_attachments(tmp_path: Path, suffix: str) -> None:
    recipe = Recipe(
        frames=48,
        sounds=[Sound(0, 2)],
        subtitles=[(0.2, 0.6, "one"), (1.1, 1.5, "two")] if suffix == ".mkv" else [],
        chapters=[(0, 1, "First"), (1, 2, "Second")],
        metadata={"title": "A title", "comment": "Theirs"},
        attachment=b"font bytes" if suffix == ".mkv" else b"",
    )
    source = make(tmp_path / f"in{suffix}", recipe)
    output = tmp_path / f"out{suffix}"
    done, _, _ = transcode(source, output, tmp_path / "job", metadata={"description": "ours"})
    assert done.warnings == ()
    with av.open(str(output)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        assert (tags["title"], tags["comment"], tags["description"]) == ("A title", "Theirs", "ours")
        marks = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in _chapters(container)
        ]
        assert marks == [(0, 1, "First"), (1, 2, "Second")]
        if suffix == ".mkv":
            assert [s.data for s in container.streams.attachments] == [b"font bytes"]
    if suffix == ".mkv":
        assert packets(output, "subtitle") == packets(source, "subtitle")


def _chapters(container: Any) -> list[Any]:
    return list(container.chapters())


def test_cut(tmp_path: Path) -> None:
    recipe = Recipe(frames=72, sounds=[Sound(0, 3)], chapters=[(0, 1, "A"), (1, 2, "B"), (2, 3, "C")])
    source = make(tmp_path / "in.mp4", recipe)
    output = tmp_path / "out.mp4"
    encode = Encode(quality=100, preset="fastest")
    done, made, _ = transcode(source, output, tmp_path / "job", encode, start="0.75", end="1.5")
    assert (done.verified.frames, made.start, made.end) == (18, 18, 36)
    assert times(output) == [Fraction(k, 24) for k in range(18)]
    before, after = luma(source), luma(output)
    assert list(after.values()) == list(before.values())[18:36]
    cut = [(t - Fraction(3, 4), d) for t, d in packets(source, "audio")]
    kept = [(t, d) for t, d in cut if t + Fraction(1024, 48000) > 0 and t < Fraction(3, 4)]
    found = packets(output, "audio")
    assert [d for _, d in found] == [d for _, d in kept]
    assert all(abs(a[0] - b[0]) <= Fraction(1, 48000) for a, b in zip(found, kept, strict=True))
    with av.open(str(output)) as container:
        marks = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in _chapters(container)]
    assert marks == [(0, Fraction(1, 4)), (Fraction(1, 4), Fraction(3, 4))]


def test_variable_times_with_reordering_are_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pts = np.concatenate([[0], np.cumsum(rng.integers(200, 9000, 59))]).tolist()
    recipe = Recipe(frames=60, time_base=Fraction(1, 90000), pts=pts, gop=10, options={"preset": "medium"})
    source = make(tmp_path / "in.mp4", recipe)
    transcode(source, tmp_path / "out.mp4", tmp_path / "job", Encode(preset="balanced"), seconds=0.6)
    assert times(tmp_path / "out.mp4") == [Fraction(int(t), 90000) for t in pts]
    with av.open(str(tmp_path / "out.mp4")) as container:
        decode = [cast("int", p.dts) for p in container.demux(video=0) if p.size]
    assert decode == sorted(set(decode))


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "60000/1001", "120", "1000/33"])
def test_rates(tmp_path: Path, rate: str) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=50, rate=Fraction(rate)))
    transcode(source, tmp_path / "out.mp4", tmp_path / "job", seconds=0.2)
    assert times(tmp_path / "out.mp4") == [k / Fraction(rate) for k in range(50)]


def test_joined_is_the_segments(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=40, gop=8))
    _, _, parts = transcode(source, tmp_path / "out.mp4", tmp_path / "job", seconds=0.4)
    assert len(parts) >= 3
    pieces = [picture for part in parts for picture in luma(part).values()]
    assert list(luma(tmp_path / "out.mp4").values()) == pieces


def test_rotation_and_shape(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mov"):
        source = make(tmp_path / f"in{suffix}", Recipe(matrix=ROTATE_90, sar=Fraction(4, 3)))
        transcode(source, tmp_path / f"out{suffix}", tmp_path / "job")
        before, after = probe(source), probe(tmp_path / f"out{suffix}")
        assert after.display_matrix == before.display_matrix
        assert np.array_equal(after.display, before.display)


def test_other_containers(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(sounds=[Sound(0, 1)], frames=24))
    for name in ("out.mkv", "out.webm", "out.avi", "out.ts", "out.mov", "out.flv"):
        done, _, _ = transcode(source, tmp_path / name, tmp_path / "job")
        assert done.verified.frames == 24
        assert [one.kind for one in done.verified.streams] == ["audio"]
        found = packets(tmp_path / name, "audio")
        begin, end = found[0][0], found[-1][0]
        assert end - begin > Fraction(9, 10)
        assert bool(done.warnings) == (name in ("out.webm", "out.avi"))
    back, _, _ = transcode(
        tmp_path / "out.webm", tmp_path / "back.mp4", tmp_path / "job", Encode(codec="h264")
    )
    assert back.verified.frames == 24


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "encoder"),
    [
        ("mpeg4", "yuv420p", ".avi", "mjpeg"),
        ("mpeg2video", "yuv420p", ".ts", "libx264"),
        ("mpeg4", "yuv420p", ".mp4", "libx264"),
        ("libvpx", "yuv420p", ".webm", "libvpx"),
        ("png", "rgb24", ".mov", "png"),
        ("rawvideo", "bgr24", ".avi", "ffv1"),
        ("utvideo", "yuv422p", ".avi", "ffv1"),
        ("qtrle", "argb", ".mov", "qtrle"),
        ("libx264rgb", "rgb24", ".mp4", "libx264rgb"),
        ("prores_ks", "yuva444p10le", ".mov", "prores_ks"),
    ],
)
def test_codec_families(tmp_path: Path, codec: str, pix_fmt: str, suffix: str, encoder: str) -> None:
    source = make(tmp_path / f"in{suffix}", Recipe(codec=codec, pix_fmt=pix_fmt, size=(128, 96)))
    done, made, _ = transcode(source, tmp_path / f"out{suffix}", tmp_path / "job")
    assert (made.encoder, done.verified.frames) == (encoder, 24)
    moved = encoder.removeprefix("lib") not in codec and codec not in encoder
    assert any("cannot be written here" in text for text in made.warnings) == moved
    begin, first = times(source)[0], times(tmp_path / f"out{suffix}")[0]
    gaps = [
        (t - first) - (s - begin)
        for t, s in zip(times(tmp_path / f"out{suffix}"), times(source), strict=True)
    ]
    assert set(gaps) == {Fraction(0)}


def test_text_subtitles_change_their_form_not_their_time(tmp_path: Path) -> None:
    lines = [(0.1, 0.4, "hi"), (0.5, 0.9, "<i>ho</i>, 映画")]
    source = make(tmp_path / "in.mkv", Recipe(subtitles=lines))
    done, _, _ = transcode(source, tmp_path / "mid.mp4", tmp_path / "job")
    assert any("mov_text" in text for text in done.warnings)
    done, _, _ = transcode(tmp_path / "mid.mp4", tmp_path / "out.mkv", tmp_path / "job")
    found = [(moment, data.decode()) for moment, data in packets(tmp_path / "out.mkv", "subtitle")]
    assert found == [(Fraction(1, 10), "hi"), (Fraction(1, 2), "ho, 映画")]


def test_frames_before_an_edit_list_are_not_shown(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=24, pts=list(range(-6, 18)), sounds=[Sound(0, 1)]))
    done, _, _ = transcode(source, tmp_path / "out.mp4", tmp_path / "job", Encode(quality=100))
    assert done.verified.frames == 18
    assert list(luma(tmp_path / "out.mp4").values()) == list(luma(source).values())


def test_late_picture_stays_late(tmp_path: Path) -> None:
    recipe = Recipe(pts=[k + 10 for k in range(24)], sounds=[Sound(0, 2)], time_base=Fraction(1, 24))
    source = make(tmp_path / "in.mp4", recipe)
    transcode(source, tmp_path / "out.mp4", tmp_path / "job")
    assert times(tmp_path / "out.mp4") == times(source)
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")


def test_xmp_is_a_box_at_the_end(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=4, sounds=[Sound(0, 0.2)]))
    transcode(source, tmp_path / "out.mp4", tmp_path / "job", xmp=b"<x:xmpmeta>ours</x:xmpmeta>")
    data = (tmp_path / "out.mp4").read_bytes()
    boxes, at = [], 0
    while at < len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        boxes.append((name, data[at + 8 : at + size]))
        at += size
    assert at == len(data)
    assert [name for name, _ in boxes][-1] == b"uuid"
    assert boxes[-1][1] == bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC") + b"<x:xmpmeta>ours</x:xmpmeta>"
    names = [name for name, _ in boxes]
    assert names.index(b"moov") < names.index(b"mdat")


def test_hevc_is_tagged_for_every_player(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=4))
    transcode(source, tmp_path / "out.mp4", tmp_path / "job", Encode(codec="hevc", preset="fastest"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_truncated_input_keeps_what_decodes(tmp_path: Path) -> None:
    source = make(
        tmp_path / "in.mp4", Recipe(frames=48, container={"movflags": "+faststart"}, sounds=[Sound(0, 2)])
    )
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 7 // 10])
    done, _, _ = transcode(source, tmp_path / "out.mp4", tmp_path / "job")
    assert 5 < done.verified.frames < 48


def test_a_hole_in_the_input_is_said(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", Recipe(frames=48, gop=8))
    known = index(probe(source))
    with av.open(str(source)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(source.read_bytes())
    for pos, size in places[17:22]:
        start = cast("int", pos)
        data[start + 8 : start + size] = bytes(size - 8)
    source.write_bytes(data)
    done, _, _ = transcode(source, tmp_path / "out.mkv", tmp_path / "job")
    assert len(known) == 48
    assert 40 <= done.verified.frames <= 48
    assert bool(done.warnings) == (done.verified.frames < 48)
    assert set(times(tmp_path / "out.mkv")) <= {Fraction(int(t), 1000) for t in known.pts}


def test_long_and_odd_names(tmp_path: Path) -> None:
    deep = tmp_path / ("ordner " * 20).strip() / ("映" * 60)
    deep.mkdir(parents=True)
    source = make(deep / "ein: täst %03d.mp4", Recipe(frames=4))
    output = deep / ("名" * 80 + ".mp4")
    transcode(source, output, tmp_path / "job")
    assert sorted(p.name for p in deep.iterdir()) == sorted([source.name, output.name])
    with pytest.raises(MediaError, match="too long"):
        transcode(source, deep / ("x" * 300 + ".mp4"), tmp_path / "job")


@contextmanager
def _limited(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room(tmp_path: Path) -> None:
    """A limit on file size stands for a full disk: the same call fails in the same place."""
    source = make(tmp_path / "in.mp4", Recipe(frames=24, size=(320, 240), sounds=[Sound(0, 1)]))
    output = tmp_path / "res" / "out.mp4"
    output.parent.mkdir()
    output.write_bytes(b"an older result")
    _, made, parts = transcode(source, tmp_path / "good.mp4", tmp_path / "job")
    size = (tmp_path / "good.mp4").stat().st_size
    clip = probe(source)
    for room in (0, size // 2, size - 10):
        with _limited(room), pytest.raises(MediaError, match=r"larger than this disk|does not fit"):
            join(replace(made, output=output), parts, clip, index(clip))
        assert output.read_bytes() == b"an older result"
        assert [p.name for p in output.parent.iterdir()] == ["out.mp4"]
    with _limited(500), pytest.raises(MediaError, match=r"larger than this disk|does not fit"):
        transcode(source, output, tmp_path / "job2")
    assert not list((tmp_path / "job2").iterdir())
    assert all(part.exists() for part in parts)
    join(replace(made, output=output), parts, clip, index(clip))
    assert output.read_bytes() == (tmp_path / "good.mp4").read_bytes()


def test_full_device(tmp_path: Path) -> None:
    """`/dev/full` refuses every byte with the error of a full disk."""
    source = make(tmp_path / "in.mp4", Recipe(frames=4))
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "00000.seg.tmp").symlink_to("/dev/full")
    with pytest.raises(MediaError, match="disk is full"):
        transcode(source, tmp_path / "out.mp4", folder)
    assert not list(folder.iterdir())


def test_output_is_input(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=4))
    before = source.read_bytes()
    (tmp_path / "link.mp4").symlink_to(source)
    for output in (source, tmp_path / "link.mp4", tmp_path / "." / "in.mp4"):
        with pytest.raises(MediaError, match="is the input itself"):
            transcode(source, output, tmp_path / "job")
    assert source.read_bytes() == before


def test_verification_finds_each_difference(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=24, sounds=[Sound(0, 1)]))
    output = tmp_path / "out.mp4"
    done, made, _ = transcode(source, output, tmp_path / "job")
    clip = probe(source)
    pts = index(clip).pts
    end = index(clip).end_pts
    streams = done.verified.streams
    verify(output, made, Expected(pts, end, streams))
    sound = streams[0]
    assert sound.first is not None
    moved = Counts("audio", "aac", sound.packets, sound.first + Fraction(1, 50), sound.last)
    fewer = Counts("audio", "aac", sound.packets - 1, sound.first, sound.last)
    late = pts.copy()
    late[7] += 1
    wrong = [
        (Expected(pts[:-1], end, streams), "24 pictures instead of 23"),
        (Expected(late, end, streams), "shows picture 7 at"),
        (Expected(pts, end + 10**6, streams), "ends at"),
        (Expected(pts, end, ()), "streams audio instead of none"),
        (Expected(pts, end, (moved,)), "first packet"),
        (Expected(pts, end, (fewer,)), "packets instead of"),
    ]
    for expected, problem in wrong:
        with pytest.raises(VerificationError, match=problem):
            verify(output, made, expected)


def test_a_file_that_fails_is_kept_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path / "in.mp4", Recipe(frames=4))
    out = tmp_path / "res"
    out.mkdir()

    def refuse(path: Path, *_: object) -> None:
        raise VerificationError(path, "differs")

    monkeypatch.setattr("mien.media.join.verify", refuse)
    with pytest.raises(VerificationError, match=r"out\.unverified\.mp4"):
        transcode(source, out / "out.mp4", tmp_path / "job")
    assert [p.name for p in out.iterdir()] == ["out.unverified.mp4"]
