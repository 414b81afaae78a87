"""Pass one on real clips: everybody found, nobody across a cut, memory that does not grow."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mien import pipeline
from mien.errors import MediaError
from mien.faces.rows import FileRows
from mien.media import clip as clips
from mien.media import decode
from mien.models.runtime import Runtime
from mien.settings import Settings
from mien.types import Colour, Frame, Layout, Progress, Tracks

_RGB = Layout("rgb24", "rgb", 8, ((0, 1, 2),))


def _analyse(
    frames: Iterator[Frame], runtime: Runtime, folder: Path, total: int, rate: Fraction, smooth: float = 0.5
) -> tuple[Tracks, list[Progress]]:
    settings = Settings.model_validate({"track": {"smooth": smooth}})
    work = pipeline.analyse(
        frames, runtime, settings, total=total, rate=rate, spill=folder / "spill", clip="mark"
    )
    reports = []
    while True:
        try:
            reports.append(next(work))
        except StopIteration as finished:
            return finished.value, reports


def _clip(path: Path, first: int, last: int) -> tuple[Iterator[Frame], Fraction]:
    clip = clips.probe(path)
    return decode.frames(clip, clips.index(clip), first, last, writable=False), Fraction(clip.rate)


def test_talking_head_is_one_track(shared: Path, runtime: Runtime, tmp_path: Path) -> None:
    frames, rate = _clip(shared / "media/v08_talk_head_moves_480p25.mp4", 0, 40)
    tracks, reports = _analyse(frames, runtime, tmp_path, 40, rate)
    assert [(t.start, t.end, t.person) for t in tracks.tracks] == [(0, 40, 1)]
    assert tracks.clip == "mark"
    assert (tracks.frames, tracks.size, tracks.shots) == (40, (480, 480), (0,))
    assert isinstance(tracks.dense[1], FileRows)
    assert {r.stage for r in reports} == {"analyse", "smooth"}
    assert [p.name for p in (tmp_path / "spill").iterdir()] == ["clip.tracks"]
    rows = tracks.dense[1][:]
    box = np.concatenate([rows[..., :2].min(1), rows[..., :2].max(1)], axis=1)
    assert np.abs(box - tracks.tracks[0].box).max() < 0.02
    assert (tracks.tracks[0].points[:, 1, 0] > tracks.tracks[0].points[:, 0, 0]).all()


def test_smoothing_stays_near_what_was_seen(shared: Path, runtime: Runtime, tmp_path: Path) -> None:
    found = []
    for strength in (0.0, 0.5):
        frames, rate = _clip(shared / "media/v07_glasses_frontal_480p30.mp4", 0, 45)
        found.append(_analyse(frames, runtime, tmp_path, 45, rate, strength)[0].dense[1][:][..., :2])
    raw, smooth = found
    assert np.sqrt(np.square(smooth - raw).sum(2).mean()) < 0.5
    trembles = [np.quantile(np.linalg.norm(np.diff(x, 2, axis=0), axis=2).mean(axis=1), 0.25) for x in found]
    assert trembles[1] < 0.6 * trembles[0]  # in the quiet quarter of the frames


def test_cut_to_two_people(shared: Path, runtime: Runtime, tmp_path: Path) -> None:
    frames, rate = _clip(shared / "media/pd_x10_720p25.mp4", 40, 62)
    tracks, _ = _analyse(frames, runtime, tmp_path, 22, rate)
    assert tracks.shots == (0, 51)
    assert sorted((t.start, t.end) for t in tracks.tracks) == [(40, 51), (51, 62), (51, 62)]
    assert len({t.person for t in tracks.tracks}) == 3
    assert len(tracks.at(55)) == 2


def test_picture_without_people(runtime: Runtime, tmp_path: Path) -> None:
    grey = np.full((120, 160, 3), 90, np.uint8)
    still = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    frames = iter([Frame((grey,), _RGB, Colour("rgb", True), 0, 0, still)])
    tracks, _ = _analyse(frames, runtime, tmp_path, 1, Fraction(1))
    assert (tracks.frames, tracks.tracks, tracks.shots) == (1, (), (0,))


def test_no_frames_is_an_error(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no frame"):
        _analyse(iter(()), runtime, tmp_path, 0, Fraction(25))


@pytest.mark.slow
def test_memory_does_not_grow_with_length(shared: Path, runtime: Runtime, tmp_path: Path) -> None:
    frames, rate = _clip(shared / "media/v08_talk_head_moves_480p25.mp4", 0, 20)
    some = list(frames)

    def swinging(count: int) -> Iterator[Frame]:
        for k in range(count):
            at = k % 38
            yield replace(some[at if at < 20 else 38 - at], index=k)

    peaks = []
    for count in (300, 1500):
        tracemalloc.start()
        _analyse(swinging(count), runtime, tmp_path, count, rate)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 1200 more rows: their dense landmarks alone would take 13 MB as float64, 3.4 MB packed
    assert peaks[1] - peaks[0] < 1.5e6
