"""Who is changed, and when: nobody there, somebody in the middle, two who cross, cuts, and every choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.errors import NoFaceError, SettingsError
from mien.faces import cuts, tracksfile
from mien.media import clip as clips
from mien.media import decode
from mien.run import verbs
from mien.settings import Encode, Settings
from mien.types import Array, Finished
from tests.media.makers import Sound
from tests.regression import scenes
from tests.regression.running import job, mien, packets, swap, times, touched

LOSSLESS = Settings(encode=Encode(codec="ffv1"))


def halves(before: Path, after: Path) -> list[tuple[int, int]]:
    """Changed samples in the left and right half of every picture of a lossless result."""
    found = []
    for differ in touched(before, after):
        middle = differ.shape[1] // 2
        found.append((int(differ[:, :middle].sum()), int(differ[:, middle:].sum())))
    return found


def test_nobody(home: Path, faces: Path, tmp_path: Path) -> None:
    """There is nothing to do, which is said; nothing is written."""
    clip = scenes.film(tmp_path / "in.mp4", scenes.empty(8))
    output = tmp_path / "out.mp4"
    done = mien("swap", "--source", faces / "hopper.png", "--target", clip, "-o", output, home=home)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "in.mp4: nobody was found." in done.stderr
    assert "detect.score" in done.stderr
    assert not output.exists()


def test_analyse_nobody(home: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", scenes.empty(6))
    events = list(verbs.analyse(clip, tmp_path / "c.tracks", sheet_path=tmp_path / "c.png"))
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.frames, last.faces, last.people) == (6, 0, 0)
    assert tracksfile.load(tmp_path / "c.tracks").tracks == ()


def test_somebody_in_the_middle_only(home: Path, faces: Path, tmp_path: Path) -> None:
    blank = scenes.empty(20)
    shots = [*blank[:12], *scenes.talking("astronaut", 12), *blank[12:]]
    clip = scenes.film(tmp_path / "in.mp4", shots, sounds=[Sound(0, 1.28)])
    output = tmp_path / "out.mkv"
    ran = swap(faces / "hopper.png", clip, output, settings=LOSSLESS)
    assert ran.finished.frames == 32
    assert ran.finished.faces == 12
    for k, differ in enumerate(touched(clip, output)):
        assert (differ.sum() > 1000) if 12 <= k < 24 else not differ.any(), f"frame {k}"
    sound = [packet for packet in packets(clip, "audio") if packet[0] >= 0]  # one primes MP4's decoder
    assert [payload for _, payload in packets(output, "audio")] == [payload for _, payload in sound]


def test_somebody_who_walks_in_and_out(home: Path, faces: Path, tmp_path: Path) -> None:
    """Partly out of the picture, the face is still painted inside it only."""
    places = [*np.linspace(-0.25, 0.5, 15), *np.linspace(0.5, 1.25, 15)]
    shots = [scenes.together([("astronaut", round(x * 320) - 52, 25)]) for x in places]
    clip = scenes.film(tmp_path / "in.mp4", shots)
    output = tmp_path / "out.mkv"
    ran = swap(faces / "hopper.png", clip, output, settings=LOSSLESS)
    found = [int(differ.sum()) for differ in touched(clip, output)]
    assert ran.finished.faces == sum(count > 0 for count in found)
    assert min(found[8:22]) > 1000
    assert found[0] == found[-1] == 0


def crossing() -> list[Array]:
    """The astronaut walks from left to right before Hopper, who walks the other way."""
    shots = []
    for k in range(40):
        step = round(k / 39 * 196)
        shots.append(scenes.together([("hopper", 206 - step, 22), ("astronaut", 10 + step, 28)]))
    return shots


def test_two_who_cross(home: Path, faces: Path, tmp_path: Path) -> None:
    """The one who is chosen stays the one, on both sides of the crossing."""
    clip = scenes.film(tmp_path / "in.mp4", crossing())
    events = list(verbs.analyse(clip, tmp_path / "c.tracks"))
    assert isinstance(events[-1], Finished)
    tracks = tracksfile.load(tmp_path / "c.tracks")
    front = [t for t in tracks.tracks if t.start == 0 and t.box[0, 0] < 160]
    assert len(front) == 1
    (walker,) = front
    middle = (walker.box[:, 0] + walker.box[:, 2]) / 2
    assert walker.end == 40, "she is never covered"
    assert np.all(np.abs(middle - np.linspace(62, 258, 40)) < 14), "and is not confused with who is behind"
    output = tmp_path / "out.mkv"
    ran = swap(faces / "hopper.png", clip, output, faces=str(walker.id), settings=LOSSLESS)
    assert ran.finished.faces == 40
    sides = halves(clip, output)
    assert all(left > 1000 and right == 0 for left, right in sides[:8])
    assert all(left == 0 and right > 1000 for left, right in sides[-8:])


def test_cut_between_people(home: Path, faces: Path, tmp_path: Path) -> None:
    """No face is carried over a cut, and nothing of the second person is painted in the first shot."""
    first = [scenes.close("astronaut", at=(0.3, 0.5), height=0.45) for _ in range(12)]
    second = [scenes.close("hopper", at=(0.7, 0.5), height=0.6) for _ in range(12)]
    clip = scenes.film(tmp_path / "in.mp4", [*first, *second])
    assert isinstance(list(verbs.analyse(clip, tmp_path / "c.tracks"))[-1], Finished)
    tracks = tracksfile.load(tmp_path / "c.tracks")
    assert tracks.shots == (0, 12)
    assert sorted((t.start, t.end) for t in tracks.tracks) == [(0, 12), (12, 24)]
    output = tmp_path / "out.mkv"
    swap(faces / "astronaut.png", clip, output, faces="all", settings=LOSSLESS)
    for k, (left, right) in enumerate(halves(clip, output)):
        there, elsewhere = (left, right) if k < 12 else (right, left)
        assert there > 1000
        assert elsewhere == 0
    later = next(t.id for t in tracks.tracks if t.start == 12)
    swap(faces / "astronaut.png", clip, output, faces=str(later), settings=LOSSLESS)
    sides = halves(clip, output)
    assert sides[:12] == [(0, 0)] * 12
    assert min(map(sum, sides[12:])) > 1000


def lit(picture: scenes.Picture, side: float, cast: tuple[float, float, float]) -> scenes.Picture:
    """Brighter on one side and of another colour."""
    x = np.linspace(-1.0, 1.0, picture.shape[1])[None, :, None]
    light = (0.85 + side * x) * np.array(cast)
    return np.asarray(np.clip(picture * light, 0.0, 255.0), np.uint8)


def test_prominent_is_one_person_over_all_shots(home: Path, faces: Path, tmp_path: Path) -> None:
    """Where it cuts from her to another and back, moved, smaller and in another light, she alone changes."""
    turns = np.linspace(0.0, 0.03, 10)
    first = [scenes.close("astronaut", at=(0.4 + t, 0.5), height=0.6) for t in turns]
    second = [scenes.close("hopper", at=(0.5, 0.5 + t), height=0.65) for t in turns]
    third = [
        lit(scenes.close("astronaut", at=(0.65 - t, 0.5), height=0.45), 0.3, (1.1, 1.0, 0.9)) for t in turns
    ]
    clip = scenes.film(tmp_path / "in.mp4", [*first, *second, *third])
    output = tmp_path / "out.mkv"
    ran = swap(faces / "hopper.png", clip, output, settings=LOSSLESS)
    assert (ran.finished.people, ran.finished.faces) == (1, 20)
    assert "in 1 of 3 shots with faces nobody is surely the prominent person" in ran.notes
    changed = [sum(both) for both in halves(clip, output)]
    assert changed[10:20] == [0] * 10
    assert min(changed[:10] + changed[20:]) > 1000


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Astronaut, smaller, left; Hopper, larger, right; for longer than she."""
    small = scenes.sprite("astronaut", 100)
    shots = []
    for k in range(10):
        wall = scenes.together([("hopper", 180 + k % 3, 10)], height=160)
        wall[40:140, 30 : 30 + small.shape[1]] = small
        shots.append(wall)
    return scenes.film(tmp_path_factory.mktemp("pair") / "pair.mp4", shots)


