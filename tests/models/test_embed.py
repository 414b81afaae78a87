"""Embedders by formula and, with two real small networks, on real people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset13 as ops

from mien.images import cpu, geometry
from mien.media import clip as clips
from mien.media import decode
from mien.models import detect, embed, landmark
from mien.models.card import Card, File, Pixels, Tensor
from mien.models.catalogue import Catalogue
from mien.models.pictures import aligned
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Detect
from mien.types import Array, Float32, Frame, Portrait
from tests.models import networks
from tests.models.functions import Graph, filed, running, unit
from tests.models.recall import load

RNG = np.random.default_rng(11)
NAMES = ("arcface_w600k_r50", "face-reidentification-retail-0095")
RETAIL = "face-reidentification-retail-0095_fp16w.onnx"
MOBILE = "mobilefacenet_foamliu_raw.onnx"


def card_of(name: str) -> Card:
    return next(card for card in embed.CARDS if card.name == name)


# Formulas


def test_arcface_sees_its_channels_and_ranges(tmp_path: Path) -> None:
    # The network gives the mean of each channel, and of each quarter of the first.
    g = Graph()
    x = g.input("input", (1, 3, 112, 112))
    whole = g.op("Reshape", g.op("ReduceMean", x, axes=[2, 3], keepdims=0), g.constant([1, 3], np.int64))
    pooled = g.op("AveragePool", x, kernel_shape=[56, 56], strides=[56, 56])
    quarters = g.op("Reshape", pooled, g.constant([1, 12], np.int64))
    rest = g.constant(np.zeros((1, 497)))
    g.output("output", g.op("Concat", whole, quarters, rest, axis=1), (1, 512))
    path = g.model(tmp_path / "models" / "means.onnx")
    card = filed(card_of("arcface_w600k_r50"), path)
    crops = RNG.random((3, 112, 112, 3), np.float32)
    with running(tmp_path, [card]) as runtime:
        found = embed.embed(runtime, card, crops)
    scaled = crops.astype(np.float64) * 255 / 127.5 - 1
    assert found.shape == (3, 512)
    np.testing.assert_allclose(found[:, :3], scaled.mean((1, 2)), atol=1e-5)
    for k, (rows, columns) in enumerate(((0, 0), (0, 56), (56, 0), (56, 56))):
        part = scaled[:, rows : rows + 56, columns : columns + 56]
        np.testing.assert_allclose(found[:, 3 + k], part.mean((1, 2))[:, 0], atol=1e-5)


def test_the_small_one_sees_codes_in_the_other_order_as_its_publishers_files(tmp_path: Path) -> None:
    # OpenVINO's own format in two files, with the published shapes.
    x = ops.parameter([1, 3, 128, 128], np.float32, name="0")
    means = ops.reduce_mean(x, np.array([2, 3]), keep_dims=True)
    tiled = ops.tile(means, np.array([1, 86, 1, 1]))
    picked = ops.slice(tiled, np.array([0]), np.array([256]), np.array([1]), np.array([1]))
    card = card_of("face-reidentification-retail-0095")
    (tmp_path / "models").mkdir()
    ov.save_model(ov.Model([picked], [x], "means"), tmp_path / "models" / card.network.name, False)
    assert [file.name for file in card.files] == [f"{card.name}.xml", f"{card.name}.bin"]
    card = replace(card, files=tuple(File(file.name) for file in card.files))
    crops = RNG.random((2, 128, 128, 3), np.float32)
    with running(tmp_path, [card]) as runtime:
        found = embed.embed(runtime, card, crops)
    assert found.shape == (2, 256)
    np.testing.assert_allclose(found[:, :3], crops.mean((1, 2))[:, ::-1] * 255, rtol=1e-4)


def test_templates() -> None:
    # Open Model Zoo's own page, and ArcFace's usual places of 112 pixels.
    zoo = [(0.3156, 0.4616), (0.6826, 0.4616), (0.5003, 0.6405), (0.3495, 0.8247), (0.6534, 0.8247)]
    np.testing.assert_allclose(geometry.template(card_of(NAMES[1]).template), np.array(zoo), atol=5e-5)
    arc = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
    np.testing.assert_allclose(geometry.template(card_of(NAMES[0]).template, 112), arc, atol=1e-3)


@given(st.integers(0, 10_000), st.integers(3, 9), st.integers(0, 8))
def test_the_mean_of_one_person_is_scaled_and_without_order(seed: int, count: int, turn: int) -> None:
    rng = np.random.default_rng(seed)
    person = rng.normal(size=64)
    lengths = rng.uniform(15, 25, count)
    views = unit(unit(person) + rng.normal(size=(count, 64)) * 0.02) * lengths[:, None]
    found = embed.mean(views.astype(np.float32))
    np.testing.assert_allclose(
        embed.mean(np.roll(views, turn, 0).astype(np.float32)), found, rtol=1e-4, atol=1e-4
    )
    assert lengths.min() * 0.999 <= np.linalg.norm(found) <= lengths.max() * 1.001
    assert unit(found) @ unit(person) > 0.98
    # Views that are all alike all count.
    np.testing.assert_allclose(unit(found), unit(unit(views).mean(0)), atol=0.01)


@given(st.integers(0, 10_000), st.integers(4, 9))
def test_strangers_among_the_views_do_not_count(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    person = unit(rng.normal(size=256))
    views = unit(person + rng.normal(size=(count, 256)) * 0.02) * 20
    stranger = unit(rng.normal(size=(1, 256))) * 31
    with_stranger = embed.mean(np.concatenate([views, stranger]).astype(np.float32))
    np.testing.assert_allclose(with_stranger, embed.mean(views.astype(np.float32)), atol=0.02 * 20)
    assert math.isclose(float(np.linalg.norm(with_stranger)), 20, rel_tol=1e-3)


def test_one_or_two_views_are_all_there_is() -> None:
    one = np.array([[3.0, 4.0, 0.0]], np.float32)
    np.testing.assert_allclose(embed.mean(one), one[0], rtol=1e-6)
    two = np.array([[2.0, 0.0], [0.0, 4.0]], np.float32)
    np.testing.assert_allclose(embed.mean(two), np.full(2, 3 / math.sqrt(2)), rtol=1e-6)
    with pytest.raises(ValueError, match="N >= 1"):
        embed.mean(np.zeros((0, 5), np.float32))


def test_cosines() -> None:
    a, b = np.array([[2.0, 0.0], [1.0, 1.0]], np.float32), np.array([[0.0, 5.0], [-3.0, 0.0]], np.float32)
    wanted = np.array([[0, -1], [math.sqrt(0.5), -math.sqrt(0.5)]])
    np.testing.assert_allclose(embed.cosine(a, b), wanted, atol=1e-6)


def test_the_best_is_the_one_that_swappers_take() -> None:
    known = Catalogue()
    for installed, wanted in ((NAMES, NAMES[0]), (NAMES[1:], NAMES[1]), ((), None)):
        found = embed.best(known, lambda card, names=installed: card.name in names)  # type: ignore[misc]
        assert (None if found is None else found.name) == wanted
    mine = replace(card_of(NAMES[1]), notes="another file")
    assert embed.best(known.with_cards([mine]), lambda card: card.name == NAMES[1]) == mine


# Real networks


def user_cards() -> tuple[Card, Card]:
    """Two real networks, as a user would write their cards."""
    zoo = replace(
        card_of(NAMES[1]),
        name="small_retail",
        files=(File(RETAIL),),
        inputs=(Tensor("input", (3, 128, 128)),),
        outputs=(Tensor("output", (256,)),),
    )
    mobile = Card(
        name="small_mobilefacenet",
        task="embed",
        files=(File(MOBILE),),
        licence="Apache-2.0",
        inputs=(Tensor("input0", (3, 112, 112)),),
        outputs=(Tensor("output0", (128,)),),
        pixels=Pixels(112, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        template="arcface_112_v2",
        tolerance=0.0,
        engine="openvino",
    )
    return zoo, mobile


@pytest.fixture(scope="module")
def known(store: Store, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with networks.real(store, shared, tmp_path_factory.mktemp("home"), user_cards()) as runtime:
        yield runtime


@dataclass(frozen=True)
class Seen:
    """Faces of one person."""

    crops: list[tuple[Frame, Array]]
    """Frames with the five points of the face in them."""


def pictured(runtime: Runtime, path: Path) -> Seen:
    """The largest face of a picture."""
    frame = load(path)
    faces = detect.find(runtime, frame, Detect(min_size=40.0))
    return Seen([(frame, faces.points[int(np.argmax(faces.box[:, 3] - faces.box[:, 1]))])])


def filmed(runtime: Runtime, path: Path, at: tuple[int, ...]) -> Seen:
    """The largest face of a few frames of a clip."""
    clip = clips.probe(path)
    found = []
    for start in at:
        for frame in decode.frames(clip, clips.index(clip), start, start + 1, writable=False):
            faces = detect.find(runtime, frame, Detect(min_size=40.0))
            largest = int(np.argmax(faces.box[:, 3] - faces.box[:, 1]))
            found.append((frame, faces.points[largest]))
    return Seen(found)


def vectors(runtime: Runtime, card: Card, seen: Seen) -> Float32:
    """(N, D) by a network."""
    assert card.pixels is not None
    side = card.pixels.side
    crops = [cpu.crop(f, aligned(p, card.template, side), (side, side)) for f, p in seen.crops]
    return embed.embed(runtime, card, np.clip(np.stack(crops), np.float32(0), np.float32(1)))


@pytest.fixture(scope="module")
def people(known: Runtime, shared: Path) -> list[Seen]:
    """Nine people; of the first two a picture and two parts of a clip."""
    media = shared / "media"
    clip = media / "pd_x10_720p25.mp4"
    first, last = filmed(known, clip, (5, 40)), filmed(known, clip, (120, 145))
    return [
        Seen(pictured(known, media / "pd01_astronaut.png").crops + first.crops),
        Seen(pictured(known, media / "pd02_grace_hopper.jpg").crops + last.crops),
        filmed(known, media / "v05_vertical_1080x1920_hevc_woman_talk.mp4", (0, 60, 120, 240)),
        filmed(known, media / "v06_vertical_1080x1920_hevc_bearded_man_talk_20s.mp4", (0, 120, 300, 480)),
        filmed(known, media / "v07_glasses_frontal_480p30.mp4", (0, 80, 160, 240)),
        filmed(known, media / "v20_head_pose_1080p30_aac.mp4", (0, 150, 300, 450)),
        *(
            pictured(known, media / name)
            for name in ("pd21_painting_s9.jpg", "pd23_painting_s3.jpg", "pd24_painting_s4.jpg")
        ),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("card", user_cards(), ids=lambda card: card.name)
def test_real_networks_tell_people_apart(card: Card, known: Runtime, people: list[Seen]) -> None:
    found = [vectors(known, known.catalogue.card(card.name), seen) for seen in people]
    same = [embed.cosine(one, one)[np.triu_indices(len(one), 1)] for one in found if len(one) > 1]
    other = [embed.cosine(one, two).ravel() for k, one in enumerate(found) for two in found[k + 1 :]]
    alike, apart = np.concatenate(same), np.concatenate(other)
    assert len(alike) > 20
    assert alike.min() > 0.65
    assert apart.max() < 0.35 < card_of(NAMES[1]).same
    # Means of half of the views find the other half among everybody.
    halves = [(embed.mean(one[::2]), embed.mean(one[1::2])) for one in found if len(one) > 3]
    table = embed.cosine(np.stack([h[0] for h in halves]), np.stack([h[1] for h in halves]))
    assert (table.argmax(axis=1) == np.arange(len(halves))).all()


def test_a_portrait_is_described_as_the_picture_it_was_cut_from(known: Runtime, shared: Path) -> None:
    frame = load(shared / "media" / "pd01_astronaut.png")
    faces = detect.find(known, frame, Detect(min_size=40.0))
    assert faces.dense is not None
    largest = int(np.argmax(faces.box[:, 3] - faces.box[:, 1]))
    left, top = 100, 20  # the portrait is a part of the picture
    rgb = frame.planes[0][top:300, left:400].astype(np.float32) / np.float32(255)
    portrait = Portrait(rgb, faces.dense[largest] - (left, top, 0))
    for card in user_cards():
        used = known.catalogue.card(card.name)
        found = embed.describe(known, used, [portrait])
        seen = vectors(known, used, Seen([(frame, landmark.five(faces.dense[[largest]])[0])]))
        assert embed.cosine(found[None], seen)[0, 0] > 0.999
        assert math.isclose(np.linalg.norm(found), np.linalg.norm(seen), rel_tol=0.01)
    with pytest.raises(ValueError, match="at least one, got 0"):
        embed.describe(known, used, [])
