"""Jobs over REST: the queue's own rules, allowed paths, batches, logs and results."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from mien.app import worker
from mien.app.server import reveal
from mien.models.store import Store
from mien.run.queue import Failure, Line, Queue
from mien.types import Progress, Warned
from tests.app.server.conftest import BASE, Place
from tests.regression import scenes

FACE = Path(__file__).parents[3] / "docs" / "gallery" / "hopper_as_astronaut.jpg"


def queue_of(place: Place) -> Queue:
    found: Queue = place.app.state.mien.queue
    return found


def put(place: Place, name: str = "out.mp4", **more: Any) -> Any:
    face = place.films / "face.jpg"
    shutil.copy(FACE, face)
    job = {
        "target": str(place.clip),
        "output": str(place.films / name),
        "cast": [{"sources": [str(face)]}],
    }
    return place.client.post("/api/jobs", json={"job": job, **more})


def refused(answer: Any, status: int, kind: str) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    error: dict[str, str] = answer.json()["error"]
    assert error["kind"] == kind
    return error


def test_a_job_from_its_beginning_to_its_result(place: Place, store: Store) -> None:
    (place.home / "models").symlink_to(store.folder, target_is_directory=True)
    line = put(place).json()
    assert (line["id"], line["kind"], line["state"], line["position"]) == ("q1", "swap", "queued", 1)
    assert line["title"] == "two.mp4 → out.mp4"
    assert place.client.get("/api/jobs").json() == [line]
    refused(place.client.get("/api/jobs/q1/result"), 404, "not_found")
    worker.serve(place.home, threading.Event(), until_empty=True)
    done = place.client.get("/api/jobs/q1").json()
    assert (done["state"], done["finished"]["frames"]) == ("done", 40), done
    log = place.client.get("/api/jobs/q1/log").json()["lines"]
    assert log[0]["text"] == "started: 40 frames"
    assert log[-1]["text"] == "done"
    data = (place.films / "out.mp4").read_bytes()
    whole = place.client.get("/api/jobs/q1/result")
    assert (whole.headers["content-type"], whole.content) == ("video/mp4", data)
    part = place.client.get("/api/jobs/q1/result", headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, data[10:30])
    kept = place.client.get("/api/jobs/q1/result", params={"download": True})
    assert kept.headers["content-disposition"].startswith("attachment")
    assert place.client.delete("/api/jobs/q1").status_code == 204
    assert place.client.get("/api/jobs").json() == []
    assert not list((place.home / "jobs").iterdir())
    assert (place.films / "out.mp4").read_bytes() == data, "the result stays"


def test_everything_a_line_has_is_answered(place: Place) -> None:
    queue = queue_of(place)
    queue.add("analyse", {}, "ä", "project1", target="a.mp4")
    queue.take()
    queue.note("q1", progress=Progress("render", 1, 2, 3.5, 4.5), warned=[Warned("s", "m")])
    queue.fail("q1", Failure("media", "a.mp4", "is broken", "Mend it."))
    line = place.client.get("/api/jobs/q1").json()
    assert line == queue.line("q1").plain() | {"warnings": [{"subject": "s", "message": "m"}]}
    assert line["error"] == {
        "kind": "media",
        "subject": "a.mp4",
        "problem": "is broken",
        "advice": "Mend it.",
    }
    assert line["progress"] == {"stage": "render", "done": 1, "total": 2, "fps": 3.5, "eta": 4.5}


def test_what_can_be_done_to_a_line(place: Place) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        assert put(place, name).status_code == 202

    def done(what: str, **body: Any) -> dict[str, Any]:
        answer = place.client.post(f"/api/jobs/q2/{what}", json=body or None)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    assert done("pause")["state"] == "paused"
    assert done("resume")["state"] == "queued"
    assert done("move", position=1)["position"] == 1
    assert [line["id"] for line in place.client.get("/api/jobs").json()] == ["q2", "q1", "q3"]
    assert done("cancel")["state"] == "cancelled"
    error = refused(place.client.post("/api/jobs/q2/pause"), 409, "conflict")
    assert (error["subject"], error["problem"]) == ("job q2", "is cancelled and cannot be paused")
    assert done("retry")["position"] == 4
    queue_of(place).take()
    refused(place.client.delete("/api/jobs/q1"), 409, "conflict")
    for path in ("", "/log", "/result"):
        refused(place.client.get(f"/api/jobs/q99{path}"), 404, "not_found")
    refused(place.client.post("/api/jobs/q2/move", json={"position": 0}), 422, "request")


def test_what_is_not_put_into_the_queue(place: Place, tmp_path: Path) -> None:
    put(place)
    refused(put(place), 409, "conflict")
    (place.films / "there.mp4").write_text("x")
    refused(put(place, "there.mp4"), 409, "conflict")
    assert put(place, "there.mp4", overwrite=True).status_code == 202
    error = refused(put(place, "two.mp4", overwrite=True), 422, "media")
    assert error["problem"] == "is an input too"
    outside = {"target": str(tmp_path / "x.mp4"), "output": str(place.films / "y.mp4")}
    refused(place.client.post("/api/jobs", json={"job": outside}), 403, "request")
    nobody = {"target": str(place.clip), "output": str(place.films / "y.mp4")}
    refused(place.client.post("/api/jobs", json={"job": nobody}), 422, "settings")
    assert len(place.client.get("/api/jobs").json()) == 2


def test_every_source_on_every_target(place: Place) -> None:
    """Patterns and paths; outputs of waiting jobs and files that are there are left alone."""
    (place.films / "faces").mkdir()
    (place.films / "out").mkdir()
    for name in ("ana.jpg", "ben.jpg"):
        shutil.copy(FACE, place.films / "faces" / name)
    shutil.copy(place.clip, place.films / "one.mp4")
    (place.films / "out" / "one_ana.mp4").write_text("mine")
    wanted = {
        "sources": [f"{place.films}/faces/*.jpg", f"{place.films}/faces/ana.jpg"],
        "targets": [f"{place.films}/*.mp4"],
        "folder": f"{place.films}/out",
        "settings": {"encode": {"preset": "fastest"}},
    }
    names = []
    for _ in range(2):
        answer = place.client.post("/api/jobs/batch", json=wanted)
        assert answer.status_code == 202, answer.text
        names.append([Path(line["output"]).name for line in answer.json()])
    assert names == [
        ["one_ana-2.mp4", "one_ben.mp4", "two_ana.mp4", "two_ben.mp4"],
        ["one_ana-3.mp4", "one_ben-2.mp4", "two_ana-2.mp4", "two_ben-2.mp4"],
    ]
    spec = queue_of(place).spec("q2")
    assert spec["overwrite"] is False
    assert spec["job"]["settings"]["encode"]["preset"] == "fastest"
    assert spec["job"]["cast"][0]["sources"] == [str(place.films / "faces" / "ben.jpg")]
    assert (place.films / "out" / "one_ana.mp4").read_text() == "mine"
    refused(place.client.post("/api/jobs/batch", json={**wanted, "name": "{x}"}), 422, "settings")
    refused(place.client.post("/api/jobs/batch", json={**wanted, "targets": ["/etc/*"]}), 403, "request")
    refused(place.client.post("/api/jobs/batch", json={**wanted, "targets": []}), 422, "request")
    refused(place.client.post("/api/jobs/batch", json={**wanted, "faces": "nobody?"}), 422, "settings")
    assert len(queue_of(place).lines()) == 8, "what is refused adds nothing"


def test_results_are_files_below_allowed_folders(place: Place, tmp_path: Path) -> None:
    """Also what the command line put into the same queue: its result is not given out."""
    queue = queue_of(place)
    (tmp_path / "secret.mp4").write_text("x")
    (place.films / "pictures").mkdir()
    for output in (tmp_path / "secret.mp4", place.films / "gone.mp4", place.films / "pictures"):
        queue.add("swap", {}, "t", output=output)
        line = queue.take()
        assert isinstance(line, Line)
        queue.finish(line.id, {})
    refused(place.client.get("/api/jobs/q1/result"), 403, "request")
    refused(place.client.get("/api/jobs/q2/result"), 404, "not_found")
    refused(place.client.get("/api/jobs/q3/result"), 404, "not_found")


@pytest.mark.parametrize("count", [1, 3])
def test_a_folder_of_pictures_is_one_target(place: Place, count: int) -> None:
    folder = place.films / "shots"
    folder.mkdir()
    for k, shot in enumerate(scenes.talking("astronaut", count)):
        Image.fromarray(shot).save(folder / f"{k}.png")
    (place.films / "face.jpg").write_bytes(FACE.read_bytes())
    wanted = {"sources": [f"{place.films}/face.jpg"], "targets": [str(folder)], "folder": str(place.films)}
    (line,) = place.client.post("/api/jobs/batch", json=wanted).json()
    assert line["output"] == str(place.films / "shots_face")


def test_a_result_is_shown_to_whoever_sits_before_the_machine(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of(place)
    (place.films / "made.mp4").write_text("x")
    (place.films / "pictures").mkdir()
    (tmp_path / "secret.mp4").write_text("x")
    for output in (place.films / "made.mp4", place.films / "pictures", tmp_path / "secret.mp4"):
        queue.add("swap", {}, "t", output=output)
        line = queue.take()
        assert isinstance(line, Line)
        queue.finish(line.id, {})
    begun: list[list[str]] = []

    def start(command: list[str], **how: Any) -> None:
        assert how["start_new_session"], "it outlives the server"
        begun.append(command)

    monkeypatch.setattr("mien.app.server.reveal.subprocess.Popen", start)
    monkeypatch.setattr("mien.app.server.reveal.sys.platform", "linux")
    monkeypatch.setattr("mien.app.server.reveal.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("DISPLAY", ":0")
    refused(place.client.post("/api/jobs/q1/show"), 409, "conflict")  # from elsewhere
    here = TestClient(place.app, base_url=BASE, client=("127.0.0.1", 1))
    assert here.post("/api/jobs/q1/show").status_code == 204
    assert here.post("/api/jobs/q2/show").status_code == 204
    refused(here.post("/api/jobs/q3/show"), 403, "request")
    assert begun == [["/usr/bin/xdg-open", str(place.films)]] * 2
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    error = refused(here.post("/api/jobs/q1/show"), 422, "runtime")
    assert error["subject"] == str(place.films)
    assert len(begun) == 2


@pytest.mark.parametrize(
    ("platform", "wanted"),
    [("darwin", ["open", "-R", "/films/a.mp4"]), ("win32", ["explorer", "/select,/films/a.mp4"])],
)
def test_other_systems_mark_the_file(
    platform: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.app.server.reveal.sys.platform", platform)
    assert reveal.command(Path("/films/a.mp4")) == wanted
