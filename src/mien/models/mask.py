"""What of a crop is to change: networks that see what covers a face and which parts it has, and plain shapes.

Masks are float32, 1 where the new face is shown. A peer softens every edge by the same five pixels, so that
the look changes with the size of the crop; here widths are shares of the face, as they are there at 256.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from mien.images import cpu, operations
from mien.images.operations import namespace
from mien.models import pictures
from mien.models.assets import assets
from mien.models.card import Card, Pixels, Tensor
from mien.settings import Region
from mien.types import Array, Float32, Float64, Int64

if TYPE_CHECKING:
    from mien.models.runtime import Runtime

Area: TypeAlias = Literal["upper", "lower", "mouth"]

SOFTNESS = 5 / 256
"""Standard deviation of a mask's edge as a share of the face's side."""
FEATHER = 0.25
"""Width of the box's border as a share of the side, at full softness."""

CLASSES: Mapping[Region, int] = MappingProxyType(
    {
        "skin": 1,
        "left_brow": 2,
        "right_brow": 3,
        "left_eye": 4,
        "right_eye": 5,
        "glasses": 6,
        "nose": 10,
        "mouth": 11,
        "upper_lip": 12,
        "lower_lip": 13,
    }
)
"""Class of each region, as CelebAMask-HQ numbers them."""

AREAS: Mapping[Area, tuple[int, ...]] = MappingProxyType(
    {
        "upper": (0, 1, 2, *range(31, 36), 14, 15, 16, *range(26, 16, -1)),
        "lower": (*range(3, 14), *range(35, 30, -1)),
        "mouth": tuple(range(48, 68)),
    }
)
"""Which of the 68 landmarks bound each area."""


def _xseg(number: int, release: str, sha256: str, size: int) -> Card:
    name = f"xseg_{number}"
    return Card(
        name=name,
        task="occlude",
        files=(assets(release, f"{name}.onnx", sha256, size),),
        licence="GPL-3.0",
        inputs=(Tensor("input", (256, 256, 3), "B'G'R' in [0, 1]"),),
        outputs=(Tensor("", (256, 256, 1), "1 where the face is not covered"),),
        family="xseg",
        vendor="DeepFaceLab",
        commercial=True,
        pixels=Pixels(256, order="BGR", layout="NHWC"),
        tolerance=0.06,
    )


