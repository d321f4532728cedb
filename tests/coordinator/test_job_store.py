"""The projection: exact after any rewind, rebuilt from whatever a disk can do to it, one writer at a time."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sql

from contracts.job import Job
from coordinator import database, job_store
from coordinator import store_tables as tables
from coordinator.database import StoreDamaged, StoreInUse, StoreUnusable
from coordinator.event_log import Block, Event
from coordinator.job_store import JobStore
from coordinator.job_view import BrokenHistory, fold
from tests.coordinator.conftest import Places, as_text
from tests.coordinator.lives import Lives
from tests.coordinator.toy_chain import REQUESTER, SEAT_STAKE, SOURCE, Life, ToyChain, terms, worker_address

WORKERS = [worker_address(number) for number in range(7)]


def fill(store: JobStore, chain: ToyChain, random: Random | None = None) -> None:
    """Record what the chain has beyond the store's cursor, in one range or in random ones."""
    cursor = store.cursor()
    left = [block for block in chain.blocks if cursor is None or block.number > cursor.number]
    while left:
        size = random.randint(1, len(left)) if random else len(left)
        part, left = left[:size], left[size:]
        numbers = {block.number for block in part}
        store.record(part, [event for event in chain.events if event.block in numbers])


def contents(store: JobStore) -> dict[str, Any]:
    views = store.open_views()
    columns = tables.jobs.c
    jobs = store.rows(sql.select(columns.job_id, columns.created_block, columns.closed_block).order_by(columns.job_id))
    return {
        "events": store.history(limit=10**6),
        "open": views,
        "jobs": list(map(tuple, jobs)),
        "ids": store.job_ids(),
        "stakers": store.stakers(),
        "accounts": [store.account(worker) for worker in WORKERS],
        "bonded": [store.bonded_before(worker, number) for worker in WORKERS for number in range(0, 400, 3)],
        "cursor": store.cursor(),
    }


def fork_randomly(chain: ToyChain, random: Random, deepest: int) -> int:
    """Reorganise by a random depth and mine other blocks with other stakes and jobs; the last common block."""
    depth = random.randint(0, min(deepest, len(chain.blocks) - 2))
    chain.reorganise(depth)
    common = chain.head.number
    for _ in range(random.randint(1, depth + 3)):
        events: list[tuple[str, dict[str, Any]]] = []
        if random.random() < 0.4:
            worker = random.choice(WORKERS)
            events.append(("StakeDeposited", {"worker": worker, "amount": random.randint(1, 5) * SEAT_STAKE}))
        if random.random() < 0.3:
            chain.bonded = chain.bonded or {WORKERS[0]: SEAT_STAKE}
            events.append(Life(chain, Job(REQUESTER, random.getrandbits(64), terms())).create())
        chain.mine(random.randint(1, 9), events)
    return common


@pytest.mark.parametrize("seed", range(12))
def test_after_any_rewinds_the_store_is_as_if_built_fresh(seed: int, places: Places) -> None:
    random = Random(seed)
    lives = Lives(random, final_after_confirmations=False)
    chain = lives.chain
    with JobStore(places("kept"), SOURCE) as kept:
        for round_ in range(8):
            lives.play(troubled_blocks=0, quiet_blocks=random.randint(5, 40))
            if random.random() < 0.5:
                fill(kept, chain, random)
                kept.open_views()  # closes what is closed, which the rewind has to take back
            common = fork_randomly(chain, random, deepest=60)
            kept.rewind(min(common, common - random.randint(0, 3)))
            fill(kept, chain, random)
            with JobStore(places(f"fresh_{round_}"), SOURCE) as fresh:
                fill(fresh, chain)
                assert contents(kept) == contents(fresh)
            if chain.view(lives.life.id) is None:
                return  # this life's creation is gone with its fork


def closed_job() -> Lives:
    """A life played to its end."""
    for seed in range(100):
        lives = Lives(Random(seed))
        lives.play(troubled_blocks=0, quiet_blocks=700)
        if lives.life.view.is_closed:
            return lives
    raise AssertionError("no life ended")


def test_a_closed_job_is_no_longer_looked_at_and_is_open_again_after_a_rewind(places: Places) -> None:
    lives = closed_job()
    with JobStore(places("jobs"), SOURCE) as store:
        fill(store, lives.chain)
        assert store.open_views() == []
        assert store.view(lives.life.id) == lives.life.view
        last = lives.life.view.block
        store.rewind(last - 1)
        assert [view.job_id for view in store.open_views()] == [lives.life.id]


