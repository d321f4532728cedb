"""An S3 server on loopback, where what is written is everybody's to read or the writer's alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.requirements import missing

BUCKET = "bucket"


@dataclass(frozen=True)
class Buckets:
    """`configuration` is what fsspec must know of the server."""

    url: str
    configuration: dict[str, Any] = field(default_factory=dict)

    def configured(self, *, public: bool) -> dict[str, Any]:
        """The same for a writer whose objects everybody may read, or nobody else."""
        return {**self.configuration, **({"s3_additional_kwargs": {"ACL": "public-read"}} if public else {})}

    def put(self, name: str, content: bytes, *, public: bool = True) -> str:
        """The URI of a new object."""
        from s3fs import S3FileSystem

        writer = S3FileSystem(**self.configured(public=public))
        writer.pipe_file(f"{BUCKET}/{name}", content)
        return f"s3://{BUCKET}/{name}"


@contextmanager
def running_buckets() -> Iterator[Buckets]:
    try:
        from moto.server import ThreadedMotoServer
        from s3fs import S3FileSystem
    except ImportError:
        missing("S3", "pip install 'quorate[dev]'")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        made = Buckets(url, {"endpoint_url": url, "key": "owner", "secret": "secret"})
        httpx.post(f"{url}/moto-api/reset").raise_for_status()  # its buckets are the process's
        S3FileSystem(**made.configuration, skip_instance_cache=True).mkdir(BUCKET)
        yield made
    finally:
        server.stop()
