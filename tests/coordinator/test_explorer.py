"""The read model over toy chains: what is looked up is what folding every job would say, also after rewinds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import pytest

from contracts.job import Job, Outcome
from coordinator.explorer import series
from coordinator.explorer.explorer import NotFound
from coordinator.explorer.field_types import LONGEST_TEXT
from coordinator.explorer.job_record import LONGEST_VALUE, event_record
from coordinator.explorer.read_model import State
from coordinator.explorer.rows import BadCursor, is_disputed
from coordinator.job_store import JobStore
from coordinator.store_tables import metadata
from tests.coordinator.api.toy_explorer import Scene, live, lived, scene
from tests.coordinator.conftest import Places
from tests.coordinator.test_job_store import WORKERS, fill, fork_randomly
from tests.coordinator.toy_chain import REQUESTER, SEAT_STAKE, SOURCE, Life, ToyChain, terms


def check(here: Scene) -> None:
    """Every figure against the views that folding gives."""
    explorer, ids = here.explorer, here.store.job_ids(10**6)
    views = [view for job_id in ids if (view := here.store.view(job_id)) is not None]
    overview = explorer.overview()
    assert overview.totals.jobs == len(views) == sum(overview.states.values())
    assert overview.totals.disputes == sum(map(is_disputed, views))
    seats = [(view, worker, seat) for view in views for worker, seat in view.seats.items()]
    assert overview.totals.seats_granted == sum(seat.count for _, _, seat in seats)
    assert overview.totals.seats_held == sum(seat.count for _, _, seat in seats if seat.is_held)
    assert overview.totals.paid == sum(seat.paid for _, _, seat in seats)
    assert overview.totals.items == sum(view.state.item_count for view in views)
    assert overview.totals.operators == len(here.store.stakers())
    accounts = {worker: here.store.account(worker) for worker in WORKERS}
    assert overview.totals.bonded == sum(account.bonded for account in accounts.values())
    assert overview.totals.locked == sum(account.locked for account in accounts.values())
    operators = {row.address: row for row in explorer.operators(limit=100).items}
    for worker, row in operators.items():
        own = [seat for _, whose, seat in seats if whose == worker]
        assert row.bonded == accounts[worker].bonded == explorer.operator(worker).bonded
        assert explorer.operator(worker).locked == accounts[worker].locked
        assert (row.record.jobs, row.record.seats) == (len(own), sum(seat.count for seat in own))
        assert row.record.rewards == sum(seat.paid for seat in own)
        assert row.record.forfeited == sum(seat.forfeited for seat in own)
    for row in explorer.jobs(limit=100).items:  # without folding what is settled
        view = here.store.view(row.job_id)
        assert view is not None
        rows = explorer._look().rows
        assert row == rows.of_view(view, row.settled_at)
        assert (row.settled_at is None) == (view.state.outcome is Outcome.OPEN)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_looked_up_is_what_folding_says_and_a_rewind_leaves_nothing_behind(
    seed: int, tmp_path: Path, places: Places
) -> None:
    random = Random(seed)
    lives = live(seed, final_after_confirmations=False)
    with scene(tmp_path, lives.chain, places("scene")) as here:
        check(here)
        for _ in range(4):
            common = fork_randomly(lives.chain, random, deepest=80)
            here.store.rewind(common)
            here.fill()
            check(here)
        with JobStore(places("fresh"), SOURCE) as fresh:
            fill(fresh, lives.chain, random)
            for name in ("endings", "disputes", "running_totals", "jobs"):
                assert table(here.store, name) == table(fresh, name), name


def table(store: JobStore, name: str) -> list[tuple[object, ...]]:
    found = metadata.tables[name]
    columns = [column for column in found.columns if column.name != "closed_block"]  # that depends on who looked when
    rows = store.rows(found.select().order_by(*found.primary_key))
    return [tuple(getattr(row, column.name) for column in columns) for row in rows]


def test_nothing_is_computed_twice_until_something_changes(tmp_path: Path, places: Places) -> None:
    lives = live(3)
    with scene(tmp_path, lives.chain, places("scene")) as here:
        first = here.explorer.overview()
        assert here.explorer.overview() is first
        lives.chain.mine(1)
        here.fill()
        assert here.explorer.overview() is not first


def test_pages_go_on_where_the_last_one_ended_and_none_is_missed(tmp_path: Path, places: Places) -> None:
    chain = ToyChain(bonded={WORKERS[0]: SEAT_STAKE})
    for number in range(9):
        lives = [Life(chain, Job(REQUESTER, 10 * number + one, terms())) for one in range(number % 3 + 1)]
        chain.mine(1, [life.create() for life in lives])
    chain.mine(3, [("StakeDeposited", {"worker": worker, "amount": SEAT_STAKE}) for worker in WORKERS])
    with scene(tmp_path, chain, places("scene")) as here:
        explorer = here.explorer
        for ask in (
            explorer.jobs,
            explorer.operators,
            explorer.models,
            lambda **more: explorer.jobs(state=State.DRAWING, **more),
            lambda **more: explorer.operator_events(REQUESTER, **more),
            lambda **more: explorer.operator_events(REQUESTER, newest=True, **more),
        ):
            whole = ask(limit=100)
            assert whole.next is None and len(whole.items) > 3
            parts, cursor = [], None
            while True:
                page = ask(limit=2, cursor=cursor)
                parts += page.items
                if (cursor := page.next) is None:
                    break
            assert tuple(parts) == whole.items
            for bad in ("", "x", "1", "1-", "-1-2", "9" * 30 + "-0", "1-" + "0" * 63, "1-" + "G" * 64, "～1-2"):
                with pytest.raises(BadCursor):
                    ask(cursor=bad)


def test_events_are_read_from_either_end(tmp_path: Path, places: Places) -> None:
    lives = lived(2)
    with scene(tmp_path, lives.chain, places("scene")) as here:
        events = partial(here.explorer.job_events, lives.life.id)
        oldest = events(limit=100).items
        assert len(oldest) > 2
        assert events(limit=100, newest=True).items == oldest[::-1]
        first = events(limit=1, newest=True)
        assert first.items == oldest[-1:]
        assert events(limit=1, cursor=first.next, newest=True).items == oldest[-2:-1]


def test_a_filter_admits_what_it_says(tmp_path: Path, places: Places) -> None:
    with scene(tmp_path, lived(1).chain) as here:
        (row,) = here.explorer.jobs().items
        assert here.explorer.jobs(requester=REQUESTER, model_id=bytes(32), state=row.state).items == (row,)
        assert here.explorer.jobs(is_disputed=row.is_disputed).items == (row,)
        assert here.explorer.jobs(is_disputed=not row.is_disputed).items == ()
        assert here.explorer.jobs(requester=WORKERS[0]).items == ()
        assert here.explorer.jobs(model_id=b"\x01" * 32).items == ()


def test_a_search_finds_by_any_beginning_and_nothing_by_nonsense(tmp_path: Path, places: Places) -> None:
    lives = lived(2)
    with scene(tmp_path, lives.chain, places("scene")) as here:
        digits = lives.life.id.hex()
        for query in (digits, "0x" + digits.upper()[:9], f"  {digits[:3]} "):
            assert "0x" + digits in [found.id for found in here.explorer.search(query).found]
        transaction = lives.chain.events[-1].transaction.hex()
        assert "0x" + transaction in [found.id for found in here.explorer.search(transaction).found]
        assert REQUESTER in [found.id for found in here.explorer.search(REQUESTER[:12]).found]
        assert [found.label for found in here.explorer.search("wine").found] == ["model wine-grading"]
        for query in ("", "zz", "0x", "' OR 1=1 --", "%", "\u202e" * 50, "0x" + "f" * 80):
            assert here.explorer.search(query).found == ()


def test_what_is_not_there_is_said_not_to_be(tmp_path: Path, places: Places) -> None:
    with scene(tmp_path, lived(2).chain) as here:
        for ask in (
            lambda: here.explorer.job(b"\x77" * 32),
            lambda: here.explorer.job_events(b"\x77" * 32),
            lambda: here.explorer.dispute(b"\x77" * 32),
            lambda: here.explorer.operator(REQUESTER),
            lambda: here.explorer.model(b"\x77" * 32),
        ):
            with pytest.raises(NotFound, match="check"):
                ask()


def test_the_intervals_cover_the_life_without_gaps_and_add_up_to_the_totals(tmp_path: Path, places: Places) -> None:
    with scene(tmp_path, lived(4).chain) as here:
        overview = here.explorer.overview()
        assert 0 < len(overview.series) <= series.MOST_BUCKETS
        steps = {
            after.since - before.since for before, after in zip(overview.series, overview.series[1:], strict=False)
        }
        assert steps <= {overview.bucket_seconds}
        assert sum(bucket.created for bucket in overview.series) == overview.totals.jobs
        assert sum(bucket.settled for bucket in overview.series) == sum(
            overview.states[state] for state in State if state.is_over
        )
        assert sum(bucket.paid for bucket in overview.series) == overview.totals.paid
        assert overview.series[-1].bonded == overview.totals.bonded


def test_hostile_text_is_bounded_and_stops_nothing(tmp_path: Path, places: Places) -> None:
    chain = ToyChain(bonded={WORKERS[0]: SEAT_STAKE})
    life = Life(chain, Job(REQUESTER, 1, terms()))
    name, args = life.create()
    chain.mine(1, [(name, {**args, "dataUri": "<script>\u202e" * 2000})])
    with scene(tmp_path, chain, places("scene")) as here:
        job = here.explorer.job(life.id)
        assert len(job.data_uri) == LONGEST_TEXT and job.data_uri_length == 18_000
        assert job.data_link is None and not job.data_uri_is_right
        (event,) = here.explorer.job_events(life.id).items
        assert len(event.values["dataUri"]) == LONGEST_VALUE
        assert event_record(chain.events[0], "x").values == event.values
