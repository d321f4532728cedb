"""What a worker earned, paid and lost, job by job and to the wei, from the chain's events and receipts alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from eth_typing import ChecksumAddress

from contracts.endpoint import Endpoint
from contracts.job import Outcome
from contracts.token_jobs import TokenJobs
from coordinator.event_log import Event
from coordinator.job_store import JobStore
from coordinator.job_view import JobView

MOST_EVENTS = 10_000_000


@dataclass(slots=True)
class Entry:
    """One job, or what belongs to none. Amounts in wei; `gas` of the worker's own transactions."""

    job_id: bytes | None
    created_at: int = 0
    """Unix seconds."""
    outcome: Outcome = Outcome.OPEN
    seats: int = 0
    rewards: int = 0
    """For seats, released: shares of the reward, and fees for work in vain."""
    bounties: int = 0
    gold: int = 0
    """Shares of audit bonds, for showing that the verification set was wrong."""
    bonds_paid: int = 0
    bonds_back: int = 0
    forfeited: int = 0
    gas: int = 0
    transactions: int = 0
    claimed: dict[ChecksumAddress, int] = field(default_factory=dict)
    """What a TokenJobs credited the worker with, by token, in its smallest unit; no wei, and in no sum of them."""

    @property
    def net(self) -> int:
        """What the worker has more than before in wei, less stake that is only locked."""
        return self.rewards + self.bounties + self.gold + self.bonds_back - self.bonds_paid - self.forfeited - self.gas


@dataclass(frozen=True, slots=True)
class Ledger:
    """All entries, oldest first, the one of no job last. `unknown`: transactions of the key of which nothing was found."""

    worker: ChecksumAddress
    block: int
    entries: list[Entry]
    unknown: int

    @property
    def total(self) -> Entry:
        """The sum of all."""
        summed = Entry(None)
        for one in fields(Entry):
            if one.name not in ("job_id", "created_at", "outcome", "claimed"):
                setattr(summed, one.name, sum(getattr(entry, one.name) for entry in self.entries))
        for entry in self.entries:
            for token, amount in entry.claimed.items():
                summed.claimed[token] = summed.claimed.get(token, 0) + amount
        return summed


def read(
    store: JobStore,
    endpoint: Endpoint,
    worker: ChecksumAddress,
    block: int,
    journal: Iterable[bytes] = (),
    jobs: TokenJobs | None = None,
) -> Ledger:
    """The ledger up to the block that the store has read. journal: hashes of transactions that left no event of the oracle's;
    jobs: whose claims are told too.

    Raises ChainError, StoreUnusable.
    """
    mine = store.history(actor=worker, limit=MOST_EVENTS)
    entries: dict[bytes | None, Entry] = {}
    sent: dict[bytes, bytes | None] = {}
    """The job of each transaction that may be the worker's."""
    for job_id in dict.fromkeys(event.job_id for event in mine if event.job_id is not None):
        view = store.view(job_id)
        if view is None:
            continue
        events = store.history(job_id=job_id, limit=MOST_EVENTS)
        entries[job_id] = _entry(view, events, worker)
        for event in events:
            sent.setdefault(event.transaction, job_id)
    for claim in jobs.claims(worker, store.source.first_block, block) if jobs else ():
        if (entry := entries.get(claim.job_id)) is not None:
            entry.claimed[claim.token] = entry.claimed.get(claim.token, 0) + claim.amount
            sent.setdefault(claim.transaction, claim.job_id)
    for one in (*(event.transaction for event in mine), *journal):
        sent.setdefault(one, None)
    entries[None] = Entry(None)
    for transaction, job in sent.items():
        if (paid := _gas_of(endpoint, transaction, worker, block)) is not None:
            entries[job].gas += paid
            entries[job].transactions += 1
    made = list(entries.values())
    made.sort(key=lambda entry: (entry.job_id is None, entry.created_at, entry.job_id or b""))
    nonce = int(endpoint.ask("eth_getTransactionCount", worker, hex(block)), 16)
    return Ledger(worker, block, made, nonce - sum(entry.transactions for entry in made))


def _entry(view: JobView, events: Iterable[Event], worker: ChecksumAddress) -> Entry:
    seat = view.seat(worker)
    entry = Entry(view.job_id, view.created_at, view.state.outcome)
    if seat is not None:
        entry.seats, entry.rewards, entry.forfeited = seat.count, seat.paid, seat.forfeited
    if view.audit.executor == worker and view.state.outcome != Outcome.OPEN:
        entry.gold = view.terms.audit_bond // 2
    for name, args in _about(events, worker):
        if name == "BountyReleased":
            entry.bounties += args["amount"]
        elif name == "BondReleased":
            entry.bonds_back += args["amount"]
        elif name == "Demanded":
            entry.bonds_paid += args["bond"]
    return entry


def _about(events: Iterable[Event], worker: ChecksumAddress) -> Iterator[tuple[str, Any]]:
    for event in events:
        if worker in event.actors:
            yield event.name, event.args


def _gas_of(endpoint: Endpoint, transaction: bytes, worker: ChecksumAddress, block: int) -> int | None:
    """Wei that a transaction's gas cost the worker; None if it is another's, or in no block up to this one."""
    receipt = endpoint.ask("eth_getTransactionReceipt", "0x" + transaction.hex())
    if receipt is None or int(receipt["blockNumber"], 16) > block or receipt["from"].lower() != worker.lower():
        return None
    return int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
