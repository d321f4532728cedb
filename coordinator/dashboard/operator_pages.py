"""Operators: what they staked, what they did, what they earned and lost."""

from __future__ import annotations

from eth_typing import ChecksumAddress

from coordinator.dashboard import wording
from coordinator.dashboard.charts import chart
from coordinator.dashboard.event_table import event_table
from coordinator.dashboard.frame import Live, follow, frame
from coordinator.dashboard.job_rows import job_table
from coordinator.dashboard.paging import pages
from coordinator.dashboard.parts import (
    Tag,
    amount,
    big_amount,
    cell,
    empty,
    fact,
    facts,
    figure,
    identifier,
    paragraph,
    section,
    table,
    text,
)
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.read_model import Operator, OperatorRecord

MOST_EVENTS = 100


def operators_page(explorer: Explorer, cursor: str | None) -> None:
    """The list, by stake."""
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


def operator_page(explorer: Explorer, address: ChecksumAddress) -> None:
    """One of them; an address that never acted gets an empty record, not an error."""

    def operator() -> Operator:
        return explorer.operator(address)

    with frame(explorer, f"Operator {wording.short(address)}", "/operators") as clock:
        parts = [
            Live(lambda: (operator().bonded, operator().locked, operator().record), lambda: _standing(operator())),
            Live(lambda: operator().earnings, lambda: _earnings(operator())),
            Live(lambda: operator().open_jobs, lambda: _jobs(operator(), explorer.standing().head_time)),
        ]
        events = Live(
            lambda: explorer.operator_events(address, limit=MOST_EVENTS).items,
            lambda: _events(explorer, address),
        )
        follow(clock, *parts, events)


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


def _earnings(operator: Operator) -> None:
    with section("Earnings over time", "earnings", "summed up since the first block, in ETH"):
        points = operator.earnings
        if not points:
            empty(
                "Nothing was earned or lost yet.",
                "Rewards come with the release of seats that agreed with the winning root.",
            )
            return
        last = points[-1]
        chart(
            f"Earnings: {wording.amount(last.rewards)} of rewards, {wording.amount(last.bounties)} of bounties, "
            f"{wording.amount(last.forfeited)} lost.",
            [wording.moment(point.time).removesuffix(" UTC") for point in points],
            {
                "rewards": [point.rewards / wording.ETHER for point in points],
                "bounties": [point.bounties / wording.ETHER for point in points],
                "lost": [point.forfeited / wording.ETHER for point in points],
            },
            unit="ETH",
        )


def _jobs(operator: Operator, now: int) -> None:
    with section("Juries it sits in now", "open-jobs"):
        if operator.open_jobs:
            job_table(operator.open_jobs, "Open jobs of this operator", now)
        else:
            empty("It sits in no open job.")


def _events(explorer: Explorer, address: ChecksumAddress) -> None:
    with section("What it did", "events", f"at most {MOST_EVENTS} events; the API has all"):
        event_table(reversed(explorer.operator_events(address, limit=MOST_EVENTS).items), jobs=True)