def test_a_consumer_that_is_never_told_keeps_its_job_open_for_a_while_only(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "DELIVERY_BLOCKS", 10)
    chain = ToyChain(bonded={WORKERS[0]: SEAT_STAKE})
    life = Life(chain, Job(REQUESTER, 1, terms(consumer=REQUESTER)))
    chain.mine(1, [life.create()])
    for _ in range(3):
        chain.mine()
    chain.mine(1, [life.draw()])
    chain.mine(200)
    chain.mine(1, [life.settle()])
    with JobStore(places("jobs"), SOURCE) as store:
        fill(store, chain)
        assert life.view.is_closed and store.open_views() == [life.view]
        for _ in range(10):
            chain.mine()
        fill(store, chain)
        assert store.open_views() == []
        store.rewind(chain.head.number - 1)
        assert store.open_views() == [life.view]
        with JobStore(places("told"), SOURCE) as told:
            chain.mine(1, [life.deliver()])
            fill(told, chain)
            assert life.view.is_delivered and told.open_views() == []


def test_the_history_of_a_job_and_of_a_worker_says_who_did_what_where(places: Places) -> None:
    lives = closed_job()
    with JobStore(places("jobs"), SOURCE) as store:
        fill(store, lives.chain)
        of_job = store.history(job_id=lives.life.id)
        assert of_job == [event for event in lives.chain.events if event.job_id == lives.life.id]
        worker = next(iter(lives.life.view.seats))
        of_worker = store.history(actor=worker)
        assert of_worker == [event for event in lives.chain.events if worker in event.actors]
        assert {"StakeDeposited", "Committed", "SeatsReleased"} <= {event.name for event in of_worker}
        assert store.history(limit=2) == lives.chain.events[-2:]


def test_what_is_stored_survives_the_process(places: Places) -> None:
    lives = closed_job()
    with JobStore(places("jobs"), SOURCE) as store:
        fill(store, lives.chain)
        before = contents(store)
    with JobStore(places("jobs"), SOURCE) as again:
        assert contents(again) == before


