"""Pictures between frames beside the true ones: every second frame of real clips, left out and made again.

    python bench/interpolate.py CLIP [CLIP ...] [--frames 80] [--looks FOLDER]

Of three frames in a row the middle one is made from its neighbours: `repeat` shows the later one, `blend`
lays both over each other, `flow` is `encode.between flow`. Counted are only frames that differ from both
neighbours by at least 0.4 codes and not by more than twice as much from one as from the other: where a clip
repeats pictures, the middle one is not the middle of anything.

A line: PSNR in dB and SSIM (Wang et al. 2004) of the luma, means over the pictures; for how many flow gave up
and showed the nearer frame (which then counts as its picture); milliseconds of one processor a picture,
search and making.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from fractions import Fraction
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from mien.images import cpu
from mien.media import clip as clips
from mien.media import decode
from mien.stages import between
from mien.types import Array, Frame

HALF = Fraction(1, 2)


def apart(a: Frame, b: Frame) -> float:
    """Mean difference of luma in codes."""
    return float(np.abs(a.planes[0].astype(np.int32) - b.planes[0]).mean())


def middles(path: Path, count: int) -> list[tuple[Frame, Frame, Frame]]:
    """Frames in threes that move evenly."""
    clip = clips.probe(path)
    index = clips.index(clip)
    seen = list(decode.frames(clip, index, 0, min(len(index), count), writable=False))
    found = []
    for k in range(1, len(seen) - 1, 2):
        three = seen[k - 1], seen[k], seen[k + 1]
        moved = [apart(a, b) for a, b in pairwise(three)]
        if min(moved) >= 0.4 and max(moved) <= 2 * min(moved):
            found.append(three)
    return found


def likeness(made: Array, true: Array) -> tuple[float, float]:
    """PSNR and SSIM of two lumas in codes."""
    error = float(((made.astype(np.float64) - true) ** 2).mean())
    like = structural_similarity(made, true, data_range=255, gaussian_weights=True, sigma=1.5)
    return 10 * np.log10(255**2 / max(error, 1e-9)), float(like)


def compare(path: Path, given: argparse.Namespace) -> None:
    """A line for a clip."""
    figures: dict[str, list[tuple[float, float]]] = {"repeat": [], "blend": [], "flow": []}
    gave_up, spent = 0, 0.0
    threes = middles(path, given.frames)
    for a, true, b in threes:
        began = time.thread_time()
        found = between.motion(a, b)
        picture = between.between(a, b, found, HALF) if found else None
        spent += time.thread_time() - began
        gave_up += picture is None
        both = np.rint((a.planes[0].astype(np.float32) + b.planes[0]) / 2).astype(np.uint8)
        lumas = {"repeat": b.planes[0], "blend": both, "flow": (picture or b).planes[0]}
        for name, luma in lumas.items():
            figures[name].append(likeness(luma, true.planes[0]))
        if given.looks:
            show(given.looks / f"{path.stem[:3]} {true.index:03}.png", a, true, picture or b)
    if not threes:
        print(f"{path.stem[:6]:6s} no frames that move evenly")
        return
    width, height = threes[0][0].width, threes[0][0].height
    means = {name: np.mean(values, axis=0) for name, values in figures.items()}
    print(
        f"{path.stem[:6]:6s} {width}x{height}  {len(threes):3d} pictures  "
        + "  ".join(f"{name} {psnr:5.2f} dB {like:.4f}" for name, (psnr, like) in means.items())
        + f"  nearest shown {gave_up}  {1000 * spent / len(threes):4.0f} ms",
        flush=True,
    )


def show(path: Path, *frames: Frame) -> None:
    """Frames side by side, and four times the difference of the last two."""
    sides = [cpu.thumbnail(frame, frame.size)[..., ::-1] for frame in frames]
    difference = 4 * np.abs(sides[-1].astype(np.int32) - sides[-2])
    cv2.imwrite(str(path), np.hstack([*sides, np.clip(difference, 0, 255).astype(np.uint8)]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=80, help="of each clip, from its beginning")
    parser.add_argument("--looks", type=Path, help="where to put the pictures")
    given = parser.parse_args()
    if given.looks:
        given.looks.mkdir(parents=True, exist_ok=True)
    libraries = ("mien", "av", "numpy", "opencv-python-headless", "scikit-image")
    print(
        f"{time.strftime('%Y-%m-%d')}  {platform.machine()}, {os.cpu_count()} processors,",
        f"Python {platform.python_version()},",
        ", ".join(f"{name} {version(name)}" for name in libraries),
    )
    print("every second frame made again from its neighbours; luma: PSNR, SSIM; processor time a picture")
    for path in given.clips:
        compare(path, given)


if __name__ == "__main__":
    main()
