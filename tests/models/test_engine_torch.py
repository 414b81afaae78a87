"""The torch engine gives what ONNX Runtime gives.

Errors are the largest difference of an output as a share of its largest value.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from PIL import Image

from mien.bench import standins as small
from mien.errors import ModelError, RuntimeUnavailable
from mien.models import catalogue, engines, graph_file, mend, mend_fold, torch_fuse
from mien.models.card import Card, File, Tensor
from mien.models.choice import deviation
from mien.models.engine import Candidate, Precision
from mien.models.engine_onnxruntime import Evaluator
from mien.models.engine_torch import WARM, TorchEngine, _Recorded
from mien.settings import Device
from mien.types import Array
from tests.models import graphs, standins
from tests.models.torchnets import f, i, network, ran, reference

torch = pytest.importorskip("torch", reason="torch is not installed")

EXACT = 1e-5
F32 = Candidate("torch", "f32")
REAL = {
    "MiniFASNetV1SE_4.0_80x80": (), "MiniFASNetV2_2.7_80x80": (), "faceapi_68_112": (), "fsanet-1x1": (),
    "face-reidentification-retail-0095_fp16w": (), "facemesh_468_192": (), "fsanet-var": (),
    "landmarks-regression-retail-0009": (), "meso4_df_256": (), "mobilefacenet_foamliu_raw": (),
    "realesr-animevideov3_x4": (40, 56), "retinaface_mobilenet0.25_640": (), "retinaface_slim_640": (),
    "scrfd_2.5g_kps": (), "super-resolution-10_x3": (), "yunet_n_640_640": (), "yunet_n_dynamic": (96, 160),
    "yunet_s_640_640_opencv2023mar": (),
}  # fmt: skip
"""Real networks, and the sizes of a picture where their files leave them open."""


# Whole networks


@pytest.mark.parametrize("name", REAL)
def test_real_networks_give_the_same(shared: Path, name: str) -> None:
    path = shared / "models" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not among the real networks")
    port = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0]
    channels, *size = port.shape[1:]
    height, width = REAL[name] or size
    with Image.open(shared / "media" / "pd01_astronaut.png") as seen:
        pixels = np.asarray(seen.convert("RGB").resize((width, height)), np.float32)
    picture = np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis, :channels])
    if not name.startswith("yunet"):  # which takes 0 to 255
        picture /= 255.0
    rows = 1 if isinstance(port.shape[0], int) else 2
    given = {port.name: np.concatenate([picture, 0.5 * picture])[:rows]}
    found, wanted = ran(path, given, batch=rows), reference(path, given)
    # A probability that is almost 0 everywhere keeps few digits of a large exponent: ONNX Runtime's own runs
    # with and without its optimisations differ by more. Its scale is 1.
    for score in [n for n in wanted if n.startswith("obj_")]:
        assert np.abs(found.pop(score) - wanted.pop(score)).max() <= EXACT
    assert deviation(found, wanted) <= EXACT


@pytest.fixture(scope="module")
def more(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins that the package itself has not."""
    script = shared / "tools" / "make_standins.py"
    if not script.is_file():
        pytest.skip(f"{script.name} is not beside the repository")
    folder = tmp_path_factory.mktemp("small")
    command = [sys.executable, str(script), str(folder), "--small", "--only", *MORE]
    subprocess.run(command, check=True, capture_output=True)
    return folder


MORE = ("fan_68_5", "fairface", "nsfw_1", "nsfw_2", "nsfw_3")


@pytest.mark.parametrize("name", MORE)
def test_further_stand_ins_give_the_same_before_and_after_mending(
    more: Path, tmp_path: Path, name: str
) -> None:
    same_before_and_after_mending(more / f"{name}.onnx", tmp_path)


@pytest.mark.parametrize("name", small.NAMES)
def test_stand_ins_of_cards_give_the_same_before_and_after_mending(tmp_path: Path, name: str) -> None:
    same_before_and_after_mending(small.write(name, tmp_path, small=True), tmp_path)


