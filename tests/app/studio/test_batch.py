"""The form for batches, and the ending that follows the codec."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.app.studio.conftest import Seen, Studio, document, settle

pytestmark = pytest.mark.browser


def test_every_face_on_every_clip_and_an_ending_that_holds_the_codec(seen: Seen, studio: Studio) -> None:
    page = seen.page
    page.get_by_role("tab", name="Render").click()
    page.locator("#render-codec").select_option("prores")
    settle(page)
    expect(page.locator("#render-name")).to_have_value("clip-new.mov")
    assert document(studio, seen.project).output == studio.media / "clip-new.mov"
    page.get_by_role("button", name="Batch: every face on every clip").click()
    queue = page.get_by_role("button", name="Add to the queue")
    expect(queue).to_be_disabled()
    for what, names in (("faces", ("astronaut.png", "hopper.png")), ("clips", ("clip.mp4",))):
        page.get_by_role("button", name=f"Add {what} to the batch").click()
        for name in names:
            page.get_by_role("button", name=name).last.click()
        page.get_by_role("button", name="Choose", exact=True).click()
    expect(page.get_by_text("2 × 1 = 2 results")).to_be_visible()
    page.get_by_role("button", name="Take hopper.png away").click()
    expect(page.get_by_text("1 × 1 = 1 result")).to_be_visible()
    queue.click()
    expect(page.locator(".job")).to_have_count(1)
    (line,) = page.request.get(f"{studio.address}api/jobs").json()
    assert line["output"] == str(studio.media / "clip_astronaut.mov")
    page.request.delete(f"{studio.address}api/jobs/{line['id']}", headers={"Origin": studio.address[:-1]})


def test_taking_the_codec_back_takes_its_ending_back(seen: Seen, studio: Studio) -> None:
    page = seen.page
    page.get_by_role("tab", name="Render").click()
    name = page.locator("#render-name")
    page.locator("#render-codec").select_option("prores")
    settle(page)
    expect(name).to_have_value("clip-new.mov")
    page.get_by_role("button", name="Undo (Ctrl+Z)").click()
    settle(page)
    expect(name).to_have_value("clip-new.mp4")
    assert document(studio, seen.project).output is None
