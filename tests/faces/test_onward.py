"""Following forward only: numbers that stay, and memory that does not grow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien import pipeline
from mien.faces import onward
from mien.faces.onward import Onward, Unkept
from mien.faces.track import Tracklet
from mien.models.runtime import Runtime
from mien.settings import Settings
from mien.types import Frame
from tests.faces import portraits
from tests.regression import scenes


def film(runtime: Runtime) -> tuple[Onward, list[Frame]]:
    settings = Settings()
    follower = Onward(pipeline.eyes(runtime, settings), settings.detect, settings.track, 25.0)
    empty, both = scenes.empty(4), scenes.talking("hopper", 12)
    pictures = [*both, *empty, *scenes.talking("astronaut", 12)]
    shown = [portraits.frame(np.asarray(picture, np.float32) / 255.0) for picture in pictures]
    return follower, [replace(frame, index=k) for k, frame in enumerate(shown)]


def test_numbers_stay_and_go_up(runtime: Runtime) -> None:
    follower, frames = film(runtime)
    seen = []
    for frame in frames:
        follower.step(frame)
        found = follower.current()
        assert found.track is not None
        seen.append(found.track.tolist())
        assert found.dense is not None
        assert len(found.dense) == len(found)
        assert len(follower.tracklets) == len(found), "nobody who is gone is kept"
    assert seen[1:12] == [[1]] * 11
    assert seen[12:16] == [[]] * 4
    assert seen[17:] == [[2]] * 11


def test_rows_are_counted_and_not_kept() -> None:
    rows = Unkept(0)
    assert [rows.append(np.zeros((k, 468, 3))) for k in (2, 1, 3)] == [0, 2, 3]


def test_a_long_track_is_shortened(runtime: Runtime) -> None:
    follower, frames = film(runtime)
    for frame in frames[:2]:
        follower.step(frame)
    item = follower.tracklets[0]
    box = item.last(1)[0]
    for k in range(onward._LONGEST):
        item.append(k, box, 0.9)
    end = item.end
    follower.step(frames[2])
    assert len(item) <= onward._LONGEST // 2 + 2
    assert item.end == end + 1
    assert follower.current().track is not None


def test_forgetting_keeps_the_rest() -> None:
    item = Tracklet(0, 10)
    for k in range(6):
        item.append(k, np.full(4, float(k)), k / 10)
    item.forget(4)
    assert (item.start, item.end, len(item)) == (14, 16, 2)
    assert item.records.tolist() == [4, 5]
    assert item.boxes[0].tolist() == [4.0] * 4
