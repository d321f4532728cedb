"""A job's rows put where workers find them: into a folder, a bucket, or an IPFS node."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from contracts.merkle import MerkleTree
from coordinator.cli.failures import ExitCode, Refusal
from oracle_worker import disk, settings
from oracle_worker.data_errors import DataRefused, shown_uri
from oracle_worker.data_file import piece_roots
from oracle_worker.sources import open_store

WRITE_BYTES = 8 << 20
IPFS_SECONDS = httpx.Timeout(600.0, connect=10.0)
"""How long an IPFS node may take over what it was given."""
_IPFS = {"ipfs": "http", "ipfs+http": "http", "ipfs+https": "https"}


def publish(place: str, inputs: MerkleTree, rows: NDArray[np.uint8]) -> str:
    """Put the rows, and beside them the roots of their pieces, to a place; the URI where workers find them.

    place: a folder; s3://BUCKET/PREFIX, or another store of fsspec; ipfs://HOST:PORT or ipfs+https://HOST, the RPC API of an
    IPFS node. Raises Refusal, OSError for a folder.
    """
    scheme = place.partition("://")[0].lower() if "://" in place else ""
    if not scheme:
        return write_to_folder(Path(place), inputs, rows).as_uri()
    with _telling(place):
        if scheme in _IPFS:
            return _add_to_ipfs(f"{_IPFS[scheme]}://{place.partition('://')[2].rstrip('/')}", inputs, rows)
        if scheme in settings.load().data_stores:
            return _put_to_store(place, scheme, inputs, rows)
    raise Refusal(
        ExitCode.USAGE,
        f"--publish {shown_uri(place)}: rows are published to a folder, s3://BUCKET/PREFIX, or ipfs://HOST:PORT",
    )


def write_to_folder(folder: Path, inputs: MerkleTree, rows: NDArray[np.uint8]) -> Path:
    """Write the rows to a file of the folder named after their root; the file's absolute path. Raises OSError."""
    path = folder.expanduser().absolute() / f"{inputs.root.hex()}.rows"
    path.parent.mkdir(parents=True, exist_ok=True)
    if roots := piece_roots(inputs):
        disk.write(path.with_name(f"{path.name}.roots"), roots)
    with disk.writing(path) as file:
        _write(file, rows)
    return path


def _put_to_store(place: str, scheme: str, inputs: MerkleTree, rows: NDArray[np.uint8]) -> str:
    uri = f"{place.rstrip('/')}/{inputs.root.hex()}.rows"
    store, path = open_store(uri, scheme, signed=True)
    with tempfile.NamedTemporaryFile() as file:
        _write(file, rows)
        file.flush()
        store.put_file(file.name, path)
    if roots := piece_roots(inputs):
        store.pipe_file(f"{path}.roots", roots)
    if (size := int(store.info(path)["size"])) != rows.nbytes:
        raise OSError(f"{size} bytes arrived of {rows.nbytes}")
    return uri


def _add_to_ipfs(api: str, inputs: MerkleTree, rows: NDArray[np.uint8]) -> str:
    """In a directory of their own, because the roots of the pieces lie beside the rows."""
    name = f"{inputs.root.hex()}.rows"
    with tempfile.TemporaryFile() as file:
        _write(file, rows)
        file.seek(0)
        parts: list[tuple[str, Any]] = [("file", (name, file))]
        if roots := piece_roots(inputs):
            parts.append(("file", (f"{name}.roots", roots)))
        answer = httpx.post(
            f"{api}/api/v0/add",
            params={"wrap-with-directory": "true", "cid-version": "1", "pin": "true"},
            files=parts,
            timeout=IPFS_SECONDS,
            trust_env=False,
        )
    answer.raise_for_status()
    added = {one.get("Name"): one.get("Hash") for one in map(json.loads, answer.text.splitlines())}
    if set(added) != {"", *(part[0] for _, part in parts)} or not all(isinstance(cid, str) for cid in added.values()):
        raise ValueError("the node did not add what it was given")
    return f"ipfs://{added['']}/{name}"


def _write(file: Any, rows: NDArray[np.uint8]) -> None:
    step = max(1, WRITE_BYTES // rows.shape[1])
    for start in range(0, len(rows), step):
        file.write(rows[start : start + step].tobytes())


@contextmanager
def _telling(place: str) -> Iterator[None]:
    try:
        yield
    except DataRefused as refusal:
        raise Refusal(ExitCode.BAD_INPUT, str(refusal)) from refusal
    except Exception as error:  # every store has errors of its own
        reason = f"{type(error).__name__}: {str(error)[:200]}" if str(error) else type(error).__name__
        raise Refusal(
            ExitCode.FAILED,
            f"publishing to {shown_uri(place)} failed, and nothing was submitted ({reason}): does it exist, is it reachable, "
            "and may you write to it?",
        ) from error
