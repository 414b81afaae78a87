"""Skin told from what covers it, on two portraits: one with spectacles, one with a fringe."""

from __future__ import annotations

import numpy as np
import pytest

from mien.bench.demo import Name
from mien.faces import anatomy, complexion, mesh
from mien.faces.anatomy import Topology
from mien.models import landmark
from mien.models.runtime import Runtime
from mien.settings import Mask, Swap
from mien.types import Float32, Float64, Portrait
from tests.faces.portraits import landmarks, picture


@pytest.fixture(scope="module")
def faces(runtime: Runtime) -> dict[Name, tuple[Float32, Float64]]:
    names: tuple[Name, ...] = ("astronaut", "hopper")
    return {name: (picture(name), landmarks(runtime, picture(name))) for name in names}


def edge(rgb: Float32, dense: Float64) -> Float32:
    """A crude map of distances to the rim: those of the nearest vertex."""
    height, width = rgb.shape[:2]
    ys, xs = np.mgrid[:height, :width] + 0.5
    near = np.full((height, width), np.inf)
    result = np.zeros((height, width), np.float32)
    distance = anatomy.edge_distance(dense)
    for (x, y, _), value in zip(dense, distance, strict=True):
        gap = (xs - x) ** 2 + (ys - y) ** 2
        take = (gap < near) & (gap < 400)
        near[take], result[take] = gap[take], value
    return result


def test_spectacles_are_found_where_they_are(faces: dict[Name, tuple[Float32, Float64]]) -> None:
    worn = {name: complexion.spoilt(rgb, dense, edge(rgb, dense))[1] for name, (rgb, dense) in faces.items()}
    assert worn == {"astronaut": 0.0, "hopper": 1.0}


def test_a_fringe_is_not_skin_and_cheeks_are(faces: dict[Name, tuple[Float32, Float64]]) -> None:
    rgb, dense = faces["astronaut"]
    parts = complexion.features(dense, (rgb.shape[1], rgb.shape[0]))
    doubt = complexion.doubtful(rgb, dense, edge(rgb, dense), parts)

    def at(vertex: int) -> float:
        x, y = dense[vertex, :2].astype(int)
        return float(doubt[y, x])

    assert at(anatomy.FOREHEAD) > 0.9
    for cheek in (50, 280, 205, 425, anatomy.NOSE_TIP):
        assert at(cheek) < 0.1


def test_the_sources_spectacles_leave_no_dark_rim(
    runtime: Runtime, faces: dict[Name, tuple[Float32, Float64]]
) -> None:
    rgb, dense = faces["hopper"]
    texture = mesh.prepare([Portrait(rgb, dense)], Topology.of(landmark.triangles(runtime.store)))
    atlas, shown = texture.atlas, texture.views[0].pyramid[0]
    # Below the outer ends of her brows the frame is nearly black in the picture.
    for vertex in (226, 446, 111, 340):
        x, y = atlas[vertex, :2].astype(int)
        cheek = shown[atlas[205, 1].astype(int), atlas[205, 0].astype(int)].mean()
        assert shown[y, x].mean() > 0.5 * cheek


def test_the_targets_spectacles_stay(runtime: Runtime, faces: dict[Name, tuple[Float32, Float64]]) -> None:
    rgb, dense = faces["hopper"]
    matrix, (width, height) = mesh.frame_matrix(dense)
    left, top = -matrix[:, 2].astype(int)
    crop = np.ascontiguousarray(rgb[top : top + height, left : left + width])
    local = dense - np.array([left, top, 0.0])
    source = Portrait(*faces["astronaut"])
    texture = mesh.prepare([source], Topology.of(landmark.triangles(runtime.store)))
    _, mask = mesh.swap(texture, crop, local, Swap(), Mask())
    dark = crop.mean(axis=2) < 0.2
    band = np.zeros_like(dark)
    ends = local[[46, 276], :2].astype(int)
    band[ends[:, 1].min() - 12 : ends[:, 1].max() + 14, ends[0, 0] - 8 : ends[1, 0] + 8] = True
    frame_of_spectacles = dark & band
    assert np.count_nonzero(frame_of_spectacles) > 100
    assert float(mask[frame_of_spectacles].mean()) < 0.3
    assert float(mask[local[205, 1].astype(int), local[205, 0].astype(int)]) > 0.8


def test_repair_takes_colour_only_from_where_it_may() -> None:
    rgb = np.full((64, 64, 3), 0.6, np.float32)
    rgb[24:40, 24:40] = 0.0
    rgb[:, :8] = (1.0, 0.0, 0.0)
    keep = np.ones((64, 64), np.float32)
    keep[24:40, 24:40] = 0.0
    give = keep.copy()
    give[:, :8] = 0.0
    fixed = complexion.repaired(rgb, keep, give, 2.0)
    np.testing.assert_allclose(fixed[24:40, 24:40], 0.6, atol=0.01)
    np.testing.assert_array_equal(fixed[:, :8], rgb[:, :8])


def test_folds_of_a_source_are_evened_out(faces: dict[Name, tuple[Float32, Float64]]) -> None:
    """A dark red line across a cheek keeps a part of its depth and little of its hue."""
    _, dense = faces["astronaut"]
    size = np.ceil(dense[:, :2].max(axis=0)).astype(int) + 20
    skin = np.array([0.8, 0.6, 0.5], np.float32)
    plain = np.tile(skin, (size[1], size[0], 1))
    x, y = np.floor(dense[50, :2]).astype(int)  # the middle of a cheek
    folded = plain.copy()
    folded[y - 3 : y + 3, x : x + 2] = np.array([0.4, 0.15, 0.1], np.float32)
    ones = np.ones(size[::-1], np.float32)

    same = complexion.evened(plain, dense, ones)
    np.testing.assert_allclose(same, plain, atol=1e-3)
    made = complexion.evened(folded, dense, ones)[y, x]
    depth = float((made / skin).mean())
    assert 1.0 - 1.3 * complexion.DEEPEST < depth < 0.9
    assert float(np.ptp(made / skin)) < 0.4 * float(np.ptp(folded[y, x] / skin))
    spared = complexion.evened(folded, dense, np.zeros_like(ones))
    np.testing.assert_array_equal(spared, folded)


def test_the_lower_nose_stays_as_it_is(faces: dict[Name, tuple[Float32, Float64]]) -> None:
    rgb, dense = faces["astronaut"]
    x, y = dense[list(anatomy.NOSTRILS), :2].mean(axis=0).astype(int)
    made = complexion.evened(rgb, dense, np.ones(rgb.shape[:2], np.float32))
    where = np.s_[y - 1 : y + 2, x - 1 : x + 2]
    np.testing.assert_allclose(made[where], rgb[where], atol=1 / 255)
