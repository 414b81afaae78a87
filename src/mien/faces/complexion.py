"""What on a face is skin: hair, hats, spectacles and hands differ from it in colour."""

from __future__ import annotations

import numpy as np

from mien.faces import anatomy
from mien.images import cpu
from mien.types import Array, Float32, Float64

LEAST_BLUR = 0.7
"""Blurs of fewer pixels change nothing that a reduced picture has not lost already."""
FLOOR = 0.02
"""Added to intensities before the logarithm, so that black is finite."""
AXES = np.array([[1 / 3, 1, 0], [1 / 3, -1, 1], [1 / 3, 0, -1]], np.float32)
"""Columns: mean log luminance, log(R/G), log(G/B)."""
SPREAD = np.array([0.19, 0.05, 0.05], np.float32)
"""Least spread of log luminance, log(R/G) and log(G/B) that skin is granted."""
LUMINANCE_SLACK = 1.6
"""Light varies over a face more than colour does: its spread counts this many times."""
INSIDE, OUTSIDE = 2.2, 3.7
"""Robust standard deviations from the face's skin at which something is certainly skin, certainly not."""
HIDDEN = (0.65, 0.85)
"""Turns of the head in radians between which eye and brow of the far side stop counting."""
INNER, RIM = 0.1, 0.08
"""Distances from the rim, in heights of the face: surely face beyond the first, edge within the second."""
STRICT = 1.5
"""How much more is doubted of sources and of faces with spectacles."""
AROUND = 0.05
"""Blur, in heights of the face, that tells the skin around a fold."""
DEEPEST = 0.2
"""By how much of its skin a fold of a source may be darker or lighter."""
OWN_HUE = 0.2
"""How much of a fold's own hue is left."""
SPECTACLES = (0.14, 0.2)
"""Shares of the places that spectacles cover that are not skin, between which spectacles become certain."""


def distance(rgb: Float32, inner: Array, detail: float) -> Float32:
    """How far each pixel is from the skin of this face, in robust standard deviations.

    Log luminance and two log chromaticities are compared with their medians over the inner face,
    in units of the median absolute deviation there.

    Args:
        rgb: (H, W, 3) R'G'B'.
        inner: (H, W) bool, surely face: cheeks, nose, chin, without eyes, brows and mouth.
        detail: Blur in pixels against noise.

    Returns:
        (H, W) float32.
    """
    if np.count_nonzero(inner) < 32:
        return np.zeros(rgb.shape[:2], np.float32)
    seen = cpu.blur(rgb, detail) if detail > LEAST_BLUR else rgb
    axes = np.log(np.maximum(seen, 0.0) + np.float32(FLOOR)) @ AXES
    known = axes[inner][::4]  # a quarter of the pixels says as much
    middle = np.median(known, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(known - middle), axis=0), SPREAD)
    spread[0] *= LUMINANCE_SLACK
    scaled = (axes - middle) / spread
    return np.asarray(np.sqrt(np.einsum("hwc,hwc->hw", scaled, scaled)), np.float32)


def _alien(far: Float32, strict: float = 1.0) -> Float32:
    """How surely each pixel is not skin, 0 to 1; `strict` counts every difference that many times."""
    return np.asarray(np.clip((strict * far - INSIDE) / (OUTSIDE - INSIDE), 0.0, 1.0), np.float32)


def features(dense: Float64, size: tuple[int, int], soft: float = 0.02) -> Float32:
    """(H, W) 1 on eyes, brows and lips, softened by a share of the face's height.

    Those on a side that turns away shrink to nothing: there, landmarks may lie beyond the silhouette.
    """
    yaw = float(anatomy.expression(dense)[0])
    left, right = (min(1.0, max(0.0, (HIDDEN[1] + side * yaw) / (HIDDEN[1] - HIDDEN[0]))) for side in (1, -1))
    parts = (
        (anatomy.MOUTH, 1.5),
        (anatomy.LEFT_EYE, 1.35 * left),
        (anatomy.RIGHT_EYE, 1.35 * right),
        (anatomy.LEFT_BROW, 1.3 * left),
        (anatomy.RIGHT_BROW, 1.3 * right),
    )
    outlines = [grown(dense[list(ids), :2], by) for ids, by in parts]
    return cpu.fill_polygons(size, outlines, anatomy.height(dense) * soft)


