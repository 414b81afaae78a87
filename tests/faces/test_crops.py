"""The crops that tell who a face is: the best ones, spread in time, none of somebody else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces import crops
from mien.faces.crops import Embedder, Gallery
from mien.faces.track import Tracklet
from mien.images import cpu
from mien.types import Array, Colour, Float32, Float64, Frame, Layout

FRONT = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
RGB24 = Layout("rgb24", "rgb", 8, ((0, 1, 2),))


class Notes:
    """An embedder that writes down what it is shown; the embedding of a crop is the number of its frame."""

    def __init__(self, size: tuple[int, int] = (64, 64)) -> None:
        self.cuts: list[tuple[int, Float64]] = []
        self.batches: list[int] = []
        self.embedder = Embedder("notes", 0.5, self.cut, self.embed, lambda rows: rows.mean(axis=0))

    def cut(self, frame: Frame, points: Float64) -> Array:
        self.cuts.append((frame.index, points))
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[::2, :, 0] = 200
        picture[0, 0] = frame.index // 256, frame.index % 256, 0
        return picture

    def embed(self, pictures: Array) -> Float32:
        self.batches.append(len(pictures))
        first = pictures[:, 0, 0].astype(np.float32)
        return np.asarray(first[:, :1] * 256 + first[:, 1:2], np.float32)


def frame(index: int) -> Frame:
    planes = (np.zeros((400, 640, 3), np.uint8),)
    return Frame(planes, RGB24, Colour("rgb", True), index, index, np.eye(2, 3))


def box(x: float = 300.0, size: float = 100.0) -> Float64:
    return np.array([x - size / 2, 200 - size / 2, x + size / 2, 200 + size / 2])


def dense(at: Float64, turn: float = 0.0) -> Float64:
    """Five landmarks in a box; the nose moves to the side where the face turns."""
    points = at[:2] + FRONT * (at[2:] - at[:2])
    points[2, 0] += turn * (at[2] - at[0])
    return np.column_stack([points, np.zeros(5)])


def five(landmarks: Float64) -> Float64:
    return landmarks[..., :2]


def follow(gallery: Gallery, tracklet: Tracklet, index: int, at: Float64, turn: float = 0.0) -> None:
    """One face alone in one frame."""
    tracklet.append(index, at, 1.0)
    gallery.step(frame(index), [(tracklet, dense(at, turn))])


def moments(tracklet: Tracklet) -> list[int]:
    return sorted(int(vector[0]) for vector in tracklet.embeddings)


@pytest.mark.parametrize("rate", [25.0, 60.0, 5.0, 1.0])
def test_at_most_six_spread_over_the_whole_time(rate: float) -> None:
    notes, tracklet = Notes(), Tracklet(0, 0)
    gallery = Gallery(notes.embedder, five, rate)
    for index in range(900):
        follow(gallery, tracklet, index, box())
    gallery.finish()
    found = moments(tracklet)
    assert len(found) == crops.MOST
    assert found[0] < 200
    assert found[-1] > 700
    assert np.diff(found).max() < 400
    assert np.diff([index for index, _ in notes.cuts]).min() >= max(1, round(0.2 * rate))
    assert len(notes.cuts) < 110, "the longer somebody is there the less often"


def test_the_better_ones_are_kept() -> None:
    """Large, frontal and wholly in the picture beats small, turned and half outside."""
    for worse in ((box(size=30.0), 0.0), (box(), 0.35), (box(x=10.0), 0.0)):
        notes, tracklet = Notes(), Tracklet(0, 0)
        gallery = Gallery(notes.embedder, five, 25.0)
        for index in range(400):
            good = 100 <= index < 300
            follow(gallery, tracklet, index, *((box(), 0.0) if good else worse))
        gallery.finish()
        assert sum(100 <= k < 300 for k in moments(tracklet)) >= 4


def test_nobody_is_embedded_who_is_too_small() -> None:
    notes, tracklet = Notes(), Tracklet(0, 0)
    gallery = Gallery(notes.embedder, five, 25.0)
    for index in range(40):
        follow(gallery, tracklet, index, box(size=crops.SMALLEST - 1 if index < 30 else crops.SMALLEST + 1))
    gallery.finish()
    assert moments(tracklet) == [30, 35]


def test_no_crop_while_two_faces_share_a_place() -> None:
    notes, one, two = Notes(), Tracklet(0, 0), Tracklet(1, 0)
    gallery = Gallery(notes.embedder, five, 25.0)
    for index in range(100):
        places = box(100 + 4.0 * index), box(500 - 4.0 * index)
        for tracklet, at in zip((one, two), places, strict=True):
            tracklet.append(index, at, 1.0)
        gallery.step(frame(index), [(one, dense(places[0])), (two, dense(places[1]))])
    gallery.finish()
    assert not any(42 <= index <= 58 for index, _ in notes.cuts)
    assert moments(one) == moments(two)
    assert {min(moments(one)) < 42, max(moments(one)) > 58} == {True}


def test_rows_that_were_taken_back_are_not_embedded() -> None:
    notes, tracklet = Notes(), Tracklet(0, 0)
    gallery = Gallery(notes.embedder, five, 25.0)
    for index in range(13):
        follow(gallery, tracklet, index, box())
    tracklet.drop_last(4)
    gallery.step(frame(13), [])
    gallery.finish()
    assert moments(tracklet) == [0, 5]


def test_faces_that_are_gone_are_embedded_together() -> None:
    notes = Notes()
    gallery = Gallery(notes.embedder, five, 25.0)
    tracklets = [Tracklet(k, 10 * k) for k in range(40)]
    for k, tracklet in enumerate(tracklets):
        for index in range(10 * k, 10 * k + 10):
            follow(gallery, tracklet, index, box())
    assert notes.batches, "before the clip ends, so that crops do not pile up"
    gallery.finish()
    assert sum(notes.batches) == 80
    assert max(notes.batches) <= 24
    assert [moments(t) for t in tracklets] == [[10 * k, 10 * k + 5] for k in range(40)]


def test_nothing_to_embed() -> None:
    notes = Notes()
    gallery = Gallery(notes.embedder, five, 25.0)
    gallery.step(frame(0), [])
    gallery.finish()
    assert notes.batches == []


def test_turned_and_inside() -> None:
    at = np.stack([box(), box()])
    points = np.stack([dense(at[0])[:, :2], dense(at[1], 0.3)[:, :2]])
    assert crops.turned(points) == pytest.approx([0.0, 0.3 / 0.4])
    assert crops.inside(np.stack([box(), box(0.0), box(-60.0)]), (640, 400)) == pytest.approx([1.0, 0.5, 0.0])


@given(st.floats(0.7, 1.0), st.integers(0, 40), st.integers(0, 9))
def test_sharpness_falls_with_blur_not_with_light(contrast: float, dark: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.uniform(0, 255, (16, 16, 3)).astype(np.float32)
    picture = cpu.resize(picture, (64, 64))
    light = np.clip(picture * contrast, 0, 255) * ((255 - dark) / 255)
    plain = crops.sharpness(picture.astype(np.uint8))
    assert crops.sharpness(light.astype(np.uint8)) == pytest.approx(plain, rel=0.15)
    assert crops.sharpness(cpu.blur(picture, 3.0).astype(np.uint8)) < 0.8 * plain
