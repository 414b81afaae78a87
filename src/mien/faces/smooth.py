"""Smoothing of landmarks over the whole track, without lag and without dulling blinks or speech.

The head's pose (a similarity fitted to points that no muscle moves) and the shape that is left are
smoothed apart, both with `even`: a bilateral filter in time over *pairs* of frames at equal distance
before and after. The mean of such a pair equals the frame itself for any steady motion, so a steady motion
passes unchanged whatever the weights, and there is no lag by construction. What a pair's mean differs from
the frame is noise or curvature; differences beyond about twice the measured noise shut the pair and all
wider ones out. So a still head is averaged strongly and a blink of two frames is left alone.

The support is finite: a track is read and written in chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.faces.repeats import LONGEST
from mien.types import DENSE, Float32, Float64, Int64

Read = Callable[[int, int], Float64]
"""Rows [first, last) of a track: (k, N, 3) dense landmarks."""

STABLE = np.array(
    (
        *(168, 6, 197, 195, 5, 4, 33, 133, 362, 263, 10, 151, 9, 8, 67, 297, 109, 338, 69, 299),
        *(127, 356, 162, 389, 54, 284, 234, 454, 116, 345, 117, 346, 50, 280, 48, 278, 98, 327, 2),
    )
)
"""Points of the face mesh on bone or cartilage: nose, forehead, temples, eye corners, cheekbones."""

_CHUNK = 256
_SAMPLES = 8
"""Chunks of a long track that the noise and the mean shape are measured on."""
_POSE_CAP = 0.003
"""Most noise of the head's pose that is believed, in radii, beside `_SAMPLING`: above it, it is motion. With
more, pictures of a shaking camera stabilised by the smoothed pose tremble more than those stabilised by the
raw one (bench/smoothing.py measures it)."""
_SAMPLING = 0.1
"""Noise in pixels that the picture's own pixel grid adds."""
_NOISE_CAP = 0.012
"""Most noise of a point that is believed, as a share of the head's radius: above it, it is motion."""


