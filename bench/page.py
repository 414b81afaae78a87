"""How sharp the live picture is in a browser: what the page decodes, compared with what was sent to it.

A 720p clip plays as a camera would send it through a live run with the mesh swapper; a headless Chromium
watches it on the page of the studio. Every second the luma that it has decoded is compared, sample by sample,
with that of the picture of the same time that the run handed on (the clock in the picture says which). A slow
network is made by a queue in front of the connection: what would wait longer than 0.3 s is lost.

    python bench/page.py [--target CLIP] [--source PICTURE] [--seconds 30] [--rate 30] [--link BITS] [--old]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import platform
import shutil
import socket
import tempfile
import threading
import time
from collections import OrderedDict
from datetime import date
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from aioice import Connection
from aiortc.codecs import vpx
from playwright.sync_api import Page, sync_playwright

from live import camera
from mien.app.server import webrtc
from mien.app.server.main import create
from mien.images import frameclock

RESULTS = Path(__file__).parent / "results" / "page.txt"
HELD = 0.3
"""Seconds of data that a slow network holds."""
KEPT = 120
"""Pictures sent that are remembered."""
PEERS = "{const P = RTCPeerConnection; window.peers = [];" + (
    "window.RTCPeerConnection = class extends P {constructor(...a) {super(...a); peers.push(this);}}}"
)
SHOT = """
async () => {
  const frame = new VideoFrame(document.querySelector(".live-pane.made video"));
  const data = new Uint8Array(frame.allocationSize());
  const layout = await frame.copyTo(data);
  const {format, codedWidth: width, codedHeight: height} = frame;
  frame.close();
  const text = Array.from({length: Math.ceil(data.length / 32768)},
    (_, k) => String.fromCharCode(...data.subarray(32768 * k, 32768 * (k + 1)))).join("");
  return {format, width, height, layout, data: btoa(text)};
}
"""
STATS = """
async () => {
  for (const one of (await peers.at(-1).getStats()).values())
    if (one.type === "inbound-rtp" && one.kind === "video")
      return [one.bytesReceived, one.framesDecoded, one.keyFramesDecoded, one.freezeCount, performance.now()];
}
"""


class Sent:
    """Remembers the luma of what was sent to the browser, by the clock in the picture."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[int, Any] = OrderedDict()
        first = webrtc.Pictures.offer

        def offer(to: webrtc.Pictures, picture: Any) -> None:
            plane = picture.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            luma = rows[:, : plane.width].copy()
            if (value := frameclock.read(luma)) is not None:
                self._pictures[value] = luma
                while len(self._pictures) > KEPT:
                    self._pictures.popitem(last=False)
            first(to, picture)

        webrtc.Pictures.offer = offer  # type: ignore[method-assign]

    def psnr(self, seen: dict[str, Any]) -> float | None:
        """In dB; None where it cannot be said which picture is seen."""
        data = np.frombuffer(base64.b64decode(seen["data"]), np.uint8)
        first, stride = seen["layout"][0]["offset"], seen["layout"][0]["stride"]
        rows = data[first : first + stride * seen["height"]].reshape(seen["height"], stride)
        luma = rows[:, : seen["width"]].copy()
        value = frameclock.read(luma)
        sent = self._pictures.get(value) if value is not None else None
        if sent is None or sent.shape != luma.shape:
            return None
        error = np.square(sent.astype(float) - luma)[40:].mean()
        return float(10 * np.log10(255**2 / max(error, 1e-9)))


def slow(bits: float) -> None:
    """Let everything that the server sends go through a queue of so many bits a second."""
    first = Connection.send
    free: dict[int, float] = {}

    async def send(self: Connection, data: bytes) -> None:
        now = time.monotonic()
        begins = max(free.get(id(self), 0.0), now)
        if begins - now > HELD:
            return
        free[id(self)] = begins + 8 * len(data) / bits

        async def later() -> None:
            await asyncio.sleep(free_at - time.monotonic())
            await first(self, data)

        free_at = free[id(self)]
        task = asyncio.ensure_future(later())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    tasks: set[Any] = set()
    Connection.send = send  # type: ignore[method-assign]


