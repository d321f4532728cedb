"""An IPFS node as far as publishing goes: it adds files by its RPC API, and serves them below /ipfs/ like a gateway."""

from __future__ import annotations

import json
from email.parser import BytesParser
from email.policy import HTTP
from hashlib import sha256
from http.server import BaseHTTPRequestHandler

from tests.oracle_worker.site import serve


class IpfsNode:
    """`files` by their path below /ipfs/; `lies` makes it add less than it was given."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lies = False

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """One request."""
        if request.path.startswith("/api/v0/add?") and "wrap-with-directory=true" in request.path:
            return self._add(request, body)
        content = self.files.get(request.path.removeprefix("/ipfs/"))
        return request.send_error(404) if content is None else serve(request, content)

    def _add(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        parts = {
            str(part.get_filename()): part.get_payload(decode=True)
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()  # type: ignore[attr-defined]
        }
        folder = "bafy" + sha256(body).hexdigest()[:55]
        if self.lies:
            parts.popitem()
        self.files |= {f"{folder}/{name}": content for name, content in parts.items()}
        lines = [{"Name": name, "Hash": "bafk" + sha256(content).hexdigest()} for name, content in parts.items()]
        serve(request, "\n".join(json.dumps(line) for line in [*lines, {"Name": "", "Hash": folder}]).encode())
