"""What a live picture would wait: frames one at a time, as a camera gives them, nothing known of the next.

A frame's time begins when its samples are in memory and ends when the changed picture is there as R'G'B', as
a window or a virtual camera takes it. Faces are followed, smoothed (`faces.causal`) and changed as in a live
run: one frame at once, and no second pass.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien import pipeline
from mien.bench import meters, suite, words
from mien.bench import report as reports
from mien.bench.report import Measured, Net
from mien.errors import SettingsError
from mien.faces.causal import Causal
from mien.faces.follow import Follower
from mien.faces.rows import Spill
from mien.images import cpu
from mien.media import sequence
from mien.media.decode import frames
from mien.models import landmark, landmark68, torch_event
from mien.models.runtime import Runtime
from mien.run.clock import Clock
from mien.run.order import Cast, Order, fallen, opened, order, parts, prepared
from mien.run.place import absolute
from mien.run.render import Footage, Renderer
from mien.run.still import as_tracks
from mien.run.video import footage
from mien.settings import Job
from mien.types import Event, Faces, Finished, Frame, Progress, Started

WARM = 10
"""Frames that are left out: with the first faces networks are loaded and their engines measured."""
AHEAD = 16
"""Frames that are decoded before the first of them is looked at, so that no decoder is at work meanwhile."""
DERIVED = ("fps", "camera_ms", "display_ms", "glass_ms", "glass_p95_ms")
"""Numbers in the JSON that follow from others there."""
NOT_IN_IT = "without the camera's exposure, read-out and transfer, and without the display's own delay"


class Latency(Measured):
    """What was found."""

    kind: Literal["mien bench latency"] = "mien bench latency"
    frames: int
    """Frames that were measured."""
    warm: int
    """Frames before them that were not."""
    faces: int
    """Faces changed in those that were."""
    stages: dict[str, float]
    """Stage to mean milliseconds a frame; together they are the mean."""
    gpu: dict[str, float]
    """Of stages that work on a card, its own time, by events."""
    mean_ms: float
    p50_ms: float
    p95_ms: float
    """95 % of the frames took no longer."""
    most_ms: float
    display_rate: float
    """Pictures a second that the display shows."""
    networks: tuple[Net, ...]
    """Loading and the frames that warm up are in it."""
    cpu_percent: float
    threads: int
    card: str
    """Name of the graphics card; "none" where there is none."""
    card_percent: float

    @property
    def fps(self) -> float:
        """Frames a second of a camera that it could hold: 95 % of the frames are done before the next."""
        return 1000.0 / max(self.p95_ms, 1e-6)

    @property
    def camera_ms(self) -> float:
        """Mean wait for the next frame of the camera: half its interval."""
        return 500.0 / max(self.clip.rate, 1e-6)

    @property
    def display_ms(self) -> float:
        """Mean wait for the next picture of the display: half its interval."""
        return 500.0 / self.display_rate

    def glass(self, pipeline_ms: float) -> float:
        """Milliseconds from what happens before the camera to what the display shows, as an estimate."""
        return self.camera_ms + pipeline_ms + self.display_ms


def run(
    job: Job,
    folder: Path,
    *,
    display: float = 60.0,
    use_standins: bool = False,
    small: bool = False,
    home: Path | None = None,
) -> Generator[Event, None, Latency]:
    """Change a video's frames one at a time and measure each.

    Args:
        job: What to do; nothing is written.
        folder: An empty one; the caller removes it.
        display: Pictures a second of the display.
        use_standins: Replace the networks that have stand-ins by these.
        small: Small stand-ins, for tests.
        home: Folder of models and cards; None for the default one.

    Raises:
        SettingsError: The target is no video, or is too short.
        MienError: As `verbs.swap`.
    """
    if sequence.kind(job.target) != "other":
        raise SettingsError("target", f"{job.target} is no video", "Give a video: pictures have no speed.")
    if display <= 0:
        raise SettingsError("display", f"is {display:g}", "Give pictures a second, such as 60.")
    place, replaced = suite.equipped(job.settings, home, small=small) if use_standins else (home, ())
    wanted = order(absolute(job), place)
    film = footage(wanted.job.target, job.start, job.end)
    if len(film) <= WARM:
        advice = f"Give more than the {WARM} that warm up."
        raise SettingsError("frames", f"{len(film)} are too few to measure", advice)
    yield Started("", folder, len(film))
    watch = meters.watch(job.settings.device)
    with (yield from opened(wanted)) as runtime:
        cast = yield from prepared(wanted, runtime, Clock())
        with Spill(folder / "live.rows", landmark.POINTS + landmark68.POINTS) as spill:
            live = _Live(wanted, cast, runtime, spill, film)
            with watch:
                for done, frame in enumerate(_ahead(film, wanted.threads), 1):
                    live.step(frame, measured=done > WARM)
                    yield Progress("live", done, len(film), 0.0, 0.0)
        yield from fallen(runtime)
        took, clock = np.array(live.took), live.clock
        engines, networks = runtime.engines, runtime.times(len(film))
    ran = tuple(name for name in replaced if name in engines)
    last = Finished(folder, len(film), live.faces, 0, 0.0, 0.0, engines=engines, networks=networks)
    usage, table = watch.usage, clock.table(len(took))
    return Latency(
        standins=ran,
        note=reports.SAID if ran else "",
        **suite.circumstances(job, film.clip, len(film)),
        frames=len(took),
        warm=WARM,
        faces=live.faces,
        stages={name: row["ms_per_frame"] for name, row in table.items()},
        gpu={n: row["gpu_ms_per_frame"] for n, row in table.items() if "gpu_ms_per_frame" in row},
        mean_ms=_rounded(took.mean()),
        p50_ms=_rounded(np.percentile(took, 50)),
        p95_ms=_rounded(np.percentile(took, 95)),
        most_ms=_rounded(took.max()),
        display_rate=display,
        networks=reports.nets(last, ran),
        cpu_percent=round(usage.cpu_percent, 1),
        threads=usage.threads,
        card=usage.gpu or reports.NO_CARD,
        card_percent=round(usage.gpu_percent, 1),
    )


class _Live:
    """One frame after another through all that a live run does."""

    def __init__(self, wanted: Order, cast: Cast, runtime: Runtime, spill: Spill, film: Footage) -> None:
        settings = wanted.settings
        # Nobody is asked for by picture, so that there is nobody to recognise.
        track = settings.track.model_copy(update={"embedder": "none", "refine": ""})
        self._wanted, self._cast, self._runtime, self._film = wanted, cast, runtime, film
        self._finer = runtime.catalogue.card(settings.track.refine) if settings.track.refine else None
        seen = pipeline.eyes(
            runtime, settings.model_copy(update={"track": track}), lambda name: self.clock.stage(name)
        )
        eyes = replace(seen, look=None)  # which compares people after a cut
        self._follower = Follower(eyes, spill, settings.detect, track, float(film.clip.rate))
        self._causal = Causal(settings.track.smooth, landmark.five)
        self.clock = Clock()
        self.took: list[float] = []
        self.faces = 0

    def step(self, frame: Frame, measured: bool) -> None:
        """Change one frame, and note what it took."""
        if measured and not self.took:
            self.clock, self.faces = Clock(), 0
            self.clock.on_card(torch_event.laps(self._runtime.pixels))
        began = time.perf_counter()
        with self.clock.stage("others"):
            changed = self._changed(frame)
            with self.clock.stage("show"):
                cpu.thumbnail(changed, changed.size)
        if measured:
            self.took.append(1000.0 * (time.perf_counter() - began))

    def _changed(self, frame: Frame) -> Frame:
        clock = self.clock
        with clock.stage("follow"):
            self._follower.step(frame)
            found = self._follower.current()
        with clock.stage("smooth"):
            found = self._causal(found, float(frame.pts * self._film.clip.time_base))
        if self._finer is not None:
            with clock.stage("landmark"):
                found = landmark68.refined(self._runtime, self._finer, frame, found)
        return self._swapped(frame, found) if len(found) else frame

    def _swapped(self, frame: Frame, found: Faces) -> Frame:
        """The frame with the faces changed that are meant: a picture with a single moment's tracks."""
        alone = replace(frame, index=0)
        tracks = as_tracks(alone, found)
        with self.clock.stage("cast"):
            ready = parts(self._wanted, self._cast, self._runtime, tracks, partial=True)
        self.faces += sum(len(part.ids) for part in ready)
        return Renderer(ready, tracks, self._runtime, self.clock.stage)([alone])[0]


