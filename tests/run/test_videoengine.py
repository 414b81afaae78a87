"""Which video engine a job uses, what is said where one refuses, and jobs whose frames stay on a device.

The device is torch's CPU; decoders and encoders on the processor stand for a card's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import RuntimeUnavailable
from mien.media import nvdec, nvenc
from mien.media.hardware import VideoEngine
from mien.media.plan import EncodePlan, plan
from mien.models import nvidia
from mien.models.runtime import Runtime
from mien.run import verbs, video, videoengine
from mien.run.job import Folder
from mien.run.render import Footage
from mien.settings import Device, Encode, Job, Settings
from mien.types import Event, Finished, Progress, Warned
from tests.media.makers import Recipe, make
from tests.media.test_nvenc import stand_in
from tests.media.test_video_engine import Engine
from tests.run.test_swap_networks import LOSSLESS, SWAP, _job, _pictures, equipped

__all__ = ["equipped"]

PLAIN = Encode(preset="fastest")


def settled(work: Any) -> tuple[list[Warned], Any]:
    """What a decision says, and what it comes to."""
    said = []
    while True:
        try:
            said.append(next(work))
        except StopIteration as stop:
            return said, stop.value


@pytest.fixture
def film(tmp_path: Path) -> Footage:
    return video.footage(make(tmp_path / "in.mp4", Recipe(frames=12)), "", "")


@pytest.fixture
def made(film: Footage, tmp_path: Path) -> EncodePlan:
    return plan(film.clip, film.index, PLAIN, tmp_path / "out.mp4", threads=2)


def refuse(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    monkeypatch.setattr(videoengine, "refusal", lambda *_: why)
    monkeypatch.setattr(nvenc, "refusal", lambda *_: why)


@pytest.mark.parametrize(
    ("asked", "pixels", "why", "result"),
    [
        ("cpu", "cuda:0", "", "processor"),
        ("auto", "", "", "processor"),
        ("auto", "cuda:0", "", "card"),
        ("auto", "cuda:0", "no capable devices found", "said"),
        ("card", "cuda:0", "", "card"),
        ("card", "cuda:0", "no capable devices found", "error"),
        ("card", "", "", "absent"),
    ],
)
def test_which_engine_decodes_and_encodes(
    film: Footage,
    made: EncodePlan,
    monkeypatch: pytest.MonkeyPatch,
    asked: Any,
    pixels: str,
    why: str,
    result: str,
) -> None:
    refuse(monkeypatch, why)
    monkeypatch.setattr(nvidia, "driver", lambda: nvidia.Driver("", ()))
    device = Device(decode=asked, encode=asked)
    for work in (
        videoengine.decoding(film, device, pixels),
        videoengine.encoding(made, film, PLAIN, device, pixels, ""),
    ):
        if result in ("error", "absent"):
            with pytest.raises(RuntimeUnavailable, match=why or "there is no NVIDIA card 0"):
                settled(work)
            continue
        said, found = settled(work)
        assert [why in one.message for one in said] == ([True] if result == "said" else [])
        if result != "card":
            assert found in (None, made)
        elif isinstance(found, EncodePlan):
            assert (found.encoder, found.card, found.device) == ("h264_nvenc", 0, "cuda:0")
        else:
            assert found == VideoEngine(0, "cuda:0")


def test_without_pixels_on_a_card_it_still_decodes_and_encodes_where_asked(
    film: Footage, made: EncodePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "")
    monkeypatch.setattr(nvidia, "driver", lambda: nvidia.Driver("13.0", ("one", "other")))
    device = Device(decode="card", encode="card", processor="cuda:1")
    assert settled(videoengine.decoding(film, device, "")) == ([], VideoEngine(1))
    _, found = settled(videoengine.encoding(made, film, PLAIN, device, "", ""))
    assert (found.encoder, found.card, found.device, found.pix_fmt) == ("h264_nvenc", 1, "", "yuv420p")


def test_what_no_card_does_is_silent_by_itself_and_an_error_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "")
    film = video.footage(make(tmp_path / "in.mkv", Recipe(frames=6, codec="ffv1", pix_fmt="yuv444p")), "", "")
    made = plan(film.clip, film.index, PLAIN, tmp_path / "out.mkv")
    auto, card = Device(), Device(decode="card", encode="card")
    assert settled(videoengine.decoding(film, auto, "cuda:0")) == ([], None)
    assert settled(videoengine.encoding(made, film, PLAIN, auto, "cuda:0", "")) == ([], made)
    with pytest.raises(RuntimeUnavailable, match="decodes ffv1"):
        settled(videoengine.decoding(film, card, "cuda:0"))
    with pytest.raises(RuntimeUnavailable, match="no encoder for ffv1"):
        settled(videoengine.encoding(made, film, PLAIN, card, "cuda:0", ""))


def test_a_job_goes_on_with_the_encoder_it_began_with(
    film: Footage, made: EncodePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "")
    began = videoengine.note(made)[videoengine.ENCODER]
    assert began == "libx264"
    _, found = settled(videoengine.encoding(made, film, PLAIN, Device(), "cuda:0", began))
    assert found == made
    _, found = settled(videoengine.encoding(made, film, PLAIN, Device(), "cuda:0", ""))
    assert videoengine.note(found) == {"encode": "h264_nvenc on cuda:0"}


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    monkeypatch.setattr(Runtime, "pixels", property(lambda _: "cpu"))


def run(job: Job, home: Path, folder: Path) -> tuple[list[Event], Finished]:
    events = list(verbs.swap(job, folder=folder, home=home))
    last = events[-1]
    assert isinstance(last, Finished)
    return events, last


def asked(written: Encode = LOSSLESS, **device: Any) -> Settings:
    return Settings(swap=SWAP, encode=written, device=Device(engine="torch", precision="f32", **device))


def test_frames_on_a_device_come_down_once_and_are_the_same(
    material: Path, equipped: Path, tmp_path: Path, on_device: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded by the processor and sent up, or by an engine and there already: the same file to the byte."""
    files = []
    for name, way in (("up.mkv", "cpu"), ("there.mkv", "auto")):
        if way == "auto":
            monkeypatch.setattr(nvdec, "decoder", lambda clip, stream, _: Engine(clip, stream, lambda p: p))
        job = _job(material, tmp_path / name, asked(decode=way))
        events, last = run(job, equipped, tmp_path / f"job {name}")
        assert not [e for e in events if isinstance(e, Warned) and "processor" in e.message]
        assert "download" in last.stages
        files.append(_pictures(tmp_path / name))
    for mine, theirs in zip(*files, strict=True):
        assert np.array_equal(mine, theirs)


