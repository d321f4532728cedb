"""A job as its events tell it: the projection that scheduler and dashboard look at.

Folding a job's events, in the chain's order, gives exactly what the contract holds after the last of them: the same
JobState, seats, tallies, demands and accusations. Nothing is asked of the node, so a view belongs to one block and a
rewind is a shorter fold. Amounts are wei, times unix seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from eth_typing import ChecksumAddress

from contracts.commitment import DATA_UNAVAILABLE, SeatStatus
from contracts.disputes import Audit, Demand, Node
from contracts.job import (
    NOBODY,
    Execution,
    Job,
    JobState,
    Outcome,
    Terms,
    commit_end,
    data_uri_hash,
    end_early,
    reveal_end,
)
from contracts.merkle import depth_of, last_level
from contracts.tally import Tally, has_winner, is_winner
from coordinator.event_log import Event
from oracle_worker.job_codec import LONGEST_URI


class BrokenHistory(ValueError):
    """The events cannot have happened in this order: some are missing, or not the oracle's."""

    def __init__(self, event: Event) -> None:
        super().__init__(f"{event.name} in block {event.block} does not follow from the job's earlier events")
        self.event = event


@dataclass(frozen=True, slots=True)
class JobSeat:
    """A worker's seats in one job, which lie in one of its lanes."""

    lane: int
    commitment: bytes
    sealed_root: bytes
    count: int
    root: bytes | None = None
    """Known once revealed."""
    is_released: bool = False
    forfeited: int = 0
    paid: int = 0

    @property
    def is_held(self) -> bool:
        """Whether the stake of these seats is still locked, and the lane taken."""
        return not self.is_released

    @property
    def is_sealed(self) -> bool:
        """Whether they were committed and not revealed."""
        return self.root is None

    @property
    def has_result(self) -> bool:
        """Whether they revealed a result root: an abstention is none."""
        return self.root not in (None, DATA_UNAVAILABLE)

    @property
    def status(self) -> SeatStatus:
        """As the lane holds it, also after the release."""
        return SeatStatus.SEALED if self.is_sealed else SeatStatus.REVEALED

    @property
    def word(self) -> bytes:
        """What names them to `release`: the root, or the commitment of seats that were never opened."""
        return self.commitment if self.root is None else self.root


@dataclass(frozen=True, slots=True)
class Accusation:
    """An item of the verification set that was opened against a root."""

    position: int
    """In the verification set."""
    root: bytes
    index: int
    """In the job."""
    leaf: bytes
    """What the root has there."""
    executor: ChecksumAddress = NOBODY
    """Who executed the item."""
    gold_right: bool | None = None
    """Known once it was executed."""

    @property
    def is_open(self) -> bool:
        """Whether nobody has executed the item."""
        return self.gold_right is None


