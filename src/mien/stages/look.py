"""From an identity and settings to a look: everything that is done once, before the first frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mien.faces import mesh
from mien.models import deepface, swap
from mien.models.card import Card
from mien.settings import Settings
from mien.stages.describe import topology
from mien.stages.patch import ANYBODY, Conditions, Look
from mien.types import Identity, Track

if TYPE_CHECKING:
    from mien.models.runtime import Runtime


def look(
    runtime: Runtime,
    identity: Identity,
    network: Card | None,
    settings: Settings,
    tracks: Sequence[Track] = (),
) -> Look:
    """Prepare an identity for the swapper.

    Args:
        runtime: Where the networks run.
        identity: Who somebody becomes.
        network: Card of the swap network; None for the mesh swapper.
        settings: Its `swap`, `mask` and `enhance` groups are used.
        tracks: Whom the identity is put on. Where `swap.strength` is not 1 their embeddings, by the embedder
            of the swap network, are mixed in.

    Raises:
        ModelError: A network cannot be loaded.
    """
    asked, strength = settings.swap, settings.swap.strength
    texture = mesh.prepare(identity.portraits, topology(runtime)) if network is None else None
    conditions: dict[int, Conditions] = {}
    mixes = network is not None and mixing(network)
    if network is not None and network.family != deepface.FAMILY:
        source = swap.latent(runtime, network, identity)
        conditions[ANYBODY] = swap.condition(runtime, network, source)
        for track in tracks if mixes and strength != 1.0 else ():
            if track.embedding is not None:
                target = swap.target_latent(runtime, network, track.embedding)
                mixed = swap.mixed(network, source, target, strength)
                conditions[track.id] = swap.condition(runtime, network, mixed)
    return Look(
        swap=asked,
        mask=settings.mask,
        enhance=settings.enhance,
        texture=texture,
        network=network,
        conditions=conditions,
        opacity=1.0 if mixes else min(strength, 1.0),
    )


def mixing(network: Card) -> bool:
    """Whether `swap.strength` mixes vectors of identities; where a network takes none it fades the face."""
    return network.latent is not None and network.latent.kind == "embedding"
