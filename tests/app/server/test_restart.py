"""The server as its command runs it: killed or ended in the middle of a render, the next one goes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mien.models.store import Store
from mien.run import verbs
from tests.app.test_worker import FRAMES, segments, until
from tests.regression import scenes
from tests.regression.running import job

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals")]


@contextlib.contextmanager
def studio(home: Path, films: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`mien studio` on a free port, and that port."""
    command = [sys.executable, "-m", "mien.app.cli", "studio", "--folder", str(films), "--no-browser"]
    environment = {**os.environ, "MIEN_HOME": str(home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline()
            yield process, int(address.strip().rstrip("/").rpartition(":")[2])
        finally:
            process.kill()


def ask(port: int, path: str, body: Any = None) -> Any:
    """The JSON that a route answers."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        sent = None if body is None else json.dumps(body)
        kind = {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", f"/api{path}", sent, kind)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_render_survives_the_server(number: signal.Signals, store: Store, tmp_path: Path) -> None:
    home, films = tmp_path / "home", tmp_path / "films"
    home.mkdir()
    films.mkdir()
    (home / "models").symlink_to(store.folder, target_is_directory=True)
    clip = scenes.film(films / "in.mp4", scenes.talking("astronaut", FRAMES), rate=Fraction(1), gop=5)
    scenes.portrait("hopper").reduce(2).save(films / "hopper.png")
    output = films / "out.mp4"
    wanted = job(films / "hopper.png", clip, output)
    assert list(verbs.swap(wanted, home=home))
    expected = output.read_bytes()
    output.unlink()
    with studio(home, films) as (process, port):
        listener = http.client.HTTPConnection("127.0.0.1", port, timeout=60)  # an open page
        listener.request("GET", "/api/events")
        page = listener.getresponse()
        line = ask(port, "/jobs", {"job": wanted.model_dump(mode="json")})
        until(lambda: segments(home), "a segment")
        process.send_signal(number)
        assert process.wait(60) == (-number if number == signal.SIGKILL else 0)
        page.close()
        listener.close()
    assert not output.exists()
    with studio(home, films) as (process, port):
        path = f"/jobs/{line['id']}"
        until(lambda: ask(port, path)["state"] not in ("queued", "running"), "its end")
        assert ask(port, path)["state"] == "done", ask(port, f"{path}/log")
        texts = [said["text"] for said in ask(port, f"{path}/log")["lines"]]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert output.read_bytes() == expected
    assert [text for text in texts if "of them done already" in text]
