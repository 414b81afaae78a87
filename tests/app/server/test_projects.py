"""Projects over HTTP: the document, its revisions, and the jobs that it becomes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mien.run import project as documents
from mien.settings import Job
from tests.app.server.conftest import Place
from tests.media.makers import Recipe, Sound, make
from tests.regression import scenes


def _put(place: Place, opened: dict[str, Any], **changes: Any) -> Any:
    project = {**opened["project"], **changes}
    body = {"revision": opened["revision"], "project": project}
    return place.client.put(f"/api/projects/{opened['id']}", json=body)


def test_a_new_project_tells_what_its_clip_is(place: Place) -> None:
    opened = place.project()
    assert opened["clip"] == {
        "width": 320,
        "height": 180,
        "frames": 40,
        "rate": "25/1",
        "seconds": 1.6,
        "audio": True,
        "format": "mov,mp4,m4a,3gp,3g2,mj2",
        "codec": "h264",
        "rotation": 0,
    }
    assert opened["project"] == {"name": "two", "target": str(place.clip)}
    assert (opened["revision"], opened["analysed"], opened["job"]) == (1, False, None)
    assert place.client.get(f"/api/projects/{opened['id']}").json() == opened
    [line] = place.client.get("/api/projects").json()
    assert (line["id"], line["name"], line["target"]) == (opened["id"], "two", str(place.clip))


def test_what_can_be_no_project(place: Place, tmp_path: Path) -> None:
    scenes.portrait("hopper").save(place.films / "still.png")
    (place.films / "broken.mp4").write_bytes(b"\0" * 100)
    (tmp_path / "outside.mp4").write_bytes(place.clip.read_bytes())
    for target, status, kind in (
        (place.films / "still.png", 422, "media"),
        (place.films / "broken.mp4", 422, "media"),
        (place.films / "none.mp4", 404, "not_found"),
        (place.films, 404, "not_found"),
        (tmp_path / "outside.mp4", 403, "request"),
        (place.films / "../outside.mp4", 403, "request"),
        ("two.mp4", 422, "request"),
    ):
        answer = place.client.post("/api/projects", json={"target": str(target)})
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["kind"] == kind
    assert place.client.get("/api/projects").json() == []


def test_changes_are_kept_as_a_file_that_people_can_read(place: Place) -> None:
    opened = place.project(name="Erste Fassung")
    assert opened["id"].startswith("erste-fassung-")
    picture = place.films / "ana.png"
    scenes.portrait("astronaut").save(picture)
    changes = {
        "cast": [{"person": "person1", "sources": [str(picture)], "mask": {"feather": 0.25}}],
        "settings": {"swap": {"strength": 0.75}},
        "cues": [{"start": "0.5", "end": "1", "values": {"swap.grain": 0.5}}],
    }
    assert _put(place, opened, **changes).json() == {"revision": 2}
    path = place.home / "projects" / opened["id"] / "project.toml"
    text = path.read_text()
    for line in ("strength = 0.75", "[[cast]]", "feather = 0.25", '"swap.grain" = 0.5'):
        assert line in text
    assert "light" not in text  # what is as usual is left out
    project = documents.read(path)
    assert project.settings.swap.strength == 0.75
    assert project.cast[0].sources == (picture,)
    again = place.client.get(f"/api/projects/{opened['id']}").json()
    assert again["project"]["settings"] == {"swap": {"strength": 0.75}}
    assert again["project"]["cast"] == changes["cast"]


def test_new_faces_that_nobody_has_are_kept_and_seen_to_be_allowed(place: Place, tmp_path: Path) -> None:
    opened = place.project()
    faces = [[str(place.films / "ana.png")], [str(place.films / "ben.png"), str(place.films / "ben2.png")]]
    assert _put(place, opened, identities=faces).json() == {"revision": 2}
    assert place.client.get(f"/api/projects/{opened['id']}").json()["project"]["identities"] == faces
    project = documents.read(place.home / "projects" / opened["id"] / "project.toml")
    assert project.identities == tuple(tuple(map(Path, paths)) for paths in faces)
    outside = _put(place, {**opened, "revision": 2}, identities=[[str(tmp_path / "secret.png")]])
    assert outside.status_code == 403
    assert _put(place, {**opened, "revision": 2}, identities=[[]]).status_code == 422


def test_nobody_overwrites_what_they_have_not_seen(place: Place) -> None:
    opened = place.project()
    assert _put(place, opened, name="mine").json() == {"revision": 2}
    refused = _put(place, opened, name="theirs")
    assert refused.status_code == 409
    body = refused.json()
    assert body["error"]["kind"] == "conflict"
    assert (body["revision"], body["project"]["name"]) == (2, "mine")
    assert _put(place, {**opened, "revision": 2}, name="theirs").json() == {"revision": 3}


def test_the_same_again_is_no_change(place: Place) -> None:
    opened = place.project()
    assert _put(place, opened).json() == {"revision": 1}


def test_a_change_by_hand_counts(place: Place) -> None:
    opened = place.project()
    path = place.home / "projects" / opened["id"] / "project.toml"
    path.write_text(path.read_text().replace('name = "two"', 'name = "by hand"'))
    found = place.client.get(f"/api/projects/{opened['id']}").json()
    assert (found["revision"], found["project"]["name"]) == (2, "by hand")
    assert _put(place, opened, name="mine").status_code == 409
    path.write_text("name = \n")
    broken = place.client.get(f"/api/projects/{opened['id']}")
    assert (broken.status_code, broken.json()["error"]["kind"]) == (422, "settings")
    assert place.client.get("/api/projects").json() == []


def test_a_project_cannot_lead_out(place: Place, tmp_path: Path) -> None:
    opened = place.project()
    secret = tmp_path / "secret.png"
    scenes.portrait("hopper").save(secret)
    for change in (
        {"target": str(secret)},
        {"output": str(tmp_path / "out.mp4")},
        {"cast": [{"person": "person1", "sources": [str(secret)]}]},
        {"cues": [{"sources": [str(secret)]}]},
        {"settings": {"swap": {"model": str(tmp_path / "x.dfm")}}},
    ):
        assert _put(place, opened, **change).status_code == 403
    # Even where somebody wrote it into the file.
    path = place.home / "projects" / opened["id"] / "project.toml"
    path.write_text(f'target = "{tmp_path / "secret.png"}"\n')
    assert place.client.get(f"/api/projects/{opened['id']}").status_code == 403
    assert place.client.get(f"/api/projects/{opened['id']}/thumbnails").status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"settings": {"swap": {"strength": 9}}},
        {"settings": {"swop": {}}},
        {"cast": [{"person": "../x"}]},
        {"people": [{"id": "person1", "tracks": [-1]}]},
        {"cues": [{"values": {"encode.quality": 1}}]},
        {"format": 2},
    ],
)
def test_what_a_project_cannot_say(place: Place, change: dict[str, Any]) -> None:
    opened = place.project()
    answer = _put(place, opened, **change)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["kind"] == "request"
    assert error["subject"].startswith("project.")


def test_ids_are_no_paths(place: Place) -> None:
    for name in ("nothing", "..", "%2e%2e", "a%2fb", "A", "x" * 100, "%00", "ä"):
        answer = place.client.get(f"/api/projects/{name}")
        assert answer.status_code in (404, 405), name
        assert set(answer.json()["error"]) == {"kind", "subject", "problem", "advice"}


def test_a_removed_project_is_gone_and_its_clip_is_not(place: Place) -> None:
    opened = place.project()
    assert place.client.delete(f"/api/projects/{opened['id']}").status_code == 204
    assert place.client.get(f"/api/projects/{opened['id']}").status_code == 404
    assert place.client.delete(f"/api/projects/{opened['id']}").status_code == 404
    assert place.clip.exists()
    assert not (place.home / "projects" / opened["id"]).exists()


def test_a_clip_that_is_gone_is_said_and_changes_are_still_kept(place: Place) -> None:
    opened = place.project()
    place.clip.unlink()
    answer = place.client.get(f"/api/projects/{opened['id']}")
    assert (answer.status_code, answer.json()["error"]["subject"]) == (404, str(place.clip))
    assert _put(place, opened, name="still mine").json() == {"revision": 2}


def test_another_clip_under_the_same_name_is_looked_at_again(place: Place) -> None:
    opened = place.project()
    scenes.film(place.clip, scenes.empty(10))
    assert place.client.get(f"/api/projects/{opened['id']}").json()["clip"]["frames"] == 10


def test_an_analysis_is_queued_once(place: Place) -> None:
    opened = place.project()
    _put(place, opened, settings={"detect": {"score": 0.4}}, start="0.4")
    line = place.client.post(f"/api/projects/{opened['id']}/analysis")
    assert line.status_code == 202
    assert (line.json()["kind"], line.json()["state"]) == ("analyse", "queued")
    assert place.client.post(f"/api/projects/{opened['id']}/analysis").json()["id"] == line.json()["id"]
    assert place.client.get(f"/api/projects/{opened['id']}").json()["job"] == line.json()["id"]
    spec = place.app.state.mien.queue.spec(line.json()["id"])
    assert (spec["target"], spec["settings"]["detect"]["score"]) == (str(place.clip), 0.4)
    assert not spec.get("start")  # the whole clip, so that numbers of tracks stay when the range is changed


def test_an_unknown_model_is_said_before_anything_is_queued(place: Place) -> None:
    opened = place.project()
    _put(place, opened, settings={"detect": {"model": "nothing"}})
    answer = place.client.post(f"/api/projects/{opened['id']}/analysis")
    assert (answer.status_code, answer.json()["error"]["subject"]) == (422, "detect.model")
    assert place.app.state.mien.queue.lines() == ()


def _cast(place: Place, opened: dict[str, Any], **more: Any) -> None:
    picture = place.films / "ana.png"
    scenes.portrait("astronaut").save(picture)
    cast = [{"person": "person1", "sources": [str(picture)]}]
    answer = _put(place, opened, cast=cast, **more)
    assert answer.status_code == 200, answer.text


def _job(place: Place, line: Any) -> Job:
    assert line.status_code == 202, line.text
    return Job.model_validate(place.app.state.mien.queue.spec(line.json()["id"])["job"])


def test_a_render_is_the_job_that_the_file_gives(place: Place) -> None:
    opened = place.project()
    people = [{"id": "person1", "name": "Ana", "tracks": [1, 2]}]
    _cast(place, opened, people=people, start="0.2", settings={"encode": {"quality": 60}})
    output = place.films / "done.mp4"
    line = place.client.post(f"/api/projects/{opened['id']}/render", json={"output": str(output)})
    job = _job(place, line)
    path = place.home / "projects" / opened["id"] / "project.toml"
    assert job == documents.read(path).job(output)
    assert (job.cast[0].faces, job.start, job.whole) == ("1,2", "0.2", True)
    assert (line.json()["kind"], line.json()["output"]) == ("swap", str(output))


def test_where_a_render_goes(place: Place, tmp_path: Path) -> None:
    opened = place.project()
    address = f"/api/projects/{opened['id']}/render"
    nobody = place.client.post(address)
    assert (nobody.status_code, nobody.json()["error"]["subject"]) == (422, "cast")
    _cast(place, opened)
    first = place.client.post(address)
    assert _job(place, first).output == place.films / "two-mien.mp4"
    # A name is taken by a job that waits as by a file.
    assert _job(place, place.client.post(address)).output == place.films / "two-mien-2.mp4"
    (place.films / "two-mien-3.mp4").write_bytes(b"x")
    assert _job(place, place.client.post(address)).output == place.films / "two-mien-4.mp4"
    there = {"output": str(place.films / "two-mien.mp4")}
    (place.films / "two-mien.mp4").write_bytes(b"x")
    assert place.client.post(address, json=there).status_code == 409
    waiting = place.client.post(address, json={**there, "overwrite": True})
    assert (waiting.status_code, waiting.json()["error"]["kind"]) == (409, "conflict")
    place.client.post(f"/api/jobs/{first.json()['id']}/cancel")
    over = _job(place, place.client.post(address, json={**there, "overwrite": True}))
    assert over.output == place.films / "two-mien.mp4"
    for wrong, status in (
        ({"output": str(tmp_path / "out.mp4")}, 403),
        ({"output": str(place.clip), "overwrite": True}, 422),
        ({"output": str(place.films / "none" / "out.mp4")}, 404),
        ({"start": "9"}, 422),
        ({"start": "soon"}, 422),
        ({"where": "there"}, 422),
    ):
        answer = place.client.post(address, json=wrong)
        assert answer.status_code == status, answer.text


def test_a_render_s_ending_holds_the_codec(place: Place) -> None:
    webm = place.films / "two.webm"
    shutil.copy(place.clip, webm)
    for codec, suffix in (("auto", ".webm"), ("vp9", ".webm"), ("h264", ".mp4"), ("ffv1", ".mkv")):
        opened = place.client.post("/api/projects", json={"target": str(webm)}).json()
        _cast(place, opened, settings={"encode": {"codec": codec}})
        line = place.client.post(f"/api/projects/{opened['id']}/render")
        assert _job(place, line).output.suffix == suffix


def test_pages_are_told_of_changes(place: Place) -> None:
    opened = place.project()
    _put(place, opened, name="new")
    ring = [text.decode() for text in place.app.state.mien.hub._ring]
    told = [json.loads(text.split("data: ")[1]) for text in ring if "event: project" in text]
    assert told == [{"id": opened["id"], "revision": 1}, {"id": opened["id"], "revision": 2}]


def _times(place: Place, recipe: Recipe) -> tuple[dict[str, Any], list[float]]:
    """What is told of a clip, and of its times."""
    clip = make(place.films / "timed.mkv", recipe)
    opened = place.client.post("/api/projects", json={"target": str(clip)}).json()
    return opened["clip"], place.client.get(f"/api/projects/{opened['id']}/times").json()["times"]


def test_a_constant_rate_tells_no_times(place: Place) -> None:
    name = place.project()["id"]
    assert place.client.get(f"/api/projects/{name}/times").json() == {"times": []}


def test_a_constant_rate_may_be_rounded_to_milliseconds(place: Place) -> None:
    """Matroska's clock holds no thirds; that is no variable rate."""
    clip, times = _times(place, Recipe(frames=100, rate=Fraction(30), size=(64, 64)))
    assert (clip["rate"], "variable" in clip, times) == ("30/1", False, [])


def test_frames_behind_the_beginning_of_the_sound_tell_where_they_start(place: Place) -> None:
    recipe = Recipe(
        frames=20, time_base=Fraction(1, 1000), pts=[400 + 40 * k for k in range(20)], rate=Fraction(25)
    )
    clip, times = _times(place, replace(recipe, sounds=(Sound(0.0, 1.2),)))
    assert (clip["rate"], clip["start"], "variable" in clip, times) == ("25/1", 0.4, False, [])


@pytest.mark.parametrize("late", [0, 500])
def test_a_variable_rate_tells_every_moment(place: Place, late: int) -> None:
    """From the clip's beginning, wherever its container's clock begins; one missing frame is enough."""
    steps = [0, 40, 80, 160, 200, 240, 280, 320, 360, 400, 440, 480]
    pts = [late + k for k in steps]
    recipe = Recipe(frames=12, time_base=Fraction(1, 1000), pts=pts, rate=Fraction(25))
    clip, times = _times(place, recipe)
    assert clip["variable"] is True
    assert clip["frames"] == 12
    assert times[:-1] == [k / 1000 for k in steps]
    assert times[-1] == pytest.approx(0.52, abs=0.01)
