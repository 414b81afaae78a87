"""From an identity and settings to a look: everything that is done once, before the first frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mien.faces import mesh
from mien.models import deepface, swap
from mien.models.card import Card
from mien.settings import Enhance, Mask, Settings, Swap
from mien.stages.describe import topology
from mien.stages.patch import ANYBODY, Conditions, Look
from mien.types import Identity, Track

if TYPE_CHECKING:
    from mien.models.runtime import Runtime


def look(runtime: Runtime, identity: Identity, network: Card | None, settings: Settings) -> Look:
    """Prepare an identity for the swapper.

    Args:
        runtime: Where the networks run.
        identity: Who somebody becomes.
        network: Card of the swap network; None for the mesh swapper.
        settings: Its `swap`, `mask` and `enhance` groups are used.

    Raises:
        ModelError: A network cannot be loaded.
    """
    texture = mesh.prepare(identity.portraits, topology(runtime)) if network is None else None
    conditions: dict[int, Conditions] = {}
    if network is not None and network.family != deepface.FAMILY:
        source = swap.latent(runtime, network, identity)
        conditions[ANYBODY] = swap.condition(runtime, network, source)
    made = Look(Swap(), Mask(), Enhance(), texture=texture, network=network, conditions=conditions)
    return styled(made, settings)


def styled(look: Look, settings: Settings) -> Look:
    """The same identity for the same swapper, with other settings.

    Args:
        look: From `look`, not from `onto`: what was mixed for certain people would stay.
        settings: Its `swap`, `mask` and `enhance` groups are used.
    """
    mixed = look.network is not None and mixing(look.network)
    return replace(
        look,
        swap=settings.swap,
        mask=settings.mask,
        enhance=settings.enhance,
        opacity=1.0 if mixed else min(settings.swap.strength, 1.0),
    )


def onto(runtime: Runtime, look: Look, identity: Identity, tracks: Sequence[Track]) -> Look:
    """A look for certain people: where `swap.strength` mixes identities, theirs are mixed in.

    Args:
        runtime: Where the networks run.
        look: From `look`.
        identity: What it was made of.
        tracks: Whom it is put on; their embeddings are by the embedder of the swap network. A track without
            one gets the identity alone; see `unmixed`.

    Raises:
        ModelError: A network cannot be loaded.
    """
    network = look.network
    known = [(track.id, vector) for track in tracks if (vector := track.embedding) is not None]
    if network is None or not mixes(look) or not known:
        return look
    source = swap.latent(runtime, network, identity)
    conditions = dict(look.conditions)
    for track, vector in known:
        target = swap.target_latent(runtime, network, vector)
        mixed = swap.mixed(network, source, target, look.swap.strength)
        conditions[track] = swap.condition(runtime, network, mixed)
    return replace(look, conditions=conditions)


def unmixed(look: Look, ids: Sequence[int]) -> tuple[int, ...]:
    """The tracks on which `swap.strength` does not count, because they were never seen well enough."""
    return tuple(k for k in ids if k not in look.conditions) if mixes(look) else ()


def mixes(look: Look) -> bool:
    """Whether the identities of whom it is put on have to be mixed in."""
    return look.network is not None and mixing(look.network) and look.swap.strength != 1.0


def mixing(network: Card) -> bool:
    """Whether `swap.strength` mixes vectors of identities; where a network takes none it fades the face."""
    return network.latent is not None and network.latent.kind == "embedding"
