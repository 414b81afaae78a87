"""A photo that talks: moves the mouth, jaw and eyelids of a portrait by its dense landmarks.

For test and demo clips made from photos that may be used. The numbers of the landmarks are those of the
468-point face mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from mien.types import Array, Float32, Float64

UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_OUTER = (185, 40, 39, 37, 0, 267, 269, 270, 409)
LOWER_OUTER = (146, 91, 181, 84, 17, 314, 405, 321, 375)
CORNERS = (61, 291, 78, 308)
JAW = (
    *(18, 313, 406, 335, 273, 83, 182, 106, 43, 200, 201, 421, 208, 428, 199, 175, 152, 171, 396),
    *(148, 377, 176, 400, 149, 378, 150, 379, 136, 365, 172, 397, 58, 288, 204, 424, 194, 418),
)
LIDS = (
    ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155), (33, 133)),
    ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382), (263, 362)),
)
"""Upper lid, lower lid beneath the same points, corners; image-left eye first."""
LID_FOLDS = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
FIXED = (
    10,
    67,
    297,
    103,
    332,
    54,
    284,
    21,
    251,
    127,
    356,
    6,
    197,
    195,
    5,
    4,
    1,
    2,
    98,
    327,
    50,
    280,
    117,
    346,
)
BROWS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)
FINENESS = 16
"""Points of the coarse displacement field between the two eyes."""
INSIDE = np.array([0.16, 0.06, 0.06])
"""R'G'B' of the dark inside of a mouth."""


@dataclass(frozen=True)
class Pose:
    """What the face does at one moment."""

    mouth: float = 0.0
    """How far the jaw is open, 0 to 1."""
    round: float = 0.0
    """How far the mouth's corners come together, 0 to 1."""
    blink: float = 0.0
    """How far the eyelids are closed, 0 to 1."""
    brows: float = 0.0
    """How far the brows are raised, 0 to 1."""
    yaw: float = 0.0
    """Turn of the head in radians; small, it only shifts what is nearer."""


