"""Operators: what they staked, what they did, what they earned and lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eth_typing import ChecksumAddress

from coordinator.dashboard import chain_text, wording
from coordinator.dashboard.charts import Chart, Drawing
from coordinator.dashboard.event_table import SHOWN, event_list
from coordinator.dashboard.frame import Live, Part, follow, frame
from coordinator.dashboard.job_rows import job_table, model_link
from coordinator.dashboard.paging import pages
from coordinator.dashboard.parts import (
    Tag,
    amount,
    badge,
    big_amount,
    cell,
    empty,
    fact,
    facts,
    figure,
    identifier,
    moment,
    paragraph,
    section,
    table,
    text,
)
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.passports import SignedPassport, StampState
from coordinator.explorer.read_model import Earnings, Operator, OperatorRecord, Page, RecordedEvent

_STAMPS: Mapping[StampState, tuple[str, str]] = {
    StampState.EQUAL: ("equal the specification", "good"),
    StampState.DIFFERS: ("differ from the specification", "bad"),
    StampState.UNKNOWN: ("not compared: no file of the model here", ""),
}


def operators_page(explorer: Explorer, cursor: str | None) -> None:
    """The list, by stake. Raises BadCursor."""
    explorer.operators(cursor=cursor)
    with frame(
        explorer,
        "Operators",
        "/operators",
        "Who staked, and what came of it. A record is everything the chain saw it do.",
    ) as clock:
        follow(clock, Live(lambda: explorer.operators(cursor=cursor), lambda: _list(explorer, cursor)))


def _list(explorer: Explorer, cursor: str | None) -> None:
    page = explorer.operators(cursor=cursor)
    with section("Operators by stake", "operators"):
        if not page.items:
            empty("Nobody has staked here yet.", "To run an operator: `quorate stake deposit`, then `quorate worker`.")
            return
        columns = ("Operator", "Stake", "Jobs", "Seats", "Paid", "Forfeited", "Rewards", "Bounties", "Lost")
        with table("Operators", columns, numbers=columns[1:]):
            for row in page.items:
                record = row.record
                with Tag("tr"):
                    with cell():
                        identifier(row.address, f"/operators/{row.address}", "operator")
                    with cell(number=True):
                        amount(row.bonded)
                    for number in (record.jobs, record.seats, record.seats_paid, record.seats_forfeited):
                        with cell(number=True):
                            text(f"{number:,}", "" if number else "quiet")
                    for wei in (record.rewards, record.bounties, record.forfeited):
                        with cell(number=True):
                            amount(wei, "" if wei else "quiet")
        pages("/operators", {}, cursor, page.next)


def operator_page(explorer: Explorer, address: ChecksumAddress, cursor: str | None) -> None:
    """One of them. cursor: of the page of what it did. Raises NotFound, BadCursor."""

    def operator() -> Operator:
        return explorer.operator(address)

    def events() -> Page[RecordedEvent]:
        return explorer.operator_events(address, cursor=cursor, limit=SHOWN, newest=True)

    operator(), events()

    with frame(explorer, f"Operator {wording.short(address)}", "/operators") as clock:
        parts: list[Part] = [
            Live(lambda: (operator().bonded, operator().locked, operator().record), lambda: _standing(operator())),
            Live(lambda: operator().passport, lambda: _passport(explorer, operator().passport)),
            _earnings(operator),
            Live(lambda: operator().open_jobs, lambda: _jobs(operator(), explorer.standing().head_time)),
        ]
        parts.append(Live(events, lambda: _events(events(), address, cursor)))
        follow(clock, *parts)


def _standing(operator: Operator) -> None:
    with Tag("dl", classes="figures", style="--n:5"):
        with figure("Stake"):
            big_amount(operator.bonded)
        with figure("Locked"):
            big_amount(operator.locked)
            text(f" {wording.count(operator.seats_held, 'seat')}", "quiet")
        with figure("Rewards"):
            big_amount(operator.record.rewards)
        with figure("Bounties"):
            big_amount(operator.record.bounties)
        with figure("Lost"):
            big_amount(operator.record.forfeited)
    with section("Record", "record") as made, facts():
        record = operator.record
        for name, value in _record(record):
            with fact(name):
                text(value)
        with fact("Address"):
            identifier(operator.address, what="address")
    if record == OperatorRecord():
        with made:
            paragraph("This address has not sat in any jury.", "quiet")


def _record(record: OperatorRecord) -> tuple[tuple[str, str], ...]:
    return (
        ("Juries", f"{record.jobs:,}"),
        ("Seats", f"{record.seats:,}"),
        ("Seats revealed", f"{record.seats_revealed:,} ({wording.percent(record.seats_revealed, record.seats)})"),
        ("Seats paid", f"{record.seats_paid:,} ({wording.percent(record.seats_paid, record.seats)})"),
        ("Seats forfeited", f"{record.seats_forfeited:,} ({wording.percent(record.seats_forfeited, record.seats)})"),
        ("Roots refuted", f"{record.refutations:,}"),
        ("Demands made", f"{record.demands:,}"),
        ("Demands answered", f"{record.answers:,}"),
    )


def _passport(explorer: Explorer, passport: SignedPassport | None) -> None:
    note = "Whether its machine computes to the bit what the specification says, on the rows that are hardest for a machine."
    with section("Determinism passport", "passport", note):
        if passport is None:
            empty(
                "This coordinator was given no passport of this operator.",
                "An operator signs one by `quorate worker passport --sign --output FILE`.",
            )
            return
        with facts():
            with fact("Signed by the operator's key"):
                moment(passport.issued_at)
            with fact("Processor"):
                text(chain_text.shown(f"{passport.cpu}, {passport.architecture}"))
            with fact("Releases"):
                text(chain_text.shown(f"onnxruntime {passport.onnxruntime}, numpy {passport.numpy}"))
        with table("Models of the passport", ("Model", "Its machine's results")):
            for stamp in passport.stamps:
                with Tag("tr"):
                    with cell():
                        model_link(stamp.model_id, explorer.witness.name_of(stamp.model_id))
                    with cell():
                        badge(*_STAMPS[stamp.state])
        words = (
            "This coordinator ran the specification itself and compared. Which machine it was is the operator's word; "
        )
        paragraph(words + "what proves a result is the dispute.", "quiet")


def _earnings(operator: Callable[[], Operator]) -> Chart:
    with section("Earnings over time", "earnings"):
        return Chart(lambda: _earned(operator().earnings), unit="ETH")


def _earned(points: Sequence[Earnings]) -> Drawing:
    if not points:
        words = (
            "Nothing was earned or lost yet. Rewards come with the release of seats that agreed with the winning root."
        )
        return Drawing(words, (), {}, words)
    last = points[-1]
    return Drawing(
        f"Earnings: {wording.amount(last.rewards)} of rewards, {wording.amount(last.bounties)} of bounties, "
        f"{wording.amount(last.forfeited)} lost.",
        [wording.moment(point.time) for point in points],
        {
            "rewards": [point.rewards / wording.ETHER for point in points],
            "bounties": [point.bounties / wording.ETHER for point in points],
            "lost": [point.forfeited / wording.ETHER for point in points],
        },
        "summed up since the first block, in ETH",
    )


def _jobs(operator: Operator, now: int) -> None:
    with section("Juries it sits in now", "open-jobs"):
        if operator.open_jobs:
            job_table(operator.open_jobs, "Open jobs of this operator", now)
        else:
            empty("It sits in no open job.")


def _events(page: Page[RecordedEvent], address: ChecksumAddress, cursor: str | None) -> None:
    with section("What it did", "events", "newest first"):
        event_list(page, f"/operators/{address}", "events", cursor, jobs=True)
