"""The two public-domain portraits that declared dependencies carry, and their landmarks."""

from __future__ import annotations

import matplotlib.cbook
import numpy as np
import skimage.data
from PIL import Image

from mien.models import landmark
from mien.models.detect import find
from mien.models.runtime import Runtime
from mien.settings import Detect
from mien.types import Colour, Float32, Float64, Frame, Layout

RGB24 = Layout("rgb24", "rgb", 8, ((0, 1, 2),))


def astronaut() -> Float32:
    """(512, 512, 3) R'G'B' in [0, 1]."""
    return np.asarray(skimage.data.astronaut(), np.float32) / np.float32(255)


def hopper() -> Float32:
    """(600, 512, 3) R'G'B' in [0, 1]; she wears spectacles."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.asarray(Image.open(file).convert("RGB"), np.float32) / np.float32(255)


def frame(rgb: Float32) -> Frame:
    """A picture as a frame."""
    samples = np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    colour = Colour(matrix="rgb", full_range=True)
    display = np.array([[1.0, 0, 0], [0, 1, 0]])
    return Frame((np.ascontiguousarray(samples),), RGB24, colour, 0, 0, display)


def landmarks(runtime: Runtime, rgb: Float32) -> Float64:
    """(468, 3) dense landmarks of the surest face in a picture."""
    shown = frame(rgb)
    faces = find(runtime, shown, Detect())
    assert len(faces), "no face found in a portrait"
    best = int(np.argmax(faces.score))
    roi = landmark.roi_from_dense(faces.dense[best : best + 1]) if faces.dense is not None else None
    if roi is None:
        roi = landmark.roi_from_points(faces.points[best : best + 1])
    dense, presence = landmark.landmarks(runtime, shown, roi)
    assert presence[0] > 0.9
    return dense[0]