def test_a_job_whose_segments_a_cards_encoder_writes(
    material: Path, equipped: Path, tmp_path: Path, on_device: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_card: Callable[..., EncodePlan] = nvenc.on_card
    monkeypatch.setattr(nvenc, "on_card", lambda *given: stand_in(on_card(*given)))
    monkeypatch.setattr(video, "SECONDS", 0.4)
    monkeypatch.setattr("mien.run.report.EVERY", 0.0)
    settings = asked(Encode(codec="h264"), decode="cpu")
    job = _job(material, tmp_path / "out.mp4", settings)
    run(job, equipped, tmp_path / "whole")
    expected = job.output.read_bytes()
    job.output.unlink()
    events = verbs.swap(job, folder=tmp_path / "stopped", home=equipped)
    for event in events:
        if isinstance(event, Progress) and event.stage == "render" and event.done >= 20:
            break
    events.close()
    assert Folder(tmp_path / "stopped").engines()["encode"] == "libx264 on cuda:0"
    continued, _ = run(job, equipped, tmp_path / "stopped")
    assert getattr(continued[0], "resumed", 0) > 0
    assert job.output.read_bytes() == expected
    # The card is gone: all segments have to share one encoder.
    events = verbs.swap(job, folder=tmp_path / "gone", home=equipped)
    for event in events:
        if isinstance(event, Progress) and event.stage == "render" and event.done >= 20:
            break
    events.close()
    monkeypatch.setattr(nvenc, "refusal", lambda *_: "no capable devices found")
    again, last = run(job, equipped, tmp_path / "gone")
    said = [e.message for e in again if isinstance(e, Warned)]
    assert any("libx264), not by the card: no capable devices found" in text for text in said)
    assert any("other engines" in text for text in said)
    assert last.frames == 32


def test_a_changed_frame_is_the_one_that_was_given(
    material: Path, equipped: Path, tmp_path: Path, on_device: None
) -> None:
    """Pictures are changed in place on whichever device the work was done."""
    picture = material / "face.png"
    job = Job(
        target=picture,
        output=tmp_path / "out.png",
        cast=(_job(material, tmp_path / "x.mkv", asked()).cast[0],),
        settings=asked(),
    )
    list(verbs.swap(job, home=equipped))
    before, after = (np.asarray(Image.open(p).convert("RGB")).astype(int) for p in (picture, job.output))
    assert np.abs(before - after).max() > 3
