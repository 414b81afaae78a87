"""The commands in one process, on the small clip."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mien.app import cli, demo, doctor, show
from mien.run import verbs
from mien.settings import Job, Role
from mien.types import Finished, Progress, Tracks


def test_swap_prints_what_it_did(
    material: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.mp4"
    arguments = ["swap", "--source", str(material / "face.png"), "--target", str(material / "clip.mp4")]
    assert cli.main([*arguments, "-o", str(output), "--end", "4f"]) == 0
    said = capsys.readouterr()
    assert "4 frames, 4 faces, 1 person" in said.out
    assert "facemesh ran on OpenVINO" in said.out
    assert said.out.rstrip().endswith(str(output))
    assert output.is_file()


def test_analyse_as_json(
    material: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "analyse",
        "--target",
        str(material / "clip.mp4"),
        "-o",
        str(tmp_path / "c.tracks"),
        "--json",
    ]
    assert cli.main([*arguments, "--end", "5f"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["started", "finished"]
    assert (events[-1]["frames"], events[-1]["people"]) == (5, 1)
    assert set(events[-1]["engines"]) == {"blazeface_full_range", "facemesh"}


def test_analyse_lists_the_tracks(
    material: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["analyse", "--target", str(material / "clip.mp4"), "-o", str(tmp_path / "c.tracks")]
    assert cli.main([*arguments, "--start", "2f", "--end", "7f"]) == 0
    heading, row = capsys.readouterr().out.splitlines()[-2:]
    assert heading.split() == ["track", "person", "shot", "frames", "height", "seen"]
    assert re.fullmatch(r" *1 +1 +1 +2 to 6 +\d+ px +100%", row)
    assert show.listed(Tracks(5, (64, 48), (0,), (), {})) == "nobody was found"


def test_cleaning_leaves_a_running_job_what_it_reads(
    material: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = (Role(sources=(material / "face.png",)),)
    job = Job(target=material / "clip.mp4", output=tmp_path / "out.mp4", cast=cast, end="6f")
    events = verbs.swap(job)
    for event in events:
        if isinstance(event, Progress) and event.stage == "render":
            break
    assert cli.main(["jobs", "clean"]) == 0
    assert "1 running" in capsys.readouterr().out
    assert list((home / "tracks").glob("*.tracks"))
    assert isinstance(list(events)[-1], Finished)
    assert job.output.is_file()


def test_jobs_are_listed_continued_and_cleaned(
    material: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(
        target=material / "clip.mp4",
        output=tmp_path / "out.mp4",
        cast=(Role(sources=(material / "face.png",)),),
        end="6f",
    )
    events = verbs.swap(job)
    for event in events:
        if isinstance(event, Progress):
            break
    events.close()
    assert cli.main(["jobs", "list", "--json"]) == 0
    (entry,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (entry["state"], entry["output"]) == ("stopped", str(tmp_path / "out.mp4"))
    assert cli.main(["jobs"]) == 0
    assert entry["id"][:12] in capsys.readouterr().out
    assert cli.main(["jobs", "continue"]) == 0
    assert (tmp_path / "out.mp4").is_file()
    assert cli.main(["jobs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["state"] == "finished"
    assert list((home / "tracks").glob("*.tracks"))
    assert cli.main(["jobs", "clean", entry["id"][:8]]) == 0
    assert capsys.readouterr().out.startswith("removed 1 job,")
    assert list((home / "tracks").glob("*.tracks"))
    assert cli.main(["jobs", "clean"]) == 0
    assert not list((home / "tracks").glob("*.tracks"))
    assert not list((home / "jobs").iterdir())


def test_doctor_and_models(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = doctor.examine()
    engines = [text for name, text in report["models"].items() if name != "mesh"]
    assert len(engines) == 3
    assert all(text.startswith("runs on OpenVINO") for text in engines)
    assert cli.main(["doctor"]) == 0
    assert "facemesh" in capsys.readouterr().out
    assert cli.main(["models", "pull"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("Apache-2.0" in line for line in lines)


def test_demo_uses_what_is_there(
    material: Path,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "astronaut.mp4").write_bytes((material / "clip.mp4").read_bytes())
    assert demo.run("astronaut", tmp_path) == 0
    said = capsys.readouterr().out
    assert "filming" not in said
    assert "percent" in said
    for name in ("astronaut_as_hopper.mp4", "astronaut_as_hopper.png"):
        assert (tmp_path / name).is_file()
        assert name in said