def grown(outline: Float64, factor: float) -> Float64:
    """An outline, scaled about its middle."""
    middle = outline.mean(axis=0)
    return np.asarray(middle + factor * (outline - middle), np.float64)


def doubtful(rgb: Float32, dense: Float64, rim: Float32, parts: Float32) -> Float32:
    """Where something that is not skin covers a face: hair, a hat, spectacles, background.

    Looked for around the eyes and along the rim only; wrinkles, nostrils, lips and beards differ
    from skin too, but belong to the face.

    Args:
        rgb: (H, W, 3) R'G'B'.
        dense: (N, 3) landmarks in pixels of `rgb`.
        rim: (H, W) distance to the rim of the face as `anatomy.edge_distance` gives it.
        parts: (H, W) the face's `features`.

    Returns:
        (H, W) 0 to 1.
    """
    far = distance(rgb, (rim > INNER) & (parts < 0.3), anatomy.height(dense) * 0.006)
    plain, strictly = _alien(far), _alien(far, STRICT)
    lenses = _lenses(dense, rim.shape)
    worn = _spectacles(strictly, dense, (lenses > 0.5) & (parts < 0.2) & (rim > 1.2 * RIM))
    behind = np.float32(worn) * lenses
    return _covered(plain + behind * (strictly - plain), dense, rim, parts, behind, 1.0)


def spoilt(rgb: Float32, dense: Float64, rim: Float32) -> tuple[Float32, float]:
    """Like `doubtful`, for a source: doubts more, since what is wrongly doubted is only smoothed.

    Where much around the eyes is not skin, spectacles are assumed, and all they cover is spoilt:
    lenses shift, tint and reflect.

    Returns:
        (H, W) 0 to 1, and how certain spectacles are, 0 to 1.
    """
    size = (rgb.shape[1], rgb.shape[0])
    tall = anatomy.height(dense)
    parts = features(dense, size)
    alien = _alien(distance(rgb, (rim > INNER) & (parts < 0.3), tall * 0.006), STRICT)
    lenses = _lenses(dense, rim.shape)
    worn = _spectacles(alien, dense, (lenses > 0.5) & (parts < 0.2) & (rim > 1.2 * RIM))
    found = _covered(alien, dense, rim, parts, np.float32(worn) * lenses, STRICT)
    eyes = [grown(dense[list(ids), :2], 1.25) for ids in (anatomy.LEFT_EYE, anatomy.RIGHT_EYE)]
    behind = lenses * (1.0 - cpu.fill_polygons(size, eyes, tall * 0.01))
    return np.maximum(found, np.float32(worn) * behind), worn


def _lenses(dense: Float64, shape: tuple[int, ...]) -> Float32:
    """(H, W) 1 where spectacles may be, rims included."""
    outline = grown(dense[list(anatomy.LENSES), :2], 1.14)
    return cpu.fill_polygons((shape[1], shape[0]), [outline], anatomy.height(dense) * 0.01)


def _spectacles(alien: Float32, dense: Float64, region: Array) -> float:
    """How certain spectacles are, 0 to 1: much is not skin around either eye and between them.

    Shadow and hair come from one side; wire frames are too thin to be seen.
    """
    if not np.any(region) or float(alien[region].mean()) < SPECTACLES[0]:
        return 0.0
    size = (alien.shape[1], alien.shape[0])
    middle = dense[list(anatomy.BRIDGE), :2].mean(axis=0)
    across = dense[anatomy.RIGHT_CHEEK, :2] - dense[anatomy.LEFT_CHEEK, :2]
    y, x = np.ogrid[: size[1], : size[0]]
    left = (x + 0.5 - middle[0]) * across[0] + (y + 0.5 - middle[1]) * across[1] < 0.0
    bridge = cpu.fill_polygons(size, [dense[list(anatomy.BRIDGE), :2]], 0.0) > 0.5
    places = (region & left, region & ~left, bridge)
    least = min(float(alien[p].mean()) if np.any(p) else 0.0 for p in places)
    return min(1.0, max(0.0, (least - SPECTACLES[0]) / (SPECTACLES[1] - SPECTACLES[0])))


