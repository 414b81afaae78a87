"""Who is who: grouping, choosing by word or number, the best view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.errors import NoFaceError, SettingsError
from mien.faces import people
from mien.types import Float32, Track, Tracks


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
        ("person3", (3,)),
        ("Person1, person4", (1, 4)),
        ("person2,2,1", (1, 2)),
        ("PROMINENT", (2,)),
    ],
)
def test_select(word: str, ids: tuple[int, ...]) -> None:
    assert people.select(SCENE, word) == ids


@pytest.mark.parametrize(
    "text", ["5", "1,9", "nobody", "", "1,", "-1", "²", "person5", "person", "person 1", "1 2"]
)
def test_unknown_names_what_exists(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        people.select(SCENE, text)
    assert "1, 2, 3, 4" in str(caught.value)
    assert "person1, person2, person3, person4" in str(caught.value)
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


def test_prominent_never_changes_a_second_person() -> None:
    tracks = _tracks(
        _track(1, 0, 100, 300, 90),
        _track(2, 0, 100, 100, 40),
        _track(3, 100, 50, 300, 100, shot=1),
        _track(4, 100, 50, 100, 30, shot=1),
    )
    assert people.select(tracks, "prominent") == (1,)
    assert people.select(tracks, "largest") == (3,)
    assert people.select(tracks, "right") == (1, 3)
    assert people.unsure(tracks, "Prominent", (1,)) == (1, 2)
    assert people.unsure(tracks, "prominent", (1, 3)) == (0, 2)
    assert people.unsure(tracks, "1", (1,)) == (0, 2)


def _look(person: int, unlike: float = 0.0) -> Float32:
    """How a made-up person looks, or `unlike` that."""
    rng = np.random.default_rng(person)
    value = rng.normal(0, 1, (3, 800)) + unlike * np.random.default_rng(99).normal(0, 1, (3, 800))
    return np.concatenate([value, np.ones((1, 800))]).astype(np.float32)


def test_group_knows_who_is_surely_the_same() -> None:
    tracks = [
        replace(_track(1, 0, 50, 300, 80), look=_look(1)),
        replace(_track(2, 0, 50, 100, 80), look=_look(2)),
        replace(_track(3, 50, 50, 100, 80, shot=1), look=_look(1, 0.3)),
        replace(_track(4, 50, 50, 300, 80, shot=1), look=_look(4)),
        replace(_track(5, 100, 50, 300, 80, shot=2), look=_look(2, 0.9)),
        _track(6, 100, 50, 100, 80, shot=2),
    ]
    assert people.group(tracks) == {1: 1, 2: 2, 3: 1, 4: 3, 5: 4, 6: 5}


def test_who_is_there_at_once_is_never_one() -> None:
    """Of two twins only the liker one is known again; who walked out and in is."""
    tracks = [
        replace(_track(1, 0, 50, 300, 80), look=_look(1)),
        replace(_track(2, 50, 50, 300, 80, shot=1), look=_look(1, 0.2)),
        replace(_track(3, 60, 40, 100, 80, shot=1), look=_look(1, 0.1)),
        replace(_track(4, 20, 30, 100, 80), look=_look(1, 0.3)),
        replace(_track(5, 100, 20, 500, 80, shot=2), look=_look(7)),
        replace(_track(6, 130, 20, 100, 40, shot=2), look=_look(7)),
    ]
    groups = people.group(tracks)
    assert groups[1] != groups[4]
    assert groups[2] != groups[3]
    assert len(set(groups.values())) == 3
    assert groups[5] == groups[6]


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


def test_persons_are_their_tracks_with_the_best_of_their_looks() -> None:
    tracks = _tracks(
        _track(1, 0, 100, 300, 60, person=2),
        _track(2, 0, 100, 100, 90, person=1),
        _track(3, 120, 30, 300, 90, person=2),
        _track(4, 200, 30, 300, 70, shot=1, person=2),
    )
    one, two = people.cast(tracks)
    assert (one.number, one.tracks, one.shots, one.view.track) == (1, (2,), 1, 2)
    assert (two.number, two.tracks, two.shots, two.view.track) == (2, (1, 3, 4), 2, 3)
    assert two.spans == ((0, 100), (120, 150), (200, 230))
    assert people.select(tracks, "person2") == (1, 3, 4)
    assert people.cast(_tracks()) == ()
