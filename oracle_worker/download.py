"""HTTP for addresses that a stranger chose: never into one's own network, never longer, larger or slower than allowed.

The name is resolved once, every address it has must be public, and the connection goes to an address that was checked:
a name that resolves differently a second later gains nothing. Redirects are followed through the same checks.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urljoin

import httpcore
import httpx

MOST_REDIRECTS = 5
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 15.0
"""Longest wait for the next bytes."""
MOST_ADDRESSES = 4
"""Addresses of one name that are tried."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """The address or the answer is one that is never fetched."""


class Failed(Exception):
    """It could not be fetched this time."""


def stream(
    url: str,
    most_bytes: int,
    deadline: float,
    *,
    start: int = 0,
    private_addresses: bool = False,
    trusted: str = "",
) -> Iterator[bytes]:
    """What an http(s): URL has from byte `start` on, not more than one piece beyond its first `most_bytes`, until `deadline`
    (time.monotonic()). A server that only gives the whole is read from the beginning.

    trusted: a URL whose host and port may be on a private network, because the operator named it.
    Raises Refused, Failed.
    """
    backend = _GuardedBackend(deadline, private_addresses, _origin(trusted) if trusted else None)
    with httpcore.ConnectionPool(network_backend=backend, max_connections=1) as pool:
        for _ in range(MOST_REDIRECTS + 1):
            request = _request(url, start=start)
            try:
                with pool.stream(request.method, request.url, headers=request.headers, extensions=_TIMEOUTS) as answer:
                    target = _redirect_of(answer)
                    if target is None:
                        yield from _body(answer, start, most_bytes)
                        return
                    url = urljoin(url, target)
            except _TooLong:
                raise Failed("it took longer than data_seconds allows") from None
            except _FAILURES as error:
                raise Failed(f"{type(error).__name__}: {str(error)[:200]!a}") from None
            except ValueError as error:
                raise Refused("it redirects to what is no URL") from error
    raise Failed(f"it redirects more than {MOST_REDIRECTS} times")


def post_json(url: str, content: bytes, deadline: float) -> int:
    """The status that an http(s): URL of the operator's own choice answers a POST with; of the answer nothing else is read.

    `deadline` (time.monotonic()). Raises Refused, Failed.
    """
    backend = _GuardedBackend(deadline, private_addresses=True)
    request = _request(url, "POST")
    headers = [*request.headers, (b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(content))]
    with httpcore.ConnectionPool(network_backend=backend, max_connections=1) as pool:
        try:
            with pool.stream("POST", request.url, headers=headers, content=content, extensions=_TIMEOUTS) as answer:
                return int(answer.status)
        except _TooLong:
            raise Failed("it took too long") from None
        except _FAILURES as error:
            raise Failed(f"{type(error).__name__}: {str(error)[:200]!a}") from None


_FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError)

_TIMEOUTS = {"timeout": {"connect": CONNECT_SECONDS, "read": SILENCE_SECONDS, "write": SILENCE_SECONDS}}


class _TooLong(Exception):
    """The deadline has passed."""


def _origin(url: str) -> tuple[str, int]:
    """Host and port as the connection is asked for. Raises Refused."""
    at = _request(url).url
    return at.host.decode("ascii"), at.origin.port


def _request(url: str, method: str = "GET", start: int = 0) -> httpcore.Request:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused("it is not a URL") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Refused(f"it leads to the scheme {parsed.scheme[:20]!a}; http and https are followed")
    if parsed.userinfo:
        raise Refused("it carries a user name or password")
    target = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    headers = [(b"Host", parsed.netloc), (b"Accept-Encoding", b"identity"), (b"User-Agent", b"quorate")]
    if start:
        headers.append((b"Range", b"bytes=%d-" % start))
    return httpcore.Request(method, target, headers=headers)


def _header(answer: httpcore.Response, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in answer.headers if name.lower() == wanted), None)


def _redirect_of(answer: httpcore.Response) -> str | None:
    return _header(answer, b"location") if answer.status in (301, 302, 303, 307, 308) else None


def _body(answer: httpcore.Response, start: int, most_bytes: int) -> Iterator[bytes]:
    skipped = _skipped(answer, start)
    if (_header(answer, b"content-encoding") or "identity").lower() != "identity":
        raise Refused("it answers compressed, though asked not to")
    got = start - skipped
    for piece in answer.iter_stream():
        got += len(piece)
        if new := piece[max(0, len(piece) - max(0, got - start)) :]:
            yield new
        if got > most_bytes:
            return


def _skipped(answer: httpcore.Response, start: int) -> int:
    """How many bytes of the answer come before `start`. Raises Failed."""
    if answer.status == 200:
        return start
    if not start or answer.status not in (206, 416):
        raise Failed(f"HTTP status {answer.status}")
    if answer.status == 416:
        raise Failed(f"it has no more than {start} bytes")
    if not (_header(answer, b"content-range") or "").lower().startswith(f"bytes {start}-"):
        raise Failed("it answers with another part than it was asked for")
    return 0


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only, and to the very address that was checked."""

    def __init__(self, deadline: float, private_addresses: bool, trusted: tuple[str, int] | None = None) -> None:
        self.deadline = deadline
        self.private_addresses = private_addresses
        self.trusted = trusted
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """As httpcore calls it: the first of the name's addresses that answers. Raises Refused."""
        private = self.private_addresses or (host, port) == self.trusted
        *others, last = _checked_addresses(host, port, private)[:MOST_ADDRESSES]
        for address in others:
            try:
                return self._connect(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(last, port, timeout, local_address, socket_options)

    def _connect(
        self, address: str, port: int, timeout: float | None, local_address: str | None, options: Iterable[Any] | None
    ) -> httpcore.NetworkStream:
        left = _left(self.deadline, timeout)
        return _GuardedStream(self._inner.connect_tcp(address, port, left, local_address, options), self.deadline)


class _GuardedStream(httpcore.NetworkStream):
    """A connection on which nothing, however slowly it drips, outlasts the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._inner.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _GuardedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _TooLong
    return left if timeout is None else min(left, timeout)


def _checked_addresses(host: str, port: int, private_addresses: bool) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failed(f"its name does not resolve: {str(error)!a}") from None
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not private_addresses and not _is_public(address):
            raise Refused(f"it leads to {address}, which is not a public address (QUORATE_DATA_PRIVATE_ADDRESSES)")
    return list(dict.fromkeys(addresses))


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
        if int(address) >> 32 == 0:  # IPv4-compatible, deprecated
            return False
    return address.is_global and not address.is_multicast