@pytest.mark.parametrize(
    ("faces_", "left", "right"),
    [
        ("prominent", False, True),
        ("largest", False, True),
        ("left", True, False),
        ("right", False, True),
        ("all", True, True),
        ("ALL", True, True),
        ("1,2", True, True),
    ],
)
def test_choice(
    faces_: str, left: bool, right: bool, pair: Path, home: Path, faces: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    ran = swap(faces / "astronaut.png", pair, output, faces=faces_, settings=LOSSLESS)
    assert ran.finished.people == left + right
    assert ran.finished.faces == 10 * (left + right)
    for one, two in halves(pair, output):
        assert one > 1000 if left else one == 0
        assert two > 1000 if right else two == 0


def test_choice_that_is_none(pair: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    for word, said in (
        ("1,9", "there is no track 9"),
        ("her", "neither a word nor a list"),
        ("", "neither"),
        ("-1", "neither"),
    ):
        with pytest.raises(SettingsError, match=said):
            list(verbs.swap(job(faces / "hopper.png", pair, tmp_path / "out.mp4", faces=word)))
    assert not (tmp_path / "out.mp4").exists()


def test_one_choice_for_each_person(pair: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """`mien analyse` and the choice by number speak of the same tracks; the words of a picture of it, too."""
    assert isinstance(list(verbs.analyse(pair, tmp_path / "c.tracks"))[-1], Finished)
    tracks = tracksfile.load(tmp_path / "c.tracks")
    by_place = sorted(tracks.tracks, key=lambda t: float(t.box[0, 0]))
    output = tmp_path / "out.mkv"
    swap(faces / "hopper.png", pair, output, faces=str(by_place[0].id), settings=LOSSLESS)
    assert all(one > 1000 and two == 0 for one, two in halves(pair, output))


def test_nobody_in_the_chosen_range(home: Path, faces: Path, tmp_path: Path) -> None:
    clip = scenes.film(tmp_path / "in.mp4", [*scenes.empty(8), *scenes.talking("astronaut", 8)])
    with pytest.raises(NoFaceError, match=r"in\.mp4: nobody was found"):
        list(verbs.swap(job(faces / "hopper.png", clip, tmp_path / "out.mp4", end="8f")))
    assert swap(faces / "hopper.png", clip, tmp_path / "out.mp4", start="8f").finished.faces == 8


def test_still_video_has_one_shot(home: Path, tmp_path: Path) -> None:
    """Frames that are equal are never a cut."""
    for k in range(3):
        picture = scenes.close("astronaut", height=0.4 + 0.03 * k)
        clip = scenes.film(tmp_path / f"{k}.mkv", [picture] * 8, codec="ffv1", options={})
        assert isinstance(list(verbs.analyse(clip, tmp_path / "c.tracks"))[-1], Finished)
        tracks = tracksfile.load(tmp_path / "c.tracks")
        assert tracks.shots == (0,)
        assert [(t.start, t.end) for t in tracks.tracks] == [(0, 8)]


def test_difference_is_a_number_whatever_rounding_does() -> None:
    """Histograms of equal pictures may add up to a hair more than 1; the root of less than 0 is no number."""
    colours = np.full((3, 4), 0.25 * (1.0 + 4 * np.finfo(np.float64).eps))
    spectrum = np.zeros((cuts.SIZE[1], cuts.SIZE[0] // 2 + 1), np.complex128)
    one = cuts.Look(colours, spectrum)
    assert cuts.difference(one, one) == 0.0


def test_tracks_agree_with_the_index(pair: Path, home: Path, tmp_path: Path) -> None:
    assert isinstance(list(verbs.analyse(pair, tmp_path / "c.tracks"))[-1], Finished)
    tracks = tracksfile.load(tmp_path / "c.tracks")
    clip = clips.probe(pair)
    assert tracks.frames == len(clips.index(clip)) == len(list(decode.frames(clip, clips.index(clip))))
    assert tracks.size == clip.size
    assert tracks.clip == clip.fingerprint
    assert len(times(pair)) == tracks.frames