def serve(home: Path, folders: list[Path]) -> int:
    """Start a server; its port."""
    app = create(home, folders=folders, start_worker=False)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    sock = socket.create_server(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True).start()
    return port


def watch(page: Page, sent: Sent, seconds: int) -> list[str]:
    """Look at the picture once a second, as lines."""
    page.locator(".live-pane.made").wait_for(timeout=120_000)
    before = page.evaluate(STATS)
    rows, lines = [], []
    for _ in range(seconds):
        page.wait_for_timeout(1000)
        db, now = sent.psnr(page.evaluate(SHOT)), page.evaluate(STATS)
        took = (now[4] - before[4]) / 1e3
        rows.append((db, 8e-6 * (now[0] - before[0]) / took, (now[1] - before[1]) / took, now[2] - before[2]))
        before = now
    for name, part in (("first 5 s", rows[:5]), ("then", rows[5:])):
        known = [row[0] for row in part if row[0] is not None]
        told = f"{np.median(known):.1f} ({min(known):.1f} to {max(known):.1f}) dB" if known else "unknown"
        rate, fps = (float(np.median([row[k] for row in part])) for k in (1, 2))
        keys = sum(row[3] for row in part)
        lines.append(f"{name}: {told}; {rate:.2f} Mbit/s; {fps:.1f} fps; {keys} key frames")
    lines.append("Mbit/s by second: " + " ".join(f"{row[1]:.1f}" for row in rows))
    lines.append(f"freezes {before[3]}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    media = Path(__file__).resolve().parents[2] / "shared" / "media"
    parser.add_argument("--target", type=Path, default=media / "v20_head_pose_1080p30_aac.mp4")
    parser.add_argument("--source", type=Path, default=media / "pd02_grace_hopper.jpg")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rate", type=Fraction, default=Fraction(30))
    parser.add_argument("--link", type=float, help="bits a second of the network; without it: no limit")
    parser.add_argument("--old", action="store_true", help="aiortc's own limits")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.old:
        webrtc.FIRST, webrtc.MOST = vpx.DEFAULT_BITRATE, vpx.MAX_BITRATE
    if asked.link:
        slow(asked.link)
    names = ("mien", "aiortc", "av", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    link = f"a network of {asked.link / 1e6:g} Mbit/s" if asked.link else "its own network"
    most = f"{webrtc.FIRST / 1e6:g} Mbit/s at first and {webrtc.MOST / 1e6:g} at most"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        clip = camera(asked.target, Path(folder), asked.rate)
        source = shutil.copy(asked.source, folder)
        models = Path(os.environ.get("MIEN_HOME", Path.home() / ".cache" / "mien")) / "models"
        home = Path(folder) / "home"
        home.mkdir()
        (home / "models").symlink_to(models, target_is_directory=True)
        sent, port = Sent(), serve(home, [Path(folder)])
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(PEERS)
        address = f"http://127.0.0.1:{port}"
        body = {
            "feed": {"input": str(clip), "loop": True, "clock": True},
            "cast": [{"sources": [str(source)]}],
            "settings": {"device": {"threads": 2}},
        }
        made = page.request.post(f"{address}/api/live", data=body, headers={"Origin": address})
        assert made.ok, made.text()
        page.goto(address)
        page.get_by_role("button", name="Live with a camera").click()
        page.get_by_role("button", name="Watch it").click()
        load = os.getloadavg()[0]
        lines = watch(page, sent, asked.seconds)
        page.request.delete(f"{address}/api/live", headers={"Origin": address})
        browser.close()
    head = (
        f"{date.today()}  {platform.machine()}, {os.cpu_count()} processors, Python"
        f" {platform.python_version()}, {versions}\n{asked.target.name} as 1280x720 at"
        f" {float(asked.rate):g} fps, mesh, VP8 to Chromium on the same machine over {link}, {most};"
        f" load before {load:.2f}"
    )
    text = "\n".join([head, *(f"    {line}" for line in lines)])
    print(text, flush=True)
    with asked.output.open("a") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    main()
