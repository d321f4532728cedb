"""A job's rows where others find them: published, announced, and fetched from there and held against their root."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from contracts.job import Terms
from contracts.merkle import MerkleTree
from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.publishing import publish
from oracle_worker import settings
from oracle_worker.data import DataStore
from oracle_worker.data_errors import DataError
from oracle_worker.data_file import DataSet
from oracle_worker.job_codec import LONGEST_URI
from oracle_worker.routes import MOST_ANNOUNCED

ANYWHERE = (Path("/"),)
"""Whoever types a command may read their own files; only a worker, which follows a stranger's URI, may not."""

Places = Annotated[
    list[str] | None,
    typer.Option(
        "--publish",
        metavar="PLACE",
        help="Where to put the rows: a folder, s3://BUCKET/PREFIX, or ipfs://HOST:PORT of a node's RPC API. May be repeated.",
    ),
]
Uris = Annotated[
    list[str] | None,
    typer.Option(
        "--data-uri",
        metavar="URI",
        help="Where workers find the rows: file:, http:, https:, ipfs: or s3:. Fetched and checked first. May be repeated.",
    ),
]


@dataclass(frozen=True, slots=True)
class Announced:
    """Where workers will find the rows."""

    uri: str
    """What goes on chain: one URI, or several with spaces between."""
    published: tuple[str, ...]
    """The URIs that were published to now."""
    given: tuple[str, ...]
    """Those that somebody else serves: they are for us to check."""

    def check(self, setup: Setup, terms: Terms, row_length: int, *, given: bool = True) -> None:
        """Fetch what is served (with `given`) and what was published to a store, as a worker will. Raises DataError."""
        stores = settings.load().data_stores
        with setup.out.progress("fetching the rows to check them"):
            for uri in self.given if given else ():
                check_served(setup, terms, uri, row_length)
            for uri in self.published:
                if uri.partition("://")[0].lower() in stores:
                    _check_readable(setup, terms, uri, row_length)


def need_somewhere(publish_to: Sequence[str] | None, data_uris: Sequence[str] | None) -> None:
    """Raises Refusal unless workers are told where to find the rows."""
    if not publish_to and not data_uris:
        raise Refusal(
            ExitCode.USAGE,
            "say where workers find the rows: --publish PLACE puts them there, --data-uri URI names them",
        )


def announce(
    setup: Setup,
    publish_to: Sequence[str] | None,
    data_uris: Sequence[str] | None,
    inputs: MerkleTree,
    rows: NDArray[np.uint8],
) -> Announced:
    """Publish the rows, and announce the given URIs and what was published. A file of this machine is announced only if there
    is nothing else. Raises Refusal, OSError."""
    need_somewhere(publish_to, data_uris)
    given = tuple(data_uris or ())
    if any(" " in uri for uri in given):
        raise Refusal(ExitCode.USAGE, "a URI has no spaces: give --data-uri once for each")
    published = []
    for place in publish_to or ():
        with setup.out.progress("publishing the rows"):
            published.append(publish(place, inputs, rows))
    elsewhere = [*given, *(uri for uri in published if not uri.startswith("file:"))]
    uri = " ".join(elsewhere or published)
    if len(uri) > LONGEST_URI or len(uri.split(" ")) > MOST_ANNOUNCED:
        raise Refusal(
            ExitCode.USAGE,
            f"workers follow up to {MOST_ANNOUNCED} URIs of {LONGEST_URI} characters together: name fewer",
        )
    return Announced(uri, tuple(published), given)


def check_served(setup: Setup, terms: Terms, uri: str, row_length: int) -> None:
    """Fetch the rows as a worker will, past every cache. Raises oracle_worker.data_errors.DataError."""
    allowed = settings.load(data_folders=ANYWHERE, data_private_addresses=True, data_mirrors=())
    cache = setup.home / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        DataStore(Path(folder), allowed).fetch(terms, uri, row_length)


def fetch(setup: Setup, terms: Terms, uri: str, row_length: int) -> DataSet:
    """The rows, verified against terms.data_root and kept. Raises oracle_worker.data_errors.DataError."""
    return DataStore(setup.home / "cache" / "data", settings.load(data_folders=ANYWHERE)).fetch(terms, uri, row_length)


def _check_readable(setup: Setup, terms: Terms, uri: str, row_length: int) -> None:
    try:
        check_served(setup, terms, uri, row_length)
    except DataError as error:
        raise Refusal(
            ExitCode.FAILED,
            f"it was published, but a worker could not read it, and nothing was submitted ({error}): let everybody read "
            "what is in the bucket",
        ) from error
