"""Live input: names of devices on every system, times, sound, turned pictures, and inputs that are lost."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import MediaError
from mien.media import devices
from mien.media.camera import RATE, TICKS, Item, Reader, Said, Shot, Sound, Timeline, upright
from mien.media.decode import views
from mien.media.layouts import LAYOUTS
from mien.settings import Feed
from tests.media.makers import ROTATE_90, Recipe, make
from tests.media.makers import Sound as Tone


class Paper:
    """A clock that moves only when somebody waits."""

    def __init__(self) -> None:
        self.time = 100.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def until(self, moment: float) -> bool:
        self.waits.append(moment)
        self.time = max(self.time, moment)
        return True


def shots(items: list[Item]) -> list[Shot]:
    return [item for item in items if isinstance(item, Shot)]


NAMES = {
    "dshow": {"Integrated Camera": "@device_1", "OBS": "@device_2"},
    "avfoundation": {"FaceTime HD": "0x8020"},
    "v4l2": {"Front": "/dev/video0", "Webcam": "/dev/video2"},
}
"""What people call cameras, to FFmpeg's names."""


@pytest.mark.parametrize(
    ("system", "given", "url", "form"),
    [
        ("linux", "camera", "/dev/video0", "v4l2"),
        ("linux", "camera:2", "/dev/video2", "v4l2"),
        ("linux", "/dev/video1", "/dev/video1", "v4l2"),
        ("linux", "Webcam", "/dev/video2", "v4l2"),
        ("darwin", "camera:1", "1:none", "avfoundation"),
        ("darwin", "FaceTime HD", "FaceTime HD:none", "avfoundation"),
        ("win32", "camera:1", "video=@device_2", "dshow"),
        ("win32", "Integrated Camera", "video=@device_1", "dshow"),
    ],
)
def test_a_camera_is_named_as_its_system_wants_it(system: str, given: str, url: str, form: str) -> None:
    found = devices.picture(Feed(input=given), system, lambda which, kind: NAMES[which])
    assert (found.kind, found.url, found.format) == ("camera", url, form)


@pytest.mark.parametrize(
    ("system", "asked"),
    [
        ("linux", {"video_size": "1280x720", "framerate": "30", "input_format": "mjpeg"}),
        ("darwin", {"video_size": "1280x720", "framerate": "30", "pixel_format": "mjpeg"}),
        ("win32", {"video_size": "1280x720", "framerate": "30", "vcodec": "mjpeg", "rtbufsize": "64M"}),
    ],
)
def test_what_is_asked_of_a_camera(system: str, asked: dict[str, str]) -> None:
    feed = Feed(size="1280x720", fps=30.0, pixels="mjpeg")
    assert devices.picture(feed, system, lambda which, kind: {"A": "a"}).options == asked


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(MediaError, match="Integrated Camera, OBS"):
        devices.picture(Feed(input="camera:7"), "win32", lambda which, kind: NAMES[which])
    with pytest.raises(MediaError, match="neither a camera nor a file"):
        devices.picture(Feed(input="nosuch.mp4"), "linux", lambda which, kind: {})


