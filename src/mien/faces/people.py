"""Who is who: tracks into persons, a person's tracks by a word or by number, the best view of each.

Tracks of one shot that follow each other at nearly the same place and size are one person. Beyond that,
after a cut too, `likeness` joins who is surely the same. It cannot tell everybody: a face that is turned or
lit otherwise may stay a person of its own. (The landmarks' mean 3-D shape was tried, and the same face in
two poses differs by up to 0.069, Procrustes, two people by as little as 0.027.)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import NoFaceError, SettingsError
from mien.faces.likeness import SURE, likeness
from mien.faces.track import assign, centre, side
from mien.types import Float64, Track, Tracks

WORDS = ("prominent", "all", "left", "right", "largest")
_NOTABLE = 0.1
"""Share of the weightiest track's weight from which a track counts for `left` and `right`."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The best look at a track, for a contact sheet."""

    track: int
    person: int
    frame: int
    """Index of the frame to show."""
    box: Float64
    """(4,) display pixels."""
    start: int
    end: int
    score: float


def group(tracks: Sequence[Track]) -> dict[int, int]:
    """Track id to person, persons numbered from 1 by first appearance.

    A track continues an earlier one of its shot that has ended, where place and size nearly agree. Persons
    who are surely alike and never there at the same time are one.
    """
    order = sorted(tracks, key=lambda t: (t.start, t.id))
    cost = np.full((len(order), len(order)), np.inf)
    for i, tail in enumerate(order):
        for j, head in enumerate(order):
            if tail.shot == head.shot and tail.end <= head.start:
                cost[i, j] = _distance(tail, head)
    before = {j: i for i, j in assign(cost, 1.0)}
    person: list[int] = []
    for j in range(len(order)):
        person.append(person[before[j]] if j in before else j)
    person = _recognised(order, person)
    numbers = {k: number for number, k in enumerate(dict.fromkeys(person), 1)}
    return {item.id: numbers[k] for item, k in zip(order, person, strict=True)}


def _recognised(order: Sequence[Track], person: list[int]) -> list[int]:
    """Persons after those who are surely alike were joined, the surest first."""
    rows = [k for k, t in enumerate(order) if t.look is not None]
    if len(rows) < 2:
        return person
    alike = np.triu(likeness([look for t in order if (look := t.look) is not None]), 1)
    sure = np.argwhere(alike >= SURE)
    for i, j in sure[np.argsort(-alike[tuple(sure.T)], kind="stable")]:
        a, b = person[rows[i]], person[rows[j]]
        ours, theirs = ([t for t, p in zip(order, person, strict=True) if p == k] for k in (a, b))
        if a != b and not any(s.start < t.end and t.start < s.end for s in ours for t in theirs):
            person = [a if p == b else p for p in person]
    return person


def _distance(tail: Track, head: Track) -> float:
    """How unlikely `head` continues `tail` after an absence, 1 being too much."""
    a, b = tail.box[-1], head.box[0]
    size = float(side(a) + side(b)) / 2
    place = float(np.linalg.norm(centre(a) - centre(b))) / size
    return place / 2.0 + abs(float(np.log(side(b) / side(a)))) / 0.4


def weight(track: Track) -> float:
    """How much of the clip a track fills: area times frames, in pixels."""
    return float(np.square(side(track.box)).sum())


