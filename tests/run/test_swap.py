"""The verbs on a real, small clip."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.errors import JobError, MediaError, NoFaceError, SettingsError
from mien.models.catalogue import Catalogue
from mien.models.runtime import available_threads
from mien.run import needs, verbs, video
from mien.run.job import Folder, entries
from mien.settings import Detect, Device, Encode, Job, Role, Settings, Swap, Track
from mien.types import Array, Event, Finished, Progress, Started, Warned

SURE = Settings(detect=Detect(score=0.7))
"""Finds the six faces of `six.png` and nothing else."""


def _job(material: Path, output: Path, **changes: object) -> Job:
    job = Job(target=material / "clip.mp4", output=output, cast=(Role(sources=(material / "face.png",)),))
    return job.model_copy(update=changes)


def _run(job: Job, folder: Path | None = None) -> tuple[list[Event], Finished]:
    events = list(verbs.swap(job, folder=folder))
    last = events[-1]
    assert isinstance(last, Finished)
    return events, last


def _pictures(path: Path) -> tuple[list[int], list[Array]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [int(f.pts or 0) for f in frames], [f.to_ndarray(format="gray") for f in frames]


def _sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_video(material: Path, home: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    # Coding loses less than what is looked for.
    events, last = _run(_job(material, output, settings=Settings(encode=Encode(quality=92))))
    assert isinstance(events[0], Started)
    assert (events[0].frames, events[0].resumed) == (32, 0)
    assert (last.output, last.frames, last.faces, last.people) == (output, 32, 32, 1)
    assert {"decode", "find", "crop", "swap", "paste", "encode", "join"} <= set(last.stages)
    assert abs(sum(row["percent"] for row in last.stages.values()) - 100.0) < 1.0
    assert set(last.engines) == {"blazeface_full_range", "facemesh"}
    stages = {event.stage for event in events if isinstance(event, Progress)}
    assert {"analyse", "render"} <= stages

    times, before = _pictures(material / "clip.mp4")
    again, after = _pictures(output)
    assert again == times
    assert _sound(output) == _sound(material / "clip.mp4")
    change = np.mean([np.abs(a.astype(int) - b) for a, b in zip(before, after, strict=True)], axis=0)
    changed = int((change > 4.0).sum())
    assert changed > 800, "the face is changed"
    assert change[:, :40].max() < 4.0, "what is far from the face is not"
    assert change[:, -40:].max() < 4.0
    assert not list(tmp_path.glob(".*")), "nothing is left beside the result"
    (entry,) = entries(home / "jobs")
    assert (entry.state, entry.segments) == ("finished", 0)


def test_range_and_settings_reach_the_result(material: Path, home: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    settings = Settings(encode=Encode(codec="ffv1"), swap=Swap(strength=0.0))
    _, last = _run(_job(material, output, start="5f", end="0.6", settings=settings))
    assert last.frames == 12 - 5
    _, before = _pictures(material / "clip.mp4")
    _, after = _pictures(output)
    for a, b in zip(before[5:12], after, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1, "without strength and lossless nothing changes"


def test_analysis_is_used_again(material: Path, home: Path, tmp_path: Path) -> None:
    events = list(verbs.analyse(material / "clip.mp4", tmp_path / "c.tracks", sheet_path=tmp_path / "c.png"))
    assert isinstance(events[-1], Finished)
    assert (events[-1].frames, events[-1].people) == (32, 1)
    assert (tmp_path / "c.tracks").stat().st_size > 32 * 468 * 4
    with Image.open(tmp_path / "c.png") as sheet:
        assert sheet.size[0] > 192
    events, _ = _run(_job(material, tmp_path / "out.mp4", end="4f"))  # another range is another analysis
    assert "analyse" in {e.stage for e in events if isinstance(e, Progress)}
    events, _ = _run(_job(material, tmp_path / "out.mp4"))
    assert "analyse" not in {e.stage for e in events if isinstance(e, Progress)}


KILLED = """
import os, signal, sys
from pathlib import Path
from mien.run import verbs, video
from mien.settings import Job
video.SECONDS = 0.4
for event in verbs.swap(Job.model_validate_json(sys.argv[1]), folder=Path(sys.argv[2])):
    if len(list(Path(sys.argv[2], "segments").glob("*.mp4"))) >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_run_continues_to_the_same_bytes(
    material: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "SECONDS", 0.4)
    monkeypatch.setattr("mien.run.report.EVERY", 0.0)
    job = _job(material, tmp_path / "out.mp4")
    _run(job, tmp_path / "whole")
    expected = job.output.read_bytes()
    job.output.unlink()

    folder = tmp_path / "killed"
    script = "import mien.run.report; mien.run.report.EVERY = 0.0\n" + KILLED
    command = [sys.executable, "-c", script, job.model_dump_json(), str(folder), "2"]
    killed = subprocess.run(command, check=False, env={**os.environ, "MIEN_HOME": str(home)})
    assert killed.returncode == -signal.SIGKILL
    assert not job.output.exists()
    assert len(list((folder / "segments").glob("*.mp4"))) >= 2
    events, _ = _run(job, folder)
    assert isinstance(events[0], Started)
    assert events[0].resumed > 0
    assert job.output.read_bytes() == expected


