"""Time without what others took of the processor."""

from __future__ import annotations

import pytest

from mien.models import stopwatch


@pytest.mark.parametrize(
    ("passed", "worked", "lost", "wanted"),
    [
        (2.0, 4.0, 0.0, 2.0),  # two threads, alone
        (4.0, 4.0, 4.0, 2.0),  # the same, beside two others
        (3.0, 1.5, 1.5, 1.5),  # one thread that had half a processor
        (1.0, 0.0, 0.0, 1.0),  # asleep
        (1.0, 0.0, 0.5, 1.0),
    ],
)
def test_the_share_that_was_had(passed: float, worked: float, lost: float, wanted: float) -> None:
    assert stopwatch.without_waiting(passed, worked, lost) == pytest.approx(wanted)


def test_measured_networks_that_others_disturbed() -> None:
    # inswapper's cost on two threads of one machine, alone (1.673 and 0.817 s) and while it was overloaded.
    alone = {"onnxruntime f32": 1.673, "openvino bf16": 0.817}
    loaded = {
        "onnxruntime f32": [(4.794, 3.401, 6.113), (7.381, 3.896, 10.662)],
        "openvino bf16": [(2.527, 1.718, 3.201), (3.508, 1.684, 5.087)],
    }
    for name, runs in loaded.items():
        for run in runs:
            assert stopwatch.without_waiting(*run) == pytest.approx(alone[name], rel=0.25)


def test_it_runs_and_waiting_only_grows() -> None:
    before = stopwatch.waited()
    watch = stopwatch.Stopwatch()
    assert sum(range(100_000)) > 0
    assert watch.seconds() > 0
    assert stopwatch.waited() >= before >= 0
