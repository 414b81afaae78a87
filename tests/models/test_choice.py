"""The measured choice: who wins, what is kept, when it is measured again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import ModelError
from mien.models import choice, engines
from mien.models.card import Tensor
from mien.models.choice import Book, Choice, Trial
from mien.models.engine import Candidate
from mien.models.plan import Plan
from mien.types import Array
from tests.models import graphs
from tests.models.graphs import affine, graph, node, port

RNG = np.random.default_rng(5)
X = RNG.random((5, 3, 4, 4), np.float32)
EIGHT = Tensor("y", (8, 4, 4))
ORT, OV, OV16 = Candidate("onnxruntime", "f32"), Candidate("openvino", "f32"), Candidate("openvino", "bf16")


class Clock:
    """Time that passes only where somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.share = 1.0
        """Of the time that passes, what is not waited."""

    def watch(self) -> Watch:
        return Watch(self)


class Watch:
    def __init__(self, clock: Clock) -> None:
        self.clock, self.began = clock, clock.now

    def passed(self) -> float:
        return self.clock.now - self.began

    def seconds(self) -> float:
        return (self.clock.now - self.began) * self.clock.share


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(choice, "Stopwatch", made.watch)
    return made


def compared(
    clock: Clock, costs: Mapping[Candidate, float], errors: Mapping[Candidate, float], tolerance: float
) -> tuple[Trial | None, tuple[Trial, ...]]:
    """Candidates that take so many milliseconds and give 1 + error."""

    def prepare(candidate: Candidate) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
            clock.now += costs[candidate] / 1e3
            return {"y": np.array([[1.0 + errors.get(candidate, 0.0), -0.5]], np.float32)}

        return call

    rows = [{"x": X[:1]}, {"x": X[4:]}]
    return choice.compare(list(costs), prepare, rows, tolerance)


def test_of_quick_runs_the_clock_counts_and_of_long_ones_what_was_not_waited(clock: Clock) -> None:
    clock.share = 0.5
    costs = {ORT: 8.0, OV: 30.0}
    _, trials = compared(clock, costs, {}, 0.02)
    assert [trial.ms for trial in trials] == [pytest.approx(8.0), pytest.approx(15.0)]


@pytest.mark.parametrize(
    ("costs", "errors", "tolerance", "winner"),
    [
        ({ORT: 30, OV: 20, OV16: 10}, {OV16: 0.01}, 0.02, OV16),
        ({ORT: 30, OV: 20, OV16: 10}, {OV16: 0.03}, 0.02, OV),
        ({ORT: 20, OV: 30, OV16: 10}, {OV16: 0.03}, 0.02, ORT),
        ({ORT: 20, OV: 10, OV16: 5}, {OV16: 0.001, OV: 0.0005}, 0.0, OV),
        ({ORT: 20, OV: 10}, {OV: 0.5}, 0.02, ORT),  # float32 that is wrong
        ({ORT: 20, OV: 10, OV16: 9.9}, {}, 0.02, OV),  # not worth it
        ({ORT: 20, OV: 10, OV16: 5}, {OV16: float("nan")}, 0.02, OV),
        ({ORT: 20, OV16: 5}, {OV16: float("inf")}, 0.02, ORT),
        ({OV16: 5}, {}, 0.02, OV16),
    ],
)
def test_the_fastest_of_the_accurate_wins(
    clock: Clock,
    costs: dict[Candidate, float],
    errors: dict[Candidate, float],
    tolerance: float,
    winner: Candidate,
) -> None:
    best, trials = compared(clock, costs, errors, tolerance)
    assert best is not None
    assert Candidate(best.engine, best.precision) == winner
    for trial, (candidate, ms) in zip(trials, costs.items(), strict=True):
        assert trial.ms == pytest.approx(ms)
        if np.isfinite(errors.get(candidate, 0.0)):
            assert trial.error == pytest.approx(errors.get(candidate, 0.0), abs=1e-6)
        else:
            assert trial.error == float("inf")


def test_a_candidate_that_fails_leaves_the_others(clock: Clock) -> None:
    def prepare(candidate: Candidate) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        if candidate == ORT:
            raise ModelError("a", "has an operator that is not known")
        return lambda inputs: {"y": np.ones((1, 2), np.float32)}

    best, trials = choice.compare([ORT, OV], prepare, [{"x": X}] * choice.RUNS, 0.02)
    assert best is not None
    assert best.engine == "openvino"
    assert "not known" in trials[0].problem
    best, trials = choice.compare([ORT], prepare, [{"x": X}], 0.02)
    assert best is None