def even(values: NDArray[Any], sigma: NDArray[Any], weight: NDArray[Any], half: int) -> NDArray[Any]:
    """Average over pairs of rows at equal distance, as far as they agree with the row between them.

    Args:
        values: (n, G, D) rows in time; each of the G groups is judged by its first two coordinates (x, y).
        sigma: (G,) difference at which a pair's weight has fallen to exp(-1/2); below it the weight is
            nearly 1, above it falls steeply. 0 leaves the group alone.
        weight: (n,) trust in each row, 0 to 1.
        half: Rows on each side.

    Returns:
        (n, G, D), same dtype. Rows nearer than `half` to an end use the pairs that exist.
    """
    n = len(values)
    keen = (1.0 / np.maximum(np.square(sigma), 1e-18)).astype(values.dtype)
    trust = weight.astype(values.dtype)[:, None]
    total = values * np.maximum(trust, 1e-3)[:, :, None]
    norm = np.broadcast_to(np.maximum(trust, 1e-3), values.shape[:2]).copy()
    agree = np.ones(values.shape[:2], values.dtype)
    for k in range(1, min(half, (n - 1) // 2) + 1):
        here = slice(k, n - k)
        mean = (values[2 * k :] + values[: n - 2 * k]) * values.dtype.type(0.5)
        apart = np.square((mean - values[here])[:, :, :2]).sum(axis=2) * keen
        np.minimum(agree[here], np.exp(-0.5 * np.square(np.minimum(apart, 16.0))), out=agree[here])
        fall = np.exp(-0.5 * (2.0 * k / (half + 1)) ** 2)
        share = 2 * fall * agree[here] * np.sqrt(trust[2 * k :] * trust[: n - 2 * k])
        total[here] += share[:, :, None] * mean
        norm[here] += share
    return np.asarray(total / norm[:, :, None], values.dtype)


def noise(values: NDArray[Any]) -> Float64:
    """(G,) how far noise alone takes a row of (n, G, D) from the mean of its neighbours in x and y, RMS.

    From the median, which keeps moments of real motion out; 0 for fewer than three rows.
    """
    if len(values) < 3:
        return np.zeros(values.shape[1])
    bend = np.abs(values[1:-1] - (values[2:] + values[:-2]) / 2)[:, :, :2]
    spread = np.median(bend, axis=0) / 0.6745  # median of |x| over the deviation of a normal x
    return np.asarray(np.sqrt(np.square(spread).sum(axis=1)), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """Where the head is, one row a frame."""

    centre: Float64
    """(n, 2) mean of the stable points, display pixels."""
    angle: Float64
    """(n,) radians, without jumps of a whole turn."""
    radius: Float64
    """(n,) natural logarithm of the stable points' RMS distance from the centre, in pixels."""

    def __getitem__(self, rows: slice) -> Pose:
        return Pose(self.centre[rows], self.angle[rows], self.radius[rows])


def template(dense: Float64) -> NDArray[np.complex128]:
    """(S,) mean shape of the stable points of (n, N, 3) faces: centred, unit RMS radius."""
    points = dense[:, STABLE, 0] + 1j * dense[:, STABLE, 1]
    points = points - points.mean(axis=1, keepdims=True)
    mean = points[len(points) // 2]
    for _ in range(2):
        turn = (points * mean.conj()).sum(axis=1)
        mean = (points / turn[:, None]).mean(axis=0)
        mean = mean / np.sqrt((np.abs(mean) ** 2).mean())
    return np.asarray(mean, np.complex128)


def poses(dense: Float64, shape: NDArray[np.complex128]) -> Pose:
    """Least-squares similarity from `shape` to the stable points of each of (n, N, 3) faces.

    In complex numbers the optimum is the projection <shape, points> / <shape, shape>.
    """
    points = dense[:, STABLE, 0] + 1j * dense[:, STABLE, 1]
    centre = points.mean(axis=1)
    turn = ((points - centre[:, None]) * shape.conj()).mean(axis=1)
    radius = np.log(np.maximum(np.abs(turn), 1e-6))
    return Pose(np.stack([centre.real, centre.imag], axis=1), np.unwrap(np.angle(turn)), radius)


def free(dense: Float64, pose: Pose) -> Float32:
    """(n, N, 3) shapes with the pose taken off, in units of the head's radius."""
    turn = np.exp(-pose.radius - 1j * pose.angle)[:, None]
    flat = (dense[..., 0] + 1j * dense[..., 1] - (pose.centre[:, 0] + 1j * pose.centre[:, 1])[:, None]) * turn
    deep = dense[..., 2] * np.exp(-pose.radius)[:, None]
    return np.stack([flat.real, flat.imag, deep], axis=2).astype(np.float32)


def posed(shape: Float32, pose: Pose) -> Float64:
    """(n, N, 3) faces in display pixels: the inverse of `free`."""
    turn = np.exp(pose.radius + 1j * pose.angle)[:, None]
    flat = (shape[..., 0] + 1j * shape[..., 1].astype(np.float64)) * turn
    flat = flat + (pose.centre[:, 0] + 1j * pose.centre[:, 1])[:, None]
    deep = shape[..., 2] * np.exp(pose.radius)[:, None]
    return np.stack([flat.real, flat.imag, deep], axis=2)


def smooth_pose(pose: Pose, weight: Float64, reach: float, half: int) -> Pose:
    """The pose with each of place, angle and size smoothed on its own.

    Args:
        pose: Of a whole track.
        weight: (n,) trust in each row, 0 to 1.
        reach: Differences up to about this many times the noise are smoothed away.
        half: Rows on each side.
    """
    size = np.exp(np.median(pose.radius))

    cap = _POSE_CAP + _SAMPLING / size

    def one(values: Float64, most: float) -> Float64:
        rows = values.reshape(len(values), 1, -1)
        sigma = np.minimum(noise(rows), most) * reach
        return np.asarray(even(rows, sigma, weight, half).reshape(values.shape), np.float64)

    return Pose(one(pose.centre, cap * size), one(pose.angle, cap), one(pose.radius, cap))


def chunks(length: int) -> list[tuple[int, int]]:
    """[first, last) of the chunks of a track."""
    return [(k, min(k + _CHUNK, length)) for k in range(0, length, _CHUNK)]


def _sampled(length: int) -> list[tuple[int, int]]:
    """A few chunks spread over the track."""
    every = chunks(length)
    step = max(1, len(every) // _SAMPLES)
    return every[::step][:_SAMPLES]


def _shape_noise(read: Read, pose: Pose, length: int) -> Float64:
    """(N,) noise of each point in radii; a talking mouth is not taken for a noisy one."""
    found = np.median([noise(free(read(a, b), pose[a:b])) for a, b in _sampled(length)], axis=0)
    # A second landmarker's points have a noise of their own.
    parts = [part for part in (found[:DENSE], found[DENSE:]) if len(part)]
    capped = [np.minimum(part, min(float(np.median(part)), _NOISE_CAP)) for part in parts]
    return np.asarray(np.concatenate(capped), np.float64)


def whole_pose(read: Read, length: int) -> Pose:
    """The head's pose in every row of a track."""
    parts = _sampled(length)
    shape = template(np.concatenate([read(a, b)[:: max(1, (b - a) // 32)].copy() for a, b in parts]))
    found = [poses(read(a, b), shape) for a, b in chunks(length)]
    return Pose(
        np.concatenate([p.centre for p in found]),
        np.unwrap(np.concatenate([p.angle for p in found])),
        np.concatenate([p.radius for p in found]),
    )


def smoothed(
    read: Read, length: int, observed: NDArray[np.bool_], rate: float, strength: float
) -> Iterator[Float64]:
    """Smooth a track chunk by chunk.

    Args:
        read: Gives rows [first, last).
        length: Rows of the track.
        observed: (n,) whether a row was seen; filled ones count little.
        rate: Frames per second: the windows are times, not frame counts.
        strength: 0 (rows pass unchanged) to 1.

    Yields:
        (k, N, 3) consecutive rows, `length` in all.
    """
    if strength <= 0.0 or length < 3:
        for a, b in chunks(length):
            yield read(a, b)
        return
    weight = np.where(observed, 1.0, 0.2)
    reach = 3.4 * strength  # of the shape: with more, quick vowels get smaller
    raw = whole_pose(read, length)
    pose = smooth_pose(raw, weight, 4.4 * strength, half=_half(rate, 0.4 * strength))
    sigma = (_shape_noise(read, raw, length) * reach).astype(np.float32)
    half = _half(rate, 0.2 * strength)
    for a, b in chunks(length):
        low, high = max(0, a - half), min(length, b + half)
        shape = even(free(read(low, high), raw[low:high]), sigma, weight[low:high], half)
        yield posed(shape[a - low : b - low], pose[a:b])


def repeating(
    read: Read, runs: Int64, observed: NDArray[np.bool_], rate: float, strength: float
) -> Iterator[Float64]:
    """Smooth a track in which pictures are repeated: each run of one picture is one row.

    Otherwise a head would seem to stop and start, and would be moved in pictures that are equal.

    Args:
        read: Gives the rows of runs [first, last).
        runs: (n,) frames of each run, 1 where nothing is repeated.
        observed: (n,) whether a run was seen; filled ones count little.
        rate: Frames per second, repeats included.
        strength: 0 (rows pass unchanged) to 1.

    Yields:
        (k, N, 3) consecutive rows, one a frame; those of a run are equal.
    """
    if not len(runs):
        return
    # a picture that stands for long says nothing of the rate of the others
    rate *= len(runs) / float(np.minimum(runs, LONGEST + 1).sum())
    done = 0
    for rows in smoothed(read, len(runs), observed, rate, strength):
        which = np.repeat(np.arange(len(rows)), runs[done : done + len(rows)])
        for a, b in chunks(len(which)):
            yield rows[which[a:b]]
        done += len(rows)


def _half(rate: float, seconds: float) -> int:
    """Rows on each side for a window that reaches so many seconds either way."""
    return int(np.clip(round(rate * seconds), 1, 24))
