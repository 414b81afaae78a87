"""Who is let in: hosts, origins, tokens; and what every answer tells the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from mien.app.server.main import create
from mien.app.server.security import Rules, is_local, names
from tests.app.server.conftest import BASE, Place

TOKEN = "correct-horse"
SOCKET = "ws://127.0.0.1/api/echo"
"""The test client asks for another host unless the whole address is given."""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[TestClient]:
    """A server that needs a token, with a WebSocket to knock at."""
    app = create(tmp_path / "home", folders=[], token=TOKEN, start_worker=False)
    _echo(app)
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield client


def _echo(app: FastAPI) -> None:
    @app.websocket("/api/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8642", "localhost:1", "[::1]:80", "192.168.1.7"])
def test_own_names_and_addresses_are_served(place: Place, host: str) -> None:
    assert place.client.get("/api/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8642", "localhost.evil", "a[b", ""])
def test_other_names_are_refused_as_dns_rebinding_needs_one(place: Place, host: str) -> None:
    for path in ("/", "/api/about"):
        answer = place.client.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert answer.json()["error"]["kind"] == "request"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "http://127.0.0.1:9"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_site_changes_nothing(place: Place, headers: dict[str, str]) -> None:
    settings = {"swap": {"strength": 0.5}}
    answer = place.client.put("/api/preset?name=soft", json=settings, headers=headers)
    assert answer.status_code == 403
    assert place.client.get("/api/presets").json() == []


@pytest.mark.parametrize("headers", [{}, {"Origin": BASE}, {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}])
def test_our_own_page_and_programs_do(place: Place, headers: dict[str, str]) -> None:
    answer = place.client.put("/api/preset?name=soft", json={}, headers=headers)
    assert answer.status_code == 200


def test_a_body_that_is_no_json_by_its_header_is_not_taken_for_it(place: Place) -> None:
    """A form of another site may send text/plain without asking; it must not pass as JSON."""
    content = '{"target": "/"}'
    answer = place.client.post("/api/projects", content=content, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


def test_web_sockets_of_other_sites_are_refused(place: Place) -> None:
    _echo(place.app)
    with place.client.websocket_connect(SOCKET, headers={"Origin": BASE}) as socket:
        assert socket.receive_text() == "hello"
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            place.client.websocket_connect(SOCKET, headers=headers),
        ):
            pass
        assert refused.value.code == 1008


def test_without_the_token_nothing_is_answered(guarded: TestClient) -> None:
    for path in ("/", "/api/about", "/api/openapi.json", "/index.html", "/api/files?token=wrong", "/?token="):
        answer = guarded.get(path, follow_redirects=False)
        assert answer.status_code == 401
        assert answer.json()["error"]["kind"] == "unauthorised"
        assert "set-cookie" not in answer.headers
    for value in (b"Bearer wrong", b"Basic correct-horse", b"Bearer", "Bearer ä".encode()):
        assert guarded.get("/api/about", headers=[(b"Authorization", value)]).status_code == 401
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect(SOCKET):
        pass


def test_a_bearer_token_opens_requests_and_sockets(guarded: TestClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/api/about", headers=headers).json()["token"] is True
    with guarded.websocket_connect(SOCKET, headers=headers) as socket:
        assert socket.receive_text() == "hello"


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read(guarded: TestClient) -> None:
    answer = guarded.get(f"/api/files?token={TOKEN}&folder=%2Fx%20y", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/api/files?folder=%2Fx+y"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert guarded.get("/api/about").status_code == 200  # the client keeps the cookie
    # Other programs on this host have cookies, too, and not all that come along are well made.
    ours = cookie.partition(";")[0]
    odd = f'x={{"a": [1, "b"]}}; =; y; mien=old; {ours}; z=1'
    guarded.cookies.clear()
    assert guarded.get("/api/about").status_code == 401
    assert guarded.get("/api/about", headers={"Cookie": odd}).status_code == 200
    assert guarded.get("/api/about", headers={"Cookie": "mien=forged; a=b"}).status_code == 401


def test_the_way_on_never_leads_to_another_host(guarded: TestClient) -> None:
    answer = guarded.get(f"//evil.example/?token={TOKEN}", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/")
    assert not answer.headers["location"].startswith(("//", "/\\"))


def test_headers_of_every_answer(place: Place) -> None:
    for path in ("/", "/nothing.js", "/api/about", "/api/nothing"):
        headers = place.client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    assert place.client.get("/api/about").headers["cache-control"] == "no-store"


def test_the_page_is_served_with_its_types_and_asked_again(place: Place) -> None:
    answer = place.client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    again = place.client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    script = place.client.get("/api.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    ["/../server/main.py", "/%2e%2e/server/main.py", "/..%2fserver%2fmain.py", "/%5c..%5cserver", "/%00"],
)
def test_nothing_beside_the_page_is_served(place: Place, path: str) -> None:
    answer = place.client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["kind"] == "not_found"


def test_which_addresses_are_this_machine_alone() -> None:
    assert all(map(is_local, ("127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]")))
    assert not any(map(is_local, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))
    assert Rules(names("0.0.0.0")).is_ours("localhost:1")
    assert not Rules(names("127.0.0.1")).is_ours("example.org")
