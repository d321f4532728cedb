"""Makes the players' moves, counts what came of them, and looks after what the specification itself must never do.

Whatever anybody tries, the contracts must do what the specification does (tests.invariants.lockstep). And whatever anybody
tries, by the specification:
- no honest seat of a guarded job is forfeited: one that committed to the true root and revealed, or abstained, while somebody
  who has the data answered demands, refuted wrong roots and judged accusations in time;
- no guarded job is accepted with another root than the true one;
- no honest requester of a guarded job loses its audit bond;
- a job's phase never goes back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils import keccak

from contracts.commitment import DATA_UNAVAILABLE
from contracts.compute_oracle import SeatRef
from contracts.job import NOBODY, Job, Outcome, Phase
from contracts.specification.books import stake_before, total_stake
from contracts.specification.phases import phase
from contracts.specification.settlement import message_for_consumer
from contracts.specification.state import Environment, Event, JobRecord, NodeKey, Party, State
from contracts.specification.vote import open_demands, refuted_roots, result_roots
from tests.invariants.arena import CHALLENGERS, REQUESTERS, WORKERS, Arena
from tests.invariants.calldata import NAMES, word
from tests.invariants.lockstep import Circumstances
from tests.invariants.observables import verdict_views
from tests.invariants.scheme import Scheme

FIRST_SECOND = 1_700_000_000
LOOK_AROUND = 24  # calls between two comparisons of everything
MOST_JOBS = 4
GROUPS = (("worker", WORKERS), ("requester", REQUESTERS), ("challenger", CHALLENGERS))


@dataclass(frozen=True, slots=True)
class Move:
    """One transaction."""

    entry_point: Any
    sender: ChecksumAddress
    arguments: tuple[Any, ...] = ()
    value: int = 0
    gas: int | None = None
    circumstances: Circumstances = ()

    @property
    def name(self) -> str:
        return NAMES[self.entry_point]

    def __str__(self) -> str:
        paid = f" with {self.value} wei" if self.value else ""
        return f"{self.name} by {PLAYERS.get(self.sender, self.sender)}{paid}: {shown(self.arguments)}"


class Driver:
    """An arena and its players. `code` replaces contracts' bytecode by name."""

    def __init__(self, code: Mapping[str, str] | None = None, counts: Counter[str] | None = None) -> None:
        self.arena = Arena(code)
        self.chain = self.arena.chain
        self.lockstep = self.arena.lockstep
        self.jobs: dict[bytes, Scheme] = {}
        self.nonce = 0
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.calls = 0
        self.trace: list[str] | None = None
        """What was done, if somebody wants to know."""

    # One call

    def play(self, move: Move) -> bool:
        """Make the call on both sides; whether it succeeded. AssertionError where a rule is broken."""
        self.calls += 1
        if self.trace is not None:
            self.trace.append(f"{self.now - FIRST_SECOND:>6} s, block {self.chain.number}: {move}")
        played = self.lockstep.play(
            move.sender,
            move.entry_point,
            *move.arguments,
            value=move.value,
            gas=move.gas,
            circumstances=move.circumstances,
        )
        if self.calls % LOOK_AROUND == 0:
            self.lockstep.compare_everything()
        if played.refusal is not None:
            self.counts[f"{move.name} refused"] += 1
            self.counts[f"error {played.refusal.name}"] += 1
            return False
        self.counts[move.name] += 1
        for event in played.events:
            self._watch(event)
            if event.name == "Delivered" and event.args["consumer"] == self.arena.listener:
                assert ((), self._message(event.args["jobId"])) in played.heard, "the consumer was told something else"
        return True

    def _message(self, job_id: bytes) -> bytes:
        """What the listening consumer says when it is told how the job ended: the gas it has, and the call."""
        record = self.state.jobs[job_id]
        outcome, root = message_for_consumer(record)
        return word(record.terms.callback_gas - GAS_TO_ASK) + ON_SETTLED + job_id + word(outcome) + root

    def _watch(self, event: Event) -> None:
        """Count what happened and hold it against the promises."""
        self.counts[f"event {event.name}"] += 1
        args = event.args
        if event.name == "CommitSkipped":
            self.counts[f"skipped 0x{args['reason'].hex()}"] += 1
        if event.name == "Settled":
            self._watch_settlement(self.jobs[args["jobId"]])
        elif event.name == "SeatsReleased":
            self._watch_release(self.jobs[args["jobId"]], args)

    def _watch_release(self, scheme: Scheme, args: dict[str, Any]) -> None:
        honest = {scheme.truth.root: "honest seats kept", DATA_UNAVAILABLE: "abstentions kept"}
        record = self.record(scheme)
        for worker in args["workers"]:
            root = record.seats[worker].root
            if scheme.guarded and root in honest:
                assert not args["forfeited"], "an honest seat was forfeited"
                beside = " beside a lie" if len(self.roots(scheme)) > 1 else ""
                self.counts[honest[root] + beside] += 1

    def _watch_settlement(self, scheme: Scheme) -> None:
        record = self.record(scheme)
        self.counts[f"outcome {how_it_ended(record)}"] += 1
        if not scheme.guarded:
            return
        assert record.winner in (None, scheme.truth.root), "a lie was accepted though somebody honest was there"
        if scheme.gold and scheme.is_gold_right and record.accusations:
            burned = record.gold_refuter or (any(record.accusations.values()) and not record.true_root)
            assert not burned, "an honest requester lost its audit bond"
            self.counts["honest audit bonds kept"] += 1

    # What everybody sees

    @property
    def state(self) -> State:
        return self.arena.state

    @property
    def now(self) -> int:
        return self.chain.time

    def env(self, sender: ChecksumAddress = NOBODY, value: int = 0) -> Environment:
        return self.lockstep.env(sender, value)

    def record(self, scheme: Scheme) -> JobRecord:
        return self.state.jobs[scheme.id]

    def phase(self, scheme: Scheme) -> Phase:
        return phase(self.record(scheme), self.env())

    def party(self, who: ChecksumAddress) -> Party:
        return self.state.parties.get(who, Party())

    def openable(self, scheme: Scheme) -> list[ChecksumAddress]:
        """Workers with sealed seats that hold what their plan says."""
        return [
            worker
            for worker, seats in self.record(scheme).seats.items()
            if seats.root is None and scheme.plans[worker].commitment == seats.commitment
        ]

    def refs(self, scheme: Scheme, workers: Iterable[ChecksumAddress]) -> list[SeatRef]:
        """Where these workers' seats are."""
        seats = self.record(scheme).seats
        return [SeatRef(worker, seats[worker].lane) for worker in workers]

    def roots(self, scheme: Scheme) -> list[bytes]:
        """The revealed result roots, in order of commitment."""
        roots = (seats.root for seats in self.record(scheme).seats.values())
        return list(dict.fromkeys(root for root in roots if root not in (None, DATA_UNAVAILABLE)))

    def unrefuted(self, scheme: Scheme) -> list[bytes]:
        """Those that nobody refuted."""
        refuted = refuted_roots(self.record(scheme))
        return [root for root in self.roots(scheme) if root not in refuted]

    def open_nodes(self, scheme: Scheme) -> Iterator[NodeKey]:
        """Demands that nobody answered, on roots that nobody refuted."""
        unrefuted = self.unrefuted(scheme)
        for node, made in self.record(scheme).demands.items():
            if made.answerer is None and node[0] in unrefuted:
                yield node

    def winners(self, scheme: Scheme, worker: ChecksumAddress) -> list[int]:
        """The worker's winning tickets now."""
        record = self.record(scheme)
        owned = stake_before(self.state, worker, record.created_block) // scheme.terms.seat_stake
        return scheme.winners(record, worker, owned, self.now)

    def withdrawable(self, who: ChecksumAddress) -> int:
        party = self.party(who)
        return party.credit + (party.unbonding if self.now >= party.ready_at else 0)

    @property
    def stake_for_jobs(self) -> int:
        """What a job created now is measured against."""
        earlier = [total for number, total in self.state.totals[-50:] if number < self.chain.number]
        return min(earlier[-1] if earlier else 0, total_stake(self.state))

    # Jobs that are over

    def forget_finished(self) -> None:
        """Jobs from which nothing is left to release need no more watching."""
        for scheme in list(self.jobs.values()):
            record = self.record(scheme)
            if record.outcome != Outcome.OPEN and is_released(record):
                self.counts["jobs finished"] += 1
                claim = scheme.claim_of(record.winner) if record.winner else scheme.truth
                if claim:
                    self.lockstep.observer.compare(verdict_views(self.state, scheme.id, claim))
                del self.jobs[scheme.id], self.state.jobs[scheme.id]

    # Time

    def pass_time(self, seconds: int, blocks: int = 1) -> None:
        """Begin a later block. Every job's phase is compared, and must not go back."""
        self.chain.roll(seconds, blocks)
        self.lockstep.compare_phases()
        for scheme in self.jobs.values():
            current = self.phase(scheme)
            assert current >= scheme.last_phase, f"from {scheme.last_phase.name} back to {current.name}"
            scheme.last_phase = current

    @property
    def is_guard_needed(self) -> bool:
        """Whether some guarded job has a window open in which somebody honest must act."""
        return any(
            scheme.guarded and Phase.COMMITTING <= self.phase(scheme) <= Phase.CHALLENGING
            for scheme in self.jobs.values()
        )


