"""Convolutions with fewer multiplications give what the plain ones give, where they pay and nowhere else."""

from __future__ import annotations

import mmap
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from openvino import opset13 as op

from mien.models import choice, engine_openvino, engines, winograd
from mien.models import plan as plans
from mien.models.budget import let_go
from mien.models.card import Tensor
from mien.models.choice import Choice
from mien.models.engine import WINOGRAD, Candidate, Inapplicable, Network, Precision
from mien.models.engine_openvino import OpenVino
from mien.models.engines import Machine
from mien.models.plan import Plan
from mien.settings import Device
from mien.types import Array, Float32
from tests.models import graphs
from tests.models.graphs import graph, node, port

PLAIN, QUICK = Candidate("openvino", "f32"), Candidate("openvino", "f32", WINOGRAD)
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
SIDES = st.tuples(st.integers(0, 1), st.integers(0, 1))


def convolved(x: Float32, weights: Float32, begin: tuple[int, int], end: tuple[int, int]) -> Array:
    """The definition: every output is the sum of the products of a kernel and what lies under it."""
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (begin[0], end[0]), (begin[1], end[1])))
    found: Array = np.einsum(
        "nchwyx,kcyx->nkhw", sliding_window_view(padded, (3, 3), (2, 3)), weights.astype(float)
    )
    return found


