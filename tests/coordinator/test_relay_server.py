"""A relay's door under everything that is no message: junk, floods, drips, bombs; it stays open for the next."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from random import Random
from typing import Any

import httpx
import pytest

from coordinator.relay_desk import NotTaken
from coordinator.relay_server import LONGEST_HEAD, LONGEST_MESSAGE, Limits, RelayServer, _Gate

SECONDS = 2.0


class Notebook:
    """Takes everything on, and writes it down; says no to what asks for it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Any]] = []
        self.kept = 0
        self.head = 7

    def take_commit(self, body: object) -> None:
        if body == {"refuse": True}:
            raise NotTaken(HTTPStatus.CONFLICT, "the jury is full")
        self.taken.append(("commit", body))

    def take_opening(self, body: object) -> None:
        self.taken.append(("opening", body))


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def server(notebook: Notebook) -> Iterator[RelayServer]:
    with RelayServer(notebook, limits=Limits(rate=1000, connections=20, seconds=SECONDS)) as made:  # type: ignore[arg-type]
        yield made


def post(server: RelayServer, path: str = "/commits", content: bytes | None = None, **headers: str) -> httpx.Response:
    given = {"Content-Type": "application/json", **headers}
    return httpx.post(server.url + path, content=b"{}" if content is None else content, headers=given)


def raw(server: RelayServer, data: bytes, *, half_close: bool = False) -> bytes:
    """What the server says to these bytes, until it hangs up."""
    said = bytearray()
    with socket.create_connection((server.host, server.port), timeout=10) as connection, suppress(ConnectionError):
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            said += part
    return bytes(said)


def is_open(server: RelayServer, notebook: Notebook) -> bool:
    """Whether the next honest message still comes through."""
    before = len(notebook.taken)
    return post(server, content=b'{"honest": 1}').status_code == 202 and len(notebook.taken) == before + 1


def test_messages_reach_the_desk_and_its_answers_come_back(server: RelayServer, notebook: Notebook) -> None:
    taken = post(server, "/openings", b'{"a": ["1"]}')
    assert taken.status_code == 202 and "only the chain" in taken.json()
    refused = post(server, content=b'{"refuse": true}')
    assert (refused.status_code, refused.json()) == (409, "the jury is full")
    assert notebook.taken == [("opening", {"a": ["1"]})]
    health = httpx.get(server.url + "/health")
    assert health.json() == {"kept": 0, "head": 7}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/commits", {}, 405),
        ("PUT", "/commits", {}, 405),
        ("OPTIONS", "/commits", {"Origin": "https://evil.example"}, 405),
        ("POST", "/", {}, 404),
        ("POST", "/commits/../health", {}, 404),
        ("POST", "/commits?x=1", {}, 404),
        ("POST", "/health", {}, 404),
        ("POST", "/commits", {"Content-Type": "text/plain"}, 415),  # what a web page can send without asking
        ("POST", "/commits", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_nothing_else_is_served(
    server: RelayServer, notebook: Notebook, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    given = {"Content-Type": "application/json", **headers}
    answer = httpx.request(method, server.url + path, content=b"{}", headers=given)
    assert answer.status_code == status and notebook.taken == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * LONGEST_MESSAGE,
        b'{"a":' * 3000,
        b"9" * 10_000,
        b'"\\ud800',
        b"nan",
        b"{}{}",
        bytes(LONGEST_MESSAGE),
    ],
)
def test_what_is_no_json_is_refused(server: RelayServer, notebook: Notebook, body: bytes) -> None:
    assert post(server, content=body).status_code == 400
    assert notebook.taken == [] and is_open(server, notebook)


def test_a_body_of_more_brackets_than_a_message_has_is_not_even_parsed(server: RelayServer, notebook: Notebook) -> None:
    nested = b"[" * 8_000 + b"]" * 8_000
    assert post(server, content=nested).status_code == 400
    assert notebook.taken == [] and is_open(server, notebook)


