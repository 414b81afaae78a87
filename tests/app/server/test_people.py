"""Who is in a clip, as a real analysis found it, and pictures compared with the clip's own frames."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.app import hand
from mien.run import corrections
from mien.run.films import Films
from mien.run.project import Person, Project
from mien.run.queue import Queue
from mien.settings import Settings
from mien.types import Array, Finished
from tests.app.server.conftest import Place
from tests.regression import running, scenes


def _picture(answer: Any) -> Array:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.int16)


def _differ(a: Array, b: Array) -> float:
    """Mean difference of two pictures' luma, in steps of 255; a JPEG's colours are half as sharp."""
    assert a.shape == b.shape
    return float(np.abs((a.astype(float) - b.astype(float)) @ np.array([0.299, 0.587, 0.114])).mean())


def _small(picture: Array, size: tuple[int, int]) -> Array:
    made = Image.fromarray(picture.astype(np.uint8)).resize(size, Image.Resampling.BOX)
    return np.asarray(made, np.int16)


def test_people_of_a_real_analysis(seen: Place) -> None:
    opened = seen.project()
    assert opened["analysed"] is True
    found = seen.client.get(f"/api/projects/{opened['id']}/people").json()
    assert [p["id"] for p in found["people"]] == ["person1", "person2"]
    assert found["cuts"] == [20]
    assert [(t["start"], t["end"]) for p in found["people"] for t in p["tracks"]] == [(0, 20), (20, 40)]
    assert [p["seconds"] for p in found["people"]] == [0.8, 0.8]
    assert [p["first"] for p in found["people"]] == ["0:00.000", "0:00.800"]
    for person in found["people"]:
        [track] = person["tracks"]
        assert 0.5 < track["quality"] <= 1.0
        assert (track["presence"][0][0], track["presence"][-1][1]) == (track["start"], track["end"])


def test_pictures_show_the_people(seen: Place) -> None:
    """Each person's picture is nearer to a close look at the own portrait than to the other's."""
    opened = seen.project()
    found = seen.client.get(f"/api/projects/{opened['id']}/people").json()["people"]
    close = {name: scenes.close(name, (96, 96), height=0.66) for name in ("hopper", "astronaut")}
    for person, name, other in zip(found, ("hopper", "astronaut"), ("astronaut", "hopper"), strict=True):
        shown = _picture(seen.client.get(person["picture"] + "?side=96"))
        assert shown.shape == (96, 96, 3)
        own, strange = _differ(shown, close[name]), _differ(shown, close[other])
        assert own < 0.7 * strange, (name, own, strange)
    one = seen.client.get(f"/api/projects/{opened['id']}/tracks/1/picture?frame=3")
    assert _picture(one).shape == (192, 192, 3)
    known = {"If-None-Match": one.headers["etag"]}
    again = seen.client.get(f"/api/projects/{opened['id']}/tracks/1/picture?frame=3", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    for path in ("people/person9/picture", "tracks/9/picture", "tracks/1/picture?frame=30"):
        assert seen.client.get(f"/api/projects/{opened['id']}/{path}").status_code == 404


def test_not_analysed_is_an_error_of_its_own_kind(place: Place) -> None:
    opened = place.project()
    answer = place.client.get(f"/api/projects/{opened['id']}/people")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "job")


def test_settings_that_find_others_are_another_analysis(seen: Place) -> None:
    opened = seen.project()
    address = f"/api/projects/{opened['id']}"
    project = {**opened["project"], "settings": {"detect": {"score": 0.7}}}
    seen.client.put(address, json={"revision": 1, "project": project})
    assert seen.client.get(address).json()["analysed"] is False
    project = {**opened["project"], "settings": {"swap": {"strength": 0.7}, "encode": {"quality": 3}}}
    seen.client.put(address, json={"revision": 2, "project": project})
    assert seen.client.get(address).json()["analysed"] is True


def test_corrections_are_shown_and_written_out(seen: Place) -> None:
    """With both tracks person1's, person2 is not there, and whatever was cast for person2 is off."""
    opened = seen.project()
    address = f"/api/projects/{opened['id']}"
    project = {
        **opened["project"],
        "people": [{"id": "person1", "name": "Ana", "tracks": [1, 2]}],
        "cast": [{"person": "person2", "sources": [str(seen.clip)]}],
    }
    assert seen.client.put(address, json={"revision": 1, "project": project}).status_code == 200
    [person] = seen.client.get(f"{address}/people").json()["people"]
    assert (person["id"], person["name"], person["seconds"]) == ("person1", "Ana", 1.6)
    assert [t["id"] for t in person["tracks"]] == [1, 2]
    kept = seen.client.get(address).json()["project"]
    assert kept["people"] == project["people"]
    assert kept["cast"][0]["off"] is True


