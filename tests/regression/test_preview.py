"""What a preview shows is what a render writes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mien.errors import JobError
from mien.images import cpu
from mien.media import clip as clips
from mien.media.decode import frames as decoded
from mien.run import preview as previews
from mien.run import verbs
from mien.run.preview import Preview, framing
from mien.settings import Cue, Encode, Job, Role, Settings, Swap
from tests.regression import scenes
from tests.regression.running import change

LOSSLESS = Settings(encode=Encode(codec="ffv1"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return scenes.film(tmp_path / "in.mp4", scenes.talking("astronaut", 12, height=0.45), rate=Fraction(16))


@pytest.fixture
def job(home: Path, faces: Path, clip: Path, tmp_path: Path) -> Job:
    cast = (Role(sources=(faces / "hopper.png",)),)
    return Job(target=clip, output=tmp_path / "out.mkv", cast=cast, settings=LOSSLESS, whole=True)


@pytest.fixture
def preview(job: Job, tmp_path: Path) -> Preview:
    list(verbs.analyse(job.target, tmp_path / "a.tracks"))
    return Preview(job.target)


def shown(path: Path, number: int) -> np.ndarray:
    clip = clips.probe(path)
    (frame,) = decoded(clip, clips.index(clip), number, number + 1)
    width, height = frame.size
    return cpu.glance(frame, np.array([[1.0, 0, 0], [0, 1.0, 0]]), (width, height))


def test_shows_what_is_rendered(preview: Preview, job: Job) -> None:
    asked = job.model_copy(update={"cues": (Cue(start="6f", show=0.0),)})
    list(verbs.swap(asked))
    for number in (3, 9, 4, 0, 11):
        assert np.array_equal(preview.show(number, asked), shown(job.output, number))
        assert np.array_equal(preview.show(number, asked, "before"), shown(job.target, number))


def test_a_part_is_rendered_with_the_faces_of_the_whole(preview: Preview, job: Job) -> None:
    list(verbs.swap(job.model_copy(update={"start": "4f", "end": "7f"})))
    for number in range(3):
        assert np.array_equal(preview.show(4 + number, job), shown(job.output, number))


def test_settings_and_faces_change_at_once(preview: Preview, job: Job, faces: Path) -> None:
    first = preview.show(5, job)
    dull = job.model_copy(update={"settings": LOSSLESS.model_copy(update={"swap": Swap(strength=0.2)})})
    other = job.model_copy(update={"cast": (Role(sources=(faces / "astronaut.png",)),)})
    own = preview.show(5, None)
    faint, strong = (change(preview.show(5, one), own).sum() for one in (dull, job))
    assert faint < 0.5 * strong
    assert not np.array_equal(preview.show(5, other), first)
    assert np.array_equal(preview.show(5, job), first)


def test_difference_and_mask(preview: Preview, job: Job) -> None:
    before, after = preview.show(5, job, "before"), preview.show(5, job)
    difference, mask = preview.show(5, job, "difference"), preview.show(5, job, "mask")
    wanted = np.clip(change(before, after) * previews.STRONGER, 0, 255)
    assert np.array_equal(difference.max(axis=2), wanted)
    tinted = change(mask, before) > 2
    assert tinted.sum() > 500
    assert (change(before, after) > 8)[~tinted].sum() < 20


def test_a_part_of_a_frame(preview: Preview, job: Job) -> None:
    whole = preview.show(5, job)
    part = preview.show(5, job, box=(40.0, 20.0, 64.0, 48.0))
    assert np.array_equal(part, whole[20:68, 40:104])
    small = preview.show(5, job, width=80)
    assert small.shape[:2] == (round(whole.shape[0] * 80 / whole.shape[1]), 80)


def test_framing_puts_the_box_into_the_picture() -> None:
    matrix, size = framing((1920, 1080), 960, (100.0, 50.0, 480.0, 270.0))
    assert size == (960, 540)
    assert np.allclose(matrix @ [100, 50, 1], [0, 0])
    assert np.allclose(matrix @ [580, 320, 1], [960, 540])


def test_what_cannot_be_shown(job: Job, tmp_path: Path) -> None:
    preview = Preview(job.target)
    assert preview.show(0, job, "before").any()
    with pytest.raises(JobError, match="is not analysed"):
        preview.show(0, job)
    with pytest.raises(JobError, match="frame 12: is no frame of the clip, which has 12"):
        preview.show(12, None)


def test_few_frames_are_kept(preview: Preview, monkeypatch: pytest.MonkeyPatch) -> None:
    one = preview.show(0, None).nbytes
    monkeypatch.setattr(previews, "KEPT", 2 * one)
    for number in (11, 0, 7, 3):
        preview.show(number, None)
        assert sum(p.nbytes for f in preview._reader._kept.values() for p in f.planes) <= 2 * one
