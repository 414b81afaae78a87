"""What ONNX Runtime's providers are told, and which ways of running on a card are tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from mien.models import engines, nvidia, providers, tensorrt
from mien.models.calls import chunks
from mien.models.card import Card, File, Tensor
from mien.models.choice import Trial, _best
from mien.models.engine import Candidate, EngineName, Network
from mien.models.engines import Machine
from mien.models.providers import PROVIDERS
from mien.settings import Device
from tests.models import graphs

CARD = Card(
    "a",
    "swap",
    (File("a.onnx"),),
    "MIT",
    (Tensor("x", (3, 8, 8)), Tensor("w", (1,), optional=True)),
    (Tensor("y", (3, 8, 8)),),
    tolerance=0.1,
)
GPU = Machine("x", "2026.1", "onnxruntime-gpu 1.31", ("f32", "bf16"), "", ("NVIDIA A",), "13.0")
ALL = [provider.name for provider in PROVIDERS.values()]


def network(folder: Path, device: str = "cuda:0", batch: int | str = "N", batched: bool = True) -> Network:
    ports = [graphs.port("x", (batch, 3, "h", "w")), graphs.port("w", (1,))]
    path = folder / "a.onnx"
    outputs = [graphs.port("y", (batch, 3, "h", "w"))]
    path.write_bytes(graphs.graph([graphs.node("Mul", ["x", "w"], ["y"])], ports, outputs))
    return Network("a", path, "stamp", CARD.inputs, CARD.outputs, 1, folder / "kept", batched, device)


def test_every_setting_is_an_engine_and_every_engine_can_be_set() -> None:
    setting = Device.model_fields["engine"].annotation
    assert set(get_args(setting)) == {"auto", *get_args(EngineName)}
    assert set(get_args(EngineName)) == {*PROVIDERS, "openvino", "torch"}
    assert set(get_args(EngineName)) == set(engines._LOADERS)


@pytest.mark.parametrize("engine", list(PROVIDERS))
def test_every_value_is_a_text_and_folders_are_there(tmp_path: Path, engine: EngineName) -> None:
    links = providers.chain(network(tmp_path), Candidate(engine, "f32"), ALL, "", False)
    assert links[0][0] == PROVIDERS[engine].name
    assert all(isinstance(v, str) for _, options in links for v in options.values())
    for name, value in links[0][1].items():
        if name.endswith(("_path", "_dir", "Directory")):
            assert Path(value).is_dir()


def test_folders_differ_by_what_is_in_a_file(tmp_path: Path) -> None:
    net = network(tmp_path)
    kept: tuple[EngineName, ...] = ("coreml", "migraphx", "tensorrt-rtx")
    for engine in kept:
        first, other = (
            providers.chain(n, Candidate(engine, "f32"), ALL, "", False)[0][1][PROVIDERS[engine].cache]
            for n in (net, replace(net, stamp="another"))
        )
        assert first != other


def test_tensorrt_takes_its_precision_from_the_graph(tmp_path: Path) -> None:
    (name, own), (second, cuda) = providers.chain(
        network(tmp_path, "cuda:0"), Candidate("tensorrt", "f16"), ALL, "4711", True
    )
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert not {"trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable"} & set(own)
    assert own["user_compute_stream"] == cuda["user_compute_stream"] == "4711"
    assert "enable_cuda_graph" not in cuda
    assert own["trt_engine_cache_path"] == own["trt_timing_cache_path"]
    assert own["trt_engine_cache_enable"] == own["trt_timing_cache_enable"] == "1"
    assert own["trt_profile_min_shapes"] == "x:1x3x8x8,w:1"
    assert own["trt_profile_opt_shapes"] == "x:4x3x8x8,w:1"
    assert own["trt_profile_max_shapes"] == "x:16x3x8x8,w:1"
    assert "trt_max_workspace_size" not in own
    limited = tensorrt.options(replace(network(tmp_path), memory=7_000_000), Candidate("tensorrt", "f16"))
    assert limited["trt_max_workspace_size"] == "7000000"


def test_a_provider_that_is_not_installed_is_no_fallback(tmp_path: Path) -> None:
    links = providers.chain(network(tmp_path), Candidate("tensorrt", "f32"), [ALL[2]], "", False)
    assert [name for name, _ in links] == ["TensorrtExecutionProvider"]


def test_profiles_of_fixed_and_of_unknown_lengths(tmp_path: Path) -> None:
    one = network(tmp_path, batch=1)
    assert tensorrt.options(one, Candidate("tensorrt", "f16"))["trt_profile_max_shapes"] == "x:1x3x8x8,w:1"
    alone = network(tmp_path, batched=False)
    assert tensorrt.options(alone, Candidate("tensorrt", "f16"))["trt_profile_max_shapes"] == "x:1x3x8x8,w:1"
    unknown = replace(network(tmp_path), inputs=(Tensor("x", (3, -1, -1)), CARD.inputs[1]))
    assert not any("profile" in name for name in tensorrt.options(unknown, Candidate("tensorrt", "f16")))
    path = tmp_path / "a.onnx"
    path.write_bytes(graphs.affine(2, 1, batch=1))
    fixed = replace(one, inputs=(Tensor("x", (3, 4, 4)),))
    assert not any("profile" in name for name in tensorrt.options(fixed, Candidate("tensorrt", "f16")))


def test_each_card_driver_and_version_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, half = network(tmp_path), Candidate("tensorrt", "f16")
    seen = {
        tensorrt.folder(net, Candidate("tensorrt", "f32")),
        tensorrt.folder(replace(net, stamp="b"), half),
    }
    for driver in (("13.0", ("A",)), ("13.1", ("A",)), ("13.0", ("B",)), ("13.0", ("B", "A"))):
        monkeypatch.setattr(nvidia, "driver", lambda found=driver: nvidia.Driver(*found))
        seen.add(tensorrt.folder(net, half))
    assert len(seen) == 2 + 3  # another card beside it makes no difference
    monkeypatch.setattr(tensorrt, "version", lambda: "10.16")
    assert tensorrt.folder(net, half) not in seen


@pytest.mark.parametrize(
    ("asked", "tolerance", "tried"),
    [
        ({}, 0.1, ["f32", "f16", "f32 nhwc", "f32 nhwc tf32", "f16 nhwc"]),
        ({"engine": "cuda"}, 0.1, ["f32", "f16", "f32 nhwc", "f32 nhwc tf32", "f16 nhwc"]),
        ({"precision": "f32"}, 0.1, ["f32", "f32 nhwc"]),
        ({"precision": "f16"}, 0.1, ["f16", "f16 nhwc"]),
        ({}, 0.0, ["f32", "f32 nhwc"]),
    ],
)
def test_ways_that_are_measured(
    tmp_path: Path, asked: dict[str, str], tolerance: float, tried: list[str]
) -> None:
    card = replace(CARD, tolerance=tolerance)
    found = engines.candidates(card, network(tmp_path), Device.model_validate(asked), GPU)
    assert [str(c) for c in found] == [f"cuda {text}" for text in tried]


def test_tf32_is_not_float32() -> None:
    """Eleven bits count as a lower precision: they must be near enough, and worth it."""
    full = Trial("cuda", "f32", ms=10.0)
    for ms, error, wins in ((5.0, 0.005, True), (5.0, 0.02, False), (9.9, 0.005, False)):
        rounded = Trial("cuda", "f32", ms=ms, error=error, way="nhwc tf32")
        assert (_best([full, rounded], 0.01) is rounded) is wins
    assert _best([full, Trial("cuda", "f32", ms=9.9, way="nhwc")], 0.0) != full


@pytest.mark.parametrize(
    ("count", "pads", "steps"),
    [
        (7, False, [4, 1, 1, 1]),
        (7, True, [4, 3]),
        (5, True, [4, 1]),
        (3, True, [3]),
        (2, True, [1, 1]),
        (16, True, [16]),
        (12, True, [12]),
        (21, True, [16, 4, 1]),
    ],
)
def test_rows_that_almost_fill_a_size_are_padded(count: int, pads: bool, steps: list[int]) -> None:
    sizes = (16, 4, 1) if count > 7 else (4, 1)
    assert [end - start for start, end in chunks(count, sizes, pads)] == steps
