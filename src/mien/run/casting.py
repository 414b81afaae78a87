"""Who becomes whom: which tracks belong to which role, by word, number or picture, and what is said of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mien import pipeline
from mien.errors import ModelError, NoFaceError, SettingsError
from mien.faces import people
from mien.faces.crops import SMALLEST, Embedder
from mien.faces.people import Person
from mien.faces.track import assign as matched
from mien.faces.track import side
from mien.images import geometry
from mien.media.clip import Clip, FrameIndex
from mien.models import detect, embed
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.run import source
from mien.settings import Detect, Job, Settings
from mien.types import Float32, Frame, Tracks, Warned


def resolved(settings: Settings, known: Catalogue, store: Store) -> Settings:
    """The settings with `track.embedder` made a card's name or `none`, before anything is named after them.

    Raises:
        UnknownModel: It names no card.
        SettingsError: It names a card of another task.
    """
    name = settings.track.embedder
    if name == "auto":
        best = embed.best(known, store.installed)
        name = "none" if best is None else best.name
    elif name != "none" and known.card(name).task != "embed":
        fitting = ", ".join(card.name for card in known.of("embed")) or "none"
        raise SettingsError(
            "track.embedder", f"{name} is a model for another task", f"Use one of: {fitting}."
        )
    track = settings.track.model_copy(update={"embedder": name})
    return settings.model_copy(update={"track": track})


def embedder(settings: Settings, known: Catalogue) -> Card | None:
    """The card that recognises people by resolved settings; None where there is none."""
    name = settings.track.embedder
    return None if name in ("auto", "none") else known.card(name)


def check(job: Job, card: Card | None) -> None:
    """See before any work that people can be recognised where pictures say who is meant.

    Raises:
        ModelError: They cannot.
    """
    pictures = [path for role in job.cast for path in role.like]
    if pictures and card is None:
        what = "cannot be looked for: there is no network that recognises people"
        raise ModelError(pictures[0].name, what, f"{_get_one()}Or choose by word, track or person.")


def _get_one() -> str:
    """How to get a network that recognises people, one that needs no licence to be accepted if there is."""
    cards = sorted(Catalogue().of("embed"), key=lambda card: card.gated)
    return f"`mien models pull {cards[0].name}` gets one. " if cards else ""


def files(job: Job) -> Iterator[Path]:
    """Every file that shows a new face or who is meant; folders and patterns are expanded."""
    for role in job.cast:
        for path in (*role.sources, *role.like):
            yield from source.files(path)
    for cue in job.cues:
        for path in cue.sources:
            yield from source.files(path)


def meant(
    job: Job, runtime: Runtime, settings: Settings
) -> Generator[Warned, None, tuple[Float32 | None, ...]]:
    """The (D,) mean embedding of each role's pictures of who is meant; None for a role without.

    Args:
        job: Its `like` pictures are read.
        runtime: Where the networks run.
        settings: Resolved; its `detect` group says how faces are found.

    Yields:
        What is not as good as it could be.

    Raises:
        ModelError: There is no network that recognises people.
        NoFaceError: A picture shows no face.
        MediaError: A picture cannot be read.
    """
    card = embedder(settings, runtime.catalogue)
    check(job, card)
    found: list[Float32 | None] = []
    for role in job.cast:
        vectors = []
        if card is not None:
            network = pipeline.recogniser(runtime, card)
            for path in role.like:
                vectors.append((yield from _embedded(path, runtime, settings, network)))
        found.append(network.mean(np.concatenate(vectors)) if vectors else None)
    return tuple(found)


def _embedded(
    path: Path, runtime: Runtime, settings: Settings, network: Embedder
) -> Generator[Warned, None, Float32]:
    """(N, D) embeddings of the largest face in every picture of a file."""
    crops, most = [], 0
    for frame in source.pictures(path, settings.device.threads):
        faces = detect.find(runtime, frame, settings.detect)
        most = max(most, len(faces))
        if len(faces):
            crops.append(network.cut(frame, faces.points[int(np.argmax(geometry.area(faces.box)))]))
    if not crops:
        strict = settings.detect.score > Detect().score
        advice = "Give a picture where the face is large, sharp and seen from the front"
        raise NoFaceError(path, "shows no face", advice + (", or lower detect.score." if strict else "."))
    if most > 1:
        yield Warned(str(path), f"shows {most} faces; the largest is looked for")
    return network.embed(np.stack(crops))


def recognised(frame: Frame, tracks: Tracks, runtime: Runtime, card: Card) -> Tracks:
    """The tracks of one picture, each face with its embedding where it is large enough."""
    network = pipeline.recogniser(runtime, card)
    large = [k for k, t in enumerate(tracks.tracks) if side(t.box[0]) >= SMALLEST]
    found = list(tracks.tracks)
    if large:
        vectors = network.embed(np.stack([network.cut(frame, found[k].points[0]) for k in large]))
        for k, vector in zip(large, vectors, strict=True):
            found[k] = replace(found[k], embedding=vector)
    return replace(tracks, tracks=tuple(found), embedder=card.name)


def assign(
    job: Job,
    tracks: Tracks,
    meant: Sequence[Float32 | None] = (),
    same: float = 1.0,
    *,
    partial: bool = False,
) -> tuple[tuple[int, ...], ...]:
    """Each role's tracks; a track belongs to the first role that names it.

    Args:
        job: Its cast.
        tracks: Of the target.
        meant: For each role the embedding of who is meant; empty where no role has pictures.
        same: Cosine from which the network that gave the embeddings is sure.
        partial: Whether somebody shown by a picture may be absent as long as another role has somebody, as
            in one picture of many.

    Returns:
        Track ids, a tuple for each role. Persons are given to roles with pictures one to one, so that the
        cosines' sum is largest (Hungarian method).

    Raises:
        NoFaceError: There is nobody, or nobody who looks like a role's pictures.
        SettingsError: A role names faces that do not exist.
        ValueError: Pictures without embeddings.
    """
    alike = _alike(job, tracks, meant, same, partial) if tracks.tracks else {}
    found, taken = [], set[int]()
    for k, role in enumerate(job.cast):
        try:
            ids = alike[k] if k in alike else people.select(tracks, role.faces)
        except NoFaceError as error:
            raise NoFaceError(job.target, error.problem, error.advice) from error
        own = tuple(k for k in ids if k not in taken)
        taken.update(own)
        found.append(own)
    return tuple(found)


def _alike(
    job: Job, tracks: Tracks, meant: Sequence[Float32 | None], same: float, partial: bool
) -> dict[int, tuple[int, ...]]:
    """The tracks of each role that has pictures, by its number."""
    rows = [k for k, role in enumerate(job.cast) if role.like]
    wanted = [vector for k in rows if k < len(meant) and (vector := meant[k]) is not None]
    if len(wanted) < len(rows) or (rows and not tracks.embedder):
        raise ValueError("roles: expected an embedding of every role with pictures and of the tracks")
    if not rows:
        return {}
    numbers, means = people.means(tracks)
    cosine = people.units(wanted) @ means.T if numbers else np.zeros((len(rows), 0))
    pairs = dict(matched(1.0 - cosine, 1.0 - same))
    enough = partial and (pairs or len(rows) < len(job.cast))
    for row, k in enumerate(rows):
        if row not in pairs and not enough:
            cosines = dict(zip(numbers, cosine[row].tolist(), strict=True))
            raise _nobody(job, job.cast[k].like[0], tracks, cosines, same)
    cast = {person.number: person for person in people.cast(tracks)}
    chosen = {row: [cast[numbers[pairs[row]]]] if row in pairs else [] for row in range(len(rows))}
    for column in np.argsort(-cosine.max(axis=0)):
        row, person = int(cosine[:, column].argmax()), cast[numbers[column]]
        # one human being may be two persons where cuts left it open: nobody else's, and never there at once
        free = column not in pairs.values() and cosine[row, column] >= same
        if free and not any(_meet(person, other) for other in chosen[row]):
            chosen[row].append(person)
    return {rows[row]: tuple(sorted(t for p in own for t in p.tracks)) for row, own in chosen.items()}


def _meet(a: Person, b: Person) -> bool:
    """Whether two persons are there at the same time."""
    return any(s < f and e < t for s, t in a.spans for e, f in b.spans)


def _nobody(job: Job, picture: Path, tracks: Tracks, cosines: dict[int, float], same: float) -> NoFaceError:
    """That nobody looks like a picture, how near the nearest came, and who there is."""
    if not cosines:
        return NoFaceError(picture, f"{job.target.name} shows nobody large enough to be recognised")
    nearest = max(cosines, key=lambda number: cosines[number])
    how = f"person{nearest} is the nearest with {cosines[nearest]:.2f}"
    if cosines[nearest] >= same:
        problem = f"{how}, but goes to another role, whose pictures fit better"
    else:
        problem = f"nobody in {job.target.name} surely looks like this: {how}, {same:.2f} is sure"
    there = ", ".join(f"person{p.number} ({listed(p.tracks)})" for p in people.cast(tracks))
    return NoFaceError(picture, problem, f"Choose by number instead; there are: {there}.")


def listed(ids: Sequence[int]) -> str:
    """Track ids as people write them."""
    return f"track{'s' if len(ids) > 1 else ''} {', '.join(str(k) for k in ids)}"


def unchanged(job: Job, ids: Sequence[Sequence[int]], tracks: Tracks) -> Iterator[Warned]:
    """Says where somebody is not changed who may have been meant.

    Args:
        job: Its cast.
        ids: What `assign` made of it.
        tracks: Of the target.
    """
    for number, (role, own) in enumerate(zip(job.cast, ids, strict=True), 1):
        if not own:
            yield Warned(str(job.target), f"role {number} changes nobody: others are named before it")
            continue
        left, shots = people.unsure(tracks, role.faces, own)
        if left and not role.like:
            text = (
                f"in {left} of {shots} shots with faces nobody is surely the {role.faces.strip().lower()} "
                "person, and nobody is changed there; give track ids for them (mien analyse lists them)"
            )
            if not tracks.embedder:
                text += "; a network that recognises people would find more"
            yield Warned(str(job.target), text)


def persons(tracks: Tracks, index: FrameIndex, clip: Clip) -> dict[str, dict[str, Any]]:
    """What is told of each person of a clip, as plain values: see `types.Finished`.

    Args:
        tracks: From pass one.
        index: The clip's frames; screen time is exact by their times.
        clip: The clip.
    """
    bounds = [*index.pts.tolist(), index.end_pts]
    found = {}
    for person in people.cast(tracks):
        ticks = sum(bounds[end] - bounds[start] for start, end in person.spans)
        first = Fraction(bounds[person.spans[0][0]]) * index.time_base - clip.origin
        found[f"person{person.number}"] = {
            "seconds": round(float(ticks * index.time_base), 6),
            "first": timecode(first),
            "shots": person.shots,
            "tracks": list(person.tracks),
        }
    return found


def timecode(moment: Fraction) -> str:
    """A moment as "1:02:03.004": as `--start` takes it; cut to milliseconds, so that it is never later."""
    whole = max(0, int(moment * 1000))
    minutes, rest = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:{minutes:02d}' if hours else minutes}:{rest // 1000:02d}.{rest % 1000:03d}"
