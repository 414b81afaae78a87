"""`mien studio` as a process: what it prints, whom it lets in, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from mien.app import serve
from mien.errors import RuntimeUnavailable, SettingsError


@contextlib.contextmanager
def _studio(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running studio, and the address that it printed."""
    environment = {**os.environ, "MIEN_HOME": str(home)}
    command = [sys.executable, "-m", "mien.app.cli", "studio", "--no-browser", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield process, found[0]
        finally:
            process.kill()


def _status(address: str, headers: dict[str, str] | None = None) -> int:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *given: object) -> None:
            return None

    opener = urllib.request.build_opener(Stay)
    try:
        with opener.open(urllib.request.Request(address, headers=headers or {}), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process there")
def test_it_serves_the_page_and_ends_with_control_c(tmp_path: Path) -> None:
    with _studio(tmp_path / "home", "--folder", str(tmp_path)) as (process, address):
        with urllib.request.urlopen(f"{address}api/about", timeout=30) as answer:
            about = json.load(answer)
        assert about["folders"] == [str((tmp_path / "home/uploads").resolve()), str(tmp_path.resolve())]
        assert about["token"] is False
        assert _status(address) == 200
        assert _status(f"{address}api/about", {"Host": "evil.example"}) == 421
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_others_need_the_token_that_is_printed(tmp_path: Path) -> None:
    with _studio(tmp_path / "home", "--host", "0.0.0.0", "--folder", str(tmp_path)) as (_, address):
        place, _, token = address.partition("?token=")
        assert len(token) >= 32
        assert place.startswith("http://127.0.0.1:")
        assert _status(f"{place}api/about") == 401
        assert _status(f"{place}api/about", {"Authorization": f"Bearer {token}"}) == 200
        assert _status(address) == 303


def test_a_taken_port_is_said_and_another_one_found() -> None:
    with contextlib.closing(serve.listening("127.0.0.1", 0)) as first:
        taken = first.getsockname()[1]
        with pytest.raises(SettingsError, match=str(taken)):
            serve.listening("127.0.0.1", taken)
        with contextlib.closing(serve.listening("127.0.0.1", 0)) as second:
            assert second.getsockname()[1] != taken


def test_missing_packages_are_said_with_how_to_get_them() -> None:
    with pytest.raises(RuntimeUnavailable) as missing:
        serve.see_installed("studio", ("json", "nothing_of_this_name"))
    assert "nothing_of_this_name" in missing.value.problem
    assert 'pip install "mien[studio]"' in missing.value.advice
