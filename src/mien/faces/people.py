"""Who is who: tracks into persons, a person's tracks by a word or by number, the best view of each.

Where a network gave embeddings, they tell who is the same, in whatever shot. Beyond that tracks of one shot
that follow each other at nearly the same place and size are one person, and `likeness` joins who is surely
the same where there is no embedding. It cannot tell everybody: a face that is turned or lit otherwise may
stay a person of its own. (The landmarks' mean 3-D shape was tried, and the same face in two poses differs by
up to 0.069, Procrustes, two people by as little as 0.027.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mien.errors import NoFaceError, SettingsError
from mien.faces.crops import inside, turned
from mien.faces.likeness import SURE, likeness
from mien.faces.track import assign, centre, side
from mien.types import Array, Float64, Track, Tracks

WORDS = ("prominent", "all", "left", "right", "largest")
_NOTABLE = 0.1
"""Share of the weightiest track's weight from which a track counts for `left` and `right`."""
_UNLIKE = 0.5
"""Share of an embedder's sure cosine below which two are surely not one person, wherever they stand."""

_Item = TypeVar("_Item")


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
    worth: float
    """How good the look is, to compare with others of the same clip."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Tracks that show the same human being."""

    number: int
    tracks: tuple[int, ...]
    """Ids, in order of their first frames."""
    spans: tuple[tuple[int, int], ...]
    """Frames [start, end) in which the person is there, in order."""
    shots: int
    """How many shots show the person."""
    view: View
    """The best look."""


def group(tracks: Sequence[Track], same: float | None = None) -> dict[int, int]:
    """Track id to person, persons numbered from 1 by first appearance.

    Persons who are never there at the same time become one where their embeddings' mean cosine is at least
    `same`, the most alike first (average linkage). Then a track continues an earlier one of its shot that has
    ended, where place and size nearly agree and embeddings do not contradict. Last, persons whose skin is
    surely alike are one, as far as a track without embedding shows it.

    Args:
        tracks: Of one clip, with embeddings of one network or without.
        same: Cosine from which that network is sure; None where there is none.
    """
    order = sorted(tracks, key=lambda t: (t.start, t.id))
    groups = _Groups(order, same)
    if same is not None:
        groups.join_alike(same)
    groups.join_near()
    groups.join_looks()
    numbers = {k: number for number, k in enumerate(dict.fromkeys(groups.person), 1)}
    return {item.id: numbers[k] for item, k in zip(order, groups.person, strict=True)}


class _Groups:
    """Tracks that are joined into persons step by step. A group is named by the row of one of its tracks."""

    def __init__(self, order: Sequence[Track], same: float | None) -> None:
        self.person = list(range(len(order)))
        """Group of each track."""
        self._order = order
        self._least = -np.inf if same is None else _UNLIKE * same
        starts, ends = np.array([(t.start, t.end) for t in order], np.int64).reshape(-1, 2).T
        self._together = (starts[:, None] < ends[None]) & (starts[None] < ends[:, None])
        """(n, n) whether two groups are there at once; with themselves they are."""
        known = [None if same is None else t.embedding for t in order]
        self._known = np.array([e is not None for e in known], np.float64)
        """(n,) tracks with an embedding in each group."""
        self._embedded = self._known > 0.0
        """(n,) which tracks have one."""
        rays = units([e for e in known if e is not None])
        rows = np.flatnonzero(self._embedded)
        self._sums = np.zeros((len(order), len(order)))
        """(n, n) sum of the cosines of two groups' tracks."""
        self._sums[np.ix_(rows, rows)] = rays @ rays.T

    def join_alike(self, same: float) -> None:
        """Join the most alike of all groups, as long as they are alike enough."""
        score = np.stack([self._alike(k) for k in range(len(self.person))] or [np.zeros(0)])
        nearest = score.argmax(axis=1) if score.size else np.zeros(0, np.int64)
        while len(nearest):
            best = score[np.arange(len(score)), nearest]
            a = int(best.argmax())
            b = int(nearest[a])
            if best[a] < same:
                return
            self._join(a, b)
            score[a] = score[:, a] = self._alike(a)
            score[b] = score[:, b] = -np.inf
            # a mean is never above both of its parts, so nobody else has a new nearest
            for k in np.flatnonzero((nearest == a) | (nearest == b) | (np.arange(len(score)) == a)):
                nearest[k] = score[k].argmax()

    def join_near(self) -> None:
        """Join tracks that go on where another of their shot has ended."""
        order = self._order
        cost = np.full((len(order), len(order)), np.inf)
        for rows in _by(range(len(order)), lambda k: order[k].shot):
            for i in rows:
                for j in rows:
                    if order[i].end <= order[j].start and self._may_join(self.person[i], self.person[j]):
                        cost[i, j] = _distance(order[i], order[j])
        for i, j in sorted(assign(cost, 1.0), key=lambda pair: float(cost[pair])):
            if self._may_join(self.person[i], self.person[j]):
                self._join(self.person[i], self.person[j])

    def join_looks(self) -> None:
        """Join who is surely alike by the skin where there is no embedding to go by, the surest first."""
        order = self._order
        rows = [k for k, t in enumerate(order) if t.look is not None]
        if len(rows) < 2:
            return
        alike = np.triu(likeness([look for t in order if (look := t.look) is not None]), 1)
        embedded = self._embedded[rows]
        alike[embedded[:, None] & embedded[None]] = -1.0
        sure = np.argwhere(alike >= SURE)
        for i, j in sure[np.argsort(-alike[tuple(sure.T)], kind="stable")]:
            a, b = self.person[rows[i]], self.person[rows[j]]
            if self._may_join(a, b):
                self._join(a, b)

    def _alike(self, k: int) -> Float64:
        """(n,) mean cosine of a group to every other; -inf where they cannot be one or are unknown."""
        pairs = self._known[k] * self._known
        possible = (pairs > 0.0) & ~self._together[k]
        return np.where(possible, self._sums[k] / np.maximum(pairs, 1.0), -np.inf)

    def _may_join(self, a: int, b: int) -> bool:
        """Whether nothing says that two groups are different persons."""
        pairs = self._known[a] * self._known[b]
        unlike = pairs > 0.0 and self._sums[a, b] / pairs < self._least
        return not (self._together[a, b] or unlike)

    def _join(self, a: int, b: int) -> None:
        """Make two groups one, named `a`; `b` is no group any more."""
        self.person = [a if k == b else k for k in self.person]
        self._together[a] |= self._together[b]
        self._together[:, a] |= self._together[:, b]
        self._sums[a] += self._sums[b]
        self._sums[:, a] += self._sums[:, b]
        self._known[a] += self._known[b]
        self._known[b] = 0.0


