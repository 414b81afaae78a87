"""A report's numbers from a made-up run; every way of showing it; stand-ins named in every line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mien.bench import chart, report, words
from mien.bench.meters import Usage
from mien.bench.report import Clip, Pace, Report
from mien.errors import JobError, MediaError
from mien.models.card import Task
from mien.types import Finished

STAGES = {
    "probe": 3.0,
    "decode 1": 5.5,
    "detect": 12.0,
    "find": 14.0,
    "crop": 3.0,
    "swap": 180.0,
    "mask": 20.0,
    "blend": 4.5,
    "paste": 3.0,
    "decode": 5.0,
    "encode": 30.0,
}
ENGINES = {
    "blazeface_full_range": "OpenVINO 2026.1.0 CPU f32",
    "facemesh": "OpenVINO 2026.1.0 CPU f32",
    "inswapper_128": "OpenVINO 2026.1.0 CPU bf16",
    "arcface_w600k_r50": "ONNX Runtime 1.27.0 CPU f32",
}
TASKS: dict[str, Task] = {
    "blazeface_full_range": "detect",
    "facemesh": "landmark",
    "inswapper_128": "swap",
    "arcface_w600k_r50": "embed",
}
NETWORKS = {
    "facemesh": {"ms_per_frame": 10.0, "calls": 40.0, "ms_per_call": 5.0, "items": 40.0},
    "inswapper_128": {"ms_per_frame": 170.0, "calls": 5.0, "ms_per_call": 680.0, "items": 20.0},
}


def finished() -> Finished:
    stages = {
        name: {"ms_per_frame": ms, "cpu_ms_per_frame": ms, "percent": 0.0} for name, ms in STAGES.items()
    }
    return Finished(Path("o.mp4"), 20, 20, 1, 8.0, 2.5, stages, ENGINES, NETWORKS)


def made(standins: tuple[str, ...] = (), **other: object) -> Report:
    usage = Usage(8.0, 14.4, 2, 1234.4, "", 0.0, 0.0)
    values = {
        "standins": standins,
        "note": report.SAID if standins else "",
        "date": "2026-01-02 03:04",
        "machine": {"system": "Linux", "processor": "A processor"},
        "versions": {"mien": "1.0"},
        "clip": Clip(name="a.mp4", width=1920, height=1080, rate=25.0, seconds=0.8),
        "frames": 20,
        "faces": 20,
        "settings": {"swap": {"model": "inswapper_128"}},
        "rows": report.rows(finished(), TASKS, standins),
        "networks": report.nets(finished(), standins),
        "pace": Pace(seconds=8.0, startup=4.0, steady_ms=198.0),
        **report.used(usage),
        **other,
    }
    return Report.model_validate(values)


STOOD_IN = ("inswapper_128", "arcface_w600k_r50")


def test_rows_hold_every_stage_once_and_make_a_hundred_percent() -> None:
    rows = {row.name: row for row in made().rows}
    assert list(rows) == ["decode", "detect", "landmark", "embed", "swap", "mask + blend", "encode", "others"]
    assert sum(row.ms_per_frame for row in rows.values()) == pytest.approx(sum(STAGES.values()))
    assert sum(row.percent for row in rows.values()) == pytest.approx(100.0, abs=0.4)
    assert rows["decode"].parts == {"decode 1": 5.5, "decode": 5.0}
    assert rows["decode"].ms_per_frame == 10.5
    assert rows["mask + blend"].parts == {"crop": 3.0, "mask": 20.0, "blend": 4.5, "paste": 3.0}
    assert rows["swap"].percent == round(100 * 180 / 280, 1)
    assert rows["swap"].parts == {}
    assert rows["landmark"].parts == {"find": 14.0}
    assert rows["others"].parts == {"probe": 3.0}


def test_times_of_a_card_have_a_column_where_there_are_some() -> None:
    plain = made()
    assert words.stages(plain)[0] == words.HEAD
    assert words.networks(plain.networks)[0] == words.NET_HEAD
    run = finished()
    stages = {name: dict(row) for name, row in run.stages.items()}
    for name, ms in (("crop", 0.25), ("paste", 0.5), ("swap", 2.0)):
        stages[name]["gpu_ms_per_frame"] = ms
    networks = {**NETWORKS, "inswapper_128": {**NETWORKS["inswapper_128"], "gpu_ms_per_frame": 1.75}}
    run = replace(run, stages=stages, networks=networks)
    found = made(rows=report.rows(run, TASKS), networks=report.nets(run))
    assert {row.name: row.gpu_ms_per_frame for row in found.rows if row.gpu_ms_per_frame} == {
        "swap": 2.0,
        "mask + blend": 0.75,
    }
    heading, body = words.stages(found)
    assert heading[-1] == words.GPU
    assert {len(line) for line in body} == {len(heading)}
    assert {line[0]: line[-1] for line in body}["mask + blend"] == "0.75"
    heading, body = words.networks(found.networks)
    assert [line[-1] for line in body] == ["1.75", "0.00"]
    assert {len(line) for line in body} == {len(heading)}
    assert words.GPU in words.text(found)
    assert words.GPU in words.markdown(found)


def test_rows_name_device_engine_and_precision() -> None:
    rows = {row.name: (row.device, row.engine, row.precision) for row in made().rows}
    assert rows["swap"] == ("CPU", "OpenVINO 2026.1.0", "bf16")
    assert rows["embed"] == ("CPU", "ONNX Runtime 1.27.0", "f32")
    assert rows["encode"] == ("CPU", "-", "-")
    stood_in = {row.name: row.engine for row in made(STOOD_IN).rows}
    assert stood_in["swap"].endswith("(stand-in)")
    assert "stand-in" not in stood_in["detect"]


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("OpenVINO 2026.1.0 CPU bf16", ("OpenVINO 2026.1.0", "CPU", "bf16")),
        ("ONNX Runtime 1.27.0 CUDA f16", ("ONNX Runtime 1.27.0", "CUDA", "f16")),
        ("odd", ("odd", "-", "-")),
    ],
)
def test_labels_of_engines(label: str, parts: tuple[str, str, str]) -> None:
    assert report.split(label) == parts


def test_networks_and_ratios() -> None:
    result = made()
    assert [net.card for net in result.networks] == ["inswapper_128", "facemesh"]
    assert result.networks[0].batch == 4.0
    assert result.networks_ms == 180.0
    assert result.over_networks == pytest.approx(198 / 180)
    assert result.fps == 2.5
    assert result.wall_ms == 400.0
    assert (result.cpu_percent, result.threads, result.peak_mb, result.gpu) == (90.0, 2, 1234.0, "none")
    short = made(pace=Pace(seconds=8.0, startup=0.0, steady_ms=0.0))
    assert short.over_networks == pytest.approx(400 / 180)
    assert made(networks=()).over_networks == 0.0


def test_a_run_without_times_of_networks() -> None:
    bare = Finished(Path("o.mp4"), 0, 0, 0, 0.0, 0.0)
    assert report.rows(bare, {}) == ()
    assert report.nets(bare) == ()
    assert "no networks were timed" in words.text(made(networks=(), rows=(), frames=0))


@pytest.mark.parametrize("standins", [(), STOOD_IN])
def test_json_comes_back(standins: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(report.dumped(made(standins)))
    assert report.load(path) == made(standins)
    values = json.loads(path.read_text())
    assert values["fps"] == 2.5
    assert values["wall_over_networks"] == 1.1
    assert json.loads(report.line(made(standins))) == values


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "other"}', "no json", '"text"', "3"])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(JobError, match=r"r\.json: is no result of a bench run"):
        report.load(tmp_path / "r.json")
    with pytest.raises(JobError, match="cannot be read"):
        report.load(tmp_path / "none.json")


def test_stand_ins_are_named_in_every_line() -> None:
    result = made(STOOD_IN)
    texts = (
        words.text(result),
        words.markdown(result),
        report.dumped(result),
        words.compared(("a.json", result), ("b.json", result)),
        words.compared(("a.json", made()), ("b.json", result)),
    )
    for text in texts:
        for line in text.splitlines():
            assert "stand-in" in line or not re.search(r"\w", line), line
    assert all("stand-in" in label for label, *_ in chart.bars(result))
    assert all("stand-in" in line for line, *_ in chart._head(result))


def test_real_networks_are_not_called_stand_ins() -> None:
    result = made()
    for text in (words.text(result), words.markdown(result), words.compared(("a", result), ("b", result))):
        assert "stand-in" not in text
    assert not any("stand-in" in label for label, *_ in chart.bars(result))


def test_text_has_the_numbers() -> None:
    text = words.text(made())
    assert re.search(r"^swap +180\.00 +64\.3 +CPU +OpenVINO 2026\.1\.0 +bf16$", text, re.MULTILINE)
    assert re.search(r"^  - mask +20\.00$", text, re.MULTILINE)
    assert re.search(
        r"^inswapper_128 +170\.00 +5 +680\.00 +4 +OpenVINO 2026\.1\.0 CPU bf16$", text, re.MULTILINE
    )
    assert "8.00 s, 2.50 fps, 400.0 ms/frame" in text
    assert "1.10 (steady; networks 180.0 ms/frame)" in text
    assert re.search(r"GPU use +none", text)


@pytest.mark.parametrize("standins", [(), STOOD_IN])
def test_markdown_tables_have_as_many_cells_in_every_line(standins: tuple[str, ...]) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", words.markdown(made(standins)), re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        lines = table.splitlines()
        assert len({line.count("|") for line in lines}) == 1
        assert re.fullmatch(r"(\| -?-+:? )+\|", lines[1])


def test_compare_gives_ratios() -> None:
    slower = made(pace=Pace(seconds=16.0, startup=4.0, steady_ms=297.0), peak_mb=2468.0)
    text = words.compared(("a.json", made()), ("b.json", slower))
    assert re.search(r"wall ms/frame +400\.00 +800\.00 +2\.000", text)
    assert re.search(r"steady ms/frame +198\.00 +297\.00 +1\.500", text)
    assert re.search(r"fps +2\.50 +1\.25 +0\.500", text)
    assert re.search(r"peak MB +1234\.00 +2468\.00 +2\.000", text)
    assert re.search(r"swap ms/frame +180\.00 +180\.00 +1\.000", text)
    assert "different" not in text
    other = made(STOOD_IN, machine={"system": "another"}, rows=made().rows[:3])
    text = words.compared(("a.json", made()), ("b.json", other))
    assert "different machines" in text
    assert "only one of them ran on stand-ins" in text
    assert re.search(r"swap ms/frame +180\.00 +- +-", text)


@pytest.mark.parametrize("standins", [(), STOOD_IN])
def test_chart_is_a_picture_with_a_bar_for_every_row(standins: tuple[str, ...], tmp_path: Path) -> None:
    result = made(standins)
    chart.draw(result, tmp_path / "r.png")
    with Image.open(tmp_path / "r.png") as picture:
        picture.load()
        assert (picture.format, picture.size) == ("PNG", chart.size(result))
        pixels = picture.convert("RGB")
    lines = len(result.rows) + len(result.networks)
    assert pixels.height == 2 * chart.EDGE + chart._head_height(result) + chart.LINE * (lines + 1)
    found = {
        colour: sum(
            pixels.getpixel((x, y)) == colour for x in range(pixels.width) for y in range(pixels.height)
        )
        for colour in (chart.STAGE, chart.NETWORK)
    }
    # The longest bar is that of the swap stage; areas go with the milliseconds.
    assert found[chart.STAGE] > found[chart.NETWORK] > 0
    ratio = (found[chart.NETWORK] - chart.BAR) / (found[chart.STAGE] - chart.BAR)
    assert ratio == pytest.approx(180 / 280, rel=0.15)


def test_chart_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be written"):
        chart.draw(made(), tmp_path / "nowhere" / "r.png")
    with pytest.raises(MediaError, match="cannot be written"):
        chart.draw(made(), tmp_path / "r.unknown")
