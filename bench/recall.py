"""Recall and false alarms of the default detector on real pictures, and what a look costs.

Run from the repository's root: python -m bench.recall PICTURES [--threads N] > bench/results/recall.txt
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tests.models.recall import compare, load, truth

from mien.models import detect, landmark
from mien.models.runtime import Runtime
from mien.settings import Detect
from mien.types import Colour, Frame, Layout

YUV420P = Layout("yuv420p", "yuv", 8, ((0,), (1,), (2,)), (1, 1))


def milliseconds(call: Callable[[], object], times: int = 9) -> str:
    """Median wall time and median processor time (all threads) of a call, after one that is not counted."""
    call()
    took = []
    for _ in range(times):
        wall, busy = time.perf_counter(), time.process_time()
        call()
        took.append((time.perf_counter() - wall, time.process_time() - busy))
    wall, busy = (statistics.median(part) * 1000 for part in zip(*took, strict=True))
    return f"{wall:7.1f} ms, processor {busy:7.1f} ms"


def as_1080p(path: Path) -> Frame:
    """A picture enlarged to a 1080p frame in the usual pixel format."""
    with Image.open(path) as image:
        ycc = image.convert("RGB").resize((1920, 1080), Image.Resampling.LANCZOS).convert("YCbCr")
    y, cb, cr = ycc.split()
    halves = [part.resize((960, 540), Image.Resampling.BOX) for part in (cb, cr)]
    colour = Colour("bt601", full_range=True)
    return Frame(
        tuple(map(np.array, (y, *halves))), YUV420P, colour, 0, 0, np.array([[1.0, 0, 0], [0, 1, 0]])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    settings = Detect()
    with Runtime(chosen.threads) as runtime:
        print(f"{'picture':34} {'size':>11} {'faces':>6} {'px high':>9} {'found':>6} {'false':>6}")
        rows = []
        for name, boxes in truth().items():
            frame = load(chosen.pictures / name)
            row = compare(name, boxes, detect.find(runtime, frame, settings))
            rows.append(row)
            size = "x".join(map(str, frame.size))
            high = f"{min(row.sizes):.0f}-{max(row.sizes):.0f}" if row.sizes else "-"
            print(f"{name:34} {size:>11} {row.faces:6} {high:>9} {row.found:6} {row.false:6}")
        faces, found, false = (sum(getattr(r, k) for r in rows) for k in ("faces", "found", "false"))
        print(f"{'all':34} {'':11} {faces:6} {'':9} {found:6} {false:6}   recall {found / faces:.3f}")
        print(f"\n1080p yuv420p, {chosen.threads} threads, load {os.getloadavg()[0]:.1f}, {runtime.engines}")
        frame = as_1080p(chosen.pictures / "l13_two_men_handshake.jpg")
        network = runtime.catalogue.card(settings.model)
        scales = detect.levels(network, frame.size, settings.min_size)
        level = detect.windows(network, frame.size, settings)[:, 0]
        for depth in range(1, len(scales) + 1):
            rows = np.flatnonzero(level < depth)
            took = milliseconds(lambda r=rows: detect.find(runtime, frame, settings, rows=r))
            count = len(detect.find(runtime, frame, settings, rows=rows))
            print(
                f"find, depth {depth}, {count} faces, scales {[round(s, 3) for s in scales[:depth]]}: {took}"
            )
        for count in (1, 4):
            rois = landmark.roi(np.full((count, 2), 500.0), np.full(count, 400.0), np.zeros(count))
            took = milliseconds(lambda r=rois: landmark.landmarks(runtime, frame, r))
            print(f"landmarks, {count} face(s): {took}")


if __name__ == "__main__":
    main()
