"""From sources, pictures and videos of somebody, to the texture the swapper needs."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from mien import stages
from mien.errors import NoFaceError, SettingsError
from mien.faces import mesh
from mien.media import animation, sequence
from mien.media import clip as clips
from mien.media.decode import frames
from mien.media.image import read_image
from mien.models.runtime import Runtime
from mien.settings import Detect, Role, Settings
from mien.types import Frame, Portrait, Warned

SAMPLES = 24
"""Frames of a source video that are looked at, evenly spread."""


def texture(role: Role, runtime: Runtime, settings: Settings) -> Generator[Warned, None, mesh.Texture]:
    """What the swapper needs of an identity.

    Yields:
        What is not as good as it could be.

    Raises:
        SettingsError: There are no sources.
        NoFaceError: A source shows no face.
    """
    if not role.sources:
        raise SettingsError("source", "is empty", "Give at least one picture or video of the new face.")
    portraits: list[Portrait] = []
    for path in role.sources:
        portraits += yield from _portraits(path, runtime, settings)
    return mesh.prepare(stages.varied(portraits), stages.topology(runtime))


def _portraits(path: Path, runtime: Runtime, settings: Settings) -> Generator[Warned, None, list[Portrait]]:
    """Every portrait one source gives."""
    found: list[Portrait] = []
    most = 0
    for frame in pictures(path, settings.device.threads):
        portrait, count = stages.describe(frame, runtime, settings.detect)
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
