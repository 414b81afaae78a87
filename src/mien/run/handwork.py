"""What is done to each frame of a live run, one after the other, in one thread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien import pipeline
from mien.faces.causal import Causal
from mien.faces.onward import Onward
from mien.media.camera import TICKS, Shot
from mien.models import landmark
from mien.run.clock import Clock
from mien.run.ensemble import Ensemble
from mien.run.pulse import Pulse, Sight
from mien.run.render import Renderer
from mien.run.scene import Scene
from mien.settings import Detect, Feed, Track
from mien.trust.badge import TEXT, Badge, badge
from mien.types import Faces, Frame


class Handwork:
    """Finds the faces of each frame, changes them and draws what is to be seen.

    Args:
        clock: Told what stages take.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scene: Scene | None = None
        self._eyes: tuple[Onward, Causal] | None = None
        self._ensemble: Ensemble | None = None
        self._count = 0
        self._label: Badge | None = None
        self._facts: Badge | None = None
        self._facts_at = -1.0

    def __call__(self, shot: Shot, scene: Scene, rate: float) -> tuple[Frame, list[int], tuple[Sight, ...]]:
        """The frame with its new faces, the tracks that were changed, and everybody in it.

        Args:
            shot: Its planes are written.
            scene: What it shows; where it is another one than before, it counts from this frame.
            rate: Frames a second.
        """
        (follower, causal), ensemble = self._adopted(scene, rate)
        frame = replace(shot.frame, index=self._count)
        self._count += 1
        with self._clock.stage("find"):
            follower.step(frame)
            faces = causal(follower.current(), frame.pts / TICKS)
        with self._clock.stage("cast"):
            parts, now = ensemble.parts(frame, faces)
        work = Renderer(parts, now, scene.runtime, self._clock.stage)
        made = work([frame])[0]
        changed = [k for part in parts for k in part.ids]
        return replace(made, index=shot.frame.index), changed, _sights(frame, faces)

    def _adopted(self, scene: Scene, rate: float) -> tuple[tuple[Onward, Causal], Ensemble]:
        """What finds and casts faces; of another scene than before a new one, which goes on with the same
        people where nothing is changed about finding them.
        """
        if scene is self._scene and self._eyes is not None and self._ensemble is not None:
            return self._eyes, self._ensemble
        before, self._scene = self._scene, scene
        now, fresh = scene.order.settings, Ensemble(scene)
        same = before is not None and before.runtime is scene.runtime and _finding(before) == _finding(scene)
        if same and self._eyes is not None and self._ensemble is not None:
            fresh.take_over(self._ensemble)
        else:
            unrefined = now.model_copy(update={"track": now.track.model_copy(update={"refine": ""})})
            eyes = pipeline.eyes(scene.runtime, unrefined, self._clock.stage)
            follower = Onward(eyes, now.detect, now.track, rate)
            self._eyes = (follower, Causal(now.track.smooth, landmark.five))
        self._ensemble = fresh
        if before is not None and before.runtime is not scene.runtime:
            before.runtime.close()
        assert self._eyes is not None
        return self._eyes, fresh

    def draw(self, frame: Frame, feed: Feed, pulse: Pulse | None) -> None:
        """Draw on a frame, in place, what the feed asks for.

        Args:
            frame: With its new faces.
            feed: Its `label` and `statistics` count.
            pulse: The run's state where a new one is to be shown; None keeps what is shown.
        """
        with self._clock.stage("label"):
            if feed.label:
                if self._label is None:
                    self._label = badge(TEXT, frame.size, "top left")
                self._label.paste(frame)
            if feed.statistics and pulse is not None:
                self._facts = badge(_text(pulse), frame.size, "bottom left")
            if feed.statistics and self._facts is not None:
                self._facts.paste(frame)


def _sights(frame: Frame, faces: Faces) -> tuple[Sight, ...]:
    """Where everybody is."""
    if faces.track is None:
        return ()
    shares = np.round(faces.box / (frame.width, frame.height, frame.width, frame.height), 4)
    rows = zip(faces.track.tolist(), shares.tolist(), strict=True)
    return tuple(Sight(number, (left, top, right, low)) for number, (left, top, right, low) in rows)


def _finding(scene: Scene) -> tuple[Detect, Track]:
    settings = scene.order.settings
    return settings.detect, settings.track


def _text(pulse: Pulse) -> str:
    late = max([pulse.delay.median, *(out.delay.median for out in pulse.outputs.values())])
    lost = pulse.dropped + sum(out.dropped for out in pulse.outputs.values())
    return f"{pulse.fps:.1f} fps   {late:.0f} ms   {lost} dropped"
