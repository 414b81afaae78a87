from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mien.images import cpu, operations
from mien.types import Frame
from tests.images.frames import LAYOUTS, noise


def test_numpy_frames_are_worked_on_without_torch() -> None:
    program = """
import sys
import numpy as np
from mien.images import cpu, operations
from mien.types import Colour, Frame, Layout
layout = Layout("gray", "gray", 8, ((0,),))
frame = Frame((np.zeros((4, 4), np.uint8),), layout, Colour(), 0, 0, np.eye(2, 3))
assert operations.of(frame) is cpu
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_kind_of_array_decides() -> None:
    frame = noise(LAYOUTS["nv12"], (16, 12))
    assert operations.of(frame) is operations.of(frame.planes[0]) is cpu
    with pytest.raises(TypeError, match="list"):
        operations.of([1, 2])


def test_tensors_go_to_the_other_module() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from mien.images import gpu

    up = gpu.to_device(noise(LAYOUTS["yuv420p10le"], (16, 12)), "cpu")
    assert isinstance(up, Frame)
    assert operations.of(up) is operations.of(torch.zeros(3)) is gpu
    assert set(cpu.__all__) - set(gpu.__all__) == {"flow"}


def test_a_plane_of_another_type_is_refused() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    frame = noise(LAYOUTS["gray"], (16, 12))
    for plane in (
        torch.zeros(12, 16),
        torch.zeros(12, 16, dtype=torch.uint16),
        np.zeros((12, 16), np.uint16),
    ):
        with pytest.raises(ValueError, match="plane 0"):
            Frame((plane,), frame.layout, frame.colour, 0, 0, frame.display)