@dataclass(frozen=True, slots=True)
class JobView:
    """A job after its last recorded event."""

    job_id: bytes
    job: Job
    data_uri: str
    total_stake: int
    """All stake at the end of the block before the creation: what the draw is measured against."""
    state: JobState
    block: int
    """That of the last event."""
    time: int
    """That of the last event."""
    created_at: int = 0
    drawn_at: int = 0
    """0 = not drawn."""
    commit_ended_at: int = 0
    """0 = not before the window's end."""
    reveal_ended_at: int = 0
    """0 = not before the window's end."""
    seats: Mapping[ChecksumAddress, JobSeat] = field(default_factory=dict)
    roots: Mapping[bytes, Tally] = field(default_factory=dict)
    """Every revealed result root; each tally as tallyOf gives it."""
    demands: Mapping[Node, Demand] = field(default_factory=dict)
    executor: ChecksumAddress = NOBODY
    """Who executed every row."""
    audit: Audit = field(default_factory=Audit)
    accusations: Mapping[tuple[int, bytes], Accusation] = field(default_factory=dict)
    """By position and root."""
    is_delivered: bool = False

    @property
    def terms(self) -> Terms:
        """The job's terms."""
        return self.job.terms

    @property
    def is_workable(self) -> bool:
        """Whether workers can take it: its dataUri is what the terms say, and short enough to travel in messages."""
        return len(self.data_uri) <= LONGEST_URI and data_uri_hash(self.data_uri) == self.terms.data_uri_hash

    @property
    def awaits_delivery(self) -> bool:
        """Whether it is settled and has a consumer that was not told."""
        is_settled = self.state.outcome != Outcome.OPEN
        return is_settled and self.terms.consumer != NOBODY and not self.is_delivered

    @property
    def is_closed(self) -> bool:
        """Whether nothing is left to release: settled, and every seat, bounty and bond is."""
        return (
            self.state.outcome != Outcome.OPEN
            and not any(seat.is_held for seat in self.seats.values())
            and not any(True for _ in self.bounties_due())
            and not any(self.bond_due(node)[1] for node in self.demands)
        )

    def seat(self, worker: ChecksumAddress) -> JobSeat | None:
        """A worker's seats, if it has any."""
        return self.seats.get(worker)

    @property
    def winner(self) -> bytes | None:
        """The root that wins if nothing more happens; `settle` wants it named."""
        state, quorum = self.state, self.terms.quorum
        if state.started_at == 0 or state.granted_seats < quorum or not has_winner(state, quorum):
            return None
        if state.execution == Execution.WHOLE:
            return state.root
        return next(root for root, tally in self.roots.items() if is_winner(state, tally, root, quorum))

    def refuter(self, root: bytes) -> ChecksumAddress:
        """Who showed by execution that a revealed root is wrong, of one item or of all; NOBODY if nobody did."""
        by_whole = self.state.execution == Execution.WHOLE and root != self.state.root
        tally = self.roots[root]
        return self.executor if by_whole and not tally.refuted else tally.refuter

    def bounties_due(self) -> Iterator[tuple[bytes, ChecksumAddress]]:
        """(root, refuter) of every bounty that releaseBounty would credit once the job is settled."""
        for root, tally in self.roots.items():
            if not tally.bounty_released and (refuter := self.refuter(root)) != NOBODY:
                yield root, refuter

    def bond_due(self, node: Node) -> tuple[ChecksumAddress, int]:
        """(payee, wei) of what releaseBond would credit for this demand once the job is settled; 0 if it has."""
        demand = self.demands[node]
        if demand.released:
            return demand.demander, 0
        if self.refuter(node.root) != NOBODY:
            return demand.demander, demand.bond
        if demand.answered:
            return demand.answerer, demand.bond
        if self.state.execution == Execution.WHOLE:
            return demand.demander, demand.bond  # silence says nothing about the true root
        return demand.demander, demand.bond // self.roots[node.root].open_demands


def fold(events: Iterable[Event]) -> JobView:
    """The job that these events make, given in the chain's order from JobCreated on. Raises BrokenHistory."""
    view: JobView | None = None
    for event in events:
        view = _created(event) if view is None else _follow(view, event)
    if view is None:
        raise ValueError("a job without events")
    return view


def _created(event: Event) -> JobView:
    if event.name != "JobCreated":
        raise BrokenHistory(event)
    args = event.args
    job = Job(args["requester"], args["nonce"], Terms.of_tuple(args["terms"]))
    return JobView(
        job_id=args["jobId"],
        job=job,
        data_uri=args["dataUri"],
        total_stake=args["totalStake"],
        state=JobState(created_block=event.block),
        block=event.block,
        time=event.time,
        created_at=event.time,
    )


def _follow(view: JobView, event: Event) -> JobView:
    step = _STEPS.get(event.name)
    try:
        if step is None:
            raise KeyError(event.name)
        return replace(step(view, event), block=event.block, time=event.time)
    except (KeyError, ZeroDivisionError) as error:
        raise BrokenHistory(event) from error


def _drawn(view: JobView, event: Event) -> JobView:
    state = replace(view.state, started_at=event.time, seed=event.args["seed"])
    return replace(view, state=state, drawn_at=event.time)


