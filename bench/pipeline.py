"""What a frame costs in the whole pipeline, over ONNX Runtime's time of the same networks in float32.

Each round measures the networks alone, then `mien bench --standins` on the clip, then the networks again,
every time in a process of its own; a ratio compares what lay side by side. Beside it stands how fast a plain
product of matrices runs in bfloat16 and in float32 at that moment: virtual machines share their matrix units,
and where a neighbour is busy the unit gives a third and float32 loses nothing. The summary tells the rounds
in which the unit was free from all rounds.

All networks are stand-ins of full size: made-up weights, real cost. What was measured is kept in FOLDER: a
stopped run goes on where it was.

    python bench/pipeline.py FOLDER [--target CLIP] [--source PICTURE] [--frames 60] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mien.bench import standins
from mien.models import engines
from mien.models.store import default_home

CHAINS: dict[str, tuple[list[str], list[str], float]] = {
    "inswapper_128": (["inswapper_128"], [], 0.25),
    "inswapper_128 + gfpgan_1.4": (["inswapper_128", "gfpgan_1.4"], ["--enhance.model", "gfpgan_1.4"], 0.25),
    "hyperswap_1a_256": (["hyperswap_1a_256"], [], 0.35),
}
"""Name to networks, the first of them the swapper, further options, and the ratio to reach."""
WARM = 12
"""Frames of the run before the first round, which measures engines and fills caches."""
RESULTS = Path(__file__).parent / "results" / "pipeline.txt"

ALONE = """
import json, statistics, sys, time
import numpy as np
import onnxruntime as ort

threads, calls = int(sys.argv[1]), int(sys.argv[2])
out = {}
for path in sys.argv[3:]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    given = {port.name: random.random(port.shape, np.float32) for port in session.get_inputs()}
    session.run(None, given)
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        session.run(None, given)
        taken.append(1000 * (time.perf_counter() - began))
    out[path] = statistics.median(taken)
    del session
print(json.dumps(out))
"""

UNIT = """
import json, sys, time
import numpy as np
import openvino as ov
from openvino import opset13 as op

side, rates = 2048, {}
given = np.random.default_rng(0).random((side, side), np.float32)
for precision in ("f32", "bf16"):
    one = op.parameter([side, side], np.float32)
    model = ov.Model([op.matmul(one, op.constant(given), False, False)], [one])
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": int(sys.argv[1])}
    options |= {"NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    taken, began = [], time.perf_counter()
    while time.perf_counter() - began < 1.0:
        start = time.perf_counter()
        request.infer([given])
        taken.append(time.perf_counter() - start)
    rates[precision] = 2e-9 * side**3 / sorted(taken)[len(taken) // 2]
print(json.dumps(rates))
"""
FREE = 4.0
"""From how many times the float32 rate on the matrix unit counts as free."""


def unit(threads: int) -> dict[str, float]:
    """Precision to GFLOP/s of a product of matrices."""
    command = [sys.executable, "-c", UNIT, str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rates: dict[str, float] = json.loads(done.stdout)
    return rates


def alone(names: list[str], models: Path, threads: int, calls: int) -> dict[str, float]:
    """Network to milliseconds of a call with one face in ONNX Runtime."""
    paths = {str(models / f"{name}.onnx"): name for name in names}
    command = [sys.executable, "-c", ALONE, str(threads), str(calls), *paths]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {paths[path]: ms for path, ms in json.loads(done.stdout).items()}


def whole(given: argparse.Namespace, chain: str, frames: int) -> dict[str, Any]:
    """The report of one run of the pipeline, with the process's own peak memory."""
    names, options, _ = CHAINS[chain]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, "-m", "mien.app.cli", "bench", "--standins", "--json", "-o", str(output)]
        command += ["--frames", str(frames), "--swap.model", names[0], *options]
        command += ["--device.threads", str(given.threads)]
        command += ["--target", str(given.target)] if given.target else []
        command += ["--source", str(given.source)] if given.source else []
        env = {**os.environ, "MIEN_HOME": str(given.folder)}
        with (Path(folder) / "said").open("w+") as said:
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=env)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            if child.returncode:
                raise RuntimeError(said.read().strip()[-500:] or f"ended with {child.returncode}")
        report: dict[str, Any] = json.loads(output.read_text())
    report["process_peak_mb"] = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return report


def measured(given: argparse.Namespace, chain: str) -> dict[str, Any]:
    """One round of one chain."""
    names, models = CHAINS[chain][0], given.folder / "standins" / "models"
    before = alone(names, models, given.threads, given.calls)
    units = [unit(given.threads)]
    report = whole(given, chain, given.frames)
    units.append(unit(given.threads))
    after = alone(names, models, given.threads, given.calls)
    networks = {name: (before[name] + after[name]) / 2 for name in names}
    wall, reference = report["pace"]["steady_ms"] or report["wall_ms_per_frame"], sum(networks.values())
    return {
        "networks_alone_ms": {name: [round(before[name], 1), round(after[name], 1)] for name in names},
        "units": units,
        "wall_ms": wall,
        "whole_ms": report["wall_ms_per_frame"],
        "startup_s": report["pace"]["startup"],
        "ratio": wall / reference,
        "networks_ms": report["networks_ms_per_frame"],
        "over_networks": report["wall_over_networks"],
        "peak_mb": report["process_peak_mb"],
        "cpu_percent": report["cpu_percent"],
        "engines": {net["card"]: net["engine"] for net in report["networks"]},
        "rows": {row["name"]: row["ms_per_frame"] for row in report["rows"]},
        "frames": report["frames"],
        "faces": report["faces"],
        "clip": report["clip"],
    }


