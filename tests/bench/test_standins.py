"""Stand-ins: the sizes of the published networks, the cards' inputs and outputs, the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from mien.bench import cardtext, standins
from mien.bench.layers import BLEND
from mien.bench.net import Net, normal
from mien.bench.wire import Field, length, put, varint
from mien.models import catalogue
from mien.models.card import Card, Wheel
from mien.models.catalogue import Catalogue
from mien.types import Array

PUBLISHED = {
    "inswapper_128": 554_253_681,
    "inswapper_128_fp16": 277_680_638,
    "hyperswap_1a_256": 402_742_682,
    "gfpgan_1.4": 340_299_087,
    "codeformer": 376_800_000,
    "arcface_w600k_r50": 174_388_474,
    "2dfan4": 97_904_803,
    "xseg_1": 70_324_286,
    "bisenet_resnet_34": 93_632_546,
    "yoloface_8n": 12_659_761,
}
"""Bytes of the published files, which are weights but for a fraction; CodeFormer's rounded."""
COST = {"inswapper_128": 174.6, "codeformer": 404.9, "yoloface_8n": 4.2}
"""10^9 multiply-adds as others counted them on the published architectures."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standins")


@pytest.fixture(scope="module")
def small(folder: Path) -> dict[str, Card]:
    """Cards of all small stand-ins."""
    return {card.name: card for card in standins.cards(standins.NAMES, folder, small=True)}


def loaded(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def random_inputs(session: ort.InferenceSession) -> dict[str, Array]:
    random = np.random.default_rng(7)
    return {
        port.name: random.random(port.shape).astype(np.float64 if "double" in port.type else np.float32)
        for port in session.get_inputs()
    }


@pytest.mark.parametrize("name", standins.NAMES)
def test_as_large_as_the_published_file(name: str) -> None:
    net = standins.draw(name)
    stored = sum(weight.size * np.dtype(weight.dtype).itemsize for weight in net.weights)
    assert stored == pytest.approx(PUBLISHED[name], rel=0.02)


@pytest.mark.parametrize("name", COST)
def test_costs_what_the_published_network_costs(name: str) -> None:
    assert standins.draw(name).macs / 1e9 == pytest.approx(COST[name], rel=0.01)


def test_counts_by_hand() -> None:
    # 13 convolutions of 3 x 3 at 1024 channels (one from 512), 12 style layers, the rest of the two ends.
    wide = 12 * (9 * 1024 * 1024 + 1024) + 9 * 512 * 1024 + 1024
    styles = 12 * (512 * 2048 + 2048)
    ends = (49 * 3 * 128 + 128) + (9 * 128 * 256 + 256) + (9 * 256 * 512 + 512)
    ends += (9 * 1024 * 512 + 512) + (9 * 512 * 256 + 256) + (9 * 256 * 128 + 128) + (49 * 128 * 3 + 3)
    matrix = 512 * 512
    extra = standins.draw("inswapper_128").parameters - (wide + styles + ends + matrix)
    assert 0 <= extra <= 16  # constants of formulas


@pytest.mark.parametrize("name", standins.NAMES)
def test_has_what_the_card_says(name: str, small: dict[str, Card], folder: Path) -> None:
    card = small[name]
    session = loaded(folder / card.network.name)
    given = {port.name: tuple(port.shape) for port in session.get_inputs()}
    for tensor in card.inputs:
        assert given[tensor.name] == (tensor.shape if tensor.optional else (1, *tensor.shape))
    results = [tuple(port.shape) for port in session.get_outputs()]
    assert results[: len(card.outputs)] == [(1, *tensor.shape) for tensor in card.outputs]


@pytest.mark.parametrize("name", standins.NAMES)
def test_full_size_has_the_same_inputs_and_outputs(name: str) -> None:
    def edges(net: Net) -> list[tuple[str, tuple[int, ...]]]:
        model = onnx.GraphProto.FromString(net.header())
        return [
            (port.name, tuple(dim.dim_value for dim in port.type.tensor_type.shape.dim))
            for port in (*model.input, *model.output)
        ]

    small, full = edges(standins.draw(name, small=True)), edges(standins.draw(name))
    inner = {"lq_feat"}  # a hidden width
    assert [e for e in small if e[0] not in inner] == [e for e in full if e[0] not in inner]


@pytest.mark.parametrize("name", standins.NAMES)
def test_runs_and_gives_finite_numbers(name: str, small: dict[str, Card], folder: Path) -> None:
    path = folder / small[name].network.name
    onnx.checker.check_model(str(path), full_check=True)
    session = loaded(path)
    assert all(np.isfinite(result).all() for result in session.run(None, random_inputs(session)))


@pytest.mark.parametrize(
    "name", ["inswapper_128", "inswapper_128_fp16", "hyperswap_1a_256", "gfpgan_1.4", "codeformer"]
)
def test_a_picture_stays_near_what_was_given(name: str, small: dict[str, Card], folder: Path) -> None:
    session = loaded(folder / small[name].network.name)
    given = random_inputs(session)
    picture = given["target" if "target" in given else "input"]
    result = session.run(None, given)[0]
    assert np.corrcoef(picture.ravel(), result.ravel())[0, 1] > 0.95
    assert np.abs(result - (1 - BLEND) * picture).max() < 4 * BLEND


def test_faces_are_alike_and_the_matrix_keeps_lengths(small: dict[str, Card], folder: Path) -> None:
    session = loaded(folder / small["arcface_w600k_r50"].network.name)
    random = np.random.default_rng(3)
    a, b = (
        session.run(None, {"input": random.standard_normal((1, 3, 112, 112)).astype(np.float32)})[0][0]
        for _ in range(2)
    )
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.8
    model = onnx.load(folder / small["inswapper_128_fp16"].network.name)
    last = onnx.numpy_helper.to_array(model.graph.initializer[-1])
    assert model.graph.initializer[-1].name == "emap"
    assert last.dtype == np.dtype(np.float32)
    np.testing.assert_allclose(last @ last.T, np.eye(512), atol=1e-5)
    assert np.abs(last - last.T).max() > 1e-3  # a transposed one would show


def test_detector_finds_nothing(small: dict[str, Card], folder: Path) -> None:
    session = loaded(folder / small["yoloface_8n"].network.name)
    assert session.run(None, random_inputs(session))[0][0, 4].max() < 0.05


@pytest.mark.parametrize("name", standins.NAMES)
def test_same_name_same_bytes(name: str, small: dict[str, Card], tmp_path: Path) -> None:
    path = standins.write(name, tmp_path, small=True)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == small[name].network.sha256
    assert path.stat().st_size == small[name].network.bytes


def test_another_name_other_weights(tmp_path: Path) -> None:
    def first(name: str) -> Array:
        net = Net(name)
        net.output(net.add(net.input("x", (3,)), net.weight((3,), normal((3,), 1.0))), "y")
        net.save(tmp_path / name)
        model = onnx.load(tmp_path / name)
        return np.asarray(onnx.numpy_helper.to_array(model.graph.initializer[0]))

    assert np.abs(first("a") - first("b")).min() > 0


def test_cards_say_what_they_are(small: dict[str, Card]) -> None:
    for name, card in small.items():
        real = Catalogue().card(name)
        assert card.licence == "stand-in"
        assert "made-up weights" in card.notes
        assert not card.network.sources
        assert len(card.files) == 1
        assert (card.inputs, card.outputs, card.latent, card.template) == (
            *(real.inputs, real.outputs),
            *(real.latent, real.template),
        )
        assert standins.is_standin(card)
        assert not standins.is_standin(real)
    known = Catalogue().with_cards(small.values())
    assert known.card("inswapper_128") is small["inswapper_128"]
    assert len(known.cards) == len(Catalogue().cards)


def test_a_second_call_writes_nothing(tmp_path: Path) -> None:
    path = standins.write("xseg_1", tmp_path, small=True)
    before = path.stat()
    assert standins.write("xseg_1", tmp_path, small=True).stat() == before
    path.write_bytes(path.read_bytes()[:-1])
    assert standins.write("xseg_1", tmp_path, small=True).stat().st_size == before.st_size


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    real, folder = tmp_path / "real.onnx", tmp_path / "models"
    real.write_bytes(b"somebody's own file")
    folder.mkdir()
    (folder / "xseg_1.onnx").symlink_to(real)
    standins.write("xseg_1", folder, small=True)
    assert real.read_bytes() == b"somebody's own file"


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="magic"):
        standins.write("magic", tmp_path)


def test_wire_format_is_that_of_protocol_buffers() -> None:
    graph = onnx.GraphProto(name="g")
    data = graph.SerializeToString()
    model = onnx.ModelProto.FromString(put(Field.MODEL_GRAPH, len(data)) + data)
    assert model.graph == graph
    assert varint(0) == b"\x00"
    assert varint(300) == b"\xac\x02"  # the example of the format's description
    for count in (0, 1, 127, 128, 16383, 16384, 5_000_000_000):
        assert length(count) - count == 1 + len(varint(count))


@pytest.mark.parametrize("name", standins.NAMES)
def test_a_card_as_text_is_read_back(name: str, small: dict[str, Card], tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(cardtext.toml(small[name]))
    assert catalogue.drafted(path).card == small[name]


def test_cards_of_every_kind_as_text(tmp_path: Path) -> None:
    path, count = tmp_path / "card.toml", 0
    for card in Catalogue():
        if any(isinstance(source, Wheel) for file in card.files for source in file.sources):
            with pytest.raises(ValueError, match="wheel"):
                cardtext.toml(card)
            continue
        path.write_text(cardtext.toml(card))
        assert catalogue.drafted(path).card == card
        count += 1
    assert count > 30
