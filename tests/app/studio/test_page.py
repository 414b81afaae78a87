"""The page beside the real server: people, settings, cues, timeline and how it is used without a mouse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.app.studio.conftest import FRAMES, Seen, Studio, document, pixels, settle, watched

pytestmark = pytest.mark.browser


def frame(page: Page) -> int:
    return int(page.locator(".lane-body").get_attribute("aria-valuenow") or -1)


def give(seen: Seen, studio: Studio, person: int, picture: str) -> None:
    """Give somebody a face from the server's folders."""
    page = seen.page
    page.locator(".person").nth(person).locator(".face").click()
    page.get_by_role("button", name="Add a face").click()
    page.get_by_role("menuitem", name="From the server's folders").click()
    page.get_by_role("button", name=studio.media.name).click()
    page.get_by_role("button", name=f"{picture}.png").click()
    page.get_by_role("button", name="Choose", exact=True).click()
    expect(page.locator(".person").nth(person).locator(".face img")).to_be_visible()
    settle(page)


def press(page: Page, key: str) -> None:
    """A key while no field has the focus."""
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(key)


def test_a_new_face_is_seen_and_saved(seen: Seen, studio: Studio) -> None:
    before = pixels(seen.page)
    give(seen, studio, 1, "astronaut")
    assert pixels(seen.page) != before
    cast = document(studio, seen.project).cast
    assert [part.sources for part in cast] == [(studio.media / "astronaut.png",)]


def test_a_picture_is_dragged_onto_a_person(seen: Seen, studio: Studio) -> None:
    page = seen.page
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add faces").click()
        page.get_by_role("menuitem", name="Pictures or videos from this device").click()
    chooser.value.set_files([str(studio.media / "hopper.png"), str(studio.media / "astronaut.png")])
    expect(page.locator(".source")).to_have_count(2)
    page.locator(".source").nth(1).drag_to(page.locator(".source").nth(0))
    expect(page.locator(".source .count")).to_have_text("2")
    page.locator(".source").first.drag_to(page.locator(".person").first)
    settle(page)
    (part,) = document(studio, seen.project).cast
    assert [path.name.split(".")[0].split(" ")[0] for path in part.sources] == ["hopper", "astronaut"]


def test_new_faces_are_there_again_in_another_browser(
    seen: Seen, studio: Studio, context: BrowserContext
) -> None:
    page, faces = seen.page, seen.page.locator(".source")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add faces").click()
        page.get_by_role("menuitem", name="Pictures or videos from this device").click()
    chooser.value.set_files([str(studio.media / f"{name}.png") for name in ("hopper", "astronaut")])
    expect(faces).to_have_count(2)
    settle(page)
    assert [len(paths) for paths in document(studio, seen.project).identities] == [1, 1]
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(faces).to_have_count(2)
    faces.nth(1).drag_to(faces.nth(0))
    expect(page.locator(".source .count")).to_have_text("2")
    settle(page)
    assert context.browser is not None
    other = context.browser.new_context().new_page()
    other.goto(f"{studio.address}#{seen.project}")
    expect(other.locator(".source .count")).to_have_text("2")
    other.context.close()
    page.locator(".source .pick").click()
    page.get_by_role("menuitem", name="Remove from the list").click()
    expect(faces).to_have_count(0)
    press(page, "Control+z")
    expect(faces).to_have_count(1)
    settle(page)
    page.reload()
    expect(faces).to_have_count(1)


def test_new_faces_that_an_older_page_kept_become_the_project_s(seen: Seen, studio: Studio) -> None:
    page = seen.page
    kept = json.dumps([[str(studio.media / "hopper.png")], [str(studio.media / "astronaut.png")]])
    page.evaluate(
        "([name, kept]) => { localStorage[name] = kept; localStorage['mien-pool-gone'] = kept; }",
        [f"mien-pool-{seen.project}", kept],
    )
    page.reload()
    expect(page.locator(".source")).to_have_count(2)
    page.wait_for_function("() => !Object.keys(localStorage).some((name) => /^mien-pool-./.test(name))")
    settle(page)
    assert [paths[0].name for paths in document(studio, seen.project).identities] == [
        "hopper.png",
        "astronaut.png",
    ]


