"""Sessions over small ONNX networks: names, shapes, types, batches, broken files, engines asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from mien.errors import MienError, ModelError, RuntimeUnavailable
from mien.models import engines, mend
from mien.models.card import Card, Tensor
from mien.models.engine import Candidate, Engine, Network
from mien.run.order import fallen
from mien.types import Array
from tests.models import graphs
from tests.models.graphs import affine, graph, node, port

RNG = np.random.default_rng(3)
X = RNG.random((5, 3, 4, 4), np.float32)

Asked = Mapping[str, str]
EXACT = [{"engine": "onnxruntime", "precision": "f32"}, {"engine": "openvino", "precision": "f32"}]
each_engine = pytest.mark.parametrize("asked", EXACT, ids=["onnxruntime", "openvino"])


def run(
    home: Path,
    card: Card,
    data: bytes,
    given: Mapping[str, Array] | Array,
    asked: Mapping[str, str] | None = None,
) -> dict[str, Array]:
    graphs.put(home, card, data)
    with graphs.runtime(home, **(asked or {})) as runtime:
        return dict(runtime.session(card).run(given))


@each_engine
@pytest.mark.parametrize("batch", ["N", 1], ids=["open", "fixed"])
def test_any_number_of_rows(tmp_path: Path, asked: Asked, batch: int | str) -> None:
    data = affine(2.0, -0.5, batch=batch)
    card = graphs.put(tmp_path, graphs.card("a", data, batches=(2, 1)), data)
    with graphs.runtime(tmp_path, **asked) as runtime:
        session = runtime.session(card)
        for count in (0, 1, 2, 5):
            np.testing.assert_allclose(session.run(X[:count])["y"], 2 * X[:count] - 0.5, rtol=1e-6)


@each_engine
def test_unnamed_tensors_take_the_names_of_the_file(tmp_path: Path, asked: Asked) -> None:
    card = graphs.card("a", affine(3, 0), inputs=(Tensor("", (3, 4, 4)),), outputs=(Tensor("", (3, -1, -1)),))
    for given in (X, {"": X}, {"x": X}):
        np.testing.assert_allclose(run(tmp_path, card, affine(3, 0), given, asked)["y"], 3 * X, rtol=1e-6)


@each_engine
def test_open_lengths_take_those_of_the_card_or_any(tmp_path: Path, asked: Asked) -> None:
    data = affine(2, 0, shape=(3, "h", "w"))
    np.testing.assert_allclose(run(tmp_path, graphs.card("a", data), data, X, asked)["y"], 2 * X)
    open_card = graphs.card(
        "b", data, inputs=(Tensor("x", (3, -1, -1)),), outputs=(Tensor("y", (3, -1, -1)),)
    )
    wide = RNG.random((2, 3, 6, 8), np.float32)
    np.testing.assert_allclose(run(tmp_path, open_card, data, wide, asked)["y"], 2 * wide)


@each_engine
def test_only_the_outputs_of_the_card_in_the_order_of_the_file(tmp_path: Path, asked: Asked) -> None:
    data = graph(
        [node("Identity", ["x"], ["first"]), node("Neg", ["x"], ["more"]), node("Abs", ["x"], ["last"])],
        [port("x", ("N", 3, 4, 4))],
        [port("first", ("N", 3, 4, 4)), port("more", ("N", 3, 4, 4)), port("last", ("N", 3, 4, 4))],
    )
    card = graphs.card("a", data, outputs=(Tensor("last", (3, 4, 4)), Tensor("first", (3, 4, 4))))
    result = run(tmp_path, card, data, -X, asked)
    assert list(result) == ["first", "last"]
    np.testing.assert_array_equal(result["last"], X)


@each_engine
def test_an_output_without_a_batch_axis_is_given_row_by_row(tmp_path: Path, asked: Asked) -> None:
    data = graph(
        [node("Reshape", ["x", "s"], ["y"])],
        [port("x", (1, 3, 4, 4))],
        [port("y", (12, 4))],
        {"s": np.array([12, 4])},
    )
    card = graphs.card("a", data, outputs=(Tensor("y", (12, 4)),))
    np.testing.assert_array_equal(run(tmp_path, card, data, X, asked)["y"], X.reshape(5, 12, 4))


def weighted(has: bool) -> tuple[Card, bytes]:
    """y = w * x with a weight of float64 and no batch axis; or y = x where the file lacks it."""
    nodes = (
        [node("Cast", ["w"], ["f"], to=1), node("Mul", ["x", "f"], ["y"])]
        if has
        else [node("Identity", ["x"], ["y"])]
    )
    inputs = [port("x", ("N", 3, 4, 4)), *([port("w", (1,), "float64")] if has else [])]
    data = graph(nodes, inputs, [port("y", ("N", 3, 4, 4))])
    tensors = (Tensor("x", (3, 4, 4)), Tensor("w", (1,), dtype="float64", optional=True))
    return graphs.card("a", data, inputs=tensors, batches=(2, 1)), data


@each_engine
def test_a_weight_goes_to_every_row_and_may_be_absent(tmp_path: Path, asked: Asked) -> None:
    given = {"x": X, "w": np.array([0.25])}
    np.testing.assert_allclose(run(tmp_path, *weighted(True), given, asked)["y"], 0.25 * X)
    np.testing.assert_allclose(run(tmp_path, *weighted(False), given, asked)["y"], X)
    with pytest.raises(ValueError, match="a: input w is missing"):
        run(tmp_path, *weighted(True), {"x": X}, asked)
    with pytest.raises(ValueError, match="a: w: expected float64"):
        run(tmp_path, *weighted(True), {"x": X, "w": np.zeros(1, np.float32)}, asked)


@each_engine
def test_half_precision_is_cast_at_the_edge(tmp_path: Path, asked: Asked) -> None:
    data = affine(0.5, 1.0, dtype="float16")
    result = run(tmp_path, graphs.card("a", data), data, X, asked)["y"]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, 0.5 * X.astype(np.float16).astype(np.float32) + 1, atol=1e-3)


@each_engine
@pytest.mark.parametrize(
    "fields",
    [
        {"inputs": (Tensor("other", (3, 4, 4)),)},
        {"inputs": (Tensor("x", (3, 4)),)},
        {"inputs": (Tensor("x", (3, 4, 5)),)},
        {"inputs": (Tensor("x", (3, 4, 4), dtype="int64"),)},
        {"inputs": (Tensor("x", (3, 4, 4)), Tensor("source", (512,)))},
        {"inputs": ()},
        {"outputs": (Tensor("other", (3, 4, 4)),)},
        {"outputs": (Tensor("y", (1, 4, 4)),)},
        {"outputs": (Tensor("y", (3, 4, 4)), Tensor("", (1, 4, 4)))},
    ],
    ids=[
        "name",
        "rank",
        "shape",
        "type",
        "missing",
        "unknown",
        "output name",
        "output shape",
        "output missing",
    ],
)
def test_a_file_that_is_not_its_card_is_refused(
    tmp_path: Path, asked: Asked, fields: Mapping[str, object]
) -> None:
    data = affine(1, 0)
    card = graphs.put(tmp_path, graphs.card("a", data, **fields), data)
    with graphs.runtime(tmp_path, **asked) as runtime, pytest.raises(ModelError) as caught:
        runtime.session(card)
    text = str(caught.value)
    assert text.startswith("a: a.onnx has inputs x float32 (any, 3, 4, 4) and outputs y float32")
    assert "its card says" in text
    assert caught.value.advice


def test_a_shape_that_only_running_shows_to_be_wrong(tmp_path: Path) -> None:
    data = graph(
        [node("Concat", ["x", "x"], ["y"], axis=2)],
        [port("x", ("N", 3, "h", 4))],
        [port("y", ("N", 3, "k", 4))],
    )
    card = graphs.card("a", data, inputs=(Tensor("x", (3, -1, 4)),))
    with pytest.raises(ModelError, match=r"gives y \(N, \*\(3, 8, 4\)\), its card says"):
        run(tmp_path, card, data, X)


def test_inputs_that_break_the_contract(tmp_path: Path) -> None:
    data = graph(
        [node("Add", ["a", "b"], ["y"])], [port("a", ("N", 2)), port("b", ("N", 2))], [port("y", ("N", 2))]
    )
    card = graphs.card("c", data, inputs=(Tensor("a", (2,)), Tensor("b", (2,))), outputs=(Tensor("y", (2,)),))
    one, two = np.zeros((1, 2), np.float32), np.zeros((2, 2), np.float32)
    cases: list[tuple[Mapping[str, Array], str]] = [
        ({"a": one}, "c: input b is missing"),
        ({"a": one, "b": two}, "different batch sizes"),
        ({"a": one, "b": one.astype(np.float64)}, r"c: b: expected float32 \('N', 2\), got float64"),
        ({"a": one, "b": np.zeros((1, 3), np.float32)}, "c: b: expected float32"),
    ]
    for given, text in cases:
        with pytest.raises(ValueError, match=text):
            run(tmp_path, card, data, given)


BROKEN: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "text": lambda data: b"<html>404</html>",
    "truncated": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("asked", [{}, *EXACT], ids=["auto", "onnxruntime", "openvino"])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, asked: Asked, how: str) -> None:
    data = BROKEN[how](affine(1, 0))
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    with graphs.runtime(tmp_path, **asked) as runtime, pytest.raises(ModelError) as caught:
        runtime.session(card)
    assert "a.onnx" in str(caught.value)
    assert caught.value.advice


def test_the_name_of_the_file_does_not_matter_to_onnx(tmp_path: Path) -> None:
    from dataclasses import replace

    data = affine(2, 1)
    plain = graphs.card("a", data)
    card = replace(plain, files=(replace(plain.network, name="a.dfm"),))
    for asked in EXACT:
        np.testing.assert_allclose(run(tmp_path, card, data, X, asked)["y"], 2 * X + 1, rtol=1e-6)


def test_what_openvino_itself_wrote_is_read(tmp_path: Path) -> None:
    import hashlib
    from dataclasses import replace

    import openvino

    weights = RNG.random((6, 3, 1, 1), np.float32)
    data = graph(
        [node("Conv", ["x", "w"], ["y"])],
        [port("x", (1, 3, 4, 4))],
        [port("y", (1, 6, 4, 4))],
        {"w": weights},
    )
    (tmp_path / "models").mkdir()
    openvino.save_model(
        openvino.Core().read_model(data), tmp_path / "models" / "a.xml", compress_to_fp16=False
    )
    files = []
    for name in ("a.xml", "a.bin"):
        content = (tmp_path / "models" / name).read_bytes()
        files.append(replace(graphs.card("a", content).network, name=name))
        assert hashlib.sha256(content).hexdigest() == files[-1].sha256
    card = graphs.card("a", data, files=tuple(files), outputs=(Tensor("y", (6, 4, 4)),), batches=(4, 1))
    with graphs.runtime(tmp_path, engine="onnxruntime", precision="f32") as runtime:  # which cannot read it
        result = runtime.session(card).run(X)["y"]
        assert runtime.engines["a"].startswith("OpenVINO")
    np.testing.assert_allclose(result, np.einsum("oc,nchw->nohw", weights[:, :, 0, 0], X), rtol=1e-4)


@pytest.mark.parametrize("engine", ["cuda", "tensorrt", "tensorrt-rtx", "migraphx", "coreml", "directml"])
def test_an_engine_that_is_not_installed_names_its_package(tmp_path: Path, engine: str) -> None:
    import onnxruntime

    from mien.models.providers import PROVIDERS

    provider = PROVIDERS[engine]  # type: ignore[index]
    if provider.name in onnxruntime.get_available_providers():
        pytest.skip(f"{provider.name} is installed")
    data = affine(1, 0)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    with (
        graphs.runtime(tmp_path, engine=engine) as runtime,
        pytest.raises(RuntimeUnavailable, match="onnxruntime"),
    ):
        runtime.session(card)


@pytest.mark.parametrize(
    "asked", [{"engine": "onnxruntime", "precision": "bf16"}, {"engine": "onnxruntime", "precision": "f16"}]
)
def test_arithmetic_that_an_engine_lacks(tmp_path: Path, asked: Asked) -> None:
    data = affine(1, 0)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    with graphs.runtime(tmp_path, **asked) as runtime, pytest.raises(RuntimeUnavailable, match="precision"):
        runtime.session(card)


def test_a_card_that_tolerates_nothing_stays_in_float32(tmp_path: Path) -> None:
    data = affine(1, 0)
    card = graphs.put(tmp_path, graphs.card("a", data, tolerance=0.0), data)
    with graphs.runtime(tmp_path, precision="bf16") as runtime:
        runtime.session(card).run(X)
        assert runtime.choices()["a"].precision == "f32"


def split(tmp_path: Path) -> tuple[Card, bytes, mend.Graph]:
    """y = x + style, where style = 2 * source + 1 comes from the identity alone; whole and parted."""
    first = [node("Mul", ["source", "two"], ["d"]), node("Add", ["d", "one"], ["style"])]
    last = [node("Unsqueeze", ["style", "axes"], ["wide"]), node("Add", ["target", "wide"], ["y"])]
    numbers = {"two": np.array(2, np.float32), "one": np.array(1, np.float32)}
    axes = {"axes": np.array([2, 3])}
    target, source = port("target", ("N", 3, 4, 4)), port("source", ("N", 3))
    style, y = port("style", ("N", 3)), port("y", ("N", 3, 4, 4))
    data = graph([*first, *last], [source, target], [y], numbers | axes)
    parts = tmp_path / "network.onnx", tmp_path / "source.onnx"
    parts[0].write_bytes(graph(last, [target, style], [y], axes))
    parts[1].write_bytes(graph(first, [source], [style], numbers))
    inputs = (Tensor("source", (3,)), Tensor("target", (3, 4, 4)))
    return (
        graphs.card("a", data, inputs=inputs),
        data,
        mend.Graph(parts[0], parts[1], ("target", "style"), True, ("parted",)),
    )


@pytest.mark.parametrize("asked", [{}, *EXACT], ids=["auto", "onnxruntime", "openvino"])
def test_what_depends_on_the_identity_is_done_once(
    tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, data, parted = split(tmp_path)
    graphs.put(tmp_path, card, data)
    source = RNG.random((5, 3), np.float32)
    wanted = X + (2 * source + 1)[:, :, None, None]
    for graph_of_file in (parted, mend.Graph(tmp_path / "models" / "a.onnx", None, (), True)):
        monkeypatch.setattr(mend, "mended", lambda *_, found=graph_of_file: found)
        with graphs.runtime(tmp_path, **asked) as runtime:
            session = runtime.session(card)
            assert session.notes == graph_of_file.notes
            ready = session.condition({"source": source})
            assert all(len(array) == 5 for array in ready.values())
            assert list(ready) == (["style"] if graph_of_file.source else ["source"])
            np.testing.assert_allclose(session.run({"target": X, **ready})["y"], wanted, rtol=1e-5)
            # The whole also does: what depends on the identity is then done on the way.
            np.testing.assert_allclose(session.run({"target": X, "source": source})["y"], wanted, rtol=1e-5)
            empty = session.condition({"source": source[:0]})
            assert {n: a.shape[1:] for n, a in empty.items()} == {n: a.shape[1:] for n, a in ready.items()}
            assert session.run({"target": X[:0], "source": source[:0]})["y"].shape == (0, 3, 4, 4)
            with pytest.raises(ValueError, match="a: input source is missing"):
                session.run({"target": X})
            with pytest.raises(ValueError, match="batch sizes"):
                session.run({"target": X[:1], **ready})


def test_errors_are_of_the_family(tmp_path: Path) -> None:
    card = graphs.card("a", affine(1, 0))
    with graphs.runtime(tmp_path) as runtime, pytest.raises(MienError, match=r"a\.onnx"):
        runtime.session(card)  # not there, and fetching is off


def test_an_engine_that_fails_when_loaded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = affine(2.0, -0.5)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    load = engines.load

    def broken(network: Network, candidate: Candidate) -> Engine:
        if candidate.engine == "onnxruntime":
            raise RuntimeUnavailable(network.name, "no memory for it", "")
        return load(network, candidate)

    monkeypatch.setattr(engines, "load", broken)
    with graphs.runtime(tmp_path) as runtime:
        np.testing.assert_allclose(runtime.session(card).run(X)["y"], 2 * X - 0.5, rtol=1e-2)
        (said,) = fallen(runtime)
    assert said.subject == "a"
    assert re.fullmatch(r"ran on OpenVINO .*, not on onnxruntime f32: no memory for it", said.message)


def test_nothing_is_said_of_engines_that_work(tmp_path: Path) -> None:
    data = affine(2.0, -0.5)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    with graphs.runtime(tmp_path) as runtime:
        runtime.session(card).run(X)
        assert list(fallen(runtime)) == []


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_tensors_in_tensors_out(tmp_path: Path, engine: str, count: int) -> None:
    torch = pytest.importorskip("torch")
    data = affine(2.0, -0.5)
    card = graphs.put(tmp_path, graphs.card("a", data, batches=(2, 1)), data)
    with graphs.runtime(tmp_path, engine=engine, precision="f32", processor="cpu") as runtime:
        given = X[:count]
        found = runtime.session(card).run(torch.from_numpy(given))["y"]
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.numpy(), 2 * given - 0.5, rtol=1e-6)
        np.testing.assert_allclose(runtime.session(card).run(given)["y"], 2 * given - 0.5, rtol=1e-6)
        with pytest.raises(ValueError, match="expected float32"):
            runtime.session(card).run(torch.zeros((1, 3, 5, 4)))
