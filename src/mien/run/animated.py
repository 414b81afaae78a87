"""Animated pictures (GIF, WebP, APNG): both passes in one go, with the times and loops of the input."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from fractions import Fraction
from pathlib import Path

from mien import pipeline
from mien.errors import Cancelled, MediaError
from mien.media import animation as animations
from mien.media import clip as clips
from mien.run import gate
from mien.run.clock import Clock
from mien.run.lanes import batches
from mien.run.order import Order, edit, fallen, opened, parts, prepared, unchanged
from mien.run.place import kept_in, tracks_home
from mien.run.render import Renderer, together
from mien.run.report import EVERY, Meter
from mien.trust import label
from mien.types import Event, Finished, Frame, Progress, Started, Warned


def swap(wanted: Order) -> Generator[Event, None, None]:
    """Render a job whose target is an animation. It is short, so a stopped run begins anew.

    Raises:
        MediaError: The output's name is no animation's, or the target is damaged.
    """
    job, home = wanted.job, wanted.home
    if job.output.suffix.lower() not in animations.SUFFIXES:
        known = ", ".join(animations.SUFFIXES)
        raise MediaError(job.output, "is no animation by its ending", f"An animation becomes one of {known}.")
    began, clock = time.monotonic(), Clock()
    with clock.stage("probe"):
        facts = animations.read_animation(job.target)
        mark = clips.fingerprint(job.target)
    count = len(facts.durations)
    yield Started("", job.output.parent, count)
    with kept_in(tracks_home(home)), (yield from opened(wanted)) as runtime:
        with clock.stage("content"):
            gate.check(str(job.target), animations.frames(facts), wanted.judges, runtime)
        cast = yield from prepared(wanted, runtime, clock)
        work = Path(tempfile.mkdtemp(prefix=".work-", dir=_made(tracks_home(home))))
        try:
            finding = pipeline.analyse(
                clock.iterate("decode 1", animations.frames(facts)),
                runtime,
                wanted.settings,
                total=count,
                rate=_rate(facts),
                spill=work,
                clip=mark,
                timed=clock.stage,
            )
            tracks = yield from clock.run("find", finding)
            ready = parts(wanted, cast, runtime, tracks)
            yield from unchanged(wanted, ready, tracks)
            render = Renderer(ready, tracks, runtime, clock.stage)
            batch = together(ready, wanted.settings.device)
            notes = yield from _written(wanted, facts, render, batch, clock)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        yield from fallen(runtime)
        yield from (Warned(str(job.output), text) for text in (*facts.info.notes, *notes))
        chosen = [t for t in tracks.tracks if any(t.id in part.ids for part in ready)]
        seconds = time.monotonic() - began
        yield Finished(
            output=job.output,
            frames=count,
            faces=sum(len(t) for t in chosen),
            people=len({t.person for t in chosen}),
            seconds=round(seconds, 3),
            fps=round(count / seconds, 2),
            stages=clock.table(count),
            engines=runtime.engines,
            networks=runtime.times(count),
            content=wanted.content,
            carried=render.carried,
        )


def _written(
    wanted: Order,
    facts: animations.Animation,
    render: Callable[[Sequence[Frame]], Sequence[Frame]],
    batch: int,
    clock: Clock,
) -> Generator[Progress, None, tuple[str, ...]]:
    """Write the changed frames in a thread of its own; returns what could not be kept."""
    job, count, done, stop = wanted.job, len(facts.durations), 0, threading.Event()

    def pictures() -> Iterator[Frame]:
        nonlocal done
        for some in batches(clock.iterate("decode", animations.frames(facts)), batch, (count,)):
            if stop.is_set():
                raise Cancelled(job.output, "stopped")
            yield from render(some)
            done += len(some)

    meter = Meter("render", count)
    with ThreadPoolExecutor(1, thread_name_prefix="mien-write") as pool:
        work = pool.submit(
            clock.wrap("encode", animations.write_animation),
            job.output,
            pictures(),
            facts,
            quality=job.settings.encode.quality,
            xmp=label.xmp(edit(wanted), facts.info.xmp),
        )
        try:
            while not wait((work,), EVERY).done:
                yield from meter.at(min(done, count - 1))
        finally:
            stop.set()
        notes = work.result()
    yield from meter.at(count)
    return notes


def _rate(facts: animations.Animation) -> Fraction:
    """Average frames a second."""
    whole = sum(facts.durations) * facts.time_base
    return len(facts.durations) / whole if whole else Fraction(10)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
