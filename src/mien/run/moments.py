"""How well each track is seen over time, and the moments that somebody should look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mien.faces.crops import inside, turned
from mien.faces.track import side
from mien.stages.verdict import Flaw
from mien.types import Float64, Track, Tracks

Doubt: TypeAlias = Literal["missing", "unsure", "turned", "covered", "small"]
"""What may go wrong, as the analysis sees it."""
Reason: TypeAlias = Doubt | Flaw
"""What may go wrong, or did, as a review of the result sees it."""

SMALL = 40.0
"""Size of a face in pixels below which it is small."""
UNSURE = 0.6
"""Confidence of the landmarks below which they are unsure."""
TURNED = 0.45
"""How far a face is turned (`faces.crops.turned`) from which a new one fits badly."""
COVERED = 0.3
"""Share of a face that another one covers, or that lies outside the picture, from which it is covered."""
APART = 12
"""Frames between two bad stretches up to which they are one moment."""
LEAST = 2
"""Frames that a stretch must have to be worth a look."""
STEP = 0.1
"""By how much quality must change for presence to be told anew."""

TEXTS: dict[Reason, str] = {
    "missing": "the face was not seen here; its place is filled in",
    "unsure": "the landmarks are unsure",
    "turned": "the face is seen from the side",
    "covered": "another face or the picture's edge covers the face",
    "small": "the face is small",
    "apart": "the new face's features are not where they belong",
    "lost": "something before the face seems to be painted over",
    "marked": "the new face has edges here that it has not elsewhere",
    "jumps": "the new face jumps",
}
"""What is told of each."""
_ORDER: tuple[Doubt, ...] = ("missing", "unsure", "turned", "covered", "small")
"""The worst first: each frame counts for the first that fits."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of frames that may look bad."""

    frame: int
    """The first."""
    end: int
    """After the last."""
    track: int
    reason: Reason
    text: str


def quality(track: Track, size: tuple[int, int]) -> Float64:
    """(n,) how well a face is seen in each row: 0 (not at all) to 1.

    The landmarks' confidence, lowered where the face is turned, small, or partly outside the picture; half of
    that where no network saw it.
    """
    frontal = np.clip(1.0 - (turned(track.points) - 0.15) / 0.85, 0.2, 1.0)
    large = np.clip(side(track.box) / (2.0 * SMALL), 0.2, 1.0)
    shown = np.clip(inside(track.box, size), 0.0, 1.0)
    seen = np.where(track.observed, 1.0, 0.5)
    return np.asarray(np.clip(track.score, 0.0, 1.0) * frontal * large * shown * seen, np.float64)


def presence(track: Track, size: tuple[int, int]) -> list[tuple[int, int, float]]:
    """Stretches of nearly even quality: first frame, frame after the last, mean quality.

    Args:
        track: From pass one.
        size: Width and height of the picture in pixels.
    """
    values = quality(track, size)
    # A stretch is at least half a second long or so, so that a flicker does not make hundreds of them.
    width = max(1, min(12, len(values)))
    found: list[tuple[int, int, float]] = []
    for k in range(0, len(values), width):
        mean = float(values[k : k + width].mean())
        end = min(k + width, len(values)) + track.start
        if found and abs(found[-1][2] - mean) < STEP:
            first, last, before = found[-1]
            share = (last - first) / (end - first)
            found[-1] = (first, end, before * share + mean * (1.0 - share))
        else:
            found.append((k + track.start, end, mean))
    return [(first, end, round(value, 3)) for first, end, value in found]


def moments(tracks: Tracks) -> tuple[Moment, ...]:
    """The stretches to look at, in order of their first frames; each frame of a track in one at most."""
    found: list[Moment] = []
    for track in tracks.tracks:
        reasons = _reasons(track, tracks)
        for reason in _ORDER:
            for start, end in runs(reasons == _ORDER.index(reason)):
                moment = Moment(track.start + start, track.start + end, track.id, reason, TEXTS[reason])
                found.append(moment)
    return tuple(sorted(found, key=lambda m: (m.frame, m.track, m.end)))


def _reasons(track: Track, tracks: Tracks) -> NDArray[np.int64]:
    """(n,) number of the reason in `_ORDER` for each row, -1 where all is well."""
    fits = {
        "missing": ~track.observed,
        "unsure": track.score < UNSURE,
        "turned": turned(track.points) > TURNED,
        "covered": _hidden(track, tracks) > COVERED,
        "small": side(track.box) < SMALL,
    }
    found = np.full(len(track), -1, np.int64)
    for k in reversed(range(len(_ORDER))):
        found[fits[_ORDER[k]]] = k
    return found


def _hidden(track: Track, tracks: Tracks) -> Float64:
    """(n,) share of the face that lies outside the picture or under another one's box."""
    hidden = 1.0 - inside(track.box, tracks.size)
    for other in tracks.tracks:
        first, end = max(track.start, other.start), min(track.end, other.end)
        if other.id == track.id or first >= end:
            continue
        rows = slice(first - track.start, end - track.start)
        mine, theirs = track.box[rows], other.box[first - other.start : end - other.start]
        low, high = np.maximum(mine[:, :2], theirs[:, :2]), np.minimum(mine[:, 2:], theirs[:, 2:])
        share = np.prod(np.maximum(high - low, 0.0), axis=1) / np.square(side(mine))
        hidden[rows] = np.maximum(hidden[rows], share)
    return np.asarray(hidden, np.float64)


def runs(marked: NDArray[np.bool_], least: int = LEAST) -> Iterator[tuple[int, int]]:
    """Start and end of the marked stretches; short gaps are bridged, those of fewer than `least` left out."""
    rows = np.flatnonzero(marked)
    if not len(rows):
        return
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > APART) + 1):
        if len(run) >= least:
            yield int(run[0]), int(run[-1]) + 1
