"""The tracks file: what is saved comes back, precisely, lazily, and damage is named."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import JobError
from mien.faces.rows import FileRows, Spill, pack, record_bytes, unpack
from mien.faces.tracksfile import Writer, load, save
from mien.types import Float64, Track, Tracks


def _dense(n: int, size: float, seed: int = 0) -> Float64:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(-size / 2, size / 2, (n, 468, 3)) + np.array([1900.0, 1000.0, 0.0]))


def _track(number: int, start: int, n: int) -> Track:
    rng = np.random.default_rng(number)
    box = np.sort(rng.uniform(0, 900, (n, 2, 2)), axis=1).reshape(n, 4)
    points = rng.uniform(0, 900, (n, 5, 2))
    return Track(number, start, box, points, rng.uniform(0, 1, n), rng.uniform(0, 1, n) > 0.3, 1, number + 7)


def _tracks() -> Tracks:
    tracks = (_track(1, 0, 300), _track(4, 120, 700))
    dense = {1: _dense(300, 350, 1), 4: _dense(700, 90, 2)}
    look = np.random.default_rng(5).normal(0, 1, (4, 70)).astype(np.float32)
    who = np.random.default_rng(6).normal(0, 1, 33).astype(np.float32)
    tracks = (replace(tracks[0], embedding=who), replace(tracks[1], look=look))
    return Tracks(820, (1920, 1080), (0, 120), tracks, dense, "abc", "somebody's network")


@given(st.floats(4, 2500), st.integers(0, 99))
def test_precision(size: float, seed: int) -> None:
    dense = _dense(3, size, seed)
    back = unpack(pack(dense), 468)
    assert np.abs(back - dense).max() <= max(0.0021, size / 2 / 32767 * 0.51 + 2e-4)
    assert np.abs(back - dense).max() <= 0.02


def test_not_finite_is_refused() -> None:
    dense = _dense(1, 10)
    dense[0, 3, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        pack(dense)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "clip ü.tracks"
    tracks = _tracks()
    save(tracks, path)
    back = load(path)
    assert (back.frames, back.size, back.shots, back.clip) == (820, (1920, 1080), (0, 120), "abc")
    assert back.embedder == "somebody's network"
    for a, b in zip(tracks.tracks, back.tracks, strict=True):
        assert (a.id, a.start, a.shot, a.person) == (b.id, b.start, b.shot, b.person)
        assert np.array_equal(a.box, b.box)
        assert np.array_equal(a.points, b.points)
        assert np.array_equal(a.observed, b.observed)
        assert np.abs(a.score - b.score).max() < 1e-6
        assert (a.look is None) == (b.look is None)
        assert a.look is None or b.look is None or np.array_equal(a.look, b.look)
        assert (a.embedding is None) == (b.embedding is None)
        assert a.embedding is None or b.embedding is None or np.array_equal(a.embedding, b.embedding)
        rows = back.dense[a.id]
        assert isinstance(rows, FileRows)
        for part in (slice(0, 1), slice(250, 290), slice(-3, None), slice(5, 50, 7), slice(10, 10)):
            assert np.abs(rows[part] - tracks.dense[a.id][part]).max(initial=0) < 0.006
    faces = back.at(130)
    assert faces.track is not None
    assert faces.track.tolist() == [1, 4]
    assert [p.name for p in tmp_path.iterdir()] == ["clip ü.tracks"]  # nothing half-written is left


def test_saved_again_is_the_same_file(tmp_path: Path) -> None:
    save(_tracks(), tmp_path / "a")
    save(load(tmp_path / "a"), tmp_path / "b")
    again = load(tmp_path / "b")
    assert np.array_equal(again.tracks[0].box, _tracks().tracks[0].box)
    assert np.abs(again.dense[4][:] - load(tmp_path / "a").dense[4][:]).max() < 0.004
    save(_tracks(), tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t"
    save(_tracks(), path)
    good = path.read_bytes()
    (where,) = struct.unpack_from("<Q", good, 16)
    flipped = bytearray(good)
    flipped[where - 100] ^= 255
    cases = {
        "not a tracks file": b"hello, this is just a text",
        "is damaged": good[:-7],
        "checksum": bytes(flipped),
        "version 2": good[:8] + struct.pack("<I", 2) + good[12:],
        "version 9": good[:8] + struct.pack("<I", 9) + good[12:],
    }
    for message, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(JobError, match=message):
            load(path)
    with pytest.raises(JobError, match="cannot be read"):
        load(tmp_path / "absent")


def test_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    with Writer(tmp_path / "t") as writer:
        writer.rows(_dense(4, 10))
        with pytest.raises(ValueError, match="expected 5, got 4"):
            writer.track(_track(1, 0, 5))
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.integers(0, 59), max_size=40))
def test_spill_reads_any_order(wanted: list[int]) -> None:
    rows = _dense(60, 200)
    with tempfile.TemporaryDirectory() as folder, Spill(Path(folder) / "s", 468) as spill:
        assert spill.append(rows[:50]) == 0
        assert spill.append(rows[50:]) == 50
        found = spill.read(np.array(wanted, np.int64))
        assert found.shape == (len(wanted), 468, 3)
        assert np.abs(found - rows[wanted]).max(initial=0) < 0.004


def test_spilled_rows_are_all_in_the_file_in_the_end(tmp_path: Path) -> None:
    rows = _dense(40, 200)
    with Spill(tmp_path / "s", 468) as spill:
        for k in range(40):
            row = rows[k : k + 1].copy()
            assert spill.append(row) == k
            row[:] = 0.0  # whoever gave it may go on using it
        with pytest.raises(ValueError, match="finite"):
            spill.append(np.full((1, 468, 3), np.nan))
    assert (tmp_path / "s").read_bytes() == pack(rows)


def test_record_size() -> None:
    assert record_bytes(468) == 2824
    assert len(pack(_dense(3, 5))) == 3 * 2824
