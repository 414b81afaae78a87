"""Enhancers as functions: channels, ranges, templates and fidelity, card by card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mien.images import geometry
from mien.models import enhance
from mien.models.card import Card
from mien.models.pictures import aligned
from tests.models.functions import filed, painted, painter, rows_of, running, tensor_of

RNG = np.random.default_rng(8)
HALF = (0.5, 0.5, 0.5)
CODE = 1 / 255

FACTS = {
    # side, template
    "codeformer": (512, "ffhq_512"),
    "gfpgan_1.2": (512, "ffhq_512"),
    "gfpgan_1.3": (512, "ffhq_512"),
    "gfpgan_1.4": (512, "ffhq_512"),
    "gpen_bfr_256": (256, "arcface_128"),
    "gpen_bfr_512": (512, "ffhq_512"),
    "gpen_bfr_1024": (1024, "ffhq_512"),
    "gpen_bfr_2048": (2048, "ffhq_512"),
    "restoreformer_plus_plus": (512, "ffhq_512"),
}


def card_of(name: str) -> Card:
    return next(card for card in enhance.CARDS if card.name == name)


def stand_in(name: str, folder: Path, *, weighed: bool = False) -> Card:
    """The card with a painter as its file, which may add a tenth of an input called `weight`."""
    side = FACTS[name][0]
    g, picture = painter(side, name="input")
    if weighed:
        weight = g.op("Cast", g.input("weight", (1,), onnx.TensorProto.DOUBLE), to=onnx.TensorProto.FLOAT)
        picture = g.op("Add", picture, g.op("Mul", weight, g.constant(0.1)))
    g.output("restored", picture, (1, 3, side, side))
    return filed(card_of(name), g.model(folder / "models" / f"{name}.onnx"))


def test_every_published_network_has_a_card_and_a_fact() -> None:
    assert [card.name for card in enhance.CARDS] == list(FACTS)
    assert all(card.task == "enhance" for card in enhance.CARDS)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        pytest.param(name, row, id=name, marks=[pytest.mark.slow] if row[0] > 1024 else [])
        for name, row in FACTS.items()
    ],
)
def test_channels_and_ranges(name: str, facts: tuple[int, str], tmp_path: Path) -> None:
    side = facts[0]
    count = 2 if side <= 512 else 1
    card = stand_in(name, tmp_path)
    crops = RNG.random((count, side, side, 3), np.float32)
    with running(tmp_path, [card]) as runtime:
        found = enhance.run(runtime, card, crops, 0.5)
    wanted = np.moveaxis(painted(tensor_of(crops, HALF, HALF)), 1, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (np.clip(wanted, -1, 1) + 1) / 2, atol=CODE / 4)


@pytest.mark.parametrize(("name", "facts"), rows_of(FACTS))
def test_templates(name: str, facts: tuple[int, str]) -> None:
    side, template = facts
    shown = geometry.TEMPLATES[template] * 700 + 12
    wanted = [[side / 700, 0, -12 * side / 700], [0, side / 700, -12 * side / 700]]
    np.testing.assert_allclose(aligned(shown, card_of(name).template, side), wanted, atol=1e-9)


@pytest.mark.parametrize("fidelity", [0.0, 0.25, 1.0])
def test_fidelity_reaches_the_network_once_for_all_faces(fidelity: float, tmp_path: Path) -> None:
    card = stand_in("codeformer", tmp_path, weighed=True)
    crops = RNG.random((3, 512, 512, 3), np.float32)
    with running(tmp_path, [card]) as runtime:
        found = enhance.run(runtime, card, crops, fidelity)
    wanted = np.moveaxis(painted(tensor_of(crops, HALF, HALF)), 1, 3) + 0.1 * fidelity
    np.testing.assert_allclose(found, (np.clip(wanted, -1, 1) + 1) / 2, atol=CODE / 4)


def test_what_picks_from_a_code_book_stays_in_single_precision() -> None:
    assert card_of("codeformer").tolerance == 0.0
    assert card_of("restoreformer_plus_plus").tolerance == 0.0
    assert card_of("gfpgan_1.4").tolerance > 0.018  # what bfloat16 costs it


def test_crops_of_another_side_are_refused(tmp_path: Path) -> None:
    crops = np.zeros((1, 256, 256, 3), np.float32)
    with running(tmp_path) as runtime, pytest.raises(ValueError, match="expected crops of 512 pixels"):
        enhance.run(runtime, card_of("gfpgan_1.4"), crops, 0.5)
