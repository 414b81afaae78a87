"""Frames of projects as pictures: one by one over HTTP, and scrubbed or played over a WebSocket.

    WS /projects/{id}/play
    client:  {"show": 12, "view": "after", "width": 960, "zoom": [x, y, w, h], "project": {...}, "id": 7}
             {"play": 12, "until": 99, "speed": 1.0, ...}
             {"stop": true}
    server:  4 bytes big-endian length, JSON header, JPEG; errors and {"ended": true} as text

The newest request wins: what an older one still wants to send is dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import APIRouter, FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien.app.server.errors import Refusal, invalid, responses, said
from mien.app.server.player import Asked, Player, Previews, Shown, Wide, job_of, picture
from mien.app.server.state import State
from mien.media.listen import RATE, sound
from mien.run import strip
from mien.run.place import stamp
from mien.run.preview import stamps
from mien.types import Array

LONGEST = 60.0
"""Most seconds of sound in one answer."""
SOCKETS = 32
"""Most pages that are shown pictures at once. Each has a thread, of their own so that none of the other
requests' is taken."""
PATIENCE = 30.0
"""Seconds that a client may take to read a message before it is let go."""
SMALL = 1 << 16
"""Characters of a message that is read at once; a larger one would hold up everybody."""


class Wanted(BaseModel):
    """How a frame is shown."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    view: Shown = "after"
    """`before`, `after`, their `difference` four times as strong, where the `mask` lies, or `both`, the input
    on the left half and the result on the right."""
    width: Wide = 0
    """Pixels of the picture, 16 to 4096; 0 for the frame's own."""
    x: float = Field(default=0.0, ge=-65536, le=65536)
    """Left edge of the part that is shown, in the clip's display pixels."""
    y: float = Field(default=0.0, ge=-65536, le=65536)
    """Its upper edge."""
    w: float = Field(default=0.0, ge=0, le=65536)
    """Its width; 0 for the whole frame."""
    h: float = Field(default=0.0, ge=0, le=65536)
    """Its height."""

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The part; None for all."""
        return (self.x, self.y, self.w, self.h) if self.w > 0 and self.h > 0 else None


def _wav(samples: Array) -> bytes:
    """Samples as a WAVE file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


def router(state: State) -> APIRouter:
    """Frames and sound of projects."""
    previews = Previews(state.home)
    threads = anyio.CapacityLimiter(SOCKETS)
    made_by = version("mien")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(previews.close)

    routes = APIRouter(responses=responses(403, 404), lifespan=lifespan)
    picture_response: dict[int | str, dict[str, Any]] = {
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "The page has it already."},
    }

    @routes.get("/projects/{id}/frames/{number}", response_class=Response, responses=picture_response)
    def frame(
        request: Request,
        id: str,
        number: Annotated[int, Field(ge=0, le=1 << 31)],
        wanted: Annotated[Wanted, Query()],
    ) -> Response:
        """A frame of a project as JPEG."""
        project = state.files.project(state.projects.held(id).project)
        job = job_of(project)
        files = (stamp(project.target), stamps(job) if job is not None else ())
        text = f"{made_by}|{project.model_dump_json()}|{files}|{number}|{wanted.model_dump_json()}"
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        began = time.monotonic()
        with previews.of(project) as preview:
            if number >= len(preview.film):
                problem = f"is no frame of the clip, which has {len(preview.film)}"
                raise Refusal("not_found", f"frame {number}", problem, "They are numbered from 0.")
            shown = picture(preview, number, job, wanted.view, wanted.width, wanted.box)
        headers["X-Mien-Ms"] = f"{(time.monotonic() - began) * 1000:.0f}"
        return Response(strip.jpeg(shown), media_type="image/jpeg", headers=headers)

    wav: dict[int | str, dict[str, Any]] = {
        200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
    }

    @routes.get("/projects/{id}/audio", response_class=Response, responses=wav)
    def audio(
        id: str,
        start: Annotated[float, Query(ge=0, le=1e7)] = 0.0,
        seconds: Annotated[float, Query(gt=0, le=LONGEST)] = 10.0,
    ) -> Response:
        """A stretch of the clip's sound, 16 bit stereo, 48 kHz; silent where there is none."""
        project = state.files.project(state.projects.held(id).project)
        with previews.of(project) as preview:
            clip = preview.film.clip
        return Response(_wav(sound(clip, start, seconds)), media_type="audio/wav")

    @routes.websocket("/projects/{id}/play")
    async def play(socket: WebSocket, id: str) -> None:
        await socket.accept()
        if threads.available_tokens < 1:
            text = f"shows pictures to {SOCKETS} pages already"
            await _refuse(socket, Refusal("request", "play", text, "Close other pages.", status=503))
            await socket.close(1013)
            return
        await _served(socket, previews, state, id, threads)

    return routes


async def _served(
    socket: WebSocket, previews: Previews, state: State, id: str, threads: anyio.CapacityLimiter
) -> None:
    """Serve one WebSocket until its client leaves, or does not read."""

    async def on_its_way(message: bytes | str) -> None:
        with anyio.fail_after(PATIENCE):
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(message)

    def send(message: bytes | str) -> None:
        try:
            anyio.from_thread.run(on_its_way, message)
        except (RuntimeError, TimeoutError, WebSocketDisconnect):  # the client has left
            player.end()

    player = Player(
        previews,
        lambda: state.files.project(state.projects.held(id).project),
        state.files.project,
        send,
    )
    async with anyio.create_task_group() as tasks:

        async def show() -> None:
            await anyio.to_thread.run_sync(player.run, limiter=threads)
            tasks.cancel_scope.cancel()

        tasks.start_soon(show)
        try:
            while True:
                await _taken(socket, player)
        except WebSocketDisconnect:
            pass
        finally:  # however this ends: the thread would wait for requests for ever
            player.end()
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # closed already
        await socket.close()


async def _taken(socket: WebSocket, player: Player) -> None:
    """Take one message of the client."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    text = message.get("text") or message.get("bytes") or ""
    try:
        if len(text) <= SMALL:
            player.ask(Asked.model_validate_json(text))
        else:
            player.ask(await anyio.to_thread.run_sync(Asked.model_validate_json, text))
    except ValidationError as error:
        await _refuse(socket, invalid(error.errors(include_input=False)))


async def _refuse(socket: WebSocket, refusal: Refusal) -> None:
    """Say why something is not done."""
    await socket.send_text(json.dumps({"error": said(refusal)[1].model_dump(), "id": None}))
