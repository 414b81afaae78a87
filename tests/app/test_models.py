"""`mien models` as people and programs meet it, and cards of the user's with real files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mien.app import cli
from mien.models import embed
from mien.models.card import PERMISSIVE, Card, File
from mien.models.catalogue import BUILT_IN, load
from mien.models.mediapipe import CARDS
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.types import Float32
from tests.models.mirror import Mirror, serving

DATA = bytes(range(256)) * 40

EMBEDDER = """
name = "{name}"
task = "embed"
family = "embedder"
licence = "{licence}"
file = {file}
template = "arcface_112_v2"
[pixels]
side = 8
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "home"


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(DATA) as mirror:
        yield mirror


def means(path: Path, side: int = 8) -> Path:
    """A network whose embedding is the mean of each channel. Made-up weights: there are none."""
    given = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 3, side, side])
    result = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", 3])
    node = helper.make_node("ReduceMean", ["picture"], ["vector"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([node], "means", [given], [result])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def written(
    path: Path, name: str = "mine", file: str = '"means.onnx"', licence: str = "MIT", text: str = EMBEDDER
) -> Path:
    path.write_text(text.format(name=name, file=file, licence=licence))
    return path


def remote(mirror: Mirror) -> str:
    """A file that a mirror has."""
    return (
        f'{{ name = "net.onnx", urls = ["{mirror.url()}"], sha256 = "{hashlib.sha256(DATA).hexdigest()}" }}'
    )


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_list_shows_every_card_and_fetches_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["name", "task", "MB", "licence", "commercial", "installed"]
    assert {row[0]: row[1] for row in rows[1:]} == {c.name: c.task for c in BUILT_IN}
    assert {row[-1] for row in rows[1:]} == {"no"}
    assert {row[-2] for row in rows[1:]} == {"yes", "no", "unknown"}
    assert not home.exists()


def test_the_list_of_a_task_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list", "--task", "detect", "--json"]) == 0
    found = lines(capsys.readouterr().out)
    assert [line["name"] for line in found] == [c.name for c in BUILT_IN if c.task == "detect"]
    assert found[0]["bytes"] == sum(file.bytes for file in CARDS[0].files)
    assert all(line["accepted"] == (line["licence"] in PERMISSIVE) for line in found)


def test_info_says_everything(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "info", "facemesh", "yoloface_8n", "--json"]) == 0
    mesh, yolo = lines(capsys.readouterr().out)
    assert {*mesh} >= {field for field in Card.__dataclass_fields__}
    assert (mesh["licence"], mesh["commercial"], mesh["installed"]) == ("Apache-2.0", "yes", False)
    assert isinstance(yolo["files"], list)
    (file,) = yolo["files"]
    assert file["sha256"].startswith("not known")
    assert file["path"] == str(home / "models" / "yoloface_8n.onnx")
    assert file["found"] == "is absent"
    assert cli.main(["models", "info", "yoloface_8n"]) == 0
    text = capsys.readouterr().out
    for part in ("GPL-3.0", "unknown", "is absent", *(str(source) for source in file["sources"])):
        assert part in text
    assert "pixels.side          640\n" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["info"], 2, "models info: names no model"),
        (["add"], 2, "models add: names no file"),
        (["remove"], 2, "models remove: names no model"),
        (["info", "nobody"], 5, "nobody: no model has this name"),
        (["pull", "nobody"], 5, "nobody: no model has this name"),
        (["remove", "nobody"], 5, "nobody: no model has this name"),
        (["add", "none.toml"], 5, "none.toml: cannot be read"),
        (["pull", "inswapper_128"], 5, "mien models pull inswapper_128 arcface_w600k_r50 --accept-licence"),
    ],
)
def test_failures(
    arguments: list[str], code: int, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", *arguments]) == code
    output = capsys.readouterr()
    assert said in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert not list(home.glob("models/*"))


def test_a_missing_model_is_named_with_its_licence_size_and_place(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "pull", "codeformer"]) == 5
    text = capsys.readouterr().err
    for part in (
        "S-Lab-1.0 (sczhou), commercial use: no",
        "376,951,650 bytes",
        "https://",
        str(home / "models"),
    ):
        assert part in text


