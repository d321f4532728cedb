"""The requester's web server, which serves jobs' data and can be told to do so badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Literal

from tests.oracle_worker.site import running_site, serve

Manner = Literal["well", "slowly", "truncated", "corrupt", "gone", "hanging"]
LONGEST_HANG = 30.0


class DataServer:
    """Serves `files` by path, at `url` while it runs."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.url = ""
        self._manner: Manner = "well"
        self._changed = threading.Event()

    @contextmanager
    def serving(self, manner: Manner) -> Iterator[None]:
        """Serve in this manner for a while; what is slow or hangs goes on at its end."""
        self._changed.clear()
        self._manner = manner
        try:
            yield
        finally:
            self._manner = "well"
            self._changed.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the end of the block."""
        with running_site(self._answer) as site:
            self.url = site.url
            try:
                yield
            finally:
                self._changed.set()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        data, manner = self.files.get(request.path), self._manner
        if data is None or manner == "gone":
            return serve(request, b"", 404)
        if manner == "hanging":
            self._changed.wait(LONGEST_HANG)
        if manner == "truncated":
            data = data[: len(data) // 2]
        if manner == "corrupt":
            data = bytes([data[0] ^ 1]) + data[1:]
        if manner != "slowly":
            return serve(request, data)
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[:1])
        self._changed.wait(LONGEST_HANG)
        request.wfile.write(data[1:])
        return None
