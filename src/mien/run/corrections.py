"""Who is who in a project: what the analysis found, as somebody has corrected it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mien.faces import people
from mien.run.project import Person, Project
from mien.types import Tracks

_NUMBERED = re.compile(r"person([1-9]\d{0,6})")


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """Tracks whose persons are those of a project."""

    tracks: Tracks
    names: dict[int, Person]
    """Number of a person to what the project calls it, with all its tracks."""

    def number(self, name: str) -> int | None:
        """The number of the person of this id; None where there is none."""
        return next((n for n, person in self.names.items() if person.id == name), None)


def corrected(project: Project, tracks: Tracks) -> Corrected:
    """The tracks with a project's corrections.

    Args:
        project: Its people are listed, or stay as they were found.
        tracks: From pass one over the whole clip.

    Returns:
        A track that several people name belongs to the first; ids of tracks that there are not are passed
        over, and who is left without a track is not there.
    """
    found = {person.number: f"person{person.number}" for person in people.cast(tracks)}
    listed = {person.id: person for person in project.people}
    claimed: dict[int, str] = {}
    for person in project.people:
        for number in person.tracks:
            claimed.setdefault(number, person.id)
    # Who is listed with tracks of its own has those alone; what was found besides is somebody else.
    fixed = {person.id for person in project.people if person.tracks}
    owners = {}
    for t in tracks.tracks:
        as_found = found[t.person] if found[t.person] not in fixed else f"track{t.id}"
        owners[t.id] = claimed.get(t.id, as_found)
    numbers = _numbers(list(dict.fromkeys(owners.values())), set(found))
    changed = tuple(replace(t, person=numbers[owners[t.id]]) for t in tracks.tracks)
    names = {}
    for name, number in numbers.items():
        ids = tuple(t.id for t in changed if t.person == number)
        names[number] = listed.get(name, Person(id=name)).model_copy(update={"tracks": ids})
    return Corrected(replace(tracks, tracks=changed), names)


def _numbers(names: list[str], taken: set[int]) -> dict[str, int]:
    """Id to number: `person3` is 3, other ids get numbers that nobody has."""
    own = {name: int(match[1]) for name in names if (match := _NUMBERED.fullmatch(name))}
    free = max((*taken, *own.values()), default=0) + 1
    others = [name for name in names if name not in own]
    return {**own, **{name: free + k for k, name in enumerate(others)}}


def settled(project: Project, tracks: Tracks) -> Project:
    """The same project, everybody listed whose tracks are not those that were found.

    So its document says by itself whom each part changes: with a track that person1 was given, person2 has
    one less, and is listed with the others. A part for somebody who is left without a track is off.

    Args:
        project: As somebody changed it.
        tracks: From pass one over the whole clip.
    """
    claimed = {track for person in project.people for track in person.tracks}
    if not claimed or not claimed <= {t.id for t in tracks.tracks}:
        return project  # nothing corrected, or by another analysis than this one
    now = {person.id: person for person in corrected(project, tracks).names.values()}
    found = {f"person{person.number}": set(person.tracks) for person in people.cast(tracks)}
    listed = []
    for person in project.people:
        if person.id in now:
            own = now[person.id].tracks
            as_found = set(own) == found.get(person.id)
            listed.append(person if as_found else person.model_copy(update={"tracks": own}))
    known = {person.id for person in listed}
    listed += [p for p in now.values() if p.id not in known and set(p.tracks) != found.get(p.id, set())]
    cast = tuple(p if p.person in now else p.model_copy(update={"off": True}) for p in project.cast)
    return project.model_copy(update={"people": tuple(listed), "cast": cast})
