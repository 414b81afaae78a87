"""Several people before the camera of the Live tab, each with a new face and settings of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

pytest.importorskip("aiortc", reason="the packages for live are not installed")

from playwright.sync_api import Browser, Page, expect

from mien.bench import demo
from tests.app.studio.conftest import Seen, Studio
from tests.app.studio.test_live import asked
from tests.app.studio.test_live_panel import PATIENCE, choose, press, shot, take, until, visited
from tests.regression import scenes

pytestmark = pytest.mark.browser

SIZE = (640, 480)
SITTING: list[tuple[demo.Name, int, int]] = [("hopper", 60, 112), ("astronaut", 360, 110)]


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Browser]) -> Iterator[Browser]:
    """A Chromium before whose camera two people sit still."""
    path = tmp_path_factory.mktemp("camera") / "two.mjpeg"
    shown = np.ascontiguousarray(scenes.together(SITTING, SIZE, 220))
    with av.open(str(path), "w", format="mjpeg") as out:
        stream: Any = out.add_stream("mjpeg", rate=Fraction(20))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for _ in range(20):
            picture = av.VideoFrame.from_ndarray(shown, format="rgb24")
            out.mux(stream.encode(picture.reformat(format="yuvj420p", threads=1)))
        out.mux(stream.encode(None))
    browser = launch(f"--use-file-for-fake-video-capture={path}")
    yield browser
    browser.close()


@pytest.fixture
def seen(fed: Browser, fresh: Studio, request: pytest.FixtureRequest) -> Iterator[Seen]:
    yield from visited(fed, fresh, request.node)


@pytest.fixture
def page(seen: Seen) -> Page:
    return seen.page


def people(page: Page) -> dict[str, tuple[int, Any]]:
    """Number and place of who is left and who is right in the live picture."""
    found = sorted(asked(page, "GET", "/api/live")["pulse"]["seen"], key=lambda one: one["box"][0])
    assert len(found) == 2
    places = [np.multiply(one["box"], (*SIZE, *SIZE)).astype(int) for one in found]
    parts = [np.s_[top:low, left:right] for left, top, right, low in places]
    return {
        where: (one["track"], part) for where, one, part in zip(("left", "right"), found, parts, strict=True)
    }


def begin(page: Page) -> None:
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".live-pane.made")).to_be_visible(timeout=PATIENCE)


def both(page: Page) -> None:
    """Wait until both have a new face."""
    expect(page.locator(".live-head")).to_contain_text("2 faces changed", timeout=PATIENCE)


def give(page: Page, number: int, track: int) -> None:
    """Say by the picture whose new face one of them is."""
    page.get_by_label(f"Who gets new face {number}").select_option("seen")
    dialog = page.get_by_role("dialog", name="Who is it?")
    expect(dialog.get_by_role("button", name="Person")).to_have_count(2)
    dialog.get_by_role("button", name=f"Person {track}").click()


def other(a: Any, b: Any, where: Any) -> float:
    """How much a face is another one, by cells of 8 by 8: codecs change grain and tint."""
    apart = (a - b)[where]
    apart -= np.median(apart, (0, 1))
    rows, columns = apart.shape[0] // 8, apart.shape[1] // 8
    cells = apart[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8, 3).mean((1, 3))
    return float(np.abs(cells).mean())


def test_one_person_s_own_settings(page: Page, fresh: Studio) -> None:
    choose(page, fresh, "astronaut")
    begin(page)
    expect(page.locator(".live-head")).to_contain_text("1 face changed", timeout=PATIENCE)
    page.wait_for_function("async () => (await (await fetch('/api/live')).json()).pulse.seen.length === 2")
    there = people(page)
    page.get_by_role("button", name="Add a face").click()
    take(page, fresh, "hopper")
    expect(page.locator(".role")).to_have_count(2)
    give(page, 1, there["left"][0])
    give(page, 2, there["right"][0])
    both(page)
    whole = shot(page, frames=30)
    page.get_by_role("button", name="Settings of new face 2").click()
    expect(page.locator(".live-form .scope-about")).to_contain_text(f"Person {there['right'][0]}")
    strength = page.locator("#role-set-swap-strength")
    strength.fill("0")
    strength.press("Enter")
    until(page, lambda now: other(whole, now, there["right"][1]) > 4)
    without = shot(page, frames=30)
    own = other(whole, without, there["right"][1])
    assert other(whole, without, there["left"][1]) < own / 2
    expect(page.locator(".role").nth(1)).to_contain_text("own settings")
    expect(page.locator(".role").nth(0)).not_to_contain_text("own settings")
    expect(page.locator('.live-form [data-group="swap"] summary')).to_contain_text("1 changed")

    page.get_by_role("button", name="Settings for everybody").click()
    expect(page.locator("#live-set-swap-strength")).to_have_value("1")
    page.reload()
    page.get_by_role("button", name="Live with a camera").click()
    expect(page.locator(".role").nth(1)).to_contain_text("own settings")
    begin(page)
    both(page)
    there = people(page)
    until(page, lambda again: other(without, again, there["right"][1]) < own / 2)
    until(page, lambda again: other(whole, again, there["left"][1]) < own / 2)
    page.get_by_role("button", name="Settings of new face 2").click()
    expect(page.locator("#role-set-swap-strength")).to_have_value("0")
    page.get_by_role("button", name="Reset strength").click()
    until(page, lambda again: other(whole, again, there["right"][1]) < own / 2)
    expect(page.get_by_text("own settings")).to_have_count(0)


def test_they_stay_when_another_page_takes_the_run_over(page: Page, fresh: Studio) -> None:
    source = [str(fresh.media / "hopper.png")]
    cast = [
        {"sources": source, "faces": "1", "swap": {"strength": 0.25}, "mask": {"grow": 0.05}},
        {"sources": source, "faces": "all"},
    ]
    feed = {"input": str(fresh.media / "clip.mp4"), "loop": True}
    asked(page, "POST", "/api/live", {"feed": feed, "cast": cast})
    page.get_by_role("tab", name="Models").click()
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Watch it").click()
    expect(page.locator(".live-pane.made")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Settings of new face 1").click()
    strength = page.locator("#role-set-swap-strength")
    expect(strength).to_have_value("0.25")

    def own() -> list[Any]:
        told = asked(page, "GET", "/api/live")["cast"][0]
        return [told["faces"], told["swap"]["strength"], told["mask"]["grow"]]

    def sent(act: Callable[[], None]) -> None:
        with page.expect_response("**/api/live/settings") as answer:
            act()
        assert answer.value.ok

    sent(lambda: press(page, "Space"))
    assert own() == ["0", 0.25, 0.05]
    sent(lambda: press(page, "Space"))
    assert own() == ["1", 0.25, 0.05]
    sent(lambda: press(page, "-"))  # for everybody
    assert own() == ["1", 0.25, 0.05]
    assert asked(page, "GET", "/api/live")["settings"]["swap"]["strength"] == 0.9
    strength.fill("0.5")
    sent(lambda: strength.press("Enter"))
    assert own() == ["1", 0.5, 0.05]
    page.reload()
    page.get_by_role("button", name="Live with a camera").click()
    page.get_by_role("button", name="Watch it").click()
    page.get_by_role("button", name="Settings of new face 1").click()
    expect(strength).to_have_value("0.5")


def test_who_is_meant_by_number_chooses_before_everybody(page: Page, fresh: Studio) -> None:
    choose(page, fresh)
    page.get_by_label("Who gets new face").select_option("all")
    page.get_by_role("button", name="Add a face").click()
    page.get_by_role("dialog").get_by_role("button", name="hopper.png").click()
    page.get_by_role("button", name="Settings of new face 2").click()
    page.get_by_label("Who gets new face 2").select_option("Person 2")
    expect(page.get_by_label("Who gets new face 1")).to_have_value("2")
    expect(page.get_by_label("Who gets new face 1")).to_be_focused()
    gear = page.get_by_role("button", name="Settings of new face")
    expect(gear.first).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Remove new face 1").click()
    expect(page.locator(".role")).to_have_count(1)
    expect(gear).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#live-set-swap-strength")).to_have_value("1")
