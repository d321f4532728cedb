"""A relay's door: two POSTs over HTTP/1.1, bounded in size, time, rate and number, whoever knocks.

Each connection carries one request and has one deadline for all of it, so that nobody can hold it open by being slow. What
is behind the door is the desk's to judge; here nothing is read that is not asked for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any

import h11

from coordinator.relay_desk import Desk, NotTaken

log = logging.getLogger(__name__)

LONGEST_MESSAGE = 16 * 1024
"""Bytes of a body: twice what a commitment with 255 tickets takes."""
MOST_BRACKETS = 16
"""Objects and lists of a body: a message has five."""
LONGEST_HEAD = 8 * 1024
"""Bytes of a request line and headers."""
REQUEST_SECONDS = 10.0
"""For a whole request, from the connection to the answer."""
LINGER_SECONDS = 0.5
MOST_CONNECTIONS = 256
MOST_PEERS = 4_096
"""Addresses whose rate is remembered."""
READ_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What the door lets through."""

    rate: float = 100.0
    """Requests a second, of all together; three times as many at once."""
    peer_share: float = 0.25
    """What one address may have of that. Addresses of this machine may have all of it: a proxy's are."""
    connections: int = MOST_CONNECTIONS
    seconds: float = REQUEST_SECONDS


class RelayServer:
    """The door, on a thread of its own; a context manager. Port 0 takes a free one."""

    def __init__(self, desk: Desk, host: str = "127.0.0.1", port: int = 0, limits: Limits | None = None) -> None:
        """Raises OSError if the port is taken."""
        self._desk = desk
        self._limits = limits or Limits()
        self._gate = _Gate(self._limits)
        self._open = 0
        self._loop = asyncio.new_event_loop()
        try:
            self._server = self._loop.run_until_complete(
                asyncio.start_server(self._serve, host, port, limit=READ_BYTES)
            )
        except BaseException:
            self._loop.close()
            raise
        self.host, self.port = host, int(self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What workers set as their relay_url."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stop listening and cut every connection."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> RelayServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._answer(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # gone, slow, or no HTTP: nobody is left to tell
        finally:
            self._open -= 1
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        try:
            status, text = await self._handle(http, reader, peer)
        except h11.RemoteProtocolError as error:
            status, text = HTTPStatus(error.error_status_hint), "this is no HTTP/1.1 request"
        body = (json.dumps(text) + "\n").encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        events: tuple[h11.Event, ...] = (
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        writer.writelines(data for event in events if (data := http.send(event)) is not None)
        await writer.drain()
        writer.write_eof()
        await _linger(reader)

    async def _handle(self, http: h11.Connection, reader: asyncio.StreamReader, peer: str) -> tuple[HTTPStatus, Any]:
        """The status, and what to say with it."""
        if self._open > self._limits.connections:
            return HTTPStatus.SERVICE_UNAVAILABLE, "too many connections: try again, or send it yourself"
        request = await _next_event(http, reader)
        if not isinstance(request, h11.Request):
            return HTTPStatus.BAD_REQUEST, "no request"
        if not self._gate.lets_in(peer):
            return HTTPStatus.TOO_MANY_REQUESTS, "too many requests: try again, or send it yourself"
        target = request.target.decode("ascii", "replace")
        if request.method == b"GET" and target == "/health":
            return HTTPStatus.OK, {"kept": self._desk.kept, "head": self._desk.head}
        takes: dict[str, Callable[[object], None]] = {
            "/commits": self._desk.take_commit,
            "/openings": self._desk.take_opening,
        }
        if target not in takes:
            return HTTPStatus.NOT_FOUND, "there are POST /commits, POST /openings and GET /health"
        if request.method != b"POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, "messages are POSTed"
        if not _is_json(request):
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a message is application/json"
        body = await _read_body(http, reader)
        if body is None:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a message has at most {LONGEST_MESSAGE} bytes"
        try:
            takes[target](_parse(body))
        except ValueError:
            return HTTPStatus.BAD_REQUEST, "the body is no JSON"
        except NotTaken as refusal:
            return refusal.status, str(refusal)
        return HTTPStatus.ACCEPTED, "taken on; only the chain says that it was posted"


class _Gate:
    """Lets through so many requests a second, and of one address no more than its share."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._all = _Bucket(3 * limits.rate, clock())
        self._peers: OrderedDict[str, _Bucket] = OrderedDict()

    def lets_in(self, peer: str) -> bool:
        """Whether a request of this address may come in now."""
        now, rate = self._clock(), self._limits.rate
        if ipaddress.ip_address(peer.partition("%")[0]).is_loopback:
            return self._all.take(now, rate)
        share = rate * self._limits.peer_share
        bucket = self._peers.pop(peer, None) or _Bucket(3 * share, now)
        self._peers[peer] = bucket  # the last in use is the last to be forgotten
        if len(self._peers) > MOST_PEERS:
            self._peers.popitem(last=False)
        return bucket.take(now, share) and self._all.take(now, rate)


class _Bucket:
    """A token bucket that begins full."""

    def __init__(self, most: float, now: float) -> None:
        self._most = most
        self._has = most
        self._at = now

    def take(self, now: float, rate: float) -> bool:
        """Take one, if there is one."""
        self._has = min(self._most, self._has + (now - self._at) * rate)
        self._at = now
        if self._has < 1:
            return False
        self._has -= 1
        return True


async def _next_event(http: h11.Connection, reader: asyncio.StreamReader) -> Any:
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(READ_BYTES))
    return event


async def _read_body(http: h11.Connection, reader: asyncio.StreamReader) -> bytes | None:
    """The request's body; None if it is too long."""
    body = bytearray()
    while isinstance(event := await _next_event(http, reader), h11.Data):
        body += event.data
        if len(body) > LONGEST_MESSAGE:
            return None
    return bytes(body)


async def _linger(reader: asyncio.StreamReader) -> None:
    """Let the other side read the answer: hanging up on what it still sends would take that back."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while await reader.read(READ_BYTES):
                pass


def _parse(body: bytes) -> Any:
    """The JSON in a body. Raises ValueError; a decoder's own bound on nesting can be lifted by any library."""
    if body.count(b"{") + body.count(b"[") > MOST_BRACKETS:
        raise ValueError("more objects and lists than any message has")
    return json.loads(body)


def _is_json(request: h11.Request) -> bool:
    given = dict(request.headers).get(b"content-type", b"")
    return given.partition(b";")[0].strip().lower() == b"application/json"
