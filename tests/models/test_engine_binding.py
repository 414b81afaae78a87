"""ONNX Runtime from and to tensors: the same as from and to NumPy, whatever the number of rows.

On the processor the same code runs as on a card, but for the stream and the recording of CUDA graphs, which
are looked at with a made-up torch and a made-up ONNX Runtime.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from mien.bench import standins as small
from mien.errors import ModelError
from mien.models import engine_onnxruntime, graph_file, mend
from mien.models.binding import SIZES, SLOTS, Binding
from mien.models.card import Tensor
from mien.models.choice import deviation
from mien.models.engine import Candidate, EngineName, Network, singly
from mien.models.engine_onnxruntime import Evaluator, OnnxRuntime
from mien.models.half_file import half
from mien.models.mend_fold import halved
from mien.models.torch_lane import Lane
from mien.types import Array
from tests.models import graphs
from tests.models.test_engine_torch import REAL, made
from tests.models.torchnets import f, network

torch = pytest.importorskip("torch", reason="torch is not installed")

F32 = Candidate("onnxruntime", "f32")
NEAR = 1e-5


def held(engine: OnnxRuntime) -> Binding:
    """The engine's binding as it is on a card: tensors at fixed addresses, padded."""
    session, whole = engine._session, engine._whole
    return Binding(ort, session, engine.inputs, engine.outputs, whole, "cpu", sizes=SIZES)


def tensors(given: dict[str, Array]) -> dict[str, Any]:
    return {name: torch.from_numpy(array) for name, array in given.items()}


def ran(binding: Binding, given: dict[str, Array]) -> Any:
    """The tensor y."""
    return binding.run(tensors(given))["y"]


def arrays(found: Any) -> dict[str, Array]:
    assert all(isinstance(t, torch.Tensor) and t.dtype == torch.float32 for t in found.values())
    return {name: t.numpy() for name, t in found.items()}


def random(engine: OnnxRuntime, rows: int, size: tuple[int, ...] = ()) -> dict[str, Array]:
    """Inputs in [0, 1) with so many rows."""
    rng = np.random.default_rng(rows)
    found = {}
    for name, port in engine.inputs.items():
        lengths = list(port.shape)
        if name not in engine._whole:
            lengths[0] = rows
        if size and len(lengths) == 4:
            lengths[2:] = size
        found[name] = rng.random(lengths).astype(port.dtype)
    return found


@pytest.mark.parametrize("name", REAL)
def test_real_networks(shared: Path, name: str) -> None:
    path = shared / "models" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not among the real networks")
    engine = OnnxRuntime(network(path), F32)
    rows = 3 if engine.joins(3) else 2
    given = random(engine, rows, REAL[name])
    wanted = engine.prepare(rows)(given)
    for call in (engine.bind(rows), held(engine).call(rows, engine._most)):
        found = arrays(call(tensors(given)))
        assert list(found) == list(wanted)
        assert deviation(found, wanted) <= NEAR


@pytest.mark.parametrize("name", ["inswapper_128", "gfpgan_1.4", "bisenet_resnet_34", "arcface_w600k_r50"])
def test_stand_ins(tmp_path: Path, name: str) -> None:
    path = small.write(name, tmp_path, small=True)
    engine = OnnxRuntime(network(path), F32)
    given = random(engine, 2)
    wanted = engine.prepare(2)(given)
    assert deviation(arrays(engine.bind(2)(tensors(given))), wanted) <= NEAR
    assert deviation(arrays(held(engine).call(2, engine._most)(tensors(given))), wanted) <= NEAR


def layered(path: Path, batch: int | str = "N") -> OnnxRuntime:
    """A convolution with a nonlinearity, whose rows do not depend on one another, and a weight for all."""
    weights = {"w": f(4, 3, 3, 3)}
    data = graphs.graph(
        [
            graphs.node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            graphs.node("Mul", ["c", "s"], ["m"]),
            graphs.node("Tanh", ["m"], ["y"]),
        ],
        [graphs.port("x", (batch, 3, 6, 5)), graphs.port("s", (1,))],
        [graphs.port("y", (batch, 4, 6, 5))],
        weights,
    )
    path.write_bytes(data)
    inputs = (Tensor("x", (3, 6, 5)), Tensor("s", (1,), optional=True))
    return OnnxRuntime(network(path, inputs=inputs), F32)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 9, 16, 17])
