"""Mended graphs give what the original files give, for inputs that the proof has not seen."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, numpy_helper

from mien.errors import ModelError
from mien.models import graph_file, mend, mend_half, mend_proof
from mien.models.card import Tensor
from mien.types import Array
from tests.models import standins
from tests.models.standins import Net, apart, card, evaluate, single

ROWS = 4
HOWS = ("reciprocal", "pow", "div", "divided", "mul", "length")


def inputs(net: Net, count: int = ROWS) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim][1:] for i in net.ins}
    return {name: rng.standard_normal((count, *s)).astype(np.float32) for name, s in shapes.items()}


def run(graph: mend.Graph, given: Mapping[str, Array]) -> list[Array]:
    """Both parts of a mended graph, on all rows at once."""
    known = dict(given)
    if graph.source is not None:
        results = evaluate(graph.source, {"source": given["source"]})
        names = [port.name for port in graph_file.read(graph.source).outputs]
        known.update(zip(names, results, strict=True))
    return evaluate(graph.network, {name: known[name] for name in graph.inputs})


def mended(net: Net, folder: Path, **outputs: tuple[int, ...]) -> tuple[Path, mend.Graph]:
    path = net.save(folder / "net.onnx")
    return path, mend.mended(card(net, path, **outputs), path, folder / "kept", evaluate)


BUILDS: dict[str, Callable[[], Net]] = {
    "generator": standins.generator,
    "generator of opset 13": lambda: standins.generator(opset=13),
    "enlarging generator": standins.enlarging_generator,
    "swapper": standins.swapper,
    "expanding swapper": standins.expanding_swapper,
    "transformer": standins.transformer,
    "classic transformer": lambda: standins.transformer(classic=True),
    "codes": standins.codes,
} | {f"{how} demodulation": lambda how=how: standins.generator(how) for how in HOWS}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())
def test_many_items_at_once_give_what_each_gives_alone(build: Callable[[], Net], tmp_path: Path) -> None:
    net = build()
    path, graph = mended(net, tmp_path)
    given = inputs(net)
    assert graph.batched, graph.notes
    assert not any("left alone" in note for note in graph.notes), graph.notes
    assert apart(run(graph, given), single(path, given)) < 1e-5


@pytest.mark.parametrize("how", HOWS)
def test_modulated_convolutions_have_fixed_weights(how: str, tmp_path: Path) -> None:
    _, graph = mended(standins.generator(how), tmp_path)
    network = graph_file.read(graph.network)
    convolutions = [node for node in network.nodes if node.op_type == "Conv"]
    assert len(convolutions) == 5
    assert all(node.input[1] in network.constants for node in convolutions)
    assert any("3 modulated convolutions" in note for note in graph.notes)
    # No weight-sized tensor is computed any more, and no number scales a picture on its own.
    assert not [n for n in network.nodes if n.op_type.startswith("Reduce")]
    numbers = {name for name, array in network.constants.items() if array.size == 1 and array.ndim == 0}
    assert not [n for n in network.nodes if n.op_type == "Mul" and not numbers.isdisjoint(n.input)]


def test_styles_scale_the_smaller_picture(tmp_path: Path) -> None:
    _, graph = mended(standins.generator(), tmp_path)
    network = graph_file.read(graph.network)
    (resize,) = (node for node in network.nodes if node.op_type == "Resize")
    (taker,) = network.consumers()[resize.output[0]]
    assert taker.op_type == "Conv"


def test_a_bias_does_not_lie_next_to_the_noise(tmp_path: Path) -> None:
    """Engines join sums of constants: into a number for every pixel of every channel."""
    _, graph = mended(standins.generator(), tmp_path)
    network = graph_file.read(graph.network)
    producers = network.producers()

    def constant(node: NodeProto) -> tuple[int, ...]:
        arrays = [network.constants[name] for name in node.input if name in network.constants]
        return arrays[0].shape if arrays else ()

    sums = [node for node in network.nodes if node.op_type == "Add"]
    noises = [node for node in sums if constant(node)[:2] == (1, 1) and constant(node)[2:] != (1, 1)]
    assert len(noises) == 2
    for noise in noises:
        (taker,) = network.consumers()[noise.output[0]]
        assert taker.op_type == "LeakyRelu"
        scale = producers[noise.input[0]]
        shifted = producers[scale.input[0]]
        assert (scale.op_type, shifted.op_type) == ("Mul", "Add")
        assert producers[shifted.input[1]].op_type == "Div"


def test_a_modulated_convolution_is_the_formula(tmp_path: Path) -> None:
    """y_o = sum_i w_oi s_i x_i / sqrt(sum_i (w_oi s_i)^2 + 1e-8), Karras et al. 2020, equations 1 and 3."""
    net = Net(11, seed=9)
    picture = net.input("input", 1, 5, 3, 3)
    code = net.op("Slice", net.op("Flatten", picture, axis=1), *(net.const(np.array([v])) for v in (0, 8, 1)))
    net.output(standins.modulated(net, picture, code, 5, 4, 1, "reciprocal"), "output", 1, 4, 3, 3)
    _, graph = mended(net, tmp_path)
    values = {v.name: v for v in net.values}
    linear, around, weight = (numpy_helper.to_array(values[name]) for name in _weights(net))
    x = inputs(net)["input"].astype(float)
    style = x.reshape(ROWS, -1)[:, :8] @ linear.T.astype(float) + around
    w = weight[None, 0, :, :, 0, 0] * style[:, None, :]
    w /= np.sqrt((w**2).sum(2, keepdims=True) + 1e-8)
    wanted = np.einsum("noi,niyx->noyx", w, x)
    assert any("1 modulated" in note for note in graph.notes)
    np.testing.assert_allclose(run(graph, {"input": x.astype(np.float32)})[0], wanted, atol=2e-5)


def _weights(net: Net) -> tuple[str, str, str]:
    """Names of the linear layer's weights and bias and of the convolution's weights."""
    gemm = next(node for node in net.nodes if node.op_type == "Gemm")
    product = next(node for node in net.nodes if node.op_type == "Mul")
    return gemm.input[1], gemm.input[2], product.input[0]


def test_what_depends_on_the_source_alone_is_computed_once(tmp_path: Path) -> None:
    net = standins.swapper()
    _, graph = mended(net, tmp_path)
    assert graph.source is not None
    assert "source" not in graph.inputs
    first, second = graph_file.read(graph.source), graph_file.read(graph.network)
    assert [port.name for port in first.inputs] == ["source"]
    assert {port.name for port in first.outputs} == set(graph.inputs) - {"target"}
    assert sum(node.op_type == "Gemm" for node in first.nodes) == 4
    assert not any(node.op_type == "Gemm" for node in second.nodes)
    assert "emap" not in second.constants


def test_small_styles_are_kept_and_not_what_they_are_expanded_to(tmp_path: Path) -> None:
    _, graph = mended(standins.expanding_swapper(), tmp_path)
    assert graph.source is not None
    shapes = {port.shape for port in graph_file.read(graph.source).outputs}
    assert shapes == {("N", 4, 1, 1)}
    network = graph_file.read(graph.network)
    assert not any(node.op_type == "Gemm" for node in network.nodes)


def test_cells_without_a_batch_axis_get_one(tmp_path: Path) -> None:
    net = standins.detector()
    path, graph = mended(net, tmp_path, fine=(64, 2), coarse=(-1, 2))
    given = inputs(net)
    found = run(graph, given)
    assert [array.shape for array in found] == [(ROWS, 64, 2), (ROWS, 16, 2)]
    wanted = single(path, given)
    assert apart([array.reshape(-1, 2) for array in found], wanted) < 1e-5


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    net = standins.swapper(half=True)
    path, graph = mended(net, tmp_path)
    given = inputs(net)
    assert any(note.startswith("float16 became float32") for note in graph.notes)
    for file in (graph.network, graph.source):
        assert file is not None
        network = graph_file.read(file)
        assert not any(node.op_type == "Cast" for node in network.nodes)
        assert all(array.dtype != np.float16 for array in network.constants.values())
    assert 0 < apart(run(graph, given), single(path, given)) < 1e-2
    assert apart(run(graph, given), single(standins.swapper().save(tmp_path / "wide.onnx"), given)) < 1e-2
    assert sorted(p.suffix for p in (tmp_path / "kept").iterdir()) == [".mended", ".onnx", ".onnx"]


def across() -> Net:
    """What it gives depends on all items of a batch together."""
    net = Net(13)
    x = net.input("x", 1, 6)
    net.output(net.op("Sub", x, net.reduce("ReduceMean", x, [0, 1])), "y", 1, 6)
    return net


def test_a_graph_that_mixes_items_is_left_alone(tmp_path: Path) -> None:
    path, graph = mended(across(), tmp_path)
    assert graph.network == path
    assert not graph.batched
    assert any("goes across items" in note for note in graph.notes)


def test_an_open_axis_is_not_believed(tmp_path: Path) -> None:
    net = Net(13)
    x = net.input("x", "N", 6)
    net.output(net.op("Sub", x, net.reduce("ReduceMean", x, [0, 1])), "y", "N", 6)
    path, graph = mended(net, tmp_path)
    assert (graph.network, graph.batched) == (path, False)


def test_a_file_that_needs_nothing_is_used_as_it_is(tmp_path: Path) -> None:
    net = Net(13)
    net.output(net.op("Relu", net.conv(net.input("x", "N", 3, 8, 8), 3, 4)), "y", "N", 4, 8, 8)
    path, graph = mended(net, tmp_path)
    assert (graph.network, graph.source, graph.inputs, graph.batched) == (path, None, ("x",), True)
    assert [p.suffix for p in (tmp_path / "kept").iterdir()] == [".mended"]


def test_weights_stored_in_half_are_no_reason_for_a_copy(tmp_path: Path) -> None:
    net = Net(13)
    x = net.input("x", "N", 3, 8, 8)
    net.half = True
    weight = net.op("Cast", net.weights(4, 3, 3, 3), to=standins.F32)
    net.half = False
    net.output(net.op("Conv", x, weight, kernel_shape=[3, 3]), "y", "N", 4, 6, 6)
    path, graph = mended(net, tmp_path)
    assert (graph.network, graph.batched) == (path, True)


def test_a_length_that_is_open_in_file_and_card_is_left_open(tmp_path: Path) -> None:
    net = Net(13)
    net.output(net.op("Relu", net.input("x", "N", 3, "H", "W")), "y", "N", 3, "H", "W")
    path, graph = mended(net, tmp_path)
    assert (graph.network, graph.batched) == (path, True)


@pytest.mark.parametrize("shape", [(3, 9, 9), (3, 8), (8, 3)])
def test_a_card_for_another_file_mends_nothing(shape: tuple[int, ...], tmp_path: Path) -> None:
    net = standins.generator()
    path = net.save(tmp_path / "net.onnx")
    other = replace(card(net, path), inputs=(Tensor("input", shape),))
    graph = mend.mended(other, path, tmp_path / "kept", evaluate)
    assert (graph.network, graph.batched) == (path, False)
    assert graph.notes


def test_an_optional_input_has_no_items(tmp_path: Path) -> None:
    net = Net(13)
    x = net.input("x", 1, 3, 4, 4)
    net.input("weight", 1)
    net.output(net.op("Add", net.op("Mul", x, "weight"), net.conv(x, 3, 3)), "y", 1, 3, 4, 4)
    path = net.save(tmp_path / "net.onnx")
    known = replace(card(net, path), inputs=(Tensor("x", (3, 4, 4)), Tensor("weight", (), optional=True)))
    graph = mend.mended(known, path, tmp_path / "kept", evaluate)
    given = {"x": inputs(net)["x"], "weight": np.array([0.7], np.float32)}
    assert graph.batched
    wanted = np.concatenate([evaluate(path, {**given, "x": given["x"][k : k + 1]})[0] for k in range(ROWS)])
    assert apart(evaluate(graph.network, given), [wanted]) < 1e-5


class Counting:
    """Runs files, and says how often it did."""

    def __init__(self, spoil: Callable[[Path], float] = lambda _: 0.0) -> None:
        self.runs = 0
        self.spoil = spoil

    def __call__(self, path: Path, given: Mapping[str, Array]) -> list[Array]:
        self.runs += 1
        return [array + np.float32(self.spoil(path)) for array in evaluate(path, given)]


def test_what_is_not_equal_is_left_alone(tmp_path: Path) -> None:
    net = standins.generator()
    path = net.save(tmp_path / "net.onnx")
    spoiling = Counting(lambda file: 0.0 if file == path else 1e-3)
    graph = mend.mended(card(net, path), path, tmp_path / "kept", spoiling)
    assert (graph.network, graph.source, graph.batched) == (path, None, False)
    assert all(note.startswith("left alone") for note in graph.notes)
    assert [p.suffix for p in (tmp_path / "kept").iterdir()] == [".mended"]


def test_one_step_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = standins.swapper()
    path = net.save(tmp_path / "net.onnx")
    spoiling = Counting(lambda file: 1e-3 if "source" in file.name else 0.0)
    graph = mend.mended(card(net, path), path, tmp_path / "kept", spoiling)
    assert graph.batched
    assert graph.source is None
    assert any("split changes results" in note for note in graph.notes)
    given = inputs(net)
    assert apart(run(graph, given), single(path, given)) < 1e-5


def test_a_file_that_cannot_be_run_is_left_alone(tmp_path: Path) -> None:
    def broken(path: Path, given: Mapping[str, Array]) -> list[Array]:
        raise RuntimeError("no such operator\nand more")

    net = standins.generator()
    path = net.save(tmp_path / "net.onnx")
    graph = mend.mended(card(net, path), path, tmp_path / "kept", broken)
    assert graph.notes == ("left alone: it cannot be run: no such operator",)


def test_a_second_start_reads_what_the_first_found(tmp_path: Path) -> None:
    net = standins.swapper()
    path = net.save(tmp_path / "net.onnx")
    counting = Counting()
    first = mend.mended(card(net, path), path, tmp_path / "kept", counting)
    runs = counting.runs
    assert runs > 0
    assert mend.mended(card(net, path), path, tmp_path / "kept", counting) == first
    assert counting.runs == runs


@pytest.mark.parametrize("what", ["file", "copy", "record", "rules", "card"])
def test_what_was_found_for_something_else_is_not_used(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = standins.swapper()
    path, kept = net.save(tmp_path / "net.onnx"), tmp_path / "kept"
    known, counting = card(net, path), Counting()
    first = mend.mended(known, path, kept, counting)
    runs = counting.runs
    if what == "file":
        os.utime(path, ns=(1, 1))
    elif what == "copy":
        first.network.write_bytes(first.network.read_bytes()[:-1])
    elif what == "record":
        (record,) = kept.glob("*.mended")
        record.write_bytes(record.read_bytes().replace(b"true", b"null"))
    elif what == "rules":
        monkeypatch.setattr(mend, "VERSION", 0)
    else:
        known = replace(known, outputs=(Tensor("", (3, 16, 16)),))
    again = mend.mended(known, path, kept, counting)
    assert counting.runs > runs
    assert again.batched
    # Nothing of what was there before is left.
    assert len(list(kept.iterdir())) == 3
    given = inputs(net)
    assert apart(run(again, given), single(path, given)) < 1e-5


def test_leftovers_are_swept(tmp_path: Path) -> None:
    net = standins.swapper()
    path, kept = net.save(tmp_path / "net.onnx"), tmp_path / "kept"
    graph = mend.mended(card(net, path), path, kept, evaluate)
    leftover = kept / f".{graph.network.name}.0011.part"
    foreign = kept / "other.onnx"
    for file in (leftover, foreign):
        file.write_bytes(b"")
    os.utime(path, ns=(1, 1))
    mend.mended(card(net, path), path, kept, evaluate)
    assert not leftover.exists()
    assert foreign.exists()


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    net = standins.generator()
    path = net.save(tmp_path / "net.onnx")
    (tmp_path / "kept").write_bytes(b"a file where the folder should be")
    graph = mend.mended(card(net, path), path, tmp_path / "kept", evaluate)
    assert (graph.network, graph.batched) == (path, False)


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    net = standins.generator()
    path = net.save(tmp_path / "net.onnx")
    known = card(net, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"net\.onnx"):
        mend.mended(known, path, tmp_path / "kept", evaluate)
    with pytest.raises(ModelError, match="cannot be read"):
        mend.mended(known, tmp_path / "absent.onnx", tmp_path / "kept", evaluate)


def test_the_last_initializer_is_the_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = standins.swapper()
    path = net.save(tmp_path / "net.onnx")
    matrix = mend.last_matrix(path, tmp_path / "kept")
    np.testing.assert_array_equal(matrix, numpy_helper.to_array(net.values[-1]))
    monkeypatch.setattr(graph_file, "read", None)
    np.testing.assert_array_equal(mend.last_matrix(path, tmp_path / "kept"), matrix)


@pytest.mark.parametrize("value", [np.zeros((3, 4)), np.zeros(9), np.zeros((3, 3), np.int64)])
def test_another_last_initializer_is_an_error(value: Array, tmp_path: Path) -> None:
    net = standins.swapper()
    net.values.append(numpy_helper.from_array(value, "last"))
    with pytest.raises(ModelError, match="no square matrix"):
        mend.last_matrix(net.save(tmp_path / "net.onnx"), tmp_path / "kept")


HALVED = ("generator", "enlarging generator", "swapper", "transformer")


@pytest.mark.parametrize("name", HALVED)
def test_float16_with_islands_stays_near(name: str, tmp_path: Path) -> None:
    net = BUILDS[name]()
    path = net.save(tmp_path / "net.onnx")
    network = graph_file.read(path)
    half = mend_half.half(network)
    graph_file.write(half, tmp_path / "half.onnx")
    given = inputs(net)
    found, wanted = single(tmp_path / "half.onnx", given), single(path, given)
    assert all(array.dtype == np.float32 for array in found)
    assert 0 < apart(found, wanted) < 5e-3
    kinds = {array.dtype for name, array in half.constants.items() if array.ndim == 4 and array.shape[0] > 1}
    assert np.dtype(np.float32) not in kinds
    assert any(array.dtype == np.float16 for array in half.constants.values())
    assert network.constants.keys() == graph_file.read(path).constants.keys()


def test_values_beyond_float16_stay_in_float32(tmp_path: Path) -> None:
    net = Net(13)
    x = net.op("Mul", net.conv(net.input("x", 1, 3, 4, 4), 3, 3), net.const(1e6))
    x = net.op("Add", net.op("Mul", x, net.const(1e-6)), net.const(1e-7))
    net.output(net.op("Relu", net.conv(x, 3, 2)), "y", 1, 2, 4, 4)
    path = net.save(tmp_path / "net.onnx")
    graph_file.write(mend_half.half(graph_file.read(path)), tmp_path / "half.onnx")
    given = inputs(net)
    assert apart(single(tmp_path / "half.onnx", given), single(path, given)) < 5e-3


def test_errors_are_shares_of_the_largest_value() -> None:
    a = np.array([1.0, -4.0, 2.0], np.float32)
    b = a + np.array([0.0, 0.0, 0.01], np.float32)
    assert mend_proof.error([b], [a]) == pytest.approx(0.0025, rel=1e-3)
    assert mend_proof.error([a, a], [a, a]) == 0.0
    nothing = np.zeros(3, np.float32)
    assert mend_proof.error([nothing], [nothing]) == 0.0
    infinite = float("inf")
    assert mend_proof.error([a], [nothing]) == infinite
    assert mend_proof.error([a], [a, a]) == infinite
    assert mend_proof.error([a[:2]], [a]) == infinite
    assert mend_proof.error([a * np.float32("nan")], [a]) == infinite
    assert mend_proof.error([np.array([2])], [np.array([1])]) == 1.0


def test_two_at_once_mend_a_network_once(tmp_path: Path) -> None:
    net = standins.swapper()
    path = net.save(tmp_path / "net.onnx")
    inside, calls = threading.Barrier(2, timeout=60), []

    def slow(file: Path, given: Mapping[str, Array]) -> list[Array]:
        calls.append(threading.get_ident())
        return evaluate(file, given)

    def work() -> mend.Graph:
        inside.wait()
        return mend.mended(card(net, path), path, tmp_path / "kept", slow)

    with ThreadPoolExecutor(2) as pool:
        first, second = (future.result() for future in [pool.submit(work), pool.submit(work)])
    assert first == second
    assert len(set(calls)) == 1, "both mended it"
