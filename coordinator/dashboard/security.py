"""What stands between a browser and the pages: which hosts and origins are answered, and the headers of every answer.

NiceGUI cannot do without three things, and the policy opens no more than these: its templates are compiled in the browser
('unsafe-eval'), elements carry style attributes ('unsafe-inline' for styles alone), and its page has inline scripts. The
last are let in one by one: every page gets a nonce, so that a script that was not in NiceGUI's own template never runs.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.api.guard import DEAR, RateLimit, client_of

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_FIXED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


MOST_SOCKETS = 128
"""Open pages of one address."""
_PAGE = 4.0
"""What counts as so many requests to the API: a page, which the server draws and keeps for a while."""
_FREE = ("/_nicegui", "/dashboard/static/")


def policy(nonce: str) -> str:
    """The content security policy of a page whose inline scripts carry this nonce."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def _cost(scope: Scope) -> float:
    """Of a request for a page or a service, in requests to the API; files, and the socket's own requests, are free."""
    if scope["path"].startswith(_FREE):
        return 0
    return _PAGE if scope["method"] in ("GET", "HEAD") else DEAR


class Guard:
    """ASGI middleware: refuses foreign hosts and origins, sets the headers, and gives inline scripts their nonce.

    A page of another site can make a browser send requests here, also after its name was pointed at 127.0.0.1: so the Host
    must be one that the operator named, and whatever changes anything or opens a socket must come from a page of ours.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str] | None = LOOPBACK_HOSTS, limit: RateLimit | None = None
    ) -> None:
        """hosts: the names that the server is reached by, None for any. limit: of what one address may ask, None for none."""
        self.app = app
        self._limit = limit
        self._sockets: Counter[str] = Counter()
        self.hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith("/api/"):  # the API has its own
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if reason := self._refusal(scope, headers):
            await _refuse(reason, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif self._limit and (wait := self._limit.take(client_of(scope), _cost(scope))):
            reason = f"too many requests from your address: ask again in {wait} s"
            await PlainTextResponse(reason + "\n", 429, {"Retry-After": str(wait)})(scope, receive, send)
        else:
            await self.app(scope, receive, _Answer(send))

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = client_of(scope)
        if self._sockets[client] >= MOST_SOCKETS:
            await _refuse(f"{MOST_SOCKETS} pages are open at your address already", scope, receive, send)
            return
        self._sockets[client] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._sockets[client] -= 1
            self._sockets += Counter()  # forget whoever has none left

    def _refusal(self, scope: Scope, headers: Headers) -> str | None:
        host = _name_of("//" + headers.get("host", ""))
        if self.hosts is not None and host not in self.hosts:
            return f"this server is not reached by the name {host[:100]!a}: --allow-host lets it be"
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        is_socket = scope["type"] == "websocket" or "/_nicegui_ws/" in scope["path"]
        if origin is None or not (changes or is_socket):
            return None
        if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return "this request came from a page of another site"
        return None


class _Answer:
    """Sends an answer on, with its headers; a page is held back until it is whole, to give its scripts the nonce."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._nonce = secrets.token_urlsafe(16)
        self._start: Message | None = None
        self._page = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _FIXED.items():
                headers[name] = value
            headers["content-security-policy"] = policy(self._nonce)
            if headers.get("content-type", "").startswith("text/html"):
                headers["cache-control"] = "no-store"
                self._start = message
                return
        elif self._start is not None and message["type"] == "http.response.body":
            self._page += message.get("body", b"")
            if message.get("more_body", False):
                return
            # text from the chain reaches the page with every "<" written as "&lt;": only the template's scripts are found
            page = bytes(self._page).replace(b"<script", b'<script nonce="%s"' % self._nonce.encode())
            MutableHeaders(scope=self._start)["content-length"] = str(len(page))
            await self._send(self._start)
            self._start = None
            message = {**message, "body": page}
        await self._send(message)


def _name_of(origin: str) -> str:
    try:
        return (urlsplit(origin).hostname or "").lower()
    except ValueError:
        return ""


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
    else:
        await PlainTextResponse(reason + "\n", 403)(scope, receive, send)