def _bisenet(layers: int, release: str, sha256: str, size: int) -> Card:
    name = f"bisenet_resnet_{layers}"
    return Card(
        name=name,
        task="parse",
        files=(assets(release, f"{name}.onnx", sha256, size),),
        licence="MIT",
        inputs=(Tensor("input", (3, 512, 512), "R'G'B'"),),
        outputs=(Tensor("", (19, 512, 512), "how likely each class is, not scaled"),),
        family="bisenet",
        vendor="yakhyo",
        commercial=True,
        pixels=Pixels(512, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        tolerance=0.03,
        notes="Learnt on CelebAMask-HQ, whose pictures are for research only.",
    )


CARDS: tuple[Card, ...] = (
    _xseg(1, "models-3.1.0", "c4d1498b8a03b5fe2a3a5d2ef2a0402ab03bd51edaf5b2d8d5fb764702a97dd3", 70_324_286),
    _xseg(2, "models-3.1.0", "cd9a0879eaf43841d765472cf1f8c330dbf9dcb03da0eace93e95f3bcc399042", 70_324_286),
    _xseg(3, "models-3.2.0", "48ccd7e8541e159a5a754ec9e62df2f12065f7df8f9af842c1750342c6533559", 70_327_709),
    _bisenet(
        18, "models-3.1.0", "2218b6183c26ca5c83303232d682a536c670c13ea9695f716c777d1f244eefe9", 53_205_356
    ),
    _bisenet(
        34, "models-3.0.0", "4a0b8c958a3c938913bd06a8365dbb3c8761afba6ecbf0d14b3b1f77eb230c96", 93_632_546
    ),
)
"""Every card of this module."""


def occlusion(runtime: Runtime, cards: Sequence[Card], crops: Float32) -> Float32:
    """Where faces are not covered by hands, hair or things.

    Args:
        runtime: Where the networks run.
        cards: At least one; what any of them takes for covered is.
        crops: (N, h, w, 3) R'G'B' in [0, 1], the faces as they are in the clip.

    Returns:
        Float32 (N, H, W) in [0, 1], of the first network's size.

    Raises:
        ValueError: There is no card.
    """
    if not cards:
        raise ValueError("cards: expected at least one that finds what covers a face, got 0")
    masks = [_shown(runtime, card, crops) for card in cards]
    size = (masks[0].shape[2], masks[0].shape[1])
    xp, ops = namespace(masks[0]), operations.of(masks[0])
    fitted = [xp.stack([ops.resize(one, size) for one in some]) for some in masks[1:]] if len(crops) else []
    return functools.reduce(xp.minimum, fitted, masks[0])


def classes(runtime: Runtime, card: Card, crops: Float32) -> Int64:
    """Which part of a head each pixel shows.

    Args:
        runtime: Where the network runs.
        card: A parser.
        crops: (N, h, w, 3) R'G'B' in [0, 1].

    Returns:
        Int64 (N, H, W) numbers of classes, of the network's size; `CLASSES` names those of a face.
    """
    scores = _looked(runtime, card, crops)
    return namespace(scores).argmax(scores, axis=1)  # type: ignore[no-any-return]


def region_mask(classes: Int64, regions: Collection[Region]) -> Float32:
    """(N, H, W) float32: 1 where the class is that of one of the regions."""
    xp = namespace(classes)
    among = functools.reduce(xp.logical_or, [classes == CLASSES[region] for region in regions], classes < 0)
    return xp.astype(among, xp.float32)  # type: ignore[no-any-return]


def area_mask(points: Float64, areas: Collection[Area], size: tuple[int, int]) -> Float32:
    """The areas that landmarks bound, with a soft edge.

    An area is the convex hull of its landmarks; the upper and the lower one together are one hull, as
    between their own ones a wedge of the cheeks would stay out.

    Args:
        points: (68, 2) in pixels of the mask.
        areas: Which.
        size: Width and height of the mask.

    Returns:
        Float32 (h, w) in [0, 1].
    """
    whole = {"upper", "lower"} <= set(areas)
    groups = [AREAS["upper"] + AREAS["lower"]] if whole else []
    groups += [AREAS[name] for name in areas if name == "mouth" or not whole]
    filled = cpu.fill_polygons(size, [_hull(points[list(rows)]) for rows in groups])
    return soften(filled, max(size))


def soften(mask: Float32, face: float) -> Float32:
    """A mask whose edge rises softly, on the inner side only.

    2 (clip(G(clip(m, 0, 1)), 1/2, 1) - 1/2) with a Gaussian G of `SOFTNESS` of the face.

    Args:
        mask: (h, w).
        face: Side of the face's square in pixels of the mask.

    Returns:
        Float32 (h, w) in [0, 1].
    """
    xp = namespace(mask)
    wide = operations.of(mask).blur(xp.astype(mask, xp.float32).clip(0.0, 1.0), SOFTNESS * face)
    return wide.clip(0.5, 1.0) * 2.0 - 1.0  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def box(side: int, feather: float, padding: tuple[float, float, float, float]) -> Float32:
    """The square without its border, which rises smoothly from 0 at the rim.

    Args:
        side: In pixels.
        feather: 0 (a border of two pixels) to 1 (a quarter of the side).
        padding: Shares of the side at the top, right, bottom and left that are left out; the border's middle
            is there, or half a border from the rim, whichever is further in.

    Returns:
        Float32 (side, side) in [0, 1]. Shared: it cannot be written to.
    """
    top, right, bottom, left = padding
    border = max(FEATHER * feather * side, 2.0)
    across = _rise(side, border, left) * _rise(side, border, right)[::-1]
    down = _rise(side, border, top) * _rise(side, border, bottom)[::-1]
    mask = np.asarray(down[:, None] * across[None, :], np.float32)
    mask.setflags(write=False)
    return mask


def _rise(side: int, border: float, padding: float) -> Float64:
    """(side,) 0 before a smooth step of this width, 1 behind it."""
    start = max(border / 2, padding * side) - border / 2
    at = np.clip((np.arange(side) + 0.5 - start) / border, 0.0, 1.0)
    return np.asarray(at * at * (3.0 - 2.0 * at), np.float64)


def _shown(runtime: Runtime, card: Card, crops: Float32) -> Float32:
    """(N, H, W) what one network takes for face."""
    result = _looked(runtime, card, crops)
    side = pictures.looked_at(card).side
    return result.reshape(len(crops), side, side).clip(0.0, 1.0)


def _looked(runtime: Runtime, card: Card, crops: Float32) -> Array:
    """The first output for crops of any size."""
    pixels = pictures.looked_at(card)
    size = (pixels.side, pixels.side)
    ops = operations.of(crops)
    if len(crops):
        crops = namespace(crops).stack([ops.resize(crop, size) for crop in crops])
    else:
        crops = crops.reshape(0, *size, 3)
    return next(iter(runtime.session(card).run(pictures.to_tensor(crops, pixels)).values()))


def _hull(points: Float64) -> Float64:
    """(M, 2) corners of the convex hull of (N, 2) points, in order around it.

    A. M. Andrew, "Another efficient algorithm for convex hulls in two dimensions", 1979.
    """
    rows = sorted({(float(x), float(y)) for x, y in points})
    chains: list[tuple[float, float]] = []
    for order in (rows, rows[::-1]):
        chain: list[tuple[float, float]] = []
        for point in order:
            while len(chain) >= 2 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains += chain[:-1]
    return np.array(chains or rows, np.float64).reshape(-1, 2)


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Twice the signed area of a triangle."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
