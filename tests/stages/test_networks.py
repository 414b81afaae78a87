"""The chain of networks with stand-ins that are known functions: pixels in the frame against the formula."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mien.images import geometry
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Enhance, Mask
from mien.stages.change import change
from mien.stages.patch import Patch
from mien.types import Array, Float64, Frame
from tests.images import frames
from tests.models.functions import Graph
from tests.stages import stand_ins
from tests.stages.stand_ins import PLAIN_SWAP

SIZE = (400, 320)
PLACES = {
    "upright": geometry.scaling(1 / 200, 1 / 200, (-0.5, -0.3)),
    "turned": geometry.rotation_scale(0.4, 1 / 190, (210.0, 160.0), (0.5, 0.5)),
    "large": geometry.rotation_scale(-0.2, 1 / 300, (200.0, 165.0), (0.5, 0.5)),
}
"""Display pixels to the unit square of the network's crop."""


def _run(home: Path, cards: Sequence[Card], patches: Sequence[Patch]) -> None:
    with Runtime(2, Store(home, offline=True), Catalogue().with_cards(cards)) as runtime:
        change(runtime, patches)


def _frame(layout: str = "rgb24") -> Frame:
    return frames.paint(frames.LAYOUTS[layout], SIZE, frames.waves)


def _inside(where: Float64, low: float = 0.12, high: float = 0.88) -> Array:
    """Pixels of the frame that lie well inside the square."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    at = geometry.apply(where, np.stack([x, y], -1))
    return np.asarray(((at > low) & (at < high)).all(-1))


def _outside(where: Float64) -> Array:
    return ~_inside(where, -0.02, 1.02)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("range_", [(0.0, 1.0), (0.5, 0.5)])
def test_a_shift_arrives_to_one_code(tmp_path: Path, place: str, range_: tuple[float, float]) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.shifted, side=256, mean=range_[0], std=range_[1])
    frame, where = _frame(), PLACES[place]
    before = frame.planes[0].astype(int)
    codes = np.array([20.0, -10.0, 5.0])
    _run(tmp_path, [card], [stand_ins.patch(frame, card, where, tuple(codes / 255 / range_[1]))])
    got = frame.planes[0].astype(int) - before
    inside = _inside(where)
    assert np.abs(got[inside] - codes).max() <= 1.0
    assert not got[_outside(where)].any()


def test_channels_keep_their_places(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.turned, side=256)
    frame, where = _frame(), PLACES["turned"]
    before = frame.planes[0].astype(int)
    _run(tmp_path, [card], [stand_ins.patch(frame, card, where)])
    inside = _inside(where)
    assert np.abs(frame.planes[0].astype(int)[inside] - before[inside][:, [2, 0, 1]]).max() <= 1


@pytest.mark.parametrize("layout", ["yuv420p", "yuv444p10le", "nv12"])
def test_a_network_that_changes_nothing_leaves_the_frame(tmp_path: Path, layout: str) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.same, side=256)
    frame = _frame(layout)
    before = [plane.astype(int) for plane in frame.planes]
    _run(tmp_path, [card], [stand_ins.patch(frame, card, PLACES["turned"])])
    unit = 1 << (frame.layout.depth - 8)
    for old, new in zip(before, frame.planes, strict=True):
        assert np.abs(new.astype(int) - old).max() <= unit


def test_tiles_hold_what_one_small_crop_would_lose(tmp_path: Path) -> None:
    def fine(x: Array, y: Array) -> Array:
        return np.repeat((0.5 + 0.35 * np.sin(x / 2.2) * np.sin(y / 2.6))[..., None], 3, -1)

    where = PLACES["upright"]
    card = stand_ins.swapper(tmp_path, stand_ins.same, side=64)
    errors = []
    for size in (0, 256):
        frame = frames.paint(frames.LAYOUTS["rgb24"], SIZE, fine)
        before = frame.planes[0].astype(int)
        swap = PLAIN_SWAP.model_copy(update={"size": size})
        _run(tmp_path, [card], [stand_ins.patch(frame, card, where, swap=swap)])
        errors.append(np.abs(frame.planes[0].astype(int) - before)[_inside(where)].mean())
    assert errors[0] > 12.0, "64 pixels cannot hold it"
    assert errors[1] < 4.0, "16 tiles of 64 can"


def test_faces_of_several_frames_get_their_own(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.shifted, side=128)
    pictures = [_frame() for _ in range(3)]
    before = pictures[0].planes[0].astype(int)
    codes = [(10, 0, 0), (0, 20, 0), (0, 0, -15)]
    where = PLACES["upright"]
    patches = [
        stand_ins.patch(frame, card, where, (r / 255, g / 255, b / 255))
        for frame, (r, g, b) in zip(pictures, codes, strict=True)
    ]
    _run(tmp_path, [card], patches)
    for frame, wanted in zip(pictures, codes, strict=True):
        got = (frame.planes[0].astype(int) - before)[_inside(where)]
        np.testing.assert_allclose(np.median(got, axis=0), wanted, atol=1)
        assert np.abs(got - wanted).max() <= 2


@pytest.mark.parametrize("blend", [0.0, 0.5, 1.0])
def test_the_enhancer_sees_the_swapped_face_and_is_blended(tmp_path: Path, blend: float) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.shifted, side=256)
    # Its tensor is (x - 0.5) / 0.5, so that 0.2 there are 25.5 codes.
    enhancer = stand_ins.seer(
        tmp_path,
        lambda g, x: g.op("Add", x, g.constant(0.2)),
        task="enhance",
        family="restorer",
        side=256,
        name="stand_in_enhancer",
    )
    frame, where = _frame(), PLACES["turned"]
    before = frame.planes[0].astype(int)
    asked = Enhance(model="stand_in_enhancer", blend=blend)
    _run(tmp_path, [card, enhancer], [stand_ins.patch(frame, card, where, (-0.1,) * 3, enhance=asked)])
    got = (frame.planes[0].astype(int) - before)[_inside(where, 0.2, 0.8)]
    assert np.abs(got - (-25.5 + 25.5 * blend)).max() <= 1.5
    assert not (frame.planes[0].astype(int) - before)[_outside(where)].any(), "only the face is restored"


def test_what_covers_the_face_stays(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.shifted, side=256)
    half = np.zeros((1, 256, 256, 1), np.float32)
    half[:, :, 128:] = 1.0

    def right_half(g: Graph, x: str) -> str:
        red = g.op("Gather", x, g.constant([2], np.int64), axis=3)
        return g.op("Add", g.op("Mul", red, g.constant(0.0)), g.constant(half))

    occluder = stand_ins.seer(
        tmp_path, right_half, task="occlude", family="xseg", side=256, name="stand_in_occluder"
    )
    frame, where = _frame(), PLACES["upright"]
    before = frame.planes[0].astype(int)
    asked = Mask(feather=0.3, occlusion="stand_in_occluder")
    _run(tmp_path, [card, occluder], [stand_ins.patch(frame, card, where, (0.1,) * 3, mask=asked)])
    got = frame.planes[0].astype(int) - before
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    across = geometry.apply(where, np.stack([x, y], -1))[..., 0]
    assert not got[_inside(where) & (across < 0.42)].any(), "covered"
    assert np.abs(got[_inside(where) & (across > 0.58)] - 25.5).max() <= 1.5


def test_padding_leaves_a_side_out(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.shifted, side=256)
    frame, where = _frame(), PLACES["upright"]
    before = frame.planes[0].astype(int)
    asked = Mask(feather=0.2, padding=(0.5, 0.0, 0.0, 0.0))
    _run(tmp_path, [card], [stand_ins.patch(frame, card, where, (0.1,) * 3, mask=asked)])
    got = frame.planes[0].astype(int) - before
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    down = geometry.apply(where, np.stack([x, y], -1))[..., 1]
    assert not got[down < 0.45].any()
    assert np.abs(got[_inside(where) & (down > 0.6)] - 25.5).max() <= 1.5


@pytest.mark.parametrize("colour", ["mean", "low", "histogram"])
def test_colours_come_back_from_the_target(tmp_path: Path, colour: str) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.shifted, side=256)
    where, errors = PLACES["upright"], []
    for method in ("none", colour):
        frame = _frame()
        before = frame.planes[0].astype(int)
        swap = PLAIN_SWAP.model_copy(update={"colour": method})
        _run(tmp_path, [card], [stand_ins.patch(frame, card, where, (0.12, 0.0, -0.08), swap=swap)])
        errors.append(np.abs((frame.planes[0].astype(int) - before)[_inside(where)].mean(0)).max())
    assert errors[0] > 20.0
    assert errors[1] < 5.0


def test_opacity_fades(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.shifted, side=256)
    frame, where = _frame(), PLACES["upright"]
    before = frame.planes[0].astype(int)
    patch = stand_ins.patch(frame, card, where, (0.2,) * 3)
    object.__setattr__(patch.look, "opacity", 0.5)
    _run(tmp_path, [card], [patch])
    assert np.abs((frame.planes[0].astype(int) - before)[_inside(where)] - 25.5).max() <= 1.0


def test_a_face_beyond_the_frame_changes_only_what_is_there(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.shifted, side=128)
    frame = _frame("yuv420p")
    before = [plane.astype(int) for plane in frame.planes]
    where = geometry.scaling(1 / 200, 1 / 200, (0.4, 0.4))  # its middle lies at (20, 20)
    _run(tmp_path, [card], [stand_ins.patch(frame, card, where, (0.1,) * 3)])
    assert (frame.planes[0].astype(int) - before[0])[:60, :60].mean() > 15
    assert not (frame.planes[0].astype(int) - before[0])[140:].any()
