"""Masks: networks as functions, shapes and edges against their formulas."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from mien.models import mask
from mien.models.card import Card
from mien.types import Array, Float64
from tests.models.functions import PERMUTED, Graph, filed, painter, running, tensor_of

RNG = np.random.default_rng(12)
CODE = 1 / 255
XSEG = ("xseg_1", "xseg_2", "xseg_3")
BISENET = ("bisenet_resnet_18", "bisenet_resnet_34")
IDS = {
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


def card_of(name: str) -> Card:
    return next(card for card in mask.CARDS if card.name == name)


def channel(name: str, folder: Path, number: int, scale: float = 1.0) -> Card:
    """An occluder that gives one channel of what it sees, times a number."""
    g = Graph()
    x = g.input("input", (1, 256, 256, 3))
    x = g.op("Gather", x, g.constant([number], np.int64), axis=3)
    g.output("mask", g.op("Mul", x, g.constant(scale)), (1, 256, 256, 1))
    return filed(card_of(name), g.model(folder / "models" / f"{name}.onnx"))


def test_every_published_network_has_a_card() -> None:
    assert {card.name: card.task for card in mask.CARDS} == {
        **dict.fromkeys(XSEG, "occlude"),
        **dict.fromkeys(BISENET, "parse"),
    }


@pytest.mark.parametrize("name", XSEG)
def test_occluders_see_the_other_order_and_give_shares(name: str, tmp_path: Path) -> None:
    crops = RNG.random((2, 256, 256, 3), np.float32)
    cards = [channel(name, tmp_path, 0, 1.5)]  # blue comes first; above 1 is cut off
    with running(tmp_path, cards) as runtime:
        found = mask.occlusion(runtime, cards, crops)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.minimum(crops[..., 2] * 1.5, 1), atol=CODE / 4)


def test_what_any_network_takes_for_covered_is(tmp_path: Path) -> None:
    crops = RNG.random((2, 256, 256, 3), np.float32)
    cards = [channel(name, tmp_path, k) for k, name in enumerate(XSEG)]
    with running(tmp_path, cards) as runtime:
        np.testing.assert_allclose(mask.occlusion(runtime, cards, crops), crops.min(axis=3), atol=CODE / 4)
        with pytest.raises(ValueError, match="at least one"):
            mask.occlusion(runtime, [], crops)


def test_crops_of_other_sizes_are_fitted_without_aliasing(tmp_path: Path) -> None:
    cards = [channel("xseg_1", tmp_path, 1)]
    stripes = np.zeros((1, 1024, 1024, 3), np.float32)
    stripes[:, :, ::2, 1] = 1.0  # every other column: grey when it is shrunk to a quarter
    with running(tmp_path, cards) as runtime:
        found = mask.occlusion(runtime, cards, stripes)
        flat = mask.occlusion(runtime, cards, np.full((1, 128, 128, 3), 0.3, np.float32))
    np.testing.assert_allclose(found, 0.5, atol=CODE / 4)
    np.testing.assert_allclose(flat, 0.3, atol=CODE / 4)


@pytest.mark.parametrize("name", BISENET)
def test_parsers_see_normalised_pictures_and_the_best_class_wins(name: str, tmp_path: Path) -> None:
    g, picture = painter(512, name="input")
    fixed = g.op("Slice", picture, *(g.constant(v, np.int64) for v in ([0], [1], [1])))
    blank = g.op("Mul", fixed, g.constant(np.zeros((1, 16, 1, 1))))
    low = g.op("Sub", blank, g.constant(50.0))
    # Classes 1, 10 and 13 are the three channels of the painted picture; the others never win.
    parts = {1: 0, 10: 1, 13: 2}
    planes = []
    for k in range(19):
        if k in parts:
            at = [g.constant([v], np.int64) for v in (parts[k], parts[k] + 1, 1)]
            planes.append(g.op("Slice", picture, *at))
        else:
            at = [g.constant([v], np.int64) for v in (0, 1, 1)]
            planes.append(g.op("Slice", low, *at))
    g.output("scores", g.op("Concat", *planes, axis=1), (1, 19, 512, 512))
    card = filed(card_of(name), g.model(tmp_path / "models" / f"{name}.onnx"))
    crops = RNG.random((2, 512, 512, 3), np.float32)
    with running(tmp_path, [card]) as runtime:
        found = mask.classes(runtime, card, crops)
    assert found.dtype == np.int64
    place = np.arange(512) / 512
    weights = (np.arange(3) + 1.0)[None, :, None, None] / 3
    tensor = tensor_of(crops, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    scores = tensor[:, PERMUTED] * 0.5 + 0.2 * weights * place + 0.1 * weights * place[:, None]
    best = np.array([1, 10, 13])[scores.argmax(axis=1)]
    gap = np.sort(scores, axis=1)
    clear = gap[:, 2] - gap[:, 1] > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], best[clear])


@pytest.mark.parametrize("region", sorted(IDS))
def test_regions_have_the_published_numbers(region: str) -> None:
    numbers = np.arange(19)[None, None]
    found = mask.region_mask(numbers, [region])  # type: ignore[list-item]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.flatnonzero(found), [IDS[region]])


def test_regions_add_up() -> None:
    found = mask.region_mask(np.arange(19)[None, None], ["skin", "nose", "lower_lip"])
    np.testing.assert_array_equal(np.flatnonzero(found), [1, 10, 13])
    assert not mask.region_mask(np.arange(19)[None, None], []).any()


# Shapes


def face(side: int) -> Float64:
    """(68, 2) made-up landmarks of an upright face: a round jaw, level brows, a mouth below."""
    points = np.zeros((68, 2))
    angle = np.linspace(math.pi, 0, 17)
    points[:17] = np.column_stack([0.5 + 0.35 * np.cos(angle), 0.45 + 0.45 * np.sin(angle)])
    points[17:27] = np.column_stack([np.linspace(0.2, 0.8, 10), np.full(10, 0.3)])
    points[27:31] = np.column_stack([np.full(4, 0.5), np.linspace(0.35, 0.5, 4)])
    points[31:36] = np.column_stack([np.linspace(0.42, 0.58, 5), np.full(5, 0.55)])
    points[36:48] = 0.4
    angle = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    points[48:] = np.column_stack([0.5 + 0.12 * np.cos(angle), 0.7 + 0.05 * np.sin(angle)])
    return points * side


def inside(points: Float64, hull_of: list[int], side: int) -> Array:
    """How far inside the convex hull of some landmarks each pixel is; negative outside."""
    equations = ConvexHull(points[hull_of]).equations
    y, x = np.mgrid[:side, :side] + 0.5
    outwards = np.stack([x, y], axis=2) @ equations[:, :2].T + equations[:, 2]
    return np.asarray(-outwards.max(axis=2))


UPPER = [0, 1, 2, 31, 32, 33, 34, 35, 14, 15, 16, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17]
LOWER = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 35, 34, 33, 32, 31]
MOUTH = list(range(48, 68))


@pytest.mark.parametrize(
    ("areas", "hulls"),
    [
        (("upper",), [UPPER]),
        (("lower",), [LOWER]),
        (("mouth",), [MOUTH]),
        (("upper", "mouth"), [UPPER, MOUTH]),
        (("lower", "upper"), [UPPER + LOWER]),
        (("upper", "lower", "mouth"), [UPPER + LOWER]),
    ],
)
@pytest.mark.parametrize("side", [128, 512])
def test_areas_are_hulls(areas: tuple[mask.Area, ...], hulls: list[list[int]], side: int) -> None:
    points = face(side)
    found = mask.area_mask(points, areas, (side, side))
    depth = np.max([inside(points, hull, side) for hull in hulls], axis=0)
    sigma = 5 / 256 * side
    assert found.shape == (side, side)
    assert (found[depth < -1] == 0).mean() > 0.99  # soft on the inner side; a joint of two hulls apart
    assert found[depth > 3 * sigma].min(initial=1.0) > 0.99
    # Along straight edges it rises as 2 Phi(d / sigma) - 1.
    straight = (depth > 0) & (np.abs(np.mgrid[:side, :side][1] - side / 2) < side / 16)
    if areas == ("upper",):
        top = straight & (np.mgrid[:side, :side][0] < 0.4 * side)
        wanted = [math.erf(d / sigma / math.sqrt(2)) for d in depth[top]]
        np.testing.assert_allclose(found[top], wanted, atol=0.06)  # an eighth of a pixel


def test_no_areas_are_nothing() -> None:
    assert not mask.area_mask(face(64), (), (64, 64)).any()


@given(st.floats(0, 2 * math.pi), st.floats(0.8, 2.0))
def test_areas_turn_with_the_face(angle: float, scale: float) -> None:
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) * scale
    points = (face(1) - 0.5) @ turn * 96 + 128
    depth = inside(points, UPPER, 256)
    found = mask.area_mask(points, ["upper"], (256, 256))
    assert found[depth < -1].max(initial=0.0) < 0.05
    middle = depth == depth.max()
    assert found[middle].max() > 0.5


# Edges


def test_at_256_the_edge_is_the_familiar_one() -> None:
    # What a peer computes there with a Gaussian of five pixels.
    hard = np.zeros((256, 256), np.float32)
    hard[60:200, 80:180] = 1
    hard[100:120, 100:130] = 0.3
    blurred = cv2.GaussianBlur(hard, (0, 0), 5)
    np.testing.assert_allclose(mask.soften(hard, 256), (blurred.clip(0.5, 1) - 0.5) * 2, atol=0.005)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_edge_scales_with_the_face(scale: int) -> None:
    hard = np.zeros((128, 128), np.float32)
    hard[30:100, 40:90] = 1
    large = np.repeat(np.repeat(hard, scale, axis=0), scale, axis=1)
    small = mask.soften(hard, 128)
    found = mask.soften(large, 128 * scale).reshape(128, scale, 128, scale).mean((1, 3))
    np.testing.assert_allclose(found, small, atol=0.06)
    assert np.abs(found - small).mean() < 0.002


def test_softening_keeps_flat_masks_within_bounds() -> None:
    for value, wanted in ((0.0, 0.0), (0.5, 0.0), (0.75, 0.5), (1.0, 1.0), (3.0, 1.0), (-1.0, 0.0)):
        np.testing.assert_allclose(mask.soften(np.full((64, 48), value, np.float32), 64), wanted, atol=1e-6)


SHARES = st.floats(0, 0.3)


@given(st.sampled_from([64, 128, 200]), st.floats(0, 1), SHARES, SHARES, SHARES, SHARES)
def test_the_box(side: int, feather: float, top: float, right: float, bottom: float, left: float) -> None:
    found = mask.box(side, feather, (top, right, bottom, left))
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    border = max(side * feather / 4, 2)
    at = np.arange(side) + 0.5
    for share, distance, profile in (
        (left, at, found[side // 2]),
        (right, side - at, found[side // 2]),
        (top, at, found[:, side // 2]),
        (bottom, side - at, found[:, side // 2]),
    ):
        middle = max(share * side, border / 2)
        assert np.all(profile[distance <= middle - border / 2] == 0)
        # The border's middle is one half, and a smooth step is never steeper than 1.5 over its width.
        near = np.abs(distance - middle) < 0.5
        assert np.all(np.abs(profile[near] - 0.5) <= 0.5 * 1.5 / border + 1e-6)
        assert np.all(profile[(distance >= middle + border / 2) & (distance <= side / 2)] == 1)


def test_the_box_is_made_once_and_cannot_be_spoilt() -> None:
    one = mask.box(128, 0.5, (0.0, 0.0, 0.0, 0.0))
    assert mask.box(128, 0.5, (0.0, 0.0, 0.0, 0.0)) is one
    with pytest.raises(ValueError, match="read-only"):
        one[0, 0] = 1
    np.testing.assert_array_equal(one, one[::-1, ::-1])
    np.testing.assert_array_equal(one, one.T)
    # The rim is 0 and the border an eighth of the side: a smooth step.
    t = (np.arange(16) + 0.5) / 16
    np.testing.assert_allclose(one[64, :16], 3 * t**2 - 2 * t**3, atol=1e-6)
    assert np.all(one[16:-16, 16:-16] == 1)
