"""Readers who take what they can: silent ones, many at once, endless ones. Others are answered, and nothing is left behind."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from coordinator.api.feed import MOST_PER_CLIENT, Feed
from coordinator.api.server import bind, serving
from tests.coordinator.api.toy_explorer import Scene, live, scene

PATIENCE = 60.0


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, live(0).chain) as made:
        yield made


@contextmanager
def served(here: Scene) -> Iterator[tuple[str, Feed]]:
    """A real server on a socket."""
    feed = Feed(here.explorer)
    with serving(here.app(feed=feed), feed, bind("127.0.0.1", 0)) as url:
        yield url, feed


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE)


def opened(url: str) -> socket.socket:
    """A connection that asked for the stream and reads nothing of it."""
    made = connected(url)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    made.sendall(b"GET /api/v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    return made


def until(is_so: object) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_of_many_readers_at_once_no_more_are_let_in_than_may_and_their_going_makes_room(here: Scene) -> None:
    with served(here) as (url, feed):
        with ExitStack() as connections:
            readers = [connections.enter_context(opened(url)) for _ in range(MOST_PER_CLIENT + 30)]
            first = [one.recv(16) for one in readers]
            assert sorted(one[9:12] for one in first) == [b"200"] * MOST_PER_CLIENT + [b"503"] * 30
            assert feed._readers.total() == MOST_PER_CLIENT
            assert httpx.get(f"{url}/api/v1/overview", timeout=PATIENCE).status_code == 200
        until(lambda: not feed._readers)
        with opened(url) as again:
            assert again.recv(16)[9:12] == b"200"


def test_readers_who_never_read_hold_up_neither_the_others_nor_the_servers_end(here: Scene) -> None:
    with served(here) as (url, feed), ExitStack() as connections:
        for _ in range(MOST_PER_CLIENT):
            connections.enter_context(opened(url))
        until(lambda: feed._readers.total() == MOST_PER_CLIENT)
        for _ in range(20):
            here.chain.mine(1)
            here.fill()
            assert httpx.get(f"{url}/api/v1/overview", timeout=PATIENCE).status_code == 200
        begun = time.monotonic()
    assert time.monotonic() - begun < PATIENCE


def test_requests_that_are_never_finished_keep_nobody_waiting(here: Scene) -> None:
    with served(here) as (url, _), ExitStack() as connections:
        for _ in range(50):
            connections.enter_context(connected(url)).sendall(b"GET /api/v1/overview HTTP/1.1\r\nx-long: ")
        assert httpx.get(f"{url}/api/v1/overview", timeout=PATIENCE).status_code == 200


def test_a_request_with_an_endless_head_is_cut_off_before_it_fills_memory(here: Scene) -> None:
    sent, piece = 0, b"y" * 65_536
    with served(here) as (url, _), connected(url) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nx-long: ")
        with suppress(ConnectionError):  # it hung up
            while sent < 1 << 27:
                endless.sendall(piece)
                sent += len(piece)
        assert sent < 1 << 27
