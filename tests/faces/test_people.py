"""Who is who: grouping, choosing by word or number, the best view."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import NoFaceError, SettingsError
from mien.faces import people
from mien.types import Track, Tracks


def _track(
    number: int,
    start: int,
    n: int,
    x: float,
    size: float,
    *,
    shot: int = 0,
    person: int = 0,
    drift: float = 0,
) -> Track:
    left = x - size / 2 + drift * np.arange(n)
    box = np.stack([left, np.full(n, 200 - size / 2), left + size, np.full(n, 200 + size / 2)], axis=1)
    five = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    points = box[:, None, :2] + five * size
    return Track(number, start, box, points, np.ones(n), np.ones(n, bool), shot, person or number)


def _tracks(*tracks: Track) -> Tracks:
    shots = tuple(sorted({0, *(t.start for t in tracks if t.shot)}))
    return Tracks(500, (640, 400), shots, tracks, {})


SCENE = _tracks(
    _track(1, 0, 100, 100, 60),
    _track(2, 0, 100, 320, 90),
    _track(3, 40, 10, 560, 120),
    _track(4, 0, 4, 20, 20),
)


@pytest.mark.parametrize(
    ("word", "ids"),
    [
        ("prominent", (2,)),
        ("all", (1, 2, 3, 4)),
        ("left", (1,)),
        ("right", (3,)),
        ("largest", (3,)),
        ("4,1", (1, 4)),
        (" 2 , 2", (2,)),
        ("PROMINENT", (2,)),
    ],
)
def test_select(word: str, ids: tuple[int, ...]) -> None:
    assert people.select(SCENE, word) == ids


@pytest.mark.parametrize("text", ["5", "1,9", "nobody", "", "1,", "-1", "²"])
def test_unknown_names_what_exists(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        people.select(SCENE, text)
    assert "1, 2, 3, 4" in str(caught.value)
    assert caught.value.subject == "faces"


def test_nobody() -> None:
    with pytest.raises(NoFaceError):
        people.select(_tracks(), "prominent")
    with pytest.raises(SettingsError, match="none"):
        people.select(_tracks(), "1")


def test_prominent_follows_its_person_through_shots() -> None:
    a, b = 7, 8
    tracks = _tracks(
        _track(1, 0, 100, 300, 90, person=a),
        _track(2, 100, 100, 300, 100, shot=1, person=b),
        _track(3, 200, 100, 300, 80, shot=2, person=a),
    )
    assert people.select(tracks, "prominent") == (1, 3)


def test_prominent_is_judged_in_each_shot_where_persons_are_not_joined() -> None:
    tracks = _tracks(
        _track(1, 0, 100, 300, 90),
        _track(2, 0, 100, 100, 40),
        _track(3, 100, 50, 300, 70, shot=1),
        _track(4, 100, 50, 100, 30, shot=1),
    )
    assert people.select(tracks, "prominent") == (1, 3)


def test_time_and_area_both_count() -> None:
    assert people.select(_tracks(_track(1, 0, 300, 100, 50), _track(2, 0, 60, 300, 90)), "prominent") == (1,)


def test_group_joins_who_returns_to_the_same_place() -> None:
    back = [_track(1, 0, 50, 300, 80), _track(2, 0, 200, 100, 80), _track(3, 90, 60, 320, 84)]
    assert people.group(back) == {1: 1, 2: 2, 3: 1}


def test_group_keeps_apart() -> None:
    there_at_once = [_track(1, 0, 50, 300, 80), _track(2, 30, 50, 300, 80)]
    other_size = [_track(1, 0, 50, 300, 80), _track(2, 60, 50, 300, 40)]
    other_shot = [_track(1, 0, 50, 300, 80), _track(2, 60, 50, 300, 80, shot=1)]
    for tracks in (there_at_once, other_size, other_shot):
        assert people.group(tracks) == {1: 1, 2: 2}


def test_contact_shows_a_frontal_seen_face_inside_the_picture() -> None:
    track = _track(1, 10, 60, -20, 80, drift=2.0)
    track.points[40:, 2, 0] += 30  # turned away towards the end
    track.observed[30:40] = False
    (view,) = people.contact(_tracks(track))
    k = view.frame - 10
    assert view.track == 1
    assert k < 40
    assert track.observed[k]
    assert track.box[k, 0] >= 0 or k == 29
    assert np.array_equal(view.box, track.box[k])