def line(number: int, chain: str, row: dict[str, Any]) -> str:
    """One round of one chain as text."""

    def rate(precision: str) -> str:
        return "/".join(f"{one[precision]:.0f}" for one in row["units"])

    networks = ", ".join(f"{n} {a:.0f}/{b:.0f}" for n, (a, b) in row["networks_alone_ms"].items())
    return (
        f"round {number + 1}  {chain:<27} alone before/after: {networks} ms | "
        f"pipeline {row['wall_ms']:7.1f} ms/frame "
        f"(with start-up {row['whole_ms']:.1f}; {row['startup_s']:.1f} s) | ratio {row['ratio']:.3f} | "
        f"own networks {row['networks_ms']:.1f} ms, wall over them {row['over_networks']:.3f} | "
        f"peak {row['peak_mb']:.0f} MB | CPU {row['cpu_percent']:.0f} % | "
        f"matrices {rate('bf16')} GFLOP/s bf16, {rate('f32')} f32  (stand-ins)"
    )


def summary(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Medians of every chain, the stages of its last round, and the engines."""
    for chain, (_, _, goal) in CHAINS.items():
        mine = [row for key, row in rows.items() if key.startswith(f"{chain}#")]
        if not mine:
            yield f"{chain}: not measured"
            continue
        free = [row for row in mine if all(u["bf16"] >= FREE * u["f32"] for u in row["units"])]
        for some, which in ((mine, "rounds"), (free, "rounds with a free matrix unit")):
            if not some:
                yield f"{chain}: no {which}"
                continue
            ratio, over, peak = (
                statistics.median(r[k] for r in some) for k in ("ratio", "over_networks", "peak_mb")
            )
            yield (
                f"{chain}: median of {len(some)} {which}: ratio {ratio:.3f} (to reach: {goal}), "
                f"wall over own networks {over:.3f} (1.12), peak {peak:.0f} MB (2500)  (stand-ins)"
            )
        last = mine[-1]
        yield (
            "    "
            + ", ".join(f"{name} {ms:.1f}" for name, ms in last["rows"].items())
            + " ms/frame (stand-ins)"
        )
        yield "    " + ", ".join(f"{card}: {engine}" for card, engine in last["engines"].items())


def heading(given: argparse.Namespace) -> str:
    """Date, machine, versions and what is measured."""
    names = ("mien", "av", "numpy", "opencv-python-headless", "onnxruntime", "openvino")
    found = engines.machine()
    machine = (
        f"{platform.machine()}, {found.processor}, {os.cpu_count()} processors, {' '.join(found.precisions)}"
    )
    return (
        f"{time.strftime('%Y-%m-%d')}  {machine}, Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in names)}\n"
        f"{given.target.name if given.target else 'generated clip, 1080p, one face'}, {given.frames} frames, "
        f"{given.threads} threads, load before {os.getloadavg()[0]:.2f}; "
        "all networks are stand-ins of full size (made-up weights, real cost); "
        f"alone: ONNX Runtime float32, one face, median of {given.calls} calls"
    )


def prepare(given: argparse.Namespace) -> None:
    """Stand-ins of every network, and the models that this machine has already."""
    given.folder = given.folder.expanduser().absolute()
    models, own = given.folder / "models", default_home() / "models"
    models.mkdir(parents=True, exist_ok=True)
    for path in own.iterdir() if own.is_dir() else ():
        target = models / path.name
        if path.is_file() and not target.exists() and path.stat().st_size < 1e8:
            target.symlink_to(path.resolve())
    place = given.folder / "standins" / "models"
    place.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(name for names, _, _ in CHAINS.values() for name in names):
        print(f"stand-in {standins.write(name, place).name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where stand-ins, caches and results are kept")
    parser.add_argument("--target", type=Path, help="a clip; none: one is generated")
    parser.add_argument("--source", type=Path, help="a picture of a face; none: a demo portrait")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, default=3, help="of each network alone, before and after")
    parser.add_argument("--only", nargs="+", choices=list(CHAINS), default=list(CHAINS))
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs measured")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare(given)
    head = heading(given)
    print(head, flush=True)
    kept = given.folder / "pipeline.json"
    mark = f"{given.target} {given.source} {given.frames} {given.threads} {given.calls} {version('mien')}"
    state: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() and not given.fresh else {}
    rows: dict[str, dict[str, Any]] = state["rows"] if state.get("mark") == mark else {}
    lines: list[str] = []
    for number in range(given.rounds):
        for chain in given.only:
            key = f"{chain}#{number}"
            try:
                if key not in rows:
                    if number == 0:
                        whole(given, chain, WARM)
                    rows[key] = measured(given, chain)
                    part = kept.with_suffix(".part")
                    part.write_text(json.dumps({"mark": mark, "rows": rows}))
                    part.replace(kept)
                lines.append(line(number, chain, rows[key]))
            except (RuntimeError, subprocess.CalledProcessError) as error:
                lines.append(f"round {number + 1}  {chain:<27} failed: {error}")
            print(lines[-1], flush=True)
    lines += summary(rows)
    given.output.write_text("\n".join([head, *lines]) + "\n")
    print("\n".join(summary(rows)))


if __name__ == "__main__":
    main()
