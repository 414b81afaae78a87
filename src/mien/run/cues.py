"""Cues: what is otherwise in parts of a video, as a look for every frame."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from pydantic import ValidationError

from mien.errors import SettingsError
from mien.media.clip import Clip, FrameIndex
from mien.settings import Cue, Job, Role, Settings, Value
from mien.stages.look import mixing, onto, styled
from mien.stages.patch import Look
from mien.types import Identity, Track

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

KEPT = 64
"""Looks of a role that are remembered: those of frames between easing frames are few."""
STEPS = 32
"""Steps of `swap.strength` from 0 to 1 where a network takes a mixed identity, which takes time to make."""
FIXED = ("swap.every",)
"""Settings that no cue can change."""


def _running() -> Iterator[str]:
    """Names of the settings whose values can run from one to another."""
    for group in ("swap", "mask", "enhance"):
        section = getattr(Settings(), group)
        for name in type(section).model_fields:
            value = getattr(section, name)
            parts = value if isinstance(value, tuple) and value else (value,)
            if all(isinstance(part, float) for part in parts):
                yield f"{group}.{name}"


RUNNING = frozenset(_running())
"""Settings whose values run from one to another: numbers that are no counts."""
NETWORKS = ("swap.model", "mask.occlusion", "mask.parser", "enhance.model")
"""Settings that name networks, which are made ready before the first frame: a cue can change them, no key."""


def changed(settings: Settings, values: Mapping[str, Value], subject: str = "cue") -> Settings:
    """Settings with some of them changed.

    Args:
        settings: What they are without.
        values: Dotted name to value.
        subject: What to call them in an error.

    Raises:
        SettingsError: One is unknown, out of its range, or cannot change.
    """
    groups: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        if name in FIXED:
            raise SettingsError(f"{subject}: {name}", "cannot change within a video", "Set it for the job.")
        group, _, own = name.partition(".")
        groups.setdefault(group, {})[own] = value
    update = {}
    for group, some in groups.items():
        section = getattr(settings, group)
        try:
            update[group] = type(section).model_validate({**section.model_dump(), **some})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join((group, *map(str, first["loc"][:1])))
            advice = "`mien swap --help` says what it means."
            raise SettingsError(f"{subject}: {where}", first["msg"], advice) from error
    return settings.model_copy(update=update)


def variants(job: Job, own: Callable[[Role], Settings]) -> tuple[Role, ...]:
    """One more role for each cue and role it is for: that role as the cue would have it.

    Args:
        job: Its cast and cues.
        own: Gives a role's settings.

    Raises:
        SettingsError: A cue is for a role that is not there, or has a setting that cannot be.
    """
    return tuple(
        _variant(role, cue, own(role), f"cue {number}") for number, cue, role in _pairs(job.cues, job.cast)
    )


def _pairs(cues: Sequence[Cue], cast: Sequence[Role]) -> Iterator[tuple[int, Cue, Role]]:
    """Number, cue and role of every cue and role it is for."""
    for number, cue in enumerate(cues, 1):
        for k in cue.roles:
            if k > len(cast):
                problem, advice = f"there is no role {k}", f"The cast has {len(cast)}, numbered from 1."
                raise SettingsError(f"cue {number}", problem, advice)
        yield from ((number, cue, role) for k, role in enumerate(cast, 1) if meant(cue, k))


def meant(cue: Cue, role: int) -> bool:
    """Whether a cue is for a role, numbered from 1."""
    return not cue.roles or role in cue.roles


def _variant(role: Role, cue: Cue, settings: Settings, subject: str) -> Role:
    """A role as a cue would have it; every value of its keys is looked at, too."""
    asked = changed(settings, cue.values, subject)
    for name in {name for key in cue.keys for name in key.values if name in NETWORKS}:
        raise SettingsError(f"{subject}: {name}", "cannot change at a key", "Set it for the cue.")
    strengths = [changed(settings, key.values, subject).swap.strength for key in cue.keys]
    # Whether strength can be had at all is seen by one that is asked for.
    strength = next((one for one in (asked.swap.strength, *strengths) if one != 1.0), 1.0)
    swap = asked.swap.model_copy(update={"strength": strength})
    update = {"swap": swap, "mask": asked.mask, "enhance": asked.enhance}
    return role.model_copy(update={**update, "sources": cue.sources or role.sources})


Rows: TypeAlias = tuple[tuple[float, ...], tuple[Value, ...]]
"""Rising seconds, and what is given for each."""


@dataclass(frozen=True)
class Stretch:
    """A cue on the frames of a clip."""

    cue: Cue
    start: int
    end: int
    """Index after its last frame."""
    begin: float
    """Seconds of its first frame; minus infinity where it begins with the clip."""
    finish: float
    values: Mapping[str, Value] = field(default_factory=dict)
    """The cue's, as settings take them."""
    rows: Mapping[str, Rows] = field(default_factory=dict)
    """What its keys give for each setting, as settings take it."""
    shown: Rows = ((), ())
    """How much of the new face its keys show."""
    variant: int = 0
    """Which of a role's looks it asks for; 0 where only settings change."""

    def weight(self, seconds: float) -> float:
        """How far numbers are the cue's, 0 to 1."""
        if not self.cue.ease:
            return 1.0
        return min(max(min(seconds - self.begin, self.finish - seconds) / self.cue.ease, 0.0), 1.0)

    def numbers(self, seconds: float) -> tuple[dict[str, Value], float | None]:
        """The cue's values at a moment, and how much of the new face is shown."""
        values, show = dict(self.values), self.cue.show
        for name, rows in self.rows.items():
            values[name] = _between(rows, seconds, name in RUNNING)
        if self.shown[0]:
            show = float(_between(self.shown, seconds, True))  # type: ignore[arg-type]
        return values, show


