"""What smoothing does to real tracks: steadier when still, blinks and speech kept.

python bench/smoothing.py CLIP... [--plots FOLDER] [--frames N] [--strength 0.5]

Prints, for the longest track of each clip, before and after smoothing:

* jitter: RMS second difference over time of all points, px, in still parts (the quarter of the frames with
  the least motion around them), and of the stable points alone;
* tremble: mean absolute difference, in 8-bit codes, of neighbouring frames cut out and stabilised by the
  head's pose (eyes to mouth, 128 px crops): the pictures themselves judge whether noise was smoothed away;
* mouth opening (13-14) and width (61-291), eye openings (159-145, 386-374), each over the face's size:
  correlation, amplitude kept (regression slope of the smoothed on the raw curve) and the same on the
  strongest events alone (blinks, widest mouth), and the lag that fits best, in frames.
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.faces import smooth
from mien.faces.compose import Facts, chains
from mien.faces.follow import Follower
from mien.faces.rows import Spill
from mien.images import cpu
from mien.media import clip as clips
from mien.media import decode
from mien.models import landmark
from mien.models.runtime import Runtime
from mien.pipeline import eyes
from mien.settings import Settings

CURVES = {"mouth open": (13, 14), "mouth wide": (61, 291), "eye left": (159, 145), "eye right": (386, 374)}
Curve = NDArray[np.float64]


def raw_track(path: Path, runtime: Runtime, limit: int) -> tuple[Curve, NDArray[np.bool_], float, int]:
    """(n, 468, 3) unsmoothed landmarks of the longest track, rows seen, frames per second, first frame."""
    clip = clips.probe(path)
    index = clips.index(clip)
    settings = Settings()
    rate = Fraction(clip.rate)
    with tempfile.TemporaryDirectory() as folder, Spill(Path(folder) / "rows", landmark.POINTS) as spill:
        follower = Follower(eyes(runtime, settings), spill, settings.detect, settings.track, float(rate))
        end = min(len(index), limit)
        for frame in decode.frames(clip, index, 0, end, writable=False):
            follower.step(frame)
        facts = Facts(end, clip.size, follower.shots, float(rate))
        chain = max(chains(follower.tracklets, spill, facts, settings.track), key=len)
        return spill.read(chain.records), chain.observed, float(rate), chain.start


def jitter(rows: Curve, still: NDArray[np.bool_], points: NDArray[np.int64]) -> float:
    """RMS second difference in px of some points over the still rows."""
    bend = np.diff(rows[:, points, :2], 2, axis=0)[still[1:-1]]
    return float(np.sqrt(np.square(bend).sum(axis=2).mean()))


def still_rows(rows: Curve, rate: float) -> tuple[NDArray[np.bool_], float]:
    """The quarter of the rows with the least motion of the head within 0.3 s, and the most speed in them."""
    centre = rows[:, smooth.STABLE, :2].mean(axis=1)
    speed = np.linalg.norm(np.gradient(centre, axis=0), axis=1)
    width = max(3, int(0.3 * rate) | 1)
    slow = np.convolve(np.pad(speed, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    limit = float(np.quantile(slow, 0.25))
    return np.asarray(slow <= limit), limit


def tremble(path: Path, poses: dict[str, smooth.Pose], first: int) -> dict[str, float]:
    """Mean change between neighbouring stabilised crops, 8-bit codes, for each of several poses."""
    clip = clips.probe(path)
    index = clips.index(clip)
    count = min(150, len(next(iter(poses.values())).angle))
    before: dict[str, Curve] = {}
    total = dict.fromkeys(poses, 0.0)
    for frame in decode.frames(clip, index, first, first + count, writable=False):
        k = frame.index - first
        for name, pose in poses.items():
            turn = np.exp(-1j * pose.angle[k]) * 40 / np.exp(pose.radius[k])
            matrix = np.array([[turn.real, -turn.imag, 0.0], [turn.imag, turn.real, 0.0]])
            matrix[:, 2] = (64, 70) - matrix[:, :2] @ pose.centre[k]
            grey = cpu.crop(frame, matrix, (128, 128))[24:78, 30:98].mean(axis=2) * 255.0
            grey = np.asarray(grey - grey.mean(), np.float64)
            if name in before:
                total[name] += float(np.abs(grey - before[name]).mean()) / (count - 1)
            before[name] = grey
    return total


def curve(rows: Curve, pair: tuple[int, int]) -> Curve:
    """Distance of two points over the face's size (eye corner to eye corner plus nose to forehead)."""
    size = np.linalg.norm(rows[:, 33] - rows[:, 263], axis=1) + np.linalg.norm(
        rows[:, 10] - rows[:, 2], axis=1
    )
    return np.asarray(np.linalg.norm(rows[:, pair[0], :2] - rows[:, pair[1], :2], axis=1) / size)


