"""Finished clips looked through: flaws put into a result are found where they are, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from mien.errors import JobError, MediaError
from mien.models.store import Store
from mien.run import verbs
from mien.types import Finished, Warned
from tests.regression import scenes

SIZE = (320, 240)
COUNT = 40
CHIN = np.s_[138:176, 150:176]
"""Where a bar stands before the chin."""


@pytest.fixture
def home(tmp_path: Path, store: Store) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(store.folder, target_is_directory=True)
    return home


def clip(bar: Sequence[int] = ()) -> list[scenes.Picture]:
    """Somebody who sways a little, in some frames with a striped bar before the chin."""
    shown = []
    for k, picture in enumerate(scenes.talking("astronaut", COUNT, SIZE, 0.6)):
        own = picture.copy()
        if k in bar:
            own[CHIN] = np.where(np.arange(26)[:, None] % 8 < 4, 30, 220)
        shown.append(own)
    return shown


def changed(pictures: Sequence[scenes.Picture]) -> list[scenes.Picture]:
    """Everybody in another light, as a stand-in for a new face."""
    return [(0.8 * picture + 30.0).astype(np.uint8) for picture in pictures]


def looked(folder: Path, home: Path, target: Path, result: Path) -> list[tuple[int, int, str]]:
    """First frame, frame after the last, and reason of each stretch."""
    output = folder / "found.json"
    events = list(verbs.review(target, result, output, home=home))
    assert isinstance(events[-1], Finished)
    found = json.loads(output.read_text())
    assert (found["target"], found["result"]) == (str(target), str(result))
    said = [event.message for event in events if isinstance(event, Warned)]
    assert said == [moment["text"] for moment in found["moments"]]
    return [(m["frame"], m["end"], m["reason"]) for m in found["moments"]]


def test_what_is_painted_over_is_found(tmp_path: Path, home: Path) -> None:
    target = scenes.film(tmp_path / "clip.mp4", clip(bar=range(18, 24)))
    result = scenes.film(tmp_path / "result.mp4", changed(clip()))
    assert looked(tmp_path, home, target, result) == [(18, 24, "lost")]


def test_edges_that_are_nowhere_else_are_found(tmp_path: Path, home: Path) -> None:
    target = scenes.film(tmp_path / "clip.mp4", clip())
    result = scenes.film(tmp_path / "result.mp4", changed(clip(bar=range(30, 36))))
    assert looked(tmp_path, home, target, result) == [(30, 36, "marked")]


def test_a_jump_is_found(tmp_path: Path, home: Path) -> None:
    pictures = changed(clip())
    pictures[20] = (pictures[20] * 0.9).astype(np.uint8)
    target = scenes.film(tmp_path / "clip.mp4", clip())
    result = scenes.film(tmp_path / "result.mp4", pictures)
    assert looked(tmp_path, home, target, result) == [(20, 22, "jumps")]


def test_a_face_that_sits_elsewhere_is_found(tmp_path: Path, home: Path) -> None:
    pictures = changed(clip())
    for k in range(10, 16):
        pictures[k] = np.roll(pictures[k], 16, axis=1)
    target = scenes.film(tmp_path / "clip.mp4", clip())
    result = scenes.film(tmp_path / "result.mp4", pictures)
    found = looked(tmp_path, home, target, result)
    assert (10, 16, "apart") in found
    assert {(frame, end) for frame, end, _ in found} <= {(10, 16), (16, 17)}


def test_a_result_of_another_size_is_compared(tmp_path: Path, home: Path) -> None:
    target = scenes.film(tmp_path / "clip.mp4", clip(bar=range(18, 24)))
    pictures = [np.repeat(np.repeat(picture, 2, 0), 2, 1) for picture in changed(clip())]
    result = scenes.film(tmp_path / "result.mp4", pictures)
    assert looked(tmp_path, home, target, result) == [(18, 24, "lost")]


def test_where_nothing_is_changed_nothing_is_judged(tmp_path: Path, home: Path) -> None:
    target = scenes.film(tmp_path / "clip.mp4", clip(bar=range(18, 24)))
    result = scenes.film(tmp_path / "result.mp4", clip(bar=range(18, 24)), options={"crf": "30"})
    events = list(verbs.review(target, result, home=home))
    assert [(e.subject, e.message) for e in events if isinstance(e, Warned)] == [
        (str(result), "shows no new face: nothing differs from the clip")
    ]


def test_a_part_of_the_clip(tmp_path: Path, home: Path) -> None:
    target = scenes.film(tmp_path / "clip.mp4", clip(bar=range(28, 34)))
    result = scenes.film(tmp_path / "result.mp4", changed(clip())[10:])
    with pytest.raises(JobError, match="has 30 frames, the clip 40"):
        list(verbs.review(target, result, home=home))
    output = tmp_path / "found.json"
    list(verbs.review(target, result, output, start="10f", home=home))
    assert [(m["frame"], m["end"]) for m in json.loads(output.read_text())["moments"]] == [(28, 34)]


def test_what_cannot_be_looked_through(tmp_path: Path, home: Path) -> None:
    target = scenes.film(tmp_path / "clip.mp4", clip())
    picture = tmp_path / "one.png"
    scenes.portrait("hopper").save(picture)
    with pytest.raises(MediaError, match="is no video"):
        list(verbs.review(target, picture, home=home))
    with pytest.raises(MediaError, match="is the clip itself"):
        list(verbs.review(target, target, home=home))
    with pytest.raises(MediaError, match="is an input too"):
        list(verbs.review(target, tmp_path / "gone.mp4", target, home=home))
    with pytest.raises(MediaError, match="cannot be opened"):
        list(verbs.review(target, tmp_path / "gone.mp4", home=home))


def test_frames_without_a_face_are_no_matter(tmp_path: Path, home: Path) -> None:
    away = [np.full_like(picture, 120) for picture in clip()[:10]]
    target = scenes.film(tmp_path / "clip.mp4", clip(bar=range(18, 24)) + away)
    result = scenes.film(tmp_path / "result.mp4", changed(clip()) + away)
    assert looked(tmp_path, home, target, result) == [(18, 24, "lost")]


def test_stretches_do_not_reach_over_frames_that_are_as_they_were(tmp_path: Path, home: Path) -> None:
    """The bar is seen twice; between, the own face is kept, as a cue would keep it."""
    bar = [*range(12, 16), *range(22, 26)]
    target = scenes.film(tmp_path / "clip.mp4", clip(bar))
    pictures = changed(clip())
    pictures[16:22] = clip()[16:22]
    result = scenes.film(tmp_path / "result.mp4", pictures)
    assert looked(tmp_path, home, target, result) == [(12, 16, "lost"), (22, 26, "lost")]


def test_damaged_frames_are_left_out_and_said(tmp_path: Path, home: Path) -> None:
    """Each frame is compared with its own, whatever is missing before it."""
    target = scenes.film(tmp_path / "clip.mp4", clip(bar=range(28, 34)), gop=10)
    result = scenes.film(tmp_path / "result.mp4", changed(clip()), gop=10)
    with av.open(str(result)) as file:
        packets = [(p.pos, p.size) for p in file.demux(video=0) if p.size and p.pos is not None]
    data = bytearray(result.read_bytes())
    for place, size in packets[10:15]:
        data[place + 4 : place + size] = bytes(size - 4)
    result.write_bytes(data)
    output = tmp_path / "found.json"
    *events, last = verbs.review(target, result, output, home=home)
    assert isinstance(last, Finished)
    said = [event.message for event in events if isinstance(event, Warned)]
    assert any("frames cannot be decoded" in text for text in said)
    assert last.frames < COUNT
    found = [(m["frame"], m["end"], m["reason"]) for m in json.loads(output.read_text())["moments"]]
    assert [end for _, end, reason in found if reason == "lost"][-1] == 34
    assert all(end <= 22 for _, end, reason in found if reason != "lost")
