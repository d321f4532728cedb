"""Several routes to the same data: where one stops the next goes on, and what a liar began spoils nobody's data."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from contracts.merkle import MerkleTree, input_leaf
from oracle_worker import disk, routes, settings, sources
from oracle_worker.data import DataStore, Need
from oracle_worker.data_errors import DataMismatch, DataRefused, DataSizeMismatch, DataUnavailable
from oracle_worker.data_file import piece_roots
from oracle_worker.routes import Route
from tests.oracle_worker.site import running_site, serve
from tests.oracle_worker.test_data import TERMS as SMALL

ROWS = np.random.default_rng(12).integers(0, 256, (5000, 7), np.uint8)
BYTES = ROWS.tobytes()
TREE = MerkleTree([input_leaf(row.tobytes()) for row in ROWS])
TERMS = dataclasses.replace(SMALL, data_root=TREE.root, item_count=len(ROWS))
CHUNK = 7 << 10
"""Bytes of a chunk."""
Answer: TypeAlias = Callable[[BaseHTTPRequestHandler], None]


def store(tmp_path: Path, **given: Any) -> DataStore:
    given = {"chunk_depth": 10, "data_folders": (tmp_path / "allowed",), "data_private_addresses": True} | given
    return DataStore(tmp_path / "cache", settings.load(**given))


def start_of(request: BaseHTTPRequestHandler) -> int:
    """From which byte on the client asks."""
    return int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


def serve_from(request: BaseHTTPRequestHandler, content: bytes, start: int, most: int | None = None) -> None:
    """As a server that knows ranges; with `most`, the connection ends after so many bytes."""
    request.send_response(206 if start else 200)
    request.send_header("Content-Length", str(len(content) - start))
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    request.end_headers()
    request.wfile.write(content[start:][:most])


def rows_only(answer: Answer) -> Answer:
    """A server that has no roots beside the rows."""

    def choose(request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith(".roots"):
            request.send_error(404)
        else:
            answer(request)

    return choose


def with_roots(answer: Answer, roots: bytes) -> Answer:
    def choose(request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith(".roots"):
            serve(request, roots)
        else:
            answer(request)

    return choose


def bytes_in(found: Any) -> bytes:
    return b"".join(block.tobytes() for chunk in range(found.plan.count) for block in found.blocks(chunk))


def drafts(tmp_path: Path) -> list[int]:
    """The sizes of what is half fetched."""
    return [path.stat().st_size for path in (tmp_path / "cache").glob("*.part")]


def test_a_connection_that_breaks_again_and_again_is_continued_where_it_stopped(tmp_path: Path) -> None:
    starts = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        starts.append(start_of(request))
        serve_from(request, BYTES, starts[-1], most=2 * CHUNK + 11)

    with running_site(rows_only(answer)) as site:
        found = store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)
    assert bytes_in(found) == BYTES
    assert starts == [0, 2 * CHUNK + 11, 4 * CHUNK + 22]


def test_what_is_half_fetched_is_continued_by_another_process(tmp_path: Path) -> None:
    starts = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        starts.append(start_of(request))
        if len(starts) == 2:
            request.send_error(503)
        else:
            serve_from(request, BYTES, starts[-1], most=3 * CHUNK + 5 if len(starts) == 1 else None)

    with running_site(rows_only(answer)) as site:
        with pytest.raises(DataUnavailable, match="503"):
            store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)
        assert drafts(tmp_path) == [3 * CHUNK + 5]
        assert bytes_in(store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)) == BYTES
    assert starts == [0, 3 * CHUNK + 5, 3 * CHUNK + 5]
    assert drafts(tmp_path) == []


def test_the_next_route_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    starts = []

    def half(request: BaseHTTPRequestHandler) -> None:
        serve_from(request, BYTES, start_of(request), most=0 if start_of(request) else 3 * CHUNK)

    def rest(request: BaseHTTPRequestHandler) -> None:
        starts.append(start_of(request))
        serve_from(request, BYTES, starts[-1])

    with running_site(rows_only(half)) as first, running_site(rows_only(rest)) as second:
        uris = f"{first.url}/rows {second.url}/rows"
        assert bytes_in(store(tmp_path).fetch(TERMS, uris, 7)) == BYTES
    assert starts == [3 * CHUNK]


def test_a_server_that_knows_no_ranges_is_read_from_the_beginning(tmp_path: Path) -> None:
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(start_of(request))
        request.send_response(200)
        request.send_header("Content-Length", str(len(BYTES)))
        request.end_headers()
        request.wfile.write(BYTES if len(asked) > 1 else BYTES[: 2 * CHUNK + 3])

    with running_site(rows_only(answer)) as site:
        assert bytes_in(store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)) == BYTES
    assert asked == [0, 2 * CHUNK + 3]


@pytest.mark.parametrize("lie", ["other part", "nothing left", "partial at first"])
def test_a_server_that_lies_about_what_it_sends_is_not_followed(tmp_path: Path, lie: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        start = start_of(request)
        if start == 0 and lie != "partial at first":
            return serve_from(request, BYTES, 0, most=2 * CHUNK)
        request.send_response(416 if lie == "nothing left" else 206)
        request.send_header("Content-Range", f"bytes {start + 7}-{len(BYTES) - 1}/{len(BYTES)}")
        request.send_header("Content-Length", "7")
        request.end_headers()
        request.wfile.write(BYTES[:7])
        return None

    with running_site(rows_only(answer)) as site, pytest.raises(DataUnavailable):
        store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)


@pytest.mark.parametrize("announced", [len(BYTES) - 1, len(BYTES) + 1, 10**15])
def test_a_server_that_lies_about_the_length_is_found_out(tmp_path: Path, announced: int) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(announced))
        request.end_headers()
        request.wfile.write(BYTES + b"more" * 8)

    with running_site(rows_only(answer)) as site, pytest.raises((DataSizeMismatch, DataUnavailable)):
        store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)


def spoilt(chunk: int) -> bytes:
    content = bytearray(BYTES)
    content[chunk * CHUNK + 100] ^= 1
    return bytes(content)


def test_a_wrong_chunk_is_noticed_when_it_comes_and_fetched_again_alone(tmp_path: Path) -> None:
    starts = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        starts.append(start_of(request))
        serve_from(request, spoilt(2) if len(starts) == 1 else BYTES, starts[-1])

    with running_site(with_roots(answer, piece_roots(TREE))) as site:
        assert bytes_in(store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)) == BYTES
    assert starts == [0, 2 * CHUNK]


def test_a_chunk_that_stays_wrong_is_taken_from_the_next_route(tmp_path: Path) -> None:
    starts: dict[str, list[int]] = {"bad": [], "good": []}

    def answer(request: BaseHTTPRequestHandler) -> None:
        which = request.path.strip("/")
        starts[which].append(start_of(request))
        serve_from(request, spoilt(2) if which == "bad" else BYTES, starts[which][-1])

    with running_site(with_roots(answer, piece_roots(TREE))) as site:
        found = store(tmp_path).fetch(TERMS, f"{site.url}/bad {site.url}/good", 7)
    assert bytes_in(found) == BYTES
    assert starts == {"bad": [0, 2 * CHUNK], "good": [2 * CHUNK]}


def test_a_spoilt_beginning_that_nobody_vouches_for_does_not_spoil_the_next_route(tmp_path: Path) -> None:
    starts = []

    def liar(request: BaseHTTPRequestHandler) -> None:
        serve_from(request, spoilt(0), start_of(request), most=0 if start_of(request) else 4 * CHUNK)

    def honest(request: BaseHTTPRequestHandler) -> None:
        starts.append(start_of(request))
        serve_from(request, BYTES, starts[-1])

    with running_site(rows_only(liar)) as first, running_site(rows_only(honest)) as second:
        found = store(tmp_path).fetch(TERMS, f"{first.url}/rows {second.url}/rows", 7)
    assert bytes_in(found) == BYTES
    assert starts == [4 * CHUNK, 0]


def test_a_spoilt_beginning_is_found_by_roots_that_come_later(tmp_path: Path) -> None:
    starts = []

    def liar(request: BaseHTTPRequestHandler) -> None:
        serve_from(request, spoilt(1), start_of(request), most=0 if start_of(request) else 4 * CHUNK)

    def honest(request: BaseHTTPRequestHandler) -> None:
        starts.append(start_of(request))
        serve_from(request, BYTES, starts[-1])

    with (
        running_site(rows_only(liar)) as first,
        running_site(with_roots(honest, piece_roots(TREE))) as second,
    ):
        found = store(tmp_path).fetch(TERMS, f"{first.url}/rows {second.url}/rows", 7)
    assert bytes_in(found) == BYTES
    assert starts == [CHUNK]


@pytest.mark.parametrize("roots", [bytes(160), piece_roots(TREE)[:-1], b"", b"x" * 10**6])
def test_roots_that_are_not_the_datas_are_passed_over(tmp_path: Path, roots: bytes) -> None:
    with running_site(with_roots(lambda request: serve(request, BYTES), roots)) as site:
        assert bytes_in(store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)) == BYTES


def test_wrong_data_from_every_route_is_told_and_nothing_of_it_kept(tmp_path: Path) -> None:
    with running_site(rows_only(lambda request: serve(request, spoilt(4)))) as site:
        with pytest.raises(DataMismatch):
            store(tmp_path).fetch(TERMS, f"{site.url}/a {site.url}/b", 7)
        assert [path for path in site.seen if not path.endswith(".roots")] == ["/a", "/b"]
    assert list((tmp_path / "cache").iterdir()) == []


def test_one_refused_route_hides_neither_the_others_nor_that_they_failed(tmp_path: Path) -> None:
    with running_site(rows_only(lambda request: serve(request, BYTES))) as site:
        uris = f"file:///etc/passwd ftp://x/y {site.url}/rows"
        assert bytes_in(store(tmp_path).fetch(TERMS, uris, 7)) == BYTES
    with pytest.raises(DataUnavailable, match=r"127\.0\.0\.1"):
        store(tmp_path).fetch(SMALL, f"file:///etc/passwd {site.url}/rows", 7)
    with pytest.raises(DataRefused):
        store(tmp_path).fetch(SMALL, "file:///etc/passwd ftp://x/y", 7)


def test_no_job_makes_us_follow_more_than_a_few_uris(tmp_path: Path) -> None:
    uris = " ".join(["http://127.0.0.1:9/x"] * (routes.MOST_ANNOUNCED + 1))
    with pytest.raises(DataRefused, match="1 to 8 are followed"):
        store(tmp_path).fetch(TERMS, uris, 7)


def test_an_ipfs_uri_is_tried_at_each_gateway(tmp_path: Path) -> None:
    cid = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    with (
        running_site(lambda request: request.send_error(504)) as dead,
        running_site(rows_only(lambda request: serve(request, BYTES))) as gateway,
    ):
        here = store(tmp_path, data_ipfs_gateways=(dead.url, f"{gateway.url}/"), data_private_addresses=False)
        assert bytes_in(here.fetch(TERMS, f"ipfs://{cid}/a.rows", 7)) == BYTES
    assert dead.seen[-1] == gateway.seen[-1] == f"/ipfs/{cid}/a.rows"
    with pytest.raises(DataRefused, match="QUORATE_DATA_IPFS_GATEWAYS"):
        store(tmp_path, data_ipfs_gateways=()).fetch(SMALL, f"ipfs://{cid}", 7)


@pytest.mark.parametrize(
    "uri",
    ["ipfs://x", "ipfs:///etc/passwd", "ipfs://127.0.0.1/x", "ipfs://{cid}/../../api/v0/id", "ipfs://{cid}/%2e%2e/x",
     "ipfs://{cid}/a//b", "ipfs://{cid}/a?filename=x", "ipfs://{cid}/%2e%2e%2fx", "ipfs://user@{cid}", "ipfs://[",
     "ipfs:{cid}"],
)  # fmt: skip
def test_an_ipfs_uri_leads_nowhere_else_at_the_gateway(uri: str) -> None:
    given = settings.load(data_ipfs_gateways=("http://127.0.0.1:1",))
    with pytest.raises(DataRefused):
        routes.routes(uri.format(cid="Q" * 46), bytes(32), given)


def test_a_gateway_or_mirror_that_the_operator_named_may_be_at_home_but_leads_nowhere_else_there(
    tmp_path: Path,
) -> None:
    with running_site(rows_only(lambda request: serve(request, BYTES))) as inner:

        def answer(request: BaseHTTPRequestHandler) -> None:
            if "away" in request.path:
                request.send_response(302)
                request.send_header("Location", f"{inner.url}/secret")
                request.end_headers()
            else:
                serve(request, BYTES)

        with running_site(rows_only(answer)) as mirror:
            home = {"data_private_addresses": False, "data_ipfs_gateways": (f"{mirror.url}/away",)}
            with pytest.raises(DataRefused, match="not a public address"):
                store(tmp_path, **home).fetch(TERMS, "ipfs://" + "Q" * 46, 7)
            assert inner.seen == []
            found = store(tmp_path, data_private_addresses=False, data_mirrors=(mirror.url,)).fetch(
                TERMS, f"{inner.url}/rows", 7
            )
            assert bytes_in(found) == BYTES
            assert inner.seen == []
            assert mirror.seen[-1] == f"/{TERMS.data_root.hex()}"


def test_a_name_that_turns_to_the_metadata_service_is_refused_when_the_download_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = socket.getaddrinfo
    answers = iter(["93.184.215.14", "169.254.169.254"])
    asked = []

    def resolve(host: Any, port: Any, *given: Any, **more: Any) -> Any:
        if host != "rebinding.example":
            return genuine(host, port, *given, **more)
        asked.append(next(answers))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (asked[-1], port))]

    with running_site(rows_only(lambda request: serve_from(request, BYTES, start_of(request), most=2 * CHUNK))) as site:
        port = site.server.server_port

        def connect(self: Any, address: str, *given: Any) -> Any:
            return reach(self, "127.0.0.1" if address == "93.184.215.14" else address, *given)

        from oracle_worker.download import _GuardedBackend

        reach = _GuardedBackend._connect
        monkeypatch.setattr(_GuardedBackend, "_connect", connect)
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(DataRefused, match=r"169\.254\.169\.254"):
            store(tmp_path, data_private_addresses=False).fetch(TERMS, f"http://rebinding.example:{port}/rows?x", 7)
    assert asked == ["93.184.215.14", "169.254.169.254"]


def test_a_link_that_is_turned_elsewhere_after_it_was_checked_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "allowed"
    folder.mkdir()
    (folder / "rows.bin").write_bytes(BYTES)
    (tmp_path / "secret.bin").write_bytes(BYTES)
    genuine = sources._open

    def swap(path: Path) -> Any:
        path.unlink()
        path.symlink_to(tmp_path / "secret.bin")
        return genuine(path)

    monkeypatch.setattr(sources, "_open", swap)
    with pytest.raises(DataRefused, match="while it was opened"):
        store(tmp_path).fetch(TERMS, (folder / "rows.bin").as_uri(), 7)


def test_a_link_in_the_cache_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    with running_site(rows_only(lambda request: serve(request, BYTES))) as site:
        here = store(tmp_path)
        part = here._draft_path(TERMS, f"{site.url}/rows", 7)
        part.parent.mkdir()
        part.symlink_to(victim)
        with pytest.raises(DataRefused, match="cannot be written"):
            here.fetch(TERMS, f"{site.url}/rows", 7)
    assert victim.read_bytes() == b"precious"


def test_whoever_asks_while_it_is_fetched_gets_what_the_other_fetched(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        begun.set()
        go_on.wait(60)
        serve(request, BYTES)

    with running_site(rows_only(answer)) as site:
        found: list[bytes] = []

        def fetch() -> None:
            found.append(bytes_in(store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)))

        threads = [threading.Thread(target=fetch) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert begun.wait(60)
        go_on.set()
        for thread in threads:
            thread.join()
    assert found == [BYTES, BYTES]
    assert [path for path in site.seen if not path.endswith(".roots")] == ["/rows"]


def test_a_full_disk_is_the_operators_own_and_no_failure_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with running_site(rows_only(lambda request: serve(request, BYTES))) as site:
        with pytest.raises(DataRefused, match="No space left"):
            store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)
        monkeypatch.undo()
        assert bytes_in(store(tmp_path).fetch(TERMS, f"{site.url}/rows", 7)) == BYTES


# ---- The cache ----


def of(rows: np.ndarray[Any, Any]) -> Any:
    root = MerkleTree([input_leaf(row.tobytes()) for row in rows]).root
    return dataclasses.replace(SMALL, data_root=root, item_count=len(rows))


@pytest.fixture
def shelf(tmp_path: Path) -> Callable[[int], tuple[Any, str]]:
    """Different data of 3,500 bytes each: (terms, URI)."""
    folder = tmp_path / "allowed"
    folder.mkdir()

    def put(number: int) -> tuple[Any, str]:
        rows = np.full((500, 7), number, np.uint8)
        (folder / f"{number}.bin").write_bytes(rows.tobytes())
        return of(rows), (folder / f"{number}.bin").as_uri()

    return put


def cached(tmp_path: Path) -> int:
    return len(list((tmp_path / "cache").glob("*.rows")))


def test_the_cache_stays_within_its_bound_and_drops_what_was_used_longest_ago(
    tmp_path: Path, shelf: Callable[[int], tuple[Any, str]]
) -> None:
    here = store(tmp_path, data_cache_bytes=8000)
    jobs = [shelf(number) for number in range(3)]
    for age, (terms, uri) in enumerate(jobs[:2]):
        found = here.fetch(terms, uri, 7)
        os.utime(found.path, (1000 + age, 1000 + age))
    here.cached(jobs[0][0], 7)
    here.fetch(*jobs[2], 7)
    assert cached(tmp_path) == 2
    assert bytes_in(here.cached(jobs[0][0], 7)) == bytes(3500)


def test_what_an_open_job_needs_is_never_dropped_for_another(
    tmp_path: Path, shelf: Callable[[int], tuple[Any, str]]
) -> None:
    here = store(tmp_path, data_cache_bytes=8000)
    needed = [shelf(number) for number in range(2)]
    for terms, uri in needed:
        here.fetch(terms, uri, 7, Need(seconds=3600))
        here.cached(terms, 7)  # used again for something that needs it no longer: that shortens nothing
    with pytest.raises(DataRefused, match="data_cache_bytes"):
        here.fetch(*shelf(2), 7)
    here.fetch(*shelf(3), 7, Need(seconds=3600, is_seated=True))  # a stake depends on it
    for terms, _ in needed:
        assert here.cached(terms, 7)
    assert cached(tmp_path) == 3


def test_data_larger_than_the_cache_is_not_begun(tmp_path: Path, shelf: Callable[[int], tuple[Any, str]]) -> None:
    with pytest.raises(DataRefused, match="data_cache_bytes"):
        store(tmp_path, data_cache_bytes=3499).fetch(*shelf(0), 7)
    assert cached(tmp_path) == 0


def test_what_dead_processes_left_behind_is_dropped_and_what_is_being_written_stays(tmp_path: Path) -> None:
    old = time.time() - 2 * disk.ABANDONED_SECONDS
    with disk.writing(tmp_path / "whole") as file:
        file.write(bytes(10))
        disk.evict(tmp_path, 0)
    (tmp_path / ".draft-0123").write_bytes(bytes(10))
    os.utime(tmp_path / ".draft-0123", (old, old))
    disk.evict(tmp_path, 10**6)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_route_of_a_query_has_no_roots_beside_it() -> None:
    assert Route("https://x.example/rows?signed=1").roots_route() is None
    assert Route("https://x.example/rows").roots_route() == Route("https://x.example/rows.roots")
