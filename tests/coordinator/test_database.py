"""A projection on a PostgreSQL server: what URLs are taken, and what becomes of it when the server is not as it was."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import database, job_store
from coordinator.database import PostgresUrl, StoreDamaged, StoreLost, StoreUnusable, place
from coordinator.job_store import JobStore
from coordinator.settings import load
from oracle_worker.settings_file import BadSettings
from tests.coordinator.conftest import Places
from tests.coordinator.test_job_store import closed_job, contents, fill
from tests.coordinator.toy_chain import SOURCE
from tests.postgres_server import PASSWORD, Server


@pytest.fixture
def server(postgres: Server) -> Server:
    return postgres


@pytest.fixture
def where(server: Server, request: pytest.FixtureRequest) -> PostgresUrl:
    """A schema of the test's own."""
    return PostgresUrl.parse(server.url("own_" + "".join(filter(str.isalnum, request.node.name.lower()))[-30:]))


# ---- URLs ----


def test_a_url_is_a_server_and_anything_else_a_file() -> None:
    taken = place("postgres://ada:h0rse@db.example:5433/quorate?sslmode=require&schema=watcher")
    assert isinstance(taken, PostgresUrl)
    assert (taken.conninfo, taken.schema) == (
        "postgresql://ada:h0rse@db.example:5433/quorate?sslmode=require",
        "watcher",
    )
    assert str(taken) == "postgresql://db.example:5433/quorate, schema watcher"
    assert "h0rse" not in f"{taken} {taken!r}"
    assert place("folder/jobs.sqlite") == Path("folder/jobs.sqlite")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://ada:h0rse@db/quorate", "neither a file's path nor postgresql://"),
        ("sqlite:///jobs.sqlite", "neither a file's path nor postgresql://"),
        ("postgresql://ada:h0rse@db/quorate?schema=a;drop", "schema must be a name"),
        ('postgresql://ada:h0rse@db/quorate?schema=a"b', "schema must be a name"),
        ("postgresql://ada:h0@rse@db/quorate", "%40"),
        ("postgresql://ada:h0rse@db:port/quorate", "it is no URL"),
        ("postgresql://ada:h0/rse@db/quorate", "it is no URL"),
        ("postgresql://ada:h0rse@db/quorate?sslmode", "it is no URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str, said: str) -> None:
    with pytest.raises(BadSettings, match="QUORATE_DATABASE") as refused:
        load(rpc_url="http://127.0.0.1:1", database=url)
    assert said in str(refused.value) and "h0" not in str(refused.value) and "rse@" not in str(refused.value)


@pytest.mark.parametrize("broken", ["nobody listens", "another password", "no such parameter"])
def test_a_server_that_cannot_be_used_is_named_without_its_password(broken: str, server: Server) -> None:
    url = {
        "nobody listens": f"postgresql://ada:{PASSWORD}@127.0.0.1:1/quorate",
        "another password": server.url(password="wrong-" + PASSWORD),
        "no such parameter": f"{server.url()}?colour=red",
    }[broken]
    with pytest.raises(StoreUnusable, match="check the server") as refused:
        JobStore(place(url), SOURCE)
    assert PASSWORD not in str(refused.value) and "127.0.0.1" in str(refused.value)


def test_the_driver_is_an_extra_and_its_absence_says_so(where: PostgresUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(StoreUnusable, match=r"pip install 'quorate\[postgres\]'"):
        JobStore(where, SOURCE)


# ---- Schemas ----


def test_what_is_damaged_or_foreign_is_moved_aside_and_nothing_is_deleted(
    where: PostgresUrl, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lives = closed_job()
    with JobStore(where, SOURCE) as store:
        fill(store, lives.chain)
        before = contents(store)
        server.execute(f"ALTER TABLE {where.schema}.events RENAME COLUMN args TO arguments")
        with pytest.raises(StoreDamaged, match="rebuilt from the chain"):
            store.history()
    with JobStore(where, SOURCE, rebuild=True) as store:
        fill(store, lives.chain)
        assert contents(store) == before
    with JobStore(where, replace(SOURCE, chain_id=1)) as store:
        assert store.cursor() is None and "for chain_id 31337, not 1" in caplog.text
    monkeypatch.setattr(job_store, "SCHEMA_VERSION", 999)
    with JobStore(where, replace(SOURCE, chain_id=1)) as store:
        assert store.cursor() is None and "not 999" in caplog.text
    counts = [rows_in(server, f"{where.schema}_aside_{number}.events") for number in (1, 2, 3)]
    assert counts == [len(lives.chain.events)] * 2 + [0]


def rows_in(server: Server, table: str) -> object:
    return server.execute(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608


@pytest.mark.parametrize("beside", ["nothing of ours", "our own tables"])
def test_a_schema_with_somebody_elses_tables_is_left_as_it_is(beside: str, where: PostgresUrl, server: Server) -> None:
    if beside == "our own tables":
        filled = JobStore(where, SOURCE)
        filled.close()
    else:
        server.execute(f"CREATE SCHEMA {where.schema}")
    server.execute(f"CREATE TABLE {where.schema}.recipes (name TEXT)")
    with pytest.raises(StoreUnusable, match="'recipes', which is none of ours"):
        JobStore(where, SOURCE, rebuild=True)
    assert rows_in(server, f"{where.schema}.recipes") == 0
    assert server.execute(f"SELECT to_regnamespace('{where.schema}_aside_1')") == [(None,)]


def test_two_coordinators_of_one_database_have_a_schema_each(places: Places) -> None:
    lives = closed_job()
    with JobStore(places("one"), SOURCE) as one, JobStore(places("other"), SOURCE) as other:
        fill(one, lives.chain)
        assert other.cursor() is None
        fill(other, lives.chain)
        assert contents(one) == contents(other)


def test_numbers_beyond_32_bits_are_kept(where: PostgresUrl) -> None:
    chain = closed_job().chain
    late = [replace(block, number=block.number + 2**40, time=block.time + 2**33) for block in chain.blocks]
    with JobStore(where, SOURCE) as store:
        store.record(
            late, [replace(event, block=event.block + 2**40, time=event.time + 2**33) for event in chain.events]
        )
        assert store.cursor() == late[-1]
        assert store.history(limit=1)[0].time > 2**33


# ---- A server that goes away ----


def test_a_lost_connection_ends_the_store_since_another_may_write_then(where: PostgresUrl, server: Server) -> None:
    lives = closed_job()
    with JobStore(where, SOURCE) as store:
        fill(store, lives.chain)
        before = contents(store)
        end_sessions(server)
        with pytest.raises(StoreLost):
            store.history()
        with JobStore(where, SOURCE) as other:
            assert contents(other) == before
            for _ in range(2):  # and so it stays
                with pytest.raises(StoreLost):
                    store.record([], [])
                with pytest.raises(StoreLost):
                    store.open_views()


def test_a_server_that_restarts_loses_nothing_that_was_recorded(where: PostgresUrl, server: Server) -> None:
    lives = closed_job()
    with JobStore(where, SOURCE) as store:
        fill(store, lives.chain)
        before = contents(store)
        server.stop()
        with pytest.raises(StoreLost):
            store.cursor()
    with pytest.raises(StoreUnusable, match="check the server"):
        JobStore(where, SOURCE)
    server.start()
    with JobStore(where, SOURCE) as store:
        assert contents(store) == before


def test_a_server_that_says_nothing_is_given_up(
    where: PostgresUrl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes packets and does not answer, for ever: no time-out of libpq ends that."""
    monkeypatch.setattr(database, "SILENCE_SECONDS", 0.5)
    with JobStore(where, SOURCE) as store:
        ((pid,),) = server.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'quorate'")
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(StoreLost):
                store.cursor()
            assert time.monotonic() - began < 30
        finally:
            os.kill(pid, signal.SIGCONT)


def test_the_second_writer_waits_for_a_first_that_is_about_to_go(where: PostgresUrl) -> None:
    first = JobStore(where, SOURCE)
    threading.Timer(1.0, first.close).start()
    with JobStore(where, SOURCE) as second:
        assert second.cursor() is None


def test_a_watch_ends_with_its_store(where: PostgresUrl) -> None:
    def watches() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "quorate-database-watch"}

    before = watches()
    with JobStore(where, SOURCE):
        (own,) = watches() - before
    own.join(20)
    assert not own.is_alive()


def end_sessions(server: Server) -> None:
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'quorate'")
