"""What videos, pictures and animations have in common: a job settled before work begins, and its cast."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mien.models import catalogue
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime, available_threads
from mien.models.store import Store
from mien.run import casting, cues, gate, needs, source
from mien.run.clock import Clock
from mien.run.place import stamp
from mien.run.render import Footage, Part
from mien.run.report import fetched
from mien.settings import Job, Role, Settings
from mien.stages.look import look, onto, styled, unmixed
from mien.stages.patch import Look
from mien.trust import label
from mien.types import Event, Float32, Identity, Tracks, Warned


@dataclass(frozen=True)
class Order:
    """A job with every name in it looked up."""

    job: Job
    settings: Settings
    """The job's, with what was left open decided."""
    known: Catalogue
    home: Path | None
    used: tuple[Card, ...]
    """Every network that the job needs."""
    roles: tuple[Role, ...]
    """The job's cast, and behind it what every cue makes of a role."""
    swappers: tuple[Card | None, ...]
    """Each role's swap network; None for the mesh swapper."""
    judges: tuple[Card, ...]
    """Those among them that judge the content."""

    @property
    def threads(self) -> int:
        """Processor threads that the job gets."""
        return self.settings.device.threads or available_threads()

    @property
    def own(self) -> tuple[Settings, ...]:
        """Each role's settings."""
        return tuple(needs.own(role, self.settings) for role in self.roles)

    def with_cues(self, role: int) -> tuple[int, ...]:
        """Rows in `roles` of a role of the cast, and of it under each cue that is for it."""
        first, rows = len(self.job.cast), [role]
        for cue in self.job.cues:
            meant = [k for k in range(len(self.job.cast)) if cues.meant(cue, k + 1)]
            if role in meant:
                rows.append(first + meant.index(role))
            first += len(meant)
        return tuple(rows)

    @property
    def embedder(self) -> Card | None:
        """The network that tells people apart; None where there is none."""
        return casting.embedder(self.settings, self.known)

    @property
    def content(self) -> str:
        """What the result says about the gate."""
        return gate.note(self.settings.safety, self.judges)


@dataclass(frozen=True)
class Cast:
    """The roles of a job and its cues, as far as they can be prepared without the target."""

    identities: tuple[Identity, ...]
    looks: tuple[Look, ...]
    """Of the identities, for whomever they are put on."""
    meant: tuple[Float32 | None, ...]
    """For each role of the cast the vector of the person it is for; None where it goes by words."""


def order(job: Job, home: Path | None = None) -> Order:
    """Settle a job: what is wrong with its settings is said here, before any work.

    Args:
        job: With absolute paths.
        home: Folder of models, jobs and analyses; None for the default one.

    Raises:
        UnknownModel: A setting names no card.
        SettingsError: A setting does not fit.
        ModelError: Something asks for a network that nobody has, or whose licence is not accepted.
    """
    known, store = catalogue.load(home), Store(home)
    settings = casting.resolved(job.settings, known, store)
    casting.check(job, casting.embedder(settings, known))
    judges = gate.judges(settings.safety, known, store)
    roles = (*job.cast, *cues.variants(job, lambda role: needs.own(role, settings)))
    swappers = needs.swappers(roles, settings, known)
    used = tuple(dict.fromkeys((*needs.cards(roles, settings, known, swappers), *judges)))
    return Order(job, settings, known, home, used, roles, swappers, judges)


def opened(order: Order, singly: bool = False) -> Generator[Event, None, Runtime]:
    """A runtime with every network that the job needs, seen to be usable; the caller closes it.

    Args:
        order: The job.
        singly: As a `Runtime` has it.

    Raises:
        ModelError: A file cannot be had, or is not what its card says.
        RuntimeUnavailable: Nothing here runs it as asked.
    """
    store = yield from fetched(order.used, order.home)
    runtime = Runtime(order.threads, store, order.known, order.settings.device, singly)
    try:
        for card in order.used:
            runtime.session(card)
    except BaseException:
        runtime.close()
        raise
    return runtime


def fallen(runtime: Runtime) -> Iterator[Warned]:
    """What there is to say about networks whose engine failed when it was loaded: another one ran them."""
    ran = runtime.engines
    yield from (Warned(name, f"ran on {ran[name]}, not on {text}") for name, text in runtime.fallen.items())


def measured(order: Order, runtime: Runtime) -> dict[str, str]:
    """Network to engine, of those whose engine is measured on each machine and was settled."""
    choices = runtime.choices()
    return {c.name: choices[c.name].label for c in order.used if not c.engine and c.name in choices}