def test_who_loses_a_track_is_listed_with_the_rest(film: Path, analyses: Path) -> None:
    tracks = Films(analyses).tracks(film, Settings())
    assert tracks is not None
    taken = Project(target=film, people=(Person(id="other", name="Bo", tracks=(2,)),))
    settled = corrections.settled(taken, tracks)
    assert settled.people == taken.people
    known = corrections.corrected(settled, tracks)
    assert {p.id: p.tracks for p in known.names.values()} == {"person1": (1,), "other": (2,)}
    split = Project(target=film, people=(Person(id="person1", tracks=(2,)),))
    settled = corrections.settled(split, tracks)
    assert {p.id: p.tracks for p in settled.people} == {"person1": (2,), "track1": (1,)}
    assert corrections.settled(settled, tracks) == settled
    stale = Project(target=film, people=(Person(id="person1", tracks=(1, 99)),))
    assert corrections.settled(stale, tracks) == stale  # of another analysis: left as it is


def test_a_strip_shows_the_frames_it_stands_for(place: Place, film: Path) -> None:
    opened = place.project()
    answer = place.client.get(f"/api/projects/{opened['id']}/thumbnails?count=4&height=45")
    shown = _picture(answer)
    assert shown.shape == (45, 4 * 80, 3)
    pictures = running.pictures(film)
    # Key frames lie at 0, 10, 20 and 30: one in each quarter.
    for cell, number in enumerate((0, 10, 20, 30)):
        part = shown[:, cell * 80 : cell * 80 + 80]
        far = {k: _differ(part, _small(pictures[k], (80, 45))) for k in range(0, 40, 5)}
        assert min(far, key=lambda k: far[k]) == number
        assert far[number] < 6.0
    wide = place.client.get(f"/api/projects/{opened['id']}/thumbnails?count=400&height=270")
    assert (wide.status_code, wide.json()["error"]["kind"]) == (422, "request")


def test_more_cells_than_frames(place: Place) -> None:
    scenes.film(place.films / "short.mp4", scenes.empty(3))
    opened = place.client.post("/api/projects", json={"target": str(place.films / "short.mp4")}).json()
    shown = _picture(place.client.get(f"/api/projects/{opened['id']}/thumbnails?count=9&height=18"))
    assert shown.shape == (18, 9 * 32, 3)
    assert not (shown == 96).all(axis=(0, 2)).any()  # no cell is left grey


def test_the_waveform_is_loud_where_the_tone_is(place: Place) -> None:
    opened = place.project()
    answer = place.client.get(f"/api/projects/{opened['id']}/waveform?points=16")
    peaks = answer.json()["peaks"]
    assert len(peaks) == 16
    assert max(peaks[:7]) < 0.02
    assert min(peaks[9:15]) > 0.1
    assert all(0.0 <= value <= 1.0 for value in peaks)
    known = {"If-None-Match": answer.headers["etag"]}
    again = place.client.get(f"/api/projects/{opened['id']}/waveform?points=16", headers=known)
    assert again.status_code == 304
    assert place.client.get(f"/api/projects/{opened['id']}/waveform?points=0").status_code == 422