def test_the_same_picture_again_is_the_face_that_is_there(seen: Seen, studio: Studio, tmp_path: Path) -> None:
    page = seen.page
    copy = tmp_path / "copy.png"
    content = (studio.media / "astronaut.png").read_bytes()
    copy.write_bytes(content + b"bytes after the picture")  # of no other test
    once_more = tmp_path / "once more.png"
    once_more.write_bytes(copy.read_bytes())
    for path in (copy, once_more, copy):
        with page.expect_response("**/api/uploads?*"), page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Add faces").click()
            page.get_by_role("menuitem", name="Pictures or videos from this device").click()
            chooser.value.set_files(str(path))
        expect(page.locator(".toast")).to_have_count(0)  # it is no longer being sent
        expect(page.locator(".source")).to_have_count(1)
    kept = [path for path in (studio.home / "uploads").iterdir() if path.read_bytes() == copy.read_bytes()]
    assert [path.name for path in kept] == ["copy.png"]


def test_a_changed_setting_changes_the_pixels_and_is_taken_back(seen: Seen, studio: Studio) -> None:
    page = seen.page
    give(seen, studio, 1, "astronaut")
    press(page, "3")
    settle(page)
    whole = pixels(page)
    strength = page.locator('[data-field="swap.strength"] input[type=number]')
    strength.fill("0.3")
    strength.press("Enter")
    settle(page)
    weak = pixels(page)
    assert weak != whole
    assert document(studio, seen.project).settings.swap.strength == 0.3
    expect(page.locator(".settings-head")).to_contain_text("1 changed")
    press(page, "Control+z")
    settle(page)
    assert pixels(page) == whole
    press(page, "Control+Shift+z")
    settle(page)
    assert pixels(page) == weak
    page.get_by_role("button", name="Reset strength").click()
    settle(page)
    assert pixels(page) == whole


def test_a_change_that_is_taken_back_at_once_is_saved(seen: Seen) -> None:
    page = seen.page
    eyes = page.locator("#set-swap-eyes")
    page.evaluate(
        """() => {
            const field = document.getElementById("set-swap-eyes");
            field.value = "source";
            field.dispatchEvent(new Event("change", { bubbles: true }));
            document.querySelector('[aria-label="Undo (Ctrl+Z)"]').disabled = false;
            document.querySelector('[aria-label="Undo (Ctrl+Z)"]').click();
        }"""
    )
    expect(eyes).to_have_value("target")
    expect(page.locator(".save-state")).to_have_text("Saved")


def test_saving_leaves_what_is_being_typed(seen: Seen, studio: Studio) -> None:
    page = seen.page
    strength = page.locator('[data-field="swap.strength"] input[type=number]')
    strength.fill("0.6")
    strength.press("Enter")
    strength.fill("0.3")
    settle(page)  # the first is saved
    expect(strength).to_be_focused()
    expect(strength).to_have_value("0.3")
    assert document(studio, seen.project).settings.swap.strength == 0.6
    strength.press("Enter")
    settle(page)
    assert document(studio, seen.project).settings.swap.strength == 0.3


def test_only_settings_that_apply_are_shown(seen: Seen) -> None:
    page = seen.page
    expect(page.locator('[data-field="swap.eyes"]')).to_be_visible()
    expect(page.locator('[data-field="swap.size"]')).to_be_hidden()
    page.locator("#set-swap-model").select_option("inswapper_128")
    expect(page.locator('[data-field="swap.eyes"]')).to_be_hidden()
    expect(page.locator('[data-field="swap.size"]')).to_be_visible()


