"""The chain of networks over tensors gives what it gives over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.images import geometry
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Device, Enhance, Mask, Swap
from mien.stages.change import change
from mien.stages.patch import Patch
from mien.types import Float64, Frame
from tests.images import frames
from tests.models.functions import Graph
from tests.stages import stand_ins
from tests.stages.test_carry import _film

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
gpu = pytest.importorskip("mien.images.gpu")

SIZE = (400, 320)
WHERE = geometry.rotation_scale(0.25, 1 / 190, (205.0, 162.0), (0.5, 0.5))
SHIFT = (0.12, -0.03, -0.08)


def _cards(folder: Path) -> list[Card]:
    def right_half(g: Graph, x: str) -> str:
        red = g.op("Slice", x, *(g.constant((n,), np.int64) for n in (0, 1, 3)))
        half = np.zeros((1, 256, 256, 1), np.float32)
        half[:, :, 128:] = 1.0
        return g.op("Add", g.op("Mul", red, g.constant(0.0)), g.constant(half))

    def brighter(g: Graph, x: str) -> str:
        return g.op("Add", x, g.constant(0.1))

    return [
        stand_ins.swapper(folder, stand_ins.shifted, side=128),
        stand_ins.seer(folder, right_half, task="occlude", family="xseg", side=256, name="occluder"),
        stand_ins.seer(folder, brighter, task="enhance", family="restorer", side=256, name="enhancer"),
    ]


def _apart(
    home: Path, cards: Sequence[Card], makes: Sequence[tuple[Frame, Float64]], **asked: Any
) -> tuple[list[np.ndarray[Any, Any]], int]:
    """Differences in codes between both ways, plane by plane, over all frames; and faces carried."""
    results, carried = [], []
    for way in ("arrays", "tensors"):
        found: list[Patch] = []
        for frame, where in makes:
            own = replace(frame, planes=tuple(p.copy() for p in frame.planes))
            own = gpu.to_device(own, "cpu") if way == "tensors" else own
            one = stand_ins.patch(own, cards[0], where, SHIFT, **asked)
            found.append(replace(one, track=1, look=found[0].look if found else one.look))
        device = Device(engine="torch", precision="f32", processor="cpu")
        with Runtime(2, Store(home, offline=True), Catalogue().with_cards(cards), device) as runtime:
            carried.append(change(runtime, found))
        results.append([gpu.to_host(p.frame) if way == "tensors" else p.frame for p in found])
    assert carried[0] == carried[1]
    changed = any(
        (a != b).any()
        for one, (frame, _) in zip(results[0], makes, strict=True)
        for a, b in zip(one.planes, frame.planes, strict=True)
    )
    assert changed, "nothing was done"
    pairs = [
        np.abs(a.astype(int) - b.astype(int)).ravel()
        for one, other in zip(*results, strict=True)
        for a, b in zip(one.planes, other.planes, strict=True)
    ]
    return pairs, carried[0]


def _check(pairs: Sequence[np.ndarray[Any, Any]], depth: int) -> None:
    apart = np.concatenate(pairs)
    # Of deep samples float32 keeps less than a code through the chain.
    unit = 2 ** max(0, depth - 10)
    assert (apart > unit).mean() < 1e-3
    assert apart.max() <= 2 * unit


@pytest.mark.parametrize("layout", frames.LAYOUTS)
def test_every_layout(tmp_path: Path, layout: str) -> None:
    frame = frames.paint(frames.LAYOUTS[layout], SIZE, frames.waves)
    _check(_apart(tmp_path, _cards(tmp_path), [(frame, WHERE)], swap=Swap(model="x"))[0], frame.layout.depth)


@pytest.mark.parametrize(
    "asked",
    [
        {"swap": Swap(model="x", colour="none", grain=0.0)},
        {"swap": Swap(model="x", colour="mean")},
        {"swap": Swap(model="x", colour="histogram", light=0.6)},
        {"swap": Swap(model="x", light=0.5, grain=0.5)},
        {"swap": Swap(model="x", size=256)},
        {"mask": Mask(feather=1.0, padding=(0.2, 0.0, 0.1, 0.0), grow=0.1)},
        {"mask": Mask(occlusion="occluder")},
        {"mask": Mask(areas=("upper", "mouth"))},
        {"enhance": Enhance(model="enhancer", blend=0.6)},
        {"enhance": Enhance(model="enhancer"), "mask": Mask(occlusion="occluder,occluder")},
    ],
    ids=lambda asked: "-".join(f"{k}" for part in asked.values() for k in sorted(part.model_fields_set)),
)
def test_every_setting(tmp_path: Path, asked: dict[str, Any]) -> None:
    frame = frames.paint(frames.LAYOUTS["yuv420p"], SIZE, frames.waves)
    _check(_apart(tmp_path, _cards(tmp_path), [(frame, WHERE)], **{"swap": Swap(model="x"), **asked})[0], 8)


def test_faces_of_several_frames_some_carried(tmp_path: Path) -> None:
    film = _film(4)
    makes = [(f, geometry.compose(WHERE, geometry.scaling(1.0, 1.0, tuple(-moved)))) for f, moved in film]
    pairs, carried = _apart(tmp_path, _cards(tmp_path), makes, swap=Swap(model="x", every=3))
    assert carried == 2
    _check(pairs, 8)


def test_faces_of_several_frames_at_once_come_out_as_one_by_one(tmp_path: Path) -> None:
    """Two faces in each frame, one over the other; sizes, colours and shares differ between frames."""
    cards = [stand_ins.swapper(tmp_path, stand_ins.shifted, side=128)]
    device = Device(engine="torch", precision="f32", processor="cpu")
    moves = [geometry.scaling(1.0 + 0.02 * k, 1.0 + 0.02 * k, (3.0 * k, -2.0 * k)) for k in range(4)]

    def patches() -> list[Patch]:
        made: list[Patch] = []
        for k, move in enumerate(moves):
            plain = replace(frames.paint(frames.LAYOUTS["yuv420p"], SIZE, frames.waves), index=k, pts=k)
            frame = gpu.to_device(plain, "cpu")
            for number, shift in enumerate((0.0, 30.0)):
                where = geometry.compose(
                    WHERE, geometry.invert(geometry.compose(move, geometry.scaling(1, 1, (shift, 0))))
                )
                one = stand_ins.patch(frame, cards[0], where, SHIFT)
                look = replace(made[0].look if made else one.look, shown=(1.0, 0.6)[k % 2])
                made.append(replace(one, track=number, look=look))
        return made

    results = []
    for apart in (False, True):
        found = patches()
        with Runtime(2, Store(tmp_path, offline=True), Catalogue().with_cards(cards), device) as runtime:
            for some in [found[k : k + 2] for k in range(0, len(found), 2)] if apart else [found]:
                change(runtime, some)
        results.append([gpu.to_host(p.frame) for p in found[::2]])
    for one, other, first in zip(*results, [p.frame for p in patches()[::2]], strict=True):
        for a, b, before in zip(one.planes, other.planes, gpu.to_host(first).planes, strict=True):
            assert (a != before).any()
            assert np.abs(a.astype(int) - b.astype(int)).max() <= 1
