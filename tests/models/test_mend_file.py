"""Files are read without trusting them: one clear error each, and what they do not hold is not allocated."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, external_data_helper, helper, numpy_helper

from mien.errors import ModelError
from mien.models import graph_file
from tests.models.standins import Net, evaluate, generator, swapper, transformer

BYTES = generator().model().SerializeToString()


def plain() -> ModelProto:
    net = Net()
    x = net.op("Add", net.input("x", 1, 40, 40), net.const(np.arange(1600.0).reshape(1, 40, 40), "w"))
    net.output(x, "y", 1, 40, 40)
    return net.model()


def saved(model: ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("data", [b"", b"no network", bytes(4096), b"\x80" * 4096, b"{}\n" * 500])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        graph_file.read(path)


def test_absent_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        graph_file.read(tmp_path / "absent.onnx")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.integers(1, len(BYTES) - 1))
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(BYTES[:length])
    with pytest.raises(ModelError):
        graph_file.read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    path = tmp_path / "net.onnx"
    data = bytearray(BYTES)
    for at, value in changes:
        data[at] = value
    path.write_bytes(data)
    with contextlib.suppress(ModelError):
        graph_file.read(path)


def test_a_file_larger_than_any_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate((4 << 30) + 1)
    with pytest.raises(ModelError, match="too many"):
        graph_file.read(path)


@pytest.mark.parametrize(
    ("dims", "text"),
    [
        ([1 << 40, 1 << 20], "absurd"),
        ([2**62, 2**62, 4], "absurd"),
        ([1, 40, 41], "claims"),
        ([-1, 40, 40], "negative"),
        ([1 << 28], "claims"),
    ],
)
def test_weights_that_claim_another_size_are_refused(dims: list[int], text: str, tmp_path: Path) -> None:
    model = plain()
    model.graph.initializer[0].dims[:] = dims
    tracemalloc.start()
    with pytest.raises(ModelError, match=text):
        graph_file.read(saved(model, tmp_path))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_numbers_that_are_fewer_than_claimed_are_refused(tmp_path: Path) -> None:
    model = plain()
    model.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0]))
    model.graph.initializer[0].dims[:] = [1, 40, 40]
    with pytest.raises(ModelError, match="claims"):
        graph_file.read(saved(model, tmp_path))


def test_absurd_inputs_are_refused(tmp_path: Path) -> None:
    model = plain()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 50
    with pytest.raises(ModelError, match="absurd"):
        graph_file.read(saved(model, tmp_path))


def external(folder: Path, **changes: str) -> Path:
    """The plain network with its weights in another file, described as `changes` say."""
    model = plain()
    tensor = model.graph.initializer[0]
    (folder / "weights").write_bytes(b"head" + tensor.raw_data)
    external_data_helper.set_external_data(tensor, "weights", 4, len(tensor.raw_data))
    tensor.ClearField("raw_data")
    for entry in tensor.external_data:
        entry.value = changes.get(entry.key, entry.value)
    return saved(model, folder)


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    network = graph_file.read(external(tmp_path))
    np.testing.assert_array_equal(network.constants["w"], np.arange(1600.0).reshape(1, 40, 40))


@pytest.mark.parametrize(
    "location",
    [
        "../weights",
        "/etc/passwd",
        "C:\\weights",
        "..\\weights",
        "sub/weights",
        ".",
        "..",
        "",
        "absent",
        "\\\\a\\b",
    ],
)
def test_weights_elsewhere_are_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        (place / "weights").write_bytes(bytes(8000))
    with pytest.raises(ModelError, match="weights"):
        graph_file.read(external(folder, location=location))


def test_weights_behind_a_link_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = external(folder, location="link")
    (tmp_path / "secret").write_bytes(bytes(8000))
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="not beside"):
        graph_file.read(path)


@pytest.mark.parametrize("changes", [{"offset": "8"}, {"offset": "-1"}, {"length": "99"}, {"offset": "x"}])
def test_weights_beyond_the_other_file_are_refused(changes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tensor w"):
        graph_file.read(external(tmp_path, **changes))


def test_operators_of_an_unknown_domain_are_refused_by_name(tmp_path: Path) -> None:
    model = plain()
    model.graph.node[0].domain, model.graph.node[0].op_type = "com.example", "Steal"
    with pytest.raises(ModelError, match=r"Steal.*com\.example"):
        graph_file.read(saved(model, tmp_path))


def test_control_flow_is_read_and_not_edited(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "b", [], [helper.make_empty_tensor_value_info("z")]
    )
    net = Net()
    x = net.input("x", 1)
    net.output(net.op("If", net.const(np.array(True)), then_branch=branch, else_branch=branch), "y", 1)
    assert x == "x"
    assert "If" in graph_file.read(net.save(tmp_path / "net.onnx")).odd


@pytest.mark.parametrize("build", [generator, swapper, transformer])
def test_what_is_written_is_the_same_network(build: Callable[[], Net], tmp_path: Path) -> None:
    first = build().save(tmp_path / "first.onnx")
    network = graph_file.read(first)
    second = tmp_path / "new" / "second.onnx"
    assert graph_file.write(network, second) == second.stat().st_size
    onnx.checker.check_model(onnx.load(second))
    rng = np.random.default_rng(0)
    inputs = {p.name: rng.random(p.static or (), dtype=np.float32) for p in network.inputs}
    for a, b in zip(evaluate(first, inputs), evaluate(second, inputs), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in second.parent.iterdir()] == ["second.onnx"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    st.sampled_from(["f2", "f4", "f8", "i1", "i4", "i8", "u1", "u8", "?"]),
    st.lists(st.integers(0, 5), max_size=4),
)
def test_constants_survive_a_round_trip(tmp_path: Path, kind: str, shape: list[int]) -> None:
    values = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    net = Net()
    net.values.append(numpy_helper.from_array(np.asarray(values), "w"))
    net.input("x", 1)
    network = graph_file.read(net.save(tmp_path / "net.onnx"))
    graph_file.write(network, tmp_path / "again.onnx")
    found = graph_file.read(tmp_path / "again.onnx").constants["w"]
    assert found.dtype == values.dtype
    assert found.shape == values.shape
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("place", ["branch", "sparse", "function"])
def test_weights_elsewhere_are_refused_wherever_they_are_named(place: str, tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    model = plain()
    if place == "branch":
        out = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])
        body = helper.make_graph([], "body", [], [out], [tensor])
        model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body))
    elif place == "sparse":
        model.graph.sparse_initializer.add(values=tensor, dims=[4])
    else:
        node = helper.make_node("Constant", [], ["w"], value=tensor)
        model.functions.add(name="f", domain="own", output=["w"]).node.append(node)
    with pytest.raises(ModelError, match="another file"):
        graph_file.read(saved(model, tmp_path))
