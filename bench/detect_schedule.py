"""What the schedule of whole-frame detections costs and loses: interval, lock, and the score from the side.

    python bench/detect_schedule.py MEDIA [--frames 250] [--only v17] > bench/results/detect_schedule.txt

MEDIA is a folder of clips and pictures (`bench/results/detect_schedule.txt` names those that were used).

Of each clip, for every setting of `RUNS`: processor time a frame of finding and following, without decoding,
and that of the searches in it (the least of two rounds, in which the settings take turns); windows looked at;
and a comparison with detecting anew in every `EVERY`th frame, with all windows and nobody known: faces of it
that are not followed there, faces followed where it sees none, and the distance of the landmarks of the
others (RMS of all points, as a share of the face's height: median and 95th percentile). That detection is no
truth: its points have a noise of their own, so what counts is how much the settings differ.

Then pictures in profile, made smaller, softer, darker and noisier, with different scores from the side, and
false alarms on all counted pictures.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from mien import pipeline
from mien.faces.compose import Facts, compose
from mien.faces.follow import Follower
from mien.faces.rows import Spill
from mien.faces.track import associate
from mien.media import clip as clips
from mien.media import decode
from mien.models import detect, landmark
from mien.models.engines import machine
from mien.models.runtime import Runtime
from mien.settings import Detect, Settings, Track
from mien.types import Array, Colour, Faces, Float64, Frame, Int64, Layout, Tracks

CLIPS = ("v06", "v08", "v10", "v12", "v17", "v20", "pd_x12")
TURNING = ("v17", "v20")
"""Clips in which heads turn far."""
RUNS = {
    "every 0.1 s": Detect(interval=0.1),
    "every 0.5 s": Detect(),
    "every 2 s": Detect(interval=2.0),
    "every 0.1 s, lock": Detect(interval=0.1, lock=True),
    "every 0.5 s, lock": Detect(lock=True),
    "every 2 s, lock": Detect(interval=2.0, lock=True),
}
SIDE = {f"side {score:g}": Detect(side_score=score) for score in (0.5, 0.35, 0.2, 0.1)}
ROUNDS = 2
EVERY = 5
AHEAD = 16
PROFILES = ("l02_profile_left.jpeg", "l03_profile_right.png")
LIBRARIES = ("mien", "av", "numpy", "opencv-python-headless", "openvino")
RGB = Layout("rgb24", "rgb", 8, ((0, 1, 2),))


@dataclass
class Cost:
    """Processor seconds and windows of one run."""

    total: float = 0.0
    search: float = 0.0
    windows: int = 0


def read(path: Path, most: int) -> Iterator[Frame]:
    """The first frames, some decoded at a time, so that no decoder works meanwhile."""
    clip = clips.probe(path)
    index = clips.index(clip)
    frames = decode.frames(clip, index, 0, min(most, len(index)), threads=1, writable=False)
    while some := list(islice(frames, AHEAD)):
        yield from some


def follow(path: Path, most: int, settings: Detect, runtime: Runtime) -> tuple[Tracks, Cost]:
    """Pass one over a clip, without smoothing."""
    rate = float(clips.probe(path).rate)
    track = Track(smooth=0.0, embedder="none")
    eyes, cost = pipeline.eyes(runtime, Settings(detect=settings, track=track)), Cost()

    def find(frame: Frame, rows: Int64 | None, known: Faces, turned: bool) -> Faces:
        began = time.process_time()
        found = eyes.find(frame, rows, known, turned)
        cost.search += time.process_time() - began
        cost.windows += len(eyes.windows(frame.size)) if rows is None else len(rows)
        return found

    with tempfile.TemporaryDirectory() as name, Spill(Path(name) / "rows", landmark.POINTS) as spill:
        follower = Follower(replace(eyes, find=find), spill, settings, track, rate)
        count, size = 0, (0, 0)
        for frame in read(path, most):
            began = time.process_time()
            follower.step(frame)
            cost.total += time.process_time() - began
            count, size = count + 1, frame.size
        facts = Facts(count, size, (0, *follower.shots[1:]), rate)
        work = compose(follower.tracklets, spill, facts, track, landmark.five, Path(name) / "tracks")
        while True:
            try:
                next(work)
            except StopIteration as done:
                tracks: Tracks = done.value
                break
        dense = {t.id: np.array(tracks.dense[t.id][0 : len(t)]) for t in tracks.tracks}
    return replace(tracks, dense=dense), cost


def anew(path: Path, most: int, runtime: Runtime) -> dict[int, Faces]:
    """Every `EVERY`th frame's faces, detected with all windows."""
    frames = (frame for frame in read(path, most) if frame.index % EVERY == 0)
    return {frame.index: detect.find(runtime, frame, Detect(), turned=False) for frame in frames}


def compared(tracks: Tracks, wanted: dict[int, Faces]) -> str:
    """How tracks differ from detecting anew."""
    missed = beyond = same = 0
    apart: list[float] = []
    for index, faces in wanted.items():
        found = tracks.at(index)
        pairs = associate(found.box, faces.box)
        missed, beyond, same = (
            missed + len(faces) - len(pairs),
            beyond + len(found) - len(pairs),
            same + len(pairs),
        )
        if found.dense is not None and faces.dense is not None:
            apart += [distance(found.dense[a], faces.dense[b]) for a, b in pairs]
    middle, most = np.percentile(apart, (50, 95)) if apart else (0.0, 0.0)
    return (
        f"of {same + missed:4d} faces not followed {missed:3d}, beyond them {beyond:3d}, "
        f"apart {100 * middle:.2f} % (95th {100 * most:.2f} %)"
    )


