"""The two passes over a clip: `analyse` finds who is where."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

from mien.errors import MediaError
from mien.faces import likeness
from mien.faces.anatomy import Topology
from mien.faces.compose import Facts, compose
from mien.faces.crops import Embedder
from mien.faces.follow import Eyes, Follower, Glimpse, glimpse
from mien.faces.likeness import Skin
from mien.faces.rows import Spill
from mien.images import cpu, geometry
from mien.models import detect, embed, landmark, landmark68, pictures
from mien.models.card import Card
from mien.settings import Settings
from mien.stages.patch import Timed, untimed
from mien.types import DENSE, Array, Faces, Float32, Float64, Frame, Int64, Progress, Tracks

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")

_EVERY = 0.2
"""Seconds between two reports."""
_AHEAD = 2
"""Frames that are looked at as a whole before their turn."""


def analyse(
    frames: Iterator[Frame],
    runtime: Runtime,
    settings: Settings,
    *,
    total: int,
    rate: Fraction,
    spill: Path,
    clip: str = "",
    timed: Timed = untimed,
) -> Generator[Progress, None, Tracks]:
    """Pass one: find, follow, link and smooth every face. A caller takes the result with `yield from`.

    Args:
        frames: In presentation order; a few are taken ahead.
        runtime: Where the networks run.
        settings: Its `detect` and `track` groups are used; `track.embedder` is a card's name, anything else
            means none (`auto` is for the caller to settle, because what is saved depends on it).
        total: Number of frames expected, for the reports.
        rate: Average frames per second.
        spill: Folder for intermediate landmarks and for the result, `spill / "clip.tracks"`.
        clip: Fingerprint of the clip, kept in the tracks.
        timed: Told the stages `detect`, `landmark`, `embed` and, from a thread of its own, `thumbnail`.

    Yields:
        Progress of the stages `analyse` and `smooth`, a few times a second.

    Returns:
        The tracks; dense landmarks are read from the file in `spill` when asked for.

    Raises:
        MediaError: There is no frame at all.
    """
    spill.mkdir(parents=True, exist_ok=True)
    rough = spill / "rough.rows"
    sight = eyes(runtime, settings, timed)
    finer = sight.refine is not None
    with (
        Spill(rough, landmark.POINTS + (landmark68.POINTS if finer else 0)) as rows,
        ThreadPoolExecutor(1, "mien-repeats") as aside,
    ):
        follower = Follower(sight, rows, settings.detect, settings.track, float(rate), aside)
        clock = _Clock("analyse", total)
        end, size, count = 0, (0, 0), 0
        with closing(_ahead(frames, timed)) as glimpses:
            for seen in glimpses:
                frame = seen.frame
                follower.step(frame, seen)
                end, size, count = frame.index + 1, frame.size, count + 1
                del frame, seen
                yield from clock.at(count)
        if not count:
            raise MediaError("frames", "there is no frame to look at", "Check --start and --end.")
        follower.finish()
        first, *cuts = follower.shots
        facts = Facts(end, size, (0, *cuts), float(rate), clip, first)
        finishing = compose(
            follower.tracklets,
            rows,
            facts,
            settings.track,
            _five_behind if finer else landmark.five,
            spill / "clip.tracks",
            sight.embedder,
        )
        tracks = yield from _reported(finishing)
    rough.unlink()
    return tracks


def eyes(runtime: Runtime, settings: Settings, timed: Timed = untimed) -> Eyes:
    """The networks as plain functions, their time told to `timed`."""
    skin = Skin.of(Topology.of(landmark.triangles(runtime.store)))
    network = runtime.catalogue.card(settings.detect.model)
    name, finer = settings.track.embedder, settings.track.refine

    def looked(frame: Frame, dense: Float64) -> Float32:
        roi = landmark.roi_from_dense(dense[None])[0] * (likeness.SIDE / landmark.SIDE)
        crop = cpu.glance(frame, roi, (likeness.SIDE, likeness.SIDE))
        scale = np.sqrt(abs(np.linalg.det(roi[:, :2])))
        inside = np.column_stack([geometry.apply(roi, dense[:, :2]), dense[:, 2] * scale])
        return likeness.look(skin, crop, inside)

    def find(frame: Frame, rows: Int64 | None, known: Faces, turned: bool) -> Faces:
        with timed("detect"):
            return detect.find(runtime, frame, settings.detect, rows=rows, known=known, turned=turned)

    return Eyes(
        windows=lambda size: detect.windows(network, size, settings.detect),
        find=find,
        land=_told(timed, "landmark", lambda frame, rois: landmark.landmarks(runtime, frame, rois)),
        roi_points=landmark.roi_from_points,
        roi_dense=landmark.roi_from_dense,
        five=landmark.five,
        aside=landmark.aside,
        look=looked,
        embedder=_recogniser(runtime, name, timed),
        refine=_told(timed, "landmark", _refiner(runtime, runtime.catalogue.card(finer))) if finer else None,
    )


def _ahead(frames: Iterator[Frame], timed: Timed) -> Generator[Glimpse, None, None]:
    """Every frame with what can be seen of it as a whole, which a thread does meanwhile for the next ones."""
    look = _told(timed, "thumbnail", glimpse)
    waiting: deque[Future[Glimpse]] = deque()
    with ThreadPoolExecutor(1, "mien-glimpse") as pool:
        for frame in frames:
            waiting.append(pool.submit(look, frame))
            del frame
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _told(timed: Timed, stage: str, function: Callable[P, T]) -> Callable[P, T]:
    """The same function; every call is a piece of a stage."""

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with timed(stage):
            return function(*args, **kwargs)

    return call


def _recogniser(runtime: Runtime, name: str, timed: Timed) -> Embedder | None:
    """The network that tells people apart, if one is named."""
    if name in ("auto", "none"):
        return None
    made = recogniser(runtime, runtime.catalogue.card(name))
    return replace(made, cut=_told(timed, "embed", made.cut), embed=_told(timed, "embed", made.embed))


def _refiner(runtime: Runtime, card: Card) -> Callable[[Frame, Float64], Float64]:
    """A second landmarker, as a plain function of a frame and dense landmarks."""
    landmark68.family(card)
    runtime.session(card)  # what is wrong with it shows before the work begins

    return lambda frame, dense: landmark68.behind(runtime, card, frame, dense)


def _five_behind(rows: Float64) -> Float64:
    """(F, 5, 2) the five points of the 68 that lie behind the dense landmarks."""
    return landmark68.five(rows[:, DENSE:])


def recogniser(runtime: Runtime, card: Card) -> Embedder:
    """A network that tells who somebody is, as plain functions."""
    side = pictures.looked_at(card).side

    def cut(frame: Frame, points: Float64) -> Array:
        return cpu.glance(frame, pictures.aligned(points, card.template, side), (side, side))

    def embedded(crops: Array) -> Float32:
        return embed.embed(runtime, card, crops.astype(np.float32) / np.float32(255.0))

    return Embedder(card.name, card.same, cut, embedded, embed.mean)


def _reported(work: Generator[tuple[int, int], None, Tracks]) -> Generator[Progress, None, Tracks]:
    """Progress of smoothing from its row counts."""
    clock: _Clock | None = None
    while True:
        try:
            done, total = next(work)
        except StopIteration as finished:
            tracks: Tracks = finished.value
            return tracks
        clock = clock or _Clock("smooth", total)
        yield from clock.at(done)


class _Clock:
    """Turns counts into reports, a few a second."""

    def __init__(self, stage: str, total: int) -> None:
        self._stage = stage
        self._total = total
        self._began = self._told = time.monotonic()

    def at(self, done: int) -> Iterator[Progress]:
        """A report, if one is due."""
        now = time.monotonic()
        if now - self._told < _EVERY and done != self._total:
            return
        self._told = now
        speed = done / max(now - self._began, 1e-9)
        total = max(done, self._total)
        yield Progress(self._stage, done, total, speed, (total - done) / max(speed, 1e-9))
