"""From what following found to the finished tracks: link, fill, drop, smooth, write."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mien.faces import smooth, track
from mien.faces.crops import Embedder
from mien.faces.people import group
from mien.faces.rows import Spill
from mien.faces.track import Chain, Tracklet
from mien.faces.tracksfile import Writer, load
from mien.settings import Track as TrackSettings
from mien.types import DENSE, Float64, Track, Tracks

LEAST_PRESENCE = 0.6
"""Median presence below which a track is taken for something that is no face."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the clip as a whole."""

    frames: int
    size: tuple[int, int]
    shots: tuple[int, ...]
    rate: float
    clip: str = ""
    first: int = 0
    """Index of the first frame that was looked at."""


def chains(
    tracklets: Sequence[Tracklet], spill: Spill, facts: Facts, settings: TrackSettings
) -> tuple[Chain, ...]:
    """Linked, filled tracks that are long and sure enough, in order of their first frame."""
    gap = round(settings.gap * facts.rate)
    found = []
    for pieces in track.link(tracklets, spill, facts.shots, gap):
        chain = track.fill(pieces, spill)
        number = int(np.searchsorted(facts.shots, chain.start, side="right"))
        end = facts.shots[number] if number < len(facts.shots) else facts.frames
        start = max(facts.first, facts.shots[number - 1])
        if track.real(chain, (start, end), facts.rate, LEAST_PRESENCE):
            found.append(chain)
    return tuple(sorted(found, key=lambda c: c.start))


def compose(
    tracklets: Sequence[Tracklet],
    spill: Spill,
    facts: Facts,
    settings: TrackSettings,
    five: Callable[[Float64], Float64],
    path: Path,
    embedder: Embedder | None = None,
) -> Generator[tuple[int, int], None, Tracks]:
    """Finish the tracks and write them to `path`; the dense landmarks are never in memory as a whole.

    Args:
        tracklets: From `Follower`.
        spill: Their landmarks; filled rows are added to it.
        facts: Of the clip.
        settings: Of following.
        five: (F, N, 3) rows of the spill to the (F, 5, 2) points.
        path: The tracks file to write.
        embedder: What gave the tracklets' embeddings.

    Yields:
        (rows done, rows in all).

    Returns:
        The tracks, reading dense landmarks from `path`.
    """
    found = chains(tracklets, spill, facts, settings)
    total, done = sum(len(c) for c in found), 0
    with Writer(path, spill.points) as writer:
        finished = []
        for number, chain in enumerate(found, 1):
            boxes, points = [], []
            for rows in _smoothed(chain, spill, facts.rate, settings.smooth):
                writer.rows(rows)
                boxes.append(track.extent(rows[:, :DENSE]))
                points.append(five(rows))
                done += len(rows)
                yield done, total
            made = _track(number, chain, np.concatenate(boxes), np.concatenate(points), facts)
            if embedder is not None and chain.embeddings is not None:
                made = replace(made, embedding=embedder.mean(chain.embeddings))
            finished.append(made)
            writer.track(made)
        people = group(finished, embedder.same if embedder else None)
        name = embedder.name if embedder else ""
        writer.finish(facts.frames, facts.size, facts.shots, facts.clip, people, name)
    return load(path)


def _smoothed(chain: Chain, spill: Spill, rate: float, strength: float) -> Generator[Float64, None, None]:
    fresh = np.flatnonzero(np.diff(chain.records, prepend=-1))  # where a picture is no repeat
    records = chain.records[fresh]

    def read(first: int, last: int) -> Float64:
        return spill.read(records[first:last])

    runs = np.diff(fresh, append=len(chain))
    yield from smooth.repeating(read, runs, chain.observed[fresh], rate, strength)


def _track(number: int, chain: Chain, box: Float64, points: Float64, facts: Facts) -> Track:
    shot = int(np.searchsorted(facts.shots, chain.start, side="right")) - 1
    return Track(
        number, chain.start, box, points, chain.scores, chain.observed, max(0, shot), number, chain.look
    )
