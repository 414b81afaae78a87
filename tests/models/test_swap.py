"""Swap networks as functions: channels, ranges, templates, tiles and latents, card by card.

The facts in the tables here are written from the descriptions of the networks, not from the cards.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.models import embed, landmark, swap
from mien.models.card import Card, File
from mien.models.pictures import aligned
from mien.types import Array, Float32, Identity, Portrait
from tests.models.functions import (
    Graph,
    filed,
    painted,
    painter,
    rows_of,
    running,
    tensor_of,
    unit,
    vector_map,
)

RNG = np.random.default_rng(5)
ZERO, ONE, HALF = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CODE = 1 / 255

FACTS = {
    # side, template, mean, std, whether the output is scaled back
    "alphaface_256": (256, "arcface_128", ZERO, ONE, False),
    "blendswap_256": (256, "ffhq_512", ZERO, ONE, False),
    "ghost_1_256": (256, "arcface_112_v1", HALF, HALF, True),
    "ghost_2_256": (256, "arcface_112_v1", HALF, HALF, True),
    "ghost_3_256": (256, "arcface_112_v1", HALF, HALF, True),
    "hififace_unofficial_256": (256, "mtcnn_512", HALF, HALF, True),
    "hyperswap_1a_256": (256, "arcface_128", HALF, HALF, True),
    "hyperswap_1b_256": (256, "arcface_128", HALF, HALF, True),
    "hyperswap_1c_256": (256, "arcface_128", HALF, HALF, True),
    "inswapper_128": (128, "arcface_128", ZERO, ONE, False),
    "inswapper_128_fp16": (128, "arcface_128", ZERO, ONE, False),
    "simswap_256": (256, "arcface_112_v1", *IMAGENET, False),
    "simswap_unofficial_512": (512, "arcface_112_v1", ZERO, ONE, False),
    "uniface_256": (256, "ffhq_512", HALF, HALF, True),
}

# How the vector of an identity is made: as ArcFace gives it, of length 1, or by which converter.
VECTORS = {
    "alphaface_256": "raw",
    "ghost_1_256": "crossface_ghost raw",
    "ghost_2_256": "crossface_ghost raw",
    "ghost_3_256": "crossface_ghost raw",
    "hififace_unofficial_256": "crossface_hififace unit",
    "hyperswap_1a_256": "unit",
    "hyperswap_1b_256": "unit",
    "hyperswap_1c_256": "unit",
    "inswapper_128": "projected",
    "inswapper_128_fp16": "projected",
    "simswap_256": "crossface_simswap unit",
    "simswap_unofficial_512": "crossface_simswap unit",
}

TEMPLATES = {
    "arcface_112_v1": (
        (0.35473214, 0.45658929),
        (0.64526786, 0.45658929),
        (0.50000000, 0.61154464),
        (0.37913393, 0.77687500),
        (0.62086607, 0.77687500),
    ),
    "arcface_112_v2": (
        (0.34191607, 0.46157411),
        (0.65653393, 0.45983393),
        (0.50022500, 0.64050536),
        (0.37097589, 0.82469196),
        (0.63151696, 0.82325089),
    ),
    "arcface_128": (
        (0.36167656, 0.40387734),
        (0.63696719, 0.40235469),
        (0.50019687, 0.56044219),
        (0.38710391, 0.72160547),
        (0.61507734, 0.72034453),
    ),
    "ffhq_512": (
        (0.37691676, 0.46864664),
        (0.62285697, 0.46912813),
        (0.50123859, 0.61331904),
        (0.39308822, 0.72541100),
        (0.61150205, 0.72490465),
    ),
    "mtcnn_512": (
        (0.36562865, 0.46733799),
        (0.63305391, 0.46585885),
        (0.50019127, 0.61942959),
        (0.39032951, 0.77598822),
        (0.61178945, 0.77476328),
    ),
}


def card_of(name: str) -> Card:
    return next(card for card in swap.CARDS if card.name == name)


def stand_in(card: Card, folder: Path, entry: tuple[int, ...]) -> Card:
    """The card with a painter as its file, which adds 0.05 of the source's first value to every sample."""
    side = FACTS[card.name][0]
    g, picture = painter(side)
    source = g.input("source", (1, *entry))
    flat = g.op("Reshape", source, g.constant([1, -1], np.int64))
    first = g.op(
        "Slice", flat, g.constant([0], np.int64), g.constant([1], np.int64), g.constant([1], np.int64)
    )
    first = g.op("Reshape", g.op("Mul", first, g.constant(0.05)), g.constant([1, 1, 1, 1], np.int64))
    picture = g.op("Add", picture, first)
    g.output("made", picture, (1, 3, side, side))
    if card.name.startswith("hyperswap"):
        target = g.op("ReduceMean", "target", axes=[1], keepdims=1)
        g.output("where", g.op("Abs", target), (1, 1, side, side))
    g.model(folder / "models" / f"{card.name}.onnx")
    return filed(card, folder / f"{card.name}.onnx")


