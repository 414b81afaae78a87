"""Looks whose networks are known functions: stand-ins, for tests only, which know nothing of faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mien.faces import anatomy
from mien.images import geometry
from mien.models.card import Card, File, Latent, Pixels, Tensor
from mien.settings import Enhance, Mask, Swap
from mien.stages.patch import ANYBODY, Look, Patch
from mien.types import Array, Float64, Frame
from tests.models.functions import Graph

Recipe = Callable[[Graph, str, str], str]
"""Graph, target and source to the output, each (N, ...)."""

PLAIN_SWAP = Swap(model="stand_in", colour="none", grain=0.0)
"""Nothing is matched: what the network gives is what is shown."""


def swapper(
    folder: Path,
    recipe: Recipe,
    *,
    side: int = 128,
    template: str = "arcface_128",
    name: str = "stand_in",
    mean: float = 0.0,
    std: float = 1.0,
) -> Card:
    """A swap network that is a function of target and source, installed in a folder of models."""
    g = Graph()
    target = g.input("target", ("N", 3, side, side))
    source = g.input("source", ("N", 3))
    g.output("output", recipe(g, target, source), ("N", 3, side, side))
    g.model(folder / "models" / f"{name}.onnx")
    pixels = Pixels(side, mean=(mean,) * 3, std=(std,) * 3)
    return Card(
        name=name,
        task="swap",
        family="swapper",
        files=(File(f"{name}.onnx"),),
        licence="MIT",
        inputs=(Tensor("target", (3, side, side)), Tensor("source", (3,))),
        outputs=(Tensor("output", (3, side, side)),),
        pixels=pixels,
        result=pixels,
        template=template,
        latent=Latent(),
        tolerance=0.0,
    )


def seer(
    folder: Path, recipe: Callable[[Graph, str], str], *, task: str, family: str, side: int, name: str
) -> Card:
    """An enhancer or occluder that is a function of its picture, installed in a folder of models."""
    g = Graph()
    nhwc = family == "xseg"
    shape = ("N", side, side, 3) if nhwc else ("N", 3, side, side)
    x = g.input("input", shape)
    given = (side, side, 1) if nhwc else (3, side, side)
    g.output("output", recipe(g, x), ("N", *given))
    g.model(folder / "models" / f"{name}.onnx")
    half = (0.5,) * 3
    pixels = Pixels(side, order="BGR", layout="NHWC") if nhwc else Pixels(side, mean=half, std=half)
    return Card(
        name=name,
        task=task,  # type: ignore[arg-type]
        family=family,
        files=(File(f"{name}.onnx"),),
        licence="MIT",
        inputs=(Tensor("input", tuple(int(d) for d in shape[1:])),),
        outputs=(Tensor("output", given),),
        pixels=pixels,
        result=None if nhwc else pixels,
        template="ffhq_512",
        tolerance=0.0,
    )


def same(g: Graph, target: str, source: str) -> str:
    """The target as it is; the source has no say."""
    zero = g.op("Mul", g.op("Slice", source, _ints(g, 0), _ints(g, 1), _ints(g, 1)), g.constant(0.0))
    return g.op("Add", target, g.op("Unsqueeze", zero, _ints(g, 2, 3)))


def shifted(g: Graph, target: str, source: str) -> str:
    """The target plus the source, channel by channel."""
    return g.op("Add", target, g.op("Unsqueeze", source, _ints(g, 2, 3)))


def turned(g: Graph, target: str, source: str) -> str:
    """Red becomes green, green blue, blue red."""
    return g.op("Gather", same(g, target, source), g.constant((2, 0, 1), np.int64), axis=1)


def _ints(g: Graph, *values: int) -> str:
    return g.constant(values, np.int64)


def patch(
    frame: Frame,
    card: Card,
    where: Float64,
    source: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    swap: Swap = PLAIN_SWAP,
    mask: Mask | None = None,
    enhance: Enhance | None = None,
) -> Patch:
    """A face whose five points lie on the card's template, cut by `where` from display to unit square."""
    points = geometry.apply(geometry.invert(where), geometry.template(card.template))
    dense = np.zeros((468, 3))
    corners = geometry.apply(geometry.invert(where), geometry.corners((0.1, 0.1, 0.9, 0.9)))
    dense[:, :2] = corners[np.arange(468) % 4]
    dense[list(anatomy.SIXTY_EIGHT), :2] = corners[np.arange(68) % 4]
    conditions: dict[int, dict[str, Array]] = {ANYBODY: {"source": np.array([source], np.float32)}}
    look = Look(
        swap=swap,
        mask=mask or Mask(feather=0.3),
        enhance=enhance or Enhance(),
        network=card,
        conditions=conditions,
    )
    return Patch(frame, dense, points, look)
