"""The page's Live tab in a real browser, before whose camera somebody sits quite still."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest

pytest.importorskip("aiortc", reason="the packages for live are not installed")

from playwright.sync_api import Browser, Page, Route, expect

from mien.app.server import live, webrtc
from mien.trust import label
from tests.app.studio import test_live
from tests.app.studio.conftest import Seen, Studio, pictured, watched
from tests.app.studio.test_live import asked, picture
from tests.app.studio.test_page import FAINT, NAMELESS

pytestmark = pytest.mark.browser

camera = test_live.camera
PATIENCE = 60_000
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
FACE = np.s_[150:330, 220:420]
"""Where the face is in the camera's picture."""
PLATE = np.s_[24:40, 20:90]
"""Where the label is."""

WATCH = """
(() => {
  const seen = (window.seen = {asked: 0, peers: 0, tracks: []});
  const media = navigator.mediaDevices, ask = media.getUserMedia.bind(media);
  media.getUserMedia = async (wanted) => {
    seen.asked += 1;
    const stream = await ask(wanted);
    seen.tracks.push(...stream.getTracks());
    return stream;
  };
  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    constructor(...given) { super(...given); seen.peers += 1; }
  };
})();
"""
"""Counts what the page asks for."""

SHOT = """
async ([name, frames]) => {
  const video = document.querySelector(`.live-pane.${name} video`);
  for (let k = 0; k < frames; k++) {
    await new Promise((done, failed) => {
      video.requestVideoFrameCallback(done);
      setTimeout(() => failed(new Error(`only ${k} frames came`)), 60_000);
    });
  }
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}
"""
"""What a video of the page shows after some more frames."""


@pytest.fixture(scope="module")
def fed(
    camera: Path, tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Browser]
) -> Iterator[Browser]:
    """A Chromium whose camera shows the first picture of the film all the time."""
    first, end, _ = camera.read_bytes().partition(b"\xff\xd9")  # JPEG's end of image
    still = tmp_path_factory.mktemp("camera") / "still.mjpeg"
    still.write_bytes((first + end) * 20)
    browser = launch(f"--use-file-for-fake-video-capture={still}")
    yield browser
    browser.close()


def opened(browser: Browser, studio: Studio) -> Seen:
    """The Live tab of a page without a clip."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    context.add_init_script(WATCH)
    found = watched(context)
    found.page.goto(studio.address)
    found.page.get_by_role("button", name="Live with a camera").click()
    expect(found.page.locator("#live-set-swap-strength")).to_have_value("1")
    return found


def visited(browser: Browser, studio: Studio, node: Any) -> Iterator[Seen]:
    """The Live tab; at the end nothing may have been complained about."""
    found = opened(browser, studio)
    yield found
    pictured(found.page.context, node)
    asked(found.page, "DELETE", "/api/live")
    assert found.complaints == []
    found.page.context.close()


@pytest.fixture
def seen(fed: Browser, fresh: Studio, request: pytest.FixtureRequest) -> Iterator[Seen]:
    yield from visited(fed, fresh, request.node)


@pytest.fixture
def page(seen: Seen) -> Page:
    return seen.page


def choose(page: Page, studio: Studio, name: str = "hopper") -> None:
    """Choose a new face from the server's folders."""
    page.get_by_role("button", name="Choose new face").click()
    take(page, studio, name)
    expect(page.locator(".role .face img")).to_be_visible()


def take(page: Page, studio: Studio, name: str) -> None:
    """Answer the question for a face."""
    page.get_by_role("dialog").get_by_role("button", name="Add a face").click()
    page.get_by_role("menuitem", name="From the server's folders").click()
    page.get_by_role("button", name=studio.media.name).click()
    page.get_by_role("button", name=f"{name}.png").click()
    page.get_by_role("button", name="Choose", exact=True).click()


def start(page: Page, studio: Studio) -> None:
    """Begin, and wait for the first picture with a new face."""
    choose(page, studio)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".live-head")).to_contain_text("1 face changed", timeout=PATIENCE)
    expect(page.locator(".live-pane.made")).to_be_visible(timeout=PATIENCE)


def shot(page: Page, name: str = "made", frames: int = 15) -> Any:
    """(480, 640, 3) of what a video shows after so many more frames."""
    return picture(page.evaluate(SHOT, [name, frames])).astype(float)


def until(page: Page, right: Callable[[Any], bool]) -> Any:
    """The first picture that is right: the codec takes its time to show what was asked for."""
    for _ in range(60):
        found = shot(page, frames=5)
        if right(found):
            return found
    raise AssertionError("the picture did not become what was asked for")


