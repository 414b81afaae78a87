"""Dense landmarks: 468 points of a face from an upright crop of it (FaceMesh).

Regions of interest ("rois") are (F, 2, 3) affines from display pixels to the network's crop of
`SIDE` pixels, rotated so that the eyes are level.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.errors import ModelError
from mien.images import cpu
from mien.models.mediapipe import FACEMESH
from mien.models.store import AGAIN, Store
from mien.types import Float64, Frame, Int64

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

SIDE = 192
POINTS = 468
BOX_FACTOR = 1.5
"""Side of the crop over the longer side of a detector's box (MediaPipe's
face_detection_front_detection_to_roi.pbtxt)."""
FOLLOW_FACTOR = 1.45
"""Side of the crop over the extent of the landmarks themselves, when they were found a frame ago.

Measured by moving, scaling and turning the crops of eleven faces a little: the points spread by 0.6 % of
the face's size at 1.4 to 1.5, 1.0 % at 1.25 and 1.2 % at 1.75; at 1.25 a turning head is lost."""
POINTS_FACTOR = 2.7
"""Side of the crop over the length of (eye to eye, eyes' centre to mouth's centre), which varies by 5 %
over profiles and frontal faces; gives the same crop as `FOLLOW_FACTOR`."""

RIGHT_EYE = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246])
"""Contour of the person's right eye (image-left when upright), once around from the outer corner."""
LEFT_EYE = np.array([263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466])
"""Contour of the person's left eye, once around from the outer corner."""
NOSE_TIP = 1
ASIDE = math.radians(40.0)
"""Yaw from which a face is seen from the side: about 50 degrees, for the network reads too little."""
CHEEKS = (234, 454)
"""Image-left and image-right rim of the face, in front of the ears, when upright."""
MOUTH_CORNERS = (61, 291)
"""Image-left and image-right corner of the outer lips when upright."""


def landmarks(runtime: Runtime, frame: Frame, rois: Float64) -> tuple[Float64, Float64]:
    """Find the dense landmarks of several faces of one frame, in one batch.

    Args:
        runtime: Where the network runs.
        frame: The picture.
        rois: (F, 2, 3) display pixels to crop pixels.

    Returns:
        (F, 468, 3) x and y in display pixels, z in the same scale (smaller is nearer), and (F,) the
        probability that the crop shows a face.
    """
    if len(rois) == 0:
        return np.zeros((0, POINTS, 3)), np.zeros(0)
    crops = np.empty((len(rois), SIDE, SIDE, 3), np.float32)
    for crop, roi in zip(crops, rois, strict=True):
        # Whole codes move the points by less than 0.1 % of the face (measured; tested).
        np.multiply(cpu.glance(frame, roi, (SIDE, SIDE)), np.float32(1 / 255), out=crop)
    result = runtime.session(FACEMESH).run(crops)
    return decode(result["conv2d_21"], result["conv2d_31"], rois)


def decode(points: object, logit: object, rois: Float64) -> tuple[Float64, Float64]:
    """Turn the network's output into display coordinates.

    Args:
        points: (F, ...) 1404 values a face: x, y, z in crop pixels.
        logit: (F, ...) one value a face.
        rois: (F, 2, 3) display pixels to crop pixels.

    Returns:
        What `landmarks` returns.
    """
    crop = np.asarray(points, np.float64).reshape(len(rois), POINTS, 3)
    linear, shift = rois[:, :, :2], rois[:, :, 2]
    back = np.linalg.inv(linear)
    dense = np.empty_like(crop)
    dense[..., :2] = np.einsum("fij,fnj->fni", back, crop[..., :2] - shift[:, None])
    dense[..., 2] = crop[..., 2] * np.sqrt(np.abs(np.linalg.det(back)))[:, None]
    return dense, sigmoid(np.asarray(logit, np.float64).reshape(len(rois)))


def sigmoid(logit: Float64) -> Float64:
    """Logistic function, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)), np.float64)


def five(dense: Float64) -> Float64:
    """The five points of dense landmarks.

    Args:
        dense: (F, 468, 2 or 3).

    Returns:
        (F, 5, 2) image-left eye, image-right eye, nose tip, image-left and image-right mouth corner;
        "image-left" is the person's right side, also where the head hangs down.
    """
    flat = dense[..., :2]
    eyes = (flat[:, RIGHT_EYE].mean(1), flat[:, LEFT_EYE].mean(1))
    return np.stack([*eyes, flat[:, NOSE_TIP], flat[:, MOUTH_CORNERS[0]], flat[:, MOUTH_CORNERS[1]]], axis=1)


def boxes(dense: Float64) -> Float64:
    """(F, 4) upright bounding boxes of dense landmarks (F, N, 2 or 3)."""
    # Reductions along memory are ten times as fast as across it.
    flat = np.ascontiguousarray(np.swapaxes(dense[..., :2], 1, 2))
    return np.concatenate([flat.min(axis=2), flat.max(axis=2)], axis=1)


def roll(dense: Float64) -> Float64:
    """(F,) radians by which the outer eye corners' line is turned in the picture, clockwise on screen."""
    return _angle(dense[:, RIGHT_EYE[0], :2], dense[:, LEFT_EYE[0], :2])


