"""Data in an S3 server: read as anybody, in parts, and never with the operator's credentials unless the operator says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oracle_worker import sources
from oracle_worker.data_errors import DataMismatch, DataRefused, DataSizeMismatch, DataUnavailable
from oracle_worker.data_file import piece_roots
from tests.buckets import BUCKET, Buckets, running_buckets
from tests.oracle_worker.test_routes import BYTES, CHUNK, TERMS, TREE, bytes_in, spoilt, store


@pytest.fixture(scope="module")
def server() -> Iterator[Buckets]:
    with running_buckets() as made:
        yield made


@pytest.fixture
def buckets(server: Buckets, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """As FSSPEC_S3_… in the environment would say."""
    import fsspec.config

    monkeypatch.setitem(fsspec.config.conf, "s3", dict(server.configuration))
    return server


def test_data_is_read_from_a_bucket_in_parts(tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "STORE_BYTES", 10_000)
    buckets.put("rows", BYTES)
    buckets.put("rows.roots", piece_roots(TREE))
    assert bytes_in(store(tmp_path).fetch(TERMS, f"s3://{BUCKET}/rows", 7)) == BYTES


def test_a_chunk_that_is_wrong_in_one_bucket_is_taken_from_the_next_place(tmp_path: Path, buckets: Buckets) -> None:
    buckets.put("spoilt", spoilt(3))
    buckets.put("spoilt.roots", piece_roots(TREE))
    with pytest.raises(DataMismatch):
        store(tmp_path).fetch(TERMS, f"s3://{BUCKET}/spoilt", 7)
    assert [path.stat().st_size for path in (tmp_path / "cache").glob("*.part")] == [3 * CHUNK]
    buckets.put("right", BYTES)
    uris = f"s3://{BUCKET}/spoilt s3://{BUCKET}/right"
    assert bytes_in(store(tmp_path).fetch(TERMS, uris, 7)) == BYTES


def test_what_only_the_owner_may_read_is_not_read_for_a_stranger(tmp_path: Path, buckets: Buckets) -> None:
    uri = buckets.put("secret", BYTES, public=False)
    with pytest.raises(DataUnavailable, match="PermissionError"):
        store(tmp_path).fetch(TERMS, uri, 7)
    assert bytes_in(store(tmp_path, data_store_credentials=True).fetch(TERMS, uri, 7)) == BYTES


def test_what_is_not_in_the_bucket_or_too_large_is_said_so(tmp_path: Path, buckets: Buckets) -> None:
    buckets.put("large", BYTES + b"x")
    for uri, kind in (
        (f"s3://{BUCKET}/large", DataSizeMismatch),
        (f"s3://{BUCKET}/none", DataUnavailable),
        (f"s3://{BUCKET}", DataUnavailable),
        ("s3://", DataUnavailable),
        ("s3://Not A Bucket/../x", DataUnavailable),
    ):
        with pytest.raises(kind):
            store(tmp_path, data_seconds=60).fetch(TERMS, uri, 7)


def test_a_store_takes_no_longer_than_allowed(tmp_path: Path, buckets: Buckets) -> None:
    buckets.put("rows", BYTES)
    with pytest.raises(DataUnavailable, match="data_seconds"):
        store(tmp_path, data_seconds=0.0001).fetch(TERMS, f"s3://{BUCKET}/rows", 7)


@pytest.mark.parametrize("scheme", ["memory", "zip", "nothing", "gs"])
def test_a_store_that_is_not_installed_or_cannot_be_bounded_is_refused(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(DataRefused, match=r"bounded in time|not installed"):
        store(tmp_path, data_stores=(scheme,)).fetch(TERMS, f"{scheme}://a/b", 7)
