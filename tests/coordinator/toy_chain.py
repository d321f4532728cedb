"""The oracle's rules over plain events, with forks: fast enough to play thousands of lives of a job.

What it allows is what the contracts allow (tests/coordinator/test_watcher.py holds the fold against the real ones).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils import to_checksum_address

from contracts.commitment import SeatStatus
from contracts.job import NOBODY, Execution, Job, Outcome, Phase, Terms, commit_end, data_uri_hash, phase, seed_block
from contracts.stake import LANES, odds_factor, winning_tickets
from contracts.tally import has_winner, is_winner
from coordinator.clock import Clock
from coordinator.event_log import Block, Event
from coordinator.job_store import Source
from coordinator.job_view import JobView, fold

ORACLE = to_checksum_address("0x" + "0a" * 20)
REQUESTER = to_checksum_address("0x" + "0b" * 20)
SOURCE = Source(31_337, ORACLE, 1)
START = 1_800_000_000
SEAT_STAKE = 10**18
RIGHT, WRONG = b"\x01" * 32, b"\x02" * 32
URI = "file:rows"


class Refused(Exception):
    """What the contracts would revert."""


def worker_address(number: int) -> ChecksumAddress:
    return to_checksum_address(f"0x{number + 1:040x}")


def terms(**changed: Any) -> Terms:
    given: dict[str, Any] = {
        "model_id": bytes(32),
        "data_root": bytes(32),
        "data_uri_hash": data_uri_hash(URI),
        "item_count": 17,
        "seats": 5,
        "quorum": 3,
        "seat_stake": SEAT_STAKE,
        "reward": 10**18,
        "commit_window": 120,
        "reveal_window": 120,
        "challenge_window": 120,
        "response_window": 30,
    }
    return Terms(**{**given, **changed})


@dataclass
class ToyChain:
    """Blocks with events. Events are emitted into the block being built, which `mine` closes."""

    blocks: list[Block] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    bonded: dict[ChecksumAddress, int] = field(default_factory=dict)
    forks: int = 0
    _views: dict[tuple[bytes, int], JobView | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.blocks.append(Block(SOURCE.first_block, b"\x11" * 32, bytes(32), START))

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def mine(self, seconds: int = 1, events: list[tuple[str, dict[str, Any]]] | None = None) -> Block:
        """A block `seconds` after the last, with these events."""
        number = self.head.number + 1
        digest = sha256(self.head.hash + bytes([self.forks % 256])).digest()
        self.blocks.append(Block(number, digest, self.head.hash, self.head.time + seconds))
        for index, (name, args) in enumerate(events or []):
            event = Event(name, number, index, self.head.time, sha256(digest + bytes([index])).digest(), args)
            self.events.append(event)
        return self.head

    def reorganise(self, depth: int) -> None:
        """Drop the last `depth` blocks; what is mined next is another fork."""
        self.forks += 1
        self._views.clear()
        del self.blocks[max(1, len(self.blocks) - depth) :]
        self.events = [event for event in self.events if event.block <= self.head.number]

    def view(self, job_id: bytes, confirmations: int = 0) -> JobView | None:
        last = self.head.number - confirmations
        if (job_id, last) not in self._views:
            known = [event for event in self.events if event.job_id == job_id and event.block <= last]
            self._views[job_id, last] = fold(known) if known else None
        return self._views[job_id, last]

    def clock(self, confirmations: int) -> Clock:
        confirmed = self.blocks[max(0, len(self.blocks) - 1 - confirmations)]
        return Clock(self.head.time, self.head.number, confirmed.time, confirmed.number)


class Life:
    """One job on a toy chain: each method gives the event that the contract would emit, or raises Refused."""

    def __init__(self, chain: ToyChain, job: Job) -> None:
        self.chain, self.job = chain, job
        self.id = job.id(SOURCE.chain_id, ORACLE)

    @property
    def view(self) -> JobView:
        view = self.chain.view(self.id)
        if view is None:
            raise Refused("no such job")
        return view

    def phase(self) -> Phase:
        """As a transaction in the next block, at the head's time, finds it."""
        view = self.view
        return phase(view.state, self.job.terms, self.chain.head.time, self.chain.head.number)

    def create(self) -> tuple[str, dict[str, Any]]:
        return "JobCreated", {
            "jobId": self.id,
            "requester": self.job.requester,
            "nonce": self.job.nonce,
            "terms": self.job.terms.as_tuple(),
            "totalStake": sum(self.chain.bonded.values()),
            "dataUri": URI,
        }

    def draw(self) -> tuple[str, dict[str, Any]]:
        self._need(Phase.DRAWING)
        if self.chain.head.number <= seed_block(self.view.state):
            raise Refused("too early")
        return "Drawn", {"jobId": self.id, "seed": sha256(self.id + self.chain.head.hash).digest()[:8]}

    def commit(self, worker: ChecksumAddress, root: bytes) -> tuple[str, dict[str, Any]]:
        self._need(Phase.COMMITTING)
        view, job_terms = self.view, self.job.terms
        seat = view.seat(worker)
        commitment = sha256(self.id + worker.encode() + root).digest()
        if seat is not None and seat.commitment != commitment:
            raise Refused("committed to something else")
        held = seat.count if seat else 0
        factor = odds_factor(job_terms.commit_window, commit_end(view.state, job_terms) - self.chain.head.time)
        expected = factor * job_terms.seats * job_terms.seat_stake
        tickets = self.chain.bonded[worker] // job_terms.seat_stake
        won = sum(1 for _ in winning_tickets(view.state.seed, worker, tickets, expected, view.total_stake))
        added = min(won - held, job_terms.seats - view.state.granted_seats)
        if added <= 0:
            raise Refused("no seat")
        named = {"jobId": self.id, "worker": worker, "commitment": commitment, "sealedRoot": bytes(32)}
        return "Committed", {**named, "lane": self.job.nonce % LANES, "seats": held + added}

    def reveal(self, worker: ChecksumAddress, root: bytes) -> tuple[str, dict[str, Any]]:
        self._need(Phase.REVEALING)
        seat = self.view.seat(worker)
        if seat is None or seat.status != SeatStatus.SEALED:
            raise Refused("nothing sealed")
        return "Revealed", {"jobId": self.id, "root": root, "workers": (worker,)}

    def refute(self, worker: ChecksumAddress, root: bytes) -> tuple[str, dict[str, Any]]:
        self._need(Phase.CHALLENGING)
        tally = self.view.roots.get(root)
        if tally is None or tally.refuted or root == RIGHT:
            raise Refused("nothing to refute")
        leaves = {"index": 0, "leaf": bytes(32), "rightLeaf": bytes(32)}
        return "Refuted", {"jobId": self.id, "root": root, **leaves, "refuter": worker}

    def settle(self) -> tuple[str, dict[str, Any]]:
        self._need(Phase.SETTLING)
        view, quorum = self.view, self.job.terms.quorum
        outcome, root, seats = Outcome.HUNG, bytes(32), 0
        if view.state.started_at == 0 or view.state.granted_seats < quorum:
            outcome = Outcome.EXPIRED
        elif has_winner(view.state, quorum):
            outcome = Outcome.ACCEPTED
            root = self._winner()
            seats = view.roots[root].seats if root in view.roots else 0
        elif view.state.abstained_seats >= quorum and view.state.standing_roots == 0:
            outcome = Outcome.UNAVAILABLE
        named = {"jobId": self.id, "outcome": int(outcome), "root": root}
        return "Settled", {**named, "winningSeats": seats, "burned": 0}

    def execute(self, worker: ChecksumAddress) -> tuple[str, dict[str, Any]]:
        self._need(Phase.CHALLENGING)
        return "Executed", {"jobId": self.id, "root": RIGHT, "executor": worker}

    def deliver(self) -> tuple[str, dict[str, Any]]:
        self._need(Phase.SETTLED)
        if self.job.terms.consumer == NOBODY or self.view.is_delivered:
            raise Refused("nobody to tell, or told already")
        return "Delivered", {"jobId": self.id, "consumer": self.job.terms.consumer}

    def release(self) -> list[tuple[str, dict[str, Any]]]:
        self._need(Phase.SETTLED)
        held = {worker: seat for worker, seat in self.view.seats.items() if seat.is_held}
        if not held:
            raise Refused("nothing to release")
        groups: dict[bytes, tuple[ChecksumAddress, ...]] = {}
        for worker, seat in held.items():
            groups[seat.word] = (*groups.get(seat.word, ()), worker)
        forfeited = self.job.terms.seat_stake if self.view.state.outcome == Outcome.ACCEPTED else 0
        return [
            (
                "SeatsReleased",
                {
                    "jobId": self.id,
                    "word": word,
                    "forfeited": 0 if word == self.view.state.root else forfeited,
                    "paid": 1,
                    "workers": workers,
                },
            )
            for word, workers in groups.items()
        ]

    def release_bounty(self, worker: ChecksumAddress) -> tuple[str, dict[str, Any]]:
        self._need(Phase.SETTLED)
        for root, refuter in self.view.bounties_due():
            if refuter == worker:
                return "BountyReleased", {"jobId": self.id, "root": root, "refuter": worker, "amount": 1}
        raise Refused("no bounty")

    def _winner(self) -> bytes:
        view = self.view
        if view.state.execution == Execution.WHOLE:
            return view.state.root
        quorum = self.job.terms.quorum
        return next(root for root, tally in view.roots.items() if is_winner(view.state, tally, root, quorum))

    def _need(self, needed: Phase) -> None:
        if self.phase() != needed:
            raise Refused(f"{self.phase().name}, not {needed.name}")
