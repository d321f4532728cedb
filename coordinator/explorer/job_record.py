"""A folded job and its events as what a person is shown: phases, jury, roots, disputed trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from contracts import job as jobs
from contracts.commitment import DATA_UNAVAILABLE
from contracts.disputes import Node
from contracts.job import NOBODY, Execution, Outcome, Phase, Terms
from contracts.merkle import depth_of, last_level, level_depth
from contracts.tally import bounty
from coordinator.clock import Clock
from coordinator.event_log import Event
from coordinator.explorer.field_types import LONGEST_TEXT, Address
from coordinator.explorer.links import link_of
from coordinator.explorer.read_model import (
    AccusedItem,
    DemandedNode,
    Dispute,
    DisputedRoot,
    Job,
    JobRow,
    JobTerms,
    PhaseSpan,
    RecordedEvent,
    Refutation,
    RootTally,
    Seat,
    SeatState,
    Standing,
)
from coordinator.job_view import JobSeat, JobView

LONGEST_VALUE = 256
"""Characters of one argument of an event."""
MOST_VALUES = 64
"""Of one list among an event's arguments."""
_UNSHOWN = {"jobId", "terms"}


def next_step(phase: Phase, view: JobView) -> str:
    """Who does what next, in words."""
    if phase is Phase.DRAWING:
        return f"anyone calls draw once block {jobs.seed_block(view.state)} is past"
    if phase is Phase.SETTLING:
        took_place = view.state.granted_seats >= view.terms.quorum
        why = "a root has won" if view.winner else "no root has won" if took_place else "it found no jury in time"
        return f"every window is over and {why}: anyone calls `quorate job settle`"
    return {
        Phase.COMMITTING: "drawn workers run the model and seal their roots",
        Phase.REVEALING: "workers open what they sealed",
        Phase.CHALLENGING: "anyone refutes a wrong root, or demands to see into it",
        Phase.SETTLED: "seats, bounties and bonds are released; what is credited is taken with `quorate stake withdraw`",
    }[phase]


def phase_times(view: JobView) -> list[tuple[Phase, int, int]]:
    """(phase, when it began, when it ends or ended; 0 where the clock does not decide), as far as the clock decides them."""
    wanted = view.terms
    times = [(Phase.DRAWING, view.created_at, view.drawn_at)]
    if view.drawn_at:
        committed = view.commit_ended_at or view.drawn_at + wanted.commit_window
        revealed = view.reveal_ended_at or committed + wanted.reveal_window
        ended = view.time if view.state.execution is Execution.WHOLE else jobs.challenge_end(view.state, wanted)
        times.append((Phase.COMMITTING, view.drawn_at, committed))
        times.append((Phase.REVEALING, committed, revealed))
        times.append((Phase.CHALLENGING, revealed, ended))
    return times


def job_of(view: JobView, row: JobRow, events: Sequence[Event], count: int, clock: Clock) -> Job:
    """Everything about a job. events: its own, as many as are looked at; count: how many there are."""
    phase = jobs.phase(view.state, view.terms, clock.now, clock.block_number)
    return Job(
        row=row,
        nonce=str(view.job.nonce),
        terms=_terms(view.terms),
        data_uri=view.data_uri[:LONGEST_TEXT],
        data_uri_length=len(view.data_uri),
        data_uri_is_right=view.is_workable,
        data_link=link_of(view.data_uri),
        total_stake=view.total_stake,
        phase=phase,
        phases=_spans(view, phase, row, clock),
        next_step=next_step(phase, view),
        jury=_jury(view, events),
        roots=tuple(_tally(root, view) for root in view.roots),
        winner=view.winner,
        executed_by=_someone(view.executor),
        is_delivered=view.is_delivered,
        accusations=len(view.accusations),
        events=count,
    )