@given(
    st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=5),
    st.lists(st.floats(-10, 10, width=32), min_size=5, max_size=5),
)
@settings(max_examples=50)
def test_deviation_by_its_definition(wanted: list[float], other: list[float]) -> None:
    a, b = np.array(other[: len(wanted)], np.float32), np.array(wanted, np.float32)
    largest = max(abs(float(v)) for v in b)
    expected = max(abs(float(p) - float(q)) for p, q in zip(a, b, strict=True)) / (largest or 1.0)
    found = choice.deviation({"near": b, "far": a}, {"near": b, "far": b})
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("costs", "mixes", "wanted"),
    [
        ({1: 10.0, 2: 9.0, 4: 8.0}, False, (4, 8.0)),
        ({1: 10.0, 2: 7.0, 4: 8.0}, False, (2, 7.0)),
        ({1: 10.0, 2: 9.8, 4: 9.8}, False, (1, 10.0)),  # less than 3 %
        ({1: 10.0, 2: 7.9, 4: 8.0}, False, (4, 8.0)),
        ({1: 10.0, 2: 9.0, 4: 8.0}, True, (1, 10.0)),  # rows that see each other
    ],
)
def test_rows_at_once_by_time_and_by_result(
    clock: Clock, costs: dict[int, float], mixes: bool, wanted: tuple[int, float]
) -> None:
    def prepare(batch: int) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
            assert len(inputs["x"]) == batch
            assert inputs["w"].shape == (1,)
            clock.now += costs[batch] * batch / 1e3
            return {"y": 2 * (inputs["x"][::-1] if mixes else inputs["x"])}

        return call

    rows: list[Mapping[str, Array]] = [{"x": X[:1], "w": np.ones(1)}]
    batch, ms = choice.best_batch(prepare, rows, frozenset({"w"}), 10.0, 0.02)
    assert batch == wanted[0]
    assert ms == pytest.approx(wanted[1])


def test_made_up_rows_differ() -> None:
    rows = choice.varied([{"x": X[:1], "id": np.array([[3]])}], 4, frozenset())
    assert len({row["x"].tobytes() for row in rows}) == 4
    assert all(row["x"].dtype == np.float32 and row["x"].shape == (1, 3, 4, 4) for row in rows)
    assert all(row["id"] == 3 for row in rows)


