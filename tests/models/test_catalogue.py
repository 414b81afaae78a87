"""The catalogue: built-in cards, those of installed packages, those of the user."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mien.errors import ModelError, UnknownModel
from mien.models import catalogue
from mien.models.card import Card, File, Pixels, Tensor
from mien.models.catalogue import BUILT_IN, FAMILIES, Catalogue, load

TOML = """
name = "{name}"
task = "embed"
family = "embedder"
licence = "MIT"
file = "{file}"
template = "arcface_112_v2"
[pixels]
side = 112
"""


def card(name: str = "theirs", file: str = "theirs.onnx", family: str = "embedder") -> Card:
    return Card(
        name,
        "embed",
        (File(file),),
        "MIT",
        (Tensor("", (3, 112, 112)),),
        (Tensor("", (-1,)),),
        family,
        pixels=Pixels(112),
        template="arcface_112_v2",
    )


def user(home: Path, name: str, file: str = "") -> Path:
    folder = home / "cards"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(TOML.format(name=name, file=file or f"{name}.onnx"))
    return path


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str, value: str) -> None:
    """An installed package `cardpack` with one entry point."""
    (folder / "cardpack_module.py").write_text(source)
    info = folder / "cardpack-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cardpack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mien.cards]\nmore = {value}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "cardpack_module", raising=False)


SOURCE = """
from mien.models.card import Card, File, Pixels, Tensor
def card(name, family="embedder"):
    return Card(name, "embed", (File(name + ".onnx"),), "MIT", (Tensor("", (3, 112, 112)),),
                (Tensor("", (-1,)),), family, pixels=Pixels(112), template="arcface_112_v2")
ONE = card("one")
SEVERAL = [card("first"), card("second")]
MIXED = [card("first"), "second"]
STRANGE = card("strange", "telepathy")
REPLACES = card("facemesh")
"""


def test_built_in_cards_are_consistent() -> None:
    assert len({c.name for c in BUILT_IN}) == len(BUILT_IN)
    known = catalogue.extended(Catalogue(()), BUILT_IN, "the package")
    for one in BUILT_IN:
        assert one.family in FAMILIES[one.task]
        assert known.needed(one)[0] is one
    assert [c.name for c in known.needed(known.card("ghost_1_256"))] == [
        *("ghost_1_256", "arcface_w600k_r50", "crossface_ghost"),
    ]
    assert known.needed(known.card("uniface_256")) == (known.card("uniface_256"),)


def test_the_users_cards_come_last(tmp_path: Path) -> None:
    assert load(tmp_path).cards == BUILT_IN
    user(tmp_path, "b")
    user(tmp_path, "a")
    (tmp_path / "cards" / "notes.txt").write_text("no card")
    assert load(tmp_path).cards[len(BUILT_IN) :] == (card("a", "a.onnx"), card("b", "b.onnx"))


def test_the_default_home_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    user(tmp_path, "a")
    assert load().card("a").task == "embed"


def test_a_card_of_the_user_takes_the_place_of_another(tmp_path: Path) -> None:
    user(tmp_path, "facemesh", "mine.onnx")
    found = load(tmp_path)
    assert found.card("facemesh").network.name == "mine.onnx"
    assert len(found.cards) == len(BUILT_IN)


def test_a_broken_card_of_the_user_is_named(tmp_path: Path) -> None:
    path = user(tmp_path, "a")
    path.write_text(path.read_text().replace("side = 112", "side = true"))
    with pytest.raises(ModelError, match=r"pixels\.side: expected a whole number") as caught:
        load(tmp_path)
    assert caught.value.subject == str(path)


def test_two_cards_may_not_mean_two_files_by_one_name(tmp_path: Path) -> None:
    path = user(tmp_path, "a", "Inswapper_128.onnx")
    with pytest.raises(ModelError, match="is another one than inswapper_128's") as caught:
        load(tmp_path)
    assert caught.value.subject == str(path)
    user(tmp_path, "a", "same.onnx")
    user(tmp_path, "b", "same.onnx")
    assert load(tmp_path).card("b").files == load(tmp_path).card("a").files


@pytest.mark.parametrize(("name", "found"), [("ONE", ["one"]), ("SEVERAL", ["first", "second"])])
def test_installed_packages_bring_cards(
    name: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch, SOURCE, f"cardpack_module:{name}")
    assert [c.name for c in load(tmp_path).cards[len(BUILT_IN) :]] == found
    user(tmp_path, found[0], "mine.onnx")
    assert load(tmp_path).card(found[0]).network.name == "mine.onnx"


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("raise RuntimeError('no luck')", "ONE", "RuntimeError: no luck"),
        ("ONE = 1", "ONE", "gives no cards"),
        ("", "ONE", "gives no cards"),
        (SOURCE, "MIXED", "gives str 'second' where a Card is expected"),
        (SOURCE, "STRANGE", "family 'telepathy' is not known for the task embed"),
    ],
)
def test_a_package_that_brings_none_is_named(
    source: str, name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch, source, f"cardpack_module:{name}")
    with pytest.raises(ModelError) as caught:
        load(tmp_path)
    assert said in caught.value.problem
    assert "cardpack" in caught.value.subject
    assert "mien.cards" in caught.value.subject


def test_names_and_tasks() -> None:
    known = Catalogue((card("a", "a.onnx"),))
    assert known.of("embed", "swap") == (known.card("a"),)
    assert known.of("swap") == ()
    with pytest.raises(UnknownModel, match="Known: a"):
        known.card("b")


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        Catalogue().card("inswaper_128")
    assert caught.value.advice.startswith("Did you mean inswapper_128? Known: ")
    with pytest.raises(UnknownModel) as caught:
        Catalogue().card("zzz")
    assert caught.value.advice.startswith("Known: ")