def units(vectors: Sequence[Array]) -> Float64:
    """(n, D) the vectors with length 1."""
    rows = np.array(vectors, np.float64) if len(vectors) else np.zeros((0, 1))
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float64)


def means(tracks: Tracks) -> tuple[tuple[int, ...], Float64]:
    """The persons of whom there are embeddings, and the (P, D) direction of each one's mean, of length 1."""
    known = [t for t in tracks.tracks if t.embedding is not None]
    persons = tuple(sorted({t.person for t in known}))
    rays = units([t.embedding for t in known if t.embedding is not None])
    sums = [rays[[t.person == p for t in known]].sum(axis=0) for p in persons]
    return persons, units(sums)


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
        faces: `prominent` (who fills the clip most), `all`, `left`, `right`, `largest`, track ids such as
            "1,4" or persons such as "person1,person3". `left` and `right` are judged in each shot;
            `prominent` and `largest` are one person, changed only in the shots in which they are surely
            known.

    Raises:
        SettingsError: Neither a word nor existing ids or persons.
        NoFaceError: There is no track at all.
    """
    try:
        named = listed(faces)
    except SettingsError as error:
        raise SettingsError(error.subject, error.problem, f"{error.advice} {_there(tracks)}") from error
    if named is not None:
        return _named(tracks, *named)
    word = faces.strip().lower()
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


def _by(items: Iterable[_Item], key: Callable[[_Item], int]) -> list[list[_Item]]:
    """Items in groups of equal key, in order of the keys."""
    groups: dict[int, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return [groups[k] for k in sorted(groups)]


def listed(faces: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The track ids and the persons that a list such as "1,4" or "person1,person3" names; None for a word.

    Raises:
        SettingsError: It is neither.
    """
    text = faces.strip().lower()
    if text in WORDS:
        return None
    found = [re.fullmatch(r"(person)?([0-9]+)", part.strip()) for part in text.split(",")]
    parts = [(bool(match[1]), int(match[2])) for match in found if match]
    if len(parts) < len(found):
        advice = f'Use {", ".join(WORDS)}, ids such as "1,4" or persons such as "person1,person3".'
        raise SettingsError("faces", f"{faces!r} is neither a word nor a list of tracks or persons", advice)
    ids, persons = (sorted({n for kind, n in parts if kind == person}) for person in (False, True))
    return tuple(ids), tuple(persons)


def _named(tracks: Tracks, ids: Sequence[int], persons: Sequence[int]) -> tuple[int, ...]:
    """Ids of the tracks that a list names."""
    for what, wanted, known in (
        ("track", ids, {t.id for t in tracks.tracks}),
        ("person", persons, {t.person for t in tracks.tracks}),
    ):
        absent = ", ".join(str(k) for k in wanted if k not in known)
        if absent:
            raise SettingsError("faces", f"there is no {what} {absent}", _there(tracks))
    return tuple(sorted(t.id for t in tracks.tracks if t.id in ids or t.person in persons))


def _there(tracks: Tracks) -> str:
    """What can be named."""
    ids = ", ".join(str(t.id) for t in tracks.tracks) or "none"
    persons = ", ".join(f"person{k}" for k in sorted({t.person for t in tracks.tracks})) or "none"
    return f"There are the tracks {ids} and the persons {persons}."


def contact(tracks: Tracks) -> tuple[View, ...]:
    """The best view of each track: sure, large, frontal and inside the picture."""
    return tuple(_view(t, tracks.size) for t in tracks.tracks)


def _view(track: Track, size: tuple[int, int]) -> View:
    shown = np.sqrt(side(track.box)) * inside(track.box, size) * np.exp(-2 * turned(track.points))
    worth = np.where(track.observed, track.score * shown, -1.0)
    k = int(np.argmax(worth))
    box, score = track.box[k], float(track.score[k])
    return View(track.id, track.person, track.start + k, box, track.start, track.end, score, float(worth[k]))


def cast(tracks: Tracks) -> tuple[Person, ...]:
    """The persons of a clip, in order of their numbers."""
    views = {view.track: view for view in contact(tracks)}
    found = []
    for own in _by(tracks.tracks, lambda t: t.person):
        order = sorted(own, key=lambda t: (t.start, t.id))
        spans = tuple((t.start, t.end) for t in order)
        best = max((views[t.id] for t in order), key=lambda view: view.worth)
        shots = len({t.shot for t in order})
        found.append(Person(order[0].person, tuple(t.id for t in order), spans, shots, best))
    return tuple(found)
