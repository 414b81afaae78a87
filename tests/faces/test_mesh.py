"""The mesh swapper on real portraits: what follows the target, and what stays untouched."""

from __future__ import annotations

import numpy as np
import pytest

from mien.faces import anatomy, mesh
from mien.faces.anatomy import Topology
from mien.images import cpu
from mien.models import landmark
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Mask, Swap
from mien.types import Float32, Float64, Portrait
from tests.faces.portraits import landmarks, picture


@pytest.fixture(scope="module")
def topology(store: Store) -> Topology:
    return Topology.of(landmark.triangles(store))


@pytest.fixture(scope="module")
def target(runtime: Runtime) -> tuple[Float32, Float64]:
    """The astronaut, cut out as the pipeline does, twice as large as in the picture."""
    small = picture("astronaut")
    large = cpu.resize(small, (small.shape[1] * 2, small.shape[0] * 2))
    dense = landmarks(runtime, large)
    matrix, size = mesh.frame_matrix(dense)
    crop = cpu.warp(large, matrix, size)
    dense = dense.copy()
    dense[:, :2] = dense[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return crop, dense


@pytest.fixture(scope="module")
def texture(runtime: Runtime, topology: Topology) -> mesh.Texture:
    rgb = picture("hopper")
    flipped = np.ascontiguousarray(rgb[:, ::-1])
    portrait = Portrait(rgb, landmarks(runtime, rgb), landmarks(runtime, flipped))
    return mesh.prepare([portrait], topology)


def test_topology_is_a_closed_sheet(topology: Topology) -> None:
    """A disc: every edge belongs to two triangles but for the rim, and Euler's number is 1."""
    edges: dict[frozenset[int], int] = {}
    for triangle in topology.triangles:
        for k in range(3):
            key = frozenset((int(triangle[k]), int(triangle[(k + 1) % 3])))
            edges[key] = edges.get(key, 0) + 1
    rim = {vertex for edge, n in edges.items() if n == 1 for vertex in edge}
    assert set(edges.values()) == {1, 2}
    assert rim == set(anatomy.OVAL)
    assert 468 - len(edges) + len(topology.triangles) == 1


def test_swapping_a_face_with_itself_changes_little(
    runtime: Runtime, topology: Topology, target: tuple[Float32, Float64]
) -> None:
    crop, dense = target
    own = mesh.prepare([Portrait(crop, dense)], topology)
    face, mask = mesh.swap(own, crop, dense, Swap(), Mask())
    changed = np.abs(face - crop).mean(axis=2)[mask > 0.9]
    assert mask.max() == pytest.approx(1.0)
    assert float(np.mean(changed)) < 0.012
    assert float(np.quantile(changed, 0.99)) < 0.08


def test_another_face_is_really_shown(texture: mesh.Texture, target: tuple[Float32, Float64]) -> None:
    crop, dense = target
    face, mask = mesh.swap(texture, crop, dense, Swap(), Mask())
    assert face.shape == crop.shape
    assert mask.shape == crop.shape[:2]
    assert np.isfinite(face).all()
    assert float(np.abs(face - crop).mean(axis=2)[mask > 0.9].mean()) > 0.02
    # The fringe covers half of her face; the border of a crop is never face.
    assert float((mask > 0.9).mean()) > 0.1
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert float(border.max()) == 0.0


def test_skin_tone_follows_the_target(texture: mesh.Texture, target: tuple[Float32, Float64]) -> None:
    crop, dense = target
    for tint in ((1.0, 1.0, 1.0), (0.6, 0.5, 0.45)):
        lit = crop * np.array(tint, np.float32)
        face, mask = mesh.swap(texture, lit, dense, Swap(), Mask())
        inner = mask > 0.9
        np.testing.assert_allclose(face[inner].mean(axis=0), lit[inner].mean(axis=0), atol=0.03)


def test_mouth_and_eyes_stay_the_targets(texture: mesh.Texture, target: tuple[Float32, Float64]) -> None:
    crop, dense = target
    _, mask = mesh.swap(texture, crop, dense, Swap(), Mask())
    for ids in (anatomy.LEFT_EYE, anatomy.RIGHT_EYE, anatomy.MOUTH):
        x, y = dense[list(ids), :2].mean(axis=0).astype(int)
        assert mask[y, x] < 0.35
    _, own = mesh.swap(texture, crop, dense, Swap(eyes="source"), Mask())
    x, y = dense[list(anatomy.LEFT_EYE), :2].mean(axis=0).astype(int)
    assert own[y, x] > 0.9


def test_a_closed_mouth_shows_lips_and_no_teeth(
    texture: mesh.Texture, target: tuple[Float32, Float64]
) -> None:
    crop, dense = target
    shut = dense.copy()
    middle = (shut[list(anatomy.UPPER_LIP)] + shut[list(anatomy.LOWER_LIP)]) / 2
    shut[list(anatomy.UPPER_LIP)] = shut[list(anatomy.LOWER_LIP)] = middle
    _, mask = mesh.swap(texture, crop, shut, Swap(), Mask())
    x, y = middle[len(middle) // 2, :2].astype(int)
    assert mask[y, x] > 0.75


def test_a_small_move_of_the_face_moves_the_picture_as_much(
    texture: mesh.Texture, target: tuple[Float32, Float64]
) -> None:
    """No swimming: shifting the target by whole pixels shifts the result by exactly as many."""
    crop, dense = target
    plain = Swap(light=0.0, grain=0.0)
    face, _ = mesh.swap(texture, crop, dense, plain, Mask())
    moved = dense + np.array([6.0, 4.0, 0.0])
    shifted, mask = mesh.swap(texture, np.roll(crop, (4, 6), (0, 1)), moved, plain, Mask())
    inner = mask > 0.9
    gap = np.abs(shifted - np.roll(face, (4, 6), (0, 1))).mean(axis=2)[inner]
    assert float(np.mean(gap)) < 0.004


def test_strength_scales_the_mask(texture: mesh.Texture, target: tuple[Float32, Float64]) -> None:
    crop, dense = target
    _, whole = mesh.swap(texture, crop, dense, Swap(), Mask())
    _, half = mesh.swap(texture, crop, dense, Swap(strength=0.5), Mask())
    np.testing.assert_allclose(half, whole / 2, atol=1e-6)


@pytest.mark.parametrize("grow", [-0.1, 0.1])
def test_the_mask_grows_and_shrinks(
    texture: mesh.Texture, target: tuple[Float32, Float64], grow: float
) -> None:
    crop, dense = target
    _, usual = mesh.swap(texture, crop, dense, Swap(), Mask())
    _, other = mesh.swap(texture, crop, dense, Swap(), Mask(grow=grow))
    assert (float(other.sum()) > float(usual.sum())) == (grow > 0)


def test_frame_matrix_is_upright_on_whole_pixels(target: tuple[Float32, Float64]) -> None:
    _, dense = target
    matrix, (width, height) = mesh.frame_matrix(dense + np.array([0.3, 0.7, 0.0]))
    np.testing.assert_array_equal(matrix[:, :2], np.eye(2))
    np.testing.assert_array_equal(matrix[:, 2], np.round(matrix[:, 2]))
    assert width % 16 == height % 16 == 0
    low, high = dense[:, :2].min(axis=0), dense[:, :2].max(axis=0)
    assert ((width, height) >= high - low).all()
    assert ((width, height) < 1.2 * (high - low) + 16).all()
    huge, size = mesh.frame_matrix(dense * 20.0)
    assert max(size) == mesh.LARGEST
    assert huge[0, 0] == huge[1, 1] < 1.0


def test_expression_tells_an_open_mouth_and_a_closed_eye(target: tuple[Float32, Float64]) -> None:
    _, dense = target
    usual = anatomy.expression(dense)
    open_mouth = dense.copy()
    open_mouth[14, 1] += 30.0
    assert anatomy.expression(open_mouth)[2] > usual[2] + 0.05
    wink = dense.copy()
    wink[159] = wink[145]
    assert anatomy.expression(wink)[4] == pytest.approx(0.0)
    assert anatomy.expression(wink)[5] == pytest.approx(usual[5])


def test_frontal_turns_a_head_back(target: tuple[Float32, Float64]) -> None:
    _, dense = target
    angle = 0.5
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    np.testing.assert_allclose(anatomy.frontal(dense @ turn.T), anatomy.frontal(dense), atol=1e-6)


def test_the_view_with_the_targets_expression_is_shown(
    topology: Topology, target: tuple[Float32, Float64]
) -> None:
    """Two sources of one face, one red with an open mouth, one green with a closed one."""
    crop, dense = target
    red, green = crop * np.array([1, 0.2, 0.2], np.float32), crop * np.array([0.2, 1, 0.2], np.float32)
    wide = dense.copy()
    for ids in (anatomy.LOWER_LIP, (152, 148, 377, 17, 18)):
        wide[list(ids), 1] += 25.0
    both = mesh.prepare([Portrait(red, wide), Portrait(green, dense)], topology)
    for shown, first, second in ((dense, 1, 0), (wide, 0, 1)):
        face, mask = mesh.swap(both, crop, shown, Swap(light=0.0, grain=0.0), Mask())
        tone = face[mask > 0.9].mean(axis=0)
        assert tone[first] > 2 * tone[second]
    between, mask = mesh.swap(both, crop, (dense + wide) / 2, Swap(light=0.0, grain=0.0), Mask())
    tone = between[mask > 0.9].mean(axis=0)
    assert 0.5 < tone[0] / tone[1] < 2.0
