"""Live over REST, with a film as the camera; and sound for who listens, to the sample."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("aiortc")

from aiortc import RTCRtpCodecParameters
from aiortc.codecs import get_encoder

from mien.app.server import webrtc
from mien.errors import MediaError
from mien.media.camera import RATE, TICKS, Shot, Sound, Timeline
from mien.run import scene
from mien.run.pulse import Delay, Pulse, Written
from mien.settings import Feed
from tests.app.server.conftest import Place
from tests.regression import scenes

PATIENCE = 60.0


def wait(place: Place, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The state of the run as soon as it is as wanted."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found: dict[str, Any] = place.client.get("/api/live").json()
        if ready(found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came: {found}")


@pytest.fixture
def face(seen: Place) -> Path:
    path = seen.films / "hopper.png"
    scenes.portrait("hopper").save(path)
    return path


def test_begin_change_record_and_end(seen: Place, face: Path) -> None:
    client, target = seen.client, seen.films / "live.mkv"
    body = {
        "feed": {"input": str(seen.clip), "loop": True},
        "cast": [{"sources": [str(face)], "faces": "all"}],
        "outputs": [str(target)],
    }
    answer = client.post("/api/live", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["running"]
    assert client.post("/api/live", json=body).status_code == 409
    found = wait(seen, lambda s: bool(s["pulse"] and s["pulse"]["made"] > 3) or not s["running"])
    assert found["running"], found
    assert found["pulse"]["faces"] >= 1
    changed = client.put("/api/live/settings", json={"settings": {"swap": {"strength": 0.5}}})
    assert changed.status_code == 200, changed.text
    assert changed.json()["now"]
    assert changed.json()["live"]["settings"]["swap"]["strength"] == 0.5
    label = client.put("/api/live/settings", json={"feed": {**body["feed"], "label": False}})  # type: ignore[dict-item]
    assert label.json()["now"]
    wait(seen, lambda s: any(note["subject"] == "feed.label" for note in s["notes"]))
    wrong = client.put("/api/live/settings", json={"settings": {"swap": {"model": "nosuch"}}})
    assert wrong.status_code == 422
    assert wrong.json()["error"]["kind"] == "settings"
    other = client.post("/api/live/outputs", json={"name": str(seen.films / "second.mkv")})
    assert other.status_code == 200, other.text
    made = client.get("/api/live").json()["pulse"]["made"]
    wait(seen, lambda s: s["pulse"]["made"] > made + 3)
    assert (
        client.delete("/api/live/outputs", params={"name": str(seen.films / "second.mkv")}).status_code == 200
    )
    assert client.delete("/api/live/outputs", params={"name": "none"}).status_code == 404
    ended = client.delete("/api/live").json()
    assert not ended["running"]
    assert ended["error"] is None
    for path in (target, seen.films / "second.mkv"):
        with av.open(str(path)) as file:
            assert len(list(file.decode(video=0))) >= 3


def test_how_far_it_is(seen: Place, face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second scene is not ready before it may be: until then the run cannot end."""
    first, go = scene.made, threading.Event()

    def slow(*given: Any) -> Any:
        if len(given) == 4:  # with the scene before it
            go.wait(60)
        return (yield from first(*given))

    monkeypatch.setattr(scene, "made", slow)
    assert seen.client.get("/api/live").json()["phase"] == "off"
    feed = {"input": str(seen.clip), "loop": True}
    body = {"feed": feed, "cast": [{"sources": [str(face)], "faces": "all"}]}
    assert seen.client.post("/api/live", json=body).json()["phase"] == "preparing"
    wait(seen, lambda told: told["phase"] == "showing")
    other = {"sources": [str(face), str(face)], "faces": "all"}
    assert not seen.client.put("/api/live/settings", json={"cast": [other]}).json()["now"]
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(seen.client.delete, "/api/live")
        wait(seen, lambda told: told["phase"] == "ending")
        go.set()
        assert ended.result().json()["phase"] == "off"


def test_what_cannot_be(seen: Place, face: Path, tmp_path: Path) -> None:
    client = seen.client
    good = {"feed": {"input": str(seen.clip)}, "cast": [{"sources": [str(face)]}]}
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"")
    for body, status in [
        ({**good, "feed": {"input": str(outside)}}, 403),
        ({**good, "feed": {"input": f"file://{outside}"}}, 422),
        ({**good, "feed": {"input": "concat:a|b"}}, 422),
        ({**good, "cast": [{"sources": [str(outside)]}]}, 403),
        ({**good, "cast": []}, 422),
        ({**good, "outputs": [str(outside)]}, 403),
        ({**good, "outputs": [str(seen.clip)]}, 409),
        ({**good, "more": 1}, 422),
    ]:
        answer = client.post("/api/live", json=body)
        assert answer.status_code == status, (body, answer.text)
        assert set(answer.json()["error"]) == {"kind", "subject", "problem", "advice"}
    assert client.put("/api/live/settings", json={}).status_code == 409
    assert client.post("/api/live/offer", json={"sdp": "v=0"}).status_code == 409
    assert client.post("/api/live/outputs", json={"name": "virtual"}).status_code == 409
    assert client.get("/api/live/devices").json()["browser"] is True


def test_a_camera_that_is_absent_is_told(seen: Place, face: Path) -> None:
    body = {"feed": {"input": "camera:91"}, "cast": [{"sources": [str(face)]}]}
    assert seen.client.post("/api/live", json=body).status_code == 201
    found = wait(seen, lambda s: not s["running"])
    assert found["error"]["kind"] == "media"
    assert "/dev/video91" in found["error"]["subject"]