def _covered(
    alien: Float32, dense: Float64, rim: Float32, parts: Float32, lenses: Float32, strict: float
) -> Float32:
    """Keep what is alien around the eyes and along the rim, and a little around it."""
    tall = anatomy.height(dense)
    band = cpu.fill_polygons((rim.shape[1], rim.shape[0]), [dense[list(anatomy.EYE_BAND), :2]], tall * 0.01)
    edge = np.clip(2.0 - 2.0 * rim / (RIM * strict), 0.0, 1.0)
    where = np.maximum(np.maximum(band, lenses), edge) * (1.0 - parts)
    spread = cpu.blur(alien * where, tall * 0.008 * strict)
    return np.asarray(np.clip(1.6 * strict**2 * spread, 0.0, 1.0) * (1.0 - parts), np.float32)


def lit(rgb: Float32, inner: Array, detail: float) -> Float32:
    """How usable the light on each pixel is, 0 to 1: deep shadow and glare cannot be relit.

    Compares the blurred luminance with its median over the inner face.
    """
    light = cpu.blur(np.ascontiguousarray(rgb.mean(axis=2)), detail) + np.float32(FLOOR)
    middle = float(np.median(light[inner])) if np.any(inner) else 0.5
    stops = np.log2(light / middle)
    return np.asarray(np.clip(2.0 + 1.6 * np.minimum(stops, 0.0), 0.05, 1.0), np.float32)


def evened(rgb: Float32, dense: Float64, skin: Float32) -> Float32:
    """Fold and shadow of the skin as they look in even light: neither deep nor coloured by their own.

    A picture's hard light draws folds that are wrong in any other light, and what light skin has scattered
    makes them redder the darker they are. Each pixel is compared with the skin around it: what it is darker
    or lighter by is limited, and a part of its own hue is taken back.

    Args:
        rgb: (H, W, 3) R'G'B'.
        dense: (N, 3) landmarks in pixels of `rgb`.
        skin: (H, W) 0 to 1, where to do so; nostrils are spared.
    """
    tall = anatomy.height(dense)
    size = (rgb.shape[1], rgb.shape[0])
    nose = [grown(dense[list(anatomy.NOSTRILS), :2], 1.3)]
    where = skin * (1.0 - cpu.fill_polygons(size, nose, tall * 0.01))
    around = cpu.blur(rgb * where[..., None], tall * AROUND)
    near = around / np.maximum(cpu.blur(where, tall * AROUND), 1e-3)[..., None] + np.float32(FLOOR)
    more = (rgb + np.float32(FLOOR)) / near - 1.0
    level = more.mean(axis=2, keepdims=True)
    limited = np.float32(DEEPEST) * np.tanh(level / np.float32(DEEPEST))
    even = near * (1.0 + limited + np.float32(OWN_HUE) * (more - level)) - np.float32(FLOOR)
    return np.asarray(rgb + where[..., None] * (even - rgb), np.float32)


def repaired(rgb: Float32, keep: Float32, give: Float32, reach: float) -> Float32:
    """Fill what is not to be kept with the skin around it: blurs of growing size, normalised by what gives.

    Args:
        rgb: (H, W, 3) R'G'B'.
        keep: (H, W) 0 to 1, what stays as it is.
        give: (H, W) 0 to 1, where colour may be taken from.
        reach: First blur in pixels; doubles until everything is filled.
    """
    result = rgb * keep[..., None]
    filled = keep.copy()
    given = rgb * give[..., None]
    for _ in range(5):
        near = cpu.blur(give, reach)
        colour = cpu.blur(given, reach) / np.maximum(near, 1e-4)[..., None]
        add = (1.0 - filled) * np.clip(near * 4.0, 0.0, 1.0)
        result += add[..., None] * colour
        filled += add
        reach *= 2.0
    return np.asarray(result / np.maximum(filled, 1e-4)[..., None], np.float32)
