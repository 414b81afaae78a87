"""What pages are shown, however they ask: bounded pictures, threads given back, nothing stale."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.app.server import previews as routes
from mien.app.server.player import Previews
from mien.run.place import stamp
from mien.run.preview import framing
from mien.run.project import Project
from tests.app.server.conftest import Place
from tests.regression import scenes


def play(place: Place, name: str) -> Any:
    return place.client.websocket_connect(f"ws://127.0.0.1/api/projects/{name}/play")


def header(message: bytes) -> dict[str, Any]:
    (length,) = struct.unpack(">I", message[:4])
    told: dict[str, Any] = json.loads(message[4 : 4 + length])
    return told


@pytest.mark.parametrize("box", [(0, 0, 1, 65536), (0, 0, 1, 1e-9), (5, 5, 65536, 1), (0, 0, 3, 4)])
@pytest.mark.parametrize("width", [0, 16, 4096])
def test_no_request_makes_a_huge_picture(box: tuple[float, float, float, float], width: int) -> None:
    matrix, (wide, high) = framing((1920, 1080), width, box)
    assert 1 <= wide <= 4096
    assert 1 <= high <= 4096
    x, y, w, h = box[0], box[1], max(box[2], 1.0), max(box[3], 1.0)
    assert np.allclose(matrix @ [x, y, 1], [0, 0], atol=1e-6)
    assert np.allclose(matrix @ [x + w, y + h, 1], [wide, high])


def test_a_thin_part_of_a_frame_is_answered(place: Place) -> None:
    name = place.project()["id"]
    query: dict[str, str | int] = {"view": "before", "width": 4096, "w": 1, "h": 65536}
    assert place.client.get(f"/api/projects/{name}/frames/0", params=query).status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        '{"show": 0, "zoom": [NaN, 0, 10, 10]}',
        '{"show": 0, "zoom": [0, 0, Infinity, 10]}',
        '{"show": 0, "zoom": [0, 0, 1e300, 10]}',
        '{"show": 1e400}',
        '{"show": ' + "9" * 4000 + "}",
        '{"play": 0, "speed": NaN}',
        "[" * 100_000,
        "",
        "\0",
    ],
)
def test_a_wrong_request_is_said_and_the_next_is_served(place: Place, text: str) -> None:
    name = place.project()["id"]
    with play(place, name) as socket:
        socket.send_text(text)
        assert socket.receive_json()["error"]["kind"] == "request"
        socket.send_text('{"show": 3, "view": "before", "id": 7}')
        assert header(socket.receive_bytes())["frame"] == 3


def test_a_request_may_come_as_bytes(place: Place) -> None:
    with play(place, place.project()["id"]) as socket:
        socket.send_bytes(b"\xff\xfe")
        assert socket.receive_json()["error"]["kind"] == "request"
        socket.send_bytes(b'{"show": 1, "view": "before"}')
        assert header(socket.receive_bytes())["frame"] == 1


def test_a_large_request_is_served(place: Place) -> None:
    opened = place.project()
    cue = {"start": "1f", "show": 0.5, "values": {"swap.strength": 0.5}}
    asked = {"show": 2, "view": "before", "project": {**opened["project"], "cues": [cue] * 10_000}}
    with play(place, opened["id"]) as socket:
        socket.send_text(json.dumps(asked))
        assert header(socket.receive_bytes())["frame"] == 2


def test_many_players_take_no_thread_of_other_requests(place: Place) -> None:
    """Routes run on forty threads that all share; players have their own, and are not without end."""
    name = place.project()["id"]
    with ExitStack() as open_:
        sockets = [open_.enter_context(play(place, name)) for _ in range(routes.SOCKETS)]
        for socket in sockets:  # each one's thread runs
            socket.send_text('{"show": 0, "view": "before"}')
            socket.receive_bytes()
        with play(place, name) as other:
            assert "pages already" in other.receive_json()["error"]["problem"]
            assert other.receive()["code"] == 1013
        assert place.client.get("/api/about").status_code == 200
    with play(place, name) as socket:
        socket.send_text('{"show": 0, "view": "before"}')
        assert socket.receive_bytes()


class Slow:
    """Stands for a preview that takes its time to open."""

    opened = threading.Event()

    def __init__(self, target: Path, *_: object) -> None:
        if target.name == "slow.mp4":
            assert self.opened.wait(20)
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    monkeypatch.setattr("mien.app.server.player.Preview", Slow)
    monkeypatch.setattr(Slow, "opened", threading.Event())
    yield Slow.opened
    Slow.opened.set()


def test_a_clip_that_opens_slowly_holds_up_no_other(slow: threading.Event, tmp_path: Path) -> None:
    previews = Previews(tmp_path)

    def open_slowly() -> None:
        with previews.of(Project(target=tmp_path / "slow.mp4")):
            pass

    thread = threading.Thread(target=open_slowly)
    thread.start()
    with previews.of(Project(target=tmp_path / "quick.mp4")) as quick:
        assert quick is not None
    slow.set()
    thread.join()


def test_few_clips_stay_open_and_none_at_the_end(slow: threading.Event, tmp_path: Path) -> None:
    previews, seen = Previews(tmp_path), []
    for name in "abcd":
        with previews.of(Project(target=tmp_path / f"{name}.mp4")) as preview:
            seen.append(preview)
    assert [one.closed for one in seen] == [True, True, False, False]  # type: ignore[attr-defined]
    with previews.of(Project(target=tmp_path / "d.mp4")):
        previews.close()  # the server ends while somebody still looks
    assert all(one.closed for one in seen)  # type: ignore[attr-defined]


def test_another_file_under_the_same_name_is_shown(seen: Place) -> None:
    """Of the clip and of a new face: the browser's copy is not right any more, nor what was made ready."""
    face = seen.films / "face.png"
    scenes.portrait("hopper").reduce(2).save(face)
    opened = seen.project()
    project = {**opened["project"], "cast": [{"person": "person2", "sources": [str(face)]}]}
    url = f"/api/projects/{opened['id']}"
    put = seen.client.put(url, json={"revision": opened["revision"], "project": project})
    assert put.status_code == 200, put.text
    first = seen.client.get(f"{url}/frames/30")
    assert first.status_code == 200, first.text
    known = {"If-None-Match": first.headers["etag"]}
    assert seen.client.get(f"{url}/frames/30", headers=known).status_code == 304
    before = stamp(face)
    scenes.portrait("astronaut").reduce(2).save(face)
    assert stamp(face) != before
    other = seen.client.get(f"{url}/frames/30", headers=known)
    assert (other.status_code, other.content != first.content) == (200, True)
    scenes.portrait("hopper").reduce(2).save(face)
    assert seen.client.get(f"{url}/frames/30").content == first.content


def test_stamps_of_folders(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    assert stamp(tmp_path / "none") is None
    (folder / "a.png").write_bytes(b"1")
    one = stamp(folder)
    (folder / "a.png").write_bytes(b"12")
    two = stamp(folder)
    (folder / "b.png").write_bytes(b"12")
    assert len({one, two, stamp(folder)}) == 3