def kept(before: Curve, after: Curve, rate: float) -> dict[str, float]:
    """Correlation, slope, slope over the strongest tenth of quick events, best lag."""
    a, b = before - before.mean(), after - after.mean()
    width = max(3, int(0.8 * rate) | 1)
    padded = np.pad(before, width // 2, mode="edge")
    base = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    event = before - base
    top = np.abs(event) >= np.quantile(np.abs(event), 0.95)
    lags = range(-3, 4)
    fit = [float(np.mean(np.square(np.roll(b, -k)[5:-5] - a[5:-5]))) for k in lags]
    return {
        "correlation": float(np.corrcoef(before, after)[0, 1]),
        "amplitude": float(a @ b / (a @ a)),
        "events": float(event[top] @ (after - base)[top] / (event[top] @ event[top])),
        "lag": float(lags[int(np.argmin(fit))]),
    }


def report(
    path: Path, raw: Curve, seen: NDArray[np.bool_], rate: float, strength: float, first: int
) -> Curve:
    """Print the figures of one clip; the smoothed rows."""
    after = np.concatenate(list(smooth.smoothed(lambda a, b: raw[a:b], len(raw), seen, rate, strength)))
    still, speed = still_rows(raw, rate)
    everything = np.arange(raw.shape[1])
    height = float(np.median(np.ptp(raw[:, :, 1], axis=1)))
    print(f"{path.name}: {len(raw)} frames, {rate:.2f} fps, face {height:.0f} px, strength {strength}")
    print(f"  still parts: speed up to {speed:.2f} px a frame")
    for name, points in (("all points", everything), ("stable points", smooth.STABLE)):
        x, y = jitter(raw, still, points), jitter(after, still, points)
        print(f"  jitter, {name:14s} {x:7.3f} -> {y:7.3f} px  ({y / x:5.1%})")
    print(f"  moved at all, RMS    {np.sqrt(np.square(after - raw)[..., :2].sum(2).mean()):7.3f} px")
    poses = {
        name: smooth.whole_pose(lambda a, b, rows=rows: rows[a:b], len(rows))
        for name, rows in (("before", raw), ("after", after))
    }
    change = tremble(path, poses, first)
    print(f"  tremble              {change['before']:7.3f} -> {change['after']:7.3f} codes")
    for name, pair in CURVES.items():
        facts = kept(curve(raw, pair), curve(after, pair), rate)
        print(f"  {name:12s}", "  ".join(f"{k} {v:6.3f}" for k, v in facts.items()))
    return after


def plot(path: Path, raw: Curve, after: Curve, rate: float, folder: Path) -> None:
    """Curves before and after as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = min(len(raw), int(8 * rate))
    figure, axes = pyplot.subplots(len(CURVES) + 1, 1, figsize=(16, 14), sharex=True)
    seconds = np.arange(rows) / rate
    for axis, (name, pair) in zip(axes, CURVES.items(), strict=False):
        axis.plot(seconds, curve(raw, pair)[:rows], color="tab:red", linewidth=0.8, label="before")
        axis.plot(seconds, curve(after, pair)[:rows], color="tab:blue", linewidth=1.0, label="after")
        axis.set_ylabel(name)
    axes[0].legend()
    axes[0].set_title(path.name)
    axes[-1].plot(seconds, raw[:rows, 4, 0], color="tab:red", linewidth=0.8)
    axes[-1].plot(seconds, after[:rows, 4, 0], color="tab:blue", linewidth=1.0)
    axes[-1].set_ylabel("nose x, px")
    axes[-1].set_xlabel("seconds")
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"smoothing_{path.stem[:12]}.png", dpi=70)
    pyplot.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--plots", type=Path)
    parser.add_argument("--frames", type=int, default=10**9)
    parser.add_argument("--strength", type=float, default=0.5)
    given = parser.parse_args()
    with Runtime() as runtime:
        for path in given.clips:
            raw, seen, rate, first = raw_track(path, runtime, given.frames)
            after = report(path, raw, seen, rate, given.strength, first)
            if given.plots:
                plot(path, raw, after, rate, given.plots)


if __name__ == "__main__":
    main()
