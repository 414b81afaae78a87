"""A dancing face that jumps by a quarter of itself between frames is still landed on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien import pipeline
from mien.media.clip import index, probe
from mien.media.decode import frames
from mien.models import detect
from mien.models.runtime import Runtime
from mien.settings import Settings
from mien.settings import Track as TrackSettings


def test_landmarks_stay_on_a_face_that_moves_fast(runtime: Runtime, shared: Path, tmp_path: Path) -> None:
    clip = probe(shared / "media" / "v10_fullbody_small_face_720x1080p25.mp4")
    times = index(clip)
    seen = list(frames(clip, times, 20, 42, writable=False))
    settings = Settings(track=TrackSettings(smooth=0.0))
    work = pipeline.analyse(iter(seen), runtime, settings, total=len(seen), rate=clip.rate, spill=tmp_path)
    tracks = None
    while tracks is None:
        try:
            next(work)
        except StopIteration as done:
            tracks = done.value
    for k in (24, 25, 39, 40):
        followed = tracks.at(k).dense
        found = detect.find(runtime, seen[k - 20], settings.detect).dense
        assert followed is not None
        assert found is not None
        size = np.linalg.norm(found[0, 10, :2] - found[0, 152, :2])
        gap = np.sqrt(((followed[0, :, :2] - found[0, :, :2]) ** 2).sum(axis=1).mean())
        assert gap < 0.04 * size, f"frame {k}"
