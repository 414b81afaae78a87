"""How far torch's results are from ONNX Runtime's, and how long both take, in float32 on the processor.

The networks are stand-ins: the layers and the cost of published ones, with made-up weights. Each is mended as
for any engine. Errors are the largest difference of an output as a share of its largest value. Times are the
least of several runs, both engines taking turns.

    python bench/torch_parity.py FOLDER [NAMES ...] [--threads 2] [--precision f32] [--device cpu] [--runs 3]

FOLDER holds NAME.onnx of cards; stand-ins that the package has are written there where they are absent.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mien.bench import standins
from mien.models import mend
from mien.models.card import Card, File
from mien.models.catalogue import Catalogue
from mien.models.choice import deviation
from mien.models.engine import Call, Candidate, Network
from mien.models.engine_onnxruntime import Evaluator, OnnxRuntime
from mien.models.engine_torch import TorchEngine
from mien.types import Array

ROW = "{:<28} {:>8} {:>10} {:>10} {:>10} {:>7}"


def inputs(engine: OnnxRuntime) -> dict[str, Array]:
    """One row of random numbers for each input, in [0, 1) for pictures."""
    rng = np.random.default_rng(0)
    found: dict[str, Array] = {}
    for name, port in engine.inputs.items():
        shape = [1 if k == 0 and n < 0 else n for k, n in enumerate(port.shape)]
        values = rng.random(shape) if len(shape) > 3 else rng.standard_normal(shape)
        found[name] = values.astype(port.dtype)
    return found


def least(calls: list[Call], given: Mapping[str, Array], runs: int) -> list[float]:
    """Least milliseconds of each, taking turns, after one run."""
    for call in calls:
        call(given)
    best = [float("inf")] * len(calls)
    for _ in range(runs):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call(given)
            best[k] = min(best[k], (time.perf_counter() - start) * 1e3)
    return best


def card_of(name: str) -> Card:
    """A card with the stand-in's file in place of its own."""
    known = Catalogue().card(name)
    return replace(known, files=(File(f"{name}.onnx"), *known.files[1:]))


def measure(name: str, path: Path, asked: argparse.Namespace, kept: Path) -> None:
    """Print a line for each part of a network."""
    card = card_of(name)
    evaluate = Evaluator(asked.threads)
    graph = mend.mended(card, path, kept, evaluate)
    del evaluate
    for file in filter(None, (graph.network, graph.source)):
        made = Network(
            card.name, file, "", card.inputs, card.outputs, asked.threads, kept, graph.batched, asked.device
        )
        reference = OnnxRuntime(made, Candidate("onnxruntime", "f32"))
        start = time.perf_counter()
        engine = TorchEngine(made, Candidate("torch", asked.precision))
        call = engine.prepare(1)
        load = time.perf_counter() - start
        given = inputs(reference)
        calls = [reference.prepare(1), call]
        apart = deviation(calls[1](given), calls[0](given))
        ort, torch = least(calls, given, asked.runs)
        part = name if file == graph.network else f"{name} (identity)"
        row = (part, f"{apart:.1e}", f"{ort:.1f}", f"{torch:.1f}", f"{load:.2f}", f"{ort / torch:.2f}")
        print(ROW.format(*row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="f32", choices=("f32", "f16", "bf16"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "numpy"))
    print(f"{libraries}; Python {platform.python_version()}; {platform.machine()}; {asked.threads} threads")
    print(
        f"torch in {asked.precision} on {asked.device}; ONNX Runtime in f32 on the processor; made-up weights"
    )
    print(ROW.format("network", "error", "ort ms", "torch ms", "load s", "ratio"), flush=True)
    with tempfile.TemporaryDirectory() as kept:
        for name in asked.names or standins.NAMES:
            path = asked.folder / f"{name}.onnx"
            measure(name, path if path.is_file() else standins.write(name, asked.folder), asked, Path(kept))


if __name__ == "__main__":
    main()