def test_stopping_keeps_whole_segments_only(
    material: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "SECONDS", 0.4)
    monkeypatch.setattr("mien.run.report.EVERY", 0.0)
    job, folder = _job(material, tmp_path / "out.mp4"), tmp_path / "job"
    events = verbs.swap(job, folder=folder)
    for event in events:
        if isinstance(event, Progress) and event.stage == "render" and event.done >= 20:
            break
    events.close()
    assert not [
        t.name
        for t in threading.enumerate()
        if t.name.startswith(("mien-prefetch", "mien-drain", "mien-work"))
    ]
    files = sorted(p.name for p in (folder / "segments").iterdir())
    assert files
    assert all(name.endswith(".mp4") for name in files)
    assert not Folder(folder).busy
    assert not job.output.exists()


def test_one_job_is_not_run_twice_at_once(material: Path, home: Path, tmp_path: Path) -> None:
    job = _job(material, tmp_path / "out.mp4")
    first = verbs.swap(job, folder=tmp_path / "job")
    assert isinstance(next(first), Started)
    with pytest.raises(JobError, match=str(os.getpid())):
        next(verbs.swap(job, folder=tmp_path / "job"))
    first.close()


def test_folder_of_another_job_is_refused(material: Path, home: Path, tmp_path: Path) -> None:
    one = _job(material, tmp_path / "out.mp4")
    first = verbs.swap(one, folder=tmp_path / "job")
    next(first)
    first.close()
    with pytest.raises(JobError, match="holds another job"):
        next(verbs.swap(_job(material, tmp_path / "out.mp4", start="1f"), folder=tmp_path / "job"))


