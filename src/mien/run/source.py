"""From sources, pictures and videos of somebody, to an identity."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from mien.errors import NoFaceError
from mien.media import animation, sequence
from mien.media import clip as clips
from mien.media.decode import frames
from mien.media.image import read_image
from mien.models import embed
from mien.models.card import Card
from mien.models.runtime import Runtime
from mien.settings import Detect, Role, Settings
from mien.stages.describe import describe, varied
from mien.types import Frame, Identity, Portrait, Warned

SAMPLES = 24
"""Frames of a source video that are looked at, evenly spread."""


def identity(
    role: Role, runtime: Runtime, settings: Settings, embedders: Sequence[Card] = ()
) -> Generator[Warned, None, Identity]:
    """Who somebody becomes.

    Args:
        role: Its sources are read; an identity without any has no portraits.
        runtime: Where the networks run.
        settings: How faces are found.
        embedders: Networks whose vectors are wanted.

    Yields:
        What is not as good as it could be.

    Raises:
        NoFaceError: A source shows no face.
    """
    portraits: list[Portrait] = []
    for path in role.sources:
        portraits += yield from _portraits(path, runtime, settings)
    chosen = varied(portraits)
    vectors = {card.name: embed.describe(runtime, card, chosen) for card in embedders if chosen}
    return Identity(", ".join(path.stem for path in role.sources), chosen, vectors)


def _portraits(path: Path, runtime: Runtime, settings: Settings) -> Generator[Warned, None, list[Portrait]]:
    """Every portrait one source gives."""
    found: list[Portrait] = []
    most = 0
    for frame in pictures(path, settings.device.threads):
        portrait, count = describe(frame, runtime, settings.detect)
        most = max(most, count)
        if portrait is not None:
            found.append(portrait)
    if not found:
        advice = "Give a source where the face is large, sharp and seen from the front"
        strict = settings.detect.score > Detect().score
        raise NoFaceError(path, "shows no face", advice + (", or lower detect.score." if strict else "."))
    if most > 1:
        yield Warned(str(path), f"shows {most} faces; the largest is used")
    return found


def pictures(path: Path, threads: int = 0) -> Iterator[Frame]:
    """The pictures of a source: a still, a folder or pattern of stills, samples of an animation or video.

    Args:
        path: The source.
        threads: For decoding a video; 0 for all.

    Raises:
        MediaError: It cannot be read.
    """
    kind = sequence.kind(path)
    if kind in ("image", "sequence"):
        for picture in sequence.expand(path):
            yield read_image(picture)[0]
        return
    if kind == "animation":
        facts = animation.read_animation(path)
        step = max(1, len(facts.durations) // SAMPLES)
        yield from itertools.islice(animation.frames(facts), 0, None, step)
        return
    clip = clips.probe(path)
    index = clips.index(clip)
    for number in np.unique(np.linspace(0, len(index) - 1, SAMPLES).round().astype(int)):
        yield from frames(clip, index, int(number), int(number) + 1, threads=threads, writable=False)


def files(path: Path) -> list[Path]:
    """The files a source stands for."""
    return sequence.expand(path) if sequence.kind(path) == "sequence" else [path]