def yaw(dense: Float64) -> Float64:
    """(F,) radians by which faces are turned aside, above 0 where the image-right cheek is further away.

    What the network says is less than the truth: it reads about 50 degrees in a full profile.
    """
    across = dense[:, CHEEKS[1]] - dense[:, CHEEKS[0]]
    return np.asarray(np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1])), np.float64)


def aside(dense: Float64) -> NDArray[np.bool_]:
    """(F,) whether faces are seen from the side, see `ASIDE`."""
    return np.asarray(np.abs(yaw(dense)) > ASIDE, np.bool_)


def roi(centre: Float64, side: Float64, angle: Float64) -> Float64:
    """Affines that cut rotated squares.

    Args:
        centre: (F, 2) display pixels.
        side: (F,) of the square, display pixels.
        angle: (F,) radians by which the eyes' line is turned from image-left to image-right, clockwise
            on screen.

    Returns:
        (F, 2, 3) display pixels to crop pixels: turned back by `angle`, `side` becomes `SIDE`.
    """
    scale = SIDE / side
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=-2)
    shift = SIDE / 2 - np.einsum("fij,fj->fi", linear, centre)
    return np.concatenate([linear, shift[..., None]], axis=-1)


def roi_from_box(box: Float64, points: Float64, factor: float = BOX_FACTOR) -> Float64:
    """Crops around a detector's boxes.

    Args:
        box: (F, 4) display pixels.
        points: (F, 2 or more, 2) whose first two are image-left and image-right eye.
        factor: Side of the crop over the longer side of the box.

    Returns:
        (F, 2, 3) display pixels to crop pixels.
    """
    size = box[:, 2:] - box[:, :2]
    return roi((box[:, :2] + box[:, 2:]) / 2, size.max(1) * factor, _angle(points[:, 0], points[:, 1]))


def roi_from_points(points: Float64, factor: float = POINTS_FACTOR) -> Float64:
    """Crops around faces of which only the five points are known.

    Args:
        points: (F, 5, 2) display pixels.
        factor: Side of the crop over the length of (eye to eye, eyes' centre to mouth's centre).

    Returns:
        (F, 2, 3) display pixels to crop pixels.
    """
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    across = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    reach = np.hypot(across, np.linalg.norm(mouth - eyes, axis=1))
    return roi((eyes + mouth) / 2, reach * factor, _angle(points[:, 0], points[:, 1]))


def roi_from_dense(dense: Float64, factor: float = FOLLOW_FACTOR) -> Float64:
    """Crops for following: around the landmarks found a frame ago.

    Args:
        dense: (F, 468, 2 or 3) display pixels.
        factor: Side of the crop over the longer side of the landmarks' box, measured along the face's
            own axes, so that a rolling head keeps its scale.

    Returns:
        (F, 2, 3) display pixels to crop pixels.
    """
    flat = dense[..., :2]
    angle = roll(dense)
    cos, sin = np.cos(angle), np.sin(angle)
    axes = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=-2)
    # Reductions along memory are ten times as fast as across it.
    upright = axes @ np.ascontiguousarray(np.swapaxes(flat, 1, 2))
    low, high = upright.min(2), upright.max(2)
    centre = np.einsum("fji,fj->fi", axes, (low + high) / 2)
    return roi(centre, (high - low).max(1) * factor, angle)


def triangles(store: Store) -> Int64:
    """The (852, 3) triangles of the landmarks' surface, as indices into the 468 points.

    Read as text from the topology file that comes with the network: it lists the three edges of every
    triangle in a row.

    Raises:
        ModelError: The file cannot be had or has another structure.
    """
    name = FACEMESH.files[1].name
    path = store.locate(FACEMESH)[name]
    edges = _edges(path.read_text(encoding="utf-8"), "FACEMESH_TESSELATION")
    if len(edges) == 0 or len(edges) % 3:
        raise ModelError(FACEMESH.name, f"{name} lists {len(edges)} edges, not three a triangle", AGAIN)
    corners = edges.reshape(-1, 3, 2)
    if not np.array_equal(corners[..., 1], np.roll(corners[..., 0], -1, axis=1)):
        raise ModelError(FACEMESH.name, f"{name} lists edges that do not close to triangles", AGAIN)
    return np.ascontiguousarray(corners[..., 0])


def _edges(text: str, name: str) -> Int64:
    """(E, 2) the pairs of an assignment `name = frozenset([(a, b), ...])`, in written order.

    Not by `ast`: a long literal takes it 40 ms, and CPython 3.11 fails where two threads parse at once.
    """
    listed = re.search(rf"^{name} = frozenset\(\[([\d\s(),]*)\]\)", text, re.MULTILINE)
    pairs = re.findall(r"\((\d+),\s*(\d+)\)", listed[1]) if listed else []
    return np.array(pairs, np.int64).reshape(-1, 2)


def _angle(left: Float64, right: Float64) -> Float64:
    """(F,) radians of the line from image-left to image-right eye, (F, 2) each."""
    line = right - left
    return np.arctan2(line[:, 1], line[:, 0])