def _committed(view: JobView, event: Event) -> JobView:
    args, state = event.args, view.state
    before = view.seats.get(args["worker"])
    added = args["seats"] - (before.count if before else 0)
    state = replace(state, granted_seats=state.granted_seats + added, sealed_seats=state.sealed_seats + added)
    seat = JobSeat(args["lane"], args["commitment"], args["sealedRoot"], args["seats"])
    view = replace(view, seats={**view.seats, args["worker"]: seat})
    if state.granted_seats < view.terms.seats:
        return replace(view, state=state)
    state = end_early(state, commit_end(state, view.terms), event.time)
    return replace(view, state=state, commit_ended_at=event.time)


def _skipped(view: JobView, _: Event) -> JobView:
    return view


def _revealed(view: JobView, event: Event) -> JobView:
    root = event.args["root"]
    opened = {worker: replace(view.seats[worker], root=root) for worker in event.args["workers"]}
    count = sum(seat.count for seat in opened.values())
    view = replace(view, seats={**view.seats, **opened})
    view = _abstain(view, count) if root == DATA_UNAVAILABLE else _vote(view, root, count)
    state = replace(view.state, sealed_seats=view.state.sealed_seats - count)
    if state.sealed_seats != 0:
        return replace(view, state=state)
    state = end_early(state, reveal_end(state, view.terms), event.time)
    return replace(view, state=state, reveal_ended_at=event.time)


def _abstain(view: JobView, count: int) -> JobView:
    return replace(view, state=replace(view.state, abstained_seats=view.state.abstained_seats + count))


def _vote(view: JobView, root: bytes, count: int) -> JobView:
    state = view.state
    tally = view.roots.get(root, Tally())
    tally = replace(tally, seats=tally.seats + count)
    first = root if state.standing_roots == 0 else state.root
    state = replace(
        state,
        root=first,
        root_seats=tally.seats if root == first else state.root_seats,
        standing_roots=state.standing_roots + (root not in view.roots),
        standing_seats=state.standing_seats + count,
        quorum_stands=state.quorum_stands or tally.seats >= view.terms.quorum,
    )
    return replace(view, state=state, roots={**view.roots, root: tally})


def _demanded(view: JobView, event: Event) -> JobView:
    node = Node(event.args["root"], event.args["level"], event.args["index"])
    tally = view.roots[node.root]
    state = _fall(view, tally) if tally.stands else view.state
    state = replace(state, demanded_levels=max(state.demanded_levels, node.level + 1))
    tally = replace(tally, open_demands=tally.open_demands + 1)
    demand = Demand(event.args["demander"], event.args["answerBy"], False, event.args["bond"], NOBODY)
    return replace(view, state=state, roots={**view.roots, node.root: tally}, demands={**view.demands, node: demand})


def _answered(view: JobView, event: Event) -> JobView:
    return _close_demand(view, Node(event.args["root"], event.args["level"], event.args["index"]), event)


def _leaf_answered(view: JobView, event: Event) -> JobView:
    level = last_level(depth_of(view.terms.item_count))
    return _close_demand(view, Node(event.args["root"], level, event.args["index"]), event)


def _close_demand(view: JobView, node: Node, event: Event) -> JobView:
    tally = view.roots[node.root]
    tally = replace(tally, open_demands=tally.open_demands - 1)
    state = _rise(view, tally) if tally.open_demands == 0 else view.state
    demands = {**view.demands, node: replace(view.demands[node], answerer=event.args["answerer"])}
    return replace(view, state=state, roots={**view.roots, node.root: tally}, demands=demands)


def _refuted(view: JobView, event: Event) -> JobView:
    root, state = event.args["root"], view.state
    tally = view.roots[root]
    if tally.stands:
        state = _fall(view, tally)
    state = replace(state, refuted_seats=state.refuted_seats + tally.seats)
    tally = replace(tally, refuter=event.args["refuter"])
    return replace(view, state=state, roots={**view.roots, root: tally})


