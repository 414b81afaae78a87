"""A browser as camera and as screen of a live run, over WebRTC.

Everything of aiortc happens in the server's event loop; the run has threads of its own. What goes from one to
the other waits in a box that keeps the newest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import h264, vpx
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from mien.app.server.errors import Refusal
from mien.errors import MediaError
from mien.media.broadcast import limited
from mien.media.camera import RATE, Item, Pace, Sound, Timeline
from mien.media.received import Received, is_picture, spoken
from mien.media.tape import Tape
from mien.run.live import Live
from mien.run.mailbox import Mailbox
from mien.settings import Feed
from mien.types import Frame

PIECE = RATE // 50
"""Samples that are sent at once: 20 ms."""
LEAST = 0.06
"""Seconds that sound is held back at least: it comes in pieces."""
JUMP = 0.08
"""Seconds by which sound may be early or late before it jumps."""
WAIT = 30.0
"""Seconds that a run waits for the browser's first picture."""
LOOK = 0.5
"""Seconds between two looks whether the run has ended."""
FIRST = 2_000_000
"""Bits a second of pictures to a browser until it says what the network takes."""
MOST = 8_000_000
"""The most, whatever it says."""


@dataclass(frozen=True)
class Came:
    """Something that a browser sent, and when."""

    what: Any
    at: float


class Camera:
    """What a browser's camera and microphone send, as the input of a run; called as `run.live.Reading`."""

    def __init__(self) -> None:
        self._box: Mailbox[Came] = Mailbox(60)

    def put(self, what: Any) -> None:
        """Hand over a picture or a piece of sound."""
        self._box.put(Came(what, time.monotonic()))

    def close(self) -> None:
        """Nothing more comes."""
        self._box.close(drop=True)

    def __call__(self, feed: Feed, pace: Pace, timeline: Timeline) -> Sent:
        """An input that is read."""
        return Sent(self._box, feed, pace, timeline)


class Sent:
    """Iterates over what a browser sends.

    Raises:
        MediaError: Nothing comes for too long.
    """

    def __init__(self, box: Mailbox[Came], feed: Feed, pace: Pace, timeline: Timeline) -> None:
        self.rate = Fraction(30)
        """About how many pictures a second there are."""
        self.audible = True
        """Whether there is sound."""
        self._box, self._feed, self._pace = box, feed, pace
        width, _, height = feed.size.partition("x")
        self._received = Received(timeline, (int(width), int(height)) if feed.size else None)

    def __iter__(self) -> Iterator[Item]:
        last = self._pace.now()
        while True:
            came = self._box.take(LOOK)
            now = self._pace.now()
            if came is None:
                if self._box.closed or not self._pace.until(now):
                    return
                if now - last > (self._feed.reconnect if self._received.pictures else WAIT):
                    raise MediaError("browser", "sends no pictures", "Allow the camera, or reload the page.")
                continue
            last = now if is_picture(came.what) else last
            yield from self._received.take(came.what, came.at)


