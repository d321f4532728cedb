"""`quorate job show | list | watch`: where jobs stand, read from the chain alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from contracts import errors
from contracts import job as jobs
from contracts.commitment import DATA_UNAVAILABLE
from contracts.disputes import Node
from contracts.job import NOBODY, Execution, Job, JobState, Outcome, Phase, Terms
from contracts.tally import bounty
from coordinator.cli import terms
from coordinator.cli.context import Setup, parse_address, parse_hash
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.job_log import read_events, read_job, topic_of
from coordinator.cli.output import Seconds, Time, Wei, moment, shown
from coordinator.event_log import Event
from coordinator.explorer.job_record import next_step, phase_times
from coordinator.job_view import Accusation, JobSeat, JobView

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, 0x and 64 hex digits.")]
_UNSHOWN = {"jobId", "terms", "dataUri", "nodes", "sealedRoot", "totalStake"}
_WEI = {"amount", "bond", "burned", "forfeited", "paid"}


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block."""

    number: int
    time: int


def show(setup: Setup, job: JobId) -> None:
    """Everything about a job: terms, phases and their times, seats, roots, demands, and what corrupting it would cost."""
    with setup.out.progress("reading the job's events") as tick:
        view, events = read_job(setup.contracts, parse_hash(job, "job id"), tick)
    setup.out.record(describe(view, read_head(setup)) | {"events": [event_facts(event) for event in events]})


def list_(
    setup: Setup,
    requester: Annotated[str | None, typer.Option(help="Only jobs of this address.")] = None,
    last: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 20,
) -> None:
    """The newest jobs of this deployment."""
    contracts = setup.contracts
    topics: list[str | None] = [topic_of("JobCreated")]
    if requester is not None:
        topics += [None, "0x" + "00" * 12 + parse_address(requester)[2:].lower()]
    with setup.out.progress("reading which jobs there are") as tick:
        created = list(read_events(contracts, topics, contracts.deployment.block, tick))[-last:][::-1]
        head = read_head(setup)
        rows = [_row(event, contracts.oracle.job_state(event.args["jobId"]), head) for event in created]
    setup.out.rows(rows, title="Jobs", empty="no job was created here yet")


def watch(
    setup: Setup,
    job: JobId,
    timeout: Annotated[int | None, typer.Option(min=1, help="Give up after so many seconds.")] = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 1.0,
) -> None:
    """Print events and phases as they come, until the job is settled or only you would settle it. --json: one a line."""
    job_id = parse_hash(job, "job id")
    began = time.monotonic()
    seen: set[tuple[bytes, int]] = set()
    phase: Phase | None = None
    while True:
        view, events = read_job(setup.contracts, job_id)
        for event in events:
            if (event.transaction, event.log_index) not in seen:
                seen.add((event.transaction, event.log_index))
                setup.out.line(event_facts(event), f"{moment(event.time)}  {event_text(event)}")
        head = read_head(setup)
        now = phase_of(view, head)
        if now is not phase:
            phase = now
            ends = phase_end(view, head)
            text = f"{moment(head.time)}  phase: {shown(now)}" + (f", until {moment(ends)}" if ends else "")
            setup.out.line({"phase": now, "until": Time(ends), "block": head.number, "time": head.time}, text)
        if now is Phase.SETTLED:
            return
        if (
            now is Phase.SETTLING and not view.seats
        ):  # workers settle only what they have a seat in: it could take for ever
            raise Refusal(
                ExitCode.UNFINISHED,
                f"nobody took a seat, so no worker settles the job: run `quorate job settle 0x{job_id.hex()}`, which gives "
                "the requester the reward back (`quorate stake withdraw` pays it out)",
            )
        if timeout is not None and time.monotonic() - began >= timeout:
            raise Refusal(
                ExitCode.UNFINISHED, f"the job is still {shown(now)} after {timeout} s; watch it again, or longer"
            )
        time.sleep(every)


def read_head(setup: Setup) -> Head:
    """The newest block. Raises ChainError."""
    block = setup.endpoint.ask("eth_getBlockByNumber", "latest", False)
    return Head(int(block["number"], 16), int(block["timestamp"], 16))


def phase_of(view: JobView, head: Head) -> Phase:
    """Where a job stands in the newest block."""
    return jobs.phase(view.state, view.terms, head.time, head.number)


def phase_end(view: JobView, head: Head) -> int:
    """Seconds at which its phase ends by the clock; 0 where blocks, or nobody, decide."""
    return jobs.phase_end(view.state, view.terms, head.time, head.number)


def describe(view: JobView, head: Head) -> dict[str, Any]:
    """Everything about a job, for people and for JSON."""
    state, wanted = view.state, view.terms
    phase = phase_of(view, head)
    return {
        "job_id": view.job_id,
        "phase": phase,
        "phase_ends": Time(phase_end(view, head)) if phase_end(view, head) else None,
        "next": next_step(phase, view),
        "outcome": state.outcome,
        "root": state.root if state.outcome is Outcome.ACCEPTED else None,
        "requester": view.job.requester,
        "nonce": view.job.nonce,
        "model": wanted.model_id,
        "data_root": wanted.data_root,
        "data_uri": view.data_uri,
        **terms.facts(wanted),
        "total_stake_at_creation": Wei(view.total_stake),
        "created": Time(view.created_at),
        "created_in_block": state.created_block,
        "seats_granted": state.granted_seats,
        "seats_revealed": state.granted_seats - state.sealed_seats,
        "seats_abstaining": state.abstained_seats,
        "seats_agreeing": state.root_seats if state.outcome is Outcome.ACCEPTED else None,
        "executed_whole_by": view.executor if state.execution is Execution.WHOLE else None,
        "consumer_told": view.is_delivered if wanted.consumer != NOBODY else None,
        "audit": _audit(view),
        "phases": _phases(view),
        "jury": [_seat_row(worker, seat) for worker, seat in view.seats.items()],
        "roots": [_root_row(root, view) for root in view.roots],
        "demands": [_demand_row(node, view) for node in view.demands],
        "accusations": [_accusation_row(made) for made in view.accusations.values()],
    }