# In a runtime


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often candidates were compared."""
    calls: list[int] = []
    real = choice.compare

    def compare(*arguments: object) -> object:
        calls.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(choice, "compare", compare)
    return calls


def test_a_choice_is_made_once_and_kept(tmp_path: Path, counted: list[int]) -> None:
    data = affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    with graphs.runtime(tmp_path) as runtime:
        session = runtime.session(card)
        assert counted == []
        assert session.choice is None
        assert runtime.choices() == {}
        np.testing.assert_allclose(session.run(X)["y"], 2 * X + 1, rtol=1e-2)
        session.run(X)
        found = runtime.choices()["a"]
    assert len(counted) == 1
    assert {Candidate(t.engine, t.precision) for t in found.trials} >= {ORT, OV}
    assert found.ms > 0
    assert found.batch in (1, 2, 4)
    assert found.error <= card.tolerance
    assert found.label.endswith(f"CPU {found.precision}")
    with graphs.runtime(tmp_path) as runtime:
        session = runtime.session(card)
        assert runtime.choices() == {"a": found}
        assert session.engine == found.label
        session.run(X)
    assert len(counted) == 1


def test_no_rows_choose_nothing(tmp_path: Path, counted: list[int]) -> None:
    data = affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    with graphs.runtime(tmp_path) as runtime:
        runtime.session(card).run(X[:0])
    assert counted == []


def test_other_bytes_settings_and_libraries_are_measured_anew(
    tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(data: bytes, **asked: object) -> int:
        card = graphs.put(tmp_path, graphs.card("a", data), data)
        counted.clear()
        with graphs.runtime(tmp_path, **asked) as runtime:
            runtime.session(card).run(X)
        return len(counted)

    one, other = affine(2, 1), affine(2, 3)
    assert measured(one) == 1
    assert measured(other) == 1
    assert measured(other) == 0
    assert measured(other, precision="f32") == 1
    assert measured(other, batch=2) == 1
    assert measured(other) == 0
    assert measured(other, engine="onnxruntime", precision="f32") == 0  # nothing to choose from
    assert measured(one) == 1  # the older choice was forgotten
    here = engines.machine()
    monkeypatch.setattr(engines, "machine", lambda: replace(here, openvino="1.0"))
    assert measured(one) == 1
    entries = Book(tmp_path / "choices.json").all()
    assert len(entries) == 3  # one for each way of asking


def test_what_cannot_be_read_is_measured_again(tmp_path: Path, counted: list[int]) -> None:
    data = affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    for text in ("{", '{"version": 2, "choices": []}', '{"version": 1, "choices": [{"facts": {}}]}', "[]"):
        (tmp_path / "choices.json").write_text(text)
        with graphs.runtime(tmp_path) as runtime:
            runtime.session(card).run(X)
    assert len(counted) == 4
    assert json.loads((tmp_path / "choices.json").read_text())["version"] == 1


def test_a_choice_that_no_longer_loads_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    with graphs.runtime(tmp_path) as runtime:
        runtime.session(card).run(X)
        gone = runtime.choices()["a"].engine
    real = engines.load

    def load(network: object, candidate: Candidate) -> object:
        if candidate.engine == gone:
            raise ModelError("a", "has gone")
        return real(network, candidate)  # type: ignore[arg-type]

    monkeypatch.setattr(engines, "load", load)
    with graphs.runtime(tmp_path) as runtime:
        np.testing.assert_allclose(runtime.session(card).run(X)["y"], 2 * X + 1, rtol=1e-2)
        found = runtime.choices()["a"]
    assert found.engine != gone
    assert any(trial.problem == "a: has gone." for trial in found.trials)


def test_where_nothing_loads_every_reason_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("a", data), data)

    def load(network: object, candidate: Candidate) -> object:
        raise ModelError("a", f"{candidate.engine} does not like it")

    monkeypatch.setattr(engines, "load", load)
    with graphs.runtime(tmp_path) as runtime, pytest.raises(ModelError) as caught:
        runtime.session(card)
    for candidate in (ORT, OV):
        assert f"{candidate}: {candidate.engine} does not like it" in caught.value.problem


def needs_bfloat16() -> None:
    if "bf16" not in engines.machine().precisions:
        pytest.skip("this processor has no bfloat16")


def test_a_network_that_bfloat16_ruins_stays_in_float32(tmp_path: Path) -> None:
    # y = w x - (1 + 2^-10) w x: the second weight is the first one in bfloat16, and nothing remains.
    needs_bfloat16()
    weight = np.ones((8, 3, 1, 1), np.float32)
    data = graph(
        [
            node("Conv", ["x", "w"], ["p"]),
            node("Conv", ["x", "v"], ["q"]),
            node("Sub", ["p", "q"], ["y"]),
        ],
        [port("x", ("N", 3, 4, 4))],
        [port("y", ("N", 8, 4, 4))],
        {"w": weight, "v": weight * np.float32(1 + 2**-10)},
    )
    card = graphs.card("a", data, outputs=(EIGHT,))
    graphs.put(tmp_path, card, data)
    with graphs.runtime(tmp_path) as runtime:
        result = runtime.session(card).run(X)["y"]
        found = runtime.choices()["a"]
    errors = {t.precision: t.error for t in found.trials if t.engine == "openvino"}
    assert found.precision == "f32"
    assert errors["bf16"] > 0.5 > card.tolerance > errors["f32"]
    np.testing.assert_allclose(result[:, 0], -X.sum(1) / 1024, rtol=1e-2)


def test_bfloat16_may_be_asked_for(tmp_path: Path) -> None:
    needs_bfloat16()
    data = affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    with graphs.runtime(tmp_path, precision="bf16") as runtime:
        np.testing.assert_allclose(runtime.session(card).run(X)["y"], 2 * X + 1, rtol=1e-2)
        assert runtime.engines["a"].endswith("CPU bf16")


def test_those_who_come_at_once_wait_for_one_choice(tmp_path: Path, counted: list[int]) -> None:
    data = affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    together = threading.Barrier(4)
    results: list[tuple[Array, Choice | None]] = []
    with graphs.runtime(tmp_path) as runtime:

        def work() -> None:
            together.wait()
            session = runtime.session(card)
            results.append((session.run(X)["y"], session.choice))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counted) == 1
        assert len(results) == 4
        for found, chosen in results:
            assert chosen == runtime.choices()["a"]
            np.testing.assert_array_equal(found, results[0][0])


def test_asked_for_rows_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = affine(2, 1)
    card = graphs.put(tmp_path, graphs.card("a", data), data)
    seen: list[tuple[int, ...]] = []
    real = Plan.sizes

    def sizes(*arguments: object) -> tuple[int, ...]:
        seen.append(real(*arguments))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(Plan, "sizes", sizes)
    with graphs.runtime(tmp_path, batch=3) as runtime:
        np.testing.assert_allclose(runtime.session(card).run(X)["y"], 2 * X + 1, rtol=1e-2)
        assert runtime.choices()["a"].batch == 0
    assert set(seen) == {(3, 1)}
