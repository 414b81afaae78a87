"""The budget: what fits stays, the least recently used goes, what is busy does not."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ModelError
from mien.models.budget import Budget, machine_memory
from mien.models.card import Card, Tensor
from mien.models.runtime import Runtime
from tests.models import graphs
from tests.models.graphs import graph, node, port


class Somebody:
    def __init__(self, name: str) -> None:
        self.name = name
        self.unloaded = threading.Event()

    def unload(self) -> None:
        self.unloaded.set()


def test_the_least_recently_used_goes() -> None:
    budget = Budget(10)
    a, b, c = (Somebody(name) for name in "abc")
    budget.admit(a, 4)
    budget.admit(b, 4)
    budget.enter(a)
    budget.leave(a)
    budget.admit(c, 4)
    assert budget.held == {"a": 4, "c": 4}
    assert b.unloaded.is_set()
    assert not a.unloaded.is_set()
    budget.release(a)
    assert budget.held == {"c": 4}


def test_one_that_never_fits_names_the_setting() -> None:
    with pytest.raises(
        ModelError, match=r"b: it takes about 8 MB .* and 2 MB are allowed.*device\.memory to 8"
    ):
        Budget(2_000_000).admit(Somebody("b"), 7_500_001)


def test_whoever_is_busy_stays_until_it_is_done() -> None:
    budget = Budget(10)
    a, b = Somebody("a"), Somebody("b")
    budget.enter(a)
    budget.admit(a, 8)
    waiting = threading.Thread(target=budget.admit, args=(b, 8))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    assert not a.unloaded.is_set()
    budget.leave(a)
    waiting.join()
    assert a.unloaded.is_set()
    assert budget.held == {"b": 8}


def test_half_of_the_machine_is_the_limit() -> None:
    assert Budget().limit == machine_memory() // 2
    assert machine_memory() > 100_000_000


# In a runtime: networks of 1.2 MB each, for which about 3 MB are reckoned

RNG = np.random.default_rng(9)
X = RNG.random((2, 300), np.float32)


def network(home: Path, name: str) -> tuple[Card, np.ndarray]:
    weight = RNG.random((300, 1000), np.float32)
    data = graph(
        [node("MatMul", ["x", "w"], ["y"])], [port("x", ("N", 300))], [port("y", ("N", 1000))], {"w": weight}
    )
    card = graphs.card(name, data, inputs=(Tensor("x", (300,)),), outputs=(Tensor("y", (1000,)),))
    return graphs.put(home, card, data), X @ weight


def held(runtime: Runtime) -> list[str]:
    return list(runtime._setup.budget.held)


def test_sessions_are_unloaded_and_loaded_again(tmp_path: Path) -> None:
    networks = [network(tmp_path, name) for name in ("a", "b", "c")]
    with graphs.runtime(tmp_path, memory=6, engine="onnxruntime", precision="f32") as runtime:
        sessions = [runtime.session(card) for card, _ in networks]
        assert held(runtime) == ["b", "c"]
        for _ in range(2):
            for session, (_, wanted) in zip(sessions, networks, strict=True):
                np.testing.assert_allclose(session.run(X)["y"], wanted, rtol=1e-5)
                assert len(held(runtime)) == 2
                assert held(runtime)[-1] == session.name
        assert sorted(runtime.engines) == ["a", "b", "c"]
    assert held(runtime) == []


def test_a_network_larger_than_the_budget(tmp_path: Path) -> None:
    card, _ = network(tmp_path, "a")
    with graphs.runtime(tmp_path, memory=1) as runtime, pytest.raises(ModelError, match=r"device\.memory"):
        runtime.session(card)


def test_two_that_measure_at_once_in_a_budget_for_one(tmp_path: Path) -> None:
    networks = [network(tmp_path, name) for name in ("a", "b")]
    wrong: list[str] = []
    with graphs.runtime(tmp_path, memory=4) as runtime:

        def work(card: Card, wanted: np.ndarray) -> None:
            for _ in range(3):
                result = runtime.session(card).run(X)["y"]
                if not np.allclose(result, wanted, rtol=2e-2):
                    wrong.append(card.name)

        threads = [threading.Thread(target=work, args=pair) for pair in networks for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(held(runtime)) == 1
        assert set(runtime.choices()) == {"a", "b"}
