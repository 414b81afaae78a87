"""Frame rate and delay of a live run, measured at the far end of a stream by the clock in the picture.

Each round plays a 720p clip as a camera would send it (Motion JPEG, at its rate, over and over) through
`mien live` with the mesh swapper on two threads, and out as H.264 over UDP. Another process receives and
decodes the stream and reads from every frame when it came in: what is measured is capture to decoded picture,
network and both codecs included. The receiver runs on the same processors, and costs the run what it takes.

    python bench/live.py [--target CLIP] [--source PICTURE] [--seconds 20] [--rounds 3] [--rate 30]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np

from mien.images import frameclock
from mien.media.decode import views
from mien.media.layouts import LAYOUTS
from mien.run.live import Live
from mien.run.pulse import Pulse
from mien.settings import Device, Feed, Role, Settings
from mien.types import Finished

RESULTS = Path(__file__).parent / "results" / "live.txt"
PORT = 23450
SILENCE = 3.0
"""Seconds without a frame after which the stream has ended."""
SKIP = 2.0
"""Seconds at the beginning that do not count: decoder and encoder start, the face is found."""


def camera(clip: Path, folder: Path, rate: Fraction) -> Path:
    """The clip as 1280x720 Motion JPEG at a rate, without sound."""
    made = folder / f"{clip.stem}.mkv"
    with av.open(str(clip)) as given, av.open(str(made), "w") as out:
        stream = out.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuvj420p"
        stream.codec_context.qscale = True
        stream.codec_context.global_quality = 5 * 118
        for number, frame in enumerate(given.decode(video=0)):
            picture = frame.reformat(1280, 720, "yuvj420p", threads=1)
            picture.pts, picture.time_base = number, 1 / rate
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return made


def receive(port: int) -> None:
    """Print when every frame came and its age in ms, until nothing comes any more."""
    url = f"udp://127.0.0.1:{port}?fifo_size=100000&overrun_nonfatal=1"
    asked = {"fflags": "nobuffer", "analyzeduration": "500000"}
    with contextlib.suppress(av.FFmpegError, OSError), av.open(url, options=asked, timeout=(60, 4)) as stream:
        stream.streams.video[0].codec_context.thread_type = "SLICE"
        for packet in stream.demux(video=0):
            frames = []
            with contextlib.suppress(av.FFmpegError):  # what comes before the first key frame
                frames = packet.decode()
            for frame in frames:
                now = time.monotonic()
                value = frameclock.read(views(frame, LAYOUTS[frame.format.name])[0])
                age = f"{now * 1e3 - value / 1e3:.3f}" if value is not None else "nan"
                print(f"{now:.6f} {age}", flush=True)


def measured(clip: Path, source: Path, seconds: float, port: int) -> list[str]:
    """One round, as lines."""
    far = subprocess.Popen(
        [sys.executable, __file__, "--receive", str(port)], stdout=subprocess.PIPE, text=True
    )
    feed = Feed(input=str(clip), loop=True, clock=True)
    settings = Settings(device=Device(threads=2))
    run = Live(feed, [Role(sources=(source,))], settings, [f"udp://127.0.0.1:{port}"])
    last: Pulse | None = None
    ended: Finished | None = None
    before, spent = os.getloadavg()[0], time.process_time()
    for event in run.events():
        if isinstance(event, Pulse):
            last = event
            if event.seconds >= seconds + SKIP:
                run.stop()
        elif isinstance(event, Finished):
            ended = event
    spent = time.process_time() - spent
    rows = np.array([[float(x) for x in line.split()] for line in far.communicate()[0].splitlines()])
    assert last is not None
    assert ended is not None
    assert len(rows), "nothing was received"
    # The last frames come out when the receiver gives up waiting for more.
    rows = rows[: int(np.append(np.flatnonzero(np.diff(rows[:, 0]) > SILENCE), len(rows) - 1)[0]) + 1]
    seen = rows[rows[:, 0] >= rows[0, 0] + SKIP]
    ages, unread = seen[~np.isnan(seen[:, 1]), 1], int(np.isnan(seen[:, 1]).sum())
    gaps = np.diff(seen[:, 0]) * 1e3
    fps = (len(seen) - 1) / (seen[-1, 0] - seen[0, 0])
    half, high, most = np.percentile(ages, (50, 95, 100))
    stages = ", ".join(f"{name} {row['ms_per_frame']:.1f}" for name, row in ended.stages.items())
    return [
        f"received {len(seen)} frames in {seen[-1, 0] - seen[0, 0]:.1f} s: {fps:.2f} fps"
        f" | delay capture to decoded: median {half:.1f}, 95 % {high:.1f}, most {most:.1f} ms"
        f" | gap between frames: median {np.median(gaps):.1f}, most {gaps.max():.1f} ms"
        f" | captured {last.captured}, made {last.made}, dropped {last.dropped}; clock unread in {unread}"
        f" | load before {before:.2f}, nice {os.nice(0)}",
        f"    inside: faces ready after {last.delay.median} ms (95 % {last.delay.most});"
        f" processor time with start and both codecs {spent * 1e3 / ended.frames:.1f} ms/frame;"
        f" ms/frame: {stages}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    media = Path(__file__).resolve().parents[2] / "shared" / "media"
    parser.add_argument("--target", type=Path, default=media / "v20_head_pose_1080p30_aac.mp4")
    parser.add_argument("--source", type=Path, default=media / "pd02_grace_hopper.jpg")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=Fraction, default=Fraction(30))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--receive", type=int)
    asked = parser.parse_args()
    if asked.receive:
        receive(asked.receive)
        return
    names = ("mien", "av", "numpy", "opencv-python-headless", "openvino")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    head = (
        f"{date.today()}  {platform.machine()}, {os.cpu_count()} processors, Python"
        f" {platform.python_version()}, {versions}\n{asked.target.name} as 1280x720 Motion JPEG at"
        f" {float(asked.rate):g} fps, mesh, 2 threads, H.264 over UDP, received on the same machine"
    )
    lines = [head]
    print(head, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        clip = camera(asked.target, Path(folder), asked.rate)
        for number in range(1, asked.rounds + 1):
            for line in measured(clip, asked.source, asked.seconds, PORT + number):
                lines.append(f"round {number}  {line}" if line[0] != " " else line)
                print(lines[-1], flush=True)
    with asked.output.open("a") as file:
        file.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
