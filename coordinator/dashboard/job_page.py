"""A job: its time line, jury, money, data, proofs and every transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.job import Phase
from coordinator.dashboard import chain_text, wording
from coordinator.dashboard.event_table import SHOWN, event_list
from coordinator.dashboard.frame import Live, LiveElements, Part, follow, frame
from coordinator.dashboard.job_rows import STANDINGS, dispute_path, job_path, model_link, state_badge
from coordinator.dashboard.parts import (
    Tag,
    amount,
    badge,
    big_amount,
    cell,
    command_line,
    countdown,
    empty,
    fact,
    facts,
    figure,
    foreign,
    hidden,
    identifier,
    link,
    moment,
    paragraph,
    root_mark,
    section,
    table,
    text,
)
from coordinator.dashboard.proof_explorer import ProofExplorer
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.read_model import Job, PhaseSpan, Seat, SeatState, State

_SEATS: Mapping[SeatState, tuple[str, str]] = {
    SeatState.SEALED: ("sealed", ""),
    SeatState.REVEALED: ("revealed", "live"),
    SeatState.ABSTAINED: ("abstained", "warn"),
    SeatState.PAID: ("paid", "good"),
    SeatState.RETURNED: ("stake returned", ""),
    SeatState.FORFEITED: ("forfeited", "bad"),
}
MOST_PLACES = 8


def job_page(explorer: Explorer, job_id: bytes, cursor: str | None) -> None:
    """The page of a job. cursor: of the page of its events. Raises NotFound, BadCursor."""
    explorer.job_events(job_id, cursor=cursor, limit=SHOWN, newest=True)
    name = wording.hex_(job_id)

    def job() -> Job:
        return explorer.job(job_id)

    with frame(explorer, f"Job {wording.short(name)}", "/") as clock:
        parts: list[Part] = [
            clock,
            Live(lambda: (job().row, job().phases), lambda: _standing(job(), explorer.standing().head_time)),
            Live(lambda: (job().jury, job().roots), lambda: _jury(job())),
            Live(lambda: job().roots, lambda: _roots(job())),
        ]
        proofs = ProofExplorer(explorer, job_id)
        parts.append(LiveElements(lambda: (job().row.state, job().winner), lambda: proofs.build(job())))
        parts.append(Live(lambda: job().data_uri, lambda: _data(job())))
        parts.append(Live(lambda: job().events, lambda: _events(explorer, job(), cursor)))
        follow(*parts)


def _standing(job: Job, now: int) -> None:
    row = job.row
    with Tag("div", classes="row", role="status", aria_live="polite", id="state"):
        hidden("State: ")
        state_badge(row.state)
        if row.is_disputed:
            link("Disputed: watch the dispute", dispute_path(row.job_id), "button small")
        text(job.next_step, "quiet")
    with section("Time line", "timeline"), Tag("ol", classes="phases"):
        for phase in (Phase.DRAWING, Phase.COMMITTING, Phase.REVEALING, Phase.CHALLENGING, Phase.SETTLED):
            span = next((one for one in job.phases if one.phase is phase), None)
            _phase(job, phase, span, now)
    with Tag("dl", classes="figures", style="--n:5"):
        with figure("Reward"):
            big_amount(job.terms.reward)
        with figure("Cost to corrupt"):
            big_amount(row.cost_to_corrupt)
        with figure("Items"):
            text(f"{row.item_count:,}")
        with figure("Jury"):
            text(f"{row.granted_seats} of {row.seats}")
            text(f" quorum {job.terms.quorum}", "quiet")
        with figure("Stake of a seat"):
            big_amount(job.terms.seat_stake)


def _phase(job: Job, phase: Phase, span: PhaseSpan | None, now: int) -> None:
    settled = phase is Phase.SETTLED
    over = job.row.state.is_over if settled else bool(span and span.is_over)
    current = not over and ((span is not None and job.phase is phase) or (settled and job.phase is Phase.SETTLING))
    state = "done" if over else "now" if current else "todo"
    with Tag("li", classes=f"phase {state}", aria_current="step" if current else None):
        with Tag("div", classes="bar", aria_hidden="true"):
            if current and span and span.ends_at:
                Tag("span", data_progress_from=span.began_at, data_progress_until=span.ends_at)
            else:
                Tag("span")
        with Tag("div", classes="phase-name"):
            text(wording.OUTCOMES_OF[job.row.state] if settled and over else wording.PHASES[phase])
        with Tag("div", classes="quiet"):
            if settled and over and job.row.settled_at:
                moment(job.row.settled_at)
                text(f", after {wording.duration(job.row.settled_at - job.row.created_at)}")
            elif settled:
                text("anyone settles" if current else "not yet")
            elif span is None:
                text("skipped" if job.row.state.is_over else "not yet")
            elif current and span.ends_at:
                text("ends in ")
                countdown(span.ends_at, now)
            elif current:
                text("ends when the jury is drawn")
            else:
                text(f"took {wording.duration((span.ends_at or span.began_at) - span.began_at)}")


def _jury(job: Job) -> None:
    places = root_places(job)
    note = f"{wording.count(job.row.granted_seats, 'seat')} granted of {job.row.seats}; {job.terms.quorum} must agree."
    with section("Jury", "jury", note):
        if not job.jury:
            waiting = job.phase in (Phase.DRAWING, Phase.COMMITTING)
            empty(
                "No seat is taken yet." if waiting else "Nobody took a seat.",
                "Operators with a winning ticket take theirs while Committing lasts."
                if waiting
                else "Too little stake was bonded, or no operator was there: the requester gets the reward back.",
            )
            return
        with Tag("ul", classes="seats"):
            for seat in job.jury:
                _seat(seat, places)


def root_places(job: Job) -> dict[bytes, int]:
    """Each revealed root's place, which gives it letter and colour wherever it is shown."""
    return {tally.root: place for place, tally in enumerate(job.roots)}


