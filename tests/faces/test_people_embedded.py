"""Who is who by embeddings: made-up people whose embeddings are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.faces import people
from mien.types import Float32, Track, Tracks
from tests.faces.test_people import _look, _track, _tracks

SAME = 0.5


def embedding(person: int, away: float = 0.0, seed: int = 0) -> Float32:
    """A made-up person's embedding, 0 to 7: cosine 1 / sqrt(1 + away^2) to that of `away` 0, 0 to others."""
    own = np.random.default_rng([person, seed]).normal(0.0, 1.0, 4)
    own[0] = 0.0
    vector = np.zeros(32)
    vector[4 * person : 4 * person + 4] = np.array([1.0, 0.0, 0.0, 0.0]) + away * own / np.linalg.norm(own)
    return (vector * (3.0 + seed)).astype(np.float32)


def test_made_up_people_are_what_is_said_of_them() -> None:
    rows = people.units([embedding(1), embedding(1, 0.5, 4), embedding(2, 0.5, 4)])
    assert np.allclose((rows @ rows.T)[0], [1.0, 1.0 / np.sqrt(1.25), 0.0], atol=1e-6)


def test_known_again_after_a_cut_in_another_place_and_size() -> None:
    tracks = [
        replace(_track(1, 0, 50, 300, 80), embedding=embedding(1, 0.4, 1)),
        replace(_track(2, 0, 50, 100, 80), embedding=embedding(2, 0.4, 2)),
        replace(_track(3, 50, 50, 100, 160, shot=1), embedding=embedding(1, 0.4, 3)),
        replace(_track(4, 50, 50, 300, 40, shot=1), embedding=embedding(3, 0.4, 4)),
        replace(_track(5, 100, 50, 500, 60, shot=2), embedding=embedding(2, 0.4, 5)),
    ]
    assert people.group(tracks, SAME) == {1: 1, 2: 2, 3: 1, 4: 3, 5: 2}
    assert people.group(tracks) == {1: 1, 2: 2, 3: 3, 4: 4, 5: 5}


def test_two_who_left_at_once_and_came_back_changed_over() -> None:
    """Where they stand says the opposite of who they are; who they are counts."""
    tracks = [
        replace(_track(1, 0, 50, 300, 80), embedding=embedding(1, 0.4, 1)),
        replace(_track(2, 0, 50, 200, 80), embedding=embedding(2, 0.4, 2)),
        replace(_track(3, 70, 50, 200, 80), embedding=embedding(1, 0.4, 3)),
        replace(_track(4, 70, 50, 300, 80), embedding=embedding(2, 0.4, 4)),
    ]
    assert people.group(tracks) == {1: 1, 2: 2, 3: 2, 4: 1}
    assert people.group(tracks, SAME) == {1: 1, 2: 2, 3: 1, 4: 2}


def test_another_at_the_same_place_is_another() -> None:
    """Cosine 0 contradicts the place; one that is only doubtful does not."""
    first = replace(_track(1, 0, 50, 300, 80), embedding=embedding(1))
    other = replace(_track(2, 60, 50, 300, 80), embedding=embedding(2))
    doubtful = replace(_track(2, 60, 50, 300, 80), embedding=embedding(1, 2.0))
    assert 0.4 < float(people.units([embedding(1)])[0] @ people.units([embedding(1, 2.0)])[0]) < SAME
    assert people.group([first, other], SAME) == {1: 1, 2: 2}
    assert people.group([first, doubtful], SAME) == {1: 1, 2: 1}
    assert people.group([first, replace(doubtful, shot=1)], SAME) == {1: 1, 2: 2}


def test_of_twins_on_screen_the_liker_one_is_known_again() -> None:
    tracks = [
        replace(_track(1, 0, 50, 300, 80), embedding=embedding(1)),
        replace(_track(2, 50, 50, 100, 80, shot=1), embedding=embedding(1, 0.5, 1)),
        replace(_track(3, 60, 50, 300, 80, shot=1), embedding=embedding(1, 0.2, 2)),
    ]
    assert people.group(tracks, SAME) == {1: 1, 2: 2, 3: 1}


def test_a_chain_of_doubtful_ones_is_not_one_person() -> None:
    """Average linkage: each is alike to the next, the first and the last are not."""
    angles = np.deg2rad([0, 50, 100, 150])
    tracks: list[Track] = []
    for k, angle in enumerate(angles):
        vector = np.array([np.cos(angle), np.sin(angle), 0, 0], np.float32)
        tracks.append(replace(_track(k + 1, 50 * k, 50, 300, 80, shot=k), embedding=vector))
    assert people.group(tracks, np.cos(np.deg2rad(55))) == {1: 1, 2: 1, 3: 2, 4: 2}


