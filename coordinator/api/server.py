"""The API's server: uvicorn in a thread of its own, on a socket that was bound before, stopped in order."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from coordinator.api.feed import Feed

MOST_CONNECTIONS = 1_000
LEAVE_SECONDS = 5
"""After which what is still being answered is cut off."""
IDLE_SECONDS = 30


class ServerFailed(RuntimeError):
    """The server did not start, or ended by itself."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.close()  # the streams never end by themselves
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


def url_of(listening: socket.socket) -> str:
    """Where the socket is reached from this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is only shown
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def serving(
    app: ASGIApp,
    feed: Feed,
    listening: socket.socket,
    *,
    proxies: str | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Serve the app within; gives its URL. Takes the socket over. Raises ServerFailed.

    proxies: addresses whose X-Forwarded-For is believed, separated by commas. on_failure: called if the server ends by itself.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=LEAVE_SECONDS,
        http="h11",  # the other one sets no bound to a request's head
        h11_max_incomplete_event_size=16 << 10,
        ws_max_size=1 << 20,
    )
    server = _Server(config, feed)
    stopping = threading.Event()

    def run() -> None:
        try:
            server.run(sockets=[listening])
        except SystemExit:  # uvicorn's way to say that it did not start
            pass
        finally:
            if not stopping.is_set():
                on_failure()

    thread = threading.Thread(target=run, name="dashboard", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise ServerFailed("the server did not start: its log says why")
            stopping.wait(0.01)
        yield url_of(listening)
        if not thread.is_alive():
            raise ServerFailed("the server ended: its log says why")
    finally:
        stopping.set()
        server.should_exit = True
        thread.join(2 * LEAVE_SECONDS)
        listening.close()