def _seat(seat: Seat, places: Mapping[bytes, int]) -> None:
    place = places.get(seat.root) if seat.root else None
    words, kind = _SEATS[seat.state]
    with Tag("li", classes=f"seat {'none' if place is None else f'r{place % 6}'}"):
        with Tag("div", classes="seat-head"):
            identifier(seat.worker, f"/operators/{seat.worker}", "operator")
            hidden("revealed no root" if place is None else "revealed root")
            root_mark(place, seat.root)
        with Tag("div", classes="row"):
            badge(words, kind)
            if seat.seats > 1:
                text(wording.count(seat.seats, "seat"), "quiet")
        with Tag("dl", classes="lines"):
            Tag("dt", "Commitment")
            with Tag("dd"):
                Tag("span", wording.short(wording.hex_(seat.commitment)), "mono", title=wording.hex_(seat.commitment))
            if seat.root:
                Tag("dt", "Root")
                with Tag("dd"):
                    Tag("span", wording.short(wording.hex_(seat.root)), "mono", title=wording.hex_(seat.root))
            if seat.paid:
                Tag("dt", "Paid")
                with Tag("dd"):
                    amount(seat.paid)
            if seat.forfeited:
                Tag("dt", "Forfeited")
                with Tag("dd"):
                    amount(seat.forfeited)


def _roots(job: Job) -> None:
    with section("Revealed roots", "roots", "What the jury answered, and what is known of each answer."):
        if not job.roots:
            empty(
                "No root is revealed yet.", "Roots stay sealed until Committing is over, so that nobody can copy one."
            )
            return
        columns = ("(Letter)", "Root", "Seats", "Standing", "Demands", "Refuted by", "Bounty")
        with table("Revealed roots", columns, numbers=("Seats", "Demands", "Bounty")):
            for place, tally in enumerate(job.roots):
                words, kind = STANDINGS[tally.standing]
                with Tag("tr"):
                    with cell():
                        root_mark(place, tally.root)
                    with cell():
                        identifier(wording.hex_(tally.root), what="root")
                    with cell(number=True):
                        text(f"{tally.seats}")
                    with cell(), Tag("span", classes="row"):
                        badge(words, kind)
                        if tally.is_winner:
                            badge("winner" if job.row.state is State.ACCEPTED else "would win", "good")
                    with cell(number=True):
                        text(f"{tally.demands}" + (f" ({tally.open_demands} open)" if tally.open_demands else ""))
                    with cell():
                        if tally.refuter:
                            identifier(tally.refuter, f"/operators/{tally.refuter}", "refuter")
                        else:
                            text("–", "quiet")
                    with cell(number=True):
                        if tally.bounty is None:
                            text("–", "quiet")
                        else:
                            amount(tally.bounty)


def _data(job: Job) -> None:
    terms = job.terms
    with section("Data, model and terms", "terms"), facts():
        with fact("Data", wide=True):
            _places(job)
            if not job.data_uri_is_right:
                words = "No operator follows this address: it is too long, or not the one that the terms commit to."
                paragraph(words, "said bad")
        with fact("Model"):
            model_link(terms.model_id, job.row.model_name)
        with fact("Data root"):
            identifier(wording.hex_(terms.data_root), what="data root")
        with fact("Job id"):
            identifier(wording.hex_(job.row.job_id), what="job id")
        with fact("Requester"):
            identifier(job.row.requester, f"/jobs?requester={job.row.requester}", "requester")
        with fact("Nonce"):
            text(chain_text.shown(str(job.nonce), 24))
        with fact("Stake when it was created"):
            amount(job.total_stake)
        for name, window in _windows(job):
            with fact(name):
                text(wording.duration(window))
        with fact("Call-out fee"):
            amount(terms.call_out_fee)
        if terms.gold_count:
            with fact("Verification set"):
                text(f"{wording.count(terms.gold_count, 'item')}, bond ")
                amount(terms.audit_bond)
        if terms.consumer:
            with fact("Consumer"):
                identifier(terms.consumer, what="consumer")
                text(" was told" if job.is_delivered else " is to be told", "quiet")


def _places(job: Job) -> None:
    """Where the rows are: several addresses are separated by blanks."""
    cut = job.data_uri_length - len(job.data_uri)
    places = job.data_uri.split(" ", MOST_PLACES - 1)
    with Tag("ul"):
        for place in places:
            with Tag("li"):
                foreign(place, len(place) + cut if cut and place is places[-1] else 0)


def _windows(job: Job) -> Sequence[tuple[str, int]]:
    terms = job.terms
    return (
        ("Commit window", terms.commit_window),
        ("Reveal window", terms.reveal_window),
        ("Challenge window", terms.challenge_window),
        ("Response window", terms.response_window),
    )


def _events(explorer: Explorer, job: Job, cursor: str | None) -> None:
    page = explorer.job_events(job.row.job_id, cursor=cursor, limit=SHOWN, newest=True)
    with section("Transactions", "transactions", f"{wording.count(job.events, 'event')}, newest first"):
        event_list(page, job_path(job.row.job_id), "transactions", cursor, root_places(job))
        command_line(f"quorate job show {wording.hex_(job.row.job_id)}", "the command that shows this job")