def forget(seen: Seen, status: int) -> None:
    """Let an answer with this status pass: the browser itself complains of each."""
    seen.complaints[:] = [text for text in seen.complaints if str(status) not in text]


def press(page: Page, key: str) -> None:
    """A key while no field has the focus."""
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(key)


def apart(a: Any, b: Any, where: Any) -> float:
    """Mean difference in a part of two pictures, in codes."""
    return float(np.abs(a[where] - b[where]).mean())


def free(page: Page) -> bool:
    """Whether every camera and microphone that was opened is closed."""
    return bool(page.evaluate("seen.tracks.length > 0 && seen.tracks.every(t => t.readyState === 'ended')"))


def test_the_new_face_is_seen_and_stop_frees_the_camera(page: Page, fresh: Studio) -> None:
    assert page.evaluate("seen.asked") == 0, "nobody is asked for a camera before Start"
    start(page, fresh)
    assert page.evaluate("seen.asked") == 1
    page.get_by_role("button", name="Side by side with the camera").click()
    expect(page.locator(".live-pane.own")).to_be_visible()
    own, made = shot(page, "own"), shot(page)
    assert own.shape == made.shape == (480, 640, 3)
    assert apart(own, made, FACE) > 4 * apart(own, made, np.s_[:60, 200:500])
    assert made[PLATE].min() < 90 < 170 < made[PLATE].max()
    expect(page.get_by_label("Live figures")).to_have_text(
        re.compile(r"^\d+\.\d fps\d+ ms\d+ left out640 × 480$")
    )
    expect(page.locator(".view-bar .chip", has_text="AI-edited label on")).to_be_visible()
    expect(page.get_by_role("button", name="Live is on")).to_be_visible()
    assert asked(page, "GET", "/api/live")["running"]
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()
    assert free(page)
    assert not asked(page, "GET", "/api/live")["running"]
    expect(page.get_by_text("Nothing is live")).to_be_visible()
    expect(page.get_by_role("button", name="Live is on")).to_be_hidden()


def test_settings_count_at_once_over_the_same_connection(page: Page, fresh: Studio) -> None:
    start(page, fresh)
    whole = shot(page)
    strength = page.locator("#live-set-swap-strength")
    strength.fill("0")
    strength.press("Enter")
    until(page, lambda now: apart(whole, now, FACE) > 4)
    none = shot(page, frames=20)
    middle = apart(whole, none, FACE) / 2
    assert middle > 2
    assert asked(page, "GET", "/api/live")["settings"]["swap"]["strength"] == 0
    page.get_by_role("button", name="Reset strength").click()
    until(page, lambda now: apart(whole, now, FACE) < middle)
    press(page, "Space")
    expect(page.get_by_role("button", name="Show the new face")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".live-head")).to_contain_text("New face is off")
    until(page, lambda now: apart(none, now, FACE) < middle)
    press(page, "l")
    expect(page.locator(".view-bar .chip")).to_have_text("No AI-edited label")
    until(page, lambda now: apart(none, now, PLATE) > 20)
    expect(page.locator(".live-notes")).to_contain_text("does not say that it was edited")
    assert page.evaluate("[seen.asked, seen.peers]") == [1, 1]


def test_what_has_no_effect_live_is_not_shown(page: Page) -> None:
    fields = page.locator("#panel-live .setting[data-field]")
    names = fields.evaluate_all("all => all.map(node => node.dataset.field)")
    assert {"swap.strength", "feed.label", "encode.quality", "detect.score"} <= set(names)
    assert not {"swap.every", "track.refine", "encode.fps", "encode.size", "device.decode"} & set(names)
    page.locator('[data-group="feed"] summary').click()
    expect(page.locator('[data-field="feed.size"]')).to_be_visible()
    expect(page.locator('[data-field="feed.loop"]')).to_be_hidden()
    page.get_by_label("Camera", exact=True).select_option("file")
    expect(page.locator('[data-field="feed.loop"]')).to_be_visible()
    expect(page.locator('[data-field="feed.size"]')).to_be_hidden()


def test_a_model_that_is_not_there_leaves_everything_as_it_is(page: Page, fresh: Studio) -> None:
    start(page, fresh)
    model = page.locator("#live-set-swap-model")
    model.select_option("inswapper_128")
    expect(page.get_by_role("alert")).to_contain_text("inswapper_128")
    expect(model).to_have_value("mesh")
    page.get_by_role("alert").get_by_role("button", name="Models").click()
    expect(page.locator(".live-pane.made")).to_be_visible()  # without a clip the picture stays
    expect(page.get_by_label("Find a model")).to_be_visible()


