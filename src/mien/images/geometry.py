"""Templates, affine transforms and boxes, in float64.

Every coordinate is corner-origin, as `mien.types` says: the centre of pixel (i, j) is (i + 0.5, j + 0.5).
An affine is a (2, 3) float64 array: p' = A[:, :2] @ p + A[:, 2]. A box is (left, top, right, bottom).
The one place that knows OpenCV's other convention is `images.cpu_warp`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mien.types import Colour, Float64, Layout


def _frozen(rows: list[tuple[float, float]]) -> Float64:
    array = np.array(rows, np.float64)
    array.setflags(write=False)
    return array


TEMPLATES: Mapping[str, Float64] = MappingProxyType(
    {
        "arcface_112_v1": _frozen(
            [
                (0.35473214, 0.45658929),
                (0.64526786, 0.45658929),
                (0.50000000, 0.61154464),
                (0.37913393, 0.77687500),
                (0.62086607, 0.77687500),
            ]
        ),
        "arcface_112_v2": _frozen(
            [
                (0.34191607, 0.46157411),
                (0.65653393, 0.45983393),
                (0.50022500, 0.64050536),
                (0.37097589, 0.82469196),
                (0.63151696, 0.82325089),
            ]
        ),
        "arcface_128": _frozen(
            [
                (0.36167656, 0.40387734),
                (0.63696719, 0.40235469),
                (0.50019687, 0.56044219),
                (0.38710391, 0.72160547),
                (0.61507734, 0.72034453),
            ]
        ),
        "dfl_whole_face": _frozen(
            [
                (0.35342266, 0.39285716),
                (0.62797622, 0.39285716),
                (0.48660713, 0.54017860),
                (0.38839287, 0.68750011),
                (0.59821427, 0.68750011),
            ]
        ),
        "ffhq_512": _frozen(
            [
                (0.37691676, 0.46864664),
                (0.62285697, 0.46912813),
                (0.50123859, 0.61331904),
                (0.39308822, 0.72541100),
                (0.61150205, 0.72490465),
            ]
        ),
        "mtcnn_512": _frozen(
            [
                (0.36562865, 0.46733799),
                (0.63305391, 0.46585885),
                (0.50019127, 0.61942959),
                (0.39032951, 0.77598822),
                (0.61178945, 0.77476328),
            ]
        ),
        "styleganex_384": _frozen(
            [
                (0.42353745, 0.52289879),
                (0.57725008, 0.52319972),
                (0.50123859, 0.61331904),
                (0.43364461, 0.68337652),
                (0.57015325, 0.68306005),
            ]
        ),
    }
)
"""Name to (5, 2): where the five points lie in an aligned crop, as fractions of its side."""


def template(spec: str | Sequence[Sequence[float]], side: float = 1.0) -> Float64:
    """(5, 2) where the five points lie in an aligned crop of this side, in pixels.

    Args:
        spec: Name of one of `TEMPLATES`, or five points as shares of the side.
        side: Of the crop.

    Raises:
        ValueError: No such template, or not five points.
    """
    if isinstance(spec, str):
        if spec not in TEMPLATES:
            raise ValueError(f"template: {spec!r} is not known; known are {', '.join(TEMPLATES)}")
        return TEMPLATES[spec] * side
    points = np.asarray(spec, np.float64)
    if points.shape != (5, 2):
        raise ValueError(f"template: expected five points (x, y), got shape {points.shape}")
    return points * side


def similarity(src: ArrayLike, dst: ArrayLike) -> Float64:
    """Rotation, uniform scale and shift that map points best, in the least-squares sense.

    In the complex plane the map is z' = a z + b, and the least-squares `a` of centred points is
    sum(conj(z) z') / sum(|z|^2): the planar case of S. Umeyama, "Least-squares estimation of
    transformation parameters between two point patterns", IEEE TPAMI 13(4), 1991, without mirroring.

    Args:
        src: (N, 2) points, N >= 2.
        dst: (N, 2) where they go.

    Returns:
        (2, 3) affine, src to dst.

    Raises:
        ValueError: Fewer than two points, other shapes, or all source points in one place.
    """
    p, q = np.asarray(src, np.float64), np.asarray(dst, np.float64)
    if p.ndim != 2 or p.shape[1] != 2 or p.shape != q.shape or len(p) < 2:
        raise ValueError(f"similarity: expected two (N, 2) arrays with N >= 2, got {p.shape} and {q.shape}")
    p_mean, q_mean = p.mean(0), q.mean(0)
    p, q = p - p_mean, q - q_mean
    spread = float((p * p).sum())
    if spread < 1e-18:
        raise ValueError("similarity: all source points coincide")
    a = float((p * q).sum()) / spread
    b = float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / spread
    return _about(np.array([[a, -b], [b, a]]), p_mean, q_mean)


def rotation_scale(angle_rad: float, scale: float, center_from: ArrayLike, center_to: ArrayLike) -> Float64:
    """Rotate and scale about a point, then carry that point elsewhere.

    Args:
        angle_rad: Angle in radians; positive turns +x towards +y, clockwise on a screen.
        scale: Factor, target pixels per source pixel.
        center_from: (2,) fixed point in source coordinates.
        center_to: (2,) where it lands.

    Returns:
        (2, 3) affine.
    """
    c, s = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    return _about(
        np.array([[c, -s], [s, c]]), np.asarray(center_from, np.float64), np.asarray(center_to, np.float64)
    )


def _about(linear: Float64, center_from: Float64, center_to: Float64) -> Float64:
    """The affine with this linear part that carries one point to another."""
    return np.column_stack([linear, center_to - linear @ center_from])


def scaling(x: float, y: float, shift: tuple[float, float] = (0.0, 0.0)) -> Float64:
    """Axis-aligned scale, then shift: (2, 3)."""
    return np.array([[x, 0.0, shift[0]], [0.0, y, shift[1]]])


def compose(a: Float64, b: Float64) -> Float64:
    """The affine that applies `b`, then `a`."""
    (a0, a1, a2), (a3, a4, a5) = a.tolist()
    (b0, b1, b2), (b3, b4, b5) = b.tolist()
    # Plain numbers: several of these belong to every crop, and small arrays cost ten times as much.
    return np.array(
        [
            [a0 * b0 + a1 * b3, a0 * b1 + a1 * b4, a0 * b2 + a1 * b5 + a2],
            [a3 * b0 + a4 * b3, a3 * b1 + a4 * b4, a3 * b2 + a4 * b5 + a5],
        ]
    )


def invert(a: Float64) -> Float64:
    """The affine that undoes `a`.

    Raises:
        ValueError: `a` collapses the plane, or is not finite.
    """
    (a0, a1, a2), (a3, a4, a5) = a.tolist()
    det = a0 * a4 - a1 * a3
    size = max(abs(a0), abs(a1), abs(a3), abs(a4))
    if not isfinite(det + a2 + a5) or abs(det) <= 1e-12 * size * size:
        raise ValueError(f"affine: expected an invertible transform, got {a.tolist()}")
    b0, b1, b3, b4 = a4 / det, -a1 / det, -a3 / det, a0 / det
    return np.array([[b0, b1, -b0 * a2 - b1 * a5], [b3, b4, -b3 * a2 - b4 * a5]])


def apply(a: Float64, points: ArrayLike) -> Float64:
    """Points through an affine: (..., 2) to (..., 2)."""
    moved: Float64 = np.asarray(points, np.float64) @ a[:, :2].T + a[:, 2]
    return moved


def affine_scale(a: Float64) -> float:
    """Linear magnification: the square root of the area ratio."""
    return float(np.sqrt(abs(a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0])))


def corners(box: ArrayLike) -> Float64:
    """The four corners of boxes, clockwise from top-left: (..., 4) to (..., 4, 2)."""
    picked = np.asarray(box, np.float64)[..., [[0, 1], [2, 1], [2, 3], [0, 3]]]
    return picked


def box_of(points: ArrayLike) -> Float64:
    """Smallest box around points: (..., N, 2) to (..., 4)."""
    p = np.asarray(points, np.float64)
    return np.concatenate([p.min(-2), p.max(-2)], -1)


def expand(box: ArrayLike, factor: float) -> Float64:
    """Boxes (..., 4) scaled about their centres."""
    b = np.asarray(box, np.float64)
    center, half = (b[..., :2] + b[..., 2:]) / 2, (b[..., 2:] - b[..., :2]) / 2 * factor
    return np.concatenate([center - half, center + half], -1)


def square(box: ArrayLike) -> Float64:
    """Squares (..., 4) of the longer side about the centres of boxes."""
    b = np.asarray(box, np.float64)
    center, half = (b[..., :2] + b[..., 2:]) / 2, (b[..., 2:] - b[..., :2]).max(-1, keepdims=True) / 2
    return np.concatenate([center - half, center + half], -1)


def upright(box: ArrayLike, largest: int = 1024) -> tuple[Float64, tuple[int, int]]:
    """Where to cut an upright crop around a box: on whole pixels, at the frame's own scale.

    Args:
        box: (4,) display pixels.
        largest: Longest side of the crop in pixels; a larger box is reduced to it.

    Returns:
        (2, 3) affine from display pixels to crop pixels, and the crop's width and height.
    """
    b = np.asarray(box, np.float64)
    # Sides move in coarse steps, so that grids laid over the crop do not shimmer.
    sides = np.ceil((b[2:] - b[:2]) / 16.0) * 16.0
    origin = np.floor((b[:2] + b[2:] - sides) / 2.0)
    scale = min(1.0, largest / float(sides.max()))
    width, height = np.maximum(np.round(sides * scale), 16.0).astype(int)
    return scaling(scale, scale, (-origin[0] * scale, -origin[1] * scale)), (int(width), int(height))


def area(box: ArrayLike) -> Any:
    """Area of boxes (..., 4) in square pixels: (...,); an inside-out box has none."""
    b = np.asarray(box, np.float64)
    return np.maximum(b[..., 2] - b[..., 0], 0.0) * np.maximum(b[..., 3] - b[..., 1], 0.0)


def iou(boxes_a: ArrayLike, boxes_b: ArrayLike) -> Float64:
    """Intersection over union of every pair: (A, 4) and (B, 4) to (A, B), 0 where both are empty."""
    a, b = np.asarray(boxes_a, np.float64)[:, None], np.asarray(boxes_b, np.float64)[None]
    inner = np.concatenate([np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], -1)
    both = area(inner)
    union = area(a) + area(b) - both
    ratio: Float64 = np.divide(both, union, out=np.zeros_like(union), where=union > 0)
    return ratio


def plane_affine(layout: Layout, colour: Colour, plane: int) -> Float64:
    """Coded (luma) pixels to the pixels of one plane, subsampling and chroma siting included.

    A chroma sample i that is co-sited with luma sample s*i has its centre (i + 0.5 in its plane) at
    s*i + 0.5 in the picture, so u = (x - 0.5) / s + 0.5; one amid its s luma samples is u = x / s.
    Siting "left" is co-sited horizontally only, "topleft" both ways, "center" neither
    (ITU-T H.273, ChromaSampleLocType 0, 2 and 1).

    Returns:
        (2, 3) affine; the identity for planes without subsampled chroma.
    """
    if layout.model != "yuv" or not {1, 2} & set(layout.planes[plane]):
        return scaling(1.0, 1.0)
    sx, sy = 1 << layout.chroma[0], 1 << layout.chroma[1]
    dx = 0.5 - 0.5 / sx if colour.siting in ("left", "topleft") else 0.0
    dy = 0.5 - 0.5 / sy if colour.siting == "topleft" else 0.0
    return scaling(1 / sx, 1 / sy, (dx, dy))