def _between(rows: Rows, seconds: float, running: bool) -> Value:
    """What is given for a moment, by what is given before and after it."""
    moments, given = rows
    after = bisect_right(moments, seconds)
    if after in (0, len(moments)) or not running:
        return given[max(after - 1, 0)]
    left, right = moments[after - 1], moments[after]
    return mixed(given[after - 1], given[after], (seconds - left) / (right - left))


def _taken(values: Mapping[str, Value]) -> dict[str, Value]:
    """Values as settings take them: 1 as 1.0 where a number runs. Looked at here, so that no frame must."""
    asked = changed(Settings(), values)
    return {name: _get(asked, name) for name in values}


def _get(settings: Settings, name: str) -> Value:
    group, _, own = name.partition(".")
    value: Value = getattr(getattr(settings, group), own)
    return value


def _with(settings: Settings, values: Mapping[str, Value]) -> Settings:
    """Settings with some that are right already."""
    groups: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        group, _, own = name.partition(".")
        groups.setdefault(group, {})[own] = value
    made = {group: getattr(settings, group).model_copy(update=some) for group, some in groups.items()}
    return settings.model_copy(update=made) if made else settings


def mixed(one: Value, two: Value, share: float) -> Value:
    """Between two numbers or tuples of as many numbers: the first at 0, the second at 1."""
    if isinstance(one, tuple) and isinstance(two, tuple):
        return tuple(a + (b - a) * share for a, b in zip(map(float, one), map(float, two), strict=True))
    return float(one) + (float(two) - float(one)) * share  # type: ignore[arg-type]


def stretches(cues: Sequence[Cue], role: int, index: FrameIndex, clip: Clip) -> tuple[Stretch, ...]:
    """The cues for a role, on a clip's frames.

    Args:
        cues: All of a job.
        role: Number of the role, from 1.
        index: The clip's frames.
        clip: The clip.

    Raises:
        SettingsError: A moment is not written as it must be, or a cue holds no frame.
    """
    made, number = [], 0
    for k, cue in enumerate(cues, 1):
        if not meant(cue, role):
            continue
        number += 1
        start = index.frame_at(cue.start, clip) if cue.start else 0
        end = index.frame_at(cue.end, clip) if cue.end else len(index)
        if start >= end:
            problem = f"{cue.start or 'the beginning'} to {cue.end or 'the end'} holds no frame"
            raise SettingsError(f"cue {k}", problem, f"The clip has {len(index)} frames.")
        moments = tuple(seconds(index, clip, index.frame_at(key.at, clip)) for key in cue.keys)
        if list(moments) != sorted(moments):
            raise SettingsError(f"cue {k}", "has keys that do not follow each other", "Sort them by time.")
        structural = bool(cue.sources) or "swap.model" in cue.values
        begin = seconds(index, clip, start) if cue.start else float("-inf")
        finish = seconds(index, clip, end) if cue.end else float("inf")
        rows, shown = _rows(cue, moments)
        values = _taken(cue.values)
        made.append(Stretch(cue, start, end, begin, finish, values, rows, shown, number if structural else 0))
    return tuple(made)


