"""Real files with the faults that generated ones cannot show well."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.regression.running import change, frames, packets, pictures, swap, times


@pytest.mark.parametrize(
    ("name", "count", "start"),
    [
        ("x03_real_1080p25_rotm90_audio.mp4", 4, "30f"),
        ("x04_real_480p_vfr_audio.mp4", 12, ""),
        ("pd_x13_2997_rot90.mp4", 6, ""),
        ("v15_asl_hand_chin_vga_mkv.mkv", 6, ""),
        ("v20_head_pose_1080p30_aac.mp4", 4, "100f"),
    ],
)
def test_real(
    name: str, count: int, start: str, shared: Path, home: Path, faces: Path, tmp_path: Path
) -> None:
    clip = shared / "media" / name
    output = tmp_path / f"out{clip.suffix}"
    first = int(start[:-1]) if start else 0
    ran = swap(faces / "hopper.png", clip, output, start=start, end=f"{first + count}f")
    assert ran.finished.frames == count
    assert ran.finished.faces == count
    given = times(clip)[first : first + count]
    origin = given[0] if first else 0
    assert times(output) == [moment - origin for moment in given]
    (before,) = _one(clip, first)
    (after,) = _one(output, 0)
    assert (before.rotation, before.color_range) == (after.rotation, after.color_range or before.color_range)
    one, two = (frame.to_ndarray(format="rgb24").astype("int16") for frame in (before, after))
    differ = change(one, two) > 15
    assert 0.001 < differ.mean() < 0.2
    if "audio" in name:
        sound = [payload for _, payload in packets(output, "audio")]
        whole = [payload for _, payload in packets(clip, "audio")]
        place = whole.index(sound[0])
        assert whole[place : place + len(sound)] == sound


def _one(path: Path, number: int) -> list[av.VideoFrame]:
    return [frame for k, frame in enumerate(frames(path)) if k == number]


@pytest.mark.slow
def test_two_picture_tracks(shared: Path, home: Path, faces: Path, tmp_path: Path) -> None:
    """A phone's motion photo: the video is worked on, the other track is left out and that is said."""
    clip = shared / "media" / "v01_phone_selfie_rot90_hevc_1440x1080.mp4"
    ran = swap(faces / "hopper.png", clip, tmp_path / "out.mp4")
    assert "a second picture stream" in ran.notes
    assert len(pictures(tmp_path / "out.mp4")) == ran.finished.frames
    assert next(frames(tmp_path / "out.mp4")).rotation == next(frames(clip)).rotation