def test_pictures_of_sources(place: Place, tmp_path: Path) -> None:
    picture = place.films / "ana.png"
    scenes.portrait("astronaut").save(picture)
    folder = place.films / "several"
    folder.mkdir()
    scenes.portrait("hopper").save(folder / "1.png")
    size = scenes.portrait("astronaut").size
    shown = _picture(place.client.get("/api/sources/picture", params={"path": str(picture), "side": 64}))
    assert max(shown.shape[:2]) == 64
    whole = np.asarray(scenes.portrait("astronaut"))
    scaled = (round(size[0] * 64 / max(size)), round(size[1] * 64 / max(size)))
    assert _differ(shown, _small(whole, scaled)) < 6.0
    of_video = _picture(
        place.client.get("/api/sources/picture", params={"path": str(place.clip), "side": 80})
    )
    assert _differ(of_video, _small(running.pictures(place.clip)[20], (80, 45))) < 4.0
    assert _picture(place.client.get("/api/sources/picture", params={"path": str(folder)})).ndim == 3
    scenes.portrait("hopper").save(tmp_path / "secret.png")
    (place.films / "text.png").write_text("no picture")
    for path, status in (
        (tmp_path / "secret.png", 403),
        (place.films / "none.png", 404),
        (place.films / "text.png", 422),
        ("ana.png", 422),
    ):
        answer = place.client.get("/api/sources/picture", params={"path": str(path)})
        assert answer.status_code == status


def _line(place: Place, result: Path, project: str) -> str:
    """A render of the project that has ended, by hand."""
    job = {"target": str(place.clip), "output": str(result), "cast": [{"sources": [], "faces": "all"}]}
    with Queue(place.home) as queue:
        line = queue.add("swap", {"job": job}, "render", project, target=place.clip, output=result)
        queue.take()
        return queue.finish(line.id, {"frames": 40}).id


def test_what_is_found_in_a_result(seen: Place) -> None:
    """One frame of the result is darker: there the new face jumps, and back after it."""
    opened = seen.project()
    pictures = [
        (0.8 * picture + 30).astype(np.uint8)
        for picture in scenes.talking("hopper", 20) + scenes.talking("astronaut", 20)
    ]
    pictures[30] = (0.9 * pictures[30]).astype(np.uint8)
    result = scenes.film(seen.films / "result.mp4", pictures)
    name = _line(seen, result, opened["id"])

    asked = seen.client.post(f"/api/jobs/{name}/review")
    assert asked.status_code == 202, asked.text
    line = asked.json()
    assert (line["kind"], line["state"], line["project"]) == ("review", "queued", opened["id"])
    assert seen.client.post(f"/api/jobs/{name}/review").json()["id"] == line["id"]
    with Queue(seen.home) as queue:
        *_, last = hand.events("review", queue.spec(line["id"]), seen.home)
    assert isinstance(last, Finished)

    address = f"/api/projects/{opened['id']}/people"
    found = [m for m in seen.client.get(address).json()["moments"] if m["result"]]
    assert [(m["frame"], m["end"], m["track"], m["reason"]) for m in found] == [(30, 32, 2, "jumps")]
    assert found[0]["result"] == str(result)
    scenes.film(result, pictures[::-1])  # another result under the same name
    assert [m for m in seen.client.get(address).json()["moments"] if m["result"]] == []
    again = seen.client.post(f"/api/jobs/{name}/review")
    assert again.status_code == 404
    assert again.json()["error"]["problem"] == "was written anew since this job"
    assert seen.client.delete(f"/api/projects/{opened['id']}").status_code == 204
    assert list((seen.home / "reviews").iterdir()) == []


def test_only_a_video_that_is_done_is_looked_through(seen: Place) -> None:
    opened = seen.project()
    picture = seen.films / "result.png"
    scenes.portrait("hopper").save(picture)
    answer = seen.client.post(f"/api/jobs/{_line(seen, picture, opened['id'])}/review")
    assert answer.status_code == 404
    assert answer.json()["error"]["problem"] == "is no video"
    with Queue(seen.home) as queue:
        waiting = queue.add("swap", {"job": {}}, "waits", opened["id"]).id
    assert seen.client.post(f"/api/jobs/{waiting}/review").status_code == 404
