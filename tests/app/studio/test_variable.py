"""A clip whose rate varies, on the page: everything is where its frames are, not where an average has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.app.studio.conftest import Seen, Studio, document, settle, watched
from tests.media.makers import Recipe, Sound, make

pytestmark = pytest.mark.browser

PTS = [0, 40, 80, 120, 160, 200, 240, 280, 1000, 2000, 3000, 3040, 3080, 3120]
"""Milliseconds: quick, then a frame a second, then quick again; the last one is shown for 40."""


@pytest.fixture
def uneven(context: BrowserContext, studio: Studio) -> Iterator[Seen]:
    """The page with a clip of these moments; at the end nothing may have been complained about."""
    path = studio.media / "uneven.mp4"
    if not path.exists():
        times = {"rate": Fraction(25), "time_base": Fraction(1, 1000), "pts": PTS, "frames": len(PTS)}
        make(path, Recipe(size=(160, 90), sounds=(Sound(0.0, 3.1),), **times))  # type: ignore[arg-type]
    found = watched(context)
    made = context.request.post(
        f"{studio.address}api/projects",
        data={"target": str(path)},
        headers={"Origin": studio.address.rstrip("/")},
    )
    assert made.ok, made.text()
    found.project = made.json()["id"]
    found.page.goto(f"{studio.address}#{found.project}")
    expect(found.page.get_by_label("Time at the playhead")).to_have_value("0:00.000")
    settle(found.page)
    yield found
    assert found.complaints == []


def seek(page: Page, text: str) -> None:
    field = page.get_by_label("Time at the playhead")
    field.fill(text)
    field.press("Enter")
    settle(page)


def frame(page: Page) -> int:
    return int(page.locator(".lane-body").get_attribute("aria-valuenow") or -1)


def test_a_frame_is_shown_with_its_moment(uneven: Seen) -> None:
    page = uneven.page
    time = page.get_by_label("Time at the playhead")
    expect(page.locator(".transport")).to_contain_text("/ 0:03.160")
    expect(page.locator("#top")).to_contain_text("fps on average")
    for number, text in ((1, "0:00.040"), (8, "0:01.000"), (10, "0:03.000"), (13, "0:03.120")):
        seek(page, f"{number}f")
        expect(time).to_have_value(text)
        assert frame(page) == number
    page.get_by_role("button", name="One frame back (←)").click()
    expect(time).to_have_value("0:03.080")


def test_a_typed_moment_goes_to_its_frame(uneven: Seen) -> None:
    page = uneven.page
    for text, number in (
        ("0:01", 8),
        ("1.0", 8),
        ("2.95", 10),
        ("0:03.04", 11),
        ("9", 9),
        ("0:00.28", 7),
        ("1:00", 13),
    ):
        seek(page, text)
        assert frame(page) == number, text


def test_the_timeline_is_spaced_by_time(uneven: Seen) -> None:
    page = uneven.page
    seek(page, "8f")
    expect(page.locator(".lane-body")).to_have_attribute("aria-valuetext", "0:01.000, frame 8")
    box = page.locator(".lane-body").bounding_box()
    assert box is not None
    for number, moment in ((2, 90), (8, 1900), (9, 2100), (13, 3140)):
        page.mouse.click(box["x"] + box["width"] * moment / 3160, box["y"] + 10)
        assert frame(page) == number


def test_in_and_out_are_told_by_their_length(uneven: Seen, studio: Studio) -> None:
    page = uneven.page
    page.get_by_role("tab", name="Render").click()
    note = page.locator("#panel-render")
    expect(note).to_contain_text("Whole clip: 14 frames, 0:03.160")
    seek(page, "8f")
    page.get_by_role("button", name="Set in point (I)").click()
    seek(page, "9f")
    page.get_by_role("button", name="Set out point (O)").click()
    expect(note).to_contain_text("In to out: 2 frames, 0:02.000")
    settle(page)
    project = document(studio, uneven.project)
    assert (project.start, project.end) == ("8f", "10f")
    expect(page.locator(".trim.in")).to_have_attribute("aria-valuetext", "0:01.000")


def test_a_cue_lasts_a_second_and_keeps_that(uneven: Seen, studio: Studio) -> None:
    page = uneven.page
    page.get_by_role("button", name="Add cue").click()
    settle(page)
    (cue,) = document(studio, uneven.project).cues
    assert (cue.start, cue.end) == ("0f", "8f")
    expect(page.get_by_label("End", exact=True)).to_have_value("0:01.000")
    page.get_by_role("button", name="Duplicate cue").click()
    settle(page)
    assert [(cue.start, cue.end) for cue in document(studio, uneven.project).cues] == [
        ("0f", "8f"),
        ("8f", "9f"),
    ]
    starts = sorted(
        page.evaluate("[...document.querySelectorAll('.cue')].map(n => parseFloat(n.style.left))")
    )
    width = page.evaluate("document.querySelector('.lane-body').clientWidth")
    assert np.allclose(np.array(starts) / width, [0, 1000 / 3160], atol=0.004)


def test_moments_of_a_project_are_read_as_a_render_reads_them(uneven: Seen, studio: Studio) -> None:
    page = uneven.page
    answer = page.request.get(f"{studio.address}api/projects/{uneven.project}").json()
    changed = {**answer["project"], "cues": [{"start": "0.3", "end": "2.5", "show": 0.5}]}
    page.request.put(
        f"{studio.address}api/projects/{uneven.project}",
        data={"revision": answer["revision"], "project": changed},
        headers={"Origin": studio.address.rstrip("/")},
    )
    expect(page.locator(".cue")).to_have_attribute("aria-label", "Cue 1: show 50 %, 0:01.000 to 0:03.000")


def test_sound_is_that_of_the_moment(uneven: Seen) -> None:
    page = uneven.page
    seek(page, "9f")
    with page.expect_request(lambda asked: "/audio?" in asked.url) as asked:
        page.get_by_role("button", name="Play (space)").click()
    assert "start=2.0000&seconds=1.1600" in asked.value.url
    expect(page.get_by_role("button", name="Play (space)")).to_be_visible()
    assert frame(page) == 13


def test_a_dragged_cue_keeps_its_length_and_its_keys(uneven: Seen, studio: Studio) -> None:
    page = uneven.page
    answer = page.request.get(f"{studio.address}api/projects/{uneven.project}").json()
    cue = {"start": "0f", "end": "6f", "keys": [{"at": "0f", "show": 0.0}, {"at": "3f", "show": 1.0}]}
    page.request.put(
        f"{studio.address}api/projects/{uneven.project}",
        data={"revision": answer["revision"], "project": {**answer["project"], "cues": [cue]}},
        headers={"Origin": studio.address.rstrip("/")},
    )
    block = page.locator(".cue")
    expect(block).to_have_attribute("aria-label", re.compile(r"0:00\.000 to 0:00\.240"))
    seek(page, "5f")
    box, lanes = block.bounding_box(), page.locator(".lane-body").bounding_box()
    assert box is not None
    assert lanes is not None
    x, y, second = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, lanes["width"] / 3.16
    page.mouse.move(x, y)
    page.mouse.down()
    for moment in (2.0, 2.88, 2.0, 0.0, 0.04):  # on the way its keys lie on one frame
        page.mouse.move(x + second * moment, y)
    page.mouse.up()
    settle(page)
    (moved,) = document(studio, uneven.project).cues
    assert (moved.start, moved.end, [key.at for key in moved.keys]) == ("1f", "7f", ["1f", "4f"])


TIMES = "clockOf({ rate: '9/1', frames: 6, times: [0, 0.04, 0.08, 0.36, 0.4, 3661.1239, 3662] })"


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("code(5)", "1:01:01.123"),
        ("typed('1:01:01.123')", 5),
        ("typed('0.37')", 4),
        ("typed('4')", 4),
        ("typed('0:01')", 5),
        ("read('0.36', 0)", 3),
        ("read('0.361', 0)", 4),
        ("read('9999', 0)", 6),
        ("at(0.359)", 2),
        ("at(0.36)", 3),
        ("at(9999)", 5),
        ("nearest(0.21)", 2),
        ("nearest(0.23)", 3),
        ("nearest(9999)", 6),
        ("length(2, 4)", "0:00.320"),
        ("mark(1500)", "0:01.500"),
    ],
)
def test_frames_and_moments(context: BrowserContext, studio: Studio, code: str, value: object) -> None:
    page = watched(context).page
    page.goto(f"{studio.address}icon.svg")
    assert page.evaluate(f"import('/time.js').then(({{ clockOf }}) => {TIMES}.{code})") == value