def expected(name: str, crops: Array, first: Array) -> Array:
    """What the stand-in makes of crops of the network's own side."""
    _, _, mean, std, scaled_back = FACTS[name]
    result = painted(tensor_of(crops, mean, std)) + 0.05 * first[:, None, None, None]
    pictures = np.moveaxis(result, 1, 3)
    return np.clip(pictures * std + mean if scaled_back else pictures, 0, 1)


def test_every_published_network_has_a_card_and_a_fact() -> None:
    assert {card.name for card in swap.CARDS} == set(FACTS)
    assert len({card.name for card in swap.CARDS}) == len(swap.CARDS)
    assert all(card.task == "swap" for card in swap.CARDS)


@pytest.mark.parametrize(("name", "facts"), rows_of(FACTS))
def test_channels_ranges_and_tiles(name: str, facts: tuple[int, ...], tmp_path: Path) -> None:
    side = facts[0]
    pictured = name.startswith(("blendswap", "uniface"))
    source_side = 112 if name.startswith("blendswap") else 256
    entry = (3, source_side, source_side) if pictured else (512,)
    card = stand_in(card_of(name), tmp_path, entry)
    latents = RNG.uniform(0, 1, (2, *entry)).astype(np.float32)
    first = latents.reshape(2, -1)[:, 0].astype(np.float64)
    with running(tmp_path, [card]) as runtime:
        conditions = swap.condition(runtime, card, latents)
        crops = RNG.random((2, side, side, 3), np.float32)
        faces, mask = swap.run(runtime, card, conditions, crops)
        assert faces.dtype == np.float32
        assert faces.shape == crops.shape
        np.testing.assert_allclose(faces, expected(name, crops, first), atol=CODE / 4)
        assert (mask is not None) == name.startswith("hyperswap")
        if mask is not None:
            signed = (crops.astype(np.float64).mean(axis=3) - 0.5) / 0.5
            np.testing.assert_allclose(mask, np.abs(signed), atol=CODE / 4)
        large = RNG.random((2, 2 * side, 2 * side, 3), np.float32)
        faces, mask = swap.run(runtime, card, conditions, large)
        for i in range(2):
            for j in range(2):
                wanted = expected(name, large[:, i::2, j::2], first)
                np.testing.assert_allclose(faces[:, i::2, j::2], wanted, atol=CODE / 4)
        assert mask is None or mask.shape == large.shape[:3]


def test_outputs_with_names_may_come_in_any_order(tmp_path: Path) -> None:
    g = Graph()
    g.input("source", (1, 512))
    picture = g.op("Add", g.input("target", (1, 3, 256, 256)), _nothing(g))
    g.output("where", g.op("Abs", g.op("ReduceMean", picture, axes=[1], keepdims=1)), (1, 1, 256, 256))
    g.output("made", picture, (1, 3, 256, 256))
    g.model(tmp_path / "models" / "turned.onnx")
    card = filed(card_of("hyperswap_1a_256"), tmp_path / "turned.onnx")
    made, where = card.outputs
    card = replace(card, outputs=(replace(made, name="made"), replace(where, name="where")))
    crops = RNG.random((1, 256, 256, 3), np.float32)
    with running(tmp_path, [card]) as runtime:
        conditions = swap.condition(runtime, card, np.ones((1, 512), np.float32))
        faces, mask = swap.run(runtime, card, conditions, crops)
    np.testing.assert_allclose(faces, crops, atol=1e-6)
    assert mask is not None
    np.testing.assert_allclose(mask, np.abs(2 * crops.mean(axis=3) - 1), atol=1e-5)


