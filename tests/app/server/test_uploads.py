"""Files sent to the server: whole and media, or not there."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.app import serve
from mien.app.server import uploads
from mien.app.server.errors import Refusal
from mien.app.server.main import create
from mien.errors import MediaError
from tests.app.server.conftest import BASE, Place


def _png(path: Path, red: int = 200) -> bytes:
    Image.new("RGB", (32, 24), (red, 10, 10)).save(path)
    return path.read_bytes()


def _left(place: Place) -> list[str]:
    return sorted(path.name for path in (place.home / "uploads").iterdir())


def test_a_video_arrives_byte_for_byte(place: Place) -> None:
    content = place.clip.read_bytes()
    answer = place.client.post("/api/uploads?name=my%20clip.mp4", content=content)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["name"], found["kind"], found["bytes"]) == ("my clip.mp4", "video", len(content))
    assert Path(found["path"]).read_bytes() == content
    assert Path(found["path"]).parent == (place.home / "uploads").resolve()
    made = place.client.post("/api/projects", json={"target": found["path"]})
    assert made.status_code == 201


def test_equal_names_do_not_meet(place: Place, tmp_path: Path) -> None:
    contents = [_png(tmp_path / "a.png", red) for red in (1, 2, 3)]
    names = [place.client.post("/api/uploads?name=a.png", content=one).json()["name"] for one in contents]
    assert names == ["a.png", "a (2).png", "a (3).png"]
    assert _left(place) == sorted(names)


def test_the_same_bytes_are_kept_once(place: Place, tmp_path: Path) -> None:
    content, other = _png(tmp_path / "a.png"), _png(tmp_path / "a.png", 199)
    assert len(content) == len(other)  # or the size alone would tell them apart
    sent = [("a.png", content), ("b.png", content), ("a.png", other), ("c.png", other), ("a.png", content)]
    answers = [place.client.post("/api/uploads", params={"name": n}, content=c).json() for n, c in sent]
    assert [answer["name"] for answer in answers] == ["a.png", "a.png", "a (2).png", "a (2).png", "a.png"]
    assert answers[4] == answers[0]
    assert _left(place) == ["a (2).png", "a.png"]
    Path(answers[0]["path"]).write_bytes(other)  # changed by hand: it is not what was sent any more
    again = place.client.post("/api/uploads?name=a.png", content=content).json()
    assert Path(again["path"]).read_bytes() == content


def test_the_content_counts_not_the_name(place: Place, tmp_path: Path) -> None:
    answer = place.client.post("/api/uploads?name=film.mp4", content=_png(tmp_path / "a.png"))
    assert answer.json()["kind"] == "image"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"<!doctype html><script>alert(1)</script>",
        b"\x00\x00\x00\x18ftypmp42" + bytes(2000),
        bytes(range(256)) * 40,
    ],
)
def test_what_is_no_media_is_not_kept(place: Place, content: bytes) -> None:
    answer = place.client.post("/api/uploads?name=film.mp4", content=content)
    assert answer.status_code == 422
    assert answer.json()["error"]["kind"] == "media"
    assert str(place.home) not in answer.text
    assert _left(place) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("..\\..\\windows\\x.png", "x.png"),
        ("/abs/olute.png", "olute.png"),
        (".hidden.png", "hidden.png"),
        ("...", "upload"),
        ("a\x00b\n.png", "ab.png"),
        ("con.png", "_con.png"),
        ("a:b|c?.png", "a_b_c_.png"),
        ("ä" * 300 + ".png", "ä" * 58 + ".png"),
        ("trailing. ", "trailing"),
        ("a" * 10 + "." + "b" * 50, "a" * 10),
        ("日本.png", "日本.png"),
    ],
)
def test_names(name: str, kept: str) -> None:
    assert uploads.clean(name) == kept


@given(st.text(max_size=300))
def test_every_name_becomes_a_safe_one(name: str) -> None:
    safe = uploads.clean(name)
    assert safe == Path(safe).name
    assert 0 < len(safe.encode()) <= uploads.LONGEST + 1
    assert not safe.startswith(".")
    assert safe.isprintable()
    assert not set('/\\<>:"|?*') & set(safe)


def test_tricky_names_stay_in_the_folder(place: Place, tmp_path: Path) -> None:
    content = _png(tmp_path / "a.png")
    for name in ("../../x.png", "/x.png", "..", ".x.png", "x.part"):
        answer = place.client.post("/api/uploads", params={"name": name}, content=content)
        assert answer.status_code == 200
        assert Path(answer.json()["path"]).parent == (place.home / "uploads").resolve()
    assert place.client.post("/api/uploads", params={"name": ""}, content=content).status_code == 422


async def _body(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_too_large(tmp_path: Path) -> None:
    for parts, announced in (((b"x" * 600, b"x" * 600), 0), ((b"x",), 5000)):
        with pytest.raises(Refusal) as refused:
            asyncio.run(uploads.receive(_body(*parts), tmp_path, "a.png", 1000, announced))
        assert (refused.value.kind, refused.value.status) == ("too_large", 413)
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "RESERVE", 1 << 60)
    with pytest.raises(Refusal) as refused:
        asyncio.run(uploads.receive(_body(b"x" * 600), tmp_path, "a.png", 1000, 0))
    assert refused.value.status == 507
    assert list(tmp_path.iterdir()) == []


def test_fewer_bytes_than_announced(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        asyncio.run(uploads.receive(_body(b"x" * 600), tmp_path, "a.png", 1000, 700))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_names_the_upload_not_its_hidden_part(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as failed:
        asyncio.run(uploads.receive(_body(b"GIF89a nothing more"), tmp_path, "a.gif", 1000, 0))
    assert ".part" not in str(failed.value)


def test_limits_have_the_shape_of_all_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LIMIT", 1000)
    app = create(tmp_path / "home", folders=[], start_worker=False)
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        long = client.post("/api/uploads?name=a.png", content=b"x" * 2000)
        chunked = client.post("/api/uploads?name=a.png", content=iter([b"x" * 600] * 3))
        json = client.put("/api/preset?name=a", content=b'{"swap": {}}' + b" " * (20 << 20))
    for answer in (long, chunked, json):
        assert answer.status_code == 413, answer.text
        assert answer.json()["error"]["kind"] == "too_large"
    assert list((tmp_path / "home/uploads").iterdir()) == []


def test_parts_of_killed_servers_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "home/uploads"
    folder.mkdir(parents=True)
    old, fresh = folder / ".0000.part", folder / ".1111.part"
    for path in (old, fresh):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    create(tmp_path / "home", folders=[], start_worker=False).state.mien.queue.close()
    assert not old.exists()
    assert fresh.exists()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[str, int]]:
    """A real server on a free port; gives its address."""
    app = create(folder / "home", folders=[folder], start_worker=False)
    with contextlib.closing(serve.listening("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(serve._config(app))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            place = listener.getsockname()[:2]
            while not server.started:
                time.sleep(0.01)
            yield place
        finally:
            server.should_exit = True
            thread.join()


def _wait(done: Any) -> bool:
    """Whether something becomes true within a generous time."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path, chunked: bool) -> None:
    folder = tmp_path / "home/uploads"
    with running(tmp_path) as place:
        client = socket.create_connection(place)
        how = "Transfer-Encoding: chunked" if chunked else "Content-Length: 100000000"
        client.sendall(f"POST /api/uploads?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\n{how}\r\n\r\n".encode())
        block = b"x" * (1 << 20)
        for _ in range(6):
            client.sendall(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
        assert _wait(lambda: any(p.stat().st_size >= uploads.CHUNK for p in folder.glob(".*.part")))
        client.close()
        assert _wait(lambda: list(folder.iterdir()) == [])


@pytest.mark.slow
def test_two_gigabytes_in_bounded_memory(tmp_path: Path, film: Path) -> None:
    """A large film, padded with a box that players skip, arrives whole; memory does not grow with it."""
    import resource

    size = (2 << 30) + 123
    head = film.read_bytes()
    free = size - len(head)
    box = (1).to_bytes(4, "big") + b"free" + free.to_bytes(8, "big")
    sent = hashlib.sha256()
    with running(tmp_path) as place, contextlib.closing(socket.create_connection(place)) as client:
        lines = ("POST /api/uploads?name=big.mp4 HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {size}")
        client.sendall("\r\n".join((*lines, "", "")).encode())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for part in (head, box):
            client.sendall(part)
            sent.update(part)
        left = free - len(box)
        block = bytes(range(256)) * 4096
        while left:
            part = block[: min(left, len(block))]
            client.sendall(part)
            sent.update(part)
            left -= len(part)
        answer = client.recv(65536)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert answer.startswith(b"HTTP/1.1 200"), answer
    path = tmp_path / "home/uploads/big.mp4"
    assert path.stat().st_size == size
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == sent.digest()
    path.unlink()
    assert grown < 200_000, f"{grown} KB more"
