"""The model-free swapper: the source's texture, warped by dense landmarks onto the target's face.

Pose, expression, eyelids and lips follow the target because its landmarks place every triangle.
The inside of the mouth stays the target's, so no teeth are painted on closed lips; the eyeballs
stay the target's unless asked otherwise, so the gaze lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.faces import anatomy, blend, complexion, raster
from mien.faces.anatomy import Topology
from mien.images import cpu
from mien.settings import Mask, Swap
from mien.types import Float32, Float64, Int64, Portrait

MARGIN = 0.12
"""Room around the landmarks in a crop, as a share of their extent."""
LARGEST = 1024
"""Longest side of a crop in pixels; larger faces are rendered at this size and enlarged."""
MAP = 192
"""The warp is computed on a grid of about this many points a side, then enlarged: it is piecewise linear."""
MIRROR_MATCH = 0.1
"""How well a mirror image competes with the true picture: it serves where that shows nothing."""
SHARPNESS = 0.12
"""Distance of pose and expression at which another view of the source is clearly preferred."""

CHOICE = 3.0
"""How sharply each vertex prefers the view that shows it best: exponent of the quality."""
NEGLIGIBLE = 0.02
"""Views with a smaller share are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One portrait, prepared: what does not depend on the target."""

    pyramid: tuple[Float32, ...]
    """R'G'B' pictures, each smaller than the one before by √2."""
    dense: Float64
    """(N, 3) landmarks in pixels of the first picture."""
    quality: Float64
    """(N,) 0 to 1, how well each vertex is seen: faces the viewer, is lit, is not covered."""
    rim: Float64
    """(N,) distance to the rim of the face as a share of its height."""
    hair: Float64
    """(N,) the same to the hairline."""
    edge: Float64
    """(N,) the same, as `anatomy.edge_distance` counts it."""
    traits: Float64
    """Pose and expression of the portrait as `anatomy.expression` gives them."""
    match: float
    """Factor on how well this view fits a target, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """Everything the swapper knows about an identity."""

    views: tuple[View, ...]
    topology: Topology


def frame_matrix(dense: Float64) -> tuple[Float64, tuple[int, int]]:
    """Where to cut the crop for a face: upright, on whole pixels, at the frame's own scale.

    Args:
        dense: (N, 3) landmarks in display pixels.

    Returns:
        (2, 3) affine from display pixels to crop pixels, and the crop's width and height.
    """
    low, high = dense[:, :2].min(axis=0), dense[:, :2].max(axis=0)
    extent = float((high - low).max())
    # The side moves in coarse steps, so that grids laid over the crop do not shimmer.
    side = int(np.ceil(extent * (1.0 + 2.0 * MARGIN) / 16.0)) * 16
    origin = np.floor((low + high) / 2.0 - side / 2.0)
    scale = min(1.0, LARGEST / side)
    matrix = np.array([[scale, 0.0, -origin[0] * scale], [0.0, scale, -origin[1] * scale]])
    size = max(16, round(side * scale))
    return matrix, (size, size)


def prepare(portraits: Sequence[Portrait], topology: Topology) -> Texture:
    """Build what the swapper needs of an identity, once."""
    views = []
    for portrait in portraits:
        traits = anatomy.expression(portrait.dense)
        views.append(_view(portrait.rgb, portrait.dense, traits, 1.0, topology))
        if portrait.mirrored is not None:
            flipped = np.ascontiguousarray(portrait.rgb[:, ::-1])
            views.append(_view(flipped, portrait.mirrored, traits, MIRROR_MATCH, topology))
    return Texture(tuple(views), topology)


def _view(rgb: Float32, dense: Float64, traits: Float64, match: float, topology: Topology) -> View:
    size = (rgb.shape[1], rgb.shape[0])
    tall = anatomy.height(dense)
    index = raster.cover(dense[:, :2], dense[:, 2], topology.triangles, size)
    edge = _spread(index, dense, topology, anatomy.edge_distance(dense)[:, None])[..., 0]
    alien, spectacles = complexion.spoilt(rgb, dense, edge)
    light = complexion.lit(rgb, edge > complexion.INNER, tall * 0.04)
    at = np.clip(np.floor(dense[:, :2]).astype(int), 0, np.array(size) - 1)
    clean = ((1.0 - cpu.blur(alien, tall * 0.02)) * light)[at[:, 1], at[:, 0]]
    clean[list(anatomy.LEFT_BROW + anatomy.RIGHT_BROW)] *= 1.0 - spectacles  # rims hide them
    whole = complexion.repaired(rgb, 1.0 - alien, tall * 0.015)
    return View(
        pyramid=_pyramid(whole),
        dense=dense,
        quality=blend.smoothstep((topology.normals(dense)[:, 2] - 0.1) / 0.5) * clean,
        rim=anatomy.rim_distance(dense, anatomy.OVAL),
        hair=anatomy.rim_distance(dense, anatomy.HAIRLINE),
        edge=anatomy.edge_distance(dense),
        traits=traits,
        match=match,
    )


def _pyramid(picture: Float32) -> tuple[Float32, ...]:
    """The picture and its reductions, each by √2, down to about 24 pixels."""
    height, width = picture.shape[:2]
    levels = [picture]
    while min(levels[-1].shape[:2]) > 24:
        scale = 0.5 ** (len(levels) / 2.0)
        levels.append(cpu.resize(picture, (round(width * scale), round(height * scale))))
    return tuple(levels)


def swap(texture: Texture, crop: Float32, dense: Float64, swap: Swap, mask: Mask) -> tuple[Float32, Float32]:
    """Put the identity's face on the face in a crop.

    Args:
        texture: The identity, prepared.
        crop: (H, W, 3) R'G'B' cut by `frame_matrix`.
        dense: (N, 3) the target's landmarks in crop pixels.
        swap: How much, and what follows the target.
        mask: How soft and how large.

    Returns:
        (H, W, 3) R'G'B' and the (H, W) mask to paste it with.
    """
    height, width = crop.shape[:2]
    step = max(1.0, max(height, width) / MAP)
    grid = (round(width / step), round(height / step))
    small = dense * (grid[0] / width)
    view = _choose(texture, dense)
    seen = np.max([v.quality for v, _ in view], axis=0)
    share = np.stack([fit * v.quality**CHOICE for v, fit in view], axis=1) + 1e-9
    share /= share.sum(axis=1, keepdims=True)
    rim = sum(share[:, k] * v.edge for k, (v, _) in enumerate(view))
    carried = [_alpha(view, share, seen, dense, texture.topology, mask)[:, None], rim[:, None], share]
    carried += [v.dense[:, :2] for v, _ in view]
    index = raster.cover(small[:, :2], small[:, 2], texture.topology.triangles, grid)
    field = _spread(index, small, texture.topology, np.concatenate(carried, axis=1))

    low = cpu.resize(crop, grid)
    alien = complexion.doubtful(low, small, field[..., 1])
    area = np.clip(field[..., 0], 0.0, 1.0) * (1.0 - alien) * (1.0 - _openings(small, grid, swap))
    face = _texture([v for v, _ in view], field, dense, (width, height))
    skin = area * (1.0 - complexion.features(small, grid))
    face = blend.relight(face, low, skin, swap.light)
    face = blend.match_detail(face, crop, cpu.resize(skin, (width, height)), swap.grain)
    return face, cpu.resize(area * np.float32(swap.strength), (width, height))


def _choose(texture: Texture, dense: Float64) -> list[tuple[View, float]]:
    """The views that suit the target's pose and expression, with shares that sum to about 1."""
    traits = anatomy.expression(dense)
    gaps = np.array([np.abs(v.traits - traits).sum() for v in texture.views])
    fit = np.array([v.match for v in texture.views]) * np.exp(-(gaps - gaps.min()) / SHARPNESS)
    fit /= fit.sum()
    return [(v, float(f)) for v, f in zip(texture.views, fit, strict=True) if f > NEGLIGIBLE]


