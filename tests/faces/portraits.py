"""The two public-domain portraits as float pictures, and their landmarks."""

from __future__ import annotations

import numpy as np

from mien.bench.demo import Name, portrait
from mien.models.detect import find
from mien.models.runtime import Runtime
from mien.settings import Detect
from mien.types import Colour, Float32, Float64, Frame, Layout

RGB24 = Layout("rgb24", "rgb", 8, ((0, 1, 2),))


def picture(name: Name) -> Float32:
    """(H, W, 3) R'G'B' in [0, 1]. Hopper wears spectacles."""
    return portrait(name).astype(np.float32) / np.float32(255)


def frame(rgb: Float32) -> Frame:
    """A picture as a frame."""
    samples = np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    colour = Colour(matrix="rgb", full_range=True)
    return Frame((np.ascontiguousarray(samples),), RGB24, colour, 0, 0, np.eye(2, 3))


def landmarks(runtime: Runtime, rgb: Float32) -> Float64:
    """(468, 3) dense landmarks of the surest face in a picture."""
    faces = find(runtime, frame(rgb), Detect())
    assert len(faces)
    assert faces.dense is not None
    return np.asarray(faces.dense[np.argmax(faces.score)])
