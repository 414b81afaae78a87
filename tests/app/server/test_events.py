"""The events stream over real sockets: snapshot, resuming, twenty clients, clients that do not read."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from mien.app.server import events
from mien.app.server.events import Hub, Stream
from mien.app.server.main import create
from mien.run.queue import Queue
from mien.types import Progress

PATIENCE = 60.0


@dataclass(frozen=True)
class Served:
    port: int
    queue: Queue
    hub: Hub


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    app = create(tmp_path / "home", folders=[], start_worker=False)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    state = app.state.mien
    yield Served(server.servers[0].sockets[0].getsockname()[1], state.queue, state.hub)
    server.should_exit = True
    thread.join()


def until(reached: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


class Client:
    """One listener; a context manager through `closing`."""

    def __init__(self, served: Served, last: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
        self._connection.request("GET", "/api/events", headers={"Last-Event-ID": last} if last else {})
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.headers["content-type"].startswith("text/event-stream")
        self.last = last

    def next(self) -> tuple[str, Any]:
        """The next event: its name and data."""
        name, data = "", None
        while line := self._answer.readline().decode():
            key, _, value = line.rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                data = json.loads(value)
            elif key == "id":
                self.last = value
            elif not key and name:
                return name, data
        return "end", None

    def until(self, wanted: str) -> list[tuple[str, Any]]:
        """The events up to the first of a name."""
        found = [self.next()]
        while found[-1][0] not in (wanted, "end"):
            found.append(self.next())
        return found

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def test_snapshot_first_and_then_what_happens(served: Served) -> None:
    for k in range(3):
        served.queue.add("pull", {"names": ["facemesh"]}, f"number {k}")
    with closing(Client(served)) as client:
        *jobs, snapshot = client.until("snapshot")
        assert [(name, data["id"], data["state"]) for name, data in jobs] == [
            ("job", f"q{k}", "queued") for k in (1, 2, 3)
        ]
        assert snapshot == ("snapshot", {"jobs": ["q1", "q2", "q3"]})
        served.queue.take()
        served.queue.note("q1", progress=Progress("models", 1, 2, 0.0, 0.0))
        name, line = client.next()
        while line["progress"] is None:
            name, line = client.next()
        assert (name, line) == ("job", served.queue.line("q1").plain() | {"warnings": []})
        served.queue.finish("q1", {})
        assert client.until("model")[-1] == ("model", {"name": "facemesh", "installed": True})
        served.queue.remove("q3")
        assert client.until("removed")[-1] == ("removed", {"id": "q3"})
        served.hub.publish("project", {"id": "p", "revision": 2})
        assert client.next() == ("project", {"id": "p", "revision": 2})


def test_who_comes_back_misses_nothing_and_sees_nothing_twice(served: Served) -> None:
    with closing(Client(served)) as client:
        client.until("snapshot")
        for k in range(5):
            served.hub.publish("project", {"id": "p", "revision": k})
        seen = [client.next()[1]["revision"] for _ in range(3)]
        last = client.last
    served.hub.publish("project", {"id": "p", "revision": 5})
    with closing(Client(served, last)) as client:
        seen += [client.next()[1]["revision"] for _ in range(3)]
    assert seen == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("last", ["17", "00000000-3", "x-y", "{life}-999", "{life}--1", "-"])
def test_who_knows_what_nobody_knows_gets_a_snapshot(served: Served, last: str) -> None:
    """Events of another life of the server, or that never were."""
    served.queue.add("pull", {}, "one")
    with closing(Client(served)) as client:
        client.until("snapshot")
        life = client.last.partition("-")[0]
    with closing(Client(served, last.format(life=life))) as client:
        assert [name for name, _ in client.until("snapshot")] == ["job", "snapshot"]


def test_who_is_too_far_behind_gets_a_snapshot(served: Served) -> None:
    with closing(Client(served)) as client:
        client.until("snapshot")
        last = client.last
    for k in range(events.RING + 1):
        served.hub.publish("project", {"id": "p", "revision": k})
    with closing(Client(served, last)) as client:
        assert client.next()[0] == "snapshot"
        served.hub.publish("model", {"name": "m", "installed": True})
        assert client.next() == ("model", {"name": "m", "installed": True})


def test_twenty_clients_hear_the_same(served: Served) -> None:
    """Two of them read nothing until the end, two leave: the others do not notice."""
    clients = [Client(served) for _ in range(20)]
    heard: list[list[int]] = [[] for _ in clients]

    def listen(k: int) -> None:
        while (event := clients[k].next())[0] != "model":
            if event[0] == "project":
                heard[k].append(event[1]["revision"])
            if k in (2, 3) and heard[k]:
                clients[k].close()
                return

    threads = [threading.Thread(target=listen, args=(k,)) for k in range(2, 20)]
    for thread in threads:
        thread.start()
    for k in range(1000):
        served.hub.publish("project", {"id": "p", "revision": k})
    served.hub.publish("model", {"name": "m", "installed": True})
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert all(numbers == list(range(1000)) for numbers in heard[4:])
    until(lambda: len(served.hub._clients) <= 18)
    late = clients[0].until("model")
    assert [data["revision"] for name, data in late if name == "project"] == list(range(1000))
    for client in clients:
        client.close()
    until(lambda: not served.hub._clients)
    assert len(served.hub._ring) <= events.RING


def test_nobody_listens_without_bounds(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CLIENTS", 2)
    first, second = Client(served), Client(served)
    for client in (first, second):
        client.until("snapshot")
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
    connection.request("GET", "/api/events")
    answer = connection.getresponse()
    assert answer.status == 503
    assert json.loads(answer.read())["error"]["problem"] == "has 2 listeners already"
    for listener in (first, second, answer, connection):
        listener.close()


class Wire:
    """The server's side of a connection: `receive` never says anything, `send` as given."""

    def __init__(self, send: Callable[[dict[str, Any]], Any]) -> None:
        self.send = send

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_client_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    """Its socket takes nothing any more: after a while the stream ends, and the hub forgets it."""
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            if len(sent) == 2:
                await asyncio.Event().wait()
            sent.append(message["body"])

    async def serve(hub: Hub) -> None:
        wire = Wire(send)
        await Stream(hub.stream(), patience=0.05)({"type": "http"}, wire.receive, send)

    with Queue(tmp_path) as queue, Hub(queue) as hub:
        queue.add("pull", {}, "one")
        asyncio.run(asyncio.wait_for(serve(hub), PATIENCE))
        assert len(sent) == 2
        assert not hub._clients