def test_looks_join_only_where_there_is_no_embedding() -> None:
    plain = [
        replace(_track(1, 0, 50, 300, 80), look=_look(1)),
        replace(_track(2, 50, 50, 100, 160, shot=1), look=_look(1, 0.2)),
    ]
    assert people.group(plain, SAME) == {1: 1, 2: 1}
    told_apart = [replace(t, embedding=embedding(t.id)) for t in plain]
    assert people.group(told_apart, SAME) == {1: 1, 2: 2}
    one_unknown = [told_apart[0], plain[1]]
    assert people.group(one_unknown, SAME) == {1: 1, 2: 1}
    third = replace(_track(3, 100, 50, 500, 80, shot=2), embedding=embedding(3), look=_look(1, 0.1))
    found = people.group([*one_unknown, third], SAME)
    assert found[2] in (found[1], found[3])
    assert found[1] != found[3], "one without embedding does not make two different persons one"


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Track], dict[int, int]]:
    """Tracks of a few people over a few shots, nobody there twice at once; and who each one is."""
    tracks: list[Track] = []
    truth: dict[int, int] = {}
    for shot in range(draw(st.integers(1, 4))):
        there = draw(st.lists(st.integers(1, 6), max_size=5, unique=True))
        for person in there:
            start = shot * 100
            for _ in range(draw(st.integers(1, 2))):
                length = draw(st.integers(5, 40))
                number = len(tracks) + 1
                away = draw(st.floats(0.0, 0.7))  # cosines of one person: at least 0.51 / 1.49
                x, size = draw(st.floats(50, 600)), draw(st.floats(30, 200))
                track = _track(number, start, length, x, size, shot=shot)
                tracks.append(replace(track, embedding=embedding(person, away, number)))
                truth[number] = person
                start += length + draw(st.integers(0, 10))
    return tracks, truth


@given(scenes())
def test_people_keep_their_numbers(scene: tuple[list[Track], dict[int, int]]) -> None:
    """Same number for the same person, another for another, numbered by first appearance."""
    tracks, truth = scene
    found = people.group(tracks, 0.3)
    assert found.keys() == truth.keys()
    pairs = {(truth[k], found[k]) for k in truth}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    order = [found[t.id] for t in sorted(tracks, key=lambda t: (t.start, t.id))]
    assert list(dict.fromkeys(order)) == list(range(1, len(pairs) + 1))


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60), st.integers(0, 5)), max_size=14))
def test_nobody_is_two_at_once(rows: list[tuple[int, int, int]]) -> None:
    """Whatever the embeddings, persons on screen at the same time are different."""
    tracks = [
        replace(_track(k, start, n, 300, 80), embedding=embedding(who, 0.5, k))
        for k, (start, n, who) in enumerate(rows, 1)
    ]
    found = people.group(tracks, SAME)
    for a in tracks:
        for b in tracks:
            if a.id < b.id and a.start < b.end and b.start < a.end:
                assert found[a.id] != found[b.id]


def _by_hand(vectors: list[Float32], same: float) -> list[set[int]]:
    """Average linkage as the textbook has it."""
    units = people.units(vectors)
    groups = [{k} for k in range(len(vectors))]
    while len(groups) > 1:
        best = max(
            (
                (float(np.mean([units[i] @ units[j] for i in a for j in b])), a, b)
                for a in groups
                for b in groups
                if a is not b
            ),
            key=lambda item: item[0],
        )
        if best[0] < same:
            break
        groups = [g for g in groups if g is not best[1] and g is not best[2]] + [best[1] | best[2]]
    return groups


@given(st.integers(1, 12), st.integers(0, 999), st.sampled_from([0.1, 0.4, 0.7]))
def test_it_is_average_linkage(count: int, seed: int, same: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = [rng.normal(0, 1, 3).astype(np.float32) for _ in range(count)]
    tracks = [replace(_track(k + 1, 50 * k, 50, 300, 80, shot=k), embedding=v) for k, v in enumerate(vectors)]
    found = people.group(tracks, same)
    groups: dict[int, set[int]] = {}
    for number, person in found.items():
        groups.setdefault(person, set()).add(number - 1)
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, _by_hand(vectors, same)))


def test_means_are_directions() -> None:
    """A long vector counts no more than a short one."""
    tracks: Tracks = _tracks(
        replace(_track(1, 0, 50, 300, 80, person=1), embedding=np.array([9, 0, 0], np.float32)),
        replace(_track(2, 60, 50, 300, 80, person=1), embedding=np.array([0, 1, 0], np.float32)),
        replace(_track(3, 0, 50, 100, 80, person=2), embedding=np.array([0, 0, 2], np.float32)),
        _track(4, 0, 50, 500, 80, person=3),
    )
    persons, means = people.means(tracks)
    assert persons == (1, 2)
    assert means == pytest.approx(np.array([[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]]))
    assert people.means(_tracks())[0] == ()
