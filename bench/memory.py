"""Peak memory of `mien swap` on a clip and on the same clip played many times over.

    python bench/memory.py SOURCE TARGET --times 3 30

The target is lengthened by stream copy; each run is a process of its own, in a job folder of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import av


def lengthen(source: Path, times: int, output: Path) -> float:
    """Write the video stream of a clip several times in a row; returns its length in seconds."""
    with av.open(source) as reader, av.open(output, "w") as writer:
        seen = reader.streams.video[0]
        packets = [p for p in reader.demux(seen) if p.dts is not None and p.pts is not None]
        out = writer.add_stream_from_template(seen)
        out.time_base = seen.time_base
        first = min(p.pts for p in packets if p.pts is not None)
        last = max((p.pts or 0) + (p.duration or 0) for p in packets)
        data = [(bytes(p), p.pts or 0, p.dts or 0, p.is_keyframe) for p in packets]
        for k in range(times):
            for content, pts, dts, key in data:
                packet = av.Packet(content)
                packet.pts, packet.dts = pts + k * (last - first), dts + k * (last - first)
                packet.time_base, packet.is_keyframe, packet.stream = seen.time_base, key, out
                writer.mux(packet)
        return float((last - first) * times * (seen.time_base or 0))


def peak(source: Path, target: Path, place: Path) -> tuple[float, float]:
    """Peak resident memory in MB and wall seconds of a swap; in a child, so that runs do not mix."""
    command = [sys.executable, "-m", "mien.app.cli", "swap", "--source", str(source), "--target", str(target)]
    command += ["--output", str(place / "out.mp4"), "--job", str(place / "job"), "--json"]
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"mien swap failed on {target}")
    return resource_mb(usage), time.perf_counter() - began


def resource_mb(usage: resource.struct_rusage) -> float:
    """Peak resident memory of a finished process in MB."""
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--times", type=int, nargs="+", default=[1])
    given = parser.parse_args()
    names = ("mien", "av", "numpy", "opencv-python-headless", "openvino")
    machine = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    print(
        f"{time.strftime('%Y-%m-%d')}  {machine}, {', '.join(f'{n} {version(n)}' for n in names)}", flush=True
    )
    for times in given.times:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            seconds = lengthen(given.target, times, place / "long.mp4")
            memory, wall = peak(given.source, place / "long.mp4", place)
        print(
            f"{given.target.name} x {times}: {seconds:7.1f} s, peak {memory:7.1f} MB, {wall:7.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
