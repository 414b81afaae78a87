"""Frames as video engines keep them, over tensors, against planar ones over arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mien.images import cpu
from mien.media.layouts import LAYOUTS, semiplanar
from mien.types import Array, Frame
from tests.images.test_gpu_parity import MATRICES, close, code, down, gpu, legal_noise, painting, torch

NAMES = ["yuv420p", "yuv420p10le", "yuv420p12le"]


def engines(frame: Frame) -> Frame:
    """A planar frame as tensors with both colours in one plane."""
    planes: tuple[Any, ...] = (frame.planes[0], np.stack(frame.planes[1:], -1))
    up: Frame = gpu.to_device(replace(frame, planes=planes, layout=semiplanar(frame.layout)), "cpu")
    return up


def apart(frame: Frame) -> list[Array]:
    """The planes of a semiplanar frame of tensors, one for each component."""
    luma, colours = gpu.to_host(frame).planes
    return [luma, colours[..., 0], colours[..., 1]]


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_crops_and_glances(name: str, full: bool, siting: str) -> None:
    frame = legal_noise(LAYOUTS[name], (212, 150), 5, full, siting)
    up = engines(frame)
    for matrix in MATRICES.values():
        close(
            down(gpu.crop(up, matrix, (64, 56))),
            cpu.crop(frame, matrix, (64, 56)),
            code(frame.layout),
            most=1,
        )
        close(down(gpu.glance(up, matrix, (64, 56))), cpu.glance(frame, matrix, (64, 56)))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_pastes(name: str, full: bool) -> None:
    for matrix in MATRICES.values():
        frame = legal_noise(LAYOUTS[name], (212, 150), 6, full)
        up = engines(frame)
        rgb, mask = painting(64, 1)
        gpu.paste(up, torch.from_numpy(rgb), torch.from_numpy(mask), matrix)
        cpu.paste(frame, rgb, mask, matrix)
        for mine, theirs in zip(apart(up), frame.planes, strict=True):
            close(mine, theirs, most=1)