def test_a_person_has_settings_of_its_own(seen: Seen, studio: Studio) -> None:
    page = seen.page
    give(seen, studio, 0, "hopper")
    page.locator(".lane-person").nth(0).click()
    grow = page.locator('[data-field="mask.grow"] input[type=number]')
    grow.fill("0.1")
    grow.press("Enter")
    settle(page)
    page.get_by_role("button", name="Settings of the whole clip").click()
    feather = page.locator('[data-field="mask.feather"] input[type=number]')
    feather.fill("0.8")
    feather.press("Enter")
    settle(page)
    project = document(studio, seen.project)
    assert project.settings.mask.grow == 0.0
    assert project.cast[0].mask is not None
    assert (project.cast[0].mask.grow, project.cast[0].mask.feather) == (0.1, 0.8)
    expect(page.locator(".person").nth(0)).to_contain_text("own settings")


def test_people_are_renamed_merged_and_split(seen: Seen, studio: Studio) -> None:
    page = seen.page
    people = page.locator(".person")
    found = people.count()
    page.locator(".who").nth(0).dblclick()
    page.get_by_label("Name", exact=True).fill("Ana")
    page.keyboard.press("Enter")
    expect(people.nth(0)).to_contain_text("Ana")
    people.nth(1).get_by_role("button", name=re.compile("More about")).click()
    page.get_by_role("menuitem", name="Is the same as").click()
    page.get_by_role("menuitem", name="Ana").click()
    expect(people).to_have_count(found - 1)
    settle(page)
    (ana,) = (person for person in document(studio, seen.project).people if person.name == "Ana")
    assert len(ana.tracks) >= 2
    people.nth(0).get_by_role("button", name="More about Ana").click()
    page.get_by_role("menuitem", name="Not Ana in this shot").click()
    page.get_by_role("menuitem", name="It is somebody else").click()
    expect(people).to_have_count(found)
    press(page, "Control+z")
    expect(people).to_have_count(found - 1)


def test_a_cue_is_added_moved_and_keeps_the_original_face(seen: Seen, studio: Studio) -> None:
    page = seen.page
    press(page, "3")
    settle(page)
    original = pixels(page)
    give(seen, studio, 1, "astronaut")
    assert pixels(page) != original
    press(page, "m")
    page.locator("#cue-off").click()
    settle(page)
    assert pixels(page) == original
    (cue,) = document(studio, seen.project).cues
    assert (cue.start, cue.end, cue.show) == ("0f", "25f", 0.0)
    block = page.locator(".cue")
    box = block.bounding_box()
    lane = page.locator(".lane-body").bounding_box()
    assert box
    assert lane
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + lane["width"] * 10 / FRAMES, box["y"] + 10, steps=4)
    page.mouse.up()
    settle(page)
    (cue,) = document(studio, seen.project).cues
    assert (cue.start, cue.end) == ("10f", "35f")
    assert pixels(page) != original
    block.press("Alt+Shift+ArrowLeft")
    settle(page)
    assert document(studio, seen.project).cues[0].end == "25f"
    block.press("Delete")
    expect(block).to_have_count(0)


def test_numbers_run_between_keys_of_a_cue(seen: Seen, studio: Studio) -> None:
    page = seen.page
    give(seen, studio, 0, "hopper")
    press(page, "m")
    press(page, "Home")
    strength = page.locator('[data-field="swap.strength"]')
    strength.get_by_role("button", name="Key for strength at this frame").click()
    for _ in range(2):
        press(page, "Shift+ArrowRight")
    number = strength.locator("input[type=number]")
    number.fill("0")
    number.press("Enter")
    press(page, "Shift+ArrowLeft")
    expect(number).to_have_value("0.5")
    settle(page)
    (cue,) = document(studio, seen.project).cues
    assert [(key.at, key.values["swap.strength"]) for key in cue.keys] == [("0f", 1), ("20f", 0)]


def test_moving_and_marking_by_keys(seen: Seen, studio: Studio) -> None:
    page = seen.page
    press(page, "End")
    assert frame(page) == FRAMES - 1
    for key, wanted in (("ArrowLeft", FRAMES - 2), ("Home", 0), ("Shift+ArrowRight", 10), ("i", 10)):
        press(page, key)
        assert frame(page) == wanted
    press(page, "Shift+ArrowRight")
    press(page, "o")
    settle(page)
    project = document(studio, seen.project)
    assert (project.start, project.end) == ("10f", "21f")
    press(page, "Home")
    assert frame(page) == 10
    page.get_by_label("Time at the playhead").fill("0:01:02")
    page.keyboard.press("Enter")
    assert frame(page) == 27


