"""Every engine on every stand-in of full size: milliseconds a face by batch, and the error to float32.

    python bench/gpu_engines.py FOLDER [--device cuda:0] [--seconds 240] [--names NAMES] [-o FILE]

Stand-ins have the layers and the cost of published networks, and made-up weights. `host` is a call from and
to NumPy, `device` one from and to tensors that stay on the card, by events where there is one. The error is
the largest difference of an output to ONNX Runtime in float32 on the processor, as a share of its largest
value. One JSON object a line; what an engine cannot do is a line with its reason. Begins
with the networks of the mission and ends, between two engines, when the time is up; what is missing is said.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from mien.bench import standins
from mien.errors import MienError
from mien.models import engines, mend, nvidia
from mien.models.choice import deviation
from mien.models.engine import Candidate, Network
from mien.models.engine_onnxruntime import Evaluator, OnnxRuntime
from mien.types import Array
from torch_parity import card_of, inputs

FIRST = (
    "inswapper_128",
    "gfpgan_1.4",
    "hyperswap_1a_256",
    "arcface_w600k_r50",
    "bisenet_resnet_34",
    "xseg_1",
)
BATCHES = (1, 4, 8)
TRIED = (
    Candidate("torch", "f32"),
    Candidate("torch", "f16"),
    Candidate("torch", "bf16"),
    Candidate("cuda", "f32"),
    Candidate("cuda", "f16"),
    Candidate("cuda", "f32", "nhwc"),
    Candidate("cuda", "f32", "nhwc tf32"),
    Candidate("cuda", "f16", "nhwc"),
    Candidate("cuda", "f32", "graph"),
    Candidate("tensorrt", "f16"),
)
CALLS = 5


def rows(given: Mapping[str, Array], batch: int, fixed: frozenset[str]) -> dict[str, Array]:
    """The same row several times; inputs without a batch axis as they are."""
    return {n: a if n in fixed else np.repeat(a, batch, axis=0) for n, a in given.items()}


def median(call: Callable[[], object], calls: int = CALLS) -> float:
    """Milliseconds of a call, after one that warms up."""
    call()
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - began))
    return float(np.median(taken))


def on_device(engine: Any, given: Mapping[str, Array], batch: int) -> float:
    """Milliseconds of a call from and to the engine's own device."""
    import torch

    device = torch.device(engine.device)
    tensors = {n: torch.from_numpy(np.ascontiguousarray(a)).to(device) for n, a in given.items()}
    call = engine.bind(batch)
    if device.type != "cuda":
        return median(lambda: call(tensors))
    call(tensors)
    taken = []
    for _ in range(4 * CALLS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call(tensors)
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end))
    return float(np.median(taken))


def measure(
    network: Network, candidate: Candidate, given: dict[str, Array], wanted: dict[str, Array]
) -> dict[str, Any]:
    """What one engine does with a network."""
    began = time.perf_counter()
    try:
        engine = engines.load(network, candidate)
        found = engine.prepare(1)(given)
    except MienError as error:
        return {"problem": error.problem}
    except Exception as error:  # an engine's own classes
        return {"problem": f"{type(error).__name__}: {error}"[:300]}
    result: dict[str, Any] = {
        "engine": engine.label,
        "load_s": round(time.perf_counter() - began, 2),
        "error": float(f"{deviation(found, wanted):.2g}"),
    }
    fixed = frozenset(t.name for t in network.inputs if t.optional)
    for batch in BATCHES:
        many = rows(given, batch, fixed)
        try:
            result[f"host_{batch}"] = round(median(lambda m=many, b=batch: engine.prepare(b)(m)) / batch, 3)  # type: ignore[misc]
            if getattr(engine, "device", ""):
                result[f"device_{batch}"] = round(on_device(engine, many, batch) / batch, 3)
        except Exception as error:
            result[f"problem_{batch}"] = f"{type(error).__name__}: {error}"[:300]
            break
    return result


def facts(device: str) -> dict[str, Any]:
    """Machine and versions."""
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "device": device,
        "python": platform.python_version(),
    }
    found["driver"] = [nvidia.driver().version, *nvidia.driver().cards]
    for name in ("mien", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def say(to: TextIO, **line: object) -> None:
    """One line, to the file and to be read."""
    text = json.dumps(line)
    print(text, flush=True)
    if to is not sys.stdout:
        print(text, file=to, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--names", nargs="*", default=())
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + asked.seconds
    names = list(asked.names) or [*FIRST, *(n for n in standins.NAMES if n not in FIRST)]
    missing: list[str] = []
    with ExitStack() as stack:
        kept = stack.enter_context(tempfile.TemporaryDirectory())
        to = stack.enter_context(asked.output.open("w")) if asked.output else sys.stdout
        say(to, standins="made-up weights, real layers and cost", **facts(asked.device))
        for name in names:
            if time.monotonic() > until:
                missing.append(name)
                continue
            path = asked.folder / f"{name}.onnx"
            path = path if path.is_file() else standins.write(name, asked.folder)
            card = card_of(name)
            evaluate = Evaluator(2)
            graph = mend.mended(card, path, Path(kept), evaluate)
            made = Network(
                name, graph.network, "", card.inputs, card.outputs, 2, Path(kept), graph.batched, asked.device
            )
            reference = OnnxRuntime(made, Candidate("onnxruntime", "f32"))
            given = inputs(reference)
            wanted = reference.prepare(1)(given)
            del reference
            for candidate in TRIED:
                if time.monotonic() > until:
                    missing.append(f"{name} {candidate}")
                    continue
                say(to, network=name, tried=str(candidate), **measure(made, candidate, given, wanted))
        say(to, not_measured=missing)


if __name__ == "__main__":
    main()
