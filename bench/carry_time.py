"""What `swap.every` saves: the whole pipeline on stand-ins of full size, the steps taking turns.

    python bench/carry_time.py FOLDER --target CLIP --source PICTURE [--frames 40] [--rounds 2]

FOLDER is a home with the default models and stand-ins, as bench/pipeline.py makes it. A line: milliseconds a
frame from decode to encode without the start, then stage by stage. The weights are made up, the cost is real;
so is the share of faces that flow cannot carry, which depends on the clip alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

CODE = "import sys; from mien.app.cli import main; sys.exit(main())"
CHAIN = ("--swap.model", "inswapper_128", "--enhance.model", "gfpgan_1.4")
STEPS = (1, 2, 3, 4)


def report(given: argparse.Namespace, every: int, frames: int) -> dict[str, Any]:
    """The bench's own report."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-c", CODE, "bench", "--standins", "--frames", str(frames)]
        command += ["--target", str(given.target), "--source", str(given.source), "-o", str(path)]
        command += [*CHAIN, "--swap.every", str(every)]
        environment = os.environ | {"MIEN_HOME": str(given.folder)}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    libraries = ", ".join(f"{n} {version(n)}" for n in ("mien", "av", "numpy", "openvino"))
    print(f"{time.strftime('%Y-%m-%d')}  {platform.machine()}, {os.cpu_count()} processors, {libraries}")
    print(f"{given.target.name}, {given.frames} frames; {' '.join(CHAIN)}; stand-ins of full size")
    for number in range(given.rounds):
        for every in STEPS:
            found = report(given, every, given.frames)
            wall = found["pace"]["steady_ms"] or found["wall_ms_per_frame"]
            rows = ", ".join(f"{row['name']} {row['ms_per_frame']:.1f}" for row in found["rows"])
            print(
                f"round {number + 1}  every {every}  {wall:7.1f} ms/frame  ({rows})  (stand-ins)", flush=True
            )


if __name__ == "__main__":
    main()