def test_outputs_that_cannot_be_are_refused_first(material: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(material / "clip.mp4")
    for output, problem in (
        (material / "clip.mp4", "is an input too"),
        (tmp_path / "link.mp4", "is an input too"),
        (material / "face.png", "is an input too"),
        (tmp_path / "missing" / "out.mp4", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "out.xyz", "cannot be written"),
    ):
        with pytest.raises(MediaError, match=problem):
            next(verbs.swap(_job(material, output)))
    assert not (home / "jobs").exists()


def test_sources_that_do_not_serve(material: Path, home: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    with pytest.raises(SettingsError, match="source"):
        next(verbs.swap(_job(material, output, cast=())))
    nobody = (Role(sources=(material / "nobody.png",)),)
    with pytest.raises(NoFaceError, match=r"nobody\.png"):
        list(verbs.swap(_job(material, output, cast=nobody)))
    with pytest.raises(MediaError, match=r"absent\.png"):
        list(verbs.swap(_job(material, output, cast=(Role(sources=(material / "absent.png",)),))))
    six = (Role(sources=(material / "six.png",)),)
    events, _ = _run(_job(material, output, cast=six, end="2f", settings=SURE))
    assert any("6 faces" in event.message for event in events if isinstance(event, Warned))


def test_unknown_track_and_empty_range(material: Path, home: Path, tmp_path: Path) -> None:
    role = (Role(sources=(material / "face.png",), faces="7"),)
    with pytest.raises(SettingsError, match="no track 7"):
        list(verbs.swap(_job(material, tmp_path / "out.mp4", cast=role, end="3f")))
    with pytest.raises(SettingsError, match="holds no frame"):
        next(verbs.swap(_job(material, tmp_path / "out.mp4", start="3f", end="3f")))


def test_source_may_be_a_video(material: Path, home: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    job = Job(target=material / "face.png", output=output, cast=(Role(sources=(material / "clip.mp4",)),))
    _, last = _run(job)
    assert (last.frames, last.faces) == (1, 1)
    with Image.open(material / "face.png") as one, Image.open(output) as two:
        before, after = np.asarray(one.convert("RGB")), np.asarray(two.convert("RGB"))
    assert before.shape == after.shape
    changed = np.any(before != after, axis=2)
    assert 5_000 < changed.sum() < 60_000
    assert not changed[:60].any(), "the cap is not the face"


def test_folder_of_pictures(material: Path, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("face.png", "nobody.png"):
        (folder / name).write_bytes((material / name).read_bytes())
    (folder / "cut.png").write_bytes((material / "face.png").read_bytes()[:5000])
    (folder / "notes.txt").write_text("not a picture")
    job = Job(target=folder, output=tmp_path / "out", cast=(Role(sources=(material / "face.png",)),))
    events, last = _run(job)
    assert (last.frames, last.faces) == (2, 1)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["face.png", "nobody.png"]
    said = {Path(e.subject).name: e.message for e in events if isinstance(e, Warned)}
    assert "written unchanged" in said["nobody.png"]
    assert "left out" in said["cut.png"]
    with Image.open(folder / "nobody.png") as one, Image.open(tmp_path / "out" / "nobody.png") as two:
        assert np.array_equal(np.asarray(one), np.asarray(two))


def test_one_picture_of_a_folder_may_lack_the_track(material: Path, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("face.png", "six.png"):
        (folder / name).write_bytes((material / name).read_bytes())
    cast = (Role(sources=(material / "face.png",), faces="2,3"),)
    events, last = _run(Job(target=folder, output=tmp_path / "out", cast=cast, settings=SURE))
    assert (last.frames, last.faces, last.people) == (2, 2, 2)
    (said,) = [event for event in events if isinstance(event, Warned) and "unchanged" in event.message]
    assert (Path(said.subject).name, said.message) == (
        "face.png",
        "there is no track 2, 3; it is written unchanged",
    )


def test_a_face_belongs_to_the_first_role_that_names_it(material: Path, home: Path, tmp_path: Path) -> None:
    role = Role(sources=(material / "face.png",), faces="all")
    for name, cast in (("one.png", (role,)), ("two.png", (role, role.model_copy(update={"faces": "left"})))):
        job = _job(material, tmp_path / name, target=material / "six.png", cast=cast, settings=SURE)
        assert _run(job)[1].faces == 6
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_what_has_no_effect_on_pictures_is_said(material: Path, home: Path, tmp_path: Path) -> None:
    settings = Settings(encode=Encode(codec="hevc", size="64x64"))
    job = _job(material, tmp_path / "out.png", target=material / "face.png", settings=settings)
    events, _ = _run(job, tmp_path / "job")
    assert isinstance(events[0], Started)
    said = [event.subject for event in events if isinstance(event, Warned)]
    assert said == ["encode.codec", "encode.size", str(tmp_path / "job")]
    with pytest.raises(SettingsError, match="videos only"):
        next(verbs.swap(job.model_copy(update={"start": "1"})))


@pytest.mark.parametrize("faces", ["lefft", "1,x", "1;2", ""])
def test_words_for_faces_are_checked_first(faces: str, tmp_path: Path) -> None:
    job = _job(tmp_path, tmp_path / "out.mp4", cast=(Role(sources=(tmp_path / "x.png",), faces=faces),))
    with pytest.raises(SettingsError, match="neither a word"):
        next(verbs.swap(job))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (Settings(detect=Detect(model="facemesh")), "detect.model"),
        (Settings(track=Track(model="blazeface_short_range")), "track.model"),
    ],
)
def test_models_of_another_task_are_refused(settings: Settings, field: str) -> None:
    with pytest.raises(SettingsError, match=field):
        needs.analysis(settings, Catalogue())
    with pytest.raises(SettingsError, match="retina"):
        needs.analysis(Settings(track=Track(model="retina")), Catalogue())


def test_threads_are_part_of_the_job(material: Path, home: Path, tmp_path: Path) -> None:
    ids = []
    for threads in (0, available_threads(), available_threads() + 1):
        settings = Settings(device=Device(threads=threads))
        events = verbs.swap(_job(material, tmp_path / "out.mp4", settings=settings), folder=None)
        started = next(events)
        assert isinstance(started, Started)
        ids.append(started.job)
        events.close()
    assert ids[0] == ids[1] != ids[2]


def test_picture_without_a_face(material: Path, home: Path, tmp_path: Path) -> None:
    job = _job(material, tmp_path / "out.png", target=material / "nobody.png")
    with pytest.raises(NoFaceError, match=r"nobody\.png"):
        list(verbs.swap(job))
    assert not (tmp_path / "out.png").exists()


def test_words_choose_among_the_faces_of_a_picture(material: Path, home: Path, tmp_path: Path) -> None:
    counts = {}
    for word in ("all", "left"):
        cast = (Role(sources=(material / "face.png",), faces=word),)
        output = tmp_path / f"{word}.png"
        job = _job(material, output, target=material / "six.png", cast=cast, settings=SURE)
        counts[word] = _run(job)[1].faces
    assert counts == {"all": 6, "left": 1}
    with Image.open(material / "six.png") as one, Image.open(tmp_path / "left.png") as two:
        changed = np.any(np.asarray(one) != np.asarray(two.convert("RGB")), axis=(0, 2))
    assert changed[:300].any()
    assert not changed[300:].any()


def test_animation(material: Path, home: Path, tmp_path: Path) -> None:
    with av.open(str(material / "clip.mp4")) as container:
        frames = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)][
            :5
        ]
    durations = [100, 40, 40, 200, 70]
    frames[0].save(tmp_path / "in.png", save_all=True, append_images=frames[1:], duration=durations, loop=3)
    job = _job(material, tmp_path / "out.png", target=tmp_path / "in.png")
    events, last = _run(job)
    assert (last.frames, last.faces, last.people) == (5, 5, 1)
    told = [event for event in events if isinstance(event, Progress) and event.stage == "render"]
    assert (told[-1].done, told[-1].total) == (5, 5)
    assert {"decode", "crop", "swap", "paste", "encode"} <= set(last.stages)
    with Image.open(tmp_path / "out.png") as result:
        found = []
        for k, before in enumerate(frames):
            result.seek(k)
            found.append(round(result.info["duration"]))
            now, then = np.asarray(result.convert("RGB")), np.asarray(before)
            assert np.any(now != then)
            assert np.array_equal(now[:, :40], then[:, :40])
        assert found == durations
        assert result.info["loop"] == 3
    whole = (tmp_path / "out.png").read_bytes()
    stopped = verbs.swap(job)
    for event in stopped:
        if isinstance(event, Progress) and event.stage == "analyse":
            break
    stopped.close()
    assert (tmp_path / "out.png").read_bytes() == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "in.png", "out.png"]
    assert not [p for p in (home / "tracks").iterdir()]
    assert not [
        t.name
        for t in threading.enumerate()
        if t.name.startswith(("mien-prefetch", "mien-drain", "mien-work"))
    ]
    with pytest.raises(SettingsError, match="videos only"):
        list(verbs.swap(job.model_copy(update={"start": "1"})))
    with pytest.raises(MediaError, match="no animation by its ending"):
        next(verbs.swap(job.model_copy(update={"output": tmp_path / "out.mp4"})))


def test_events_are_plain_data() -> None:
    event = Finished(Path("x"), 1, 1, 1, 1.0, 1.0)
    assert dataclasses.asdict(event)["output"] == Path("x")
