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
from mien.images import cpu, geometry
from mien.settings import Mask, Swap
from mien.types import Float32, Float64, Int64, Portrait

MARGIN = 0.04
"""Room around the landmarks in a crop, as a share of their extent."""
LARGEST = 1024
"""Longest side of a crop in pixels; larger faces are rendered at this size and enlarged."""
MAP = 128
"""The warp is computed on a grid of about this many points a side, then enlarged: it is piecewise linear."""
MIRROR_MATCH = 0.1
"""How well a mirror image competes with the true picture: it serves where that shows nothing."""
CHOICE = 3.0
"""How sharply each vertex prefers the picture that shows it best: exponent of the quality."""
CLOSENESS = 0.05
"""Difference of pose and expression (see `anatomy.expression`) at which another view is clearly preferred."""
NEGLIGIBLE = 0.02
"""Views with a smaller share are left out."""
ATLAS = 1024
"""Longest side of a texture in pixels; larger portraits are reduced."""
ATLAS_DETAIL = 1.15
"""Size of a texture over that of its portrait: resampling twice must not cost sharpness."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One portrait, unrolled onto the atlas: what does not depend on the target."""

    pyramid: tuple[Float32, ...]
    """(H, W, 3) R'G'B', each level smaller than the last by √2."""
    seen: tuple[Float32, ...]
    """(H, W) 0 to 1, how well each pixel of each level was seen."""
    quality: Float64
    """(N,) 0 to 1, how well each vertex was seen: faced the viewer, was lit, was not covered."""
    traits: Float64
    """Pose and expression of the portrait as `anatomy.expression` gives them."""


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """Everything the swapper knows about an identity."""

    views: tuple[View, ...]
    topology: Topology
    atlas: Float64
    """(N, 3) where each vertex lies on the views' largest pictures: the face seen from the front."""
    rim: Float64
    """(N,) distance to the rim of the face as a share of its height."""
    hair: Float64
    """(N,) the same to the hairline."""
    edge: Float64
    """(N,) the same, as `anatomy.edge_distance` counts it."""


def frame_matrix(dense: Float64, margin: float = MARGIN) -> tuple[Float64, tuple[int, int]]:
    """Where to cut the crop for a face: upright, on whole pixels, at the frame's own scale.

    Args:
        dense: (N, 3) landmarks in display pixels.
        margin: Room around them, as a share of their extent.

    Returns:
        (2, 3) affine from display pixels to crop pixels, and the crop's width and height.
    """
    return geometry.upright(geometry.expand(geometry.box_of(dense[:, :2]), 1.0 + 2.0 * margin), LARGEST)


def prepare(portraits: Sequence[Portrait], topology: Topology) -> Texture:
    """Build what the swapper needs of an identity, once."""
    largest = max(portraits, key=lambda p: anatomy.height(p.dense))
    atlas, size = _layout(largest.dense)
    return Texture(
        views=tuple(_view(portrait, topology, atlas, size) for portrait in portraits),
        topology=topology,
        atlas=atlas,
        rim=anatomy.rim_distance(atlas, anatomy.OVAL),
        hair=anatomy.rim_distance(atlas, anatomy.HAIRLINE),
        edge=anatomy.edge_distance(atlas),
    )


def _layout(dense: Float64) -> tuple[Float64, tuple[int, int]]:
    """The face turned to the front, in pixels of an atlas, and the atlas's width and height."""
    front = anatomy.frontal(dense)
    low, high = front[:, :2].min(axis=0), front[:, :2].max(axis=0)
    scale = min(ATLAS_DETAIL, ATLAS / float((high - low).max()))
    front = (front - (*low, 0.0)) * scale + (4.0, 4.0, 0.0)
    width, height = np.ceil((high - low) * scale).astype(int) + 8
    return front, (int(width), int(height))


def _view(portrait: Portrait, topology: Topology, atlas: Float64, size: tuple[int, int]) -> View:
    pictures = [(portrait.rgb, portrait.dense, 1.0)]
    if portrait.mirrored is not None:
        pictures.append((np.ascontiguousarray(portrait.rgb[:, ::-1]), portrait.mirrored, MIRROR_MATCH))
    cleaned = [_cleaned(rgb, dense, topology) for rgb, dense, _ in pictures]
    share = np.stack([m * q**CHOICE for (_, q), (_, _, m) in zip(cleaned, pictures, strict=True)], axis=1)
    share = (share + 1e-9) / (share + 1e-9).sum(axis=1, keepdims=True)
    quality = np.max([q for _, q in cleaned], axis=0)
    index = raster.cover(atlas[:, :2], atlas[:, 2], topology.triangles, size)
    values = np.concatenate([quality[:, None], share, *(d[:, :2] for _, d, _ in pictures)], axis=1)
    field = _spread(index, atlas, topology, values)
    count = len(pictures)
    whole = np.zeros((size[1], size[0], 3), np.float32)
    for k, (rgb, _) in enumerate(cleaned):
        x, y = (np.ascontiguousarray(field[..., 1 + count + 2 * k + c]) for c in (0, 1))
        whole += field[..., 1 + k, None] * cpu.remap(rgb, x, y)
    seen = np.ascontiguousarray(field[..., 0])
    return View(_pyramid(whole), _pyramid(seen), quality, anatomy.expression(portrait.dense))


