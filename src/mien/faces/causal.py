"""Smoothing while frames come in, for a camera: what is ahead is not known, as it is in `smooth`.

Head pose and the shape that is left are filtered apart, each with a one-euro filter (Casiez, Roussel and
Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems", CHI 2012):
exponential smoothing whose cut-off frequency rises with the speed, so that what stands still is averaged and
what moves lags little. At a steady speed v it lags by v / (2 pi (least + slope v)), which stays below
1 / (2 pi slope) however fast it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.faces import smooth
from mien.faces.smooth import Pose
from mien.faces.track import extent
from mien.types import Array, Faces, Float64

_DAMP = 1.0
"""Cut-off frequency of the speed itself, Hz (the paper's dcutoff)."""
_POSE = (0.5, 40.0)
"""Cut-off frequency of the pose at rest, Hz, and its rise with the speed, Hz over radii a second, where the
strength is 1: at a steady speed the lag stays below 0.4 % of the head's radius. Chosen on four real clips by
the jitter in still moments, about that of `smooth`, and by the distance to its result, 1 % of it (RMS)."""
_SHAPE = (1.0, 40.0)
"""The same of each point of the shape."""
_APART = 0.5
"""Seconds without a face after which it is begun anew."""


@dataclass(frozen=True, slots=True)
class Law:
    """How a one-euro filter behaves."""

    least: float
    """Cut-off frequency at rest, Hz (the paper's mincutoff)."""
    slope: float
    """Rise of it with the speed, Hz over units a second (the paper's beta)."""
    damp: float = _DAMP
    """Cut-off frequency of the speed, Hz (the paper's dcutoff)."""


class OneEuro:
    """A one-euro filter over (G, D) values whose D coordinates move together: call it with each frame's."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._before: Array | None = None
        self._last: Array = np.zeros(0)
        self._speed: Array = np.zeros(0)

    def __call__(self, values: Array, seconds: float, unit: float = 1.0) -> NDArray[Any]:
        """The filtered values.

        Args:
            values: (G, D); the first ones come out as they are.
            seconds: Since the ones before, above 0.
            unit: What speeds are measured in, in units of the values.
        """
        if self._before is None:
            self._before, self._last, self._speed = values, values, np.zeros_like(values)
            return values
        seconds = max(seconds, 1e-6)
        raw = (values - self._before) / seconds
        self._speed = self._speed + _share(self._law.damp, seconds) * (raw - self._speed)
        cut = self._law.least + self._law.slope * np.linalg.norm(self._speed, axis=1, keepdims=True) / unit
        self._last = self._last + _share(cut, seconds) * (values - self._last)
        self._before = values
        return self._last


def _share(cut: Any, seconds: float) -> Any:
    """Weight of a new value: 1 / (1 + tau / T) with tau = 1 / (2 pi cut), T the time between two."""
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cut * seconds))


class Steady:
    """One face's landmarks, filtered as they come.

    Args:
        strength: Above 0 to 1 (`track.smooth`): frequencies at rest are divided by it.
    """

    def __init__(self, strength: float) -> None:
        self._place, self._turn, self._shape = (
            OneEuro(Law(least / max(strength, 0.05), slope)) for least, slope in (_POSE, _POSE, _SHAPE)
        )
        self._form: NDArray[np.complex128] | None = None
        self._angle = 0.0

    def __call__(self, dense: Float64, seconds: float) -> Float64:
        """(N, 3) landmarks, `seconds` after the ones before; the first ones come out as they are."""
        if self._form is None:
            self._form = smooth.template(dense[None])
        raw = smooth.poses(dense[None], self._form)
        step = (raw.angle[0] - self._angle + np.pi) % (2.0 * np.pi) - np.pi
        self._angle += float(step)
        # All in radii of the head: by its angle and the logarithm of its size the rim moves as far.
        centre = self._place(raw.centre, seconds, float(np.exp(raw.radius[0])))
        turn = self._turn(np.array([[self._angle], [raw.radius[0]]]), seconds)
        shape = self._shape(smooth.free(dense[None], raw)[0].astype(np.float64), seconds)
        pose = Pose(centre, turn[0], turn[1])
        return np.asarray(smooth.posed(shape[None].astype(np.float32), pose)[0], np.float64)


class Causal:
    """Everybody's landmarks, filtered as they come.

    Args:
        strength: `track.smooth`; at 0 everything passes unchanged.
        five: (F, N, 3) landmarks to the (F, 5, 2) points.
    """

    def __init__(self, strength: float, five: Callable[[Float64], Float64]) -> None:
        self._strength, self._five = strength, five
        self._known: dict[int, tuple[float, Steady]] = {}

    def __call__(self, faces: Faces, moment: float) -> Faces:
        """The faces of a frame, smoothed.

        Args:
            faces: With dense landmarks and tracks.
            moment: When the frame was taken, seconds, rising.
        """
        if faces.dense is None or faces.track is None:
            raise ValueError("faces: expected dense landmarks and tracks")
        if self._strength <= 0.0 or not len(faces):
            return faces
        rows = []
        for track, dense in zip(faces.track.tolist(), faces.dense, strict=True):
            before, steady = self._known.pop(track, (moment, None))
            if steady is None or moment - before > _APART:
                steady = Steady(self._strength)
            rows.append(steady(dense, moment - before))
            self._known[track] = (moment, steady)
        self._known = {k: v for k, v in self._known.items() if moment - v[0] <= _APART}
        smoothed = np.stack(rows)
        return replace(faces, dense=smoothed, box=extent(smoothed), points=self._five(smoothed))