def _executed(view: JobView, event: Event) -> JobView:
    state = replace(_enthrone(view, event.args["root"]), execution=Execution.WHOLE)
    others = state.granted_seats - state.sealed_seats - state.abstained_seats - state.root_seats
    return replace(view, state=replace(state, refuted_seats=others), executor=event.args["executor"])


def _challenge_extended(view: JobView, _: Event) -> JobView:
    return replace(view, state=replace(view.state, execution=Execution.EXTENDED))


def _accused(view: JobView, event: Event) -> JobView:
    args = event.args
    made = Accusation(args["position"], args["root"], args["index"], args["leaf"])
    audit = replace(view.audit, open_accusations=view.audit.open_accusations + 1)
    return replace(view, audit=audit, accusations={**view.accusations, (made.position, made.root): made})


def _judged(view: JobView, event: Event) -> JobView:
    executor, gold_right = event.args["executor"], event.args["goldRight"]
    key = event.args["position"], event.args["root"]
    made = replace(view.accusations[key], executor=executor, gold_right=gold_right)
    audit = replace(view.audit, open_accusations=view.audit.open_accusations - 1)
    if not gold_right and audit.executor == NOBODY:
        audit = replace(audit, executor=executor)
    return replace(view, audit=audit, accusations={**view.accusations, key: made})


def _settled(view: JobView, event: Event) -> JobView:
    outcome, state = Outcome(event.args["outcome"]), view.state
    if outcome == Outcome.ACCEPTED:
        state = replace(_enthrone(view, event.args["root"]), item_count=view.terms.item_count)
    return replace(view, state=replace(state, outcome=outcome))


def _seats_released(view: JobView, event: Event) -> JobView:
    forfeited, paid = event.args["forfeited"], event.args["paid"]  # each seat's
    seats = ((worker, view.seats[worker]) for worker in event.args["workers"])
    released = {
        worker: replace(seat, is_released=True, forfeited=forfeited * seat.count, paid=paid * seat.count)
        for worker, seat in seats
    }
    return replace(view, seats={**view.seats, **released})


def _delivered(view: JobView, _: Event) -> JobView:
    return replace(view, is_delivered=True)


def _bounty_released(view: JobView, event: Event) -> JobView:
    root = event.args["root"]
    return replace(view, roots={**view.roots, root: replace(view.roots[root], bounty_released=True)})


def _bond_released(view: JobView, event: Event) -> JobView:
    node = Node(event.args["root"], event.args["level"], event.args["index"])
    return replace(view, demands={**view.demands, node: replace(view.demands[node], released=True)})


def _enthrone(view: JobView, root: bytes) -> JobState:
    """The job's state once `root` takes the place of the first one revealed."""
    return replace(view.state, root=root, root_seats=view.roots.get(root, Tally()).seats)


def _fall(view: JobView, tally: Tally) -> JobState:
    """The job's state once a standing root stands no more."""
    state = view.state
    return replace(
        state,
        standing_roots=state.standing_roots - 1,
        standing_seats=state.standing_seats - tally.seats,
        quorum_stands=state.quorum_stands and tally.seats < view.terms.quorum,
    )


def _rise(view: JobView, tally: Tally) -> JobState:
    """The job's state once a fallen root stands again."""
    state = view.state
    return replace(
        state,
        standing_roots=state.standing_roots + 1,
        standing_seats=state.standing_seats + tally.seats,
        quorum_stands=state.quorum_stands or tally.seats >= view.terms.quorum,
    )


_STEPS: dict[str, Callable[[JobView, Event], JobView]] = {
    "Drawn": _drawn,
    "Committed": _committed,
    "CommitSkipped": _skipped,
    "Revealed": _revealed,
    "Demanded": _demanded,
    "Answered": _answered,
    "LeafAnswered": _leaf_answered,
    "Refuted": _refuted,
    "Executed": _executed,
    "ChallengeExtended": _challenge_extended,
    "Accused": _accused,
    "AccusationJudged": _judged,
    "Settled": _settled,
    "SeatsReleased": _seats_released,
    "Delivered": _delivered,
    "BountyReleased": _bounty_released,
    "BondReleased": _bond_released,
}
