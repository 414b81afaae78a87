"""Encoding by a card: what is asked of its encoders, when they are left alone, and that files come out whole.

FFmpeg reads an encoder's options before it looks for a card. An encoder on the processor stands for the
card's: it takes the same pictures in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec import Codec

from mien.media import nvenc
from mien.media.clip import Clip, FrameIndex, index, probe
from mien.media.decode import frames
from mien.media.encode import SegmentWriter, plan, schedule
from mien.media.facts import Hdr
from mien.media.hardware import heard, listening
from mien.media.join import join
from mien.media.outgoing import Outgoing
from mien.media.plan import EncodePlan
from mien.models import nvidia
from mien.settings import Encode
from tests.media.makers import Recipe, make
from tests.media.test_encode import planes

NO_CARD = pytest.mark.skipif(bool(nvidia.driver().cards), reason="there is a card")
PRESETS = ("fastest", "fast", "balanced", "slow", "slowest")


def clip_of(path: Path, **changes: Any) -> tuple[Clip, FrameIndex]:
    recipe: dict[str, Any] = {"frames": 20, "rate": Fraction(25), "gop": 10, "size": (256, 144), **changes}
    clip = probe(make(path, Recipe(**recipe)))
    return clip, index(clip)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, EncodePlan]:
    folder = tmp_path_factory.mktemp("nvenc")
    clip, known = clip_of(folder / "in.mp4")
    return clip, plan(clip, known, Encode(), folder / "out.mp4", threads=2)


def opening(encoder: str, options: dict[str, str]) -> str:
    """Why an encoder does not open."""
    context: Any = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = 256, 144, "nv12"
    context.time_base, context.options = Fraction(1, 25), options
    with listening() as said, pytest.raises(av.FFmpegError):
        context.open()
    return heard(said)


@NO_CARD
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("family", sorted(nvenc.ENCODERS))
def test_ffmpeg_takes_every_option(made: tuple[Clip, EncodePlan], family: str, preset: Any) -> None:
    clip, base = made
    for quality, bitrate in ((0, 0), (50, 0), (85, 0), (99, 0), (85, 4_000_000)):
        encode = Encode(preset=preset, quality=quality, bitrate=bitrate)
        ours = nvenc.on_card(replace(base, family=family), clip, encode, 0)
        why = opening(ours.encoder, dict(ours.options))
        assert "libcuda" in why, "it goes as far as looking for a card"
        assert ("cq" in ours.options) == (bitrate == 0)
    # What is misspelt FFmpeg does not say, but what is out of range it does: so these names are known to it.
    for name, value in (("preset", "p8"), ("tune", "best"), ("rc", "crf"), ("cq", "64"), ("gpu", "many")):
        assert "libcuda" not in opening(nvenc.ENCODERS[family], {name: value})


@pytest.mark.parametrize("family", sorted(nvenc.ENCODERS))
def test_better_quality_is_a_smaller_cq(made: tuple[Clip, EncodePlan], family: str) -> None:
    clip, base = made
    base = replace(base, family=family)
    cq = [float(nvenc.on_card(base, clip, Encode(quality=q), 0).options["cq"]) for q in range(101)]
    assert cq == sorted(cq, reverse=True)
    assert 1 <= cq[100] <= cq[0] <= (63 if family == "av1" else 51)


def test_presets_rise(made: tuple[Clip, EncodePlan]) -> None:
    clip, base = made
    found = [nvenc.on_card(base, clip, Encode(preset=p), 0).options["preset"] for p in PRESETS]
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == ("p1", "p7")


@pytest.mark.parametrize("family", sorted(nvenc.ENCODERS))
def test_the_encoders_take_what_they_are_given(made: tuple[Clip, EncodePlan], family: str) -> None:
    clip, base = made
    forms = {form.name for form in Codec(nvenc.ENCODERS[family], "w").video_formats or ()}
    for depth, pix_fmt in ((8, "yuv420p"), (10, "yuv420p10le")):
        for device in ("", "cuda:0"):
            ours = nvenc.on_card(replace(base, family=family, pix_fmt=pix_fmt), clip, Encode(), 1, device)
            assert ours.pix_fmt in forms
            assert (ours.card, ours.device, ours.options["gpu"]) == (1, device, "1")
            assert ours.pix_fmt == {8: "nv12" if device else "yuv420p", 10: "p010le"}[depth]
    assert "cuda" in forms


def test_what_is_scaled_or_padded_comes_down_for_it(tmp_path: Path) -> None:
    clip, known = clip_of(tmp_path / "in.mp4")
    smaller = plan(clip, known, Encode(size="128x72"), tmp_path / "out.mp4")
    assert nvenc.on_card(smaller, clip, Encode(), 0, "cuda:0").device == ""
    same = plan(clip, known, Encode(), tmp_path / "out.mp4")
    assert nvenc.on_card(same, clip, Encode(), 0, "cuda:0").device == "cuda:0"


@pytest.mark.parametrize(
    ("changes", "suffix", "encode", "why"),
    [
        ({}, ".mp4", {}, ""),
        ({"codec": "libx265", "pix_fmt": "yuv420p10le"}, ".mkv", {}, ""),
        ({}, ".mp4", {"codec": "av1"}, ""),
        ({}, ".mp4", {"quality": 100, "bitrate": 4_000_000}, ""),
        ({}, ".mp4", {"quality": 100}, "without loss"),
        ({"pix_fmt": "yuv422p"}, ".mp4", {}, "yuv422p"),
        ({"codec": "libx265", "pix_fmt": "yuv420p12le"}, ".mkv", {}, "yuv420p12le"),
        ({"codec": "libx264rgb", "pix_fmt": "rgb24"}, ".mkv", {}, "rgb24"),
        ({"codec": "libvpx-vp9"}, ".webm", {}, "no encoder for vp9"),
        ({"codec": "ffv1"}, ".mkv", {}, "no encoder for ffv1"),
    ],
)
def test_what_cards_are_not_asked_for(
    tmp_path: Path, changes: dict[str, Any], suffix: str, encode: dict[str, Any], why: str
) -> None:
    clip, known = clip_of(tmp_path / f"in{suffix}", frames=4, **changes)
    asked = Encode(**encode)
    said = nvenc.unsuited(plan(clip, known, asked, tmp_path / f"out{suffix}"), clip, asked)
    assert why in said
    assert bool(why) == bool(said)


def test_side_data_that_a_card_may_drop_keeps_the_processor(made: tuple[Clip, EncodePlan]) -> None:
    clip, base = made
    bright = replace(clip, hdr=Hdr(light=(1000, 400)))
    assert "mastering" in nvenc.unsuited(base, bright, Encode())


@NO_CARD
@pytest.mark.parametrize("device", ["", "cpu"])
def test_without_a_driver_the_reason_is_said(made: tuple[Clip, EncodePlan], device: str) -> None:
    if device:
        pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    clip, base = made
    assert "libcuda" in nvenc.refusal(nvenc.on_card(base, clip, Encode(), 0, device), clip)


def stand_in(made: EncodePlan) -> EncodePlan:
    """The same plan with an encoder on the processor that takes the same pictures, without loss."""
    return replace(made, encoder="libx264", options={"qp": "0", "preset": "ultrafast"})


@pytest.mark.parametrize("device", ["", "cpu"])
@pytest.mark.parametrize("sent", ["arrays", "tensors"])
def test_segments_of_a_cards_encoder_become_a_file(tmp_path: Path, device: str, sent: str) -> None:
    if device or sent == "tensors":
        pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    clip, known = clip_of(tmp_path / "in.mp4")
    base = plan(clip, known, Encode(), tmp_path / "out.mp4", threads=2)
    made = stand_in(nvenc.on_card(base, clip, Encode(), 0, device))
    assert made.pix_fmt == ("nv12" if device else "yuv420p")
    assert nvenc.refusal(made, clip) == ""
    outgoing = Outgoing(made, clip.layout, 1)
    parts = []
    for segment in known.segments(0, 20, 0.3):
        parts.append(tmp_path / f"{segment.number}.mp4")
        times = schedule(made, known, clip, segment.start, segment.end)
        with SegmentWriter(parts[-1], made, times) as writer:
            for frame in frames(clip, known, segment.start, segment.end):
                if sent == "tensors":
                    from mien.media.surfaces import up

                    landing = outgoing(up(frame, "cpu"))
                else:
                    landing = outgoing(frame)
                writer.write(landing.frame())
                landing.release()
    assert len(parts) > 1
    assert join(made, parts, clip, known).verified.frames == 20
    want, got = _samples(planes(clip.path)), _samples(planes(tmp_path / "out.mp4"))
    assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))


def _samples(pictures: list[Any]) -> Iterator[Any]:
    return iter(pictures)


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["", "cuda:0"])
@pytest.mark.parametrize("family", sorted(nvenc.ENCODERS))
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_a_cards_encoder(tmp_path: Path, family: Any, pix_fmt: str, device: str) -> None:
    """Segments, with times of a variable rate, joined and verified; close to what went in."""
    if not nvidia.driver().cards:
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and there is no driver"
        pytest.skip("no card")
    if device:
        pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    times = np.cumsum([0, *([1, 2, 1, 5] * 12)])[:48].tolist()
    clip, known = clip_of(
        tmp_path / "in.mkv", codec="ffv1", pix_fmt=pix_fmt, frames=48, pts=times, time_base=Fraction(1, 50)
    )
    encode = Encode(codec=family, quality=95)
    base = plan(clip, known, encode, tmp_path / "out.mp4", threads=2)
    made = nvenc.on_card(base, clip, encode, 0, device)
    if why := nvenc.refusal(made, clip):
        pytest.skip(f"this card does not encode so: {why}")
    outgoing, parts = Outgoing(made, clip.layout, 1), []
    for segment in known.segments(0, 48, 0.7):
        parts.append(tmp_path / f"{segment.number}.mp4")
        with SegmentWriter(
            parts[-1], made, schedule(made, known, clip, segment.start, segment.end)
        ) as writer:
            for frame in frames(clip, known, segment.start, segment.end):
                landing = outgoing(frame)
                writer.write(landing.frame())
                landing.release()
    assert join(made, parts, clip, known).verified.frames == 48
    out = probe(tmp_path / "out.mp4")
    assert (out.codec, out.layout.depth) == (family, clip.layout.depth)
    for mine, theirs in zip(frames(out, index(out)), frames(clip, known), strict=True):
        unit = 1 << (clip.layout.depth - 8)
        error = np.mean((mine.planes[0].astype(float) - theirs.planes[0]) ** 2) / unit**2
        assert 10 * np.log10(255**2 / max(error, 1e-9)) > 38