def test_an_offer_that_is_none(seen: Place, face: Path) -> None:
    body = {"feed": {"input": "browser"}, "cast": [{"sources": [str(face)]}]}
    assert seen.client.post("/api/live", json=body).status_code == 201
    answer = seen.client.post("/api/live/offer", json={"sdp": "nonsense"})
    assert answer.status_code == 422, answer.text
    assert not seen.client.delete("/api/live").json()["running"]


class Clock:
    def __init__(self) -> None:
        self.time = 50.0
        self.ended = False

    def now(self) -> float:
        return self.time

    def until(self, moment: float) -> bool:
        self.time = max(self.time, moment) + 1.0
        return not self.ended


class Run:
    """Stands for a run: its clock, its time, and how late its pictures are at a viewer."""

    def __init__(self, late: float) -> None:
        self.pace, self.timeline, self.late = Clock(), Timeline(), late
        self.timeline.began = 10.0

    def pulse(self) -> Pulse:
        here = {"browser 1": Written(5, 0, Delay(self.late, self.late))}
        return Pulse(1.0, 5, 5, 0, 25.0, Delay(), 1, False, here)


@pytest.mark.parametrize("late", [80.0, 250.0])
def test_sound_is_as_late_as_the_pictures_to_the_sample(late: float) -> None:
    async def heard() -> list[tuple[int, Any]]:
        run: Any = Run(late)
        viewer = webrtc.Viewer("browser 1", run, asyncio.get_running_loop())
        numbers = np.arange(45 * RATE) % 20000 / 32767.0
        viewer.sound(Sound(np.stack([numbers, numbers]).astype(np.float32)[:, 38 * RATE :], 38 * RATE))
        found = []
        for _ in range(5):
            piece = await viewer.audio.recv()
            found.append((piece.pts or 0, piece.to_ndarray().reshape(-1, 2)[:, 0]))
            run.pace.time += 0.02
        return found

    pieces = asyncio.run(heard())
    first = round((50.0 - 10.0 - late / 1000.0) * RATE)
    assert [pts for pts, _ in pieces] == [960 * k for k in range(5)]
    samples = np.concatenate([part for _, part in pieces])
    assert np.array_equal(samples, (np.arange(first, first + 4800) % 20000).astype(np.int16))


def test_sound_jumps_only_where_it_is_off_by_much() -> None:
    async def places() -> list[int]:
        run: Any = Run(100.0)
        viewer = webrtc.Viewer("browser 1", run, asyncio.get_running_loop())
        at = [viewer.audio.place(50.0), viewer.audio.place(50.03)]  # 10 ms late: evenly on
        run.late = 300.0
        return [*at, viewer.audio.place(50.06)]

    a, b, c = asyncio.run(places())
    assert b - a == webrtc.PIECE
    assert c == round((50.06 - 10.0 - 0.3) * RATE)


def picture(width: int, height: int) -> av.VideoFrame:
    return av.VideoFrame(width, height, "yuv420p")


def test_pictures_of_a_browser_keep_the_first_size_and_the_world_s_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = iter([100.0, 100.04, 100.09])
    monkeypatch.setattr("mien.app.server.webrtc.time.monotonic", lambda: next(moments))
    camera, clock, timeline = webrtc.Camera(), Clock(), Timeline()
    for size in [(640, 480), (320, 240), (640, 480)]:
        camera.put(picture(*size))
    camera._box.close()
    found = [item for item in camera(Feed(input="browser"), clock, timeline) if isinstance(item, Shot)]
    assert [shot.frame.size for shot in found] == [(640, 480)] * 3
    assert [shot.frame.pts for shot in found] == [0, round(0.04 * TICKS), round(0.09 * TICKS)]
    assert [shot.captured for shot in found] == [100.0, 100.04, 100.09]


def test_a_browser_that_sends_nothing_is_an_error() -> None:
    camera, clock = webrtc.Camera(), Clock()
    webrtc_wait = webrtc.LOOK
    try:
        webrtc.LOOK = 0.0
        with pytest.raises(MediaError, match="sends no pictures"):
            list(camera(Feed(input="browser"), clock, Timeline()))
    finally:
        webrtc.LOOK = webrtc_wait


def test_the_newest_picture_is_sent() -> None:
    async def sent() -> tuple[Any, int]:
        track = webrtc.Pictures()
        pictures = [picture(64, 64) for _ in range(3)]
        for k, one in enumerate(pictures):
            one.pts = k
            track.offer(one)
        return (await track.recv()).pts, track.dropped

    assert asyncio.run(sent()) == (2, 2)


@pytest.mark.parametrize("kind", ["video/VP8", "video/H264"])
def test_pictures_take_as_many_bits_as_the_network_does(kind: str) -> None:
    """What a second of pictures, none like the one before, takes at several estimates of a browser."""
    coarse = np.random.default_rng(4).integers(60, 200, (8, 68, 80), np.uint8)
    made = np.kron(coarse, np.ones((1, 16, 16), np.uint8))[:, :1080]  # Y'CbCr 4:2:0, 1280 by 720
    pictures = [av.VideoFrame.from_ndarray(np.ascontiguousarray(one), format="yuv420p") for one in made]

    def sent(estimate: int | None) -> tuple[int, int]:
        encoder: Any = get_encoder(RTCRtpCodecParameters(mimeType=kind, clockRate=90000, payloadType=97))
        if estimate is not None:
            encoder.target_bitrate = estimate
        size = 0
        for k in range(30):
            one = pictures[k % len(pictures)]
            one.pts, one.time_base = k * 3000, Fraction(1, 90000)
            size += sum(map(len, encoder.encode(one)[0]))
        return encoder.target_bitrate, size

    webrtc.Peers()
    (least, few), (first, some), (most, many) = sent(600_000), sent(None), sent(100_000_000)
    assert (least, first, most) == (600_000, webrtc.FIRST, webrtc.MOST)
    assert few < some < many
    assert many > 1.5 * few