def test_any_number_of_rows_and_padding_changes_none(tmp_path: Path, rows: int) -> None:
    engine = layered(tmp_path / "a.onnx")
    given = {"x": f(rows, 3, 6, 5), "s": np.array([0.5], np.float32)}
    binding = held(engine)
    found = arrays(binding.call(rows, engine._most)(tensors(given)))["y"]
    size = next((s for s in SIZES if s >= rows), rows)
    padded = np.concatenate([given["x"], np.zeros((size - rows, 3, 6, 5), np.float32)])
    whole = engine.prepare(size)({"x": padded, "s": given["s"]})["y"]
    np.testing.assert_array_equal(found, whole[:rows])
    direct = arrays(engine.bind(rows)(tensors(given)))["y"]
    assert direct.shape == found.shape == (rows, 4, 6, 5)
    if rows:
        np.testing.assert_array_equal(direct, engine.prepare(rows)(given)["y"])


def test_what_is_held_is_filled_anew_and_what_is_given_stays(tmp_path: Path) -> None:
    engine = layered(tmp_path / "a.onnx")
    binding, scale = held(engine), np.array([0.5], np.float32)
    first, second = f(3, 3, 6, 5), f(2, 3, 6, 5)
    early = ran(binding, {"x": first, "s": scale})
    kept = early.clone()
    late = ran(binding, {"x": second, "s": 2 * scale})
    assert torch.equal(early, kept)  # not a view of what the next run wrote
    late += 1.0
    again = ran(binding, {"x": second, "s": 2 * scale})
    np.testing.assert_allclose(
        again.numpy(), engine.prepare(2)({"x": second, "s": 2 * scale})["y"], atol=1e-6
    )
    assert len(binding._slots) == 1  # two and three rows are both padded to four


def test_shapes_beyond_what_is_held_run_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(graphs.affine(2.0, 1.0, ("c", "h", "w")))
    binding = held(OnnxRuntime(network(path), F32))
    for side in range(1, SLOTS + 4):
        x = f(1, 1, 1, side)
        np.testing.assert_allclose(ran(binding, {"x": x}).numpy(), 2 * x + 1, rtol=1e-6)
    assert len(binding._slots) == SLOTS


@pytest.mark.parametrize("how", [held, lambda engine: engine._binding], ids=["held", "direct"])
def test_a_file_for_one_row(tmp_path: Path, how: Any) -> None:
    engine = layered(tmp_path / "a.onnx", batch=1)
    assert not engine.joins(2)
    given = {"x": f(3, 3, 6, 5), "s": np.array([0.5], np.float32)}
    binding = how(engine)
    found = arrays(binding.call(3, engine._most)(tensors(given)))["y"]
    np.testing.assert_array_equal(found, engine.prepare(3)(given)["y"])
    assert binding.run(tensors({"x": f(0, 3, 6, 5), "s": given["s"]}))["y"].shape == (0, 4, 6, 5)
    with pytest.raises(ValueError, match="x: expected float32"):
        binding.run(tensors(given))


@pytest.mark.parametrize("how", [held, lambda engine: engine._binding], ids=["held", "direct"])
def test_types_and_gaps_are_the_bindings_business(tmp_path: Path, how: Any) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(graphs.affine(0.5, 1.0, (3, 4), dtype="float16"))
    binding = how(OnnxRuntime(network(path), F32))
    x = torch.from_numpy(f(2, 4, 3)).transpose(1, 2)  # float32, and not contiguous
    found: Any = binding.run({"x": x})["y"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, (0.5 * x.half() + 1).float())


def test_a_constant_that_is_given_is_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    nodes = [graphs.node("Identity", ["x"], ["y"]), graphs.node("Identity", ["c"], ["z"])]
    ports = [graphs.port("y", ("N", 2)), graphs.port("z", (2,))]
    path.write_bytes(graphs.graph(nodes, [graphs.port("x", ("N", 2))], ports, {"c": f(2)}))
    bound = OnnxRuntime(network(path), F32).bind(1)
    x = torch.zeros(1, 2)
    first = bound({"x": x})
    first["y"] += 1.0
    first["z"] += 1.0
    assert not x.any()
    np.testing.assert_array_equal(np.asarray(bound({"x": x})["z"]), f(2))