def test_cameras_are_listed_by_what_people_call_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Video4Linux answered for two loopback devices and a webcam: in no order, and without kinds."""
    told = [
        SimpleNamespace(name="/dev/video10", description="Webcam", media_types=[]),
        SimpleNamespace(name="/dev/video0", description="Front", media_types=[]),
        SimpleNamespace(name="/dev/video2", description="Webcam", media_types=[]),
    ]
    monkeypatch.setattr(av, "enumerate_input_devices", lambda form: told)
    assert list(devices.devices("v4l2", "video").items()) == [
        ("Front", "/dev/video0"),
        ("Webcam (/dev/video2)", "/dev/video2"),
        ("Webcam (/dev/video10)", "/dev/video10"),
    ]
    told[1].media_types = ["audio"]
    assert "Front" not in devices.devices("dshow", "video")


def test_microphones() -> None:
    assert devices.sound(Feed()) is None
    assert devices.sound(Feed(sound="none")) is None
    found = [devices.sound(Feed(sound="Mic"), system) for system in ("linux", "darwin", "win32")]
    assert [(f.format, f.url) for f in found if f] == [
        ("alsa", "Mic"),
        ("avfoundation", ":Mic"),
        ("dshow", "audio=Mic"),
    ]


def test_a_camera_that_is_absent_is_one_clear_error() -> None:
    with pytest.raises(MediaError, match=r"/dev/video97.*(does not exist|cannot be opened)"):
        list(Reader(Feed(input="camera:97"), Paper()))


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_a_file_comes_at_its_own_pace(tmp_path: Path, rate: Fraction) -> None:
    clip = make(tmp_path / "in.mp4", Recipe(frames=12, rate=rate))
    pace = Paper()
    found = shots(list(Reader(Feed(input=str(clip)), pace)))
    ticks = [round(k / rate * TICKS) for k in range(12)]
    assert [shot.frame.pts for shot in found] == ticks
    assert [shot.frame.index for shot in found] == list(range(12))
    assert pace.waits == [100.0 + tick / TICKS for tick in ticks]
    assert [shot.captured for shot in found] == pace.waits


def test_pictures_are_those_of_the_file(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.mp4", Recipe(frames=6))
    with av.open(str(clip)) as given:
        wanted = [views(f, LAYOUTS["yuv420p"])[0].copy() for f in given.decode(video=0)]
    found = shots(list(Reader(Feed(input=str(clip)), Paper())))
    assert all(np.array_equal(s.frame.planes[0], w) for s, w in zip(found, wanted, strict=True))
    assert all(s.frame.planes[0].flags.writeable for s in found)


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "name"),
    [("yuv420p", "libx264", "yuv420p"), ("yuv422p", "libx264", "yuv420p"), ("yuvj422p", "mjpeg", "yuvj420p")],
)
def test_everything_becomes_4_2_0_in_its_own_range(
    tmp_path: Path, pix_fmt: str, codec: str, name: str
) -> None:
    clip = make(tmp_path / "in.mkv", Recipe(frames=3, pix_fmt=pix_fmt, codec=codec))
    found = shots(list(Reader(Feed(input=str(clip)), Paper())))
    assert {shot.frame.layout.name for shot in found} == {name}
    assert {shot.frame.colour.full_range for shot in found} == {name.startswith("yuvj")}


def test_ten_bits_are_said(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.mkv", Recipe(frames=3, pix_fmt="yuv420p10le"))
    said = [item for item in Reader(Feed(input=str(clip)), Paper()) if isinstance(item, Said)]
    assert [item.message for item in said] == ["yuv420p10le is worked on with 8 bits"]


def test_a_turned_film_comes_upright(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.mp4", Recipe(frames=2, size=(96, 64), matrix=ROTATE_90))
    with av.open(str(clip)) as given:
        coded = views(next(given.decode(video=0)), LAYOUTS["yuv420p"])[0].copy()
    found = shots(list(Reader(Feed(input=str(clip)), Paper())))
    assert found[0].frame.size == (64, 96)
    assert np.array_equal(found[0].frame.planes[0], np.rot90(coded, -1))


@pytest.mark.parametrize(
    "turn", [[[0, -1], [1, 0]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[-1, 0], [0, 1]]]
)
def test_turning_goes_by_the_matrix(turn: list[list[int]]) -> None:
    picture = av.VideoFrame(8, 4, "yuv420p")
    plane = views(picture, LAYOUTS["yuv420p"])[0]
    plane[:] = np.arange(32).reshape(4, 8)
    matrix = np.array(turn, float)
    made = views(upright(picture, matrix), LAYOUTS["yuv420p"])[0]
    corners = np.array([[0, 0], [8, 4]]) @ matrix.T
    for y in range(4):
        for x in range(8):
            u, v = np.floor(matrix @ (x + 0.5, y + 0.5) - corners.min(axis=0)).astype(int)
            assert made[v, u] == plane[y, x]


def test_sound_begins_where_it_does_to_the_sample(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.mkv", Recipe(frames=24, sounds=[Tone(0.0, 1.0, codec="flac")]))
    with av.open(str(clip)) as given:
        wanted = np.concatenate([f.to_ndarray().reshape(1, -1) for f in given.decode(audio=0)], axis=1)
        rate = given.streams.audio[0].rate
    heard = [item for item in Reader(Feed(input=str(clip)), Paper()) if isinstance(item, Sound)]
    assert heard[0].start == 0
    assert [a.end for a in heard[:-1]] == [b.start for b in heard[1:]]
    assert abs(heard[-1].end - wanted.shape[1] * RATE // rate) <= 32
    none = Reader(Feed(input=str(clip), sound="none"), Paper())
    assert not [item for item in none if isinstance(item, Sound)]


def test_a_loop_goes_on_in_time(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.mp4", Recipe(frames=5, rate=Fraction(25)))
    found: list[Shot] = []
    for item in Reader(Feed(input=str(clip), loop=True), Paper()):
        if isinstance(item, Shot):
            found.append(item)
        if len(found) == 13:
            break
    assert [shot.frame.pts for shot in found] == [3600 * k for k in range(13)]
    assert [shot.frame.index for shot in found] == list(range(13))


class Flaky:
    """Opens a clip whenever an address is opened, but for some times."""

    def __init__(self, clip: Path, works: Callable[[int], bool]) -> None:
        self.clip, self.works, self.count = clip, works, 0

    def __call__(self, url: str, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        if not self.works(self.count):
            raise ConnectionRefusedError(111, "Connection refused", url)
        return av.open(str(self.clip))


def test_a_lost_stream_comes_back_later_in_time(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.mp4", Recipe(frames=5, rate=Fraction(25)))
    pace, flaky = Paper(), Flaky(clip, lambda count: count in (1, 4))
    items: list[Item] = []
    reader = Reader(Feed(input="rtsp://somewhere/a", reconnect=3.0), pace, opener=flaky)
    with pytest.raises(MediaError, match="is lost"):
        items.extend(reader)
    ticks = [shot.frame.pts for shot in shots(items)]
    assert ticks[:5] == [3600 * k for k in range(5)]
    # three attempts half a second apart: its clock goes on with the world's
    assert ticks[5] == round(1.5 * TICKS)
    assert ticks == sorted(set(ticks))
    said = [item.message for item in items if isinstance(item, Said)]
    assert said == ["has ended; it is tried again", "is back after 1.5 s", "has ended; it is tried again"]
    # given up after three seconds without it
    assert flaky.count == 4 + 6


def test_without_patience_it_ends_at_once(tmp_path: Path) -> None:
    clip = make(tmp_path / "in.mp4", Recipe(frames=2))
    flaky = Flaky(clip, lambda count: True)
    with pytest.raises(MediaError, match="has ended"):
        list(Reader(Feed(input="udp://somewhere", reconnect=0.0), Paper(), opener=flaky))
    assert flaky.count == 1


def test_what_never_was_there_is_not_waited_for() -> None:
    flaky = Flaky(Path("none"), lambda count: False)
    with pytest.raises(MediaError, match=r"Connection refused|cannot be opened"):
        list(Reader(Feed(input="rtmp://somewhere/live"), Paper(), opener=flaky))
    assert flaky.count == 1


@given(st.lists(st.fractions(0, 100), min_size=1, max_size=30))
def test_times_never_fall(moments: list[Fraction]) -> None:
    line = Timeline()
    line.open(Fraction(0), 5.0)
    ticks = [line.tick(moment) for moment in moments]
    assert all(a < b for a, b in pairwise(ticks))
    assert line.due(ticks[0]) == 5.0 + ticks[0] / TICKS
