"""Frames of a video as they are and as they will be, one at a time, for somebody who looks at them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from mien.errors import JobError
from mien.faces import tracksfile
from mien.images import cpu, geometry
from mien.media.decode import frames
from mien.models.deepface import SUFFIX
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.run import gate
from mien.run.clock import Clock
from mien.run.order import Order, order, parts, prepared
from mien.run.place import absolute, stamp, tracks_home
from mien.run.render import Footage, Part, Renderer, wanted
from mien.run.video import footage, samples, tracks_path
from mien.settings import Device, Job
from mien.stages.change import painted
from mien.stages.patch import Look, untimed
from mien.types import Array, Float64, Frame, Identity, Tracks

View: TypeAlias = Literal["before", "after", "difference", "mask"]
"""What is shown: the input, the result, what differs (four times as strong), or where the new face lies."""
Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width and height in display pixels."""

KEPT = 192 << 20
"""Bytes of decoded frames that are remembered."""
BACK = 6
"""Frames before a wanted one that are remembered, too: who looks steps back."""
AHEAD = 24
"""Frames that are rather decoded on the way than sought."""
IDENTITIES = 32
"""New faces that are remembered."""
LARGEST = 4096
"""Most pixels of a picture's width and of its height."""
STRONGER = 4
"""Factor by which a difference is shown."""
TINT = np.array([64, 200, 255], np.float32)
"""R'G'B' of the mask's overlay, 0 to 255."""


class Reader:
    """Frames of a clip in any order; those looked at lately are remembered. Not for several threads."""

    def __init__(self, film: Footage, threads: int = 0) -> None:
        self._film, self._threads = film, threads
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._bytes = 0
        self._open: Iterator[Frame] | None = None
        self._next = -1

    def frame(self, number: int) -> Frame:
        """A frame; nobody may write into it.

        Raises:
            JobError: It cannot be decoded, or there is no such frame.
        """
        if not 0 <= number < len(self._film.index):
            problem = f"is no frame of the clip, which has {len(self._film.index)}"
            raise JobError(f"frame {number}", problem, "They are numbered from 0.")
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        if self._open is None or not self._next <= number < self._next + AHEAD:
            self.close()
            first = max(number - BACK, 0)
            self._next = first
            end = len(self._film.index)
            film = self._film
            self._open = frames(film.clip, film.index, first, end, threads=self._threads, writable=False)
        for frame in self._open:
            self._next = frame.index + 1
            self._keep(frame)
            if frame.index >= number:
                break
        if number not in self._kept:
            raise JobError(f"frame {number}", "cannot be decoded", "Look at another one.")
        return self._kept[number]

    def _keep(self, frame: Frame) -> None:
        """Remember a copy, because a decoder's own buffers are few."""
        kept = replace(frame, planes=tuple(np.array(plane) for plane in frame.planes), owner=None)
        self._kept[frame.index] = kept
        self._bytes += _size(kept)
        while self._bytes > KEPT and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])

    def close(self) -> None:
        """Stop decoding; what is remembered stays."""
        if self._open is not None:
            self._open.close()  # type: ignore[attr-defined]
            self._open = None


def _size(frame: Frame) -> int:
    return sum(plane.nbytes for plane in frame.planes)


@dataclass(frozen=True, eq=False)
class Ready:
    """A job made ready to be shown."""

    job: Job
    files: Hashable
    """`stamps` of the job when it was made ready."""
    parts: tuple[Part, ...]
    tracks: Tracks


