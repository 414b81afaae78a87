"""`.dfm` files: made-up networks with the inputs and outputs that DeepFaceLab exports."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.errors import ModelError
from mien.images import geometry
from mien.models import deepface, swap
from mien.types import Array
from tests.models.functions import Graph, running

RNG = np.random.default_rng(14)
CODE = 1 / 255


def dfm(path: Path, side: int = 224, *, morph: bool = False, faces: str = "out_celeb_face:0") -> Path:
    """A network that gives half of what it sees plus the morph value's tenth, and two masks of it."""
    g = Graph()
    x = g.input("in_face:0", ("N", side, side, 3))
    face = g.op("Mul", x, g.constant(0.5))
    if morph:
        face = g.op("Add", face, g.op("Mul", g.input("morph_value:0", (1,)), g.constant(0.1)))
    picked = [g.op("Gather", x, g.constant([k], np.int64), axis=3) for k in (0, 2)]
    g.output("out_face_mask:0", picked[0], ("N", side, side, 1))
    g.output(faces, face, ("N", side, side, 3))
    g.output("out_celeb_face_mask:0", picked[1], ("N", side, side, 1))
    return g.model(path)


def sharpened(crops: Array) -> Array:
    """What the network sees: 1.75 I - 0.75 G(I) with a Gaussian of two pixels, cut off at 0 and 1."""
    soft = np.stack([cv2.GaussianBlur(crop, (13, 13), 2, borderType=cv2.BORDER_REPLICATE) for crop in crops])
    return np.clip(1.75 * crops - 0.75 * soft, 0, 1)


@pytest.mark.parametrize("side", [128, 224, 320])
def test_the_card_is_read_from_the_file(side: int, tmp_path: Path) -> None:
    path = dfm(tmp_path / "elsewhere" / "anna.dfm", side)
    card = deepface.card(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.name == f"anna-{digest[:8]}"
    assert (card.task, card.family, card.template) == ("swap", "deepface", "dfl_whole_face")
    assert (card.network.sha256, card.network.bytes) == (digest, path.stat().st_size)
    assert card.pixels is not None
    assert (card.pixels.side, card.pixels.order, card.pixels.layout) == (side, "BGR", "NHWC")
    assert swap.sides(card) == (side,)
    places = [(0.3534, 0.3929), (0.6280, 0.3929), (0.4866, 0.5402), (0.3884, 0.6875), (0.5982, 0.6875)]
    np.testing.assert_allclose(geometry.template(card.template), np.array(places), atol=5e-5)


@pytest.mark.parametrize("morph", [False, True])
def test_channels_ranges_and_morph(morph: bool, tmp_path: Path) -> None:
    card = deepface.card(dfm(tmp_path / "anna.dfm", morph=morph))
    crops = RNG.uniform(0.2, 0.8, (3, 224, 224, 3)).astype(np.float32)
    with running(tmp_path / "home") as runtime:  # the file stays where it is
        faces, masks = deepface.run(runtime, card, crops, 0.5)
    assert faces.dtype == masks.dtype == np.float32
    seen = sharpened(crops)
    np.testing.assert_allclose(faces, seen * 0.5 + (0.05 if morph else 0), atol=CODE / 2)
    assert not list((tmp_path / "home").rglob("*.dfm"))
    # Masks are of blue and red: the least, in a neighbourhood, of both.
    least = np.minimum(seen[..., 0], seen[..., 2])
    assert masks.shape == least.shape
    cross = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    for found, one in zip(masks, least, strict=True):
        wanted = cv2.GaussianBlur(cv2.erode(one, cross, iterations=2), (0, 0), 6.25)
        np.testing.assert_allclose(found[20:-20, 20:-20], wanted[20:-20, 20:-20], atol=0.01)


def test_at_224_the_edge_is_the_familiar_one_and_it_scales() -> None:
    hard = np.zeros((224, 224), np.float32)
    hard[40:170, 60:150] = 1
    cross = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    wanted = cv2.GaussianBlur(cv2.erode(hard, cross, iterations=2), (0, 0), 6.25)
    found = deepface.edge(hard)
    np.testing.assert_allclose(found, wanted, atol=0.02)
    large = deepface.edge(np.repeat(np.repeat(hard, 2, axis=0), 2, axis=1))
    np.testing.assert_allclose(large.reshape(224, 2, 224, 2).mean((1, 3)), found, atol=0.02)


def test_crops_of_another_side_are_refused(tmp_path: Path) -> None:
    card = deepface.card(dfm(tmp_path / "anna.dfm"))
    with running(tmp_path) as runtime, pytest.raises(ValueError, match="expected crops of 224 pixels"):
        deepface.run(runtime, card, np.zeros((1, 256, 256, 3), np.float32), 0.0)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone.dfm: does not exist"):
        deepface.card(tmp_path / "gone.dfm")
    broken = tmp_path / "broken.dfm"
    broken.write_bytes(b"no network at all" * 100)
    with pytest.raises(ModelError, match=r"broken.dfm"):
        deepface.card(broken)
    with pytest.raises(ModelError, match="its outputs are out_face_mask:0, out_face:0"):
        deepface.card(dfm(tmp_path / "other.dfm", faces="out_face:0"))
    g = Graph()
    g.output("out", g.input("in_face:0", (1, 224, 200, 3)), (1, 224, 200, 3))
    with pytest.raises(ModelError, match="its input in_face:0 is 224 by 200"):
        deepface.card(g.model(tmp_path / "oblong.dfm"))
    g = Graph()
    g.output("out", g.input("input", (1, 3, 8, 8)), (1, 3, 8, 8))
    with pytest.raises(ModelError, match="it has no input in_face:0"):
        deepface.card(g.model(tmp_path / "plain.dfm"))