def ran(model: ov.Model, x: Float32) -> Float32:
    return np.array(engine_openvino._core().compile_model(model, "CPU", EXACT)([x])[0], np.float32)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([2, 4]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    SIDES,
    SIDES,
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 1000),
)
def test_it_is_the_definition(
    side: int,
    tiles: tuple[int, int],
    begin: tuple[int, int],
    end: tuple[int, int],
    items: int,
    inputs: int,
    outputs: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    after = side * tiles[0], side * tiles[1]
    before = after[0] + 2 - begin[0] - end[0], after[1] + 2 - begin[1] - end[1]
    x = rng.standard_normal((items, inputs, *before)).astype(np.float32)
    weights = rng.standard_normal((outputs, inputs, 3, 3)).astype(np.float32)
    port = op.parameter([-1, inputs, *before], np.float32)
    result = winograd.convolution(port, side, weights, begin, before, after)
    found, wanted = ran(ov.Model([result], [port]), x), convolved(x, weights, begin, end)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("side", [2, 4])
def test_the_matrices_are_a_minimal_filtering(side: int) -> None:
    """A' [(G g) * (B' d)] are the m sums of three products each, for any g and d."""
    tile, kernel, result = winograd.FILTERING[side]
    for d in np.eye(side + 2):
        for g in np.eye(3):
            wanted = np.correlate(d, g, "valid")
            np.testing.assert_allclose(result @ ((kernel @ g) * (tile @ d)), wanted, atol=1e-6)


def chain(channels: int, side: int, size: int = 3, **changes: object) -> tuple[ov.Model, Float32]:
    """A convolution between two functions of every number, and an input."""
    rng = np.random.default_rng(2)
    said = {"strides": [1, 1], "pads_begin": [1, 1], "pads_end": [1, 1], "dilations": [1, 1]}
    x = op.parameter([-1, channels, side, side], np.float32)
    weights = rng.standard_normal((channels, channels, size, size)).astype(np.float32)
    y = op.convolution(op.relu(x), weights * np.float32(0.02), **{**said, **changes})
    return ov.Model([op.tanh(y)], [x]), rng.standard_normal((2, channels, side, side)).astype(np.float32)


@pytest.mark.parametrize(
    ("channels", "side", "precision", "size", "changes", "count"),
    [
        (128, 32, "f32", 3, {}, 1),
        (128, 34, "f32", 3, {}, 1),  # no multiple of four: squares of two
        (128, 33, "f32", 3, {}, 0),
        (128, 16, "f32", 3, {}, 0),
        (64, 32, "f32", 3, {}, 0),
        (128, 32, "bf16", 3, {}, 0),
        (128, 64, "f32", 3, {"strides": [2, 2]}, 0),
        (128, 32, "f32", 3, {"dilations": [2, 2], "pads_begin": [2, 2], "pads_end": [2, 2]}, 0),
        (128, 32, "f32", 5, {"pads_begin": [2, 2], "pads_end": [2, 2]}, 0),
        (128, 34, "f32", 3, {"pads_begin": [0, 0], "pads_end": [0, 0]}, 1),
        (128, 32, "f32", 3, {"pads_begin": [2, 2], "pads_end": [0, 0]}, 0),
    ],
)
def test_convolutions_are_rewritten_where_that_pays(
    channels: int, side: int, precision: Precision, size: int, changes: dict[str, object], count: int
) -> None:
    model, x = chain(channels, side, size, **changes)
    wanted = ran(model, x)
    assert winograd.rewrite(model, precision) == count
    names = [n.get_type_name() for n in model.get_ordered_ops()]
    assert ("GroupConvolution" in names) == bool(count)
    np.testing.assert_allclose(ran(model, x), wanted, atol=2e-5)


def test_pictures_of_any_size_are_left_alone() -> None:
    model, _ = chain(128, 32)
    model.reshape([1, 128, -1, -1])
    assert winograd.rewrite(model, "f32") == 0


def test_no_weights_are_kept_twice() -> None:
    """What is negated and used nowhere else, OpenVINO multiplies into weights, which it then has twice."""
    model, _ = chain(128, 34)
    winograd.rewrite(model, "f32")
    for one in model.get_ordered_ops():
        if one.get_type_name() == "Convolution":
            (taker,) = (
                one.output(0).get_target_inputs() if len(one.output(0).get_target_inputs()) == 1 else (None,)
            )
            assert taker is None or taker.get_node().get_type_name() != "Subtract" or taker.get_index() == 0


def network(folder: Path, channels: int = 128, side: int = 32, normalised: bool = False) -> Network:
    """Two convolutions of many channels on disk."""
    rng = np.random.default_rng(3)
    shape = (channels, channels, 3, 3)
    data = graph(
        [
            node("Conv", ["x", "a"], ["h"], pads=[1, 1, 1, 1]),
            node("InstanceNormalization", ["h", "one", "one"], ["r"])
            if normalised
            else node("Relu", ["h"], ["r"]),
            node("Conv", ["r", "b"], ["y"], pads=[1, 1, 1, 1]),
        ],
        [port("x", ("N", channels, side, side))],
        [port("y", ("N", channels, side, side))],
        {k: (rng.standard_normal(shape) * 0.03).astype(np.float32) for k in "ab"}
        | {"one": np.ones(channels, np.float32)},
    )
    path = folder / "wide.onnx"
    path.write_bytes(data)
    (folder / "kept").mkdir()
    tensor = (channels, side, side)
    return Network("wide", path, "1", (Tensor("x", tensor),), (Tensor("y", tensor),), 1, folder / "kept")


def answers(engine: OpenVino, x: Float32) -> Array:
    return engine.prepare(len(x))({"x": x})["y"]


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_a_file_runs_with_fewer_multiplications(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file's compiled form is kept; of a large one what was rewritten, which is then read back."""
    if large:
        monkeypatch.setattr(engine_openvino, "KEPT_BYTES", 0)
    made = network(tmp_path)
    x = np.random.default_rng(4).standard_normal((1, 128, 32, 32)).astype(np.float32)
    wanted = answers(OpenVino(made, PLAIN), x)
    first = OpenVino(made, QUICK)
    assert first.label.endswith("winograd CPU f32")
    assert np.abs(answers(first, x) - wanted).max() < 1e-5 * np.abs(wanted).max()
    with monkeypatch.context() as inside:
        inside.setattr(winograd, "rewrite", lambda *_: pytest.fail("it was kept"))
        np.testing.assert_array_equal(answers(OpenVino(made, QUICK), x), answers(first, x))
    kept = {path.name for path in made.kept.iterdir() if WINOGRAD in path.name}
    own = {f"wide.onnx.winograd.{ending}" for ending in ("stamp", "xml", "bin")}
    assert kept == (own if large else {"wide.onnx.1.1.f32.winograd"})
    engines.discard(made, {QUICK})
    assert not [path for path in made.kept.iterdir() if WINOGRAD in path.name]
    assert large or (made.kept / "wide.onnx.1.1.f32").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is asked to leave")
def test_what_a_mapped_file_takes_of_memory_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "a folder\u2028" / "weights.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 16384)
    (tmp_path / "link").symlink_to(path.parent)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        assert sum(mapped[::4096]) == 0  # looked at, page by page
        assert resident(path) == 4096
        let_go(tmp_path / "link" / "weights.bin")
        assert resident(path) == 0
        assert mapped[4 << 10 : (4 << 10) + 256] == bytes(range(256))


def resident(path: Path) -> int:
    """Kilobytes of a mapped file in this process's memory."""
    lines = Path("/proc/self/smaps").read_bytes().split(b"\n")
    start = next(k for k, line in enumerate(lines) if line.endswith(os.fsencode(path)))
    return next(int(line.split()[1]) for line in lines[start:] if line.startswith(b"Rss:"))


def test_a_broken_kept_file_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_openvino, "KEPT_BYTES", 0)
    made = network(tmp_path)
    x = np.random.default_rng(4).standard_normal((1, 128, 32, 32)).astype(np.float32)
    wanted = answers(OpenVino(made, QUICK), x)
    (made.kept / "wide.onnx.winograd.xml").write_text("<net")
    np.testing.assert_array_equal(answers(OpenVino(made, QUICK), x), wanted)
    assert (made.kept / "wide.onnx.winograd.xml").stat().st_size > 1000


def test_a_network_without_such_convolutions_says_so(tmp_path: Path) -> None:
    made = network(tmp_path, 16, 8)
    with pytest.raises(Inapplicable, match="no convolution for which Winograd's way pays"):
        OpenVino(made, QUICK)
    x = {"x": np.ones((1, 16, 8, 8), np.float32)}
    best, trials = choice.compare((PLAIN, QUICK), lambda c: OpenVino(made, c).prepare(1), [x], 0.01)
    assert [trial.candidate for trial in trials] == [PLAIN]  # it is no failure that has to be told
    assert best == trials[0]


def test_it_is_tried_for_large_networks_that_tolerate_an_error(tmp_path: Path) -> None:
    here = Machine("cpu", "2026.4.1", "onnxruntime 1.32.0", ("f32", "bf16"))
    card, made = graphs.card("wide", b""), network(tmp_path, 256, 16)
    found = engines.candidates(card, made, Device(), here)
    assert {str(c) for c in found if c.way} == {"openvino f32 winograd", "openvino bf16 winograd"}
    assert not found[0].way
    for other in (replace(card, tolerance=0.0), replace(card, engine="openvino")):
        assert not [c for c in engines.candidates(other, made, Device(), here) if c.way]
    assert not [c for c in engines.candidates(card, network_of(tmp_path / "small"), Device(), here) if c.way]
    for asked in (Device(engine="onnxruntime"), Device(precision="bf16")):
        assert not [c for c in engines.candidates(card, made, asked, here) if c.way]


def network_of(folder: Path) -> Network:
    folder.mkdir()
    return network(folder, 16, 8)


def test_a_row_left_over_from_pairs_is_what_it_is_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ran before: normalisation rounds otherwise on another number of threads."""
    monkeypatch.setattr(engine_openvino, "KEPT_BYTES", 0)
    made = replace(network(tmp_path, normalised=True), threads=2)
    x = np.random.default_rng(5).standard_normal((2, 128, 32, 32)).astype(np.float32)
    engine, again = OpenVino(made, PLAIN), OpenVino(made, PLAIN)
    for one in (engine, again):
        one.keep((2, 1))
    alone = [answers(engine, x[k : k + 1]) for k in range(2)]
    wanted = answers(again, x)
    np.testing.assert_array_equal(np.concatenate(alone), wanted)
    monkeypatch.setattr(engine, "_built", lambda *_: pytest.fail("compiled again"))
    np.testing.assert_array_equal(answers(engine, x), wanted)
    single = OpenVino(made, PLAIN)
    single.keep((1,))
    np.testing.assert_allclose(answers(single, x[:1]), wanted[:1], atol=1e-4)


def test_large_networks_run_in_pairs_unless_frames_come_singly(tmp_path: Path) -> None:
    made = replace(network(tmp_path), threads=2)
    card = graphs.card("wide", b"", inputs=made.inputs, outputs=made.outputs)
    chosen = Choice("openvino", "f32", batch=1)

    def sizes(threads: int, singly: bool = False, batch: int = 0, rows: int = 1) -> tuple[int, ...]:
        plan = Plan(replace(made, threads=threads), None, (PLAIN,), {}, (), singly=singly)
        return plan.sizes(card, Device(batch=batch), replace(chosen, batch=rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "LARGE", 0)
        assert sizes(2) == (2, 1)
        assert sizes(1) == sizes(2, singly=True) == sizes(8) == sizes(8, singly=True, rows=2) == (1,)
        assert sizes(8, rows=2) == (2, 1)  # measured there
        assert sizes(2, batch=4) == sizes(2, batch=4, singly=True) == (4, 1)
    assert sizes(2) == (1,)