def test_once_the_picture_is_seen_it_is_not_getting_ready(page: Page, fresh: Studio) -> None:
    held = True

    def late(route: Route) -> None:
        told = route.fetch().json()
        if held and told.get("pulse"):  # the server's word of the first picture is on its way for ever
            told |= {"phase": "preparing", "pulse": {**told["pulse"], "made": 0}}
        route.fulfill(json=told)

    choose(page, fresh)
    page.route("**/api/live", late)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".live-pane.made")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".live-head").get_by_role("status")).to_have_text("Live")
    held = False  # a route that is taken away would end those that are under way
    expect(page.locator(".live-head")).to_contain_text("1 face changed")


def test_what_is_waited_for_is_said(page: Page, fresh: Studio) -> None:
    """Networks are ready, and no camera sends."""
    cast = [{"sources": [str(fresh.media / "hopper.png")], "faces": "all"}]
    asked(page, "POST", "/api/live", {"feed": {"input": "browser"}, "cast": cast})
    page.reload()
    page.get_by_role("button", name="Live with a camera").click()
    page.get_by_role("button", name="Watch it").click()
    told = page.locator(".live-head").get_by_role("status")
    expect(told).to_have_text("Waiting for the first picture …", timeout=PATIENCE)
    expect(page.locator(".live-words")).to_contain_text("Everything is ready.")
    page.evaluate(
        """() => {
            window.words = [];
            const note = () => words.push(document.querySelector(".live-words").textContent);
            new MutationObserver(note).observe(document.querySelector(".live-words"), {childList: true});
        }"""
    )
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()
    expect(page.locator(".live-words")).to_contain_text("Nothing is live.")
    assert [words.split(".")[0] for words in page.evaluate("words")] == ["Ending …", "Nothing is live"]


def test_a_face_is_asked_for(page: Page) -> None:
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("New face: is not chosen.")
    expect(page.get_by_role("button", name="Choose new face")).to_be_focused()
    assert page.evaluate("seen.asked") == 0


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--use-fake-ui-for-media-stream=deny", "Camera: may not be used. Allow it in the browser"),
        ("--use-fake-device-for-media-stream=device-count=0", "Camera: was not found. Connect one"),
    ],
)
def test_why_there_is_no_camera(
    fresh: Studio, launch: Callable[..., Browser], argument: str, text: str
) -> None:
    browser = launch(argument)
    page = opened(browser, fresh).page
    choose(page, fresh)
    page.get_by_role("button", name="Start", exact=True).click()
    told = page.get_by_role("alert")
    expect(told).to_contain_text(text.split(". ")[0])
    expect(told).to_contain_text(text.split(". ")[1])
    assert page.evaluate("seen.asked") == 1
    assert not asked(page, "GET", "/api/live")["running"]
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()
    browser.close()


def test_without_the_packages_for_live(seen: Seen, fresh: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_has_webrtc", lambda: False)
    monkeypatch.setitem(sys.modules, "mien.app.server.webrtc", None)
    page = seen.page
    choose(page, fresh)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("the packages for WebRTC are not installed")
    expect(page.get_by_role("alert")).to_contain_text('pip install "mien[live]"')
    assert page.evaluate("seen.asked") == 0
    forget(seen, 422)


def test_another_camera_without_a_new_connection(fresh: Studio, launch: Callable[..., Browser]) -> None:
    browser = launch("--use-fake-device-for-media-stream=device-count=3")
    page = opened(browser, fresh).page
    choose(page, fresh)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".live-pane.made")).to_be_visible(timeout=PATIENCE)
    which = page.get_by_label("Camera", exact=True)
    expect(which.locator("optgroup").first.locator("option")).to_have_count(4)
    other = which.locator("option", has_text="fake_device_2").get_attribute("value") or ""
    which.select_option(other)
    states = "seen.tracks.map(track => track.readyState).join()"
    page.wait_for_function(f"() => {states} === 'ended,live'")
    shot(page, frames=10)
    assert page.evaluate("[seen.asked, seen.peers]") == [2, 1]
    assert page.evaluate("seen.tracks[1].getSettings().deviceId") == other.removeprefix("browser:")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()
    assert free(page)
    browser.close()


