"""What a swap costs beside the transcode that any change of a video needs.

Runs `mien swap` (mesh) and a plain PyAV transcode with the same encoder settings alternately, each in a
process of its own, and prints wall and CPU seconds of every run and their ratios.

    python bench/overhead.py SOURCE TARGET [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

TRANSCODE = """
import sys
import av
from mien.media.clip import index, probe
from mien.media.plan import plan
from mien.settings import Encode
from pathlib import Path

source, output = Path(sys.argv[1]), Path(sys.argv[2])
clip = probe(source)
made = plan(clip, index(clip), Encode(), output)
with av.open(source) as reader, av.open(output, "w") as writer:
    seen = reader.streams.video[0]
    seen.thread_type = "AUTO"
    out = writer.add_stream(made.encoder, rate=made.rate, options=dict(made.options))
    out.width, out.height, out.pix_fmt = made.width, made.height, made.pix_fmt
    out.codec_context.time_base = seen.time_base
    out.codec_context.gop_size = made.gop
    out.codec_context.thread_count = made.threads
    copies = {s.index: writer.add_stream_from_template(s) for s in reader.streams.audio}
    for packet in reader.demux():
        if packet.stream.index == seen.index:
            for frame in packet.decode():
                frame.pict_type = 0
                writer.mux(out.encode(frame))
        elif packet.stream.index in copies and packet.dts is not None:
            packet.stream = copies[packet.stream.index]
            writer.mux(packet)
    writer.mux(out.encode(None))
"""


def run(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds and CPU seconds of a process, and the most memory any process took so far, in MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss / 1024


def swap(source: Path, target: Path, place: Path) -> list[str]:
    """The command that a user would type, in a job folder of its own, so that nothing is reused."""
    begin = [sys.executable, "-m", "mien.app.cli", "swap", "--source", str(source), "--target", str(target)]
    return [*begin, "--output", str(place / "swapped.mp4"), "--job", str(place / "job"), "--json"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    names = ("mien", "av", "numpy", "opencv-python-headless", "openvino")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    machine = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    print(f"{time.strftime('%Y-%m-%d')}  {machine}, {libraries}")
    print(f"{given.target.name}: load before {os.getloadavg()[0]:.2f}")
    subprocess.run([sys.executable, "-m", "mien.app.cli", "models"], check=True, stdout=subprocess.DEVNULL)
    ratios: list[tuple[float, float]] = []
    for number in range(given.runs):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            plain = run([sys.executable, "-c", TRANSCODE, str(given.target), str(place / "plain.mp4")])
            swapped = run(swap(given.source, given.target, place))
        ratios.append((swapped[0] / plain[0], swapped[1] / plain[1]))
        print(
            f"run {number + 1}: transcode {plain[0]:6.2f} s wall {plain[1]:6.2f} s CPU | "
            f"swap {swapped[0]:6.2f} s wall {swapped[1]:6.2f} s CPU {swapped[2]:5.0f} MB | "
            f"ratio {ratios[-1][0]:.3f} wall {ratios[-1][1]:.3f} CPU",
            flush=True,
        )
    wall, cpu = (statistics.median(r[k] for r in ratios) for k in (0, 1))
    print(f"median ratio: {wall:.3f} wall, {cpu:.3f} CPU")


if __name__ == "__main__":
    main()
