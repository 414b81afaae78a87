"""Live output: what is written is what was given, at its time; sound to the sample; clear errors."""

from __future__ import annotations

import sys
import threading
import types
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import MediaError, RuntimeUnavailable, SettingsError
from mien.media.broadcast import Assembly, Muxed, i420, opened
from mien.media.camera import RATE, TICKS, Sound, frame
from mien.media.decode import views
from mien.media.layouts import LAYOUTS
from mien.settings import Encode
from mien.types import Array, Frame

SIZE = (96, 64)


def picture(number: int, tick: int, name: str = "yuv420p", size: tuple[int, int] = SIZE) -> Frame:
    made = av.VideoFrame(*size, name)
    random = np.random.default_rng(number)
    for plane in views(made, LAYOUTS[name]):
        plane[:] = random.integers(40, 200, plane.shape, np.uint8)
    return frame(made, "h264", tick, number)


def tone(start: int, length: int) -> Sound:
    wave = 0.5 * np.sin(2 * np.pi * 440 / RATE * np.arange(start, start + length))
    return Sound(np.stack([wave, wave]).astype(np.float32), start)


def written(path: Path, ticks: list[int], sound: bool = False, **encode: Any) -> list[Frame]:
    frames = [picture(k, tick) for k, tick in enumerate(ticks)]
    out = opened(str(path), Encode(quality=100, **encode), SIZE, Fraction(25), sound=sound)
    for made in frames:
        out.picture(made)
        if sound:
            out.sound(tone(round(made.pts * RATE / TICKS), RATE // 25))
    out.close()
    return frames


UNEVEN = [0, 3600, 7200, 18000, 21600, 36000, 39600]
"""Ticks with frames left out."""


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("sound", [False, True])
def test_every_frame_has_its_time_and_its_samples(tmp_path: Path, suffix: str, sound: bool) -> None:
    path = tmp_path / f"out{suffix}"
    frames = written(path, UNEVEN, sound)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with av.open(str(path)) as file:
        found = list(file.decode(video=0))
    assert [round((f.time or 0.0) * 1000) for f in found] == [tick // 90 for tick in UNEVEN]
    for shown, made in zip(found, frames, strict=True):
        assert np.array_equal(views(shown, LAYOUTS["yuv420p"])[0], made.planes[0])


def test_sound_lies_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    out = opened(str(path), Encode(), SIZE, Fraction(25), sound=True)
    for k in range(25):
        out.picture(picture(k, 3600 * k))
    for k in range(10, 20):
        out.sound(tone(k * RATE // 25, RATE // 25))
    out.close()
    with av.open(str(path)) as file:
        heard = list(file.decode(audio=0))
    samples = np.concatenate([f.to_ndarray()[0] for f in heard])
    first = round((heard[0].time or 0.0) * RATE)
    wave = np.zeros(len(samples) + abs(first))
    sine = 0.5 * np.sin(2 * np.pi * 440 / RATE * np.arange(RATE))
    wave[RATE * 10 // 25 : RATE * 20 // 25] = sine[RATE * 10 // 25 : RATE * 20 // 25]
    shifts = range(-40, 41)
    padded = np.concatenate([np.zeros(first), samples])
    likeness = [float(np.dot(padded[100:-100], wave[100 + s : len(padded) - 100 + s])) for s in shifts]
    assert abs(shifts[int(np.argmax(likeness))]) <= 2  # AAC keeps no more than that of a tone's phase


@pytest.mark.parametrize("suffix", [".ts", ".webm"])
def test_other_files_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    written(path, UNEVEN, True)
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) == len(UNEVEN)


def test_a_playlist(tmp_path: Path) -> None:
    path = tmp_path / "live.m3u8"
    written(path, [3600 * k for k in range(150)])
    assert "#EXTM3U" in path.read_text()
    assert list(tmp_path.glob("live*.ts"))
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) == 150


def test_key_frames_come_by_time_whatever_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    out = opened(str(path), Encode(), SIZE, Fraction(25))
    for k in range(61):  # ten frames a second where 25 were promised
        out.picture(picture(0, 9000 * k))
    out.close()
    with av.open(str(path)) as file:
        keys = [
            float(p.pts * p.time_base) for p in file.demux(video=0) if p.is_keyframe and p.pts is not None
        ]
    assert keys == [0.0, 2.0, 4.0, 6.0]


def test_the_sender_and_the_receiver_of_a_stream() -> None:
    port = 23490
    frames = [picture(k, 3600 * k) for k in range(200)]
    heard = threading.Event()

    def send() -> None:
        out = opened(f"udp://127.0.0.1:{port}", Encode(quality=100), SIZE, Fraction(25))
        for k in range(4000):  # over and over, until it has been heard
            if heard.is_set():
                break
            out.picture(replace(frames[k % 200], pts=3600 * k))
        out.close()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with av.open(
            f"udp://127.0.0.1:{port}?fifo_size=20000", "r", format="mpegts", timeout=(30, 30)
        ) as far:
            found = []
            for packet in far.demux(video=0):
                with suppress(av.FFmpegError):  # what comes before the first key frame
                    found += [views(shown, LAYOUTS["yuv420p"])[0].copy() for shown in packet.decode()]
                if len(found) >= 20:
                    break
    finally:
        heard.set()
        sender.join()
    sent = {made.planes[0].tobytes() for made in frames}
    assert sum(luma.tobytes() in sent for luma in found) >= 15  # datagrams may be lost


def test_a_recording_that_breaks_off_can_be_read(tmp_path: Path) -> None:
    out = Muxed(str(tmp_path / "a.mkv"), Encode(), SIZE, Fraction(25), sound=False, metadata={})
    for k in range(120):
        out.picture(picture(k, 3600 * k))
    with av.open(str(tmp_path / "a.part.mkv")) as file:
        assert len(list(file.decode(video=0))) > 40
    assert not (tmp_path / "a.mkv").exists()
    out.close()
    assert (tmp_path / "a.mkv").exists()


def test_full_range_stays_full_range(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    out = opened(str(path), Encode(quality=100), SIZE, Fraction(25))
    made = picture(1, 0, "yuvj420p")
    out.picture(made)
    out.close()
    with av.open(str(path)) as file:
        shown = next(file.decode(video=0))
        assert shown.format.name == "yuvj420p"
        assert np.array_equal(views(shown, LAYOUTS["yuvj420p"])[0], made.planes[0])


@pytest.mark.parametrize(
    ("target", "encode", "error", "text"),
    [
        ("gopher://a", Encode(), MediaError, "is not known for streams"),
        ("out.txt", Encode(), MediaError, "cannot be recorded to"),
        ("nosuch/out.mkv", Encode(), MediaError, "folder does not exist"),
        ("out.mkv", Encode(codec="prores"), SettingsError, "cannot be used live"),
        ("out.webm", Encode(codec="hevc"), SettingsError, "does not go into"),
        ("rtmp://127.0.0.1:9/live", Encode(), MediaError, "cannot be opened"),
    ],
)
def test_what_cannot_be_opened_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, encode: Encode, error: Any, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=text):
        opened(target, encode, SIZE, Fraction(25)).picture(picture(0, 0))


def test_a_protocol_that_is_not_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise av.error.ProtocolNotFoundError(1330794744, "Protocol not found", "srt://far:1")

    monkeypatch.setattr(av, "open", missing)
    with pytest.raises(MediaError, match="built without srt"):
        opened("srt://far:1", Encode(), SIZE, Fraction(25))


@given(st.lists(st.tuples(st.integers(-50, 300), st.integers(0, 80)), max_size=12), st.integers(1, 64))
def test_pieces_of_sound_become_one_run(pieces: list[tuple[int, int]], size: int) -> None:
    assembly, wanted = Assembly(), np.zeros(0, np.float32)
    for start, length in pieces:
        samples = np.arange(start, start + length, dtype=np.float32) + 1000.0
        assembly.add(Sound(np.stack([samples, samples]), start))
        end = start + length
        if end > len(wanted):  # what is there stays, gaps are silent
            grown = np.zeros(end, np.float32)
            grown[max(start, len(wanted)) :] = np.arange(max(start, len(wanted)), end) + 1000.0
            grown[: len(wanted)] = wanted
            wanted = grown
        elif start > len(wanted):
            wanted = np.concatenate([wanted, np.zeros(start - len(wanted), np.float32)])
    cut = [*assembly.take(size), *assembly.rest()]
    made = np.concatenate([samples[0] for samples, _ in cut]) if cut else np.zeros(0)
    assert np.array_equal(made, wanted)
    assert [at for _, at in cut] == [k * size for k in range(len(cut))]
    assert all(samples.shape == (2, size) for samples, _ in cut[:-1])


def test_after_a_long_gap_the_run_goes_on_at_its_time() -> None:
    assembly = Assembly()
    assembly.add(tone(0, 100))
    assembly.add(tone(Assembly.GAP + 200, 64))
    assert [at for _, at in assembly.take(64)] == [Assembly.GAP + 200]


class Loopback:
    """Stands for pyvirtualcam's camera."""

    sent: list[Array]

    def __init__(self, width: int, height: int, fps: float, fmt: str, device: str | None) -> None:
        if device == "none":
            raise RuntimeError("'v4l2loopback' backend: No\n devices found")
        self.asked = (width, height, fps, fmt, device)
        self.closed = False

    def send(self, picture: Array) -> None:
        Loopback.sent.append(picture.copy())

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("pyvirtualcam")
    module.Camera = Loopback  # type: ignore[attr-defined]
    module.PixelFormat = types.SimpleNamespace(I420="I420")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    Loopback.sent = []


@pytest.mark.usefixtures("loopback")
def test_a_virtual_camera_gets_the_planes() -> None:
    out = opened("virtual:/dev/video5", Encode(), SIZE, Fraction(30))
    made = picture(3, 0)
    out.picture(made)
    out.sound(tone(0, 10))
    out.close()
    sent = Loopback.sent[0]
    assert sent.shape == (SIZE[1] * 3 // 2, SIZE[0])
    assert np.array_equal(sent[: SIZE[1]], made.planes[0])
    assert np.array_equal(sent[SIZE[1] :].reshape(2, SIZE[1] // 2, SIZE[0] // 2)[0], made.planes[1])


@pytest.mark.usefixtures("loopback")
def test_without_a_driver_it_says_what_is_needed() -> None:
    with pytest.raises(RuntimeUnavailable, match="v4l2loopback"):
        opened("virtual:none", Encode(), SIZE, Fraction(30))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(RuntimeUnavailable, match=r'pip install "mien\[live\]"'):
        opened("virtual", Encode(), SIZE, Fraction(30))


def test_full_range_is_made_limited_for_cameras() -> None:
    made = picture(1, 0, "yuvj420p")
    made.planes[0][:] = 255
    assert int(i420(made, SIZE)[: SIZE[1]].max()) == 235
