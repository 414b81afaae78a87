"""What goes wrong at the hands of whoever edits, and what the page does about it."""

from __future__ import annotations

import av
import pytest
from playwright.sync_api import Route, expect

from tests.app.studio.conftest import Seen, Studio, settle

pytestmark = pytest.mark.browser


def test_a_preset_is_not_overwritten_unasked(seen: Seen, studio: Studio) -> None:
    page = seen.page
    kept = studio.home / "presets" / "mine.toml"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("[swap]\nstrength = 0.5\n")

    def save_over(answer: str) -> None:
        page.get_by_role("button", name="Presets and reset").click()
        page.get_by_role("menuitem", name="Save settings as a preset").click()
        page.get_by_label("Name of the preset").fill("mine")
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name="Overwrite").get_by_role("button", name=answer).click()

    page.locator("#set-swap-eyes").select_option("source")
    settle(page)
    save_over("Cancel")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert kept.read_text() == "[swap]\nstrength = 0.5\n"
    save_over("Overwrite")
    expect(page.get_by_text("Preset “mine” saved.")).to_be_visible()
    assert kept.read_text() == '[swap]\neyes = "source"\n'


def test_a_preset_may_have_any_name_or_is_refused_beside_the_field(seen: Seen, studio: Studio) -> None:
    page = seen.page
    eyes = page.locator("#set-swap-eyes")
    more = page.get_by_role("button", name="Presets and reset")
    names = ["a/b", "..", "50%", "%2F", "a\\b", ".x", "?#&"]
    eyes.select_option("source")
    settle(page)
    for name in names:
        more.click()
        page.get_by_role("menuitem", name="Save settings as a preset").click()
        page.get_by_label("Name of the preset").fill(f"{name} ")
        page.keyboard.press("Enter")
        expect(page.get_by_text(f"Preset “{name}” saved.")).to_be_visible()
    for name in names:
        eyes.select_option("target")
        more.click()
        page.get_by_role("menuitem", name=f"Load “{name}”").click()
        expect(eyes).to_have_value("source")
    more.click()
    page.get_by_role("menuitem", name="Save settings as a preset").click()
    asked = page.get_by_role("dialog", name="Save preset")
    for name, problem in ((" ", "is empty."), ("x" * 61, "Name: has 61 characters, 60 are the most.")):
        page.get_by_label("Name of the preset").fill(name)
        asked.get_by_role("button", name="OK").click()
        expect(asked.get_by_role("alert")).to_contain_text(problem)
    asked.get_by_role("button", name="Cancel").click()
    seen.complaints.clear()  # the browser's own word of the 422
    more.click()
    page.get_by_role("menuitem", name="Manage presets").click()
    for name in names:
        page.get_by_role("button", name=f"Delete preset {name}", exact=True).click()
        page.get_by_role("dialog", name="Delete preset").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("button", name=f"Delete preset {name}", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Close").click()
    settle(page)


DROP = """([at, name, type]) => {
    const data = new DataTransfer();
    data.items.add(new File(["x"], name, { type }));
    const event = (kind) => new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data });
    const place = document.querySelector(at);
    return ["dragover", "drop"].map((kind) => !place.dispatchEvent(event(kind)));
}"""
"""Drops a file on a place; says of both events whether the browser was kept from opening the file."""


@pytest.mark.parametrize("at", ["#timeline", "#right", "#top", "#left"])
def test_a_clip_dropped_beside_the_stage_does_not_replace_the_page(seen: Seen, at: str) -> None:
    assert seen.page.evaluate(DROP, [at, "clip.mp4", "video/mp4"]) == [True, True]
    expect(seen.page.locator(".person")).to_have_count(2)


def test_a_picture_dropped_on_the_stage_is_told_where_it_belongs(seen: Seen) -> None:
    assert seen.page.evaluate(DROP, ["#stage", "face.png", "image/png"]) == [True, True]
    expect(seen.page.get_by_role("alert")).to_contain_text("pictures of new faces on the left side")


def test_a_drop_on_a_person_leaves_no_place_marked(seen: Seen) -> None:
    page = seen.page
    person = page.locator(".person").first
    held = page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["x"], "face.txt"));
            return data;
        }"""
    )
    person.dispatch_event("dragenter", {"dataTransfer": held})
    expect(page.locator(".over")).to_have_count(2)
    person.dispatch_event("drop", {"dataTransfer": held})
    expect(page.locator(".over")).to_have_count(0)


def test_a_long_error_of_a_job_stays_within_its_panel(seen: Seen) -> None:
    page = seen.page
    page.get_by_role("tab", name="Render").click()
    panel = page.locator("#panel-render")
    error = {"subject": "net", "problem": "https://example.org/" + "x" * 400, "advice": ""}
    failed = {"id": "q0", "kind": "pull", "state": "failed", "title": "Get", "warnings": [], "error": error}
    page.evaluate(
        """async (line) => {
            const { Render } = await import("./render.js");
            const node = Render.prototype.line.call({}, line);
            document.querySelector(".jobs").replaceChildren(node);
        }""",
        failed,
    )
    expect(panel.locator(".job")).to_contain_text("x" * 400)
    assert panel.evaluate("(node) => node.scrollWidth <= node.clientWidth")


SAY = """async (all) => {
    const { toast } = await import("./overlay.js");
    for (const [text, bad] of all) toast(text, { bad, advice: bad ? "Do something about it." : undefined });
}"""
"""Shows messages, each with whether it is an error."""
COVERED = """() => {
    const inside = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    const box = document.getElementById("toasts").getBoundingClientRect();
    const parts = [...document.querySelectorAll("#top, #left, #stage, #timeline, #right > .panel")];
    const seen = parts.filter((node) => node.checkVisibility({ visibilityProperty: true }));
    return seen.filter((node) => inside(box, node.getBoundingClientRect())).map((node) => node.id);
}"""
"""Parts of the page that messages cover."""


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_messages_cover_nothing_and_do_not_pile_up(seen: Seen, scheme: str) -> None:
    page = seen.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    errors = [(f"Clip {k}: cannot be read. {'x' * 90 * k}", True) for k in range(6)]
    page.evaluate(SAY, [*errors, ("Saved.", False)])
    toasts = page.locator(".toast")
    expect(toasts).to_have_count(3)
    assert page.evaluate(COVERED) == []
    expect(toasts.last).to_contain_text("Clip 5")  # an error is not lost to a word that all is well
    expect(toasts.last.get_by_text("Do something about it.")).to_be_in_viewport()
    for left in (2, 1, 0):
        toasts.last.get_by_role("button", name="Dismiss").click()
        expect(toasts).to_have_count(left)


def test_messages_are_in_reach_without_a_clip_and_beside_a_dialog(seen: Seen, studio: Studio) -> None:
    page = seen.page
    page.get_by_role("button", name="Keys (?)").click()
    page.evaluate(SAY, [("Clip: cannot be read.", True)])
    page.locator(".toast").get_by_role("button", name="Dismiss").click()
    expect(page.locator(".toast")).to_have_count(0)
    page.evaluate(SAY, [("Clip: cannot be read.", True)])
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.locator("#right .toast")).to_be_visible()
    page.evaluate("localStorage.clear()")
    page.goto(f"{studio.address}?anew")
    page.get_by_role("heading", name="Open a clip").wait_for()
    page.evaluate(SAY, [("Clip: cannot be read.", True)])
    expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)
    page.locator(".toast").get_by_role("button", name="Dismiss").click()
    expect(page.locator(".toast")).to_have_count(0)


def test_a_message_stays_as_long_as_it_takes_to_read_it(seen: Seen) -> None:
    page = seen.page
    page.clock.install()
    page.evaluate(SAY, [("Saved.", False), ("The long one. " * 20, False), ("Wrong.", True)])
    page.clock.fast_forward(6_000)
    expect(page.locator(".toast")).to_have_count(2)
    page.get_by_text("The long one.").hover()
    page.clock.fast_forward(15_000)
    expect(page.locator(".toast")).to_have_count(2)
    page.get_by_role("tab", name="Cast").hover()
    page.clock.fast_forward(6_000)
    expect(page.locator(".toast")).to_have_count(1)
    page.clock.fast_forward(600_000)
    expect(page.get_by_role("alert")).to_contain_text("Wrong.")


def test_a_clip_that_breaks_off_says_so(seen: Seen, studio: Studio) -> None:
    cut = studio.media / "cut.mkv"
    with av.open(str(studio.media / "clip.mp4")) as source, av.open(str(cut), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                sink.mux(packet)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    origin = {"Origin": studio.address.rstrip("/")}
    made = seen.page.request.post(f"{studio.address}api/projects", data={"target": str(cut)}, headers=origin)
    note = next(text for text in made.json()["clip"]["notes"] if text.startswith("breaks off after"))
    seen.page.goto(f"{studio.address}#{made.json()['id']}")
    seen.page.reload()
    expect(seen.page.get_by_role("alert")).to_contain_text(f"cut.mkv: {note}")


def test_a_moment_that_was_settled_leaves_the_list(seen: Seen) -> None:
    page = seen.page

    def doubtful(route: Route) -> None:
        answer = route.fetch()
        people = answer.json()
        track = people["people"][0]["tracks"][0]
        one = {"track": track["id"], "reason": "unsure", "text": "the landmarks are unsure"}
        spans = [(track["start"] + k, track["start"] + k + 2) for k in (1, 5)]
        people["moments"] = [{**one, "frame": start, "end": end} for start, end in spans]
        route.fulfill(response=answer, json=people)

    page.route("**/people", doubtful)
    page.reload()
    page.locator(".person").first.wait_for()
    page.get_by_role("tab", name="Check").click()
    leave = page.get_by_role("button", name="Keep the original face there")
    expect(leave).to_have_count(2)
    leave.first.click()
    expect(leave).to_have_count(1)
    expect(page.get_by_text("1 to check")).to_be_visible()
    settle(page)
    page.keyboard.press("Control+z")
    expect(leave).to_have_count(2)
    settle(page)
