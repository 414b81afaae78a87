"""Landmark geometry against independent formulas, and the topology against what a surface must be."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.images import cpu
from mien.models import detect, landmark
from mien.models.mediapipe import FACEMESH
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Detect
from mien.types import Float64
from tests.models.recall import load, still

RNG = np.random.default_rng(3)
ANGLES = st.floats(-math.pi, math.pi)
SIZES = st.floats(4.0, 2000.0)
PLACES = st.floats(-500.0, 4000.0)


def turned(points: Float64, angle: float, scale: float, shift: tuple[float, float]) -> Float64:
    c, s = math.cos(angle), math.sin(angle)
    result: Float64 = points @ np.array([[c, s], [-s, c]]) * scale + np.array(shift)
    return result


def face() -> Float64:
    """(468, 3) a made-up upright face whose eyes are level, 100 wide and 140 high."""
    dense = np.zeros((468, 3))
    dense[:, 0] = RNG.uniform(-45, 45, 468)
    dense[:, 1] = RNG.uniform(-65, 65, 468)
    dense[10, :2], dense[152, :2] = (0, -70), (0, 70)
    dense[234, :2], dense[454, :2] = (-50, 0), (50, 0)
    dense[landmark.RIGHT_EYE[0], :2], dense[landmark.LEFT_EYE[0], :2] = (-35, -20), (35, -20)
    return dense


@given(ANGLES, SIZES, PLACES, PLACES)
def test_a_crop_is_centred_scaled_and_level(angle: float, side: float, x: float, y: float) -> None:
    matrix = landmark.roi(np.array([[x, y]]), np.array([side]), np.array([angle]))[0]
    c, s = math.cos(angle), math.sin(angle)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2
    on_screen = corners @ np.array([[c, s], [-s, c]]) + [x, y]
    crop = on_screen @ matrix[:, :2].T + matrix[:, 2]
    wanted = np.array([[0, 0], [192, 0], [192, 192], [0, 192]])
    np.testing.assert_allclose(crop, wanted, atol=1e-6 * (1 + (abs(x) + abs(y)) / side))


@given(ANGLES, st.floats(0.2, 8.0), PLACES, PLACES)
def test_the_following_crop_moves_with_the_face(angle: float, scale: float, x: float, y: float) -> None:
    upright = face()
    moved = turned(upright[:, :2], angle, scale, (x, y))
    matrix = landmark.roi_from_dense(moved[None], 1.5)[0]
    inside = moved @ matrix[:, :2].T + matrix[:, 2]
    # 140 high: the crop's side is 210 units, its centre that of the face's own box (0, 0).
    np.testing.assert_allclose(inside, 96 + upright[:, :2] * 192 / 210, atol=1e-6)


@given(ANGLES, st.floats(0.2, 8.0), PLACES, PLACES)
def test_decoding_undoes_the_crop(angle: float, scale: float, x: float, y: float) -> None:
    rois = landmark.roi(np.array([[x, y], [y, x]]), np.array([192, 96]) * scale, np.array([angle, -angle]))
    truth = RNG.uniform(-100, 100, (2, 468, 3)) * scale + [[[x, y, 0]], [[y, x, 0]]]
    crop = np.concatenate(
        [
            np.einsum("fij,fnj->fni", rois[:, :, :2], truth[..., :2]) + rois[:, None, :, 2],
            truth[..., 2:] / np.array([scale, scale / 2])[:, None, None],
        ],
        axis=-1,
    )
    dense, presence = landmark.decode(crop.reshape(2, 1, 1, 1404), np.array([[[[0.0]]], [[[3.0]]]]), rois)
    np.testing.assert_allclose(dense, truth, atol=1e-6 * (1 + abs(x) + abs(y)))
    np.testing.assert_allclose(presence, [0.5, 1 / (1 + math.exp(-3.0))], rtol=1e-12)


@pytest.mark.parametrize("yaw", [-80.0, -41.0, -39.0, 0.0, 25.0, 39.0, 41.0, 90.0])
@pytest.mark.parametrize("roll", [-170.0, 0.0, 35.0])
def test_yaw_is_the_turn_about_the_upright_axis_whatever_the_roll(yaw: float, roll: float) -> None:
    dense = RNG.normal(0, 50, (1, 468, 3))
    dense[0, 234], dense[0, 454] = (-60, 7, 0), (60, 7, 0)
    a, b = math.radians(yaw), math.radians(roll)
    turn = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    lean = np.array([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]])
    turned = dense @ (lean @ turn).T + 300.0
    assert math.degrees(landmark.yaw(turned)[0]) == pytest.approx(yaw, abs=1e-9)
    assert landmark.aside(turned).tolist() == [abs(yaw) > 40]


def test_the_logistic_function_does_not_overflow() -> None:
    np.testing.assert_array_equal(landmark.sigmoid(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])


def test_boxes_give_level_squares_half_as_large_again() -> None:
    box = np.array([[100.0, 200.0, 180.0, 300.0]])
    eyes = np.array([[[120.0, 230.0], [160.0, 270.0]]])  # 45 degrees
    matrix = landmark.roi_from_box(box, eyes)[0]
    assert math.isclose(math.sqrt(np.linalg.det(matrix[:, :2])), 192 / 150)
    inside = eyes[0] @ matrix[:, :2].T + matrix[:, 2]
    assert math.isclose(inside[0, 1], inside[1, 1])
    assert inside[0, 0] < inside[1, 0]
    np.testing.assert_allclose(matrix[:, :2] @ [140, 250] + matrix[:, 2], [96, 96])


def test_the_topology_is_one_surface_with_holes_for_eyes_and_mouth(store: Store) -> None:
    triangles = landmark.triangles(store)
    assert triangles.shape == (852, 3)
    assert triangles.dtype == np.int64
    assert set(triangles.ravel().tolist()) == set(range(468))
    assert len({tuple(sorted(t)) for t in triangles.tolist()}) == 852
    edges: dict[tuple[int, int], int] = {}
    for a, b, c in triangles.tolist():
        for pair in ((a, b), (b, c), (c, a)):
            key = (min(pair), max(pair))
            edges[key] = edges.get(key, 0) + 1
    assert max(edges.values()) == 2
    # Euler characteristic of a disc with three holes (two eyes, mouth): 1 - 3.
    assert 468 - len(edges) + len(triangles) == 1 - 3
    border = {k for pair, n in edges.items() if n == 1 for k in pair}
    assert len(border) == 36 + 16 + 16 + 20  # oval, eyes, inner lips
    assert {10, 152, 234, 454, *landmark.RIGHT_EYE.tolist(), *landmark.LEFT_EYE.tolist()} <= border
    # One winding: every inner edge is walked once in each direction.
    directed = {(t[k], t[(k + 1) % 3]) for t in triangles.tolist() for k in range(3)}
    assert len(directed) == 3 * 852


def test_no_faces_cost_nothing(store: Store) -> None:
    assert landmark.five(np.zeros((0, 468, 3))).shape == (0, 5, 2)
    with pytest.raises(ValueError, match="cannot reshape"):
        landmark.decode(np.zeros((1, 10)), np.zeros(1), np.zeros((1, 2, 3)))


def test_points_and_landmarks_ask_for_the_same_crop(runtime: Runtime, shared: Path) -> None:
    for picture in ("pd01_astronaut.png", "l13_two_men_handshake.jpg", "l06_roll_left.png"):
        faces = detect.find(runtime, load(shared / "media" / picture), Detect(min_size=60.0))
        assert faces.dense is not None
        one, two = landmark.roi_from_dense(faces.dense), landmark.roi_from_points(faces.points)
        ratio = np.sqrt(np.linalg.det(one[:, :, :2]) / np.linalg.det(two[:, :, :2]))
        assert (np.abs(np.log(ratio)) < 0.15).all()
        middle = np.linalg.inv(two[:, :, :2]) @ (96 - two[:, :, 2:])
        inside = one[:, :, :2] @ middle + one[:, :, 2:]
        assert np.abs(inside - 96).max() < 0.1 * 192


def test_landmarks_move_with_the_picture(runtime: Runtime, shared: Path) -> None:
    frame = load(shared / "media" / "pd02_grace_hopper.jpg")
    shifted = still(np.roll(frame.planes[0], (24, -16), axis=(0, 1)))
    roi = landmark.roi(np.array([[268.0, 235.0]]), np.array([330.0]), np.array([0.0]))
    moved = landmark.roi(np.array([[252.0, 259.0]]), np.array([330.0]), np.array([0.0]))
    one, sure = landmark.landmarks(runtime, frame, roi)
    two, _ = landmark.landmarks(runtime, shifted, moved)
    assert sure[0] > 0.99
    np.testing.assert_allclose(two[0, :, :2] - one[0, :, :2], np.tile([-16.0, 24.0], (468, 1)), atol=0.05)
    five = landmark.five(one)[0]
    # Eyes, nose and mouth of this portrait, read off the picture by eye.
    np.testing.assert_allclose(five, [[230, 193], [305, 193], [267, 240], [237, 283], [302, 283]], atol=12)


def test_crops_without_a_face_are_told_apart(runtime: Runtime, shared: Path) -> None:
    frame = load(shared / "media" / "pd01_astronaut.png")
    places = np.array([[225.0, 120.0], [400.0, 420.0], [60.0, 300.0]])  # face, helmet, flag
    rois = landmark.roi(places, np.full(3, 190.0), np.zeros(3))
    _, sure = landmark.landmarks(runtime, frame, rois)
    assert sure[0] > 0.99
    assert sure[1:].max() < 0.1


@pytest.mark.parametrize("picture", ["pd01_astronaut.png", "l02_profile_left.jpeg", "l06_roll_left.png"])
def test_whole_codes_move_the_points_by_less_than_a_thousandth(
    runtime: Runtime, shared: Path, picture: str
) -> None:
    frame = load(shared / "media" / picture)
    dense = detect.find(runtime, frame, Detect(min_size=60.0)).dense
    assert dense is not None
    rois = landmark.roi_from_dense(dense)
    quick, _ = landmark.landmarks(runtime, frame, rois)
    crops = np.stack([np.clip(cpu.crop(frame, roi, (192, 192)), 0.0, 1.0) for roi in rois])
    result = runtime.session(FACEMESH).run(crops)
    exact, _ = landmark.decode(result["conv2d_21"], result["conv2d_31"], rois)
    apart = np.sqrt(np.square((quick - exact)[..., :2]).sum(2).mean())
    assert 0 < apart < 0.001 * np.ptp(exact[0, :, 1])
