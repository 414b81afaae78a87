"""The events stream (server-sent events): every page hears what happens to jobs, projects and models.

An event is encoded once and kept in a ring; a client is nothing but its place in it. So memory does not grow
with clients or with their slowness, and one that was away for a moment goes on where it was
(`Last-Event-ID`). A client that falls out of the ring, or does not read for a while, is let go: it comes
back for a snapshot.

    event: job        data: a line of the queue
    event: removed    data: {"id"} of a line that is gone
    event: snapshot   data: {"jobs": [ids]}; all lines came before, as `job`; others are gone
    event: project    data: {"id", "revision"}
    event: model      data: {"name", "installed"}
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Header
from fastapi.responses import Response

from mien.app.server.errors import Refusal, responses
from mien.errors import JobError
from mien.run.queue import Line, Queue, UnknownLine

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from mien.app.server.state import State

Name: TypeAlias = Literal["job", "removed", "project", "model"]

RING = 4096
"""Events that are kept for clients that are behind or come back."""
CLIENTS = 256
"""Most clients at once."""
EVERY = 0.2
"""Seconds between two looks at the queue."""
HEARTBEAT = 15.0
"""Seconds of silence after which a comment shows that the stream lives."""
PATIENCE = 30.0
"""Seconds that a client may take to read before it is let go."""


class Hub:
    """Collects events and hands them to any number of clients. A context manager while the server runs.

    Args:
        queue: Its changes become events; whoever makes them.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._life = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._ring: deque[bytes] = deque(maxlen=RING)
        self._next = 1
        self._clients: set[_Client] = set()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Hub:
        since = self._queue.changes(0).number
        self._thread = threading.Thread(target=self._watch, args=(since,), name="mien-events", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if self._thread is not None:
            self._thread.join()

    def end(self) -> None:
        """Let every client's stream end; a server that ends waits for them."""
        self._ended.set()
        self._wake()

    def publish(self, name: Name, data: Mapping[str, Any]) -> None:
        """Tell every client something; from any thread.

        Args:
            name: What kind of event.
            data: JSON values.
        """
        with self._lock:
            self._ring.append(_text(name, data, self._id(self._next)))
            self._next += 1
        self._wake()

    def _id(self, number: int) -> str:
        """An event's id: the server's life, too, because the next one counts from 1 again."""
        return f"{self._life}-{number}"

    def _wake(self) -> None:
        with self._lock:
            clients = tuple(self._clients)
        for client in clients:
            client.wake()

    def _watch(self, since: int) -> None:
        """Turn changes of the queue into events until the end."""
        while not self._ended.wait(EVERY):
            try:
                found = self._queue.changes(since)
                since = found.number
                for line in found.lines:
                    self.publish("job", line.plain())
                    for model in self._pulled(line):
                        self.publish("model", {"name": model, "installed": True})
                for gone in found.removed:
                    self.publish("removed", {"id": gone})
            except JobError:  # the file is in use or out of reach for a moment
                continue

    def _pulled(self, line: Line) -> tuple[str, ...]:
        """The models that a line has just brought."""
        if line.kind != "pull" or line.state != "done":
            return ()
        with suppress(UnknownLine):  # taken off the list already; what else has changed is still told
            return tuple(map(str, self._queue.spec(line.id).get("names", ())))
        return ()

    def room(self) -> None:
        """See that another client can be served.

        Raises:
            Refusal: There are too many.
        """
        if len(self._clients) >= CLIENTS:
            text = f"has {CLIENTS} listeners already"
            raise Refusal("request", "events", text, "Close other pages.", status=503)

    async def stream(self, last: str = "") -> AsyncIterator[bytes]:
        """The events as bytes, from now on, until the server ends or the client is too far behind.

        Args:
            last: The id of the last event that the client knows; where it is not known here any more, all
                lines come first.

        """
        client = _Client(asyncio.get_running_loop())
        with self._lock:
            self._clients.add(client)
            known = self._known(last)
            client.place = self._next if known is None else known
        try:
            yield b"retry: 1000\n\n"
            if known is None:
                for text in await asyncio.to_thread(self._snapshot, client.place - 1):
                    yield text
            async for text in self._follow(client):
                yield text
        finally:
            with self._lock:
                self._clients.discard(client)

    def _known(self, last: str) -> int | None:
        """The number of the event after `last`; None where it cannot be told or is not kept any more."""
        life, _, digits = last.partition("-")
        if life != self._life or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            return None
        number = int(digits) + 1
        return number if self._next - len(self._ring) <= number <= self._next else None

    def _snapshot(self, number: int) -> list[bytes]:
        """All lines. Only what ends it has an id, so that a client who saw half of it gets it anew."""
        lines = self._queue.lines()
        texts = [_text("job", line.plain(), "") for line in lines]
        return [*texts, _text("snapshot", {"jobs": [line.id for line in lines]}, self._id(number))]

    async def _follow(self, client: _Client) -> AsyncIterator[bytes]:
        while not self._ended.is_set():
            client.waiting.clear()
            with self._lock:
                first = self._next - len(self._ring)
                if client.place < first:
                    return
                texts = [
                    self._ring[k - first] for k in range(client.place, min(self._next, client.place + 64))
                ]
            for text in texts:
                yield text
            client.place += len(texts)
            if texts:
                continue
            try:
                async with asyncio.timeout(HEARTBEAT):  # `wait_for` may lose a cancellation
                    await client.waiting.wait()
            except TimeoutError:
                yield b": still here\n\n"


class _Client:
    """Where one client is in the ring, and how it is woken."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.place = 0
        self.waiting = asyncio.Event()
        self._loop = loop

    def wake(self) -> None:
        """Say that there is something new; from any thread."""
        try:
            self._loop.call_soon_threadsafe(self.waiting.set)
        except RuntimeError:  # its loop has ended
            return


def _text(name: str, data: Mapping[str, Any], number: str) -> bytes:
    """One event as the stream has it. JSON has no line breaks of its own."""
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class Stream(Response):
    """An answer that goes on until the client leaves, does not read, or the events end."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], patience: float = PATIENCE) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events, self._patience = events, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; an ASGI application."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()

    async def _send(self, send: Send) -> None:
        async for text in self._events:
            try:
                async with asyncio.timeout(self._patience):
                    await send({"type": "http.response.body", "body": text, "more_body": True})
            except TimeoutError:
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        continue


def router(state: State) -> APIRouter:
    """The events stream."""
    routes = APIRouter(tags=["events"])
    hub: Hub = state.hub
    content = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}

    @routes.get("/events", response_class=Response, responses={200: content, **responses(503)})
    async def events(last_event_id: Annotated[str, Header()] = "") -> Response:
        """Everything that happens to jobs, projects and models, as server-sent events.

        All jobs come first as `job`, then `snapshot`; a client that names the last event it knows
        (`Last-Event-ID`) goes on after it where that is still known.
        """
        hub.room()
        return Stream(hub.stream(last_event_id))

    return routes
