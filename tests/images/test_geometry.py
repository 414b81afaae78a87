from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.images import geometry as g
from mien.types import Colour, Float64
from tests.images.frames import LAYOUTS, sites

coordinate = st.floats(-4000, 4000)
angle = st.floats(-math.pi, math.pi)
scale = st.floats(0.05, 20)
point = st.tuples(coordinate, coordinate)
similarities = st.builds(g.rotation_scale, angle, scale, point, point)
points = arrays(np.float64, (5, 2), elements=coordinate)


@given(similarities, points)
def test_similarity_recovers_the_transform(a: Float64, p: Float64) -> None:
    p = np.add(p, [[0, 0], [50, 0], [0, 50], [70, 30], [20, 90]])
    if np.ptp(p, 0).max() < 1:
        return
    found = g.similarity(p, g.apply(a, p))
    np.testing.assert_allclose(g.apply(found, p), g.apply(a, p), atol=1e-6)
    np.testing.assert_allclose(found[:, :2], a[:, :2], atol=1e-6 * g.affine_scale(a) + 1e-9)


@given(points, points)
def test_similarity_is_the_least_squares_one(p: Float64, q: Float64) -> None:
    if np.ptp(p, 0).max() < 1:
        return
    # Independently: x' = a x - b y + c, y' = b x + a y + d as a linear least-squares problem.
    one, zero = np.ones(5), np.zeros(5)
    rows = np.concatenate(
        [np.stack([p[:, 0], -p[:, 1], one, zero], 1), np.stack([p[:, 1], p[:, 0], zero, one], 1)]
    )
    a, b, c, d = np.linalg.lstsq(rows, q.T.ravel(), rcond=None)[0]
    best = np.array([[a, -b, c], [b, a, d]])
    error = ((g.apply(best, p) - q) ** 2).sum()
    assert ((g.apply(g.similarity(p, q), p) - q) ** 2).sum() <= error * (1 + 1e-9) + 1e-6


def test_similarity_never_mirrors() -> None:
    p = np.array([[0, 0], [10, 0], [0, 10], [9, 9], [3, 5]], float)
    a = g.similarity(p, p * [-1, 1])
    assert np.linalg.det(a[:, :2]) > 0


@pytest.mark.parametrize("p", [np.zeros((1, 2)), np.zeros((5, 2)), np.zeros((5, 3))])
def test_similarity_refuses_what_has_no_answer(p: Float64) -> None:
    with pytest.raises(ValueError, match="similarity"):
        g.similarity(p, p)


@given(similarities, similarities, points)
def test_compose_is_one_after_the_other(a: Float64, b: Float64, p: Float64) -> None:
    np.testing.assert_allclose(g.apply(g.compose(a, b), p), g.apply(a, g.apply(b, p)), rtol=1e-9, atol=1e-4)


@given(similarities, points)
def test_invert_undoes(a: Float64, p: Float64) -> None:
    np.testing.assert_allclose(
        g.apply(g.invert(a), g.apply(a, p)), p, atol=1e-6 * max(1, 1 / g.affine_scale(a))
    )


@given(arrays(np.float64, (2, 3), elements=st.floats(-10, 10)), st.tuples(coordinate, coordinate))
def test_invert_of_any_affine(a: Float64, p: tuple[float, float]) -> None:
    if abs(np.linalg.det(a[:, :2])) < 1e-3:
        return
    np.testing.assert_allclose(g.compose(g.invert(a), a), g.scaling(1, 1), atol=1e-6)


@pytest.mark.parametrize(
    "bad", [[[1, 2, 0], [2, 4, 0]], [[0, 0, 0], [0, 0, 0]], [[math.nan, 0, 0], [0, 1, 0]]]
)
def test_invert_refuses_a_collapse(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="invertible"):
        g.invert(np.array(bad, float))


def test_rotation_turns_x_towards_y_about_its_centre() -> None:
    a = g.rotation_scale(math.pi / 2, 2.0, (10, 20), (100, 200))
    np.testing.assert_allclose(g.apply(a, [[10, 20], [11, 20]]), [[100, 200], [100, 202]], atol=1e-12)
    assert g.affine_scale(a) == pytest.approx(2.0)


def test_templates_are_five_points_in_the_crop_that_nobody_can_change() -> None:
    assert set(g.TEMPLATES) >= {"arcface_112_v2", "ffhq_512", "dfl_whole_face"}
    for name, template in g.TEMPLATES.items():
        assert template.shape == (5, 2), name
        assert ((template > 0.2) & (template < 0.9)).all(), name
        assert template[0, 0] < template[2, 0] < template[1, 0], name
        with pytest.raises(ValueError, match="read-only"):
            template[0, 0] = 0


def test_boxes() -> None:
    box = g.box_of([[3, 4], [1, 9], [2, 2]])
    assert box.tolist() == [1, 2, 3, 9]
    assert g.expand(box, 2).tolist() == [0, -1.5, 4, 12.5]
    assert g.square(box).tolist() == [-1.5, 2, 5.5, 9]
    assert g.area(box) == 14


def test_iou_of_every_pair() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 0, 0]], float)
    b = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]], float)
    np.testing.assert_allclose(g.iou(a, b), np.array([[1 / 7, 1, 0], [0, 0, 0]]))
    assert g.iou(np.zeros((0, 4)), b).shape == (0, 3)


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "nv12"])
def test_plane_affine_sends_sample_sites_to_pixel_centres(name: str, siting: str) -> None:
    layout, colour = LAYOUTS[name], Colour(siting=siting)  # type: ignore[arg-type]
    for plane, parts in enumerate(layout.planes):
        x, y = sites(layout, colour, parts[0], 12, 8)
        rows, columns = np.mgrid[: x.shape[0], : x.shape[1]]
        got = g.apply(g.plane_affine(layout, colour, plane), np.stack([x, y], -1))
        np.testing.assert_allclose(got, np.stack([columns, rows], -1) + 0.5, atol=1e-12)


@given(st.tuples(coordinate, coordinate), st.floats(1, 3000), st.floats(1, 3000), st.integers(64, 2000))
def test_an_upright_crop_holds_its_box_on_whole_pixels(
    corner: tuple[float, float], width: float, height: float, largest: int
) -> None:
    box = np.array([*corner, corner[0] + width, corner[1] + height])
    matrix, size = g.upright(box, largest)
    inside = g.apply(matrix, box.reshape(2, 2))
    assert (inside >= -1.0).all()
    assert (inside <= np.array(size) + 1.0).all()
    assert max(size) <= max(largest, 16)
    if matrix[0, 0] == 1.0:
        assert matrix[0, 2] == round(matrix[0, 2])
        assert matrix[1, 2] == round(matrix[1, 2])


def test_templates_by_name_or_as_points() -> None:
    points = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    np.testing.assert_allclose(g.template(points, 128), np.array(points) * 128)
    np.testing.assert_allclose(g.template("arcface_128", 128)[2], (0.50019687 * 128, 0.56044219 * 128))
    with pytest.raises(ValueError, match="arcface_129"):
        g.template("arcface_129")
    with pytest.raises(ValueError, match="five points"):
        g.template(points[:4])
