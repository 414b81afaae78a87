"""Live in a real browser: its camera (a fake one, fed with a face) goes in, the new face comes back."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("aiortc", reason="the packages for live are not installed")

from playwright.sync_api import Browser, Page

from mien.images import frameclock
from tests.app.studio.conftest import Studio
from tests.regression import scenes

pytestmark = pytest.mark.browser

SIZE = (640, 480)

JOIN = """
async () => {
  const peer = new RTCPeerConnection();
  const stream = await navigator.mediaDevices.getUserMedia({video: {width: 640, height: 480}, audio: true});
  for (const track of stream.getTracks()) peer.addTrack(track, stream);
  const video = document.createElement("video");
  video.autoplay = video.muted = true;
  const own = document.createElement("video");
  own.autoplay = own.muted = true;
  own.srcObject = stream;
  const back = new MediaStream();
  video.srcObject = back;
  peer.ontrack = (event) => back.addTrack(event.track);
  await peer.setLocalDescription(await peer.createOffer());
  await new Promise((done) => {
    if (peer.iceGatheringState === "complete") done();
    peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done();
  });
  const answer = await fetch("/api/live/offer", {
    method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({sdp: peer.localDescription.sdp}),
  });
  if (!answer.ok) throw new Error(await answer.text());
  await peer.setRemoteDescription({type: "answer", sdp: (await answer.json()).sdp});
  window.live = {peer, video, own, back};
}
"""

SEEN = """
async (frames) => {
  const {video} = window.live;
  let count = 0;
  await new Promise((done, failed) => {
    const next = () => (++count >= frames ? done() : video.requestVideoFrameCallback(next));
    video.requestVideoFrameCallback(next);
    setTimeout(() => failed(new Error(`only ${count} frames came`)), 90_000);
  });
  const canvas = document.createElement("canvas");
  const shot = (from) => {
    [canvas.width, canvas.height] = [from.videoWidth, from.videoHeight];
    canvas.getContext("2d").drawImage(from, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
  };
  const tracks = window.live.back.getTracks().map((track) => track.kind);
  return {made: shot(video), own: shot(window.live.own), tracks};
}
"""

HEARD = """
async () => {
  const context = new AudioContext();
  const meter = context.createAnalyser();
  context.createMediaStreamSource(window.live.back).connect(meter);
  const wave = new Float32Array(meter.fftSize);
  for (let k = 0; k < 600; k++) {
    meter.getFloatTimeDomainData(wave);
    if (Math.max(...wave) > 0.01) return true;
    await new Promise((done) => setTimeout(done, 50));
  }
  return false;
}
"""


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Motion JPEG of somebody who talks, for Chromium's fake camera."""
    path = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    with av.open(str(path), "w", format="mjpeg") as out:
        stream: Any = out.add_stream("mjpeg", rate=Fraction(20))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for shown in scenes.talking("astronaut", 40, SIZE):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24")
            out.mux(stream.encode(picture.reformat(format="yuvj420p", threads=1)))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def fed(launch: Callable[..., Browser], camera: Path) -> Iterator[Browser]:
    """A Chromium whose camera shows the film."""
    browser = launch(
        f"--use-file-for-fake-video-capture={camera}", "--autoplay-policy=no-user-gesture-required"
    )
    yield browser
    browser.close()


@pytest.fixture
def page(fed: Browser, fresh: Studio) -> Iterator[Page]:
    context = fed.new_context(permissions=["camera", "microphone"])
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(f"{fresh.address}api/about")  # any page of this origin will do
    yield page
    context.close()


def asked(page: Page, method: str, path: str, body: Any = None) -> Any:
    """What the server answers to the page."""
    return page.evaluate(
        """async ([method, path, body]) => {
          const answer = await fetch(path, {method, headers: {"Content-Type": "application/json"},
            body: body === null ? undefined : JSON.stringify(body)});
          return answer.json();
        }""",
        [method, path, body],
    )


def picture(text: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_the_browser_s_camera_comes_back_with_another_face(page: Page, fresh: Studio) -> None:
    feed = {"input": "browser", "clock": True, "size": "640x480"}
    body = {"feed": feed, "cast": [{"sources": [str(fresh.media / "hopper.png")], "faces": "all"}]}
    assert asked(page, "POST", "/api/live", body)["running"]
    page.evaluate(JOIN)
    seen = page.evaluate(SEEN, 25)
    made, own = picture(seen["made"]), picture(seen["own"])
    if folder := os.environ.get("MIEN_SCREENSHOTS"):
        Image.fromarray(np.concatenate([own, made], axis=1)).save(Path(folder) / "live.png")
    assert sorted(seen["tracks"]) == ["audio", "video"]
    assert made.shape == own.shape == (SIZE[1], SIZE[0], 3)
    state = asked(page, "GET", "/api/live")
    assert state["pulse"]["faces"] == 1
    assert state["pulse"]["outputs"]["browser 1"]["frames"] >= 25
    luma = (made @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    first = frameclock.read(luma)
    assert first is not None, "the clock cannot be read"
    # the label: a dark plate with white letters at the upper left
    plate = luma[24:40, 20:90]
    assert plate.min() < 90
    assert plate.max() > 170
    # the clock goes on with the frames
    later = picture(page.evaluate(SEEN, 10)["made"])
    second = frameclock.read((later @ np.array([0.299, 0.587, 0.114])).astype(np.uint8))
    assert second is not None
    assert second > first
    assert page.evaluate(HEARD)
    ended = asked(page, "DELETE", "/api/live")
    assert not ended["running"]
    assert ended["error"] is None


def test_a_setting_changes_what_the_browser_sees(page: Page, fresh: Studio) -> None:
    feed = {"input": "browser", "size": "640x480"}
    body = {"feed": feed, "cast": [{"sources": [str(fresh.media / "hopper.png")], "faces": "all"}]}
    asked(page, "POST", "/api/live", body)
    page.evaluate(JOIN)
    page.evaluate(SEEN, 10)
    plate = picture(page.evaluate(SEEN, 2)["made"])[24:40, 20:90].astype(float)
    changed = asked(page, "PUT", "/api/live/settings", {"feed": {**feed, "label": False}})
    assert changed["now"]
    without = picture(page.evaluate(SEEN, 20)["made"])[24:40, 20:90].astype(float)
    assert np.abs(plate - without).mean() > 20
    asked(page, "DELETE", "/api/live")