class Puppet:
    """A portrait and its landmarks.

    Args:
        rgb: (H, W, 3) uint8.
        dense: (468, 3) landmarks in pixels of `rgb`.
    """

    def __init__(self, rgb: Array, dense: Float64) -> None:
        self.dense = dense[:, :2].astype(np.float64)
        eyes = np.stack([self.dense[[33, 133]].mean(0), self.dense[[263, 362]].mean(0)])
        across = eyes[1] - eyes[0]
        self.unit = float(np.hypot(*across))
        """Distance between the eyes' centres in pixels."""
        self._step = self.unit / FINENESS
        self._margin = round(6 * self.unit)
        self._rgb = _surrounded(rgb.astype(np.float32) / 255.0, self._margin)
        self._u = across / self.unit
        self._v = np.array([-self._u[1], self._u[0]])
        self.centre: Float64 = self.dense[:, :2].mean(0)
        reach = 2.3 * self.unit
        self._low = np.maximum(np.floor(self.centre - reach), 0.0)
        high = np.minimum(self.centre + reach, [rgb.shape[1], rgb.shape[0]])
        self._grid = tuple(int(n) for n in np.ceil((high - self._low) / self._step) + 1)

    def moved(self, pose: Pose) -> Float64:
        """(468, 2) where every landmark is in this pose, before the turn of the head."""
        out = self.dense.copy()
        mouth = self.dense[list(CORNERS[:2])]
        middle, half = mouth.mean(0), float(np.hypot(*(mouth[1] - mouth[0]))) / 2
        across = (self.dense - middle) @ self._u / half
        arch = np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0))
        drop = 0.3 * self.unit * pose.mouth
        for ids in (LOWER_INNER, LOWER_OUTER):
            out[list(ids)] += np.outer(drop * arch[list(ids)], self._v)
        for ids in (UPPER_INNER, UPPER_OUTER):
            inner = [i for i in ids if i not in CORNERS]
            out[inner] -= np.outer(0.08 * drop * arch[inner], self._v)
        jaw = list(JAW)
        fade = 1.0 / (1.0 + (0.75 * across[jaw]) ** 4)
        out[jaw] += np.outer(0.85 * drop * fade, self._v)
        lips = [*CORNERS, *UPPER_OUTER, *LOWER_OUTER, *UPPER_INNER[1:-1], *LOWER_INNER[1:-1]]
        out[lips] -= np.outer(0.22 * half * pose.round * across[lips], self._u)
        for (upper, lower, _), fold in zip(LIDS, LID_FOLDS, strict=True):
            gap = self.dense[list(lower)] - self.dense[list(upper)]
            out[list(upper)] += 0.94 * pose.blink * gap
            out[list(fold)] += 0.45 * pose.blink * gap
        out[list(BROWS)] -= np.outer(np.full(len(BROWS), 0.07 * self.unit * pose.brows), self._v)
        return out

    def field(self, pose: Pose) -> Float32:
        """(rows, columns, 2) on the coarse grid: what to add to a position to find its place in the photo."""
        moved = self.moved(pose)
        ids = _controls()
        there, back = moved[ids], self.dense[ids] - moved[ids]
        # What showed between the lips belongs to the skull: the teeth stay where they are.
        teeth = self.dense[list(LOWER_INNER[1:-1])]
        apart = np.hypot(*(moved[list(LOWER_INNER[1:-1])] - teeth).T) > 2.0
        columns, rows = self._grid
        x, y = np.meshgrid(np.arange(columns) * self._step, np.arange(rows) * self._step)
        points = np.stack([x, y], -1).reshape(-1, 2) + self._low
        ring = self._ring()
        known = np.concatenate([there, teeth[apart], ring])
        value = np.concatenate([back, np.zeros((int(apart.sum()) + len(ring), 2))])
        warp = RBFInterpolator(known, value, kernel="linear", smoothing=0.0)(points)
        depth = np.exp(-((np.hypot(*((points - self.centre).T)) / (0.95 * self.unit)) ** 2))
        warp -= np.outer(0.55 * self.unit * np.sin(pose.yaw) * depth, self._u)
        # Nothing moves at the border of the grid, or the photo would break there.
        inward = np.minimum(np.minimum(x, x.max() - x), np.minimum(y, y.max() - y))
        edge = np.clip(inward / (0.4 * self.unit), 0.0, 1.0)[..., None]
        return np.asarray(warp.reshape(rows, columns, 2) * edge, np.float32)

    def _ring(self) -> Float64:
        """Points around the head that never move."""
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle)], -1)
        return np.asarray(self.centre + 1.75 * self.unit * circle, np.float64)

    def show(self, pose: Pose, camera: Float64, size: tuple[int, int]) -> Float32:
        """The photo in this pose, as a camera sees it.

        Args:
            pose: What the face does.
            camera: (2, 3) affine from output pixels to pixels of the photo.
            size: Width and height of the output.

        Returns:
            (H, W, 3) R'G'B', nominally 0 to 1.
        """
        columns, rows = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
        place = np.stack([columns, rows], -1) @ camera[:, :2].T + camera[:, 2]
        coarse = ((place - self._low) / self._step).astype(np.float32)
        shift = cv2.remap(
            self.field(pose), coarse[..., 0], coarse[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        source = (place + shift + (self._margin - 0.5)).astype(np.float32)
        picture = cv2.remap(
            self._rgb, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return self._inside(np.asarray(picture, np.float32), pose, camera)

    def _inside(self, picture: Float32, pose: Pose, camera: Float64) -> Float32:
        """Paint the dark that opens between the teeth and the lower lip."""
        if pose.mouth < 0.02:
            return picture
        moved = self.moved(pose)
        teeth = self.dense[list(LOWER_INNER)].copy()
        teeth[[0, -1]] = moved[[LOWER_INNER[0], LOWER_INNER[-1]]]
        outline = np.concatenate([teeth, moved[list(LOWER_INNER[1:-1])][::-1]])
        depth = np.exp(-((np.hypot(*((outline - self.centre).T)) / (0.95 * self.unit)) ** 2))
        outline += np.outer(0.55 * self.unit * np.sin(pose.yaw) * depth, self._u)
        outline = (outline - camera[:, 2]) @ np.linalg.inv(camera[:, :2]).T - 0.5
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        scale = 1.0 / float(np.sqrt(abs(np.linalg.det(camera[:, :2]))))
        soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.012 * self.unit * scale, 0.6)), np.float32)
        share = soft[..., None] / 255.0
        return np.asarray(picture * (1 - share) + INSIDE * share, np.float32)


def _surrounded(rgb: Float32, margin: int) -> Float32:
    """A picture with `margin` pixels around it: its mirror image, too far out of focus to show a face."""
    wide = cv2.copyMakeBorder(rgb, margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
    tiny = cv2.resize(wide, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(
        cv2.GaussianBlur(tiny, (0, 0), 4.0), wide.shape[1::-1], interpolation=cv2.INTER_CUBIC
    )
    inside = np.zeros(wide.shape[:2], np.float32)
    rim = 16
    inside[margin + rim : -margin - rim, margin + rim : -margin - rim] = 1.0
    share = np.asarray(cv2.GaussianBlur(inside, (0, 0), rim / 2.5), np.float32)[..., None]
    return np.asarray(wide * share + blurred * (1 - share), np.float32)


def _controls() -> list[int]:
    """The landmarks that hold the warp, each once."""
    ids = [*UPPER_INNER, *LOWER_INNER, *UPPER_OUTER, *LOWER_OUTER, *CORNERS, *JAW, *FIXED, *BROWS]
    for (upper, lower, corners), fold in zip(LIDS, LID_FOLDS, strict=True):
        ids += [*upper, *lower, *corners, *fold]
    return sorted(set(ids))
