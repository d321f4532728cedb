"""JSON-RPC over HTTP/1.1 for a DevChain: keep-alive, batches, and closed to web pages.

A web page in a browser on the same machine must not drive the chain: requests with an Origin are refused, and so are
those whose Host is a name (DNS rebinding) other than localhost and the names that were allowed by hand.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
import threading
from collections.abc import Collection
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

from coordinator.devnet import wire
from coordinator.devnet.chain import DevChain
from coordinator.devnet.wire import RpcError

log = logging.getLogger(__name__)

LONGEST_BODY = 8 * 1024 * 1024
LARGEST_BATCH = 1_000
IDLE_SECONDS = 300.0
MOST_CONNECTIONS = 512
DEEPEST_NESTING = 32

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def serve(chain: DevChain, host: str = "127.0.0.1", port: int = 0, *, names: Collection[str] = ()) -> DevServer:
    """Serve `chain`, and start its mining. Port 0 takes a free one. `names` are further host names it may be reached by.

    Raises OSError if the port is taken.
    """
    return DevServer(chain, host, port, names)


class DevServer:
    """A chain behind a URL, on threads of its own; a context manager."""

    def __init__(self, chain: DevChain, host: str, port: int, names: Collection[str]) -> None:
        self.chain = chain
        self._http = _Server((host, port), chain, frozenset(name.lower() for name in names))
        self.host, self.port = host, int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        chain.start()

    @property
    def url(self) -> str:
        """Where to reach it, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    def close(self) -> None:
        """Stop mining, stop listening, cut every connection."""
        self.chain.close()
        self._http.shutdown()
        self._http.server_close()
        self._http.cut()
        self._thread.join()

    def __enter__(self) -> DevServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], chain: DevChain, names: frozenset[str]) -> None:
        self.chain = chain
        self.names = names
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Exchange)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base class's signature
        with self._guard:
            if len(self._open) >= MOST_CONNECTIONS:
                return False
            self._open.add(request)
        return True

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """Close what clients hold open."""
        with self._guard:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError as error:
                    log.debug("already closed: %s", error)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("a connection from %s broke", client_address, exc_info=True)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "quorate-devnet"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        """One JSON-RPC request or batch."""
        try:
            length = self._admit()
        except _Refused as refused:
            self._refuse(refused.status, refused.why)
            return
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        answer = answer_to(cast(_Server, self.server).chain, body)
        self._reply(HTTPStatus.OK if answer else HTTPStatus.NO_CONTENT, answer)

    def do_GET(self) -> None:
        """Not a thing here."""
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "send JSON-RPC with POST")

    do_PUT = do_DELETE = do_OPTIONS = do_HEAD = do_GET  # noqa: N815

    def _admit(self) -> int:
        """The length of a body that may be read. Raises _Refused."""
        if self.headers.get("Origin") is not None:
            raise _Refused(HTTPStatus.FORBIDDEN, "requests of web pages are refused")
        if not self._is_own_name(self.headers.get("Host", "")):
            raise _Refused(HTTPStatus.FORBIDDEN, "unknown host name: use the address, localhost or an allowed name")
        if self.headers.get("Transfer-Encoding") is not None:
            raise _Refused(HTTPStatus.NOT_IMPLEMENTED, "send a Content-Length, not a Transfer-Encoding")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or len(self.headers.get_all("Content-Length", [])) != 1:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "send one Content-Length")
        if len(length) > 10 or int(length) > LONGEST_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {LONGEST_BODY} bytes")
        return int(length)

    def _is_own_name(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        name = name.strip("[]").lower().rstrip(".")
        if name == "localhost" or name in cast(_Server, self.server).names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        # the body was not read: what follows on this connection would be taken for a request
        self.close_connection = True
        self._reply(status, _dump(_error(None, RpcError(wire.INVALID_REQUEST, why))))

    def _reply(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s " + format, self.client_address[0], *args)


def answer_to(chain: DevChain, body: bytes) -> bytes:
    """The answer to a request's body, as JSON; empty for notifications. Never raises."""
    try:
        text = body.decode()
        if _is_nested_beyond(DEEPEST_NESTING, text):
            raise ValueError("nested too deeply")
        request = json.loads(text)
    except ValueError:
        return _dump(_error(None, RpcError(wire.PARSE_ERROR, "parse error: the body is not JSON")))
    if not isinstance(request, list):
        single = _answer(chain, request)
        return _dump(single) if single else b""
    if not 0 < len(request) <= LARGEST_BATCH:
        why = f"a batch of {len(request)} requests: send 1 to {LARGEST_BATCH}"
        return _dump(_error(None, RpcError(wire.INVALID_REQUEST, why)))
    answers = [answer for one in request if (answer := _answer(chain, one))]
    return _dump(answers) if answers else b""


def _is_nested_beyond(deepest: int, text: str) -> bool:
    # the parser recurses in C: 100,000 brackets would overflow the thread's stack and end the process
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > deepest:
            return True
    return False


def _answer(chain: DevChain, request: Any) -> dict[str, Any] | None:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _error(None, RpcError(wire.INVALID_REQUEST, "invalid request: an object with a method is needed"))
    number = request.get("id")
    if isinstance(number, dict | list):
        return _error(None, RpcError(wire.INVALID_REQUEST, "invalid request: the id is a number or a string"))
    params = request.get("params")
    try:
        if params is not None and not isinstance(params, list):
            raise wire.invalid("non-array args: give the parameters as a list")
        result = chain.rpc(request["method"], params or [])
    except RpcError as error:
        answer = _error(number, error)
    else:
        answer = {"jsonrpc": "2.0", "id": number, "result": result}
    return answer if "id" in request else None


def _error(number: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": error.as_json()}


def _dump(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()
