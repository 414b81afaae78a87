"""Where the pixels of one picture are in another one (OpenCV)."""

from __future__ import annotations

import cv2
import numpy as np

from mien.types import Float32

_FINEST = 1
"""Halvings of the picture at which the search ends; the refinement after it finds fractions of a pixel."""


def flow(one: Float32, other: Float32) -> Float32:
    """Dense optical flow by inverse search (Kroeger et al., Fast Optical Flow using DIS, 2016).

    Args:
        one: (h, w) luma in [0, 1], 32 pixels or more each way.
        other: The same.

    Returns:
        Float32 (h, w, 2) pixels to the right and down: what `one` shows at x, `other` shows at x + flow.

    Raises:
        ValueError: Other shapes.
    """
    if one.shape != other.shape or one.ndim != 2 or min(one.shape) < 32:
        raise ValueError(f"flow: expected two (h, w) of 32 or more, got {one.shape} and {other.shape}")
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(_FINEST)
    codes = [np.clip(np.rint(luma * np.float32(255)), 0, 255).astype(np.uint8) for luma in (one, other)]
    found = search.calc(codes[0], codes[1], np.zeros((*one.shape, 2), np.float32))
    return np.asarray(found, np.float32)
