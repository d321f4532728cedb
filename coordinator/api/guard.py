"""What every request to the API meets first: whom the server is for, how often one may ask, and the headers of answers."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.api.problems import problem

PREFIX = "/api/"
IS_HEAD = "quorate.is_head"
"""In the scope of a GET that was a HEAD."""
DEAR = 10.0
"""What counts as so many requests: a proof, and whatever else asks the chain."""
MOST_CLIENTS = 10_000
"""Of whom it is remembered how often they asked; the longest silent one is forgotten first."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class RateLimit:
    """So many requests a second for each client, and twice as many seconds' worth at once: a bucket that fills up."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        """rate: requests a second. burst: requests at once, at least 1. clock: seconds."""
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> int:
        """0 if the client may ask now, which is counted; else the seconds after which it may."""
        now = self._clock()
        left, at = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        cost = min(cost, self._burst)
        wait = 0 if left >= cost else max(1, math.ceil((cost - left) / self._rate))
        self._left[client] = (left if wait else left - cost, now)
        if len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return wait


class Guard:
    """ASGI middleware around everything; only paths below /api/ are its business."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: RateLimit,
        hosts: Collection[str] | None,
        cost: Callable[[str], float] = lambda _: 1.0,
    ) -> None:
        """hosts: the names that the server is reached by, None for any. cost: of a path, in requests."""
        self._app = app
        self._limit = limit
        self._hosts = hosts
        self._cost = cost

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        host = _name_of(Headers(scope=scope).get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            detail = f"this server is not reached by the name {host[:100]!a}: --allow-host lets it be"
            answer = problem(HTTPStatus.MISDIRECTED_REQUEST, detail)
        elif scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            detail = "everything here is read-only: GET and HEAD are answered"
            answer = problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, {"Allow": "GET, HEAD"})
        elif wait := self._limit.take(client_of(scope), self._cost(scope["path"])):
            detail = f"too many requests from your address: ask again in {wait} s, or read /api/v1/events"
            answer = problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(wait)})
        else:
            inner = {**scope, "method": "GET", IS_HEAD: True} if is_head else scope
            await self._app(inner, receive, guarded)
            return
        await answer(scope, receive, guarded)


def client_of(scope: Scope) -> str:
    """Whom a request is counted for: an IPv4 address, or the 64 bits of an IPv6 one that a network hands out."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _name_of(host: str) -> str:
    """The Host header without its port, in lower case."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    return name.strip("[]").lower()
