"""Who may ask: host, origin and token of every request, and what every answer tells the browser.

The server listens on this machine alone unless somebody chose otherwise. That is no protection against web
pages: any page may send requests to `127.0.0.1`, and one whose name is made to resolve to it (DNS rebinding)
may read the answers. So the `Host` must be ours, the `Origin` of what changes something must be the same, and
on any other address a token is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.app.server.errors import Refusal, answer

COOKIE = "mien"
"""Name of the cookie that stands for the token."""
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names of this machine that never leave it."""
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""What the page may load: nothing from anywhere else."""
BODY = 16 << 20
"""Most bytes of a request's body; uploads have a limit of their own."""
STREAMED = ("/api/uploads",)
"""Paths whose bodies go to disk as they come, and are counted there."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of every answer."""


def is_local(host: str) -> bool:
    """Whether an address to listen on cannot be reached from other machines."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def names(host: str) -> frozenset[str]:
    """Host names by which a server that listens on `host` may be called; addresses always may.

    A name that is made to point here is what DNS rebinding needs; an address cannot be.
    """
    known = {"localhost", host.lower()}
    if not is_local(host):
        own = socket.gethostname().lower()
        known |= {own, f"{own}.local", socket.getfqdn().lower()}
    return frozenset(known)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of a request."""

    hosts: frozenset[str]
    """Host names that count as ours, lower case."""
    token: str = ""
    """What a client must know; empty: nothing."""

    @property
    def pass_(self) -> str:
        """The cookie's value; it does not give the token away to other servers on this host."""
        return hmac.new(self.token.encode(), b"mien studio", hashlib.sha256).hexdigest()

    def is_ours(self, host: str) -> bool:
        """Whether a `Host` header's value names this server."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_known(self, headers: Headers) -> bool:
        """Whether a request carries the token or its cookie."""
        if not self.token:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return _same(given.strip(), self.token)
        return any(_same(value, self.pass_) for value in _cookies(headers.getlist("cookie")))


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


def _cookies(lines: Iterable[str]) -> list[str]:
    """Values of our cookie."""
    # By hand: cookies of whatever else runs on this host come along, and one that is odd would hide the rest.
    pairs = (part.partition("=") for line in lines for part in line.split(";"))
    return [value.strip() for name, _, value in pairs if name.strip() == COOKIE]


class Guard:
    """ASGI middleware that lets through what `Rules` allow and adds the headers of every answer."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                stamp(MutableHeaders(scope=message), scope["path"])
            await send(message)

        refused = self._refused(scope)
        if refused is None:
            bounded = receive if scope["path"] in STREAMED else _bounded(receive)
            await self._app(scope, bounded, marked)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await refused(scope, receive, marked)

    def _refused(self, scope: Scope) -> Response | None:
        """The answer to a request that is not let through; None where it is."""
        headers, rules = Headers(scope=scope), self._rules
        host = headers.get("host", "")
        if not rules.is_ours(host):
            advice = "Open the address that `mien studio` printed."
            return answer(Refusal("request", host or "Host", "is not this server's name", advice, 421))
        if _changes(scope) and not _is_own(headers, scope):
            origin = headers.get("origin", "another site")
            return answer(Refusal("request", origin, "is another site than this one", status=403))
        if rules.is_known(headers):
            length = headers.get("content-length", "0")
            if scope["path"] not in STREAMED and (not length.isdecimal() or int(length) > BODY):
                return answer(Refusal("too_large", scope["path"], f"takes {BODY:,} bytes at most"))
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["type"] == "http" and any(k == "token" and _same(v, rules.token) for k, v in query):
            return self._welcomed(scope, [(k, v) for k, v in query if k != "token"])
        advice = "Open the address with the token that `mien studio` printed, or send it as a bearer token."
        refused = answer(Refusal("unauthorised", "token", "is missing or wrong", advice))
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused

    def _welcomed(self, scope: Scope, query: list[tuple[str, str]]) -> Response:
        """The same address without the token, which a cookie replaces."""
        path = "/" + scope["path"].lstrip("/\\")  # `//host` would lead elsewhere
        response = RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)
        secure = scope.get("scheme") in ("https", "wss")
        response.set_cookie(COOKIE, self._rules.pass_, httponly=True, samesite="strict", secure=secure)
        return response


def _bounded(receive: Receive) -> Receive:
    """The same messages; a body that grows too large ends the request, whatever length was announced."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b"")) if message["type"] == "http.request" else 0
        if size > BODY:
            raise HTTPException(413, f"takes {BODY:,} bytes at most")
        return message

    return counted


def stamp(headers: MutableHeaders, path: str) -> None:
    """Add the headers of every answer; what is no file of the page is not kept unless its route says so."""
    for name, value in HEADERS.items():
        headers[name] = value
    if path.startswith("/api"):
        headers.setdefault("Cache-Control", "no-store")


def _changes(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in SAFE


def _is_own(headers: Headers, scope: Scope) -> bool:
    """Whether a request comes from our own page, or from no page at all."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True  # browsers always send it with what changes something
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    secure = scope.get("scheme") in ("https", "wss")
    return parts.scheme == ("https" if secure else "http") and parts.netloc == headers.get("host")