def test_a_body_too_long_is_not_read_to_its_end(server: RelayServer, notebook: Notebook) -> None:
    head = b"POST /commits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    declared = head + b"Content-Length: %d\r\n\r\n" % 2**40 + bytes(4 * LONGEST_MESSAGE)
    chunk = b"%x\r\n" % LONGEST_MESSAGE + b" " * LONGEST_MESSAGE + b"\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + 4 * chunk
    for request in (declared, chunked):
        began = time.monotonic()
        assert b" 413 " in raw(server, request).split(b"\r\n")[0]
        assert time.monotonic() - began < SECONDS
    assert notebook.taken == [] and is_open(server, notebook)


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/0.9\r\n\r\n",
        b"POST /commits HTTP/1.1\r\n\r\n",  # no Host
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /" + b"a" * (2 * LONGEST_HEAD) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * LONGEST_HEAD,
        b"POST /commits HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /commits HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /commits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /commits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\r\n" * 100,
        b"\0" * 5000,
    ],
)
def test_what_is_no_request_is_refused_or_cut(server: RelayServer, notebook: Notebook, request_: bytes) -> None:
    said = raw(server, request_, half_close=True)
    assert said == b"" or said.split(b" ")[1][:1] == b"4"
    assert notebook.taken == [] and is_open(server, notebook)


def test_a_request_within_a_request_is_not_taken(server: RelayServer, notebook: Notebook) -> None:
    one = b"POST /commits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    said = raw(server, 5 * one)
    assert said.count(b"HTTP/1.1 ") == 1 and len(notebook.taken) == 1


def test_random_bytes_never_close_the_door(server: RelayServer, notebook: Notebook) -> None:
    random = Random(7)
    head = b"POST /commits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"
    for _ in range(300):
        data = bytearray(head + json.dumps({"a": random.random()}).encode().ljust(40))
        for _ in range(random.randint(1, 8)):
            data[random.randrange(len(data))] = random.randrange(256)
        raw(server, bytes(data[: random.randint(1, len(data))]), half_close=True)
    assert is_open(server, notebook)


def test_a_slow_sender_has_no_longer_than_anybody(server: RelayServer, notebook: Notebook) -> None:
    began = time.monotonic()
    with socket.create_connection((server.host, server.port), timeout=10) as drip:
        for byte in b"POST /commits HTTP/1.1\r\nHost: x\r\nContent-Length: 9":
            try:
                drip.sendall(bytes([byte]))
            except ConnectionError:
                break
            time.sleep(0.1)
        assert time.monotonic() - began < 2 * SECONDS + 1
    assert is_open(server, notebook)


def test_idle_connections_are_bounded_and_make_room_again(server: RelayServer, notebook: Notebook) -> None:
    idle = [socket.create_connection((server.host, server.port), timeout=10) for _ in range(20)]
    try:
        time.sleep(0.2)
        assert post(server).status_code == 503
        time.sleep(SECONDS)
        assert is_open(server, notebook)
    finally:
        for one in idle:
            one.close()


def test_a_flood_is_told_to_wait_and_the_next_second_is_anybodys(notebook: Notebook) -> None:
    with RelayServer(notebook, limits=Limits(rate=1)) as server:  # type: ignore[arg-type]
        statuses = [post(server).status_code for _ in range(30)]
        assert statuses[:3] == [202] * 3 and 429 in statuses
        time.sleep(1)
        assert is_open(server, notebook)


def test_one_address_cannot_use_up_what_is_there_for_all() -> None:
    now = [0.0]
    gate = _Gate(Limits(rate=8, peer_share=0.25), clock=lambda: now[0])
    assert sum(gate.lets_in("203.0.113.9") for _ in range(1000)) == 6
    assert sum(gate.lets_in("2001:db8::1%eth0") for _ in range(1000)) == 6
    assert sum(gate.lets_in("127.0.0.1") for _ in range(1000)) == 12, "a proxy on this machine has what is left"
    now[0] = 1.0
    assert sum(gate.lets_in("203.0.113.9") for _ in range(1000)) == 2


def test_addresses_without_end_take_no_memory_without_end() -> None:
    gate = _Gate(Limits(rate=10**9), clock=lambda: 0.0)
    for number in range(10_000):
        gate.lets_in(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(gate._peers) == 4096


def test_a_taken_port_is_said_and_a_closed_door_is_closed(notebook: Notebook) -> None:
    with RelayServer(notebook) as server:  # type: ignore[arg-type]
        with pytest.raises(OSError):
            RelayServer(notebook, port=server.port)  # type: ignore[arg-type]
        url = server.url
        waiting = socket.create_connection((server.host, server.port))
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert waiting.recv(1) == b""
    waiting.close()
