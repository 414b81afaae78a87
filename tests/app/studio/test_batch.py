"""The form for batches, and the ending that follows the codec."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import pytest
from playwright.sync_api import expect

from mien.media import codecs
from mien.settings import Encode
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


def test_every_codec_is_proposed_an_ending_that_holds_it(seen: Seen, studio: Studio) -> None:
    page = seen.page
    name, codec = page.locator("#render-name"), page.locator("#render-codec")
    origin = {"Origin": studio.address.rstrip("/")}
    for suffix in (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mxf"):
        clip = studio.media / f"source{suffix}"
        shutil.copy(studio.media / "clip.mp4", clip)  # what is in it does not count here
        made = page.request.post(f"{studio.address}api/projects", data={"target": str(clip)}, headers=origin)
        page.goto(f"{studio.address}?{suffix}#{made.json()['id']}")
        page.get_by_role("tab", name="Render").click()
        expect(name).to_have_value(f"source-new{suffix if suffix in codecs.WELL_KEPT else '.mp4'}")
        offered = [node.get_attribute("value") or "" for node in codec.locator("option").all()]
        assert offered == list(get_args(Encode.model_fields["codec"].annotation))
        for chosen in offered[1:]:
            codec.select_option(chosen)
            proposed = Path(name.input_value()).suffix
            assert codecs.holds(codecs.FORMATS[proposed], codecs.FAMILIES[chosen]), (suffix, chosen)
            if suffix in codecs.endings(chosen):
                assert proposed == suffix
            page.get_by_role("button", name="Undo (Ctrl+Z)").click()
            expect(codec).to_have_value("auto")
        expect(page.locator(".save-state")).to_have_text("Saved")


def test_a_name_without_an_ending_gets_one_that_holds_the_codec(seen: Seen, studio: Studio) -> None:
    page = seen.page
    page.get_by_role("tab", name="Render").click()
    page.locator("#render-codec").select_option("ffv1")
    page.locator("#render-name").fill("mine")
    page.locator("#render-name").press("Enter")
    settle(page)
    assert document(studio, seen.project).output == studio.media / "mine.mkv"


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
