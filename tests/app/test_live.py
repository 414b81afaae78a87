"""`mien live` on a terminal: what keys and a file of settings ask for, and a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien.app import cli, live
from mien.errors import SettingsError
from mien.run.pulse import Delay, Pulse, Written
from mien.run.scene import Asked
from mien.settings import Feed, Role, Settings, Swap
from tests.run.conftest import home as home
from tests.run.conftest import material as material

ASKED = Asked(
    Feed(input="a.mp4"),
    (Role(sources=(Path("a.png"),), faces="left"), Role(sources=(Path("b.png"),))),
    Settings(),
)


def test_a_file_changes_what_it_names() -> None:
    text = "[swap]\nstrength = 0.4\n[mask]\ngrow = 0.1\n[feed]\nstatistics = true\n"
    asked = live.told(text, ASKED)
    assert asked["settings"].swap == Swap(strength=0.4)
    assert asked["settings"].mask.grow == 0.1
    assert asked["feed"] == Feed(input="a.mp4", statistics=True)
    assert asked["cast"] == ASKED.cast


def test_a_file_names_another_source() -> None:
    asked = live.told('source = ["c.png", "d.png"]', ASKED)
    assert [role.sources for role in asked["cast"]] == [(Path("a.png"),), (Path("c.png"), Path("d.png"))]
    assert asked["cast"][0].faces == "left"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[swap", "is no TOML"),
        ("[swap]\nstrength = 9", "swap.strength"),
        ("[swop]\na = 1", "swop"),
        ("swap = 1", "swap"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        live.told(text, ASKED)


@pytest.mark.parametrize(("key", "strength"), [("+", 1.1), ("=", 1.1), ("-", 0.9), (" ", 0.0)])
def test_keys_change_the_strength(key: str, strength: float) -> None:
    asked = live.pressed(key, ASKED)
    assert asked is not None
    assert asked["settings"].swap.strength == strength


def test_the_strength_stays_in_its_range() -> None:
    most = Asked(ASKED.feed, ASKED.cast, Settings(swap=Swap(strength=1.5)))
    none = Asked(ASKED.feed, ASKED.cast, Settings(swap=Swap(strength=0.0)))
    above, below, on = live.pressed("+", most), live.pressed("-", none), live.pressed(" ", none)
    assert above is not None
    assert below is not None
    assert on is not None
    assert [made["settings"].swap.strength for made in (above, below, on)] == [1.5, 0.0, 1.0]


def test_keys_switch_what_is_drawn() -> None:
    facts, label = live.pressed("s", ASKED), live.pressed("l", ASKED)
    assert facts is not None
    assert label is not None
    assert facts["feed"].statistics
    assert not label["feed"].label
    assert live.pressed("x", ASKED) is None


def test_one_line_of_facts() -> None:
    pulse = Pulse(
        4.0, 100, 97, 3, 24.9, Delay(21.3, 40.0), 1, True, {"a.mkv": Written(97, 2, Delay(30.2, 50.0))}
    )
    assert live.line(pulse) == (
        "24.9 fps  21 ms  3 dropped  1 face  a.mkv: 30 ms, 2 dropped  a change is being prepared"
    )


def test_a_whole_run(material: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, watched = tmp_path / "out.mkv", tmp_path / "live.toml"
    watched.write_text("[mask]\ngrow = -0.1\n")
    arguments = ["live", "--source", str(material / "face.png"), "--feed.input", str(material / "clip.mp4")]
    code = cli.main([*arguments, "-o", str(target), "--watch", str(watched), "--json"])
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert lines[-1]["event"] == "finished"
    assert 1 <= lines[-1]["frames"] <= 32
    assert target.stat().st_size > 1000


def test_a_camera_that_is_absent(material: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["live", "--source", str(material / "face.png"), "--feed.input", "camera:93"])
    assert code == 3
    assert "/dev/video93" in capsys.readouterr().err