def _cleaned(rgb: Float32, dense: Float64, topology: Topology) -> tuple[Float32, Float64]:
    """A portrait without what is not skin, and (N,) how well it shows each vertex, 0 to 1."""
    size = (rgb.shape[1], rgb.shape[0])
    tall = anatomy.height(dense)
    index = raster.cover(dense[:, :2], dense[:, 2], topology.triangles, size)
    edge = _spread(index, dense, topology, anatomy.edge_distance(dense)[:, None])[..., 0]
    alien, spectacles = complexion.spoilt(rgb, dense, edge)
    at = np.clip(np.floor(dense[:, :2]).astype(int), 0, np.array(size) - 1)
    light = complexion.lit(rgb, edge > complexion.INNER, tall * 0.04)[at[:, 1], at[:, 0]]
    light[list(anatomy.LEFT_BROW + anatomy.RIGHT_BROW + anatomy.LEFT_EYE + anatomy.RIGHT_EYE)] = 1.0
    clean = (1.0 - cpu.blur(alien, tall * 0.02))[at[:, 1], at[:, 0]] * light
    clean[list(anatomy.LEFT_BROW + anatomy.RIGHT_BROW)] *= 1.0 - spectacles  # rims hide them
    keep = 1.0 - alien
    skin = 1.0 - complexion.features(dense, size)
    whole = complexion.repaired(rgb, keep, keep * skin, tall * 0.015)
    whole = complexion.evened(whole, dense, skin)
    return whole, blend.smoothstep((topology.normals(dense)[:, 2] - 0.1) / 0.5) * clean


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
    small = dense * np.array([grid[0] / width, grid[1] / height, grid[0] / width])
    fits = _fits(texture, dense)
    front = texture.topology.normals(dense)[:, 2]
    alpha = _alpha(texture, fits, front, mask)
    # Where the surface turns away, landmarks may lie beyond the silhouette: look there as at the rim.
    edge = np.minimum(texture.edge, complexion.RIM * (front + 0.1) / 0.6)
    values = np.column_stack([alpha, edge, texture.atlas[:, :2]])
    index = raster.cover(small[:, :2], small[:, 2], texture.topology.triangles, grid)
    field = _spread(index, small, texture.topology, values)

    low = cpu.resize(crop, grid)
    parts = complexion.features(small, grid)
    alien = complexion.doubtful(low, small, field[..., 1], parts)
    area = np.clip(field[..., 0], 0.0, 1.0) * (1.0 - alien) * (1.0 - _openings(small, grid, swap))
    face = _sample(texture, fits, dense, field[..., 2:], (width, height))
    skin = area * (1.0 - parts)
    face = blend.relight(face, low, skin, swap.light)
    face = blend.match_detail(face, crop, skin, swap.grain)
    return face, cpu.resize(area * np.float32(min(swap.strength, 1.0)), (width, height))


def _fits(texture: Texture, dense: Float64) -> list[tuple[View, float]]:
    """The views that suit the target's pose and expression, with shares that sum to about 1."""
    traits = anatomy.expression(dense)
    gaps = np.array([np.abs(v.traits - traits).sum() for v in texture.views])
    fit = np.exp(-(gaps - gaps.min()) / CLOSENESS)
    fit /= fit.sum()
    return [(v, float(f)) for v, f in zip(texture.views, fit, strict=True) if f > NEGLIGIBLE]


def _alpha(texture: Texture, fits: list[tuple[View, float]], front: Float64, mask: Mask) -> Float64:
    """(N,) how much of the new face each vertex shows: fades at the rim and where nothing was seen."""
    seen = np.max([v.quality for v, _ in fits], axis=0)
    soft = max(0.25 * mask.feather, 0.01)
    turned = blend.smoothstep((front - 0.05) / 0.3)
    inside = blend.smoothstep((texture.rim + mask.grow) / soft)
    below = blend.smoothstep((texture.hair + mask.grow) / (1.6 * soft))
    return inside * below * turned * blend.smoothstep(seen / 0.1)


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


def _sample(
    texture: Texture,
    fits: list[tuple[View, float]],
    dense: Float64,
    place: Float32,
    size: tuple[int, int],
) -> Float32:
    """(H, W, 3) the texture, warped onto the target from the level that fits its size.

    Args:
        texture: The identity.
        fits: Its views and their shares.
        dense: (N, 3) the target's landmarks in crop pixels.
        place: (h, w, 2) where on the atlas each point of a grid over the crop lies.
        size: Width and height of the crop.
    """
    shrink = anatomy.height(texture.atlas) / max(anatomy.height(dense), 1.0)
    first = texture.views[0].pyramid
    level = int(np.clip(round(2.0 * np.log2(max(shrink, 1.0))), 0, len(first) - 1))
    picture = _mixed([(v.pyramid[level], v.seen[level], f) for v, f in fits])
    scale = (picture.shape[1] / first[0].shape[1], picture.shape[0] / first[0].shape[0])
    x, y = (cpu.resize(place[..., c] * np.float32(scale[c]), size) for c in (0, 1))
    return cpu.remap(picture, x, y)


def _mixed(pictures: list[tuple[Float32, Float32, float]]) -> Float32:
    """(H, W, 3) mean of pictures, weighted by how well each pixel was seen and by their shares."""
    if len(pictures) == 1:
        return pictures[0][0]
    weights = np.stack([share * (seen + 1e-3) for _, seen, share in pictures])
    weights /= weights.sum(axis=0)
    stacked = np.stack([picture for picture, _, _ in pictures])
    return np.asarray(np.einsum("khw,khwc->hwc", weights, stacked), np.float32)


def _openings(dense: Float64, size: tuple[int, int], swap: Swap) -> Float32:
    """(H, W) 1 where the target shows through: inside the lips and, if wanted, between the eyelids."""
    outlines = [dense[list(anatomy.MOUTH), :2]]
    if swap.eyes == "target":
        outlines += [dense[list(anatomy.LEFT_EYE), :2], dense[list(anatomy.RIGHT_EYE), :2]]
    return cpu.fill_polygons(size, outlines, anatomy.height(dense) * 0.012)