def _rows(cue: Cue, moments: Sequence[float]) -> tuple[dict[str, Rows], Rows]:
    """What a cue's keys give for each setting, and for how much is shown."""
    keys = [(at, key.show, _taken(key.values)) for at, key in zip(moments, cue.keys, strict=True)]
    rows = {}
    for name in dict.fromkeys(name for _, _, values in keys for name in values):
        given = [(at, values[name]) for at, _, values in keys if name in values]
        rows[name] = tuple(at for at, _ in given), tuple(value for _, value in given)
    shown = [(at, show) for at, show, _ in keys if show is not None]
    return rows, (tuple(at for at, _ in shown), tuple(show for _, show in shown))


def seconds(index: FrameIndex, clip: Clip, number: int) -> float:
    """When a frame is shown, in seconds from the clip's beginning; its end for the number of frames."""
    if number < len(index):
        return float(int(index.pts[number]) * clip.time_base - clip.origin)
    return float(index.end_pts * clip.time_base - clip.origin)


@dataclass
class Cued:
    """A role's look at every frame of a video with cues. Called with a frame's index."""

    runtime: Runtime
    stretches: tuple[Stretch, ...]
    index: FrameIndex
    clip: Clip
    settings: Settings
    """The role's, without cues."""
    looks: Sequence[Look]
    """The role's own, and behind it that of every cue for it, for whomever they are put on."""
    identities: Sequence[Identity]
    """Those of the looks."""
    tracks: Sequence[Track]
    """Whom they are put on."""
    _made: dict[object, Look] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._starts = np.array([stretch.start for stretch in self.stretches])
        self._ends = np.array([stretch.end for stretch in self.stretches])

    def __call__(self, number: int) -> Look | None:
        """The look at a frame; None where the target's own face stays."""
        variant, asked, shown = self.at(number)
        if shown <= 0.0:
            return None
        key = (variant, asked.swap, asked.mask, asked.enhance, shown)
        with self._lock:
            if key not in self._made:
                if len(self._made) >= KEPT:
                    self._made.pop(next(iter(self._made)))
                self._made[key] = self._look(variant, asked, shown)
            return self._made[key]

    def at(self, number: int) -> tuple[int, Settings, float]:
        """Which look, with which settings, and how much of it is shown at a frame."""
        variant, asked, shown = 0, dict[str, Value](), 1.0
        moment = seconds(self.index, self.clip, number)
        for k in np.flatnonzero((self._starts <= number) & (number < self._ends)):
            stretch = self.stretches[k]
            values, show = stretch.numbers(moment)
            weight = stretch.weight(moment)
            for name, value in values.items():
                before = asked[name] if name in asked else _get(self.settings, name)
                # What is no number changes at once.
                eased = weight < 1.0 and name in RUNNING
                asked[name] = mixed(before, value, weight) if eased else value
            if show is not None:
                shown += (show - shown) * weight
            variant = stretch.variant or variant
        return variant, _with(self.settings, asked), shown

    def _look(self, variant: int, asked: Settings, shown: float) -> Look:
        base = self.looks[variant]
        if base.network is not None and mixing(base.network):
            strength = round(asked.swap.strength * STEPS) / STEPS
            swap = asked.swap.model_copy(update={"strength": strength})
            asked = asked.model_copy(update={"swap": swap})
        look = replace(styled(base, asked), shown=shown)
        return onto(self.runtime, look, self.identities[variant], self.tracks)
