"""What a graphics card does while a video is rendered: networks, other kernels, copies, and nothing.

    python bench/gpu_trace.py [--target VIDEO --source PICTURE] [--swap inswapper_128] [--enhance gfpgan_1.4]

A whole job, of the given video or of the demo's clip, with stand-ins of full size (real layers and cost,
made-up weights). torch's profiler looks on for some frames of pass two, once it runs steadily. Networks are
recorded as CUDA graphs: what a replay started is theirs, everything else is ours. Copies between host and
card are counted with their sizes: a frame that went over the host would show. Where there is no card the
same is said of the processor's operations.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from mien.bench import material, suite
from mien.models.store import default_home
from mien.run import verbs
from mien.settings import Device, Enhance, Job, Role, Settings, Swap
from mien.types import Progress

KINDS = ("kernel", "gpu_memcpy", "gpu_memset")
REPLAY = "cudaGraphLaunch"


def watched(job: Job, home: Path, folder: Path, first: int, last: int) -> tuple[list[dict[str, Any]], int]:
    """The profiler's events of the frames from `first` to `last` of pass two, and how many these were."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    look, began, ended = profile(activities=kinds), 0, 0
    for event in verbs.swap(job, folder=folder / "job", home=home):
        if not isinstance(event, Progress) or event.stage != "render" or ended:
            continue
        if not began and event.done >= first:
            look.start()
            began = event.done
        elif began and event.done >= last:
            _settle()
            look.stop()
            ended = event.done
    if not ended:
        raise SystemExit("the clip is too short to look at so many frames")
    path = folder / "trace.json"
    look.export_chrome_trace(str(path))
    return json.loads(path.read_text())["traceEvents"], ended - began


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def _span(event: Mapping[str, Any]) -> tuple[float, float]:
    return event["ts"], event["ts"] + event.get("dur", 0.0)


def summary(events: Sequence[Mapping[str, Any]], frames: int) -> str:
    """The report."""
    calls = {
        e["args"]["correlation"]: e["name"]
        for e in events
        if e.get("cat") in ("cuda_runtime", "cuda_driver") and "correlation" in e.get("args", {})
    }
    work = [e for e in events if e.get("cat") in KINDS]
    if not work:
        return _of_processor(events, frames)
    of_networks = [e for e in work if calls.get(e["args"].get("correlation")) == REPLAY]
    ids = {id(e) for e in of_networks}
    ours = [e for e in work if id(e) not in ids]
    whole, nets = busy(map(_span, work)), busy(map(_span, of_networks))
    begin, end = min(e["ts"] for e in work), max(_span(e)[1] for e in work)
    lines = [
        f"{frames} frames in {(end - begin) / 1e3:.1f} ms: {frames / (end - begin) * 1e6:.1f} a second",
        f"the card worked {whole / 1e3:.1f} ms, {100 * whole / (end - begin):.0f} % of the time; "
        f"networks {nets / 1e3:.1f} ms, {100 * nets / whole:.0f} % of that",
        f"a frame: {whole / frames / 1e3:.3f} ms, of that networks {nets / frames / 1e3:.3f}; "
        f"{len(ours) / frames:.0f} pieces of work beside the networks'",
        "copies between host and card (a frame of 1920x1080 in 4:2:0 is 3.1 MB):",
    ]
    sizes: dict[str, Counter[int]] = {}
    for event in work:
        if event["cat"] == "gpu_memcpy" and ("HtoD" in event["name"] or "DtoH" in event["name"]):
            sizes.setdefault(event["name"], Counter())[int(event["args"].get("bytes", 0))] += 1
    for name, found in sizes.items():
        total = sum(size * count for size, count in found.items())
        large = sum(count for size, count in found.items() if size >= 100_000)
        lines.append(
            f"  {name}: {sum(found.values()) / frames:.1f} a frame, {total / frames / 1e3:.1f} kB a frame; "
            f"{large / frames:.2f} a frame of 100 kB or more"
        )
    lines.append("what took longest beside the networks, in us a frame:")
    longest: Counter[str] = Counter()
    for event in ours:
        longest[event["name"]] += event.get("dur", 0.0)
    lines += [f"  {us / frames:8.1f}  {name[:110]}" for name, us in longest.most_common(15)]
    waits: Counter[str] = Counter()
    for event in events:
        if event.get("cat") in ("cuda_runtime", "cuda_driver"):
            waits[event["name"]] += event.get("dur", 0.0)
    lines.append("calls of the driver, in us a frame over all threads:")
    lines += [f"  {us / frames:8.1f}  {name}" for name, us in waits.most_common(8)]
    return "\n".join(lines)


def _of_processor(events: Sequence[Mapping[str, Any]], frames: int) -> str:
    longest: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "cpu_op":
            longest[event["name"]] += event.get("dur", 0.0)
    lines = [f"  {us / frames / 1e3:8.2f}  {name}" for name, us in longest.most_common(12)]
    return "\n".join([f"no card; {frames} frames; operations on the processor, in ms a frame:", *lines])


def _clip(folder: Path, frames: int, home: Path | None) -> Path:
    """The demo's clip, of at least so many frames."""
    made = material.clip(folder, frames, home=home)
    while True:
        try:
            next(made)
        except StopIteration as done:
            return Path(done.value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--target", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--swap", default="inswapper_128")
    parser.add_argument("--enhance", default="")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--seconds", default="10")
    parser.add_argument("--first", type=int, default=60)
    parser.add_argument("--last", type=int, default=220)
    asked = parser.parse_args()
    settings = Settings(
        swap=Swap(model=asked.swap),
        enhance=Enhance(model=asked.enhance),
        device=Device(processor=asked.device),
    )
    home, replaced = suite.equipped(settings, asked.home)
    print(f"stand-ins (made-up weights, real layers and cost): {', '.join(replaced)}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        target = asked.target or _clip((asked.home or default_home()) / "bench", asked.last + 20, asked.home)
        role = Role(sources=(asked.source or material.portrait(folder),))
        job = Job(
            target=target, output=folder / "out.mp4", cast=(role,), end=asked.seconds, settings=settings
        )
        print(summary(*watched(job, home, folder, asked.first, asked.last)))


if __name__ == "__main__":
    main()
