"""Who becomes whom while frames come in: decided by what has been seen so far."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from mien import pipeline
from mien.errors import NoFaceError, SettingsError
from mien.faces import people
from mien.faces.crops import SMALLEST, Embedder
from mien.faces.track import side
from mien.run.render import Part
from mien.run.scene import Scene
from mien.settings import Role
from mien.stages.look import mixes, onto
from mien.stages.patch import Look
from mien.types import Faces, Float32, Frame, Track, Tracks

_LOOKS = (0, 8, 25, 75)
"""Frames after its first at which somebody is looked at to be recognised."""


@dataclass(slots=True, eq=False)
class _Known:
    """What is known of somebody who is being followed."""

    age: int = 0
    vectors: list[Float32] = field(default_factory=list)


class Ensemble:
    """Gives each role its faces, frame by frame.

    A role keeps its faces as long as they are followed; one that has none takes who fits its words in the
    present frame. Words mean what they mean of a clip, with the present frame as the whole clip; track ids
    are numbers in order of appearance.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._held: list[set[int]] = [set() for _ in scene.order.job.cast]
        self._known: dict[int, _Known] = {}
        self._mixed: dict[tuple[int, int], Look] = {}
        card = scene.order.embedder if scene.recognises else None
        self._eye: Embedder | None = pipeline.recogniser(scene.runtime, card) if card is not None else None

    def take_over(self, before: Ensemble) -> None:
        """Keep who has which role from before a change, where the words are the same."""
        old = before._scene.order.job.cast
        for k, role in enumerate(self._scene.order.job.cast[: len(old)]):
            if (role.faces, role.like) == (old[k].faces, old[k].like):
                self._held[k] = before._held[k]

    def parts(self, frame: Frame, faces: Faces) -> tuple[tuple[Part, ...], Tracks]:
        """Each role with the tracks that it has in a frame, and the frame's faces as tracks of one row.

        Args:
            frame: As it came in.
            faces: With dense landmarks and tracks.
        """
        self._recognise(frame, faces)
        now = self._tracks(frame, faces)
        alive = {track.id for track in now.tracks}
        taken: set[int] = set()
        for k, role in enumerate(self._scene.order.job.cast):
            kept = (self._held[k] & alive) - taken
            self._held[k] = kept | (self._wanted(k, role, now, bool(kept)) - taken)
            taken |= self._held[k]
        self._mixed = {key: look for key, look in self._mixed.items() if key[1] in alive}
        return tuple(self._part(k, now) for k in range(len(self._held))), now

    def _wanted(self, number: int, role: Role, now: Tracks, has: bool) -> set[int]:
        """Who a role asks for in a frame, besides those it has."""
        if role.like:
            return self._alike(number, now)
        named = people.listed(role.faces)
        if named is not None:
            ids = {k for part in named for k in part}
            return {track.id for track in now.tracks if track.id in ids}
        if has and role.faces.strip().lower() != "all":
            return set()
        with suppress(NoFaceError, SettingsError):
            return set(people.select(now, role.faces))
        return set()

    def _alike(self, number: int, now: Tracks) -> set[int]:
        """Those who surely look like a role's pictures."""
        meant, card = self._scene.cast.meant[number], self._scene.order.embedder
        if meant is None or card is None:
            return set()
        known = [track for track in now.tracks if track.embedding is not None]
        cosine = (
            people.units([t.embedding for t in known if t.embedding is not None]) @ people.units([meant])[0]
        )
        return {track.id for track, c in zip(known, cosine, strict=True) if c >= card.same}

    def _recognise(self, frame: Frame, faces: Faces) -> None:
        """Look at one face that is due, if people are to be told apart."""
        numbers = [] if faces.track is None else faces.track.tolist()
        self._known = {number: self._known.get(number, _Known()) for number in numbers}
        for k, number in enumerate(numbers):
            one = self._known[number]
            due = one.age >= _LOOKS[min(len(one.vectors), len(_LOOKS) - 1)] and len(one.vectors) < len(_LOOKS)
            one.age += 1
            if self._eye is not None and due and side(faces.box[k]) >= SMALLEST:
                one.vectors.append(self._eye.embed(self._eye.cut(frame, faces.points[k])[None])[0])
                self._mixed = {key: look for key, look in self._mixed.items() if key[1] != number}
                return

    def _tracks(self, frame: Frame, faces: Faces) -> Tracks:
        numbers = [] if faces.track is None else faces.track.tolist()
        made = tuple(
            Track(
                number,
                frame.index,
                faces.box[k : k + 1],
                faces.points[k : k + 1],
                faces.score[k : k + 1],
                np.ones(1, bool),
                person=number,
                embedding=self._embedding(number),
            )
            for k, number in enumerate(numbers)
        )
        dense = {} if faces.dense is None else {n: faces.dense[k : k + 1] for k, n in enumerate(numbers)}
        return Tracks(frame.index + 1, frame.size, (0,), made, dense)

    def _embedding(self, number: int) -> Float32 | None:
        vectors = self._known[number].vectors
        return self._eye.mean(np.stack(vectors)) if vectors and self._eye is not None else None

    def _part(self, number: int, now: Tracks) -> Part:
        """A role's look, with the identities of those it is put on mixed in where that is asked."""
        look, ids = self._scene.cast.looks[number], tuple(sorted(self._held[number]))
        if not mixes(look):
            return Part(look, ids)
        identity = self._scene.cast.identities[number]
        conditions = dict(look.conditions)
        for track in now.tracks:
            if track.id in ids and track.embedding is not None:
                key = (number, track.id)
                if key not in self._mixed:
                    self._mixed[key] = onto(self._scene.runtime, look, identity, [track])
                conditions[track.id] = self._mixed[key].condition(track.id)
        return Part(replace(look, conditions=conditions), ids)
