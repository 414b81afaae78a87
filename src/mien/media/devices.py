"""Where a live run's pictures and sounds come from: cameras, microphones, files and streams, by name."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import av

from mien.errors import MediaError
from mien.settings import Feed

CAMERAS: Mapping[str, str] = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""Operating system, as Python names it, to FFmpeg's way to its cameras."""
MICROPHONES: Mapping[str, str] = {"linux": "alsa", "darwin": "avfoundation", "win32": "dshow"}
_CODED = ("mjpeg", "h264", "hevc")
"""What a camera may deliver that is no pixel format."""
Listed = Callable[[str, Literal["video", "audio"]], Mapping[str, str]]
"""Gives what people call the devices of one of FFmpeg's device formats, and what FFmpeg does."""


@dataclass(frozen=True, slots=True)
class Place:
    """How FFmpeg opens an input."""

    kind: Literal["camera", "file", "stream", "microphone"]
    url: str
    format: str = ""
    """FFmpeg's name of the format; empty where it finds out."""
    options: Mapping[str, str] = field(default_factory=dict)


def devices(form: str, kind: Literal["video", "audio"]) -> Mapping[str, str]:
    """What people call the cameras or microphones there are, to FFmpeg's names; empty where that is not told.

    Two that are called the same have FFmpeg's name behind it.
    """
    try:
        # Video4Linux and ALSA do not say what a device gives: there the format says it. They have no order.
        found = [d for d in av.enumerate_input_devices(form) if kind in (d.media_types or (kind,))]
    except (av.FFmpegError, OSError, ValueError):
        return {}
    if form == "v4l2":
        found.sort(key=lambda d: (len(d.name), d.name))
    called = [device.description or device.name for device in found]
    return {
        name if called.count(name) == 1 else f"{name} ({device.name})": device.name
        for name, device in zip(called, found, strict=True)
    }


def picture(feed: Feed, system: str = sys.platform, listed: Listed = devices) -> Place:
    """Where the pictures come from.

    Args:
        feed: Its `input`, `size`, `fps` and `pixels` count.
        system: The operating system, as `sys.platform` names it.
        listed: Gives the names of its cameras.

    Raises:
        MediaError: There is no such camera or file.
    """
    name = feed.input.strip()
    if re.match(r"[a-z][a-z0-9+.-]+://", name):
        return Place("stream", name, options=_stream(name))
    number = re.fullmatch(r"camera(?::(\d+))?", name)
    if number is None and not name.startswith("/dev/video") and Path(name).expanduser().exists():
        return Place("file", str(Path(name).expanduser().absolute()))
    form = CAMERAS.get(system, "v4l2")
    if number is not None:
        url = _numbered(int(number[1] or 0), form, listed)
    elif name.startswith("/dev/video"):
        url = name
    else:
        url = _named(name, form, listed)
    return Place("camera", url, form, _camera(feed, form))


def sound(feed: Feed, system: str = sys.platform) -> Place | None:
    """The microphone that is asked for; None where the sound is the input's own or there is none."""
    if feed.sound in ("auto", "none"):
        return None
    form = MICROPHONES.get(system, "alsa")
    url = {"dshow": f"audio={feed.sound}", "avfoundation": f":{feed.sound}"}.get(form, feed.sound)
    return Place("microphone", url, form)


def _numbered(number: int, form: str, listed: Listed) -> str:
    """FFmpeg's name of the n-th camera."""
    if form == "v4l2":
        return f"/dev/video{number}"
    if form == "avfoundation":
        return f"{number}:none"
    found = [*listed(form, "video").values()]
    if number >= len(found):
        there = ", ".join(listed(form, "video")) or "none"
        raise MediaError(
            f"camera:{number}", f"is not there; there are: {there}", "Connect it, or name a file."
        )
    return f"video={found[number]}"


def _named(name: str, form: str, listed: Listed) -> str:
    """FFmpeg's name of the camera that people call so."""
    found = listed(form, "video")
    if name not in found:
        there = ", ".join(found) or "none that the system names"
        advice = f"Cameras: {there}. Write `camera`, a file's path or an address."
        raise MediaError(name, "is neither a camera nor a file that is there", advice)
    return {"dshow": f"video={found[name]}", "avfoundation": f"{name}:none"}.get(form, found[name])


def _camera(feed: Feed, form: str) -> dict[str, str]:
    """What is asked of a camera, in the words of its driver."""
    asked: dict[str, str] = {}
    if feed.size:
        asked["video_size"] = feed.size
    if feed.fps:
        asked["framerate"] = f"{feed.fps:g}"
    elif form == "avfoundation":
        asked["framerate"] = "30"  # its own default of 29.97 is refused by most cameras
    if feed.pixels:
        coded = feed.pixels in _CODED
        key = {"v4l2": "input_format", "dshow": "vcodec" if coded else "pixel_format"}.get(
            form, "pixel_format"
        )
        asked[key] = feed.pixels
    if form == "dshow":
        asked["rtbufsize"] = "64M"
    return asked


def _stream(url: str) -> dict[str, str]:
    """Options for as little delay as a stream allows."""
    asked = {"fflags": "nobuffer", "analyzeduration": "1000000"}
    if url.startswith("rtsp"):
        asked["rtsp_transport"] = "tcp"
    return asked
