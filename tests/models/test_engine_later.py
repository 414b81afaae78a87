"""An engine that another process makes ready takes over, or is refused; the one that works goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models import engines, later_child, nvidia, tensorrt
from mien.models.choice import deviation
from mien.models.engine import Candidate, Engine, Network
from mien.models.engine_onnxruntime import OnnxRuntime
from mien.models.later import Later, Proof, RefusedError, Work, read, tried, write
from mien.models.later_child import Child
from mien.models.runtime import Runtime
from mien.models.session import Session
from mien.run.order import fallen
from mien.settings import Device
from mien.types import Array
from tests.models import graphs
from tests.models.torchnets import f, network

X = f(5, 3, 4, 4)
B = Candidate("openvino", "f32")
WAIT = 120.0
PROOF = Proof(({"x": X[:1]},), ({"y": 2 * X[:1]},))


RIGHT = Proof(({"x": X[:1]},), ({"y": 2 * X[:1] - 0.5},))
"""Of the network in a session."""


def work(folder: Path, candidate: Candidate = B, path: Path | None = None) -> Work:
    if path is None:
        path = folder / "a.onnx"
        path.write_bytes(graphs.affine(2.0, 1.0))
    net = network(path)
    samples = ({"x": X[:1]}, {"x": X[1:2]})
    return Work(net, candidate, Candidate("onnxruntime", "f32"), samples, (2, 1), frozenset())


class Made:
    """A builder that has the proof; counts."""

    def __init__(self, proof: Proof | None = PROOF) -> None:
        self.proof, self.made = proof, 0

    def make(self, work: Work) -> Proof:
        self.made += 1
        if self.proof is None:
            raise RefusedError("broken off")
        return self.proof

    def stop(self) -> None:
        pass


class Blocked(Made):
    """A builder that takes as long as it is let."""

    def __init__(self, proof: Proof | None = None) -> None:
        super().__init__(proof)
        self.begun, self.free = threading.Event(), threading.Event()

    def make(self, work: Work) -> Proof:
        self.begun.set()
        assert self.free.wait(WAIT)
        return super().make(work)

    def stop(self) -> None:
        self.free.set()


class Said:
    """What became of it."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.proofs: list[Proof] = []
        self.problems: list[str] = []
        self.problem = problem

    def adopt(self, proof: Proof) -> None:
        self.proofs.append(proof)
        if self.problem is not None:
            raise self.problem

    def start(self, folder: Path, builder: Any) -> Later:
        made = Later(work(folder), folder / "kept", builder, self.adopt, self.problems.append)
        made.start()
        return made


def same(a: Proof, b: Proof) -> bool:
    pairs = [*zip(a.samples, b.samples, strict=True), *zip(a.wanted, b.wanted, strict=True)]
    return a.problem == b.problem and all(deviation(x, y) == 0 for x, y in pairs)


# The mechanism


def test_what_was_made_is_handed_over_and_made_once(tmp_path: Path) -> None:
    said, builder = Said(), Made()
    for _ in range(2):
        later = said.start(tmp_path, builder)
        later.wait(WAIT)
        assert not later.pending
    assert builder.made == 1
    assert said.problems == []
    assert all(same(proof, PROOF) for proof in said.proofs)


def test_a_failure_is_said_and_not_tried_again(tmp_path: Path) -> None:
    said, builder = Said(), Made(Proof(problem="no memory"))
    for _ in range(2):
        said.start(tmp_path, builder).wait(WAIT)
    assert builder.made == 1
    assert said.problems == [f"no memory. Delete {tmp_path / 'kept'} to have it tried again"] * 2
    assert said.proofs == []


def test_what_broke_off_is_said_and_tried_again(tmp_path: Path) -> None:
    said, builder = Said(), Made(None)
    for _ in range(2):
        said.start(tmp_path, builder).wait(WAIT)
    assert (builder.made, said.problems) == (2, ["broken off"] * 2)


def test_who_refuses_to_adopt_is_heard(tmp_path: Path) -> None:
    for problem in (RefusedError("it is wrong"), RuntimeError("CUDA error"), MemoryError()):
        said = Said(problem)
        said.start(tmp_path, Made()).wait(WAIT)
        assert said.problems == [str(problem) or "MemoryError"]


def test_closing_breaks_off_and_nothing_is_called(tmp_path: Path) -> None:
    said, builder = Said(), Blocked(PROOF)
    later = said.start(tmp_path, builder)
    assert builder.begun.wait(WAIT)
    later.close()
    later.wait(WAIT)
    assert not later.pending
    assert (said.proofs, said.problems) == ([], [])
    assert read(tmp_path / "kept" / "proof") is None


