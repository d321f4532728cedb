"""A job as its events tell it: the projection that scheduler and dashboard look at.

Folding a job's events, in the chain's order, gives exactly what the contract holds after the last of them: the same
JobState, tallies and demands. Nothing is asked of the node, so a view belongs to one block and a rewind is a shorter fold.
Amounts are wei, times unix seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from eth_typing import ChecksumAddress

from contracts.commitment import SeatStatus
from contracts.disputes import Demand, Node
from contracts.job import NOBODY, Job, JobState, Outcome, Terms, data_uri_hash
from contracts.merkle import depth_of, last_level
from contracts.tally import Tally
from coordinator.event_log import Event
from oracle_worker.job_codec import LONGEST_URI


class BrokenHistory(ValueError):
    """The events cannot have happened in this order: some are missing, or not the oracle's."""

    def __init__(self, event: Event) -> None:
        super().__init__(f"{event.name} in block {event.block} does not follow from the job's earlier events")
        self.event = event


@dataclass(frozen=True, slots=True)
class JobSeat:
    """A worker's seats in one job."""

    commitment: bytes
    sealed_root: bytes
    count: int
    status: SeatStatus = SeatStatus.SEALED
    root: bytes | None = None
    """Known once revealed."""
    forfeited: int = 0
    paid: int = 0

    @property
    def is_held(self) -> bool:
        """Whether the stake of these seats is still locked."""
        return self.status in (SeatStatus.SEALED, SeatStatus.REVEALED)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job after its last recorded event."""

    job_id: bytes
    job: Job
    data_uri: str
    state: JobState
    block: int
    """That of the last event."""
    seats: Mapping[ChecksumAddress, JobSeat] = field(default_factory=dict)
    roots: Mapping[bytes, Tally] = field(default_factory=dict)
    """Every revealed root."""
    demands: Mapping[Node, Demand] = field(default_factory=dict)

    @property
    def terms(self) -> Terms:
        """The job's terms."""
        return self.job.terms

    @property
    def is_workable(self) -> bool:
        """Whether workers can take it: its dataUri is what the terms say, and short enough to travel in messages."""
        return len(self.data_uri) <= LONGEST_URI and data_uri_hash(self.data_uri) == self.terms.data_uri_hash

    @property
    def is_closed(self) -> bool:
        """Whether nothing is left to happen: settled, and everything released."""
        return (
            self.state.outcome != Outcome.OPEN
            and not any(seat.is_held for seat in self.seats.values())
            and not any(tally.refuted and not tally.bounty_released for tally in self.roots.values())
            and not any(self.bond_due(node)[1] for node in self.demands)
        )

    def seat(self, worker: ChecksumAddress) -> JobSeat | None:
        """A worker's seats, if it has any."""
        return self.seats.get(worker)

    def bond_due(self, node: Node) -> tuple[ChecksumAddress, int]:
        """(payee, wei) of what releaseBond would credit for this demand once the job is settled; 0 if it has."""
        demand, tally = self.demands[node], self.roots[node.root]
        if demand.released:
            return demand.demander, 0
        if tally.refuted:
            return demand.demander, demand.bond
        if demand.answered:
            return demand.answerer, demand.bond
        return demand.demander, demand.bond // tally.open_demands


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
    state = JobState(created_at=event.time, created_block=event.block, total_stake=args["totalStake"])
    return JobView(args["jobId"], job, args["dataUri"], state, event.block)


def _follow(view: JobView, event: Event) -> JobView:
    step = _STEPS.get(event.name)
    try:
        if step is None:
            raise KeyError(event.name)
        return replace(step(view, event), block=event.block)
    except (KeyError, ZeroDivisionError) as error:
        raise BrokenHistory(event) from error


def _drawn(view: JobView, event: Event) -> JobView:
    return replace(view, state=replace(view.state, drawn_at=event.time, seed=event.args["seed"]))


def _committed(view: JobView, event: Event) -> JobView:
    worker, held, state = event.args["worker"], event.args["seats"], view.state
    before = view.seats.get(worker)
    granted = state.granted_seats + held - (before.count if before else 0)
    state = replace(
        state,
        granted_seats=granted,
        sealed_commitments=state.sealed_commitments + (before is None),
        commit_ended_at=event.time if granted == view.terms.seats else 0,
    )
    seat = JobSeat(event.args["commitment"], event.args["sealedRoot"], held)
    return replace(view, state=state, seats={**view.seats, worker: seat})


def _revealed(view: JobView, event: Event) -> JobView:
    worker, root, count, state = event.args["worker"], event.args["root"], event.args["seats"], view.state
    seat = replace(view.seats[worker], status=SeatStatus.REVEALED, root=root)
    tally = view.roots.get(root, Tally())
    tally = replace(tally, seats=tally.seats + count)
    state = replace(
        state,
        standing_roots=state.standing_roots + (root not in view.roots),
        standing_seats=state.standing_seats + count,
        revealed_seats=state.revealed_seats + count,
        quorum_stands=state.quorum_stands or tally.seats >= view.terms.quorum,
        sealed_commitments=state.sealed_commitments - 1,
        reveal_ended_at=event.time if state.sealed_commitments == 1 else 0,
    )
    return replace(view, state=state, seats={**view.seats, worker: seat}, roots={**view.roots, root: tally})


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


def _settled(view: JobView, event: Event) -> JobView:
    outcome = Outcome(event.args["outcome"])
    state = replace(
        view.state,
        outcome=outcome,
        root=event.args["root"],
        winning_seats=event.args["winningSeats"],
        item_count=view.terms.item_count if outcome == Outcome.ACCEPTED else 0,
    )
    return replace(view, state=state)


def _seat_released(view: JobView, event: Event) -> JobView:
    worker = event.args["worker"]
    seat = replace(
        view.seats[worker],
        status=SeatStatus.RELEASED,
        forfeited=event.args["forfeited"],
        paid=event.args["paid"],
    )
    return replace(view, seats={**view.seats, worker: seat})


def _bounty_released(view: JobView, event: Event) -> JobView:
    root = event.args["root"]
    return replace(view, roots={**view.roots, root: replace(view.roots[root], bounty_released=True)})


def _bond_released(view: JobView, event: Event) -> JobView:
    node = Node(event.args["root"], event.args["level"], event.args["index"])
    return replace(view, demands={**view.demands, node: replace(view.demands[node], released=True)})


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
    "Revealed": _revealed,
    "Demanded": _demanded,
    "Answered": _answered,
    "LeafAnswered": _leaf_answered,
    "Refuted": _refuted,
    "Settled": _settled,
    "SeatReleased": _seat_released,
    "BountyReleased": _bounty_released,
    "BondReleased": _bond_released,
}