def test_a_process_killed_at_any_moment_leaves_a_store_that_goes_on(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    where = places("jobs")
    program = (
        "import sys; from coordinator.database import place; from coordinator.job_store import JobStore\n"
        "from tests.coordinator.toy_chain import SOURCE\n"
        "from tests.coordinator.test_job_store import closed_job, fill\n"
        "from random import Random\n"
        "lives = closed_job(); store = JobStore(place(sys.argv[1]), SOURCE); print('ready', flush=True)\n"
        "while True:\n"
        "    store.rewind(0); fill(store, lives.chain, Random(1))\n"
    )
    lives = closed_job()
    for kill_after in (1, 3):
        process = subprocess.Popen([sys.executable, "-c", program, as_text(where)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(kill_after):  # it writes without end: any moment is in the middle of something
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
        process.kill()
        process.wait()
        process.stdout.close()
        with JobStore(where, SOURCE) as store:
            known = {(block.number, block.hash) for block in lives.chain.blocks}
            assert set(store.known_blocks()) <= known
            fill(store, lives.chain)
            with JobStore(places(f"fresh_{kill_after}"), SOURCE) as fresh:
                fill(fresh, lives.chain)
                assert contents(store) == contents(fresh)
    assert "moved to" not in caplog.text


# ---- What a disk, another version or another chain do to it ----


def aside(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.glob("*.aside-?"))


def filled(path: Path) -> ToyChain:
    lives = closed_job()
    with JobStore(path, SOURCE) as store:
        fill(store, lives.chain)
    return lives.chain


@pytest.mark.parametrize("damage", ["text", "zeros", "half", "middle"])
def test_a_damaged_file_is_moved_aside_with_a_message_and_built_anew(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.sqlite"
    chain = filled(path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "text": b"this is no database, but it is long enough to look at " * 40,
            "zeros": bytes(len(content)),
            "half": content[: len(content) // 2],
            "middle": content[:4096] + os.urandom(len(content) - 4096),
        }[damage]
    )
    with caplog.at_level(logging.WARNING), JobStore(path, SOURCE) as store:
        assert store.cursor() is None
        fill(store, chain)
        assert store.history(limit=10**6) == chain.events
    assert aside(path) == ["jobs.sqlite.aside-1"]
    assert "moved to" in caplog.text


def test_another_schema_another_chain_and_another_database_are_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.sqlite"
    filled(path)
    known = job_store.SCHEMA_VERSION
    monkeypatch.setattr(job_store, "SCHEMA_VERSION", 999)
    with JobStore(path, SOURCE) as store:
        assert store.cursor() is None
    assert f"for schema {known}, not 999" in caplog.text
    with JobStore(path, replace(SOURCE, chain_id=1)):
        assert "for chain_id 31337, not 1" in caplog.text
    path.unlink()
    with sqlite3.connect(path) as somebodys:
        somebodys.execute("CREATE TABLE recipes (name TEXT)")
    somebodys.close()
    with JobStore(path, SOURCE):
        assert "some other database" in caplog.text
    assert aside(path) == [f"jobs.sqlite.aside-{number}" for number in (1, 2, 3)]
    with sqlite3.connect(path.with_name("jobs.sqlite.aside-3")) as moved:
        assert moved.execute("SELECT count(*) FROM recipes").fetchone() == (0,)
    moved.close()


def test_an_unchanged_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    chain = filled(path)
    with JobStore(path, SOURCE) as store:
        assert store.history(limit=10**6) == chain.events
    assert aside(path) == []


@pytest.mark.parametrize(
    "statement", ["DROP TABLE events", "UPDATE events SET args = 'no json'", "UPDATE events SET args = '[1]'"]
)
def test_damage_while_running_is_named_and_rebuilding_cures_it(statement: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    lives = closed_job()
    with JobStore(path, SOURCE) as store:
        fill(store, lives.chain)
        with sqlite3.connect(path) as raw:
            raw.execute(statement)
        raw.close()
        with pytest.raises(StoreDamaged, match="rebuilt from the chain"):
            store.history()
    with JobStore(path, SOURCE, rebuild=True) as store:
        fill(store, lives.chain)
        assert store.history(limit=10**6) == lives.chain.events


def test_a_second_writer_is_refused_until_the_first_is_gone(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 1)
    where = places("jobs")
    with JobStore(where, SOURCE), pytest.raises(StoreInUse, match="QUORATE_DATABASE"):
        JobStore(where, SOURCE)
    with JobStore(where, SOURCE) as store:
        assert store.cursor() is None


def test_a_folder_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="check folder"):
        JobStore(tmp_path / "file" / "jobs.sqlite", SOURCE)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnusable, match="check folder"):
        JobStore(tmp_path / "folder", SOURCE)


def test_a_range_is_recorded_whole_or_not_at_all(places: Places) -> None:
    chain = closed_job().chain
    with JobStore(places("jobs"), SOURCE) as store:
        fill(store, chain)
        before = contents(store)
        new = Block(chain.head.number + 1, b"\x01" * 32, chain.head.hash, chain.head.time + 1)
        deposit = Event("StakeDeposited", new.number, 0, new.time, b"\x02" * 32, {"worker": WORKERS[0], "amount": 1})
        with pytest.raises(StoreUnusable):
            store.record([new], [deposit, deposit])
        assert contents(store) == before


def test_a_job_whose_events_make_no_sense_does_not_hide_the_others(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    chain = ToyChain(bonded={WORKERS[0]: SEAT_STAKE})
    good, bad = (Life(chain, Job(REQUESTER, nonce, terms())) for nonce in (1, 2))
    revealed = {"jobId": bad.id, "root": bytes(32), "workers": (WORKERS[0],)}
    chain.mine(1, [good.create(), bad.create(), ("Revealed", revealed)])
    with JobStore(places("jobs"), SOURCE) as store:
        fill(store, chain)
        assert [view.job_id for view in store.open_views()] == [good.id]
        assert f"0x{bad.id.hex()} is left alone" in caplog.text
        with pytest.raises(BrokenHistory, match="Revealed in block 2"):
            store.view(bad.id)
        assert store.view(b"\x09" * 32) is None


def test_events_that_do_not_begin_with_a_creation_are_refused() -> None:
    with pytest.raises(BrokenHistory):
        fold([Event("Drawn", 1, 0, 1, bytes(32), {"jobId": bytes(32), "seed": bytes(32)})])


def test_old_blocks_without_events_are_forgotten_and_those_with_events_kept(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "RECENT_BLOCKS", 10)
    chain = ToyChain()
    chain.mine(1, [("StakeDeposited", {"worker": WORKERS[0], "amount": 1})])
    for _ in range(30):
        chain.mine()
    with JobStore(places("jobs"), SOURCE) as store:
        fill(store, chain)
        numbers = [number for number, _ in store.known_blocks()]
        assert numbers == [2, *range(chain.head.number - 10, chain.head.number + 1)]
