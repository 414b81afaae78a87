"""What convolutions of 3 x 3 take by minimal filtering, over what they take as they are.

Each row is two convolutions, there and back between two numbers of channels, in OpenVINO: plain and with
F(m x m, 3 x 3), run in turns. From these ratios come the limits in `mien.models.winograd.PAYS`. The weights
are random: only time is looked at, and how far the mean over the channels is from that in float32.

    python bench/winograd.py [--threads 2] [--runs 7]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from datetime import date
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op

from mien.models import winograd
from mien.models.engine import Precision
from mien.types import Float32

RESULTS = Path(__file__).parent / "results" / "winograd.txt"
SIZES: dict[Precision, tuple[tuple[int, int, int, int], ...]] = {
    "bf16": (
        (1024, 1024, 32, 2),
        (1024, 1024, 16, 2),
        (1024, 1024, 8, 2),
        (1024, 512, 32, 2),
        (512, 512, 64, 2),
        (512, 512, 32, 2),
        (512, 512, 16, 2),
        (512, 256, 64, 2),
        (256, 256, 128, 2),
        (256, 256, 32, 2),
        (128, 128, 128, 2),
    ),
    "f32": (
        (1024, 1024, 32, 2),
        (1024, 1024, 32, 4),
        (1024, 1024, 16, 2),
        (512, 512, 64, 4),
        (512, 512, 32, 4),
        (512, 512, 16, 4),
        (512, 512, 8, 4),
        (256, 256, 128, 4),
        (256, 256, 64, 2),
        (256, 256, 64, 4),
        (256, 256, 16, 4),
        (128, 128, 128, 4),
        (128, 128, 64, 4),
        (64, 64, 256, 4),
    ),
}
"""Precision to channels, channels, rows and columns, and m."""


def model(weights: list[Float32], side: int, m: int) -> ov.Model:
    """The convolutions one after the other; m is 0 for plain ones."""
    x = op.parameter([1, weights[0].shape[1], side, side], np.float32)
    y = op.relu(x)
    for w in weights:
        if m:
            y = op.relu(winograd.convolution(y, m, w, (1, 1), (side, side), (side, side)))
        else:
            y = op.relu(op.convolution(y, w, [1, 1], [1, 1], [1, 1], [1, 1]))
    return ov.Model([op.reduce_mean(y, np.array([1]), True)], [x])


def row(precision: Precision, size: tuple[int, int, int, int], threads: int, runs: int) -> str:
    """One size, plain and not, in turns."""
    one, other, side, m = size
    rng = np.random.default_rng(0)
    shapes = ((other, one, 3, 3), (one, other, 3, 3))
    weights = [(rng.standard_normal(s) / np.sqrt(4.5 * s[1])).astype(np.float32) for s in shapes]
    x = rng.standard_normal((1, one, side, side)).astype(np.float32)
    exact = ov.Core().compile_model(model(weights, side, 0), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = exact([x])[0].copy()
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    options |= {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    requests = [
        ov.Core().compile_model(model(weights, side, k), "CPU", options).create_infer_request()
        for k in (0, m)
    ]
    taken: list[list[float]] = [[], []]
    for number in range(runs + 1):
        for request, kept in zip(requests, taken, strict=True):
            begun = time.perf_counter()
            request.infer([x])
            if number:
                kept.append((time.perf_counter() - begun) * 1e3 / len(weights))
    errors = [np.linalg.norm(r.get_output_tensor(0).data - wanted) / np.linalg.norm(wanted) for r in requests]
    plain, quick = (statistics.median(t) for t in taken)
    ratio = statistics.median(b / a for a, b in zip(*taken, strict=True))
    return (
        f"{precision:>4}  {one:4} to {other:4} channels, {side:3} x {side:3}, m = {m}: plain {plain:6.1f} ms,"
        f" filtering {quick:6.1f} ms, ratio {ratio:.2f}; relative error {errors[0]:.1e} and {errors[1]:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    core = ov.Core()
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    lines = [
        f"{date.today()}  {platform.machine()}, {core.get_property('CPU', 'FULL_DEVICE_NAME')}, "
        f"{os.cpu_count()} processors, {' '.join(sorted(has))}, Python {platform.python_version()}, "
        f"openvino {ov.__version__}, {given.threads} threads, medians of {given.runs}"
    ]
    print(lines[0])
    for precision, sizes in SIZES.items():
        if {"f32": "FP32", "bf16": "BF16"}[precision] not in has:
            continue
        for size in sizes:
            lines.append(row(precision, size, given.threads, given.runs))
            print(lines[-1], flush=True)
    given.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
