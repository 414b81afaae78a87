"""Which parts of a frame to search: all of it is seen again and again, but only where something changed.

The search looks through windows: one that shows the whole frame, and many smaller ones for smaller faces.
A face cannot appear where the picture stays as it is, so that a window waits until its part has changed
since it was last looked at; among those that have, the longest unseen come first, a few a search.
"""

from __future__ import annotations

import numpy as np

from mien.images import geometry
from mien.types import Array, Float64, Frame, Int64

_COARSE = 4
"""Searches that the windows of a level are spread over, and after which a changed one is looked at again."""
_PATIENT = 8
"""The same while somebody is being followed."""
_FINE = 16
"""Searches that the windows for the smallest faces are spread over, while somebody is being followed."""
_STALE = (10, 40)
"""Searches after which a window is looked at whatever it shows: any, and one for the smallest faces."""
_STEP = 2
"""Every which pixel of a thumbnail is compared."""
_DIFFERENT = 10
"""Change of a thumbnail's code value that is more than noise."""
_ENOUGH = 3
"""Compared pixels that must change: a face of 24 pixels in 1080p covers nine."""
_OWN = 1.6
"""Size of the place in which movement is a followed face's own, over its box: hair and chin included."""
_LARGE = 0.12
"""Height of a face over the longer side of a window from which it is surely seen there."""


class Patrol:
    """Remembers when every window was looked at and what was there.

    Args:
        windows: (W, 5) level, left, top, right, bottom in display pixels; level 0 shows the whole frame.
        thumb: Any thumbnail of the frames; all must be of its size.
        interval: Frames between two searches.
    """

    def __init__(self, windows: Float64, thumb: Frame, interval: int) -> None:
        self._level = windows[:, 0].astype(np.int64)
        self._box = windows[:, 1:]
        self._interval = interval
        self._back = geometry.invert(thumb.display)
        self._parts = self._slices(self._box)
        self._seen = np.full(len(windows), -(1 << 40))
        self._views: list[Array | None] = [None] * len(windows)

    def near(self, boxes: Float64, drift: Float64 | None = None) -> Int64:
        """(K,) rows of the whole frame's window and of those that show where faces were lost, or are.

        Args:
            boxes: (F, 4) where the faces were last seen: around each, its own size is looked at on the
                coarsest level that surely shows a face of that size.
            drift: (F, 2) pixels by which each may have moved from there, either way; None for not at all.
        """
        far = np.zeros((len(boxes), 2)) if drift is None else np.abs(drift)
        side = np.maximum(*(self._box[:, k + 2] - self._box[:, k] for k in (0, 1)))
        rows = self._level == 0
        for box, more in zip(boxes, far, strict=True):
            fits = box[3] - box[1] >= _LARGE * side
            level = self._level[fits].min(initial=self._level.max())
            around = geometry.expand(box, 3.0) + np.concatenate([-more, more])
            meets = (self._box[:, :2] < around[2:]).all(axis=1) & (self._box[:, 2:] > around[:2]).all(axis=1)
            rows |= (self._level == level) & meets
        return np.flatnonzero(rows)

    def due(self, index: int, thumb: Frame, faces: Float64, within: Int64 | None = None) -> Int64:
        """(K,) rows of the windows worth looking at in frame `index`.

        Args:
            index: Of the frame.
            thumb: Its thumbnail.
            faces: (F, 4) boxes of those who are being followed: what moves there is they themselves; and
                where there are any, the smallest faces can wait a little.
            within: Rows of the only windows that are asked for, beside the whole frame's; None for all.
        """
        now = _view(thumb)
        free = np.ones(now.shape, np.bool_)
        for part in self._slices(geometry.expand(faces, _OWN)):
            free[part] = False
        followed = len(faces) > 0
        age = (index - self._seen) // self._interval
        rows = np.flatnonzero(self._level == 0).tolist()
        finest = int(self._level.max())
        for level in range(1, finest + 1):
            those = np.flatnonzero(self._level == level)
            if within is not None:
                those = np.intersect1d(those, within)
            fine = level == finest and level > 1
            most = -(-len(those) // ((_FINE if fine else _PATIENT) if followed else _COARSE))
            old = those[age[those] >= (_PATIENT if followed else _COARSE)]
            chosen: list[int] = []
            for row in old[np.argsort(-age[old], kind="stable")].tolist():
                if len(chosen) == most:
                    break
                if age[row] >= _STALE[fine] or self._changed(row, now, free):
                    chosen.append(row)
            rows += chosen
        return np.array(rows, np.int64)

    def looked(self, index: int, thumb: Frame, rows: Int64 | None) -> None:
        """Take note of what has been looked at; None means everything."""
        now = _view(thumb).copy()
        for row in range(len(self._views)) if rows is None else rows.tolist():
            self._views[row] = now
            self._seen[row] = index

    def expected(self, box: Float64, rows: Int64 | None) -> bool:
        """Whether a face at (4,) `box` lies in one of the windows looked at and is large enough for it."""
        those = slice(None) if rows is None else rows
        window, level = self._box[those], self._level[those]
        inside = (window[:, :2] <= box[:2]).all(axis=1) & (window[:, 2:] >= box[2:]).all(axis=1)
        longer = (window[:, 2:] - window[:, :2]).max(axis=1, initial=0.0)
        large = (box[3] - box[1] >= _LARGE * longer) | ((level == self._level.max()) & (level > 0))
        # The window of the whole frame also shows what reaches beyond its edge.
        return bool(((inside | (level == 0)) & large).any())

    def _slices(self, boxes: Float64) -> list[tuple[slice, slice]]:
        """Rows and columns of a view that (F, 4) boxes in display pixels cover."""
        ends = np.stack([geometry.apply(self._back, boxes[:, k : k + 2]) for k in (0, 2)])
        low = np.maximum(np.floor(ends.min(axis=0) / _STEP), 0).astype(int)
        high = np.maximum(np.ceil(ends.max(axis=0) / _STEP).astype(int), low + 1)
        return [np.s_[y0:y1, x0:x1] for (x0, y0), (x1, y1) in zip(low.tolist(), high.tolist(), strict=True)]

    def _changed(self, row: int, now: Array, where: Array) -> bool:
        """Whether a window shows something else than when it was last looked at, (h, w) `where` it counts."""
        before = self._views[row]
        if before is None or before.shape != now.shape:
            return True
        part = self._parts[row]
        apart = np.abs(now[part].astype(np.int16) - before[part])
        return int(np.count_nonzero((apart > _DIFFERENT) & where[part])) >= _ENOUGH


def _view(thumb: Frame) -> Array:
    """What is compared of a thumbnail: every other pixel of its first component."""
    return thumb.planes[0][::_STEP, ::_STEP]