@pytest.mark.parametrize("times", [1, 3, 8])
def test_a_network_that_changes_nothing_gives_every_pixel_back(times: int, tmp_path: Path) -> None:
    g = Graph()
    g.input("source", (1, 512))
    g.output("made", g.op("Add", g.input("target", (1, 3, 128, 128)), _nothing(g)), (1, 3, 128, 128))
    g.model(tmp_path / "models" / "nothing.onnx")
    card = filed(card_of("inswapper_128"), tmp_path / "nothing.onnx")
    crops = RNG.random((2, 128 * times, 128 * times, 3), np.float32)
    with running(tmp_path, [card]) as runtime:
        conditions = swap.condition(runtime, card, np.ones((2, 512), np.float32))
        faces, _ = swap.run(runtime, card, conditions, crops)
    np.testing.assert_allclose(faces, crops, atol=1e-6)


def _nothing(g: Graph) -> str:
    """Zero, made of the source."""
    return g.op("Mul", g.op("ReduceMean", "source", axes=[0, 1], keepdims=0), g.constant(0.0))


def test_crops_of_other_sides_are_refused(tmp_path: Path) -> None:
    assert swap.sides(card_of("inswapper_128")) == (128, 256, 384, 512, 640, 768, 896, 1024)
    assert swap.sides(card_of("hyperswap_1a_256")) == (256, 512, 768, 1024)
    assert swap.sides(card_of("simswap_unofficial_512")) == (512, 1024)
    with running(tmp_path) as runtime:
        for shape in ((1, 384, 384, 3), (1, 256, 512, 3), (1, 1280, 1280, 3)):
            with pytest.raises(ValueError, match="expected crops of a side of 256, 512, 768, 1024"):
                swap.run(
                    runtime,
                    card_of("ghost_1_256"),
                    {"source": np.zeros((1, 512))},
                    np.zeros(shape, np.float32),
                )
        crops = np.zeros((2, 256, 256, 3), np.float32)
        with pytest.raises(ValueError, match="source: expected 2 rows, one a crop, got 1"):
            swap.run(runtime, card_of("ghost_1_256"), {"source": np.zeros((1, 512))}, crops)


@pytest.mark.parametrize(("name", "facts"), rows_of(FACTS))
def test_templates_place_the_five_points(name: str, facts: tuple[int, str]) -> None:
    side, template = facts[0], np.array(TEMPLATES[facts[1]])
    c, s = math.cos(0.4), math.sin(0.4)
    shown = template @ np.array([[c, s], [-s, c]]) * 300 + (70, 40)
    matrix = aligned(shown, card_of(name).template, side)
    np.testing.assert_allclose(shown @ matrix[:, :2].T + matrix[:, 2], template * side, atol=1e-6)


# Latents


def embedded(vector: Array) -> Identity:
    return Identity("somebody", (), {"arcface_w600k_r50": np.asarray(vector, np.float32)})


def converters(folder: Path) -> tuple[list[Card], dict[str, tuple[Array, Array]]]:
    """Three converters with maps of their own."""
    cards, maps = [], {}
    for k, card in enumerate(card for card in embed.CARDS if card.task == "convert"):
        path, matrix, shift = vector_map(folder / "models" / f"{card.name}.onnx", 512, 512, k)
        cards.append(filed(card, path))
        maps[card.name] = (matrix.astype(np.float64), shift.astype(np.float64))
    assert sorted(maps) == ["crossface_ghost", "crossface_hififace", "crossface_simswap"]
    return cards, maps


