"""A JSON-RPC node between a test and a real chain that can be told to misbehave; all else reaches the chain unchanged."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

Answer = dict[str, Any] | list[Any] | int | str
"""A JSON-RPC answer, those of a batch, an HTTP status to fail with, or a page of text."""
Fault = Callable[[list[Any], Callable[[], dict[str, Any]]], Answer]
"""Given the parameters and a way to ask the chain, what the node answers."""
Behaviour = Callable[[str, list[Any], Callable[..., dict[str, Any]]], Answer]
"""Given method, parameters and a way to ask the chain, with other parameters if need be: what the node answers."""
REMEMBERED = 100_000
_JSON = {"Content-Type": "application/json"}


class _Server(ThreadingHTTPServer):
    """One thread a connection, which may end in any way."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed is no news; anything else is told as usual."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class FaultyNode:
    """Answers at `url`. `behaviour`, if set, decides everything; else `faults` by method do. `seen` has the latest requests'
    methods and parameters, in order."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.faults: dict[str, Fault] = {}
        self.behaviour: Behaviour | None = None
        self.batches = 0
        """How many requests of several questions came."""
        self.batch_refusal: Answer | None = None
        """What these are answered with, if not each of their questions."""
        self.seen: deque[tuple[str, list[Any]]] = deque(maxlen=REMEMBERED)
        self._pool = urllib3.PoolManager(maxsize=16, timeout=30)
        self._server = _Server(("127.0.0.1", 0), self._responder())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def count(self, method: str) -> int:
        """How many requests of a method came."""
        return sum(1 for seen, _ in self.seen if seen == method)

    def parameters(self, method: str) -> list[list[Any]]:
        """The parameters of each request of a method."""
        return [given for seen, given in self.seen if seen == method]

    def answer(self, body: bytes) -> Answer:
        request = json.loads(body)
        if isinstance(request, list):
            self.batches += 1
            if self.batch_refusal is not None:
                return self.batch_refusal
            answers = [self.answer(json.dumps(one).encode()) for one in request]
            return next((one for one in answers if not isinstance(one, dict)), answers)
        method, given = request["method"], request.get("params", [])
        self.seen.append((method, given))

        def ask(*changed: Any) -> dict[str, Any]:
            asked = json.dumps({**request, "params": changed[0]}).encode() if changed else body
            answered: dict[str, Any] = self._pool.request("POST", self.upstream, body=asked, headers=_JSON).json()
            return answered

        if self.behaviour is not None:
            said = self.behaviour(method, given, ask)
        else:
            said = self.faults[method](given, ask) if method in self.faults else ask()
        return {"jsonrpc": "2.0", "id": request["id"], **said} if isinstance(said, dict) else said

    def _responder(self) -> type[BaseHTTPRequestHandler]:
        node = self

        class Responder(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                if len(body := self.rfile.read(length)) < length:
                    self.close_connection = True  # the client ended in the middle of it
                    return
                said = node.answer(body)
                text = (said if isinstance(said, str) else json.dumps(said)).encode()
                self.send_response(said if isinstance(said, int) else 200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet: what came is in `seen`."""

        return Responder

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def faulty_node(upstream: str) -> Iterator[FaultyNode]:
    """A FaultyNode before the chain at `upstream`, without faults yet."""
    node = FaultyNode(upstream)
    thread = threading.Thread(target=node.serve, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        node.close()
        thread.join()


def once(fault: Fault) -> Fault:
    """The fault on the first request only; later ones reach the chain."""
    left = [fault]

    def choose(given: list[Any], ask: Callable[[], dict[str, Any]]) -> Answer:
        return left.pop()(given, ask) if left else ask()

    return choose
