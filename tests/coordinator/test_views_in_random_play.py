"""The fold and the store under random play: after every transaction the view is what the contracts hold, field by field.

The parties, the moves and the contracts are tests.invariants'; here their logs go through the coordinator's own eyes.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from eth_abi.abi import decode as abi_decode
from eth_typing import ChecksumAddress

from contracts.commitment import Seat, digest_of, tag_of
from contracts.disputes import Audit, Node
from contracts.job import NOBODY, JobState, Outcome, phase
from contracts.specification.books import stake_before
from contracts.specification.state import JobRecord
from contracts.specification.vote import bounty_on, find_winner, refuted_roots, refuter_of, result_roots, seats_on
from coordinator.event_log import Block, Event, decode
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView, fold
from tests.coordinator.toy_chain import SOURCE
from tests.invariants.arena import WORKERS
from tests.invariants.calldata import address_word, word
from tests.invariants.driver import Driver, Move, is_released
from tests.invariants.examples import picks_of
from tests.invariants.lockstep import encode_event
from tests.invariants.observables import ACCOUNT_OF, JOB_STATE, SEAT_AT, TALLY_OF
from tests.invariants.play import finish, set_up, step

STATE_TYPES = ["uint32", "uint40", "bytes8", *["uint8"] * 7, "bool", *["uint8"] * 3, "uint32", "bytes32"]
SEEN = {
    *(
        "JobCreated",
        "Drawn",
        "Committed",
        "CommitSkipped",
        "Revealed",
        "Demanded",
        "Answered",
        "LeafAnswered",
        "Refuted",
    ),
    *("Executed", "ChallengeExtended", "Accused", "AccusationJudged", "Settled", "SeatsReleased", "BountyReleased"),
    *("BondReleased", "Delivered"),
}


class Watched(Driver):
    """Random play that the coordinator watches."""

    def __init__(self, store: JobStore) -> None:
        super().__init__()
        self.store = store
        self.of_job: dict[bytes, list[Event]] = {}
        self.block: list[Event] = []
        self.names: set[str] = set()

    def play(self, move: Move) -> bool:
        before = {job_id: fold(events) for job_id, events in self.of_job.items()}
        done = super().play(move)
        events = [self._seen(topics, data) for topics, data in map(encode_event, self.state.events)] if done else []
        for event in events:
            self.names.add(event.name)
            if event.job_id is not None:
                self.of_job.setdefault(event.job_id, []).append(event)
                self._check_payment(before.get(event.job_id), event)
        for job_id in {event.job_id for event in events} - {None}:
            assert job_id is not None  # by the line before
            self._check(fold(self.of_job[job_id]), self.state.jobs[job_id])
        return done

    def pass_time(self, seconds: int, blocks: int = 1) -> None:
        self._record()
        super().pass_time(seconds, blocks)
        for job_id, record in self.state.jobs.items():
            view = fold(self.of_job[job_id])
            assert phase(view.state, view.terms, self.now, self.chain.number) == self._phase_of(record)

    def _seen(self, topics: tuple[bytes, ...], data: bytes) -> Event:
        log = {
            "topics": ["0x" + topic.hex() for topic in topics],
            "data": "0x" + data.hex(),
            "blockNumber": hex(self.chain.number),
            "logIndex": hex(len(self.block)),
            "transactionHash": "0x" + bytes(32).hex(),
        }
        event = decode(log, self.now)
        assert event is not None
        self.block.append(event)
        return event

    def _record(self) -> None:
        """The block is complete: the store has what the contracts have."""
        number = self.chain.number
        hashes = [sha256(word(each)).digest() for each in (number, number - 1)]
        self.store.record([Block(number, *hashes, self.now)], self.block)
        self.block = []
        for worker in WORKERS:
            bonded, locked, lanes, *_ = self._ask(ACCOUNT_OF + address_word(worker), ["uint256"] * 6)
            account = self.store.account(worker)
            assert (account.bonded, account.locked, account.lanes) == (bonded, locked, lanes)
            for record in self.state.jobs.values():
                held = stake_before(self.state, worker, record.created_block)
                assert self.store.bonded_before(worker, record.created_block) == held
        unfinished = {job_id for job_id, record in self.state.jobs.items() if not _is_finished(record)}
        assert {view.job_id for view in self.store.open_views()} >= unfinished

    def _check(self, view: JobView, record: JobRecord) -> None:
        """The view against the contracts' words, and what it concludes against the specification."""
        assert view.state == JobState.of_tuple(self._ask(JOB_STATE + view.job_id, STATE_TYPES))
        assert view.roots.keys() == result_roots(record)
        for root, tally in view.roots.items():
            words = self._ask(TALLY_OF + view.job_id + root, ["address", "uint8", "uint32", "bool"])
            assert (tally.refuter.lower(), tally.seats, tally.open_demands, tally.bounty_released) == words
            assert view.refuter(root) == (refuter_of(record, root) or NOBODY)
        for worker, seat in view.seats.items():
            assert seat.is_released == record.seats[worker].is_released
            if seat.is_held:
                words = self._ask(
                    SEAT_AT + address_word(worker) + word(seat.lane), ["bytes27", "bytes3", "uint8", "uint8"]
                )
                digest = digest_of(view.job_id, seat.word)
                assert Seat.of_tuple(words) == Seat(digest, tag_of(view.state.seed), seat.count, seat.status)
        made = {
            Node(*node): (one.demander, one.answer_by, one.is_released, one.bond)
            for node, one in record.demands.items()
        }
        assert {
            node: (one.demander, one.answer_by, one.released, one.bond) for node, one in view.demands.items()
        } == made
        assert view.executor == (record.executor or NOBODY)
        assert view.audit == Audit(record.gold_refuter or NOBODY, sum(record.accusations.values()))
        assert {key: one.is_open for key, one in view.accusations.items()} == dict(record.accusations)
        assert view.is_delivered == record.is_delivered and view.total_stake == record.total_stake
        if record.outcome == Outcome.OPEN and view.state.started_at and view.state.granted_seats >= view.terms.quorum:
            assert view.winner == find_winner(record)
        assert view.is_closed == _is_finished(record)
        if record.outcome != Outcome.OPEN:
            due = {root for root in refuted_roots(record) if root not in record.bounties_released}
            assert {root for root, _ in view.bounties_due()} == due

    def _check_payment(self, before: JobView | None, event: Event) -> None:
        """What the contracts credited is what the view said was due."""
        if before is None:
            return
        record = self.state.jobs[before.job_id]
        if event.name == "BountyReleased":
            assert (event.args["root"], event.args["refuter"]) in list(before.bounties_due())
            assert event.args["amount"] == bounty_on(record, event.args["root"])
        elif event.name == "BondReleased":
            node = Node(event.args["root"], event.args["level"], event.args["index"])
            assert before.bond_due(node) == (event.args["payee"], event.args["amount"])
        elif event.name == "Settled" and event.args["outcome"] == Outcome.ACCEPTED:
            assert before.winner == event.args["root"]
            assert event.args["winningSeats"] == seats_on(record, event.args["root"])

    def _phase_of(self, record: JobRecord) -> int:
        from contracts.specification.phases import phase as phase_by_specification

        return phase_by_specification(record, self.env())

    def _ask(self, question: bytes, types: list[str]) -> tuple[object, ...]:
        return tuple(abi_decode(types, self.chain.ask(self.arena.oracle, question)))


def _is_finished(record: JobRecord) -> bool:
    return record.outcome != Outcome.OPEN and is_released(record)


@pytest.mark.slow
def test_after_every_random_transaction_the_view_is_what_the_contracts_hold(tmp_path: Path) -> None:
    names: set[str] = set()
    for seed in range(6):
        source = Source(SOURCE.chain_id, ChecksumAddress(SOURCE.oracle), 1)
        with JobStore(tmp_path / f"{seed}.sqlite", source) as store:
            driver = Watched(store)
            set_up(driver)
            for pick in picks_of(seed, 300):
                step(driver, pick)
            finish(driver)
            driver._record()
            assert not [view for view in store.open_views() if not view.awaits_delivery]
            names |= driver.names
    assert names >= SEEN, f"never seen: {SEEN - names}"
