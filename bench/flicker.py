"""Flicker of a swap: warping error inside the face, of the output beside the input.

    python bench/flicker.py BEFORE AFTER [BEFORE AFTER ...]

The previous frame is moved onto the present one by the optical flow of the input (DIS); what still
differs is the warping error (Lai et al., Learning Blind Video Temporal Consistency, 2018), in 8-bit
codes. The face is where the two clips differ. A face with more contrast has more error for the same
movement, so the error is also divided by the mean gradient: the apparent movement in pixels that the
flow does not explain (`jitter`). `tone` is how much the face's mean brightness jumps where the input's
does not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import av
import cv2
import numpy as np

from mien.types import Array

CHANGED = 8
"""Codes by which a sample must differ to be counted as replaced."""


def pictures(path: Path) -> Iterator[Array]:
    """(H, W) luma of every frame, at most 960 pixels wide or high."""
    with av.open(path) as container:
        for frame in container.decode(video=0):
            scale = min(1.0, 960 / max(frame.width, frame.height))
            size = (round(frame.width * scale), round(frame.height * scale))
            yield cv2.resize(frame.to_ndarray(format="gray"), size, interpolation=cv2.INTER_AREA)


def warped(picture: Array, flow: Array) -> Array:
    """The picture at the places its samples have moved to."""
    height, width = picture.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)


def gradient(picture: Array) -> Array:
    """Magnitude of the gradient in codes a pixel."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.float32)
    return np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)) / 8.0


def measure(before: Path, after: Path) -> str:
    """One line: frames, warping errors, their ratio, and jumps of tone."""
    flows = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    errors, slopes, tones = [], [], []
    last: tuple[Array, Array] | None = None
    for old, new in zip(pictures(before), pictures(after), strict=True):
        if last is not None:
            face = cv2.morphologyEx(
                (cv2.absdiff(old, new) > CHANGED).astype(np.uint8),
                cv2.MORPH_CLOSE,
                np.ones((15, 15), np.uint8),
            )
            face = cv2.erode(face, np.ones((3, 3), np.uint8)) > 0
            cut = np.mean(cv2.absdiff(old, last[0])) > 25
            if np.count_nonzero(face) > 300 and not cut:
                flow = flows.calc(old, last[0], None)
                steps = [
                    p[face].astype(float) - warped(q, flow)[face]
                    for p, q in zip((old, new), last, strict=True)
                ]
                errors.append([np.abs(step).mean() for step in steps])
                slopes.append([gradient(p)[face].mean() for p in (old, new)])
                tones.append(steps[1].mean() - steps[0].mean())
        last = (old, new)
    if not errors:
        return f"{after.name:16s} no face was replaced"
    was, now = np.mean(errors, axis=0)
    first, second = np.mean(errors, axis=0) / np.mean(slopes, axis=0)
    ratio = f"error {was:5.2f} -> {now:5.2f} codes  jitter {first:6.3f} -> {second:6.3f} px"
    tone = f"tone {np.std(tones):5.2f} (most {np.abs(tones).max():5.2f})"
    return f"{after.name:16s} {len(errors):4d} pairs  {ratio}  {tone}"


def main() -> None:
    paths = [Path(a) for a in sys.argv[1:]]
    if not paths or len(paths) % 2:
        raise SystemExit(__doc__)
    print(f"{time.strftime('%Y-%m-%d')}  mien {version('mien')}, OpenCV {cv2.__version__}")
    for before, after in zip(paths[::2], paths[1::2], strict=True):
        print(measure(before, after), flush=True)


if __name__ == "__main__":
    main()
