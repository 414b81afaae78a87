"""`mien studio`: the server on this machine, and the page in a browser."""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mien.errors import RuntimeUnavailable, SettingsError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

NEEDED = ("fastapi", "uvicorn", "websockets", "python_multipart")
"""What the extra `studio` brings."""
PORT = 8642
TRIES = 20
"""Ports that are tried from the first one on where nobody asked for a certain one."""
PATIENCE = 3
"""Seconds that open connections get when the server ends."""
MESSAGE = 4 << 20
"""Most bytes of one message of a WebSocket."""


def studio(host: str, port: int, folders: Sequence[Path], token: bool, browser: bool) -> int:
    """Serve until Ctrl-C.

    Args:
        host: The address to listen on.
        port: The port; 0 for the first free one from `PORT` on.
        folders: Allowed folders; none for the user's own, or, where others can reach the server, the current
            one.
        token: Whether a token is needed on this machine, too; where others can reach the server it always
            is.
        browser: Whether the page is opened in a browser.

    Raises:
        RuntimeUnavailable: The packages for it are not installed.
        SettingsError: The address cannot be listened on, or a folder is none.
    """
    see_installed("studio")
    from mien.app.server.main import create
    from mien.app.server.security import is_local

    local = is_local(host)
    secret = secrets.token_urlsafe(24) if token or not local else ""
    allowed = tuple(folders) or ((Path.home(),) if local else (Path.cwd(),))
    with contextlib.closing(listening(host, port)) as listener:
        app = create(folders=allowed, token=secret, host=host)
        address = _address(host, listener.getsockname()[1])
        _serve(app, listener, f"{address}?token={quote(secret)}" if secret else address, allowed, browser)
    return 0


def see_installed(extra: str, needed: Sequence[str] = NEEDED) -> None:
    """See that what an extra brings is installed.

    Raises:
        RuntimeUnavailable: It is not.
    """
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    if absent:
        problem = f"needs packages that are not installed ({', '.join(absent)})"
        raise RuntimeUnavailable(f"mien {extra}", problem, f'`pip install "mien[{extra}]"` gets them.')


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; the first free port where none is asked for.

    Raises:
        SettingsError: There is none.
    """
    last: OSError | None = None
    for tried in (port,) if port else (*range(PORT, PORT + TRIES), 0):
        try:
            family, _, _, _, place = socket.getaddrinfo(host, tried, type=socket.SOCK_STREAM)[0]
            return socket.create_server(place[:2], family=family, backlog=256)
        except OSError as error:
            last = error
    why = last.strerror or last if last else ""
    raise SettingsError(
        "host, port", f"{host}:{port or PORT} cannot be listened on ({why})", "Choose another."
    )


def _address(host: str, port: int) -> str:
    """What a browser on this machine opens."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def _serve(
    app: FastAPI, listener: socket.socket, address: str, folders: Sequence[Path], browser: bool
) -> None:
    """Run the server; says where it is once it answers."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"mien studio: {address}", flush=True)
            print(f"files below {', '.join(map(str, folders))}; Ctrl-C ends it", flush=True)
            if browser:
                webbrowser.open(address)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.mien.hub.end()  # or open pages would be waited for
            await super().shutdown(sockets)

    with contextlib.suppress(KeyboardInterrupt):  # how uvicorn hands on Ctrl-C after it has shut down
        Server(_config(app)).run([listener])


def _config(app: FastAPI) -> uvicorn.Config:
    import uvicorn

    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # or anybody here could say that a request came encrypted
        server_header=False,
        ws_max_size=MESSAGE,
        timeout_graceful_shutdown=PATIENCE,
    )