def prepared(
    order: Order, runtime: Runtime, clock: Clock, seen: dict[Hashable, tuple[Identity, Look]] | None = None
) -> Generator[Warned, None, Cast]:
    """Read every role's sources, and the pictures of the people they are for.

    Args:
        order: The job.
        runtime: Where the networks run.
        clock: Told the stage `source`.
        seen: Identities that were read and made ready before; those that are new are added for the next time.

    Raises:
        NoFaceError: One of them shows no face.
    """
    if order.settings.safety.content == "off":
        yield Warned("safety.content", "explicit content is not judged: switched off")
    identities: list[Identity] = []
    looks: list[Look] = []
    yield from (
        Warned(", ".join(names), "counts for swap networks only, not for mesh") for names in _unheeded(order)
    )
    seen = {} if seen is None else seen
    for role, asked, network in zip(order.roles, order.own, order.swappers, strict=True):
        embedders = needs.embedders(network, order.known)
        stamps = tuple(map(stamp, role.sources))
        key = (role.sources, stamps, embedders, order.settings.detect, network, runtime)
        if key not in seen:
            made = source.identity(role, runtime, order.settings, embedders)
            identity = yield from clock.run("source", made)
            with clock.stage("source"):
                seen[key] = identity, look(runtime, identity, network, asked)
        identity, kept = seen[key]
        identities.append(identity)
        looks.append(styled(kept, asked))
    meant = yield from clock.run("source", casting.meant(order.job, runtime, order.settings))
    return Cast(tuple(identities), tuple(looks), meant)


def _unheeded(order: Order) -> Sequence[tuple[str, ...]]:
    """Settings that count for swap networks alone and are asked of another swapper, each once."""
    return tuple(dict.fromkeys(filter(None, map(needs.unheeded, order.own))))


def parts(
    order: Order,
    cast: Cast,
    runtime: Runtime,
    tracks: Tracks,
    partial: bool = False,
    film: Footage | None = None,
) -> tuple[Part, ...]:
    """Each role's look and tracks.

    Args:
        order: The job.
        cast: From `prepared`.
        runtime: Where the networks run.
        tracks: Who is in the target.
        partial: Whether some role's person may be absent, as in one of many pictures.
        film: The video, where there is one; without it cues do not count.

    Raises:
        NoFaceError: Nobody is to be changed.
        SettingsError: A role names tracks or persons that are not there.
    """
    same = order.embedder.same if order.embedder else 1.0
    ids = casting.assign(order.job, tracks, cast.meant, same, partial=partial)
    made: list[Part] = []
    for k, chosen in enumerate(ids):
        whom = [track for track in tracks.tracks if track.id in chosen]
        rows = order.with_cues(k)
        who, looks = [cast.identities[row] for row in rows], [cast.looks[row] for row in rows]
        cued = None
        if film is not None and len(rows) > 1:
            stretches = cues.stretches(order.job.cues, k + 1, film.index, film.clip)
            own = order.own[k]
            cued = cues.Cued(runtime, stretches, film.index, film.clip, own, looks, who, whom)
        made.append(Part(onto(runtime, looks[0], who[0], whom), tuple(chosen), tuple(looks[1:]), cued))
    return tuple(made)


def weaker(parts: Sequence[Part]) -> Iterator[str]:
    """What there is to say about people on whom `swap.strength` cannot be had."""
    for part in parts:
        if ids := unmixed(part.look, part.ids):
            who = casting.listed(ids)
            yield f"{who}: never seen well enough to mix identities; swap.strength counts as 1 there"


def unchanged(order: Order, parts: Sequence[Part], tracks: Tracks) -> Generator[Warned, None, None]:
    """What there is to say about people who are not changed, or not as asked, as nobody surely knows them."""
    yield from casting.unchanged(order.job, [part.ids for part in parts], tracks)
    yield from (Warned(str(order.job.target), text) for text in weaker(parts))


def edit(order: Order) -> label.Edit:
    """What the result says was done to it."""
    models = dict.fromkeys((asked.swap.model, asked.swap.every) for asked in order.own)
    swaps = tuple(
        f"face replaced ({Path(model).name}{f', 1 of {every} frames' if every > 1 else ''})"
        for model, every in models
    )
    return label.Edit(version("mien"), (*swaps, *needs.describing(order.used)))
