"""Content safety: what the networks see, their rules, and how they vote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ModelError
from mien.models import safety
from mien.models.card import Card
from mien.types import Array
from tests.models.functions import Graph, filed, running

RNG = np.random.default_rng(13)
FACTS = {
    # side, mean, std
    "nsfw_1": (640, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "nsfw_2": (384, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "nsfw_3": (448, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


def card_of(name: str) -> Card:
    return next(card for card in safety.CARDS if card.name == name)


def red(name: str, folder: Path, slope: float, offset: float) -> Card:
    """A network whose verdict depends on slope * (mean of what it sees of the first channel) + offset.

    It is put where the network says how explicit a picture is; nothing else says anything.
    """
    side = FACTS[name][0]
    g = Graph()
    x = g.input("input", (1, 3, side, side))
    means = g.op("Reshape", g.op("ReduceMean", x, axes=[2, 3], keepdims=0), g.constant([1, 3], np.int64))
    mean = g.op(
        "Slice", means, g.constant([0], np.int64), g.constant([1], np.int64), g.constant([1], np.int64)
    )
    said = g.op("Add", g.op("Mul", mean, g.constant(slope)), g.constant(offset))
    if name == "nsfw_1":  # 4 numbers of a box, then 5 parts, at 7 places; the fourth part at the last place
        grid = np.zeros((9, 7))
        grid[7, 6] = 1
        boxes = np.zeros((9, 7))
        boxes[:4] = 300  # pixels, which are no shares
        spread = g.op("Mul", g.op("Reshape", said, g.constant([1, 1, 1], np.int64)), g.constant(grid[None]))
        g.output("output", g.op("Add", spread, g.constant(boxes[None])), (1, 9, 7))
    else:
        row = [1.0, 0.0] if name == "nsfw_2" else [0.0, 0.0, 0.25, 0.75]
        g.output("output", g.op("Mul", said, g.constant([row])), (1, len(row)))
    return filed(card_of(name), g.model(folder / "models" / f"{name}.onnx"))


def test_every_published_network_has_a_card() -> None:
    assert [card.name for card in safety.CARDS] == list(FACTS)
    assert all(card.task == "safety" and card.commercial for card in safety.CARDS)


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize(("height", "width"), [(90, 160), (300, 100), (64, 64)])
def test_whole_pictures_with_black_bars_reach_the_network(
    name: str, height: int, width: int, tmp_path: Path
) -> None:
    side, mean, std = FACTS[name]
    level = {"nsfw_1": 0.2, "nsfw_2": 0.25, "nsfw_3": 10.5}[name]
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = 180
    covered = (side * width // max(height, width)) * (side * height // max(height, width)) / side**2
    seen = (covered * 180 / 255 - mean[0]) / std[0]
    for nudge, wanted in ((-0.02, False), (0.02, True)):
        # Just below and just above the published level for exactly what it should see.
        card = red(name, tmp_path / str(wanted), 1.0, level - seen + nudge)
        with running(tmp_path / str(wanted), [card]) as runtime:
            assert safety.judge(runtime, [card], picture[None]).tolist() == [wanted]


def test_bars_are_on_both_sides_and_shrinking_does_not_alias() -> None:
    picture = np.zeros((100, 400, 3), np.uint8)
    picture[:, ::2] = 200
    found = safety.contained(picture, 200)
    assert found.shape == (200, 200, 3)
    assert not found[:75].any()
    assert not found[125:].any()
    np.testing.assert_allclose(found[75:125], 100 / 255, atol=1e-4)
    tall = safety.contained(np.full((30, 10, 3), 255, np.uint8), 300)
    np.testing.assert_allclose(tall[:, 100:200], 1, atol=1e-6)
    assert not tall[:, :100].any()
    assert not tall[:, 200:].any()


def logits(*rows: tuple[float, ...]) -> Array:
    return np.array(rows, np.float32)


def test_the_rules_are_the_published_ones() -> None:
    pair, grades = safety.RULES["pair"], safety.RULES["grades"]
    assert pair(logits((1.3, 1.0), (1.2, 1.0), (-3.0, 3.0))).tolist() == [True, False, False]
    assert grades(logits((0, 0, 5, 5.6), (0, 0, 5, 5.4), (-6, -5, 0, 0))).tolist() == [True, False, True]
    boxes = np.zeros((3, 9, 4), np.float32)
    boxes[:, :4] = 100
    boxes[0, 6, 2], boxes[1, 8, 3] = 0.21, 0.19
    assert safety.RULES["parts"](boxes).tolist() == [True, False, False]


def test_two_must_agree_and_one_alone_decides(tmp_path: Path) -> None:
    pictures = np.zeros((3, 40, 40, 3), np.uint8)
    pictures[1:, ..., 0] = 255
    always = red("nsfw_1", tmp_path, 0.0, 1.0)
    never = red("nsfw_2", tmp_path, 0.0, -1.0)
    reds = red("nsfw_3", tmp_path, 30.0, 0.0)
    with running(tmp_path, [always, never, reds]) as runtime:
        assert safety.judge(runtime, [always], pictures).tolist() == [True] * 3
        assert safety.judge(runtime, [never], pictures).tolist() == [False] * 3
        assert safety.judge(runtime, [reds], pictures).tolist() == [False, True, True]
        assert safety.judge(runtime, [always, never], pictures).tolist() == [False] * 3
        assert safety.judge(runtime, [always, reds], pictures).tolist() == [False, True, True]
        assert safety.judge(runtime, [always, never, reds], pictures).tolist() == [False, True, True]
        assert safety.judge(runtime, [], pictures).tolist() == [False] * 3
        assert safety.judge(runtime, [always, reds], pictures[:0]).shape == (0,)


def test_a_card_that_does_not_judge_is_refused(tmp_path: Path) -> None:
    other = replace(card_of("nsfw_1"), family="unheard")
    with running(tmp_path) as runtime, pytest.raises(ModelError, match="family 'unheard' does not judge"):
        safety.judge(runtime, [other], np.zeros((1, 8, 8, 3), np.uint8))
