"""Decoding by a card's video engine: every frame once and as the processor gives it, or by the processor.

A decoder on the processor stands for the engine: it gives its pictures in the engine's pixel formats.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from mien.media import nvdec
from mien.media.clip import Clip, FrameIndex, index, probe
from mien.media.decode import frames, refusal
from mien.media.hardware import VideoEngine
from mien.models import nvidia
from mien.types import Array, Frame
from tests.media.makers import Recipe, make

FORMS = {8: "nv12", 10: "p010le", 12: "p016le"}
HOST = VideoEngine(0)
MADE = (
    ("libx264", "yuv420p", ".mp4"),
    ("libx265", "yuv420p10le", ".mkv"),
    ("libx265", "yuv420p12le", ".mkv"),
    ("libsvtav1", "yuv420p10le", ".mp4"),
    ("libvpx-vp9", "yuv420p", ".webm"),
)


class Engine:
    """A decoder on the processor, with an engine's pixel formats; `change` may spoil its pictures."""

    def __init__(
        self, clip: Clip, stream: Any, change: Callable[[list[av.VideoFrame]], list[av.VideoFrame]]
    ) -> None:
        name = {"av1": "libdav1d"}.get(clip.codec, clip.codec)
        self._decoder = cast(Any, av.CodecContext.create(name, "r"))
        self._decoder.extradata = stream.codec_context.extradata
        self._decoder.reorder_depth = stream.codec_context.reorder_depth
        self._form, self._change = FORMS[clip.layout.depth], change

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        found = []
        for picture in self._decoder.decode(packet):
            made = picture.reformat(format=self._form, threads=1)
            made.pts = picture.pts
            found.append(made)
        return self._change(found)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def stand(change: Callable[[list[av.VideoFrame]], list[av.VideoFrame]] = lambda found: found) -> None:
        monkeypatch.setattr(nvdec, "decoder", lambda clip, stream, _: Engine(clip, stream, change))

    return stand


def clip_of(path: Path, **changes: Any) -> tuple[Clip, FrameIndex]:
    recipe: dict[str, Any] = {"frames": 40, "rate": Fraction(25), "gop": 10, "size": (128, 66), **changes}
    clip = probe(make(path, Recipe(**recipe)))
    return clip, index(clip)


def host(frame: Frame, clip: Clip) -> list[Array]:
    """Planes of a frame on the host, colours apart."""
    planes = [np.asarray(plane) for plane in frame.planes]
    if len(planes) == 2:
        planes = [planes[0], planes[1][..., 0], planes[1][..., 1]]
    assert planes[0].dtype == clip.layout.dtype
    return planes


def same(mine: Iterator[Frame], theirs: Iterator[Frame], clip: Clip) -> int:
    count = 0
    for one, other in zip(mine, theirs, strict=True):
        assert (one.index, one.pts) == (other.index, other.pts)
        assert all(np.array_equal(a, b) for a, b in zip(host(one, clip), other.planes, strict=True))
        count += 1
    return count


@pytest.mark.parametrize("device", ["", "cpu"])
@pytest.mark.parametrize(("codec", "pix_fmt", "suffix"), MADE)
def test_an_engine_gives_the_processors_frames(
    tmp_path: Path, engine: Callable[..., None], codec: str, pix_fmt: str, suffix: str, device: str
) -> None:
    if device:
        pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    clip, known = clip_of(tmp_path / f"in{suffix}", codec=codec, pix_fmt=pix_fmt)
    engine()
    told: list[str] = []
    asked = VideoEngine(0, device)
    assert refusal(clip, known, asked, 17) == ""
    for start, end in ((0, None), (17, 31), (39, 40)):
        mine = frames(clip, known, start, end, engine=asked, report=told.append)
        assert same(mine, frames(clip, known, start, end), clip) == (end or 40) - start
    assert told == []


def test_what_an_engine_leaves_the_processor_decodes(tmp_path: Path, engine: Callable[..., None]) -> None:
    clip, known = clip_of(tmp_path / "in.mp4")
    count = 0

    def fail(found: list[av.VideoFrame]) -> list[av.VideoFrame]:
        nonlocal count
        count += len(found)
        if count > 23:
            raise av.error.InvalidDataError(1094995529, "Invalid data found when processing input")
        return found

    engine(fail)
    told: list[str] = []
    assert same(frames(clip, known, engine=HOST, report=told.append), frames(clip, known), clip) == 40
    assert len(told) == 1
    assert "the processor decodes from frame 23 on, not the card: Invalid data" in told[0]


