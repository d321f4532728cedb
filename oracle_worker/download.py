"""HTTP for addresses that a stranger chose: never into one's own network, never longer, larger or slower than allowed.

The name is resolved once, every address it has must be public, and the connection goes to the address that was checked:
a name that resolves differently a second later gains nothing. Redirects are followed through the same checks.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx

MOST_REDIRECTS = 5
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 15.0
"""Longest wait for the next bytes."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """The address or the answer is one that is never fetched."""


class Failed(Exception):
    """It could not be fetched this time."""


def stream(url: str, most_bytes: int, deadline: float, *, private_addresses: bool = False) -> Iterator[bytes]:
    """The bytes of an http(s): URL, not more than one piece beyond `most_bytes`, until `deadline` (time.monotonic()).

    Raises Refused, Failed.
    """
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    with httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False, verify=True) as client:
        for _ in range(MOST_REDIRECTS + 1):
            request = _pinned_request(client, url, private_addresses)
            try:
                answer = client.send(request, stream=True)
                with _closing(answer):
                    if not answer.is_redirect:
                        yield from _body(answer, most_bytes, deadline)
                        return
                    url = urljoin(url, answer.headers["location"])
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                raise Failed(f"{type(error).__name__}: {str(error)[:200]!a}") from None
            if time.monotonic() >= deadline:
                raise Failed("it took longer than data_seconds allows")
    raise Failed(f"it redirects more than {MOST_REDIRECTS} times")


class _closing:  # noqa: N801 - reads like contextlib.closing, for httpx's own close
    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer

    def __enter__(self) -> httpx.Response:
        return self.answer

    def __exit__(self, *_: object) -> None:
        self.answer.close()


def _body(answer: httpx.Response, most_bytes: int, deadline: float) -> Iterator[bytes]:
    if answer.status_code != 200:
        raise Failed(f"HTTP status {answer.status_code}")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused("it answers compressed, though asked not to")
    got = 0
    for piece in answer.iter_raw(chunk_size=1 << 18):
        if time.monotonic() >= deadline:
            raise Failed("it took longer than data_seconds allows")
        got += len(piece)
        yield piece
        if got > most_bytes:
            return


def _pinned_request(client: httpx.Client, url: str, private_addresses: bool) -> httpx.Request:
    """The request, to the address that was checked, with the name kept for TLS and the Host header."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused("it is not a URL") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Refused(f"it leads to the scheme {parsed.scheme[:20]!a}; http and https are followed")
    if parsed.userinfo:
        raise Refused("it carries a user name or password")
    address = _checked_address(parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80), private_addresses)
    headers = {"Host": parsed.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "quorate"}
    pinned = parsed.copy_with(host=address)
    return client.build_request("GET", pinned, headers=headers, extensions={"sni_hostname": parsed.host})


def _checked_address(host: str, port: int, private_addresses: bool) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failed(f"its name does not resolve: {str(error)!a}") from None
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not private_addresses and not _is_public(address):
            raise Refused(f"it leads to {address}, which is not a public address (QUORATE_DATA_PRIVATE_ADDRESSES)")
    return addresses[0]


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