def _alpha(
    views: Sequence[tuple[View, float]],
    share: Float64,
    seen: Float64,
    dense: Float64,
    topology: Topology,
    mask: Mask,
) -> Float64:
    """(N,) how much of the new face each vertex shows: fades at the rim and where nothing was seen."""
    rim = sum(share[:, k] * v.rim for k, (v, _) in enumerate(views)) + mask.grow
    hair = sum(share[:, k] * v.hair for k, (v, _) in enumerate(views)) + mask.grow
    soft = max(0.25 * mask.feather, 0.01)
    turned = blend.smoothstep((topology.normals(dense)[:, 2] - 0.02) / 0.25)
    known = blend.smoothstep(seen / 0.1)
    alpha = blend.smoothstep(rim / soft) * blend.smoothstep(hair / (1.6 * soft)) * turned * known
    return np.asarray(alpha, np.float64)


def _spread(index: Int64, dense: Float64, topology: Topology, values: Float64) -> Float32:
    """(H, W, C) vertex values over a picture; a few pixels beyond the mesh they continue, then 0."""
    height, width = index.shape
    where, carried = raster.interpolate(index, dense[:, :2], topology.triangles, values)
    field = np.zeros((height * width, values.shape[1]), np.float32)
    field[where] = carried
    field = field.reshape(height, width, -1)
    known = index >= 0
    near = np.maximum(cpu.blur(known.astype(np.float32), 1.0), 1e-3)
    for c in range(field.shape[2]):
        plane = np.ascontiguousarray(field[..., c])
        field[..., c] = np.where(known, plane, cpu.blur(plane, 1.0) / near)
    return field


def _texture(views: Sequence[View], field: Float32, dense: Float64, size: tuple[int, int]) -> Float32:
    """(H, W, 3) the views' textures, each warped onto the target, mixed by their shares."""
    count = len(views)
    face: Float32 | None = None
    for k, view in enumerate(views):
        place = field[..., 2 + count + 2 * k :]
        x, y = (cpu.resize(np.ascontiguousarray(place[..., c]), size) for c in (0, 1))
        shown = _sample(view, dense, x, y)
        if count > 1:
            shown *= cpu.resize(np.ascontiguousarray(field[..., 2 + k]), size)[..., None]
        face = shown if face is None else face + shown
    assert face is not None
    return face


def _sample(view: View, dense: Float64, x: Float32, y: Float32) -> Float32:
    """The view's texture at places given in its pixels, from the level that fits the target's size."""
    shrink = anatomy.height(view.dense) / max(anatomy.height(dense), 1.0)
    level = int(np.clip(round(2.0 * np.log2(max(shrink, 1.0))), 0, len(view.pyramid) - 1))
    picture = view.pyramid[level]
    sx = picture.shape[1] / view.pyramid[0].shape[1]
    sy = picture.shape[0] / view.pyramid[0].shape[0]
    return cpu.remap(picture, x * np.float32(sx), y * np.float32(sy))


def _openings(dense: Float64, size: tuple[int, int], swap: Swap) -> Float32:
    """(H, W) 1 where the target shows through: inside the lips and, if wanted, between the eyelids."""
    outlines = [dense[list(anatomy.MOUTH), :2]]
    if swap.eyes == "target":
        outlines += [dense[list(anatomy.LEFT_EYE), :2], dense[list(anatomy.RIGHT_EYE), :2]]
    return cpu.fill_polygons(size, outlines, anatomy.height(dense) * 0.012)
