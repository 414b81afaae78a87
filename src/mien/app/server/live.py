"""Live over REST, and pictures to and from the page over WebRTC.

POST   /live           begin: feed, cast, settings, outputs
PUT    /live/settings  change any of them while it runs
POST   /live/offer     a browser's description (SDP): it sees the result, and may be the camera
GET    /live           how it is doing
GET    /live/schema    what can be set
DELETE /live           end
"""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from mien.app.server.air import BROWSER, Air, Begin, Change, Onair
from mien.app.server.errors import Refusal, responses
from mien.app.server.peers import webrtc
from mien.app.server.settings import live_schema
from mien.media import devices
from mien.settings import Feed, Role

if TYPE_CHECKING:
    from mien.app.server.files import Files
    from mien.app.server.state import State

STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "srt", "tcp", "rtp", "http", "https")
"""Schemes that an input or output may have: others would reach files."""


class Offer(BaseModel):
    """A description of a connection (RFC 8829)."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    sdp: str
    """Its text."""


class Changed(BaseModel):
    """What a change came to."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    now: bool
    """Whether it counts from the next frame; else it is being prepared."""
    live: Onair
    """The run."""


class Outputs(BaseModel):
    """An output by name."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str
    """A file, an address or `virtual`."""


class Devices(BaseModel):
    """What this machine has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    cameras: tuple[str, ...]
    """Names of cameras, as `feed.input` takes them."""
    browser: bool
    """Whether the page's own camera can be used."""


def router(state: State) -> APIRouter:
    """Live."""
    air = Air(state.home)
    peers: list[Any] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(air.end)
        for one in peers:
            await one.close_all()

    routes = APIRouter(lifespan=lifespan)

    @routes.get("/live")
    def show() -> Onair:
        """How the live run is doing."""
        return air.state()

    @routes.get("/live/devices")
    def found() -> Devices:
        """Cameras of this machine, as far as the system names them."""
        form = devices.CAMERAS.get(sys.platform, "v4l2")
        return Devices(cameras=tuple(devices.devices(form, "video")), browser=_has_webrtc())

    @routes.get("/live/schema")
    def form() -> dict[str, Any]:
        """What can be set: as in `/settings/schema`, with `feed` and without what has no effect live."""
        return live_schema()

    @routes.post("/live", status_code=201, responses=responses(403, 404, 409))
    def begin(wanted: Begin) -> Onair:
        """Begin a live run; there is one at a time."""
        return air.begin(
            Begin(
                feed=_feed(wanted.feed, state.files),
                cast=_cast(wanted.cast, state.files),
                settings=state.files.settings(wanted.settings),
                outputs=tuple(_output(name, state.files) for name in wanted.outputs),
            )
        )

    @routes.put("/live/settings", responses=responses(403, 404, 409))
    def change(wanted: Change) -> Changed:
        """Change anything while it runs."""
        feed, cast, settings = wanted.feed, wanted.cast, wanted.settings
        now = air.change(
            Change(
                feed=None if feed is None else _feed(feed, state.files),
                cast=None if cast is None else _cast(cast, state.files),
                settings=None if settings is None else state.files.settings(settings),
            )
        )
        return Changed(now=now, live=air.state())

    @routes.post("/live/outputs", responses=responses(403, 404, 409))
    def add(wanted: Outputs) -> Onair:
        """Begin another output, such as a recording."""
        air.running().add(_output(wanted.name, state.files))
        return air.state()

    @routes.delete("/live/outputs", responses=responses(404, 409))
    def remove(name: str) -> Onair:
        """Finish an output."""
        if not air.running().remove(name):
            raise Refusal("not_found", name, "is no output of the run")
        return air.state()

    @routes.post("/live/offer", responses=responses(409))
    async def offer(wanted: Offer) -> Offer:
        """Answer a browser's offer: it gets the result, and sends its camera where that is the input."""
        run = air.running()
        if not peers:
            peers.append(webrtc().Peers())
        return Offer(sdp=await peers[0].answer(wanted.sdp, run, air.camera))

    @routes.delete("/live")
    def end() -> Onair:
        """End the run; its outputs are finished when the answer comes."""
        return air.end()

    return routes


def _has_webrtc() -> bool:
    from importlib.util import find_spec

    return find_spec("aiortc") is not None


def _scheme(name: str) -> str:
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", name)
    return found[1].lower() if found is not None else ""


def _feed(feed: Feed, files: Files) -> Feed:
    """The feed, its file seen to be allowed.

    Raises:
        Refusal: It is not.
    """
    name = feed.input.strip()
    known = name == BROWSER or re.fullmatch(r"camera(:\d+)?|/dev/video\d+", name)
    if known or (_scheme(name) in STREAMS and "://" in name):
        return feed
    form = devices.CAMERAS.get(sys.platform, "v4l2")
    if name in devices.devices(form, "video"):
        return feed
    return feed.model_copy(update={"input": str(files.file(name))})


def _output(name: str, files: Files) -> str:
    """An output's name, seen to be allowed.

    Raises:
        Refusal: It is not.
    """
    if re.fullmatch(r"virtual(:.*)?", name) or (_scheme(name) in STREAMS and "://" in name):
        return name
    return str(files.output(name))


def _cast(cast: tuple[Role, ...], files: Files) -> tuple[Role, ...]:
    """The cast, every file seen to be allowed."""
    return tuple(files.role(role) for role in cast)