def test_a_frame_that_an_engine_drops_is_there_all_the_same(
    tmp_path: Path, engine: Callable[..., None]
) -> None:
    clip, known = clip_of(tmp_path / "in.mp4")
    engine(lambda found: [p for p in found if p.pts != int(known.pts[12])])
    told: list[str] = []
    assert same(frames(clip, known, 5, engine=HOST, report=told.append), frames(clip, known, 5), clip) == 35
    assert told == ["the processor decodes from frame 12 on, not the card: it leaves out frame 12"]
    engine(lambda found: [p for p in found if p.pts != int(known.pts[39])])
    assert same(frames(clip, known, engine=HOST, report=told.append), frames(clip, known), clip) == 40
    assert "it ends before frame 39" in told[-1]


def test_pictures_of_another_kind_are_refused(tmp_path: Path, engine: Callable[..., None]) -> None:
    clip, known = clip_of(tmp_path / "in.mp4")
    engine(lambda found: [_as(p, "yuv444p", 128, 66) for p in found])
    assert refusal(clip, known, VideoEngine(0, "cpu")) == "it gives yuv444p"
    engine(lambda found: [_as(p, "nv12", 128, 64) for p in found])
    assert refusal(clip, known, HOST) == "it gives 128x64"
    engine()
    assert refusal(clip, known, VideoEngine(0, "cuda:0")) == "its pictures do not stay on the card"


def _as(picture: av.VideoFrame, form: str, width: int, height: int) -> av.VideoFrame:
    made = picture.reformat(width, height, form, threads=1)
    made.pts = picture.pts
    return made


@pytest.mark.parametrize("start", [0, 25])
def test_an_engine_that_is_a_single_code_off_is_refused(
    tmp_path: Path, engine: Callable[..., None], start: int
) -> None:
    clip, known = clip_of(tmp_path / "in.mp4")

    def spoil(found: list[av.VideoFrame]) -> list[av.VideoFrame]:
        for picture in found:
            samples = np.frombuffer(memoryview(picture.planes[1]), np.uint8)
            samples[37] += 1
        return found

    engine(spoil)
    first = start // 10 * 10
    assert refusal(clip, known, HOST, start) == f"frame {first} differs from what the processor decodes"


@pytest.mark.parametrize(
    ("changes", "suffix", "why"),
    [
        ({"pix_fmt": "yuv422p"}, ".mp4", "pictures of yuv422p"),
        ({"pix_fmt": "yuv444p", "codec": "libx265"}, ".mp4", "pictures of yuv444p"),
        ({"codec": "ffv1"}, ".mkv", "decodes ffv1"),
        ({"codec": "prores_ks", "pix_fmt": "yuv422p10le"}, ".mov", "decodes prores"),
        ({"size": (127, 65), "codec": "libvpx-vp9"}, ".webm", "sides are odd"),
    ],
)
def test_what_no_engine_is_asked_for(tmp_path: Path, changes: dict[str, Any], suffix: str, why: str) -> None:
    clip, known = clip_of(tmp_path / f"in{suffix}", frames=4, **changes)
    assert why in nvdec.unsuited(clip)
    assert why in refusal(clip, known, HOST)


@pytest.mark.skipif(bool(nvidia.driver().cards), reason="there is a card")
@pytest.mark.parametrize("device", ["", "cpu"])
def test_without_a_driver_the_reason_is_ffmpegs(tmp_path: Path, device: str) -> None:
    if device:
        pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    clip, known = clip_of(tmp_path / "in.mp4", frames=5)
    assert "CUDA" in refusal(clip, known, VideoEngine(0, device))
    told: list[str] = []
    assert (
        same(
            frames(clip, known, engine=VideoEngine(0, device), report=told.append), frames(clip, known), clip
        )
        == 5
    )
    assert "from frame 0 on" in told[0]


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["", "cuda:0"])
@pytest.mark.parametrize(("codec", "pix_fmt", "suffix"), MADE)
def test_a_cards_engine(tmp_path: Path, codec: str, pix_fmt: str, suffix: str, device: str) -> None:
    """What a card has no engine for (AV1 on Hopper) it says; what it decodes is right to the bit."""
    if not nvidia.driver().cards:
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and there is no driver"
        pytest.skip("no card")
    clip, known = clip_of(tmp_path / f"in{suffix}", codec=codec, pix_fmt=pix_fmt, size=(256, 144))
    asked = VideoEngine(0, device)
    if why := refusal(clip, known, asked):
        assert codec not in ("libx264", "libx265"), why
        pytest.skip(f"this card does not decode {clip.codec}: {why}")
    told: list[str] = []
    count = 0
    for mine, theirs in zip(
        frames(clip, known, 7, engine=asked, report=told.append), frames(clip, known, 7), strict=True
    ):
        tensors: tuple[Any, ...] = mine.planes
        planes = [np.asarray(p.cpu()) if device else p for p in tensors]
        if device:
            planes = [planes[0], planes[1][..., 0], planes[1][..., 1]]
        assert all(np.array_equal(a, b) for a, b in zip(planes, theirs.planes, strict=True))
        count += 1
    assert count == 33
    assert told == []
