"""Kept files: whole and for this stamp, or absent; and a network read back gives the same numbers."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from mien.models import keep
from mien.models.card import Card
from mien.models.mediapipe import BLAZEFACE_FULL, FACEMESH
from mien.models.runtime import Runtime
from mien.models.store import Store


def test_what_was_kept_comes_back_for_its_stamp_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    assert keep.read(path, "a") is None
    keep.write(path, "a", b"blob")
    assert keep.read(path, "a") == b"blob"
    assert keep.read(path, "b") is None
    assert keep.read(path, "ab") is None
    keep.write(path, "b", b"other")
    assert (keep.read(path, "a"), keep.read(path, "b")) == (None, b"other")
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_file_cut_off_or_changed_anywhere_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    keep.write(path, "a", bytes(range(64)))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert keep.read(path, "a") is None
        path.write_bytes(whole[:length] + bytes([whole[length] ^ 1]) + whole[length + 1 :])
        assert keep.read(path, "a") is None
    path.write_bytes(whole + b"\0")
    assert keep.read(path, "a") is None


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_breaks_off_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    keep.write(path, "a", b"old")

    def broken(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", broken)
    if error is OSError:
        keep.write(path, "a", b"new")
    else:
        with pytest.raises(error):
            keep.write(path, "a", b"new")
    assert keep.read(path, "a") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_many_who_write_and_read_at_once_see_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    blobs = [bytes([k]) * 200_000 for k in range(4)]
    keep.write(path, "a", blobs[0])
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(10):
            keep.write(path, "a", blobs[k])
            if keep.read(path, "a") not in blobs:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    keep.write(tmp_path / "file" / "below", "a", b"blob")
    assert keep.read(tmp_path / "file" / "below", "a") is None


@pytest.mark.parametrize("card", [BLAZEFACE_FULL, FACEMESH], ids=lambda card: card.name)
def test_a_network_read_back_gives_the_same_numbers(store: Store, tmp_path: Path, card: Card) -> None:
    (tmp_path / "models").mkdir()
    for file in card.files:
        shutil.copy(store.folder / file.name, tmp_path / "models")
    here = Store(tmp_path, offline=True)
    shape = (1, *card.inputs[0].shape)
    given = np.random.default_rng(5).uniform(0, 1, shape).astype(np.float32)
    results = []
    for _ in range(3):
        with Runtime(1, here) as runtime:
            results.append(runtime.session(card).run(given))
        (kept,) = (tmp_path / "compiled").iterdir()
        made = kept.stat().st_mtime_ns
        if len(results) == 1:
            first = made
        elif len(results) == 2:
            assert made == first  # read, not made again
            kept.write_bytes(kept.read_bytes()[:-1000])  # as if the disk had lost its end
        else:
            assert kept.stat().st_size > 100_000
            assert keep.read(kept, "another") is None
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])
        np.testing.assert_array_equal(results[0][name], results[2][name])
