"""Milliseconds of crop, thumbnail and paste on one thread: one face in a 1080p yuv420p frame.

python bench/paste.py [--repeat 60] [--output bench/results/paste.txt]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mien.images import cpu
from mien.images.geometry import rotation_scale
from mien.types import Colour, Frame, Layout

SIDE = 400
LAYOUTS = (
    Layout("yuv420p", "yuv", 8, ((0,), (1,), (2,)), (1, 1)),
    Layout("yuv420p10le", "yuv", 10, ((0,), (1,), (2,)), (1, 1)),
    Layout("yuv444p", "yuv", 8, ((0,), (1,), (2,))),
    Layout("nv12", "yuv", 8, ((0,), (1, 2)), (1, 1)),
    Layout("rgb24", "rgb", 8, ((0, 1, 2),)),
)


def milliseconds(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Least and median time of a call."""
    for _ in range(5):
        work()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return min(times), float(np.median(times))


def frame_of(layout: Layout) -> Frame:
    """A 1080p frame of soft noise."""
    rng = np.random.default_rng(0)
    planes = []
    for k in range(len(layout.planes)):
        shape = layout.plane_shape(k, 1920, 1080)
        planes.append(
            rng.integers(40 << (layout.depth - 8), 200 << (layout.depth - 8), shape).astype(layout.dtype)
        )
    return Frame(tuple(planes), layout, Colour(), 0, 0, np.eye(2, 3))


def processor() -> str:
    """The processor's name, as far as it is told."""
    info = Path("/proc/cpuinfo")
    names = [r for r in info.read_text().splitlines() if r.startswith("model name")] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.processor() or platform.machine()


def report(repeat: int) -> list[str]:
    """The table, as lines."""
    at = np.arange(SIDE) + 0.5 - SIDE / 2
    mask = np.clip((190 - np.hypot(at[:, None], at[None])) / 20, 0, 1).astype(np.float32)
    rows = [
        f"{processor()}, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, OpenCV {cv2.__version__}, one thread",
        f"1920x1080, face crop {SIDE} px, rolled 0.2 rad, round mask; ms, least / median of {repeat}",
        "",
        f"{'layout':14s}{'face px':>8s}  {'crop':>14s}  {'paste':>14s}  {'thumbnail 384':>14s}",
    ]
    for layout in LAYOUTS:
        frame = frame_of(layout)
        small = milliseconds(lambda f=frame: cpu.thumbnail(f, (384, 216)), repeat)
        for face in (267, 400, 500) if layout.name == "yuv420p" else (400,):
            a = rotation_scale(0.2, SIDE / face, (960, 540), (SIDE / 2, SIDE / 2))
            rgb = cpu.crop(frame, a, (SIDE, SIDE))
            cut = milliseconds(lambda f=frame, m=a: cpu.crop(f, m, (SIDE, SIDE)), repeat)
            put = milliseconds(lambda f=frame, m=a, c=rgb: cpu.paste(f, c, mask, m), repeat)
            cells = "".join(f"  {least:6.2f} /{median:6.2f}" for least, median in (cut, put, small))
            rows.append(f"{layout.name:14s}{face:8d}{cells}")
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=60)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    # One large block given back: glibc then keeps freed memory instead of returning it page by page,
    # as it does in any process that has held a few frames.
    np.empty(31 << 20, np.uint8)
    text = "\n".join(report(args.repeat))
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