def test_who_waits_for_another_ones_engine_can_be_closed(tmp_path: Path) -> None:
    first, second, builder = Said(), Said(), Blocked(PROOF)
    one = first.start(tmp_path, builder)
    assert builder.begun.wait(WAIT)
    other = second.start(tmp_path, Made())
    other.close()
    builder.free.set()
    one.wait(WAIT)
    assert (len(first.proofs), second.proofs, second.problems) == (1, [], [])


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from mien.models.later import Later, Proof
from tests.models.test_engine_later import work
folder, name = Path({str(tmp_path)!r}), sys.argv[1]
class Counted:
    def make(self, work):
        with (folder / "log").open("a") as log:
            log.write(name)
        return Proof(work.samples, work.samples)
    def stop(self): pass
print("ready", flush=True)
sys.stdin.readline()
later = Later(work(folder), folder / "kept", Counted(), lambda p: print("got", len(p.samples)), print)
later.start()
later.wait()
"""
    command = [sys.executable, "-c", script]
    root = Path(__file__).parents[2]
    both = [
        subprocess.Popen([*command, n], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        for n in "ab"
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = []
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        answers.append(process.communicate(timeout=WAIT)[0])
    assert answers == ["got 2\n"] * 2
    assert (tmp_path / "log").read_text() in ("a", "b")


def test_proofs_are_kept_as_they_are(tmp_path: Path) -> None:
    for proof in (PROOF, Proof(problem="é"), Proof(({"a/b": X, "n": np.array([1], np.int64)},) * 11, ())):
        write(tmp_path / "p", proof)
        found = read(tmp_path / "p")
        assert found is not None
        assert same(found, proof)
    (tmp_path / "p").write_bytes(b"broken")
    assert read(tmp_path / "p") is None


def test_an_engine_has_to_give_what_float32_gives(tmp_path: Path) -> None:
    asked = work(tmp_path)
    engine = OnnxRuntime(asked.network, asked.reference)
    right = Proof(asked.samples, tuple({"y": 2 * s["x"] + 1} for s in asked.samples))
    trial = tried(engine, Candidate("cuda", "f16"), right, 0.0)
    assert trial.candidate == Candidate("cuda", "f16")
    assert trial.error < 1e-6
    near = replace(right, wanted=tuple({"y": w["y"] * 1.01} for w in right.wanted))
    assert tried(engine, Candidate("cuda", "f16"), near, 0.02).error == pytest.approx(0.01, rel=0.05)
    with pytest.raises(RefusedError, match=r"its error is 0\.99% .* 0\.50% are tolerated"):
        tried(engine, Candidate("cuda", "f16"), near, 0.005)
    no_number = replace(right, wanted=({"y": right.wanted[0]["y"] * np.nan}, right.wanted[1]))
    with pytest.raises(RefusedError):
        tried(engine, B, no_number, 1.0)


# The process


def test_the_child_makes_a_real_engine(tmp_path: Path) -> None:
    proof = Child().make(work(tmp_path))
    assert proof.problem == ""
    for sample, wanted in zip(proof.samples, proof.wanted, strict=True):
        np.testing.assert_allclose(wanted["y"], 2 * sample["x"] + 1, rtol=1e-6)
    assert len(proof.samples) == 2


def test_the_child_says_what_cannot_be_made(tmp_path: Path) -> None:
    problem = Child().make(work(tmp_path, Candidate("migraphx", "f16"))).problem
    assert "the installed ONNX Runtime has no MIGraphX provider" in problem
    (tmp_path / "b.onnx").write_bytes(b"no graph")
    problem = Child().make(work(tmp_path, B, tmp_path / "b.onnx")).problem
    assert "b.onnx" in problem


@pytest.mark.parametrize(
    ("script", "says"),
    [("import os; os._exit(3)", "code 3$"), ("raise SystemExit('out of memory')", "code 1: out of memory$")],
)
def test_a_child_that_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    monkeypatch.setattr(later_child, "_START", script)
    with pytest.raises(RefusedError, match=says):
        Child().make(work(tmp_path))


def test_a_child_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later_child, "_START", "import sys; sys.stderr.write('on'); sys.stdin.read()")
    child = Child()
    said = Said()
    later = said.start(tmp_path, child)
    while child._process is None:
        assert later.pending
    later.close()
    assert not later.pending
    assert child._process.returncode not in (None, 0)
    assert (said.proofs, said.problems) == ([], [])
    with pytest.raises(RefusedError, match="broken off"):
        child.make(work(tmp_path))


def test_a_child_ends_with_its_parent() -> None:
    script = "from mien.models import later_child; later_child._end_with_parent()"
    ended = subprocess.run([sys.executable, "-c", script], stdin=subprocess.DEVNULL, timeout=WAIT)
    assert ended.returncode == 1


# The session


@contextmanager
def session(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    candidate: Candidate = B,
    pace: float | None = float("inf"),
    **fields: Any,
) -> Iterator[tuple[Runtime, Session]]:
    """On ONNX Runtime, with a better engine to come; `pace` is that of the first."""
    monkeypatch.setattr(engines, "better", lambda *_: candidate)
    if pace is not None:
        monkeypatch.setattr(Session, "_pace", lambda *_: pace)
    data = graphs.affine(2.0, -0.5)
    card = graphs.put(home, graphs.card("a", data, batches=(2, 1), **fields), data)
    with graphs.runtime(home, engine="onnxruntime", precision="f32", processor="cpu") as runtime:
        yield runtime, runtime.session(card)


def right(found: Session, given: Array = X) -> bool:
    return bool(np.allclose(found.run(given)["y"], 2 * given - 0.5, rtol=1e-5))


def ended(found: Session) -> None:
    assert found._later is not None
    found._later.wait(WAIT)
    assert not found._later.pending


def test_the_better_engine_takes_over_and_starts_at_once_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session(tmp_path, monkeypatch) as (runtime, found):
        assert right(found)
        ended(found)
        assert found.engine.startswith("OpenVINO")
        assert right(found)
        assert found.choice is not None
        assert found.choice.candidate == B
        assert found.choice.trials[-1].error < 1e-5
        assert list(fallen(runtime)) == []
        assert runtime.engines["a"] == found.engine
    with session(tmp_path, monkeypatch) as (_, found):
        assert found.engine.startswith("OpenVINO")
        assert right(found)
        assert found._later is None


def test_no_call_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: list[BaseException | int] = []
    over = threading.Event()

    def calls(found: Session, k: int) -> None:
        try:
            after = 0
            while after < 20:
                after += over.wait(0.001)  # the other engine is made on the same processors
                if not right(found, X[: 1 + (k + after) % 5]):
                    wrong.append(k)
        except BaseException as error:  # whatever it is, the test must fail
            wrong.append(error)

    with session(tmp_path, monkeypatch) as (_, found):
        threads = [threading.Thread(target=calls, args=(found, k)) for k in range(3)]
        for thread in threads:
            thread.start()
        while found._later is None and not wrong:
            threads[0].join(0.01)
        ended(found)
        over.set()
        for thread in threads:
            thread.join(WAIT)
        assert wrong == []
        assert found.engine.startswith("OpenVINO")
        # Nothing that the first engine prepared is left to be called.
        assert all("onnxruntime" not in call.__module__ for calls in found._idle.values() for call in calls)


def test_tensors_begin_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    with session(tmp_path, monkeypatch, Candidate("torch", "f32")) as (_, found):
        x = torch.from_numpy(X)
        for _ in range(2):
            torch.testing.assert_close(found.run(x)["y"], 2 * x - 0.5)
            ended(found)
            assert found.engine.startswith("torch")


def test_a_wrong_engine_is_refused_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = engines.load
    other = tmp_path / "other.onnx"
    other.write_bytes(graphs.affine(2.0, -0.4))

    def loaded(net: Network, candidate: Candidate) -> Engine:
        return load(replace(net, path=other) if candidate == B else net, candidate)

    monkeypatch.setattr(engines, "load", loaded)
    with session(tmp_path, monkeypatch) as (runtime, found):
        assert right(found)
        ended(found)
        assert right(found)
        assert found.engine.startswith("ONNX Runtime")
        (said,) = fallen(runtime)
        assert said.subject == "a"
        assert said.message.startswith("ran on ONNX Runtime")
        assert "not on openvino f32: its error is" in said.message


def test_an_engine_of_another_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = engines.load
    other = tmp_path / "other.onnx"
    other.write_bytes(graphs.affine(2.0, -0.5, (3, 4, 5)))
    monkeypatch.setattr("mien.models.session.Child", lambda: Made(RIGHT))
    monkeypatch.setattr(
        engines, "load", lambda n, c: load(replace(n, path=other, stamp="b") if c == B else n, c)
    )
    with session(tmp_path, monkeypatch) as (_, found):
        assert right(found)
        ended(found)
        assert "its card says" in found.fallen
        assert right(found)


def test_an_engine_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session(tmp_path, monkeypatch, Candidate("tensorrt", "f16")) as (runtime, found):
        assert right(found)
        ended(found)
        assert right(found)
        (said,) = fallen(runtime)
        assert "not on tensorrt f16: a: the installed ONNX Runtime has no TensorRT provider" in said.message
        assert found.choice is not None
        assert found.choice.engine == "onnxruntime"


def test_an_engine_that_is_no_quicker_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.models.session.Child", lambda: Made(RIGHT))
    with session(tmp_path, monkeypatch, pace=0.0) as (runtime, found):
        assert right(found)
        ended(found)
        assert found.engine.startswith("ONNX Runtime")
        assert list(fallen(runtime)) == []
        assert found.choice is not None
        assert [t.candidate for t in found.choice.trials] == [B]


def test_the_pace_of_the_engine_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Blocked(RIGHT)
    monkeypatch.setattr("mien.models.session.Child", lambda: builder)
    with session(tmp_path, monkeypatch, pace=None) as (runtime, found):
        assert right(found)
        assert 0.0 < found._pace(RIGHT) < float("inf")
        runtime.unload([found.card])
        assert found._pace(RIGHT) == float("inf")  # nothing is loaded, and nothing was measured


def test_closing_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Blocked(PROOF)
    monkeypatch.setattr("mien.models.session.Child", lambda: builder)
    with session(tmp_path, monkeypatch) as (_, found):
        assert right(found)
        assert builder.begun.wait(WAIT)
    ended(found)
    assert found.engine.startswith("ONNX Runtime")
    with pytest.raises(ValueError, match="closed"):
        found.run(X)


def test_what_was_unloaded_comes_back_with_the_better_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Blocked(RIGHT)
    monkeypatch.setattr("mien.models.session.Child", lambda: builder)
    with session(tmp_path, monkeypatch) as (runtime, found):
        assert right(found)
        assert builder.begun.wait(WAIT)
        runtime.unload([found.card])
        builder.free.set()
        ended(found)
        assert found._loaded is None
        assert right(found)
        assert found.engine.startswith("OpenVINO")


def test_what_was_asked_for_and_is_not_ready_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Blocked(RIGHT)
    monkeypatch.setattr("mien.models.session.Child", lambda: builder)
    asked = Candidate("onnxruntime", "f32", "nhwc")  # as if it took long to be made
    with session(tmp_path, monkeypatch, asked, pace=0.0) as (runtime, found):
        assert right(found)
        (said,) = fallen(runtime)
        assert "onnxruntime f32 nhwc: it is not ready yet" in said.message
        builder.free.set()
        ended(found)
        assert list(fallen(runtime)) == []
        assert found.choice is not None
        assert found.choice.candidate == asked  # however quick it is


# Which engine that is


GPU = engines.Machine(
    "x", "2026.1", "onnxruntime-gpu 1.31", ("f32",), "2.13.0+cu130", ("NVIDIA A",), "13.0", "10.16"
)


@pytest.mark.parametrize(
    ("asked", "here", "fields", "later"),
    [
        ({}, GPU, {}, "tensorrt f16"),
        ({"engine": "tensorrt"}, GPU, {}, "tensorrt f16"),
        ({"engine": "tensorrt", "precision": "f32"}, GPU, {}, "tensorrt f32"),
        ({"engine": "tensorrt"}, GPU, {"tolerance": 0.0}, "tensorrt f32"),
        ({"precision": "f32"}, GPU, {}, ""),
        ({"precision": "bf16"}, GPU, {}, ""),
        ({"engine": "cuda"}, GPU, {}, ""),
        ({"engine": "torch"}, GPU, {}, ""),
        ({"processor": "cpu"}, GPU, {}, ""),
        ({}, GPU, {"tolerance": 0.0}, ""),
        ({}, GPU, {"engine": "openvino"}, ""),
        ({}, replace(GPU, tensorrt=""), {}, ""),
        ({}, replace(GPU, onnxruntime="onnxruntime 1.32"), {}, ""),
    ],
)
def test_tensorrt_is_made_while_another_engine_works(
    asked: dict[str, str], here: engines.Machine, fields: dict[str, Any], later: str, tmp_path: Path
) -> None:
    device = Device.model_validate(asked)
    card = graphs.card("a", b"", **{"tolerance": 0.1, **fields})
    where = engines.place(device, here)
    path = tmp_path / "a.onnx"
    path.touch()
    net = Network("a", path, "", card.inputs, card.outputs, 1, Path(), device=where)
    assert str(engines.better(card, net, device, here) or "") == later
    found = {c.engine for c in engines.candidates(card, net, device, here)}
    assert "tensorrt" not in found or not later
    if later and fields.get("tolerance", 0.1) > 0:
        assert found == {"cuda", "torch"}


@pytest.mark.gpu
def test_a_card_gets_tensorrt_while_another_engine_works(tmp_path: Path) -> None:
    if not nvidia.driver().cards:
        assert not os.environ.get("MIEN_REQUIRE_GPU"), "a card was promised, and there is none"
        pytest.skip("there is no card")
    if not tensorrt.version():
        pytest.skip("TensorRT is not installed")
    data = graphs.affine(2.0, -0.5)
    card = graphs.put(tmp_path, graphs.card("a", data, tolerance=0.02), data)
    with graphs.runtime(tmp_path, engine="tensorrt") as runtime:
        found = runtime.session(card)
        for _ in range(2):
            assert np.allclose(found.run(X)["y"], 2 * X - 0.5, atol=1e-2)
            ended(found)
            assert "TensorRT" in found.engine
        assert list(fallen(runtime)) == []
