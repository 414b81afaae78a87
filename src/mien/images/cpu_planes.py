"""How a frame's components come as float."""

from __future__ import annotations

import numpy as np

from mien.images.cpu_warp import Fetch
from mien.images.planes import Group
from mien.types import Array


def fetches(group: Group) -> list[Fetch]:
    """For each component of a group, what gives a box of it as float32 code values (h, w)."""

    def fetch(view: Array) -> Fetch:
        return lambda box: view[box[1] : box[3], box[0] : box[2]].astype(np.float32, order="C")

    return [fetch(view) for view in group.views]
