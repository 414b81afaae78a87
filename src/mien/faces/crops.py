"""The few best crops of every face, taken while it is followed, for a network that tells who it is.

What the network does is handed in (`Embedder`), so that this file knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mien.faces.track import Tracklet, cover, side
from mien.types import Array, Float32, Float64, Frame

MOST = 6
"""Most crops of one face."""
SMALLEST = 24.0
"""Size of a face in pixels below which no crop is taken."""
_APART = 0.2
"""Seconds between two crops, at least."""
_CROWDED = 0.3
"""Share of a face under or over another one from which the crop may show the wrong one."""
_BATCH = 24
"""Crops that are embedded in one go: a few megabytes."""


@dataclass(frozen=True, slots=True)
class Embedder:
    """A network that tells who somebody is, as plain functions."""

    name: str
    """Its card."""
    same: float
    """Cosine from which two faces are surely one person."""
    cut: Callable[[Frame, Float64], Array]
    """A frame and the (5, 2) points of a face to a (side, side, 3) uint8 square."""
    embed: Callable[[Array], Float32]
    """(N, side, side, 3) uint8 to (N, D) embeddings."""
    mean: Callable[[Float32], Float32]
    """(N, D) embeddings of one face to their (D,) robust mean."""


def turned(points: Float64) -> Float64:
    """(n,) how far (n, 5, 2) points are from a face seen from the front: 0, about 1 where seen from the side.

    From the front the nose lies as far from one eye-mouth side as from the other.
    """
    eyes, nose, mouth = points[:, :2], points[:, 2], points[:, 3:]
    across = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=1)
    middle = (eyes.mean(axis=1) + mouth.mean(axis=1)) / 2
    return np.asarray(np.linalg.norm(nose - middle, axis=1) / np.maximum(across, 1e-6), np.float64)


def inside(box: Float64, size: tuple[int, int]) -> Float64:
    """(n,) share of (n, 4) boxes that lies in a picture of this width and height."""
    wide = np.minimum(box[:, 2:], size) - np.maximum(box[:, :2], 0)
    return np.asarray(np.prod(np.maximum(wide, 0.0), axis=1) / np.square(side(box)), np.float64)


def sharpness(picture: Array) -> float:
    """How steep a (h, w, 3) picture is for its contrast: blur and enlarging lower it, exposure does not."""
    luma = picture.astype(np.float32) @ np.array([0.25, 0.5, 0.25], np.float32)
    steep = np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()
    return float(steep / (luma.std() + 4.0))


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    frame: int
    worth: float
    picture: Array


@dataclass(slots=True, eq=False)
class _Album:
    """The crops of one face so far."""

    crops: list[_Crop] = field(default_factory=list)
    due: int = 0
    """Frame from which the next is taken."""

    def add(self, crop: _Crop) -> None:
        """Take one in; of too many the one goes that is missed least, by its worth and the gap it leaves."""
        self.crops.append(crop)
        if len(self.crops) > MOST:
            at = np.array([c.frame for c in self.crops], np.float64)
            gap = np.empty(len(at))
            gap[1:-1] = at[2:] - at[:-2]
            gap[0], gap[-1] = 4.0 * (at[1] - at[0]), 4.0 * (at[-1] - at[-2])
            loss = np.array([c.worth for c in self.crops]) * np.sqrt(gap)
            del self.crops[int(np.argmin(loss))]


class Gallery:
    """Takes crops of the faces that are being followed and embeds them when a face is gone.

    Args:
        embedder: The network.
        five: (F, N, 3) landmarks to the (F, 5, 2) points.
        rate: Frames per second.
    """

    def __init__(self, embedder: Embedder, five: Callable[[Float64], Float64], rate: float) -> None:
        self._embedder = embedder
        self._five = five
        self._apart = max(1, round(_APART * rate))
        self._open: dict[Tracklet, _Album] = {}
        self._waiting: list[tuple[Tracklet, Array]] = []

    def step(self, frame: Frame, faces: Sequence[tuple[Tracklet, Float64]]) -> None:
        """Look at the faces of a frame: each with its (N, 3) landmarks, the frame's row already appended."""
        for gone in self._open.keys() - {tracklet for tracklet, _ in faces}:
            self._retire(gone)
        if len(self._waiting) >= _BATCH:
            self._embed()
        boxes = np.array([tracklet.last(1)[0] for tracklet, _ in faces]).reshape(-1, 4)
        for k, (tracklet, dense) in enumerate(faces):
            album = self._open.setdefault(tracklet, _Album())
            if frame.index < album.due:
                continue
            others = np.delete(boxes, k, axis=0)
            if side(boxes[k]) < SMALLEST or cover(boxes[k : k + 1], others).max(initial=0.0) > _CROWDED:
                continue  # looked at again in the next frame
            album.due = frame.index + max(self._apart, len(tracklet) // 8)
            album.add(self._crop(frame, self._five(dense[None])[0], boxes[k], tracklet.latest))

    def finish(self) -> None:
        """Embed what is left."""
        for gone in list(self._open):
            self._retire(gone)
        self._embed()

    def _crop(self, frame: Frame, points: Float64, box: Float64, presence: float) -> _Crop:
        picture = self._embedder.cut(frame, points)
        worth = presence * float(np.exp(-2.0 * turned(points[None])[0]) * inside(box[None], frame.size)[0])
        large = min(1.0, float(side(box)) / len(picture))
        return _Crop(frame.index, worth * large * sharpness(picture), picture)

    def _retire(self, tracklet: Tracklet) -> None:
        """A face is gone: its crops wait to be embedded, but for rows that were taken back."""
        album = self._open.pop(tracklet)
        self._waiting += [(tracklet, c.picture) for c in album.crops if c.frame < tracklet.end]

    def _embed(self) -> None:
        for first in range(0, len(self._waiting), _BATCH):
            part = self._waiting[first : first + _BATCH]
            vectors = self._embedder.embed(np.stack([picture for _, picture in part]))
            for (tracklet, _), vector in zip(part, vectors, strict=True):
                tracklet.embeddings.append(vector)
        self._waiting.clear()