def with_matrix(card: Card, folder: Path) -> tuple[Card, Array]:
    """The card with a file whose last initializer is a matrix."""
    matrix = RNG.normal(size=(512, 512)).astype(np.float32)
    g = Graph()
    source = g.op("ReduceMean", g.input("source", (1, 512)), axes=[1], keepdims=1)
    scaled = g.op("Mul", source, g.constant(1.0))
    pixel = g.op("Reshape", scaled, g.constant([1, 1, 1, 1], np.int64))
    g.output("made", g.op("Add", g.input("target", (1, 3, 128, 128)), pixel), (1, 3, 128, 128))
    g.constant(matrix)
    g.model(folder / "models" / f"{card.name}.onnx")
    return filed(card, folder / f"{card.name}.onnx"), matrix.astype(np.float64)


def wanted(how: str, vector: Array, maps: dict[str, tuple[Array, Array]], matrix: Array | None) -> Array:
    """The latent by its formula."""
    if how == "projected":
        assert matrix is not None
        return np.asarray((vector @ matrix) / np.sqrt((vector**2).sum()))
    if how.startswith("crossface"):
        converter, scale = how.split()
        m, b = maps[converter]
        vector = np.tanh(vector / 8) @ m + b
        return vector if scale == "raw" else unit(vector)
    return vector if how == "raw" else unit(vector)


@pytest.mark.parametrize(("name", "how"), rows_of(VECTORS))
def test_latents_of_both_people_lie_in_the_swappers_own_space(name: str, how: str, tmp_path: Path) -> None:
    if how == "projected":
        pytest.importorskip("mien.models.mend")
    cards, maps = converters(tmp_path)
    card, matrix = with_matrix(card_of(name), tmp_path) if how == "projected" else (card_of(name), None)
    one, two = RNG.normal(size=512) * 22 / math.sqrt(512), RNG.normal(size=512) * 18 / math.sqrt(512)
    with running(tmp_path, [*cards, card]) as runtime:
        source = swap.latent(runtime, card, embedded(one))
        target = swap.target_latent(runtime, card, two.astype(np.float32))
    assert source.dtype == np.float32
    assert source.shape == target.shape == (1, 512)
    s, t = wanted(how, one, maps, matrix), wanted(how, two, maps, matrix)
    np.testing.assert_allclose(source[0], s, atol=2e-5 * np.abs(s).max())
    np.testing.assert_allclose(target[0], t, atol=2e-5 * np.abs(t).max())
    assert how.endswith(("raw", "projected")) or math.isclose(float((source**2).sum()), 1, rel_tol=1e-5)
    # Half-way between both, as long as the source.
    middle = swap.mixed(card, source, target, 0.5)[0]
    half = (s + t) / 2
    np.testing.assert_allclose(middle, unit(half) * np.sqrt((s**2).sum()), atol=1e-4 * np.abs(s).max())


def test_an_identity_without_the_vector_is_refused(tmp_path: Path) -> None:
    nobody = Identity("nobody", (), {"face-reidentification-retail-0095": np.ones(256, np.float32)})
    with running(tmp_path) as runtime:
        with pytest.raises(ValueError, match="nobody: expected an embedding by arcface_w600k_r50"):
            swap.latent(runtime, card_of("hyperswap_1a_256"), nobody)
        with pytest.raises(ValueError, match="nobody: expected a portrait"):
            swap.latent(runtime, card_of("uniface_256"), nobody)
        with pytest.raises(ValueError, match="it takes a picture"):
            swap.target_latent(runtime, card_of("uniface_256"), np.ones(512, np.float32))


VALUES = arrays(np.float32, (1, 8), elements=st.floats(-10, 10, width=32))


