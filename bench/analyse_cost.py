"""What pass one costs beside decoding: processor time a frame by part, and peak memory by length.

python bench/analyse_cost.py CLIP [--frames N] [--threads 1]

The clip's first 60 frames are decoded beforehand and played back and forth, N frames in all, so that the
decoder's own threads and memory stay out of the figures. Peak memory is the process's own (ru_maxrss): run it
once per length. Times are processor time of the whole process, so that other work on the machine disturbs
them less than it does the clock.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from mien import pipeline
from mien.faces import cuts, follow
from mien.media import clip as clips
from mien.media import decode
from mien.models import detect, landmark
from mien.models.runtime import Runtime
from mien.settings import Settings
from mien.types import Frame, Tracks

PARTS: tuple[tuple[Any, str, str], ...] = (
    (follow, "thumbnail", "thumbnail"),
    (cuts, "look", "scene cuts"),
    (follow.Follower, "_follow", "follow"),
    (landmark, "landmarks", "  of it and of search: landmarks"),
    (detect, "find", "search"),
    (follow.Follower, "step", "all of following"),
)


def timed(owner: Any, name: str, spent: dict[str, tuple[int, float]], label: str) -> None:
    """Replace a function by one that adds up its processor time."""
    inner: Callable[..., Any] = getattr(owner, name)

    def outer(*args: Any, **named: Any) -> Any:
        began = time.process_time()
        result = inner(*args, **named)
        calls, total = spent.get(label, (0, 0.0))
        spent[label] = (calls + 1, total + time.process_time() - began)
        return result

    setattr(owner, name, outer)


def swinging(some: list[Frame], count: int) -> Iterator[Frame]:
    """Frames played back and forth with rising numbers."""
    turn = 2 * (len(some) - 1)
    for k in range(count):
        at = k % turn
        yield replace(some[min(at, turn - at)], index=k, pts=k)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    clip = clips.probe(given.clip)
    some = list(decode.frames(clip, clips.index(clip), 0, 60, writable=False))
    spent: dict[str, tuple[int, float]] = {}
    for owner, name, label in PARTS:
        timed(owner, name, spent, label)
    with Runtime(given.threads) as runtime, tempfile.TemporaryDirectory() as folder:
        work = pipeline.analyse(
            swinging(some, given.frames),
            runtime,
            Settings(),
            total=given.frames,
            rate=Fraction(30),
            spill=Path(folder),
        )
        began = time.process_time()
        tracks = finish(work)
        spent["pass one"] = (1, time.process_time() - began)
        size = (Path(folder) / "clip.tracks").stat().st_size
    spent["link, smooth, write"] = (1, spent["pass one"][1] - spent["all of following"][1])
    print(f"{given.clip.name} {clip.size[0]}x{clip.size[1]}, {given.frames} frames at 30 fps, 1 face")
    for label, (calls, total) in spent.items():
        print(f"  {label:32s} {calls:6d} calls  {total / given.frames * 1e3:7.3f} ms a frame")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"  tracks {[(t.start, t.end) for t in tracks.tracks]}, file {size / 1e6:.1f} MB, peak {peak:.1f} MB"
    )


def finish(work: Any) -> Tracks:
    """The result of a generator that reports progress."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            tracks: Tracks = done.value
            return tracks


if __name__ == "__main__":
    main()