def test_playback_comes_to_the_end_with_sound(seen: Seen) -> None:
    page = seen.page
    press(page, "Space")
    expect(page.get_by_role("button", name="Pause (space)")).to_be_visible()
    expect(page.get_by_role("button", name="Play (space)")).to_be_visible()
    assert frame(page) == FRAMES - 1
    assert any("/audio?" in url for url in seen.requests)
    press(page, "j")
    expect(page.locator(".lane-body")).to_have_attribute("aria-valuenow", "0")


def test_zoom_to_a_face_and_back(seen: Seen) -> None:
    page = seen.page
    whole = pixels(page)
    press(page, "f")
    expect(page.locator(".viewer")).to_have_class(re.compile("zoomed"))
    settle(page)
    assert pixels(page) != whole
    press(page, "0")
    settle(page)
    assert pixels(page) == whole


def elsewhere(studio: Studio, context: BrowserContext, project: str, name: str) -> None:
    """Rename the project past the page."""
    api = f"{studio.address}api/projects/{project}"
    now = context.request.get(api).json()
    changed = {"revision": now["revision"], "project": {**now["project"], "name": name}}
    sent = context.request.put(api, data=changed, headers={"Origin": studio.address.rstrip("/")})
    assert sent.ok


def test_two_pages_do_not_overwrite_each_other(seen: Seen, studio: Studio, context: BrowserContext) -> None:
    page = seen.page
    page.route("**/api/events", lambda route: route.abort())  # so that it does not hear of the change
    page.reload()
    page.locator(".person").first.wait_for()
    elsewhere(studio, context, seen.project, "Theirs")
    name = page.get_by_label("Name of the project")
    name.fill("Mine")
    name.press("Enter")
    page.get_by_role("button", name="Keep mine").click()
    expect(page.locator(".save-state")).to_have_text("Saved")
    assert document(studio, seen.project).name == "Mine"
    elsewhere(studio, context, seen.project, "Theirs")
    name.fill("Mine again")
    name.press("Enter")
    page.get_by_role("button", name="Take the other version").click()
    expect(name).to_have_value("Theirs")
    expected = ("409 (Conflict)", "net::ERR_FAILED")  # the browser itself tells these
    seen.complaints[:] = [text for text in seen.complaints if not any(part in text for part in expected)]


def test_a_change_elsewhere_is_shown(seen: Seen, studio: Studio, context: BrowserContext) -> None:
    elsewhere(studio, context, seen.project, "Theirs")
    expect(seen.page.get_by_label("Name of the project")).to_have_value("Theirs")


def test_presets(seen: Seen, studio: Studio) -> None:
    page = seen.page
    page.locator("#set-swap-eyes").select_option("source")
    settle(page)
    more = page.get_by_role("button", name="Presets and reset")
    more.click()
    page.get_by_role("menuitem", name="Save settings as a preset").click()
    page.get_by_label("Name of the preset").fill("eyes")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Preset “eyes” saved.")).to_be_visible()
    more.click()
    page.get_by_role("menuitem", name="Reset all settings").click()
    expect(page.locator("#set-swap-eyes")).to_have_value("target")
    more.click()
    page.get_by_role("menuitem", name="Load “eyes”").click()
    expect(page.locator("#set-swap-eyes")).to_have_value("source")
    assert (studio.home / "presets" / "eyes.toml").read_text() == '[swap]\neyes = "source"\n'


def test_a_picture_from_the_camera(seen: Seen) -> None:
    page = seen.page
    page.get_by_role("button", name="Add faces").click()
    page.get_by_role("menuitem", name="Take a picture with the camera").click()
    page.wait_for_function("() => document.querySelector('video.camera')?.videoWidth > 0")
    page.get_by_role("button", name="Take picture").click()
    expect(page.locator(".source")).to_have_count(1)
    expect(page.locator(".source")).to_contain_text("camera-")