def _ahead(film: Footage, threads: int) -> Iterator[Frame]:
    """The frames of a video, some decoded at a time."""
    read = frames(film.clip, film.index, film.start, film.end, threads=threads)
    while some := list(islice(read, AHEAD)):
        yield from some


def _rounded(value: Any) -> float:
    return round(float(value), 3)


def line(found: Latency) -> str:
    """As JSON on one line, with the numbers that follow from others."""
    glass = (found.glass(found.p50_ms), found.glass(found.p95_ms))
    derived = (found.fps, found.camera_ms, found.display_ms, *glass)
    values = {name: round(value, 3) for name, value in zip(DERIVED, derived, strict=True)}
    return json.dumps(found.model_dump(mode="json") | values, ensure_ascii=False)


def text(found: Latency) -> str:
    """For a terminal."""
    clip = found.clip
    card = found.card if found.card == reports.NO_CARD else f"{found.card}, {found.card_percent:.0f} %"
    facts: Sequence[tuple[str, str]] = (
        ("date", found.date),
        ("machine", ", ".join(found.machine.values())),
        ("versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
        ("clip", f"{clip.name}, {clip.width}x{clip.height}, {clip.rate:g} fps"),
        ("work", f"{found.frames} frames one at a time, {found.faces} faces, after {found.warm} to warm up"),
        (
            "frame to result",
            f"p50 {found.p50_ms:.1f}, p95 {found.p95_ms:.1f}, most {found.most_ms:.1f} ms",
        ),
        ("rate it holds", f"{found.fps:.1f} fps (95 % of the frames are done before the next)"),
        (
            "glass to glass",
            f"{found.glass(found.p50_ms):.1f} ms = half a camera interval {found.camera_ms:.1f} + pipeline "
            f"{found.p50_ms:.1f} + half a display interval {found.display_ms:.1f}; with the p95 "
            f"{found.glass(found.p95_ms):.1f} ms; estimated, {NOT_IN_IT}",
        ),
        ("CPU use", f"{found.cpu_percent:.0f} % of {found.threads} threads"),
        ("GPU use", card),
    )
    width = max(len(name) for name, _ in facts)
    lines = [reports.SAID] if found.standins else []
    lines += [f"{name:<{width}}  {value}" for name, value in facts]
    total = sum(found.stages.values()) or 1.0
    order = sorted(found.stages.items(), key=lambda item: -item[1])
    head: tuple[str, ...] = ("stage", "ms/frame", "percent")
    rows: list[tuple[str, ...]] = [(n, f"{ms:.2f}", f"{100 * ms / total:.1f}") for n, ms in order]
    if found.gpu:
        head = (*head, words.GPU)
        rows = [(*row, f"{found.gpu.get(row[0], 0.0):.2f}") for row in rows]
    lines += ["", *words.aligned(head, rows)]
    heading, body = words.networks(found.networks)
    if body:
        lines += ["", *words.aligned(heading, body)]
    return "\n".join(words.marked(lines, found))
