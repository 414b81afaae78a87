"""Downloads that break off, go on, lie or never come; licences; files whose checksum nobody publishes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mien.errors import ChecksumError, ModelError
from mien.models import checksums, fetch, records
from mien.models.card import Card, File, Tensor
from mien.models.store import Store
from tests.models.mirror import Mirror, serving

DATA = bytes(range(256)) * 400
HASH = hashlib.sha256(DATA).hexdigest()
OTHER = DATA[::-1]


@pytest.fixture
def one() -> Iterator[Mirror]:
    with serving(DATA) as mirror:
        yield mirror


@pytest.fixture
def two() -> Iterator[Mirror]:
    with serving(DATA) as mirror:
        yield mirror


def sure(*urls: str) -> File:
    return File("net.onnx", HASH, len(DATA), urls)


def unsure(*urls: str) -> File:
    return File("net.onnx", sources=urls)


def card(*files: File, licence: str = "MIT", name: str = "net") -> Card:
    return Card(name, "detect", files, licence, (Tensor("x", (1,)),), (Tensor("y", (1,)),), commercial=False)


def files(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").iterdir() if not path.name.startswith("."))


def age(path: Path) -> None:
    """Make a file a minute older, so that what was read of it is remembered."""
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns - 60 * 10**9))


def test_a_broken_download_goes_on_where_it_broke(one: Mirror, tmp_path: Path) -> None:
    one.breaks = [40_000, 30_000]
    got = Store(tmp_path).locate(card(sure(one.url())))
    assert got["net.onnx"].read_bytes() == DATA
    assert one.asked == ["", "bytes=40000-", "bytes=70000-"]
    assert files(tmp_path) == ["net.onnx"]


def test_the_next_mirror_goes_on_where_the_first_broke(one: Mirror, two: Mirror, tmp_path: Path) -> None:
    one.breaks = [40_000]
    seen: list[tuple[str, int, int]] = []
    store = Store(tmp_path, on_progress=lambda *event: seen.append(event))
    assert store.locate(card(sure(one.url(), two.url())))["net.onnx"].read_bytes() == DATA
    assert (one.asked, two.asked) == ([""], ["bytes=40000-"])
    assert seen[-1] == ("net.onnx", len(DATA), len(DATA))


def test_what_one_run_got_the_next_one_uses(one: Mirror, tmp_path: Path) -> None:
    one.breaks = [40_000, 0]
    with pytest.raises(ModelError, match="40,000 bytes are kept: repeat") as caught:
        Store(tmp_path).locate(card(sure(one.url())))
    assert "broke off after 40,000 of 102,400" in caught.value.problem
    assert not isinstance(caught.value, ChecksumError)
    assert Store(tmp_path).locate(card(sure(one.url())))["net.onnx"].read_bytes() == DATA
    assert one.asked[-1] == "bytes=40000-"


def test_a_server_without_ranges_begins_again(one: Mirror, tmp_path: Path) -> None:
    one.ranges = False
    one.breaks = [40_000]
    assert Store(tmp_path).locate(card(sure(one.url())))["net.onnx"].read_bytes() == DATA
    assert one.asked == ["", "bytes=40000-"]


@pytest.mark.parametrize("part", [OTHER[:5000], DATA[:5000] + b"x", b"x" * len(DATA), DATA + b"x"])
def test_a_wrong_part_costs_one_more_download(part: bytes, one: Mirror, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "fetch-net.onnx.part").write_bytes(part)
    assert Store(tmp_path).locate(card(sure(one.url())))["net.onnx"].read_bytes() == DATA
    assert files(tmp_path) == ["net.onnx"]


def test_a_range_that_begins_elsewhere_is_not_believed(one: Mirror, tmp_path: Path) -> None:
    one.breaks, one.shift = [40_000], 7
    assert Store(tmp_path).locate(card(sure(one.url())))["net.onnx"].read_bytes() == DATA
    assert one.asked == ["", "bytes=40000-", ""]


def test_a_part_longer_than_the_server_has_is_dropped(one: Mirror, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "fetch-net.onnx.part").write_bytes(DATA + DATA)
    got = Store(tmp_path).locate(card(File("net.onnx", HASH, 0, (one.url(),))))
    assert got["net.onnx"].read_bytes() == DATA
    assert one.asked == [f"bytes={2 * len(DATA)}-", ""]


def test_an_unknown_file_goes_on_only_as_the_same_file(one: Mirror, two: Mirror, tmp_path: Path) -> None:
    one.breaks = [40_000, 0]
    with pytest.raises(ModelError, match="broke off"):
        Store(tmp_path).locate(card(unsure(one.url())))
    assert Store(tmp_path).locate(card(unsure(one.url())))["net.onnx"].read_bytes() == DATA
    assert one.asked[-1] == "bytes=40000-"

    one.breaks, one.asked[:] = [40_000, 0], []
    with pytest.raises(ModelError, match="broke off"):
        Store(tmp_path / "b").locate(card(unsure(one.url())))
    one.data, one.tag = OTHER, '"two"'
    assert Store(tmp_path / "b").locate(card(unsure(one.url())))["net.onnx"].read_bytes() == OTHER

    one.breaks = [40_000]
    got = Store(tmp_path / "c").locate(card(unsure(one.url(), two.url())))
    assert got["net.onnx"].read_bytes() == DATA, "halves of two addresses are not put together"
    assert two.asked == [""]


def test_all_mirrors_failing_is_one_error_that_says_how_each_failed(
    one: Mirror, two: Mirror, tmp_path: Path
) -> None:
    one.status = 403
    two.data = OTHER
    with pytest.raises(ModelError) as caught:
        Store(tmp_path).locate(card(sure(one.url(), two.url(), "http://127.0.0.1:9/net.onnx")))
    text = str(caught.value)
    for part in ("net: net.onnx", "403", "expected " + HASH, "127.0.0.1:9", "102,400 bytes", str(tmp_path)):
        assert part in text
    assert "does not answer: Connection refused" in text
    assert "urlopen" not in text
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": DATA + b"x"}, "longer than 102,400 bytes: 102,401"),
        ({"data": DATA[:-1]}, "shorter than 102,400 bytes: 102,399"),
        ({"data": DATA + b"x", "tells": False}, "longer than 102,400 bytes"),
        ({"data": OTHER}, "has SHA-256"),
    ],
)
def test_another_file_is_refused_and_nothing_kept(
    change: dict[str, object], said: str, one: Mirror, tmp_path: Path
) -> None:
    for name, value in change.items():
        setattr(one, name, value)
    with pytest.raises(ChecksumError, match=said):
        Store(tmp_path).locate(card(sure(one.url())))
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [({"kind": "text/html; charset=utf-8"}, "a web page"), ({"tells": False}, "does not say how long")],
)
def test_what_cannot_be_an_unknown_file_is_not_taken_for_it(
    change: dict[str, object], said: str, one: Mirror, tmp_path: Path
) -> None:
    for name, value in change.items():
        setattr(one, name, value)
    with pytest.raises(ModelError, match=said):
        Store(tmp_path).locate(card(unsure(one.url())))
    assert files(tmp_path) == []


def test_an_endless_unknown_file_is_cut_off(
    one: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LARGEST", 1000)
    with pytest.raises(ChecksumError, match="longer than 1,000 bytes"):
        Store(tmp_path).locate(card(unsure(one.url())))
    assert files(tmp_path) == []


def test_the_first_download_of_an_unknown_file_counts(one: Mirror, tmp_path: Path) -> None:
    asked, store = card(unsure(one.url())), Store(tmp_path)
    path = store.locate(asked)["net.onnx"]
    lock = json.loads((tmp_path / "models" / "models.lock").read_text())
    assert lock["net.onnx"]["sha256"] == HASH == store.digest(asked.network)

    path.write_bytes(OTHER)
    with pytest.raises(ChecksumError, match="when it was first seen") as caught:
        Store(tmp_path, offline=True).locate(asked)
    assert HASH in caught.value.problem
    assert "mien models pull net --accept-changed" in caught.value.advice
    assert path.read_bytes() == OTHER, "a file of the user's is not replaced"

    path.unlink()
    one.data = OTHER
    with pytest.raises(ChecksumError, match="when it was first seen") as caught:
        store.locate(asked)
    assert "mien models pull net --accept-changed" in caught.value.advice
    assert "net.onnx" not in files(tmp_path)

    store.forget(asked.network)
    assert store.locate(asked)["net.onnx"].read_bytes() == OTHER
    assert Store(tmp_path, offline=True).present(asked.network)


def test_an_unknown_file_put_there_by_hand_counts_too(tmp_path: Path) -> None:
    asked, path = card(unsure()), tmp_path / "models" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(DATA)
    assert Store(tmp_path).locate(asked)["net.onnx"] == path
    path.write_bytes(DATA + b"x")
    assert Store(tmp_path).installed(asked)
    assert not Store(tmp_path).present(asked.network)
    with pytest.raises(ChecksumError, match="first seen"):
        Store(tmp_path).locate(asked)


def test_a_file_elsewhere_is_the_users_to_change(tmp_path: Path) -> None:
    path = tmp_path / "mine.dfm"
    file = File(str(path))
    path.write_bytes(DATA)
    assert Store(tmp_path / "home").present(file)
    path.write_bytes(OTHER)
    assert Store(tmp_path / "home").locate(card(file))[str(path)] == path
    assert not (tmp_path / "home" / "models").exists()


def test_a_publishers_sha384_is_enough(one: Mirror, tmp_path: Path) -> None:
    file = replace(unsure(one.url()), sha384=hashlib.sha384(DATA).hexdigest())
    assert Store(tmp_path).locate(card(file))["net.onnx"].read_bytes() == DATA
    assert files(tmp_path) == ["net.onnx"], "nothing is written down of it"
    assert Store(tmp_path).digest(file) == HASH
    (tmp_path / "models" / "net.onnx").write_bytes(OTHER)
    assert "SHA-384" in str(Store(tmp_path).fault(file))
    with pytest.raises(ChecksumError, match="SHA-384"):
        Store(tmp_path / "b").locate(card(replace(file, sha384="0" * 96)))


def test_files_are_not_read_again_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "models" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(DATA)
    age(path)
    read: list[Path] = []
    real = checksums.hashed

    def counted(path: Path, kinds: Sequence[str]) -> dict[str, str]:
        read.append(path)
        return real(path, kinds)

    monkeypatch.setattr(checksums, "hashed", counted)
    for _ in range(3):
        assert Store(tmp_path).present(sure())
    assert Store(tmp_path).digest(unsure()) == HASH
    assert read == [path]
    assert Store(tmp_path).fault(sure(), whole=True) is None
    assert len(read) == 2
    path.write_bytes(OTHER)
    assert not Store(tmp_path).present(sure())
    assert len(read) == 3
    path.write_bytes(DATA)
    assert Store(tmp_path).present(sure())
    assert len(read) == 4


def test_a_change_that_keeps_size_and_time_is_seen_by_reading_everything(tmp_path: Path) -> None:
    path = tmp_path / "models" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(DATA)
    age(path)
    state = path.stat()
    assert Store(tmp_path).present(sure())
    path.write_bytes(OTHER)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    fault = Store(tmp_path).fault(sure(), whole=True)
    assert fault is not None
    assert "SHA-256" in fault.problem
    assert not Store(tmp_path).present(sure()), "and it stays seen"


def test_damaged_records(one: Mirror, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "verified.json").write_text("[]")
    lock = tmp_path / "models" / "models.lock"
    lock.write_text('{"net.onnx"')
    assert Store(tmp_path).locate(card(sure(one.url())))["net.onnx"].read_bytes() == DATA
    with pytest.raises(ModelError, match=r"models\.lock: cannot be read.*delete"):
        Store(tmp_path).locate(card(unsure(one.url())))
    (tmp_path / "licences.json").write_bytes(b"\xff")
    with pytest.raises(ModelError, match=r"licences\.json: cannot be read"):
        Store(tmp_path).accepted(card(unsure(one.url()), licence="Non-Commercial"))


def test_records_of_several_writers_hold_everything(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    records.update(path, {"a": 1, "b": 2})
    records.update(path, {"a": None, "c": 3})
    assert records.read(path) == {"b": 2, "c": 3}
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


def test_a_licence_is_accepted_before_anything_is_fetched(one: Mirror, tmp_path: Path) -> None:
    asked = card(sure(one.url()), licence="Non-Commercial")
    with pytest.raises(ModelError) as caught:
        Store(tmp_path).locate(asked)
    assert not one.asked
    text = str(caught.value)
    for part in (
        *("net.onnx is absent", "Non-Commercial", "commercial use: no"),
        *(
            "mien models pull net --accept-licence",
            "102,400 bytes",
            HASH,
            one.url(),
            str(tmp_path / "models"),
        ),
    ):
        assert part in text
    Store(tmp_path).accept(asked)
    assert json.loads((tmp_path / "licences.json").read_text())["net"]["accepted"].startswith("20")
    assert Store(tmp_path).locate(asked)["net.onnx"].read_bytes() == DATA
    assert Store(tmp_path).accepted(asked)
    assert not Store(tmp_path).accepted(replace(asked, licence="AGPL-3.0")), (
        "another licence is another question"
    )


def test_a_file_put_there_by_hand_needs_no_acceptance(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.onnx").write_bytes(DATA)
    Store(tmp_path).locate(card(sure("https://nowhere.invalid/net.onnx"), licence="Non-Commercial"))
    assert not (tmp_path / "licences.json").exists()


def test_everything_that_is_refused_is_said_at_once(one: Mirror, tmp_path: Path) -> None:
    free = card(sure(one.url()), name="free")
    gated = card(File("g.onnx", sources=(one.url("g.onnx"),)), licence="Non-Commercial", name="gated")
    alone = card(File("own.onnx"), name="alone")
    with pytest.raises(ModelError) as caught:
        Store(tmp_path).require((free, gated, alone))
    text = str(caught.value)
    for part in (
        *("2 models", "gated: g.onnx is absent", "alone: own.onnx is absent and nobody offers it"),
        *(
            "mien models pull gated --accept-licence",
            "g.onnx (size unknown; at http",
            "own.onnx (size unknown)",
        ),
    ):
        assert part in text
    assert "free" not in text
    assert one.asked == [], "nothing is fetched before all may be"
    assert [c.name for c, _ in Store(tmp_path).missing((free, gated, alone))] == ["free", "gated", "alone"]
    Store(tmp_path).require((free,))
    assert Store(tmp_path).missing((free,)) == ()


def test_offline_says_what_to_put_where(one: Mirror, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        Store(tmp_path, offline=True).locate(card(unsure(one.url())))
    text = str(caught.value)
    for part in (
        "net.onnx is absent and fetching is off",
        "size unknown",
        one.url(),
        str(tmp_path / "models"),
    ):
        assert part in text
    assert one.asked == []


def test_a_truncated_file_is_told_from_an_absent_one(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.onnx").write_bytes(DATA[:100])
    assert not Store(tmp_path).installed(card(sure()))
    with pytest.raises(ModelError, match="has 100 bytes, expected 102,400"):
        Store(tmp_path, offline=True).locate(card(sure("https://nowhere.invalid/net.onnx")))


def test_a_disk_without_room_is_said_before_the_download(
    one: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(ModelError, match=r"needs 102,400 bytes, 1,000 are free.*MIEN_HOME"):
        Store(tmp_path).locate(card(sure(one.url())))
    assert one.asked == []


def test_a_disk_that_fills_up_is_no_fault_of_the_mirror(
    one: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "_receive", full)
    with pytest.raises(ModelError, match=r"cannot be written.*No space left") as caught:
        Store(tmp_path).locate(card(sure(one.url())))
    assert caught.value.subject == str(tmp_path / "models")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="anybody's folder is writable here")
def test_a_folder_of_somebody_else_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.onnx").write_bytes(DATA)
    for folder in (tmp_path / "models", tmp_path):
        folder.chmod(0o555)
    try:
        assert Store(tmp_path).present(unsure())
        with pytest.raises(ModelError, match="cannot be written"):
            Store(tmp_path).locate(card(File("b.onnx", sources=("https://nowhere.invalid/b",))))
    finally:
        for folder in (tmp_path, tmp_path / "models"):
            folder.chmod(0o755)


def test_adopting_and_removing(tmp_path: Path) -> None:
    mine, store = tmp_path / "mine.bin", Store(tmp_path / "home")
    mine.write_bytes(DATA)
    store.adopt(sure(), mine)
    assert store.present(sure())
    with pytest.raises(ChecksumError, match=r"mine\.bin.*expected 0000"):
        store.adopt(File("b.onnx", "0" * 64), mine)
    with pytest.raises(ModelError, match="does not exist"):
        store.adopt(sure(), tmp_path / "none.bin")
    assert files(tmp_path / "home") == ["net.onnx"]
    assert store.remove(sure()) == len(DATA)
    assert store.remove(sure()) == 0
    assert mine.read_bytes() == DATA
