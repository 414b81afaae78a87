"""A local web server whose every failing can be ordered."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Mirror:
    """What the server has and how it behaves."""

    data: bytes
    address: str = ""
    ranges: bool = True
    """Whether it knows ranges."""
    breaks: list[int] = field(default_factory=list)
    """For each coming request the bytes after which the connection ends; none left: it holds."""
    status: int = 200
    tag: str = '"one"'
    kind: str = "application/octet-stream"
    tells: bool = True
    """Whether it says how long its answer is."""
    shift: int = 0
    """How far from the asked place its ranges begin."""
    asked: list[str] = field(default_factory=list)
    """The range that each request asked for, or nothing."""

    def url(self, name: str = "net.onnx") -> str:
        return f"{self.address}/{name}"


def _start(mirror: Mirror, asked: str, condition: str) -> int:
    """Where an answer begins."""
    found = re.fullmatch(r"bytes=(\d+)-", asked)
    if not mirror.ranges or found is None or (condition and condition != mirror.tag):
        return 0
    return int(found.group(1))


@contextlib.contextmanager
def serving(data: bytes) -> Iterator[Mirror]:
    mirror = Mirror(data)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            mirror.asked.append(asked)
            start = _start(mirror, asked, self.headers.get("If-Range", ""))
            if mirror.status != 200 or (start and start >= len(mirror.data)):
                self.send_response(mirror.status if mirror.status != 200 else 416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start += mirror.shift if start else 0
            body = mirror.data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", mirror.kind)
            if mirror.tag:
                self.send_header("ETag", mirror.tag)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(mirror.data) - 1}/{len(mirror.data)}")
            if mirror.tells:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: mirror.breaks.pop(0)] if mirror.breaks else body)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mirror.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
