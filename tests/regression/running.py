"""Running the verbs and the command line, and reading back what they wrote with PyAV alone."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast
from unittest import mock

import av
import numpy as np

from mien.app import cli
from mien.run import verbs
from mien.settings import Encode, Job, Role, Settings
from mien.types import Array, Event, Finished, Warned

FAST = Settings(encode=Encode(preset="fastest"))


@dataclass(frozen=True)
class Ran:
    """What a run said."""

    events: list[Event]
    finished: Finished

    @property
    def notes(self) -> str:
        return "\n".join(f"{Path(e.subject).name}: {e.message}" for e in self.events if isinstance(e, Warned))


def job(source: Path, target: Path, output: Path, *, faces: str = "prominent", **changes: Any) -> Job:
    given = {"settings": FAST, **changes}
    return Job(target=target, output=output, cast=(Role(sources=(source,), faces=faces),), **given)


def swap(
    source: Path,
    target: Path,
    output: Path,
    *,
    faces: str = "prominent",
    folder: Path | None = None,
    **changes: Any,
) -> Ran:
    """Run a swap to its end; nothing may lie beside the output afterwards."""
    before = set(output.parent.iterdir())
    events = list(verbs.swap(job(source, target, output, faces=faces, **changes), folder=folder))
    last = events[-1]
    assert isinstance(last, Finished)
    assert set(output.parent.iterdir()) - before <= {output, folder}
    return Ran(events, last)


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def mien(*arguments: str | Path, home: Path, cwd: Path | None = None) -> Said:
    """The command line, in this process so that networks are loaded once."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    environment = {"MIEN_HOME": str(home), "COLUMNS": "200"}
    try:
        with (
            mock.patch.dict(os.environ, environment),
            contextlib.chdir(cwd or Path.cwd()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    return Said(code, out.getvalue(), err.getvalue())


def frames(path: Path) -> Iterator[av.VideoFrame]:
    """Decoded pictures, one thread."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        yield from container.decode(stream)


def planes(frame: av.VideoFrame) -> list[Array]:
    """Every plane's samples without row padding, as the decoder gave them; 16 bits where deeper than 8."""
    found: list[Array] = []
    parts = frame.format.components
    deep = 2 if parts[0].bits > 8 else 1
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        packed = len(frame.planes) == 1 and len(parts) > 1
        across = plane.width * (frame.format.padded_bits_per_pixel // 8 if packed else deep)
        samples = rows[: plane.height, :across]
        found.append(samples.view(np.uint16) if deep == 2 else samples)
    return found


def touched(before: Path, after: Path) -> list[Array]:
    """For every picture of a lossless result: (H, W) bool, where luma differs at all from the input's."""
    pairs = zip(frames(before), frames(after), strict=True)
    return [planes(one)[0] != planes(two)[0] for one, two in pairs]


def pictures(path: Path, form: str = "rgb24") -> list[Array]:
    """Decoded pictures as (H, W, 3) int16 arrays, not turned."""
    return [frame.to_ndarray(format=form).astype(np.int16) for frame in frames(path)]


def times(path: Path) -> list[Fraction]:
    """When every picture is shown, in seconds, in order."""
    return sorted(moment for moment, _ in packets(path, "video"))


def packets(path: Path, kind: str, number: int = 0) -> list[tuple[Fraction, bytes]]:
    """(time in seconds, payload) of every packet of the n-th stream of a kind."""
    with av.open(str(path)) as container:
        stream = [s for s in container.streams if s.type == kind][number]
        return [
            (cast("int", packet.pts) * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]


def change(before: Array, after: Array) -> Array:
    """(H, W) greatest difference of any component."""
    return np.asarray(np.abs(after.astype(np.int32) - before.astype(np.int32)).max(axis=2))


def changed(before: Array, after: Array, more_than: int = 30) -> int:
    """Samples that differ clearly: hundreds where a face was replaced, next to none by encoding."""
    return int((change(before, after) > more_than).sum())
