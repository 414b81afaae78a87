"""Sessions: batches equal single runs, threads agree, cards are checked against files."""

from __future__ import annotations

import hashlib
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ModelError
from mien.models.card import Card, File, Tensor
from mien.models.choice import Choice
from mien.models.engines import MANY
from mien.models.mediapipe import BLAZEFACE_SHORT, CARDS, FACEMESH
from mien.models.runtime import Runtime
from mien.models.store import Store
from mien.settings import Device
from mien.types import Float32
from tests.models.graphs import put

RNG = np.random.default_rng(7)


def pictures(card: Card, count: int) -> Float32:
    return RNG.random((count, *card.inputs[0].shape), np.float32)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_batch_gives_what_each_picture_alone_gives(runtime: Runtime, card: Card) -> None:
    given = pictures(card, 6)  # one run of 4, two of 1
    session = runtime.session(card)
    together = session.run(given)
    assert {name: array.shape for name, array in together.items()} == {
        tensor.name: (6, *tensor.shape) for tensor in card.outputs
    }
    for k in range(6):
        alone = session.run({card.inputs[0].name: given[k : k + 1]})
        for name in alone:
            np.testing.assert_allclose(together[name][k], alone[name][0], rtol=1e-4, atol=1e-3)
    # Different pictures give different results: the rows are not copies of one another.
    first = together[card.outputs[0].name]
    assert all(np.abs(first[0] - first[k]).max() > 1e-2 for k in range(1, 6))


def test_rows_side_by_side_give_exactly_what_they_give_alone(store: Store) -> None:
    with Runtime(threads=3, store=store) as runtime:
        session = runtime.session(FACEMESH)
        given = pictures(FACEMESH, 7)  # two runs of 3, one of 1
        together = session.run(given)["conv2d_21"]
        assert session.tally.calls == 3
        for k in range(7):
            np.testing.assert_array_equal(together[k], session.run(given[k : k + 1])["conv2d_21"][0])


def test_where_there_are_many_processors_a_small_network_is_tried_with_a_few(
    store: Store, tmp_path: Path
) -> None:
    given = pictures(FACEMESH, 1)
    shutil.copytree(store.home / "models", tmp_path / "models")
    store = Store(tmp_path)  # what is measured for this test is nobody's choice
    with Runtime(threads=2, store=store) as few, Runtime(threads=MANY, store=store) as many:
        alone = few.session(FACEMESH).run(given)
        found = many.session(FACEMESH).run(given)
        assert few.session(FACEMESH).choice == Choice("openvino", "f32", label=few.session(FACEMESH).engine)
        choice = many.session(FACEMESH).choice
    assert choice is not None
    assert [(t.way, t.problem, t.error) for t in choice.trials] == [("", "", 0.0), ("4 threads", "", 0.0)]
    assert store.home.joinpath("choices.json").is_file()
    np.testing.assert_array_equal(found["conv2d_21"], alone["conv2d_21"])


def test_no_pictures_give_no_rows(runtime: Runtime) -> None:
    result = runtime.session(FACEMESH).run(np.zeros((0, 192, 192, 3), np.float32))
    assert {name: array.shape for name, array in result.items()} == {
        "conv2d_21": (0, 1, 1, 1404),
        "conv2d_31": (0, 1, 1, 1),
    }


def test_threads_sharing_a_session_get_their_own_results(runtime: Runtime) -> None:
    session = runtime.session(BLAZEFACE_SHORT)
    given = [pictures(BLAZEFACE_SHORT, 1) for _ in range(4)]
    wanted = [session.run(x)["regressors"] for x in given]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(5):
            if not np.array_equal(session.run(given[k])["regressors"], wanted[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((1, 192, 192, 3)),
        np.zeros((1, 3, 192, 192), np.float32),
        np.zeros((192, 192, 3), np.float32),
    ],
)
def test_other_types_and_shapes_are_refused(runtime: Runtime, given: Float32) -> None:
    with pytest.raises(ValueError, match="facemesh: input_1"):
        runtime.session(FACEMESH).run(given)
    with pytest.raises(ValueError, match="missing"):
        runtime.session(FACEMESH).run({"other": given})


def test_a_card_that_does_not_describe_its_file_is_refused(store: Store) -> None:
    wrong_input = replace(FACEMESH, inputs=(Tensor("input_1", (128, 128, 3)),))
    wrong_output = replace(FACEMESH, outputs=(Tensor("conv2d_21", (1, 1, 1404)), Tensor("other", (1,))))
    with Runtime(1, store) as runtime:
        for card in (wrong_input, wrong_output):
            with pytest.raises(ModelError, match="its card says"):
                runtime.session(card)


def test_a_file_that_is_no_network_is_an_error_with_its_name(tmp_path: Path) -> None:
    data = b"not a network"
    for name in ("broken.tflite", "broken.onnx", "broken.xml"):
        file = File(name, hashlib.sha256(data).hexdigest(), len(data))
        card = put(tmp_path, replace(FACEMESH, name="broken", files=(file,), engine=""), data)
        with Runtime(1, Store(tmp_path, offline=True)) as runtime, pytest.raises(ModelError) as caught:
            runtime.session(card)
        assert name in str(caught.value)
        assert caught.value.advice


def test_sessions_are_kept_reported_and_closed(store: Store) -> None:
    runtime = Runtime(1, store)
    session = runtime.session(FACEMESH)
    assert runtime.session(FACEMESH) is session
    assert list(runtime.engines) == ["facemesh"]
    assert runtime.engines["facemesh"].startswith("OpenVINO")
    runtime.close()
    assert runtime.engines == {}
    with pytest.raises(ValueError, match="closed"):
        session.run(pictures(FACEMESH, 1))


def test_both_engines_agree_on_an_onnx_network(shared: Path) -> None:
    path = shared / "models" / "facemesh_468_192.onnx"
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the repository")
    card = Card(
        "onnx",
        "landmark",
        (File(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size),),
        "Apache-2.0",
        (Tensor("input", (3, 192, 192)),),
        (Tensor("landmarks", (1404,)), Tensor("score", (1,))),
    )

    class Beside(Store):
        @property
        def folder(self) -> Path:
            return path.parent

    given = pictures(card, 3)
    results = []
    for engine in ("openvino", "onnxruntime"):
        device = Device(engine=engine, precision="f32")
        with Runtime(1, Beside(offline=True), device=device) as runtime:
            results.append(runtime.session(card).run(given))
            assert runtime.choices()["onnx"].engine == engine
    for name, one in results[0].items():
        np.testing.assert_allclose(one, results[1][name], rtol=1e-3, atol=1e-2)
