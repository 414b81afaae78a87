"""Which tracks get which face: words, numbers, persons, pictures; and what is told of persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ModelError, NoFaceError, SettingsError, UnknownModel
from mien.media.clip import Clip, FrameIndex
from mien.models.catalogue import Catalogue
from mien.models.store import Store
from mien.run import casting
from mien.settings import Job, Role, Settings
from mien.types import Tracks
from tests.faces.test_people import _track, _tracks
from tests.faces.test_people_embedded import embedding

SAME = 0.5


def scene(*people: tuple[int, int, int], network: str = "network") -> Tracks:
    """Tracks numbered from 1, each as (person as grouped, who it is, shot)."""
    found = []
    for number, (person, who, shot) in enumerate(people, 1):
        x = 100.0 * number
        track = _track(number, 100 * shot, 50, x, 60.0 + number, shot=shot, person=person)
        found.append(replace(track, embedding=embedding(who, 0.4, number)))
    return replace(_tracks(*found), embedder=network)


def job(*roles: str | int) -> Job:
    """A role for each: a word or list, or a number for a picture of that made-up person."""
    made = []
    for role in roles:
        source = (Path(f"{role}.mp4"),)
        if isinstance(role, int):
            made.append(Role(sources=source, like=(Path(f"/pictures/{role}.jpg"),)))
        else:
            made.append(Role(sources=source, faces=role))
    return Job(target=Path("/clips/in.mp4"), output=Path("out.mp4"), cast=tuple(made))


def assign(tracks: Tracks, *roles: str | int) -> tuple[tuple[int, ...], ...]:
    """As a run does it."""
    meant = [embedding(role, 0.3, 99) if isinstance(role, int) else None for role in roles]
    return casting.assign(job(*roles), tracks, meant, SAME)


THREE = scene((1, 1, 0), (2, 2, 0), (1, 1, 1), (3, 3, 1), (2, 2, 2))


@pytest.mark.parametrize(
    ("roles", "ids"),
    [
        (("person2",), [(2, 5)]),
        (("person1,person3", "all"), [(1, 3, 4), (2, 5)]),
        (("3", "person1"), [(3,), (1,)]),
        (("all", "person2"), [(1, 2, 3, 4, 5), ()]),
        ((2,), [(2, 5)]),
        ((3, 1, 2), [(4,), (1, 3), (2, 5)]),
        ((1, "all"), [(1, 3), (2, 4, 5)]),
        (("2", 2, "left"), [(2,), (5,), (1, 3)]),
    ],
)
def test_roles(roles: tuple[str | int, ...], ids: list[tuple[int, ...]]) -> None:
    assert list(assign(THREE, *roles)) == ids


def test_a_role_without_pictures_needs_no_embeddings() -> None:
    plain = _tracks(_track(1, 0, 50, 100, 60), _track(2, 0, 50, 300, 80))
    assert casting.assign(job("left", "right"), plain) == ((1,), (2,))
    with pytest.raises(ValueError, match="embedding"):
        casting.assign(job(1), plain, (embedding(1),), SAME)
    with pytest.raises(ValueError, match="embedding"):
        casting.assign(job(1), THREE, (), SAME)


def test_one_to_one_though_both_pictures_are_nearest_to_one_person() -> None:
    """Greedily the first role would take the person whom the second needs."""
    vectors = {1: np.array([1.0, 0.0, 0.0]), 2: np.array([0.8, 0.6, 0.0])}
    tracks = scene((1, 0, 0), (2, 0, 0))
    own = [replace(t, embedding=vectors[t.person].astype(np.float32)) for t in tracks.tracks]
    tracks = replace(tracks, tracks=tuple(own))
    first, second = np.array([0.96, 0.28, 0.0]), np.array([0.9, -0.1, 0.42])
    cosines = [[float(m @ vectors[k] / np.linalg.norm(m)) for k in (1, 2)] for m in (first, second)]
    assert cosines[0][0] > cosines[0][1] > 0.9
    assert cosines[1][0] > 0.85 > 0.7 > cosines[1][1]
    meant = [first.astype(np.float32), second.astype(np.float32)]
    assert casting.assign(job(1, 2), tracks, meant, 0.6) == ((2,), (1,))
    assert casting.assign(job(1, 2), tracks, meant[::-1], 0.6) == ((1,), (2,))
    assert casting.assign(job(1), tracks, meant[:1], 0.6) == ((1,),), "who is there at once is not meant too"


def test_somebody_who_was_left_two_persons_is_found_as_both() -> None:
    """A cut left it open whether they are one; both surely look like the picture."""
    tracks = scene((1, 1, 0), (2, 2, 0), (3, 1, 1), (4, 3, 1))
    assert assign(tracks, 1) == ((1, 3),)
    assert assign(tracks, 1, 3) == ((1, 3), (4,))


def test_nobody_looks_like_the_picture() -> None:
    with pytest.raises(NoFaceError) as caught:
        assign(THREE, 1, 5)
    assert caught.value.subject == "/pictures/5.jpg"
    assert "nobody in in.mp4 surely looks like this: person" in caught.value.problem
    assert "is the nearest with 0.00, 0.50 is sure" in caught.value.problem
    assert "person1 (tracks 1, 3), person2 (tracks 2, 5), person3 (track 4)" in caught.value.advice


def test_somebody_may_be_absent_from_one_picture_of_many() -> None:
    vectors = (embedding(1), embedding(5), None)
    assert casting.assign(job(1, 5), THREE, vectors[:2], SAME, partial=True) == ((1, 3), ())
    assert casting.assign(job(5, "2"), THREE, vectors[1:], SAME, partial=True) == ((), (2,))
    with pytest.raises(NoFaceError, match="surely looks like this"):
        casting.assign(job(5), THREE, vectors[1:2], SAME, partial=True)
    small = replace(_tracks(_track(1, 0, 50, 100, 10)), embedder="network")
    assert casting.assign(job(5, "1"), small, vectors[1:], SAME, partial=True) == ((), (1,))


def test_two_pictures_of_one_person() -> None:
    with pytest.raises(NoFaceError) as caught:
        casting.assign(job(1, 2), THREE, (embedding(1), embedding(1, 0.5, 3)), SAME)
    assert caught.value.subject == "/pictures/2.jpg"
    assert "person1 is the nearest with 0." in caught.value.problem
    assert "goes to another role" in caught.value.problem


def test_nobody_at_all_and_nobody_large_enough() -> None:
    nobody = replace(_tracks(), embedder="network")
    with pytest.raises(NoFaceError, match=r"in\.mp4: nobody was found"):
        casting.assign(job(1), nobody, (embedding(1),), SAME)
    with pytest.raises(NoFaceError, match=r"in\.mp4: nobody was found"):
        casting.assign(job("left"), nobody)
    small = replace(_tracks(_track(1, 0, 50, 100, 10)), embedder="network")
    with pytest.raises(NoFaceError, match="nobody large enough"):
        casting.assign(job(1), small, (embedding(1),), SAME)


@given(st.permutations([1, 2, 3, 4]), st.permutations([1, 2, 3, 4]), st.integers(1, 4))
def test_everybody_finds_their_own(order: list[int], asked: list[int], count: int) -> None:
    """In whatever order people appear and are asked for."""
    tracks = scene(*((k, who, 0) for k, who in enumerate(order, 1)))
    found = assign(tracks, *asked[:count])
    assert [ids for (ids,) in zip(found, strict=True)] == [(order.index(who) + 1,) for who in asked[:count]]


def _said(tracks: Tracks, *roles: str | int) -> list[str]:
    wanted = job(*roles)
    return [warned.message for warned in casting.unchanged(wanted, assign(tracks, *roles), tracks)]


def test_what_is_said_of_shots_in_which_nobody_is_changed() -> None:
    (unsure,) = _said(THREE, "Prominent")
    assert unsure.startswith("in 1 of 3 shots with faces nobody is surely the prominent person")
    assert "network" not in unsure
    (without,) = _said(replace(THREE, embedder=""), "prominent")
    assert "a network that recognises people would find more" in without
    assert _said(THREE, "all", 2) == ["role 2 changes nobody: others are named before it"]
    assert _said(THREE, 3) == []


def test_pictures_need_a_network() -> None:
    with pytest.raises(ModelError) as caught:
        casting.check(job("left", 2), None)
    assert caught.value.subject == "2.jpg"
    assert "no network that recognises people" in caught.value.problem
    casting.check(job("left", "1"), None)


def test_settings_are_resolved(tmp_path: Path) -> None:
    known, store = Catalogue(), Store(tmp_path, offline=True)

    def resolved(name: str) -> str:
        settings = Settings.model_validate({"track": {"embedder": name}})
        made = casting.resolved(settings, known, store)
        assert made.detect == settings.detect
        return made.track.embedder

    assert resolved("none") == "none"
    assert resolved("auto") == "none", "none is installed"
    for card in known.of("embed"):
        assert resolved(card.name) == card.name
    with pytest.raises(SettingsError, match=r"track\.embedder: facemesh is a model for another task"):
        resolved("facemesh")
    with pytest.raises(UnknownModel):
        resolved("somebody")
    assert casting.embedder(Settings(), known) is None


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (Fraction(0), "0:00.000"),
        (Fraction(51, 25), "0:02.040"),
        (Fraction(1001, 30000), "0:00.033"),
        (Fraction(3599999, 1000), "59:59.999"),
        (Fraction(3723) + Fraction(4, 1000), "1:02:03.004"),
        (Fraction(-1, 10), "0:00.000"),
    ],
)
def test_timecode(moment: Fraction, text: str) -> None:
    assert casting.timecode(moment) == text


def _index(pts: Sequence[int], end: int, time_base: Fraction) -> FrameIndex:
    times = np.array(pts, np.int64)
    return FrameIndex(times, np.ones(len(times), bool), times, end, time_base)


def test_times_on_screen_are_exact() -> None:
    """Frames of different length, a clip that does not begin at 0, the last frame's own length."""
    base = Fraction(1, 90000)
    pts = [9000 + 3003 * k + (40000 if k >= 50 else 0) for k in range(100)]
    index = _index(pts, pts[-1] + 7000, base)
    clip = cast("Clip", _Beginning(Fraction(9000) * base))
    tracks = _tracks(
        _track(1, 10, 45, 100, 60, person=1),
        _track(2, 60, 40, 100, 60, person=1, shot=1),
        _track(3, 0, 20, 300, 60, person=2),
    )
    told = casting.persons(tracks, index, clip)
    assert list(told) == ["person1", "person2"]
    seconds = Fraction(45 * 3003 + 40000 + 39 * 3003 + 7000, 90000)
    assert told["person1"]["seconds"] == pytest.approx(float(seconds), abs=1e-6)
    assert told["person1"] | {"seconds": 0} == {
        "seconds": 0,
        "first": casting.timecode(10 * 3003 * base),
        "shots": 2,
        "tracks": [1, 2],
    }
    assert told["person2"]["first"] == "0:00.000"


class _Beginning:
    """A clip of which only the beginning and the time base matter."""

    def __init__(self, origin: Fraction) -> None:
        self.origin = origin
        self.time_base = Fraction(1, 90000)


@given(st.integers(0, 400), st.sampled_from([1001, 1251, 3003, 1500]), st.integers(0, 5000))
def test_first_appearance_is_a_moment_that_start_takes(frame: int, step: int, begin: int) -> None:
    """`--start` with what the sheet says begins with the frame that the sheet means."""
    base = Fraction(1, 30000)
    index = _index([begin + step * k for k in range(500)], begin + step * 500, base)
    clip: Any = _Beginning(begin * base)
    clip.time_base = base
    told = casting.persons(_tracks(_track(1, frame, 20, 100, 60)), index, clip)
    assert index.frame_at(told["person1"]["first"], clip) == frame
