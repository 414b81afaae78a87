"""Settings' schema, presets, networks, and what runs here."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
from pydantic import ValidationError

from mien.app.server.settings import APPLIES, TASKS, schema
from mien.media import codecs
from mien.models import catalogue
from mien.models.card import Task
from mien.run.scene import NEVER
from mien.settings import Feed, Settings
from tests.app.server.conftest import Place


def _properties() -> dict[str, dict[str, object]]:
    made = schema()
    return {
        f"{group}.{name}": told
        for group, value in made["properties"].items()
        for name, told in made["$defs"][value["$ref"].rpartition("/")[2]]["properties"].items()
    }


def test_every_setting_says_what_it_means() -> None:
    for name, told in _properties().items():
        assert str(told.get("description", "")).strip(), name
        assert "default" in told, name


def test_what_is_set_live_has_its_feed_and_nothing_without_effect(place: Place) -> None:
    made = place.client.get("/api/live/schema").json()
    groups = {
        name: made["$defs"][value["$ref"].rpartition("/")[2]]["properties"]
        for name, value in made["properties"].items()
    }
    assert set(groups) == {*Settings.model_fields, "feed"}
    assert set(groups["feed"]) == set(Feed.model_fields)
    assert groups["swap"]["model"]["x-task"] == "swap"
    known = {f"{group}.{name}" for group, fields in groups.items() for name in fields}
    assert known & set(NEVER) == set()
    assert {name for name in _properties() if name not in known} == set(NEVER)


def test_marks_are_of_settings_that_there_are() -> None:
    known = _properties()
    for name, task in TASKS.items():
        assert known[name]["x-task"] == task
        assert task in get_args(Task)
    for name, kinds in APPLIES.items():
        assert known[name]["x-applies"] == list(kinds)
    cards = {card.task for card in catalogue.Catalogue()}
    assert set(TASKS.values()) <= cards


def test_endings_hold_their_codec() -> None:
    told = _properties()["encode.codec"]
    endings: Any = told["x-endings"]
    assert list(endings) == told["enum"]
    for codec, fits in endings.items():
        assert fits
        if codec != "auto":
            assert all(codecs.holds(codecs.FORMATS[name], codecs.FAMILIES[codec]) for name in fits)
    assert endings["auto"] == list(codecs.WELL_KEPT)
    assert ".webm" not in endings["h264"]


def test_settings_that_texts_call_cards_are_marked() -> None:
    for name, told in _properties().items():
        if str(told["description"]).startswith(("Card of", "Cards of")):
            assert "x-task" in told, name


def test_the_schema_accepts_what_the_settings_accept(place: Place) -> None:
    made = place.client.get("/api/settings/schema").json()
    defaults = place.client.get("/api/settings/defaults").json()
    assert Settings.model_validate(defaults) == Settings()
    assert jsonschema_rs.is_valid(made, defaults)
    wrong: tuple[dict[str, object], ...] = ({"swap": {"strength": 2}}, {"swap": {"x": 1}}, {"nothing": {}})
    for value in wrong:
        assert not jsonschema_rs.is_valid(made, value)
        with pytest.raises(ValidationError):
            Settings.model_validate(value)


def test_presets_come_back_as_they_were(place: Place) -> None:
    given = {
        "swap": {"strength": 0.5},
        "mask": {"regions": ["nose", "mouth"], "padding": [0.1, 0.0, 0.0, 0.25]},
    }
    names = ["soft", "Sehr weich ⅓", "50%", "a.b", "..", "~", "con"]
    names += ["a/b", "a\\b", "%2F", "#?&=+", ".x", "👩‍🚀"]
    for name in names:
        answer = place.client.put("/api/preset", params={"name": name}, json=given)
        assert answer.status_code == 200, answer.text
        kept = place.client.get("/api/preset", params={"name": name}).json()
        assert kept == {"name": name, "settings": given}
    assert sorted(place.client.get("/api/presets").json()) == sorted(names)
    files = [path.name for path in (place.home / "presets").iterdir()]
    assert len(files) == len(names)
    assert not [name for name in files if name.startswith((".", "con."))]
    text = (place.home / "presets/soft.toml").read_text()
    assert "strength = 0.5" in text
    assert "grain" not in text
    assert place.client.delete("/api/preset?name=soft").status_code == 204
    for method in ("GET", "DELETE"):
        answer = place.client.request(method, "/api/preset?name=soft")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a\nb", "cannot be shown"),
        ("x" * 61, "61 characters, 60 are the most"),
        (" ", "is empty"),
        ("\U0001f600" * 60, "too long"),
    ],
)
def test_names_that_no_preset_can_have(place: Place, name: str, problem: str) -> None:
    answer = place.client.put("/api/preset", params={"name": name}, json={})
    assert answer.status_code == 422
    told = answer.json()["error"]
    assert told["subject"] == "name"
    assert problem in told["problem"]
    assert place.client.get("/api/presets").json() == []


def test_a_name_is_kept_without_the_blanks_around_it(place: Place) -> None:
    assert place.client.put("/api/preset", params={"name": " soft "}, json={}).json()["name"] == "soft"
    assert place.client.get("/api/presets").json() == ["soft"]


def test_a_preset_may_be_named_by_hand(place: Place) -> None:
    folder = place.home / "presets"
    folder.mkdir()
    names = ["50% a+b", "ä", "a%2Fb"]
    for name in names:
        (folder / f"{name}.toml").write_text("[swap]\nstrength = 0.5\n")
    (folder / ".toml").write_text("")
    listed = place.client.get("/api/presets").json()
    assert listed == ["50% a+b", "a/b", "ä"]
    for name in listed:
        assert place.client.get("/api/preset", params={"name": name}).status_code == 200
        assert place.client.put("/api/preset", params={"name": name}, json={}).status_code == 200
        assert place.client.delete("/api/preset", params={"name": name}).status_code == 204
    assert [path.name for path in folder.iterdir()] == [".toml"]


def test_a_name_is_one_however_its_letters_are_composed(place: Place) -> None:
    composed, apart = "M\u00fcde", "Mu\u0308de"
    for name, strength in ((apart, 0.25), (composed, 0.5)):
        made = place.client.put("/api/preset", params={"name": name}, json={"swap": {"strength": strength}})
        assert made.json()["name"] == composed
    assert place.client.get("/api/presets").json() == [composed]
    for name in (composed, apart):
        kept = place.client.get("/api/preset", params={"name": name}).json()
        assert kept == {"name": composed, "settings": {"swap": {"strength": 0.5}}}
    assert place.client.delete("/api/preset", params={"name": apart}).status_code == 204
    assert place.client.get("/api/presets").json() == []


def test_files_of_either_form_are_one_preset(place: Place) -> None:
    composed, apart = "M\u00fcde", "Mu\u0308de"
    folder = place.home / "presets"
    folder.mkdir()
    (folder / f"{apart}.toml").write_text("[swap]\nstrength = 0.25\n")
    for name in (composed, apart):
        kept = place.client.get("/api/preset", params={"name": name}).json()
        assert kept == {"name": composed, "settings": {"swap": {"strength": 0.25}}}
    place.client.put("/api/preset", params={"name": composed}, json={})
    assert [path.name for path in folder.iterdir()] == [f"{apart}.toml"]
    (folder / f"{composed}.toml").write_text("[swap]\nstrength = 0.5\n")  # on some systems the same file
    assert place.client.get("/api/presets").json() == [composed]
    kept = place.client.get("/api/preset", params={"name": apart}).json()
    assert kept["settings"] == {"swap": {"strength": 0.5}}
    assert place.client.delete("/api/preset", params={"name": composed}).status_code == 204
    assert place.client.get("/api/presets").json() == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_name_too_long_for_the_disk_is_that_of_no_preset(place: Place, method: str) -> None:
    answer = place.client.request(method, "/api/preset?name=" + "\U0001f600" * 60)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "not_found")


def test_presets_that_cannot_be_kept_are_said(place: Place) -> None:
    (place.home / "presets").write_bytes(b"")  # where the folder should be
    for method, body in (("PUT", {}), ("DELETE", None), ("GET", None)):
        answer = place.client.request(method, "/api/preset?name=a", json=body)
        assert answer.status_code == 422
        assert answer.json()["error"]["kind"] == "job"


def test_a_broken_preset_is_said(place: Place) -> None:
    place.client.put("/api/preset?name=soft", json={})
    for content in ("x = ", "[swap]\nstrength = 9\n", b"\xff"):
        path = place.home / "presets/soft.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        answer = place.client.get("/api/preset?name=soft")
        assert (answer.status_code, answer.json()["error"]["subject"]) == (422, str(path))


@pytest.mark.parametrize(("name", "value"), [("strength", 9), ("stength", 1)])
def test_a_preset_with_a_wrong_line_names_it(place: Place, name: str, value: int) -> None:
    place.client.put("/api/preset?name=soft", json={})
    (place.home / "presets/soft.toml").write_text(f"[swap]\n{name} = {value}\n")
    assert place.client.get("/api/preset?name=soft").json()["error"]["problem"].startswith(f"swap.{name}: ")


def test_networks(seen: Place) -> None:
    known = list(catalogue.load(seen.home))
    found = seen.client.get("/api/models").json()
    assert [model["name"] for model in found] == [card.name for card in known]
    here = {model["name"]: model for model in found}
    assert here["facemesh"]["installed"] is True
    assert here["inswapper_128"]["installed"] is False
    assert here["facemesh"]["bytes"] > 1_000_000
    swappers = seen.client.get("/api/models?task=swap").json()
    assert [model["name"] for model in swappers] == [card.name for card in known if card.task == "swap"]
    facts = seen.client.get("/api/models/inswapper_128").json()
    assert facts["needs"]
    assert facts["card"]["files"]
    assert seen.client.get("/api/models/nothing").status_code == 404
    assert seen.client.get("/api/models?task=nothing").status_code == 422


def test_a_licence_is_accepted_before_anything_is_fetched(place: Place) -> None:
    gated = next(card for card in catalogue.Catalogue() if card.gated)
    address = f"/api/models/{gated.name}/pull"
    refused = place.client.post(address)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (422, "model")
    assert gated.licence in refused.json()["error"]["problem"]
    line = place.client.post(address, json={"accept_licence": True})
    assert line.status_code == 202
    assert line.json()["kind"] == "pull"
    spec = place.app.state.mien.queue.spec(line.json()["id"])
    assert spec == {"names": [gated.name], "accept_licence": True}
    again = place.client.post(address, json={"accept_licence": True})
    assert again.json()["id"] == line.json()["id"]
    free = next(card for card in catalogue.Catalogue() if not card.gated)
    assert place.client.post(f"/api/models/{free.name}/pull").status_code == 202


def test_what_runs_here(place: Place) -> None:
    about = place.client.get("/api/about").json()
    assert about["version"] == version("mien")
    assert 1 <= about["threads"] <= (os.cpu_count() or 1)
    assert abs(about["free_bytes"] - shutil.disk_usage(place.home).free) < 1 << 32
    assert about["token"] is False
    assert [Path(folder) for folder in about["folders"]] == [(place.home / "uploads").resolve(), place.films]
