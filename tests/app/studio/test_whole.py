"""The whole way of a film editor, in a browser on the real server: from a clip to a file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, expect

from tests.app.studio.conftest import FRAMES, Studio, document, pixels, settle, watched
from tests.app.studio.test_page import frame, give, press

pytestmark = pytest.mark.browser


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    """(H, W, 3) R'G'B' of every frame."""
    with av.open(str(path)) as container:
        return [np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(video=0)]


def test_from_a_clip_to_a_file(context: BrowserContext, fresh: Studio, tmp_path: Path) -> None:
    seen = watched(context)
    page = seen.page
    page.goto(fresh.address)

    # open
    page.get_by_role("button", name="Clip from the server's folders").click()
    page.get_by_role("button", name=fresh.media.name).click()
    page.get_by_role("button", name="clip.mp4").click()
    page.get_by_role("button", name="Choose", exact=True).click()
    expect(page.get_by_label("Name of the project")).to_have_value("clip")
    seen.project = page.url.partition("#")[2]

    # analyse
    page.get_by_role("button", name="Analyse clip").click()
    expect(page.locator(".person")).to_have_count(2, timeout=120_000)
    settle(page)
    original = pixels(page)

    # assign
    give(seen, fresh, 0, "hopper")
    press(page, "3")
    settle(page)
    assert pixels(page) != original

    # scrub
    lane = page.locator(".lane-body").bounding_box()
    assert lane
    page.mouse.move(lane["x"] + 4, lane["y"] + 8)
    page.mouse.down()
    page.mouse.move(lane["x"] + lane["width"] * 0.26, lane["y"] + 8, steps=5)
    page.mouse.up()
    assert frame(page) == int(FRAMES * 0.26)
    settle(page)
    scrubbed = pixels(page)
    assert page.locator(".viewer canvas").get_attribute("data-frame") == str(frame(page))

    # change a setting
    strength = page.locator('[data-field="swap.strength"] input[type=number]')
    strength.fill("0.4")
    strength.press("Enter")
    settle(page)
    assert pixels(page) != scrubbed

    # a cue, and one that is taken back
    press(page, "Home")
    press(page, "m")
    page.get_by_label("End", exact=True).fill("5")
    page.get_by_label("End", exact=True).press("Enter")
    page.locator("#cue-off").click()
    press(page, "End")
    press(page, "m")
    expect(page.locator(".cue")).to_have_count(2)
    press(page, "Control+z")
    expect(page.locator(".cue")).to_have_count(1)
    settle(page)

    # render
    page.get_by_role("tab", name="Render").click()
    page.get_by_label("File name").fill("result.mp4")
    page.get_by_label("File name").press("Enter")
    quality = page.locator("#render-quality")
    quality.fill("100")
    quality.press("Enter")
    page.get_by_role("button", name="Render", exact=True).click()
    done = page.locator('.job[data-state="done"]').filter(has=page.get_by_role("link", name="Download"))
    done.wait_for(timeout=120_000)

    # download
    with page.expect_download() as saving:
        done.get_by_role("link", name="Download").click()
    path = tmp_path / "downloaded.mp4"
    saving.value.save_as(path)
    assert path.read_bytes() == (fresh.media / "result.mp4").read_bytes()
    before, after = decoded(fresh.media / "clip.mp4"), decoded(path)
    assert len(after) == FRAMES
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    # The cue keeps the original face; the second shot shows the other person alone. Lossless: bit for bit.
    assert same == [True] * 5 + [False] * (FRAMES // 2 - 5) + [True] * (FRAMES // 2)

    # look at it, then come back later
    done.get_by_role("button", name="Show").click()
    page.wait_for_function("() => document.querySelector('video.result')?.readyState >= 1")
    page.get_by_role("button", name="Close").click()

    # have it looked through
    page.get_by_role("tab", name="Check").click()
    page.get_by_role("button", name="Look through result.mp4").click()
    told = page.locator(".toast", has_text="Look through result.mp4: ")
    expect(told).to_contain_text("nothing looks bad", timeout=120_000)
    page.get_by_role("tab", name="Cast").click()

    wanted = document(fresh, seen.project)
    page.reload()
    expect(page.locator(".person")).to_have_count(2)
    expect(page.locator(".person").nth(0).locator(".face img")).to_be_visible()
    expect(page.locator(".cue")).to_have_count(1)
    expect(strength).to_have_value("0.4")
    page.get_by_role("tab", name="Render").click()
    expect(page.get_by_label("File name")).to_have_value("result.mp4")
    expect(page.locator('.job[data-state="done"]')).to_have_count(3)
    settle(page)
    assert document(fresh, seen.project) == wanted
    assert seen.complaints == []


def test_a_clip_from_this_device(context: BrowserContext, fresh: Studio) -> None:
    seen = watched(context)
    page = seen.page
    page.goto(fresh.address)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Clip from this device").click()
    chooser.value.set_files(str(fresh.media / "clip.mp4"))
    page.get_by_role("button", name="Analyse clip").wait_for()
    assert (fresh.home / "uploads" / "clip.mp4").stat().st_size == (fresh.media / "clip.mp4").stat().st_size
    page.evaluate("() => localStorage.clear()")
    page.goto(f"{fresh.address}?again")
    page.get_by_role("button", name="clip clip.mp4").click()
    page.get_by_role("button", name="Analyse clip").wait_for()
    assert seen.complaints == []


def test_a_file_that_is_no_clip_is_refused_with_advice(context: BrowserContext, fresh: Studio) -> None:
    text = fresh.media / "notes.mp4"
    text.write_text("no clip")
    seen = watched(context)
    page = seen.page
    page.goto(fresh.address)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Clip from this device").click()
    chooser.value.set_files(str(text))
    expect(page.get_by_role("alert")).to_contain_text("notes.mp4")
    assert list((fresh.home / "uploads").iterdir()) == []
