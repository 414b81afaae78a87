"""Where a search looks: what changed, the longest unseen first, everything in a bounded time."""

from __future__ import annotations

import numpy as np
import pytest

from mien.faces.patrol import Patrol
from mien.models import detect
from mien.models.mediapipe import BLAZEFACE_FULL
from mien.settings import Detect
from mien.types import Colour, Float64, Frame, Layout

_GRAY = Layout("gray", "gray", 8, ((0,),))
SIZE = (1920, 1080)
INTERVAL = 15
OURS = np.array([[100.0, 100, 200, 220]])
NOBODY = np.zeros((0, 4))


def thumb(index: int, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Frame:
    display = np.array([[4.0, 0, 0], [0, 4.0, 0]])
    return Frame((picture,), _GRAY, Colour(), index, index, display)


def plain() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rng = np.random.default_rng(1)
    return rng.integers(40, 200, (270, 480)).astype(np.uint8)


def table() -> Float64:
    return detect.windows(BLAZEFACE_FULL, SIZE, Detect())


def test_windows_cover_the_frame_on_every_level() -> None:
    windows = table()
    assert np.bincount(windows[:, 0].astype(int)).tolist() == [1, 8, 45]
    for level in range(3):
        covered = np.zeros((SIZE[1] // 8, SIZE[0] // 8), bool)
        for _, left, top, right, bottom in windows[windows[:, 0] == level]:
            covered[
                int(np.ceil(top / 8)) : int(bottom // 8 + 1), int(np.ceil(left / 8)) : int(right // 8 + 1)
            ] = True
        assert covered.all()


def test_where_nothing_changes_only_the_whole_frame_is_searched_for_a_while() -> None:
    patrol = Patrol(table(), thumb(0, plain()), INTERVAL)
    patrol.looked(0, thumb(0, plain()), None)
    rng = np.random.default_rng(2)
    for k in range(1, 10):
        noisy = np.clip(plain() + rng.normal(0, 1.5, (270, 480)), 0, 255).astype(np.uint8)
        here = thumb(k * INTERVAL, noisy)
        rows = patrol.due(k * INTERVAL, here, OURS)
        assert rows.tolist() == [0]
        patrol.looked(k * INTERVAL, here, rows)


def test_somebody_small_who_enters_is_searched_at_once() -> None:
    patrol = Patrol(table(), thumb(0, plain()), INTERVAL)
    patrol.looked(0, thumb(0, plain()), None)
    index = 9 * INTERVAL
    changed = plain()
    changed[140:146, 300:306] ^= 64  # 24 pixels of the frame, around (1212, 572)
    rows = patrol.due(index, thumb(index, changed), OURS)
    picked = table()[rows[1:]]
    assert set(picked[:, 0]) == {1, 2}
    assert all(a <= 1224 and b <= 584 and c >= 1200 and d >= 560 for _, a, b, c, d in picked)


@pytest.mark.parametrize(("followed", "most", "searches"), [(True, 1 + 1 + 3, 16), (False, 1 + 2 + 12, 4)])
def test_where_everything_moves_all_is_seen_in_bounded_time_at_bounded_cost(
    followed: bool, most: int, searches: int
) -> None:
    patrol = Patrol(table(), thumb(0, plain()), INTERVAL)
    patrol.looked(0, thumb(0, plain()), None)
    rng = np.random.default_rng(3)
    seen: list[set[int]] = []
    for k in range(1, 40):
        here = thumb(k * INTERVAL, rng.integers(0, 255, (270, 480)).astype(np.uint8))
        rows = patrol.due(k * INTERVAL, here, OURS if followed else NOBODY)
        assert len(rows) <= most
        patrol.looked(k * INTERVAL, here, rows)
        seen.append(set(rows.tolist()))
    for k in range(12, len(seen) - searches):
        assert set.union(*seen[k : k + searches]) == set(range(54))


def test_what_never_changes_is_seen_again_all_the_same() -> None:
    patrol = Patrol(table(), thumb(0, plain()), INTERVAL)
    patrol.looked(0, thumb(0, plain()), None)
    seen: set[int] = set()
    for k in range(1, 56):
        here = thumb(k * INTERVAL, plain())
        rows = patrol.due(k * INTERVAL, here, OURS)
        patrol.looked(k * INTERVAL, here, rows)
        seen |= set(rows.tolist())
    assert seen == set(range(54))


def test_a_lost_face_is_sought_where_it_was_and_large_ones_in_the_whole_frame() -> None:
    patrol = Patrol(table(), thumb(0, plain()), INTERVAL)
    large = np.array([[800.0, 300, 1100, 650]])
    assert patrol.near(large).tolist() == [0]
    middle = np.array([[200.0, 200, 300, 320]])
    rows = patrol.near(middle)
    assert set(table()[rows, 0]) == {0, 1}
    assert len(rows) <= 5  # of nine
    small = np.array([[1500.0, 800, 1530, 836]])
    rows = patrol.near(small)
    assert set(table()[rows, 0]) == {0, 2}
    assert patrol.expected(small[0], rows)
    assert not patrol.expected(small[0], np.array([0]))
    assert patrol.expected(large[0], np.array([0]))


def test_a_followed_face_does_not_draw_the_search_to_itself() -> None:
    patrol = Patrol(table(), thumb(0, plain()), INTERVAL)
    patrol.looked(0, thumb(0, plain()), None)
    index = 9 * INTERVAL
    changed = plain()
    changed[20:60, 20:55] ^= 64  # within 1.6 times OURS
    assert patrol.due(index, thumb(index, changed), OURS).tolist() == [0]
    assert len(patrol.due(index, thumb(index, changed), NOBODY)) > 1
    changed[100:106, 60:66] ^= 64
    assert len(patrol.due(index, thumb(index, changed), OURS)) > 1
