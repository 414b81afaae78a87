"""A bench run: what happens once and what every frame takes, which stand-ins it needs, and the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from PIL import Image

from mien.bench import demo, report, standins, suite, words
from mien.bench.report import Report
from mien.errors import SettingsError
from mien.models import catalogue
from mien.models.catalogue import Catalogue
from mien.models.store import Store
from mien.run.verbs import swap
from mien.settings import Detect, Device, Enhance, Job, Mask, Role, Settings, Swap, Track
from mien.types import Event, Finished, Progress, Started, Warned
from tests.run.conftest import home as home
from tests.run.conftest import material as material

T = TypeVar("T")


def drained(work: Generator[Event, None, T]) -> tuple[list[Event], T]:
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as stop:
            return events, stop.value


def timed(*events: tuple[float, str, int], seconds: float) -> tuple[float, float]:
    watch = suite.Stopwatch()
    for moment, stage, done in events:
        watch.see(Progress(stage, done, 100, 1.0, 0.0), moment)
    pace = watch.pace(seconds)
    return pace.startup, pace.steady_ms


def test_steady_time_and_start_up() -> None:
    # 2 s to begin, 10 ms a frame to look, 3 s to load, 100 ms a frame to render, 0.5 s to end.
    events = (
        *((2.0 + 0.01 * n, "find", n) for n in (10, 50, 100)),
        *((6.0 + 0.1 * n, "render", n) for n in (8, 40, 100)),
    )
    startup, steady = timed(*events, seconds=16.5)
    assert steady == pytest.approx(110.0)
    assert startup == pytest.approx(5.5)


def test_other_stages_and_short_clips_tell_no_pace() -> None:
    assert timed((1.0, "models", 5), (2.0, "models", 90), seconds=3.0) == (0.0, 0.0)
    assert timed((1.0, "find", 100), (2.0, "render", 100), seconds=3.0) == (0.0, 0.0)
    assert timed(seconds=3.0) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (Settings(), set()),
        (Settings(swap=Swap(model="inswapper_128")), {"inswapper_128", "arcface_w600k_r50"}),
        (Settings(swap=Swap(model="simswap_256")), {"simswap_256", "arcface_w600k_r50", "crossface_simswap"}),
        (Settings(swap=Swap(model="some/face.dfm")), set()),
        (Settings(enhance=Enhance(model="gfpgan_1.4")), {"gfpgan_1.4"}),
        (Settings(mask=Mask(occlusion="xseg_1, xseg_2")), {"xseg_1", "xseg_2"}),
        (Settings(mask=Mask(regions=("nose",))), {"bisenet_resnet_34"}),
        (
            Settings(track=Track(refine="2dfan4", embedder="arcface_w600k_r50")),
            {"2dfan4", "arcface_w600k_r50"},
        ),
        (Settings(detect=Detect(model="yoloface_8n")), {"yoloface_8n"}),
    ],
)
def test_networks_that_settings_name(settings: Settings, names: set[str]) -> None:
    assert set(suite.named(settings, Catalogue()).values()) == names


def test_a_home_with_stand_ins(tmp_path: Path) -> None:
    own = tmp_path / "models"
    own.mkdir()
    mesh = Catalogue().card("facemesh").network.name
    (own / mesh).write_bytes(b"a user's model")
    (own / "models.lock").write_text("the store's own")
    (own / "xseg_1.onnx").write_bytes(b"the real one")
    settings = Settings(mask=Mask(occlusion="xseg_1"))
    for _ in range(2):
        place, names = suite.equipped(settings, tmp_path, small=True)
        assert names == ("xseg_1",)
        assert (own / "xseg_1.onnx").read_bytes() == b"the real one"
        assert (place / "models" / mesh).read_bytes() == b"a user's model"
        assert not (place / "models" / "models.lock").exists()
        card = catalogue.load(place).card("xseg_1")
        assert standins.is_standin(card)
        assert Store(place, offline=True).locate(card)["xseg_1.onnx"].parent == place / "models"
        assert len(list((place / "cards").iterdir())) == 1
    place, names = suite.equipped(Settings(), tmp_path, small=True)
    assert names == ()
    assert not standins.is_standin(catalogue.load(place).card("xseg_1"))


def test_a_network_without_stand_in(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"swap\.model: ghost_1_256 has no stand-in .* inswapper_128"):
        suite.equipped(Settings(swap=Swap(model="ghost_1_256")), tmp_path, small=True)


def test_only_videos(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    job = Job(
        target=tmp_path / "a.png", output=tmp_path / "o.png", cast=(Role(sources=(tmp_path / "a.png",)),)
    )
    with pytest.raises(SettingsError, match="is no video"):
        next(suite.run(job, tmp_path))


def job(material: Path, tmp_path: Path, settings: Settings) -> Job:
    return Job(
        target=material / "clip.mp4",
        output=tmp_path / "out.mp4",
        cast=(Role(sources=(material / "face.png",)),),
        end="12f",
        settings=settings,
    )


def test_measures_the_same_run_as_the_verb(home: Path, material: Path, tmp_path: Path) -> None:
    asked = job(material, tmp_path, Settings())
    (tmp_path / "bench").mkdir()
    events, result = drained(suite.run(asked, tmp_path / "bench"))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (result.frames, result.faces) == (finished.frames, finished.faces) == (12, 12)
    assert sum(row.ms_per_frame for row in result.rows) == pytest.approx(
        sum(row["ms_per_frame"] for row in finished.stages.values()), rel=1e-6
    )
    assert {"decode", "detect", "swap", "encode"} <= {row.name for row in result.rows}
    assert (result.clip.width, result.clip.height, result.clip.rate) == (320, 240, 20.0)
    assert result.standins == ()
    assert 0 < result.cpu_percent <= 130
    assert result.pace.seconds > 0
    before = (tmp_path / "out.mp4").read_bytes()
    drained(swap(asked, folder=tmp_path / "again"))
    assert (tmp_path / "out.mp4").read_bytes() == before


FIXED = Device(engine="onnxruntime", precision="f32")
"""Measuring engines takes most of a short run."""


@pytest.mark.parametrize(
    "settings",
    [
        Settings(swap=Swap(model="inswapper_128"), enhance=Enhance(model="gfpgan_1.4"), device=FIXED),
        pytest.param(
            Settings(
                swap=Swap(model="hyperswap_1a_256"),
                enhance=Enhance(model="codeformer"),
                mask=Mask(occlusion="xseg_1", regions=("skin", "nose")),
                track=Track(refine="2dfan4"),
            ),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_networks_run_as_stand_ins(settings: Settings, home: Path, material: Path, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    asked = job(material, tmp_path, settings)
    _, result = drained(suite.run(asked, tmp_path / "bench", use_standins=True, small=True, home=home))
    needed = set(suite.named(settings, Catalogue()).values())
    assert set(result.standins) == needed
    timed = {net.card: net for net in result.networks}
    assert needed <= set(timed)
    assert timed[settings.swap.model].ms_per_frame > 0
    assert result.networks_ms > 0
    rows = {row.name: row for row in result.rows}
    assert "stand-in" in rows["swap"].engine
    assert rows["swap"].precision != "-"
    assert not (set(needed) & {path.stem for path in (home / "models").iterdir()})


def bench(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mien.app.cli", "bench", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MIEN_HOME": str(home), "COLUMNS": "100"},
    )


def test_command_line(home: Path, material: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    given = ["--target", str(material / "clip.mp4"), "--source", str(material / "face.png"), "--frames", "10"]
    done = bench(*given, "-o", str(output), home=home)
    assert done.returncode == 0, done.stderr
    result = report.load(output)
    assert result.frames == 10
    assert done.stdout.rstrip("\n") == words.text(result)
    assert output.with_suffix(".md").read_text() == words.markdown(result)
    with Image.open(output.with_suffix(".png")) as picture:
        picture.load()
        assert picture.format == "PNG"
    assert not (home / "jobs").exists() or not list((home / "jobs").iterdir())
    compared = bench("--compare", str(output), str(output), home=home)
    assert compared.returncode == 0
    assert "1.000" in compared.stdout


def test_command_line_as_json_without_a_network(home: Path, material: Path) -> None:
    given = ["--target", str(material / "clip.mp4"), "--source", str(material / "face.png"), "--frames", "6"]
    done = bench(*given, "--standins", "--json", home=home)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["kind"] == "mien bench"
    assert Report.model_validate({k: v for k, v in events[-1].items() if k not in report.DERIVED}).frames == 6
    (note,) = (e for e in events[:-1] if e["event"] == "warned" and e["subject"] == "standins")
    assert "--swap.model" in note["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--frames", "0"], 2, "frames: is 0"),
        (["--frames", "-3", "--target", "a.mp4"], 2, "frames: is -3"),
        (["-o", "result.txt"], 2, "result.txt is no name of a JSON file"),
        (["-o", "no/such/folder/result.json"], 3, "does not exist"),
        (["--target", "none.mp4", "--source", "none.png"], 3, "none.mp4: cannot be opened"),
        (["--compare", "none.json", "none.json"], 6, "none.json: cannot be read"),
    ],
)
def test_failures_say_why(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = bench(*arguments, home=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_demo_the_advice_is_to_give_a_clip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mien.bench import material as material_
    from mien.errors import MediaError

    def absent(name: demo.Name) -> None:
        raise ModuleNotFoundError(f"No module named {name}")

    monkeypatch.setattr(demo, "portrait", absent)
    with pytest.raises(MediaError, match=r"not installed\. Give --source"):
        material_.portrait(tmp_path)


def test_events_of_stand_ins_say_so() -> None:
    from mien.app.bench import _marked

    assert _marked(Progress("render", 1, 2, 0.0, 0.0), "stand-in: ") == Progress(
        "stand-in: render", 1, 2, 0.0, 0.0
    )
    assert _marked(Warned("a", "b"), "stand-in: ") == Warned("stand-in: a", "b")
    started = _marked(Started("id", Path("f"), 3), "")
    assert isinstance(started, Started)
    assert started.job == ""  # nothing is there to be continued


def test_docs_name_every_stand_in() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "learn" / "bench.md").read_text(encoding="utf-8")
    assert [name for name in standins.NAMES if f"`{name}`" not in text] == []