class Viewer:
    """A browser that watches, as an output of a run: pictures at once, sound as late as they are.

    Args:
        name: What the output is called.
        run: The run.
        loop: The server's event loop.
    """

    def __init__(self, name: str, run: Live, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.tape = Tape()
        self._run, self._loop = run, loop
        self.video = Pictures()
        self.audio = Listening(self.tape, self._late, run)

    def picture(self, frame: Frame) -> None:
        """Show a frame."""
        with suppress(RuntimeError):  # the loop may have ended before
            self._loop.call_soon_threadsafe(self.video.offer, limited(frame))

    def sound(self, sound: Sound) -> None:
        """Let a piece of sound be heard."""
        self.tape.add(sound)

    def close(self) -> None:
        """There is no more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.video.stop)
            self._loop.call_soon_threadsafe(self.audio.stop)

    def _late(self) -> float:
        """Seconds by which pictures are late here."""
        state = self._run.pulse().outputs.get(self.name)
        return max(LEAST, state.delay.median / 1000.0 if state is not None else LEAST)


class Pictures(MediaStreamTrack):
    """A track of pictures; the newest wins."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._newest: asyncio.Queue[Any] = asyncio.Queue(1)
        self.dropped = 0
        """Pictures that the connection was too slow for."""

    def offer(self, picture: Any) -> None:
        """Take the place of what waits. In the event loop only."""
        if self._newest.full():
            self._newest.get_nowait()
            self.dropped += 1
        self._newest.put_nowait(picture)

    async def recv(self) -> Any:
        """The next picture."""
        if self.readyState != "live":
            raise MediaStreamError
        return await self._newest.get()


class Listening(MediaStreamTrack):
    """A track of sound, read from a tape as late as pictures are.

    Args:
        tape: Where the sound is kept.
        late: Gives the seconds by which pictures are late.
        run: Whose clock and time count.
    """

    kind = "audio"

    def __init__(self, tape: Tape, late: Callable[[], float], run: Live) -> None:
        super().__init__()
        self._tape, self._late, self._run = tape, late, run
        self._at: int | None = None
        self._sent = 0
        self._began = 0.0

    def place(self, now: float) -> int:
        """Which sample is due at a moment of the run's clock; goes on evenly unless it is off by too much."""
        due = round((now - self._run.timeline.began - self._late()) * RATE)
        if self._at is None or abs(due - self._at) > JUMP * RATE:
            self._at = due
        at, self._at = self._at, self._at + PIECE
        return at

    async def recv(self) -> Any:
        """The next 20 ms."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if not self._sent:
            self._began = loop.time()
        await asyncio.sleep(max(0.0, self._began + self._sent / RATE - loop.time()))
        samples = self._tape.read(self.place(self._run.pace.now()), PIECE)
        made = spoken(samples, self._sent)
        self._sent += PIECE
        return made


class Peers:
    """The browsers that are connected. In the event loop only."""

    def __init__(self) -> None:
        _unbound()
        self._open: dict[RTCPeerConnection, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def answer(self, sdp: str, run: Live, camera: Camera | None) -> str:
        """Connect a browser: it gets the result, and its camera is the run's input where that is asked for.

        Args:
            sdp: Its offer.
            run: What it watches.
            camera: Where its pictures go; None where they are not asked for.

        Returns:
            The answer's description.

        Raises:
            Refusal: The offer cannot be understood.
        """
        peer = RTCPeerConnection()
        self._count += 1
        name = f"browser {self._count}"
        viewer = Viewer(name, run, asyncio.get_running_loop())

        @peer.on("connectionstatechange")
        async def changed() -> None:
            if peer.connectionState in ("failed", "closed"):
                await self.close(peer, run)

        @peer.on("track")
        def came(track: MediaStreamTrack) -> None:
            if camera is not None:
                self._spawn(_drain(track, camera))

        try:
            await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            peer.addTrack(viewer.video)
            if any(one.kind == "audio" for one in peer.getTransceivers()):
                peer.addTrack(viewer.audio)
            await peer.setLocalDescription(await peer.createAnswer())
        except Exception as error:  # aiortc fails in many ways over what it cannot read
            await peer.close()
            text = f"cannot be understood ({type(error).__name__})"
            raise Refusal("request", "sdp", text, "Send what createOffer made.", 422) from error
        self._open[peer] = name
        run.add(viewer)
        return peer.localDescription.sdp

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, peer: RTCPeerConnection, run: Live | None = None) -> None:
        """Let go of a browser."""
        name = self._open.pop(peer, None)
        if name is not None and run is not None:
            await asyncio.to_thread(run.remove, name)
        await peer.close()

    async def close_all(self) -> None:
        """Let go of all of them."""
        for peer in list(self._open):
            await self.close(peer)


def _unbound() -> None:
    """Let pictures take more bits than aiortc's 1.5 Mbit/s: it has no other place to say so.

    From there the browser's estimate of the network (REMB) decides, as before.
    """
    vpx.DEFAULT_BITRATE, vpx.MAX_BITRATE = FIRST, MOST
    h264.DEFAULT_BITRATE, h264.MAX_BITRATE = FIRST, MOST


async def _drain(track: MediaStreamTrack, camera: Camera) -> None:
    """Hand over what a track delivers until it ends."""
    with suppress(MediaStreamError):
        while True:
            camera.put(await track.recv())