def test_pull_accept_verify_path_remove(
    home: Path, tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = written(tmp_path / "my.toml", file=remote(mirror), licence="Non-Commercial")
    assert cli.main(["models", "add", str(toml)]) == 0
    assert "`mien models pull mine` gets it" in capsys.readouterr().out
    assert cli.main(["models", "pull", "mine"]) == 5
    assert "--accept-licence" in capsys.readouterr().err
    assert mirror.asked == []

    assert cli.main(["models", "pull", "mine", "--accept-licence", "--json"]) == 0
    output = capsys.readouterr()
    (line,) = lines(output.out)
    assert line["installed"]
    assert line["paths"] == {"net.onnx": str(home / "models" / "net.onnx")}
    assert "accepted: Non-Commercial, commercial use: unknown" in output.err
    assert cli.main(["models", "pull", "mine"]) == 0
    assert len(mirror.asked) == 1

    assert cli.main(["models", "path", "mine"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(home / "models" / "net.onnx")
    assert cli.main(["models", "verify"]) == 0
    assert capsys.readouterr().out == "mine: net.onnx is right\n"

    (home / "models" / "net.onnx").write_bytes(DATA[::-1])
    assert cli.main(["models", "verify", "--json"]) == 5
    output = capsys.readouterr()
    (line,) = lines(output.out)
    assert not line["right"]
    assert "1 of 1 files are not what they should be" in output.err

    assert cli.main(["models", "remove", "mine"]) == 0
    assert capsys.readouterr().out.count("removed") == 2
    assert not (home / "models" / "net.onnx").exists()
    assert not (home / "cards" / "mine.toml").exists()
    assert cli.main(["models", "verify"]) == 0
    assert capsys.readouterr().out.startswith("no files in")


def test_verify_of_a_named_model_that_is_absent(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "verify", "inswapper_128"]) == 5
    assert "inswapper_128: inswapper_128.onnx is absent" in capsys.readouterr().out


def test_a_changed_file_counts_when_it_is_accepted(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "cards").mkdir(parents=True)
    (home / "models").mkdir()
    written(home / "cards" / "mine.toml", file='{ name = "net.onnx" }')
    (home / "models" / "net.onnx").write_bytes(DATA)
    assert cli.main(["models", "pull", "mine"]) == 0
    (home / "models" / "net.onnx").write_bytes(DATA[::-1])
    assert cli.main(["models", "pull", "mine"]) == 5
    assert "mien models pull mine --accept-changed" in capsys.readouterr().err
    assert cli.main(["models", "pull", "mine", "--accept-changed"]) == 0
    assert cli.main(["models", "verify", "mine"]) == 0


def test_a_card_with_a_local_file_is_added_and_works(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    means(tmp_path / "means.onnx")
    assert cli.main(["models", "add", str(written(tmp_path / "my.toml"))]) == 0
    assert capsys.readouterr().out == "mine: added; its files are here\n"
    (tmp_path / "means.onnx").unlink()
    lock = json.loads((home / "models" / "models.lock").read_text())
    assert set(lock) == {"means.onnx"}
    crops = np.random.default_rng(0).random((3, 8, 8, 3)).astype(np.float32)
    with Runtime(1, Store(offline=True)) as runtime:
        card = runtime.catalogue.card("mine")
        assert card in load(home).of("embed")
        np.testing.assert_allclose(embed.embed(runtime, card, crops), crops.mean(axis=(1, 2)), atol=1e-5)


def test_adding_again_takes_the_new_file(home: Path, tmp_path: Path) -> None:
    toml = written(tmp_path / "my.toml")
    means(tmp_path / "means.onnx")
    assert cli.main(["models", "add", str(toml)]) == 0
    (tmp_path / "means.onnx").unlink()  # a link would share what is written into it
    means(tmp_path / "means.onnx", side=16)
    toml.write_text(toml.read_text().replace("side = 8", "side = 16"))
    assert cli.main(["models", "add", str(toml)]) == 0
    assert load(home).card("mine").inputs[0].shape == (3, 16, 16)
    assert Store(home).present(File("means.onnx"))


def test_a_card_that_does_not_fit_its_file_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    means(tmp_path / "means.onnx", side=16)
    assert cli.main(["models", "add", str(written(tmp_path / "my.toml"))]) == 5
    said = capsys.readouterr().err
    assert "means.onnx has inputs picture" in said
    assert load(home).cards == BUILT_IN
    assert not (home / "models" / "means.onnx").exists()
    (tmp_path / "means.onnx").write_bytes(b"no network")
    assert cli.main(["models", "add", str(tmp_path / "my.toml")]) == 5
    assert cli.main(["models", "add", str(written(tmp_path / "b.toml", file='"none.onnx"'))]) == 5
    assert "none.onnx: does not exist" in capsys.readouterr().err


def test_a_card_that_does_not_fit_leaves_the_one_before(home: Path, tmp_path: Path) -> None:
    toml, good = written(tmp_path / "my.toml"), means(tmp_path / "means.onnx").read_bytes()
    assert cli.main(["models", "add", str(toml)]) == 0
    (tmp_path / "means.onnx").unlink()
    (tmp_path / "means.onnx").write_bytes(b"no network")
    assert cli.main(["models", "add", str(toml)]) == 5
    assert (home / "models" / "means.onnx").read_bytes() == good
    assert Store(home).present(File("means.onnx"))
    assert not list((home / "models").glob("fetch-*"))


def test_a_card_that_needs_an_unknown_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        EMBEDDER.replace("embedder", "swapper").replace('"embed"', '"swap"')
        + '[latent]\nconverter = "nobody"\n'
    )
    toml = written(tmp_path / "my.toml", text=text)
    assert cli.main(["models", "add", str(toml)]) == 5
    assert "nobody: no model has this name" in capsys.readouterr().err


def test_shared_files_stay(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    means(tmp_path / "means.onnx")
    for name in ("a", "b"):
        assert cli.main(["models", "add", str(written(tmp_path / "my.toml", name))]) == 0
    assert cli.main(["models", "remove", "a"]) == 0
    assert "kept means.onnx, which b uses" in capsys.readouterr().out
    assert Store(home).installed(load(home).card("b"))
    assert cli.main(["models", "remove", "b"]) == 0
    assert not (home / "models" / "means.onnx").exists()


def test_a_broken_card_can_be_removed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "cards").mkdir(parents=True)
    (home / "cards" / "bad.toml").write_text("nonsense")
    assert cli.main(["models"]) == 5
    assert "bad.toml: is no card" in capsys.readouterr().err
    assert cli.main(["models", "remove", "bad"]) == 0
    assert cli.main(["models"]) == 0


def test_a_home_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIEN_HOME", os.fspath(tmp_path / "file"))
    assert cli.main(["models"]) == 0
    toml = written(tmp_path / "my.toml", file='{ name = "x.onnx", urls = ["https://nowhere.invalid/x"] }')
    assert cli.main(["models", "add", str(toml)]) == 5
    assert cli.main(["models", "pull", "codeformer", "--accept-licence"]) == 5
    assert capsys.readouterr().err.count("cannot be written") == 2


FACES = """
name = "mobilefacenet"
task = "embed"
family = "embedder"
licence = "Apache-2.0"
file = "{path}"
template = "arcface_112_v2"
[pixels]
side = 112
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


def test_a_real_network_through_a_small_card(home: Path, tmp_path: Path, shared: Path) -> None:
    """128 numbers that do not depend on how many faces there are at once."""
    path = shared / "models" / "mobilefacenet_foamliu_raw.onnx"
    (tmp_path / "m.toml").write_text(FACES.format(path=path))
    assert cli.main(["models", "add", str(tmp_path / "m.toml")]) == 0
    crops: Float32 = np.random.default_rng(1).random((2, 112, 112, 3), np.float32)
    with Runtime(1, Store(offline=True)) as runtime:
        card = runtime.catalogue.card("mobilefacenet")
        both = embed.embed(runtime, card, crops)
        assert both.shape == (2, 128)
        assert embed.cosine(both[1:], embed.embed(runtime, card, crops[1:]))[0, 0] > 0.999
