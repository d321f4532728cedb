"""What a process tells about itself, over HTTP on loopback: /metrics for Prometheus, /healthz for whoever restarts it.

Nothing here is secret: addresses, amounts, counts and hosts without what may be secret in their URLs.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from contracts.endpoint import Call, ChainError, Endpoint
from contracts.transactor import Receipt, Transactor, cost

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""Nobody else's business: a proxy or an agent on the same machine passes on what others may see."""
ETHER = 10**18

Health: TypeAlias = Callable[[], tuple[bool, Mapping[str, Any]]]
"""Whether the process does its work, and what says so."""


class NodeGauges:
    """How the nodes behind an endpoint do, as of the last comparison."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["node"]
        self._head = Gauge("quorate_node_head", "Newest block of a node.", labels, registry=registry)
        self._lag = Gauge("quorate_node_lag_blocks", "Blocks behind the newest of all.", labels, registry=registry)
        self._fit = Gauge("quorate_node_fit", "Whether a node is believed: 1 or 0.", labels, registry=registry)

    def update(self, endpoint: Endpoint) -> None:
        """Take the nodes' standings."""
        standings = endpoint.standings()
        newest = max((one.head for one in standings if one.head is not None), default=0)
        for one in standings:
            self._fit.labels(one.shown).set(one.is_fit)
            if one.head is not None:
                self._head.labels(one.shown).set(one.head)
                self._lag.labels(one.shown).set(newest - one.head)


class SignerMetrics:
    """What a signer did and spent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._done = Counter(
            "quorate_duties_done", "Duties that a block holds the effect of.", ["duty"], registry=self.registry
        )
        self._landed = Counter("quorate_transactions", "Transactions in a block.", ["status"], registry=self.registry)
        self._spent = Counter("quorate_gas_spent_wei", "Wei paid for gas.", registry=self.registry)
        self._wallet = Gauge("quorate_wallet_ether", "Ether in the wallet, for gas and bonds.", registry=self.registry)
        for status in ("succeeded", "failed"):
            self._landed.labels(status)

    def duty_done(self, duty: str) -> None:
        """A duty's transaction had its effect."""
        self._done.labels(duty).inc()

    def landed(self, _: Call, receipt: Receipt) -> None:
        """A block holds a transaction."""
        self._landed.labels("succeeded" if receipt["status"] == 1 else "failed").inc()
        self._spent.inc(cost(receipt))

    def watch(self, transactor: Transactor) -> Health:
        """Keep the wallet's gauge; the signer is healthy as long as a node tells it."""

        def health() -> tuple[bool, Mapping[str, Any]]:
            try:
                wei = transactor.balance()
            except ChainError as error:
                return False, {"error": str(error)}
            self._wallet.set(wei / ETHER)
            return True, {"worker": transactor.sender, "wallet_wei": str(wei)}

        return health


@contextmanager
def monitoring(port: int | None, registries: Sequence[CollectorRegistry], health: Health) -> Iterator[int | None]:
    """Serve until the block ends, where a port is given (0: any that is free); the port. Raises OSError if it is taken."""
    if port is None:
        yield None
        return
    server = ThreadingHTTPServer((HOST, port), _responder(registries, health))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    log.info("metrics and health on http://%s:%d", HOST, server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _responder(registries: Sequence[CollectorRegistry], health: Health) -> type[BaseHTTPRequestHandler]:
    class Responder(BaseHTTPRequestHandler):
        timeout = 10  # a client that says nothing holds no thread for longer
        server_version = "quorate"
        sys_version = ""

        def do_GET(self) -> None:
            if not _is_local(self.headers.get("Host", "")):
                self._answer(403, "text/plain", b"ask for 127.0.0.1\n")  # a page in a browser, by a name of its own
            elif self.path == "/metrics":
                health()  # some gauges are set by it
                self._answer(200, CONTENT_TYPE_LATEST, b"".join(map(generate_latest, registries)))
            elif self.path == "/healthz":
                is_well, facts = health()
                body = json.dumps({"healthy": is_well, **facts}).encode() + b"\n"
                self._answer(200 if is_well else 503, "application/json", body)
            else:
                self._answer(404, "text/plain", b"/metrics and /healthz are here\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: it is asked every few seconds."""

    return Responder


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host else host
    return name in ("127.0.0.1", "localhost")