def same_before_and_after_mending(path: Path, tmp_path: Path) -> None:
    # What is rounded to float16 between layers is rounded at other places; mended it is in float32.
    if not mend_fold.halved(graph_file.read(path)):
        given = random(path, 1)
        assert deviation(ran(path, given), reference(path, given)) <= EXACT
    cards = [card for card in catalogue.load(tmp_path).cards if card.network.name == path.name]
    for card in cards[:1]:
        # The stand-in is not the file whose checksum the card has.
        card = replace(card, files=(File(path.name), *card.files[1:]))
        mended = mend.mended(card, path, tmp_path / "kept", Evaluator(1))
        for file in filter(None, (mended.network, mended.source)):
            rows = 3 if mended.batched else 1
            given = random(file, rows)
            found = ran(file, given, batch=rows, inputs=card.inputs)
            assert deviation(found, reference(file, given)) <= EXACT, file.name


def made(name: str, tmp_path: Path) -> tuple[Path, Card]:
    """A stand-in: a small graph as exporters write it, with made-up weights."""
    nets = {
        "generator": standins.generator,
        "enlarging": standins.enlarging_generator,
        "swapper": standins.swapper,
        "transformer": standins.transformer,
    }
    net = nets[name]()
    path = net.save(tmp_path / f"{name}.onnx")
    return path, standins.card(net, path)


@pytest.mark.parametrize("name", ["generator", "enlarging", "swapper", "transformer"])
def test_stand_ins_give_the_same_before_and_after_mending(tmp_path: Path, name: str) -> None:
    path, card = made(name, tmp_path)
    mended = mend.mended(card, path, tmp_path / "kept", Evaluator(1))
    for file in {path, mended.network, mended.source or path}:
        rows = 1 if file == path else 3
        given = random(file, rows)
        assert deviation(ran(file, given, batch=rows), reference(file, given)) <= EXACT, file.name


def random(path: Path, rows: int) -> dict[str, Array]:
    """Random inputs, pictures in [0, 1); what has an open first axis has so many rows."""
    rng = np.random.default_rng(1)
    found: dict[str, Array] = {}
    for port in ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs():
        shape = [d if isinstance(d, int) else rows for d in port.shape]
        values = rng.random(shape) if len(shape) > 3 else rng.standard_normal(shape)
        found[port.name] = values.astype(
            {"tensor(float16)": "f2", "tensor(double)": "f8"}.get(port.type, "f4")
        )
    return found


@pytest.mark.parametrize(("precision", "most"), [("f16", 3e-3), ("bf16", 3e-2)])
@pytest.mark.parametrize("name", ["generator", "transformer"])
def test_sixteen_bits_are_near(tmp_path: Path, name: str, precision: Precision, most: float) -> None:
    path, _ = made(name, tmp_path)
    given = random(path, 1)
    apart = deviation(ran(path, given, precision), reference(path, given))
    assert 0 < apart <= most


def test_batch_normalisation_is_taken_into_the_convolution_that_alone_it_follows(tmp_path: Path) -> None:
    net = standins.Net(seed=3)
    x = net.input("x", "N", 3, 6, 6)
    numbers = [net.const(a) for a in (f(4), f(4), f(4), np.abs(f(4)) + 0.1)]
    once = net.op("BatchNormalization", net.conv(x, 3, 4), *numbers)
    shared = net.conv(once, 4, 4, bias=False)
    both = net.op("Add", net.op("BatchNormalization", shared, *numbers), shared)
    net.output(both, "y", "N", 4, 6, 6)
    path = net.save(tmp_path / "net.onnx")
    parsed = graph_file.read(path)
    assert torch_fuse.fuse(parsed) == 1
    assert [node.op_type for node in parsed.nodes].count("BatchNormalization") == 1
    given = {"x": f(2, 3, 6, 6)}
    assert deviation(ran(path, given, batch=2), reference(path, given)) <= EXACT


# The engine itself


