"""Which networks a job needs, seen before any work begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mien.errors import SettingsError
from mien.models import deepface, landmark68, swap
from mien.models.card import Card, Task
from mien.models.catalogue import Catalogue, near
from mien.models.mediapipe import FACEMESH
from mien.settings import Role, Settings

CHANGING: tuple[Task, ...] = ("swap", "enhance", "occlude", "parse")
"""What networks do while frames are changed; all others only look at the clip before that."""
MESH = "mesh"
"""The swapper that needs no network of its own."""
NETWORKS_ONLY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "swap": ("size", "every", "morph", "colour"),
        "mask": ("padding", "occlusion", "regions", "areas"),
        "enhance": ("model",),
    }
)
"""Group to its settings that count for swap networks alone."""


@dataclass(frozen=True)
class Wish:
    """What a setting asks for."""

    field: str
    name: str
    task: Task
    families: tuple[str, ...] = ()
    """Families that will do; none for all."""


def own(role: Role, settings: Settings) -> Settings:
    """A role's settings: its own where it has some, else the job's."""
    given = {
        name: value for name in ("swap", "mask", "enhance") if (value := getattr(role, name)) is not None
    }
    return settings.model_copy(update=given)


def analysis(settings: Settings, known: Catalogue) -> tuple[Card, ...]:
    """The cards that pass one uses.

    Raises:
        UnknownModel: A setting names no card.
        SettingsError: A setting names a card of another task.
    """
    return tuple(dict.fromkeys((*(_granted(wish, known) for wish in _finding(settings)), FACEMESH)))


def cards(
    roles: Sequence[Role], settings: Settings, known: Catalogue, networks: Sequence[Card | None]
) -> tuple[Card, ...]:
    """The cards of every network that a job uses.

    Args:
        roles: Its cast, and what cues make of it.
        settings: The job's, with names resolved.
        known: Where names are looked up.
        networks: Each role's swapper, from `swappers`.

    Raises:
        UnknownModel: A setting names no card.
        SettingsError: A setting names a card of another task, or one that does not fit the network.
    """
    found = list(analysis(settings, known))
    for role, network in zip(roles, networks, strict=True):
        asked = own(role, settings)
        if network is not None:
            found += [network, *_of_latent(network, known)]
            _fitting(asked, network)
        wishes = [_granted(wish, known) for wish in _changing(asked)]
        found += wishes if network is not None else []
        _mixable(asked, network, settings.track.embedder)
    return tuple(dict.fromkeys(found))


def swappers(roles: Sequence[Role], settings: Settings, known: Catalogue) -> tuple[Card | None, ...]:
    """Each role's `swapper`; a `.dfm` file, which may be large, is read once."""
    found: dict[str, Card | None] = {}
    for role in roles:
        asked = own(role, settings)
        if asked.swap.model not in found:
            found[asked.swap.model] = swapper(asked, known)
    return tuple(found[own(role, settings).swap.model] for role in roles)


def swapper(settings: Settings, known: Catalogue) -> Card | None:
    """The card of the swap network; None for the mesh swapper.

    Raises:
        UnknownModel: There is no such card.
        SettingsError: The card is for another task.
        ModelError: A `.dfm` file cannot be read.
    """
    name = settings.swap.model
    if name == MESH:
        return None
    if name.lower().endswith(deepface.SUFFIX):
        return deepface.card(name)
    return _granted(Wish("swap.model", name, "swap"), known, MESH)


def unheeded(settings: Settings) -> tuple[str, ...]:
    """Names of settings other than their defaults that the mesh swapper does not know."""
    if settings.swap.model != MESH:
        return ()
    plain = Settings()
    return tuple(
        f"{group}.{name}"
        for group, names in NETWORKS_ONLY.items()
        for name in names
        if getattr(getattr(settings, group), name) != getattr(getattr(plain, group), name)
    )


def embedders(network: Card | None, known: Catalogue) -> tuple[Card, ...]:
    """The embedders whose vectors a swap network takes."""
    if network is None or network.latent is None or network.latent.kind != "embedding":
        return ()
    return (known.card(network.latent.embedder),)


def _finding(settings: Settings) -> Iterator[Wish]:
    yield Wish("detect.model", settings.detect.model, "detect")
    yield Wish("track.model", settings.track.model, "landmark", (FACEMESH.family,))
    if settings.track.refine:
        yield Wish("track.refine", settings.track.refine, "landmark", tuple(landmark68.FAMILIES))
    if settings.track.embedder not in ("none", "auto"):
        yield Wish("track.embedder", settings.track.embedder, "embed")


def _changing(settings: Settings) -> Iterator[Wish]:
    if settings.enhance.model:
        yield Wish("enhance.model", settings.enhance.model, "enhance")
    for name in filter(None, (part.strip() for part in settings.mask.occlusion.split(","))):
        yield Wish("mask.occlusion", name, "occlude")
    if settings.mask.regions:
        yield Wish("mask.parser", settings.mask.parser, "parse")


def _granted(wish: Wish, known: Catalogue, *others: str) -> Card:
    """The card a setting names, if it is one for the setting."""
    fitting = [c for c in known.of(wish.task) if not wish.families or c.family in wish.families]
    fine = (*others, *(c.name for c in fitting))
    card = known.card(wish.name) if wish.name in {c.name for c in known} else None
    if card is None or card not in fitting:
        problem = f"{wish.name} is a model for another task" if card else f"there is no model {wish.name!r}"
        meant = "" if card else near(wish.name, fine)
        raise SettingsError(wish.field, problem, f"{meant}Use one of: {', '.join(fine)}.")
    return card


def _of_latent(network: Card, known: Catalogue) -> list[Card]:
    """Embedder and converter of a swap network."""
    latent = network.latent
    if latent is None or latent.kind != "embedding":
        return []
    return [known.card(name) for name in (latent.embedder, latent.converter) if name]


def _fitting(settings: Settings, network: Card) -> None:
    """See that `swap.size` can be had.

    Raises:
        SettingsError: It cannot.
    """
    if settings.swap.size and settings.swap.size not in swap.sides(network):
        problem = f"{network.name} does not work at {settings.swap.size}"
        sizes = ", ".join(str(side) for side in swap.sides(network))
        raise SettingsError("swap.size", problem, f"Use one of: {sizes}.")


def _mixable(settings: Settings, network: Card | None, embedder: str) -> None:
    """See that `swap.strength` can be had: it mixes vectors of one embedder.

    Raises:
        SettingsError: The analysis uses another embedder than the swap network.
    """
    if settings.swap.strength == 1.0 or network is None or network.latent is None:
        return
    if network.latent.kind == "embedding" and network.latent.embedder != embedder:
        problem = (
            f"needs the target's vectors by {network.latent.embedder}, and people are told by {embedder}"
        )
        raise SettingsError("swap.strength", problem, f"Use --track.embedder {network.latent.embedder}.")


def describing(used: Sequence[Card]) -> tuple[str, ...]:
    """What an output says was done, for the networks that changed pictures."""
    return tuple(f"face restored ({card.name})" for card in used if card.task == "enhance")
