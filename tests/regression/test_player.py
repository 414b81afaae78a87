"""What a page is sent: the newest request's pictures, paced by the clip, none of them twice."""

from __future__ import annotations

import io
import json
import queue
import struct
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.app.server.player import Asked, Player, Previews, job_of
from mien.run import verbs
from mien.run.project import Part, Project
from mien.settings import Settings, Swap
from mien.types import Array
from tests.regression import scenes


@pytest.fixture
def project(home: Path, faces: Path, tmp_path: Path) -> Project:
    shots = scenes.talking("astronaut", 12, height=0.45)
    clip = scenes.film(tmp_path / "in.mp4", shots, rate=Fraction(16))
    list(verbs.analyse(clip, tmp_path / "a.tracks"))
    return Project(target=clip, cast=(Part(person="person1", sources=(faces / "hopper.png",)),))


class Page:
    """A page that only reads."""

    def __init__(self, home: Path, project: Project) -> None:
        self.said: queue.Queue[bytes | str] = queue.Queue()
        self.previews = Previews(home)
        self.player = Player(self.previews, lambda: project, lambda given: given, self.said.put)
        self.thread = threading.Thread(target=self.player.run)

    def ask(self, **asked: Any) -> None:
        self.player.ask(Asked.model_validate(asked))

    def answer(self) -> tuple[dict[str, Any], Array]:
        """The next picture."""
        message = self.said.get(timeout=60)
        assert isinstance(message, bytes), message
        (length,) = struct.unpack(">I", message[:4])
        header = json.loads(message[4 : 4 + length])
        return header, np.asarray(Image.open(io.BytesIO(message[4 + length :])), np.int16)

    def text(self) -> dict[str, Any]:
        message = self.said.get(timeout=60)
        assert isinstance(message, str)
        found: dict[str, Any] = json.loads(message)
        return found


@pytest.fixture
def page(home: Path, project: Project) -> Iterator[Page]:
    page = Page(home, project)
    page.thread.start()
    yield page
    page.player.end()
    page.thread.join()
    page.previews.close()


def test_a_frame_in_every_view(page: Page, project: Project) -> None:
    found = {}
    for view in ("before", "after", "difference", "mask", "both"):
        page.ask(show=5, view=view, width=160, id=view)
        header, found[view] = page.answer()
        assert (header["id"], header["frame"], header["width"]) == (view, 5, 160)
        assert header["height"] == found[view].shape[0]
    assert np.abs(found["both"][:, :160] - found["before"]).mean() < 3.0
    assert np.abs(found["both"][:, 160:] - found["after"]).mean() < 3.0
    new, tinted = (np.abs(found[view] - found["before"]).max(axis=2) for view in ("after", "mask"))
    assert new[tinted > 30].mean() > 12.0, "all of the face is another one"
    assert new[tinted < 10].mean() < 1.0, "and nothing beside it"
    assert found["difference"].max() > 100


def test_what_is_not_saved_yet_is_shown(page: Page, project: Project) -> None:
    page.ask(show=5, width=160)
    _, saved = page.answer()
    faint = project.model_copy(update={"settings": Settings(swap=Swap(strength=0.1))})
    page.ask(show=5, width=160, project=faint.model_dump(mode="json"))
    _, shown = page.answer()
    page.ask(show=5, width=160, view="before")
    _, own = page.answer()
    assert np.abs(shown - own).mean() < 0.5 * np.abs(saved - own).mean()


def test_plays_to_the_end_and_counts_what_it_left_out(page: Page) -> None:
    page.ask(play=2, until=9, width=160, view="after")
    shown, dropped = [], 0
    while True:
        message = page.said.get(timeout=60)
        if isinstance(message, str):
            break
        (length,) = struct.unpack(">I", message[:4])
        header = json.loads(message[4 : 4 + length])
        assert header["playing"]
        shown.append(header["frame"])
        dropped = header["dropped"]
    ended = json.loads(message)
    assert ended["ended"]
    assert ended["frame"] == 9
    assert shown == sorted(set(shown))
    assert shown[0] == 2
    assert len(shown) + ended["dropped"] == 8
    assert dropped <= ended["dropped"]


def test_the_newest_request_wins(home: Path, project: Project) -> None:
    page = Page(home, project)
    for number in range(12):
        page.ask(show=number, view="before", width=64)
    page.thread.start()
    assert page.answer()[0]["frame"] == 11
    page.ask(play=0, view="before", width=64, speed=0.1)
    assert page.answer()[0]["frame"] == 0
    page.ask(show=7, view="before", width=64)
    while (header := page.answer()[0])["playing"]:
        pass
    assert header["frame"] == 7
    page.player.end()
    page.thread.join()
    assert page.said.empty()
    page.previews.close()


def test_errors_have_the_one_shape_and_end_nothing(page: Page, project: Project, tmp_path: Path) -> None:
    page.ask(show=99, id=1)
    said = page.text()
    assert (said["id"], said["error"]["kind"]) == (1, "job")
    assert "12" in said["error"]["problem"]
    gone = project.model_copy(update={"target": tmp_path / "gone.mp4"})
    page.ask(show=0, project=gone.model_dump(mode="json"))
    assert page.text()["error"]["kind"] == "media"
    page.ask(show=0, width=64)
    assert page.answer()[0]["frame"] == 0


def test_nobody_cast_is_no_job(project: Project) -> None:
    assert job_of(project.model_copy(update={"cast": ()})) is None
    job = job_of(project)
    assert job is not None
    assert job.whole
    assert [str(role.faces) for role in job.cast] == ["person1"]


def test_few_clips_stay_open(home: Path, project: Project, tmp_path: Path) -> None:
    previews = Previews(home)
    clips = []
    for k in range(4):
        clip = tmp_path / f"{k}.mp4"
        clip.write_bytes(project.target.read_bytes())
        clips.append(project.model_copy(update={"target": clip}))
    with previews.of(clips[0]) as first, previews.of(clips[1]), previews.of(clips[2]):
        assert first.show(0, None).any()
    for one in clips:
        with previews.of(one):
            pass
    assert len(previews._open) == 2
    with previews.of(clips[3]) as again, previews.of(clips[3]) as same:
        assert again is same
    previews.close()
