"""68 points: crops and readers by formula, a real small network against the dense landmarks, tracks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import pipeline
from mien.errors import ModelError
from mien.faces.compose import Facts, compose
from mien.faces.follow import Eyes, Follower
from mien.faces.rows import Spill
from mien.images import cpu, geometry
from mien.media import clip as clips
from mien.media import decode
from mien.models import detect, landmark, landmark68, pictures
from mien.models.card import Card
from mien.models.landmark68 import FAN, FIVE, PEPPA
from mien.models.mediapipe import FACEMESH
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Detect, Settings
from mien.settings import Track as TrackSettings
from mien.types import Array, Faces, Float64, Frame, Tracks
from tests.faces.test_track_follow import RATE, SIZE, Person, World
from tests.models import networks, small
from tests.models.recall import load, still

RNG = np.random.default_rng(6)
MESH = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
"""Vertices of the face mesh at the 68 points."""
SPOT = (170.0, 120.0)


def test_five_of_sixty_eight() -> None:
    points = RNG.uniform(0, 100, (3, 68, 2))
    found = landmark68.five(points)
    for k in range(3):
        left = [sum(points[k, i, c] for i in range(36, 42)) / 6 for c in (0, 1)]
        right = [sum(points[k, i, c] for i in range(42, 48)) / 6 for c in (0, 1)]
        wanted = [left, right, points[k, 30], points[k, 48], points[k, 54]]
        np.testing.assert_allclose(found[k], wanted)


@given(
    st.floats(-math.pi, math.pi), st.floats(10, 500), st.floats(10, 500), st.sampled_from([1.0, 256 / 195])
)
def test_crops_are_upright_and_centred_on_the_box(
    angle: float, width: float, height: float, margin: float
) -> None:
    box = np.array([[300 - width / 2, 200 - height / 2, 300 + width / 2, 200 + height / 2]])
    turn, middle = np.array([math.cos(angle), math.sin(angle)]), np.array([290.0, 190.0])
    points = np.array([[middle - 20 * turn, middle + 20 * turn, (1, 2), (3, 4), (5, 6)]])
    roi = landmark68.regions(points, box, 112, margin)[0]
    inside = geometry.apply(roi, points[0])
    assert math.isclose(inside[0, 1], inside[1, 1], abs_tol=1e-6)
    assert inside[0, 0] < inside[1, 0]
    np.testing.assert_allclose(geometry.apply(roi, [300.0, 200.0]), [56, 56], atol=1e-6)
    assert math.isclose(geometry.affine_scale(roi), 112 / (max(width, height) * margin))


def spotted() -> Frame:
    """A grey frame with one white spot at SPOT."""
    y, x = np.mgrid[:300, :400] + 0.5
    spot = np.exp(-((x - SPOT[0]) ** 2 + (y - SPOT[1]) ** 2) / (2 * 4.0**2))
    return still(np.repeat(np.rint(100 + 150 * spot).astype(np.uint8)[..., None], 3, axis=2))


def spot_in(tensor: Array) -> Float64:
    """(N, 2) where the spot is in each of (N, 3, S, S), as shares of the side."""
    light = np.maximum(tensor[:, 1] / tensor.max() - 110 / 250, 0)
    at = (np.arange(tensor.shape[-1]) + 0.5) / tensor.shape[-1]
    total = light.sum(axis=(1, 2))
    return np.stack(
        [(light * at).sum(axis=(1, 2)) / total, (light * at[:, None]).sum(axis=(1, 2)) / total], 1
    )


def fan(tensor: Array) -> dict[str, Array]:
    cells = np.repeat(spot_in(tensor)[:, None] * 64, 68, axis=1)
    heat = np.full((len(tensor), 68, 64, 64), 0.1, np.float32)
    heat[:, :, 5, 7] = 0.45
    return {"a": np.concatenate([cells, cells[..., :1]], axis=2), "b": heat}


def peppa(tensor: Array) -> dict[str, Array]:
    cells = np.repeat(spot_in(tensor)[:, None] * 64, 68, axis=1)
    return {
        "a": np.concatenate([cells, np.full_like(cells[..., :1], 0.38)], axis=2).reshape(len(tensor), -1, 3)
    }


def faceapi(tensor: Array) -> dict[str, Array]:
    return {"landmarks": np.repeat(spot_in(tensor)[:, None], 68, axis=1).reshape(len(tensor), 136)}


@pytest.mark.parametrize(
    ("card", "answer", "score"),
    [(FAN, fan, 0.45 / 0.9), (PEPPA, peppa, 0.38 / 0.95), (small.FACEAPI, faceapi, 1.0)],
    ids=["2dfan4", "peppa_wutz", "faceapi"],
)
def test_what_a_network_points_at_is_found_in_the_frame(
    card: Card, answer: Callable[[Array], dict[str, Array]], score: float
) -> None:
    angles = np.radians([0, 30, 90, -135, 180.0] * 4)  # more than one batch
    turn = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.zeros((20, 5, 2))
    points[:, 0], points[:, 1] = (160, 110) - 25 * turn, (160, 110) + 25 * turn
    boxes = np.tile([110.0, 70, 210, 190], (20, 1)) + RNG.uniform(-5, 5, (20, 4))
    found, sure = landmark68.landmarks(networks.stand_in(answer), card, spotted(), points, boxes)
    np.testing.assert_allclose(found, np.broadcast_to(SPOT, (20, 68, 2)), atol=0.15)
    np.testing.assert_allclose(sure, score, rtol=1e-5)
    none, _ = landmark68.landmarks(networks.stand_in(answer), card, spotted(), points[:0], boxes[:0])
    assert none.shape == (0, 68, 2)


def test_dark_crops_are_made_lighter_by_and_by() -> None:
    seen: list[float] = []

    def answer(tensor: Array) -> dict[str, Array]:
        seen.append(float(tensor.std() / tensor.mean()))
        return {"landmarks": np.zeros((len(tensor), 136), np.float32)}

    places, boxes = (
        np.array([[[40.0, 50], [60, 50], [50, 60], [42, 70], [58, 70]]]),
        np.array([[20.0, 20, 80, 80]]),
    )
    pattern = np.clip(RNG.normal(1, 0.15, (100, 100, 1)), 0.5, 1.5)
    for light in (25, 30, 35, 60, 90):
        picture = still(np.repeat(np.rint(pattern * light).astype(np.uint8), 3, axis=2))
        landmark68.landmarks(networks.stand_in(answer), small.FACEAPI, picture, places, boxes)
    plain = seen[-1]
    assert seen[0] > 1.4 * plain
    assert seen[0] > seen[1] > seen[2] > 1.1 * plain
    assert math.isclose(seen[3], plain, rel_tol=0.05)


def test_five_points_are_aligned_before_they_become_more() -> None:
    template = geometry.template("ffhq_512")
    given_: list[Array] = []

    def answer(points: Array) -> dict[str, Array]:
        given_.append(points)
        return {"": points[:, np.arange(68) % 5]}

    matrix = geometry.rotation_scale(0.7, 180.0, (0.5, 0.5), (300.0, 200.0))
    points = np.stack([geometry.apply(matrix, template), RNG.uniform(0, 90, (5, 2))])
    found = landmark68.from_five(networks.stand_in(answer), FIVE, points)
    np.testing.assert_allclose(given_[0][0], template, atol=1e-5)
    assert given_[0].dtype == np.float32
    np.testing.assert_allclose(found, points[:, np.arange(68) % 5], atol=1e-3)
    assert landmark68.from_five(networks.stand_in(answer), FIVE, points[:0]).shape == (0, 68, 2)


def test_other_cards_are_refused() -> None:
    with pytest.raises(ModelError, match="facemesh: does not find 68 points"):
        landmark68.family(FACEMESH)
    with pytest.raises(ModelError, match="2dfan4: does not make 68 points of five"):
        landmark68.from_five(networks.stand_in(fan), FAN, np.zeros((1, 5, 2)))


@pytest.fixture(scope="module")
def real(store: Store, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    home = tmp_path_factory.mktemp("networks") / "home"
    with networks.real(store, shared, home, (small.FACEAPI, small.FACEMESH_ONNX)) as runtime:
        yield runtime


FRONTAL = [
    "pd01_astronaut.png",
    "pd02_grace_hopper.jpg",
    "l13_two_men_handshake.jpg",
    "l14_pexels_woman_1280x1919.jpg",
    "pd23_painting_s3.jpg",
    "pd24_painting_s4.jpg",
    "pd26_painting_s8.jpg",
]


def sixty_eight(runtime: Runtime, frame: Frame, faces: Faces) -> Float64:
    card = runtime.catalogue.card("small_faceapi")
    return landmark68.landmarks(runtime, card, frame, faces.points, faces.box)[0]


@pytest.mark.parametrize("picture", FRONTAL)
def test_real_points_lie_where_the_dense_ones_do(real: Runtime, shared: Path, picture: str) -> None:
    frame = load(shared / "media" / picture)
    faces = detect.find(real, frame, Detect(min_size=60.0))
    assert faces.dense is not None
    across = np.linalg.norm(faces.points[:, 1] - faces.points[:, 0], axis=1)
    apart = (
        np.linalg.norm(sixty_eight(real, frame, faces) - faces.dense[:, MESH, :2], axis=2) / across[:, None]
    )
    assert apart.mean(axis=1).max() < 0.16  # jaws are drawn apart by the two mark-ups
    assert apart[:, 17:].mean(axis=1).max() < 0.1


def test_another_export_of_the_dense_landmarker_says_the_same(real: Runtime, shared: Path) -> None:
    card = real.catalogue.card("small_facemesh")
    pixels = pictures.looked_at(card)
    for picture in FRONTAL:
        frame = load(shared / "media" / picture)
        dense = detect.find(real, frame, Detect(min_size=60.0)).dense
        assert dense is not None
        rois = landmark.roi_from_dense(dense)
        crops = np.stack([np.clip(cpu.crop(frame, roi, (192, 192)), 0, 1) for roi in rois])
        result = real.session(card).run(pictures.to_tensor(crops, pixels))
        other, _ = landmark.decode(result["landmarks"], result["score"], rois)
        across = np.linalg.norm(np.diff(landmark.five(dense)[:, :2], axis=1)[:, 0], axis=1)
        apart = np.linalg.norm(other - dense, axis=2)[..., None].mean(axis=(1, 2)) / across
        assert (apart < 0.1).all()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_real_points_turn_with_the_picture(real: Runtime, shared: Path, turns: int) -> None:
    frame = load(shared / "media/pd01_astronaut.png")
    upright = sixty_eight(real, frame, detect.find(real, frame, Detect(min_size=60.0)))[0]
    turned = still(np.rot90(frame.planes[0], turns))
    found = sixty_eight(real, turned, detect.find(real, turned, Detect(min_size=60.0)))[0]
    x, y = upright.T
    wanted = {1: (y, 512 - x), 2: (512 - x, 512 - y), 3: (512 - y, x)}[turns]
    assert np.linalg.norm(found - np.stack(wanted, 1), axis=1).max() < 3.0


def followed(work: Iterator[object]) -> Tracks:
    while True:
        try:
            next(work)
        except StopIteration as finished:
            tracks: Tracks = finished.value
            return tracks


def test_tracks_keep_the_points_behind_the_dense_ones(tmp_path: Path) -> None:
    world = World(
        [Person(0, lambda i: (200.0 + 2 * i, 180, 40)), Person(1, lambda i: (480.0 - i, 170, 50))], 30
    )
    seen = world.eyes()
    batches: list[int] = []

    def refine(frame: Frame, dense: Float64) -> Float64:
        batches.append(len(dense))
        return dense[:, :68] * (1, 1, 0) + (3.0, -2.0, 0.0)

    eyes = Eyes(seen.windows, seen.find, seen.land, seen.roi_points, seen.roi_dense, seen.five, refine=refine)
    with Spill(tmp_path / "rough", 536) as spill:
        follower = Follower(eyes, spill, Detect(), TrackSettings(smooth=0.0), RATE)
        for index in range(world.length):
            follower.step(world.frame(index))
        tracks = followed(
            compose(
                follower.tracklets,
                spill,
                Facts(world.length, SIZE, follower.shots, RATE),
                TrackSettings(smooth=0.0),
                lambda rows: landmark68.five(rows[:, 468:]),
                tmp_path / "tracks",
            )
        )
    assert len(tracks.tracks) == 2
    assert max(batches) == 2  # all faces of a frame in one go
    for track in tracks.tracks:
        rows = np.asarray(tracks.dense[track.id][:], float)
        assert rows.shape == (30, 536, 3)
        np.testing.assert_allclose(rows[:, 468:, :2], rows[:, :68, :2] + (3, -2), atol=0.05)
        np.testing.assert_allclose(track.points, landmark68.five(rows[:, 468:]), atol=0.05)
        np.testing.assert_allclose(track.box[:, :2], rows[:, :468, :2].min(axis=1), atol=0.05)
    dense = tracks.at(7).dense
    assert dense is not None
    assert dense.shape == (2, 468, 3)


def test_a_real_clip_is_aligned_by_the_second_landmarker(real: Runtime, shared: Path, tmp_path: Path) -> None:
    clip = clips.probe(shared / "media/v08_talk_head_moves_480p25.mp4")
    tracks = []
    for refine in ("", "small_faceapi"):
        frames = decode.frames(clip, clips.index(clip), 0, 24, writable=False)
        settings = Settings.model_validate({"track": {"refine": refine, "embedder": "none"}})
        tracks.append(
            followed(
                pipeline.analyse(
                    frames, real, settings, total=24, rate=Fraction(25), spill=tmp_path / (refine or "plain")
                )
            )
        )
    plain, fine = (t.tracks[0] for t in tracks)
    rows = np.asarray(tracks[1].dense[1][:], float)
    assert rows.shape == (24, 536, 3)
    np.testing.assert_allclose(fine.points, landmark68.five(rows[:, 468:]), atol=0.05)
    across = np.linalg.norm(plain.points[:, 1] - plain.points[:, 0], axis=1).mean()
    apart = np.linalg.norm(fine.points - plain.points, axis=2).mean() / across
    assert 0 < apart < 0.12
    # What both know of the face itself is the same.
    np.testing.assert_allclose(fine.box, plain.box, atol=0.5)
    # Smoothed like the others: they tremble no more than these.
    tremble = [np.linalg.norm(np.diff(t.points, 2, axis=0), axis=2).mean() / across for t in (plain, fine)]
    assert tremble[1] < 1.1 * tremble[0]
    dense = tracks[1].at(3).dense
    assert dense is not None
    np.testing.assert_allclose(landmark.boxes(dense), fine.box[3:4], atol=0.05)


def test_pictures_are_aligned_by_it_too(real: Runtime, shared: Path) -> None:
    frame = load(shared / "media/pd01_astronaut.png")
    faces = detect.find(real, frame, Detect(min_size=60.0))
    card = real.catalogue.card("small_faceapi")
    finer = landmark68.refined(real, card, frame, faces)
    np.testing.assert_allclose(finer.points, landmark68.five(sixty_eight(real, frame, faces)))
    assert finer.dense is faces.dense
    assert len(landmark68.refined(real, card, frame, Faces.empty())) == 0
