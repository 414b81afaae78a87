"""The command line as people and programs meet it: exit codes, one line on stderr, JSON on stdout."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from mien import errors
from mien.app import cli, show
from mien.settings import Job, Settings
from mien.types import Event, Finished, Progress, Started, Warned

HEAVY = ("av", "cv2", "numpy", "openvino", "onnxruntime", "scipy", "PIL", "rich", "mien.run", "mien.media")


def mien(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mien.app.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MIEN_HOME": str(home), "COLUMNS": "100"},
    )


def test_help_needs_no_heavy_module(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom mien.app.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for verb in cli.COMMANDS:
        assert verb in done.stdout


def test_help_of_swap_names_every_setting(tmp_path: Path) -> None:
    text = mien("swap", "--help", home=tmp_path).stdout
    for group, field in Settings.model_fields.items():
        inner = field.annotation
        assert inner is not None
        for name in inner.model_fields:
            assert f"--{group}.{name.replace('_', '-')}" in text
    assert "-o PATH, --output PATH" in text


def test_version(tmp_path: Path) -> None:
    assert re.fullmatch(r"mien \d+\.\d+\.\S+\n", mien("--version", home=tmp_path).stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["swap", "--source", "s.png", "--target", "none.mp4", "-o", "o.mp4"],
            3,
            "none.mp4: cannot be opened",
        ),
        (["swap", "--target", "t.mp4", "-o", "o.mp4"], 2, "--source"),
        (["swap", "--source", "--target", "t.mp4", "-o", "o.mp4"], 2, "source: is empty"),
        (["swap", "--role", "=left", "--target", "t.mp4", "-o", "o.mp4"], 2, "source: is empty"),
        (["swap", "--role", "a.jpg=b.jpg", "--target", "t", "-o", "o"], 2, "--role a.jpg=b.jpg: 'b.jpg' is"),
        (["swap", "--role", "a=1", "--who", "r", "--target", "t", "-o", "o"], 2, "--who: belongs to"),
        (["swap", "--source", "s", "--faces", "her", "--target", "t", "-o", "o"], 2, "faces: 'her' is"),
        (
            ["swap", "--role", "a=1", "--role", "b=left", "--target", "none.mp4", "-o", "o.mp4"],
            3,
            "none.mp4: cannot be opened",
        ),
        (["swap", "--source", "s", "--target", "t", "-o", "o", "--swap.light", "7"], 2, "--swap.light"),
        (["swap", "--source", "s", "--target", "t", "-o", "o", "--swap.model", "magic"], 2, "magic"),
        (["jobs", "continue", "abc"], 6, "abc: is no job"),
        (["jobs", "continue"], 6, "0 jobs wait"),
        (["jobs", "clean", "abc"], 6, "abc: is no job"),
        (["dance"], 2, "dance"),
    ],
)
def test_failures_say_why_and_have_their_code(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = mien(*arguments, home=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_text_file_named_mp4(tmp_path: Path) -> None:
    (tmp_path / "t.mp4").write_text("not a video\n" * 50)
    done = mien(
        "swap", "--source", "s.png", "--target", str(tmp_path / "t.mp4"), "-o", "o.mp4", home=tmp_path
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "t.mp4" in done.stderr
    assert done.stderr.endswith("Give a video or picture, or convert it with another program.\n")


def test_failure_as_json(tmp_path: Path) -> None:
    done = mien("swap", "--source", "s", "--target", "none.mp4", "-o", "o.mp4", "--json", home=tmp_path)
    (line,) = done.stdout.splitlines()
    event = json.loads(line)
    assert event["event"] == "failed"
    assert event["kind"] == "MediaError"
    assert event["subject"].endswith("none.mp4")
    assert done.stderr.startswith("mien: ")


def test_every_error_has_a_code() -> None:
    codes = {
        name: cli.exit_code(kind("x", "y"))
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.MienError)
    }
    assert codes.pop("MienError") == 1
    assert set(codes.values()) == {2, 3, 4, 5, 6, 7, 8, 130}
    assert codes["VerificationError"] == 7
    assert codes["ChecksumError"] == 5


def test_jobs_of_an_empty_home(tmp_path: Path) -> None:
    done = mien("jobs", home=tmp_path)
    assert done.returncode == 0
    assert "no jobs" in done.stdout
    assert mien("jobs", "clean", home=tmp_path).stdout.startswith("removed 0 jobs")


def test_models_path(tmp_path: Path) -> None:
    assert mien("models", "path", home=tmp_path).stdout.strip() == str(tmp_path / "models")


def test_doctor(tmp_path: Path) -> None:
    done = mien("doctor", "--json", home=tmp_path)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert set(report) == {"machine", "libraries", "models", "choices", "codecs", "folders"}
    assert "absent" not in report["libraries"].values()
    assert report["models"].pop("mesh").startswith("runs on the processor")
    assert all(text.startswith("not here yet") for text in report["models"].values())
    assert report["codecs"]["h264"] == "libx264"
    assert str(tmp_path) in report["folders"]["jobs"]
    assert not list(tmp_path.iterdir()), "looking changes nothing"


def test_every_event_becomes_one_object() -> None:
    events: list[Event] = [
        Started("id", Path("f"), 10, 2),
        Progress("render", 1, 10, 5.0, 1.8),
        Warned("a.mp4", "is odd"),
        Finished(
            Path("o"), 10, 9, 1, 2.0, 5.0, {"swap": {"ms_per_frame": 1.5, "percent": 100.0}}, {"net": "cpu"}
        ),
    ]
    assert {type(event) for event in events} == set(get_args(Event))
    objects = [json.loads(json.dumps(show.plain(event))) for event in events]
    assert [o["event"] for o in objects] == ["started", "progress", "warned", "finished"]
    assert objects[0] == {"event": "started", "job": "id", "folder": "f", "frames": 10, "resumed": 2}
    assert objects[3]["stages"] == {"swap": {"ms_per_frame": 1.5, "percent": 100.0}}
    persons = {"person1": {"seconds": 1.5, "first": "0:00.040", "shots": 1, "tracks": [1, 3]}}
    found = Finished(Path("o"), 10, 9, 1, 2.0, 5.0, persons=persons)
    assert json.loads(json.dumps(show.plain(found)))["persons"] == persons
    assert re.search(r"person1 +1\.50 s +0:00\.040 +1 +1, 3", show.summary(found))
    assert set(objects[3]) >= {"output", "frames", "faces", "people", "seconds", "fps", "stages", "engines"}


def test_summary_is_plain_text() -> None:
    stages = {"swap": {"ms_per_frame": 1.5, "percent": 75.0}, "[x]": {"ms_per_frame": 0.5, "percent": 25.0}}
    text = show.summary(Finished(Path("o.mp4"), 10, 9, 2, 3725.0, 5.0, stages, {"net": "cpu"}))
    assert "10 frames, 9 faces, 2 people in 1:02:05 (5.0 fps)" in text
    assert re.search(r"swap +1\.50 +75\.0", text)
    assert "net ran on cpu" in text
    assert text.endswith("o.mp4")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3:05"), (3729, "1:02:09")]
)
def test_duration(seconds: float, text: str) -> None:
    assert show.duration(seconds) == text


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_says_how_to_continue(number: signal.Signals, tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from mien.app import cli
from mien.types import Started
def events():
    yield Started("0123456789abcdef", Path("somewhere/job"), 10)
    os.kill(os.getpid(), {int(number)})
    while True:
        pass
import signal
signal.signal(signal.SIGTERM, cli._terminate)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit it ignored
sys.exit(cli.follow(events(), json=True))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 130
    assert "mien jobs continue somewhere/job" in done.stderr
    assert "Traceback" not in done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["kind"]) == ("failed", "Cancelled")
    assert "mien jobs continue somewhere/job" in last["advice"]


def test_a_setting_that_is_written_wrongly_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["swap", "--target", "a.mp4", "-o", "b.mp4", "--source", "c.png", "--encode.size", "33x"])
    said = capsys.readouterr().err
    assert said.startswith("mien: --encode.size: is not written as it must be. Output width and height")
    assert "pattern" not in said
    assert said.count("\n") == 1


def test_an_option_that_is_given_twice_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []
    served: list[tuple[object, ...]] = []

    def swap(job: Job, *rest: object) -> int:
        jobs.append(job)
        return 0

    def studio(*given: object) -> int:
        served.append(given)
        return 0

    monkeypatch.setattr(cli, "_swap", swap)
    monkeypatch.setattr("mien.app.serve.studio", studio)
    sources = ["--source", "a.png", "b.png", "--source", "c.png"]
    assert cli.main(["swap", *sources, "--who", "x.png", "--who", "y.png", "--target", "t", "-o", "o"]) == 0
    (role,) = jobs[0].cast
    assert role.sources == (Path("a.png"), Path("b.png"), Path("c.png"))
    assert role.like == (Path("x.png"), Path("y.png"))
    assert cli.main(["studio", "--folder", "films", "--folder", "faces", "more"]) == 0
    assert served[0][2] == (Path("films"), Path("faces"), Path("more"))