def shaped(tmp_path: Path) -> Path:
    """y = x flattened to (rows, everything else) by way of its own shape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Unsqueeze", ["rows", "axes"], ["row"]),
        helper.make_node("Concat", ["row", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    numbers = {"zero": np.array(0), "axes": i(0), "rest": i(-1)}
    data = graphs.graph(
        nodes, [graphs.port("x", ("N", 2, "h", "w"))], [graphs.port("y", ("N", "k"))], numbers
    )
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    return path


def test_shapes_are_computed_when_traced_for_any_batch_and_size(tmp_path: Path) -> None:
    engine = TorchEngine(network(shaped(tmp_path)), F32)
    for rows, side in ((1, 3), (4, 3), (2, 5)):
        x = f(rows, 2, side, side)
        np.testing.assert_array_equal(engine.prepare(rows)({"x": x})["y"], x.reshape(rows, -1))
        assert len(engine._program((x.shape,)).calls) == 1  # the reshape alone is left
    assert engine.joins(4)
    assert engine.inputs["x"].shape == (-1, 2, -1, -1)
    engine.keep([2])
    assert [shapes[0][0] for shapes in engine._programs] == [2]


def test_a_file_for_one_row_runs_rows_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(graphs.affine(2.0, 1.0, (2, 2, 2), batch=1))
    engine = TorchEngine(network(path), F32)
    assert not engine.joins(3)
    x = f(3, 2, 2, 2)
    np.testing.assert_allclose(engine.prepare(3)({"x": x})["y"], 2 * x + 1, rtol=1e-6)


def test_tensors_are_taken_and_given_without_numpy(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(graphs.affine(2.0, 1.0, (2, 2, 2)))
    bound = TorchEngine(network(path), F32).bind(2)
    x = torch.from_numpy(f(2, 2, 2, 2))
    result = bound({"x": x})["y"]
    assert isinstance(result, torch.Tensor)
    torch.testing.assert_close(result, 2 * x + 1)
    result += 1  # it is the caller's own


def test_what_is_given_is_a_copy(tmp_path: Path) -> None:
    path = shaped(tmp_path)
    x = f(1, 2, 3, 3)
    x.flags.writeable = False
    result = ran(path, {"x": x})["y"]
    result += 1.0
    np.testing.assert_array_equal(ran(path, {"x": x})["y"] + 1.0, result)


class FakeCuda:
    """As much of `torch.cuda` as recording takes, on the processor; it writes down what happens."""

    def __init__(self, program: Callable[[list[Any]], list[Any]]) -> None:
        self.program = program
        self.said: list[str] = []
        self.held: tuple[list[Any], list[Any]] = ([], [])
        self.recording = False

    def run(self, tensors: list[Any]) -> list[Any]:
        results = self.program(tensors)
        self.said.append("record" if self.recording else "warm")
        self.held = (tensors, results)
        return results

    def replay(self) -> None:
        self.said.append("replay")
        for held, new in zip(self.held[1], self.program(self.held[0]), strict=True):
            held.copy_(new)

    def Stream(self, device: Any) -> Any:  # noqa: N802
        return SimpleNamespace(wait_stream=lambda other: None)

    current_stream = Stream

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        yield

    def CUDAGraph(self) -> Any:  # noqa: N802
        return SimpleNamespace(replay=self.replay)

    @contextlib.contextmanager
    def graph(self, graph: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        self.recording = True
        yield
        self.recording = False


def test_a_recorded_network_reads_its_own_tensors_and_gives_copies() -> None:
    """The order of calls only: whether a card records them shows on a card."""
    cuda = FakeCuda(lambda tensors: [tensors[0] * 2])
    fake = SimpleNamespace(zeros=torch.zeros, cuda=cuda)
    recorded = _Recorded(fake, cuda.run, [(2, 3)], [torch.float32], torch.device("cpu"))  # type: ignore[arg-type]
    assert cuda.said == ["warm"] * WARM + ["record"]
    first = recorded([torch.ones(2, 3)])[0]
    second = recorded([torch.full((2, 3), 5.0)])[0]
    assert cuda.said[-2:] == ["replay", "replay"]
    assert bool((first == 2.0).all())
    assert bool((second == 10.0).all())
    with pytest.raises(ValueError, match="expected"):
        recorded([torch.ones(1, 3)])


@pytest.mark.parametrize(("precision", "most"), [("f32", EXACT), ("f16", 3e-3), ("bf16", 3e-2)])
def test_a_card_gives_the_same(tmp_path: Path, precision: Precision, most: float) -> None:
    if not torch.cuda.is_available():
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and torch reaches none"
        pytest.skip("torch reaches no CUDA card")
    path, card = made("generator", tmp_path)
    mended = mend.mended(card, path, tmp_path / "kept", Evaluator(1))
    given = random(mended.network, 2)
    engine = TorchEngine(network(mended.network, "cuda", card.inputs), Candidate("torch", precision))
    call, wanted = engine.prepare(2), reference(mended.network, given)
    for _ in range(2):
        assert deviation(call(given), wanted) <= most


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    node = helper.make_node("NonZero", ["x"], ["y"], name="where")
    path.write_bytes(graphs.graph([node], [graphs.port("x", (2, 3))], [graphs.port("y", (2, "n"), "int64")]))
    with pytest.raises(ModelError, match=r"odd\.onnx.*NonZero \(where\)"):
        TorchEngine(network(path), F32)


def test_a_shape_that_depends_on_values_is_refused_when_loaded(tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    nodes = [
        helper.make_node("Cast", ["x"], ["to"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["x", "to"], ["y"], name="bent"),
    ]
    path.write_bytes(graphs.graph(nodes, [graphs.port("x", (1,))], [graphs.port("y", ("n",))]))
    with pytest.raises(ModelError, match=r"Reshape \(bent\).*depends on what the network is given"):
        TorchEngine(network(path), F32)


def test_an_absurd_constant_is_refused_before_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("Add", ["x", "big"], ["y"]),
    ]
    data = graphs.graph(
        nodes, [graphs.port("x", (1,))], [graphs.port("y", ("n", "m"))], {"shape": i(1 << 20, 1 << 20)}
    )
    path.write_bytes(data)
    with pytest.raises(ModelError, match="absurd"):
        TorchEngine(network(path), F32)


def test_operators_of_onnx_runtime_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    graph = helper.make_graph(
        [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")],
        "g", [graphs.port("x", (2,))], [graphs.port("y", (2,))],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    with pytest.raises(ModelError, match="operators of ONNX Runtime"):
        TorchEngine(network(path), F32)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:x"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(graphs.affine(2.0, 1.0))
    with pytest.raises(RuntimeUnavailable, match=r"card|device"):
        TorchEngine(network(path, device), F32)


def test_torch_may_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(graphs.affine(2.0, 1.0))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'mien\[gpu\]'"):
        TorchEngine(network(path), F32)


def test_sessions_run_on_torch_where_that_is_asked_for(tmp_path: Path) -> None:
    data = graphs.affine(2.0, 1.0)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    x = f(5, 3, 4, 4)
    with graphs.runtime(tmp_path, engine="torch", precision="f32") as runtime:
        np.testing.assert_allclose(runtime.session(card).run(x)["y"], 2 * x + 1, rtol=1e-6)
        assert runtime.engines["a"].startswith(f"torch {torch.__version__}")


def test_which_engines_are_tried(tmp_path: Path) -> None:
    card = Card("a", "swap", (File("a.onnx"),), "MIT", (Tensor("x", (3,)),), (Tensor("y", (3,)),))
    here = engines.Machine("cpu", "2026.1", "onnxruntime 1.30", ("f32", "bf16"), "2.13.0")
    (tmp_path / "a.onnx").touch()
    plain = network(tmp_path / "a.onnx", "")
    auto = engines.candidates(card, plain, Device(), here)
    assert "torch" not in {c.engine for c in auto}
    asked = engines.candidates(card, plain, Device(engine="torch"), here)
    assert [str(c) for c in asked] == ["torch f32", "torch f16", "torch bf16"]
    on_card = engines.candidates(card, replace(plain, device="cuda"), Device(), here)
    assert {c.engine for c in on_card} == {"torch"}
    both = replace(here, onnxruntime="onnxruntime-gpu 1.30")
    found = engines.candidates(card, replace(plain, device="cuda"), Device(), both)
    assert [str(c) for c in found][:2] == ["cuda f32", "torch f32"]
    with pytest.raises(RuntimeUnavailable, match="no engine"):
        engines.candidates(card, replace(plain, device="cuda"), Device(), replace(here, torch=""))