@given(VALUES, VALUES, st.floats(0, 1.5))
def test_mixing_moves_on_the_line_and_keeps_the_length(s: Float32, t: Float32, strength: float) -> None:
    card = card_of("ghost_1_256")
    mixed = swap.mixed(card, s, t, strength)
    assert np.array_equal(swap.mixed(card, s, t, 1.0), s)
    between = t.astype(np.float64) * (1 - strength) + s.astype(np.float64) * strength
    if np.linalg.norm(between) > 1e-3 and np.linalg.norm(s) > 1e-3:
        assert math.isclose(np.linalg.norm(mixed), np.linalg.norm(s), rel_tol=1e-4)
        np.testing.assert_allclose(unit(mixed), unit(between), atol=1e-4)


def test_opposed_vectors_have_no_middle() -> None:
    s = np.array([[3.0, -4.0]], np.float32)
    np.testing.assert_array_equal(swap.mixed(card_of("ghost_1_256"), s, -s, 0.5), s)
    with pytest.raises(ValueError, match="can be mixed"):
        swap.mixed(card_of("blendswap_256"), s, s, 0.5)
    with pytest.raises(ValueError, match="can be mixed"):
        swap.mixed(card_of("ghost_1_256"), s, s[:, :1], 0.5)


# Pictures as identities


def portrait(width: int, height: int, points: Array) -> Portrait:
    """A picture whose red rises to the right and whose green rises downwards, with these five points."""
    y, x = np.mgrid[:height, :width] + 0.5
    rgb = np.stack([x / width, y / height, np.full_like(x, 0.25)], axis=2).astype(np.float32)
    dense = np.zeros((468, 3))
    # The eyes are the means of their contours, the others single landmarks.
    dense[landmark.RIGHT_EYE, :2], dense[landmark.LEFT_EYE, :2] = points[0], points[1]
    dense[1, :2], dense[61, :2], dense[291, :2] = points[2], points[3], points[4]
    return Portrait(rgb, dense)


@pytest.mark.parametrize(
    ("name", "side", "template"), [("blendswap_256", 112, "arcface_112_v2"), ("uniface_256", 256, "ffhq_512")]
)
def test_pictures_are_cut_by_their_own_landmarks(name: str, side: int, template: str, tmp_path: Path) -> None:
    places = np.array(TEMPLATES[template])
    c, s = 0.9 * math.cos(0.2), 0.9 * math.sin(0.2)
    turn = np.array([[c, s], [-s, c]])
    first = portrait(400, 300, places @ turn * 240 + (110, 20))
    other = portrait(300, 300, places * 150 + (20, 20))
    with running(tmp_path) as runtime:
        found = swap.latent(runtime, card_of(name), Identity("two", (first, other)))
    assert found.dtype == np.float32
    assert found.shape == (1, 3, side, side)
    y, x = np.mgrid[:side, :side] + 0.5
    seen = np.stack([x, y], axis=2) / side @ turn * 240 + (110, 20)
    ramps = [seen[..., 0] / 400, seen[..., 1] / 300, np.full((side, side), 0.25)]
    inner = np.s_[2:-2, 2:-2]
    for channel, ramp in zip(found[0], ramps, strict=True):
        np.testing.assert_allclose(channel[inner], np.clip(ramp, 0, 1)[inner], atol=CODE / 2)


def test_networks_of_one_person_take_no_identity(tmp_path: Path) -> None:
    card = replace(card_of("hyperswap_1a_256"), latent=None, files=(File("nothing.onnx"),))
    assert swap.sides(card) == (256,)
    with running(tmp_path) as runtime, pytest.raises(ValueError, match="takes an identity"):
        swap.latent(runtime, card, embedded(np.ones(512)))


def test_no_faces_give_no_faces(tmp_path: Path) -> None:
    card = stand_in(card_of("hyperswap_1a_256"), tmp_path, (512,))
    with running(tmp_path, [card]) as runtime:
        crops = np.zeros((0, 512, 512, 3), np.float32)
        faces, mask = swap.run(runtime, card, {"source": np.zeros((0, 512), np.float32)}, crops)
    assert faces.shape == (0, 512, 512, 3)
    assert mask is not None
    assert mask.shape == (0, 512, 512)
