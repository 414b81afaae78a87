"""The store against local wheels, a local web server and a pip that is killed, broken or absent."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mien.errors import ChecksumError, ModelError, UnknownModel
from mien.models import store as store_module
from mien.models.card import Card, File, Member, Tensor, Wheel
from mien.models.catalogue import Catalogue
from mien.models.mediapipe import CARDS, FACEMESH
from mien.models.store import Store, default_home

WEIGHTS = bytes(range(256)) * 40
TABLE = b"EDGES = [(0, 1)]\n"
NAME = "standin-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_card(*files: File) -> Card:
    return Card("standin", "detect", files, "CC0-1.0", (Tensor("x", (1,)),), (Tensor("y", (1,)),))


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A small real wheel that pip finds in a folder instead of an index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        archive.writestr("standin/net.tflite", WEIGHTS)
        archive.writestr("standin/table.py", TABLE)
        archive.writestr("standin/evil.py", "raise SystemExit('was imported')")
        meta = "standin-1.0.dist-info/"
        archive.writestr(meta + "METADATA", "Metadata-Version: 2.1\nName: standin\nVersion: 1.0\n")
        archive.writestr(meta + "WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n")
        archive.writestr(meta + "RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    data = (folder / NAME).read_bytes()
    members = (
        Member("standin/net.tflite", sha(WEIGHTS), len(WEIGHTS)),
        Member("standin/table.py", sha(TABLE), len(TABLE)),
    )
    return Wheel(
        "standin==1.0", NAME, sha(data), len(data), "3.11", "cp311", "manylinux_2_28_x86_64", members
    )


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A local web server: its address and its folder."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    thread.join()


def leftovers(home: Path) -> list[str]:
    return sorted(p.name for p in (home / "models").iterdir() if p.name.startswith("fetch-"))


def test_members_of_a_wheel_are_extracted_all_at_once_and_used_offline_afterwards(
    wheel: Wheel, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    home = tmp_path / "home"
    net, table = wheel.file("standin/net.tflite"), wheel.file("standin/table.py")
    got = Store(home, on_progress=lambda *event: seen.append(event)).locate(make_card(net))
    assert got["net.tflite"].read_bytes() == WEIGHTS
    assert seen[-1] == ("standin==1.0", wheel.bytes, wheel.bytes)
    assert all(0 <= done <= total for _, done, total in seen)
    assert sorted(p.name for p in (home / "models").iterdir()) == ["net.tflite", "table.py"]
    again = Store(home, offline=True).locate(make_card(net, table))
    assert again["table.py"].read_bytes() == TABLE


def test_a_wrong_wheel_is_refused_and_the_next_source_tried(
    wheel: Wheel, web: tuple[str, Path], tmp_path: Path
) -> None:
    address, folder = web
    wrong = Wheel("standin==1.0", NAME, "0" * 64, wheel.bytes, "3.11", "cp311", wheel.platform, wheel.members)
    (folder / "net.tflite").write_bytes(WEIGHTS)
    url = f"{address}/net.tflite"
    home = tmp_path / "home"
    got = Store(home).locate(make_card(wrong.file("standin/net.tflite", url)))
    assert got["net.tflite"].read_bytes() == WEIGHTS
    with pytest.raises(ChecksumError, match=NAME):
        Store(tmp_path / "other").locate(make_card(wrong.file("standin/net.tflite")))
    assert leftovers(tmp_path / "other") == []


def test_a_wrong_member_is_never_put_in_place(wheel: Wheel, tmp_path: Path) -> None:
    members = (Member("standin/net.tflite", sha(b"other"), 5),)
    wrong = Wheel(
        wheel.requirement, NAME, wheel.sha256, wheel.bytes, "3.11", "cp311", wheel.platform, members
    )
    with pytest.raises(ChecksumError, match="SHA-256"):
        Store(tmp_path).locate(make_card(wrong.file("standin/net.tflite")))
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("data", [WEIGHTS[:-1], WEIGHTS[:-1] + b"\x00", WEIGHTS + b"\x00"])
def test_short_changed_and_long_downloads_are_refused(
    data: bytes, web: tuple[str, Path], tmp_path: Path
) -> None:
    address, folder = web
    (folder / "net.tflite").write_bytes(data)
    file = File("net.tflite", sha(WEIGHTS), len(WEIGHTS), (f"{address}/net.tflite",))
    with pytest.raises(ChecksumError):
        Store(tmp_path).locate(make_card(file))
    assert list((tmp_path / "models").iterdir()) == []


def test_a_broken_file_in_the_store_is_replaced(web: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = web
    (folder / "net.tflite").write_bytes(WEIGHTS)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.tflite").write_bytes(WEIGHTS[::-1])
    file = File("net.tflite", sha(WEIGHTS), len(WEIGHTS), (f"{address}/net.tflite",))
    assert Store(tmp_path).locate(make_card(file))["net.tflite"].read_bytes() == WEIGHTS


def test_without_any_source_the_message_says_what_to_put_where(
    wheel: Wheel, web: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = web
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    file = wheel.file("standin/net.tflite", f"{address}/net.tflite")
    with pytest.raises(ModelError) as caught:
        Store(tmp_path / "home").locate(make_card(file))
    text = str(caught.value)
    for part in (
        *("net.tflite", "10,240 bytes", sha(WEIGHTS), str(tmp_path / "home" / "models")),
        *("standin/net.tflite", NAME, "standin==1.0", f"{address}/net.tflite", "404", "pip download failed"),
    ):
        assert part in text
    assert leftovers(tmp_path / "home") == []


def test_offline_never_starts_anything(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(ModelError, match="fetching is off"):
        Store(tmp_path, offline=True).locate(make_card(wheel.file("standin/net.tflite")))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, wheel: Wheel) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="MIEN_HOME") as caught:
        Store(tmp_path).locate(make_card(wheel.file("standin/net.tflite")))
    assert caught.value.subject == str(tmp_path / "models")


FETCH = """
import sys
from pathlib import Path
from mien.models.card import Card, File, Tensor
from mien.models.store import Store
file = File("net.tflite", sys.argv[2], int(sys.argv[3]), (sys.argv[4],))
card = Card("standin", "detect", (file,), "CC0-1.0", (Tensor("x", (1,)),), (Tensor("y", (1,)),))
print("go", flush=True)
Store(Path(sys.argv[1])).locate(card)
"""


def fetch_process(home: Path, url: str) -> subprocess.Popen[bytes]:
    arguments = [str(home), sha(WEIGHTS), str(len(WEIGHTS)), url]
    return subprocess.Popen([sys.executable, "-c", FETCH, *arguments], stdout=subprocess.PIPE)


def test_killed_half_way_leaves_nothing_wrong_and_racing_processes_agree(tmp_path: Path) -> None:
    half = threading.Event()
    release = threading.Event()
    home = tmp_path / "home"

    class Halting(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(WEIGHTS)))
            self.end_headers()
            self.wfile.write(WEIGHTS[:5000])
            self.wfile.flush()
            half.set()
            release.wait(30)
            self.wfile.write(WEIGHTS[5000:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Halting)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/net.tflite"
    try:
        with fetch_process(home, url) as killed:
            assert half.wait(30)
            killed.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        assert not (home / "models" / "net.tflite").exists()
        release.set()
        with fetch_process(home, url) as first, fetch_process(home, url) as second:
            assert (first.wait(60), second.wait(60)) == (0, 0)
        assert (home / "models" / "net.tflite").read_bytes() == WEIGHTS
        assert leftovers(home) == [], "what the killed one had was gone on with"
        stale = home / "models" / "fetch-stale"
        stale.mkdir()
        long_ago = time.time() - 2 * store_module.STALE_SECONDS
        os.utime(stale, (long_ago, long_ago))
        (home / "models" / "net.tflite").unlink()
        with fetch_process(home, url) as third:
            assert third.wait(60) == 0
        assert leftovers(home) == []
    finally:
        release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_home_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    assert default_home() == tmp_path
    assert Store().folder == tmp_path / "models"
    monkeypatch.delenv("MIEN_HOME")
    assert default_home().name == "mien"


def test_cards_are_found_by_name_and_hashable() -> None:
    assert Catalogue().card("facemesh") is FACEMESH
    assert len({*CARDS, *CARDS}) == len(CARDS)
    names = [file.name for known in CARDS for file in known.files]
    assert len(set(names)) == len(names)
    with pytest.raises(UnknownModel, match="blazeface_full_range"):
        Catalogue().card("nothing")


def test_the_real_files_are_those_on_the_cards(store: Store) -> None:
    for known in CARDS:
        for file, path in zip(known.files, store.locate(known).values(), strict=True):
            assert path.stat().st_size == file.bytes
            assert sha(path.read_bytes()) == file.sha256
