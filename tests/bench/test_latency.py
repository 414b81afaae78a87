"""What a live picture waits: the estimate's terms, and a run frame by frame."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.bench import latency, suite
from mien.bench.latency import Latency
from mien.bench.report import Clip
from mien.errors import SettingsError
from mien.models.catalogue import Catalogue
from mien.run.render import Renderer
from mien.settings import Job, Role, Settings, Swap
from mien.types import Frame, Progress, Started
from tests.bench.test_suite import FIXED, bench, drained
from tests.run.conftest import home as home
from tests.run.conftest import material as material


def job(material: Path, folder: Path, settings: Settings, end: str = "22f") -> Job:
    return Job(
        target=material / "clip.mp4",
        output=folder / "out.mp4",
        cast=(Role(sources=(material / "face.png",)),),
        end=end,
        settings=settings,
    )


FOUND = Latency(
    date="",
    machine={},
    versions={},
    clip=Clip(name="a.mp4", width=8, height=8, rate=25.0, seconds=1.0),
    settings={},
    frames=20,
    warm=10,
    faces=20,
    stages={"swap": 20.0, "follow": 10.0},
    gpu={},
    mean_ms=30.0,
    p50_ms=28.0,
    p95_ms=40.0,
    most_ms=90.0,
    display_rate=50.0,
    networks=(),
    cpu_percent=50.0,
    threads=2,
    card="none",
    card_percent=0.0,
)


def test_glass_to_glass_is_half_of_both_intervals_and_the_pipeline() -> None:
    assert FOUND.camera_ms == pytest.approx(1000 / 25 / 2)
    assert FOUND.display_ms == pytest.approx(1000 / 50 / 2)
    assert FOUND.glass(FOUND.p50_ms) == pytest.approx(20 + 28 + 10)
    assert FOUND.fps == pytest.approx(1000 / 40)
    said = json.loads(latency.line(FOUND))
    assert {name: said[name] for name in latency.DERIVED} == {
        "fps": 25.0,
        "camera_ms": 20.0,
        "display_ms": 10.0,
        "glass_ms": 58.0,
        "glass_p95_ms": 70.0,
    }
    text = latency.text(FOUND)
    for words in (
        "58.0 ms = half a camera interval 20.0 + pipeline 28.0 + half a display interval 10.0",
        "p50 28.0, p95 40.0, most 90.0 ms",
        "25.0 fps",
        latency.NOT_IN_IT,
    ):
        assert words in text


def test_every_line_of_a_run_on_stand_ins_says_so() -> None:
    text = latency.text(FOUND.model_copy(update={"standins": ("inswapper_128",)}))
    assert all(line.startswith("stand-in |") for line in text.splitlines())


def test_times_of_a_card_stand_in_a_column_where_there_are_some() -> None:
    assert "GPU ms" not in latency.text(FOUND)
    text = latency.text(FOUND.model_copy(update={"gpu": {"swap": 1.25}, "card": "A", "card_percent": 40.0}))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["swap"] == ["swap", "20.00", "66.7", "1.25"]
    assert rows["follow"] == ["follow", "10.00", "33.3", "0.00"]
    assert "A, 40 %" in text


def test_frames_go_through_one_at_a_time(
    home: Path, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = Renderer.__call__

    def noted(self: Renderer, some: Sequence[Frame]) -> Sequence[Frame]:
        sizes.append(len(some))
        return real(self, some)

    monkeypatch.setattr(Renderer, "__call__", noted)
    events, found = drained(latency.run(job(material, tmp_path, Settings()), tmp_path, display=120.0))
    assert isinstance(events[0], Started)
    assert [e.done for e in events if isinstance(e, Progress) and e.stage == "live"] == list(range(1, 23))
    assert sizes == [1] * 22
    assert (found.frames, found.warm, found.faces) == (12, 10, 12)
    assert found.p50_ms <= found.p95_ms <= found.most_ms
    # the stages are all of a frame's time, but for the clock's own
    assert sum(found.stages.values()) == pytest.approx(found.mean_ms, rel=0.1)
    assert {"detect", "landmark", "follow", "smooth", "swap", "paste", "show"} <= set(found.stages)
    assert "encode" not in found.stages
    assert found.clip.rate == 20.0
    assert found.display_ms == pytest.approx(1000 / 240)
    assert not (tmp_path / "out.mp4").exists()


def test_networks_run_live_too(home: Path, material: Path, tmp_path: Path) -> None:
    asked = job(material, tmp_path, Settings(swap=Swap(model="inswapper_128", every=3), device=FIXED), "13f")
    _, found = drained(latency.run(asked, tmp_path, use_standins=True, small=True, home=home))
    assert set(found.standins) == set(suite.named(asked.settings, Catalogue()).values())
    assert found.stages["swap"] > 0
    assert {net.card: net.batch for net in found.networks}["inswapper_128"] == 1.0
    assert found.faces == 3


@pytest.mark.parametrize(
    ("end", "display", "says"), [("10f", 60.0, "10 are too few"), ("", 0.0, "display: is 0")]
)
def test_what_cannot_be_measured(
    end: str, display: float, says: str, home: Path, material: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=says):
        drained(latency.run(job(material, tmp_path, Settings(), end), tmp_path, display=display))


def test_only_videos(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    picture = tmp_path / "a.png"
    asked = Job(target=picture, output=tmp_path / "o.png", cast=(Role(sources=(picture,)),))
    with pytest.raises(SettingsError, match="is no video"):
        drained(latency.run(asked, tmp_path))


def test_command_line(home: Path, material: Path, tmp_path: Path) -> None:
    output = tmp_path / "live.json"
    given = ["--target", str(material / "clip.mp4"), "--source", str(material / "face.png"), "--latency"]
    done = bench(*given, "--frames", "14", "--display", "144", "-o", str(output), home=home)
    assert done.returncode == 0, done.stderr
    said = json.loads(output.read_text())
    assert said["kind"] == "mien bench latency"
    assert (said["frames"], said["display_rate"]) == (4, 144.0)
    assert f"{said['glass_ms']:.1f} ms = half a camera interval 25.0" in done.stdout
    assert not output.with_suffix(".md").exists()