def test_a_client_that_falls_out_of_the_ring_is_let_go(tmp_path: Path) -> None:
    """It would miss events; it is to come back for a snapshot instead."""

    async def slow(hub: Hub) -> list[bytes]:
        stream: AsyncIterator[bytes] = hub.stream()
        got = [await anext(stream), await anext(stream)]
        for k in range(events.RING + 70):
            hub.publish("project", {"id": "p", "revision": k})
        got += [text async for text in stream]
        return got

    with Queue(tmp_path) as queue, Hub(queue) as hub:
        assert len(asyncio.run(asyncio.wait_for(slow(hub), PATIENCE))) == 2
        assert not hub._clients


def test_streams_end_with_the_hub(tmp_path: Path) -> None:
    async def listen(hub: Hub, listening: threading.Event) -> None:
        async for _ in hub.stream():
            listening.set()

    with Queue(tmp_path) as queue:
        listening = threading.Event()
        with Hub(queue) as hub:
            thread = threading.Thread(target=lambda: asyncio.run(listen(hub, listening)))
            thread.start()
            assert listening.wait(PATIENCE)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_silence_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.01)

    async def third(hub: Hub) -> bytes:
        stream = hub.stream()
        for _ in range(2):
            await anext(stream)
        return await anext(stream)

    with Queue(tmp_path) as queue, Hub(queue) as hub:
        assert asyncio.run(third(hub)) == b": still here\n\n"