class Preview:
    """A clip with new faces, frame by frame. Safe to use from several threads: they take turns.

    Args:
        target: The video.
        home: Folder of models and analyses; None for the default one.
        device: The machine that networks run on.

    Raises:
        MediaError: It cannot be read.
    """

    def __init__(self, target: Path, home: Path | None = None, device: Device | None = None) -> None:
        self.film = footage(target, "", "")
        self._home, self._device = home, device or Device()
        self._reader = Reader(self.film, self._device.threads)
        self._runtime: Runtime | None = None
        self._seen: dict[Hashable, tuple[Identity, Look]] = {}
        self._ready: Ready | None = None
        self._tracks: tuple[Path, Tracks] | None = None
        self._passed: set[Hashable] = set()
        self._lock = threading.RLock()

    def show(
        self, number: int, job: Job | None, view: View = "after", width: int = 0, box: Box | None = None
    ) -> Array:
        """A frame, or a part of it, as R'G'B'.

        Args:
            number: The frame, from 0.
            job: What changes it; None for nothing.
            view: What is shown.
            width: Pixels of the picture; 0 for as many as the frame has. Never more than `LARGEST`.
            box: The part that is shown; None for all of it.

        Returns:
            uint8 (h, w, 3).

        Raises:
            JobError: There is no such frame, or the clip is not analysed as the job wants.
            MienError: The job cannot be rendered.
        """
        with self._lock:
            before = self._reader.frame(number)
            matrix, size = framing(before.size, width, box)
            if job is None or view == "before" or not job.cast:
                return cpu.glance(before, matrix, size)
            ready = self._made_ready(job)
            if view == "mask":
                return self._masked(before, ready, matrix, size)
            after = replace(before, planes=tuple(plane.copy() for plane in before.planes))
            assert self._runtime is not None
            Renderer(ready.parts, ready.tracks, self._runtime, untimed)([after])
            shown = cpu.glance(after, matrix, size)
            if view == "after":
                return shown
            own = cpu.glance(before, matrix, size).astype(np.int16)
            apart: Array = np.clip(np.abs(shown - own) * STRONGER, 0, 255).astype(np.uint8)
            return apart

    def _masked(self, frame: Frame, ready: Ready, matrix: Float64, size: tuple[int, int]) -> Array:
        """A frame with a tint where the new faces lie."""
        assert self._runtime is not None
        found = wanted(ready.parts, ready.tracks, frame)
        shown = cpu.glance(frame, matrix, size).astype(np.float32)
        cover = np.zeros(shown.shape[:2], np.float32)
        for new in painted(self._runtime, found)[0] if found else ():
            onto = geometry.compose(matrix, geometry.invert(new.matrix))
            cover = np.maximum(cover, cpu.warp(new.mask, onto, size, border="zero"))
        share = 0.6 * cover.clip(0.0, 1.0)[..., None]
        return (shown + share * (TINT - shown)).round().astype(np.uint8)

    def _made_ready(self, job: Job) -> Ready:
        """The job with identities read and networks loaded; what has not changed is not done again."""
        job = absolute(job)
        files = stamps(job)
        if self._ready is not None and (self._ready.job, self._ready.files) == (job, files):
            return self._ready
        asked = order(job, self._home)
        tracks = self._found(asked)
        runtime = self._running(asked)
        self._judged(asked, runtime)
        clock = Clock()
        with closing(prepared(asked, runtime, clock, self._seen)) as preparing:
            while True:  # what is said of sources is said when the job is rendered
                try:
                    next(preparing)
                except StopIteration as done:
                    cast = done.value
                    break
        for key in list(self._seen)[:-IDENTITIES]:
            del self._seen[key]
        self._ready = Ready(job, files, parts(asked, cast, runtime, tracks, film=self.film), tracks)
        return self._ready

    def _found(self, asked: Order) -> Tracks:
        """The tracks that an analysis left."""
        store = Store(self._home)
        home = tracks_home(self._home)
        path = tracks_path(self.film, asked.settings, asked.known, store, home)
        if self._tracks is None or self._tracks[0] != path:
            if not path.is_file():
                raise JobError(asked.job.target, "is not analysed with these settings", "Analyse it first.")
            self._tracks = (path, tracksfile.load(path))
        return self._tracks[1]

    def _running(self, asked: Order) -> Runtime:
        """The networks, on the machine that is asked for."""
        store = Store(self._home)
        if missing := [card.name for card in asked.used if not store.installed(card)]:
            raise JobError(", ".join(missing), "is not installed", "Get it first; see the models.")
        if self._runtime is None or self._runtime.device != asked.settings.device:
            self.unload()
            device = asked.settings.device
            self._runtime = Runtime(asked.threads, store, asked.known, device, singly=True)
        return self._runtime

    def _judged(self, asked: Order, runtime: Runtime) -> None:
        """The gate, once for each set of networks that judge."""
        if asked.judges not in self._passed:
            gate.check(str(asked.job.target), samples(self.film), asked.judges, runtime)
            self._passed.add(asked.judges)

    def unload(self) -> None:
        """Give back the networks' memory."""
        with self._lock:
            if self._runtime is not None:
                self._runtime.close()
            self._runtime = self._ready = None

    def close(self) -> None:
        """Give back everything."""
        with self._lock:
            self._reader.close()
            self.unload()


def stamps(job: Job) -> Hashable:
    """When the files that show new faces, and who is meant, were written, and the user's own networks."""
    shown = [path for role in job.cast for path in (*role.sources, *role.like)]
    shown += [path for cue in job.cues for path in cue.sources]
    models = {(role.swap or job.settings.swap).model for role in job.cast}
    models |= {str(cue.values.get("swap.model", "")) for cue in job.cues}
    return tuple(map(stamp, (*shown, *(Path(one) for one in sorted(models) if one.lower().endswith(SUFFIX)))))


def framing(size: tuple[int, int], width: int, box: Box | None) -> tuple[Float64, tuple[int, int]]:
    """How a frame, or a part of it, is put into a picture of a width.

    Args:
        size: Of the frame in display pixels.
        width: Of the picture; 0 for one pixel each. Less where the picture would be wider or higher than
            `LARGEST`.
        box: The part; None for all.

    Returns:
        (2, 3) display pixels to the picture's, and the picture's size.
    """
    x, y, w, h = box or (0.0, 0.0, float(size[0]), float(size[1]))
    w, h = max(w, 1.0), max(h, 1.0)
    wide = int(np.clip(width or round(w), 16, LARGEST))
    if wide * h > LARGEST * w:
        wide = max(int(LARGEST * w / h), 1)
    high = min(max(round(wide * h / w), 1), LARGEST)
    across, down = wide / w, high / h
    return np.array([[across, 0.0, -x * across], [0.0, down, -y * down]]), (wide, high)
