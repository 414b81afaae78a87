"""Pictures and sound of a project over HTTP, and the socket that plays it."""

from __future__ import annotations

import io
import json
import struct
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from mien.app.server import main
from mien.run import verbs
from mien.types import Array
from tests.media.makers import Sound
from tests.regression import scenes


@pytest.fixture
def client(home: Path, faces: Path, tmp_path: Path) -> Iterator[TestClient]:
    app = main.create(home, folders=[tmp_path, faces], start_worker=False)
    with TestClient(app, base_url="http://127.0.0.1:8090") as client:
        yield client


@pytest.fixture
def project(client: TestClient, faces: Path, tmp_path: Path) -> str:
    """The id of an analysed project with one new face."""
    shots = scenes.talking("astronaut", 12, height=0.45)
    clip = scenes.film(tmp_path / "in.mp4", shots, rate=Fraction(16), sounds=[Sound(0, 0.75)])
    list(verbs.analyse(clip, tmp_path / "a.tracks"))
    opened = client.post("/api/projects", json={"target": str(clip)}).json()
    opened["project"]["cast"] = [{"person": "person1", "sources": [str(faces / "hopper.png")]}]
    put(client, opened)
    name: str = opened["id"]
    return name


def put(client: TestClient, opened: dict[str, Any]) -> None:
    body = {"revision": opened["revision"], "project": opened["project"]}
    answer = client.put(f"/api/projects/{opened['id']}", json=body)
    assert answer.status_code == 200, answer.text


def picture(content: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(content)), np.int16)


def test_frames(client: TestClient, project: str) -> None:
    base = f"/api/projects/{project}/frames/5"
    after = client.get(base, params={"width": 160})
    assert after.headers["content-type"] == "image/jpeg"
    assert float(after.headers["x-mien-ms"]) >= 0
    before = client.get(base, params={"width": 160, "view": "before"})
    apart = np.abs(picture(after.content) - picture(before.content)).max(axis=2)
    assert (apart > 24).sum() > 40
    assert not (apart[:, :30] > 12).any()
    both = picture(client.get(base, params={"width": 160, "view": "both"}).content)
    assert both.shape[1] == 320
    part = client.get(base, params={"x": 40, "y": 20, "w": 64, "h": 48})
    assert picture(part.content).shape == (48, 64, 3)


def test_a_page_that_has_it_is_told_so(client: TestClient, project: str) -> None:
    url = f"/api/projects/{project}/frames/3"
    tag = client.get(url).headers["etag"]
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 304
    opened = client.get(f"/api/projects/{project}").json()
    opened["project"]["settings"] = {"swap": {"strength": 0.3}}
    put(client, opened)
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("frames/12", 404, "not_found"),
        ("frames/-1", 422, "request"),
        ("frames/3?view=x", 422, "request"),
        ("frames/3?width=9999", 422, "request"),
        ("audio?seconds=900", 422, "request"),
    ],
)
def test_what_cannot_be_shown(client: TestClient, project: str, path: str, status: int, kind: str) -> None:
    answer = client.get(f"/api/projects/{project}/{path}")
    assert answer.status_code == status
    assert answer.json()["error"]["kind"] == kind


def test_not_analysed_yet(client: TestClient, project: str) -> None:
    opened = client.get(f"/api/projects/{project}").json()
    opened["project"]["settings"] = {"detect": {"score": 0.61}}
    put(client, opened)
    answer = client.get(f"/api/projects/{project}/frames/0")
    assert answer.status_code == 422
    assert "Analyse it first" in answer.json()["error"]["advice"]
    assert client.get(f"/api/projects/{project}/frames/0?view=before").status_code == 200


def test_sound(client: TestClient, project: str) -> None:
    answer = client.get(f"/api/projects/{project}/audio", params={"start": 0.25, "seconds": 0.25})
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (48000, 2, 12000)
        samples = np.frombuffer(file.readframes(12000), np.int16)
    assert np.abs(samples).max() > 3000


def test_scrubs_and_plays_over_a_socket(client: TestClient, project: str, tmp_path: Path) -> None:
    with client.websocket_connect(f"ws://127.0.0.1:8090/api/projects/{project}/play") as socket:
        socket.send_text(json.dumps({"show": 4, "width": 160, "id": 1}))
        header, shown = read(socket.receive_bytes())
        assert (header["id"], header["frame"], header["width"]) == (1, 4, 160)
        direct = client.get(f"/api/projects/{project}/frames/4", params={"width": 160})
        assert np.array_equal(shown, picture(direct.content))
        socket.send_text('{"show": "x"}')
        assert json.loads(socket.receive_text())["error"]["kind"] == "request"
        outside = {"target": "/etc/passwd"}
        socket.send_text(json.dumps({"show": 4, "project": outside}))
        assert json.loads(socket.receive_text())["error"]["kind"] == "request"
        socket.send_text(json.dumps({"play": 8, "width": 160}))
        seen = []
        while (message := socket.receive()).get("bytes"):
            seen.append(read(message["bytes"])[0]["frame"])
        assert seen[0] == 8
        assert seen[-1] == 11
        assert json.loads(message["text"])["ended"]


def read(message: bytes) -> tuple[dict[str, Any], Array]:
    (length,) = struct.unpack(">I", message[:4])
    return json.loads(message[4 : 4 + length]), picture(message[4 + length :])
