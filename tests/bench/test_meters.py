"""What a block takes of the machine."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mien.bench import meters
from mien.settings import Device
from tests.models.test_nvidia import Management, libraries


def test_processor_time_of_all_threads_and_memory() -> None:
    def work() -> None:
        began = time.thread_time()
        while time.thread_time() - began < 0.2:
            pass

    with meters.Watch(threads=4, gpu=lambda: None) as watch:
        held = np.ones(25_000_000)  # 200 MB
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del held
    usage = watch.usage
    assert usage.cpu_seconds >= 0.4
    assert usage.threads == 4
    assert usage.cpu_percent == pytest.approx(100 * usage.cpu_seconds / (4 * usage.seconds))
    assert usage.peak_mb == 0.0 or usage.peak_mb > 200
    assert (usage.gpu, usage.gpu_percent, usage.gpu_mb) == ("", 0.0, 0.0)


def test_peak_is_that_of_the_block() -> None:
    if not meters.forget_peak():
        pytest.skip("the system cannot forget a peak")
    held = np.ones(50_000_000)
    del held
    with meters.Watch(gpu=lambda: None) as watch:
        before = meters.memory()
    assert watch.usage.peak_mb * meters.MB < before + 100e6


def test_graphics_processor_is_looked_at() -> None:
    seen = meters.Gpu("A card", 40.0, 1000.0)
    with meters.Watch(gpu=lambda: seen) as watch:
        pass
    assert (watch.usage.gpu, watch.usage.gpu_percent, watch.usage.gpu_mb) == ("A card", 40.0, 1000.0)


def test_the_card_that_is_worked_on_is_watched_by_its_driver() -> None:
    libs = libraries(Management(b"0000:29:00.0"))
    with meters.watch(Device(processor="cuda:1", threads=3), libs) as watch:
        pass
    usage = watch.usage
    assert (usage.gpu, usage.gpu_percent, usage.threads) == ("NVIDIA B", 83.0, 3)
    assert usage.gpu_mb == pytest.approx((50 << 30) / 1e6)


def test_usage_before_the_end_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="to have ended"):
        _ = meters.Watch().usage


@pytest.mark.parametrize(
    ("text", "gpu"),
    [
        (
            "NVIDIA H100 80GB HBM3, 37, 1024\nNVIDIA H100 80GB HBM3, 0, 0\n",
            ("NVIDIA H100 80GB HBM3", 37.0, 1073.741824),
        ),
        ("A, B, 5, 100\n", ("A, B", 5.0, 104.8576)),
        ("", None),
        ("No devices were found\n", None),
        ("X, [N/A], [N/A]\n", None),
    ],
)
def test_answers_of_nvidia_smi(text: str, gpu: tuple[str, float, float] | None) -> None:
    found = meters.parsed(text)
    if gpu is None:
        assert found is None
    else:
        assert found is not None
        assert (found.name, found.percent) == gpu[:2]
        assert found.mb == pytest.approx(gpu[2])