def distance(a: Float64, b: Float64) -> float:
    """RMS distance of two faces' points, over the height of the second."""
    apart = np.square(a[:, :2] - b[:, :2]).sum(axis=1).mean() ** 0.5
    return float(apart / np.linalg.norm(b[10, :2] - b[152, :2]))


def schedule(path: Path, given: argparse.Namespace, runtime: Runtime) -> None:
    """A line for each setting."""
    clip = clips.probe(path)
    count = min(given.frames, len(clips.index(clip)))
    print(f"{path.name}: {count} frames of {clip.size[0]}x{clip.size[1]} at {float(clip.rate):.2f}")
    wanted = anew(path, given.frames, runtime)
    best: dict[str, Cost] = {}
    lines: dict[str, str] = {}
    for _ in range(ROUNDS):
        for name, settings in RUNS.items():
            tracks, cost = follow(path, given.frames, settings, runtime)
            least = best.setdefault(name, cost)
            best[name] = Cost(min(least.total, cost.total), min(least.search, cost.search), cost.windows)
            lines[name] = compared(tracks, wanted)
    for name, cost in best.items():
        per = 1000 / count
        print(
            f"  {name:18s} {cost.total * per:6.2f} ms a frame, searches {cost.search * per:6.2f} "
            f"({cost.windows / count:5.2f} windows)  {lines[name]}",
            flush=True,
        )
    before = None
    if not path.name.startswith(TURNING):
        return
    for name, settings in SIDE.items():
        tracks, _ = follow(path, given.frames, settings, runtime)
        rows = sum(len(t) for t in tracks.tracks)
        dense = [d[t.observed] for t in tracks.tracks if len(d := np.asarray(tracks.dense[t.id]))]
        aside = sum(int(landmark.aside(d).sum()) for d in dense)
        low = sum(int((t.observed & (t.score < 0.5)).sum()) for t in tracks.tracks)
        line = f"rows {rows:5d}, seen from the side {aside:4d}, of these by the lower score {low:3d}"
        note = "" if before in (None, line) else "  (differs)"
        print(f"  {name:18s} {line}{note}  {compared(tracks, wanted)}", flush=True)
        before = line


def degraded(path: Path) -> Iterator[tuple[str, Array]]:
    """A picture smaller, softer, darker and noisier: what was done, (h, w, 3) uint8."""
    rng = np.random.default_rng(1)
    with Image.open(path) as picture:
        whole = picture.convert("RGB")
    for height in (160, 80, 48, 32, 24):
        scale = height / (400 if "l02" in path.name else 190)
        small = whole.resize(
            (max(1, round(whole.width * scale)), max(1, round(whole.height * scale))),
            Image.Resampling.LANCZOS,
        )
        for blur in (0.0, 0.04, 0.07):
            soft = np.asarray(small.filter(ImageFilter.GaussianBlur(blur * height)), np.float64)
            for light in (1.0, 0.25):
                for noise in (0.0, 12.0, 25.0):
                    rgb = np.clip(soft * light + rng.normal(0, noise, soft.shape), 0, 255)
                    yield f"{height} px", np.ascontiguousarray(np.rint(rgb).astype(np.uint8))


def still(rgb: Array) -> Frame:
    """A picture as a frame."""
    return Frame((rgb,), RGB, Colour("rgb", True), 0, 0, np.eye(2, 3))


def sides(media: Path, runtime: Runtime) -> None:
    """Profiles found and false alarms by score from the side."""
    scores = (0.5, 0.4, 0.3, 0.2, 0.1)
    print(
        f"\nprofiles made worse (each size: {3 * 2 * 3} ways, two pictures); found and false with side_score"
    )
    print("  " + "height".ljust(10) + "".join(f"{score:>8g}" for score in scores))
    rows: dict[str, list[list[int]]] = {}
    for name in PROFILES:
        with Image.open(media / name) as picture:
            whole = np.asarray(picture.convert("RGB"))
        box = detect.find(runtime, still(np.ascontiguousarray(whole)), Detect()).box / whole.shape[1]
        for what, rgb in degraded(media / name):
            row = rows.setdefault(what, [[0, 0] for _ in scores])
            for k, score in enumerate(scores):
                settings = Detect(side_score=score, min_size=16.0)
                found = detect.find(runtime, still(rgb), settings, turned=False)
                right = len(associate(box * rgb.shape[1], found.box))
                row[k][0] += right
                row[k][1] += len(found) - right
    for what, row in rows.items():
        print("  " + what.ljust(10) + "".join(f"{n:>4d}, {m:2d}" for n, m in row), flush=True)
    print("counted pictures: faces found, false alarms")
    from tests.models.recall import compare, load, truth

    for score in scores:
        settings = Detect(side_score=score)
        counted = [compare(n, b, detect.find(runtime, load(media / n), settings)) for n, b in truth().items()]
        faces, hits, false = (
            sum(getattr(row, key) for row in counted) for key in ("faces", "found", "false")
        )
        print(f"  side_score {score:g}: {hits} of {faces}, false {false}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--only", default="", help="beginning of a clip's name, or `sides`")
    given = parser.parse_args()
    here = machine()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    print(
        f"{time.strftime('%Y-%m-%d')}  {platform.machine()}, {here.processor}, {os.cpu_count()} processors, "
        f"Python {platform.python_version()}, {libraries}, load before {os.getloadavg()[0]:.1f}"
    )
    with Runtime(2) as runtime:
        for name in CLIPS:
            if name.startswith(given.only):
                schedule(next(iter(sorted(given.media.glob(f"{name}*")))), given, runtime)
        if "sides".startswith(given.only):
            sides(given.media, runtime)


if __name__ == "__main__":
    main()