ON_SETTLED = keccak(text="onSettled(bytes32,uint8,bytes32)")[:4]
GAS_TO_ASK = 2  # the listener's own, to ask how much gas it has
PLAYERS = {who: f"{kind} {number}" for kind, group in GROUPS for number, who in enumerate(group)}


def shown(value: Any) -> str:
    """A move's arguments in short: words by their beginning, players by name, the job by its number."""
    if isinstance(value, Job):
        return f"job {value.nonce}"
    if isinstance(value, bytes):
        return value[:4].hex() + ("…" if len(value) > 4 else "")
    if isinstance(value, str):
        return PLAYERS.get(value, value)  # type: ignore[call-overload,no-any-return]
    if is_dataclass(value):
        return f"{type(value).__name__}({', '.join(shown(getattr(value, field.name)) for field in fields(value))})"
    if callable(value):
        return str(value.__name__)
    return f"[{', '.join(map(shown, value))}]" if isinstance(value, list | tuple) else str(value)


def how_it_ended(record: JobRecord) -> str:
    """The outcome, and what led to it."""
    how = record.outcome.name
    if record.outcome == Outcome.EXPIRED:
        return how + (" undrawn" if record.drawn_at is None else " with too few seats")
    if record.true_root is not None:
        return how + (" by execution" if record.winner in result_roots(record) else " by execution alone")
    if record.refuters:
        return how + " after a refutation"
    if any(open_demands(record, root) for root in result_roots(record)):
        return how + " after a silence"
    return how


def is_released(record: JobRecord) -> bool:
    """Whether settlement left nothing to release or to tell. (Who does not listen is told no more.)"""
    seats = all(seats.is_released for seats in record.seats.values())
    bonds = all(made.is_released for made in record.demands.values())
    return seats and bonds and record.bounties_released == refuted_roots(record)
