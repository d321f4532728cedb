"""Rows published where workers find them, and nothing submitted where that failed."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.job import Terms
from coordinator.cli.failures import ExitCode
from coordinator.cli.publishing import write_to_folder
from coordinator.cli.rows import input_tree
from oracle_worker import settings
from oracle_worker.data import DataStore
from oracle_worker.data_file import piece_roots
from tests.buckets import BUCKET, Buckets, running_buckets
from tests.coordinator.cli.conftest import Chain, Cli
from tests.coordinator.cli.ipfs_node import IpfsNode
from tests.coordinator.cli.lives import Life, stake_everything
from tests.oracle_worker.site import Site, running_site, serve

ROWS = np.random.default_rng(5).integers(0, 256, (3000, 13), np.uint8)
TREE = input_tree(ROWS, lambda done, total: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.bin"
    path.write_bytes(ROWS.tobytes())
    return path


@pytest.fixture
def job(network: Chain, wine_id: bytes, requester: str, data: Path) -> tuple[object, ...]:
    """What a job over the rows is submitted with, but for where they are."""
    stake_everything(network, network.contracts.oracle.min_seat_stake(wine_id, len(ROWS)) * 2 // 10**9 * 10**9)
    return ("--model", "wine-grading", "--data", data, "--reward", "0.01 ether", "--seats", 1, "--quorum", 1)


@pytest.fixture(scope="module")
def server() -> Iterator[Buckets]:
    with running_buckets() as made:
        yield made


@pytest.fixture
def node() -> Iterator[tuple[Site, IpfsNode]]:
    node = IpfsNode()

    def answer(request: BaseHTTPRequestHandler) -> None:
        node.answer(request, site.posted[-1] if site.posted else b"")

    with running_site(answer) as site:
        yield site, node


def as_worker(folder: Path, terms: Terms, uri: str, **given: Any) -> bytes:
    """The rows as a worker finds them."""
    store = DataStore(folder, settings.load(chunk_depth=10, **given))
    found = store.fetch(terms, uri, 13)
    return b"".join(block.tobytes() for chunk in range(found.plan.count) for block in found.blocks(chunk))


def test_rows_and_the_roots_of_their_pieces_are_written_to_a_folder(tmp_path: Path) -> None:
    path = write_to_folder(tmp_path / "a b", TREE, ROWS)
    assert path.read_bytes() == ROWS.tobytes()
    assert path.with_name(f"{path.name}.roots").read_bytes() == piece_roots(TREE)
    assert len(piece_roots(TREE)) == 3 * 32
    few = input_tree(ROWS[:1024], lambda done, total: None)
    path = write_to_folder(tmp_path / "few", few, ROWS[:1024])
    assert [one.name for one in path.parent.iterdir()] == [f"{few.root.hex()}.rows"]


def test_rows_are_published_to_a_bucket_and_fetched_from_there_by_anybody(
    cli: Cli, network: Chain, job: tuple[object, ...], server: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec.config

    monkeypatch.setitem(fsspec.config.conf, "s3", server.configured(public=True))
    ran = cli("job", "submit", *job, "--publish", f"s3://{BUCKET}/jobs/", "--json")
    assert ran.code == 0, ran.err
    uri = f"s3://{BUCKET}/jobs/{TREE.root.hex()}.rows"
    assert (ran.data["data_uri"], ran.data["published"]) == (uri, [uri])
    view = Life(network, bytes.fromhex(ran.data["job_id"][2:])).view()
    assert view.data_uri == uri
    assert as_worker(tmp_path / "worker", view.terms, uri) == ROWS.tobytes()


def test_nothing_is_submitted_where_workers_could_not_read_what_was_published(
    cli: Cli, network: Chain, job: tuple[object, ...], server: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec.config

    before = network.nonce(0)
    monkeypatch.setitem(fsspec.config.conf, "s3", server.configured(public=False))
    ran = cli("job", "submit", *job, "--publish", f"s3://{BUCKET}/mine")
    assert ran.code == ExitCode.FAILED and "let everybody read" in ran.err, ran.err
    ran = cli("job", "submit", *job, "--publish", "s3://no-such-bucket/x")
    assert ran.code == ExitCode.FAILED and "nothing was submitted" in ran.err, ran.err
    assert network.nonce(0) == before


def test_rows_are_published_to_an_ipfs_node_and_fetched_by_a_gateway(
    cli: Cli, network: Chain, job: tuple[object, ...], node: tuple[Site, IpfsNode], tmp_path: Path
) -> None:
    site, ipfs = node
    place = site.url.replace("http://", "ipfs://")
    ran = cli("job", "submit", *job, "--publish", place, "--json")
    assert ran.code == 0, ran.err
    uri = ran.data["data_uri"]
    name = f"{TREE.root.hex()}.rows"
    assert uri == f"ipfs://{next(iter(ipfs.files)).partition('/')[0]}/{name}"
    assert {path.partition("/")[2] for path in ipfs.files} == {name, f"{name}.roots"}
    terms = Life(network, bytes.fromhex(ran.data["job_id"][2:])).view().terms
    assert as_worker(tmp_path / "worker", terms, uri, data_ipfs_gateways=(site.url,)) == ROWS.tobytes()
    assert site.seen[-2:] == [f"/ipfs/{uri.removeprefix('ipfs://')}.roots", f"/ipfs/{uri.removeprefix('ipfs://')}"]


def test_nothing_is_submitted_where_publishing_failed(
    cli: Cli, network: Chain, job: tuple[object, ...], node: tuple[Site, IpfsNode], data: Path
) -> None:
    before = network.nonce(0)
    site, ipfs = node
    place = site.url.replace("http://", "ipfs://")
    ipfs.lies = True
    (data.parent / "file").write_text("no folder")
    for where, code, complaint in (
        (place, ExitCode.FAILED, "did not add what it was given"),
        (f"{place}/elsewhere", ExitCode.FAILED, "404"),
        ("ipfs://127.0.0.1:9", ExitCode.FAILED, "nothing was submitted (ConnectError"),
        ("ftp://user:word@host/x", ExitCode.USAGE, "s3://BUCKET/PREFIX"),
        (data.parent / "file" / "below", ExitCode.BAD_INPUT, "below"),
    ):
        ran = cli("job", "submit", *job, "--publish", where)
        assert ran.code == code and complaint in ran.err, ran.err
        assert "word" not in ran.err
    assert network.nonce(0) == before


def test_several_places_are_announced_and_a_local_file_only_where_it_is_the_only_one(
    cli: Cli, network: Chain, job: tuple[object, ...], node: tuple[Site, IpfsNode], tmp_path: Path
) -> None:
    with running_site(lambda request: serve(request, ROWS.tobytes())) as web:
        places = ("--publish", tmp_path / "folder", "--publish", node[0].url.replace("http://", "ipfs://"))
        ran = cli("job", "submit", *job, *places, "--data-uri", f"{web.url}/rows", "--json")
    assert ran.code == 0, ran.err
    first, second = ran.data["data_uri"].split(" ")
    assert first == f"{web.url}/rows" and second.startswith("ipfs://bafy")
    assert len(ran.data["published"]) == 2
    for wrong in (["--data-uri", "https://x/y z"], ["--data-uri", "https://x/y"] * 9):
        ran = cli("job", "submit", *job, *wrong)
        assert ran.code == ExitCode.USAGE, ran.err
