"""What a live run shows, made ready before it counts: at its beginning and for every change."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mien.errors import SettingsError
from mien.models import detect, landmark
from mien.models.runtime import Runtime
from mien.run.clock import Clock
from mien.run.order import Cast, Order, opened, order, prepared
from mien.run.place import absolute
from mien.run.report import fetched
from mien.settings import Encode, Feed, Job, Role, Settings
from mien.stages.change import change
from mien.stages.look import mixes, mixing
from mien.stages.patch import Look, Patch
from mien.types import Colour, Event, Frame, Layout, Portrait

NEVER: Mapping[str, object] = MappingProxyType(
    {
        "swap.every": 1,
        "track.refine": "",
        "encode.fps": "",
        "encode.between": "repeat",
        "encode.size": "",
        "device.decode": "auto",
        "device.encode": "auto",
    }
)
"""Settings that have no effect live, and what they are where nobody asks for anything."""
USUAL = "1280x720"
"""Size for which searching is warmed where none is asked for."""
_RGB = Layout("rgb24", "rgb", 8, ((0, 1, 2),))


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    feed: Feed
    cast: tuple[Role, ...]
    settings: Settings


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that decides what frames look like; replaced as a whole between two frames."""

    asked: Asked
    order: Order
    runtime: Runtime
    cast: Cast

    @property
    def recognises(self) -> bool:
        """Whether a network must tell people apart: for pictures of who is meant, or to mix identities."""
        asked = any(role.like for role in self.order.job.cast) or any(map(mixes, self.cast.looks))
        return asked and self.order.embedder is not None


def settled(asked: Asked, home: Path | None) -> Order:
    """What was asked for, with every name looked up.

    Raises:
        MienError: Something in it cannot be.
    """
    if not asked.cast:
        raise SettingsError("source", "is empty", "Give a picture or video of the new face, with --source.")
    job = Job(target=Path("live"), output=Path("live"), cast=asked.cast, settings=asked.settings)
    return order(absolute(job), home)


def made(
    asked: Asked, home: Path | None, clock: Clock, before: Scene | None = None
) -> Generator[Event, None, Scene]:
    """Prepare a scene: fetch and load networks, read sources, and run through it once.

    Args:
        asked: What it shows.
        home: The cache; None for the user's own.
        clock: Told what it takes.
        before: The scene before it, whose networks are used where they run on the same device.

    Raises:
        MienError: It cannot be.
    """
    wanted = settled(asked, home)
    if before is not None and before.order.settings.device == wanted.settings.device:
        runtime = before.runtime
        yield from fetched(wanted.used, home)
        for card in wanted.used:
            runtime.session(card)
    else:
        runtime = yield from opened(wanted, singly=True)
    try:
        cast = yield from prepared(wanted, runtime, clock)
        scene = Scene(asked, wanted, runtime, cast)
        _rehearse(scene)
    except BaseException:
        if before is None or runtime is not before.runtime:
            runtime.close()
        raise
    return scene


def quick(scene: Scene, asked: Asked, home: Path | None) -> Scene | None:
    """The scene with what can be changed without any preparation; None where that is not all.

    Raises:
        MienError: What is asked for cannot be.
    """
    wanted = settled(asked, home)
    old = scene.order
    fits = (
        old.settings.device == wanted.settings.device
        and set(wanted.used) <= set(old.used)
        and old.swappers == wanted.swappers
        and [(r.sources, r.like) for r in old.job.cast] == [(r.sources, r.like) for r in wanted.job.cast]
    )
    if not fits:
        return None
    looks = tuple(_with(look, own) for look, own in zip(scene.cast.looks, wanted.own, strict=True))
    # Every network stays loaded: it may be asked for again.
    used = tuple(dict.fromkeys((*wanted.used, *old.used)))
    return Scene(asked, replace(wanted, used=used), scene.runtime, replace(scene.cast, looks=looks))


def _with(look: Look, own: Settings) -> Look:
    """A look with other settings, of the same swapper."""
    mixed = look.network is not None and mixing(look.network)
    opacity = 1.0 if mixed else min(own.swap.strength, 1.0)
    return replace(look, swap=own.swap, mask=own.mask, enhance=own.enhance, opacity=opacity)


def _rehearse(scene: Scene) -> None:
    """Look over a grey picture, and put each look of a network on its own portrait.

    Engines are measured and warmed by it: the first search of a whole frame takes seconds.
    """
    width, _, height = (scene.asked.feed.size or USUAL).partition("x")
    grey = np.full((int(height), int(width), 3), 128, np.uint8)
    blank = Frame((grey,), _RGB, Colour("rgb", full_range=True), 0, 0, np.eye(2, 3))
    detect.find(scene.runtime, blank, scene.order.settings.detect, turned=True)
    for look, identity in zip(scene.cast.looks, scene.cast.identities, strict=True):
        if look.network is not None and identity.portraits:
            change(scene.runtime, [_onto_itself(identity.portraits[0], look)])


def _onto_itself(portrait: Portrait, look: Look) -> Patch:
    codes = np.ascontiguousarray(np.clip(portrait.rgb * 255.0 + 0.5, 0, 255).astype(np.uint8))
    colour = Colour("rgb", full_range=True)
    frame = Frame((codes,), _RGB, colour, 0, 0, np.eye(2, 3))
    return Patch(frame, portrait.dense, landmark.five(portrait.dense[None])[0], look)


def other_input(one: Feed, two: Feed) -> bool:
    """Whether two feeds are two inputs."""
    return any(getattr(one, name) != getattr(two, name) for name in ("input", "size", "fps", "pixels"))


def unheeded(before: Asked | None, now: Asked) -> Iterator[tuple[str, str]]:
    """Subject and message of what is asked for and done otherwise; `before` is what was asked until now."""

    def fresh(group: str, name: str, usual: object) -> bool:
        asked = getattr(getattr(now.settings, group), name)
        return asked != usual and (before is None or asked != getattr(getattr(before.settings, group), name))

    for full, usual in NEVER.items():
        group, _, name = full.partition(".")
        if fresh(group, name, usual):
            yield full, "has no effect live"
    if not now.feed.label and (before is None or before.feed.label):
        yield "feed.label", "the picture does not say that it was edited: switched off"
    if before is None:
        return
    if now.settings.encode != before.settings.encode and now.settings.encode != Encode():
        yield "encode", "counts for outputs that are begun from now on"
    for name in ("sound", "loop", "reconnect"):
        if getattr(now.feed, name) != getattr(before.feed, name) and not other_input(before.feed, now.feed):
            yield f"feed.{name}", "counts from the next input or run on"


def ratio(frame: Frame) -> Fraction:
    """Width of a sample over its height."""
    return Fraction(abs(float(frame.display[0, 0] / frame.display[1, 1]))).limit_denominator(255)