def select(tracks: Tracks, faces: str) -> tuple[int, ...]:
    """Ids of the tracks that `faces` means.

    Args:
        tracks: From pass one.
        faces: `prominent` (who fills the clip most), `all`, `left`, `right`, `largest`, or track ids
            such as "1,4". `left` and `right` are judged in each shot; `prominent` and `largest` are one
            person, changed only in the shots in which they are surely known.

    Raises:
        SettingsError: Neither a word nor existing ids.
        NoFaceError: There is no track at all.
    """
    word = faces.strip().lower()
    if word not in WORDS:
        return _listed(tracks, faces)
    if not tracks.tracks:
        raise NoFaceError("faces", "nobody was found", "Lower detect.score or detect.min_size.")
    if word == "all":
        return tuple(t.id for t in tracks.tracks)
    if word == "prominent":
        return _best(tracks.tracks, lambda person: sum(weight(t) for t in person))
    if word == "largest":
        return _best(tracks.tracks, lambda person: max(float(np.median(side(t.box))) for t in person))
    sign = -1.0 if word == "left" else 1.0
    chosen: list[int] = []
    for shot in _by(tracks.tracks, lambda t: t.shot):
        least = _NOTABLE * max(weight(t) for t in shot)
        people = [p for p in _by(shot, lambda t: t.person) if sum(weight(t) for t in p) >= least]
        chosen += [t.id for t in max(people, key=lambda p: sign * _column(p))]
    return tuple(sorted(chosen))


def _best(tracks: Sequence[Track], value: Callable[[list[Track]], float]) -> tuple[int, ...]:
    """Tracks of the person with the highest value."""
    return tuple(sorted(t.id for t in max(_by(tracks, lambda t: t.person), key=value)))


def unsure(tracks: Tracks, faces: str, ids: Collection[int]) -> tuple[int, int]:
    """Shots with somebody in which nobody is changed because one person is meant, and shots with somebody.

    Args:
        tracks: From pass one.
        faces: The word or list that was asked for.
        ids: What `select` made of it.
    """
    shots = {t.shot for t in tracks.tracks}
    if faces.strip().lower() not in ("prominent", "largest"):
        return 0, len(shots)
    return len(shots - {t.shot for t in tracks.tracks if t.id in ids}), len(shots)


def _column(person: Sequence[Track]) -> float:
    """Mean horizontal place of a person, over all rows."""
    return float(np.concatenate([centre(t.box)[:, 0] for t in person]).mean())


def _by(tracks: Iterable[Track], key: Callable[[Track], int]) -> list[list[Track]]:
    """Tracks in groups of equal key, in order of the keys."""
    groups: dict[int, list[Track]] = {}
    for t in tracks:
        groups.setdefault(key(t), []).append(t)
    return [groups[k] for k in sorted(groups)]


def _listed(tracks: Tracks, faces: str) -> tuple[int, ...]:
    """Ids written as a list."""
    known = [t.id for t in tracks.tracks]
    names = ", ".join(str(k) for k in known) or "none"
    parts = [p.strip() for p in faces.split(",")]
    if not all(p.isascii() and p.isdigit() for p in parts):
        advice = f"Use {', '.join(WORDS)} or track ids; there are: {names}."
        raise SettingsError("faces", f"{faces!r} is neither a word nor a list of track ids", advice)
    wanted = sorted({int(p) for p in parts})
    unknown = [k for k in wanted if k not in known]
    if unknown:
        what = ", ".join(str(k) for k in unknown)
        raise SettingsError("faces", f"there is no track {what}", f"Existing tracks: {names}.")
    return tuple(wanted)


def contact(tracks: Tracks) -> tuple[View, ...]:
    """The best view of each track: sure, large, frontal and inside the picture."""
    return tuple(_view(t, tracks.size) for t in tracks.tracks)


def _view(track: Track, size: tuple[int, int]) -> View:
    eyes, nose, mouth = track.points[:, :2], track.points[:, 2], track.points[:, 3:]
    across = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=1)
    # seen from the front the nose lies as far from one eye-mouth side as from the other
    middle = (eyes.mean(axis=1) + mouth.mean(axis=1)) / 2
    turned = np.linalg.norm(nose - middle, axis=1) / np.maximum(across, 1e-6)
    wide = np.minimum(track.box[:, 2:], size) - np.maximum(track.box[:, :2], 0)
    inside = np.prod(np.maximum(wide, 0), axis=1) / np.square(side(track.box))
    value = track.score * np.sqrt(side(track.box)) * inside * np.exp(-2 * turned)
    best = int(np.argmax(np.where(track.observed, value, -1.0)))
    box, score = track.box[best], float(track.score[best])
    return View(track.id, track.person, track.start + best, box, track.start, track.end, score)
