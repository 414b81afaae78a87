"""Faces carried from frames near by, against the same faces made by the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.images import cpu, geometry
from mien.models.card import Card
from mien.models.catalogue import Catalogue
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Mask, Swap
from mien.stages import carry
from mien.stages.change import change
from mien.stages.patch import ANYBODY, Look, Patch
from mien.types import Array, Float64, Frame
from tests.images import frames
from tests.stages import stand_ins
from tests.stages.stand_ins import PLAIN_SWAP

SIZE = (400, 320)
WHERE = geometry.scaling(1 / 200, 1 / 200, (-0.5, -0.3))
"""Display pixels to the unit square of the network's crop."""


def _texture(seed: int) -> Array:
    noise = np.random.default_rng(seed).random((*SIZE[::-1], 3), np.float32)
    smooth = np.sum([cpu.blur(noise, sigma) * sigma for sigma in (2.0, 5.0, 12.0)], axis=0)
    return np.asarray((smooth - smooth.min()) / np.ptp(smooth), np.float32)


TEXTURE = _texture(5)


def _film(count: int, *, bend: float = 0.6, drift: float = 2.0) -> list[tuple[Frame, Float64]]:
    """Frames of a texture that drifts and bends, and the drift of each: what the points would follow."""
    made = []
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    for k in range(count):
        wave = bend * k * np.sin(y / 25.0)
        at = [np.asarray(a, np.float32) for a in (x - drift * k - wave, y - 0.5 * drift * k)]
        codes = np.rint(cpu.remap(TEXTURE, at[0], at[1]) * 255).astype(np.uint8)
        frame = replace(frames.paint(frames.LAYOUTS["rgb24"], SIZE, frames.waves), index=k, pts=k)
        frame.planes[0][...] = codes
        made.append((frame, np.array([drift * k, 0.5 * drift * k])))
    return made


def _patches(film: Sequence[tuple[Frame, Float64]], card: Card, every: int) -> list[Patch]:
    """The same face in all frames; copies of the frames."""
    found: list[Patch] = []
    for frame, moved in film:
        own = replace(frame, planes=tuple(p.copy() for p in frame.planes))
        where = geometry.compose(WHERE, geometry.scaling(1.0, 1.0, tuple(-moved)))
        swap = PLAIN_SWAP.model_copy(update={"every": every})
        one = stand_ins.patch(own, card, where, swap=swap, mask=Mask(feather=0.3))
        found.append(replace(one, track=3, look=found[0].look if found else one.look))
    return found


def _run(home: Path, card: Card, patches: Sequence[Patch]) -> int:
    with Runtime(2, Store(home, offline=True), Catalogue().with_cards([card])) as runtime:
        return change(runtime, patches)


def _codes(patches: Sequence[Patch]) -> Array:
    return np.stack([patch.frame.planes[0].astype(int) for patch in patches])


@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_carried_face_is_nearly_what_the_network_gives(tmp_path: Path, every: int) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.turned, side=256)
    film = _film(every + 1)
    made, carried = _patches(film, card, 1), _patches(film, card, every)
    assert _run(tmp_path, card, made) == 0
    assert _run(tmp_path, card, carried) == every - 1
    plain = _codes(_patches(film, card, 1))
    full, ours = _codes(made), _codes(carried)
    changed = np.abs(full - plain).max(axis=3) > 0
    np.testing.assert_array_equal(ours[0], full[0])
    np.testing.assert_array_equal(ours[-1], full[-1])
    for k, inside in enumerate(changed):
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        outside = np.ones(inside.shape, bool)
        room = 4  # the mask bends with the picture
        outside[rows[0] - room : rows[-1] + room + 1, columns[0] - room : columns[-1] + room + 1] = False
        np.testing.assert_array_equal(ours[k][outside], plain[k][outside])
    apart = np.abs(ours - full)[1:-1][changed[1:-1]]
    assert apart.mean() < 0.4
    # a face held still from the frame before is far worse: it is the flow that carries
    held = np.abs(_held(full, film) - full)[1:-1][changed[1:-1]]
    assert apart.mean() < 0.25 * held.mean()


def _held(full: Array, film: Sequence[tuple[Frame, Float64]]) -> Array:
    """The first frame's result, moved with the points alone."""
    first = full[0].astype(np.float32)
    return np.stack(
        [cpu.warp(first, geometry.scaling(1.0, 1.0, tuple(moved)), SIZE).astype(int) for _, moved in film]
    )


def test_what_neither_side_shows_is_made(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.turned, side=256)
    film = _film(4)
    film[1][0].planes[0][130:170, 170:230] = 0  # as large as an eye, there in one frame only
    made, carried = _patches(film, card, 1), _patches(film, card, 3)
    _run(tmp_path, card, made)
    assert _run(tmp_path, card, carried) == 1
    np.testing.assert_array_equal(_codes(carried)[1], _codes(made)[1])


def test_frames_out_of_order_and_two_faces_at_once(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.turned, side=256)
    film = _film(3)
    alone = _patches(film, card, 2)
    _run(tmp_path, card, alone)
    mixed = _patches(film, card, 2)
    order = [2, 0, 1]
    assert _run(tmp_path, card, [mixed[k] for k in order]) == 1
    np.testing.assert_array_equal(_codes(mixed), _codes(alone))


@given(
    st.integers(2, 8),
    st.lists(st.booleans(), min_size=1, max_size=24),
)
def test_only_frames_between_made_ones_are_carried(every: int, there: list[bool]) -> None:
    look = Look(Swap(model="x", every=every), Mask(), None)  # type: ignore[arg-type]
    frame = frames.paint(frames.LAYOUTS["gray"], (8, 8), frames.waves)
    indices = [k for k, seen in enumerate(there) if seen]
    patches = [
        Patch(replace(frame, index=k), np.zeros((468, 3)), np.zeros((5, 2)), look, track=1) for k in indices
    ]
    sides = carry.between(patches)
    for row, (first, last) in sides.items():
        assert first < row < last
        assert first not in sides
        assert last not in sides
        assert indices[last] - indices[first] == last - first <= every
    made = [row for row in range(len(patches)) if row not in sides]
    starts = [k for k in range(len(indices)) if k == 0 or indices[k] != indices[k - 1] + 1]
    ends = [k for k in range(len(indices)) if k + 1 == len(indices) or indices[k + 1] != indices[k] + 1]
    wanted = {k for a, b in zip(starts, ends, strict=True) for k in (*range(a, b + 1, every), b)}
    assert set(made) == wanted


def test_faces_of_no_track_are_never_carried(tmp_path: Path) -> None:
    card = stand_ins.swapper(tmp_path, stand_ins.turned, side=256)
    loose = [replace(patch, track=ANYBODY) for patch in _patches(_film(4), card, 3)]
    assert carry.between(loose) == {}


@given(st.floats(-4, 4), st.floats(-4, 4))
def test_flow_finds_a_shift(right: float, down: float) -> None:
    x, y = np.meshgrid(np.arange(192) + 80.5, np.arange(192) + 60.5)
    luma = cpu.luma(TEXTURE)
    one = cpu.remap(luma, x.astype(np.float32), y.astype(np.float32))
    other = cpu.remap(luma, (x - right).astype(np.float32), (y - down).astype(np.float32))
    found = cpu.flow(one, other)[24:-24, 24:-24]
    assert np.abs(np.median(found, axis=(0, 1)) - (right, down)).max() < 0.1
    assert np.quantile(np.abs(found - (right, down)), 0.95) < 0.3


def test_flow_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="flow"):
        cpu.flow(np.zeros((64, 64), np.float32), np.zeros((64, 65), np.float32))