def dispute_of(view: JobView, row: JobRow, events: Sequence[Event], clock: Clock) -> Dispute:
    """What is contested about a job."""
    named = {name: [event for event in events if event.name == name] for name in _CONTESTING}
    executed, extended = named["Executed"], named["ChallengeExtended"]
    refutations = {event.args["root"]: _refutation(event) for event in named["Refuted"]}
    accused = {(event.args["position"], event.args["root"]): event.time for event in named["Accused"]}
    nodes = _nodes(view, events, clock)
    depth = depth_of(view.terms.item_count)
    return Dispute(
        job=row,
        phase_ends_at=row.phase_ends_at,
        roots=tuple(
            DisputedRoot(
                tally=_tally(root, view),
                depth=depth,
                levels=last_level(depth) + 1,
                workers=tuple(worker for worker, seat in view.seats.items() if seat.root == root),
                nodes=tuple(made for node, made in nodes if node.root == root),
                refutation=refutations.get(root),
            )
            for root in view.roots
        ),
        accusations=tuple(
            AccusedItem(
                made.root,
                made.position,
                made.index,
                made.leaf,
                accused.get(key, 0),
                _someone(made.executor),
                made.gold_right,
            )
            for key, made in view.accusations.items()
        ),
        executed_by=_someone(view.executor),
        executed_at=executed[-1].time if executed else None,
        extended_at=extended[-1].time if extended else None,
        winner=view.winner,
    )


_CONTESTING = ("Executed", "ChallengeExtended", "Refuted", "Accused")


def event_record(event: Event, place: str) -> RecordedEvent:
    """An event as people and programs read it. place: its id in the stream."""
    values = {name: _plain(value) for name, value in event.args.items() if name not in _UNSHOWN}
    return RecordedEvent(
        id=place,
        name=event.name,
        block=event.block,
        log_index=event.log_index,
        time=event.time,
        transaction=event.transaction,
        job_id=event.job_id,
        actors=tuple(dict.fromkeys(event.actors))[:MOST_VALUES],  # type: ignore[arg-type]
        values=values,
    )


def _terms(terms: Terms) -> JobTerms:
    given = asdict(terms)
    given["consumer"] = _someone(terms.consumer)
    return JobTerms(**{name: given[name] for name in JobTerms.__dataclass_fields__})


def _spans(view: JobView, phase: Phase, row: JobRow, clock: Clock) -> tuple[PhaseSpan, ...]:
    is_settled = view.state.outcome is not Outcome.OPEN
    spans = []
    for one, began, ends in phase_times(view):
        if one > phase or (is_settled and row.settled_at is not None and began > row.settled_at):
            break
        spans.append(PhaseSpan(one, began, ends or None, one < phase))
    if phase is Phase.SETTLING:
        spans.append(PhaseSpan(phase, spans[-1].ends_at or clock.now, None, False))
    if is_settled and row.settled_at is not None:
        spans.append(PhaseSpan(Phase.SETTLED, row.settled_at, None, False))
    return tuple(spans)


def _jury(view: JobView, events: Sequence[Event]) -> tuple[Seat, ...]:
    committed = {event.args["worker"]: event.time for event in events if event.name == "Committed"}
    revealed = {worker: event.time for event in events if event.name == "Revealed" for worker in event.args["workers"]}
    is_decided = view.state.outcome is not Outcome.OPEN
    return tuple(
        Seat(
            worker=worker,
            seats=seat.count,
            lane=seat.lane,
            state=_seat_state(seat),
            commitment=seat.commitment,
            sealed_root=seat.sealed_root,
            root=seat.root if seat.has_result else None,
            is_winning=seat.root == view.state.root and view.state.outcome is Outcome.ACCEPTED if is_decided else None,
            committed_at=committed.get(worker, view.created_at),
            revealed_at=revealed.get(worker),
            paid=seat.paid,
            forfeited=seat.forfeited,
        )
        for worker, seat in view.seats.items()
    )


def _seat_state(seat: JobSeat) -> SeatState:
    if seat.is_released:
        if seat.forfeited:
            return SeatState.FORFEITED
        return SeatState.PAID if seat.paid else SeatState.RETURNED
    if seat.root is None:
        return SeatState.SEALED
    return SeatState.ABSTAINED if seat.root == DATA_UNAVAILABLE else SeatState.REVEALED