def event_facts(event: Event) -> dict[str, Any]:
    """An event for JSON and tables."""
    return {"event": event.name, "block": event.block, "time": Time(event.time), "detail": _details(event)}


def event_text(event: Event) -> str:
    """An event on one line."""
    details = ", ".join(f"{name} {shown(value)}" for name, value in _details(event).items())
    return f"{event.name}: {details}" if details else event.name


def _details(event: Event) -> dict[str, Any]:
    named = {name: value for name, value in event.args.items() if name not in _UNSHOWN}
    if event.name == "Settled":
        named["outcome"] = Outcome(named["outcome"])
    if event.name == "CommitSkipped":
        named["reason"] = _refusal(named["reason"])
    return {name: Wei(value) if name in _WEI else value for name, value in named.items()}


def _row(event: Event, state: JobState, head: Head) -> dict[str, Any]:
    wanted = Job(event.args["requester"], event.args["nonce"], Terms.of_tuple(event.args["terms"])).terms
    return {
        "job_id": event.args["jobId"],
        "phase": jobs.phase(state, wanted, head.time, head.number),
        "outcome": state.outcome,
        "created": Time(event.time),
        "items": wanted.item_count,
        "seats": wanted.seats,
        "reward": Wei(wanted.reward),
        "cost_to_corrupt": Wei(jobs.cost_to_corrupt(wanted)),
    }


def _refusal(selector: bytes) -> str:
    """Why a signed commitment was passed over."""
    names = {made.selector: made.name for made in errors.every()}
    return names.get(selector, "not signed by the worker, or past its deadline")


def _audit(view: JobView) -> str | None:
    """What became of the verification set; None where there is none."""
    if view.terms.gold_count == 0:
        return None
    if view.audit.executor != NOBODY:
        return f"an item of it was wrong, as {view.audit.executor} showed: half of the audit bond is that address's"
    if view.audit.open_accusations and view.state.execution is Execution.WHOLE:
        return "an item of it was held against a root, and every row was executed: the audit bond comes back"
    if view.audit.open_accusations:
        return f"{view.audit.open_accusations} accusations to be executed: unexecuted, they cost the audit bond"
    if not view.accusations:
        return "nothing of it was held against a root"
    return "every item that was held against a root was right"


def _phases(view: JobView) -> list[dict[str, Any]]:
    """Each phase with when it began and ends; later ones only as far as the clock decides them."""
    return [
        {
            "phase": phase,
            "from": Time(start),
            "until": Time(end) if end else None,
            "lasts": Seconds(end - start) if end else None,
        }
        for phase, start, end in phase_times(view)
    ]


def _seat_row(worker: str, seat: JobSeat) -> dict[str, Any]:
    return {
        "worker": worker,
        "seats": seat.count,
        "lane": seat.lane,
        "status": "released" if seat.is_released else seat.status,
        "root": "data unavailable" if seat.root == DATA_UNAVAILABLE else seat.root,
        "paid": Wei(seat.paid),
        "forfeited": Wei(seat.forfeited),
    }


def _root_row(root: bytes, view: JobView) -> dict[str, Any]:
    tally, refuter = view.roots[root], view.refuter(root)
    is_over = view.state.outcome is not Outcome.OPEN
    if refuter != NOBODY:
        standing = "refuted by execution"
    elif view.state.execution is Execution.WHOLE:
        standing = "right: every row was executed"
    elif tally.open_demands:
        standing = "refuted by silence" if is_over else "has unanswered demands"
    else:
        standing = "stands"
    return {
        "root": root,
        "seats": tally.seats,
        "standing": standing,
        "demands": sum(node.root == root for node in view.demands),
        "unanswered": tally.open_demands,
        "refuter": refuter if refuter != NOBODY else None,
        "bounty": Wei(bounty(tally.seats, view.terms.seat_stake)) if refuter != NOBODY else None,
    }


def _demand_row(node: Node, view: JobView) -> dict[str, Any]:
    demand = view.demands[node]
    return {
        "root": node.root,
        "level": node.level,
        "index": node.index,
        "demander": demand.demander,
        "bond": Wei(demand.bond),
        "answer_by": Time(demand.answer_by),
        "answerer": demand.answerer if demand.answered else None,
    }


def _accusation_row(made: Accusation) -> dict[str, Any]:
    verdict = {
        None: "nobody has executed the item",
        True: "the root was wrong",
        False: "the verification set was wrong",
    }
    return {
        "root": made.root,
        "position": made.position,
        "index": made.index,
        "judged": verdict[made.gold_right],
        "executor": None if made.is_open else made.executor,
    }
