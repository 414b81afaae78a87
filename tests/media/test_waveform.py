"""The outline of a clip's sound, beside the tones that were put into it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mien.media import clip as clips
from mien.media.waveform import peaks
from tests.media.makers import Recipe, Sound, make


def _peaks(path: Path, points: int, **recipe: object) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    given = {"frames": 48, "rate": Fraction(24), **recipe}
    film = make(path, Recipe(**given))  # type: ignore[arg-type]
    clip = clips.probe(film)
    found: np.ndarray[tuple[int], np.dtype[np.float32]] = peaks(clip, clips.index(clip), points)
    return found


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "flac"), ("a.mkv", "pcm_s16le"), ("a.mkv", "libopus")]
)
def test_tones_are_where_they_were_put(tmp_path: Path, name: str, codec: str) -> None:
    found = _peaks(tmp_path / name, 40, sounds=(Sound(0.5, 1.5, codec=codec),))
    assert found.shape == (40,)
    assert found[:9].max() < 0.02
    assert found[12:28].min() > 0.05
    assert found[32:].max() < 0.02
    assert 0.0 <= found.min() <= found.max() <= 1.0


def test_no_sound_is_silence(tmp_path: Path) -> None:
    assert not _peaks(tmp_path / "a.mp4", 10).any()


def test_one_point_is_the_loudest_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    one = _peaks(path, 1, sounds=(Sound(0.0, 2.0, codec="pcm_s16le"),))
    many = _peaks(path, 500, sounds=(Sound(0.0, 2.0, codec="pcm_s16le"),))
    assert float(one[0]) == pytest.approx(float(many.max()))


def test_damage_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    _peaks(path, 10, sounds=(Sound(0.0, 2.0),))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    clip = clips.probe(path)
    assert peaks(clip, clips.index(clip), 10).shape == (10,)