def _tally(root: bytes, view: JobView) -> RootTally:
    tally, refuter = view.roots[root], view.refuter(root)
    is_refuted = refuter != NOBODY
    return RootTally(
        root=root,
        seats=tally.seats,
        standing=_standing(root, view),
        is_winner=root == view.winner and view.state.outcome in (Outcome.OPEN, Outcome.ACCEPTED),
        demands=sum(node.root == root for node in view.demands),
        open_demands=tally.open_demands,
        refuter=refuter if is_refuted else None,
        bounty=bounty(tally.seats, view.terms.seat_stake) if is_refuted else None,
    )


def _standing(root: bytes, view: JobView) -> Standing:
    if view.refuter(root) != NOBODY:
        return Standing.REFUTED
    if view.state.execution is Execution.WHOLE:
        return Standing.EXECUTED
    if view.roots[root].open_demands:
        return Standing.QUESTIONED if view.state.outcome is Outcome.OPEN else Standing.SILENCED
    return Standing.STANDS


def _refutation(event: Event) -> Refutation:
    args = event.args
    return Refutation(
        root=args["root"],
        index=args["index"],
        claimed_leaf=args["leaf"],
        right_leaf=args["rightLeaf"],
        refuter=args["refuter"],
        refuted_at=event.time,
        block=event.block,
        transaction=event.transaction,
    )


def _nodes(view: JobView, events: Sequence[Event], clock: Clock) -> list[tuple[Node, DemandedNode]]:
    """Every demanded node with its record, by level and index."""
    depth = depth_of(view.terms.item_count)
    made, answers, releases = _dealings(events, last_level(depth))
    rows = []
    for node, demand in sorted(view.demands.items(), key=lambda entry: (entry[0].root, entry[0].level, entry[0].index)):
        first, last = _items_below(node, depth, view.terms.item_count)
        demanded, answer, release = made.get(node), answers.get(node), releases.get(node)
        is_waiting = not demand.answered and view.state.outcome is Outcome.OPEN
        row = DemandedNode(
            level=node.level,
            index=node.index,
            first_item=first,
            last_item=last,
            parent=_parent(node, depth),
            demander=demand.demander,
            bond=demand.bond,
            demanded_at=demanded.time if demanded else 0,
            demand_transaction=demanded.transaction if demanded else bytes(32),
            answer_by=demand.answer_by,
            answerer=_someone(demand.answerer),
            answered_at=answer.time if answer else None,
            answer_transaction=answer.transaction if answer else None,
            seconds_left=max(0, demand.answer_by - clock.now) if is_waiting else None,
            children=tuple(answer.args.get("nodes", ())) if answer else (),
            leaf=answer.args.get("leaf") if answer else None,
            released_to=release.args["payee"] if release else None,
            released=release.args["amount"] if release else None,
        )
        rows.append((node, row))
    return rows


def _dealings(
    events: Sequence[Event], leaves: int
) -> tuple[Mapping[Node, Event], Mapping[Node, Event], Mapping[Node, Event]]:
    """The events in which each node was demanded, answered, and its bond released. leaves: the level of the leaves."""
    made: dict[Node, Event] = {}
    answers: dict[Node, Event] = {}
    releases: dict[Node, Event] = {}
    kept = {"Demanded": made, "Answered": answers, "LeafAnswered": answers, "BondReleased": releases}
    for event in events:
        if (where := kept.get(event.name)) is not None:
            where[Node(event.args["root"], event.args.get("level", leaves), event.args["index"])] = event
    return made, answers, releases


def _items_below(node: Node, depth: int, count: int) -> tuple[int, int]:
    width = 1 << (depth - level_depth(node.level, depth))
    first = node.index * width
    return first, min(first + width, count) - 1


def _parent(node: Node, depth: int) -> tuple[int, int] | None:
    if node.level == 0:
        return None
    steps = level_depth(node.level, depth) - level_depth(node.level - 1, depth)
    return node.level - 1, node.index >> steps


def _someone(address: Address) -> Address | None:
    return None if address == NOBODY else address


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _cut("0x" + value.hex())
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _cut(value)
    return [_plain(one) for one in value[:MOST_VALUES]]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