def test_a_broken_connection_is_made_anew(page: Page, fresh: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[tuple[Any, asyncio.AbstractEventLoop]] = []
    first = webrtc.Peers.answer

    async def answer(self: webrtc.Peers, *given: Any) -> str:
        told = await first(self, *given)
        connected.append((list(self._open)[-1], asyncio.get_running_loop()))
        return told

    async def vanish(peer: Any) -> None:
        for part in peer.getTransceivers():
            await part.receiver.transport.transport._connection.close()

    monkeypatch.setattr(webrtc.Peers, "answer", answer)
    start(page, fresh)
    (peer, loop) = connected[0]
    asyncio.run_coroutine_threadsafe(vanish(peer), loop).result(5)
    page.wait_for_function("() => seen.peers === 2")
    shot(page, frames=20)
    expect(page.locator(".live-head")).to_contain_text("1 face changed")
    assert page.evaluate("seen.asked") == 1
    expect(page.get_by_role("alert")).to_be_hidden()


def test_recording(seen: Seen, fresh: Studio) -> None:
    page = seen.page
    start(page, fresh)
    page.get_by_text("Record and send").click()
    name = page.get_by_label("Recording", exact=True)
    name.fill("mine.mkv")
    page.locator("#panel-live").get_by_role("button", name="Record", exact=True).click()
    finish = page.get_by_role("button", name="Finish: mine.mkv")
    expect(finish).to_be_visible()
    expect(page.locator(".view-bar .record:visible")).to_have_attribute("aria-pressed", "true")
    shot(page, frames=30)
    finish.click()
    path = fresh.media / "mine.mkv"
    expect(page.locator(".toast")).to_contain_text(f"Recorded: {path}")
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) > 10
        assert label.SOURCE_TYPE in str(file.metadata)
    name.fill("mine.mkv")
    page.locator("#panel-live").get_by_role("button", name="Record", exact=True).click()
    expect(page.locator(".toast.bad")).to_contain_text("exists already")
    forget(seen, 409)


def test_a_run_of_somebody_else_is_watched(page: Page, fresh: Studio) -> None:
    feed = {"input": str(fresh.media / "clip.mp4"), "loop": True, "label": False}
    body = {"feed": feed, "cast": [{"sources": [str(fresh.media / "hopper.png")], "faces": "all"}]}
    asked(page, "POST", "/api/live", body)
    page.reload()
    page.get_by_role("button", name="Live with a camera").click()
    page.get_by_role("button", name="Watch it").click()
    expect(page.locator(".live-pane.made")).to_be_visible(timeout=PATIENCE)
    assert shot(page).shape == (270, 480, 3)
    expect(page.get_by_label("Camera", exact=True)).to_have_value("file")
    expect(page.get_by_label("Who gets new face")).to_have_value("all")
    expect(page.locator(".view-bar .chip")).to_have_text("No AI-edited label")
    with page.expect_response("**/api/live/settings"):
        page.get_by_label("Who gets new face").select_option("left")
    now = asked(page, "GET", "/api/live")
    assert now["cast"][0]["faces"] == "left"
    assert now["feed"]["loop"]
    assert not now["feed"]["label"]
    assert page.evaluate("seen.asked") == 0
    page.reload()  # it was not this page that began it
    assert asked(page, "GET", "/api/live")["running"]


def test_a_page_that_goes_ends_what_lives_from_its_camera(page: Page, fresh: Studio) -> None:
    start(page, fresh)
    page.reload()
    page.wait_for_function("async () => !(await (await fetch('/api/live')).json()).running")
    page.get_by_role("button", name="Live with a camera").click()
    expect(page.locator(".role .face img")).to_be_visible()  # what was chosen is kept


def test_names_contrast_and_width(page: Page, fresh: Studio) -> None:
    start(page, fresh)
    page.evaluate("document.querySelectorAll('#panel-live details').forEach(node => (node.open = true))")
    for width in (420, 1280):
        page.set_viewport_size({"width": width, "height": 860})
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert page.evaluate(FAINT) == []


def test_it_is_used_without_a_mouse(page: Page, fresh: Studio) -> None:
    choose(page, fresh)
    page.get_by_role("tab", name="Live").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".live-head")).to_contain_text("1 face changed", timeout=PATIENCE)
    press(page, "-")
    expect(page.locator("#live-set-swap-strength")).to_have_value("0.9")
    press(page, "2")
    expect(page.locator(".live-pane.own")).to_be_visible()
    press(page, "1")
    expect(page.locator(".live-pane.own")).to_be_hidden()
    press(page, "m")
    expect(page.locator(".live-viewer")).to_have_class(re.compile("mirrored"))
    expect(
        page.locator(".live-pane").get_by_text("AI-edited")
    ).to_be_visible()  # the picture's own is reversed
    page.get_by_role("button", name="Stop", exact=True).press("Enter")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_focused()
