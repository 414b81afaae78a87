"""The page's own files, served from the package."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.app.server.errors import Refusal, answer

FOLDER = Path(__file__).resolve().parent.parent / "studio"
"""Where the page's files lie."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
"""Suffix to type: what the system says of suffixes may be anything, on Windows `.js` often is plain text."""


class Page:
    """ASGI middleware that answers whatever does not lie below `/api` from the page's files."""

    def __init__(self, app: ASGIApp, folder: Path = FOLDER) -> None:
        self._app = app
        self._files = StaticFiles(directory=folder, html=True, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path == "/api" or path.startswith("/api/"):
            await self._app(scope, receive, send)
            return
        kind = TYPES.get(PurePosixPath(path).suffix.lower(), TYPES[".html"])

        async def typed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 206, 304):
                headers = MutableHeaders(scope=message)
                headers["Content-Type"] = kind
                headers["Cache-Control"] = "no-cache"  # asked again each time; most answers are 304
            await send(message)

        try:
            await self._files(scope, receive, typed)
        except HTTPException as error:
            kind_ = "not_found" if error.status_code == 404 else "request"
            refusal = Refusal(kind_, path, str(error.detail).lower(), status=error.status_code)  # type: ignore[arg-type]
            refused = answer(refusal)
            if error.status_code == 405:
                refused.headers["Allow"] = "GET, HEAD"
            await refused(scope, receive, send)
