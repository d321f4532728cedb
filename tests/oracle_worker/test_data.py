"""Data from wherever a stranger's URI leads: verified, bounded, and never out of the operator's own house."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.job import Terms
from contracts.merkle import MerkleTree, input_leaf, verify
from oracle_worker import data_errors, data_file, disk, download, settings
from oracle_worker.data import DataStore
from oracle_worker.data_errors import DataMismatch, DataRefused, DataSizeMismatch, DataUnavailable
from tests.oracle_worker.site import Site, running_site, serve

ROWS = np.random.default_rng(11).integers(0, 256, (300, 7), np.uint8)


def root_of(rows: NDArray[np.uint8]) -> bytes:
    return MerkleTree([input_leaf(row.tobytes()) for row in rows]).root


TERMS = Terms(
    model_id=bytes(32),
    data_root=root_of(ROWS),
    data_uri_hash=bytes(32),
    item_count=len(ROWS),
    seats=1,
    quorum=1,
    seat_stake=1,
    reward=0,
    commit_window=60,
    reveal_window=60,
    challenge_window=60,
    response_window=60,
)


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site(lambda request: serve(request, ROWS.tobytes())) as made:
        made.url += "/rows"
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "allowed"
    made.mkdir()
    (made / "rows.bin").write_bytes(ROWS.tobytes())
    return made


def store(tmp_path: Path, **given: Any) -> DataStore:
    given = {"chunk_depth": 4, "data_folders": (tmp_path / "allowed",), "data_private_addresses": True} | given
    return DataStore(tmp_path / "cache", settings.load(**given))


def test_rows_come_verified_with_proofs(tmp_path: Path, folder: Path) -> None:
    found = store(tmp_path).fetch(TERMS, (folder / "rows.bin").as_uri(), 7)
    whole = np.concatenate([block for chunk in range(found.plan.count) for block in found.blocks(chunk)])
    assert np.array_equal(whole, ROWS)
    for index in (0, 15, 16, 255, 299):
        row, siblings = found.proof(index)
        assert row == ROWS[index].tobytes()
        assert verify(TERMS.data_root, 300, index, input_leaf(row), siblings)


@pytest.mark.parametrize("chunk_depth", [0, 3, 9, 16])
def test_every_cut_gives_the_same_data(tmp_path: Path, folder: Path, chunk_depth: int) -> None:
    found = store(tmp_path, chunk_depth=chunk_depth).fetch(TERMS, (folder / "rows.bin").as_uri(), 7)
    row, siblings = found.proof(271)
    assert verify(TERMS.data_root, 300, 271, input_leaf(row), siblings)


def test_blocks_keep_memory_bounded(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_file, "BLOCK_BYTES", 20)
    found = store(tmp_path, chunk_depth=8).fetch(TERMS, (folder / "rows.bin").as_uri(), 7)
    blocks = list(found.blocks(0))
    assert {len(block) for block in blocks} == {2}
    assert np.array_equal(np.concatenate(blocks), ROWS[:256])


def test_other_data_is_refused_and_not_kept(tmp_path: Path, folder: Path) -> None:
    changed = ROWS.copy()
    changed[299, 6] ^= 128
    (folder / "rows.bin").write_bytes(changed.tobytes())
    with pytest.raises(DataMismatch) as caught:
        store(tmp_path).fetch(TERMS, (folder / "rows.bin").as_uri(), 7)
    assert (caught.value.expected, caught.value.got) == (TERMS.data_root, root_of(changed))
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 2099, 2101, 4200])
def test_data_of_another_size_is_refused(tmp_path: Path, folder: Path, size: int) -> None:
    (folder / "rows.bin").write_bytes((ROWS.tobytes() * 2)[:size])
    with pytest.raises(DataSizeMismatch, match="2100"):
        store(tmp_path).fetch(TERMS, (folder / "rows.bin").as_uri(), 7)


def test_fetched_data_is_taken_from_the_cache(tmp_path: Path, site: Site) -> None:
    for _ in range(2):
        store(tmp_path).fetch(TERMS, site.url, 7)
    assert site.seen == ["/rows"]


@pytest.mark.parametrize("harm", ["flip", "cut", "roots"])
def test_a_cache_that_the_disk_changed_is_noticed(tmp_path: Path, folder: Path, harm: str) -> None:
    keeper = store(tmp_path)
    uri = (folder / "rows.bin").as_uri()
    found = keeper.fetch(TERMS, uri, 7)
    content = bytearray(found.path.read_bytes())
    content[ROWS.size if harm == "roots" else 100] ^= 1
    found.path.write_bytes(content[:-1] if harm == "cut" else content)
    if harm == "flip":  # as large as it should be: noticed when it is read
        again = keeper.fetch(TERMS, uri, 7)
        with pytest.raises(DataMismatch):
            list(again.blocks(0))
        with pytest.raises(DataMismatch):
            again.proof(3)
        keeper.forget(again)
    row, siblings = keeper.fetch(TERMS, uri, 7).proof(14)
    assert verify(TERMS.data_root, 300, 14, input_leaf(row), siblings)


def test_files_outside_the_allowed_folders_are_refused(tmp_path: Path, folder: Path) -> None:
    outside = tmp_path / "secret.bin"
    outside.write_bytes(ROWS.tobytes())
    (folder / "link.bin").symlink_to(outside)
    for uri in (
        outside.as_uri(),
        (folder / "link.bin").as_uri(),
        f"file://{folder}/../secret.bin",
        f"file://{folder}/%2e%2e/secret.bin",
        "file:///etc/passwd",
        "file://elsewhere" + str(folder / "rows.bin"),
        "file:rows.bin",
    ):
        with pytest.raises(DataRefused):
            store(tmp_path).fetch(TERMS, uri, 7)
    with pytest.raises(DataRefused, match="QUORATE_DATA_FOLDERS"):
        store(tmp_path, data_folders=()).fetch(TERMS, (folder / "rows.bin").as_uri(), 7)


def test_files_that_are_none_are_said_so(tmp_path: Path, folder: Path) -> None:
    os.mkfifo(folder / "pipe.bin")
    for name in ("missing.bin", "pipe.bin", "."):
        with pytest.raises(DataUnavailable, match="no such file"):
            store(tmp_path).fetch(TERMS, f"file://{folder}/{name}", 7)
    with pytest.raises((DataUnavailable, DataRefused)):
        store(tmp_path).fetch(TERMS, f"file://{folder}/%00", 7)


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://x/y",
        "gopher://x",
        "data:,x",
        "gs://b/k",
        "memory://b/k",
        "zip://x::s3://b/k",
        "s3://b/k::x",
        "ipfs://x",
        "",
        "rows.bin",
        "FILE",
        "//x/y",
        "http:",
    ],
)
def test_other_schemes_are_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(DataRefused):
        store(tmp_path).fetch(TERMS, uri, 7)


def test_data_comes_over_http(tmp_path: Path, site: Site) -> None:
    row, siblings = store(tmp_path).fetch(TERMS, site.url, 7).proof(0)
    assert verify(TERMS.data_root, 300, 0, input_leaf(row), siblings)


def test_redirects_are_followed_a_few_times(tmp_path: Path, site: Site) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        hops = int(request.path.removeprefix("/rows") or 0)
        if hops == 3:
            return serve(request, ROWS.tobytes())
        request.send_response(302)
        request.send_header("Location", f"/rows{hops + 1}")
        request.end_headers()
        return None

    site.answer = answer
    store(tmp_path).fetch(TERMS, site.url, 7)
    assert site.seen == ["/rows", "/rows1", "/rows2", "/rows3"]


@pytest.mark.parametrize(
    "target", ["/rows", "file:///etc/passwd", "ftp://x/y", "http://user:word@127.0.0.1/", "http://[::"]
)
def test_redirects_that_lead_nowhere_good_are_refused(tmp_path: Path, site: Site, target: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", target)
        request.end_headers()

    site.answer = answer
    with pytest.raises((DataRefused, DataUnavailable)):
        store(tmp_path).fetch(TERMS, site.url, 7)
    assert len(site.seen) <= download.MOST_REDIRECTS + 1


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1",
     "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]",
     "[2002:7f00:1::]", "[::127.0.0.1]", "224.0.0.1", "[ff02::1]", "255.255.255.255"],
)  # fmt: skip
def test_the_operators_own_network_is_out_of_reach(tmp_path: Path, site: Site, host: str) -> None:
    port = site.server.server_port
    with pytest.raises((DataRefused, DataUnavailable)) as caught:
        store(tmp_path, data_private_addresses=False).fetch(TERMS, f"http://{host}:{port}/rows", 7)
    assert isinstance(caught.value, DataRefused) or "resolve" in str(caught.value)
    assert site.seen == []


def test_a_name_is_resolved_once_and_every_address_it_has_is_checked(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def resolve(host: Any, port: Any, *given: Any, **more: Any) -> Any:
        asked.append(host)
        addresses = ["93.184.215.14", "127.0.0.1"] if host == "mixed.example" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(DataRefused, match="not a public address"):
        store(tmp_path, data_private_addresses=False).fetch(TERMS, "http://mixed.example/rows", 7)
    assert asked == ["mixed.example"]
    assert site.seen == []


def test_an_address_that_does_not_answer_is_no_end_where_the_name_has_another(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(host: Any, port: Any, *given: Any, **more: Any) -> Any:
        addresses = ["127.0.0.2", "127.0.0.1"] if host == "many.example" else [host]  # nobody listens on the first
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    port = site.server.server_port
    store(tmp_path).fetch(TERMS, f"http://many.example:{port}/rows", 7)
    assert site.seen == ["/rows"]


def test_the_connection_goes_to_the_address_that_was_checked(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    genuine = socket.getaddrinfo

    def resolve(host: Any, *given: Any, **more: Any) -> Any:
        names.append(host)
        return genuine("127.0.0.1" if host == "rebinding.example" else host, *given, **more)

    hosts: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        hosts.append(request.headers["Host"])
        serve(request, ROWS.tobytes())

    site.answer = answer
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    port = site.server.server_port
    store(tmp_path).fetch(TERMS, f"http://rebinding.example:{port}/rows", 7)
    assert names.count("rebinding.example") == 1
    assert hosts == [f"rebinding.example:{port}"]


def test_an_endless_answer_is_cut_off(tmp_path: Path, site: Site) -> None:
    sent = 0

    def answer(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        for _ in range(400):
            request.wfile.write(bytes(1 << 16))
            sent += 1 << 16

    site.answer = answer
    with pytest.raises(DataSizeMismatch):
        store(tmp_path).fetch(TERMS, site.url, 7)
    assert sent < 400 << 16


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_dripping_answer_ends_at_the_deadline(tmp_path: Path, site: Site, part: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if part == "body":
            request.send_response(200)
            request.end_headers()
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            time.sleep(0.02)

    site.answer = answer
    with pytest.raises(DataUnavailable, match=r"longer than data_seconds|timed out"):
        store(tmp_path, data_seconds=0.2).fetch(TERMS, site.url, 7)


def test_a_compressed_answer_is_refused(tmp_path: Path, site: Site) -> None:
    site.answer = lambda request: serve(request, b"\x1f\x8b" + bytes(100), Content_Encoding="gzip")
    with pytest.raises(DataRefused, match="compressed"):
        store(tmp_path).fetch(TERMS, site.url, 7)


def test_an_unhappy_server_is_data_unavailable(tmp_path: Path, site: Site) -> None:
    site.answer = lambda request: request.send_error(503)
    with pytest.raises(DataUnavailable, match="503"):
        store(tmp_path).fetch(TERMS, site.url, 7)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DataUnavailable):
            store(tmp_path).fetch(TERMS, f"http://127.0.0.1:{port}/rows", 7)


def test_a_job_larger_than_allowed_or_than_the_disk_is_not_begun(tmp_path: Path, site: Site) -> None:
    with pytest.raises(DataRefused, match="most_bytes"):
        store(tmp_path, most_bytes=2099).fetch(TERMS, site.url, 7)
    huge = dataclasses.replace(TERMS, item_count=2**55)
    with pytest.raises(DataRefused, match="make room"):
        store(tmp_path, most_bytes=2**60, data_cache_bytes=2**60).fetch(huge, site.url, 7)
    assert site.seen == []


def test_messages_show_no_password_and_no_control_characters() -> None:
    shown = data_errors.shown_uri("https://user:word@example.org:8443/a\x1b[31m?token=1")
    assert "word" not in shown
    assert "token" not in shown
    assert "\x1b" not in shown


def test_the_cache_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    for age, name in enumerate("abc"):
        disk.write(tmp_path / name, bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    disk.touch(tmp_path / "c")
    disk.evict(tmp_path, 250)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c"}
    disk.evict(tmp_path, 0, frozenset((tmp_path / "a",)))
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), disk.writing(tmp_path / "half") as file:
        file.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