def test_rows_in_pieces() -> None:
    seen: list[int] = []

    def call(given: Any) -> dict[str, Array]:
        seen.append(len(given["x"]))
        return {"y": given["x"] * given["s"]}

    for array in (f(5, 2), torch.from_numpy(f(5, 2))):
        seen.clear()
        found = singly(call, 5, frozenset(["s"]), 2)({"x": array, "s": array[:1] * 0 + 3})["y"]
        assert seen == [2, 2, 1]
        assert type(found) is type(array)
        np.testing.assert_allclose(np.asarray(found), 3 * np.asarray(array))


class FakeCuda:
    """As much of `torch.cuda` as a lane takes, on the processor; it writes down what happens."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.caller = self._stream("caller")

    def _stream(self, name: str) -> Any:
        wait = lambda other: self.said.append(f"{name} waits for {other.name}")  # noqa: E731
        return SimpleNamespace(name=name, cuda_stream=4711, wait_stream=wait)

    def Stream(self, device: Any) -> Any:  # noqa: N802
        return self._stream("lane")

    def current_stream(self, device: Any) -> Any:
        return self.caller

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.said.append(f"on {stream.name}")
        yield
        self.said.append(f"off {stream.name}")


def test_everything_of_a_call_is_in_order_with_the_caller(tmp_path: Path) -> None:
    """The order of calls only: whether a card keeps it shows on a card."""
    cuda = FakeCuda()
    lane = Lane(SimpleNamespace(cuda=cuda, device=torch.device), "cpu")
    assert lane.address == "4711"
    engine = layered(tmp_path / "a.onnx")
    session = engine._session

    class Said:
        """The session, which says when it runs."""

        io_binding = staticmethod(session.io_binding)

        @staticmethod
        def run_with_iobinding(binding: Any, options: Any) -> None:
            entry = options.get_run_config_entry
            assert entry("disable_synchronize_execution_providers") == "1"
            cuda.said.append(f"run {entry('gpu_graph_id')}")
            session.run_with_iobinding(binding, options)

    binding = Binding(ort, Said(), engine.inputs, engine.outputs, engine._whole, "cpu", lane, SIZES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "record_stream", lambda t, s: cuda.said.append(f"kept for {s.name}"))
        given = {"x": f(3, 3, 6, 5), "s": np.array([0.5], np.float32)}
        for _ in range(2):
            found = ran(binding, given)
            np.testing.assert_allclose(found.numpy(), engine.prepare(3)(given)["y"], atol=1e-6)
    around = ["lane waits for caller", "on lane"], ["off lane", *["kept for lane"] * 2, "kept for caller"]
    first = [*around[0], "run -1", "run 1", *around[1], "caller waits for lane"]
    assert cuda.said == [*first, *around[0], "run 1", *around[1], "caller waits for lane"]


def test_a_failed_call_leaves_the_streams_in_order() -> None:
    cuda = FakeCuda()
    lane = Lane(SimpleNamespace(cuda=cuda, device=torch.device), "cpu")
    with pytest.raises(ValueError, match="broken"), lane.turn([]):
        raise ValueError("broken")
    assert cuda.said[-1] == "caller waits for lane"


def test_a_network_that_cannot_be_recorded_runs_unrecorded(tmp_path: Path) -> None:
    tried: list[list[tuple[str, dict[str, str]]]] = []

    def session(path: str, options: Any, providers: list[tuple[str, dict[str, str]]]) -> str:
        tried.append(providers)
        if "enable_cuda_graph" in providers[0][1]:
            raise RuntimeError("This session cannot use the graph capture feature")
        return "opened"

    fake = SimpleNamespace(
        InferenceSession=session,
        SessionOptions=ort.SessionOptions,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    lane: Any = SimpleNamespace(address="4711")
    net = replace(network(tmp_path / "a.onnx", "cuda:1"), memory=5_000_000)
    ways = Candidate("cuda", "f32", "nhwc graph")
    assert engine_onnxruntime._opened(fake, net, ways, net.path, lane) == ("opened", False)
    (first,), (second,) = tried
    assert engine_onnxruntime._opened(fake, net, Candidate("cuda", "f32", "nhwc"), net.path, lane)[1] is False
    assert tried[2] == [second]  # only what asks for it is recorded
    assert first[1] == second[1] | {"enable_cuda_graph": "1"}
    assert second == (
        "CUDAExecutionProvider",
        {
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "arena_extend_strategy": "kSameAsRequested",
            "device_id": "1",
            "user_compute_stream": "4711",
            "prefer_nhwc": "1",
            "use_tf32": "0",
            "gpu_mem_limit": "5000000",
        },
    )


def test_a_broken_file_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"a\.onnx cannot be read"):
        OnnxRuntime(network(path), F32)


def on_card(path: Path, candidate: Candidate, inputs: tuple[Tensor, ...] = ()) -> OnnxRuntime:
    """An engine on a card; skips without one."""
    wanted: dict[EngineName, str] = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
    if not torch.cuda.is_available():
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and torch reaches none"
        pytest.skip("torch reaches no CUDA card")
    if wanted[candidate.engine] not in ort.get_available_providers():
        pytest.skip(f"the installed ONNX Runtime has no {wanted[candidate.engine]}")
    made: Network = network(path, "cuda:0", inputs)
    return OnnxRuntime(made, candidate)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("candidate", "most"),
    [
        (Candidate("cuda", "f32"), 1e-4),
        (Candidate("cuda", "f32", "nhwc"), 1e-4),
        (Candidate("cuda", "f32", "nhwc tf32"), 2e-2),
        (Candidate("cuda", "f32", "graph"), 1e-4),
        (Candidate("cuda", "f16"), 2e-2),
        (Candidate("tensorrt", "f16"), 2e-2),
    ],
    ids=str,
)
def test_a_card_gives_the_same(tmp_path: Path, candidate: Candidate, most: float) -> None:
    path, card = made("generator", tmp_path)
    mended = mend.mended(card, path, tmp_path / "kept", Evaluator(1))
    engine = on_card(mended.network, candidate, card.inputs)
    reference = OnnxRuntime(network(mended.network, inputs=card.inputs), F32)
    for rows in (1, 3, 4, 3):  # filled late, on the caller's stream, behind work that takes a while
        given = random(reference, rows)
        wanted = reference.prepare(rows)(given)
        there = {n: torch.zeros(a.shape, device="cuda") for n, a in given.items()}
        busy = torch.ones(4096, 4096, device="cuda")
        for _ in range(20):
            busy = busy @ busy * 1e-4
        for name, array in given.items():
            there[name].copy_(torch.from_numpy(array).pin_memory(), non_blocking=True)
        results: dict[str, Any] = engine.bind(rows)(there)
        found = {n: t.cpu().numpy() for n, t in results.items()}
        assert deviation(found, wanted) <= most
        assert deviation(engine.prepare(rows)(given), wanted) <= most


def test_half_precision_comes_from_the_graph(tmp_path: Path) -> None:

    path = small.write("arcface_w600k_r50", tmp_path, small=True)
    net = network(path)
    found = half(net)
    assert found == half(net) != path
    parsed = graph_file.read(found)
    assert halved(parsed)
    assert {port.type for port in (*parsed.inputs, *parsed.outputs)} == {TensorProto.FLOAT}
    parsed.release()
    reference = OnnxRuntime(net, F32)
    given = random(reference, 1)
    close = OnnxRuntime(replace(net, path=found), F32).prepare(1)(given)
    error = deviation(close, reference.prepare(1)(given))
    assert 0 < error < 2e-2
    assert half(replace(net, path=found, stamp="of the half")) == found  # nothing is left to do


def test_half_precision_of_what_cannot_be_read(tmp_path: Path) -> None:

    path = tmp_path / "odd.onnx"
    graph = helper.make_graph(
        [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")],
        "g", [graphs.port("x", (2,))], [graphs.port("y", (2,))],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    with pytest.raises(ModelError, match="cannot be turned into float16"):
        half(network(path))
