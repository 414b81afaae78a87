"""Head pose: the crop by formula, the real small networks against what the pictures show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ModelError
from mien.models import detect, landmark, pose
from mien.models.mediapipe import FACEMESH
from mien.models.pose import FSANET_1X1, FSANET_VAR
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Detect
from mien.types import Array
from tests.models import networks, small
from tests.models.recall import load, still


def test_the_crop_is_wide_stretched_and_from_end_to_end() -> None:
    seen: list[Array] = []

    def answer(tensor: Array) -> dict[str, Array]:
        seen.append(tensor)
        return {"output": np.tile(np.array([10, 20, 30], np.float32) + len(seen), (len(tensor), 1))}

    picture = np.full((220, 330, 3), 90, np.uint8)
    picture[:, :165, 0] = 40  # red falls to the left
    picture[:, :, 2] = np.linspace(100, 140, 220)[:, None]  # blue grows downwards
    box = np.array([[115.0, 85, 215, 135]])  # 100 x 50 becomes 220 x 110: 55 to 275, 55 to 165
    angles = pose.angles(networks.stand_in(answer), (FSANET_1X1, FSANET_VAR), still(picture), box)
    np.testing.assert_allclose(angles, [[11.5, 21.5, 31.5]])
    tensor = seen[0]
    assert tensor.shape == (1, 3, 64, 64)
    assert tensor.dtype == np.float32
    blue, _, red = tensor[0]  # blue first
    low, high = 40.0, 100 + 40 * 165 / 220

    def scaled(code: float) -> float:
        return ((code - low) / (high - low) * 255 - 127.5) / 128

    assert np.isclose(tensor.min(), -127.5 / 128, atol=0.01)
    assert np.isclose(tensor.max(), 127.5 / 128, atol=0.02)
    np.testing.assert_allclose(red[:, :31], scaled(40.0), atol=0.02)
    np.testing.assert_allclose(red[:, 33:], scaled(90.0), atol=0.03)
    np.testing.assert_allclose(blue[32], scaled(100 + 40 * (110 + 0.86) / 219), atol=0.05)


def test_nothing_is_no_error_and_other_cards_are() -> None:
    runtime = networks.stand_in(lambda tensor: {})
    frame = still(np.zeros((8, 8, 3), np.uint8))
    assert pose.angles(runtime, (FSANET_1X1,), frame, np.zeros((0, 4))).shape == (0, 3)
    with pytest.raises(ValueError, match="at least one"):
        pose.angles(runtime, (), frame, np.zeros((1, 4)))
    with pytest.raises(ModelError, match="facemesh"):
        pose.angles(runtime, (FACEMESH,), frame, np.zeros((1, 4)))


def test_an_even_crop_is_no_error() -> None:
    runtime = networks.stand_in(lambda tensor: {"output": tensor.mean(axis=(2, 3))})
    frame = still(np.full((40, 40, 3), 7, np.uint8))
    assert np.isfinite(pose.angles(runtime, (FSANET_1X1,), frame, np.array([[10.0, 10, 20, 20]]))).all()


@pytest.fixture(scope="module")
def real(store: Store, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    home = tmp_path_factory.mktemp("networks") / "home"
    with networks.real(store, shared, home, small.FSANET) as runtime:
        yield runtime


def seen(real: Runtime, shared: Path, picture: str) -> tuple[Array, Array]:
    frame = load(shared / "media" / picture)
    faces = detect.find(real, frame, Detect(min_size=60.0))
    assert faces.dense is not None
    cards = tuple(real.catalogue.card(card.name) for card in small.FSANET)
    return pose.angles(real, cards, frame, faces.box), np.degrees(landmark.roll(faces.dense))


@pytest.mark.parametrize(
    ("picture", "yaw"),
    [
        ("l02_profile_left.jpeg", 60),
        ("l03_profile_right.png", -57),
        ("pd01_astronaut.png", 3),
        ("pd02_grace_hopper.jpg", 0),
    ],
)
def test_yaw_is_what_the_picture_shows(real: Runtime, shared: Path, picture: str, yaw: float) -> None:
    angles, _ = seen(real, shared, picture)
    assert abs(angles[0, 0] - yaw) < 8


def test_roll_follows_the_eyes(real: Runtime, shared: Path) -> None:
    for picture in ("l08_medical_mask.jpg", "l13_two_men_handshake.jpg", "pd01_astronaut.png"):
        angles, roll = seen(real, shared, picture)
        np.testing.assert_allclose(angles[:, 2], roll, atol=7)


def test_the_cards_files_are_the_shared_ones(shared: Path) -> None:
    for card, twin in zip((FSANET_1X1, FSANET_VAR), small.FSANET, strict=True):
        path = shared / "models" / twin.network.name
        assert (path.name, path.stat().st_size) == (card.network.name, card.network.bytes)