def test_models_are_told_with_licence_and_asked_before_they_are_got(seen: Seen) -> None:
    page = seen.page
    page.get_by_role("tab", name="Models").click()
    page.get_by_label("Find a model").fill("inswapper_128")
    page.get_by_role("button", name="Get inswapper_128", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Licence of inswapper_128")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_label("Find a model").fill("blazeface_full")
    expect(page.locator(".model")).to_contain_text("installed")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_control_has_a_name_and_text_can_be_read(seen: Seen, scheme: str, studio: Studio) -> None:
    page = seen.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    give(seen, studio, 0, "hopper")
    press(page, "m")
    for tab in ("Settings", "Render", "Models"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate(NAMELESS) == []
        faint = page.evaluate(FAINT)
        assert faint == [], faint


def test_nothing_comes_from_elsewhere(seen: Seen, studio: Studio) -> None:
    assert all(url.startswith((studio.address, "data:", "blob:")) for url in seen.requests)
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("clockOf({ rate: '25', frames: 9 }).code(0)", "0:00:00"),
        ("clockOf({ rate: '25', frames: 9 }).code(62 * 25 + 7)", "1:02:07"),
        ("clockOf({ rate: '30/1', frames: 9 }).code(3600 * 30)", "1:00:00:00"),
        ("clockOf({ rate: '24', frames: 9 }).read('1:02.5', 0)", 1500),
        ("clockOf({ rate: '24', frames: 9 }).read('250f', 0)", 250),
        ("clockOf({ rate: '24', frames: 9 }).read('', 9)", 9),
        ("clockOf({ rate: '25', frames: 9 }).typed('0:12:07')", 307),
        ("clockOf({ rate: '30000/1001', frames: 999 }).typed('0:17:29')", 539),
        ("clockOf({ rate: '30000/1001', frames: 999 }).code(539)", "0:17:29"),
        ("clockOf({ rate: '24', frames: 9 }).typed('2.5')", 60),
        ("clockOf({ rate: '24', frames: 9 }).typed('x')", None),
        ("clockOf({ rate: '25', frames: 9, start: 0.2 }).typed('0.5')", 8),
        ("clockOf({ rate: '25', frames: 9, start: 0.2 }).seconds(8)", 0.52),
        ("size(1234567)", "1.2 MB"),
    ],
)
def test_times_and_sizes(context: BrowserContext, studio: Studio, code: str, value: object) -> None:
    page = watched(context).page
    page.goto(f"{studio.address}icon.svg")
    assert page.evaluate(f"import('/time.js').then(t => {{ with (t) return {code}; }})") == value


NAMELESS = """() => [...document.querySelectorAll('button, input, select, a[href], [role=slider]')]
  .filter(n => n.offsetParent && !n.getAttribute('aria-label') && !n.getAttribute('aria-labelledby')
    && !n.textContent.trim() && !(n.labels && n.labels.length))
  .map(n => n.outerHTML)"""
"""Controls that are seen and have no name."""

FAINT = """() => {
  const parse = text => {
    const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r / 255, g / 255, b / 255, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((v, k) => v * top[3] + under[k] * (1 - top[3]));
  const light = rgb => {
    const [r, g, b] = rgb.map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = node => {
    const layers = [];
    for (let n = node; n; n = n.parentElement) layers.unshift(parse(getComputedStyle(n).backgroundColor));
    return layers.reduce((under, top) => over(top, under), [1, 1, 1]);
  };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(c => c.nodeType === 3 && c.textContent.trim());
    if (!own || !node.offsetParent || node.closest('[inert], :disabled, .viewer, .cue')) continue;
    const under = ground(node);
    const [a, b] = [light(over(parse(getComputedStyle(node).color), under)), light(under)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push([node.textContent.slice(0, 30), node.className, contrast.toFixed(2)]);
  }
  return found;
}"""
"""Texts whose contrast to what is under them is less than 4.5 to 1 (WCAG 2.2, 1.4.3)."""
